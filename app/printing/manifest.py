"""The list that goes with print files: which codes are in which file, and by what a whole file is known.

Knows files and their digests; must not know how a file is drawn. Called by ``sheets``. It is kept up while a print goes on, so that
a broken-off one goes on where it stopped, and it goes to the print shop with the files.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from pathlib import Path

import msgspec
from msgspec import Struct

from ledger.errors import Refused

try:
    import fcntl
except ImportError:  # not on every system: there, nobody is kept from printing twice at a time
    fcntl = None  # type: ignore[assignment]


class Entry(Struct, frozen=True):
    """One whole file. ``codes`` are its numbers as "1-720, 722", none for a lot's own code; ``of`` is the digest of its labels."""

    name: str
    labels: int
    codes: str
    bytes: int
    sha256: str
    of: str


class Manifest(Struct, frozen=True):
    """What was printed. Not ``whole``: the print was broken off, or is under way."""

    began_at: datetime
    whole: bool
    labels: int
    files: list[Entry]


def read(path: Path) -> Manifest | None:
    """Return the manifest; None when there is none, or none that can be read: then everything is drawn anew."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def write(path: Path, manifest: Manifest) -> None:
    """Put a manifest in the place of the former one."""
    put(path, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def put(path: Path, content: bytes) -> None:
    """Write a file that appears under its name when it is whole."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def is_whole(folder: Path, entry: Entry | None, *, of: str) -> bool:
    """Say whether a file is there, byte for byte as it was noted, and holds what it should."""
    if entry is None or entry.of != of:
        return False
    try:
        return hashlib.sha256((folder / entry.name).read_bytes()).hexdigest() == entry.sha256
    except OSError:
        return False


def ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as "1-720, 722". Pure."""
    found = []
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        row = [number for _, number in group]
        found.append(str(row[0]) if len(row) == 1 else f"{row[0]}-{row[-1]}")
    return ", ".join(found)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder and hold it, so that two prints do not write to it at a time; a killed process holds nothing.

    Raises:
        Refused: ``printing_busy``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    opened = os.open(folder, os.O_RDONLY)
    try:
        _lock(opened, folder)
        yield
    finally:
        os.close(opened)


def _lock(opened: int, folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        words = f"another print is being written to {folder}; wait for it, or choose another folder"
        raise Refused(words, code="printing_busy") from None
