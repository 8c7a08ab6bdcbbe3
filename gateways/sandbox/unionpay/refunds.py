"""The channel's refund counter: refunds, cancels and reversals by the channel's rules, asked for by a call or made by hand.

Knows the rules and the store; must not know HTTP or signatures. Called by the routes. Source: ACP 5.1.0, 退货 消费撤销 冲正.
"""

from collections.abc import Mapping
from datetime import timedelta
from fractions import Fraction
from typing import Final, Literal

import msgspec
from msgspec import Struct

from gateways.sandbox.chance import digits
from gateways.sandbox.faults import seconds_of
from gateways.sandbox.shapes import ON_REFUND, Fault, FaultKind
from gateways.sandbox.store import Notice, Order, Refund
from gateways.sandbox.unionpay.desk import (
    MICRO,
    REVERSED,
    SUCCESS,
    Desk,
    RefundDetails,
    Refusal,
    Spoken,
    at_of,
    canonical,
    clearing_day,
    clearing_span,
    content_of,
    details_of,
    refund_details_of,
)
from ledger.clock import CHINA

REFUND_DAYS: Final = 334
"""11 months."""
CONSOLE: Final = "CONSOLE"
"""Begins the refund numbers that the merchant's console makes for itself."""
DONE: Final = "00"
CLOSED: Final = "01"
ABNORMAL: Final = "61"
"""How a refund ends, as respCode: done; failed, the money stays with the merchant; the payer's card takes it no more."""
IN_PROCESS: Final = "05"
_KINDS: Final[dict[str, Literal["04", "31"]]] = {"04": "04", "31": "31"}


class Asked(Struct, frozen=True):
    """A refund that was asked for, and the faults that meet the answer."""

    refund: Refund
    faults: tuple[Fault, ...]


class Refunds:
    """The refund counter beside a desk. One thread at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # Asking

    def ask(self, fields: Mapping[str, str]) -> Asked:
        """Make a refund (04) or cancel (31); it ends by itself later.

        Raises Refusal: 12 (the number was used), 35 (no such payment), 36 (another amount or product, or a cancel on another
        clearing day), 45 (nothing is left of it), 64 (too little balance), 38 (too old).
        """
        desk, request = self._desk, content_of(fields)
        kind = _KINDS[request["txnType"]]
        merchant_no, refund_no = request["merId"], request["orderId"]
        taken = desk.store.refund(merchant_no, refund_no) is not None or desk.store.order(merchant_no, refund_no) is not None
        if taken:
            raise Refusal("12", "重复交易")
        order = self._paid(desk.store.order_by_trade(request["origQryId"]), merchant_no)
        if request["bizType"] != details_of(order).request["bizType"]:
            raise Refusal("36", "与原交易信息不符，产品类型与原交易不同")
        refund_fen = int(request["txnAmt"])
        self._check(order, refund_fen, kind)
        if desk.faults({FaultKind.REFUND_NOT_ENOUGH}, order.order_no, refund_no=refund_no):
            raise Refusal("64", "商户余额不足")
        with desk.store.together():
            hit = desk.faults(ON_REFUND, order.order_no, refund_no=refund_no)
            details = RefundDetails(kind=kind, request=request)
            refund = self._refund(order, refund_fen, refund_no=refund_no, content=canonical(request), details=details, hit=hit)
            desk.store.add_refund(refund)
            self._put_notices(refund, hit)
        return Asked(refund=refund, faults=desk.faults({FaultKind.REFUND_UNKNOWN}, order.order_no, refund_no=refund_no))

    def fails_before(self, fields: Mapping[str, str]) -> bool:
        """Tell whether a fault keeps this refund call from being carried out at all."""
        order = self._desk.store.order_by_trade(fields.get("origQryId", ""))
        if order is None:
            return False
        return bool(self._desk.faults({FaultKind.REFUND_ERROR}, order.order_no, refund_no=fields.get("orderId")))

    def by_hand(self, order: Order | None, refund_fen: int | None) -> Refund:
        """Refund as the merchant's console does: a number of its own, no notice. Without an amount all that is left.

        Raises Refusal as ``ask`` does.
        """
        found = self._paid(order, None if order is None else order.merchant_no)
        amount_fen = self.left_fen(found) if refund_fen is None else refund_fen
        self._check(found, amount_fen, "04")
        desk = self._desk
        count, at = len(desk.store.refunds_of(found.merchant_no, found.order_no)), desk.around.clock.now().astimezone(CHINA)
        refund_no = f"{CONSOLE}{at:%Y%m%d}{digits(12, desk.seed, 'console', found.order_no, count)}"
        as_asked = {name: details_of(found).request.get(name, "") for name in ("bizType", "accessType", "acqInsCode", "merId")}
        as_asked |= {"txnType": "04", "txnSubType": "00", "orderId": refund_no, "txnTime": f"{at:%Y%m%d%H%M%S}", "reqReserved": ""}
        details = RefundDetails(kind="04", request=as_asked)
        refund = self._refund(found, amount_fen, refund_no=refund_no, content=None, details=details, hit=())
        desk.store.add_refund(refund)
        return refund

    def reverse(self, fields: Mapping[str, str]) -> None:
        """Take back a charge of a payer's code: unpaid it can be paid no more, paid the whole money goes back at once.

        Raises Refusal: 34 (no such charge), 12 (taken back before), 35 (of another kind, or refunded since).
        """
        desk = self._desk
        order = desk.find(fields["merId"], fields["orderId"], fields["txnTime"])
        if order is None:
            raise Refusal("34", "查无此交易")
        if order.state == REVERSED:
            raise Refusal("12", "重复交易")
        if details_of(order).kind != "scanned" or self._counted(order):
            raise Refusal("35", "原交易不存在或状态不正确")
        with desk.store.together():
            desk.store.set_state(order.merchant_no, order.order_no, REVERSED)
            if order.state == SUCCESS:
                details = RefundDetails(kind="99", request={})
                desk.store.add_refund(
                    self._refund(order, order.amount_fen, refund_no=f"{order.order_no}99", content=None, details=details, hit=())
                )

    # The rules

    def _paid(self, order: Order | None, merchant_no: str | None) -> Order:
        if order is None or order.merchant_no != merchant_no or order.state != SUCCESS:
            raise Refusal("35", "原交易不存在或状态不正确")
        return order

    def _counted(self, order: Order) -> list[Refund]:
        """Return an order's refunds without those that failed, whose money stayed."""
        now = self._desk.now()
        return [
            refund
            for refund in self._desk.store.refunds_of(order.merchant_no, order.order_no)
            if word(refund, now) in (DONE, IN_PROCESS)
        ]

    def left_fen(self, order: Order) -> int:
        """Return how much of a paid order can still be refunded."""
        return order.amount_fen - sum(refund.refund_fen for refund in self._counted(order))

    def _check(self, order: Order, refund_fen: int, kind: Literal["04", "31"]) -> None:
        desk, left_fen = self._desk, self.left_fen(order)
        paid_at = order.paid_at or 0
        if left_fen == 0:
            raise Refusal("45", "原交易已被成功退货或已被成功撤销")
        if paid_at + timedelta(days=REFUND_DAYS) // timedelta(microseconds=1) < desk.now():
            raise Refusal("38", "原交易已超过退货期限")
        if not 0 < refund_fen <= left_fen:
            raise Refusal("36", "与原交易信息不符，退货金额超过可退金额")
        if kind == "31" and (refund_fen != order.amount_fen or clearing_day(paid_at) != clearing_day(desk.now())):
            raise Refusal("36", "与原交易信息不符，只能在清算日内全额撤销")
        back_fen = refund_fen - self._fee_returned_fen(order, refund_fen)
        if desk.config.check_balance and back_fen > self._balance_fen(order.merchant_no):
            raise Refusal("64", "商户余额不足")

    def _balance_fen(self, merchant_no: str) -> int:
        """Return what a merchant has taken since the cut-over, when what came before was settled, less commission and refunds."""
        begin, end = clearing_span(clearing_day(self._desk.now()))
        paid = self._desk.store.paid_between(begin, end, merchant_no)
        back = self._desk.store.refunds_between(begin, end, merchant_no)
        taken_fen = sum(order.amount_fen - (order.fee_fen or 0) for order in paid)
        return taken_fen - sum(one.refund_fen - one.fee_fen for one in back if one.ends == DONE)

    def _fee_returned_fen(self, order: Order, refund_fen: int) -> int:
        """Return the commission given back: the refund's part of what is left, so that the last refund gives back all."""
        counted = self._counted(order)
        left_fen = order.amount_fen - sum(refund.refund_fen for refund in counted)
        fee_left_fen = (order.fee_fen or 0) - sum(refund.fee_fen for refund in counted)
        return round(Fraction(refund_fen * fee_left_fen, left_fen))

    def _refund(
        self,
        order: Order,
        refund_fen: int,
        *,
        refund_no: str,
        content: bytes | None,
        details: RefundDetails,
        hit: tuple[Fault, ...],
    ) -> Refund:
        desk, now = self._desk, self._desk.now()
        lasts = 0 if details.kind != "04" else int(desk.config.refund_seconds / desk.around.time_factor * MICRO)
        return Refund(
            merchant_no=order.merchant_no,
            refund_no=refund_no,
            order_no=order.order_no,
            channel_refund_no=desk.query_id(now, refund_no),
            refund_fen=refund_fen,
            fee_fen=self._fee_returned_fen(order, refund_fen),
            content=content,
            details=msgspec.json.encode(details),
            accepted_at=now,
            ends=_end(hit),
            ends_at=now + lasts,
        )

    def _put_notices(self, refund: Refund, hit: tuple[Fault, ...]) -> None:
        """Put the notice of a success on its way; a failure is not notified."""
        kinds = {fault.kind for fault in hit}
        if refund.ends != DONE or FaultKind.REFUND_NEVER in kinds:
            return
        late = int(seconds_of(FaultKind.REFUND_LATE, hit) / self._desk.around.time_factor * MICRO)
        for copy in range(2 if FaultKind.REFUND_TWICE in kinds else 1):
            self._desk.store.add_notice(
                Notice(
                    notice_id=f"refund {refund.merchant_no} {refund.refund_no} {copy}",
                    subject=refund.order_no,
                    due_at=refund.ends_at + late + copy * MICRO,
                    details=msgspec.json.encode(Spoken(merchant_no=refund.merchant_no, refund_no=refund.refund_no)),
                )
            )

    # Telling

    def find(self, merchant_no: str, refund_no: str, txn_time: str) -> Refund | None:
        """Return a refund by its name at the channel: merchant, number and time; also one that was made in the console."""
        refund = self._desk.store.refund(merchant_no, refund_no)
        if refund is None:
            return None
        asked = refund_details_of(refund).request.get("txnTime")
        return refund if asked is not None and at_of(asked) == at_of(txn_time) else None


def word(refund: Refund, at: int) -> str:
    """Return the respCode that stands for a refund at an instant."""
    return IN_PROCESS if at < refund.ends_at else refund.ends


def counts(refund: Refund) -> bool:
    """Tell whether a refund belongs into a clearing file: it succeeded, and was not a reversal."""
    return refund.ends == DONE and refund_details_of(refund).kind != "99"


def kind_of(refund: Refund) -> str:
    """Return the transaction type: 04 refund, 31 cancel."""
    return refund_details_of(refund).kind


def _end(hit: tuple[Fault, ...]) -> str:
    kinds = {fault.kind for fault in hit}
    if FaultKind.REFUND_CLOSED in kinds:
        return CLOSED
    return ABNORMAL if FaultKind.REFUND_ABNORMAL in kinds else DONE
