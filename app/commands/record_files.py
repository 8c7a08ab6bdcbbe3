"""Records of lots in a CSV file: read, carried out lot by lot and part by part, and told line by line.

Knows CSV and how answers are told; must not know what a record is or becomes. Called by the desks of lots and of the rollout.
"""

import csv
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from ledger.errors import Refused
from payments.lot_records.intake import Answer

CHUNK: Final = 2_000
"""Records of one transaction; each part is told, so that a long file shows how far it is."""
REFUSED_SHOWN_MAX: Final = 50

Rows = list[tuple[int, dict[str, str]]]
"""Lines of the file by their numbers."""


class Form(Struct, frozen=True):
    """A kind of file: what it holds in words, the code of the error that refuses it whole, and its columns beside ``lot``."""

    what: str
    code: str
    columns: Sequence[str]
    more_columns: Sequence[str]

    @property
    def header(self) -> str:
        """The columns in words, for the command's help."""
        return f"CSV with a header: lot, {', '.join(self.columns)}; also {', '.join(self.more_columns)}"


def carry_out(path: Path, form: Form, act: Callable[[str, Rows, bytes], Sequence[Answer]]) -> str:
    """Hand ``act`` the lines of each lot with its code and their own bytes as the evidence; returns what to tell.

    ``act`` answers each line and commits its part by itself, so that a broken run is simply run again. Raises Refused for a file
    that cannot be read as such; nothing is carried out then.
    """
    header, rows = _read(path, form)
    counted: Counter[str] = Counter()
    refused: list[str] = []
    done = 0
    for code, part in _parts(rows):
        answers = act(code, part, _body(part, header))
        for (line, _), answer in zip(part, answers, strict=True):
            counted[answer.outcome] += 1
            if answer.outcome == "refused":
                refused.append(f"line {line}: {answer.reason} ({answer.field}): {answer.detail}")
        done += len(part)
        print(f"  {done} of {len(rows)}", file=sys.stderr, flush=True)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counted.items())) or f"no {form.what}"
    more = [f"... and {len(refused) - REFUSED_SHOWN_MAX} more"] if len(refused) > REFUSED_SHOWN_MAX else []
    return "\n".join([told, *refused[:REFUSED_SHOWN_MAX], *more])


def _read(path: Path, form: Form) -> tuple[list[str], Rows]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as broken:
        raise Refused(f"{path}: cannot be read as UTF-8: {broken}", code=form.code) from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    header = list(reader.fieldnames or [])
    needed = ["lot", *form.columns]
    missing = [name for name in needed if name not in header]
    unknown = [name for name in header if name not in (*needed, *form.more_columns)]
    if missing or unknown or len(set(header)) < len(header):
        wrong = f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
        raise Refused(f"the header is not that of {form.what} ({wrong})", code=form.code)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as broken:
        raise Refused(f"line {reader.line_num} is not CSV: {broken}", code=form.code) from None
    for line, row in rows:
        if None in row or None in row.values():
            raise Refused(f"line {line} has not as many fields as the header", code=form.code)
    return header, rows


def _parts(rows: Rows) -> Iterator[tuple[str, Rows]]:
    """Yield the lines of each lot, in the order of the file, ``CHUNK`` at a time."""
    by_lot: dict[str, Rows] = {}
    for line, row in rows:
        by_lot.setdefault(row["lot"].strip(), []).append((line, row))
    for code, own in by_lot.items():
        for start in range(0, len(own), CHUNK):
            yield code, own[start : start + CHUNK]


def _body(part: Rows, header: list[str]) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, header)
    writer.writeheader()
    writer.writerows(row for _, row in part)
    return written.getvalue().encode()
