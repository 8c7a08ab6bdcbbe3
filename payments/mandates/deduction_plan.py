"""When a debt is tried to be deducted by the plate's mandate: at once for a car that has gone, then by the rule's days and times.

Knows debts, rules and deductions; must not know HTTP or any channel's wire. Called by departures, the worker and the simulation.
A try never goes beside a payer: while somebody pays by hand, or a channel has not said yet, it waits.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from ledger.errors import Conflict, Refused, TongtingError
from payments.checkout import Till
from payments.mandates import deduction_plan_store as plans
from payments.mandates import deductions
from payments.mandates.deduction_plan_store import Due, Next, TryRow
from payments.mandates.deductions import Tried

CLAIM: Final = timedelta(minutes=5)
"""How long a worker may hold a debt; after that another one takes it over."""
WAIT: Final = timedelta(minutes=30)
"""After this a try that had to wait for a payer is made again."""
PLAN_CHUNK: Final = 20_000
"""Debts looked at in one statement of the nightly planning."""
_WAITING: Final = frozenset({"payment_under_way", "deduction_under_way", "card_under_way"})
_IN_DOUBT: Final = frozenset({"pending", "unknown"})


class Ran(Struct, frozen=True):
    """What one run did: debts tried, among them taken or taken on, given up, and those that wait for a payer."""

    tried: int
    taken: int
    given_up: int
    waiting: int


class NewDeductRule(Struct, frozen=True, kw_only=True):
    """On which days after leaving, and at which times in China, a debt is tried; of no operator for the whole city."""

    operator_id: int | None = None
    valid_from: datetime
    document: str
    after_days: Sequence[int]
    at_times: Sequence[time]


def enter_rule(tx: Connection, *, rule: NewDeductRule, at: datetime) -> int:
    """Enter a rule for debts of cars that leave from its date on, and return its version.

    Raises:
        Refused: ``deduct_rule_invalid``, no document, days or times that do not rise, or a date in the past.
        Conflict: ``deduct_rule_conflict``, a rule of this operator begins at that time.
    """
    days, times = list(rule.after_days), list(rule.at_times)
    if not rule.document.strip() or rule.valid_from < at:
        raise Refused("a rule needs its approving document, and begins now or later", code="deduct_rule_invalid")
    if not days or not times or days != sorted(set(days)) or times != sorted(set(times)) or days[0] < 0:
        raise Refused("days and times rise, and a day is 0 or more", code="deduct_rule_invalid")
    made = plans.insert_rule(
        tx, operator_id=rule.operator_id, valid_from=rule.valid_from, document=rule.document, days=days, times=times, at=at
    )
    if made is None:
        raise Conflict("a rule of this operator begins at that time; let this one begin later", code="deduct_rule_conflict")
    return made


def rules(tx: Connection) -> list[dict[str, Any]]:
    """Return all rules of deductions, the city's first, each operator's in the order of their dates."""
    return plans.rules(tx)


def begin(
    tx: Connection, *, lane: int, charge_ids: Sequence[UUID], due_at: datetime | None = None, behind: datetime | None = None
) -> None:  # fmt: skip
    """Plan deductions of debts whose plates have a mandate: first at ``due_at``, or at the rule's first time behind ``behind``."""
    if charge_ids:
        plans.begin(tx, lane=lane, charge_ids=charge_ids, due_at=due_at, behind=behind)


def plan(till: Till, *, behind: UUID | None = None) -> tuple[int, UUID | None]:
    """Plan the deductions of debts whose plates got a mandate since: one chunk of debts, in the order of their ids.

    Returns how many were planned and behind which debt to go on; None when all were looked at. Each chunk is a transaction, so the
    nightly run can be stopped and gone on with. May be repeated.
    """
    with till.db.begin() as tx:
        return plans.plan(tx, lane=till.lane, at=till.clock.now(), behind=behind, limit=PLAN_CHUNK)


def run_due(till: Till, *, limit: int = 100, threads: int = 1) -> Ran:
    """Try the debts that are due, the longest waiting first, and plan what comes next. May run in several processes at once.

    What is disputed, paused or paid meanwhile is not tried. With one thread and the same clock the same debts are tried in order.
    """
    at = till.clock.now()
    with till.db.begin() as tx:
        claimed = plans.claim(tx, lane=till.lane, at=at, until=at + CLAIM, limit=limit)
    if not claimed:
        return Ran(0, 0, 0, 0)
    made = _all(till, claimed, threads)
    now = till.clock.now()
    with till.db.begin() as tx:
        plans.keep_tries(tx, lane=till.lane, tries=[row for due, tried in made for row in _rows(due, tried, at)])
        nexts = [_next(due, tried, now) for due, tried in made]
        given_up = plans.go_on(tx, lane=till.lane, nexts=nexts, at=now)
    states = [_state(tried) for _, tried in made]
    return Ran(
        tried=len(made),
        taken=sum(state in ("succeeded", "pending") for state in states),
        given_up=given_up,
        waiting=sum(one.wait for one in nexts),
    )


def _all(till: Till, claimed: Sequence[Due], threads: int) -> list[tuple[Due, list[Tried]]]:
    if threads == 1:
        return [(due, _try(till, due)) for due in claimed]
    with ThreadPoolExecutor(threads) as pool:
        return list(zip(claimed, pool.map(lambda due: _try(till, due), claimed), strict=True))


def _try(till: Till, due: Due) -> list[Tried]:
    """Deduct one debt; what stands in its way is kept like a channel's refusal."""
    try:
        made = deductions.deduct(till, lot_id=due.lot_id, lot_serial=due.lot_serial)
    except TongtingError as stopped:
        return [Tried(channel="", state="none", reason=stopped.code)]
    return list(made.tried) or [Tried(channel="", state="none", reason="no_channel")]


def _state(tried: Sequence[Tried]) -> str:
    """Return the word that counts: of the channel that took it or may have, else the last."""
    return next((one.state for one in tried if one.state not in ("none", "failed")), tried[-1].state)


def _rows(due: Due, tried: Sequence[Tried], at: datetime) -> list[TryRow]:
    return [
        TryRow(due.charge_id, at, one.channel, "waits" if one.reason in _WAITING else one.state, one.reason) for one in tried
    ]  # fmt: skip


def _next(due: Due, tried: Sequence[Tried], now: datetime) -> Next:
    """Say when a debt is tried next: never once it is paid, soon when somebody was at it, else at the rule's next time."""
    reasons = {one.reason for one in tried}
    if _state(tried) == "succeeded" or reasons & {"charge_settled", "charge_unknown"}:
        return Next(due.charge_id, over=True)
    if reasons & _WAITING or _state(tried) in _IN_DOUBT:
        return Next(due.charge_id, wait=True, due_at=now + WAIT)
    return Next(due.charge_id, over="attempts_exhausted" in reasons and all(one.state == "none" for one in tried))
