"""How long deliveries are kept: the log of what was accepted is forgotten after some days, and from when on is on record.

Knows runs and their batches; must not know HTTP or settings. Called by the worker, once a day.
Source: docs/WEBHOOKS.md, section 5; invariant I13.

What waits, what is parked and the events themselves are never forgotten, so a replay reaches back as far as before.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Event
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, Engine, text

from ledger.clock import checked, milliseconds
from ledger.errors import Conflict
from payments.webhooks import invariants

DAYS_MIN: Final = 7
"""Tries go on for three days; nobody has a complaint looked into on the same day."""
BATCH: Final = 5_000
"""Deliveries looked at in one transaction: some tens of milliseconds, and only rows that nobody else wants are held."""
SAID_EVERY: Final = 20
"""Batches from one word about progress to the next."""

_BEGUN: Final = text("""
    insert into payments.webhook_keeping (lane, days, kept_from, events_from, started_at)
    select :lane, :days, :kept_from, :events_from, :at
    where not exists (select from payments.webhook_keeping k
                      where k.lane = :lane and (k.ended_at is null or k.kept_from >= :kept_from))
    on conflict (lane) where ended_at is null do nothing
    """)
_NEXT: Final = text("select deliveries, tries, is_over from payments.forget_deliveries_v1(cast(:lane as smallint), :batch, :at)")


class Forgotten(Struct, frozen=True):
    """What a call forgot. Unless ``is_over`` it was told to stop, and the next one goes on."""

    deliveries: int
    tries: int
    is_over: bool


def forget(
    db: Engine,
    *,
    lane: int,
    days: int,
    at: Callable[[], datetime],
    say: Callable[[str], object] = lambda _: None,
    stop: Event | None = None,
    batch: int = BATCH,
) -> Forgotten:
    """Forget the deliveries that were accepted more than ``days`` days ago, with their calls and what was answered, batch by batch.

    A run that was broken off is ended first, with its own moment. Each batch is a transaction of its own and holds nothing that a
    delivery needs. ``stop`` ends it between two batches; the next call goes on. May run twice: the second one finds nothing to do.

    Raises:
        Conflict: ``webhook_log_broken``: an event that would leave the sight of the checks was never put in line; nothing is
            forgotten before a person has seen to it.
    """
    assert days >= DAYS_MIN, "the settings see to it"
    deliveries = tries = number = 0
    _begin(db, lane=lane, days=days, at=at())
    while stop is None or not stop.is_set():
        with db.begin() as tx:
            done = tx.execute(_NEXT, {"lane": lane, "batch": batch, "at": at()}).first()
        if done is None:
            return Forgotten(deliveries, tries, True)
        deliveries, tries, number = deliveries + done.deliveries, tries + done.tries, number + 1
        if number % SAID_EVERY == 0 and not done.is_over:
            say(f"{deliveries} old deliveries to webhooks and {tries} calls are forgotten so far")
        if done.is_over:
            return Forgotten(deliveries, tries, True)
    return Forgotten(deliveries, tries, False)


def _begin(db: Engine, *, lane: int, days: int, at: datetime) -> None:
    """Put a run on record, unless one is under way: before the first delivery goes, the checks know from when on they look."""
    kept_from = checked(at) - timedelta(days=days)
    with db.begin() as tx:
        begun = tx.execute(
            _BEGUN, {"lane": lane, "days": days, "kept_from": kept_from, "events_from": _begins(kept_from), "at": at}
        )
        if begun.rowcount and (missing := _missing(tx, lane=lane, until=_begins(kept_from))):
            raise Conflict(f"old deliveries are kept: {missing}; see to it first", code="webhook_log_broken")


def _missing(tx: Connection, *, lane: int, until: UUID) -> str | None:
    """Return what is missing among the events that the checks have looked at until now and would look at no more."""
    return next(iter(invariants.not_in_line(tx, lane=lane, until=until)), None)


def _begins(at: datetime) -> UUID:
    """Return the smallest id that an event of this moment can have: ids begin with their milliseconds."""
    return UUID(int=milliseconds(at) << 80)
