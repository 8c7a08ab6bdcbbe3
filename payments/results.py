"""The only applier: callback, query, bill line and confirmation all end here, and nowhere else does a payment become paid.

Knows payments, charges and the book; must not know HTTP, any channel's wire or the clock. Called by callbacks, checkout and jobs.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from gateways import messages
from gateways.contract import ChannelState, EntryTold, RawMessage, RefundResult, Result
from ledger import book, recipes
from ledger.clock import business_date
from ledger.ids import Ids, payment_number, read_payment_number
from ledger.journal import Entry, reversal_of
from ledger.money import yuan
from ledger.volley import fire
from payments import events, fact_store, store
from payments.cards import records as cards
from payments.cards.hearing import hear
from payments.decisions import ACCEPTED, CURRENCY, MONEY, Finding, HeldCharge, HeldPayment, PaymentState, Source, decide, moved_to
from payments.mandates import entry_words
from payments.refunding import refund_decisions, refund_store, refunds

_OPENS_CASE: Final = {
    Finding.ORDER_UNKNOWN: "order_unknown",
    Finding.MERCHANT_DIFFERS: "merchant_differs",
    Finding.CURRENCY_DIFFERS: "currency_differs",
    Finding.TRADE_DIFFERS: "trade_differs",
    Finding.NOTICE_AMOUNT_DIFFERS: "notice_amount_differs",
    Finding.AMOUNT_SUSPENDED: "amount_differs",
    Finding.SECOND_PAYMENT: "refund_second_payment",
    Finding.TAKEN_BACK_AFTER_REFUND: "taken_back_after_refund",
}
_CALLS_FOR_QUERY: Final = frozenset({
    Finding.INCOMPLETE, Finding.MERCHANT_DIFFERS, Finding.CURRENCY_DIFFERS, Finding.NOTICE_AMOUNT_DIFFERS,
})  # fmt: skip

_KINDS: Final[dict[Finding, events.EventKind]] = {Finding.SETTLED: "payment.succeeded", Finding.PART: "payment.partial"}
"""What the lot is told of money that counts; of all else that it is in suspense."""


class Notice(Struct, frozen=True):
    """A channel's message with what it says; without a result it is only kept.

    A message about several payments is several notices with the same message, next to each other; it is kept once.
    """

    message: RawMessage
    result: Result | None
    source: Source = "callback"
    refund: RefundResult | None = None
    again: bool = False
    """The same message as that of the notice before it, which it is kept with, or one that was kept before."""
    entry: EntryTold | None = None
    """What it says of a car, when it is about one; then it is about no payment."""
    clearing: Struct | None = None
    """What a clearing party says of packages of card charges."""


class Outcome(Struct, frozen=True):
    """What became of one notice. ``accepted``: the channel gets its positive answer once the transaction has committed."""

    finding: Finding | refund_decisions.Finding | entry_words.Finding | cards.Finding
    accepted: bool
    reason: str | None
    payment_id: UUID | None


def apply(
    tx: Connection, *, lane: int, notices: Sequence[Notice], at: datetime, ids: Ids, and_commit: bool = False
) -> list[Outcome]:  # fmt: skip
    """Keep messages and carry out what they say: payments move, charges are settled, money is booked, lots are told.

    Returns one outcome per notice, in order. Any order and any number of repeats lead to the same money. Payments are locked in
    the order of their ids, then their charges in the order of theirs, so that two batches never wait for each other in a circle.

    Args:
        notices: Messages of this lane's channels; those without a result are kept and nothing else. One that says something about
            several payments comes once for each, side by side.
        at: When they are carried out (UTC); the business date follows from it.
        and_commit: Commit with the last statement, which saves a round trip; nothing more may be written with ``tx``.

    Raises:
        psycopg.errors.UniqueViolation: another transaction booked the same fact at the same moment, or a message is already kept;
            nothing is committed. Repeat with fewer notices, at last one by one.
    """
    if any(notice.clearing is not None for notice in notices):
        return _apply_heard(tx, lane=lane, notices=notices, at=at, ids=ids, and_commit=and_commit)
    work = _Work(tx, lane=lane, notices=notices, at=at, ids=ids)
    refunded = work.carry_out_refunds([notice for notice in notices if notice.refund is not None])
    entered = work.carry_out_entries([notice for notice in notices if notice.entry is not None])
    outcomes = [
        next(entered) if notice.entry is not None
        else work.carry_out(notice, subject) if notice.refund is None else next(refunded)
        for notice, subject in zip(notices, work.subjects, strict=True)
    ]  # fmt: skip
    work.write(and_commit=and_commit)
    return outcomes


def _apply_heard(
    tx: Connection, *, lane: int, notices: Sequence[Notice], at: datetime, ids: Ids, and_commit: bool
) -> list[Outcome]:  # fmt: skip
    """Apply a batch in which a clearing party speaks of packages: each such word becomes what it says of each payment."""
    heard = [
        None if n.clearing is None else hear(tx, lane=lane, told=n.clearing, message=n.message, at=at, ids=ids) for n in notices
    ]
    parts = [[notice] if word is None else _spelled_out(notice, word) for notice, word in zip(notices, heard, strict=True)]
    flat = [part for one in parts for part in one]
    told = iter(apply(tx, lane=lane, notices=flat, at=at, ids=ids, and_commit=and_commit))
    outcomes = [[next(told) for _ in one] for one in parts]
    return [own[0] if word is None else _outcome(word) for own, word in zip(outcomes, heard, strict=True)]


def _spelled_out(notice: Notice, word: cards.Heard) -> list[Notice]:
    """Return the message itself, which is kept, and behind it what it says of each payment."""
    kept = msgspec.structs.replace(notice.message, reason=None if word.accepted else word.finding.value)
    return [Notice(kept, None), *(Notice(kept, result, again=True) for result in word.results)]


def _outcome(word: cards.Heard) -> Outcome:
    return Outcome(word.finding, word.accepted, None if word.accepted else word.finding.value, None)


def subject_of(order_no: str, *, lane: int) -> UUID | None:
    """Return the payment that an order number of a channel names, or None when it cannot be one of this lane's."""
    found = read_payment_number(order_no)
    return found[1] if found is not None and found[0] == lane else None


class _Work:
    """One batch: rows held under lock, changed in memory notice by notice, written set by set at the end."""

    def __init__(self, tx: Connection, *, lane: int, notices: Sequence[Notice], at: datetime, ids: Ids) -> None:
        self._tx, self._lane, self._at, self._ids = tx, lane, at, ids
        self._booked_on: date = business_date(at)
        self._messages: list[RawMessage] = []
        self._moved: dict[UUID, fact_store.Move] = {}
        self._money: list[fact_store.Taken] = []
        self._cases: list[store.NewCase] = []
        self._entries: list[Entry] = []
        self._taken_back: dict[UUID, fact_store.TakenBack] = {}
        self._reopened: dict[UUID, tuple[HeldCharge, datetime]] = {}
        self._events: list[events.NewEvent] = []
        self._emptied: list[str] = []
        self._refunded: set[UUID] | None = None
        self._counted: set[UUID] | None = None
        self._counted_here: set[UUID] = set()
        self._parts: dict[UUID, HeldCharge] = {}
        self._debts: dict[UUID, HeldCharge] = {}
        self.subjects = [None if n.result is None else subject_of(n.result.order_no, lane=lane) for n in notices]
        pairs = zip(self.subjects, notices, strict=True)
        wanted = [(subject, n.result) for subject, n in pairs if subject is not None and n.result is not None]
        self._payments, self._charges, self._taken = (
            fact_store.lock_payments(tx, lane=lane, wanted=wanted) if wanted else ({}, {}, {})
        )

    def carry_out(self, notice: Notice, subject: UUID | None) -> Outcome:
        """Decide about one notice and note down what follows; ``subject`` is the payment that its order number names."""
        result = notice.result
        payment = None if subject is None else self._payments.get(subject)
        charge = None if payment is None else self._charges.get(payment.charge_id)
        taken = result is not None and payment is not None and self._trade_taken(payment, result)
        refunded = result is not None and payment is not None and self._is_refunded(payment, result)
        finding = decide(payment, charge, result, source=notice.source, at=self._at, trade_taken=taken, refunded=refunded)
        accepted = finding in ACCEPTED
        reason = None if accepted else notice.message.reason if result is None else finding.value
        if not notice.again:
            self._keep(notice.message, payment, reason)
        if result is not None:
            self._follow(finding, notice, result, payment, charge)
        return Outcome(finding, accepted, reason, None if payment is None else payment.payment_id)

    def carry_out_refunds(self, notices: Sequence[Notice]) -> Iterator[Outcome]:
        """Carry out what is said about refunds. Returns an iterator of their outcomes, in order."""
        words = [
            refunds.Word(notice.refund, notice.message.message_id, notice.message.verdict == "verified")
            for notice in notices
            if notice.refund is not None
        ]
        if not words:
            return iter(())
        found, entries = refunds.carry_out(self._tx, lane=self._lane, words=words, at=self._at, ids=self._ids)
        self._entries += entries
        return iter([self._refund_outcome(*pair) for pair in zip(notices, found, strict=True)])

    def carry_out_entries(self, notices: Sequence[Notice]) -> Iterator[Outcome]:
        """Carry out what is said about cars, and keep it. Returns an iterator of the outcomes, in order."""
        told = [notice.entry for notice in notices if notice.entry is not None]
        if not told:
            return iter(())
        channels = [notice.message.channel for notice in notices]
        found = entry_words.carry_out(self._tx, lane=self._lane, channels=channels, told=told)
        for notice, one in zip(notices, found, strict=True):
            self._messages.append(msgspec.structs.replace(notice.message, subject=one.entrance_id, reason=one.reason))
        return iter([Outcome(one.finding, one.accepted, one.reason, None) for one in found])

    def _refund_outcome(self, notice: Notice, found: refunds.Outcome) -> Outcome:
        reason = None if found.accepted else notice.message.reason or found.finding.value
        message = notice.message
        subject = message.subject if found.payment_id is None else found.payment_id
        if not notice.again:
            self._messages.append(msgspec.structs.replace(message, subject=subject, reason=reason))
        return Outcome(found.finding, found.accepted, reason, found.payment_id)

    def write(self, *, and_commit: bool) -> None:
        """Write everything, set by set: what is rare first, then in one message the evidence, the money and last the book."""
        if self._cases:
            cases = sorted(self._cases, key=lambda case: (case.order_no, case.kind))  # one order for all who open the same
            store.open_cases(self._tx, lane=self._lane, cases=cases, at=self._at)
        if self._emptied:
            store.close_suspense_cases(self._tx, lane=self._lane, order_nos=self._emptied)
        events.write(self._tx, lane=self._lane, rows=self._events)
        shots = [messages.keeping(lane=self._lane, messages=self._messages)]
        if self._moved:
            shots.append(fact_store.moving_payments(lane=self._lane, moves=list(self._moved.values())))
        if self._money:
            shots.append(fact_store.writing_taken(lane=self._lane, taken=self._money))
        if self._taken_back:
            reopened = [
                fact_store.Reopened(charge.charge_id, charge.settled_by, charge.paid_fen, charge.owed_fen, at)
                for charge, at in self._reopened.values()
            ]
            shots.append(fact_store.taking_back(lane=self._lane, taken_back=list(self._taken_back.values()), reopened=reopened))
        if parts := [fact_store.PaidPart(x.charge_id, x.paid_fen) for x in self._parts.values() if x.owed_fen]:
            shots.append(fact_store.paying_parts(lane=self._lane, parts=parts))
        if self._debts:
            debts = [fact_store.Owed(x.charge_id, x.owed_fen) for x in self._debts.values()]
            shots.append(fact_store.paying_debts(lane=self._lane, debts=debts))
        if self._entries:
            shots.append(book.posting_new(lane=self._lane, entries=self._entries, at=self._at))
        fire(self._tx, shots, and_commit=and_commit)

    def _trade_taken(self, payment: HeldPayment, result: Result) -> bool:
        holder = self._taken.get((payment.channel, result.merchant_no, result.trade_no or ""))
        return holder is not None and holder != payment.payment_id

    def _is_refunded(self, payment: HeldPayment, result: Result) -> bool:
        """Say whether a payment that the channel takes back has a refund that is not closed. Asks once, in rare batches only."""
        if result.state is not ChannelState.REVERSED:
            return False
        if self._refunded is None:
            self._refunded = refund_store.refunded(self._tx, lane=self._lane, payment_ids=list(self._payments))
        return payment.payment_id in self._refunded

    def _counts(self, payment: HeldPayment) -> bool:
        """Say whether a payment counts for its charge, or lies in suspense. Asks once, in rare batches only."""
        if payment.payment_id in self._counted_here:
            return True
        if self._counted is None:
            self._counted = fact_store.counted(self._tx, lane=self._lane, payment_ids=list(self._payments))
        return payment.payment_id in self._counted

    def _keep(self, message: RawMessage, payment: HeldPayment | None, reason: str | None) -> None:
        subject = message.subject if payment is None else payment.payment_id
        if subject != message.subject or reason != message.reason:
            message = msgspec.structs.replace(message, subject=subject, reason=reason)
        self._messages.append(message)

    def _follow(
        self, finding: Finding, notice: Notice, result: Result, payment: HeldPayment | None, charge: HeldCharge | None
    ) -> None:
        """Do what a finding asks for. Without payment and charge there can only be a case."""
        if payment is not None and charge is not None:
            if finding in MONEY:
                self._take(finding, notice, result, payment, charge)
            elif finding is Finding.TAKEN_BACK:
                self._take_back(notice, result, payment, charge)
            elif finding is Finding.MOVED:
                self._move(payment, moved_to(payment, result.state, at=self._at) or payment.state)
            elif finding in _CALLS_FOR_QUERY and payment.state != "succeeded":
                self._doubt(payment, ask_at_once=notice.source == "callback")
        if finding in _OPENS_CASE:
            self._open_case(finding, notice, result, payment)

    def _take(self, finding: Finding, notice: Notice, result: Result, payment: HeldPayment, charge: HeldCharge) -> None:
        """Book money taken by the channel: the fact, its entry, the payment's final state, the charge, and the lot's event."""
        assert result.amount_fen is not None
        assert result.happened_at is not None
        assert result.trade_no is not None
        counts = finding in (Finding.SETTLED, Finding.PART)
        paid = recipes.debt_paid if charge.is_receivable else recipes.charge_paid
        recipe = paid if counts else recipes.second_payment
        self._entries.append(
            recipe(
                payment_id=payment.payment_id, book_id=payment.book_id, channel=payment.channel, amount_fen=result.amount_fen,
                happened_at=result.happened_at, booked_on=self._booked_on, evidence_id=notice.message.message_id,
                route_id=payment.route_id,
            )
        )  # fmt: skip
        self._taken[payment.channel, result.merchant_no, result.trade_no] = payment.payment_id
        payment.state, payment.trade_no, payment.taken_fen = "succeeded", result.trade_no, result.amount_fen
        self._moved.pop(payment.payment_id, None)
        if counts:
            self._count(finding, result.amount_fen, payment, charge)
        kind = _KINDS.get(finding, "payment.suspended")
        self._money.append(
            fact_store.Taken(
                payment.payment_id, charge.charge_id, notice.message.message_id, finding.value, payment.channel,
                result.merchant_no, result.trade_no, result.amount_fen, result.happened_at,
                self._ids.new(self._at, kind, payment.payment_id.bytes), payment.operator_id, charge.lot_id, kind,
                _event(kind, finding, result, charge),
            )
        )  # fmt: skip

    def _count(self, finding: Finding, amount_fen: int, payment: HeldPayment, charge: HeldCharge) -> None:
        """Let a payment count for its charge."""
        charge.paid_fen += amount_fen
        self._counted_here.add(payment.payment_id)
        if finding is Finding.SETTLED:
            charge.settled_by = payment.payment_id
        else:
            self._parts[charge.charge_id] = charge
        if charge.is_receivable:
            self._debts[charge.charge_id] = charge
            kind: events.EventKind = "debt.reduced" if charge.owed_fen else "debt.settled"
            self._tell(kind, _debt_event(kind, amount_fen, payment, charge, self._lane, self._at), payment, charge)

    def _take_back(self, notice: Notice, result: Result, payment: HeldPayment, charge: HeldCharge) -> None:
        """Book money that the channel took back: what it paid is due again as a debt, what lay in suspense is gone."""
        assert payment.taken_fen is not None
        at, counted = result.happened_at or self._at, self._counts(payment)
        recipe = recipes.bad_debt if counted else recipes.second_payment
        entry = recipe(
            payment_id=payment.payment_id, book_id=payment.book_id, channel=payment.channel, amount_fen=payment.taken_fen,
            happened_at=at, booked_on=self._booked_on, evidence_id=notice.message.message_id, route_id=payment.route_id,
        )  # fmt: skip
        if counted:
            charge.settled_by, charge.paid_fen, charge.is_receivable = None, charge.paid_fen - payment.taken_fen, True
            self._reopened[charge.charge_id] = charge, at
            self._debts[charge.charge_id] = charge
        else:
            entry = reversal_of(entry, happened_at=at, booked_on=self._booked_on, evidence_id=notice.message.message_id)
            self._emptied.append(payment_number(self._lane, payment.payment_id))
        self._entries.append(entry)
        payment.taken_back_at = at
        self._taken_back[payment.payment_id] = fact_store.TakenBack(payment.payment_id, at)
        kind: events.EventKind = "payment.taken_back"
        told = _taken_back_event(payment, charge, receipt=payment_number(self._lane, payment.payment_id), settled=counted)
        self._tell(kind, told, payment, charge)

    def _tell(self, kind: events.EventKind, told: bytes, payment: HeldPayment, charge: HeldCharge) -> None:
        event_id = self._ids.new(self._at, kind, payment.payment_id.bytes)
        self._events.append(
            events.NewEvent(event_id, payment.operator_id, charge.lot_id, payment.payment_id, charge.charge_id, kind, told)
        )  # fmt: skip

    def _move(self, payment: HeldPayment, state: PaymentState) -> None:
        """Give a payment a state without money. What is over is not asked for any more; else the schedule stands."""
        payment.state = state
        over = state in ("closed", "failed")
        self._moved[payment.payment_id] = fact_store.Move(payment.payment_id, state, keep_query=not over)

    def _doubt(self, payment: HeldPayment, *, ask_at_once: bool) -> None:
        """A message did not fit: the payment is unknown (unless it is over) and the channel must be asked."""
        if payment.state not in ("closed", "failed"):
            payment.state = "unknown"
        self._moved[payment.payment_id] = fact_store.Move(
            payment.payment_id, payment.state, next_query_at=self._at if ask_at_once else None, keep_query=not ask_at_once
        )

    def _open_case(self, finding: Finding, notice: Notice, result: Result, payment: HeldPayment | None) -> None:
        kind = _OPENS_CASE[finding]
        self._cases.append(
            store.NewCase(
                self._ids.new(self._at, f"case {kind} {result.channel} {result.order_no}"), kind, result.channel,
                result.order_no, None if payment is None else payment.payment_id,
                None if payment is None else payment.operator_id, result.amount_fen, notice.message.message_id,
                _explain(finding, result, payment),
            )
        )  # fmt: skip


def _event(kind: events.EventKind, finding: Finding, result: Result, charge: HeldCharge) -> bytes:
    """Return what the lot is told about money that was taken."""
    assert result.amount_fen is not None
    assert result.happened_at is not None
    return events.encode(
        events.PaymentEvent(
            kind=kind,
            charge_serial=charge.lot_serial,
            receipt=result.order_no,
            channel=result.channel,
            amount_fen=result.amount_fen,
            paid_at=result.happened_at,
            reason=None if finding in _KINDS else finding.value,
        )
    )


def _debt_event(
    kind: events.EventKind, amount_fen: int, payment: HeldPayment, charge: HeldCharge, lane: int, at: datetime
) -> bytes:  # fmt: skip
    """Return what the lot is told about a debt of which something was paid."""
    return events.encode(
        events.DebtEvent(
            kind=kind, charge_serial=charge.lot_serial, amount_fen=amount_fen, owed_fen=charge.owed_fen, at=at, reason="paid",
            receipt=payment_number(lane, payment.payment_id),
        )
    )  # fmt: skip


def _taken_back_event(payment: HeldPayment, charge: HeldCharge, *, receipt: str, settled: bool) -> bytes:
    """Return what the lot is told about money that the channel took back."""
    assert payment.taken_fen is not None
    assert payment.taken_back_at is not None
    suspended = Finding.SECOND_PAYMENT if payment.taken_fen == payment.amount_fen else Finding.AMOUNT_SUSPENDED
    return events.encode(
        events.PaymentEvent(
            kind="payment.taken_back", charge_serial=charge.lot_serial, receipt=receipt, channel=payment.channel,
            amount_fen=payment.taken_fen, paid_at=payment.taken_back_at, reason=None if settled else suspended.value,
        )
    )  # fmt: skip


def _explain(finding: Finding, result: Result, payment: HeldPayment | None) -> str:
    """Return what was expected and what came, for the person who works on the case."""
    merchant = f"merchant {result.provider_no}/{result.merchant_no}"
    came = f"{result.channel} says {result.state.value} for order {result.order_no}, {merchant}"
    if result.amount_fen is not None:
        came += f", {yuan(result.amount_fen)} {result.currency}, trade number {result.trade_no}"
    if payment is None:
        return f"{came}; no such order was made"
    ordered = f"ordered: {yuan(payment.amount_fen)} {CURRENCY} to merchant {payment.provider_no}/{payment.merchant_no}"
    known = "" if payment.trade_no is None else f"; known trade number {payment.trade_no}"
    return f"{finding.value}: {came}; {ordered}{known}"
