"""Refund requests 退款申请: a driver asks for money back behind the link of the payment, and the lot's operator answers.

Knows requests, promises of refunds and the lots' events; must not know HTTP or channels. Called by the pages, the API, the worker
and the command line. What is accepted is promised by ``refunds.promise`` like every other refund: the money is the operator's.
"""

from datetime import datetime, timedelta
from typing import Final, get_args
from uuid import UUID

from sqlalchemy import Connection

from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids, payment_number
from payments import events
from payments.refunding import refund_store, refunds, request_store
from payments.refunding.request_store import Reason, Request, State

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
WORDS_LETTERS_MAX: Final = 300
ANSWER_LETTERS_MAX: Final = 300
REQUESTS_MAX: Final = 3
"""Most requests of one payment, one after another."""
PAYER_READS: Final = "停车费退款"
"""The reason that the payer's bank or wallet shows."""


def ask(
    tx: Connection, *, lane: int, payment_id: UUID, reason: Reason, words: str, evidence_id: UUID, answer_within: timedelta,
    remind_after: timedelta, at: datetime, ids: Ids,
) -> Request:  # fmt: skip
    """Keep a driver's request and tell the lot; while one is open, asking again returns it as it is. Holds the payment.

    Raises:
        NotFound: ``payment_not_found``, no such payment has taken money.
        Conflict: ``payment_taken_back``. ``refund_comes_by_itself``, nothing was owed for this payment, so it goes back unasked.
        Refused: ``refund_request_invalid``, the words are too long or the reason is none. ``nothing_to_refund``, all of it has gone
            back or is promised. ``refund_request_limit``, too many were declined.
    """
    if reason not in REASONS or len(words) > WORDS_LETTERS_MAX:
        raise Refused(f"say why in {WORDS_LETTERS_MAX} characters at most", code="refund_request_invalid")
    of = refund_store.hold_payment(tx, lane=lane, payment_id=payment_id)
    if of is None:
        raise NotFound(f"no payment {payment_number(lane, payment_id)} has taken money", code="payment_not_found")
    known = request_store.of_payments(tx, lane=lane, payment_ids=[payment_id])
    if known and known[-1].state == "open":
        return known[-1]
    if of.is_taken_back:
        raise Conflict("the channel took this payment back; nothing is left to give back", code="payment_taken_back")
    if of.from_suspense:
        raise Conflict("nothing was owed for this payment: it goes back without a request", code="refund_comes_by_itself")
    if of.refunded_fen >= of.taken_fen:
        raise Refused("all of this payment has gone back or is on its way", code="nothing_to_refund")
    if len(known) >= REQUESTS_MAX:
        raise Refused(f"of one payment at most {REQUESTS_MAX} requests are taken; call the operator", code="refund_request_limit")
    request_id = ids.new(at, f"refund request {payment_id} {len(known)}")
    request_store.insert(
        tx, lane=lane, request_id=request_id, payment_id=payment_id, reason=reason, words=words.strip(), evidence_id=evidence_id,
        at=at, answer_until=at + answer_within, remind_at=at + remind_after,
    )  # fmt: skip
    made = by_id(tx, lane=lane, request_id=request_id)
    events.write(tx, lane=lane, rows=[_event(made, at, ids, "asked")])
    return made


def accept(
    tx: Connection, *, lane: int, lot_id: int, request_id: UUID, amount_fen: int | None, words: str, by: str, evidence_id: UUID,
    at: datetime, ids: Ids,
) -> Request:  # fmt: skip
    """Promise the refund of what is left of the payment, or of ``amount_fen`` of it. The same answer again is the same refund.

    Holds the payment, then the request.

    Raises:
        NotFound: ``refund_request_not_found``, also when it is another lot's.
        Conflict: ``refund_request_over``, it was answered otherwise; as ``refunds.promise``.
        Refused: ``refund_exceeds``; ``refund_answer_invalid``, the words are too long.
    """
    _check(words, least=0)
    held = _held(tx, lane=lane, lot_id=lot_id, request_id=request_id)
    if held.state != "open":
        if held.state == "accepted" and amount_fen in (None, held.amount_fen):
            return held
        raise _over(held)
    amount = held.left_fen if amount_fen is None else amount_fen
    made = refunds.promise(
        tx, lane=lane, payment_id=held.payment_id, amount_fen=amount, source="operator", source_ref=f"request-{request_id.hex}",
        reason=PAYER_READS, evidence_id=evidence_id, at=at, ids=ids,
    )  # fmt: skip
    request_store.answer(
        tx, lane=lane, request_id=request_id, state="accepted", amount_fen=amount, refund_id=made.refund_id, words=words.strip(),
        by=by[:100], evidence_id=evidence_id, at=at,
    )  # fmt: skip
    return by_id(tx, lane=lane, request_id=request_id)


def decline(
    tx: Connection, *, lane: int, lot_id: int, request_id: UUID, words: str, by: str, evidence_id: UUID, at: datetime
) -> Request:  # fmt: skip
    """Say no, in words that the driver reads. The same answer again is the same. Holds the payment, then the request.

    Raises:
        NotFound, Conflict: as ``accept``. Refused: ``refund_answer_invalid``, without words.
    """
    _check(words, least=1)
    held = _held(tx, lane=lane, lot_id=lot_id, request_id=request_id)
    if held.state != "open":
        if held.state == "declined" and held.answer == words.strip():
            return held
        raise _over(held)
    request_store.answer(
        tx, lane=lane, request_id=request_id, state="declined", amount_fen=None, refund_id=None, words=words.strip(), by=by[:100],
        evidence_id=evidence_id, at=at,
    )  # fmt: skip
    return by_id(tx, lane=lane, request_id=request_id)


def remind(tx: Connection, *, lane: int, at: datetime, ids: Ids, limit: int = 500) -> int:
    """Tell lots once more of requests that they have not answered: the event comes a second time. Returns how many."""
    due = request_store.remind(tx, lane=lane, at=at, limit=limit)
    events.write(tx, lane=lane, rows=[_event(one, at, ids, "reminded") for one in due])
    return len(due)


def by_id(tx: Connection, *, lane: int, request_id: UUID) -> Request:
    """Return a request. Raises NotFound (``refund_request_not_found``)."""
    found = request_store.find(tx, lane=lane, request_id=request_id)
    if found is None:
        raise NotFound(f"there is no refund request {request_id}", code="refund_request_not_found")
    return found


def latest(tx: Connection, *, lane: int, payment_ids: list[UUID]) -> dict[UUID, Request]:
    """Return the latest request of each payment that has one."""
    if not payment_ids:
        return {}
    return {one.payment_id: one for one in request_store.of_payments(tx, lane=lane, payment_ids=payment_ids)}


def of_lot(
    tx: Connection, *, lane: int, lot_id: int, state: State | None = None, after: UUID | None = None, limit: int = 100
) -> list[Request]:
    """Return a lot's requests in the order they were made, behind ``after``."""
    return request_store.of_lot(tx, lane=lane, lot_id=lot_id, state=state, after=after, limit=limit)


def waiting(
    tx: Connection, *, lane: int, lot_id: int | None = None, due_before: datetime | None = None, limit: int = 200
) -> list[Request]:
    """Return the requests that lots have not answered, the most urgent first; with ``due_before`` only those that are late."""
    return request_store.waiting(tx, lane=lane, lot_id=lot_id, due_before=due_before, limit=limit)


def _held(tx: Connection, *, lane: int, lot_id: int, request_id: UUID) -> Request:
    """Return a lot's request, holding its payment and then the request: in the order in which ``ask`` takes them."""
    found = by_id(tx, lane=lane, request_id=request_id)
    if found.lot_id != lot_id:
        raise NotFound(f"there is no refund request {request_id}", code="refund_request_not_found")
    refund_store.hold_payment(tx, lane=lane, payment_id=found.payment_id)
    held = request_store.find(tx, lane=lane, request_id=request_id, lock=True)
    assert held is not None
    return held


def _over(held: Request) -> Conflict:
    words = f"this request is {held.state} already; make a refund by itself if more is to go back"
    return Conflict(words, code="refund_request_over")


def _check(words: str, *, least: int) -> None:
    if not least <= len(words.strip()) <= ANSWER_LETTERS_MAX:
        raise Refused(f"words for the driver: {least} to {ANSWER_LETTERS_MAX} characters", code="refund_answer_invalid")


def _event(one: Request, at: datetime, ids: Ids, occasion: str) -> events.NewEvent:
    body = events.encode(
        events.RefundRequestEvent(
            charge_serial=one.lot_serial, receipt=payment_number(one.lane, one.payment_id), channel=one.channel,
            request=one.request_id.hex, amount_fen=one.left_fen, answer_until=one.answer_until, at=at, reason=one.reason,
        )
    )  # fmt: skip
    event_id = ids.new(at, f"event refund.requested {occasion}", one.request_id.bytes)
    return events.NewEvent(event_id, one.operator_id, one.lot_id, one.request_id, one.charge_id, "refund.requested", body)
