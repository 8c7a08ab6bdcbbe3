"""The questions that asked quotes put to PostgreSQL, and until when the price of a charge stands. Private to this room.

Knows endpoints, quotes and the charges they became; must not know HTTP. Called by ``asked_quotes``, and by whoever locks a
price: the checkout and the baskets.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.errors import OrderExpired

FAILURES_MAX: Final = 5
"""After so many questions in a row without a usable answer a lot's system is asked seldom."""
REST: Final = timedelta(seconds=30)
"""So seldom."""
_LOTS_QUOTES: Final = 7_026
"""Our number of the advisory locks of lots' quotes."""


class QuoteOver(OrderExpired):
    """The price of a quote stands no more, or for less than a minute: look it up again."""

    code: ClassVar[str] = "quote_over"


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where a lot's system is asked. Secrets are encrypted."""

    endpoint_id: UUID
    lot_id: int
    url: str
    timeout_ms: int
    secret: bytes
    old_secret: bytes | None
    old_until: datetime | None
    failures: int
    tried_at: datetime | None
    last_error: str | None
    created_at: datetime
    created_by: str
    changed_at: datetime


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

_OVER: Final = """
    select min(q.valid_until) from payments.charge_quote q
    join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane
    where q.lane = :lane and q.charge_id = any(cast(:ids as uuid[])) and not c.is_receivable
"""


def price_lock(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], at: datetime, wanted: timedelta) -> timedelta:
    """Return how long the price of these charges may be locked: ``wanted``, or less where a quote's price ends before.

    What is owed since the car has left ends no more. For payers only: a lot that names the serial itself stands by its price.

    Raises:
        QuoteOver: the price of one stands for less than a minute, the least that a payer can be given.
    """
    end: datetime | None = tx.execute(text(_OVER), {"lane": lane, "ids": list(charge_ids)}).scalar()
    if end is None:
        return wanted
    if end - at < timedelta(minutes=1):
        raise QuoteOver("the price has changed since; look it up again")
    return min(wanted, end - at)


def superseded(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return which of these prices another one took the place of, with its serial."""
    query = text("""
        select charge_id, superseded_by from payments.charge_quote
        where lane = :lane and charge_id = any(cast(:ids as uuid[])) and superseded_by is not null
        """)
    return {row.charge_id: row.superseded_by for row in tx.execute(query, {"lane": lane, "ids": list(charge_ids)})}


# Endpoints.

_ENDPOINT: Final = f"select {', '.join(Endpoint.__struct_fields__)} from payments.quote_endpoint"


def endpoint(tx: Connection, *, lane: int, lot_id: int, lock: bool = False) -> Endpoint | None:
    """Return where a lot is asked, holding the row when ``lock``; None: it is not asked."""
    query = _ENDPOINT + " where lane = :lane and lot_id = :lot and ended_at is null" + (" for update" if lock else "")
    row = tx.execute(text(query), {"lane": lane, "lot": lot_id}).first()
    if row is None:
        return None
    secrets = {"secret": bytes(row.secret), "old_secret": None if row.old_secret is None else bytes(row.old_secret)}
    return Endpoint(**(dict(row._mapping) | secrets))


def insert_endpoint(tx: Connection, *, lane: int, made: Endpoint) -> bool:
    """Enter where a lot is asked; False: somebody did at the same moment."""
    rows = tx.execute(
        text("""
        insert into payments.quote_endpoint (endpoint_id, lane, lot_id, url, timeout_ms, secret, created_at, created_by, changed_at)
        values (:endpoint_id, :lane, :lot_id, :url, :timeout_ms, :secret, :created_at, :created_by, :changed_at)
        on conflict (lot_id, lane) where ended_at is null do nothing
        """),
        {"lane": lane} | {name: getattr(made, name) for name in Endpoint.__struct_fields__},
    )
    return rows.rowcount == 1


def change_endpoint(tx: Connection, *, changed: Endpoint) -> None:
    """Keep an endpoint as its owner changed it; what it failed at before counts no more."""
    tx.execute(
        text("""
        update payments.quote_endpoint
        set url = :url, timeout_ms = :timeout_ms, secret = :secret, old_secret = :old_secret, old_until = :old_until,
            changed_at = :changed_at, failures = 0, tried_at = null, last_error = null
        where endpoint_id = :endpoint_id
        """),
        {name: getattr(changed, name) for name in Endpoint.__struct_fields__},
    )


def end_endpoint(tx: Connection, *, endpoint_id: UUID, at: datetime) -> None:
    tx.execute(text("update payments.quote_endpoint set ended_at = :at where endpoint_id = :id"), {"id": endpoint_id, "at": at})


def may_ask(tx: Connection, *, endpoint_id: UUID, at: datetime) -> bool:
    """Say whether a lot's system that failed too often may be asked once more, and take the turn: one asker every ``REST``."""
    rows = tx.execute(
        text("""
        update payments.quote_endpoint set tried_at = :at
        where endpoint_id = :id and (failures < :most or tried_at is null or tried_at <= :before)
        """),
        {"id": endpoint_id, "at": at, "most": FAILURES_MAX, "before": at - REST},
    )
    return rows.rowcount == 1


def succeeded(tx: Connection, *, endpoint_id: UUID) -> None:
    """Forget the failures of an endpoint."""
    tx.execute(
        text("update payments.quote_endpoint set failures = 0, last_error = null where endpoint_id = :id"), {"id": endpoint_id}
    )


def failed(tx: Connection, *, endpoint_id: UUID, at: datetime, error: str) -> int:
    """Count a failure of an endpoint; returns how many there are in a row."""
    query = text("""
        update payments.quote_endpoint set failures = failures + 1, tried_at = :at, last_error = :error
        where endpoint_id = :id returning failures
        """)
    return int(tx.execute(query, {"id": endpoint_id, "at": at, "error": error[:500]}).scalar_one())


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


# Quotes.


def hold_lot(tx: Connection, *, lot_id: int) -> None:
    """Wait until no other answer of the lot is being taken, and keep the others waiting until the transaction ends."""
    tx.execute(text("select pg_advisory_xact_lock(:class, :lot)"), {"class": _LOTS_QUOTES, "lot": lot_id})


_OF: Final = """
    from payments.charge_quote q
    join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane
    join payments.plate p on p.plate_id = c.plate_id
    where q.lane = :lane and q.lot_id = :lot
      and (q.serial = any(cast(:serials as text[]))
           or (c.state = 'open' and not c.is_receivable
               and (q.stay_serial = any(cast(:stays as text[])) or p.number = :plate)))
"""


def known_ids(tx: Connection, *, lane: int, lot_id: int, plate: str, serials: Sequence[str], stays: Sequence[str]) -> list[UUID]:
    """Return the charges that an answer may touch: quotes with these serials; what is due of these stays or of the plate."""
    given = {"lane": lane, "lot": lot_id, "plate": plate, "serials": list(serials), "stays": list(stays)}
    return list(tx.execute(text("select q.charge_id" + _OF), given).scalars())


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
    """Let prices stand longer, never shorter."""
    if not charge_ids:
        return
    tx.execute(
        text("""
        update payments.charge_quote q
        set valid_until = greatest(q.valid_until, n.valid_until), asked_at = greatest(q.asked_at, :asked_at)
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
        set superseded_at = :at, superseded_by = n.serial, superseded_fen = c.amount_fen - c.paid_fen - c.reduced_fen
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


# What must hold.

_CHECKS: Final = (
    """
    select format('quote %s of lot %s was superseded by %s, and its charge is %s with %s fen paid', q.serial, q.lot_id,
                  q.superseded_by, c.state, c.paid_fen)
    from payments.charge_quote q
    left join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane
    where q.superseded_at is not null
      and (c.state, c.paid_fen, c.reduced_fen, c.is_receivable) is distinct from ('credited', 0::bigint, c.amount_fen, false)
    """,
    """
    select format('quote %s of lot %s was superseded by %s, which is no price of its stay', q.serial, q.lot_id, q.superseded_by)
    from payments.charge_quote q
    where q.superseded_at is not null and not exists (
        select from payments.charge_quote n
        where n.lane = q.lane and n.lot_id = q.lot_id and n.serial = q.superseded_by and n.stay_serial = q.stay_serial)
      and not exists ( -- a charge that the lot had pushed under that serial
        select from payments.charge c
        where c.lane = q.lane and c.lot_id = q.lot_id and c.lot_serial = q.superseded_by
          and not exists (select from payments.charge_quote n where n.lane = c.lane and n.charge_id = c.charge_id))
    """,
    """
    select format('stay %s of lot %s has several prices that can be paid: %s', q.stay_serial, q.lot_id,
                  string_agg(distinct q.serial, ', '))
    from payments.charge_quote q
    join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane and c.state = 'open' and not c.is_receivable
    group by q.lane, q.lot_id, q.stay_serial having count(distinct q.serial) > 1
    """,
    """
    select format('quote %s of lot %s is no charge of that lot', q.serial, q.lot_id)
    from payments.charge_quote q
    left join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane
    where c.lot_id is distinct from q.lot_id
    """,
)


def wrong(tx: Connection, *, limit: int) -> list[str]:
    """Return, in words, what does not agree between quotes and charges; read only."""
    return [str(words) for query in _CHECKS for words in tx.execute(text(f"{query} limit {limit}")).scalars()]
