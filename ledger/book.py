"""The only writer of the book: post and reverse.

Knows journal, store and the binary COPY form; must not know what gave rise to an entry. Called by the appliers above.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

import psycopg
from msgspec import Struct
from sqlalchemy import Connection

from ledger import store
from ledger.db import raw
from ledger.errors import Conflict, NotFound, Refused
from ledger.journal import Entry, content, encode, leaf_hash, reversal_of
from ledger.volley import Shot

BATCH_ENTRIES_MAX: Final = 10_000
_CHUNK: Final = 64
"""Entries sent to the server at a time: it works on one chunk while the next is being encoded."""

_COPY: Final = b"""copy ledger.posting (amount_fen, batch_id, happened_at, entry_id, evidence_id, book_id, debit_account,
    credit_account, position, booked_on, route_id, lane, line) from stdin (format binary)"""
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"
_COPY_TAIL: Final = b"\xff\xff"


class Posted(Struct, frozen=True):
    """What one call of ``post`` did: how many entries it wrote, and the ids that were there already with the same content."""

    posted: int
    already: frozenset[UUID]


def post(tx: Connection, *, lane: int, entries: Sequence[Entry], at: datetime) -> Posted:
    """Write entries into the book as one batch, all or none; they count once ``tx`` commits.

    Order is kept: an entry's place in ``entries`` is its place in the batch; one that comes twice in ``entries`` counts once. May
    be called twice with the same entries: an entry whose key (source id, kind) is in the book with the same content is
    ``already`` and written no second time. Takes no lock but the uniqueness of the keys, so two writers of the same key wait for
    each other and nobody else.

    Args:
        lane: Lane of all the entries' books; a batch never crosses lanes.
        entries: At most ``BATCH_ENTRIES_MAX``.
        at: When they are booked (UTC).

    Raises:
        Conflict: ``entry_conflict``, a key is taken by other content; nothing of this call is written.
        Refused: ``book_unknown``, a book does not exist in this lane.
    """
    wanted = _without_repeats(entries)
    already: set[UUID] = set()
    while wanted:
        if _try_write(tx, lane=lane, entries=wanted, at=at):
            break
        known = _already_booked(tx, lane=lane, entries=wanted)
        already |= known
        wanted = [entry for entry in wanted if entry.entry_id not in known]
    return Posted(posted=len(wanted), already=frozenset(already))


def posting_new(*, lane: int, entries: Sequence[Entry], at: datetime) -> Shot:
    """Return the statement that writes entries whose keys the caller knows to be new, because it holds their sources under lock.

    For groups of a few hundred, which then cost one round trip together with whatever else their transaction writes; thousands
    are faster with ``post``. Otherwise as ``post``. A key that is taken after all (``psycopg.errors.UniqueViolation``) or a book
    that does not lie in the lane (SQLSTATE ``TB001``) fails the statement, so nothing of its transaction may be committed.
    """
    leaves = b"".join([leaf_hash(entry, lane=lane) for entry in entries])
    return store.appending(lane=lane, entries=entries, leaves=leaves, at=at)


def reverse(
    tx: Connection, *, lane: int, entry_id: UUID, happened_at: datetime, booked_on: date, evidence_id: UUID, at: datetime
) -> Posted:
    """Cancel an entry by posting its full reversal; the entry itself stays. Reversing twice is ``already``.

    Raises:
        NotFound: there is no such entry in the lane.
    """
    found = store.entries(tx, lane=lane, entry_ids=[entry_id])
    if not found:
        raise NotFound(f"there is no entry {entry_id} in lane {lane}")
    entry = reversal_of(found[0], happened_at=happened_at, booked_on=booked_on, evidence_id=evidence_id)
    known = store.entries(tx, lane=lane, entry_ids=[entry.entry_id])
    if known:
        return Posted(posted=0, already=frozenset({entry.entry_id}))
    return post(tx, lane=lane, entries=[entry], at=at)


def _without_repeats(entries: Sequence[Entry]) -> list[Entry]:
    if len(entries) > BATCH_ENTRIES_MAX:
        raise Refused(f"a batch holds at most {BATCH_ENTRIES_MAX} entries, not {len(entries)}", code="batch_too_large")
    by_key: dict[int, Entry] = {}
    for entry in entries:
        first = by_key.setdefault(entry.source_id.int | entry.kind, entry)
        if first is not entry and content(first) != content(entry):
            raise _conflict(first, entry)
    return list(by_key.values())


def _try_write(tx: Connection, *, lane: int, entries: Sequence[Entry], at: datetime) -> bool:
    """Write one batch inside a savepoint. Returns False, with nothing written, when a key was taken."""
    try:
        with tx.begin_nested():
            _write(tx, lane=lane, entries=entries, at=at)
    except psycopg.errors.UniqueViolation:
        return False
    return True


def _write(tx: Connection, *, lane: int, entries: Sequence[Entry], at: datetime) -> None:
    """Write one batch. Raises UniqueViolation when a key is taken; the transaction is then broken."""
    batch_id = store.next_batch(tx, lane=lane, book_ids=sorted({entry.book_id for entry in entries}))
    with raw(tx).cursor() as cursor:
        leaves = _copy(cursor, entries, lane=lane, batch_id=batch_id)
    store.insert_batch(tx, lane=lane, batch_id=batch_id, entries=len(entries), leaves=leaves, at=at)


def _copy(cursor: psycopg.Cursor[object], entries: Sequence[Entry], *, lane: int, batch_id: int) -> bytes:
    leaves: list[bytes] = []
    with cursor.copy(_COPY) as copy:
        copy.write(_COPY_HEAD)
        for start in range(0, len(entries), _CHUNK):
            encoded = [
                encode(entry, lane=lane, batch_id=batch_id, position=position)
                for position, entry in enumerate(entries[start : start + _CHUNK], start)
            ]
            leaves += [leaf for leaf, _ in encoded]
            copy.write(b"".join([rows for _, rows in encoded]))
        copy.write(_COPY_TAIL)
    return b"".join(leaves)


def _already_booked(tx: Connection, *, lane: int, entries: Sequence[Entry]) -> frozenset[UUID]:
    """Return the keys that are in the book with the same content. Raises Conflict for one with other content."""
    booked = {entry.entry_id: entry for entry in store.entries(tx, lane=lane, entry_ids=[x.entry_id for x in entries])}
    for entry in entries:
        before = booked.get(entry.entry_id)
        if before is not None and content(before) != content(entry):
            raise _conflict(before, entry)
    if not booked:
        raise Conflict(f"lane {lane}: a key is taken by a transaction that is not visible here; repeat", code="entry_race")
    return frozenset(booked)


def _conflict(before: Entry, entry: Entry) -> Conflict:
    return Conflict(
        f"entry {entry.entry_id} is in the book with other content: {content(before)} is not {content(entry)}. "
        "Nothing was written; post a reversal and a new entry if the first one was wrong.",
        code="entry_conflict",
    )
