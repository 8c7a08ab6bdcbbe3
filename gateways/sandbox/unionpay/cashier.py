"""The payer's pages: the cashier that a browser is sent to, the page of a scanned code, the code on the payer's own phone.

Knows HTML and forms; must not know the rules of orders. Mounted by the stand-in.
"""

import re
from collections.abc import Callable
from html import escape
from typing import Final
from urllib.parse import parse_qs, quote

from gateways.sandbox.chance import digits
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.pages import page, redirect
from gateways.sandbox.store import Order
from gateways.sandbox.unionpay import told
from gateways.sandbox.unionpay.api import Api, web
from gateways.sandbox.unionpay.desk import SUCCESS, Desk, Refusal, details_of
from gateways.sandbox.unionpay.signing import Signer
from gateways.unionpay import sign, wire
from ledger.money import yuan

_CODE: Final = re.compile(r"[0-9]{32}")
_DECLINED_WORDS: Final = '<p class="warning" role="alert">支付失败：余额不足。可更换银行卡后重试。</p>'


class Cashier:
    """Pages over a desk. ``paid`` is called when notices may have become due."""

    def __init__(self, desk: Desk, api: Api, signer: Callable[[], Signer], paid: Callable[[], None]) -> None:
        self._desk, self._api, self._signer, self._paid = desk, api, signer, paid

    def routes(self) -> list[Route]:
        return [
            route("POST", wire.FRONT_PATH, self._arrive),
            route("GET", "/unionpay/cashier/{handle}", self._page),
            route("POST", "/unionpay/cashier/{handle}/pay", self._pay),
            route("POST", "/unionpay/cashier/{handle}/decline", self._decline),
            route("POST", "/unionpay/cashier/{handle}/cancel", self._cancel),
            route("GET", "/unionpay/scan", self._scan),
            route("GET", "/unionpay/scan/{handle}", self._page),
            route("GET", "/unionpay/payer-code", self._payer_code),
        ]

    # Arriving

    def _arrive(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        """Take the form that the merchant signed and the payer's browser brought, and lead to the cashier."""
        fields = sign.form_fields(incoming.body) or {}
        try:
            self._api.check(fields)
            if (fields["txnType"], fields["txnSubType"]) != ("01", "01"):
                raise Refusal("10", "交易类型不支持")
            ordered = self._desk.order("front", fields)
        except Refusal as refusal:
            words = f'<p class="said">无法受理该交易</p><p>{escape(refusal.message)}（{refusal.code}）</p>'
            return _page_of(400, words, "")
        if ordered.faults:
            return _page_of(500, '<p class="said">系统繁忙，请稍后再试</p>', "")
        return redirect(303, f"/unionpay/cashier/{ordered.order.handle}")

    def _scan(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        """Take the text of a code 主扫 (typed or pasted: a demo's phone is this page) and lead to its order."""
        found = _CODE.search(incoming.query.get("code", ""))
        if found is not None:
            return redirect(303, f"/unionpay/scan/{found[0]}")
        form = (
            '<div class="entry"><form method="get" action="/unionpay/scan"><label for="code">二维码内容</label>'
            '<input id="code" name="code" autocomplete="off" required><button class="pay" type="submit">识别</button></form></div>'
        )
        return _page_of(200, f'<p class="said">扫一扫（模拟）</p>{form}', "")

    def _payer_code(self, _incoming: Incoming, _found: re.Match[str]) -> Reply:
        """Show a fresh code that a lot may scan 被扫."""
        code = f"62{digits(17, self._desk.seed, 'payer code', self._desk.store.next_number('payer code'))}"
        return _page_of(200, f'<p class="said">向商家付款（模拟）</p><p class="payee"><output>{code}</output></p>', "")

    # Paying

    def _page(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        order = self._desk.store.order_by_handle(found["handle"])
        if order is None:
            return _page_of(404, '<p class="said">没有找到这笔订单</p><p>请回到停车缴费页面重新下单。</p>', "")
        return self._shown(order, warning=_DECLINED_WORDS if incoming.query.get("declined") else "")

    def _shown(self, order: Order, *, warning: str = "") -> Reply:
        if order.state == SUCCESS:
            return _page_of(200, self._order(order) + '<p class="said">支付成功</p>', self._back_form(order))
        if not self._desk.payable(order):
            return _page_of(200, self._order(order) + '<p class="said">订单已关闭，无法支付</p>', _back_link(order))
        return _page_of(200, warning + self._order(order), _buttons(order))

    def _order(self, order: Order) -> str:
        payee = self._desk.store.merchant_name(order.merchant_no) or f"商户 {order.merchant_no}"
        return (
            f'<p class="payee">付款给 {escape(payee)}</p>'
            f'<p class="amount"><small>¥</small>{yuan(order.amount_fen)}</p>'
            f"<dl><div><dt>付款卡</dt><dd>{told.ACCOUNT}</dd></div>"
            f"<div><dt>收款商户号</dt><dd>{escape(order.merchant_no)}</dd></div>"
            f"<div><dt>商户订单号</dt><dd>{escape(order.order_no)}</dd></div></dl>"
        )

    def _pay(self, _incoming: Incoming, found: re.Match[str]) -> Reply:
        """Take the money; a second tap finds it paid. The page leads back to the merchant by a form, as the channel does."""
        order = self._desk.store.order_by_handle(found["handle"])
        if order is None:
            return _page_of(404, '<p class="said">没有找到这笔订单</p>', "")
        try:
            self._desk.pay(order)
        except Refusal:
            return self._shown(order)
        self._paid()
        return redirect(303, _path(order))

    def _decline(self, _incoming: Incoming, found: re.Match[str]) -> Reply:
        """Let an attempt fail, as a card without money does."""
        order = self._desk.store.order_by_handle(found["handle"])
        if order is None:
            return _page_of(404, '<p class="said">没有找到这笔订单</p>', "")
        self._desk.decline(order)
        return redirect(303, f"{_path(order)}?declined=1")

    def _cancel(self, _incoming: Incoming, found: re.Match[str]) -> Reply:
        """Lead back to the merchant; the order stays open until its time is over."""
        order = self._desk.store.order_by_handle(found["handle"])
        back = None if order is None else _front_url(order)
        if back is not None:
            return redirect(303, back)
        return _page_of(200, '<p class="said">已取消，没有扣款</p>', "")

    def _back_form(self, order: Order) -> str:
        """Return the form with which the browser brings the signed result back 前台通知; it proves nothing."""
        back = _front_url(order)
        if back is None:
            return ""
        sealed = self._signer().sealed(told.payment(self._desk, order))
        inputs = "".join(f'<input type="hidden" name="{escape(name)}" value="{escape(sealed[name])}">' for name in sorted(sealed))
        button = '<button class="cancel" type="submit">返回商家</button>'
        return f'<form class="act" method="post" action="{escape(back)}">{inputs}{button}</form>'


def read_form(incoming: Incoming) -> dict[str, str]:
    """Return a page's form, the last value of each name."""
    return {name: values[-1] for name, values in parse_qs(incoming.body.decode("latin-1"), encoding="utf-8").items()}


def _path(order: Order) -> str:
    return f"/unionpay/{'scan' if details_of(order).kind == 'code' else 'cashier'}/{quote(order.handle or '', safe='')}"


def _front_url(order: Order) -> str | None:
    """Return where the payer goes afterwards, when it is a web address."""
    url = details_of(order).request.get("frontUrl", "")
    return url if web(url) else None


def _back_link(order: Order) -> str:
    back = _front_url(order)
    return "" if back is None else f'<p class="act"><a class="button cancel" href="{escape(back)}">返回商家</a></p>'


def _buttons(order: Order) -> str:
    path = escape(f"/unionpay/cashier/{quote(order.handle or '', safe='')}")
    return (
        f'<form class="act" method="post" action="{path}/pay">'
        f'<button class="pay" type="submit">立即支付 ¥{yuan(order.amount_fen)}</button></form>'
        f'<form class="act" method="post" action="{path}/decline"><button class="cancel" type="submit">模拟余额不足</button></form>'
        f'<form class="act" method="post" action="{path}/cancel"><button class="cancel" type="submit">取消</button></form>'
    )


def _page_of(status: int, content: str, buttons: str) -> Reply:
    return page(status, title="收银台（模拟）", heading="中国银联 · 模拟收银台", content=content, buttons=buttons)
