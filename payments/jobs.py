"""Timed work on payments: ask the channel about those that are undecided, close those whose time is over.

Knows attempts and calls to channels; must not know the scheduler or HTTP. Called by the worker and the simulation's control route.

Work is claimed row by row in one short transaction, so any number of workers may run; the channel is called outside of it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final

from msgspec import Struct

from gateways import calls
from gateways.contract import Operation
from payments import checkout, results, store
from payments.checkout import Till
from payments.decisions import Finding
from payments.records import Attempt
from payments.results import Notice

CLAIM: Final = timedelta(minutes=2)
"""How long a worker may hold a payment; after that another takes it over."""
CLOSE_AFTER: Final = timedelta(minutes=1)
"""Time after an attempt's end before it is closed: a payment of the last second is on its way."""


class Ran(Struct, frozen=True):
    """What one run did: payments asked about, among them closed at the channel first, and how many were found paid."""

    asked: int
    closed: int
    found_paid: int


def run_due(till: Till, *, limit: int = 100, threads: int = 1) -> Ran:
    """Ask about the payments whose query is due, the longest waiting first, and carry out what the channel says.

    An attempt whose time is over is closed at the channel before it is asked about: only the channel's own word closes it here.
    With one thread and the same clock, the same payments are treated in the same order. May run in several processes at once.
    """
    at = till.clock.now()
    with till.db.begin() as tx:
        claimed = store.claim_due(
            tx,
            lane=till.lane,
            at=at,
            until=at + CLAIM,
            after={name: _later(schedule) for name, schedule in till.schedules().items()},
            close_after=CLOSE_AFTER,
            limit=limit,
        )
    if not claimed:
        return Ran(0, 0, 0)
    over = [attempt.expires_at + CLOSE_AFTER <= at for attempt in claimed]
    notices = _words(till, claimed, over, threads=threads)
    with till.db.begin() as tx:
        outcomes = results.apply(tx, lane=till.lane, notices=notices, at=till.clock.now(), ids=till.ids)
        store.release(tx, lane=till.lane, payment_ids=[attempt.payment_id for attempt in claimed])
    paid = {Finding.SETTLED, Finding.SECOND_PAYMENT, Finding.AMOUNT_SUSPENDED}
    return Ran(len(claimed), sum(over), sum(outcome.finding in paid for outcome in outcomes))


def _later(schedule: Sequence[timedelta]) -> Sequence[timedelta]:
    """Return the pauses after the first query: the first of a schedule counts from the order."""
    return schedule[1:] or schedule


def _words(till: Till, claimed: Sequence[Attempt], over: Sequence[bool], *, threads: int) -> list[Notice]:
    """Return what the channel says, in the order of ``claimed``."""
    if threads == 1:
        return [notice for one, late in zip(claimed, over, strict=True) for notice in _ask(till, one, close=late)]
    with ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(_ask, till, one, close=late) for one, late in zip(claimed, over, strict=True)]
        return [notice for future in asked for notice in future.result()]


def _ask(till: Till, attempt: Attempt, *, close: bool) -> list[Notice]:
    """Ask about one attempt, after closing it when its time is over. The answer to the close is kept; the query decides."""
    if not close or Operation.CLOSE not in till.line(attempt.channel).connected.channel.supports:
        return checkout.ask(till, attempt)
    occasion = f"close {attempt.payment_id} {attempt.queries}"
    closing = calls.close(
        till.line(attempt.channel), checkout.reference(attempt), subject=attempt.payment_id, occasion=occasion
    )  # fmt: skip
    return [Notice(closing.message, None, "query"), *checkout.ask(till, attempt)]
