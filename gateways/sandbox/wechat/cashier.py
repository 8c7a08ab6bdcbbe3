"""The cashier's page on the payer's phone, and the step that tells a page who the payer is.

Knows HTML and redirects; must not know the API. Mounted by the sandbox's application.
"""

import re
import secrets
from html import escape
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from gateways.contract import Answer
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.pages import page, redirect
from gateways.sandbox.wechat.api import CODE, H5_PATH
from gateways.sandbox.wechat.combined import Combined
from gateways.sandbox.wechat.desk import ApiRefusal, Desk
from gateways.sandbox.wechat.notify import Courier
from gateways.sandbox.wechat.plates import Plates
from gateways.sandbox.wechat.shapes import OpenIdFailure, OpenIdOut
from gateways.sandbox.wechat.state import CombinedOrder, Order
from ledger.money import yuan

_COOKIE: Final = "sandbox_openid"
_OPENID: Final = re.compile(r"[0-9A-Za-z_-]{1,128}")


class _Sheet(Struct, frozen=True):
    """What the cashier's page shows of an order or a combined one."""

    order: Order | CombinedOrder
    content: str
    amount_fen: int
    state: str
    expires_at: int
    alive: bool


class Cashier:
    """Pages and redirects over a desk. ``return_url`` in the query is where the payer goes afterwards."""

    def __init__(self, desk: Desk, courier: Courier) -> None:
        self._desk = desk
        self._courier = courier
        self._combined = Combined(desk)

    def routes(self) -> list[Route]:
        return [
            route("GET", "/", self._front),
            route("GET", "/health", self._health),
            route("GET", "/cashier/{prepay_id}", self._page),
            route("POST", "/cashier/{prepay_id}/pay", self._pay),
            route("POST", "/cashier/{prepay_id}/cancel", self._cancel),
            route("GET", H5_PATH, self._h5),
            route("GET", "/scan", self._scan),
            *Plates(self._desk, self._courier).routes(),
            route("GET", "/connect/oauth2/authorize", self._authorize),
            route("GET", "/sns/oauth2/access_token", self._exchange),
        ]

    def _front(self, _incoming: Incoming, _found: re.Match[str]) -> Reply:
        return _page_of(200, '<p class="said">支付渠道模拟器</p><p>本服务模拟微信支付接口，不产生真实资金。</p>', "")

    def _health(self, _incoming: Incoming, _found: re.Match[str]) -> Reply:
        return Reply(answer=Answer(status=200, headers={"content-type": "text/plain"}, body=b"ok"))

    def _page(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        """Show what is to be paid. Whoever has a JSAPI handle was led here by our own page in place of the wallet's script."""
        sheet, back = self._sheet(found["prepay_id"]), _return_url(incoming)
        if sheet is None:
            return _page_of(404, '<p class="said">没有找到这笔订单</p><p>请回到停车缴费页面重新下单。</p>', _back_link(back))
        if sheet.state == "SUCCESS":
            return _page_of(200, sheet.content + '<p class="said">已支付</p>', _back_link(back))
        if sheet.state == "CLOSED" or sheet.expires_at <= self._desk.now():
            return _page_of(200, sheet.content + '<p class="said">订单已关闭，无法支付</p>', _back_link(back))
        if not sheet.alive:
            return _page_of(200, sheet.content + '<p class="said">支付链接已失效，请回到停车缴费页面重新支付</p>', _back_link(back))
        target = f"/cashier/{quote(found['prepay_id'], safe='')}"
        query = f"?return_url={quote(back, safe='')}" if back else ""
        return _page_of(200, sheet.content, _buttons(target, query, sheet.amount_fen))

    def _h5(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        """Take a browser that was led here from the registered domain; the way back is in ``redirect_url``."""
        back = incoming.query.get("redirect_url", "")
        if self._desk.config.check_referer and not _web(incoming.headers.get("referer", "")):
            return _page_of(403, '<p class="said">商家参数格式有误，请联系商家解决</p><p>请求没有带Referer</p>', "")
        query = f"?return_url={quote(back, safe='')}" if _web(back) else ""
        return redirect(302, f"/cashier/{quote(incoming.query.get('prepay_id', ''), safe='')}{query}")

    def _scan(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        """Stand for the wallet's scanner: a code's text is typed, or given as ``code``."""
        code = incoming.query.get("code", "")
        if code.startswith(CODE):
            return redirect(302, f"/cashier/{quote(code.removeprefix(CODE), safe='')}")
        wrong = '<p class="warning" role="alert">这不是收款码，收款码以 weixin:// 开头。</p>' if code else ""
        form = (
            '<div class="entry"><form method="get" action="/scan"><label for="code">收款码</label>'
            '<input id="code" name="code" autocomplete="off" required><button class="pay" type="submit">识别</button></form></div>'
        )
        return page(200, title="扫一扫（模拟）", heading="微信 · 模拟扫一扫", content=wrong + form, kind="list")

    def _sheet(self, prepay_id: str) -> _Sheet | None:
        handle = self._desk.state.handle(prepay_id)
        if handle is None:
            return None
        if handle.combined_no is not None:
            combined = self._desk.state.combined(handle.combined_no)
            assert combined is not None, "a handle belongs to an order"
            legs = self._desk.state.legs(handle.combined_no)
            total_fen, content = sum(leg.amount_fen for leg in legs), self._basket(combined.combined_no, legs)
            alive = self._desk.alive(handle, combined.trade_type)
            return _Sheet(combined, content, total_fen, combined.state, combined.expires_at, alive)
        order = self._desk.state.order(handle.order_no)
        assert order is not None, "a handle belongs to an order"
        alive = self._desk.alive(handle, order.trade_type)
        return _Sheet(order, self._order(order), order.amount_fen, order.state, order.expires_at, alive)

    def _order(self, order: Order) -> str:
        return (
            f'<p class="payee">付款给 {escape(self._payee(order))}</p>'
            f'<p class="amount"><small>¥</small>{yuan(order.amount_fen)}</p>'
            f"<dl><div><dt>商品</dt><dd>{escape(order.description)}</dd></div>"
            f"<div><dt>收款商户号</dt><dd>{escape(order.merchant_no)}</dd></div>"
            f"<div><dt>商户订单号</dt><dd>{escape(order.order_no)}</dd></div></dl>"
        )

    def _basket(self, combined_no: str, legs: list[Order]) -> str:
        rows = "".join(
            f"<div><dt>{escape(self._payee(leg))}<br>{escape(leg.description)}</dt><dd>¥{yuan(leg.amount_fen)}</dd></div>"
            for leg in legs
        )
        return (
            f'<p class="payee">合并支付 {len(legs)} 笔</p>'
            f'<p class="amount"><small>¥</small>{yuan(sum(leg.amount_fen for leg in legs))}</p>'
            f"<dl>{rows}<div><dt>合单商户订单号</dt><dd>{escape(combined_no)}</dd></div></dl>"
        )

    def _payee(self, order: Order) -> str:
        return self._desk.state.merchant_name(order.merchant_no) or f"商户 {order.merchant_no}"

    def _pay(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        """Take the money and lead back; a second tap finds it paid and leads back too."""
        sheet, back = self._sheet(found["prepay_id"]), _return_url(incoming)
        if sheet is None or not sheet.alive:
            return self._page(incoming, found)
        payer = _cookie(incoming)
        try:
            if isinstance(sheet.order, CombinedOrder):
                self._combined.pay(sheet.order, sheet.order.openid or payer)
            else:
                self._desk.pay(sheet.order, sheet.order.openid or payer)
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


def _buttons(target: str, query: str, amount_fen: int) -> str:
    return (
        f'<form class="act" method="post" action="{escape(target)}/pay{escape(query)}">'
        f'<button class="pay" type="submit">立即支付 ¥{yuan(amount_fen)}</button></form>'
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
