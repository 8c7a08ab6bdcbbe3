"""Refunds 退款: promised under the payment's lock, made at the channel under one number, booked when promised and when done.

Knows refunds, the book and the lots' events; must not know HTTP, the scheduler or any channel's wire. Promises are made by the API
and by ``payments.refunding.refund_jobs``; what channels say comes through the one applier, ``payments.results``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways.contract import RefundResult, RefundState
from ledger import book, recipes
from ledger.clock import business_date
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids, payment_number, read_payment_number, read_refund_number, refund_number
from ledger.journal import Entry, reversal_of
from ledger.money import yuan
from payments import events, store
from payments.refunding import refund_store
from payments.refunding.refund_decisions import ACCEPTED, Finding, HeldRefund, State, decide
from payments.refunding.refund_store import Move, Refund

_STATES: Final[dict[Finding, State]] = {
    Finding.TAKEN_ON: "pending",
    Finding.ANEW: "promised",
    Finding.DONE: "done",
    Finding.CLOSED: "closed",
    Finding.STUCK: "stuck",
    Finding.REOPENED: "stuck",
}
_OPENS_CASE: Final = frozenset({Finding.UNKNOWN, Finding.DIFFERS, Finding.STUCK, Finding.REOPENED, Finding.LATE})
_EVENTS: Final[dict[Finding, events.EventKind]] = {
    Finding.DONE: "refund.done",
    Finding.CLOSED: "refund.failed",
    Finding.STUCK: "refund.failed",
    Finding.REOPENED: "refund.failed",
}


class Word(Struct, frozen=True):
    """What a channel said about a refund, and the message that says so. ``proven``: it carries the channel's signature."""

    told: RefundResult
    message_id: UUID
    proven: bool


class Outcome(Struct, frozen=True):
    """What became of one word. ``accepted``: the channel gets its positive answer once the transaction has committed."""

    finding: Finding
    accepted: bool
    payment_id: UUID | None


def promise(
    tx: Connection, *, lane: int, payment_id: UUID, amount_fen: int, source: str, source_ref: str, reason: str, evidence_id: UUID,
    at: datetime, ids: Ids,
) -> Refund:  # fmt: skip
    """Promise a refund: reserve the amount, book what is now owed to the payer, and have the channel called at once.

    What was taken by hand has no channel: the lot sees that it owes it, hands it back and reports it (``payments.lot_records``).
    Holds the payment's row, so that parallel promises never exceed together what the payment took. The same source and reference
    again, with the same amount, is the same refund.

    Args:
        source, source_ref: Who asks (``case``, ``operator``) and its own number of the request: the idempotency key.
        reason: As the payer will read it.
        evidence_id: Message or case that the promise rests on.

    Raises:
        NotFound: ``payment_not_found``, no such payment has taken money.
        Refused: ``refund_exceeds``, the amount is more than what is left of the payment.
        Conflict: ``refund_conflict``, the reference was used with another amount; ``payment_taken_back``, the channel took the
            payment back, so that nothing is left to give back.
    """
    of = refund_store.hold_payment(tx, lane=lane, payment_id=payment_id)
    if of is None:
        raise NotFound(f"no payment {payment_number(lane, payment_id)} has taken money", code="payment_not_found")
    known = refund_store.by_reference(tx, lane=lane, payment_id=payment_id, source=source, source_ref=source_ref)
    if known is not None:
        if known.amount_fen != amount_fen:
            raise Conflict(
                f"refund {source_ref!r} was asked for with {yuan(known.amount_fen)} yuan; take a new number for another refund",
                code="refund_conflict",
            )
        return known
    if of.is_taken_back:
        number = payment_number(lane, payment_id)
        raise Conflict(f"the channel took payment {number} back; nothing is left to give back", code="payment_taken_back")
    left = of.taken_fen - of.refunded_fen
    if not 0 < amount_fen <= left:
        raise Refused(
            f"{yuan(amount_fen)} yuan cannot be refunded: {yuan(left)} of {yuan(of.taken_fen)} are left", code="refund_exceeds"
        )
    refund_id = ids.new(at, f"refund {payment_id} {source} {source_ref}")
    refund_store.insert(
        tx, lane=lane, refund_id=refund_id, of=of, amount_fen=amount_fen, source=source, source_ref=source_ref, reason=reason, at=at
    )
    accepted = recipes.refund_accepted(
        refund_id=refund_id, book_id=of.book_id, from_suspense=of.from_suspense, amount_fen=amount_fen, happened_at=at,
        booked_on=business_date(at), evidence_id=evidence_id,
    )  # fmt: skip
    book.post(tx, lane=lane, entries=[accepted], at=at)
    made = refund_store.by_reference(tx, lane=lane, payment_id=payment_id, source=source, source_ref=source_ref)
    assert made is not None
    return made


def adopt(
    tx: Connection, *, lane: int, payment_id: UUID, told: RefundResult, evidence_id: UUID, at: datetime, ids: Ids
) -> bool:  # fmt: skip
    """Take over a refund that the operator made at the channel itself, in its own merchant console: promised and done at once.

    Returns False, with nothing written, when it is not proven done, does not fit the payment, is more than what is left of it, or
    the channel took the payment back: then it stays a difference for a person. The same refund again is the same refund. Holds the
    payment's row.
    """
    of = refund_store.hold_payment(tx, lane=lane, payment_id=payment_id)
    if of is None or told.state is not RefundState.DONE or told.refund_fen is None or told.happened_at is None:
        return False
    known = refund_store.by_reference(tx, lane=lane, payment_id=payment_id, source="console", source_ref=told.refund_no)
    if known is not None:
        return True
    fits = (told.provider_no, told.merchant_no, told.trade_no) == (of.provider_no, of.merchant_no, of.trade_no)
    if not fits or of.is_taken_back or told.refund_fen > of.taken_fen - of.refunded_fen:
        return False
    refund_id = ids.new(at, f"refund {payment_id} console {told.refund_no}")
    refund_store.insert(
        tx, lane=lane, refund_id=refund_id, of=of, amount_fen=told.refund_fen, source="console", source_ref=told.refund_no,
        reason="", at=at,
    )  # fmt: skip
    refund_store.move(
        tx, lane=lane, moves=[Move(refund_id, "done", channel_refund_no=told.channel_refund_no, done_at=told.happened_at)]
    )
    booked_on = business_date(at)
    entries = [
        recipes.refund_accepted(
            refund_id=refund_id, book_id=of.book_id, from_suspense=of.from_suspense, amount_fen=told.refund_fen,
            happened_at=told.happened_at, booked_on=booked_on, evidence_id=evidence_id,
        ),
        recipes.refund_done(
            refund_id=refund_id, book_id=of.book_id, channel=of.channel, amount_fen=told.refund_fen, happened_at=told.happened_at,
            booked_on=booked_on, evidence_id=evidence_id,
        ),
    ]  # fmt: skip
    book.post(tx, lane=lane, entries=entries, at=at)
    return True


def carry_out(
    tx: Connection, *, lane: int, words: Sequence[Word], at: datetime, ids: Ids
) -> tuple[list[Outcome], list[Entry]]:  # fmt: skip
    """Carry out what channels say about refunds. Returns one outcome per word, in order, and the entries still to be posted.

    Called by the applier alone, which keeps the messages and posts the entries in the same transaction. Refunds are held in the
    order of their ids. Any order and any number of repeats lead to the same money.
    """
    work = _Work(tx, lane=lane, words=words, at=at, ids=ids)
    outcomes = [work.carry_out(word) for word in words]
    work.write()
    return outcomes, work.entries


class _Work:
    """The refunds of one batch: held under lock, changed in memory word by word, written set by set at the end."""

    def __init__(self, tx: Connection, *, lane: int, words: Sequence[Word], at: datetime, ids: Ids) -> None:
        self._tx, self._lane, self._at, self._ids = tx, lane, at, ids
        self.entries: list[Entry] = []
        self._moves: dict[UUID, Move] = {}
        self._cases: list[store.NewCase] = []
        self._events: list[events.NewEvent] = []
        self._finished_cases: list[str] = []
        wanted = {found for word in words if (found := _subject(word.told.refund_no, lane)) is not None}
        self._held = refund_store.hold(tx, lane=lane, refund_ids=sorted(wanted)) if wanted else {}

    def carry_out(self, word: Word) -> Outcome:
        subject = _subject(word.told.refund_no, self._lane)
        refund = None if subject is None else self._held.get(subject)
        finding = decide(refund, word.told, proven=word.proven)
        if refund is not None:
            self._follow(finding, word, refund)
        if finding in _OPENS_CASE:
            self._open_case(finding, word, refund)
        return Outcome(finding, finding in ACCEPTED, None if refund is None else refund.payment_id)

    def write(self) -> None:
        if self._moves:
            refund_store.move(self._tx, lane=self._lane, moves=list(self._moves.values()))
        if self._cases:
            cases = sorted(self._cases, key=lambda case: (case.order_no, case.kind))
            store.open_cases(self._tx, lane=self._lane, cases=cases, at=self._at)
        events.write(self._tx, lane=self._lane, rows=self._events)
        if self._finished_cases:
            refund_store.close_cases(self._tx, lane=self._lane, case_ids=self._finished_cases)

    def _follow(self, finding: Finding, word: Word, refund: HeldRefund) -> None:
        """Do what a finding asks for: the new state, its entry, the lot's event."""
        state = _STATES.get(finding)
        if state is None:
            return
        told = word.told
        refund.state = state
        open_again = finding in (Finding.TAKEN_ON, Finding.ANEW)
        self._moves[refund.refund_id] = Move(
            refund.refund_id, state, told.channel_refund_no, told.happened_at if finding is Finding.DONE else None,
            keep_schedule=open_again,
        )  # fmt: skip
        if finding is Finding.DONE:
            refund.was_done = True
            self.entries.append(self._done(refund, told.happened_at or self._at, word.message_id))
            if refund.source == "case":
                self._finished_cases.append(refund.source_ref)
        elif finding is Finding.CLOSED:
            self.entries.append(self._reversed(self._promised(refund), word.message_id))
        elif finding is Finding.REOPENED:
            self.entries.append(self._reversed(self._done(refund, self._at, word.message_id), word.message_id))
        if finding in _EVENTS:
            self._tell(_EVENTS[finding], finding, told, refund)

    def _promised(self, refund: HeldRefund) -> Entry:
        return recipes.refund_accepted(
            refund_id=refund.refund_id, book_id=refund.book_id, from_suspense=refund.from_suspense, amount_fen=refund.amount_fen,
            happened_at=self._at, booked_on=business_date(self._at), evidence_id=refund.refund_id,
        )  # fmt: skip

    def _done(self, refund: HeldRefund, happened_at: datetime, evidence_id: UUID) -> Entry:
        return recipes.refund_done(
            refund_id=refund.refund_id, book_id=refund.book_id, channel=refund.channel, amount_fen=refund.amount_fen,
            happened_at=happened_at, booked_on=business_date(self._at), evidence_id=evidence_id,
        )  # fmt: skip

    def _reversed(self, entry: Entry, evidence_id: UUID) -> Entry:
        return reversal_of(entry, happened_at=self._at, booked_on=business_date(self._at), evidence_id=evidence_id)

    def _tell(self, kind: events.EventKind, finding: Finding, told: RefundResult, refund: HeldRefund) -> None:
        body = events.encode(
            events.PaymentEvent(
                kind=kind,
                charge_serial=refund.lot_serial,
                receipt=payment_number(self._lane, refund.payment_id),
                channel=refund.channel,
                amount_fen=refund.amount_fen,
                paid_at=told.happened_at or self._at,
                reason=None if finding is Finding.DONE else finding.value,
                refund=told.refund_no,
            )
        )
        event_id = self._ids.new(self._at, f"event {kind} {finding}", refund.refund_id.bytes)
        self._events.append(
            events.NewEvent(event_id, refund.operator_id, refund.lot_id, refund.refund_id, refund.charge_id, kind, body)
        )

    def _open_case(self, finding: Finding, word: Word, refund: HeldRefund | None) -> None:
        told = word.told
        self._cases.append(
            store.NewCase(
                self._ids.new(self._at, f"case {finding} {told.channel} {told.refund_no}"), finding.value, told.channel,
                told.refund_no, None if refund is None else refund.payment_id, None if refund is None else refund.operator_id,
                told.refund_fen if refund is None else refund.amount_fen, word.message_id, _explain(finding, told, refund),
            )
        )  # fmt: skip


def payment_of(tx: Connection, *, lane: int, lot_id: int, receipt: str) -> UUID:
    """Return the payment of a lot that a receipt number names. Raises NotFound (``payment_not_found``)."""
    found = read_payment_number(receipt)
    if found is None or found[0] != lane or not refund_store.is_of_lot(tx, lane=lane, lot_id=lot_id, payment_id=found[1]):
        raise NotFound(f"the lot has no payment {receipt!r}", code="payment_not_found")
    return found[1]


def number(refund: Refund) -> str:
    """Return the number that the channel knows a refund by."""
    return refund_number(refund.lane, refund.refund_id)


def _subject(refund_no: str, lane: int) -> UUID | None:
    found = read_refund_number(refund_no)
    return found[1] if found is not None and found[0] == lane else None


def _explain(finding: Finding, told: RefundResult, refund: HeldRefund | None) -> str:
    """Return what was expected and what came, for the person who works on the case."""
    amount = "an amount it does not name" if told.refund_fen is None else f"{yuan(told.refund_fen)} yuan"
    came = (
        f"{told.channel} says {told.word or told.state.value} for refund {told.refund_no} of {amount}, merchant "
        f"{told.provider_no}/{told.merchant_no}, trade number {told.trade_no}"
    )
    if refund is None:
        return f"{came}; no such refund was asked for"
    return (
        f"{finding.value}: {came}; asked for: {yuan(refund.amount_fen)} yuan, merchant {refund.provider_no}/{refund.merchant_no}, "
        f"trade number {refund.trade_no}; here it is {refund.state}"
    )
