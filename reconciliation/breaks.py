"""Treat what a comparison found, where the rule decides alone: money the channel took and the book lacks (D01, D05), and money that
it had told as paid and will not pay (D23).

Knows differences, calls to a channel and the applier's notices; must not book anything itself. Called by the daily jobs:
``missed`` inside a transaction, ``ask`` outside, then ``payments.results.apply`` with what came. A bill line alone moves no money:
the channel's signed answer to our query does, through the same applier as every notice. A bad debt takes money back: its proof is
the signed answer that named the file's digest, and the file is kept whole beside it.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from gateways import calls
from gateways.calls import Line
from gateways.contract import ChannelState, OrderRef, RawMessage, Result, Way
from ledger.ids import payment_number
from payments.decisions import CURRENCY
from payments.results import Notice


class Missed(Struct, frozen=True):
    """A payment that a bill shows and the book lacks, in our lane, for the merchant and the amount it was ordered for."""

    payment_id: UUID
    order_no: str
    merchant_no: str
    way: Way
    key_ref: str | None
    created_at: datetime
    expires_at: datetime


class ConsoleRefund(Struct, frozen=True):
    """A refund that an operator made in its merchant console, as the bill names it."""

    refund_no: str
    payment_id: UUID
    order_no: str
    trade_no: str
    merchant_no: str
    happened_at: datetime
    """When the bill says that it was made."""
    way: Way
    key_ref: str | None


def missed(tx: Connection, *, run_id: UUID) -> list[Missed]:
    """Return the payments of a comparison that the channel is to be asked for, in the order of its differences.

    What a card paid cannot be asked for: it waits for its issuer's booking result.
    """
    query = text("""
        select c.payment_id, c.order_no, c.merchant_no, o.way, o.key_ref, o.created_at, o.expires_at
        from reconciliation.break_case c
        join reconciliation.match_run r on r.run_id = c.run_id
        join payments.v_order o on o.lane = r.lane and o.payment_id = c.payment_id
        where c.run_id = :run and c.code in ('D01', 'D05') and o.way <> 'card' order by c.number
        """)
    return [Missed(**(dict(row._mapping) | {"way": Way(row.way)})) for row in tx.execute(query, {"run": run_id})]


def bad_debts(tx: Connection, *, run_id: UUID) -> list[Result]:
    """Return what the bill of a comparison says of payments that it calls bad debts and the book has as paid, in their order.

    Their proof is the message that the file came with, see ``take_back``.
    """
    query = text("""
        select b.channel, b.provider_no, c.merchant_no, c.trade_no, c.bill_fen, c.payment_id, r.lane
        from reconciliation.break_case c
        join reconciliation.match_run r on r.run_id = c.run_id
        join reconciliation.bill b on b.bill_id = r.bill_id
        where c.run_id = :run and c.code = 'D23' order by c.number
        """)
    return [
        Result(
            channel=row.channel, state=ChannelState.REVERSED, order_no=payment_number(row.lane, row.payment_id),
            provider_no=row.provider_no, merchant_no=row.merchant_no, trade_no=row.trade_no, amount_fen=row.bill_fen,
            currency=CURRENCY,
        )
        for row in tx.execute(query, {"run": run_id})
    ]  # fmt: skip


def take_back(told: Iterable[Result], *, message: RawMessage | None) -> list[Notice]:
    """Return bad debts for the applier. ``message`` is kept already; one that is not proven to be the channel's proves nothing."""
    if message is None or message.verdict != "verified":
        return []
    return [Notice(message, result, "query", again=True) for result in told]


def ask(line: Line, wanted: Iterable[Missed], *, occasion: str) -> list[Notice]:
    """Ask the channel for each payment and return its answers for the applier. Network; never inside a transaction.

    ``occasion`` names the comparison, so that the answers are messages of their own. Never raises for what the outside does.
    """
    return [_asked(line, one, occasion) for one in wanted]


def _asked(line: Line, one: Missed, occasion: str) -> Notice:
    reference = OrderRef(
        order_no=one.order_no, merchant_no=one.merchant_no, created_at=one.created_at, expires_at=one.expires_at, way=one.way,
        key_ref=one.key_ref,
    )  # fmt: skip
    call = calls.query(line, reference, subject=one.payment_id, occasion=f"bill {occasion}")
    own = [result for result in call.outcome.results if result.order_no == one.order_no]
    return Notice(call.message, own[0] if own else None, "query")


def console_refunds(tx: Connection, *, lane: int, bill_id: UUID) -> list[ConsoleRefund]:
    """Return the bill's refunds that were not asked for by us, of payments that are ours, unless they have been taken over."""
    rows = tx.execute(
        text("""
        select l.refund_no, l.payment_id, l.order_no, l.trade_no, l.merchant_no, l.happened_at, o.way, o.key_ref
        from reconciliation.bill_line l join payments.v_order o on o.lane = l.payment_lane and o.payment_id = l.payment_id
        where l.bill_id = :bill and l.kind = 'refund' and l.refund_id is null and l.refund_no is not null and l.payment_lane = :lane
          and not exists (select from payments.v_refund r where r.lane = :lane and r.payment_id = l.payment_id
                          and r.source = 'console' and r.source_ref = l.refund_no)
        order by l.line
        """),
        {"bill": bill_id, "lane": lane},
    )
    return [ConsoleRefund(**(dict(row._mapping) | {"way": Way(row.way)})) for row in rows]
