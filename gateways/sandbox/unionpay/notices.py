"""What the channel posts to backUrl: signed fields of a payment or refund, touched by faults; and what it takes for an answer.

Knows notices; must not know the network: the courier sends them. Source: ACP 5.1.0, 后台通知.
"""

from typing import Final

import msgspec

from gateways.contract import Answer, Request
from gateways.sandbox.shapes import FaultKind
from gateways.sandbox.store import Notice
from gateways.sandbox.unionpay import told
from gateways.sandbox.unionpay.desk import Desk, Spoken, details_of, refund_details_of
from gateways.sandbox.unionpay.signing import Signer, notice_body
from gateways.unionpay import sign

SCHEDULE_SECONDS: Final = (15.0, 30.0, 60.0, 120.0, 240.0)
"""Pauses between attempts: five repeats within eight minutes, then silence. The channel's own are nowhere confirmed."""
OTHER_MERCHANT: Final = "777290099999999"
_HEADERS: Final = {"content-type": "application/x-www-form-urlencoded;charset=UTF-8"}


def taken(answer: Answer) -> bool:
    """Only the status counts, and only 200."""
    return answer.status == 200


def compose(desk: Desk, signer: Signer, notice: Notice, touched: frozenset[FaultKind]) -> Request:
    """Return one attempt of a notice."""
    spoken = msgspec.json.decode(notice.details, type=Spoken)
    url, fields = _of_payment(desk, notice, spoken, touched) if spoken.refund_no is None else _of_refund(desk, spoken)
    sealed = signer.sealed(fields)
    if FaultKind.WRONG_SIGNATURE in touched:
        sealed[sign.SIGNATURE] = _spoilt(sealed[sign.SIGNATURE])
    return Request(method="POST", url=url, headers=_HEADERS, body=notice_body(sealed))


def _of_payment(desk: Desk, notice: Notice, spoken: Spoken, touched: frozenset[FaultKind]) -> tuple[str, dict[str, str]]:
    order = desk.store.order(spoken.merchant_no, notice.subject)
    assert order is not None, "a notice belongs to an order"
    altered = order.amount_fen + 1 if FaultKind.WRONG_AMOUNT in touched else None
    fields = told.payment(desk, order, amount_fen=altered)
    if FaultKind.OTHER_MERCHANT in touched:
        fields["merId"] = OTHER_MERCHANT
    return details_of(order).request["backUrl"], fields


def _of_refund(desk: Desk, spoken: Spoken) -> tuple[str, dict[str, str]]:
    assert spoken.refund_no is not None, "the notice is of a refund"
    refund = desk.store.refund(spoken.merchant_no, spoken.refund_no)
    assert refund is not None, "a refund's notice belongs to a refund"
    order = desk.store.order(refund.merchant_no, refund.order_no)
    assert order is not None, "a refund belongs to an order"
    return refund_details_of(refund).request["backUrl"], told.refund(desk, refund, order)


def _spoilt(signature: str) -> str:
    return signature[:-8] + ("AAAAAA==" if signature[-8:] != "AAAAAA==" else "BBBBBA==")
