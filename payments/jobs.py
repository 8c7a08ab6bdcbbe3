"""Timed work on payments: ask the channel about those that are undecided, close those whose time is over.

Knows attempts and calls to channels; must not know the scheduler or HTTP. Called by the worker and the simulation's control route.

Work is claimed row by row in one short transaction, so any number of workers may run; the channel is called outside of it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct

from gateways.contract import Way
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
    A deduction cannot be closed by us: it is asked about only.
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
    closable = [attempt for attempt in claimed if attempt.way is not Way.DEDUCTION]
    late = {attempt.payment_id for attempt in closable if attempt.expires_at + CLOSE_AFTER <= at}
    acts = _acts(claimed)
    closing = checkout.whole(till, [act for act in acts if act[0].act_id is not None and act[0].payment_id in late])
    asked = [(act, closing.get(act[0].act_id, act) if act[0].payment_id in late else None) for act in acts]
    notices = _words(till, asked, threads=threads)
    with till.db.begin() as tx:
        outcomes = results.apply(tx, lane=till.lane, notices=notices, at=till.clock.now(), ids=till.ids)
        store.release(tx, lane=till.lane, payment_ids=[attempt.payment_id for attempt in claimed])
    paid = {Finding.SETTLED, Finding.PART, Finding.SECOND_PAYMENT, Finding.AMOUNT_SUSPENDED}
    return Ran(len(claimed), len(late), sum(outcome.finding in paid for outcome in outcomes))


def _later(schedule: Sequence[timedelta]) -> Sequence[timedelta]:
    """Return the pauses after the first query: the first of a schedule counts from the order."""
    return schedule[1:] or schedule


def _acts(claimed: Sequence[Attempt]) -> list[list[Attempt]]:
    """Put the legs of one act together, which are asked about in one call; any other attempt stands by itself."""
    acts: dict[UUID, list[Attempt]] = {}
    for attempt in claimed:
        acts.setdefault(attempt.act_id or attempt.payment_id, []).append(attempt)
    return list(acts.values())


Asked = tuple[Sequence[Attempt], Sequence[Attempt] | None]
"""An act to be asked about, and the legs to be closed before, when its time is over."""


def _words(till: Till, asked: Sequence[Asked], *, threads: int) -> list[Notice]:
    """Return what the channels say, in the order of ``asked``."""
    if threads == 1:
        return [notice for one in asked for notice in _ask(till, one)]
    with ThreadPoolExecutor(threads) as pool:
        return [notice for notices in pool.map(lambda one: _ask(till, one), asked) for notice in notices]


def _ask(till: Till, asked: Asked) -> list[Notice]:
    """Ask about one act, after closing it when its time is over."""
    act, closing = asked
    return checkout.ask_together(till, act) if closing is None else checkout.close_and_ask(till, act, legs=closing)
