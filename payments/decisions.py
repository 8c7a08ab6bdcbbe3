"""What a channel's word about a payment means for us: one pure function.

Knows the states of payments and charges; must not know the database, the book or any channel's wire. Called by the applier.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from gateways.contract import ChannelState, Result

CURRENCY: Final = "CNY"

Source = Literal["callback", "query"]
"""callback: the channel called us, and a refusal makes it call again. query: we asked, and the answer is the channel's truth."""

PaymentState = Literal["created", "pending", "unknown", "closed", "failed", "succeeded"]
"""created: not yet answered by the channel. pending: the payer can pay. unknown: must be asked for. closed, failed: over,
unless a success is proven later. succeeded: the money was taken; final."""


class HeldPayment(Struct):
    """What the applier knows of a payment while it holds its row."""

    payment_id: UUID
    charge_id: UUID
    operator_id: int
    book_id: int
    channel: str
    provider_no: str
    merchant_no: str
    amount_fen: int
    state: PaymentState
    trade_no: str | None
    taken_fen: int | None
    expires_at: datetime
    route_id: int = 0
    """Version of the route that it was ordered over."""
    taken_back_at: datetime | None = None
    """When the channel took back what it had paid; None: it did not."""


class HeldCharge(Struct):
    """What the applier knows of a charge while it holds its row."""

    charge_id: UUID
    lot_id: int
    lot_serial: str
    settled_by: UUID | None
    is_receivable: bool
    """While it is open, the book carries it as a receivable: whoever pays it pays a debt."""
    amount_fen: int
    paid_fen: int
    """Sum of the payments that count for it."""
    reduced_fen: int
    """Sum of credit notes, waivers and write-offs."""

    @property
    def owed_fen(self) -> int:
        """What is still due; 0 once the charge is not open any more."""
        return self.amount_fen - self.paid_fen - self.reduced_fen


class Finding(StrEnum):
    """What a message turned out to be, in order of precedence."""

    NOT_READ = "not_read"
    """No verified result in it: nothing may follow from it."""
    ORDER_UNKNOWN = "order_unknown"
    """It names an order that we never made."""
    INCOMPLETE = "incomplete"
    """It says success without saying how much, when, or under which trade number."""
    ALREADY = "already"
    """It tells again what is known; nothing more follows from it."""
    MERCHANT_DIFFERS = "merchant_differs"
    """Another provider or operator than the one the order was made for: never booked here."""
    CURRENCY_DIFFERS = "currency_differs"
    """Another currency than yuan: never booked."""
    TRADE_DIFFERS = "trade_differs"
    """Its trade number belongs to another payment, or the payment has another one: never booked twice."""
    NOTICE_AMOUNT_DIFFERS = "notice_amount_differs"
    """A notice with another amount than ordered: refused, and the channel is asked. Also a word that another amount than the one
    taken was taken back: nothing is booked."""
    AMOUNT_SUSPENDED = "amount_differs"
    """The channel confirms, asked by us, that it took another amount: suspense in full, and the charge stays open."""
    SETTLED = "settled"
    """Success on an open charge: nothing of it is due any more."""
    PART = "part"
    """Success on an open charge for less than is due: it counts, and the rest stays due."""
    SECOND_PAYMENT = "second_payment"
    """Success on a charge of which less is due, or nothing: suspense in full, and a refund is due."""
    TAKEN_BACK = "taken_back"
    """The channel took back what it had paid: the charge is due again as a debt, or what lay in suspense is gone."""
    TAKEN_BACK_AFTER_REFUND = "taken_back_after_refund"
    """The channel took back a payment of which a refund was promised or made: nothing is booked, a person decides."""
    MOVED = "moved"
    """No money, but the payment has another state now."""


ACCEPTED: Final = frozenset({
    Finding.ALREADY, Finding.AMOUNT_SUSPENDED, Finding.SETTLED, Finding.PART, Finding.SECOND_PAYMENT, Finding.TAKEN_BACK,
    Finding.TAKEN_BACK_AFTER_REFUND, Finding.MOVED,
})  # fmt: skip
"""Findings that are acknowledged to the channel."""

MONEY: Final = frozenset({Finding.AMOUNT_SUSPENDED, Finding.SETTLED, Finding.PART, Finding.SECOND_PAYMENT})
"""Findings that book money taken."""

_STATES: Final[Mapping[ChannelState, PaymentState]] = {
    ChannelState.CLOSED: "closed",
    ChannelState.FAILED: "failed",
    ChannelState.REVERSED: "failed",
    ChannelState.PENDING: "pending",
    ChannelState.UNKNOWN: "unknown",
}
_OVER: Final = frozenset({"closed", "failed", "succeeded"})


def decide(
    payment: HeldPayment | None,
    charge: HeldCharge | None,
    result: Result | None,
    *,
    source: Source,
    at: datetime,
    trade_taken: bool,
    refunded: bool = False,
) -> Finding:
    """Say what a message means. The first line that fits counts:

    ======================================================================  ======================
    the message                                                             finding
    ======================================================================  ======================
    has no verified result                                                  not_read
    names no order of ours                                                  order_unknown
    names another provider or operator                                      merchant_differs
    says taken back, again                                                  already
    says taken back, under another trade number than the success            trade_differs
    says taken back, another amount than was taken                          notice_amount_differs
    says taken back, and a refund was promised or made                      taken_back_after_refund
    says taken back                                                         taken_back (booked)
    says anything but success, and the payment would not move               already
    says anything but success, and the payment moves                        moved
    says success without amount, time or trade number                       incomplete
    is in another currency                                                  currency_differs
    repeats the success we know: same trade number, same amount             already
    repeats it with another amount                                          notice_amount_differs
    has a trade number of another payment, or the payment has another one   trade_differs
    has another amount than ordered, and is a notice                        notice_amount_differs
    has another amount than ordered, and we asked                           amount_differs (booked)
    finds as much due                                                       settled (booked)
    finds more due: it was ordered for a part of a debt                     part (booked)
    finds less due, or nothing                                              second_payment (booked)
    ======================================================================  ======================

    Taken back can only be what was taken: of a payment that has not succeeded the word means that it failed. A success told again
    after that stays ``already``: the channel's one act is booked once, and money collected anew comes under a new payment.

    ``trade_taken`` says that the trade number is already a fact of another payment; ``refunded`` that the payment has a refund
    which is not closed. A success overtakes closed and failed.
    """
    if result is None:
        return Finding.NOT_READ
    if payment is None or charge is None:
        return Finding.ORDER_UNKNOWN
    if result.provider_no != payment.provider_no or result.merchant_no != payment.merchant_no:
        return Finding.MERCHANT_DIFFERS
    if result.state is ChannelState.REVERSED and payment.state == "succeeded":
        return _taken_back(payment, result, refunded=refunded)
    if result.state is not ChannelState.SUCCEEDED:
        return Finding.MOVED if moved_to(payment, result.state, at=at) else Finding.ALREADY
    if result.amount_fen is None or result.happened_at is None or not result.trade_no or result.amount_fen <= 0:
        return Finding.INCOMPLETE
    if result.currency != CURRENCY:
        return Finding.CURRENCY_DIFFERS
    return _success(payment, charge, result, source=source, trade_taken=trade_taken)


def _success(payment: HeldPayment, charge: HeldCharge, result: Result, *, source: Source, trade_taken: bool) -> Finding:
    assert result.amount_fen is not None
    if payment.state == "succeeded" and payment.trade_no == result.trade_no:
        return Finding.ALREADY if payment.taken_fen == result.amount_fen else Finding.NOTICE_AMOUNT_DIFFERS
    if payment.state == "succeeded" or trade_taken:
        return Finding.TRADE_DIFFERS
    if result.amount_fen != payment.amount_fen:
        return Finding.AMOUNT_SUSPENDED if source == "query" else Finding.NOTICE_AMOUNT_DIFFERS
    if result.amount_fen > charge.owed_fen:
        return Finding.SECOND_PAYMENT
    return Finding.SETTLED if result.amount_fen == charge.owed_fen else Finding.PART


def _taken_back(payment: HeldPayment, result: Result, *, refunded: bool) -> Finding:
    if payment.taken_back_at is not None:
        return Finding.ALREADY
    if result.trade_no and result.trade_no != payment.trade_no:
        return Finding.TRADE_DIFFERS
    if result.amount_fen not in (None, payment.taken_fen) or result.currency not in (None, CURRENCY):
        return Finding.NOTICE_AMOUNT_DIFFERS
    return Finding.TAKEN_BACK_AFTER_REFUND if refunded else Finding.TAKEN_BACK


def moved_to(payment: HeldPayment, state: ChannelState, *, at: datetime) -> PaymentState | None:
    """Return the state that a word other than success leads to, or None when the payment stays as it is.

    States go forward only: nothing follows closed and failed but a success, and nothing follows succeeded. An order the channel
    never had is closed once nobody could pay it any more; before that it may still be on its way.
    """
    if payment.state in _OVER:
        return None
    wanted = _STATES.get(state, payment.state)
    if state is ChannelState.NOT_FOUND and at >= payment.expires_at:
        wanted = "closed"
    return wanted if wanted != payment.state else None
