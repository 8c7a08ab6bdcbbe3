"""Shares of recovered debts as lines: given once per payment, taken back in proportion when its money goes back, and booked.

Knows rules, lines and the book; must not know how a payment was attributed or how lines are settled. Called by ``following``.

A line is two entries under one source: the owner owes the share, and who it goes to has earned it. Its id joins the two.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import book, recipes
from ledger.clock import business_date
from ledger.ids import Ids
from ledger.journal import REVERSAL, Entry, EntryKind
from payments.incentive import parties, rules
from payments.incentive.parties import Party
from payments.incentive.rules import Rule


class Recovery(Struct, frozen=True, kw_only=True):
    """A payment of a debt with who owned it and who recovered it."""

    payment_id: UUID
    owner_id: int
    recoverer_id: int
    district: str
    days: int
    recovered_fen: int
    happened_at: datetime
    evidence_id: UUID


class Line(Struct, frozen=True, kw_only=True):
    """A share given, or taken back, as it is kept."""

    line_id: UUID
    payment_id: UUID
    number: int
    turn: int
    rule_id: UUID
    owner_id: int
    recoverer_id: int
    amount_fen: int
    returned: bool
    happened_at: datetime
    booked_on: date
    evidence_id: UUID


class _Moved(Struct, frozen=True, kw_only=True):
    """How much of a recovered payment has gone back, with the last word about it."""

    payment_id: UUID
    recovered_fen: int
    gone_fen: int
    happened_at: datetime
    evidence_id: UUID


def give(tx: Connection, *, lane: int, recoveries: Sequence[Recovery], at: datetime, ids: Ids) -> int:
    """Give the shares that the rules in force at each payment name, book them, and return how many lines that made.

    The caller holds the lane's cursor, and no payment among these has lines.
    """
    by_others = [one for one in recoveries if one.recoverer_id != one.owner_id]
    if not by_others:
        return 0
    known, every = rules.rules(tx), {party.party_id: party for party in parties.listed(tx)}
    made = [line for one in by_others for line in _given(one, known, every, at, ids)]
    _write(tx, lane=lane, lines=made, every=every, at=at)
    return len(made)


def correct(tx: Connection, *, lane: int, payment_ids: Sequence[UUID], at: datetime, ids: Ids) -> int:
    """Let the shares of payments be what is left of them after refunds and what was taken back; returns how many lines that made.

    A share is what was given in proportion to what the payee still has, so it is never more than what was given, and never less
    than nothing. May be repeated: what is right already makes no line. The caller holds the lane's cursor.
    """
    if not payment_ids:
        return 0
    before = _lines_of(tx, lane=lane, payment_ids=payment_ids)
    if not before:
        return 0
    moved = {one.payment_id: one for one in _moved(tx, lane=lane, payment_ids=sorted({line.payment_id for line in before}))}
    every = {party.party_id: party for party in parties.listed(tx)}
    made = [
        line
        for (payment_id, _), share in groupby(before, key=lambda line: (line.payment_id, line.number))
        if payment_id in moved
        for line in _corrected(list(share), moved[payment_id], at, ids)
    ]
    _write(tx, lane=lane, lines=made, every=every, at=at)
    return len(made)


def entries_of(line: Line, *, owner: Party, recoverer: Party) -> tuple[Entry, Entry]:
    """Return what a line books: in the owner's book, and in the recoverer's."""
    said = {
        "line_id": line.line_id, "amount_fen": line.amount_fen, "happened_at": line.happened_at, "booked_on": line.booked_on,
        "evidence_id": line.evidence_id, "returned": line.returned,
    }  # fmt: skip
    return (
        recipes.incentive_owed(book_id=owner.book_id, **said),  # type: ignore[arg-type]
        recipes.incentive_earned(book_id=recoverer.book_id, **said),  # type: ignore[arg-type]
    )


def post(tx: Connection, *, booked: Iterable[tuple[Party, Entry]], at: datetime) -> None:
    """Post entries into the books of their parties, a batch per lane and ten thousand."""
    for lane, of_lane in groupby(sorted(booked, key=lambda one: one[0].lane), key=lambda one: one[0].lane):
        entries = [entry for _, entry in of_lane]
        for start in range(0, len(entries), book.BATCH_ENTRIES_MAX):
            book.post(tx, lane=lane, entries=entries[start : start + book.BATCH_ENTRIES_MAX], at=at)


def _given(one: Recovery, known: Sequence[Rule], every: dict[int, Party], at: datetime, ids: Ids) -> Iterator[Line]:
    owner = every[one.owner_id]
    assert owner.operator_id is not None
    rule = rules.in_force(
        known, operator_id=owner.operator_id, district=one.district, recoverer=every[one.recoverer_id], at=one.happened_at
    )
    if rule is None:
        return
    shares = rules.shares_of(
        rule, recovered_fen=one.recovered_fen, days=one.days, owner_id=one.owner_id, recoverer_id=one.recoverer_id
    )
    for share in shares:
        yield Line(
            line_id=ids.new(at, f"incentive {one.payment_id} {share.number} 0"), payment_id=one.payment_id, number=share.number,
            turn=0, rule_id=rule.rule_id, owner_id=one.owner_id, recoverer_id=share.party_id, amount_fen=share.amount_fen,
            returned=False, happened_at=one.happened_at, booked_on=business_date(at), evidence_id=one.evidence_id,
        )  # fmt: skip


def _corrected(share: Sequence[Line], moved: _Moved, at: datetime, ids: Ids) -> Iterator[Line]:
    first, turn = share[0], len(share)
    stands = sum(-line.amount_fen if line.returned else line.amount_fen for line in share)
    right = rules.kept_of(first.amount_fen, recovered_fen=moved.recovered_fen, gone_fen=moved.gone_fen)
    if right != stands:
        yield Line(
            line_id=ids.new(at, f"incentive {first.payment_id} {first.number} {turn}"), payment_id=first.payment_id,
            number=first.number, turn=turn, rule_id=first.rule_id, owner_id=first.owner_id, recoverer_id=first.recoverer_id,
            amount_fen=abs(right - stands), returned=right < stands, happened_at=moved.happened_at, booked_on=business_date(at),
            evidence_id=moved.evidence_id,
        )  # fmt: skip


def _write(tx: Connection, *, lane: int, lines: Sequence[Line], every: dict[int, Party], at: datetime) -> None:
    if not lines:
        return
    tx.execute(
        text("""
        insert into payments.incentive_line (line_id, lane, payment_id, number, turn, rule_id, owner_id, recoverer_id, amount_fen,
                                             returned, happened_at, booked_on, evidence_id)
        select line_id, :lane, payment_id, number, turn, rule_id, owner_id, recoverer_id, amount_fen, returned, happened_at,
               booked_on, evidence_id
        from unnest(cast(:line_id as uuid[]), cast(:payment_id as uuid[]), cast(:number as smallint[]), cast(:turn as smallint[]),
                    cast(:rule_id as uuid[]), cast(:owner_id as integer[]), cast(:recoverer_id as integer[]),
                    cast(:amount_fen as bigint[]), cast(:returned as boolean[]), cast(:happened_at as timestamptz[]),
                    cast(:booked_on as date[]), cast(:evidence_id as uuid[]))
             as n (line_id, payment_id, number, turn, rule_id, owner_id, recoverer_id, amount_fen, returned, happened_at, booked_on,
                   evidence_id)
        """),
        {name: [getattr(line, name) for line in lines] for name in Line.__struct_fields__} | {"lane": lane},
    )
    booked = []
    for line in lines:
        owner, recoverer = every[line.owner_id], every[line.recoverer_id]
        owed, earned = entries_of(line, owner=owner, recoverer=recoverer)
        booked += [(owner, owed), (recoverer, earned)]
    post(tx, booked=booked, at=at)


def _lines_of(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> list[Line]:
    """Return the lines of payments by payment, share and turn."""
    query = text("""
        select line_id, payment_id, number, turn, rule_id, owner_id, recoverer_id, amount_fen, returned, happened_at, booked_on,
               evidence_id
        from payments.incentive_line where lane = :lane and payment_id = any(cast(:ids as uuid[]))
        order by payment_id, number, turn
        """)
    return [Line(**row._mapping) for row in tx.execute(query, {"lane": lane, "ids": list(payment_ids)})]


def _moved(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> list[_Moved]:
    """Return how much of each payment has gone back; payments of which nothing ever did are left out."""
    return [_Moved(**row._mapping) for row in tx.execute(_MOVED, {"lane": lane, "ids": list(payment_ids)})]


_MOVED: Final = text(f"""
    select r.payment_id, r.recovered_fen,
           case when p.taken_back_at is not null then r.recovered_fen else least(r.recovered_fen, back.fen) end as gone_fen,
           e.happened_at, e.evidence_id
    from payments.recovery r
    join payments.payment p on p.lane = r.lane and p.payment_id = r.payment_id
    cross join lateral (
        select coalesce(sum(x.amount_fen) filter (where x.state = 'done'), 0)::bigint as fen
        from payments.refund x where x.lane = r.lane and x.payment_id = r.payment_id
    ) back
    cross join lateral (
        select v.happened_at, v.evidence_id from ledger.v_posting v
        where v.lane = r.lane and v.line = 0 and v.entry_id in (
            select cast(left(x.refund_id::text, 34) || k.kind as uuid)
            from payments.refund x
            cross join (values ('{EntryKind.REFUND_DONE:02x}'), ('{EntryKind.REFUND_DONE + REVERSAL:02x}')) k (kind)
            where x.lane = r.lane and x.payment_id = r.payment_id
            union all select cast(left(r.payment_id::text, 34) || '{EntryKind.BAD_DEBT:02x}' as uuid))
        order by v.happened_at desc, v.entry_id desc limit 1
    ) e
    where r.lane = :lane and r.payment_id = any(cast(:ids as uuid[]))
    order by r.payment_id
    """)
