"""How often a lot's code is scanned and paid per day: what an alarm of a drop compares with the lot's own past.

Knows counts per lot and day; must not know pages or rules. Called by the pages, the web process and the worker.

A scan writes nothing: it is counted in its process, and the counts go to the database once a minute. A process that is killed loses
at most that minute.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from ledger.clock import CHINA, business_date, milliseconds

LOG: Final = logging.getLogger("tongting.visits")
FLUSH_SECONDS: Final = 60.0
WAITING_MAX: Final = 1_000_000
"""Scans that one process holds at most while the database is away; the oldest are given up first."""
APART_MAX: Final = timedelta(days=2)
"""So far apart are at most the moments at which a payment was made here and at which its channel took the money."""
BACK_DAYS_MAX: Final = 12 * 7 + 1
"""So many days a rule looks back at most."""


class Scans:
    """Scans of this process that are not written yet. Counting takes no lock: appending to a deque is one step."""

    def __init__(self) -> None:
        self._seen: deque[tuple[date, int]] = deque(maxlen=WAITING_MAX)

    def __len__(self) -> int:
        return len(self._seen)

    def count(self, lot_id: int, at: datetime) -> None:
        """Take note of one scan."""
        self._seen.append((business_date(at), lot_id))

    def flush(self, db: Engine) -> int:
        """Write what was counted, in one statement; returns how many scans. What cannot be written stays and is written later."""
        taken = [self._seen.popleft() for _ in range(len(self._seen))]
        if not taken:
            return 0
        try:
            with db.begin() as tx:
                _add(tx, Counter(taken))
        except Exception:
            self._seen.extendleft(reversed(taken))
            raise
        return len(taken)

    def flush_until(self, db: Engine, stop: threading.Event, *, every_seconds: float = FLUSH_SECONDS) -> None:
        """Flush now and then until ``stop`` is set, and once more at the end. A failure is logged and tried again."""
        while not stop.wait(every_seconds):
            self._try(db)
        self._try(db)

    def _try(self, db: Engine) -> None:
        try:
            self.flush(db)
        except Exception:
            LOG.exception("scans cannot be counted now; %d wait", len(self))


SCANS: Final = Scans()
"""Of this process."""


def _add(tx: Connection, counts: Counter[tuple[date, int]]) -> None:
    """Add counts to their days; in order, so that processes wait for one another and never for each other."""
    keys = sorted(counts)
    tx.execute(
        text("""
        insert into payments.lot_visit_day as d (day, lot_id, scans)
        select day, lot_id, scans from unnest(cast(:days as date[]), cast(:lots as integer[]), cast(:scans as integer[]))
             as n (day, lot_id, scans) order by day, lot_id
        on conflict (day, lot_id) do update set scans = d.scans + excluded.scans
        """),
        {"days": [day for day, _ in keys], "lots": [lot for _, lot in keys], "scans": [counts[key] for key in keys]},
    )


def count_days(db: Engine, *, at: Callable[[], datetime], say: Callable[..., None] = LOG.info) -> int:
    """Count the payments of each day that is over and not counted yet, each day by itself; returns how many days.

    May be broken off and begun again: a day is counted whole or not at all. Looks back no further than rules do.
    """
    today = business_date(at())
    with db.connect() as tx:
        done = set(tx.execute(text("select day from payments.visit_day where day >= :first"), {"first": today - _BACK}).scalars())
        first = tx.execute(text("select min(created_at) from payments.lot")).scalar()
    if first is None:
        return 0
    begin = max(today - _BACK, business_date(first))
    waiting = [day for n in range((today - begin).days) if (day := begin + timedelta(days=n)) not in done]
    for place, day in enumerate(waiting, 1):
        with db.begin() as tx:
            count_payments(tx, day=day, at=at())
        if len(waiting) > 1:
            say("payments of %s are counted, %d of %d days", day, place, len(waiting))
    return len(waiting)


_BACK: Final = timedelta(days=BACK_DAYS_MAX)


def count_payments(tx: Connection, *, day: date, at: datetime) -> None:
    """Count the payments over the city's channels of a day (China) for each lot. Again gives the same.

    Reads the payments made on that day and the two before and behind it: their ids are in order of time.
    """
    first = datetime.combine(day, time(), tzinfo=CHINA)
    ids = {"first_id": _id_floor(first - APART_MAX), "last_id": _id_floor(first + timedelta(days=1) + APART_MAX)}
    tx.execute(
        text("""
        with counted as (
            select p.lot_id, count(*) as payments from payments.v_payment p
            where p.payment_id >= :first_id and p.payment_id < :last_id
              and p.state = 'succeeded' and p.channel not in ('cash', 'legacy')
              and p.succeeded_at >= :first and p.succeeded_at < :last
            group by p.lot_id
        )
        insert into payments.lot_visit_day (day, lot_id, payments) select :day, lot_id, payments from counted order by lot_id
        on conflict (day, lot_id) do update set payments = excluded.payments
        """),
        ids | {"day": day, "first": first, "last": first + timedelta(days=1)},
    )
    tx.execute(
        text("""
        insert into payments.visit_day (day, counted_at) values (:day, :at)
        on conflict (day) do update set counted_at = excluded.counted_at
        """),
        {"day": day, "at": at},
    )


def _id_floor(at: datetime) -> UUID:
    """Return an id before all that were made from ``at`` on."""
    return UUID(int=milliseconds(at) << 80)
