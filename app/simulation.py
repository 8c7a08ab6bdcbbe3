"""Control routes of a simulated city: set the clock, run the due jobs, seal. Mounted only when the setting ``simulated`` is on.

Knows the set clock, the jobs and the sealer; must not know the plan of a day. Called over HTTP by the simulated day and tests.
"""

import time
from datetime import datetime
from typing import Annotated, Final

from litestar import Controller, get, post
from litestar.exceptions import HTTPException
from litestar.params import JSONBody
from msgspec import Meta, Struct
from sqlalchemy import text

from app.wiring import Wired, Wiring
from app.worker import ask_about_payments, make_refunds, pull_status_lists, seal_all, send_cards
from ledger.clock import SetClock

SEAL_SECONDS_MAX: Final = 30.0


class ClockAt(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the clock shall stand."""

    at: Annotated[datetime, Meta(tz=True)]


class SimulationState(Struct, frozen=True):
    """The seed of this installation and where its clock stands."""

    seed: int
    now: datetime
    payments: int
    """Attempts made so far: a fresh city has none."""


class JobsRun(Struct, frozen=True):
    """How many payments the channel was asked about, and how many calls were made about refunds, with packages of cards, and for
    status lists."""

    asked: int
    refunds: int
    packages: int
    lists: int


class SealedUpTo(Struct, frozen=True):
    """How many entries were sealed now."""

    entries: int


class SimulationRoutes(Controller):
    """The routes below ``/_simulation``."""

    path = "/_simulation"
    include_in_schema = False

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
    def run_jobs(self, wiring: Wired) -> JobsRun:
        """Do what the worker does by the minute, one thing after another: queries, refunds, packages of cards, status lists."""
        return JobsRun(
            asked=ask_about_payments(wiring, threads=1), refunds=make_refunds(wiring, threads=1), packages=send_cards(wiring),
            lists=pull_status_lists(wiring),
        )  # fmt: skip

    @post("/seal", sync_to_thread=True, status_code=200)
    def seal(self, wiring: Wired) -> SealedUpTo:
        """Seal everything that is committed; waits until no older transaction stands in the way."""
        entries, deadline = 0, time.monotonic() + SEAL_SECONDS_MAX
        while True:
            entries += seal_all(wiring) or 0
            if not _unsealed(wiring):
                return SealedUpTo(entries)
            if time.monotonic() > deadline:
                raise HTTPException("an old transaction keeps entries from being sealed", status_code=503)
            time.sleep(0.05)


def _state(wiring: Wiring) -> SimulationState:
    with wiring.db.connect() as tx:
        payments = tx.execute(text("select count(*) from payments.v_payment")).scalar_one()
    return SimulationState(wiring.settings.simulated_seed, wiring.clock.now(), payments)


def _unsealed(wiring: Wiring) -> bool:
    with wiring.db.connect() as tx:
        return bool(tx.execute(text("select exists (select from ledger.v_posting where leaf_index is null)")).scalar_one())
