"""What a notice says at each attempt: the trade as its event left it, a refund beside it, touched by faults.

Knows the notice's fields; must not know when it is sent: the courier does that. Source: docs/CHANNELS.md, Alipay, notices.
"""

from typing import Final

import msgspec

from gateways.alipay import wire
from gateways.contract import Answer, Request
from gateways.sandbox.alipay.desk import CLOSED, Desk, NoticeDetails, details_of, wire_time
from gateways.sandbox.alipay.signing import notice_body
from gateways.sandbox.chance import digits
from gateways.sandbox.shapes import FaultKind
from gateways.sandbox.store import Notice, Order
from ledger.money import yuan

SCHEDULE_SECONDS: Final = (240.0, 600.0, 600.0, 3_600.0, 7_200.0, 21_600.0, 54_000.0)
"""4m, 10m, 10m, 1h, 2h, 6h, 15h: eight attempts within 25 hours."""
OTHER_MERCHANT: Final = "2088999900000001"


class Notices:
    """Composes attempts over a desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def compose(self, notice: Notice, _attempt: int, touched: frozenset[FaultKind]) -> Request:
        """Return the request of an attempt; ``notify_id`` stays the same, the time is new."""
        desk, about = self._desk, msgspec.json.decode(notice.details, type=NoticeDetails)
        order = desk.store.order(about.merchant_no, notice.subject)
        assert order is not None, "a notice belongs to a trade"
        details, app = details_of(order), desk.app(details_of(order).app_id)
        assert details.notify_url is not None, "a trade without an address has no notices"
        fields = self._fields(order, about, notice.notice_id.partition("#")[0])
        if FaultKind.WRONG_AMOUNT in touched:
            fields["total_amount"] = yuan(order.amount_fen + 1)
        if FaultKind.OTHER_MERCHANT in touched:
            fields["seller_id"] = self._other(order.merchant_no)
        body = notice_body(fields, app=app, signer=desk.signer(), spoilt=FaultKind.WRONG_SIGNATURE in touched)
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8", "user-agent": "Mozilla/4.0"}
        return Request(method="POST", url=details.notify_url, headers=headers, body=body)

    def _fields(self, order: Order, about: NoticeDetails, notice_id: str) -> dict[str, str]:
        desk, details, amount = self._desk, details_of(order), yuan(order.amount_fen)
        fields = {
            "notify_time": wire_time(desk.now()),
            "notify_type": wire.NOTICE_KIND,
            "notify_id": f"{wire_time(order.created_at)[:10].replace('-', '')}222{digits(23, desk.seed, 'notice', notice_id)}",
            "app_id": details.app_id,
            "auth_app_id": details.auth_app_id,
            "trade_no": order.trade_no,
            "out_trade_no": order.order_no,
            "buyer_id": details.buyer_id,
            "buyer_logon_id": "139****0001",
            "seller_id": order.merchant_no,
            "trade_status": about.status,
            "total_amount": amount,
            "subject": details.subject,
            "gmt_create": wire_time(order.created_at),
            "passback_params": details.passback_params,
        }
        if order.paid_at is not None:
            fields |= {
                "gmt_payment": wire_time(order.paid_at), "receipt_amount": amount, "invoice_amount": amount,
                "buyer_pay_amount": amount,
                "point_amount": "0.00", "fund_bill_list": f'[{{"amount":"{amount}","fundChannel":"ALIPAYACCOUNT"}}]',
            }  # fmt: skip
        elif about.status == CLOSED:
            fields["gmt_close"] = wire_time(min(order.expires_at, desk.now()))
        if about.refund_no is not None:
            fields |= self._refund_fields(order, about.refund_no)
        return {name: value for name, value in fields.items() if value}

    def _refund_fields(self, order: Order, refund_no: str) -> dict[str, str]:
        """Return what a refund's notice has besides: its number, its time, and the sum of the trade's refunds up to it."""
        refunds = self._desk.store.refunds_of(order.merchant_no, order.order_no)
        place = next(index for index, refund in enumerate(refunds) if refund.refund_no == refund_no)
        until = refunds[: place + 1]
        return {
            "out_biz_no": refund_no,
            "refund_fee": yuan(sum(refund.refund_fen for refund in until)),
            "gmt_refund": f"{wire_time(until[-1].ends_at)}.{until[-1].ends_at // 1_000 % 1_000:03d}",
        }

    def _other(self, merchant_no: str) -> str:
        others = sorted({leave.merchant_no for leave in self._desk.config.leaves.values()} - {merchant_no})
        return others[0] if others else OTHER_MERCHANT


def taken(answer: Answer) -> bool:
    """Tell whether an answer means that the notice was taken: the bare word alone does."""
    return answer.status == 200 and answer.body == wire.ACCEPTED
