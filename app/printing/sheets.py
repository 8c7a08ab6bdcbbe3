"""Print files of many pay codes: pages are made as the codes come, and every few pages are a file, so that memory stays the same.

Knows labels, files and their order; must not know the database. Called by ``app.commands.codes`` and the benchmark.
"""

import glob
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from app.pages.words import Words
from app.printing import manifest, processes
from app.printing.drawing import Bundle, Form
from app.printing.labels import SIZES, Label, SizeName
from app.printing.letters import FontFile
from app.printing.manifest import Entry, Manifest
from ledger.clock import CHINA
from ledger.errors import Refused
from payments.codes.records import Place
from payments.fonts import Font
from payments.lots import Lot

PAGES: Final = 60
"""Pages of one PDF when nothing is said; a page of an SVG is a file of its own."""
PAGES_MAX: Final = 500
SVGS_AT_A_TIME: Final = 40
DRAWING: Final = 2
"""Which way of drawing. It is raised whenever the same label is drawn otherwise, so that no print goes on with other looks."""

T = TypeVar("T")


class Printed(Struct, frozen=True):
    """What was written: all files in their order, how many labels are on them, and how many files were whole before."""

    files: list[Path]
    labels: int
    kept: int
    manifest: Path


def label(lot: Lot, place: Place, *, link: str, code_no: int | None, words: Words, help_line: str, wallets: str) -> Label:
    """Return what stands on a code of this place; Chinese words are for Chinese walls. ``code_no`` is None on a lot's own code."""
    place_words = {"lot": "", "lane": words.place_lane, "berth": words.place_berth}[place.place].format(name=place.name)
    return Label(
        link=link, brand=f"{words.city} · {words.brand}", hint=words.sheet_wallet.format(wallets=wallets), lot_name=lot.name,
        place=place_words, operator=f"{words.payee}{words.colon}{lot.operator_name}", help_line=f"{words.help} {help_line}",
        number=lot.code if code_no is None else f"{lot.code} · No. {code_no}", code_no=code_no,
    )  # fmt: skip


class Order(Struct, frozen=True, kw_only=True):
    """What is wanted of a print: files ``<stem>-0001.pdf``, ``-0002`` … of ``pages`` sheets each, or a sheet each as SVG."""

    size: SizeName
    form: Form
    folder: Path
    stem: str
    font: Font
    pages: int = PAGES
    processes: int = 1
    """How many draw at a time. It makes no difference to the files."""

    @property
    def file_labels(self) -> int:
        return SIZES[self.size].per_page * (self.pages if self.form == "pdf" else 1)

    @property
    def manifest(self) -> Path:
        return self.folder / f"{self.stem}-{self.form}.json"

    def path(self, number: int) -> Path:
        return self.folder / f"{self.stem}-{number:04}.{self.form}"


class _File(Struct, frozen=True):
    """One file to be, and whether it is there already."""

    path: Path
    labels: tuple[Label, ...]
    of: str
    kept: Entry | None


def write(
    labels: Iterable[Label], order: Order, *, at: datetime, progress: Callable[[str], None],
    drawing: Callable[[Sequence[Label]], None] = lambda _: None,
) -> Printed:  # fmt: skip
    """Write labels as print files, with a manifest beside them.

    A file appears under its name when it is whole. May be repeated: the same labels give the same files, and those that are there,
    byte for byte, are not drawn again; so a print that was broken off goes on. Files of the former manifest that no label stands on
    any more are taken away: a print shop prints what is in the folder. ``drawing`` is told of labels before they are drawn.

    Raises:
        Refused: ``printing_busy``, another print writes to the folder; ``printing_stopped``, a process that draws
            ended; ``font_lacks_letters``; ``printing_pages``.
    """
    if not 1 <= order.pages <= PAGES_MAX:
        raise Refused(f"a file has 1 to {PAGES_MAX} pages, not {order.pages}", code="printing_pages")
    with manifest.held(order.folder):
        before = manifest.read(order.manifest)
        return _Run(order, before, at, progress, drawing).written(labels)


class _Run:
    """One print: what the former manifest says, and what is whole so far."""

    def __init__(
        self, order: Order, before: Manifest | None, at: datetime, progress: Callable[[str], None],
        drawing: Callable[[Sequence[Label]], None],
    ) -> None:  # fmt: skip
        self._order, self._progress, self._drawing = order, progress, drawing
        self._former = {} if before is None else {entry.name: entry for entry in before.files}
        self._began_at = at if before is None or before.whole else before.began_at
        self._whole: dict[str, Entry] = {}
        self._labels = self._kept = 0
        self._is_new = before is None or not before.whole
        self._font = FontFile(str(order.font.path), order.font.number)
        if before is not None and not before.whole:
            begun = f"{before.began_at.astimezone(CHINA):%Y-%m-%d %H:%M}"
            progress(f"a print of {begun} was broken off with {len(before.files)} files; it goes on where it stopped")

    def written(self, labels: Iterable[Label]) -> Printed:
        for left in self._order.folder.glob(f".{glob.escape(self._order.stem)}-*.unfinished"):
            left.unlink()
        looked_at: list[list[_File]] = []
        bundles = self._bundles(labels, looked_at)
        with closing(processes.drawn(bundles, processes=self._order.processes)) as drawn:
            for contents in drawn:
                self._keep(looked_at.pop(0), contents)
        if self._whole:
            self._end()
        return Printed([self._order.folder / name for name in self._whole], self._labels, self._kept, self._order.manifest)

    def _bundles(self, labels: Iterable[Label], looked_at: list[list[_File]]) -> Iterator[Bundle]:
        """Yield what is to be drawn, and note for each bundle which files it belongs to: those, and whole ones between."""
        order, recipe = self._order, self._recipe()
        files = (self._file(number, part, recipe) for number, part in enumerate(_parts(labels, order.file_labels), 1))
        for some in _parts(files, 1 if order.form == "pdf" else SVGS_AT_A_TIME):
            wanted = tuple(one.labels for one in some if one.kept is None)
            if wanted:
                self._drawing([label for part in wanted for label in part])
            looked_at.append(some)
            yield Bundle(order.size, order.form, self._font, self._began_at, wanted)

    def _file(self, number: int, part: list[Label], recipe: bytes) -> _File:
        path = self._order.path(number)
        of = hashlib.sha256(recipe + msgspec.msgpack.encode(part)).hexdigest()
        former = self._former.get(path.name)
        return _File(path, tuple(part), of, former if manifest.is_whole(self._order.folder, former, of=of) else None)

    def _recipe(self) -> bytes:
        """Return what a file depends on beside its labels."""
        with open(self._font.path, "rb") as opened:
            font = hashlib.file_digest(opened, "sha256").digest()
        return msgspec.msgpack.encode((DRAWING, self._order.size, self._order.form, font, self._font.number))

    def _keep(self, some: list[_File], contents: list[bytes]) -> None:
        """Put drawn files under their names and note them."""
        coming = iter(contents)
        for one in some:
            self._whole[one.path.name] = self._entry(one, coming) if one.kept is None else one.kept
            self._labels += len(one.labels)
            self._kept += one.kept is not None
        if contents:
            self._is_new = True
            self._note(whole=False)
        self._progress(f"{self._labels} codes in {len(self._whole)} files")

    def _entry(self, one: _File, coming: Iterator[bytes]) -> Entry:
        content = next(coming)
        manifest.put(one.path, content)
        numbers = [label.code_no for label in one.labels if label.code_no is not None]
        return Entry(
            name=one.path.name, labels=len(one.labels), codes=manifest.ranges(numbers), bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(), of=one.of,
        )  # fmt: skip

    def _note(self, *, whole: bool) -> None:
        """Write the manifest: what is whole now, and what was whole before and has not been come to."""
        entries = self._whole if whole else self._former | self._whole
        labels = sum(entry.labels for entry in entries.values())
        in_order = sorted(entries.values(), key=lambda entry: entry.name)
        manifest.write(self._order.manifest, Manifest(self._began_at, whole, labels, in_order))

    def _end(self) -> None:
        """Take away files that no label stands on any more, and say that the rest is whole. Nothing new: nothing is written."""
        left = self._former.keys() - self._whole.keys()
        for name in left:
            (self._order.folder / name).unlink(missing_ok=True)
        if left or self._is_new:
            self._note(whole=True)


def _parts(things: Iterable[T], most: int) -> Iterator[list[T]]:
    coming = iter(things)
    while part := list(islice(coming, most)):
        yield part
