"""The cashier's page on the payer's phone, and the step that tells a page who the payer is.

Knows HTML and redirects; must not know the API. Mounted by the sandbox's application.
"""

import re
import secrets
from html import escape
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from gateways.contract import Answer
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.pages import page, redirect
from gateways.sandbox.wechat.desk import ApiRefusal, Desk
from gateways.sandbox.wechat.notify import Courier
from gateways.sandbox.wechat.shapes import OpenIdFailure, OpenIdOut
from gateways.sandbox.wechat.state import Order
from ledger.money import yuan

_COOKIE: Final = "sandbox_openid"
_OPENID: Final = re.compile(r"[0-9A-Za-z_-]{1,128}")


class Cashier:
    """Pages and redirects over a desk. ``return_url`` in the query is where the payer goes afterwards."""

    def __init__(self, desk: Desk, courier: Courier) -> None:
        self._desk = desk
        self._courier = courier

    def routes(self) -> list[Route]:
        return [
            route("GET", "/", self._front),
            route("GET", "/health", self._health),
            route("GET", "/cashier/{prepay_id}", self._page),
            route("POST", "/cashier/{prepay_id}/pay", self._pay),
            route("POST", "/cashier/{prepay_id}/cancel", self._cancel),
            route("GET", "/connect/oauth2/authorize", self._authorize),
            route("GET", "/sns/oauth2/access_token", self._exchange),
        ]

    def _front(self, _incoming: Incoming, _found: re.Match[str]) -> Reply:
        return _page_of(200, '<p class="said">支付渠道模拟器</p><p>本服务模拟微信支付接口，不产生真实资金。</p>', "")

    def _health(self, _incoming: Incoming, _found: re.Match[str]) -> Reply:
        return Reply(answer=Answer(status=200, headers={"content-type": "text/plain"}, body=b"ok"))

    def _page(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        order = self._desk.state.order_by_prepay(found["prepay_id"])
        back = _return_url(incoming)
        if order is None:
            return _page_of(404, '<p class="said">没有找到这笔订单</p><p>请回到停车缴费页面重新下单。</p>', _back_link(back))
        if order.state == "SUCCESS":
            return _page_of(200, self._order(order) + '<p class="said">已支付</p>', _back_link(back))
        if order.state == "CLOSED" or order.expires_at <= self._desk.now():
            return _page_of(200, self._order(order) + '<p class="said">订单已关闭，无法支付</p>', _back_link(back))
        target = f"/cashier/{quote(found['prepay_id'], safe='')}"
        query = f"?return_url={quote(back, safe='')}" if back else ""
        return _page_of(200, self._order(order), _buttons(target, query, order))

    def _order(self, order: Order) -> str:
        payee = self._desk.state.merchant_name(order.merchant_no) or f"商户 {order.merchant_no}"
        return (
            f'<p class="payee">付款给 {escape(payee)}</p>'
            f'<p class="amount"><small>¥</small>{yuan(order.amount_fen)}</p>'
            f"<dl><div><dt>商品</dt><dd>{escape(order.description)}</dd></div>"
            f"<div><dt>收款商户号</dt><dd>{escape(order.merchant_no)}</dd></div>"
            f"<div><dt>商户订单号</dt><dd>{escape(order.order_no)}</dd></div></dl>"
        )

    def _pay(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        """Take the money and lead back; a second tap finds it paid and leads back too."""
        order, back = self._desk.state.order_by_prepay(found["prepay_id"]), _return_url(incoming)
        if order is None:
            return self._page(incoming, found)
        try:
            self._desk.pay(order)
        except ApiRefusal as refusal:
            if refusal.code != "ORDERPAID":
                return self._page(incoming, found)
        self._courier.wake()
        return redirect(303, back) if back else self._page(incoming, found)

    def _cancel(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        back = _return_url(incoming)
        if back:
            return redirect(303, back)
        return _page_of(200, '<p class="said">已取消，没有扣款</p>', "")

    # Who pays

    def _authorize(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        """Send the browser back with a code; each browser keeps its openid in a cookie, or names one (``openid``) in a test."""
        target = incoming.query.get("redirect_uri", "")
        if incoming.query.get("appid") != self._desk.config.app_id or not _web(target):
            return _page_of(400, '<p class="said">redirect_uri 或 appid 不正确</p><p>错误码 10003</p>', "")
        openid = incoming.query.get("openid") or _cookie(incoming) or f"oSandbox{secrets.token_hex(10)}"
        if not _OPENID.fullmatch(openid):
            return _page_of(400, '<p class="said">openid 不正确</p>', "")
        code = self._desk.new_code(openid)
        joint = "&" if urlsplit(target).query else "?"
        state = quote(incoming.query.get("state", ""), safe="")
        reply = redirect(302, f"{target}{joint}code={code}&state={state}")
        cookie = {"set-cookie": f"{_COOKIE}={openid}; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000"}
        return Reply(answer=msgspec.structs.replace(reply.answer, headers={**reply.answer.headers, **cookie}))

    def _exchange(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        query, config = incoming.query, self._desk.config
        if query.get("appid") != config.app_id or query.get("secret") != config.app_secret:
            return _json(OpenIdFailure(errcode=40125, errmsg="invalid appsecret"))
        if query.get("grant_type") != "authorization_code":
            return _json(OpenIdFailure(errcode=40002, errmsg="invalid grant_type"))
        openid = self._desk.exchange(query.get("code", ""))
        if isinstance(openid, int):
            return _json(OpenIdFailure(errcode=openid, errmsg="invalid code" if openid == 40029 else "code been used"))
        return _json(OpenIdOut(access_token=secrets.token_hex(16), refresh_token=secrets.token_hex(16), openid=openid))


def _buttons(target: str, query: str, order: Order) -> str:
    return (
        f'<form class="act" method="post" action="{escape(target)}/pay{escape(query)}">'
        f'<button class="pay" type="submit">立即支付 ¥{yuan(order.amount_fen)}</button></form>'
        f'<form class="act" method="post" action="{escape(target)}/cancel{escape(query)}">'
        '<button class="cancel" type="submit">取消</button></form>'
    )


def _back_link(back: str) -> str:
    return f'<p class="act"><a class="button cancel" href="{escape(back)}">返回商家</a></p>' if back else ""


def _return_url(incoming: Incoming) -> str:
    """Return where the payer goes afterwards, or nothing when it is not a web address."""
    back = incoming.query.get("return_url", "")
    return back if _web(back) else ""


def _web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and all("!" <= letter <= "~" for letter in url)


def _cookie(incoming: Incoming) -> str | None:
    for part in incoming.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == _COOKIE and _OPENID.fullmatch(value):
            return value
    return None


def _json(value: object) -> Reply:
    return Reply(answer=Answer(status=200, headers={"content-type": "application/json"}, body=msgspec.json.encode(value)))


def _page_of(status: int, content: str, buttons: str) -> Reply:
    return page(status, title="收银台（模拟）", heading="微信支付 · 模拟收银台", content=content, buttons=buttons)
