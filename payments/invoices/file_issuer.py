"""The issuer that is always there: batches are laid into one directory, answers are read from another.

Knows two directories; must not know the database or what a line means. Made by the composition root. Whoever issues writes a file
beside, then renames it to ``*.jsonl``, so that it is whole as soon as it has its name; we do the same.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ledger.errors import Unavailable
from payments.invoices.issuer import FILE_BYTES_MAX, AnswerFile

ANSWERS_BYTES_MAX: Final = 16 * 1024 * 1024
TAKEN: Final = "taken"
ASIDE: Final = "aside"


class FileIssuer:
    """Hands over by files. ``outbox`` and ``inbox`` are made when they are needed."""

    def __init__(self, *, outbox: Path, inbox: Path) -> None:
        self._outbox, self._inbox = outbox, inbox

    def hand_over(self, name: str, body: bytes) -> None:
        """Lay a batch into the outbox, whole or not at all; one that lies there already is overwritten by the same bytes."""
        try:
            self._outbox.mkdir(parents=True, exist_ok=True)
            part = self._outbox / f"{name}.part"
            with part.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._outbox / f"{name}.jsonl")
        except OSError as broken:
            raise Unavailable(f"{self._outbox} cannot be written: {broken.strerror}", code="issuer_away") from None

    def answers(self, *, limit: int) -> Sequence[AnswerFile]:
        """Return the files of answers in the order of their names. One that is too large comes empty, and is set aside for it."""
        try:
            if not self._inbox.is_dir():
                return []
            found = sorted(path for path in self._inbox.glob("*.jsonl") if path.is_file())[:limit]
            return [AnswerFile(path.name, path.read_bytes() if path.stat().st_size <= ANSWERS_BYTES_MAX else b"") for path in found]
        except OSError as broken:
            raise Unavailable(f"{self._inbox} cannot be read: {broken.strerror}", code="issuer_away") from None

    def original(self, name: str) -> bytes | None:
        path = self._inbox / name
        try:
            return path.read_bytes() if path.is_file() and path.stat().st_size <= FILE_BYTES_MAX else None
        except OSError:
            return None

    def taken(self, name: str, wrong: Sequence[str]) -> None:
        place = self._inbox / (ASIDE if wrong else TAKEN)
        try:
            place.mkdir(exist_ok=True)
            if wrong:
                (place / f"{name}.why.txt").write_text("\n".join(wrong) + "\n", encoding="utf-8")
            (self._inbox / name).replace(place / name)
        except FileNotFoundError:
            return  # another worker was quicker
        except OSError as broken:
            raise Unavailable(f"{self._inbox} cannot be written: {broken.strerror}", code="issuer_away") from None
