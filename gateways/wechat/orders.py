"""Orders of one operator: JSAPI, H5 and Native, their hand-offs, query and close.

Knows the calls of partner transactions; must not know combined orders, parking or refunds. Part of the adapter.
Source: docs/CHANNELS.md, WeChat Pay, orders.
"""

from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote, urlencode

from gateways.contract import (
    Answer,
    ChannelState,
    CloseOutcome,
    HandOff,
    OrderRef,
    PrepayOrder,
    PrepayOutcome,
    Reading,
    Request,
    Unanswered,
    Way,
)
from gateways.keys import KeyRing
from gateways.wechat import sign, wire
from gateways.wechat.results import absent, transaction_result
from gateways.wechat.speaker import Opened, Speaker, decoded, plain, read, rfc3339, unproven, unreadable
from gateways.wechat.wire import Meaning

_PATHS: Final = {Way.IN_WALLET: wire.JSAPI_PATH, Way.BROWSER: wire.H5_PATH, Way.CODE: wire.NATIVE_PATH}
H5_LIFE: Final = timedelta(minutes=5)
"""How long an H5 address leads to the wallet."""
_PREPAY_STATES: Final = {Meaning.REFUSED: ChannelState.FAILED, Meaning.ORDER_CLOSED: ChannelState.CLOSED}
_CLOSE_STATES: Final = {Meaning.ORDER_CLOSED: ChannelState.CLOSED, Meaning.NOT_FOUND: ChannelState.NOT_FOUND}


class Orders(Speaker):
    """Making, asking for and closing an order."""

    def build_prepay(self, order: PrepayOrder, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Make an order in one of the ways. The body depends on the order alone, so a repeat is identical and safe."""
        body = wire.encode(
            wire.OrderCall(
                sp_appid=self.provider.app_id,
                sp_mchid=self.provider_no,
                sub_mchid=order.merchant_no,
                sub_appid=order.sub_app_id,
                description=plain(order.description)[: wire.DESCRIPTION_CHARACTERS_MAX],
                out_trade_no=order.order_no,
                time_expire=time_expire(order.created_at, order.expires_at),
                attach=None if order.attach is None else plain(order.attach)[: wire.ATTACH_CHARACTERS_MAX],
                notify_url=self.provider.notify_url,
                amount=wire.Amount(total=order.amount_fen, currency=wire.CURRENCY),
                payer=_payer(order),
                scene_info=self.scene(order.way, order.payer_ip),
            )
        )
        return self.request("POST", _PATHS[order.way], body, keys=keys, now=now, nonce=nonce)

    def parse_prepay(
        self, answer: Answer | Unanswered, *, order: PrepayOrder, keys: KeyRing, now: datetime, nonce: str
    ) -> PrepayOutcome:
        """Read the answer to an order and, when it holds, return what leads the payer to the wallet."""
        opened = self.opened(answer, keys=keys, now=now)
        app_id = order.sub_app_id or self.provider.app_id
        return self.prepaid(
            opened, way=order.way, return_url=order.return_url, app_id=app_id, keys=keys, now=now, nonce=nonce
        )  # fmt: skip

    def prepaid(
        self, opened: Opened, *, way: Way, return_url: str | None, app_id: str, keys: KeyRing, now: datetime, nonce: str
    ) -> PrepayOutcome:
        """Return what an order call led to, the same for an order and a combined one. Signing takes about a millisecond."""
        if opened.meaning is not None:
            state = _PREPAY_STATES.get(opened.meaning, ChannelState.UNKNOWN)
            return PrepayOutcome(verdict=opened.verdict, state=state, reason=opened.meaning)
        hand_off: HandOff | None = None
        if way is Way.BROWSER:
            if (led := decoded(wire.decode_h5, opened)) is not None:
                hand_off = HandOff(kind="redirect", url=_with_return(led.h5_url, return_url), valid_until=now + H5_LIFE)
        elif way is Way.CODE:
            if (shown := decoded(wire.decode_native, opened)) is not None:
                hand_off = HandOff(kind="code", fields={"code": shown.code_url})
        elif (made := decoded(wire.decode_prepaid, opened)) is not None:
            hand_off = self.call_up(made.prepay_id, app_id=app_id, keys=keys, now=now, nonce=nonce)
        if hand_off is None:
            verdict, reason = unproven(opened)
            return PrepayOutcome(verdict=verdict, state=ChannelState.UNKNOWN, reason=reason)
        return PrepayOutcome(verdict="verified", state=ChannelState.PENDING, hand_off=hand_off)

    def scene(self, way: Way, payer_ip: str | None) -> wire.SceneInfo | None:
        """Return what the channel wants to know of the payer's browser; it opens the wallet only for this address."""
        if way is not Way.BROWSER:
            return None
        h5_info = wire.H5Info(type="Wap", app_name=self.provider.site_name, app_url=self.provider.site_url)
        return wire.SceneInfo(payer_client_ip=payer_ip, h5_info=h5_info)

    def call_up(self, prepay_id: str, *, app_id: str, keys: KeyRing, now: datetime, nonce: str) -> HandOff:
        """Return the parameters of ``getBrandWCPayRequest``, signed with our key."""
        timestamp, package = str(sign.seconds(now)), f"prepay_id={prepay_id}"
        signature = keys.sign(sign.call_up_message(app_id=app_id, timestamp=timestamp, nonce=nonce, package=package))
        return HandOff(
            kind="jsapi",
            fields={
                "appId": app_id,
                "timeStamp": timestamp,
                "nonceStr": nonce,
                "package": package,
                "signType": "RSA",
                "paySign": signature,
            },
        )

    def build_query(self, order: OrderRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask for an order by our number. A leg of a combined order is asked for by the combined query."""
        query = urlencode({"sp_mchid": self.provider_no, "sub_mchid": order.merchant_no})
        path = f"{wire.ORDER_PATH}{quote(order.order_no, safe='')}?{query}"
        return self.request("GET", path, keys=keys, now=now, nonce=nonce)

    def parse_query(self, answer: Answer | Unanswered, *, order: OrderRef, keys: KeyRing, now: datetime) -> Reading:
        """Read what the channel says about ``order``. An answer about another order proves nothing about this one."""
        return self.queried(self.opened(answer, keys=keys, now=now), order, now=now, scene=None)

    def queried(self, opened: Opened, order: OrderRef, *, now: datetime, scene: str | None) -> Reading:
        """Read the answer to a query; ``scene`` is what the channel must call it (a deduction: PARKING)."""
        if opened.meaning is Meaning.NOT_FOUND:
            return Reading(verdict=opened.verdict, results=(absent(order, provider_no=self.provider_no, now=now),))
        if opened.reason is not None:
            return Reading(verdict=opened.verdict, reason=opened.reason)
        told = read(wire.decode_transaction, opened.body)
        if told is None:
            return unreadable("field_missing")
        result = transaction_result(told, provider_no=self.provider_no)
        if isinstance(result, str):
            return unreadable(result)
        if (result.order_no, result.merchant_no) != (order.order_no, order.merchant_no) or told.trade_scene != scene:
            return unreadable("other_order")
        return Reading(verdict="verified", results=(result,))

    def build_close(self, order: OrderRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Close an order, so that nobody can pay it any more. Repeatable."""
        body = wire.encode(wire.CloseOrder(sp_mchid=self.provider_no, sub_mchid=order.merchant_no))
        path = f"{wire.ORDER_PATH}{quote(order.order_no, safe='')}/close"
        return self.request("POST", path, body, keys=keys, now=now, nonce=nonce)

    def parse_close(self, answer: Answer | Unanswered, *, order: OrderRef, keys: KeyRing, now: datetime) -> CloseOutcome:  # noqa: ARG002
        """Read the answer to a close. Query afterwards all the same: a payment can land between."""
        return closed(self.opened(answer, keys=keys, now=now))


def closed(opened: Opened) -> CloseOutcome:
    """Return what a close led to; the answer holds nothing but its status."""
    if opened.meaning is not None:
        state = _CLOSE_STATES.get(opened.meaning, ChannelState.UNKNOWN)
        return CloseOutcome(verdict=opened.verdict, state=state, reason=opened.meaning)
    if opened.reason is not None:
        return CloseOutcome(verdict=opened.verdict, state=ChannelState.UNKNOWN, reason=opened.reason)
    return CloseOutcome(verdict="verified", state=ChannelState.CLOSED)


def time_expire(created_at: datetime, expires_at: datetime) -> str:
    """Return the last moment of paying, cut to what the channel allows: the same in every repeat."""
    return rfc3339(min(expires_at, created_at + timedelta(days=wire.TIME_EXPIRE_DAYS_MAX)))


def _payer(order: PrepayOrder) -> wire.Payer | None:
    if order.way is not Way.IN_WALLET:
        return None
    return wire.Payer(sub_openid=order.payer_id) if order.sub_app_id else wire.Payer(sp_openid=order.payer_id)


def _with_return(h5_url: str, return_url: str | None) -> str:
    """Return the address that leads to the wallet; the payer comes back to ``return_url`` whether or not he has paid."""
    if return_url is None:
        return h5_url
    return f"{h5_url}{'&' if '?' in h5_url else '?'}redirect_url={quote(return_url, safe='')}"
