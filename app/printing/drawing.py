"""Draws print files: by itself, or as a process of its own that takes what to draw from stdin and gives the bytes on stdout.

Knows labels and forms; must not know the database, or where a file goes: a process that a broken-off run leaves behind can write
nothing. Called by ``processes``. The same labels give the same bytes, whichever process draws them.
"""

import struct
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO, Final, Literal, TypeVar

import msgspec
from msgspec import Struct

from app.printing import pdf, svg
from app.printing.labels import SIZES, Label, Sheet, Size, SizeName, sheet
from app.printing.letters import FontFile
from ledger.errors import Refused

Form = Literal["pdf", "svg"]
_LENGTH: Final = struct.Struct("!I")

T = TypeVar("T")


class Bundle(Struct, frozen=True):
    """What is drawn at a time: the labels of some files."""

    size: SizeName
    form: Form
    font: FontFile
    at: datetime
    files: tuple[tuple[Label, ...], ...]


class Drawn(Struct, frozen=True):
    """The bytes of a bundle's files, or why there are none: a sentence and its code."""

    files: list[bytes]
    refused: tuple[str, str] | None = None


def drawn(bundle: Bundle) -> list[bytes]:
    """Return the bytes of each file.

    Raises:
        Refused: ``font_lacks_letters``.
    """
    return [_file(bundle, labels) for labels in bundle.files]


def _file(bundle: Bundle, labels: Sequence[Label]) -> bytes:
    sheets = list(_sheets(labels, SIZES[bundle.size]))
    if bundle.form == "svg":
        [page] = sheets
        return svg.drawn(page, font=bundle.font)
    return pdf.drawn(sheets, font=bundle.font, title=f"{labels[0].lot_name} {bundle.size}", at=bundle.at)


def _sheets(labels: Sequence[Label], size: Size) -> Iterator[Sheet]:
    for first in range(0, len(labels), size.per_page):
        yield sheet(labels[first : first + size.per_page], size)


def send(to: IO[bytes], said: Struct) -> None:
    """Write one message, its length before it."""
    message = msgspec.msgpack.encode(said)
    to.write(_LENGTH.pack(len(message)))
    to.write(message)
    to.flush()


def receive(source: IO[bytes], kind: type[T]) -> T | None:
    """Read one message; None: the other side is gone."""
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    message = source.read(*_LENGTH.unpack(head))
    return msgspec.msgpack.decode(message, type=kind) if len(message) == _LENGTH.unpack(head)[0] else None


def main() -> None:
    """Draw until nobody asks for more: whoever asked has gone then, too."""
    while (bundle := receive(sys.stdin.buffer, Bundle)) is not None:
        try:
            done = Drawn(drawn(bundle))
        except Refused as refused:
            done = Drawn([], (str(refused), refused.code))
        send(sys.stdout.buffer, done)


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
