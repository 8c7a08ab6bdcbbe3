"""The merchant's console: a page where an operator sees its orders and refunds and refunds one by hand, past the provider.

Knows HTML; must not know the API. Mounted by the sandbox's application. What is refunded here has a number of the console's own
and no notice goes out: the provider learns of it from the bill.
"""

import re
from html import escape
from typing import Final
from urllib.parse import parse_qs, quote

from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.pages import page, redirect
from gateways.sandbox.wechat.desk import ApiRefusal, Desk, instant
from gateways.sandbox.wechat.refunds import Refunds
from gateways.sandbox.wechat.state import Order, Refund
from ledger.clock import CHINA
from ledger.money import AMOUNT_FEN_MAX, fen, yuan

ROWS_MAX: Final = 50
"""Orders, and refunds, on one page: the latest. An older order is found by its number."""
_WORDS: Final = {"PROCESSING": "处理中", "SUCCESS": "已退款", "CLOSED": "已关闭", "ABNORMAL": "退款异常"}


class Console:
    """The console's pages over a desk and its refund counter. They ask for no password."""

    def __init__(self, desk: Desk, refunds: Refunds) -> None:
        self._desk = desk
        self._refunds = refunds

    def routes(self) -> list[Route]:
        """Return the routes of ``/console``."""
        return [
            route("GET", "/console/{merchant_no}", self._list),
            route("POST", "/console/{merchant_no}/refund", self._refund),
        ]

    def _list(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        return self._shown(found["merchant_no"], order_no=incoming.query.get("order_no") or None)

    def _refund(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        """Refund what the form says and lead back to the list; what is refused is said on the page."""
        form = {name: values[-1] for name, values in parse_qs(incoming.body.decode("latin-1"), encoding="utf-8").items()}
        order_no = form.get("order_no", "")
        self._desk.settle()
        order = self._desk.state.order(order_no)
        if order is not None and order.merchant_no != found["merchant_no"]:
            order = None
        amount_fen = _amount(form.get("amount", ""))
        if amount_fen is None:
            return self._shown(found["merchant_no"], order_no=order_no, warning="金额不正确，请填写元，最多两位小数。", status=400)
        try:
            self._refunds.by_hand(order, amount_fen)
        except ApiRefusal as refusal:
            return self._shown(found["merchant_no"], order_no=order_no, warning=f"{refusal}。", status=refusal.status)
        return redirect(303, f"/console/{quote(found['merchant_no'], safe='')}")

    def _shown(self, merchant_no: str, *, order_no: str | None, warning: str = "", status: int = 200) -> Reply:
        self._desk.settle()
        orders = self._desk.state.latest_paid(merchant_no, ROWS_MAX, order_no)
        refunds = self._desk.state.latest_refunds(merchant_no, ROWS_MAX)
        content = (
            (f'<p class="warning" role="alert">{escape(warning)}</p>' if warning else "")
            + self._takings(merchant_no)
            + _search(merchant_no, order_no)
            + "<h2>已支付的订单</h2>"
            + ("".join(self._order(order) for order in orders) or "<p>没有已支付的订单。</p>")
            + "<h2>退款</h2>"
            + ("".join(self._refunded(refund) for refund in refunds) or "<p>没有退款。</p>")
        )
        return page(status, title="商户平台（模拟）", heading="微信支付 · 模拟商户平台", content=content, kind="list")

    def _takings(self, merchant_no: str) -> str:
        kept = self._desk.state.takings(self._desk.now(), merchant_no)
        name = self._desk.state.merchant_name(merchant_no) or f"商户 {merchant_no}"
        lines = [("商户号", merchant_no)]
        for row in kept:
            lines += [
                ("收款", f"{row.payments} 笔 ¥{yuan(row.taken_fen)}"),
                ("退款", f"{row.refunds} 笔 ¥{yuan(row.refunded_fen)}"),
            ]
        return f'<p class="payee">{escape(name)}</p>' + _pairs(lines)

    def _order(self, order: Order) -> str:
        left_fen = self._refunds.left_fen(order)
        lines = [
            ("支付时间", _time(order.paid_at or 0)),
            ("金额", f"¥{yuan(order.amount_fen)}"),
            ("商品", order.description),
            ("商户订单号", order.order_no),
            ("微信订单号", order.trade_no or ""),
        ]
        if left_fen < order.amount_fen:
            lines.append(("可退金额", f"¥{yuan(left_fen)}"))
        return f'<article class="entry">{_pairs(lines)}{_form(order, left_fen) if left_fen else ""}</article>'

    def _refunded(self, refund: Refund) -> str:
        lines = [
            ("申请时间", _time(refund.accepted_at)),
            ("退款金额", f"¥{yuan(refund.refund_fen)}"),
            ("状态", _WORDS[refund.word(self._desk.now())]),
            ("商户订单号", refund.order_no),
            ("商户退款单号", refund.refund_no),
            ("微信退款单号", refund.channel_refund_no),
        ]
        return f'<article class="entry">{_pairs(lines)}</article>'


def _search(merchant_no: str, order_no: str | None) -> str:
    return (
        f'<div class="entry"><form method="get" action="/console/{escape(quote(merchant_no, safe=""))}">'
        f'<label for="find">订单号</label><input id="find" name="order_no" value="{escape(order_no or "")}">'
        '<button class="cancel" type="submit">查找</button></form></div>'
    )


def _form(order: Order, left_fen: int) -> str:
    """Return the form that refunds an order: all that is left unless another amount is typed."""
    field = escape(f"amount-{order.order_no}")
    return (
        f'<form method="post" action="/console/{escape(quote(order.merchant_no, safe=""))}/refund">'
        f'<input type="hidden" name="order_no" value="{escape(order.order_no)}">'
        f'<label for="{field}">退款（元）</label>'
        f'<input id="{field}" name="amount" inputmode="decimal" autocomplete="off" required value="{yuan(left_fen)}">'
        '<button class="pay" type="submit">退款</button></form>'
    )


def _pairs(lines: list[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{escape(value)}</dd></div>' for name, value in lines)}</dl>"


def _time(at: int) -> str:
    return f"{instant(at).astimezone(CHINA):%Y-%m-%d %H:%M:%S}"


def _amount(text: str) -> int | None:
    """Return typed yuan as fen, or None for what is no amount."""
    try:
        amount_fen = fen(text.strip())
    except ValueError:
        return None
    return amount_fen if 0 < amount_fen <= AMOUNT_FEN_MAX else None
