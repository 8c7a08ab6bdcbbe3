"""Claims on bearers as lines: one when a part is earned, one when its charge is cancelled, each booked in the same transaction.

Knows parts, lines, credit notes and the book; must not know how entries are followed or lines settled. Called by ``following``.

A claim is an entry of the payee's book under the part's id; where the bearer keeps a book, the same part is an entry there too.
A return is the reversal of both. An operator that bears a part of its own stay owes itself nothing: it makes no line.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import recipes
from ledger.clock import business_date
from ledger.journal import Entry, reversal_of
from payments.bearers import bearers
from payments.incentive import lines as party_books
from payments.incentive import parties
from payments.incentive.parties import Party


class Line(Struct, frozen=True, kw_only=True):
    """A claim, or its return, as it is kept."""

    part_id: UUID
    returned: bool
    bearer_id: int
    operator_id: int
    amount_fen: int
    happened_at: datetime
    booked_on: date
    evidence_id: UUID


class Earned(Struct, frozen=True):
    """A driver's charge that was booked: when that happened, and what proves it."""

    charge_id: UUID
    happened_at: datetime
    evidence_id: UUID


def claim(tx: Connection, *, lane: int, earned: Sequence[Earned], at: datetime) -> int:
    """Claim the parts beside charges that were booked; returns how many claims that made. What is claimed already makes none.

    The caller holds the lane's cursor.
    """
    if not earned:
        return 0
    given = {name: [getattr(one, name) for one in earned] for name in Earned.__struct_fields__}
    return _write(tx, made=_lines(tx, _CLAIM, given, lane, at), at=at)


def claim_due(tx: Connection, *, lane: int, parts_max: int, at: datetime) -> tuple[int, int]:
    """Claim parts of which nothing is due of a driver; returns how many were looked at and how many claims that made.

    The caller holds the lane's cursor.
    """
    taken = tx.execute(_TAKE_DUE, {"lane": lane, "max": parts_max}).scalars().all()
    if not taken:
        return 0, 0
    return len(taken), _write(tx, made=_lines(tx, _CLAIM_DUE, {"ids": list(taken)}, lane, at), at=at)


def give_back(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], at: datetime) -> int:
    """Return claims whose charges were cancelled or replaced by a credit note; returns how many. A claim is returned once.

    The caller holds the lane's cursor.
    """
    if not charge_ids:
        return 0
    return _write(tx, made=_lines(tx, _GIVE_BACK, {"charges": list(charge_ids)}, lane, at), at=at)


def give_back_due(tx: Connection, *, lane: int, parts_max: int, at: datetime) -> tuple[int, int]:
    """Return claims on parts that were earned at once and then corrected; returns how many were looked at and how many returned.

    One that is not claimed yet waits for its claim. The caller holds the lane's cursor.
    """
    taken = tx.execute(_TAKE_RETURNS, {"lane": lane, "max": parts_max}).all()
    if not taken:
        return 0, 0
    given = {name: [getattr(row, name) for row in taken] for name in ("part_id", "evidence_id", "happened_at")}
    return len(taken), _write(tx, made=_lines(tx, _GIVE_BACK_DUE, given, lane, at), at=at)


def entries_of(line: Line, *, operator: Party, bearer: Party | None) -> list[tuple[Party, Entry]]:
    """Return what a line books: in the payee's book, and in the bearer's when it keeps one."""
    said = {
        "part_id": line.part_id, "amount_fen": line.amount_fen, "happened_at": line.happened_at, "booked_on": line.booked_on,
        "evidence_id": line.evidence_id,
    }  # fmt: skip
    booked = [(operator, recipes.bearer_claimed(book_id=operator.book_id, **said))]  # type: ignore[arg-type]
    if bearer is not None:
        booked.append((bearer, recipes.bearer_owed(book_id=bearer.book_id, **said)))  # type: ignore[arg-type]
    if not line.returned:
        return booked
    when = {"happened_at": line.happened_at, "booked_on": line.booked_on, "evidence_id": line.evidence_id}
    return [(party, reversal_of(entry, **when)) for party, entry in booked]  # type: ignore[arg-type]


def _lines(tx: Connection, query: str, given: Mapping[str, object], lane: int, at: datetime) -> list[Line]:
    rows = tx.execute(text(query), {**given, "lane": lane, "on": business_date(at)})
    return [Line(**row._mapping) for row in rows]


def _write(tx: Connection, *, made: Sequence[Line], at: datetime) -> int:
    if not made:
        return 0
    every = parties.listed(tx)
    operators = {party.operator_id: party for party in every if party.operator_id is not None}
    by_id = {party.party_id: party for party in every}
    kept = {one.bearer_id: None if one.party_id is None else by_id[one.party_id] for one in bearers.listed(tx)}
    booked = [
        pair for line in made for pair in entries_of(line, operator=operators[line.operator_id], bearer=kept[line.bearer_id])
    ]  # fmt: skip
    party_books.post(tx, booked=booked, at=at)
    return len(made)


_INSERT: Final = """
    insert into payments.bearer_line (part_id, returned, lane, bearer_id, operator_id, amount_fen, happened_at, booked_on,
                                      evidence_id)
"""
_MADE: Final = """
    on conflict (part_id, returned, lane) do nothing
    returning part_id, returned, bearer_id, operator_id, amount_fen, happened_at, booked_on, evidence_id
"""
_NOT_ITS_OWN: Final = """
    join payments.bearer r on r.bearer_id = b.bearer_id
    join payments.party own on own.operator_id = b.operator_id and own.party_id is distinct from r.party_id
"""

_CLAIM: Final = f"""
    {_INSERT}
    select b.part_id, false, b.lane, b.bearer_id, b.operator_id, b.amount_fen, e.happened_at, :on, e.evidence_id
    from unnest(cast(:charge_id as uuid[]), cast(:happened_at as timestamptz[]), cast(:evidence_id as uuid[]))
         as e (charge_id, happened_at, evidence_id)
    join payments.borne_part b on b.lane = :lane and b.charge_id = e.charge_id
    {_NOT_ITS_OWN}
    where not exists (select from payments.borne_part_fallen f where f.lane = b.lane and f.part_id = b.part_id)
    order by b.part_id {_MADE}
"""
_TAKE_DUE: Final = text("""
    delete from payments.borne_due where (part_id, lane) in (
        select part_id, lane from payments.borne_due where lane = :lane order by part_id limit :max)
    returning part_id
    """)
_CLAIM_DUE: Final = f"""
    {_INSERT}
    select b.part_id, false, b.lane, b.bearer_id, b.operator_id, b.amount_fen, b.happened_at, :on, b.document_id
    from payments.borne_part b
    {_NOT_ITS_OWN}
    where b.lane = :lane and b.part_id = any(cast(:ids as uuid[]))
    order by b.part_id {_MADE}
"""
_TAKE_RETURNS: Final = text("""
    delete from payments.borne_return_due where (part_id, lane) in (
        select r.part_id, r.lane from payments.borne_return_due r
        where r.lane = :lane and not exists (select from payments.borne_due d where d.lane = r.lane and d.part_id = r.part_id)
        order by r.part_id limit :max)
    returning part_id, evidence_id, happened_at
    """)
_GIVE_BACK_DUE: Final = f"""
    {_INSERT}
    select l.part_id, true, l.lane, l.bearer_id, l.operator_id, l.amount_fen, g.happened_at, :on, g.evidence_id
    from unnest(cast(:part_id as uuid[]), cast(:evidence_id as uuid[]), cast(:happened_at as timestamptz[]))
         as g (part_id, evidence_id, happened_at)
    join payments.bearer_line l on l.lane = :lane and l.part_id = g.part_id and not l.returned
    order by l.part_id {_MADE}
"""
_GIVE_BACK: Final = f"""
    {_INSERT}
    select l.part_id, true, l.lane, l.bearer_id, l.operator_id, l.amount_fen, n.created_at, :on, n.evidence_id
    from payments.borne_part b
    join payments.bearer_line l on l.lane = b.lane and l.part_id = b.part_id and not l.returned
    cross join lateral (
        select x.created_at, x.evidence_id from payments.credit_note x
        where x.lane = b.lane and x.charge_id = b.charge_id and x.kind in ('cancel', 'replace') order by x.note_id limit 1
    ) n
    where b.lane = :lane and b.charge_id = any(cast(:charges as uuid[]))
    order by l.part_id {_MADE}
"""
