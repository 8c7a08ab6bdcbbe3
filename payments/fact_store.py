"""The applier's questions to PostgreSQL: hold payments and charges, and write what became of them. Private to this room.

The statements run on psycopg directly, prepared, with arrays: they are the hot path of every callback. Called by the applier alone.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from gateways.contract import Result
from ledger.arrays import bigints, blobs, booleans, instants, integers, smallint, texts, uuids
from ledger.volley import Shot, Statement, fire
from payments.decisions import HeldCharge, HeldPayment


class Move(Struct, frozen=True):
    """A state that a payment has without money. With ``keep_query`` the time of the next query stays as it is."""

    payment_id: UUID
    state: str
    next_query_at: datetime | None = None
    keep_query: bool = False


class Taken(Struct, frozen=True):
    """Money taken by a channel: the fact, what it settles, and the event that tells the lot of it."""

    payment_id: UUID
    charge_id: UUID
    evidence_id: UUID
    treatment: str
    """``settled`` also settles the charge."""
    channel: str
    merchant_no: str
    trade_no: str
    amount_fen: int
    happened_at: datetime
    event_id: UUID
    operator_id: int
    lot_id: int
    kind: str
    body: bytes


class TakenBack(Struct, frozen=True):
    """Money that a channel took back."""

    payment_id: UUID
    taken_back_at: datetime


class Reopened(Struct, frozen=True):
    """A charge whose payment was taken back, as it is afterwards. ``settled_by`` None: it is due."""

    charge_id: UUID
    settled_by: UUID | None
    paid_fen: int
    owed_fen: int
    at: datetime
    """When the money was taken back."""


class PaidPart(Struct, frozen=True):
    """A charge that was paid in part, as it is afterwards."""

    charge_id: UUID
    paid_fen: int


class Owed(Struct, frozen=True):
    """What is left of a debt."""

    charge_id: UUID
    owed_fen: int


Holders = dict[tuple[str, str, str], UUID]
"""Which payment holds a trade number, by channel, merchant number and trade number."""

_LOCK: Final = Statement(
    """
with held as materialized (
    select p.payment_id, p.charge_id, p.operator_id, p.book_id, p.channel, p.provider_no, p.merchant_no, p.amount_fen,
           p.state, p.trade_no, p.taken_fen, p.expires_at, p.route_id, p.taken_back_at
    from payments.payment p
    where p.lane = %(lane)s::smallint and p.payment_id = any(%(payments)s::uuid[])
    order by p.payment_id
    for update
), owed as materialized (
    select c.charge_id, c.lot_id, c.lot_serial, c.settled_by, c.is_receivable, c.amount_fen as due_fen, c.paid_fen, c.reduced_fen
    from payments.charge c
    where c.lane = %(lane)s::smallint and c.charge_id = any(array(select charge_id from held))
    order by c.charge_id
    for update
)
select h.*, o.lot_id, o.lot_serial, o.settled_by, o.is_receivable, o.due_fen, o.paid_fen, o.reduced_fen, null::uuid
from held h join owed o on o.charge_id = h.charge_id
union all
select null, null, null, null, f.channel, null, f.merchant_no, null, null, f.trade_no, null, null, null, null, null, null,
       null, null, null, null, null, f.payment_id
from unnest(%(channels)s::text[], %(merchants)s::text[], %(trades)s::text[]) as w (channel, merchant_no, trade_no)
cross join lateral (
    select * from payments.payment_fact f
    where f.lane = %(lane)s::smallint and f.channel = w.channel and f.merchant_no = w.merchant_no and f.trade_no = w.trade_no
    offset 0
) f
""",
)


def lock_payments(
    tx: Connection, *, lane: int, wanted: Sequence[tuple[UUID, Result]]
) -> tuple[dict[UUID, HeldPayment], dict[UUID, HeldCharge], Holders]:
    """Lock the payments in the order of their ids, then their charges in theirs; also return who holds which trade number."""
    paid = [result for _, result in wanted if result.trade_no]
    asked = _LOCK.shot(
        lane=smallint(lane),
        payments=uuids([subject for subject, _ in wanted]),
        channels=texts([result.channel for result in paid]),
        merchants=texts([result.merchant_no for result in paid]),
        trades=texts([result.trade_no for result in paid]),
    )
    payments: dict[UUID, HeldPayment] = {}
    charges: dict[UUID, HeldCharge] = {}
    holders: Holders = {}
    [rows] = fire(tx, [asked])
    for row in rows:
        if row[0] is None:
            holders[row[4], row[6], row[9]] = row[21]
        else:
            payments[row[0]] = HeldPayment(*row[:14])
            charges[row[1]] = HeldCharge(row[1], *row[14:21])
    return payments, charges, holders


_WRITE: Final = Statement(
    """
with taken as materialized (
    select %(lane)s::smallint as lane, u.*
    from unnest(%(payments)s::uuid[], %(charges)s::uuid[], %(evidence)s::uuid[], %(treatments)s::text[],
                         %(channels)s::text[], %(merchants)s::text[], %(trades)s::text[], %(amounts)s::bigint[],
                         %(times)s::timestamptz[], %(events)s::uuid[], %(operators)s::integer[], %(lots)s::integer[],
                         %(kinds)s::text[], %(bodies)s::bytea[])
         as u (payment_id, charge_id, evidence_id, treatment, channel, merchant_no, trade_no, amount_fen, happened_at,
               event_id, operator_id, lot_id, kind, body)
), fact as (
    insert into payments.payment_fact
        (happened_at, amount_fen, payment_id, evidence_id, lane, treatment, channel, merchant_no, trade_no)
    select happened_at, amount_fen, payment_id, evidence_id, %(lane)s::smallint, treatment, channel, merchant_no, trade_no
    from taken
), event as (
    insert into payments.outbox (event_id, lane, operator_id, lot_id, subject, charge_id, kind, body)
    select event_id, %(lane)s::smallint, operator_id, lot_id, payment_id, charge_id, kind, body from taken
), settled as (
    update payments.charge c set state = 'settled', settled_by = t.payment_id, settled_at = t.happened_at,
        paid_fen = c.amount_fen - c.reduced_fen
    from taken t where t.treatment = 'settled' and c.charge_id = t.charge_id and c.lane = t.lane
), answered as (
    delete from payments.next_query q using taken t where q.payment_id = t.payment_id and q.lane = t.lane
)
update payments.payment p
set state = 'succeeded', trade_no = t.trade_no, taken_fen = t.amount_fen, succeeded_at = t.happened_at
from taken t where p.payment_id = t.payment_id and p.lane = t.lane
""",
)


def writing_taken(*, lane: int, taken: Sequence[Taken]) -> Shot:
    """Return what writes money that was taken: facts, final states, settled charges, events. No payment of
    them is asked about again.

    The payments and charges are held by the caller. None of the columns updated here is in an index: see ``0006_lean_writes.sql``.
    """
    return _WRITE.shot(
        lane=smallint(lane),
        payments=uuids([x.payment_id for x in taken]),
        charges=uuids([x.charge_id for x in taken]),
        evidence=uuids([x.evidence_id for x in taken]),
        treatments=texts([x.treatment for x in taken]),
        channels=texts([x.channel for x in taken]),
        merchants=texts([x.merchant_no for x in taken]),
        trades=texts([x.trade_no for x in taken]),
        amounts=bigints([x.amount_fen for x in taken]),
        times=instants([x.happened_at for x in taken]),
        events=uuids([x.event_id for x in taken]),
        operators=integers([x.operator_id for x in taken]),
        lots=integers([x.lot_id for x in taken]),
        kinds=texts([x.kind for x in taken]),
        bodies=blobs([x.body for x in taken]),
    )


_TAKE_BACK: Final = Statement(
    """
with marked as (
    update payments.payment p set taken_back_at = u.taken_back_at
    from unnest(%(payments)s::uuid[], %(times)s::timestamptz[]) as u (payment_id, taken_back_at)
    where p.lane = %(lane)s::smallint and p.payment_id = u.payment_id
)
, reopened as (
    update payments.charge c
    set state = case when u.settled_by is null then 'open' else 'settled' end, settled_by = u.settled_by, paid_fen = u.paid_fen,
        settled_at = (select p.succeeded_at from payments.payment p where p.lane = c.lane and p.payment_id = u.settled_by),
        is_receivable = true
    from unnest(%(charges)s::uuid[], %(settlers)s::uuid[], %(paid)s::bigint[]) as u (charge_id, settled_by, paid_fen)
    where c.lane = %(lane)s::smallint and c.charge_id = u.charge_id
    returning c.charge_id, c.lane, c.operator_id, c.lot_id, c.plate_id
)
insert into payments.debt as d (charge_id, lane, operator_id, lot_id, plate_id, owed_fen, basis, opened_at, due_on, limitation_on)
select r.charge_id, r.lane, r.operator_id, r.lot_id, r.plate_id, u.owed_fen, 'taken_back', u.taken_back_at, due.on_day,
       due.on_day + interval '3 years'
from reopened r
join unnest(%(charges)s::uuid[], %(owed)s::bigint[], %(reopened_at)s::timestamptz[]) as u (charge_id, owed_fen, taken_back_at)
     on u.charge_id = r.charge_id
cross join lateral (select (u.taken_back_at at time zone 'Asia/Shanghai')::date
                    + payments.due_days_v1(r.operator_id, r.lot_id, u.taken_back_at) as on_day) due
on conflict (charge_id, lane) do update set owed_fen = excluded.owed_fen
""",
)


def taking_back(*, lane: int, taken_back: Sequence[TakenBack], reopened: Sequence[Reopened]) -> Shot:
    """Return what marks payments that were taken back and leaves their charges as they are after the batch; behind
    ``writing_taken``. The payments and charges are held by the caller."""
    return _TAKE_BACK.shot(
        lane=smallint(lane),
        payments=uuids([x.payment_id for x in taken_back]),
        times=instants([x.taken_back_at for x in taken_back]),
        charges=uuids([x.charge_id for x in reopened]),
        settlers=uuids([x.settled_by for x in reopened]),
        paid=bigints([x.paid_fen for x in reopened]),
        owed=bigints([x.owed_fen for x in reopened]),
        reopened_at=instants([x.at for x in reopened]),
    )


_PAY_PARTS: Final = Statement(
    """
update payments.charge c set paid_fen = u.paid_fen
from unnest(%(charges)s::uuid[], %(paid)s::bigint[]) as u (charge_id, paid_fen)
where c.lane = %(lane)s::smallint and c.charge_id = u.charge_id
""",
)


def paying_parts(*, lane: int, parts: Sequence[PaidPart]) -> Shot:
    """Return what writes how much of charges is paid of which something stays due. The charges are held by the caller."""
    return _PAY_PARTS.shot(
        lane=smallint(lane), charges=uuids([x.charge_id for x in parts]), paid=bigints([x.paid_fen for x in parts])
    )


_PAY_DEBTS: Final = Statement(
    """
update payments.debt d set owed_fen = u.owed_fen
from unnest(%(charges)s::uuid[], %(owed)s::bigint[]) as u (charge_id, owed_fen)
where d.lane = %(lane)s::smallint and d.charge_id = u.charge_id
""",
)


def paying_debts(*, lane: int, debts: Sequence[Owed]) -> Shot:
    """Return what writes how much is left of debts. Whoever holds a charge holds its debt."""
    return _PAY_DEBTS.shot(
        lane=smallint(lane), charges=uuids([x.charge_id for x in debts]), owed=bigints([x.owed_fen for x in debts])
    )


def counted(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> set[UUID]:
    """Return which payments count for their charges: their money does not lie in suspense."""
    query = text("""
        select payment_id from payments.payment_fact
        where lane = :lane and payment_id = any(cast(:ids as uuid[])) and treatment in ('settled', 'part')
        """)
    return set(tx.execute(query, {"lane": lane, "ids": list(payment_ids)}).scalars())


def moving_payments(*, lane: int, moves: Sequence[Move]) -> Shot:
    """Write states that came without money, and when the channel is asked next. The payments are held by the caller."""
    return _MOVE.shot(
        lane=smallint(lane), ids=uuids([x.payment_id for x in moves]), states=texts([x.state for x in moves]),
        queries=instants([x.next_query_at for x in moves]), keep=booleans([x.keep_query for x in moves]),
    )  # fmt: skip


_MOVE: Final = Statement("""
    with moved as materialized (
        select u.*
        from unnest(%(ids)s::uuid[], %(states)s::text[], %(queries)s::timestamptz[], %(keep)s::boolean[])
             as u (payment_id, state, next_query_at, keep_query)
    ), unasked as (
        delete from payments.next_query q using moved m
        where q.lane = %(lane)s::smallint and q.payment_id = m.payment_id and not m.keep_query and m.next_query_at is null
    ), asked as (
        insert into payments.next_query (payment_id, lane, due_at)
        select payment_id, %(lane)s::smallint, next_query_at from moved where not keep_query and next_query_at is not null
        on conflict (payment_id, lane) do update set due_at = excluded.due_at
    )
    update payments.payment p set state = m.state
    from moved m
    where p.lane = %(lane)s::smallint and p.payment_id = m.payment_id
    """)
