"""Alipay's stand-in: the desks with their routes, the courier of notices, and what is done by hand.

Joins the parts; must not know rules. Given to the stand-ins' application by the composition root and by tests.
"""

from collections.abc import Sequence
from typing import Final

from gateways.sandbox.alipay.api import Api
from gateways.sandbox.alipay.bills import Bills
from gateways.sandbox.alipay.cashier import Cashier
from gateways.sandbox.alipay.console import Console
from gateways.sandbox.alipay.desk import Desk, Refusal, instant
from gateways.sandbox.alipay.notices import SCHEDULE_SECONDS, Notices, taken
from gateways.sandbox.alipay.parking import Parking
from gateways.sandbox.alipay.refunds import Refunds
from gateways.sandbox.alipay.signing import AlipayConfig
from gateways.sandbox.courier import Courier
from gateways.sandbox.http import Route
from gateways.sandbox.shapes import Delivered, FaultPlan, MerchantIn, PaidOut, RefundedByHandOut
from gateways.sandbox.stand_in import HandRefused, Surroundings
from gateways.sandbox.store import Order

NAME: Final = "alipay"


class AlipayStandIn:
    """The stand-in; see ``gateways.sandbox.stand_in.StandIn``. State lies in ``alipay.sqlite``."""

    name: str = NAME

    def __init__(self, around: Surroundings, config: AlipayConfig) -> None:
        self.desk = Desk(around, config)
        self.refunds, self.parking = Refunds(self.desk), Parking(self.desk)
        self.courier = Courier(
            self.desk.store, around, schedule_seconds=SCHEDULE_SECONDS, compose=Notices(self.desk).compose, taken=taken
        )  # fmt: skip

    def routes(self) -> Sequence[Route]:
        return [
            *Api(self.desk, self.refunds, self.parking, Bills(self.desk), self.wake).routes(),
            *Cashier(self.desk, self.parking, self.wake).routes(),
            *Console(self.desk, self.refunds).routes(),
        ]

    def plan(self) -> FaultPlan:
        return self.desk.store.plan()

    def set_plan(self, plan: FaultPlan) -> None:
        self.desk.set_plan(plan)

    def name_merchants(self, merchants: Sequence[MerchantIn]) -> None:
        for merchant in merchants:
            self.desk.store.name_merchant(merchant.merchant_no, merchant.name)

    def pay(self, order_no: str) -> PaidOut:
        """Pay a trade; a code is scanned first. A browser's trade is there only once its browser has come."""
        order = self.desk.store.order_by_number(order_no)
        try:
            order = order or self.desk.scan_number(order_no)
            paid = self.desk.pay(_there(order))
        except Refusal as refusal:
            raise HandRefused(f"{refusal.sub_code}: {refusal}") from None
        self.wake()
        return paid

    def refund_by_hand(self, order_no: str, amount_fen: int | None) -> RefundedByHandOut:
        try:
            refund = self.refunds.by_hand(_there(self.desk.store.order_by_number(order_no)), amount_fen)
        except Refusal as refusal:
            raise HandRefused(f"{refusal.sub_code}: {refusal}") from None
        return RefundedByHandOut(
            order_no=refund.order_no,
            refund_no=refund.refund_no,
            channel_refund_no=refund.channel_refund_no,
            amount_fen=refund.refund_fen,
            accepted_at=instant(refund.accepted_at),
        )

    async def deliver(self, limit: int) -> Delivered:
        return await self.courier.deliver(limit)

    async def run(self) -> None:
        await self.courier.run()

    def wake(self) -> None:
        self.courier.wake()

    async def close(self) -> None:
        await self.courier.close()
        self.desk.store.close()


def _there(order: Order | None) -> Order:
    if order is None:
        raise HandRefused("there is no such trade, or nobody has come to it yet")
    return order
