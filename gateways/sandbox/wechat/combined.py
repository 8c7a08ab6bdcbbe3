"""The channel's counter for combined orders: several merchants paid in one act, all of them or none.

Knows the rules and the state; must not know HTTP or signatures of requests. Called by the sandbox's routes.
Source: docs/CHANNELS.md, WeChat Pay, combined orders.
"""

from fnmatch import fnmatchcase
from typing import Final

from msgspec import structs

from gateways.sandbox.shapes import ON_NOTICE, Fault, FaultKind, PaidOut
from gateways.sandbox.wechat.desk import ApiRefusal, Desk, Ordered, check_scene, instant
from gateways.sandbox.wechat.shapes import (
    CombinedCloseIn,
    CombinedIn,
    CombinedOut,
    SubAmountOut,
    SubOrderIn,
    SubOrderOut,
    TradeType,
)
from gateways.sandbox.wechat.signing import rfc3339
from gateways.sandbox.wechat.state import CombinedOrder, Order
from gateways.wechat import wire

OTHER_MERCHANT: Final = "1699999999"


class Combined:
    """The counter beside a desk. One thread at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def order(self, wanted: CombinedIn, content: bytes, trade_type: TradeType) -> Ordered:
        """Make a combined order with its legs, or give a fresh handle for the identical one.

        Raises ApiRefusal: ORDERPAID, ORDER_CLOSED, INVALID_REQUEST, OUT_TRADE_NO_USED (a leg's number), PARAM_ERROR.
        """
        desk, number = self._desk, wanted.combine_out_trade_no
        with desk.state.together():
            known = desk.state.combined(number)
            if known is None:
                self._add(wanted, content, trade_type)
            elif known.trade_type != trade_type:
                raise ApiRefusal(403, "OUT_TRADE_NO_USED", "合单商户订单号重复")
            else:
                desk.check_repeat(known, content)
            prepay_id = desk.new_handle(number, trade_type, combined=True)
            hit = desk.faults({FaultKind.UNKNOWN}, number)
        return Ordered(prepay_id=prepay_id, faults=hit)

    def _add(self, wanted: CombinedIn, content: bytes, trade_type: TradeType) -> None:
        desk = self._desk
        self._check(wanted, trade_type)
        openid = "" if wanted.combine_payer_info is None or trade_type != "JSAPI" else wanted.combine_payer_info.openid
        combined = CombinedOrder(
            combined_no=wanted.combine_out_trade_no,
            app_id=wanted.combine_appid,
            openid=openid,
            notify_url=wanted.notify_url,
            content=content,
            expires_at=desk.expires_at(wanted.time_expire),
            created_at=desk.now(),
            trade_type=trade_type,
        )
        desk.state.add_combined(combined)
        for leg in wanted.sub_orders:
            desk.state.add_order(_leg(combined, leg))

    def _check(self, wanted: CombinedIn, trade_type: TradeType) -> None:
        config, numbers = self._desk.config, [leg.out_trade_no for leg in wanted.sub_orders]
        if wanted.combine_appid != config.app_id:
            raise ApiRefusal(400, "APPID_MCHID_NOT_MATCH", "combine_appid与combine_mchid不匹配")
        if any(leg.mchid != config.provider_no or leg.sub_mchid == config.provider_no for leg in wanted.sub_orders):
            raise ApiRefusal(400, "PARAM_ERROR", "子单mchid或sub_mchid不正确")
        if len(set(numbers)) != len(numbers):
            raise ApiRefusal(400, "PARAM_ERROR", "子单商户订单号重复")
        if any(self._desk.state.order(number) is not None for number in numbers):
            raise ApiRefusal(403, "OUT_TRADE_NO_USED", "子单商户订单号重复")
        if trade_type == "JSAPI" and wanted.combine_payer_info is None:
            raise ApiRefusal(400, "PARAM_ERROR", "combine_payer_info缺少openid")
        if trade_type == "MWEB":
            check_scene(wanted.scene_info)

    def find(self, combined_no: str) -> CombinedOrder:
        """Return a combined order. Raises ApiRefusal ORDER_NOT_EXIST."""
        known = self._desk.state.combined(combined_no)
        if known is None:
            raise ApiRefusal(404, "ORDER_NOT_EXIST", "订单不存在")
        return known

    def close(self, combined_no: str, wanted: CombinedCloseIn) -> None:
        """Close a combined order. Repeatable. Raises ApiRefusal: ORDER_NOT_EXIST, ORDER_PAID, PARAM_ERROR (not its legs)."""
        known, provider_no = self.find(combined_no), self._desk.config.provider_no
        legs = {(provider_no, leg.merchant_no, leg.order_no) for leg in self._desk.state.legs(combined_no)}
        named = [(leg.mchid, leg.sub_mchid, leg.out_trade_no) for leg in wanted.sub_orders]
        if wanted.combine_appid != known.app_id or set(named) != legs or len(named) != len(legs):
            raise ApiRefusal(400, "PARAM_ERROR", "子单与下单时不一致")
        if known.state == "SUCCESS":
            raise ApiRefusal(400, "ORDER_PAID", "该订单已支付")
        with self._desk.state.together():
            self._desk.state.close_combined(combined_no)

    def pay(self, combined: CombinedOrder, openid: str | None = None) -> PaidOut:
        """Take the payer's money for all legs at once and put the one notice on the way. Raises ApiRefusal as ``Desk.pay`` does."""
        desk, number = self._desk, combined.combined_no
        payer, trade_no = desk.check_payable(combined, openid), desk.trade_no("combined", number)
        legs = desk.state.legs(number)
        with desk.state.together():
            taken = [desk.take(leg, payer) for leg in legs]
            desk.state.set_combined_paid(number, trade_no=trade_no, paid_at=desk.now(), openid=payer)
            desk.put_notices(number, self._faults(number, legs), combined_no=number)
        total_fen = sum(one.amount_fen for one in taken)
        return PaidOut(order_no=number, trade_no=trade_no, amount_fen=total_fen, paid_at=instant(desk.now()))

    def _faults(self, number: str, legs: list[Order]) -> tuple[Fault, ...]:
        """Return the faults that meet the act by its own number or by a leg's; each once."""
        hit = list(self._desk.faults(ON_NOTICE, number))
        for leg in legs:
            kinds = ON_NOTICE - {fault.kind for fault in hit}
            hit += self._desk.faults(kinds, leg.order_no)
        return tuple(hit)

    def told(self, combined: CombinedOrder, altered: dict[str, frozenset[FaultKind]] | None = None) -> CombinedOut:
        """Return what the query answers and the notice tells; ``altered`` are faults by leg."""
        legs = self._desk.state.legs(combined.combined_no)
        return CombinedOut(
            combine_appid=combined.app_id,
            combine_mchid=self._desk.config.provider_no,
            combine_out_trade_no=combined.combined_no,
            combine_transaction_id=combined.trade_no,
            combine_payer_info=wire.CombinedPayer(openid=combined.openid) if combined.openid else None,
            sub_orders=tuple(self._leg_told(leg, (altered or {}).get(leg.order_no, frozenset())) for leg in legs),
        )

    def _leg_told(self, leg: Order, altered: frozenset[FaultKind]) -> SubOrderOut:
        desk, amount_fen = self._desk, leg.amount_fen + (FaultKind.WRONG_AMOUNT in altered)
        told = SubOrderOut(
            mchid=desk.config.provider_no,
            sub_mchid=OTHER_MERCHANT if FaultKind.OTHER_MERCHANT in altered else leg.merchant_no,
            sub_appid=leg.sub_app_id,
            out_trade_no=leg.order_no,
            trade_state=leg.state,
            attach=leg.attach or "",
            amount=SubAmountOut(total_amount=amount_fen, payer_amount=amount_fen),
        )
        if leg.state != "SUCCESS":
            return told
        return structs.replace(
            told,
            trade_state=desk.told(leg).trade_state,
            transaction_id=leg.trade_no,
            trade_type=leg.trade_type,
            bank_type="OTHERS",
            success_time=rfc3339(instant(leg.paid_at or 0)),
        )

    def notice(self, combined: CombinedOrder, faults: tuple[Fault, ...], touched: frozenset[FaultKind]) -> CombinedOut:
        """Return what a notice tells: all paid, as it was then. An altered leg is the first that its fault's pattern fits."""
        legs = self._desk.state.legs(combined.combined_no)
        altered: dict[str, frozenset[FaultKind]] = {}
        for fault in faults:
            if fault.kind in touched and fault.kind in (FaultKind.WRONG_AMOUNT, FaultKind.OTHER_MERCHANT):
                fitting = [leg.order_no for leg in legs if fnmatchcase(leg.order_no, fault.order_like)]
                leg_no = fitting[0] if fitting else legs[0].order_no
                altered[leg_no] = altered.get(leg_no, frozenset()) | {fault.kind}
        told = self.told(combined, altered)
        return structs.replace(told, sub_orders=tuple(structs.replace(leg, trade_state="SUCCESS") for leg in told.sub_orders))


def _leg(combined: CombinedOrder, leg: SubOrderIn) -> Order:
    return Order(
        order_no=leg.out_trade_no,
        merchant_no=leg.sub_mchid,
        app_id=combined.app_id,
        sub_app_id=leg.sub_appid,
        description=leg.description,
        attach=leg.attach,
        amount_fen=leg.amount.total_amount,
        openid=combined.openid,
        notify_url=combined.notify_url,
        content=combined.content,
        expires_at=combined.expires_at,
        created_at=combined.created_at,
        trade_type=combined.trade_type,
        combined_no=combined.combined_no,
    )
