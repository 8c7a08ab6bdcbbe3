"""Timed work on refunds: promise what second payments are owed, ask channels for refunds, and ask what became of them.

Knows refunds and calls to channels; must not know the scheduler or HTTP. Called by the worker and the simulation's control route.

Work is claimed row by row in one short transaction, so any number of workers may run; the channel is called outside of it.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from gateways import calls
from gateways.contract import RefundOrder, RefundRef
from ledger.errors import Refused
from ledger.ids import payment_number
from payments import results, store
from payments.checkout import Till
from payments.refunding import refund_store, refunds
from payments.refunding.refund_store import Refund
from payments.results import Notice

CLAIM: Final = timedelta(minutes=2)
"""How long a worker may hold a refund; after that another takes it over."""
AFTER: Final = tuple(timedelta(seconds=seconds) for seconds in (60, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400))
"""From one call to the next. Wallets take minutes, cards up to three working days; nothing is ever given up by itself."""
CASE_AFTER: Final = 10
"""After so many calls without an end a person is told; the calls go on."""
_SECOND_PAYMENT: Final = "重复缴费退款"


def run_due(till: Till, *, limit: int = 100, threads: int = 1) -> int:
    """Call the channels about the refunds that are due, and carry out what they say. Returns how many.

    A refund that the channel has not taken on is asked for, always under its one number; one that it works on is asked about.
    """
    at = till.clock.now()
    with till.db.begin() as tx:
        claimed = refund_store.claim_due(tx, lane=till.lane, at=at, until=at + CLAIM, after=AFTER, limit=limit)
    if not claimed:
        return 0
    with ThreadPoolExecutor(threads) as pool:
        notices = list(pool.map(lambda refund: _call(till, refund), claimed))
    with till.db.begin() as tx:
        results.apply(tx, lane=till.lane, notices=notices, at=till.clock.now(), ids=till.ids)
        refund_store.release(tx, lane=till.lane, refund_ids=[refund.refund_id for refund in claimed])
        waiting = {
            refund.refund_id: notice.refund.again_at
            for refund, notice in zip(claimed, notices, strict=True)
            if notice.refund is not None and notice.refund.again_at is not None
        }
        if waiting:
            refund_store.postpone(tx, lane=till.lane, until=waiting)
        late = [pair for pair in zip(claimed, notices, strict=True) if pair[0].asked == CASE_AFTER]
        _tell_of_late(tx, till, late)
    return len(claimed)


def _tell_of_late(tx: Connection, till: Till, late: list[tuple[Refund, Notice]]) -> None:
    """Open a case for refunds that needed many calls, such as one that the channel refuses without proof."""
    at = till.clock.now()
    cases = [
        store.NewCase(
            till.ids.new(at, f"case refund_late {refund.refund_id}"), "refund_late", refund.channel, refunds.number(refund),
            refund.payment_id, refund.operator_id, refund.amount_fen, notice.message.message_id,
            f"asked {refund.asked} times and still {refund.state}; the last answer: {notice.message.reason or 'no trouble'}",
        )
        for refund, notice in late
    ]  # fmt: skip
    if cases:
        store.open_cases(tx, lane=till.lane, cases=sorted(cases, key=lambda case: case.order_no), at=at)


def promise_second_payments(till: Till, *, fen_max: int, limit: int = 100) -> int:
    """Promise the refund of second payments up to an amount; larger ones wait for a person. Returns how many there were.

    One that an operator refunds at the same moment is left to the operator.
    """
    with till.db.begin() as tx:
        cases = refund_store.second_payments(tx, lane=till.lane, fen_max=fen_max, limit=limit)
        for case in sorted(cases, key=lambda case: case.payment_id):
            with suppress(Refused):  # it writes nothing when it refuses
                refunds.promise(
                    tx, lane=till.lane, payment_id=case.payment_id, amount_fen=case.amount_fen, source="case",
                    source_ref=str(case.case_id), reason=_SECOND_PAYMENT, evidence_id=case.evidence_id, at=till.clock.now(),
                    ids=till.ids,
                )  # fmt: skip
    return len(cases)


def _call(till: Till, refund: Refund) -> Notice:
    """Ask for a refund, or what became of it, and return the channel's word, to be applied."""
    line = till.line(refund.channel)
    occasion = f"{refund.refund_id} {refund.asked}"
    order_no, refund_no = payment_number(refund.lane, refund.payment_id), refunds.number(refund)
    if refund.state == "promised":
        order = RefundOrder(
            refund_no=refund_no, order_no=order_no, trade_no=refund.trade_no, merchant_no=refund.merchant_no,
            refund_fen=refund.amount_fen, total_fen=refund.total_fen, asked_at=refund.created_at, paid_at=refund.paid_at,
            way=refund.way, reason=refund.reason, key_ref=refund.key_ref,
        )  # fmt: skip
        call = calls.refund(line, order, subject=refund.payment_id, occasion=occasion)
    else:
        ref = RefundRef(
            refund_no=refund_no, order_no=order_no, trade_no=refund.trade_no, merchant_no=refund.merchant_no,
            asked_at=refund.created_at, way=refund.way, key_ref=refund.key_ref,
        )  # fmt: skip
        call = calls.refund_query(line, ref, subject=refund.payment_id, occasion=occasion)
    return Notice(call.message, None, "query", call.outcome.refund)
