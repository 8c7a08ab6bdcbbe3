"""Sheets of pay codes as PDF with the font inside; the codes are paths, never pictures.

Knows PDF; must not know what a code stands for. Called by ``sheets``.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from fpdf import FPDF

from app.printing.labels import Mark, Picture, Sheet, Words
from payments import qr
from payments.owed.debt_file.fonts import Font

FAMILY: Final = "code"


def write(path: Path, sheets: Iterable[Sheet], *, font: Font, title: str, at: datetime) -> int:
    """Write pages as one PDF; returns how many. They are held in memory until it is written: a thousand codes take some 15 MB."""
    page = FPDF(format="A4")
    page.set_auto_page_break(False)
    page.set_creation_date(at)
    page.set_title(title)
    page.set_lang("zh-CN")
    with _quiet_fonts():
        page.add_font(FAMILY, fname=font.path, collection_font_number=font.number)
        page.set_line_width(0.1)
        for sheet in sheets:
            page.add_page()
            _draw(page, sheet)
        page.output(str(path))
    return int(page.pages_count)


def _draw(page: FPDF, sheet: Sheet) -> None:
    for picture in sheet.pictures:
        _picture(page, picture)
    for words in sheet.words:
        _words(page, words)
    for mark in sheet.marks:
        _mark(page, mark)


def _picture(page: FPDF, one: Picture) -> None:
    """Draw a code as one path, in modules, by a matrix that turns these into the page's points from the top.

    The library draws rectangles one by one only, each in its own words; a page of stickers would be ten times as large and slow.
    """
    side, dark = qr.runs(one.link)
    scale = one.side / side * page.k
    x, y = one.x * page.k, (page.h - one.y) * page.k
    path = "\n".join(f"{column} {row} {length} 1 re" for column, row, length in dark)
    page._out(f"q 0 g {scale:.5f} 0 0 {-scale:.5f} {x:.4f} {y:.4f} cm\n{path}\nf Q")


def _words(page: FPDF, one: Words) -> None:
    page.set_font(FAMILY, size=one.points)
    page.text(one.x - page.get_string_width(one.text) / 2, one.y, one.text)


def _mark(page: FPDF, one: Mark) -> None:
    page.line(one.x1, one.y1, one.x2, one.y2)


@contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Keep the font tools from telling each table of the font that they leave out."""
    log = logging.getLogger("fontTools")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
