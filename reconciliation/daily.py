"""One channel's day, from the bill to the comparison: what the worker repeats each morning until nothing waits any more.

Joins bills, matching and breaks; must not know when it is run. Each step commits by itself, so a run that was cut off is repeated.
"""

from datetime import date, datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, Engine, text

from gateways import calls, messages, routing
from gateways.calls import Line
from gateways.contract import AnyChannel, MerchantAccount, RefundRef
from payments import results
from payments.decisions import Finding
from payments.refunding import refunds
from payments.results import Notice, Outcome
from reconciliation import bills, breaks, matching
from reconciliation.bills import Kept
from reconciliation.matching import MatchRun

WAITING: Final = ("D01", "D05", "D10", "D23")
"""Differences that go away by themselves: by the channel's answer, at the next seal, or because the bill's word was carried out. A
bad debt waits no more once it is a case for a person: a refund of it had been made."""


class Day(Struct, frozen=True):
    """What a run found. Without ``run`` there is no bill to compare; ``asked`` payments were asked for at the channel, and
    ``taken_back`` were taken back as bad debts."""

    bill: Kept
    run: MatchRun | None = None
    asked: int = 0
    taken_back: int = 0


def accounts(tx: Connection, *, channel: AnyChannel, bill_on: date) -> list[MerchantAccount | None]:
    """Return whose bills a channel makes for a day: None for one of all operators, else each account that was in force that day."""
    if channel.bills_by == "provider":
        return [None]
    begin, end = channel.bill_period(bill_on)
    return list(routing.merchants(tx, channel=channel.name, begin=begin, end=end))


def waiting(tx: Connection, *, channel: AnyChannel, bill_on: date) -> list[MerchantAccount | None]:
    """Return whose bills of a day have not been compared to their end, as ``accounts``."""
    over = _closed(tx, channel=channel.name, provider_no=channel.provider_no, bill_on=bill_on)
    return [one for one in accounts(tx, channel=channel, bill_on=bill_on) if ("" if one is None else one.merchant_no) not in over]


def take_turn(
    tx: Connection, *, channel: AnyChannel, account: MerchantAccount | None, bill_on: date, at: datetime, until: datetime
) -> bool:  # fmt: skip
    """Say whether the caller is the one that fetches and compares a bill now; nobody else is before ``until``."""
    query = text("""
        insert into reconciliation.bill_turn as t (channel, provider_no, merchant_no, bill_on, taken_until)
        values (:channel, :provider, :merchant, :day, :until)
        on conflict (channel, provider_no, merchant_no, bill_on) do update set taken_until = excluded.taken_until
        where t.taken_until <= :at
        """)
    asked = {
        "channel": channel.name, "provider": channel.provider_no, "merchant": "" if account is None else account.merchant_no,
        "day": bill_on, "at": at, "until": until,
    }  # fmt: skip
    return tx.execute(query, asked).rowcount == 1


def is_closed(tx: Connection, *, channel: str, provider_no: str, bill_on: date, merchant_no: str = "") -> bool:
    """Say whether the newest bill of a day has been compared and nothing in it waits. What a person decides does not count."""
    return merchant_no in _closed(tx, channel=channel, provider_no=provider_no, bill_on=bill_on)


def _closed(tx: Connection, *, channel: str, provider_no: str, bill_on: date) -> set[str]:
    """Return the merchants whose newest bill of a day has been compared and has nothing that waits; empty: of all merchants."""
    query = text("""
        select merchant_no from (
            select distinct on (b.merchant_no) b.merchant_no, not exists (
                select from reconciliation.break_case c where c.run_id = r.run_id and c.code = any(:waiting)
                  and not (c.code = 'D23' and exists (
                    select from payments.v_case k
                    where k.lane = r.lane and k.payment_id = c.payment_id and k.kind = 'taken_back_after_refund'))) as is_over
            from reconciliation.bill b join reconciliation.match_run r on r.bill_id = b.bill_id
            where b.channel = :channel and b.provider_no = :provider and b.bill_on = :day and b.kind = 'trade'
            order by b.merchant_no, b.version desc, r.tree_size desc
        ) newest where is_over
        """)
    asked = {"channel": channel, "provider": provider_no, "day": bill_on, "waiting": list(WAITING)}
    return set(tx.execute(query, asked).scalars())


def reconcile(db: Engine, *, lane: int, line: Line, bill_on: date, account: MerchantAccount | None = None) -> Day:
    """Fetch, keep and compare a day's trade bill, ask the channel for money it took and the book lacks, and take back what the bill
    calls a bad debt.

    The bill is of all operators, or of one ``account`` where the channel makes them so.

    Calls the channel. May be repeated: the same file at the same seal is compared once. Never raises for what the outside does.
    """
    at = line.clock.now()
    fetched = bills.fetch(line, bill_on=bill_on, account=account, occasion=f"{bill_on} {at.isoformat()}")
    with db.begin() as tx:
        kept = bills.keep(tx, lane=lane, fetched=fetched, at=at, ids=line.ids)
    if kept.bill_id is None:
        return Day(kept)
    _adopt_console_refunds(db, lane=lane, line=line, bill_id=kept.bill_id)
    with db.begin() as tx:
        run = matching.match(tx, lane=lane, bill_id=kept.bill_id, at=at, ids=line.ids)
        wanted, bad = breaks.missed(tx, run_id=run.run_id), breaks.bad_debts(tx, run_id=run.run_id)
    for notice in breaks.ask(line, wanted, occasion=f"{run.run_id} {at.isoformat()}"):
        _apply(db, lane=lane, line=line, notice=notice)
    told_back = [_apply(db, lane=lane, line=line, notice=notice) for notice in breaks.take_back(bad, message=fetched.message)]
    return Day(kept, run, len(wanted), sum(outcome.finding is Finding.TAKEN_BACK for outcome in told_back))


def _apply(db: Engine, *, lane: int, line: Line, notice: Notice) -> Outcome:
    """Carry out one answer in a transaction of its own: such money is rare, and a poisoned answer must not stop the others."""
    with db.begin() as tx:
        [outcome] = results.apply(tx, lane=lane, notices=[notice], at=line.clock.now(), ids=line.ids)
    return outcome


def _adopt_console_refunds(db: Engine, *, lane: int, line: Line, bill_id: UUID) -> None:
    """Take over what operators refunded in their own consoles: the bill names it, the channel's answer to our query proves it."""
    with db.connect() as tx:
        wanted = breaks.console_refunds(tx, lane=lane, bill_id=bill_id)
    for one in wanted:
        ref = RefundRef(
            refund_no=one.refund_no, order_no=one.order_no, trade_no=one.trade_no, merchant_no=one.merchant_no,
            asked_at=one.happened_at, way=one.way, key_ref=one.key_ref,
        )  # fmt: skip
        call = calls.refund_query(line, ref, subject=one.payment_id, occasion=f"{bill_id} {line.clock.now().isoformat()}")
        with db.begin() as tx:
            messages.keep(tx, lane=lane, messages=[call.message])
            if call.outcome.verdict == "verified" and call.outcome.refund is not None:
                refunds.adopt(
                    tx, lane=lane, payment_id=one.payment_id, told=call.outcome.refund, evidence_id=call.message.message_id,
                    at=line.clock.now(), ids=line.ids,
                )  # fmt: skip
