"""Routes that steer the stand-in: its clock, its faults, delivery, paying as a payer, refunding. Not part of the channel's wire.

Knows the control forms; must not know signatures. Mounted by the sandbox's application; called by demo, tests and simulation.
"""

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from gateways.contract import Answer
from gateways.sandbox.hands import refused, said
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.shapes import (
    ClockOut,
    DeliverIn,
    FaultPlan,
    MerchantOut,
    MerchantsIn,
    MerchantsOut,
    PayIn,
    RefundByHandIn,
    RefundedByHandOut,
    RotatedOut,
    SetClockIn,
)
from gateways.sandbox.wechat.combined import Combined
from gateways.sandbox.wechat.desk import ApiRefusal, Desk, instant
from gateways.sandbox.wechat.notify import Courier
from gateways.sandbox.wechat.refunds import Refunds
from ledger.clock import SetClock

T = TypeVar("T")


class Control:
    """The control routes over a desk, its refund counter and its courier."""

    def __init__(self, desk: Desk, refunds: Refunds, courier: Courier, wake: Callable[[], None]) -> None:
        self._desk = desk
        self._refunds = refunds
        self._combined = Combined(desk)
        self._courier = courier
        self._wake_all = wake

    def routes(self) -> list[Route]:
        """Return the routes of ``/_control``."""
        return [
            route("GET", "/_control/clock", self._clock),
            route("POST", "/_control/clock", _read(SetClockIn, self._set_clock)),
            route("GET", "/_control/faults", self._faults),
            route("POST", "/_control/faults", _read(FaultPlan, self._set_faults)),
            route("POST", "/_control/pay", _read(PayIn, self._pay)),
            route("POST", "/_control/refund", _read(RefundByHandIn, self._refund)),
            route("POST", "/_control/rotate", self._rotate),
            route("GET", "/_control/merchants", self._merchants),
            route("POST", "/_control/merchants", _read(MerchantsIn, self._name_merchants)),
            route("POST", "/_control/deliver", self._deliver),
        ]

    def _clock(self, _incoming: Incoming, _found: re.Match[str]) -> Reply:
        return said(ClockOut(now=self._desk.clock.now()))

    def _set_clock(self, wanted: SetClockIn) -> Reply:
        clock = self._desk.clock
        if not isinstance(clock, SetClock):
            return refused("the clock runs by itself")
        try:
            clock.set(wanted.at)
        except ValueError as wrong:
            return refused(str(wrong))
        self._wake_all()
        return said(ClockOut(now=clock.now()))

    def _faults(self, _incoming: Incoming, _found: re.Match[str]) -> Reply:
        return said(self._desk.plan())

    def _set_faults(self, plan: FaultPlan) -> Reply:
        self._desk.set_plan(plan)
        return said(self._desk.plan())

    def _pay(self, wanted: PayIn) -> Reply:
        """Pay an order; a leg, or a combined number, pays the whole combined order."""
        state, number, combined_no = self._desk.state, wanted.order_no, None
        if number is None and wanted.prepay_id is not None and (handle := state.handle(wanted.prepay_id)) is not None:
            number, combined_no = handle.order_no, handle.combined_no
        order = None if number is None else state.order(number)
        combined = state.combined(combined_no or (number if order is None else order.combined_no) or "")
        if order is None and combined is None:
            return refused("there is no such order", status=404)
        try:
            if combined is not None:
                paid = self._combined.pay(combined, wanted.openid)
            else:
                assert order is not None, "one of the two was found"
                paid = self._desk.pay(order, wanted.openid)
        except ApiRefusal as refusal:
            return refused(f"{refusal.code}: {refusal}")
        self._courier.wake()
        return said(paid)

    def _refund(self, wanted: RefundByHandIn) -> Reply:
        self._desk.settle()
        try:
            refund = self._refunds.by_hand(self._desk.state.order(wanted.order_no), wanted.amount_fen)
        except ApiRefusal as refusal:
            return refused(f"{refusal.code}: {refusal}", status=404 if refusal.status == 404 else 409)
        return said(
            RefundedByHandOut(
                order_no=refund.order_no,
                refund_no=refund.refund_no,
                channel_refund_no=refund.channel_refund_no,
                amount_fen=refund.refund_fen,
                accepted_at=instant(refund.accepted_at),
            )
        )

    def _rotate(self, _incoming: Incoming, _found: re.Match[str]) -> Reply:
        return said(RotatedOut(serial=self._desk.rotate()))

    def _merchants(self, _incoming: Incoming, _found: re.Match[str]) -> Reply:
        kept = self._desk.state.takings(self._desk.now())
        rows = [MerchantOut(**msgspec.structs.asdict(row), net_fen=row.net_fen) for row in kept]
        return said(MerchantsOut(merchants=rows))

    def _name_merchants(self, wanted: MerchantsIn) -> Reply:
        for merchant in wanted.merchants:
            self._desk.state.name_merchant(merchant.merchant_no, merchant.name)
        return Reply(answer=Answer(status=204, headers={}, body=b""))

    async def _deliver(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        try:
            wanted = msgspec.json.decode(incoming.body, type=DeliverIn) if incoming.body else DeliverIn()
        except msgspec.DecodeError as wrong:
            return refused(str(wrong), status=400)
        if not self._desk.config.manual:
            return refused("notices are sent by themselves here")
        return said(await self._courier.deliver(wanted.limit))


def _read(kind: type[T], handler: Callable[[T], Reply]) -> Callable[[Incoming, re.Match[str]], Reply]:
    def read(incoming: Incoming, _found: re.Match[str]) -> Reply:
        try:
            return handler(msgspec.json.decode(incoming.body, type=kind))
        except msgspec.DecodeError as wrong:
            return refused(str(wrong), status=400)

    return read
