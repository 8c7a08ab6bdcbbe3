"""Sheets of pay codes as PDF with the font inside; the codes are paths, never pictures.

Knows PDF; must not know what a code stands for. Called by ``drawing``.
"""

import tempfile
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fpdf import FPDF

from app.printing import letters
from app.printing.labels import Mark, Picture, Sheet, Words
from app.printing.letters import FontFile
from payments import fonts, qr

FAMILY: Final = "code"


def drawn(sheets: Sequence[Sheet], *, font: FontFile, title: str, at: datetime) -> bytes:
    """Return pages as one PDF. They are held in memory: a page of twelve stickers takes some 40 kB.

    Raises:
        Refused: ``font_lacks_letters``.
    """
    page = FPDF(format="A4")
    page.set_auto_page_break(False)
    page.set_creation_date(at)
    page.set_title(title)
    page.set_lang("zh-CN")
    with fonts.quiet(), tempfile.NamedTemporaryFile(suffix=".otf") as small:
        small.write(letters.small(font, {letter for sheet in sheets for words in sheet.words for letter in words.text}))
        small.flush()
        page.add_font(FAMILY, fname=small.name)
        page.set_line_width(0.1)
        for sheet in sheets:
            page.add_page()
            _draw(page, sheet)
        return bytes(page.output())


def _draw(page: FPDF, sheet: Sheet) -> None:
    for picture in sheet.pictures:
        _picture(page, picture)
    for words in sorted(sheet.words, key=lambda one: one.points):
        _words(page, words)
    _marks(page, sheet.marks)


def _picture(page: FPDF, one: Picture) -> None:
    """Draw a code as one path, in modules, by a matrix that turns these into the page's points from the top.

    The library draws rectangles one by one only, each in its own words; a page of stickers would be ten times as large and slow.
    """
    side, path = qr.rectangles(one.link)
    scale = one.side / side * page.k
    x, y = one.x * page.k, (page.h - one.y) * page.k
    page._out(f"q 0 g {scale:.5f} 0 0 {-scale:.5f} {x:.4f} {y:.4f} cm\n{path}f Q")


def _words(page: FPDF, one: Words) -> None:
    page.set_font(FAMILY, size=one.points)
    page.text(one.x - page.get_string_width(one.text) / 2, one.y, one.text)


def _marks(page: FPDF, marks: Sequence[Mark]) -> None:
    if marks:
        lines = "\n".join(f"{one.x1:.4f} {one.y1:.4f} m {one.x2:.4f} {one.y2:.4f} l" for one in marks)
        page._out(f"q {page.k:.5f} 0 0 {-page.k:.5f} 0 {page.h * page.k:.4f} cm 0.1 w\n{lines}\nS Q")
