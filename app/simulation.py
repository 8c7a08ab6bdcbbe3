"""Control routes of a simulated city: set the clock, run the due jobs, seal. Mounted only when the setting ``simulated`` is on.

Knows the set clock, the jobs and the sealer; must not know the plan of a day. Called over HTTP by the simulated day and tests.
"""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from time import monotonic, sleep
from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post
from litestar.exceptions import HTTPException
from litestar.params import JSONBody, RawBody
from msgspec import Meta, Struct
from sqlalchemy import text

from app.dunning import dun
from app.problems import HANDLERS
from app.wiring import Wired, Wiring
from app.worker import (
    ask_about_payments,
    claim_from_bearers,
    deduct_debts,
    make_refunds,
    plan_deductions,
    prepare_months,
    pull_status_lists,
    seal_all,
    send_cards,
    share_incentives,
    watch_lots,
)
from ledger.clock import CHINA, SetClock
from payments.owed.dunning.sending import Sent
from payments.webhooks import delivery, fan_out, store

SEAL_SECONDS_MAX: Final = 30.0
DAILY: Final[tuple[tuple[time, Callable[[Wiring], object]], ...]] = (
    (time(3), plan_deductions),
    (time(9, 30), dun),
    (time(10), prepare_months),
)
"""What the worker does once a day, by its times in China."""


class ClockAt(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the clock shall stand."""

    at: Annotated[datetime, Meta(tz=True)]


class SimulationState(Struct, frozen=True):
    """The seed of this installation and where its clock stands."""

    seed: int
    now: datetime
    payments: int
    """Attempts made so far: a fresh city has none."""


class JobsSince(Struct, frozen=True, forbid_unknown_fields=True):
    """When the jobs ran last: what is done once a day is done when its time has come since then."""

    since: Annotated[datetime, Meta(tz=True)]


class JobsRun(Struct, frozen=True, kw_only=True):
    """How many payments the channel was asked about, and how many calls were made about refunds, with packages of cards, and for
    status lists; how many debts were tried to be deducted, reminders sent, and events pushed to webhooks."""

    asked: int
    refunds: int
    packages: int
    lists: int
    deducted: int
    reminders: int
    pushed: int


class SealedUpTo(Struct, frozen=True):
    """How many entries were sealed now."""

    entries: int


class SimulationRoutes(Controller):
    """The routes below ``/_simulation``."""

    path = "/_simulation"
    include_in_schema = False
    exception_handlers = HANDLERS

    @get("/state", sync_to_thread=True)
    def state(self, wiring: Wired) -> SimulationState:
        """Say which simulation this is and where it stands."""
        return _state(wiring)

    @post("/clock", sync_to_thread=True, status_code=200)
    def set_clock(self, wiring: Wired, data: JSONBody[ClockAt]) -> ClockAt:
        """Set the clock; it never goes back. Returns where it stands."""
        assert isinstance(wiring.clock, SetClock)
        try:
            wiring.clock.set(data.at)
        except ValueError as wrong:
            raise HTTPException(str(wrong), status_code=409) from None
        return ClockAt(wiring.clock.now())

    @post("/jobs", sync_to_thread=True, status_code=200)
    def run_jobs(self, wiring: Wired, body: RawBody) -> JobsRun:
        """Do what the worker does by the minute, one thing after another: queries, refunds, packages of cards, status lists,
        deductions of debts, reminders, shares of recovered debts, alarms, webhooks. With ``JobsSince`` also what is done daily.
        """
        reminders = sum(_sent(job(wiring)) for job in daily_jobs(_since(body), wiring.clock.now()))
        ran = JobsRun(
            asked=ask_about_payments(wiring, threads=1), refunds=make_refunds(wiring, threads=1), packages=send_cards(wiring),
            lists=pull_status_lists(wiring), deducted=deduct_debts(wiring, threads=1), reminders=reminders, pushed=0,
        )  # fmt: skip
        share_incentives(wiring)
        claim_from_bearers(wiring)
        watch_lots(wiring)
        return msgspec.structs.replace(ran, pushed=_push(wiring))

    @post("/seal", sync_to_thread=True, status_code=200)
    def seal(self, wiring: Wired) -> SealedUpTo:
        """Seal everything that is committed; waits until no older transaction stands in the way."""
        entries, deadline = 0, monotonic() + SEAL_SECONDS_MAX
        while True:
            entries += seal_all(wiring) or 0
            if not _unsealed(wiring):
                return SealedUpTo(entries)
            if monotonic() > deadline:
                raise HTTPException("an old transaction keeps entries from being sealed", status_code=503)
            sleep(0.05)


def _push(wiring: Wiring) -> int:
    """Push events to webhooks where there are new ones, and on the hour what has to be sent again; returns how many were taken."""
    with wiring.db.connect() as tx:
        wanted = bool(store.all_webhooks(tx, lane=wiring.lane, operator_id=None, ended=False))
        is_new = wanted and fan_out.is_waiting(tx, lane=wiring.lane)
    if not is_new and not (wanted and wiring.clock.now().minute == 0):
        return 0
    return delivery.run_due(wiring.post()).delivered


def _sent(done: object) -> int:
    """Return how many reminders a daily job has sent."""
    return next((one.sent for one in done if isinstance(one, Sent)), 0) if isinstance(done, tuple) else 0


def _since(body: bytes) -> datetime | None:
    try:
        return msgspec.json.decode(body, type=JobsSince).since if body else None
    except msgspec.DecodeError as wrong:
        raise HTTPException(str(wrong), status_code=400) from None


def daily_jobs(since: datetime | None, until: datetime) -> list[Callable[[Wiring], object]]:
    """Return what is done once a day and whose time lies behind ``since`` and not behind ``until``, in the order of the times."""
    if since is None:
        return []
    first, days = since.astimezone(CHINA).date(), (until.astimezone(CHINA).date() - since.astimezone(CHINA).date()).days
    times = [
        (datetime.combine(first + timedelta(days=number), at, tzinfo=CHINA), job) for number in range(days + 1) for at, job in DAILY
    ]
    return [job for at, job in times if since < at <= until]


def _state(wiring: Wiring) -> SimulationState:
    with wiring.db.connect() as tx:
        payments = tx.execute(text("select count(*) from payments.v_payment")).scalar_one()
    return SimulationState(wiring.settings.simulated_seed, wiring.clock.now(), payments)


def _unsealed(wiring: Wiring) -> bool:
    with wiring.db.connect() as tx:
        return bool(tx.execute(text("select exists (select from ledger.v_posting where leaf_index is null)")).scalar_one())
