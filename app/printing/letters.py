"""Letters of a font for print: their outlines, and a small font of those that are used.

Knows font files (through fontTools); must not know what is written with them. Called by ``pdf``, ``svg``.
A font with Chinese has tens of thousands of letters: it is opened once and only what is used of it is read.
"""

import io
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Any, Final

from fontTools.pens.svgPathPen import SVGPathPen  # type: ignore[import-untyped]  # ships no types
from fontTools.subset import Options, Subsetter  # type: ignore[import-untyped]  # ships no types
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # ships no types
from msgspec import Struct

from ledger.errors import Refused
from payments import fonts

_NAMES: Final = [1, 2, 4, 6]
"""Family, style, full name and name in PostScript: a PDF names its fonts."""
_TABLES_LEFT_OUT: Final = ["BASE", "GPOS", "GSUB", "VORG", "vhea", "vmtx"]
_ALWAYS: Final = frozenset(map(chr, range(0x20, 0x7F)))
"""So that files of other numbers do not need another font."""


class FontFile(Struct, frozen=True):
    """A font on this machine, and which one of a collection."""

    path: str
    number: int = 0


class Outline(Struct, frozen=True):
    """A letter in the font's units: the data of an SVG path, upwards from its base line, and how far the next one stands."""

    path: str
    advance: float


class Face:
    """An open font."""

    def __init__(self, file: FontFile) -> None:
        self._font: Any = TTFont(file.path, fontNumber=file.number, lazy=True)
        self._names: dict[int, str] = self._font.getBestCmap()
        self._outlines: dict[str, Outline] = {}
        self.units: int = self._font["head"].unitsPerEm

    @cached_property
    def _glyphs(self) -> Any:
        return self._font.getGlyphSet()

    def outline(self, letter: str) -> Outline:
        """Return a letter's outline. Raises Refused (``font_lacks_letters``)."""
        if letter not in self._outlines:
            self.check(letter)
            glyph, pen = self._glyphs[self._names[ord(letter)]], SVGPathPen(self._glyphs)
            glyph.draw(pen)
            self._outlines[letter] = Outline(pen.getCommands(), glyph.width)
        return self._outlines[letter]

    def width(self, text: str) -> float:
        """Return how wide a text is, in ems."""
        return sum(self.outline(letter).advance for letter in text) / self.units

    def check(self, letters: Iterable[str]) -> None:
        """See that the font has all letters: an empty box on a wall would be noticed too late.

        Raises:
            Refused: ``font_lacks_letters``.
        """
        if lacking := sorted({letter for letter in letters if ord(letter) not in self._names}):
            named = " ".join(f"{letter} (U+{ord(letter):04X})" for letter in lacking[:10])
            raise Refused(
                f"the font has no letter {named}; name another font by the setting debt_file_font", code="font_lacks_letters"
            )


@lru_cache(maxsize=2)
def face(file: FontFile) -> Face:
    """Open a font."""
    with fonts.quiet():
        return Face(file)


def small(file: FontFile, letters: Iterable[str]) -> bytes:
    """Return a font of these letters alone, without what only typesetting needs. The same letters give the same bytes.

    Raises:
        Refused: ``font_lacks_letters``.
    """
    return _small(file, frozenset(letters) | _ALWAYS)


@lru_cache(maxsize=8)
def _small(file: FontFile, letters: frozenset[str]) -> bytes:
    face(file).check(letters - _ALWAYS)
    options = Options()
    options.set(layout_features=[], hinting=False, notdef_outline=True, name_IDs=_NAMES, recalc_timestamp=False)
    options.drop_tables += _TABLES_LEFT_OUT
    subsetter = Subsetter(options)
    subsetter.populate(text="".join(sorted(letters)))
    made = io.BytesIO()
    with fonts.quiet(), TTFont(file.path, fontNumber=file.number, lazy=True, recalcTimestamp=False) as font:
        subsetter.subset(font)
        font.save(made)
    return made.getvalue()
