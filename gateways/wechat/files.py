"""How WeChat Pay's files are written: compressed or not, their digest, lines of values with a backtick before each.

Knows the form alone; must not know what a column means. Used by the trade bill and the fund-flow bill.
Source: docs/CHANNELS.md, WeChat Pay, bills.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import BinaryIO, Final

from gateways.contract import BillRefused
from gateways.parts import begun, gunzipped
from ledger.money import fen

BILL_BYTES_MAX: Final = 512 * 1024 * 1024
"""Largest uncompressed file: more than a million lines."""
LINE_BYTES_MAX: Final = 65_536
"""A genuine line has fewer than 1,000 bytes."""
SEPARATOR: Final = ",`"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_CHINA_AHEAD: Final = timedelta(hours=8)
_fen: Final = lru_cache(maxsize=16_384)(fen)  # the same few amounts fill a day's file


def unpacked_parts(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the file without compression, whether or not it was compressed.

    Raises BillRefused: ``bill_too_large``, or ``bill_cut`` for a compressed file that ends early.
    """
    head, parts = begun(parts, len(_GZIP_MAGIC))
    return gunzipped(parts, bytes_max=BILL_BYTES_MAX) if head == _GZIP_MAGIC else parts


def unpacked(body: bytes) -> bytes:
    """Return a whole small file without compression. Raises BillRefused as ``unpacked_parts``."""
    return b"".join(unpacked_parts([body]))


def proven(parts: Iterable[bytes], announced: str) -> Iterator[bytes]:
    """Yield a file's (uncompressed) parts; in the end raise BillRefused ``bill_digest`` unless it has the announced SHA-1."""
    digest = hashlib.sha1(usedforsecurity=False)
    for part in parts:
        digest.update(part)
        yield part
    if digest.hexdigest() != announced.lower():
        raise BillRefused(
            f"the bill file has SHA-1 {digest.hexdigest()}, announced was {announced.lower()}", code="bill_digest"
        )  # fmt: skip


def text_lines(file: BinaryIO) -> Iterator[str]:
    """Yield a file's lines; with or without BOM, CRLF or LF, with or without a final line end.

    Raises BillRefused ``bill_form`` for what is not UTF-8 and for a line of more than LINE_BYTES_MAX.
    """
    if (head := file.read(len(_BOM))) != _BOM:
        file.seek(-len(head), os.SEEK_CUR)
    for line in iter(partial(file.readline, LINE_BYTES_MAX), b""):
        try:
            yield line.rstrip(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise BillRefused(f"the bill file holds bytes that are not UTF-8: {line[:80]!r}", code="bill_form") from None
        if len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
            raise BillRefused(f"the bill file has a line of more than {LINE_BYTES_MAX} bytes", code="bill_form")


def values_of(row: str, columns: int, number: int) -> list[str]:
    """Return the values of a row that has as many as the header has columns. Raises BillRefused."""
    values = row[1:].split(SEPARATOR)
    if len(values) != columns:
        raise BillRefused(f"row {number} of the bill has {len(values)} values for {columns} columns", code="bill_form")
    return values


def amount_of(text: str, row: int, name: str) -> int:
    """Return an amount of a row in fen; below zero for what is given back. Raises BillRefused."""
    try:
        return _fen(text)
    except ValueError as wrong:
        raise BillRefused(f"row {row}, {name}: {wrong}", code="bill_form") from None


def amounts_of(values: list[str], places: Iterable[tuple[str, int]], row: int) -> dict[str, int]:
    """Return several amounts of a row by the names of their columns, as ``amount_of`` does one."""
    try:
        return {name: _fen(values[place]) for name, place in places}
    except ValueError:
        return {name: amount_of(values[place], row, name) for name, place in places}  # says which


def instant_of(text: str, row: int) -> datetime:
    """Return a time of a row, which is China's without a zone, in UTC. Raises BillRefused."""
    try:
        if (at := datetime.fromisoformat(text)).tzinfo is None:
            return (at - _CHINA_AHEAD).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    raise BillRefused(f"row {row}: {text[:40]!r} is not a time", code="bill_form")
