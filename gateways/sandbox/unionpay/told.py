"""What the channel tells of a transaction: the fields of notices and of answers to queries.

Knows field names; must not know HTTP or signatures. Used by the stand-in's routes, notices and clearing files.
"""

from typing import Final

from gateways.sandbox.store import Order, Refund
from gateways.sandbox.unionpay.desk import Desk, clearing_day, details_of, instant, refund_details_of
from gateways.unionpay import wire
from ledger.clock import CHINA

SUCCESS_WORDS: Final = "成功[0000000]"
ACCOUNT: Final = "6216***********0018"
CARD_TYPE: Final = "01"
PAY_TYPE: Final = "0001"
_ECHOED: Final = ("bizType", "txnTime", "txnType", "txnSubType", "accessType", "acqInsCode", "merId", "orderId", "reqReserved")


def trace_time(at: int) -> str:
    """Return an instant as ``MMDDhhmmss`` in China."""
    return f"{instant(at).astimezone(CHINA):%m%d%H%M%S}"


def payment(desk: Desk, order: Order, *, amount_fen: int | None = None) -> dict[str, str]:
    """Return what is told of a paid order."""
    assert order.paid_at is not None, "the order is paid"
    assert order.trade_no is not None, "the order is paid"
    request = details_of(order).request
    return {
        **{name: request.get(name, "") for name in _ECHOED},
        **_carried_out(desk, order.order_no, order.paid_at, order.amount_fen if amount_fen is None else amount_fen),
        "queryId": order.trade_no,
    }


def refund(desk: Desk, made: Refund, order: Order) -> dict[str, str]:
    """Return what is told of a refund or cancel that was asked for by a call."""
    request = refund_details_of(made).request
    return {
        **{name: request.get(name, "") for name in _ECHOED},
        **_carried_out(desk, made.refund_no, made.accepted_at, made.refund_fen),
        "queryId": made.channel_refund_no,
        "origQryId": order.trade_no or "",
    }


def _carried_out(desk: Desk, number: str, at: int, amount_fen: int) -> dict[str, str]:
    return {
        "txnAmt": str(amount_fen),
        "currencyCode": wire.CURRENCY,
        "settleAmt": str(amount_fen),
        "settleCurrencyCode": wire.CURRENCY,
        "settleDate": f"{clearing_day(at):%m%d}",
        "traceNo": desk.trace_no(number),
        "traceTime": trace_time(at),
        "accNo": ACCOUNT,
        "payCardType": CARD_TYPE,
        "payType": PAY_TYPE,
        "respCode": "00",
        "respMsg": SUCCESS_WORDS,
    }
