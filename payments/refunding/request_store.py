"""The questions that drivers' refund requests ask of PostgreSQL. Private to this room."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, Row, text

Reason = Literal["paid_twice", "wrong_plate", "barrier", "price_wrong", "other"]
"""barrier: it did not open."""
State = Literal["open", "accepted", "declined"]


class Request(Struct, frozen=True, kw_only=True):
    """A driver's request for money back, and what the lot said."""

    request_id: UUID
    lane: int
    payment_id: UUID
    charge_id: UUID
    operator_id: int
    lot_id: int
    lot_code: str
    lot_serial: str
    channel: str
    reason: Reason
    words: str
    asked_at: datetime
    answer_until: datetime
    reminded_at: datetime | None
    state: State
    amount_fen: int | None
    refund_id: UUID | None
    answer: str | None
    answered_at: datetime | None
    taken_fen: int
    paid_at: datetime
    back_fen: int
    """What of the payment has gone back or is promised back."""

    @property
    def left_fen(self) -> int:
        """What could still go back."""
        return self.taken_fen - self.back_fen


_SELECT: Final = """
select q.request_id, q.lane, q.payment_id, q.charge_id, q.operator_id, q.lot_id, l.code as lot_code, c.lot_serial, p.channel,
       q.reason, q.words, q.asked_at, q.answer_until, q.reminded_at, q.state, q.amount_fen, q.refund_id, q.answer, q.answered_at,
       p.taken_fen, p.succeeded_at as paid_at,
       case when p.taken_back_at is not null then p.taken_fen else
           (select coalesce(sum(r.amount_fen), 0)::bigint from payments.refund r
            where r.lane = q.lane and r.payment_id = q.payment_id and r.state <> 'closed') end as back_fen
from payments.refund_request q
join payments.payment p on p.lane = q.lane and p.payment_id = q.payment_id
join payments.charge c on c.lane = q.lane and c.charge_id = q.charge_id
join payments.lot l on l.lot_id = q.lot_id
"""


def _request(row: Row[Any]) -> Request:
    return Request(**row._mapping)


def insert(
    tx: Connection, *, lane: int, request_id: UUID, payment_id: UUID, reason: Reason, words: str, evidence_id: UUID, at: datetime,
    answer_until: datetime, remind_at: datetime,
) -> None:  # fmt: skip
    """Insert an open request. The payment is held by the caller."""
    tx.execute(
        text("""
        insert into payments.refund_request (request_id, lane, payment_id, charge_id, operator_id, lot_id, reason, words,
                                             evidence_id, asked_at, answer_until, remind_at, state)
        select :request_id, p.lane, p.payment_id, p.charge_id, p.operator_id, c.lot_id, :reason, :words, :evidence_id, :at,
               :answer_until, :remind_at, 'open'
        from payments.payment p join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
        where p.lane = :lane and p.payment_id = :payment_id
        """),
        {
            "lane": lane, "request_id": request_id, "payment_id": payment_id, "reason": reason, "words": words,
            "evidence_id": evidence_id, "at": at, "answer_until": answer_until, "remind_at": remind_at,
        },
    )  # fmt: skip


def find(tx: Connection, *, lane: int, request_id: UUID, lock: bool = False) -> Request | None:
    """Return a request, holding its row when ``lock``."""
    query = text(_SELECT + "where q.lane = :lane and q.request_id = :id" + (" for update of q" if lock else ""))
    row = tx.execute(query, {"lane": lane, "id": request_id}).first()
    return None if row is None else _request(row)


def of_payments(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> list[Request]:
    """Return all requests of payments, the oldest first."""
    query = text(_SELECT + "where q.lane = :lane and q.payment_id = any(cast(:ids as uuid[])) order by q.asked_at, q.request_id")
    return [_request(row) for row in tx.execute(query, {"lane": lane, "ids": list(payment_ids)})]


def of_lot(tx: Connection, *, lane: int, lot_id: int, state: State | None, after: UUID | None, limit: int) -> list[Request]:
    """Return a lot's requests in the order they were made, behind one of them."""
    query = text(
        _SELECT
        + """where q.lane = :lane and q.lot_id = :lot and (cast(:state as text) is null or q.state = :state)
             and (cast(:after as uuid) is null or q.request_id > :after) order by q.request_id limit :limit"""
    )
    given = {"lane": lane, "lot": lot_id, "state": state, "after": after, "limit": limit}
    return [_request(row) for row in tx.execute(query, given)]


def waiting(tx: Connection, *, lane: int, lot_id: int | None, due_before: datetime | None, limit: int) -> list[Request]:
    """Return open requests of a lot or of all, those that are due first."""
    query = text(
        _SELECT
        + """where q.lane = :lane and q.state = 'open' and (cast(:lot as integer) is null or q.lot_id = :lot)
             and (cast(:before as timestamptz) is null or q.answer_until < :before)
             order by q.answer_until, q.request_id limit :limit"""
    )
    return [_request(row) for row in tx.execute(query, {"lane": lane, "lot": lot_id, "before": due_before, "limit": limit})]


def remind(tx: Connection, *, lane: int, at: datetime, limit: int) -> list[Request]:
    """Mark the open requests whose lots are to be told once more, and return them."""
    marked = tx.execute(
        text("""
        with due as (
            select request_id, lane from payments.refund_request
            where lane = :lane and state = 'open' and reminded_at is null and remind_at <= :at
            order by remind_at limit :limit for update skip locked
        )
        update payments.refund_request q set reminded_at = :at from due d
        where q.lane = d.lane and q.request_id = d.request_id returning q.request_id
        """),
        {"lane": lane, "at": at, "limit": limit},
    )
    ids = list(marked.scalars())
    query = text(_SELECT + "where q.lane = :lane and q.request_id = any(cast(:ids as uuid[])) order by q.request_id")
    return [_request(row) for row in tx.execute(query, {"lane": lane, "ids": ids})] if ids else []


def answer(
    tx: Connection, *, lane: int, request_id: UUID, state: State, amount_fen: int | None, refund_id: UUID | None, words: str,
    by: str, evidence_id: UUID, at: datetime,
) -> None:  # fmt: skip
    """Write a lot's answer. The request is held by the caller."""
    tx.execute(
        text("""
        update payments.refund_request
        set state = :state, amount_fen = :amount, refund_id = :refund, answer = :words, answered_at = :at, answered_by = :by,
            answer_evidence_id = :evidence
        where lane = :lane and request_id = :id
        """),
        {
            "lane": lane, "id": request_id, "state": state, "amount": amount_fen, "refund": refund_id, "words": words, "by": by,
            "evidence": evidence_id, "at": at,
        },
    )  # fmt: skip
