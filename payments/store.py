"""The questions payments asks of PostgreSQL: charges, orders, attempts, cases. Private to this room.

The applier's own are in ``fact_store``.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.rows import class_row
from sqlalchemy import Connection, Row, text

from gateways.contract import HandOff, Way
from ledger.arrays import bigint, instant, integer, smallint, uuids
from ledger.db import raw
from ledger.volley import Question, Rows, Shot, Statement, ask, fire, structs
from payments.records import Attempt, Charge, Order


class NewCase(Struct, frozen=True):
    """Something a person or a later rule must finish."""

    case_id: UUID
    kind: str
    channel: str
    order_no: str
    payment_id: UUID | None
    operator_id: int | None
    amount_fen: int | None
    evidence_id: UUID
    detail: str


def open_cases(tx: Connection, *, lane: int, cases: Sequence[NewCase], at: datetime) -> None:
    """Open cases; one that is there already for the same order and kind stays as it is."""
    tx.execute(
        text("""
        insert into payments.payment_case (case_id, lane, kind, channel, order_no, payment_id, operator_id, amount_fen,
                                           evidence_id, opened_at, detail)
        values (:case_id, :lane, :kind, :channel, :order_no, :payment_id, :operator_id, :amount_fen, :evidence_id, :at, :detail)
        on conflict (lane, kind, channel, order_no) do nothing
        """),
        [{"lane": lane, "at": at} | {name: getattr(case, name) for name in NewCase.__struct_fields__} for case in cases],
    )


def close_suspense_cases(tx: Connection, *, lane: int, order_nos: Sequence[str]) -> None:
    """Close the cases of money in suspense that is there no more."""
    tx.execute(
        text("""
        update payments.payment_case set state = 'closed'
        where lane = :lane and order_no = any(cast(:numbers as text[])) and kind in ('refund_second_payment', 'amount_differs')
        """),
        {"lane": lane, "numbers": list(order_nos)},
    )


class EventRow(Struct, frozen=True):
    transaction: int
    event_id: UUID
    body: bytes


def events_after(
    tx: Connection, *, lane: int, lot_id: int, transaction: int, event_id: UUID, limit: int
) -> list[EventRow]:  # fmt: skip
    """Return a lot's events behind a cursor whose transactions are all over, in the cursor's order."""
    with raw(tx).cursor(row_factory=class_row(EventRow)) as cursor:
        return cursor.execute(
            b"""
            select transaction_id::text::bigint as transaction, event_id, body
            from payments.outbox
            where lane = %(lane)s and lot_id = %(lot)s and transaction_id < pg_snapshot_xmin(pg_current_snapshot())
              and (transaction_id, event_id) > (%(transaction)s::text::xid8, %(event)s)
            order by transaction_id, event_id
            limit %(limit)s
            """,
            {"lane": lane, "lot": lot_id, "transaction": str(transaction), "event": event_id, "limit": limit},
        ).fetchall()


# Charges.


class NewChargeRow(Struct, frozen=True, kw_only=True):
    """A charge as it is inserted."""

    charge_id: UUID
    lot_serial: str
    content_digest: bytes
    plate_id: int
    scene: str
    entered_at: datetime
    left_at: datetime | None
    minutes: int
    amount_fen: int
    tariff_text: str


def plate_ids(
    tx: Connection, *, plates: Sequence[tuple[str, str]], salt: Callable[[], bytes]
) -> dict[tuple[str, str], int]:  # fmt: skip
    """Return the keys of plates (number, colour), making those that are new. ``plates`` is sorted and without repeats."""
    asked = {"numbers": [number for number, _ in plates], "colors": [color for _, color in plates]}
    select = text("""
        select p.number, p.color, p.plate_id
        from unnest(cast(:numbers as text[]), cast(:colors as text[])) as w (number, color)
        join payments.plate p on p.number = w.number and p.color = w.color
        """)
    found = {(row.number, row.color): row.plate_id for row in tx.execute(select, asked)}
    if len(found) == len(plates):
        return found
    tx.execute(
        text("""
        insert into payments.plate (number, color, salt)
        select number, color, salt
        from unnest(cast(:numbers as text[]), cast(:colors as text[]), cast(:salts as bytea[])) as w (number, color, salt)
        where not exists (select from payments.plate p where p.number = w.number and p.color = w.color)
        on conflict (number, color) do nothing
        """),
        {**asked, "salts": [salt() for _ in plates]},
    )
    return {(row.number, row.color): row.plate_id for row in tx.execute(select, asked)}


def insert_charges(
    tx: Connection, *, lane: int, operator_id: int, lot_id: int, charges: Sequence[NewChargeRow], at: datetime
) -> set[str]:
    """Insert charges in the order given; returns the serials that were new."""
    rows = tx.execute(
        text("""
        insert into payments.charge (charge_id, lane, operator_id, lot_id, lot_serial, content_digest, plate_id, scene, entered_at,
                                     left_at, minutes, amount_fen, tariff_text, state, created_at)
        select charge_id, :lane, :operator_id, :lot_id, lot_serial, content_digest, plate_id, scene, entered_at, left_at, minutes,
               amount_fen, tariff_text, 'open', :at
        from unnest(cast(:charge_id as uuid[]), cast(:lot_serial as text[]), cast(:content_digest as bytea[]),
                    cast(:plate_id as bigint[]), cast(:scene as text[]), cast(:entered_at as timestamptz[]),
                    cast(:left_at as timestamptz[]), cast(:minutes as integer[]), cast(:amount_fen as bigint[]),
                    cast(:tariff_text as text[]))
             as n (charge_id, lot_serial, content_digest, plate_id, scene, entered_at, left_at, minutes, amount_fen, tariff_text)
        on conflict (lane, lot_id, lot_serial) do nothing
        returning lot_serial
        """),
        {"lane": lane, "operator_id": operator_id, "lot_id": lot_id, "at": at}
        | {name: [getattr(charge, name) for charge in charges] for name in NewChargeRow.__struct_fields__},
    )
    return set(rows.scalars())


_CHARGE_COLUMNS: Final = """
select c.charge_id, c.lane, c.operator_id, c.lot_id, c.lot_serial, p.number as plate, p.color as plate_color, c.scene,
       c.entered_at, c.left_at, c.minutes, c.amount_fen, c.tariff_text, c.state, c.settled_by, c.settled_at, c.created_at,
       c.paid_fen, c.reduced_fen, c.is_receivable
"""
_CHARGE: Final = _CHARGE_COLUMNS + "from payments.charge c join payments.plate p on p.plate_id = c.plate_id "


_ITS_OWNER: Final = "(p.held_since is null or c.entered_at >= p.held_since)"
"""The stay is of whoever has the plate now."""

_NOT_BY_CARD: Final = """not exists (
          select from payments.payment y
          where y.charge_id = c.charge_id and y.lane = c.lane and y.way = 'card'
            and y.state in ('created', 'pending', 'unknown'))"""


_STANDS: Final = """not exists (
          select from payments.charge_quote q
          where q.charge_id = c.charge_id and q.lane = c.lane and q.valid_until <= %(at)s::timestamptz and not c.is_receivable
            and not exists (
              select from payments.payment y
              where y.charge_id = c.charge_id and y.lane = c.lane and y.state in ('created', 'pending', 'unknown')))"""
"""The charge is no quote whose price has ended at ``at``, unless somebody is paying it; with null no price ends."""


_BY_IDS: Final = Statement(
    _CHARGE + "where c.lane = %(lane)s::smallint and c.charge_id = any(%(ids)s::uuid[]) order by c.charge_id"
)
_HOLD: Final = Statement(_CHARGE + "where c.lane = %(lane)s::smallint and c.charge_id = %(id)s::uuid for update of c")
_OPEN: Final = Statement(
    _CHARGE_COLUMNS
    + f"""
    from (select * from payments.plate where number = %(number)s::text offset 0) p
    cross join lateral (
        select * from payments.charge x
        where x.plate_id = p.plate_id and x.lane = %(lane)s::smallint and x.state = 'open'
          and (%(only)s::integer is null or x.lot_id = %(only)s::integer)
        offset 0
    ) c
    where {_ITS_OWNER} and {_NOT_BY_CARD} and {_STANDS}
    order by c.lot_id = %(first)s::integer desc, c.entered_at, c.charge_id limit %(limit)s::bigint
    """
)
"""Walked from the number to its plates to their charges, whatever the planner thinks of the tables' sizes."""
_charges: Final = structs(Charge)


def charge(tx: Connection, *, lane: int, charge_id: UUID) -> Charge | None:
    return ask(tx, which_charge(lane=lane, charge_id=charge_id))


def which_charge(*, lane: int, charge_id: UUID) -> Question[Charge | None]:
    """As ``charge``."""
    return Question(_by_ids([charge_id], lane), lambda rows: next(iter(_charges(rows)), None))


def holding_charge(*, lane: int, charge_id: UUID) -> Question[Charge | None]:
    """As ``charge``, and lock it as ``hold_charges`` does."""
    shot = _HOLD.shot(lane=smallint(lane), id=charge_id.bytes)
    return Question(shot, lambda rows: next(iter(_charges(rows)), None))


def charges_by_ids(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> list[Charge]:
    """Return charges in the order of their ids; those that are not there are left out."""
    return ask(tx, Question(_by_ids(charge_ids, lane), _charges))


def _by_ids(charge_ids: Sequence[UUID], lane: int) -> Shot:
    return _BY_IDS.shot(lane=smallint(lane), ids=uuids(charge_ids))


def open_charges_anywhere(
    tx: Connection, *, lane: int, number: str, limit: int, at: datetime | None = None
) -> list[Charge]:  # fmt: skip
    """Return what is open for a number at all lots and waits for no card's issuer, the oldest stay first.

    Quotes whose price has ended at ``at`` are left out; None: they are not.
    """
    return ask(tx, what_is_open(lane=lane, number=number, limit=limit, at=at))


def what_is_open(
    *, lane: int, number: str, limit: int | None, at: datetime | None, first: int | None = None, only: int | None = None
) -> Question[list[Charge]]:  # fmt: skip
    """As ``open_charges_anywhere``; those of the lot ``first`` stand before all others, ``only`` leaves out those of other lots."""
    shot = _OPEN.shot(
        lane=smallint(lane), number=number.encode(), at=None if at is None else instant(at),
        limit=None if limit is None else bigint(limit), first=integer(first or 0), only=None if only is None else integer(only),
    )  # fmt: skip
    return Question(shot, _charges)


def charges_by_serial(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, Charge]:
    query = text(_CHARGE + "where c.lane = :lane and c.lot_id = :lot and c.lot_serial = any(:serials)")
    rows = tx.execute(query, {"lane": lane, "lot": lot_id, "serials": list(serials)})
    return {row.lot_serial: Charge(**row._mapping) for row in rows}


def open_charges(tx: Connection, *, lane: int, lot_id: int, number: str, at: datetime | None = None) -> list[Charge]:
    """Return what is open for a number at a lot and waits for no card's issuer, the oldest stay first.

    Quotes whose price has ended at ``at`` are left out; None: they are not.
    """
    return ask(tx, what_is_open(lane=lane, number=number, limit=None, at=at, only=lot_id))


# Orders and attempts.


def inserting_order(order: Order, *, digest: bytes) -> Shot:
    """Insert an order unless its token is there already; its row says that it was inserted."""
    return _INSERT_ORDER.shot(
        order_id=order.order_id.bytes, lane=smallint(order.lane), charge_id=order.charge_id.bytes, lot_id=integer(order.lot_id),
        amount_fen=bigint(order.amount_fen), digest=digest, expires_at=instant(order.expires_at), at=instant(order.created_at),
    )  # fmt: skip


_INSERT_ORDER: Final = Statement("""
    insert into payments.pay_order (order_id, lane, charge_id, lot_id, amount_fen, token_digest, expires_at, created_at)
    values (%(order_id)s::uuid, %(lane)s::smallint, %(charge_id)s::uuid, %(lot_id)s::integer, %(amount_fen)s::bigint,
            %(digest)s::bytea, %(expires_at)s::timestamptz, %(at)s::timestamptz)
    on conflict (lane, token_digest) do nothing
    returning order_id
    """)
_ORDER: Final = """
    select order_id, lane, charge_id, lot_id, amount_fen, expires_at, created_at
    from payments.pay_order where lane = %(lane)s::smallint and token_digest = %(digest)s::bytea
    """
_BY_DIGEST: Final = Statement(_ORDER)
_HOLD_BY_DIGEST: Final = Statement(_ORDER + "for update")
_orders: Final = structs(Order)


def order_by_digest(tx: Connection, *, lane: int, digest: bytes, lock: bool) -> Order | None:
    """Return the order of a token's digest, holding its row when ``lock``."""
    return ask(tx, which_order(lane=lane, digest=digest, lock=lock))


def which_order(*, lane: int, digest: bytes, lock: bool) -> Question[Order | None]:
    """As ``order_by_digest``."""
    statement = _HOLD_BY_DIGEST if lock else _BY_DIGEST
    return Question(statement.shot(lane=smallint(lane), digest=digest), lambda rows: next(iter(_orders(rows)), None))


_ATTEMPT: Final = """
select payment_id, order_id, charge_id, lane, operator_id, book_id, route_id, channel, provider_no, merchant_no, way, key_ref,
       amount_fen,
       state, trade_no, taken_fen, succeeded_at, taken_back_at, created_at, expires_at, queries, payer_digest, act_id,
       (select h.body from payments.hand_off h
        where h.payment_id = coalesce(payment.act_id, payment.payment_id) and h.lane = payment.lane) as hand_off
from payments.payment
"""
_hand_off: Final = msgspec.json.Decoder(HandOff)


_ATTEMPT_NAMES: Final = (
    "payment_id", "order_id", "charge_id", "lane", "operator_id", "book_id", "route_id", "channel", "provider_no", "merchant_no",
    "way", "key_ref", "amount_fen", "state", "trade_no", "taken_fen", "succeeded_at", "taken_back_at", "created_at", "expires_at",
    "queries", "payer_digest", "act_id", "hand_off",
)  # fmt: skip


def as_attempt(row: Row[Any]) -> Attempt:
    """Return a row of ``_ATTEMPT`` as a record."""
    return _attempt(dict(row._mapping))


def _attempt(values: dict[str, Any]) -> Attempt:
    values["way"] = Way(values["way"])
    values["hand_off"] = None if values["hand_off"] is None else _hand_off.decode(values["hand_off"])
    return Attempt(**values)


_ATTEMPTS: Final = Statement(_ATTEMPT + "where lane = %(lane)s::smallint and order_id = %(order)s::uuid")
_ATTEMPTS_AT: Final = Statement(_ATTEMPT + "where lane = %(lane)s::smallint and charge_id = %(charge)s::uuid")


def _read_attempts(rows: Rows) -> list[Attempt]:
    """The newest first: the few are put in order here, so that nobody walks the payments in theirs."""
    found = [_attempt(dict(zip(_ATTEMPT_NAMES, row, strict=True))) for row in rows]
    return sorted(found, key=lambda attempt: attempt.payment_id, reverse=True)


def attempts(tx: Connection, *, lane: int, order_id: UUID) -> list[Attempt]:
    """Return an order's attempts, the newest first."""
    return ask(tx, which_attempts(lane=lane, order_id=order_id))


def which_attempts(*, lane: int, order_id: UUID) -> Question[list[Attempt]]:
    """As ``attempts``."""
    return Question(_ATTEMPTS.shot(lane=smallint(lane), order=order_id.bytes), _read_attempts)


def which_attempts_at(*, lane: int, charge_id: UUID) -> Question[list[Attempt]]:
    """Every attempt at a charge, by whatever order and way, the newest first."""
    return Question(_ATTEMPTS_AT.shot(lane=smallint(lane), charge=charge_id.bytes), _read_attempts)


def hold_charges(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> None:
    """Lock charges in the order of their ids, so that one payer or mandate at a time begins with them.

    Whoever holds them waits for no payment's lock: the applier locks payments first.
    """
    query = text("""
        select 1 from payments.charge where lane = :lane and charge_id = any(cast(:ids as uuid[])) order by charge_id for update
        """)
    tx.execute(query, {"lane": lane, "ids": list(charge_ids)}).all()


def being_taken(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, Way]:
    """Return which of these charges are being taken by a mandate right now, or were by a card whose issuer has to decide.

    Certain for whoever holds them.
    """
    query = text("""
        select distinct on (charge_id) charge_id, way from payments.payment
        where lane = :lane and charge_id = any(cast(:ids as uuid[])) and way in ('deduction', 'card')
          and state in ('created', 'pending', 'unknown')
        order by charge_id, way
        """)
    return {row.charge_id: Way(row.way) for row in tx.execute(query, {"lane": lane, "ids": list(charge_ids)})}


def paying(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], not_of: Sequence[UUID]) -> list[Attempt]:
    """Return the attempts that payers may be paying these charges with, but those of the orders ``not_of``; the newest first."""
    query = text(
        _ATTEMPT
        + """
        where lane = :lane and charge_id = any(cast(:ids as uuid[])) and order_id <> all(cast(:not_of as uuid[]))
          and state in ('created', 'pending', 'unknown') and way not in ('deduction', 'card')
        order by payment_id desc
        """
    )
    return [as_attempt(row) for row in tx.execute(query, {"lane": lane, "ids": list(charge_ids), "not_of": list(not_of)})]


def attempts_of(tx: Connection, *, lane: int, order_ids: Sequence[UUID]) -> list[Attempt]:
    """Return the attempts of several orders, the newest first."""
    query = text(_ATTEMPT + "where lane = :lane and order_id = any(cast(:orders as uuid[])) order by payment_id desc")
    return [as_attempt(row) for row in tx.execute(query, {"lane": lane, "orders": list(order_ids)})]


def attempts_of_acts(tx: Connection, *, lane: int, act_ids: Sequence[UUID]) -> list[Attempt]:
    """Return the legs of combined orders in the order of their ids."""
    query = text(_ATTEMPT + "where lane = :lane and act_id = any(cast(:acts as uuid[])) order by payment_id")
    return [as_attempt(row) for row in tx.execute(query, {"lane": lane, "acts": list(act_ids)})]


def attempt(tx: Connection, *, lane: int, payment_id: UUID) -> Attempt | None:
    row = tx.execute(text(_ATTEMPT + "where lane = :lane and payment_id = :id"), {"lane": lane, "id": payment_id}).first()
    return None if row is None else as_attempt(row)


class Payee(Struct, frozen=True):
    """Who is paid for a charge: its operator's book, and the name of the lot."""

    book_id: int
    lot_name: str


_PAYEE: Final = Statement("""
    select o.book_id, l.name
    from payments.charge c join payments.operator o on o.operator_id = c.operator_id join payments.lot l on l.lot_id = c.lot_id
    where c.lane = %(lane)s::smallint and c.charge_id = %(charge)s::uuid
    """)
_INSERT_PAYMENT: Final = Statement("""
    with made as (
        insert into payments.payment (payment_id, order_id, charge_id, lane, operator_id, book_id, route_id, channel,
                                      provider_no, merchant_no, way, key_ref, amount_fen, state, payer_digest,
                                      created_at, expires_at)
        values (%(payment_id)s::uuid, %(order_id)s::uuid, %(charge_id)s::uuid, %(lane)s::smallint, %(operator_id)s::integer,
                %(book_id)s::integer, %(route_id)s::integer, %(channel)s::text, %(provider_no)s::text, %(merchant_no)s::text,
                %(way)s::text, %(key_ref)s::text, %(amount_fen)s::bigint, 'created', %(digest)s::bytea, %(at)s::timestamptz,
                %(expires_at)s::timestamptz)
        returning payment_id, lane
    )
    insert into payments.next_query (payment_id, lane, due_at)
    select payment_id, lane, %(next_query_at)s::timestamptz from made
    """)
_KEEP_HAND_OFF: Final = Statement("""
    insert into payments.hand_off (payment_id, lane, body) values (%(id)s::uuid, %(lane)s::smallint, %(body)s::bytea)
    on conflict (payment_id, lane) do update set body = excluded.body
    """)


def which_payee(*, lane: int, charge_id: UUID) -> Question[Payee]:
    """Who is paid for a charge that is there."""
    return Question(_PAYEE.shot(lane=smallint(lane), charge=charge_id.bytes), lambda rows: Payee(*rows[0]))


def inserting_payment(made: Attempt, *, next_query_at: datetime) -> Shot:
    """Insert an attempt in state created, with its first query."""
    return _INSERT_PAYMENT.shot(
        payment_id=made.payment_id.bytes, order_id=made.order_id.bytes, charge_id=made.charge_id.bytes, lane=smallint(made.lane),
        operator_id=integer(made.operator_id), book_id=integer(made.book_id), route_id=integer(made.route_id),
        channel=made.channel.encode(), provider_no=made.provider_no.encode(), merchant_no=made.merchant_no.encode(),
        way=made.way.value.encode(), key_ref=None if made.key_ref is None else made.key_ref.encode(),
        amount_fen=bigint(made.amount_fen), digest=made.payer_digest, at=instant(made.created_at),
        expires_at=instant(made.expires_at), next_query_at=instant(next_query_at),
    )  # fmt: skip


def keeping_hand_off(*, lane: int, payment_id: UUID, hand_off: HandOff) -> Shot:
    """Keep what the payer's page needs; a fresh one takes the place of one that leads nowhere any more."""
    return _KEEP_HAND_OFF.shot(lane=smallint(lane), id=payment_id.bytes, body=msgspec.json.encode(hand_off))


def keep_hand_off(tx: Connection, *, lane: int, payment_id: UUID, hand_off: HandOff) -> None:
    """As ``keeping_hand_off``."""
    fire(tx, [keeping_hand_off(lane=lane, payment_id=payment_id, hand_off=hand_off)])


def lot_name(tx: Connection, *, lane: int, charge_id: UUID) -> str:
    """Return the name of the lot of a charge."""
    return ask(tx, which_payee(lane=lane, charge_id=charge_id)).lot_name


def lot_names(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the names of the lots of charges, by charge."""
    query = text("""
        select c.charge_id, l.name from payments.charge c join payments.lot l on l.lot_id = c.lot_id
        where c.lane = :lane and c.charge_id = any(cast(:charges as uuid[]))
        """)
    return {row.charge_id: row.name for row in tx.execute(query, {"lane": lane, "charges": list(charge_ids)})}


# Claims. Whoever changes a row of next_query holds the lock of its payment, and a claim waits for no lock while it holds one:
# so an applier, which locks payments in the order of their ids, never waits in a circle.

_CLAIMED: Final = """
returning p.payment_id, p.order_id, p.charge_id, p.lane, p.operator_id, p.book_id, p.route_id, p.channel, p.provider_no,
          p.merchant_no, p.way, p.key_ref, p.amount_fen, p.state, p.trade_no, p.taken_fen, p.succeeded_at, p.taken_back_at,
          p.created_at, p.expires_at,
          (select h.body from payments.hand_off h
           where h.payment_id = coalesce(p.act_id, p.payment_id) and h.lane = p.lane) as hand_off,
          p.queries, p.payer_digest, p.act_id
"""


def claim_one(tx: Connection, *, lane: int, payment_id: UUID, at: datetime, until: datetime) -> Attempt | None:
    """Claim an attempt for a query of its own until ``until``, or return None when somebody has it."""
    query = text(
        """
        update payments.payment p set claimed_until = :until, queries = queries + 1
        where lane = :lane and payment_id = :id and (claimed_until is null or claimed_until <= :at)
        """
        + _CLAIMED
    )
    row = tx.execute(query, {"lane": lane, "id": payment_id, "at": at, "until": until}).first()
    return None if row is None else as_attempt(row)


def claim_these(tx: Connection, *, lane: int, payment_ids: Sequence[UUID], at: datetime, until: datetime) -> list[Attempt]:
    """Claim attempts for a query of their own until ``until``, in the order of their ids; those that somebody has are left out."""
    query = text(
        """
        with mine as (
            select p.lane, p.payment_id from payments.payment p
            where p.lane = :lane and p.payment_id = any(cast(:ids as uuid[]))
              and (p.claimed_until is null or p.claimed_until <= :at)
            order by p.payment_id for update skip locked
        )
        update payments.payment p set claimed_until = :until, queries = p.queries + 1
        from mine m where p.lane = m.lane and p.payment_id = m.payment_id
        """
        + _CLAIMED
    )
    rows = tx.execute(query, {"lane": lane, "ids": list(payment_ids), "at": at, "until": until})
    return sorted((as_attempt(row) for row in rows), key=lambda attempt: attempt.payment_id)


def claim_due(
    tx: Connection, *, lane: int, at: datetime, until: datetime, after: Mapping[str, Sequence[timedelta]],
    close_after: timedelta, limit: int,
) -> list[Attempt]:  # fmt: skip
    """Claim the attempts whose query is due and schedule their next one; returns them in the order of their ids.

    ``after`` says by channel (``""``: all others) how long after each query the next one follows; the last counts for all further
    ones. An attempt that is over
    is asked about this once. Attempts that an applier or another worker holds, or has just decided, are left out; waits for
    nobody.
    """
    query = text(
        """
        with due as materialized (
            select p.lane, p.payment_id, p.queries, p.state, p.expires_at,
                   cast(:after as jsonb) -> case when cast(:after as jsonb) ? p.channel then p.channel else '' end as pauses
            from payments.next_query q join payments.payment p on p.payment_id = q.payment_id and p.lane = q.lane
            where q.lane = :lane and q.due_at <= :at and (p.claimed_until is null or p.claimed_until <= :at)
            order by q.due_at, q.payment_id
            limit :limit
            for update skip locked
        ), open as (
            select lane, payment_id, expires_at + cast(:close_after as interval) as close_at,
                   cast(:at as timestamptz) + make_interval(
                       secs => (pauses ->> least(queries, jsonb_array_length(pauses) - 1))::double precision) as pause_over
            from due
            where state in ('created', 'pending', 'unknown')
        ), again as (
            update payments.next_query q
            set due_at = case when o.close_at > :at then least(o.pause_over, o.close_at) else o.pause_over end
            from open o
            where q.lane = o.lane and q.payment_id = o.payment_id
        ), last as (
            delete from payments.next_query q using due d
            where q.lane = d.lane and q.payment_id = d.payment_id and d.state not in ('created', 'pending', 'unknown')
        )
        update payments.payment p set claimed_until = :until, queries = p.queries + 1
        from due d
        where p.lane = d.lane and p.payment_id = d.payment_id
        """
        + _CLAIMED
    )
    rows = tx.execute(
        query,
        {"lane": lane, "at": at, "until": until, "after": _seconds(after), "close_after": close_after, "limit": limit},
    )
    return sorted((as_attempt(row) for row in rows), key=lambda attempt: attempt.payment_id)


def _seconds(after: Mapping[str, Sequence[timedelta]]) -> str:
    return msgspec.json.encode({name: [pause.total_seconds() for pause in pauses] for name, pauses in after.items()}).decode()


def release(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> None:
    """Give claimed attempts back."""
    tx.execute(
        text("update payments.payment set claimed_until = null where lane = :lane and payment_id = any(cast(:ids as uuid[]))"),
        {"lane": lane, "ids": list(payment_ids)},
    )
