"""The font of printed things: one that has Chinese, found on the machine or named by a setting; it is embedded.

Knows the usual places of fonts, and how loud the font tools are; must not know what is written. Called by debt files and the print
of pay codes.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from ledger.errors import Refused


class Font(Struct, frozen=True):
    """A font file, and which font of a collection."""

    path: Path
    number: int = 0


_USUAL: Final = (
    Font(Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"), 2),
    Font(Path("/usr/share/fonts/opentype/noto/NotoSansCJKsc-Regular.otf")),
    Font(Path("/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc"), 2),
    Font(Path("/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc"), 2),
    Font(Path("/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc"), 2),
    Font(Path("/System/Library/Fonts/PingFang.ttc")),
)
"""Number 2 of the Noto collection is the one for simplified Chinese."""


def found(named: Path | None, usual: Sequence[Font] = _USUAL) -> Font:
    """Return the named font, or else the first usual one that is here.

    Raises:
        Refused: ``font_missing``.
    """
    if named is not None:
        if named.is_file():
            return next((font for font in usual if font.path == named), Font(named))
        raise Refused(f"there is no font file {named}; correct the setting debt_file_font", code="font_missing")
    for font in usual:
        if font.path.is_file():
            return font
    raise Refused("no font with Chinese was found: install fonts-noto-cjk, or set debt_file_font", code="font_missing")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the font tools from telling each table of the font that they leave out."""
    log = logging.getLogger("fontTools")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
