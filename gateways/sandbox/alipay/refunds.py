"""The channel's refund counter: refunds by Alipay's rules, at once, asked for by an application or made in the merchant's console.

Knows the rules and the store; must not know HTTP or signatures. Called by the stand-in's routes.
Source: docs/CHANNELS.md, Alipay, refunds.
"""

from fractions import Fraction
from typing import Final

import msgspec
from msgspec import Struct

from gateways.sandbox.alipay.desk import CLOSED, FINISHED, SUCCESS, WAITING, Desk, Refusal
from gateways.sandbox.chance import digits
from gateways.sandbox.faults import seconds_of
from gateways.sandbox.shapes import ON_REFUND, Fault, FaultKind
from gateways.sandbox.store import Order, Refund
from ledger.clock import CHINA

CONSOLE: Final = "CONSOLE"
"""Begins the refund numbers that the merchant's console makes for itself."""
DONE: Final = "REFUND_SUCCESS"


class RefundWanted(Struct, frozen=True, kw_only=True):
    """A refund that is asked for; ``refund_no`` is the trade's number where the caller sent none."""

    refund_no: str
    refund_fen: int
    content: bytes


class Refunded(Struct, frozen=True):
    """A refund, whether this very call moved the money, and the faults that meet the answer."""

    order: Order
    refund: Refund
    moved: bool
    faults: tuple[Fault, ...]


class Refunds:
    """The refund counter beside a desk. One thread at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def ask(self, order: Order, wanted: RefundWanted) -> Refunded:
        """Refund at once, or return the refund that the same number made before: it moves no second money.

        Raises Refusal: DISCORDANT_REPEAT_REQUEST, TRADE_STATUS_ERROR, TRADE_HAS_FINISHED, REFUND_AMT_NOT_EQUAL_TOTAL,
        SELLER_BALANCE_NOT_ENOUGH; SYSTEM_ERROR, INVALID_PARAMETER, TRADE_NOT_ALLOW_REFUND (faults).
        """
        known = self._desk.store.refund(order.merchant_no, wanted.refund_no)
        if known is not None and (known.order_no, known.refund_fen) != (order.order_no, wanted.refund_fen):
            raise Refusal("ACQ.DISCORDANT_REPEAT_REQUEST", "请求信息不一致")
        if self._met(FaultKind.REFUND_ERROR, order, wanted.refund_no):
            raise Refusal("ACQ.SYSTEM_ERROR", "系统错误")
        if known is None:
            made = self._made(order, wanted)
            return Refunded(order, made, True, self._met(FaultKind.REFUND_UNKNOWN, order, wanted.refund_no))
        return Refunded(order, known, False, self._met(FaultKind.REFUND_UNKNOWN, order, wanted.refund_no))

    def by_hand(self, order: Order, refund_fen: int | None) -> Refund:
        """Refund as the merchant's console does: its own number, no notice. Without an amount all that is left. Raises Refusal."""
        desk = self._desk
        amount_fen = desk.left_fen(order) if refund_fen is None else refund_fen
        self._check(order, amount_fen)
        count, at = len(desk.store.refunds_of(order.merchant_no, order.order_no)), desk.around.clock.now().astimezone(CHINA)
        refund_no = f"{CONSOLE}{at:%Y%m%d}{digits(12, desk.seed, 'console', order.order_no, count)}"
        refund = self._refund(order, amount_fen, refund_no=refund_no, content=None)
        desk.store.add_refund(refund)
        return refund

    def find(self, order: Order, refund_no: str) -> Refund | None:
        """Return a trade's refund by its number."""
        found = self._desk.store.refund(order.merchant_no, refund_no)
        return found if found is not None and found.order_no == order.order_no else None

    def refunded_fen(self, order: Order) -> int:
        """Return the sum of a trade's refunds."""
        return order.amount_fen - self._desk.left_fen(order)

    def _met(self, kind: FaultKind, order: Order, refund_no: str) -> tuple[Fault, ...]:
        return self._desk.store.faults({kind}, order.order_no, refund_no=refund_no)

    def _made(self, order: Order, wanted: RefundWanted) -> Refund:
        self._check(order, wanted.refund_fen)
        if self._met(FaultKind.REFUND_NOT_ENOUGH, order, wanted.refund_no):
            raise _too_little()
        hit = self._desk.store.faults(ON_REFUND, order.order_no, refund_no=wanted.refund_no)
        kinds = {fault.kind for fault in hit}
        if FaultKind.REFUND_CLOSED in kinds:
            raise Refusal("ACQ.INVALID_PARAMETER", "参数无效")
        if FaultKind.REFUND_ABNORMAL in kinds:
            raise Refusal("ACQ.TRADE_NOT_ALLOW_REFUND", "当前交易不允许退款")
        refund = self._refund(order, wanted.refund_fen, refund_no=wanted.refund_no, content=wanted.content)
        with self._desk.store.together():
            self._desk.store.add_refund(refund)
            if FaultKind.REFUND_NEVER not in kinds:
                later = seconds_of(FaultKind.REFUND_LATE, hit)
                self._desk.put_refund_notice(order, refund, later=later, copies=2 if FaultKind.REFUND_TWICE in kinds else 1)
        return refund

    def _check(self, order: Order, refund_fen: int) -> None:
        status, left_fen = self._desk.status(order), self._desk.left_fen(order)
        if status == WAITING or (status == CLOSED and order.paid_at is None):
            raise Refusal("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        if status == FINISHED:
            raise Refusal("ACQ.TRADE_HAS_FINISHED", "交易已完结")
        if not 0 < refund_fen <= left_fen:
            raise Refusal("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限")
        assert status == SUCCESS, "a paid trade of which something is left"
        cost_fen = refund_fen - self._fee_returned_fen(order, refund_fen)
        if self._desk.config.check_balance and cost_fen > self._desk.store.balance_fen(order.merchant_no):
            raise _too_little()

    def _refund(self, order: Order, refund_fen: int, *, refund_no: str, content: bytes | None) -> Refund:
        now = self._desk.now()
        return Refund(
            merchant_no=order.merchant_no, refund_no=refund_no, order_no=order.order_no,
            # the channel has no number of its own for a refund: trade and request name it
            channel_refund_no=f"{order.trade_no}-{refund_no}",
            refund_fen=refund_fen, fee_fen=self._fee_returned_fen(order, refund_fen), content=content,
            details=msgspec.json.encode({}), accepted_at=now, ends=DONE, ends_at=now,
        )  # fmt: skip

    def _fee_returned_fen(self, order: Order, refund_fen: int) -> int:
        """Return the commission given back: the refund's part of what is left, so that the last one gives back all that remains."""
        before = self._desk.store.refunds_of(order.merchant_no, order.order_no)
        left_fen = order.amount_fen - sum(refund.refund_fen for refund in before)
        fee_left_fen = (order.fee_fen or 0) - sum(refund.fee_fen for refund in before)
        return round(Fraction(refund_fen * fee_left_fen, left_fen)) if left_fen else 0


def _too_little() -> Refusal:
    return Refusal("ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足")
