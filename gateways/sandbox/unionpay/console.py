"""The merchant's console: an operator sees its payments and refunds, refunds one by hand, or lets a payer's bank take one back.

Knows HTML; must not know the wire. Mounted by the stand-in. What is refunded here has a number of the console's own and no notice
goes out: the platform learns of it from the clearing file; of a disputed payment likewise.
"""

import re
from html import escape
from typing import Final
from urllib.parse import quote

from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.pages import page, redirect
from gateways.sandbox.store import Order, Refund
from gateways.sandbox.unionpay.cashier import read_form
from gateways.sandbox.unionpay.clearing import Files
from gateways.sandbox.unionpay.desk import REVERSED, SUCCESS, Desk, Refusal, instant
from gateways.sandbox.unionpay.refunds import ABNORMAL, CLOSED, DONE, IN_PROCESS, Refunds, kind_of, word
from ledger.clock import CHINA
from ledger.money import AMOUNT_FEN_MAX, fen, yuan

ROWS_MAX: Final = 50
"""Payments, and refunds, on one page: the latest. An older one is found by its number."""
_WORDS: Final = {IN_PROCESS: "处理中", DONE: "已退款", CLOSED: "退货失败", ABNORMAL: "持卡人账户异常"}
_KINDS: Final = {"04": "退货", "31": "消费撤销", "99": "冲正"}


class Console:
    """The console's pages over the counters. They ask for no password."""

    def __init__(self, desk: Desk, refunds: Refunds, files: Files) -> None:
        self._desk, self._refunds, self._files = desk, refunds, files

    def routes(self) -> list[Route]:
        return [
            route("GET", "/unionpay/console/{merchant_no}", self._list),
            route("POST", "/unionpay/console/{merchant_no}/refund", self._refund),
            route("POST", "/unionpay/console/{merchant_no}/dispute", self._dispute),
        ]

    def _list(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        return self._shown(found["merchant_no"], order_no=incoming.query.get("order_no") or None)

    def _refund(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        """Refund what the form says and lead back to the list; what is refused is said on the page."""
        form, merchant_no = read_form(incoming), found["merchant_no"]
        order_no, amount_fen = form.get("order_no", ""), _amount(form.get("amount", ""))
        if amount_fen is None:
            return self._shown(merchant_no, order_no=order_no, warning="金额不正确，请填写元，最多两位小数。", status=400)
        try:
            self._refunds.by_hand(self._desk.store.order(merchant_no, order_no), amount_fen)
        except Refusal as refusal:
            return self._shown(merchant_no, order_no=order_no, warning=f"{refusal}。", status=409)
        return redirect(303, _path(merchant_no))

    def _dispute(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        merchant_no, order_no = found["merchant_no"], read_form(incoming).get("order_no", "")
        order = self._desk.store.order(merchant_no, order_no)
        if order is None or order.state != SUCCESS:
            return self._shown(merchant_no, order_no=order_no, warning="没有这笔已支付的订单。", status=409)
        self._files.dispute(order)
        return redirect(303, _path(merchant_no))

    def _shown(self, merchant_no: str, *, order_no: str | None, warning: str = "", status: int = 200) -> Reply:
        store = self._desk.store
        orders = [order for order in store.latest_paid(merchant_no, ROWS_MAX, order_no) if order.state != REVERSED]
        refunds = store.latest_refunds(merchant_no, ROWS_MAX)
        name = store.merchant_name(merchant_no) or f"商户 {merchant_no}"
        content = (
            (f'<p class="warning" role="alert">{escape(warning)}</p>' if warning else "")
            + f'<p class="payee">{escape(name)}</p>'
            + _pairs([("商户号", merchant_no), ("账户余额", f"¥{yuan(store.balance_fen(merchant_no))}")])
            + _search(merchant_no, order_no)
            + "<h2>已支付的订单</h2>"
            + ("".join(self._order(order) for order in orders) or "<p>没有已支付的订单。</p>")
            + "<h2>退款</h2>"
            + ("".join(self._refunded(refund) for refund in refunds) or "<p>没有退款。</p>")
        )
        return page(status, title="商户服务平台（模拟）", heading="中国银联 · 模拟商户服务平台", content=content, kind="list")

    def _order(self, order: Order) -> str:
        left_fen = self._refunds.left_fen(order)
        lines = [
            ("支付时间", _time(order.paid_at or 0)),
            ("金额", f"¥{yuan(order.amount_fen)}"),
            ("商户订单号", order.order_no),
            ("查询流水号", order.trade_no or ""),
        ]
        if left_fen < order.amount_fen:
            lines.append(("可退金额", f"¥{yuan(left_fen)}"))
        forms = (_refund_form(order, left_fen) if left_fen else "") + _dispute_form(order)
        return f'<article class="entry">{_pairs(lines)}{forms}</article>'

    def _refunded(self, refund: Refund) -> str:
        lines = [
            ("申请时间", _time(refund.accepted_at)),
            ("交易类型", _KINDS[kind_of(refund)]),
            ("退款金额", f"¥{yuan(refund.refund_fen)}"),
            ("状态", _WORDS[word(refund, self._desk.now())]),
            ("商户订单号", refund.order_no),
            ("商户退款单号", refund.refund_no),
            ("查询流水号", refund.channel_refund_no),
        ]
        return f'<article class="entry">{_pairs(lines)}</article>'


def _path(merchant_no: str) -> str:
    return f"/unionpay/console/{quote(merchant_no, safe='')}"


def _search(merchant_no: str, order_no: str | None) -> str:
    return (
        f'<div class="entry"><form method="get" action="{escape(_path(merchant_no))}">'
        f'<label for="find">订单号</label><input id="find" name="order_no" value="{escape(order_no or "")}">'
        '<button class="cancel" type="submit">查找</button></form></div>'
    )


def _refund_form(order: Order, left_fen: int) -> str:
    """Return the form that refunds an order: all that is left unless another amount is typed."""
    field = escape(f"amount-{order.order_no}")
    return (
        f'<form method="post" action="{escape(_path(order.merchant_no))}/refund">'
        f'<input type="hidden" name="order_no" value="{escape(order.order_no)}">'
        f'<label for="{field}">退款（元）</label>'
        f'<input id="{field}" name="amount" inputmode="decimal" autocomplete="off" required value="{yuan(left_fen)}">'
        '<button class="pay" type="submit">退款</button></form>'
    )


def _dispute_form(order: Order) -> str:
    return (
        f'<form method="post" action="{escape(_path(order.merchant_no))}/dispute">'
        f'<input type="hidden" name="order_no" value="{escape(order.order_no)}">'
        '<button class="cancel" type="submit">模拟持卡人否认交易</button></form>'
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
