"""UnionPay's stand-in as the application sees it: the counters, the wire, the pages and the courier in one.

Joins the parts; must not know rules. Given to ``gateways.sandbox.server`` by whoever starts the stand-ins.
"""

from collections.abc import Sequence

from gateways.contract import Request
from gateways.sandbox.courier import Courier
from gateways.sandbox.http import Route
from gateways.sandbox.shapes import Delivered, FaultKind, FaultPlan, MerchantIn, PaidOut, RefundedByHandOut
from gateways.sandbox.stand_in import HandRefused, Surroundings
from gateways.sandbox.store import Notice
from gateways.sandbox.unionpay import notices
from gateways.sandbox.unionpay.api import Api
from gateways.sandbox.unionpay.cashier import Cashier
from gateways.sandbox.unionpay.clearing import Files
from gateways.sandbox.unionpay.console import Console
from gateways.sandbox.unionpay.desk import Desk, Refusal, instant
from gateways.sandbox.unionpay.refunds import Refunds
from gateways.sandbox.unionpay.signing import Members, Signer, UnionPayConfig

_SIGNER = "signer"


class UnionPayStandIn:
    """One channel's stand-in; see ``gateways.sandbox.stand_in.StandIn`` for each method's effect.

    The gateway lies at the application's own address (``gateway_url`` is ``base_url``), the file host at ``/unionpay/file``.
    """

    name = "unionpay"

    def __init__(self, around: Surroundings, config: UnionPayConfig) -> None:
        self.desk = Desk(around, config)
        self.refunds = Refunds(self.desk)
        self.files = Files(self.desk)
        self._signers = [issued.signer() for issued in config.signers]
        self.courier = Courier(
            self.desk.store, around, schedule_seconds=notices.SCHEDULE_SECONDS, compose=self._compose, taken=notices.taken
        )
        api = Api(self.desk, self.refunds, self.files, Members(config), self.signer)
        api.sent = self.wake
        self._routes = [
            *api.routes(),
            *Cashier(self.desk, api, self.signer, self.wake).routes(),
            *Console(self.desk, self.refunds, self.files).routes(),
        ]

    def signer(self) -> Signer:
        """Return what the channel signs with now."""
        return self._signers[int(self.desk.store.remark(_SIGNER) or b"0") % len(self._signers)]

    def rotate(self) -> None:
        """Sign with the next of the channel's certificates from now on; it comes with each message, so nobody is told."""
        number = int(self.desk.store.remark(_SIGNER) or b"0") + 1
        self.desk.store.set_remark(_SIGNER, str(number % len(self._signers)).encode())

    def _compose(self, notice: Notice, _attempt: int, touched: frozenset[FaultKind]) -> Request:
        return notices.compose(self.desk, self.signer(), notice, touched)

    # What every stand-in has

    def routes(self) -> Sequence[Route]:
        return self._routes

    def plan(self) -> FaultPlan:
        return self.desk.store.plan()

    def set_plan(self, plan: FaultPlan) -> None:
        """Take a fault plan; a rotation in it is carried out at once and does not stay."""
        for fault in plan.faults:
            if fault.kind is FaultKind.ROTATE_KEY:
                self.rotate()
        left = tuple(fault for fault in plan.faults if fault.kind is not FaultKind.ROTATE_KEY)
        self.desk.store.set_plan(FaultPlan(faults=left))

    def name_merchants(self, merchants: Sequence[MerchantIn]) -> None:
        for merchant in merchants:
            self.desk.store.name_merchant(merchant.merchant_no, merchant.name)

    def pay(self, order_no: str) -> PaidOut:
        """Pay an order that has arrived here: a browser's only after its form was posted. Raises HandRefused."""
        order = self.desk.store.order_by_number(order_no)
        if order is None:
            raise HandRefused("there is no such order; a browser's order is here only after its form was posted")
        try:
            paid = self.desk.pay(order)
        except Refusal as refusal:
            raise HandRefused(f"{refusal.code}: {refusal}") from None
        self.wake()
        return paid

    def refund_by_hand(self, order_no: str, amount_fen: int | None) -> RefundedByHandOut:
        try:
            refund = self.refunds.by_hand(self.desk.store.order_by_number(order_no), amount_fen)
        except Refusal as refusal:
            raise HandRefused(f"{refusal.code}: {refusal}") from None
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
        self.desk.close()
