"""The cashier's pages on the payer's phone, the step that tells a page who the payer is, and the page of plates' agreements.

Knows HTML and redirects; must not know the gateway. Mounted by the stand-in.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from html import escape
from typing import Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import msgspec

from gateways.sandbox.alipay.desk import CLOSED, Desk, Refusal, details_of, wire_time
from gateways.sandbox.alipay.parking import Agreement, Parking
from gateways.sandbox.alipay.signing import return_query
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.pages import page, redirect
from gateways.sandbox.store import Order
from ledger.money import yuan

_COOKIE: Final = "sandbox_alipay_buyer"
_BUYER: Final = re.compile(r"2088[0-9]{12}", re.ASCII)
_AGREEMENTS: Final = "/alipay/agreements"
_COLORS: Final = {"BLUE": "蓝色", "GREEN": "绿色", "YELLOW": "黄色", "WHITE": "白色", "BLACK": "黑色", "LIMEGREEN": "黄绿色"}


class Cashier:
    """Pages and redirects over the desks.

    A trade of a browser (wap pay) leads back to its own ``return_url`` with the channel's signed parameters; any other to the
    ``return_url`` in the page's query.
    """

    def __init__(self, desk: Desk, parking: Parking, wake: Callable[[], None]) -> None:
        self._desk, self._parking, self._wake = desk, parking, wake

    def routes(self) -> list[Route]:
        return [
            route("GET", "/alipay/cashier/{trade_no}", self._page),
            route("POST", "/alipay/cashier/{trade_no}/pay", self._pay),
            route("POST", "/alipay/cashier/{trade_no}/cancel", self._cancel),
            route("GET", "/alipay/qr/{handle}", self._scan),
            route("GET", "/alipay/oauth2/publicAppAuthorize.htm", self._authorize),
            route("GET", _AGREEMENTS, self._agreements),
            route("POST", _AGREEMENTS, self._agree),
        ]

    # Paying

    def _scan(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        """Make the trade behind a code now that it is scanned, and lead to its cashier."""
        try:
            order = self._desk.scan(found["handle"])
        except Refusal as refusal:
            return _page_of(200, f'<p class="said">{escape(str(refusal))}</p>', _back_link(_return_url(incoming)))
        if order is None:
            return _page_of(404, '<p class="said">二维码已失效</p><p>请回到停车缴费页面重新下单。</p>', "")
        return redirect(302, f"/alipay/cashier/{order.trade_no}{_query(_return_url(incoming))}")

    def _page(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        order = self._desk.store.order_by_trade(found["trade_no"])
        if order is None:
            gone = '<p class="said">没有找到这笔交易</p><p>请回到停车缴费页面重新下单。</p>'
            return _page_of(404, gone, _back_link(_return_url(incoming)))
        back = self._back(order, incoming)
        if order.paid_at is not None:
            return _page_of(200, self._order(order) + '<p class="said">已支付</p>', _back_link(back))
        if self._desk.status(order) == CLOSED:
            return _page_of(200, self._order(order) + '<p class="said">交易已关闭，无法支付</p>', _back_link(back))
        target = f"/alipay/cashier/{quote(found['trade_no'], safe='')}"
        return _page_of(200, self._order(order), _buttons(target, _query(_return_url(incoming)), order))

    def _order(self, order: Order) -> str:
        payee = self._desk.store.merchant_name(order.merchant_no) or f"商户 {order.merchant_no}"
        return (
            f'<p class="payee">付款给 {escape(payee)}</p>'
            f'<p class="amount"><small>¥</small>{yuan(order.amount_fen)}</p>'
            f"<dl><div><dt>商品</dt><dd>{escape(details_of(order).subject)}</dd></div>"
            f"<div><dt>收款账号</dt><dd>{escape(order.merchant_no)}</dd></div>"
            f"<div><dt>商户订单号</dt><dd>{escape(order.order_no)}</dd></div>"
            f"<div><dt>交易号</dt><dd>{escape(order.trade_no or '')}</dd></div></dl>"
        )

    def _pay(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        """Take the money and lead back; a second tap finds it paid and leads back too."""
        order = self._desk.store.order_by_trade(found["trade_no"])
        if order is None:
            return self._page(incoming, found)
        try:
            self._desk.pay(order, buyer_id=None if details_of(order).buyer_id else _cookie(incoming))
        except Refusal as refusal:
            if refusal.sub_code != "ACQ.TRADE_HAS_SUCCESS":
                return self._page(incoming, found)
        self._wake()
        back = self._back(order, incoming)
        return redirect(303, back) if back else self._page(incoming, found)

    def _cancel(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        order = self._desk.store.order_by_trade(found["trade_no"])
        quit_url = "" if order is None else _web(details_of(order).quit_url)
        back = quit_url or _return_url(incoming)
        return redirect(303, back) if back else _page_of(200, '<p class="said">已取消，没有扣款</p>', "")

    def _back(self, order: Order, incoming: Incoming) -> str:
        """Return where the payer goes afterwards: for a wap trade with the channel's signed parameters."""
        details = details_of(order)
        target = _web(details.return_url)
        if details.kind != "wap" or not target:
            return _return_url(incoming)
        fields = {
            "app_id": details.app_id, "auth_app_id": details.auth_app_id, "method": "alipay.trade.wap.pay.return",
            "out_trade_no": order.order_no, "trade_no": order.trade_no or "", "total_amount": yuan(order.amount_fen),
            "seller_id": order.merchant_no, "timestamp": wire_time(self._desk.now()),
        }  # fmt: skip
        query = return_query(fields, app=self._desk.app(details.app_id), signer=self._desk.signer())
        return f"{target}{'&' if urlsplit(target).query else '?'}{query}"

    # Who pays

    def _authorize(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        """Send the browser back with a code; each browser keeps its payer in a cookie, or names one (``buyer_id``) in a test."""
        query, target = incoming.query, _web(incoming.query.get("redirect_uri"))
        if query.get("app_id") not in self._desk.config.apps or not target or query.get("scope") != "auth_base":
            return _page_of(400, '<p class="said">app_id、scope 或 redirect_uri 不正确</p>', "")
        buyer_id = query.get("buyer_id") or _cookie(incoming) or f"2088{secrets.randbelow(10**12):012d}"
        if not _BUYER.fullmatch(buyer_id):
            return _page_of(400, '<p class="said">buyer_id 不正确</p>', "")
        code, state = self._desk.new_code(buyer_id), query.get("state", "")
        back = {"auth_code": code, "app_id": query["app_id"], "scope": "auth_base", "state": state}
        reply = redirect(302, f"{target}{'&' if urlsplit(target).query else '?'}{urlencode(back)}")
        cookie = {"set-cookie": f"{_COOKIE}={buyer_id}; Path=/alipay; HttpOnly; SameSite=Lax; Max-Age=31536000"}
        return Reply(answer=msgspec.structs.replace(reply.answer, headers={**reply.answer.headers, **cookie}))

    # Plates

    def _agreements(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        return self._plate(
            incoming.query.get("plate", "").strip(), color=incoming.query.get("plate_color", ""), back=_return_url(incoming)
        )

    def _agree(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        """Sign or end a plate's agreement, as its owner does in the app."""
        form = _form(incoming)
        plate, color = form.get("plate", "").strip().upper(), form.get("plate_color", "BLUE")
        buyer_id = form.get("buyer_id") or _cookie(incoming) or f"2088{secrets.randbelow(10**12):012d}"
        if not 0 < len(plate) <= 16 or color not in _COLORS or not _BUYER.fullmatch(buyer_id):
            return self._plate(plate, warning="车牌、颜色或付款人不正确。", status=400, back=_web(form.get("return_url")))
        if form.get("act") == "end":
            self._parking.end(plate)
        else:
            self._parking.agree(Agreement(plate=plate, plate_color=color, buyer_id=buyer_id))
        back = _web(form.get("return_url"))
        query = {"plate": plate, "plate_color": color} | ({"return_url": back} if back else {})
        return redirect(303, f"{_AGREEMENTS}?{urlencode(query)}")

    def _plate(self, plate: str, *, warning: str = "", status: int = 200, color: str = "", back: str = "") -> Reply:
        agreement = self._parking.agreement(plate) if plate else None
        state = ""
        if plate:
            words = "未开通" if agreement is None else f"已开通（付款人 {agreement.buyer_id}）"
            state = f"<dl><div><dt>{escape(plate)}</dt><dd>{escape(words)}</dd></div></dl>"
        alert = f'<p class="warning" role="alert">{escape(warning)}</p>' if warning else ""
        colors = "".join(
            f'<option value="{value}"{" selected" if value == color else ""}>{words}</option>' for value, words in _COLORS.items()
        )
        fields = (
            f'<div class="entry"><form method="post" action="{_AGREEMENTS}"><label for="plate">车牌</label>'
            f'<input id="plate" name="plate" required maxlength="16" value="{escape(plate)}">'
            f'<label for="color">颜色</label><select id="color" name="plate_color">{colors}</select>'
            f'<input type="hidden" name="return_url" value="{escape(back)}">'
            '<button class="pay" type="submit" name="act" value="sign">开通</button>'
            '<button class="cancel" type="submit" name="act" value="end">解约</button></form></div>'
        )
        content = f'<p class="payee">停车无感支付</p>{alert}{state}{fields}{_back_link(back)}'
        return page(status, title="停车无感支付（模拟）", heading="支付宝 · 模拟车牌代扣", content=content, kind="list")


def _buttons(target: str, query: str, order: Order) -> str:
    return (
        f'<form class="act" method="post" action="{escape(target)}/pay{escape(query)}">'
        f'<button class="pay" type="submit">确认付款 ¥{yuan(order.amount_fen)}</button></form>'
        f'<form class="act" method="post" action="{escape(target)}/cancel{escape(query)}">'
        '<button class="cancel" type="submit">取消</button></form>'
    )


def _back_link(back: str) -> str:
    return f'<p class="act"><a class="button cancel" href="{escape(back)}">返回商家</a></p>' if back else ""


def _return_url(incoming: Incoming) -> str:
    """Return where the page's query says that the payer goes afterwards, or nothing when it is not a web address."""
    return _web(incoming.query.get("return_url"))


def _query(back: str) -> str:
    return f"?return_url={quote(back, safe='')}" if back else ""


def _web(url: str | None) -> str:
    """Return a web address, or nothing for any other text."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return ""
    whole = parts.scheme in ("http", "https") and bool(parts.netloc) and all("!" <= letter <= "~" for letter in url or "")
    return url or "" if whole else ""


def _cookie(incoming: Incoming) -> str | None:
    for part in incoming.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == _COOKIE and _BUYER.fullmatch(value):
            return value
    return None


def _form(incoming: Incoming) -> Mapping[str, str]:
    return {name: values[-1] for name, values in parse_qs(incoming.body.decode("latin-1"), encoding="utf-8").items()}


def _page_of(status: int, content: str, buttons: str) -> Reply:
    return page(status, title="收银台（模拟）", heading="支付宝 · 模拟收银台", content=content, buttons=buttons)
