"""How often a lot's code is scanned and paid per day and hour: what alarms of a drop compare with the lot's own past.

Knows counts per lot; must not know pages or rules. Called by the pages, the web process and the worker.

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
HOUR_APART_MAX: Final = timedelta(hours=3)
"""The same for what is counted by the hour: what is further apart is counted when the day is over."""
HOURS_BACK: Final = timedelta(hours=24)
"""Hours that were missed are counted as far back; before that the whole day is."""
BACK_DAYS_MAX: Final = 12 * 7 + 1
"""So many days a rule looks back at most."""


class Scans:
    """Scans of this process that are not written yet. Counting takes no lock: appending to a deque is one step."""

    def __init__(self) -> None:
        self._seen: deque[tuple[date, int, int]] = deque(maxlen=WAITING_MAX)

    def __len__(self) -> int:
        return len(self._seen)

    def count(self, lot_id: int, at: datetime) -> None:
        """Take note of one scan."""
        there = at.astimezone(CHINA)
        self._seen.append((there.date(), lot_id, there.hour))

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


def _add(tx: Connection, counts: Counter[tuple[date, int, int]]) -> None:
    """Add counts to their days and hours; in order, so that processes wait for one another and never for each other."""
    hours: dict[tuple[date, int], list[int]] = {}
    for (day, lot_id, hour), scans in counts.items():
        hours.setdefault((day, lot_id), [0] * 24)[hour] = scans
    keys = sorted(hours)
    tx.execute(
        text("""
        insert into payments.lot_visit_day as d (day, lot_id, scans, scans_by_hour)
        select day, lot_id, scans, cast(hours as integer[])
        from unnest(cast(:days as date[]), cast(:lots as integer[]), cast(:scans as integer[]), cast(:hours as text[]))
             as n (day, lot_id, scans, hours) order by day, lot_id
        on conflict (day, lot_id) do update
        set scans = d.scans + excluded.scans,
            scans_by_hour = (select array_agg(coalesce(u.was, 0) + u.more order by u.place)
                             from unnest(d.scans_by_hour, excluded.scans_by_hour) with ordinality as u (was, more, place))
        """),
        {
            "days": [day for day, _ in keys], "lots": [lot for _, lot in keys], "scans": [sum(hours[key]) for key in keys],
            "hours": ["{" + ",".join(map(str, hours[key])) + "}" for key in keys],
        },
    )  # fmt: skip


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


_BY_HOUR: Final = f"array[{', '.join(f'count(*) filter (where hour = {hour})' for hour in range(24))}]::integer[]"
_PAID: Final = """
    select p.lot_id, extract(hour from p.succeeded_at at time zone 'Asia/Shanghai')::integer as hour from payments.v_payment p
    where p.payment_id >= :first_id and p.payment_id < :last_id and p.state = 'succeeded' and p.channel not in ('cash', 'legacy')
      and p.succeeded_at >= :first and p.succeeded_at < :last
"""
"""Payments over the city's channels that succeeded within a span, as far as they were made about then: ids are in order of time."""


def count_payments(tx: Connection, *, day: date, at: datetime) -> None:
    """Count the payments over the city's channels of a day (China) for each lot and hour. Again gives the same.

    Reads the payments made on that day and the two before and behind it.
    """
    first = datetime.combine(day, time(), tzinfo=CHINA)
    tx.execute(
        text(f"""
        with counted as (
            select lot_id, count(*) as payments, {_BY_HOUR} as hours from ({_PAID}) p group by lot_id
        )
        insert into payments.lot_visit_day (day, lot_id, payments, payments_by_hour)
        select :day, lot_id, payments, hours from counted order by lot_id
        on conflict (day, lot_id) do update set payments = excluded.payments, payments_by_hour = excluded.payments_by_hour
        """),
        _span(first, first + timedelta(days=1), APART_MAX) | {"day": day},
    )
    tx.execute(
        text("""
        insert into payments.visit_day (day, counted_at, by_hour) values (:day, :at, true)
        on conflict (day) do update set counted_at = excluded.counted_at, by_hour = true
        """),
        {"day": day, "at": at},
    )


def count_hours(db: Engine, *, at: Callable[[], datetime]) -> int:
    """Count the payments of the hours of the last day that are over and not counted yet; returns how many hours.

    May be broken off and begun again. What a channel told late is added when the whole day is counted.
    """
    end = at().astimezone(CHINA).replace(minute=0, second=0, microsecond=0)
    query = text("select starts_at from payments.visit_hour where starts_at >= :first")
    with db.connect() as tx:
        done = set(tx.execute(query, {"first": end - HOURS_BACK}).scalars())
        is_city = tx.execute(text("select 1 from payments.lot limit 1")).first() is not None
    hours = [end - timedelta(hours=n) for n in range(HOURS_BACK // timedelta(hours=1), 0, -1)] if is_city else []
    waiting = [hour for hour in hours if hour not in done]
    for hour in waiting:
        with db.begin() as tx:
            count_hour(tx, hour=hour, at=at())
    return len(waiting)


def count_hour(tx: Connection, *, hour: datetime, at: datetime) -> None:
    """Count the payments of the hour that begins at ``hour`` for each lot. Again gives the same, with what was told meanwhile."""
    there = hour.astimezone(CHINA)
    tx.execute(
        text(f"""
        insert into payments.lot_visit_day as d (day, lot_id, payments_by_hour)
        select :day, lot_id, {_BY_HOUR} from ({_PAID}) p group by lot_id order by lot_id
        on conflict (day, lot_id) do update set payments_by_hour =
            (coalesce(d.payments_by_hour, array_fill(0, array[24])))[1:cast(:hour as integer)]
            || excluded.payments_by_hour[cast(:hour as integer) + 1]
            || (coalesce(d.payments_by_hour, array_fill(0, array[24])))[cast(:hour as integer) + 2:24]
        """),
        _span(hour, hour + timedelta(hours=1), HOUR_APART_MAX) | {"day": there.date(), "hour": there.hour},
    )
    tx.execute(
        text("""
        insert into payments.visit_hour (starts_at, counted_at) values (:hour, :at)
        on conflict (starts_at) do update set counted_at = excluded.counted_at
        """),
        {"hour": hour, "at": at},
    )


def _span(first: datetime, last: datetime, apart: timedelta) -> dict[str, object]:
    return {"first": first, "last": last, "first_id": _id_floor(first - apart), "last_id": _id_floor(last + apart)}


def _id_floor(at: datetime) -> UUID:
    """Return an id before all that were made from ``at`` on."""
    return UUID(int=milliseconds(at) << 80)
