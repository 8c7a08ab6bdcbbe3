"""Time-ordered ids: UUIDs of version 7 whose last byte is kept free for an entry's kind.

    48 bits milliseconds | version | 12 random bits | variant | 54 random bits | 8 bits kind (0 in a source id)

An entry's id is its source's id with the kind in the last byte: the primary key *is* the idempotency key, the source can be
read back from the entry, and index inserts stay at the right edge. Knows no database.
"""

import hashlib
import os
import random
import re
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from ledger.clock import milliseconds

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_TO_PYTHON: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
"""From our letters to those that ``int(text, 32)`` reads."""
_NUMBER: Final = re.compile(f"[PR][{_ALPHABET}]{{27}}")
_RANDOM_BITS: Final = 66


class Ids(Protocol):
    """Gives source ids."""

    def new(self, at: datetime, name: str, *content: bytes) -> UUID:
        """Return a new id for the instant ``at``. ``name`` and ``content`` say what it is for, and are unique in its run."""
        ...


class RandomIds:
    """Ids for real use: 66 random bits beside the millisecond. Unique, not secret: knowing one gives no right."""

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(32))
        os.register_at_fork(after_in_child=lambda: self._random.seed(os.urandom(32)))

    def new(self, at: datetime, name: str, *content: bytes) -> UUID:  # noqa: ARG002  # part of the protocol; chance needs no name
        return _compose(at, self._random.getrandbits(_RANDOM_BITS))


class SeededIds:
    """Ids for a simulated day: the same seed, instant and name give the same id, in whatever order they are asked for."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def new(self, at: datetime, name: str, *content: bytes) -> UUID:
        digest = hashlib.sha256(b"\n".join([f"{self._seed}\n{name}".encode(), *content])).digest()
        return _compose(at, int.from_bytes(digest[:9], "big") >> 6)


def _compose(at: datetime, random: int) -> UUID:
    high, low = random >> 54, random & ((1 << 54) - 1)
    return UUID(int=milliseconds(at) << 80 | 7 << 76 | high << 64 | 2 << 62 | low << 8)


def entry_id(source_id: UUID, kind: int) -> UUID:
    """Return the id of the entry of ``kind`` (1–255) that ``source_id`` gives rise to."""
    if not 0 < kind < 256 or source_id.int & 0xFF:
        raise ValueError(f"{source_id} with kind {kind} cannot name an entry: kind is 1–255 and a source id ends in 00")
    return UUID(int=source_id.int | kind)


def source_of(entry: UUID) -> tuple[UUID, int]:
    """Return the source id and the kind of an entry id."""
    return UUID(int=entry.int & ~0xFF), entry.int & 0xFF


def payment_number(lane: int, payment_id: UUID) -> str:
    """Return the 28 characters (A–Z, 0–9) that channels know a payment by: P, the lane, the id. Time-ordered in its lane."""
    return "P" + _ALPHABET[lane] + _letters(payment_id)


def refund_number(lane: int, refund_id: UUID) -> str:
    """Return the 28 characters (A–Z, 0–9) that channels know a refund by: R, the lane, the id."""
    return "R" + _ALPHABET[lane] + _letters(refund_id)


def act_number(lane: int, act_id: UUID) -> str:
    """Return the 28 characters (A–Z, 0–9) that channels know a combined order by: C, the lane, the id."""
    return "C" + _ALPHABET[lane] + _letters(act_id)


def read_payment_number(number: str) -> tuple[int, UUID] | None:
    """Return lane and payment id of a payment number, or None when it is not one of ours."""
    return _read(number) if number[:1] == "P" else None


def read_refund_number(number: str) -> tuple[int, UUID] | None:
    """Return lane and refund id of a refund number, or None when it is not one of ours."""
    return _read(number) if number[:1] == "R" else None


def _letters(identity: UUID) -> str:
    value, letters = identity.int, []
    for _ in range(26):
        letters.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(letters))


def _read(number: str) -> tuple[int, UUID] | None:
    if _NUMBER.fullmatch(number) is None:
        return None
    value = int(number[2:].translate(_TO_PYTHON), 32)
    return (_VALUES[number[1]], UUID(int=value)) if value >> 128 == 0 else None
