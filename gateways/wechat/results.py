"""What WeChat Pay's words mean in neutral terms: transactions, legs, refunds.

Knows states and which fields must be there; must not know how a message came in. Called by the adapter's parts.
Each function returns a reason in place of a result when the message says nothing that counts.
"""

from datetime import UTC, datetime
from typing import Final

from msgspec import structs

from gateways.contract import ChannelState, OrderRef, RefundResult, RefundState, Result
from gateways.wechat import parking_wire, wire

CHANNEL: Final = "wechat"


def transaction_result(told: wire.Transaction, *, provider_no: str) -> Result | str:
    """Return what is told of an order or a deduction: or ``field_missing``, ``other_provider``."""
    if told.out_trade_no is None or told.trade_state is None or told.sp_mchid is None or told.sub_mchid is None:
        return "field_missing"
    states = parking_wire.PARKING_STATES if told.trade_scene is not None else wire.STATES
    amount_fen = None if told.amount is None else told.amount.total
    return _result(
        states.get(told.trade_state, ChannelState.UNKNOWN),
        Result(
            channel=CHANNEL,
            state=ChannelState.UNKNOWN,
            order_no=told.out_trade_no,
            provider_no=told.sp_mchid,
            merchant_no=told.sub_mchid,
            trade_no=told.transaction_id,
            amount_fen=amount_fen,
            currency=None if told.amount is None else told.amount.currency,
            happened_at=_utc(told.success_time),
        ),
        provider_no,
    )


def leg_result(told: wire.SubOrder, *, provider_no: str) -> Result | str:
    """Return what is told of one leg of a combined order: or ``field_missing``, ``other_provider``."""
    if told.out_trade_no is None or told.trade_state is None or told.mchid is None or told.sub_mchid is None:
        return "field_missing"
    return _result(
        wire.STATES.get(told.trade_state, ChannelState.UNKNOWN),
        Result(
            channel=CHANNEL,
            state=ChannelState.UNKNOWN,
            order_no=told.out_trade_no,
            provider_no=told.mchid,
            merchant_no=told.sub_mchid,
            trade_no=told.transaction_id,
            amount_fen=None if told.amount is None else told.amount.total_amount,
            currency=None if told.amount is None else told.amount.currency,
            happened_at=_utc(told.success_time),
        ),
        provider_no,
    )


def combined_results(told: wire.CombinedTransaction, *, provider_no: str) -> tuple[Result, ...] | str:
    """Return what is told of all legs, as they stand in the message; one leg that cannot be read spoils all."""
    if told.combine_out_trade_no is None or told.combine_mchid is None or not told.sub_orders:
        return "field_missing"
    if told.combine_mchid != provider_no:
        return "other_provider"
    results: list[Result] = []
    for leg in told.sub_orders:
        result = leg_result(leg, provider_no=provider_no)
        if isinstance(result, str):
            return result
        results.append(result)
    if len({result.order_no for result in results}) != len(results):
        return "field_missing"
    return tuple(results)


def absent(order: OrderRef, *, provider_no: str, now: datetime) -> Result:
    """Return the result for an order that the channel does not know: while it could still be made, nothing is decided."""
    return Result(
        channel=CHANNEL,
        state=ChannelState.NOT_FOUND if now >= order.expires_at else ChannelState.PENDING,
        order_no=order.order_no,
        provider_no=provider_no,
        merchant_no=order.merchant_no,
    )


def refund_result(told: wire.Refunded, *, provider_no: str, merchant_no: str | None) -> RefundResult | str:
    """Return what is told of a refund: or ``field_missing``, ``other_provider``, ``other_refund``.

    An answer does not name the merchants: ``merchant_no`` is whom we asked about, None for a notice.
    """
    state_word = told.status or told.refund_status
    provider = told.sp_mchid or (provider_no if merchant_no is not None else None)
    merchant = told.sub_mchid or merchant_no
    if told.out_refund_no is None or state_word is None or provider is None or merchant is None:
        return "field_missing"
    if provider != provider_no:
        return "other_provider"
    if merchant_no is not None and merchant != merchant_no:
        return "other_refund"
    state = wire.REFUND_STATES.get(state_word, RefundState.UNKNOWN)
    refund_fen = None if told.amount is None else told.amount.refund
    if state is RefundState.DONE and (refund_fen is None or told.success_time is None):
        return "field_missing"
    return RefundResult(
        channel=CHANNEL,
        state=state,
        refund_no=told.out_refund_no,
        provider_no=provider_no,
        merchant_no=merchant,
        order_no=told.out_trade_no,
        trade_no=told.transaction_id,
        channel_refund_no=told.refund_id,
        refund_fen=refund_fen,
        happened_at=_utc(told.success_time),
        word=state_word,
    )


def _result(state: ChannelState, result: Result, provider_no: str) -> Result | str:
    """Return the result in its state when it is ours and, for money that was taken, whole."""
    if result.provider_no != provider_no:
        return "other_provider"
    if state is ChannelState.SUCCEEDED and None in (result.trade_no, result.amount_fen, result.happened_at):
        return "field_missing"
    return structs.replace(result, state=state)


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)
