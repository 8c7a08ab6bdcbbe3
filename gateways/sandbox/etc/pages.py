"""Pages of the ETC stand-in: a citizen signs a plate for ETC parking or ends that, an operator sees its charges and refunds one.

Knows HTML; must not know envelopes. Mounted by the stand-in. They ask for no password.
"""

import re
from html import escape
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

import msgspec

from gateways.etc.codes import COLOUR_WORDS, PlateColour, RefundRefusal
from gateways.etc.recon import masked
from gateways.sandbox.etc.desk import Desk, instant, pay_of
from gateways.sandbox.etc.refunds import DONE, Refunds
from gateways.sandbox.etc.shapes import PlateIn
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.pages import page, redirect
from gateways.sandbox.stand_in import HandRefused
from gateways.sandbox.store import Order, Refund
from ledger.clock import CHINA
from ledger.money import AMOUNT_FEN_MAX, fen, yuan

ROWS_MAX: Final = 50
_COLOURS: Final = (
    PlateColour.BLUE, PlateColour.GRADIENT_GREEN, PlateColour.YELLOW, PlateColour.YELLOW_GREEN, PlateColour.WHITE,
    PlateColour.BLACK,
)  # fmt: skip
_REFUSALS: Final = {RefundRefusal.ISSUER.value: "发行方拒绝", RefundRefusal.ACCOUNT.value: "账户异常"}


class Pages:
    """The pages over the counters."""

    def __init__(self, desk: Desk, refunds: Refunds) -> None:
        self._desk, self._refunds = desk, refunds

    def routes(self) -> list[Route]:
        """Return the routes of ``/etc/sign`` and ``/etc/console``."""
        return [
            route("GET", "/etc/sign", self._ask),
            route("POST", "/etc/sign", self._sign),
            route("GET", "/etc/console/{merchant_no}", self._list),
            route("POST", "/etc/console/{merchant_no}/refund", self._refund),
        ]

    # Signing

    def _ask(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        query = incoming.query
        return _sign_page(query.get("plate", ""), query.get("colour", "0"), query.get("return_url", ""))

    def _sign(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        form = _form_of(incoming)
        plate, colour, back = form.get("plate", "").strip().upper(), form.get("colour", ""), form.get("return_url", "")
        is_end = form.get("act") == "end"
        try:
            wanted = msgspec.convert({"plate": plate, "colour": int(colour), "signed": not is_end}, PlateIn)
        except (msgspec.ValidationError, ValueError):
            return _sign_page(plate, colour, back, warning="车牌号或颜色不正确。", status=400)
        with self._desk.store.together():
            known = self._desk.store.plate(wanted.plate, wanted.colour)
            if known is not None:
                told = {"listed": known.listed, "balance_fen": known.balance_fen, "answer": known.answer, "reason": known.reason}
                wanted = msgspec.convert(msgspec.structs.asdict(wanted) | told, PlateIn)
            account = self._desk.set_plate(wanted)
        said = "已解除ETC停车代扣" if is_end else "已签约ETC停车代扣"
        lines = [("车牌", f"{plate} {COLOUR_WORDS[wanted.colour]}牌"), ("签约号", account.sign_no)]
        button = f'<p class="act"><a class="button cancel" href="{escape(back)}">返回</a></p>' if _is_web(back) else ""
        return _page(200, f'<p class="said">{said}</p>{_pairs(lines)}', button)

    # The console

    def _list(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        return self._shown(found["merchant_no"], order_no=incoming.query.get("order_no") or None)

    def _refund(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        """Refund what the form says and lead back to the list; what is refused is said on the page."""
        form = _form_of(incoming)
        order_no, merchant_no = form.get("order_no", ""), found["merchant_no"]
        amount_fen = _amount(form.get("amount", ""))
        if amount_fen is None:
            return self._shown(merchant_no, order_no=order_no, warning="金额不正确，请填写元，最多两位小数。", status=400)
        try:
            with self._desk.store.together():
                self._refunds.by_hand(order_no, amount_fen, merchant_no)
        except HandRefused:
            warning = "不能退款：订单次日9点后才可退，且不能超过可退金额。"
            return self._shown(merchant_no, order_no=order_no, warning=warning, status=409)
        return redirect(303, f"/etc/console/{quote(merchant_no, safe='')}")

    def _shown(self, merchant_no: str, *, order_no: str | None, warning: str = "", status: int = 200) -> Reply:
        store = self._desk.store
        self._desk.decide_due()
        orders = store.latest_paid(merchant_no, ROWS_MAX, order_no)
        name = store.merchant_name(merchant_no) or f"商户 {merchant_no}"
        content = (
            (f'<p class="warning" role="alert">{escape(warning)}</p>' if warning else "")
            + f'<p class="payee">{escape(name)}</p>'
            + _pairs([("商户号", merchant_no), ("账户余额", f"¥{yuan(store.balance_fen(merchant_no))}")])
            + "<h2>已扣款的订单</h2>"
            + ("".join(self._order(order) for order in orders) or "<p>没有已扣款的订单。</p>")
            + "<h2>退款</h2>"
            + ("".join(self._refunded(one) for one in store.latest_refunds(merchant_no, ROWS_MAX)) or "<p>没有退款。</p>")
        )
        return page(status, title="商户平台（模拟）", heading="ETC 清分方 · 模拟商户平台", content=content, kind="list")

    def _order(self, order: Order) -> str:
        pay = pay_of(order.content)
        left_fen = self._refunds.left_fen(order.merchant_no, order.order_no, order.amount_fen)
        lines = [
            ("扣款时间", _time(order.paid_at or 0)),
            ("金额", f"¥{yuan(order.amount_fen)}"),
            ("车牌", masked(pay.plate)),
            ("订单号", order.order_no),
            ("渠道流水号", order.trade_no or ""),
        ]
        form = _refund_form(order, left_fen) if left_fen else ""
        return f'<article class="entry">{_pairs(lines)}{form}</article>'

    def _refunded(self, refund: Refund) -> str:
        word = "处理中" if refund.ends_at > self._desk.now() else "已退款" if refund.ends == DONE else _REFUSALS[refund.ends]
        lines = [
            ("申请时间", _time(refund.accepted_at)),
            ("退款金额", f"¥{yuan(refund.refund_fen)}"),
            ("状态", word),
            ("订单号", refund.order_no),
            ("退款单号", refund.refund_no),
        ]
        return f'<article class="entry">{_pairs(lines)}</article>'


def _sign_page(plate: str, colour: str, back: str, *, warning: str = "", status: int = 200) -> Reply:
    options = "".join(
        f'<option value="{one:d}"{" selected" if str(int(one)) == colour else ""}>{COLOUR_WORDS[one]}牌</option>'
        for one in _COLOURS
    )
    content = (
        (f'<p class="warning" role="alert">{escape(warning)}</p>' if warning else "")
        + "<p>签约后，在本市停车场离场时，停车费由该车的ETC账户支付。</p>"
        + '<div class="entry"><form method="post" action="/etc/sign" id="sign">'
        + f'<label for="plate">车牌号</label><input id="plate" name="plate" maxlength="12" required value="{escape(plate)}">'
        + f'<label for="colour">颜色</label><select id="colour" name="colour">{options}</select>'
        + f'<input type="hidden" name="return_url" value="{escape(back)}"></form></div>'
    )
    buttons = (
        '<p class="act"><button class="pay" type="submit" form="sign" name="act" value="sign">同意并签约</button></p>'
        '<p class="act"><button class="cancel" type="submit" form="sign" name="act" value="end">解除签约</button></p>'
    )
    return _page(status, content, buttons, kind="list")


def _refund_form(order: Order, left_fen: int) -> str:
    """Return the form that refunds an order: all that is left unless another amount is typed."""
    field = escape(f"amount-{order.order_no}")
    return (
        f'<form method="post" action="/etc/console/{escape(quote(order.merchant_no, safe=""))}/refund">'
        f'<input type="hidden" name="order_no" value="{escape(order.order_no)}">'
        f'<label for="{field}">退款（元）</label>'
        f'<input id="{field}" name="amount" inputmode="decimal" autocomplete="off" required value="{yuan(left_fen)}">'
        '<button class="pay" type="submit">退款</button></form>'
    )


def _page(status: int, content: str, buttons: str, kind: str = "") -> Reply:
    return page(status, title="ETC停车（模拟）", heading="ETC 停车代扣 · 模拟签约", content=content, buttons=buttons, kind=kind)


def _pairs(lines: list[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{escape(value)}</dd></div>' for name, value in lines)}</dl>"


def _time(at: int) -> str:
    return f"{instant(at).astimezone(CHINA):%Y-%m-%d %H:%M:%S}"


def _form_of(incoming: Incoming) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(incoming.body.decode("latin-1"), encoding="utf-8").items()}


def _amount(text: str) -> int | None:
    """Return typed yuan as fen, or None for what is no amount."""
    try:
        amount_fen = fen(text.strip())
    except ValueError:
        return None
    return amount_fen if 0 < amount_fen <= AMOUNT_FEN_MAX else None


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and all("!" <= letter <= "~" for letter in url)
