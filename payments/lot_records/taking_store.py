"""The questions that takings and cash slips ask of PostgreSQL, set by set. Private to this room; called by ``takings``."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.lot_records.numbers import Series
from payments.lots import Lot

SERIES: Final[Series] = "taking"


class Owed(Struct, frozen=True):
    """A charge that a taking may pay, and what is due of it; 0: nothing."""

    charge_id: UUID
    lot_serial: str
    owed_fen: int
    is_receivable: bool


class TakingRow(Struct, frozen=True, kw_only=True):
    """A taking as it is kept. ``charge_serial`` is read with it and not written."""

    taking_id: UUID
    lot_serial: str
    channel: str
    amount_fen: int
    taken_at: datetime
    charge_id: UUID | None
    payment_id: UUID | None
    plate_id: int | None
    evidence_text: str | None
    evidence_digest: bytes | None
    charge_serial: str | None = None


class Paying(Struct, frozen=True, kw_only=True):
    """The payment of a taking that pays a charge: what was ordered, and what tells it from others."""

    payment_id: UUID
    order_id: UUID
    charge_id: UUID
    channel: str
    ordered_fen: int
    token_digest: bytes
    payer_digest: bytes


class SlipRow(Struct, frozen=True, kw_only=True):
    """A bank slip as it is kept."""

    slip_id: UUID
    lot_id: int
    amount_fen: int
    banked_at: datetime
    bank: str | None


class TillDay(Struct, frozen=True, kw_only=True):
    """A lot's till on a day (China), in fen: what came in, what went to the bank or back, what was in it at the end of the day.

    ``cash_returned_fen`` and ``legacy_returned_fen`` are what the lot handed back, out of the till and over the old code.
    """

    day: date
    cash_for_charges_fen: int
    cash_without_charge_fen: int
    legacy_fen: int
    cash_returned_fen: int
    legacy_returned_fen: int
    banked_fen: int
    in_till_fen: int


def owed(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, Owed]:
    """Return the charges of a lot that have these serials, with what is due of each."""
    query = text("""
        select charge_id, lot_serial, case when state = 'open' then amount_fen - paid_fen - reduced_fen else 0 end as owed_fen,
               is_receivable
        from payments.charge
        where lane = :lane and lot_id = :lot and lot_serial = any(cast(:serials as text[]))
        """)
    found = tx.execute(query, {"lane": lane, "lot": lot_id, "serials": list(serials)})
    return {row.lot_serial: Owed(**row._mapping) for row in found}


def by_serial(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, TakingRow]:
    """Return the takings of a lot that have these serials."""
    query = text("""
        select t.taking_id, t.lot_serial, t.channel, t.amount_fen, t.taken_at, t.charge_id, t.payment_id, t.plate_id,
               t.evidence_text, t.evidence_digest, c.lot_serial as charge_serial
        from payments.taking t left join payments.charge c on c.lane = t.lane and c.charge_id = t.charge_id
        where t.lane = :lane and t.lot_id = :lot and t.lot_serial = any(cast(:serials as text[]))
        """)
    found = tx.execute(query, {"lane": lane, "lot": lot_id, "serials": list(serials)})
    return {row.lot_serial: TakingRow(**row._mapping) for row in found}


def insert(tx: Connection, *, lane: int, lot: Lot, rows: Sequence[TakingRow], evidence_id: UUID, at: datetime) -> None:
    """Insert takings in the order given, and put the cash among them into the lot's till."""
    names = (
        "taking_id", "lot_serial", "channel", "amount_fen", "taken_at", "charge_id", "payment_id", "plate_id", "evidence_text",
        "evidence_digest",
    )  # fmt: skip
    tx.execute(
        text("""
        insert into payments.taking (taking_id, lane, operator_id, lot_id, lot_serial, channel, amount_fen, taken_at, charge_id,
                                     payment_id, plate_id, evidence_text, evidence_digest, evidence_id, created_at)
        select taking_id, :lane, :operator, :lot, lot_serial, channel, amount_fen, taken_at, charge_id, payment_id, plate_id,
               evidence_text, evidence_digest, :evidence, :at
        from unnest(cast(:taking_id as uuid[]), cast(:lot_serial as text[]), cast(:channel as text[]),
                    cast(:amount_fen as bigint[]), cast(:taken_at as timestamptz[]), cast(:charge_id as uuid[]),
                    cast(:payment_id as uuid[]),
                    cast(:plate_id as bigint[]), cast(:evidence_text as text[]), cast(:evidence_digest as bytea[]))
             as n (taking_id, lot_serial, channel, amount_fen, taken_at, charge_id, payment_id, plate_id, evidence_text,
                   evidence_digest)
        """),
        {"lane": lane, "operator": lot.operator_id, "lot": lot.lot_id, "evidence": evidence_id, "at": at} | _columns(rows, *names),
    )
    if cash := sum(row.amount_fen for row in rows if row.channel == "cash"):
        tx.execute(
            text("""
            insert into payments.lot_till as t (lot_id, lane, taken_fen, banked_fen) values (:lot, :lane, :cash, 0)
            on conflict (lot_id, lane) do update set taken_fen = t.taken_fen + excluded.taken_fen
            """),
            {"lot": lot.lot_id, "lane": lane, "cash": cash},
        )


def insert_payments(tx: Connection, *, lane: int, lot: Lot, rows: Sequence[Paying], at: datetime) -> None:
    """Insert for each taking that pays a charge its order and its payment, which the applier then finds paid.

    Nobody can be asked about such a payment, and nobody can pay it any more: it was paid at the counter.
    """
    given = {"lane": lane, "lot": lot.lot_id, "operator": lot.operator_id, "merchant": lot.operator_code, "at": at} | _columns(
        rows, "payment_id", "order_id", "charge_id", "channel", "ordered_fen", "token_digest", "payer_digest"
    )
    tx.execute(
        text("""
        insert into payments.pay_order (order_id, lane, charge_id, lot_id, amount_fen, token_digest, expires_at, created_at)
        select order_id, :lane, charge_id, :lot, ordered_fen, token_digest, :at, :at
        from unnest(cast(:order_id as uuid[]), cast(:charge_id as uuid[]), cast(:ordered_fen as bigint[]),
                    cast(:token_digest as bytea[])) as n (order_id, charge_id, ordered_fen, token_digest)
        """),
        given,
    )
    tx.execute(
        text("""
        insert into payments.payment (payment_id, order_id, charge_id, lane, operator_id, book_id, route_id, channel, provider_no,
                                      merchant_no, way, key_ref, amount_fen, state, payer_digest, created_at, expires_at)
        select payment_id, order_id, charge_id, :lane, o.operator_id, o.book_id, 0, channel, '', :merchant, 'counter', null,
               ordered_fen, 'pending', payer_digest, :at, :at
        from unnest(cast(:payment_id as uuid[]), cast(:order_id as uuid[]), cast(:charge_id as uuid[]), cast(:channel as text[]),
                    cast(:ordered_fen as bigint[]), cast(:payer_digest as bytea[]))
             as n (payment_id, order_id, charge_id, channel, ordered_fen, payer_digest)
        join payments.operator o on o.operator_id = :operator
        """),
        given,
    )


def book_of(tx: Connection, *, operator_id: int) -> int:
    query = text("select book_id from payments.operator where operator_id = :operator")
    return int(tx.execute(query, {"operator": operator_id}).scalar_one())


def treatments(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, str]:
    """Return how the applier booked the payments of takings, by the takings' serials."""
    query = text("""
        select t.lot_serial, f.treatment
        from payments.taking t
        join payments.payment p on p.lane = t.lane and p.payment_id = t.payment_id
        join payments.payment_fact f on f.lane = p.lane and f.channel = p.channel and f.merchant_no = p.merchant_no
         and f.trade_no = p.trade_no
        where t.lane = :lane and t.lot_id = :lot and t.lot_serial = any(cast(:serials as text[]))
        """)
    found = tx.execute(query, {"lane": lane, "lot": lot_id, "serials": list(serials)})
    return {row.lot_serial: row.treatment for row in found}


# The till


def hold_slip_numbers(tx: Connection, *, operator_id: int) -> None:
    """Let one call at a time enter slips of an operator, whatever the lot."""
    tx.execute(text("select pg_advisory_xact_lock(hashtext('payments.cash_slip'), :operator)"), {"operator": operator_id})


def slip(tx: Connection, *, lane: int, operator_id: int, slip_no: str) -> SlipRow | None:
    query = text("""
        select slip_id, lot_id, amount_fen, banked_at, bank from payments.cash_slip
        where lane = :lane and operator_id = :operator and slip_no = :slip
        """)
    row = tx.execute(query, {"lane": lane, "operator": operator_id, "slip": slip_no}).first()
    return None if row is None else SlipRow(**row._mapping)


def insert_slip(tx: Connection, *, lane: int, lot: Lot, slip_no: str, row: SlipRow, evidence_id: UUID, at: datetime) -> None:
    """Insert a slip and take its amount out of the till, which holds as much."""
    tx.execute(
        text("""
        insert into payments.cash_slip (slip_id, lane, operator_id, lot_id, slip_no, amount_fen, banked_at, bank, evidence_id,
                                        created_at)
        values (:slip_id, :lane, :operator, :lot, :slip_no, :amount_fen, :banked_at, :bank, :evidence, :at)
        """),
        {
            "slip_id": row.slip_id, "lane": lane, "operator": lot.operator_id, "lot": lot.lot_id, "slip_no": slip_no,
            "amount_fen": row.amount_fen, "banked_at": row.banked_at, "bank": row.bank, "evidence": evidence_id, "at": at,
        },
    )  # fmt: skip
    query = text("update payments.lot_till set banked_fen = banked_fen + :fen where lane = :lane and lot_id = :lot")
    tx.execute(query, {"lane": lane, "lot": lot.lot_id, "fen": row.amount_fen})


def in_till(tx: Connection, *, lane: int, lot_id: int) -> int:
    """Return the cash in a lot's till in fen."""
    query = text("select taken_fen - banked_fen - returned_fen from payments.lot_till where lane = :lane and lot_id = :lot")
    return int(tx.execute(query, {"lane": lane, "lot": lot_id}).scalar() or 0)


def till_days(tx: Connection, *, lane: int, lot_id: int, first: date, last: date) -> list[TillDay]:
    """Return the days from first to last on which something moved, with the till at the end of each."""
    query = text("""
        with moved as (
            select (taken_at at time zone 'Asia/Shanghai')::date as day,
                   case when channel = 'cash' and charge_id is not null then amount_fen else 0 end as charges,
                   case when channel = 'cash' and charge_id is null then amount_fen else 0 end as others,
                   case when channel = 'legacy' then amount_fen else 0 end as legacy, 0 as back, 0 as legacy_back, 0 as banked
            from payments.taking where lane = :lane and lot_id = :lot
            union all
            select (banked_at at time zone 'Asia/Shanghai')::date, 0, 0, 0, 0, 0, amount_fen
            from payments.cash_slip where lane = :lane and lot_id = :lot
            union all
            select (returned_at at time zone 'Asia/Shanghai')::date, 0, 0, 0, case when channel = 'cash' then amount_fen else 0 end,
                   case when channel = 'legacy' then amount_fen else 0 end, 0
            from payments.taking_return where lane = :lane and lot_id = :lot
        ), days as (
            select day, sum(charges) as charges, sum(others) as others, sum(legacy) as legacy, sum(back) as back,
                   sum(legacy_back) as legacy_back, sum(banked) as banked,
                   sum(sum(charges + others - back - banked)) over (order by day) as in_till
            from moved where day <= :last group by day
        )
        select day, charges::bigint as cash_for_charges_fen, others::bigint as cash_without_charge_fen,
               legacy::bigint as legacy_fen, back::bigint as cash_returned_fen, legacy_back::bigint as legacy_returned_fen,
               banked::bigint as banked_fen, in_till::bigint as in_till_fen
        from days where day >= :first order by day
        """)
    found = tx.execute(query, {"lane": lane, "lot": lot_id, "first": first, "last": last})
    return [TillDay(**row._mapping) for row in found]


def _columns(rows: Sequence[Any], *names: str) -> dict[str, list[Any]]:
    return {name: [getattr(row, name) for row in rows] for name in names}
