"""The channel's counter for the parking service: plates, entries, deductions by the channel's rules.

Knows the rules and the state; must not know HTTP or signatures of requests. Called by the sandbox's routes.
Source: docs/CHANNELS.md, WeChat Pay, parking.
"""

from typing import Final

import msgspec
from msgspec import Struct

from gateways.sandbox.chance import digits
from gateways.sandbox.shapes import ON_NOTICE, Fault, FaultKind
from gateways.sandbox.wechat.combined import OTHER_MERCHANT
from gateways.sandbox.wechat.desk import ApiRefusal, Desk, instant
from gateways.sandbox.wechat.parking_shapes import (
    DeductAmountOut,
    DeductIn,
    DeductionOut,
    DeductPayerOut,
    EntryIn,
    EntryNoticeOut,
    EntryOut,
    ParkingInfoIn,
    PlateIn,
    ServiceOut,
)
from gateways.sandbox.wechat.parking_state import Deduction, Parking, Plate
from gateways.sandbox.wechat.signing import rfc3339
from gateways.sandbox.wechat.state import Order
from gateways.wechat import wire
from ledger.clock import microseconds

PARKING: Final = "PARKING"
ENTRY_CHANGED: Final = "VEHICLE.ENTRANCE_STATE_CHANGE"
REPAID_SECONDS: Final = 3600.0
"""How long after an advance its payer gives it back."""
_MICRO: Final = 1_000_000
_BLOCKED_WORDS: Final = {"PAUSE": "PAUSE", "OVERDUE": "OVERDUE", "OUT_SERVICE": "REMOVE"}
"""A plate's state → why its entry is blocked, as the notice spells it; the entry call itself says OUT_SERVICE."""


class Deducted(Struct, frozen=True):
    """A deduction that was asked for, and the faults that meet the answer."""

    order: Order
    faults: tuple[Fault, ...]


class ParkingService:
    """The counter beside a desk. One thread at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._kept = desk.state.parking

    # Plates

    def open(self, wanted: PlateIn) -> None:
        """Open, pause or end the service for a plate; a stay under way is told of it."""
        now, before = self._desk.now(), self._kept.plate(wanted.plate_number, wanted.plate_color)
        with self._desk.state.together():
            self._kept.put_plate(
                Plate(
                    plate=wanted.plate_number,
                    color=wanted.plate_color,
                    openid=wanted.openid,
                    state=wanted.state,
                    pays=wanted.pays,
                    opened_at=now if before is None else before.opened_at,
                )
            )
            live = self._kept.live_parking(wanted.plate_number, wanted.plate_color)
            if live is not None:
                self._change(live, wanted.state, now)

    def _change(self, live: Parking, plate_state: str, now: int) -> None:
        state, reason = ("NORMAL", None) if plate_state == "NORMAL" else ("BLOCKED", plate_state)
        if (state, reason) == (live.state, live.reason):
            return
        self._kept.set_parking(live.parking_id, state=state, reason=reason, at=now)
        hit = self._desk.faults(ON_NOTICE, live.out_parking_no)
        told = wire.encode(self._entry_told(live.parking_id))
        self._desk.put_notices(live.parking_id, hit, event=ENTRY_CHANGED, due_at=now, told=told)

    def standing(self, plate: str, color: str, openid: str) -> Plate | None:
        """Return a plate that this payer opened the service for, whatever became of it; None when there is no such."""
        kept = self._kept.plate(plate, color)
        return kept if kept is not None and kept.openid == openid else None

    def find_service(self, plate: str, color: str, openid: str) -> ServiceOut:
        """Return whether a plate may be deducted. A plate never opened, or another payer's, is out of service."""
        kept = self._kept.plate(plate, color)
        if kept is None or kept.openid != openid:
            return ServiceOut(plate_number=plate, plate_color=color, openid=openid, service_state="OUT_SERVICE")
        state = "PAUSE" if kept.state == "OVERDUE" else kept.state
        opened_at = rfc3339(instant(kept.opened_at))
        return ServiceOut(plate_number=plate, plate_color=color, openid=openid, service_state=state, service_open_time=opened_at)

    # Entries

    def enter(self, wanted: EntryIn, content: bytes) -> EntryOut:
        """Take up a car's entry; the identical call is answered as before. Raises ApiRefusal INVALID_REQUEST."""
        known = self._kept.parking_by_number(wanted.sub_mchid, wanted.out_parking_no)
        if known is None:
            plate = self._kept.plate(wanted.plate_number, wanted.plate_color)
            state = "OUT_SERVICE" if plate is None else plate.state
            now = self._desk.now()
            number = digits(20, self._desk.seed, "parking", wanted.sub_mchid, wanted.out_parking_no)
            known = Parking(
                parking_id=f"5K{number}",
                merchant_no=wanted.sub_mchid,
                out_parking_no=wanted.out_parking_no,
                plate=wanted.plate_number,
                color=wanted.plate_color,
                notify_url=wanted.notify_url,
                start_time=rfc3339(wanted.start_time),
                lot_name=wanted.parking_name,
                free_duration=wanted.free_duration,
                content=content,
                state="NORMAL" if state == "NORMAL" else "BLOCKED",
                reason=None if state == "NORMAL" else state,
                live=1,
                changed_at=now,
            )
            with self._desk.state.together():
                self._kept.add_parking(known)
        elif known.content != content:
            raise ApiRefusal(400, "INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")
        return EntryOut(
            id=known.parking_id,
            out_parking_no=known.out_parking_no,
            plate_number=known.plate,
            plate_color=known.color,
            start_time=known.start_time,
            parking_name=known.lot_name,
            free_duration=known.free_duration,
            state=known.state,
            block_reason=known.reason,
        )

    def entry_notice(
        self, parking_id: str, told: bytes | None, altered: frozenset[FaultKind]
    ) -> tuple[str, EntryNoticeOut]:  # fmt: skip
        """Return where a notice of an entry goes, and what it tells; ``altered`` are its faults."""
        kept = self._kept.parking(parking_id)
        assert kept is not None, "a notice belongs to an entry"
        true = self._entry_told(parking_id) if told is None else msgspec.json.decode(told, type=EntryNoticeOut)
        merchant_no = OTHER_MERCHANT if FaultKind.OTHER_MERCHANT in altered else true.sub_mchid
        return kept.notify_url, msgspec.structs.replace(true, sub_mchid=merchant_no)

    def _entry_told(self, parking_id: str) -> EntryNoticeOut:
        """Return what is told of an entry as it stands now."""
        kept = self._kept.parking(parking_id)
        assert kept is not None, "it has just changed"
        return EntryNoticeOut(
            sp_mchid=self._desk.config.provider_no,
            sub_mchid=kept.merchant_no,
            parking_id=kept.parking_id,
            out_parking_no=kept.out_parking_no,
            plate_number=kept.plate,
            plate_color=kept.color,
            start_time=kept.start_time,
            parking_name=kept.lot_name,
            free_duration=kept.free_duration,
            parking_state=kept.state,
            blocked_state_description=_BLOCKED_WORDS.get(kept.reason or ""),
            state_update_time=rfc3339(instant(kept.changed_at)),
        )

    # Deductions

    def deduct(self, wanted: DeductIn, content: bytes) -> Deducted:
        """Take on a deduction, or return the one that the identical call made. Raises ApiRefusal INVALID_REQUEST, PARAM_ERROR."""
        desk, number = self._desk, wanted.out_trade_no
        with desk.state.together():
            known = desk.state.order(number)
            if known is None:
                self._accept(wanted, content)
            elif known.content != content:
                raise ApiRefusal(400, "INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")
            hit = desk.faults({FaultKind.UNKNOWN}, number)
        return Deducted(order=self.find(number, wanted.sub_mchid), faults=hit)

    def _accept(self, wanted: DeductIn, content: bytes) -> None:
        desk, now = self._desk, self._desk.now()
        if wanted.appid != desk.config.app_id:
            raise ApiRefusal(400, "APPID_MCHID_NOT_MATCH", "appid与商户号不匹配")
        entry, info = self._entry(wanted), wanted.parking_info
        plate = self._kept.plate(entry.plate, entry.color)
        if plate is None or plate.state != "NORMAL" or entry.state != "NORMAL":
            raise ApiRefusal(400, "INVALID_REQUEST", "车辆当前状态不可扣费")
        desk.state.add_order(
            Order(
                order_no=wanted.out_trade_no,
                merchant_no=wanted.sub_mchid,
                app_id=wanted.appid,
                sub_app_id=wanted.sub_appid,
                description=wanted.description,
                attach=wanted.attach,
                amount_fen=wanted.amount.total,
                openid=plate.openid,
                notify_url=wanted.notify_url,
                content=content,
                expires_at=now,
                created_at=now,
                state="ACCEPTED",
                trade_type=PARKING,
            )
        )
        self._kept.use_up(entry.parking_id)
        self._promise(wanted.out_trade_no, plate, info, now)

    def _entry(self, wanted: DeductIn) -> Parking:
        """Return the live entry that the deduction is for. Raises ApiRefusal."""
        info, entry = wanted.parking_info, self._kept.parking(wanted.parking_info.parking_id)
        if entry is None or not entry.live or entry.merchant_no != wanted.sub_mchid:
            raise ApiRefusal(400, "INVALID_REQUEST", "停车入场ID不存在或已失效")
        same = (info.plate_number, info.plate_color, info.parking_name) == (entry.plate, entry.color, entry.lot_name)
        if not same or rfc3339(info.start_time) != entry.start_time:
            raise ApiRefusal(400, "INVALID_REQUEST", "停车信息与入场信息不一致")
        if info.end_time <= info.start_time or microseconds(info.end_time) > self._desk.now():
            raise ApiRefusal(400, "PARAM_ERROR", "end_time不正确")
        return entry

    def _promise(self, order_no: str, plate: Plate, info: ParkingInfoIn, now: int) -> None:
        """Settle how the deduction ends and put its notices on the way."""
        desk, factor = self._desk, self._desk.config.time_factor
        ends, ends_at = "PAY_FAIL" if plate.pays == "never" else "SUCCESS", now + int(desk.config.deduct_seconds / factor * _MICRO)
        repaid_at = ends_at + int(REPAID_SECONDS / factor * _MICRO) if plate.pays == "later" else None
        self._kept.add_deduction(
            Deduction(
                order_no=order_no,
                parking_id=info.parking_id,
                details=msgspec.json.encode(info),
                ends=ends,
                advanced=int(plate.pays == "later"),
                ends_at=ends_at,
                repaid_at=repaid_at,
            )
        )
        event = "TRANSACTION.SUCCESS" if ends == "SUCCESS" else "TRANSACTION.FAIL"
        desk.put_notices(order_no, desk.faults(ON_NOTICE, order_no), event=event, due_at=ends_at)
        if repaid_at is not None:
            desk.put_notices(order_no, (), event="TRANSACTION.PAY_BACK", due_at=repaid_at)

    def find(self, order_no: str, merchant_no: str) -> Order:
        """Return a deduction of a merchant. Raises ApiRefusal ORDER_NOT_EXIST."""
        order = self._desk.find(order_no, merchant_no)
        if order.trade_type != PARKING:
            raise ApiRefusal(404, "ORDER_NOT_EXIST", "订单不存在")
        return order

    def told(self, order: Order, altered: frozenset[FaultKind] = frozenset()) -> DeductionOut:
        """Return what the deduction call and the query answer now and the notice tells; ``altered`` are faults of a notice."""
        kept = self._kept.deduction(order.order_no)
        assert kept is not None, "a deduction has a stay"
        paid = order.state == "SUCCESS"
        amount_fen = order.amount_fen + (FaultKind.WRONG_AMOUNT in altered)
        repaid = None
        if paid and kept.repaid_at is not None:
            repaid = "Y" if kept.repaid_at <= self._desk.now() else "N"
        return DeductionOut(
            appid=order.app_id,
            sub_appid=order.sub_app_id,
            sp_mchid=self._desk.config.provider_no,
            sub_mchid=OTHER_MERCHANT if FaultKind.OTHER_MERCHANT in altered else order.merchant_no,
            description=order.description,
            create_time=rfc3339(instant(order.created_at)),
            out_trade_no=order.order_no,
            transaction_id=order.trade_no,
            trade_state=self._desk.told(order).trade_state if paid else order.state,
            trade_state_description={"ACCEPTED": "已受理", "PAY_FAIL": "扣款失败"}.get(order.state, "支付成功"),
            success_time=rfc3339(instant(order.paid_at or 0)) if paid else None,
            bank_type=("BPA" if kept.advanced else "OTHERS") if paid else None,
            user_repaid=repaid,
            attach=order.attach,
            trade_scene=PARKING,
            parking_info=msgspec.json.decode(kept.details, type=ParkingInfoIn),
            payer=DeductPayerOut(openid=order.openid),
            amount=DeductAmountOut(total=amount_fen, currency=wire.CURRENCY, payer_total=amount_fen if paid else None),
        )
