"""The questions that asked quotes put to PostgreSQL, and until when the price of a charge stands. Private to this room.

Knows quotes and the charges they became; must not know HTTP or where lots are asked. Called by ``taking`` and ``ending``, and by
whoever locks a price: the checkout and the baskets.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.arrays import smallint, uuids
from ledger.volley import Question, Statement, ask
from payments.errors import OrderExpired

REFUSALS_SHOWN: Final = 20
_LOTS_QUOTES: Final = 7_026
"""Our number of the advisory locks of lots' quotes."""


class QuoteOver(OrderExpired):
    """The price of a quote stands no more, or for less than a minute: look it up again."""

    code: ClassVar[str] = "quote_over"


class Refusal(Struct, frozen=True, kw_only=True):
    """A quote in an answer that could not be taken. ``detail`` never names a plate."""

    serial: str
    field: str
    reason: str
    detail: str


class Refused(Refusal, frozen=True, kw_only=True):
    """A refusal as it is kept."""

    refused_at: datetime


class Known(Struct, frozen=True, kw_only=True):
    """A charge that is a quote, as it stands. ``is_live`` and ``is_begun`` speak of all charges of its serial."""

    charge_id: UUID
    serial: str
    stay_serial: str
    is_of_plate: bool
    """It is a quote for the plate that was asked about."""
    is_due: bool
    """It is open and no debt."""
    is_live: bool
    """Somebody is paying it at this moment."""
    is_begun: bool
    """Something of it is paid."""
    asked_at: datetime
    superseded_by: str | None


class NewQuote(Struct, frozen=True, kw_only=True):
    """A charge that is now a quote."""

    charge_id: UUID
    serial: str
    stay_serial: str
    valid_until: datetime


# Until when a price stands.

_OVER: Final = Statement("""
    select min(q.valid_until) from payments.charge_quote q
    join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane
    where q.lane = %(lane)s::smallint and q.charge_id = any(%(ids)s::uuid[]) and not c.is_receivable
    """)
_SUPERSEDED: Final = Statement("""
    select charge_id, superseded_by from payments.charge_quote
    where lane = %(lane)s::smallint and charge_id = any(%(ids)s::uuid[]) and superseded_by is not null
    """)


def price_lock(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], at: datetime, wanted: timedelta) -> timedelta:
    """Return how long the price of these charges may be locked: ``wanted``, or less where a quote's price ends before.

    What is owed since the car has left ends no more. For payers only: a lot that names the serial itself stands by its price.

    Raises:
        QuoteOver: the price of one stands for less than a minute, the least that a payer can be given.
    """
    return lock_until(ask(tx, until_when(lane=lane, charge_ids=charge_ids)), at=at, wanted=wanted)


def until_when(*, lane: int, charge_ids: Sequence[UUID]) -> Question[datetime | None]:
    """When the first of these charges' prices ends; None: none does."""
    return Question(_OVER.shot(lane=smallint(lane), ids=uuids(charge_ids)), lambda rows: rows[0][0])


def lock_until(end: datetime | None, *, at: datetime, wanted: timedelta) -> timedelta:
    """Return how long a price may be locked that ends at ``end``. Pure. Raises QuoteOver."""
    if end is None:
        return wanted
    if end - at < timedelta(minutes=1):
        raise QuoteOver("the price has changed since; look it up again")
    return min(wanted, end - at)


def superseded(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return which of these prices another one took the place of, with its serial."""
    return ask(tx, which_superseded(lane=lane, charge_ids=charge_ids))


def which_superseded(*, lane: int, charge_ids: Sequence[UUID]) -> Question[dict[UUID, str]]:
    """As ``superseded``."""
    return Question(_SUPERSEDED.shot(lane=smallint(lane), ids=uuids(charge_ids)), dict)


def over(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], at: datetime) -> set[UUID]:
    """Return which charges can be ordered no more at the price they had: another took its place, or it stands for less than a
    minute. As with ``price_lock``, what is owed since the car has left never ends."""
    query = text("""
        select q.charge_id from payments.charge_quote q
        join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane
        where q.lane = :lane and q.charge_id = any(cast(:ids as uuid[])) and not c.is_receivable
          and (q.superseded_by is not null or q.valid_until - cast(:at as timestamptz) < interval '1 minute')
        """)
    return set(tx.execute(query, {"lane": lane, "ids": list(charge_ids), "at": at}).scalars()) if charge_ids else set()


# Quotes.


def hold_lot(tx: Connection, *, lot_id: int) -> None:
    """Wait until no other answer of the lot is being taken, and keep the others waiting until the transaction ends."""
    tx.execute(text("select pg_advisory_xact_lock(:class, :lot)"), {"class": _LOTS_QUOTES, "lot": lot_id})


_TOUCHED: Final = text("""
    select q.charge_id from payments.charge_quote q
    where q.lane = :lane and q.lot_id = :lot and q.serial = any(cast(:serials as text[]))
    union
    select q.charge_id from payments.charge_quote q
    join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane
    where q.lane = :lane and q.lot_id = :lot and q.stay_serial = any(cast(:stays as text[])) and q.ended_at is null
      and c.state = 'open' and not c.is_receivable
    union
    select q.charge_id from payments.plate p
    join payments.charge c on c.plate_id = p.plate_id and c.lot_id = :lot and c.lane = :lane
    join payments.charge_quote q on q.charge_id = c.charge_id and q.lane = c.lane
    where p.number = :plate and c.state = 'open' and not c.is_receivable
      and (q.ended_at is null or q.stay_serial = any(cast(:stays as text[])))
    """)
"""Three ways, each by an index of its own: one condition over all of them would be a walk over every quote of the lot."""


def known_ids(tx: Connection, *, lane: int, lot_id: int, plate: str, serials: Sequence[str], stays: Sequence[str]) -> list[UUID]:
    """Return the charges that an answer may touch: quotes with these serials; what is due of these stays or of the plate.

    Prices that have ended are touched only where the answer names their stay.
    """
    given = {"lane": lane, "lot": lot_id, "plate": plate, "serials": list(serials), "stays": list(stays)}
    return list(tx.execute(_TOUCHED, given).scalars())


def known(tx: Connection, *, lane: int, plate: str, charge_ids: Sequence[UUID]) -> list[Known]:
    """Return charges that are quotes as they stand; certain for whoever holds them."""
    if not charge_ids:
        return []
    query = text("""
        with mine as materialized (
            select q.*, c.state, c.is_receivable, p.number
            from payments.charge_quote q
            join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane
            join payments.plate p on p.plate_id = c.plate_id
            where q.lane = :lane and q.charge_id = any(cast(:ids as uuid[]))
        ), beside as (
            select s.serial, bool_or(c.paid_fen > 0) as is_begun,
                   bool_or(exists (select from payments.payment y
                                   where y.charge_id = s.charge_id and y.lane = s.lane
                                     and y.state in ('created', 'pending', 'unknown'))) as is_live
            from (select distinct lot_id, serial from mine) m
            join payments.charge_quote s on s.lane = :lane and s.lot_id = m.lot_id and s.serial = m.serial
            join payments.charge c on c.charge_id = s.charge_id and c.lane = s.lane
            group by s.serial
        )
        select m.charge_id, m.serial, m.stay_serial, m.number = :plate as is_of_plate,
               m.state = 'open' and not m.is_receivable as is_due, b.is_live, b.is_begun, m.asked_at, m.superseded_by
        from mine m join beside b on b.serial = m.serial
        order by m.charge_id
        """)
    rows = tx.execute(query, {"lane": lane, "plate": plate, "ids": list(charge_ids)})
    return [Known(**row._mapping) for row in rows]


def insert_quotes(
    tx: Connection, *, lane: int, lot_id: int, quotes: Sequence[NewQuote], evidence_id: UUID, asked_at: datetime
) -> None:  # fmt: skip
    """Say of charges that are new that they are quotes."""
    if not quotes:
        return
    columns = {name: [getattr(one, name) for one in quotes] for name in NewQuote.__struct_fields__}
    tx.execute(
        text("""
        insert into payments.charge_quote (charge_id, lane, lot_id, serial, stay_serial, valid_until, asked_at, evidence_id)
        select charge_id, :lane, :lot, serial, stay_serial, valid_until, :asked_at, :evidence
        from unnest(cast(:charge_id as uuid[]), cast(:serial as text[]), cast(:stay_serial as text[]),
                    cast(:valid_until as timestamptz[])) as n (charge_id, serial, stay_serial, valid_until)
        """),
        {"lane": lane, "lot": lot_id, "asked_at": asked_at, "evidence": evidence_id} | columns,
    )


def extend(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], until: Sequence[datetime], asked_at: datetime) -> None:
    """Let prices stand longer, never shorter; those that had ended stand again."""
    if not charge_ids:
        return
    tx.execute(
        text("""
        update payments.charge_quote q
        set valid_until = greatest(q.valid_until, n.valid_until), asked_at = greatest(q.asked_at, :asked_at), ended_at = null
        from unnest(cast(:ids as uuid[]), cast(:until as timestamptz[])) as n (charge_id, valid_until)
        where q.lane = :lane and q.charge_id = n.charge_id
        """),
        {"lane": lane, "ids": list(charge_ids), "until": list(until), "asked_at": asked_at},
    )


def end(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], at: datetime) -> None:
    """Let prices end at ``at``, when it was asked: the lot's system does not name them any more. A later answer may bring them
    back."""
    if not charge_ids:
        return
    tx.execute(
        text("""
        update payments.charge_quote set valid_until = least(valid_until, :at), asked_at = greatest(asked_at, :at)
        where lane = :lane and charge_id = any(cast(:ids as uuid[]))
        """),
        {"lane": lane, "ids": list(charge_ids), "at": at},
    )


def supersede(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], by: Sequence[str], at: datetime) -> None:
    """Credit charges in full whose place newer quotes (``by``: their serials) took. The caller holds them: they are open, no debts,
    and nobody pays them. Nothing is booked: the book has nothing of a charge that nobody paid before its car left."""
    if not charge_ids:
        return
    given = {"lane": lane, "ids": list(charge_ids), "by": list(by), "at": at}
    tx.execute(
        text("""
        update payments.charge_quote q
        set superseded_at = :at, ended_at = :at, superseded_by = n.serial,
            superseded_fen = c.amount_fen - c.paid_fen - c.reduced_fen
        from unnest(cast(:ids as uuid[]), cast(:by as text[])) as n (charge_id, serial)
        join payments.charge c on c.lane = :lane and c.charge_id = n.charge_id
        where q.lane = :lane and q.charge_id = n.charge_id
        """),
        given,
    )
    tx.execute(
        text("""
        update payments.charge set state = 'credited', reduced_fen = amount_fen - paid_fen
        where lane = :lane and charge_id = any(cast(:ids as uuid[]))
        """),
        given,
    )


# Quotes that could not be taken.


def refusals(tx: Connection, *, lane: int, lot_id: int, limit: int) -> list[Refused]:
    """Return the last quotes of a lot that could not be taken, the newest first."""
    query = text("""
        select serial, field, reason, detail, refused_at from payments.quote_refusal
        where lane = :lane and lot_id = :lot order by refused_at desc, refusal_id desc limit :limit
        """)
    return [Refused(**row._mapping) for row in tx.execute(query, {"lane": lane, "lot": lot_id, "limit": limit})]


def keep_refusals(
    tx: Connection,
    *,
    lane: int,
    lot_id: int,
    refusal_ids: Sequence[UUID],
    found: Sequence[Refusal],
    evidence_id: UUID,
    at: datetime,
) -> None:
    """Keep what could not be taken of an answer."""
    if not found:
        return
    columns = {name: [getattr(one, name) for one in found] for name in Refusal.__struct_fields__}
    tx.execute(
        text("""
        insert into payments.quote_refusal (refusal_id, lane, lot_id, serial, field, reason, detail, evidence_id, refused_at)
        select refusal_id, :lane, :lot, serial, field, reason, detail, :evidence, :at
        from unnest(cast(:ids as uuid[]), cast(:serial as text[]), cast(:field as text[]), cast(:reason as text[]),
                    cast(:detail as text[])) as n (refusal_id, serial, field, reason, detail)
        """),
        {"lane": lane, "lot": lot_id, "ids": list(refusal_ids), "evidence": evidence_id, "at": at} | columns,
    )
