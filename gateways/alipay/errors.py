"""What Alipay's error codes mean for us.

Knows the channel's codes, spelt as it spells them; must not know calls. Read by the adapter.
"""

from enum import StrEnum
from typing import Final

from gateways.alipay.answers import Head
from gateways.contract import RefundState


class Meaning(StrEnum):
    """What an error code means for us; the word is the ``reason`` of the outcome."""

    REFUSED = "call_refused"
    """The same call would be refused again, and would have been refused before."""
    NOT_ALLOWED = "not_allowed"
    """Key, clock, permission or contract: to be mended by a person. It says nothing about the order."""
    TOKEN = "token_invalid"
    """Leave to act for the operator has ended: to be refreshed or granted anew. It says nothing about the order."""
    PAYER_REFUSED = "payer_refused"
    """This payer cannot pay; nothing was taken."""
    OTHER_PAYER = "other_payer"
    """The order is bound to another payer: close it and take a new number."""
    ORDER_PAID = "order_paid"
    ORDER_CLOSED = "order_closed"
    NOT_FOUND = "not_found"
    """Not made, or not yet: a code that was not scanned and a cashier that was not reached look the same until they expire."""
    TAKEN = "order_number_taken"
    """The number was used with other content: close it and take a new one."""
    ORDER_STATE = "order_state"
    """Not possible in the order's state: query it and decide."""
    FROZEN = "frozen"
    """Held by the channel; a person must look."""
    BALANCE_SHORT = "balance_short"
    """Not refunded: the operator's balance does not suffice. Later, with the same refund number."""
    REFUND_EXCEEDS = "refund_exceeds"
    """More would be given back than was paid."""
    REFUND_NUMBER_TAKEN = "refund_number_taken"
    """The refund number was used with another amount."""
    REFUND_NOT_ALLOWED = "refund_not_allowed"
    """This trade can no longer be refunded here; a person must look."""
    RATE_LIMITED = "rate_limited"
    """Not carried out; ask later."""
    UNAVAILABLE = "unavailable"
    """The result is unknown: repeat the same, or query."""
    BILL_ABSENT = "not_ready"
    """No file yet, or nothing happened that day: the channel does not say which. Ask again that day, then take it as empty."""


ERRORS: Final[dict[str, Meaning]] = {
    "isp.unknow-error": Meaning.UNAVAILABLE,
    "aop.unknow-error": Meaning.UNAVAILABLE,
    "aop.invalid-auth-token": Meaning.TOKEN,
    "aop.auth-token-time-out": Meaning.TOKEN,
    "aop.invalid-app-auth-token": Meaning.TOKEN,
    "aop.app-auth-token-time-out": Meaning.TOKEN,
    "aop.invalid-app-auth-token-no-api": Meaning.TOKEN,
    "isv.invalid-signature": Meaning.NOT_ALLOWED,
    "isv.invalid-app-id": Meaning.NOT_ALLOWED,
    "isv.invalid-timestamp": Meaning.NOT_ALLOWED,
    "isv.invalid-parameter": Meaning.REFUSED,
    "isv.invalid-method": Meaning.REFUSED,
    "isv.invalid-charset": Meaning.REFUSED,
    "isv.code-invalid": Meaning.REFUSED,
    "INVAILID_ARGUMENTS": Meaning.REFUSED,
    "isv.insufficient-isv-permissions": Meaning.NOT_ALLOWED,
    "isv.insufficient-user-permissions": Meaning.NOT_ALLOWED,
    "isp.bill_not_exist": Meaning.BILL_ABSENT,
    "BILL_NOT_EXIST": Meaning.BILL_ABSENT,
    "ACQ.SYSTEM_ERROR": Meaning.UNAVAILABLE,
    "AQC.SYSTEM_ERROR": Meaning.UNAVAILABLE,  # so spelt in cancel
    "ACQ.INVALID_PARAMETER": Meaning.REFUSED,
    "ACQ.ACCESS_FORBIDDEN": Meaning.NOT_ALLOWED,
    "ACQ.PARTNER_ERROR": Meaning.NOT_ALLOWED,
    "ACQ.SELLER_BEEN_BLOCKED": Meaning.NOT_ALLOWED,
    "ACQ.CONTEXT_INCONSISTENT": Meaning.TAKEN,
    "ACQ.TRADE_HAS_SUCCESS": Meaning.ORDER_PAID,
    "ACQ.TRADE_HAS_CLOSE": Meaning.ORDER_CLOSED,
    "ACQ.TRADE_BUYER_NOT_MATCH": Meaning.OTHER_PAYER,
    "ACQ.BUYER_SELLER_EQUAL": Meaning.PAYER_REFUSED,
    "ACQ.BUYER_BALANCE_NOT_ENOUGH": Meaning.PAYER_REFUSED,
    "ACQ.BUYER_ENABLE_STATUS_FORBID": Meaning.PAYER_REFUSED,
    "ACQ.TOTAL_FEE_EXCEED": Meaning.REFUSED,
    "ACQ.EXIST_FORBIDDEN_WORD": Meaning.REFUSED,
    "ACQ.TRADE_NOT_EXIST": Meaning.NOT_FOUND,
    "ACQ.TRADE_STATUS_ERROR": Meaning.ORDER_STATE,
    "ACQ.REASON_TRADE_STATUS_INVALID": Meaning.ORDER_STATE,
    "ACQ.REASON_TRADE_BEEN_FREEZEN": Meaning.FROZEN,
    "ACQ.SELLER_BALANCE_NOT_ENOUGH": Meaning.BALANCE_SHORT,
    "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL": Meaning.REFUND_EXCEEDS,
    "ACQ.DISCORDANT_REPEAT_REQUEST": Meaning.REFUND_NUMBER_TAKEN,
    "ACQ.TRADE_NOT_ALLOW_REFUND": Meaning.REFUND_NOT_ALLOWED,
    "ACQ.TRADE_HAS_FINISHED": Meaning.REFUND_NOT_ALLOWED,
}
"""By ``sub_code``, spelt as the channel spells it. The channel's list is longer; what is not here is unknown."""

GATEWAY_ERRORS: Final[dict[str, Meaning]] = {
    "20000": Meaning.UNAVAILABLE,
    "20001": Meaning.TOKEN,
    "40003": Meaning.NOT_ALLOWED,
    "40005": Meaning.RATE_LIMITED,
    "40006": Meaning.NOT_ALLOWED,
}
"""By ``code``, for a ``sub_code`` that is not listed."""

REFUND_MEANINGS: Final[dict[Meaning, RefundState]] = {
    Meaning.REFUSED: RefundState.REFUSED,
    Meaning.REFUND_EXCEEDS: RefundState.REFUSED,
    Meaning.BALANCE_SHORT: RefundState.LATER,
    Meaning.RATE_LIMITED: RefundState.LATER,
    Meaning.FROZEN: RefundState.STUCK,
    Meaning.REFUND_NOT_ALLOWED: RefundState.STUCK,
}
"""What a proven error answer to the refund call says about the refund; every other one says nothing."""

_MISSING: Final = "isv.missing-"


def meaning(head: Head) -> Meaning | None:
    """Return what an error node means, or None when its codes are not listed: then nothing is known about the call."""
    if (listed := ERRORS.get(head.sub_code)) is not None:
        return listed
    if head.sub_code.startswith(_MISSING):
        return Meaning.REFUSED
    return GATEWAY_ERRORS.get(head.code)
