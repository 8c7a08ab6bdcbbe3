"""Combined orders: one act of the payer for up to fifty operators, all of them or none.

Knows the combine calls; must not know what becomes of a leg afterwards: it is refunded and billed as any order.
A leg is asked for by the combined query alone: the ordinary query knows no combined number, and whether it knows a leg's is not
stated. So a CombinedRef may name some of the legs for a query; for a close it must name all. Part of the adapter.
Source: docs/CHANNELS.md, WeChat Pay, combined orders.
"""

from datetime import datetime
from typing import Final
from urllib.parse import quote

from gateways.contract import (
    Answer,
    CloseOutcome,
    CombinedOrder,
    CombinedRef,
    Leg,
    PrepayOutcome,
    Reading,
    Request,
    Unanswered,
    Way,
)
from gateways.keys import KeyRing
from gateways.wechat import wire
from gateways.wechat.orders import Orders, closed, time_expire
from gateways.wechat.results import absent, combined_results
from gateways.wechat.speaker import plain, read, rfc3339, unreadable
from gateways.wechat.wire import Meaning

_PATHS: Final = {
    Way.IN_WALLET: wire.COMBINED_JSAPI_PATH,
    Way.BROWSER: wire.COMBINED_H5_PATH,
    Way.CODE: wire.COMBINED_NATIVE_PATH,
}


class Combined(Orders):
    """Making, asking for and closing a combined order."""

    def build_combined(self, order: CombinedOrder, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Make a combined order. The body depends on the order alone, so a repeat is identical and safe."""
        payer = wire.CombinedPayer(openid=order.payer_id) if order.way is Way.IN_WALLET else None
        body = wire.encode(
            wire.CombinedCall(
                combine_appid=self.provider.app_id,
                combine_mchid=self.provider_no,
                combine_out_trade_no=order.combined_no,
                time_start=rfc3339(order.created_at),
                time_expire=time_expire(order.created_at, order.expires_at),
                notify_url=self.provider.notify_url,
                sub_orders=tuple(self._leg(leg) for leg in order.legs),
                combine_payer_info=payer,
                scene_info=self.scene(order.way, order.payer_ip),
            )
        )
        return self.request("POST", _PATHS[order.way], body, keys=keys, now=now, nonce=nonce)

    def _leg(self, leg: Leg) -> wire.SubCall:
        return wire.SubCall(
            mchid=self.provider_no,
            sub_mchid=leg.merchant_no,
            sub_appid=leg.sub_app_id,
            out_trade_no=leg.order_no,
            attach=plain(leg.attach or "")[: wire.ATTACH_CHARACTERS_MAX] or leg.order_no,
            amount=wire.SubAmount(total_amount=leg.amount_fen, currency=wire.CURRENCY),
            description=plain(leg.description)[: wire.DESCRIPTION_CHARACTERS_MAX],
        )

    def parse_combined(
        self, answer: Answer | Unanswered, *, order: CombinedOrder, keys: KeyRing, now: datetime, nonce: str
    ) -> PrepayOutcome:
        """Read the answer to a combined order and, when it holds, return what leads the payer to the wallet."""
        opened = self.opened(answer, keys=keys, now=now)
        app_id = self.provider.app_id
        return self.prepaid(opened, way=order.way, return_url=order.return_url, app_id=app_id, keys=keys, now=now, nonce=nonce)

    def build_combined_query(self, order: CombinedRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask for a combined order by our number of the whole act."""
        path = f"{wire.COMBINED_PATH}{quote(order.combined_no, safe='')}"
        return self.request("GET", path, keys=keys, now=now, nonce=nonce)

    def parse_combined_query(self, answer: Answer | Unanswered, *, order: CombinedRef, keys: KeyRing, now: datetime) -> Reading:
        """Read what the channel says: one result per leg named, in their order. An answer without one of them proves nothing."""
        opened = self.opened(answer, keys=keys, now=now)
        if opened.meaning is Meaning.NOT_FOUND:
            results = tuple(absent(leg, provider_no=self.provider_no, now=now) for leg in order.legs)
            return Reading(verdict=opened.verdict, results=results)
        if opened.reason is not None:
            return Reading(verdict=opened.verdict, reason=opened.reason)
        told = read(wire.decode_combined, opened.body)
        if told is None:
            return unreadable("field_missing")
        found = combined_results(told, provider_no=self.provider_no)
        if isinstance(found, str):
            return unreadable(found)
        by_leg = {(result.order_no, result.merchant_no): result for result in found}
        wanted = [by_leg.get((leg.order_no, leg.merchant_no)) for leg in order.legs]
        results = tuple(result for result in wanted if result is not None)
        if told.combine_out_trade_no != order.combined_no or len(results) != len(wanted):
            return unreadable("other_order")
        return Reading(verdict="verified", results=results)

    def build_combined_close(self, order: CombinedRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Close a combined order with all its legs, as they were ordered. Repeatable."""
        legs = tuple(
            wire.SubClose(mchid=self.provider_no, sub_mchid=leg.merchant_no, out_trade_no=leg.order_no) for leg in order.legs
        )
        body = wire.encode(wire.CombinedClose(combine_appid=self.provider.app_id, sub_orders=legs))
        path = f"{wire.COMBINED_PATH}{quote(order.combined_no, safe='')}/close"
        return self.request("POST", path, body, keys=keys, now=now, nonce=nonce)

    def parse_combined_close(
        self,
        answer: Answer | Unanswered,
        *,
        order: CombinedRef,  # noqa: ARG002
        keys: KeyRing,
        now: datetime,
    ) -> CloseOutcome:
        """Read the answer to a close. Query afterwards all the same: a payment can land between."""
        return closed(self.opened(answer, keys=keys, now=now))
