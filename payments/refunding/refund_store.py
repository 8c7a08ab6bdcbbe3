"""The questions refunds ask of PostgreSQL. Private to this room.

Whoever changes a refund's schedule holds the refund's row; a claim waits for no lock (``skip locked``), so never in a circle.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, Row, text

from gateways.contract import Way
from payments.refunding.refund_decisions import BY_HAND, HeldRefund, State


class Refundable(Struct, frozen=True):
    """A payment as a refund needs it: what it took, where, and how it was booked."""

    payment_id: UUID
    operator_id: int
    book_id: int
    lot_id: int
    channel: str
    provider_no: str
    merchant_no: str
    trade_no: str
    taken_fen: int
    from_suspense: bool
    refunded_fen: int
    """Refunds that are promised or made."""
    is_taken_back: bool
    """The channel took back what it had paid."""


class Refund(Struct, frozen=True, kw_only=True):
    """One refund as callers see it."""

    refund_id: UUID
    payment_id: UUID
    lane: int
    operator_id: int
    channel: str
    provider_no: str
    merchant_no: str
    trade_no: str
    amount_fen: int
    total_fen: int
    source: str
    source_ref: str
    reason: str
    state: State
    done_at: datetime | None
    created_at: datetime
    asked: int
    way: Way
    key_ref: str | None
    paid_at: datetime


_COLUMNS: Final = """refund_id, payment_id, lane, operator_id, channel, provider_no, merchant_no, trade_no, amount_fen, total_fen,
    source, source_ref, reason, state, done_at, created_at, asked"""
_FROM: Final = "payments.refund r join payments.payment p using (lane, payment_id)"
_SELECT: Final = f"""
select {", ".join(f"r.{name.strip()}" for name in _COLUMNS.split(","))}, p.way, p.key_ref, p.succeeded_at as paid_at from {_FROM}
"""


def _refund(row: Row[Any]) -> Refund:
    return Refund(**(dict(row._mapping) | {"way": Way(row.way)}))


def hold_payment(tx: Connection, *, lane: int, payment_id: UUID) -> Refundable | None:
    """Return a payment that took money, and hold its row: whoever promises a refund of it does so one after another."""
    held = tx.execute(
        text("select 1 from payments.payment where lane = :lane and payment_id = :id and state = 'succeeded' for update"),
        {"lane": lane, "id": payment_id},
    ).first()
    if held is None:
        return None
    row = tx.execute(
        text("""
        select p.payment_id, p.operator_id, p.book_id, c.lot_id, p.channel, p.provider_no, p.merchant_no, p.trade_no, p.taken_fen,
               f.treatment not in ('settled', 'part') as from_suspense, p.taken_back_at is not null as is_taken_back,
               (select coalesce(sum(r.amount_fen), 0)::bigint from payments.refund r
                where r.lane = p.lane and r.payment_id = p.payment_id and r.state <> 'closed') as refunded_fen
        from payments.payment p
        join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
        join payments.payment_fact f
          on f.lane = p.lane and f.channel = p.channel and f.merchant_no = p.merchant_no and f.trade_no = p.trade_no
        where p.lane = :lane and p.payment_id = :id
        """),
        {"lane": lane, "id": payment_id},
    ).one()
    return Refundable(**row._mapping)


def insert(
    tx: Connection, *, lane: int, refund_id: UUID, of: Refundable, amount_fen: int, source: str, source_ref: str, reason: str,
    at: datetime,
) -> None:  # fmt: skip
    """Insert a promised refund whose channel is called at once; of what was taken by hand nobody is called."""
    tx.execute(
        text("""
        with made as (
            insert into payments.refund (refund_id, lane, payment_id, operator_id, book_id, channel, provider_no, merchant_no,
                                         trade_no, amount_fen, total_fen, from_suspense, source, source_ref, reason, state,
                                         created_at)
            values (:refund_id, :lane, :payment_id, :operator_id, :book_id, :channel, :provider_no, :merchant_no,
                    :trade_no, :amount_fen, :taken_fen, :from_suspense, :source, :source_ref, :reason, 'promised',
                    :at)
            returning refund_id, lane
        )
        insert into payments.next_refund (refund_id, lane, due_at)
        select refund_id, lane, :at from made where :channel <> all(cast(:by_hand as text[]))
        """),
        {
            "refund_id": refund_id, "lane": lane, "payment_id": of.payment_id, "operator_id": of.operator_id, "book_id": of.book_id,
            "channel": of.channel, "provider_no": of.provider_no, "merchant_no": of.merchant_no, "trade_no": of.trade_no,
            "amount_fen": amount_fen, "taken_fen": of.taken_fen, "from_suspense": of.from_suspense, "source": source,
            "source_ref": source_ref, "reason": reason, "at": at, "by_hand": sorted(BY_HAND),
        },
    )  # fmt: skip


def is_of_lot(tx: Connection, *, lane: int, lot_id: int, payment_id: UUID) -> bool:
    query = text("select 1 from payments.v_payment where lane = :lane and payment_id = :id and lot_id = :lot")
    return tx.execute(query, {"lane": lane, "id": payment_id, "lot": lot_id}).first() is not None


def by_reference(tx: Connection, *, lane: int, payment_id: UUID, source: str, source_ref: str) -> Refund | None:
    row = tx.execute(
        text(_SELECT + "where r.lane = :lane and r.payment_id = :payment and r.source = :source and r.source_ref = :ref"),
        {"lane": lane, "payment": payment_id, "source": source, "ref": source_ref},
    ).first()
    return None if row is None else _refund(row)


def of_payment(tx: Connection, *, lane: int, payment_id: UUID) -> list[Refund]:
    """Return a payment's refunds, the oldest first."""
    query = text(_SELECT + "where r.lane = :lane and r.payment_id = :id order by r.refund_id")
    return [_refund(row) for row in tx.execute(query, {"lane": lane, "id": payment_id})]


def gone_back(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return how many fen of each payment have gone back to the payer; payments without a refund are left out."""
    rows = tx.execute(
        text("""
        select payment_id, sum(amount_fen)::bigint as fen from payments.refund
        where lane = :lane and payment_id = any(cast(:ids as uuid[])) and state = 'done' group by payment_id
        """),
        {"lane": lane, "ids": list(payment_ids)},
    )
    return {row.payment_id: row.fen for row in rows}


def refunded(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these payments have a refund that is not closed. They are held by the caller, so it stays so."""
    query = text("""
        select distinct payment_id from payments.refund
        where lane = :lane and payment_id = any(cast(:ids as uuid[])) and state <> 'closed'
        """)
    return set(tx.execute(query, {"lane": lane, "ids": list(payment_ids)}).scalars())


def hold(tx: Connection, *, lane: int, refund_ids: Sequence[UUID]) -> dict[UUID, HeldRefund]:
    """Hold refunds in the order of their ids."""
    tx.execute(
        text("""
        select 1 from payments.refund where lane = :lane and refund_id = any(cast(:ids as uuid[])) order by refund_id for update
        """),
        {"lane": lane, "ids": list(refund_ids)},
    )
    rows = tx.execute(
        text("""
        select r.refund_id, r.payment_id, r.operator_id, r.book_id, c.lot_id, c.charge_id, c.lot_serial, r.channel, r.provider_no,
               r.merchant_no, r.trade_no, r.amount_fen, r.from_suspense, r.source, r.source_ref, r.state,
               r.done_at is not null as was_done
        from payments.refund r
        join payments.payment p on p.lane = r.lane and p.payment_id = r.payment_id
        join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
        where r.lane = :lane and r.refund_id = any(cast(:ids as uuid[]))
        """),
        {"lane": lane, "ids": list(refund_ids)},
    )
    return {row.refund_id: HeldRefund(**row._mapping) for row in rows}


class Move(Struct, frozen=True):
    """A refund's new state. ``due_at`` None takes it off the schedule, unless ``keep_schedule``."""

    refund_id: UUID
    state: State
    channel_refund_no: str | None = None
    done_at: datetime | None = None
    due_at: datetime | None = None
    keep_schedule: bool = False


def move(tx: Connection, *, lane: int, moves: Sequence[Move]) -> None:
    """Write new states and schedules. The refunds are held by the caller."""
    given = {
        "lane": lane, "ids": [x.refund_id for x in moves], "states": [x.state for x in moves],
        "numbers": [x.channel_refund_no for x in moves], "done": [x.done_at for x in moves], "due": [x.due_at for x in moves],
        "keep": [x.keep_schedule for x in moves],
    }  # fmt: skip
    for statement in _MOVE:
        tx.execute(text(statement), given)


_GIVEN: Final = """
unnest(cast(:ids as uuid[]), cast(:states as text[]), cast(:numbers as text[]), cast(:done as timestamptz[]),
       cast(:due as timestamptz[]), cast(:keep as boolean[])) as u (refund_id, state, number, done_at, due_at, keep)
"""
_MOVE: Final = (
    f"""
    update payments.refund r
    set state = u.state, channel_refund_no = coalesce(u.number, r.channel_refund_no), done_at = coalesce(u.done_at, r.done_at)
    from {_GIVEN} where r.lane = :lane and r.refund_id = u.refund_id
    """,
    f"""
    delete from payments.next_refund n using {_GIVEN}
    where n.lane = :lane and n.refund_id = u.refund_id and not u.keep and u.due_at is null
    """,
    f"""
    insert into payments.next_refund (refund_id, lane, due_at)
    select u.refund_id, :lane, u.due_at from {_GIVEN} where u.due_at is not null and not u.keep
    on conflict (refund_id, lane) do update set due_at = excluded.due_at
    """,
)


def claim_due(
    tx: Connection, *, lane: int, at: datetime, until: datetime, after: Sequence[timedelta], limit: int
) -> list[Refund]:  # fmt: skip
    """Claim the refunds whose next call is due and schedule the one after it; returns them in the order of their ids.

    ``after`` says how long after each call the next one follows; the last counts for all further ones.
    """
    rows = tx.execute(
        text(f"""
        with due as (
            select r.refund_id, r.payment_id, r.lane, r.asked
            from payments.next_refund n join payments.refund r on r.lane = n.lane and r.refund_id = n.refund_id
            where n.lane = :lane and n.due_at <= :at and (r.claimed_until is null or r.claimed_until <= :at)
            order by n.due_at, n.refund_id
            limit :limit
            for update of n, r skip locked
        ), later as (
            update payments.next_refund n set due_at = cast(:at as timestamptz) + pauses[least(d.asked + 1, cardinality(pauses))]
            from due d, cast(:after as interval[]) as pauses
            where n.lane = d.lane and n.refund_id = d.refund_id
        )
        update payments.refund r set claimed_until = :until, asked = r.asked + 1
        from due d join payments.payment p on p.lane = d.lane and p.payment_id = d.payment_id
        where r.lane = d.lane and r.refund_id = d.refund_id
        returning {", ".join(f"r.{name.strip()}" for name in _COLUMNS.split(","))}, p.way, p.key_ref, p.succeeded_at as paid_at
        """),
        {"lane": lane, "at": at, "until": until, "after": list(after), "limit": limit},
    )
    return sorted((_refund(row) for row in rows), key=lambda refund: refund.refund_id)


def postpone(tx: Connection, *, lane: int, until: Mapping[UUID, datetime]) -> None:
    """Let the next call of refunds wait longer than it would."""
    tx.execute(
        text("""
        update payments.next_refund n set due_at = greatest(n.due_at, u.until)
        from unnest(cast(:ids as uuid[]), cast(:untils as timestamptz[])) as u (refund_id, until)
        where n.lane = :lane and n.refund_id = u.refund_id
        """),
        {"lane": lane, "ids": list(until), "untils": list(until.values())},
    )


def release(tx: Connection, *, lane: int, refund_ids: Sequence[UUID]) -> None:
    """Give claimed refunds back."""
    tx.execute(
        text("update payments.refund set claimed_until = null where lane = :lane and refund_id = any(cast(:ids as uuid[]))"),
        {"lane": lane, "ids": list(refund_ids)},
    )


class OpenCase(Struct, frozen=True):
    """An open case of a second payment: its money is to go back."""

    case_id: UUID
    payment_id: UUID
    amount_fen: int
    evidence_id: UUID


def second_payments(tx: Connection, *, lane: int, fen_max: int, limit: int) -> list[OpenCase]:
    """Return open cases of second payments up to an amount, the oldest first.

    Left out are those that somebody refunds already, if only in part, and those whose own refund was not made: a person decides.
    """
    rows = tx.execute(
        text("""
        select c.case_id, c.payment_id, c.amount_fen, c.evidence_id
        from payments.payment_case c
        where c.lane = :lane and c.kind = 'refund_second_payment' and c.state = 'open' and c.payment_id is not null
          and c.amount_fen <= :most
          and not exists (select from payments.refund r where r.lane = c.lane and r.payment_id = c.payment_id
                          and (r.state <> 'closed' or r.source = 'case'))
        order by c.case_id
        limit :limit
        """),
        {"lane": lane, "most": fen_max, "limit": limit},
    )
    return [OpenCase(**row._mapping) for row in rows]


def close_cases(tx: Connection, *, lane: int, case_ids: Sequence[str]) -> None:
    """Close cases whose money has gone back."""
    tx.execute(
        text("update payments.payment_case set state = 'closed' where lane = :lane and case_id = any(cast(:ids as uuid[]))"),
        {"lane": lane, "ids": list(case_ids)},
    )
