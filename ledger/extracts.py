"""Extracts of one book for one business date, read at a seal: every entry with its dense numbers, and totals.

Knows entries, batches and seals; must not know what a payment or an operator is. Called by statements and exports.
An extract read at the same seal is the same for ever, whatever is booked meanwhile.
"""

from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.errors import NotFound

LIMIT_MAX: Final = 10_000


class Seal(Struct, frozen=True):
    """One act of sealing. ``checkpoint`` is the signed note over the first ``tree_size`` entries of the lane."""

    lane: int
    seal_id: int
    tree_size: int
    checkpoint: str
    sealed_at: datetime


class Extent(Struct, frozen=True):
    """What an extract covers: the entries of one book booked on one business date, among the first ``tree_size`` of the lane."""

    lane: int
    book_id: int
    booked_on: date
    tree_size: int


class NumberedEntry(Struct, frozen=True):
    """A sealed entry. ``number`` counts the book's own entries from 1, without gaps; ``leaf_index`` the lane's leaves from 0, which
    are its entries and, rarely, documents between them.

    The accounts are those of the entry's first row; ``amount_fen`` sums its rows.
    """

    number: int
    leaf_index: int
    entry_id: UUID
    debit_account: int
    credit_account: int
    amount_fen: int
    happened_at: datetime


class ExtractTotal(Struct, frozen=True):
    """Rows of the extract that share kind and accounts."""

    kind: int
    debit_account: int
    credit_account: int
    entries: int
    amount_fen: int


def seal(tx: Connection, *, lane: int, tree_size: int | None = None) -> Seal | None:
    """Return the last seal of a lane, or the one over ``tree_size`` entries. None before the first.

    Raises:
        NotFound: ``seal_not_found``, no seal of the lane has this size.
    """
    row = tx.execute(
        text("""
        select lane, seal_id, tree_size, checkpoint, sealed_at from ledger.seal
        where lane = :lane and (tree_size = :size or cast(:size as bigint) is null)
        order by seal_id desc limit 1
        """),
        {"lane": lane, "size": tree_size},
    ).first()
    if row is None and tree_size is not None:
        raise NotFound(f"lane {lane} has no seal over {tree_size} entries", code="seal_not_found")
    return None if row is None else Seal(*row)


_EXTRACT: Final = text("""
with start as (  -- everything before the seal that holds entry number :after was read on an earlier page
    select coalesce((
        select s.tree_size from ledger.book_seal b join ledger.seal s on s.lane = b.lane and s.seal_id = b.seal_id - 1
        where b.lane = :lane and b.book_id = :book and b.first_number <= :after
        order by b.seal_id desc limit 1), 0) as first_index
), day as materialized (
    select p.seal_id, p.leaf_index, p.entry_id, p.line, p.debit_account, p.credit_account, p.amount_fen, p.happened_at
    from ledger.v_posting p
    where p.lane = :lane and p.book_id = :book and p.booked_on = :day
      and p.leaf_index >= (select first_index from start) and p.leaf_index < :size
), mixed as (  -- seals that added entries of other dates too: those count for the numbers
    select b.seal_id, coalesce(before.tree_size, 0) as low, s.tree_size as high
    from ledger.book_seal b
    join ledger.seal s on s.lane = b.lane and s.seal_id = b.seal_id
    left join ledger.seal before on before.lane = b.lane and before.seal_id = b.seal_id - 1
    join (select seal_id, count(*) as entries from day where line = 0 group by seal_id) d on d.seal_id = b.seal_id
    where b.lane = :lane and b.book_id = :book and b.entries > d.entries
), places as (
    select seal_id, leaf_index, true as wanted from day where line = 0
    union all
    select m.seal_id, s.first_index + p.position, false
    from mixed m
    join ledger.sealed_batch s on s.lane = :lane and s.first_index >= m.low and s.first_index < m.high
    join ledger.posting p on p.lane = :lane and p.batch_id = s.batch_id and p.book_id = :book
    where p.line = 0 and p.booked_on <> :day
), numbered as (
    select leaf_index, wanted,
           b.first_number + row_number() over (partition by p.seal_id order by leaf_index) - 1 as number
    from places p join ledger.book_seal b on b.lane = :lane and b.book_id = :book and b.seal_id = p.seal_id
), page as materialized (
    select number, leaf_index from numbered where wanted and number > :after order by number limit :limit
)
select page.number, page.leaf_index, d.entry_id, min(d.debit_account) filter (where d.line = 0) as debit_account,
       min(d.credit_account) filter (where d.line = 0) as credit_account, sum(d.amount_fen)::bigint as amount_fen,
       min(d.happened_at) as happened_at
from page join day d on d.leaf_index = page.leaf_index
group by page.number, page.leaf_index, d.entry_id
order by page.number
""")


def entries(tx: Connection, *, where: Extent, after: int = 0, limit: int) -> list[NumberedEntry]:
    """Return the entries of an extent in order of their number. ``after`` is the last number already read, ``limit`` at most
    ``LIMIT_MAX``.
    """
    asked = _asked(where) | {"after": after, "limit": min(limit, LIMIT_MAX)}
    return [NumberedEntry(*row) for row in tx.execute(_EXTRACT, asked)]


def totals(tx: Connection, *, where: Extent) -> list[ExtractTotal]:
    """Return the same entries summed up by kind and accounts, ordered by these. An entry of several rows
    counts once, with its first row."""
    query = text("""
        select kind, debit_account, credit_account, count(*) filter (where line = 0), sum(amount_fen)::bigint
        from ledger.v_posting
        where lane = :lane and book_id = :book and booked_on = :day and leaf_index < :size
        group by kind, debit_account, credit_account
        order by kind, debit_account, credit_account
        """)
    return [ExtractTotal(*row) for row in tx.execute(query, _asked(where))]


def _asked(where: Extent) -> dict[str, Any]:
    return {"lane": where.lane, "book": where.book_id, "day": where.booked_on, "size": where.tree_size}
