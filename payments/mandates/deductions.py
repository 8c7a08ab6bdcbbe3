"""Deductions 免密代扣: a charge is taken by the plate's mandate, over the first channel that may, and never twice at once.

Knows orders, attempts, entrances and calls to channels; must not know HTTP or any channel's wire. Called by the API.

As in the checkout: the payment is committed, then the channel is called outside any transaction, then its answer goes to the
applier. Should we stop in between, the query that was scheduled with the payment finds out. The deduction depends on what is kept
alone, so a repeat is identical and the channel's order number makes it the same one.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct
from sqlalchemy import Connection

from gateways import calls, messages, routing
from gateways.contract import ChannelState, Deduction, MandateRef, MerchantAccount, Operation, RawMessage, Reading, Result, Way
from ledger.errors import Conflict, Refused
from ledger.ids import payment_number
from payments import charges, checkout, orders, results, store
from payments.checkout import Till
from payments.decisions import ACCEPTED, Finding
from payments.errors import AlreadyPaid, CardUnderWay
from payments.mandates import deduction_store, renewal_store, status_lists
from payments.mandates.deduction_store import Asked, Entry, Held, MandateState, Terms, Word
from payments.owed import debt_store
from payments.records import Attempt, Charge
from payments.results import Notice

CHANNELS: Final = ("etc", "wechat", "alipay")
"""The order in which channels are tried when the lot names none."""
DECIDED_WITHIN: Final = timedelta(minutes=5)
"""A deduction that the channel does not know by then was never made: nobody but us brings it there."""
REPEATED_FOR: Final = timedelta(minutes=4)
"""So long the call may be repeated; later calls ask only, so that none arrives after the deduction has been given up."""
CLAIM: Final = timedelta(minutes=1)
"""How long one call may hold a deduction; after that the next one takes it over."""
ATTEMPTS_MAX: Final = 5
"""Most deductions of one charge over one channel: a plate that is refused five times is for a person."""

CONSENT_ENDED: Final = "consent_ended"
"""Reason why nothing is asked for: the driver ended the mandate on our pages, whatever the channel says."""

State = Literal["succeeded", "pending", "failed", "unknown", "none"]
"""succeeded: the money was taken. pending: the channel proved that it took the charge on. failed: the channel refused, proven.
unknown: it may have been made; ask again. none: nothing was asked for."""


class Tried(Struct, frozen=True, kw_only=True):
    """What became of one channel. ``receipt`` is there once money was taken; ``reason`` says why it was not."""

    channel: str
    state: State
    receipt: str | None = None
    reason: str | None = None


class Deducted(Struct, frozen=True, kw_only=True):
    """What became of a charge: the word of the channel that counts, and of all that were tried, in order."""

    lot_serial: str
    state: State
    channel: str | None
    receipt: str | None
    tried: tuple[Tried, ...]


class _Stay(Struct, frozen=True):
    """A charge with its entrance and what a channel said of it there."""

    charge: Charge
    entry: Entry | None
    word: Word | None

    @property
    def color(self) -> str:
        known = None if self.entry is None or self.entry.plate_color == "unknown" else self.entry.plate_color
        return known or self.charge.plate_color


def number_lot(tx: Connection, *, lot_id: int, channel: str, number: str, at: datetime) -> None:
    """Enter how a channel numbers a lot; from now on entrances and deductions carry it. May be repeated, the last counts.

    Raises:
        Refused: ``lot_number_invalid``, empty or longer than 64 characters.
    """
    if not 0 < len(number) <= 64 or not number.isprintable():
        raise Refused("a lot's number at a channel has 1 to 64 printable characters", code="lot_number_invalid")
    deduction_store.put_lot_number(tx, lot_id=lot_id, channel=channel, number=number, at=at)


def deduct(till: Till, *, lot_id: int, lot_serial: str, channel: str | None = None) -> Deducted:
    """Take a lot's charge by the plate's mandate: over ``channel``, or over the first of ``CHANNELS`` whose mandate is open.

    May be repeated: a deduction that is under way is asked for again and not made twice, one that succeeded is told again. The next
    channel is tried only when the one before proved that it takes nothing; one that took nothing in an earlier call comes last.

    Raises:
        ChargeUnknown: the lot has no such charge.
        NotFound: ``channel_not_found``.
        AlreadyPaid: the charge was paid otherwise.
        Conflict: ``payment_under_way`` (a payer is at it), ``card_under_way`` (the car's card has paid), ``deduction_under_way``
            (over another channel than the one named), ``payment_in_suspense`` (another amount was taken: a person decides).
    """
    here = _channels(till, channel)
    with till.db.connect() as tx:
        charge = charges.by_serial(tx, lane=till.lane, lot_id=lot_id, lot_serial=lot_serial)
        before = deduction_store.attempts_at(tx, lane=charge.lane, charge_id=charge.charge_id)
        standing = _standing(tx, charge, channel, before)
        names = _least_tried(before, here)
    tried = [] if standing is None else [_again(till, charge, standing)]
    for name in names:
        if tried and tried[-1].state not in ("none", "failed"):
            break
        if name not in {one.channel for one in tried}:
            tried.append(_try(till, charge, name, named=channel is not None))
    return _answer(lot_serial, tried)


def _channels(till: Till, channel: str | None) -> tuple[str, ...]:
    if channel is None:
        here = till.channels()
        return tuple(name for name in CHANNELS if name in here)
    till.line(channel)
    return (channel,)


def _least_tried(before: Sequence[Attempt], names: Sequence[str]) -> list[str]:
    """Return channels in their order, those last that a charge was taken over to no effect before."""
    times = Counter(one.channel for one in before if one.way is Way.DEDUCTION)
    return sorted(names, key=lambda name: times[name])


def _answer(lot_serial: str, tried: Sequence[Tried]) -> Deducted:
    """Return what counts: the channel that took it or may have, else the last refusal, else none."""
    decisive = [one for one in tried if one.state not in ("none", "failed")] or [one for one in tried if one.state == "failed"]
    if not decisive:
        return Deducted(lot_serial=lot_serial, state="none", channel=None, receipt=None, tried=tuple(tried))
    last = decisive[-1]
    return Deducted(lot_serial=lot_serial, state=last.state, channel=last.channel, receipt=last.receipt, tried=tuple(tried))


def _standing(tx: Connection, charge: Charge, channel: str | None, attempts: Sequence[Attempt]) -> Attempt | None:
    """Return the deduction of a charge that is under way or has settled it, or None when one may be made.

    Raises AlreadyPaid and Conflict as ``deduct``.
    """
    now = charges.by_id(tx, lane=charge.lane, charge_id=charge.charge_id)
    if now.state != "open":
        settling = next((one for one in attempts if one.payment_id == now.settled_by), None)
        if settling is None or settling.way is not Way.DEDUCTION or channel not in (None, settling.channel):
            raise AlreadyPaid("nothing is due of this charge any more")
        return settling
    if sum(one.taken_fen or 0 for one in attempts if one.state == "succeeded" and one.taken_back_at is None) > now.paid_fen:
        raise Conflict("another amount was taken for this charge; a person decides about it", code="payment_in_suspense")
    live = [one for one in attempts if one.state in orders.LIVE]
    if any(one.way is Way.CARD for one in live):
        raise CardUnderWay("the car's card has paid this charge at the lane; its issuer decides")
    if any(one.way is not Way.DEDUCTION for one in live):
        raise Conflict("a payer is paying this charge; wait for it or for the end of its order", code="payment_under_way")
    if live and channel not in (None, live[0].channel):
        raise Conflict(f"this charge is being deducted over {live[0].channel}", code="deduction_under_way")
    return live[0] if live else None


# One channel


def _try(till: Till, charge: Charge, channel: str, *, named: bool) -> Tried:
    """Deduct over one channel when it can, the operator has a route there, and the mandate allows it."""
    at, wire = till.clock.now(), till.line(channel).connected.channel
    if Operation.DEDUCT not in wire.supports:
        return Tried(channel=channel, state="none", reason="deduction_unsupported")
    if charge.owed_fen > wire.amount_fen_max:
        return Tried(channel=channel, state="none", reason="amount_above_cap")
    with till.db.connect() as tx:
        route = routing.choose(tx, operator_id=charge.operator_id, channel=channel, at=at)
        if route is None:
            return Tried(channel=channel, state="none", reason="route_missing")
        found = deduction_store.stay_of(tx, charge=charge, channel=channel, merchant_no=route.merchant_no)
        stay = _Stay(charge, found.entry, found.word)
        if channel == status_lists.CHANNEL and status_lists.plate_listed(tx, plate=charge.plate, color=stay.color, at=at):
            return Tried(channel=channel, state="none", reason="plate_listed")
        if found.has_ended:
            return Tried(channel=channel, state="none", reason=CONSENT_ENDED)
    state, mandate_no, reason = _mandate(till, stay, route)
    if state == "unknown" and named and reason is None:
        reason = _entry_needed(stay, wire.supports)
        state = "open" if reason is None else "none"
    if state != "open":
        return Tried(channel=channel, state="none", reason=reason or f"mandate_{state}")
    made, fresh = _make(till, stay, route, mandate_no, channel if named else None)
    if isinstance(made, str):
        return Tried(channel=channel, state="none", reason=made)
    return _call(till, stay.charge, made, fresh=True) if fresh else _again(till, charge, made)


def _entry_needed(stay: _Stay, supports: frozenset[Operation]) -> str | None:
    """Say why a channel whose word is missing is not even asked: it was not told of the car."""
    told = stay.word is not None and stay.word.entry_no is not None
    return "entry_missing" if Operation.ENTRY in supports and not told else None


def _mandate(till: Till, stay: _Stay, route: MerchantAccount) -> tuple[MandateState, str | None, str | None]:
    """Return whether a plate may be deducted, the mandate's number, and why the channel cannot be asked at all.

    Open at the entrance is open: the deduction itself is refused when that has changed. Else the channel is asked now; without an
    answer the word at the entrance counts.
    """
    before: MandateState = "unknown" if stay.word is None else stay.word.state
    line = till.line(route.channel)
    wire = line.connected.channel
    if before == "open" or Operation.MANDATE_QUERY not in wire.supports or wire.mandates_by_payer:
        return before, None, None  # only the plate is known here
    ref = MandateRef(
        plate=stay.charge.plate, plate_color=stay.color, merchant_no=route.merchant_no, key_ref=route.key_ref
    )  # fmt: skip
    charge_id, at = stay.charge.charge_id, till.clock.now()
    try:
        call = calls.mandate(line, ref, subject=charge_id, occasion=f"mandate {charge_id} {at.isoformat()}")
    except Refused as wrong:
        return "none", None, wrong.code
    with till.db.begin() as tx:
        deduction_store.keep_message(tx, lane=till.lane, message=call.message)
        if call.outcome.state != "unknown":
            said = debt_store.Said(stay.charge.plate, stay.charge.plate_color, route.channel, call.outcome.state)
            debt_store.remember_mandates(tx, said=[said], at=at)
    if call.outcome.state == "unknown":
        return before, None, None
    return call.outcome.state, call.outcome.mandate_no, None


def _make(
    till: Till, stay: _Stay, route: MerchantAccount, mandate_no: str | None, channel: str | None
) -> tuple[Attempt | str, bool]:
    """Commit order and payment before anything is said to the channel; returns the payment, claimed, and whether it is new.

    Holds the charge: of calls that come together one makes the payment and the others find it. Instead of a payment the reason why
    none is made: ``attempts_exhausted``, it was tried too often; ``consent_ended``, the driver ended it meanwhile.
    """
    charge, at = stay.charge, till.clock.now()
    with till.db.connect() as tx, tx.begin() as transaction:
        store.hold_charges(tx, lane=charge.lane, charge_ids=[charge.charge_id])
        before = deduction_store.attempts_at(tx, lane=charge.lane, charge_id=charge.charge_id)
        standing = _standing(tx, charge, channel, before)
        if standing is not None:
            return standing, False
        mine = [one for one in before if one.way is Way.DEDUCTION and one.channel == route.channel]
        if len(mine) >= ATTEMPTS_MAX:
            return "attempts_exhausted", False
        order = orders.open_order(
            tx, lane=charge.lane, lot_id=charge.lot_id, charge_id=charge.charge_id,
            token=till.tokens.new(f"deduction {charge.charge_id} {len(before) + 1}"), at=at, ids=till.ids,
            price_lock=DECIDED_WITHIN,
        )  # fmt: skip
        attempt = orders.attempt(
            tx, order=order, route=route, provider_no=till.line(route.channel).connected.channel.provider_no, payer_id="",
            way=Way.DEDUCTION, at=at, ids=till.ids, first_query=till.schedule(route.channel)[0],
        )  # fmt: skip
        begun = deduction_store.begin(
            tx, lane=attempt.lane, payment_id=attempt.payment_id, terms=_terms(tx, stay, attempt, mandate_no),
            held=Held(charge.plate, stay.color, route.channel), until=at + CLAIM,
        )  # fmt: skip
        if not begun:
            transaction.rollback()
            return CONSENT_ENDED, False
    return attempt, True


def _terms(tx: Connection, stay: _Stay, attempt: Attempt, mandate_no: str | None) -> Terms:
    """Return what the deduction says. Where the channel knows the entry it repeats it; a stay ends before it is asked for."""
    charge = stay.charge
    entry = stay.entry if stay.word is not None and stay.word.entry_no is not None else None
    entered_at = charge.entered_at if entry is None else entry.entered_at
    asked_at = attempt.created_at - timedelta(seconds=1)
    return Terms(
        plate_color=stay.color,  # type: ignore[arg-type]  # one of charge and entrance, both checked
        entered_at=entered_at,
        left_at=max(min(charge.left_at or asked_at, asked_at), entered_at),
        lot_no=deduction_store.lot_number(tx, lot_id=charge.lot_id, channel=attempt.channel),
        lot_name=store.lot_name(tx, lane=charge.lane, charge_id=charge.charge_id) if entry is None else entry.lot_name,
        entry_no=None if stay.word is None else stay.word.entry_no,
        mandate_no=mandate_no,
    )


def deduction_of(charge: Charge, attempt: Attempt, terms: Terms) -> Deduction:
    """Return what the channel is asked for: from what is kept alone, the same in every repeat."""
    return Deduction(
        order_no=payment_number(attempt.lane, attempt.payment_id),
        merchant_no=attempt.merchant_no,
        plate=charge.plate,
        plate_color=terms.plate_color,
        amount_fen=attempt.amount_fen,
        description=f"停车费 {terms.lot_name}",
        entered_at=terms.entered_at,
        left_at=terms.left_at,
        minutes=charge.minutes,
        lot_no=terms.lot_no,
        lot_name=terms.lot_name,
        created_at=attempt.created_at,
        entry_no=terms.entry_no,
        mandate_no=terms.mandate_no,
        key_ref=attempt.key_ref,
    )


# Calls


def _again(till: Till, charge: Charge, attempt: Attempt) -> Tried:
    """Carry on with a deduction that stands: tell its success, repeat the call, or ask when it was taken on or is too old."""
    if attempt.state == "succeeded":
        return _tried(attempt, None, None)
    at = till.clock.now()
    with till.db.begin() as tx:
        is_young = at < attempt.created_at + REPEATED_FOR
        claimed = is_young and deduction_store.claim_call(
            tx, lane=attempt.lane, payment_id=attempt.payment_id, at=at, until=at + CLAIM
        )  # fmt: skip
        kept = deduction_store.asked(
            tx, lane=attempt.lane, payment_id=attempt.payment_id
        )  # after the claim: whoever had it is done
        repeats = is_young and not kept.taken_on
        if claimed and not repeats:
            store.release(tx, lane=attempt.lane, payment_ids=[attempt.payment_id])
    if not repeats:
        return _ask(till, attempt)
    if not claimed:
        return _tried(attempt, kept, "under_way")
    word = _call(till, charge, attempt, fresh=False)
    return word if word.state in ("succeeded", "failed", "pending") else _ask(till, attempt)


def _call(till: Till, charge: Charge, attempt: Attempt, *, fresh: bool) -> Tried:
    """Call the channel for a claimed deduction and let the applier carry out the answer. ``fresh``: nothing was sent before."""
    with till.db.connect() as tx:
        kept = deduction_store.asked(tx, lane=attempt.lane, payment_id=attempt.payment_id)
    reading, message = _sent(till, deduction_of(charge, attempt, kept), attempt, kept)
    own = (one for one in reading.results if one.order_no == payment_number(attempt.lane, attempt.payment_id))
    result = next(own, None)
    if result is None:
        never_sent = fresh and message.verdict == "unanswered" and reading.reason in _NEVER_SENT
        result = checkout.word(attempt, ChannelState.FAILED if never_sent else ChannelState.UNKNOWN)
    return _carried_out(till, attempt, message, result, reading.reason, called=True)


_NEVER_SENT: Final = frozenset({"signing", "deduction_form", "deduction_above_cap"})
"""Reasons of ours why a call did not leave the house."""


def _sent(till: Till, deduction: Deduction, attempt: Attempt, kept: Asked) -> tuple[Reading, RawMessage]:
    """Send a deduction. One that the channel's adapter refuses to build is not sent; that is on record like an answer."""
    line, subject = till.line(attempt.channel), attempt.payment_id
    occasion = f"deduct {subject} {kept.calls}"
    try:
        call = calls.deduct(line, deduction, subject=subject, occasion=occasion)
    except Refused as wrong:
        message = messages.received(
            line.connected.channel, operation=Operation.DEDUCT.value, direction="out", verdict="unanswered", reason=wrong.code,
            headers={}, body=b"", at=till.clock.now(), ids=till.ids, subject=subject, request=str(wrong).encode(),
            occasion=occasion,
        )  # fmt: skip
        return Reading(verdict="unanswered", reason=wrong.code), message
    return call.outcome, call.message


def _ask(till: Till, attempt: Attempt) -> Tried:
    """Ask what became of a deduction, at most every few seconds."""
    at = till.clock.now()
    with till.db.begin() as tx:
        claimed = store.claim_one(
            tx, lane=attempt.lane, payment_id=attempt.payment_id, at=at, until=at + checkout.ASK_AGAIN
        )  # fmt: skip
        if claimed is None:
            now, kept = _now(tx, attempt)
            return _tried(now, kept, "under_way")
    [notice] = checkout.ask(till, claimed)
    assert notice.result is not None, "an answer that proves nothing says unknown"
    return _carried_out(till, attempt, notice.message, notice.result, notice.message.reason, called=False)


def _carried_out(till: Till, attempt: Attempt, message: RawMessage, result: Result, reason: str | None, *, called: bool) -> Tried:
    """Let the applier carry out a channel's word, and say what it came to. ``called``: it answers the deduction itself."""
    with till.db.begin() as tx:
        [outcome] = results.apply(
            tx, lane=till.lane, notices=[Notice(message, result, "query")], at=till.clock.now(), ids=till.ids
        )  # fmt: skip
        if called:
            if message.verdict == "verified" and result.state is ChannelState.PENDING and outcome.finding in ACCEPTED:
                deduction_store.take_on(tx, lane=attempt.lane, payment_id=attempt.payment_id)
            store.release(tx, lane=attempt.lane, payment_ids=[attempt.payment_id])
        now, kept = _now(tx, attempt)
        if now.state == "failed":
            renewal_store.due_now(tx, lane=attempt.lane, charge_id=attempt.charge_id, channel=attempt.channel, at=till.clock.now())
    differs = outcome.finding not in (*ACCEPTED, Finding.ORDER_UNKNOWN)
    return _tried(now, kept, outcome.finding.value if differs else reason)


def _now(tx: Connection, attempt: Attempt) -> tuple[Attempt, Asked]:
    now = store.attempt(tx, lane=attempt.lane, payment_id=attempt.payment_id)
    assert now is not None
    return now, deduction_store.asked(tx, lane=attempt.lane, payment_id=attempt.payment_id)


def _tried(attempt: Attempt, kept: Asked | None, reason: str | None) -> Tried:
    """Say where a deduction stands.

    Pending is said only when the channel's answer to the deduction itself proved it: a query says pending also of an order that the
    channel does not know yet, and no barrier may open for that.
    """
    if attempt.state == "succeeded":
        if attempt.taken_fen != attempt.amount_fen:
            return Tried(channel=attempt.channel, state="unknown", reason="amount_differs")
        receipt = payment_number(attempt.lane, attempt.payment_id)
        return Tried(channel=attempt.channel, state="succeeded", receipt=receipt)
    if attempt.state in orders.LIVE:
        taken_on = kept is not None and kept.taken_on
        return Tried(channel=attempt.channel, state="pending" if taken_on else "unknown", reason=None if taken_on else reason)
    return Tried(channel=attempt.channel, state="failed", reason=reason or attempt.state)
