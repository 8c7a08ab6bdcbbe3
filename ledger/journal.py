"""Entries 记账凭证: their form, their canonical bytes and their leaf hash. Pure.

Knows the kernel; must not know the database beyond the binary form in which rows travel. Called by recipes, book and proofs.
"""

import hashlib
import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from typing import Final
from uuid import UUID

from msgspec import Struct

from ledger.accounts import CODES
from ledger.money import AMOUNT_FEN_MAX

LINES_MAX: Final = 100
REVERSAL: Final = 128
"""Added to a kind: the entry reverses the entry of that kind and source. So an entry can be reversed once, by its key."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_POSTGRES_US: Final = 946_684_800_000_000
_POSTGRES_DAYS: Final = date(2000, 1, 1).toordinal()

_RECORD_TYPE: Final = 1
_RECORD_VERSION: Final = 1
_RECORD_VERSION_ROUTED: Final = 2
_HEAD: Final = struct.Struct(">xBBB16s16siqiB")
_LINE: Final = struct.Struct(">iiq")
_ROUTE: Final = struct.Struct(">I")
_ROW: Final = struct.Struct(">hiqiqiqi16si16siiiiiiiiiiiiihih")
_COLUMNS: Final = 13


class EntryKind(IntEnum):
    """What gave rise to an entry. With the source id it is the entry's key, so each fact is booked once."""

    PAYMENT = 1
    """Money taken by a channel, whether it settles a charge, a debt, or goes to suspense. Source: payment."""
    LEFT_UNPAID = 2
    """A car left with its charge unpaid. Source: charge."""
    REFUND_ACCEPTED = 3
    """A refund was accepted and is owed to the payer. Source: refund."""
    REFUND_DONE = 4
    """The channel has given the money back. Source: refund."""
    SETTLEMENT = 5
    """The channel has paid out to the operator's bank. Source: settlement."""
    BAD_DEBT = 6
    """The channel took back what it had paid: the plate owes the charge. Source: payment."""
    CREDITED = 7
    """A charge that is owed was corrected: a credit note takes it away. Source: credit note."""
    WAIVED = 8
    """A debt, or a part of it, was let off. Source: decision."""
    WRITTEN_OFF = 9
    """A debt is not expected any more; its reversal is the write-back. Source: decision."""
    TAKEN_ELSEWHERE = 10
    """Takings that no charge of ours stands behind: cash, or an old code. Source: taking."""
    CASH_BANKED = 11
    """Cash was brought to the bank. Source: bank slip."""
    INCENTIVE_OWED = 12
    """The owner of a recovered debt owes a share to whoever recovered it. Source: incentive line."""
    INCENTIVE_EARNED = 13
    """The same on the side of whoever recovered it. Source: incentive line."""
    INCENTIVE_PAID = 14
    """The owner has paid shares out. Source: incentive settlement."""
    INCENTIVE_RECEIVED = 15
    """The same on the other side. Source: incentive settlement."""
    BEARER_CLAIMED = 16
    """A part of a stay that somebody bears in place of the driver is earned: a claim on the bearer. Source: borne part."""
    BEARER_OWED = 17
    """The same in the bearer's own book. Source: borne part."""
    BEARER_PAID = 18
    """A bearer has paid what it bore. Source: bearer settlement."""
    BEARER_PAID_OUT = 19
    """The same in the bearer's own book. Source: bearer settlement."""


class Line(Struct, frozen=True, gc=False):
    """One posting row, balanced by its form. The amount is in fen and positive."""

    debit: int
    credit: int
    amount_fen: int


class Entry(Struct, frozen=True, gc=False):
    """One entry in one book: rows under one id."""

    kind: int
    source_id: UUID
    book_id: int
    happened_at: datetime
    booked_on: date
    evidence_id: UUID
    lines: tuple[Line, ...]
    route_id: int = 0
    """Version of the route (merchant account) that the money took; 0: none."""

    @property
    def entry_id(self) -> UUID:
        return UUID(int=self.source_id.int | self.kind)


def encode(entry: Entry, *, lane: int, batch_id: int, position: int) -> tuple[bytes, bytes]:
    """Return the leaf hash of an entry (32 bytes) and its rows in PostgreSQL's binary COPY form.

    Raises:
        ValueError: an impossible entry (a defect of the recipe that made it).
    """
    sealed, happened_us, booked_day = _sealed(entry, lane)
    entry_id, evidence_id, book_id = sealed[4:20], sealed[20:36], entry.book_id
    rows = b""
    for number, line in enumerate(entry.lines):
        rows += _ROW.pack(
            _COLUMNS, 8, line.amount_fen, 8, batch_id, 8, happened_us - _POSTGRES_US, 16, entry_id, 16, evidence_id,
            4, book_id, 4, line.debit, 4, line.credit, 4, position, 4, booked_day - _POSTGRES_DAYS, 4, entry.route_id,
            2, lane, 2, number,
        )  # fmt: skip
    return hashlib.sha256(sealed).digest(), rows


def leaf_hash(entry: Entry, *, lane: int) -> bytes:
    """Return the leaf hash under which the entry is sealed. Raises ValueError as ``encode``."""
    return hashlib.sha256(_sealed(entry, lane)[0]).digest()


def record(entry: Entry, *, lane: int) -> bytes:
    """Return the canonical record of an entry: what a verifier hashes, behind 0x00, to get the leaf. Raises as ``encode``.

    All integers big-endian: type 1, version 1, lane (1 byte each), entry id, evidence id (16 each), book (4), microseconds since
    1970 (8), days since 0001-01-01 counting from 1 (4), number of lines (1), then per line debit, credit (4 each) and fen (8).
    Version 2 has the version of the route (4) between the number of lines and the lines; an entry without a route has version 1.
    """
    return _sealed(entry, lane)[0][1:]


def _sealed(entry: Entry, lane: int) -> tuple[bytes, int, int]:
    """Return what a leaf hashes (0x00 as in RFC 6962, then the record), with the two times in the units of the record."""
    lines, key = entry.lines, entry.source_id.int
    if key & 0xFF or not 0 < entry.kind < 256 or not 0 < len(lines) <= LINES_MAX:
        raise ValueError(f"not an entry: {entry}")
    happened_us = (entry.happened_at - _EPOCH) // _MICROSECOND
    booked_day = entry.booked_on.toordinal()
    version = _RECORD_VERSION_ROUTED if entry.route_id else _RECORD_VERSION
    sealed = _HEAD.pack(
        _RECORD_TYPE, version, lane, (key | entry.kind).to_bytes(16, "big"), entry.evidence_id.int.to_bytes(16, "big"),
        entry.book_id, happened_us, booked_day, len(lines),
    )  # fmt: skip
    if entry.route_id:
        sealed += _ROUTE.pack(entry.route_id)
    for line in lines:
        debit, credit, amount_fen = line.debit, line.credit, line.amount_fen
        if debit not in CODES or credit not in CODES or debit == credit or not 0 < amount_fen <= AMOUNT_FEN_MAX:
            raise ValueError(f"not a posting: {line} in {entry}")
        sealed += _LINE.pack(debit, credit, amount_fen)
    return sealed, happened_us, booked_day


def content(entry: Entry) -> tuple[object, ...]:
    """Return what makes two entries of one key the same: all but the evidence and the business date of booking.

    A second proof of the same fact, or the same fact told again on a later day, is the same entry.
    """
    return entry.book_id, entry.happened_at, tuple((line.debit, line.credit, line.amount_fen) for line in entry.lines)


def reversal_of(entry: Entry, *, happened_at: datetime, booked_on: date, evidence_id: UUID) -> Entry:
    """Return the full reversal 冲正 of an entry: the same rows with the sides exchanged. A reversal itself is never reversed."""
    if entry.kind >= REVERSAL:
        raise ValueError(f"{entry.entry_id} is itself a reversal; post the correct entry anew")
    swapped: Sequence[Line] = [Line(debit=x.credit, credit=x.debit, amount_fen=x.amount_fen) for x in entry.lines]
    return Entry(
        kind=entry.kind + REVERSAL, source_id=entry.source_id, book_id=entry.book_id, happened_at=happened_at,
        booked_on=booked_on, evidence_id=evidence_id, lines=tuple(swapped), route_id=entry.route_id,
    )  # fmt: skip
