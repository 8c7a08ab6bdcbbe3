"""The questions that hand-backs ask of PostgreSQL, set by set. Private to this room; called by ``returns``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.lot_records.numbers import Series
from payments.lots import Lot
from payments.refunding.refund_decisions import State

SERIES: Final[Series] = "return"


class Promised(Struct, frozen=True, kw_only=True):
    """A refund of a lot, as a hand-back finds it."""

    refund_id: UUID
    payment_id: UUID
    charge_serial: str
    channel: str
    provider_no: str
    merchant_no: str
    trade_no: str
    amount_fen: int
    state: State
    paid_at: datetime


class ReturnRow(Struct, frozen=True, kw_only=True):
    """A hand-back as it is kept. ``charge_serial`` is read with it and not written."""

    return_id: UUID
    lot_serial: str
    refund_id: UUID
    channel: str
    amount_fen: int
    returned_at: datetime
    person_digest: bytes
    receipt_no: str
    charge_serial: str


class Owing(Struct, frozen=True, kw_only=True):
    """What a lot owes a driver and has not reported as handed back."""

    refund_id: UUID
    payment_id: UUID
    lot_code: str
    charge_serial: str
    channel: Literal["cash", "legacy"]
    amount_fen: int
    source_ref: str
    promised_at: datetime


_PROMISED: Final = """
select r.refund_id, r.payment_id, c.lot_serial as charge_serial, r.channel, r.provider_no, r.merchant_no, r.trade_no, r.amount_fen,
       r.state, p.succeeded_at as paid_at
from payments.refund r
join payments.payment p on p.lane = r.lane and p.payment_id = r.payment_id
join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
"""


def by_refund(tx: Connection, *, lane: int, lot_id: int, refund_ids: Sequence[UUID]) -> dict[UUID, Promised]:
    """Return those of these refunds that are the lot's."""
    query = text(_PROMISED + "where r.lane = :lane and r.refund_id = any(cast(:ids as uuid[])) and c.lot_id = :lot")
    found = tx.execute(query, {"lane": lane, "lot": lot_id, "ids": list(refund_ids)})
    return {row.refund_id: Promised(**row._mapping) for row in found}


def by_charge(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, list[Promised]]:
    """Return the refunds of payments that were taken by hand for charges of the lot, by the charges' serials, the oldest first."""
    query = text(
        _PROMISED
        + """
        where c.lane = :lane and c.lot_id = :lot and c.lot_serial = any(cast(:serials as text[]))
          and r.channel in ('cash', 'legacy')
        order by r.refund_id
        """
    )
    found: dict[str, list[Promised]] = {}
    for row in tx.execute(query, {"lane": lane, "lot": lot_id, "serials": list(serials)}):
        found.setdefault(row.charge_serial, []).append(Promised(**row._mapping))
    return found


def by_serial(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, ReturnRow]:
    """Return the hand-backs of a lot that have these serials."""
    query = text("""
        select t.return_id, t.lot_serial, t.refund_id, t.channel, t.amount_fen, t.returned_at, t.person_digest, t.receipt_no,
               c.lot_serial as charge_serial
        from payments.taking_return t
        join payments.refund r on r.lane = t.lane and r.refund_id = t.refund_id
        join payments.payment p on p.lane = r.lane and p.payment_id = r.payment_id
        join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
        where t.lane = :lane and t.lot_id = :lot and t.lot_serial = any(cast(:serials as text[]))
        """)
    found = tx.execute(query, {"lane": lane, "lot": lot_id, "serials": list(serials)})
    return {
        row.lot_serial: ReturnRow(**(dict(row._mapping) | {"person_digest": bytes(row.person_digest)})) for row in found
    }  # fmt: skip


def insert(tx: Connection, *, lane: int, lot: Lot, rows: Sequence[ReturnRow], evidence_id: UUID, at: datetime) -> None:
    """Insert hand-backs in the order given, and take the cash among them out of the lot's till, which holds as much."""
    given: dict[str, Any] = {"lane": lane, "operator": lot.operator_id, "lot": lot.lot_id, "evidence": evidence_id, "at": at}
    names = ("return_id", "lot_serial", "refund_id", "channel", "amount_fen", "returned_at", "person_digest", "receipt_no")
    tx.execute(
        text("""
        insert into payments.taking_return (return_id, lane, operator_id, lot_id, lot_serial, refund_id, channel, amount_fen,
                                            returned_at, person_digest, receipt_no, evidence_id, created_at)
        select return_id, :lane, :operator, :lot, lot_serial, refund_id, channel, amount_fen, returned_at, person_digest,
               receipt_no, :evidence, :at
        from unnest(cast(:return_id as uuid[]), cast(:lot_serial as text[]), cast(:refund_id as uuid[]), cast(:channel as text[]),
                    cast(:amount_fen as bigint[]), cast(:returned_at as timestamptz[]), cast(:person_digest as bytea[]),
                    cast(:receipt_no as text[]))
             as n (return_id, lot_serial, refund_id, channel, amount_fen, returned_at, person_digest, receipt_no)
        """),
        given | {name: [getattr(row, name) for row in rows] for name in names},
    )
    if cash := sum(row.amount_fen for row in rows if row.channel == "cash"):
        query = text("update payments.lot_till set returned_fen = returned_fen + :cash where lane = :lane and lot_id = :lot")
        tx.execute(query, {"lot": lot.lot_id, "lane": lane, "cash": cash})


def owing(
    tx: Connection, *, lane: int, lot_id: int | None, promised_before: datetime | None, limit: int
) -> list[Owing]:  # fmt: skip
    """Return what was promised and not reported, of a lot or (None) of all, promised before a moment, the oldest first."""
    query = text("""
        select r.refund_id, r.payment_id, l.code as lot_code, c.lot_serial as charge_serial, r.channel, r.amount_fen, r.source_ref,
               r.created_at as promised_at
        from payments.refund r
        join payments.payment p on p.lane = r.lane and p.payment_id = r.payment_id
        join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
        join payments.lot l on l.lot_id = c.lot_id
        where r.lane = :lane and r.channel in ('cash', 'legacy') and r.state = 'promised'
          and (cast(:lot as integer) is null or (c.lot_id = :lot and r.operator_id = (
               select operator_id from payments.lot where lot_id = :lot)))
          and (cast(:before as timestamptz) is null or r.created_at < :before)
        order by r.created_at, r.refund_id limit :limit
        """)
    given = {"lane": lane, "lot": lot_id, "before": promised_before, "limit": limit}
    return [Owing(**row._mapping) for row in tx.execute(query, given)]
