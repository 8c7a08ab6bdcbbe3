"""Print files of many pay codes: pages are made as the codes come, and every few pages are a file, so that memory stays the same.

Knows labels, files and their order; must not know the database. Called by ``app.commands.codes`` and the benchmark.
"""

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from app.pages.words import Words
from app.printing import pdf, svg
from app.printing.labels import SIZES, Label, Sheet, Size, SizeName, sheet
from payments.codes.records import Place
from payments.lots import Lot
from payments.owed.debt_file.fonts import Font

Form = Literal["pdf", "svg"]
PAGES_MAX: Final = 60
"""Pages of one PDF; a page of an SVG is a file of its own."""


def label(lot: Lot, place: Place, *, link: str, number: str, words: Words, help_line: str, wallets: str) -> Label:
    """Return what stands on a code of this place; Chinese words are for Chinese walls."""
    place_words = {"lot": "", "lane": words.place_lane, "berth": words.place_berth}[place.place].format(name=place.name)
    return Label(
        link=link, brand=f"{words.city} · {words.brand}", hint=words.sheet_wallet.format(wallets=wallets), lot_name=lot.name,
        place=place_words, operator=f"{words.payee}{words.colon}{lot.operator_name}", help_line=f"{words.help} {help_line}",
        number=number,
    )  # fmt: skip


def write(
    labels: Iterable[Label], *, size: SizeName, form: Form, folder: Path, stem: str, font: Font | None, at: datetime,
    progress: Callable[[str], None],
) -> list[Path]:  # fmt: skip
    """Write labels as print files ``<stem>-0001.pdf``, ``-0002`` … or a page each as SVG; returns the files in their order.

    A file appears under its name when it is whole. May be repeated: the same labels give the same files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    written = 0
    pages_max = PAGES_MAX if form == "pdf" else 1
    for number, part in enumerate(_parts(labels, pages_max * SIZES[size].per_page), 1):
        path = folder / f"{stem}-{number:04}.{form}"
        unfinished = path.with_suffix(".unfinished")
        if form == "pdf":
            assert font is not None
            pdf.write(unfinished, _sheets(part, SIZES[size]), font=font, title=f"{part[0].lot_name} {size}", at=at)
            gc.collect()  # a document and its font hold each other: left alone, memory grows with each file
        else:
            unfinished.write_text(svg.drawn(sheet(part, SIZES[size])), encoding="utf-8")
        os.replace(unfinished, path)
        files.append(path)
        written += len(part)
        if form == "pdf" or number % 20 == 0:
            progress(f"{written} codes in {len(files)} files")
    return files


def _sheets(labels: list[Label], size: Size) -> Iterator[Sheet]:
    return (sheet(page, size) for page in _parts(labels, size.per_page))


def _parts(labels: Iterable[Label], most: int) -> Iterator[list[Label]]:
    coming = iter(labels)
    while part := list(islice(coming, most)):
        yield part
