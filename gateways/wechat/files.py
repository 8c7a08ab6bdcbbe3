"""How WeChat Pay's files are written: compressed or not, their digest, lines of values with a backtick before each.

Knows the form alone; must not know what a column means. Used by the trade bill and the fund-flow bill.
Source: docs/CHANNELS.md, WeChat Pay, bills.
"""

import hashlib
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from gateways.contract import BillRefused
from ledger.money import fen

BILL_BYTES_MAX: Final = 512 * 1024 * 1024
"""Largest uncompressed file: more than a million lines."""
SEPARATOR: Final = ",`"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_CHINA_AHEAD: Final = timedelta(hours=8)
_fen: Final = lru_cache(maxsize=16_384)(fen)  # the same few amounts fill a day's file


def unpacked(body: bytes) -> bytes:
    """Return the file without compression, whether or not it was compressed.

    Raises BillRefused: ``bill_too_large``, or ``bill_cut`` for a compressed file that ends early.
    """
    if not body.startswith(_GZIP_MAGIC):
        return body
    machine = zlib.decompressobj(wbits=31)
    try:
        content = machine.decompress(body, BILL_BYTES_MAX)
    except zlib.error as broken:
        raise BillRefused(f"the compressed bill file cannot be unpacked: {broken}", code="bill_cut") from None
    if machine.unconsumed_tail:
        raise BillRefused(f"the bill file has more than {BILL_BYTES_MAX} bytes", code="bill_too_large")
    if not machine.eof:
        raise BillRefused("the compressed bill file ends early", code="bill_cut")
    return content


def check_digest(content: bytes, announced: str) -> None:
    """Raise BillRefused ``bill_digest`` unless ``content`` (uncompressed) has the announced SHA-1."""
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    if digest != announced.lower():
        raise BillRefused(f"the bill file has SHA-1 {digest}, announced was {announced.lower()}", code="bill_digest")


def text_lines(content: bytes) -> Iterator[str]:
    """Yield the file's lines; with or without BOM, CRLF or LF, with or without a final line end."""
    start = len(_BOM) if content.startswith(_BOM) else 0
    while start < len(content):
        end = content.find(b"\n", start)
        stop = len(content) if end < 0 else end
        line = content[start:stop].removesuffix(b"\r")
        start = stop + 1
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise BillRefused(f"the bill file holds bytes that are not UTF-8: {line[:80]!r}", code="bill_form") from None


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


def instant_of(text: str, row: int) -> datetime:
    """Return a time of a row, which is China's, in UTC. Raises BillRefused."""
    try:
        return (datetime.fromisoformat(text) - _CHINA_AHEAD).replace(tzinfo=UTC)
    except ValueError:
        raise BillRefused(f"row {row}: {text!r} is not a time", code="bill_form") from None
