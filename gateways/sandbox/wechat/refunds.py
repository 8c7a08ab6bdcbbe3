"""The channel's refund counter: refunds by the channel's rules, asked for by the provider or made in the merchant's console.

Knows the rules and the state; must not know HTTP or signatures of requests. Called by the sandbox's routes.
Source: docs/CHANNELS.md, WeChat Pay, refunds.
"""

from typing import Final

from msgspec import UNSET, Struct

from gateways.sandbox.chance import digits, hex_text
from gateways.sandbox.faults import FAILS_LATER_SECONDS, seconds_of
from gateways.sandbox.shapes import ON_REFUND, Fault, FaultKind
from gateways.sandbox.wechat.bill import fee_returned_fen
from gateways.sandbox.wechat.desk import ApiRefusal, Desk, instant
from gateways.sandbox.wechat.shapes import RefundAmountOut, RefundIn, RefundOut, RefundWord
from gateways.sandbox.wechat.signing import RECEIVED_ACCOUNT, RefundTold, rfc3339
from gateways.sandbox.wechat.state import Notice, Order, Refund
from gateways.wechat import wire
from ledger.clock import CHINA, microseconds

REFUNDS_MAX: Final = 50
"""Refunds of one order."""
REFUND_DAYS: Final = 365
CONSOLE: Final = "CONSOLE"
"""Begins the refund numbers that the merchant's console makes for itself."""
_MICRO: Final = 1_000_000


class Asked(Struct, frozen=True):
    """A refund that was asked for, and the faults that meet the answer."""

    refund: Refund
    faults: tuple[Fault, ...]


class Refunds:
    """The refund counter beside a desk. One thread at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # Asking

    def ask(self, wanted: RefundIn, content: bytes) -> Asked:
        """Make a refund, or return the one that the identical call made before, as it stands now.

        Raises ApiRefusal: INVALID_REQUEST (other content under the same number, more than is left), PARAM_ERROR (another total, too
        old, too many), RESOURCE_NOT_EXISTS, NOT_ENOUGH, FREQUENCY_LIMITED, SYSTEM_ERROR (a fault).
        """
        known = self._desk.state.refund(wanted.out_refund_no)
        if known is not None and known.content != content:
            raise ApiRefusal(400, "INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")
        order = self._order_of(wanted)
        if self._met(FaultKind.REFUND_ERROR, order, wanted.out_refund_no):
            raise ApiRefusal(500, "SYSTEM_ERROR", "系统异常，请用相同参数重新调用")
        refund = known or self._made(order, wanted, content)
        return Asked(refund=refund, faults=self._met(FaultKind.REFUND_UNKNOWN, order, refund.refund_no))

    def _met(self, kind: FaultKind, order: Order, refund_no: str) -> tuple[Fault, ...]:
        return self._desk.faults({kind}, order.order_no, refund_no=refund_no)

    def _order_of(self, wanted: RefundIn) -> Order:
        """Return the paid order that is meant. Raises ApiRefusal: PARAM_ERROR, RESOURCE_NOT_EXISTS."""
        state, order = self._desk.state, None
        if wanted.transaction_id is not None:
            order = state.order_by_trade(wanted.transaction_id)
        elif wanted.out_trade_no is not None:
            order = state.order(wanted.out_trade_no)
        else:
            raise ApiRefusal(400, "PARAM_ERROR", "缺少transaction_id或out_trade_no")
        paid = _paid(order)
        if paid.merchant_no != wanted.sub_mchid or wanted.out_trade_no not in (None, paid.order_no):
            raise _no_order()
        return paid

    def _made(self, order: Order, wanted: RefundIn, content: bytes) -> Refund:
        if wanted.reason is not None and len(wanted.reason.encode()) > wire.REFUND_REASON_BYTES_MAX:
            raise ApiRefusal(400, "PARAM_ERROR", "reason超过80字节")
        if wanted.amount.total != order.amount_fen:
            raise ApiRefusal(400, "PARAM_ERROR", "订单总金额与原订单不一致")
        self._check(order, wanted.amount.refund)
        if self._met(FaultKind.REFUND_NOT_ENOUGH, order, wanted.out_refund_no):
            raise _too_little()
        with self._desk.state.together():
            hit = self._desk.faults(ON_REFUND, order.order_no, refund_no=wanted.out_refund_no)
            refund = self._refund(
                order, wanted.amount.refund, refund_no=wanted.out_refund_no, content=content, notify_url=wanted.notify_url, hit=hit
            )
            self._desk.state.add_refund(refund)
            self._put_notices(refund, hit)
        return refund

    def by_hand(self, order: Order | None, refund_fen: int | None) -> Refund:
        """Make a refund as the merchant's console does: its own number, no notice. Without an amount all that is left.

        Raises ApiRefusal as ``ask`` does.
        """
        order = _paid(order)
        amount_fen = self.left_fen(order) if refund_fen is None else refund_fen
        self._check(order, amount_fen)
        count, at = len(self._desk.state.refunds_of(order.order_no)), self._desk.clock.now().astimezone(CHINA)
        refund_no = f"{CONSOLE}{at:%Y%m%d}{digits(12, self._desk.seed, 'console', order.order_no, count)}"
        refund = self._refund(order, amount_fen, refund_no=refund_no, content=None, notify_url=None, hit=())
        self._desk.state.add_refund(refund)
        return refund

    # The rules

    def _counted(self, order: Order) -> list[Refund]:
        """Return an order's refunds without the closed ones, whose money stayed."""
        now = self._desk.now()
        return [refund for refund in self._desk.state.refunds_of(order.order_no) if refund.word(now) != "CLOSED"]

    def left_fen(self, order: Order) -> int:
        """Return how much of a paid order can still be refunded."""
        return order.amount_fen - sum(refund.refund_fen for refund in self._counted(order))

    def _check(self, order: Order, refund_fen: int) -> None:
        now, counted = self._desk.now(), self._counted(order)
        if (order.paid_at or 0) + REFUND_DAYS * 86_400 * _MICRO < now:
            raise ApiRefusal(400, "PARAM_ERROR", "订单已超过365天的退款期限")
        if len(counted) >= REFUNDS_MAX:
            raise ApiRefusal(400, "PARAM_ERROR", "一笔订单的部分退款不能超过50次")
        if not 0 < refund_fen <= order.amount_fen - sum(refund.refund_fen for refund in counted):
            raise ApiRefusal(400, "INVALID_REQUEST", "申请退款金额超过订单可退金额")
        gap = int(self._desk.config.refund_gap_seconds / self._desk.config.time_factor * _MICRO)
        if counted and now - counted[-1].accepted_at < gap:
            raise ApiRefusal(429, "FREQUENCY_LIMITED", "同一笔订单的多次退款请间隔一分钟")
        if self._desk.config.check_balance and refund_fen - self._fee_returned_fen(order, refund_fen) > self._balance_fen(order):
            raise _too_little()

    def _balance_fen(self, order: Order) -> int:
        """Return what the merchant's account holds: what came in since midnight, when the takings before were settled."""
        midnight = self._desk.clock.now().astimezone(CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
        return self._desk.state.balance_fen(order.merchant_no, since=microseconds(midnight), at=self._desk.now())

    def _fee_returned_fen(self, order: Order, refund_fen: int) -> int:
        counted = self._counted(order)
        return fee_returned_fen(
            refund_fen,
            left_fen=order.amount_fen - sum(refund.refund_fen for refund in counted),
            fee_left_fen=(order.fee_fen or 0) - sum(refund.fee_fen for refund in counted),
        )

    def _refund(
        self,
        order: Order,
        refund_fen: int,
        *,
        refund_no: str,
        content: bytes | None,
        notify_url: str | None,
        hit: tuple[Fault, ...],
    ) -> Refund:
        now, factor = self._desk.now(), self._desk.config.time_factor
        chance, at = digits(17, self._desk.seed, "refund", refund_no), self._desk.clock.now().astimezone(CHINA)
        ends, ends_at = _end(hit), now + int(self._desk.config.refund_seconds / factor * _MICRO)
        fails = seconds_of(FaultKind.REFUND_FAILS_LATER, hit, otherwise=FAILS_LATER_SECONDS) if ends == "SUCCESS" else 0
        return Refund(
            refund_no=refund_no,
            channel_refund_no=f"5030{chance[:6]}{at:%Y%m%d}{chance[6:]}",
            order_no=order.order_no,
            merchant_no=order.merchant_no,
            refund_fen=refund_fen,
            fee_fen=self._fee_returned_fen(order, refund_fen),
            content=content,
            notify_url=notify_url,
            accepted_at=now,
            ends=ends,
            ends_at=ends_at,
            fails_at=ends_at + int(fails / factor * _MICRO) if fails else None,
        )

    def _put_notices(self, refund: Refund, hit: tuple[Fault, ...]) -> None:
        kinds = {fault.kind for fault in hit}
        if refund.notify_url is None or FaultKind.REFUND_NEVER in kinds:
            return
        late = int(seconds_of(FaultKind.REFUND_LATE, hit) / self._desk.config.time_factor * _MICRO)
        for copy in range(2 if FaultKind.REFUND_TWICE in kinds else 1):
            self._put(refund, refund.ends, refund.ends_at + late + copy * _MICRO, copy)
        if refund.fails_at is not None:
            self._put(refund, "ABNORMAL", refund.fails_at, 0)

    def _put(self, refund: Refund, word: RefundWord, due_at: int, copy: int) -> None:
        notice_id = f"EV-{hex_text(32, self._desk.seed, 'refund notice', refund.refund_no, word)}"
        self._desk.state.add_notice(
            Notice(
                notice_id=f"{notice_id}#{copy + 1}" if copy else notice_id,
                order_no=refund.order_no,
                due_at=due_at,
                attempts=0,
                state="waiting",
                faults=b"[]",
                refund_no=refund.refund_no,
                refund_word=word,
            )
        )

    # Telling

    def find(self, refund_no: str, merchant_no: str) -> Refund:
        """Return a refund of a merchant. Raises ApiRefusal RESOURCE_NOT_EXISTS."""
        refund = self._desk.state.refund(refund_no)
        if refund is None or refund.merchant_no != merchant_no:
            raise ApiRefusal(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
        return refund

    def told(self, refund: Refund) -> RefundOut:
        """Return what the refund call and the refund query answer now."""
        paid = self._desk.paid(self._desk.find(refund.order_no, refund.merchant_no))
        word = refund.word(self._desk.now())
        return RefundOut(
            refund_id=refund.channel_refund_no,
            out_refund_no=refund.refund_no,
            transaction_id=paid.trade_no,
            out_trade_no=paid.order_no,
            user_received_account=RECEIVED_ACCOUNT,
            create_time=rfc3339(instant(refund.accepted_at)),
            status=word,
            success_time=rfc3339(instant(refund.ends_at)) if word == "SUCCESS" else UNSET,
            amount=RefundAmountOut(
                total=paid.amount_fen,
                refund=refund.refund_fen,
                payer_total=paid.amount_fen,
                payer_refund=refund.refund_fen,
                settlement_refund=refund.refund_fen,
                settlement_total=paid.amount_fen,
                refund_fee=refund.fee_fen,
            ),
        )


def told_in_notice(desk: Desk, refund: Refund, word: RefundWord) -> RefundTold:
    """Return a refund as a notice tells of it: as it was when it became ``word``, however late the notice goes out."""
    paid = desk.paid(desk.find(refund.order_no, refund.merchant_no))
    failed_at = refund.fails_at if word == "ABNORMAL" else None
    return RefundTold(
        refund_no=refund.refund_no,
        channel_refund_no=refund.channel_refund_no,
        order_no=paid.order_no,
        trade_no=paid.trade_no,
        provider_no=paid.provider_no,
        merchant_no=paid.merchant_no,
        refund_fen=refund.refund_fen,
        total_fen=paid.amount_fen,
        happened_at=instant(refund.ends_at if failed_at is None else failed_at),
        word=word,
    )


def _end(hit: tuple[Fault, ...]) -> RefundWord:
    kinds = {fault.kind for fault in hit}
    if FaultKind.REFUND_CLOSED in kinds:
        return "CLOSED"
    return "ABNORMAL" if FaultKind.REFUND_ABNORMAL in kinds else "SUCCESS"


def _paid(order: Order | None) -> Order:
    if order is None or order.state != "SUCCESS":
        raise _no_order()
    return order


def _no_order() -> ApiRefusal:
    return ApiRefusal(404, "RESOURCE_NOT_EXISTS", "订单不存在或未支付")


def _too_little() -> ApiRefusal:
    return ApiRefusal(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起")
