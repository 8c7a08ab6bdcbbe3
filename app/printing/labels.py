"""What stands on a printed pay code, and where: posters and stickers as lines, words and codes on an A4 sheet, in millimetres.

Pure: knows sizes and words; must not know PDF, SVG or the database. Called by ``sheets``; drawn by ``pdf`` and ``svg``.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, Literal

from msgspec import Struct

SizeName = Literal["poster", "60x60", "80x100"]
PAGE_WIDTH: Final = 210.0
PAGE_HEIGHT: Final = 297.0
GAP: Final = 6.0
"""Between stickers: room for two crop marks."""
EDGE: Final = 8.0
"""No office printer prints nearer to the edge of the sheet."""
MM_PER_POINT: Final = 25.4 / 72
CHECK: Final = "扫码后请核对页面显示的停车场名称"
_MARK: Final = 2.0
_OFFSET: Final = 0.6
_LATIN: Final = 0.62
"""Width of a Latin letter in ems, on the safe side for every usual font."""


class Label(Struct, frozen=True, kw_only=True):
    """One printed pay code. ``place`` is empty on a code for the whole lot."""

    link: str
    brand: str
    hint: str
    """How it is used; on posters only."""
    lot_name: str
    place: str
    operator: str
    """The payee's legal name, with the word that says so."""
    help_line: str
    number: str
    """By which people name it, in small print."""
    code_no: int | None = None
    """Its number in the registry; a lot's own code has none."""


class Words(Struct, frozen=True):
    """Words on one line, centred on ``x``; ``y`` is their base line."""

    x: float
    y: float
    points: float
    text: str


class Mark(Struct, frozen=True):
    """A crop mark."""

    x1: float
    y1: float
    x2: float
    y2: float


class Picture(Struct, frozen=True):
    """A QR code, its quiet zone included."""

    x: float
    y: float
    side: float
    link: str


class Sheet(Struct, frozen=True):
    """One page."""

    words: tuple[Words, ...]
    marks: tuple[Mark, ...]
    pictures: tuple[Picture, ...]


class Line(Struct, frozen=True):
    """A line of a label: its base line from the top, how large it is at most, and which words stand on it."""

    y: float
    points: float
    field: str


class Size(Struct, frozen=True):
    """A kind of printed code. The code is as large as its words leave room for."""

    name: SizeName
    width: float
    height: float
    code_y: float
    code_side: float
    lines: tuple[Line, ...]

    @property
    def columns(self) -> int:
        return max(1, int((PAGE_WIDTH - 2 * EDGE + GAP) // (self.width + GAP)))

    @property
    def rows(self) -> int:
        return max(1, int((PAGE_HEIGHT - 2 * EDGE + GAP) // (self.height + GAP)))

    @property
    def per_page(self) -> int:
        return self.columns * self.rows


SIZES: Final[dict[SizeName, Size]] = {
    "poster": Size(
        "poster", PAGE_WIDTH, PAGE_HEIGHT, 52, 140,
        (
            Line(30, 34, "brand"), Line(43, 17, "hint"), Line(208, 32, "lot_name"), Line(221, 26, "place"),
            Line(234, 15, "operator"), Line(250, 20, "check"), Line(268, 17, "help_line"), Line(281, 10, "number"),
        ),
    ),
    "80x100": Size(
        "80x100", 80, 100, 9.5, 61,
        (
            Line(7.5, 13, "brand"), Line(75.5, 12, "lot_name"), Line(81.5, 14, "place"), Line(86.5, 7.5, "operator"),
            Line(90.5, 8, "check"), Line(94.3, 7.5, "help_line"), Line(97.8, 5.5, "number"),
        ),
    ),
    "60x60": Size(
        "60x60", 60, 60, 5.5, 37,
        (
            Line(4.6, 8, "brand"), Line(46.2, 8.5, "lot_name"), Line(50.3, 9.5, "place"), Line(53.1, 5.5, "operator"),
            Line(55.6, 5.5, "check"), Line(58.2, 5.5, "foot"),
        ),
    ),
}  # fmt: skip


def sheet(labels: Sequence[Label], size: Size) -> Sheet:
    """Return the page that holds these labels, as many as fit at most; row by row from the top left."""
    assert 0 < len(labels) <= size.per_page
    words: list[Words] = []
    marks: list[Mark] = []
    pictures: list[Picture] = []
    for label, (left, top) in zip(labels, _places(size), strict=False):
        pictures.append(Picture(left + (size.width - size.code_side) / 2, top + size.code_y, size.code_side, label.link))
        words += _words(label, size, left, top)
        if size.per_page > 1:
            marks += _marks(left, top, left + size.width, top + size.height)
    return Sheet(tuple(words), tuple(marks), tuple(pictures))


def fitted(text: str, *, points: float, width: float) -> float:
    """Return the size in points at which a text is no wider than ``width`` millimetres, ``points`` at most. Nothing is cut off."""
    ems = _ems(text)
    return points if not ems else min(points, width / (ems * MM_PER_POINT))


@lru_cache(maxsize=1000)
def _ems(text: str) -> float:
    return sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else _LATIN for letter in text)


def _places(size: Size) -> Iterator[tuple[float, float]]:
    """Yield the top left corners of a page's labels; the block of them stands in the middle of the page."""
    left = (PAGE_WIDTH - size.columns * (size.width + GAP) + GAP) / 2
    top = (PAGE_HEIGHT - size.rows * (size.height + GAP) + GAP) / 2
    for row in range(size.rows):
        for column in range(size.columns):
            yield left + column * (size.width + GAP), top + row * (size.height + GAP)


def _words(label: Label, size: Size, left: float, top: float) -> Iterator[Words]:
    for line in size.lines:
        text = _text(label, line.field)
        if text:
            points = fitted(text, points=line.points, width=size.width * 0.94)
            yield Words(left + size.width / 2, top + line.y, points, text)


def _text(label: Label, field: str) -> str:
    if field == "check":
        return CHECK
    if field == "foot":
        return f"{label.help_line}  {label.number}"
    return str(getattr(label, field))


def _marks(left: float, top: float, right: float, bottom: float) -> Iterator[Mark]:
    """Yield two crop marks at each corner, off the label and off its neighbours' labels."""
    for x, outward in ((left, -1), (right, 1)):
        for y, away in ((top, -1), (bottom, 1)):
            yield Mark(x + outward * _OFFSET, y, x + outward * (_OFFSET + _MARK), y)
            yield Mark(x, y + away * _OFFSET, x, y + away * (_OFFSET + _MARK))
