"""The merchant's console: a page where an operator sees its trades and refunds and refunds one by hand, past the platform.

Knows HTML; must not know the gateway. Mounted by the stand-in. What is refunded here has a number of the console's own and no
notice goes out: the platform learns of it from the bill.
"""

import re
from html import escape
from typing import Final
from urllib.parse import parse_qs, quote

from gateways.sandbox.alipay.desk import Desk, Refusal, details_of, wire_time
from gateways.sandbox.alipay.refunds import Refunds
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.pages import page, redirect
from gateways.sandbox.store import Order, Refund
from ledger.money import AMOUNT_FEN_MAX, fen, yuan

ROWS_MAX: Final = 50
"""Trades, and refunds, on one page: the latest. An older trade is found by its number."""


class Console:
    """The console's pages over a desk and its refund counter. They ask for no password."""

    def __init__(self, desk: Desk, refunds: Refunds) -> None:
        self._desk, self._refunds = desk, refunds

    def routes(self) -> list[Route]:
        return [
            route("GET", "/alipay/console/{merchant_no}", self._list),
            route("POST", "/alipay/console/{merchant_no}/refund", self._refund),
        ]

    def _list(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        return self._shown(found["merchant_no"], order_no=incoming.query.get("order_no") or None)

    def _refund(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        """Refund what the form says and lead back to the list; what is refused is said on the page."""
        form = {name: values[-1] for name, values in parse_qs(incoming.body.decode("latin-1"), encoding="utf-8").items()}
        merchant_no, order_no = found["merchant_no"], form.get("order_no", "")
        order, amount_fen = self._desk.store.order(merchant_no, order_no), _amount(form.get("amount", ""))
        if order is None:
            return self._shown(merchant_no, order_no=order_no, warning="没有这笔交易。", status=404)
        if amount_fen is None:
            return self._shown(merchant_no, order_no=order_no, warning="金额不正确，请填写元，最多两位小数。", status=400)
        try:
            self._refunds.by_hand(order, amount_fen)
        except Refusal as refusal:
            return self._shown(merchant_no, order_no=order_no, warning=f"{refusal}。", status=400)
        return redirect(303, f"/alipay/console/{quote(merchant_no, safe='')}")

    def _shown(self, merchant_no: str, *, order_no: str | None, warning: str = "", status: int = 200) -> Reply:
        orders = self._desk.store.latest_paid(merchant_no, ROWS_MAX, order_no)
        refunds = self._desk.store.latest_refunds(merchant_no, ROWS_MAX)
        name = self._desk.store.merchant_name(merchant_no) or f"商户 {merchant_no}"
        account = [("账号", merchant_no), ("账户余额", f"¥{yuan(self._desk.store.balance_fen(merchant_no))}")]
        content = (
            (f'<p class="warning" role="alert">{escape(warning)}</p>' if warning else "")
            + f'<p class="payee">{escape(name)}</p>'
            + _pairs(account)
            + _search(merchant_no, order_no)
            + "<h2>已支付的交易</h2>"
            + ("".join(self._order(order) for order in orders) or "<p>没有已支付的交易。</p>")
            + "<h2>退款</h2>"
            + ("".join(_refunded(refund) for refund in refunds) or "<p>没有退款。</p>")
        )
        return page(status, title="商家平台（模拟）", heading="支付宝 · 模拟商家平台", content=content, kind="list")

    def _order(self, order: Order) -> str:
        left_fen = self._desk.left_fen(order)
        lines = [
            ("支付时间", wire_time(order.paid_at)),
            ("金额", f"¥{yuan(order.amount_fen)}"),
            ("商品", details_of(order).subject),
            ("商户订单号", order.order_no),
            ("交易号", order.trade_no or ""),
        ]
        if left_fen < order.amount_fen:
            lines.append(("可退金额", f"¥{yuan(left_fen)}"))
        return f'<article class="entry">{_pairs(lines)}{_form(order, left_fen) if left_fen else ""}</article>'


def _refunded(refund: Refund) -> str:
    lines = [
        ("退款时间", wire_time(refund.ends_at)),
        ("退款金额", f"¥{yuan(refund.refund_fen)}"),
        ("商户订单号", refund.order_no),
        ("退款请求号", refund.refund_no),
    ]
    return f'<article class="entry">{_pairs(lines)}</article>'


def _search(merchant_no: str, order_no: str | None) -> str:
    return (
        f'<div class="entry"><form method="get" action="/alipay/console/{escape(quote(merchant_no, safe=""))}">'
        f'<label for="find">订单号</label><input id="find" name="order_no" value="{escape(order_no or "")}">'
        '<button class="cancel" type="submit">查找</button></form></div>'
    )


def _form(order: Order, left_fen: int) -> str:
    """Return the form that refunds a trade: all that is left unless another amount is typed."""
    field = escape(f"amount-{order.order_no}")
    return (
        f'<form method="post" action="/alipay/console/{escape(quote(order.merchant_no, safe=""))}/refund">'
        f'<input type="hidden" name="order_no" value="{escape(order.order_no)}">'
        f'<label for="{field}">退款（元）</label>'
        f'<input id="{field}" name="amount" inputmode="decimal" autocomplete="off" required value="{yuan(left_fen)}">'
        '<button class="pay" type="submit">退款</button></form>'
    )


def _pairs(lines: list[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{escape(value)}</dd></div>' for name, value in lines)}</dl>"


def _amount(text: str) -> int | None:
    """Return typed yuan as fen, or None for what is no amount."""
    try:
        amount_fen = fen(text.strip())
    except ValueError:
        return None
    return amount_fen if 0 < amount_fen <= AMOUNT_FEN_MAX else None
