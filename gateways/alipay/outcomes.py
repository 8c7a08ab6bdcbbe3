"""What Alipay's messages come to in the contract's words: payments, refunds, plates' agreements, an account's movements.

Knows both shapes; must not know keys, signatures or how a message came. Called by the adapter with messages that are proven.
"""

from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec.structs import replace

from gateways.alipay import answers, wire
from gateways.alipay.bill import Flows
from gateways.contract import (
    BillRefused,
    ChannelState,
    FundBill,
    FundLine,
    Reading,
    RefundOrder,
    RefundRef,
    RefundResult,
    RefundState,
    Result,
)

_SOON: Final = timedelta(seconds=wire.REFUND_QUERY_SECONDS_MIN)
_FIELD_MISSING: Final = Reading(verdict="unreadable", reason="field_missing")
_OTHER_REFUND: Final = Reading(verdict="unreadable", reason="other_refund")


def told_by_query(told: answers.Trade, *, channel: str, provider_no: str, merchant_no: str) -> Reading:
    """Return what a query says of an order. A success without amount or time says nothing."""
    state = told.state
    if state is ChannelState.SUCCEEDED and (told.total_fen is None or told.paid_at is None):
        return _FIELD_MISSING
    result = Result(
        channel=channel,
        state=state,
        order_no=told.order_no,
        provider_no=provider_no,
        merchant_no=merchant_no,
        trade_no=told.trade_no,
        amount_fen=None if told.total_fen is None else int(told.total_fen),
        currency=told.trans_currency,
        happened_at=told.paid_at,
    )
    return Reading(verdict="verified", results=(result,))


def told_by_notice(notice: answers.Notice, *, channel: str, provider_no: str) -> Reading:
    """Return what a notice says: of the refund that it names, else of the payment."""
    if notice.refunded and notice.refund_no is not None and wire.is_number(notice.refund_no):
        return _refund_noticed(notice, channel, provider_no)
    state = notice.state
    if state is ChannelState.SUCCEEDED and notice.paid_at is None:
        return _FIELD_MISSING
    result = Result(
        channel=channel,
        state=state,
        order_no=notice.order_no,
        provider_no=provider_no,
        merchant_no=notice.seller_id,
        trade_no=notice.trade_no,
        amount_fen=int(notice.total_fen),
        currency=notice.trans_currency,
        happened_at=notice.paid_at,
    )
    return Reading(verdict="verified", results=(result,))


def _refund_noticed(notice: answers.Notice, channel: str, provider_no: str) -> Reading:
    """Return the refund that a notice tells of. Its own amount is not in it: ``refund_fee`` sums all refunds of the trade."""
    assert notice.refund_no is not None, "the notice names a refund"
    if notice.refunded_at is None or notice.refunded_total_fen is None:
        return _FIELD_MISSING
    refund = RefundResult(
        channel=channel,
        state=RefundState.DONE,
        refund_no=notice.refund_no,
        provider_no=provider_no,
        merchant_no=notice.seller_id,
        order_no=notice.order_no,
        trade_no=notice.trade_no,
        happened_at=notice.refunded_at,
        word=notice.trade_status,
    )
    return Reading(verdict="verified", refund=refund)


# Refunds


def refund_said(
    refund: RefundOrder | RefundRef, state: RefundState, word: str | None, channel: str, provider_no: str
) -> RefundResult:
    """Return ``state`` of a refund that we asked for or about."""
    return RefundResult(
        channel=channel, state=state, refund_no=refund.refund_no, provider_no=provider_no, merchant_no=refund.merchant_no,
        order_no=refund.order_no, trade_no=refund.trade_no, word=word,
    )  # fmt: skip


def refunded(made: answers.Refunded, refund: RefundOrder, *, channel: str, provider_no: str) -> Reading:
    """Return what the refund call's answer says: done only when this call moved the money and says when.

    Without ``fund_change`` Y it is the repeat of an earlier call or pending. The sum of the trade's refunds cannot be less than
    this one: such an answer is of another refund.
    """
    if (made.trade_no, made.order_no) != (refund.trade_no, refund.order_no):
        return _OTHER_REFUND
    if made.refunded_total_fen is not None and made.refunded_total_fen < refund.refund_fen:
        return _OTHER_REFUND
    refunded_at = wire.instant(made.gmt_refund_pay)
    word = f"fund_change={made.fund_change or ''}"
    if not made.proven or refunded_at is None:
        return Reading(verdict="verified", refund=refund_said(refund, RefundState.PENDING, word, channel, provider_no))
    done = refund_said(refund, RefundState.DONE, word, channel, provider_no)
    return _with(done, refund_fen=refund.refund_fen, happened_at=refunded_at)


def refund_told(told: answers.RefundTold, refund: RefundRef, *, now: datetime, channel: str, provider_no: str) -> Reading:
    """Return what the refund query says. Without a status it was not received, or has failed, so far.

    Soon after it was asked for that means nothing yet; later the same number may be asked for again, which moves no second money.
    """
    if told.refund_no not in (None, refund.refund_no) or told.trade_no not in (None, refund.trade_no):
        return _OTHER_REFUND
    if told.order_no not in (None, refund.order_no):
        return _OTHER_REFUND
    if not told.proven:
        listed = told.refund_status is None
        state = RefundState.NOT_FOUND if listed and now >= refund.asked_at + _SOON else RefundState.PENDING
        state = state if listed else RefundState.UNKNOWN
        return Reading(verdict="verified", refund=refund_said(refund, state, told.refund_status, channel, provider_no))
    if told.refund_fen is None or told.refunded_at is None:
        return _FIELD_MISSING
    done = refund_said(refund, RefundState.DONE, told.refund_status, channel, provider_no)
    return _with(done, refund_fen=int(told.refund_fen), happened_at=told.refunded_at)


def _with(done: RefundResult, *, refund_fen: int, happened_at: datetime) -> Reading:
    return Reading(verdict="verified", refund=replace(done, refund_fen=refund_fen, happened_at=happened_at))


# Agreements and accounts


def agreement(scenes: str, status: str) -> tuple[Literal["open", "none", "unknown"], str | None]:
    """Return whether a plate may be debited, and the channel's word. Two words that disagree, or an unlisted one, say nothing."""
    word = ",".join(part for part in (scenes, status) if part) or None
    if status in wire.NOT_AGREED:
        return "none", word
    if status not in ("", wire.AGREED):
        return "unknown", word
    if scenes:
        return ("open" if wire.PLATE_SCENE in answers.agreement_scenes(scenes) else "none"), word
    return ("open" if status == wire.AGREED else "unknown"), word


def fund_bill(flows: Flows) -> FundBill:
    """Return an account's bill; rows that moved nothing are left out. Raises BillRefused for a row without its balance."""
    lines = []
    for row in flows.rows:
        if row.amount_fen == 0:
            continue
        if row.balance_fen is None:
            raise BillRefused(f"row {row.line} has no 账户余额", code="bill_form")
        lines.append(
            FundLine(
                line=row.line,
                happened_at=row.happened_at,
                kind=row.kind,
                trade_no=row.trade_no,
                income_fen=max(row.amount_fen, 0),
                expense_fen=max(-row.amount_fen, 0),
                balance_fen=row.balance_fen,
                order_no=row.order_no or None,
                note=row.note or None,
            )
        )
    return FundBill(lines=tuple(lines), income_fen=flows.in_fen, expense_fen=flows.out_fen)
