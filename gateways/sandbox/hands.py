"""Control routes of one stand-in: its faults, delivery, merchants, paying and refunding by hand. Not part of any channel's wire.

Knows the control forms; must not know any channel. Mounted by the application once per stand-in; called by demo, tests, simulation.
"""

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from gateways.contract import Answer
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.shapes import DeliverIn, FaultPlan, MerchantsIn, PayIn, RefundByHandIn, RefusedOut
from gateways.sandbox.stand_in import HandRefused, StandIn

T = TypeVar("T")


class Hands:
    """The control routes below ``/_control/{name}`` over one stand-in."""

    def __init__(self, stand_in: StandIn, *, manual: bool) -> None:
        self._stand_in, self._manual = stand_in, manual

    def routes(self) -> list[Route]:
        base = f"/_control/{self._stand_in.name}"
        return [
            route("GET", f"{base}/faults", lambda _incoming, _found: said(self._stand_in.plan())),
            route("POST", f"{base}/faults", _read(FaultPlan, self._set_faults)),
            route("POST", f"{base}/pay", _read(PayIn, self._pay)),
            route("POST", f"{base}/refund", _read(RefundByHandIn, self._refund)),
            route("POST", f"{base}/merchants", _read(MerchantsIn, self._name_merchants)),
            route("POST", f"{base}/deliver", self._deliver),
        ]

    def _set_faults(self, plan: FaultPlan) -> Reply:
        self._stand_in.set_plan(plan)
        return said(self._stand_in.plan())

    def _pay(self, wanted: PayIn) -> Reply:
        if wanted.order_no is None:
            return refused("name the order: order_no", status=400)
        return said(self._stand_in.pay(wanted.order_no))

    def _refund(self, wanted: RefundByHandIn) -> Reply:
        return said(self._stand_in.refund_by_hand(wanted.order_no, wanted.amount_fen))

    def _name_merchants(self, wanted: MerchantsIn) -> Reply:
        self._stand_in.name_merchants(wanted.merchants)
        return Reply(answer=Answer(status=204, headers={}, body=b""))

    async def _deliver(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        try:
            wanted = msgspec.json.decode(incoming.body, type=DeliverIn) if incoming.body else DeliverIn()
        except msgspec.DecodeError as wrong:
            return refused(str(wrong), status=400)
        if not self._manual:
            return refused("notices are sent by themselves here")
        return said(await self._stand_in.deliver(wanted.limit))


def _read(kind: type[T], handler: Callable[[T], Reply]) -> Callable[[Incoming, re.Match[str]], Reply]:
    def read(incoming: Incoming, _found: re.Match[str]) -> Reply:
        try:
            return handler(msgspec.json.decode(incoming.body, type=kind))
        except msgspec.DecodeError as wrong:
            return refused(str(wrong), status=400)
        except HandRefused as not_done:
            return refused(str(not_done))

    return read


def said(value: object) -> Reply:
    """Answer 200 with a value as JSON."""
    return Reply(answer=Answer(status=200, headers={"content-type": "application/json"}, body=msgspec.json.encode(value)))


def refused(reason: str, *, status: int = 409) -> Reply:
    """Answer that it cannot be done, and why."""
    body = msgspec.json.encode(RefusedOut(reason=reason))
    return Reply(answer=Answer(status=status, headers={"content-type": "application/json"}, body=body))
