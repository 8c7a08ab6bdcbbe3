"""The ETC stand-in as a whole: counters, services, pages, control routes, couriers of both wires.

Joins the parts; must not know rules. Made by the composition root, mounted by ``gateways.sandbox.application``.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from gateways.contract import Request
from gateways.etc import services
from gateways.etc.services import Service
from gateways.sandbox.courier import LOG, Courier
from gateways.sandbox.etc.api import Api
from gateways.sandbox.etc.centre import Centre
from gateways.sandbox.etc.clearing import Packages
from gateways.sandbox.etc.control import Control
from gateways.sandbox.etc.desk import Desk, EtcConfig, Going
from gateways.sandbox.etc.files import Files
from gateways.sandbox.etc.pages import Pages
from gateways.sandbox.etc.refunds import Refunds
from gateways.sandbox.etc.signer import Signer
from gateways.sandbox.etc.state import EtcStore
from gateways.sandbox.http import Route
from gateways.sandbox.shapes import Delivered, FaultKind, FaultPlan, MerchantIn, PaidOut, RefundedByHandOut
from gateways.sandbox.stand_in import Surroundings
from gateways.sandbox.store import Notice

SCHEDULE_SECONDS: Final = (5.0, 5.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 3600.0, 3600.0, 10_800.0, 21_600.0, 43_200.0)
"""Pauses between attempts of a notice [P]: three tries five seconds apart as on the province's line, then for a day."""
_TICK_SECONDS: Final = 0.5


class EtcStandIn:
    """A clearing party that behaves, and misbehaves as it is told. One thread at a time."""

    name = "etc"

    def __init__(self, around: Surroundings, config: EtcConfig) -> None:
        self.store = EtcStore(around.state_dir / f"{self.name}.sqlite", seed=around.seed)
        self.desk = Desk(around, config, self.store)
        self.packages = Packages(self.desk, tac_key=config.tac_key)
        self.refunds = Refunds(self.desk, self.packages)
        self.files = Files(self.desk, self.packages)
        self.signer = Signer(self.desk)
        self.courier = Courier(
            self.store, around, schedule_seconds=SCHEDULE_SECONDS, compose=self._compose, taken=self.signer.taken
        )
        self.centre = Centre(self.desk, self.packages)

    def routes(self) -> Sequence[Route]:
        return [
            *Api(self.desk, self.packages, self.refunds, self.files, self.signer).routes(),
            *Pages(self.desk, self.refunds).routes(),
            *Control(self.desk, self.packages, self.signer, self.wake).routes(),
        ]

    # Steering

    def plan(self) -> FaultPlan:
        return self.store.plan()

    def set_plan(self, plan: FaultPlan) -> None:
        """Take a fault plan; a rotation in it is carried out at once and does not stay."""
        for fault in plan.faults:
            if fault.kind is FaultKind.ROTATE_KEY:
                self.signer.rotate()
        self.store.set_plan(FaultPlan(faults=tuple(fault for fault in plan.faults if fault.kind is not FaultKind.ROTATE_KEY)))

    def name_merchants(self, merchants: Sequence[MerchantIn]) -> None:
        for merchant in merchants:
            self.store.name_merchant(merchant.merchant_no, merchant.name)

    def pay(self, order_no: str) -> PaidOut:
        with self.store.together():
            paid = self.desk.pay(order_no)
        self.wake()
        return paid

    def refund_by_hand(self, order_no: str, amount_fen: int | None) -> RefundedByHandOut:
        with self.store.together():
            return self.refunds.by_hand(order_no, amount_fen)

    # Sending

    async def deliver(self, limit: int) -> Delivered:
        self.tick()
        await self.centre.send_due(limit)
        return await self.courier.deliver(limit)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.courier.run())
            group.create_task(self._ticking())
            group.create_task(self.centre.run())

    def wake(self) -> None:
        self.courier.wake()

    async def close(self) -> None:
        await self.centre.close()
        await self.courier.close()
        self.store.close()

    def tick(self) -> None:
        """Do what time brings: decide charges, clear the days that are over."""
        with self.store.together():
            self.desk.decide_due()
            self.packages.clear_due()

    async def _ticking(self) -> None:
        while True:
            try:
                self.tick()
            except Exception:
                LOG.exception("deciding and clearing failed; it goes on after a rest")
            await asyncio.sleep(_TICK_SECONDS)

    def _compose(self, notice: Notice, _attempt: int, touched: frozenset[FaultKind]) -> Request:
        going = msgspec.json.decode(notice.details, type=Going)
        body = going.body
        if going.service == Service.PLATE_PAY_NOTIFY:
            body = self.desk.notice_body(going.order_no, touched)
        elif going.service == Service.REFUND_RESULT:
            refund = self.store.refund_by_number(going.refund_no)
            assert refund is not None, "a notice of a refund belongs to one"
            body = services.body_of(self.refunds.standing(refund))
        assert body is not None, "a notice tells something"
        msg_id = "0" + notice.notice_id.partition("#")[0]
        return self.signer.notice(body, going.service, msg_id=msg_id, touched=touched)
