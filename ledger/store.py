"""The questions the book asks of PostgreSQL. Private to this room."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text

from ledger.arrays import bigint, bigints, instant, instants, integer, integers, smallint, uuids
from ledger.errors import Refused
from ledger.journal import Entry, Line
from ledger.volley import Shot, Statement, fire

_NEXT_BATCH: Final = Statement("""
    select nextval('ledger.batch_number'), array(
        select wanted from unnest(%(books)s::integer[]) as wanted
        where not exists (select from ledger.book where book_id = wanted and lane = %(lane)s::smallint))
    """)
_INSERT_BATCH: Final = Statement("""
    insert into ledger.batch (lane, batch_id, entries, leaves, booked_at)
    values (%(lane)s::smallint, %(batch_id)s::bigint, %(entries)s::integer, %(leaves)s::bytea, %(at)s::timestamptz)
    """)


def next_batch(tx: Connection, *, lane: int, book_ids: Sequence[int]) -> int:
    """Take a batch number, after seeing that every book lies in the lane."""
    [[(batch_id, unknown)]] = fire(tx, [_NEXT_BATCH.shot(lane=smallint(lane), books=integers(book_ids))])
    if unknown:
        raise Refused(f"lane {lane} has no book {unknown[:10]}; open the book first", code="book_unknown")
    return int(batch_id)


def insert_batch(tx: Connection, *, lane: int, batch_id: int, entries: int, leaves: bytes, at: datetime) -> None:
    values = {
        "lane": smallint(lane),
        "batch_id": bigint(batch_id),
        "entries": integer(entries),
        "leaves": leaves,
        "at": instant(at),
    }
    fire(tx, [_INSERT_BATCH.shot(**values)])


_APPEND: Final = Statement(
    """
    with asked as materialized (
        select array(
            select distinct wanted from unnest(%(books)s::integer[]) as wanted
            where not exists (select from ledger.book where book_id = wanted and lane = %(lane)s::smallint)) as unknown
    ), batch as (
        insert into ledger.batch (lane, batch_id, entries, leaves, booked_at)
        select %(lane)s, nextval('ledger.batch_number'), %(entries)s::integer, %(leaves)s::bytea, %(at)s::timestamptz
        from asked where cardinality(unknown) = 0
        returning batch_id
    ), rows as (
        insert into ledger.posting (lane, batch_id, position, line, entry_id, evidence_id, book_id, debit_account,
                                    credit_account, amount_fen, happened_at, booked_on, route_id)
        select %(lane)s, batch_id, position, line, entry_id, evidence_id, book_id, debit_account, credit_account, amount_fen,
               happened_at, date '0001-01-01' + (booked_day - 1), route_id
        from batch, unnest(%(positions)s::integer[], %(lines)s::integer[], %(ids)s::uuid[], %(evidence)s::uuid[],
                           %(books)s::integer[], %(debits)s::integer[], %(credits)s::integer[], %(amounts)s::bigint[],
                           %(times)s::timestamptz[], %(days)s::integer[], %(routes)s::integer[])
             as p (position, line, entry_id, evidence_id, book_id, debit_account, credit_account, amount_fen, happened_at,
                   booked_day, route_id)
    )
    select ledger.refuse_unknown_books_v1(%(lane)s, unknown) from asked where cardinality(unknown) > 0
    """,
)


def appending(*, lane: int, entries: Sequence[Entry], leaves: bytes, at: datetime) -> Shot:
    """Return what writes a small batch in one statement. It fails (SQLSTATE TB001) when a book does not lie in the lane."""
    rows = [(position, number, entry, line) for position, entry in enumerate(entries) for number, line in enumerate(entry.lines)]
    return _APPEND.shot(
        lane=smallint(lane),
        entries=integer(len(entries)),
        leaves=leaves,
        at=instant(at),
        positions=integers([position for position, _, _, _ in rows]),
        lines=integers([number for _, number, _, _ in rows]),
        ids=uuids([entry.entry_id for _, _, entry, _ in rows]),
        evidence=uuids([entry.evidence_id for _, _, entry, _ in rows]),
        books=integers([entry.book_id for _, _, entry, _ in rows]),
        debits=integers([line.debit for _, _, _, line in rows]),
        credits=integers([line.credit for _, _, _, line in rows]),
        amounts=bigints([line.amount_fen for _, _, _, line in rows]),
        times=instants([entry.happened_at for _, _, entry, _ in rows]),
        days=integers([entry.booked_on.toordinal() for _, _, entry, _ in rows]),
        routes=integers([entry.route_id for _, _, entry, _ in rows]),
    )


def entries(tx: Connection, *, lane: int, entry_ids: Sequence[UUID]) -> list[Entry]:
    """Return the entries of these ids that are in the book, ordered by id."""
    rows = tx.execute(
        text("""
        select entry_id, book_id, debit_account, credit_account, amount_fen, happened_at, booked_on, evidence_id, route_id
        from ledger.posting where lane = :lane and entry_id = any(:ids)
        order by entry_id, line
        """),
        {"lane": lane, "ids": list(entry_ids)},
    )
    return [as_entry(list(group)) for _, group in groupby(rows, key=attrgetter("entry_id"))]


def as_entry(rows: Sequence[Row[Any]]) -> Entry:
    """Return the entry that these posting rows, in line order, are."""
    first = rows[0]
    return Entry(
        kind=first.entry_id.int & 0xFF,
        source_id=UUID(int=first.entry_id.int & ~0xFF),
        book_id=first.book_id,
        happened_at=first.happened_at,
        booked_on=first.booked_on,
        evidence_id=first.evidence_id,
        route_id=first.route_id,
        lines=tuple(Line(row.debit_account, row.credit_account, row.amount_fen) for row in rows),
    )
