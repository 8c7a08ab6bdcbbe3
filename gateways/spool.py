"""A file on its way: written to disk part by part while it comes, its digest computed meanwhile, gone when nobody holds it.

Knows the disk's folder for passing files; must not know what a file holds. Written by ``gateways.calls``, read by reconciliation.
"""

import hashlib
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Self, cast

from gateways.parts import PART_BYTES


class Spool:
    """Bytes in a file without a name. One reader at a time; nothing is written after the first reading."""

    def __init__(self) -> None:
        self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # it lives as long as the spool
        self._digest = hashlib.sha256()
        self.size = 0
        weakref.finalize(self, self._file.close)

    @classmethod
    def of(cls, parts: Iterable[bytes]) -> Self:
        """Return a spool of all these parts. What ``parts`` raises comes through, and nothing is left of the file."""
        spool = cls()
        for part in parts:
            spool.write(part)
        return spool

    def write(self, part: bytes) -> int:
        """Add a part at the end."""
        self._file.write(part)
        self._digest.update(part)
        self.size += len(part)
        return len(part)

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of all that was written."""
        return self._digest.digest()

    def open(self) -> BinaryIO:
        """Return the file at its begin. It is the spool's own: it is not to be closed."""
        self._file.seek(0)
        return self._file

    def parts(self, length: int = PART_BYTES) -> Iterator[bytes]:
        """Yield the file in parts of ``length`` bytes, the last one shorter."""
        file = self.open()
        while part := file.read(length):
            yield part

    def content(self) -> bytes:
        """Return the whole file at once: for small ones."""
        return self.open().read()
