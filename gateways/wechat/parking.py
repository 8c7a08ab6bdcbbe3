"""The parking service (支付分停车服务): whether a plate may be deducted, its entry, its deduction and what became of it.

Knows the parking calls; must not know debts or charges. Part of the adapter. A deduction that was taken on is pending: the barrier
may open, and the money is certain only with the notice or the query. There is no close; refunds go the ordinary way.
Source: docs/CHANNELS.md, WeChat Pay, parking.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from urllib.parse import quote, urlencode

from gateways.contract import (
    KEPT,
    Answer,
    ChannelState,
    Deduction,
    Entrance,
    EntryOutcome,
    EntryTold,
    HandOff,
    MandateOutcome,
    MandateRef,
    OrderRef,
    Reading,
    Request,
    Result,
    Unanswered,
    Way,
)
from gateways.keys import KeyRing
from gateways.wechat import parking_wire, wire
from gateways.wechat.orders import Orders
from gateways.wechat.results import transaction_result
from gateways.wechat.speaker import decoded, plain, read, rfc3339, unproven, unreadable
from gateways.wechat.wire import Meaning

_SERVICE_STATES: Final[dict[str, Literal["open", "none"]]] = {"NORMAL": "open", "PAUSE": "none", "OUT_SERVICE": "none"}
_ENTRY_STATES: Final[dict[str, Literal["open", "none"]]] = {"NORMAL": "open", "BLOCKED": "none"}


class Parking(Orders):
    """Asking for a plate's mandate, telling of a car's entry, deducting."""

    def build_mandate_query(self, mandate: MandateRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask whether a plate may be deducted; the channel wants the payer's openid with it."""
        query = {
            "appid": self.provider.app_id,
            "sub_mchid": mandate.merchant_no,
            "plate_number": mandate.plate,
            "plate_color": _color(mandate.plate_color),
            "openid": mandate.payer_id or "",
        }
        path = f"{parking_wire.PARKING_SERVICE_PATH}?{urlencode(query, quote_via=quote)}"
        return self.request("GET", path, keys=keys, now=now, nonce=nonce)

    def parse_mandate_query(
        self, answer: Answer | Unanswered, *, mandate: MandateRef, keys: KeyRing, now: datetime
    ) -> MandateOutcome:
        """Read whether the plate may be deducted; ``word`` is the channel's own when it may not. A mandate has no number."""
        opened = self.opened(answer, keys=keys, now=now)
        told = decoded(parking_wire.decode_parking_service, opened)
        if told is None:
            verdict, reason = unproven(opened)
            return MandateOutcome(verdict=verdict, state="unknown", reason=reason)
        asked = (mandate.plate, _color(mandate.plate_color), mandate.payer_id)
        if (told.plate_number, told.plate_color, told.openid) != asked:
            return MandateOutcome(verdict="unreadable", state="unknown", reason="other_order")
        state = _SERVICE_STATES.get(told.service_state)
        if state is None:
            return MandateOutcome(verdict="verified", state="unknown", word=told.service_state, reason="state_unlisted")
        word = None if state == "open" else told.service_state
        return MandateOutcome(verdict="verified", state=state, payer_id=told.openid, word=word)

    def sign_hand_off(self, mandate: MandateRef, *, return_url: str) -> HandOff:  # noqa: ARG002  # the mini program leads nowhere back
        """Return the mini program's page for a plate, and the address that opens it where the contract gave one."""
        query = {
            "mchid": self.provider.provider_no,
            "sub_mchid": mandate.merchant_no,
            "openid": mandate.payer_id or "",
            "plate_number": mandate.plate,
            "plate_color": _color(mandate.plate_color),
            "trade_scene": parking_wire.SCENE,
        }
        path = f"{parking_wire.SIGN_PATH}?{urlencode(query, quote_via=quote)}"
        fields = {"app_id": parking_wire.SIGN_APP_ID, "username": parking_wire.SIGN_USERNAME, "path": path}
        base = self.provider.sign_url
        url = None if not base else base.replace("{path}", path).replace("{path_quoted}", quote(path, safe=""))
        return HandOff(kind="mini_program", fields=fields, url=url)

    def build_entry(self, entrance: Entrance, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Tell of a car that has come. A newer entry of the plate makes the older one's number void."""
        body = wire.encode(
            parking_wire.EntryCall(
                sub_mchid=entrance.merchant_no,
                out_parking_no=entrance.entrance_no,
                plate_number=entrance.plate,
                plate_color=_color(entrance.plate_color),
                notify_url=self.provider.notify_url,
                start_time=rfc3339(entrance.entered_at),
                parking_name=_lot(entrance.lot_name),
                free_duration=entrance.free_minutes * 60,
            )
        )
        return self.request("POST", parking_wire.PARKING_ENTRY_PATH, body, keys=keys, now=now, nonce=nonce)

    def parse_entry(self, answer: Answer | Unanswered, *, entrance: Entrance, keys: KeyRing, now: datetime) -> EntryOutcome:
        """Read the channel's number of the entry, and whether the plate may be deducted when the car leaves."""
        opened = self.opened(answer, keys=keys, now=now)
        told = decoded(parking_wire.decode_entry, opened)
        if told is None:
            verdict, reason = unproven(opened)
            return EntryOutcome(verdict=verdict, reason=reason)
        asked = (entrance.entrance_no, entrance.plate, _color(entrance.plate_color))
        if (told.out_parking_no, told.plate_number, told.plate_color) != asked:
            return EntryOutcome(verdict="unreadable", reason="other_order")
        state = _ENTRY_STATES.get(told.state)
        if state is None:
            return EntryOutcome(verdict="verified", entry_no=told.id, word=told.state, reason="state_unlisted")
        return EntryOutcome(verdict="verified", entry_no=told.id, state=state, word=told.block_reason)

    def build_deduct(self, deduction: Deduction, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Take a charge by the plate's mandate. The body depends on the deduction alone, so a repeat is identical and safe."""
        begin = deduction.entered_at
        body = wire.encode(
            parking_wire.DeductCall(
                appid=self.provider.app_id,
                sub_mchid=deduction.merchant_no,
                description=plain(deduction.description)[: wire.DESCRIPTION_CHARACTERS_MAX],
                out_trade_no=deduction.order_no,
                trade_scene=parking_wire.SCENE,
                notify_url=self.provider.notify_url,
                profit_sharing="N",
                amount=wire.Amount(total=deduction.amount_fen, currency=wire.CURRENCY),
                parking_info=parking_wire.ParkingInfo(
                    parking_id=deduction.entry_no or "",
                    plate_number=deduction.plate,
                    plate_color=_color(deduction.plate_color),
                    start_time=rfc3339(begin),
                    # the channel refuses a stay that ends in the second in which it began
                    end_time=rfc3339(max(deduction.left_at, begin + timedelta(seconds=1))),
                    parking_name=_lot(deduction.lot_name),
                    charging_duration=deduction.minutes * 60,
                    device_id=deduction.lot_no[: parking_wire.DEVICE_CHARACTERS_MAX],
                ),
            )
        )
        return self.request("POST", parking_wire.DEDUCT_PATH, body, keys=keys, now=now, nonce=nonce)

    def parse_deduct(self, answer: Answer | Unanswered, *, deduction: Deduction, keys: KeyRing, now: datetime) -> Reading:
        """Read the answer: taken on is ``pending``; a call that would always be refused is ``failed``; else nothing is known."""
        opened = self.opened(answer, keys=keys, now=now)
        if opened.meaning is Meaning.REFUSED:
            refused = Result(
                channel=self.name, state=ChannelState.FAILED, order_no=deduction.order_no, provider_no=self.provider_no,
                merchant_no=deduction.merchant_no,
            )  # fmt: skip
            return Reading(verdict=opened.verdict, reason=opened.reason, results=(refused,))
        if opened.reason is not None:
            return Reading(verdict=opened.verdict, reason=opened.reason)
        told = read(wire.decode_transaction, opened.body)
        if told is None:
            return unreadable("field_missing")
        result = transaction_result(told, provider_no=self.provider_no)
        if isinstance(result, str):
            return unreadable(result)
        asked = (deduction.order_no, deduction.merchant_no, parking_wire.SCENE)
        if (result.order_no, result.merchant_no, told.trade_scene) != asked:
            return unreadable("other_order")
        return Reading(verdict="verified", results=(result,))

    def build_query(self, order: OrderRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask for an order or, with ``Way.DEDUCTION``, for a deduction by our number."""
        if order.way is not Way.DEDUCTION:
            return super().build_query(order, keys=keys, now=now, nonce=nonce)
        path = f"{parking_wire.DEDUCTION_PATH}{quote(order.order_no, safe='')}?{urlencode({'sub_mchid': order.merchant_no})}"
        return self.request("GET", path, keys=keys, now=now, nonce=nonce)

    def parse_query(self, answer: Answer | Unanswered, *, order: OrderRef, keys: KeyRing, now: datetime) -> Reading:
        """Read what the channel says about an order or a deduction."""
        scene = parking_wire.SCENE if order.way is Way.DEDUCTION else None
        return self.queried(self.opened(answer, keys=keys, now=now), order, now=now, scene=scene)

    def read_entry_notice(self, body: bytes) -> Reading:
        """Read that a plate was blocked, or may be deducted again, during its stay.

        A state that is not listed proves nothing: the notice is kept and acknowledged, for no repeat would say more.
        """
        told = read(parking_wire.decode_entry_notice, body)
        if told is None:
            return unreadable("field_missing")
        if told.sp_mchid != self.provider_no:
            return unreadable("other_provider")
        state = _ENTRY_STATES.get(told.parking_state)
        if state is None:
            return Reading(verdict="verified", reason=KEPT)
        entry = EntryTold(
            entrance_no=told.out_parking_no,
            provider_no=told.sp_mchid,
            merchant_no=told.sub_mchid,
            entry_no=told.parking_id,
            state=state,
            word=None if state == "open" else _word(told.blocked_state_description),
            happened_at=told.state_update_time.astimezone(UTC),
        )
        return Reading(verdict="verified", entry=entry)


def _color(color: str) -> str:
    """Return a plate's colour as the channel writes it; ``unknown`` is none of its words and is refused there."""
    return color.upper()


def _word(text: str | None) -> str | None:
    return plain(text or "")[: parking_wire.WORD_CHARACTERS_MAX] or None


def _lot(name: str) -> str:
    return plain(name)[: parking_wire.LOT_CHARACTERS_MAX]
