"""What a channel's word about a refund means for us: one pure function.

Knows the states of refunds; must not know the database, the book or any channel's wire. Called by the applier of refunds.
"""

from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from gateways.contract import RefundResult, RefundState

State = Literal["promised", "pending", "stuck", "done", "closed"]
"""promised: accepted and booked, the channel has not taken it on. pending: taken on. stuck: a person must decide. done: the money
went back. closed: proven not made, and the promise is cancelled; only this frees the amount for another refund."""


BY_HAND: Final = frozenset({"cash", "legacy"})
"""Channels that nobody can be called at: the lot hands the money back itself and reports it."""


class HeldRefund(Struct):
    """What the applier knows of a refund while it holds its row."""

    refund_id: UUID
    payment_id: UUID
    operator_id: int
    book_id: int
    lot_id: int
    charge_id: UUID
    lot_serial: str
    channel: str
    provider_no: str
    merchant_no: str
    trade_no: str
    amount_fen: int
    from_suspense: bool
    source: str
    source_ref: str
    state: State
    was_done: bool
    """It has been booked as done, now or before it was reopened."""


class Finding(StrEnum):
    """What a message about a refund turned out to be."""

    UNKNOWN = "refund_unknown"
    """It names a refund that we never asked for."""
    DIFFERS = "refund_differs"
    """Another merchant, payment or amount than ours: never booked."""
    NOTHING = "nothing"
    """It says nothing that decides; the schedule goes on."""
    ALREADY = "already"
    """It tells again what is known."""
    TAKEN_ON = "taken_on"
    """The channel works on it."""
    ANEW = "anew"
    """The channel does not have it: it is asked for again, under the same number."""
    DONE = "done"
    """The money went back."""
    CLOSED = "closed"
    """Proven not made: the promise is cancelled."""
    STUCK = "refund_stuck"
    """It cannot go back the way it came: a person must decide."""
    REOPENED = "refund_reopened"
    """It had been done, and now the channel says it failed: the money is owed to the payer again."""
    LATE = "refund_late"
    """The money went back although the promise had been cancelled: a person must look; the bill of the day shows it as well."""


ACCEPTED: Final = frozenset({
    Finding.ALREADY, Finding.TAKEN_ON, Finding.DONE, Finding.CLOSED, Finding.STUCK, Finding.REOPENED, Finding.LATE,
})  # fmt: skip
"""Findings that are acknowledged to the channel."""

_FAILED: Final = frozenset({RefundState.CLOSED, RefundState.STUCK, RefundState.REFUSED})


def decide(refund: HeldRefund | None, told: RefundResult, *, proven: bool) -> Finding:
    """Say what a channel's word about a refund means. The first line that fits counts:

    ==========================================================  ===============
    the message                                                 finding
    ==========================================================  ===============
    names no refund of ours                                     refund_unknown
    names another provider, operator, payment or amount         refund_differs
    is of an unlisted state, or says "later"                    nothing
    says it was never asked for, before it was taken on         anew
    says it is on its way                                       taken_on, or already
    says done: again / after it was closed or reopened / first  already / refund_late / done
    says failed after done                                      refund_reopened
    says failed again                                           already
    says that the payer's account takes it no more              refund_stuck
    says that it is over or refused, proven by a signature      closed
    says so without a signature                                 nothing
    ==========================================================  ===============

    ``proven``: the message carries the channel's signature. Only then may "nothing was made" free the amount for another refund.
    """
    if refund is None:
        return Finding.UNKNOWN
    if _differs(refund, told):
        return Finding.DIFFERS
    state = told.state
    if state in (RefundState.UNKNOWN, RefundState.LATER):
        return Finding.NOTHING
    if state is RefundState.NOT_FOUND:
        return Finding.ANEW if refund.state in ("promised", "pending") else Finding.NOTHING
    if state is RefundState.PENDING:
        return Finding.TAKEN_ON if refund.state == "promised" else Finding.ALREADY
    if state is RefundState.DONE:
        if refund.state == "done":
            return Finding.ALREADY
        return Finding.LATE if refund.state == "closed" or refund.was_done else Finding.DONE
    assert state in _FAILED
    return _failed(refund, state, proven=proven)


def _differs(refund: HeldRefund, told: RefundResult) -> bool:
    return (
        (told.provider_no, told.merchant_no) != (refund.provider_no, refund.merchant_no)
        or (told.trade_no is not None and told.trade_no != refund.trade_no)
        or (told.refund_fen is not None and told.refund_fen != refund.amount_fen)
    )


def _failed(refund: HeldRefund, state: RefundState, *, proven: bool) -> Finding:
    if not proven:
        return Finding.NOTHING
    if refund.state == "done":
        return Finding.REOPENED
    if refund.state == "closed" or (refund.state == "stuck" and state is RefundState.STUCK):
        return Finding.ALREADY
    return Finding.STUCK if state is RefundState.STUCK else Finding.CLOSED
