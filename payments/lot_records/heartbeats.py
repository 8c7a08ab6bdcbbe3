"""Heartbeats 心跳: signs of life of the lots' systems, which lanes are online, and how much of a day a lot was heard.

Knows the last heartbeat and the days of a lot; must not know alarms' words or HTTP. Called by the API; read by alarms and reports.
Source: 锡政办发〔2025〕12号 二(七), 三(三): cutting the line is punished.
"""

from datetime import date, datetime, timedelta
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.clock import CHINA
from ledger.errors import Refused
from payments.lot_records import alarm_rules, intake
from payments.lot_records.intake import NAME_LETTERS_MAX, NUMBER_MAX, Rejected
from payments.lots import Lot

LANES_MAX: Final = 200
QUEUE_MAX: Final = 10**9
CLOCK_DRIFT: Final = timedelta(hours=24)
"""A clock further off than that is not believed, and not told as a drift."""


class LaneState(Struct, frozen=True, forbid_unknown_fields=True):
    """A lane of a lot, and whether it is online."""

    lane: str
    online: bool


class Heartbeat(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A sign of life, as a lot posts it every few minutes."""

    at: datetime
    """What the lot's clock says."""
    software: str
    """Name and version."""
    lanes: list[LaneState]
    last_number: int | None = None
    """Last number that the lot gave a record, of whatever kind it counts first."""
    queue: int | None = None
    """Records that wait at the lot to be posted."""


class Heard(Struct, frozen=True, kw_only=True):
    """The answer to a heartbeat: what the lot should look at.

    ``clock_ahead_seconds`` is how far the lot's clock is ahead of ours (negative: behind).
    """

    heard_at: datetime
    clock_ahead_seconds: int
    next_within_minutes: int | None
    """By when the next one is expected; None: no rule says."""


class LotDay(Struct, frozen=True, kw_only=True):
    """What a lot did on a day (China), and how long it was silent though a rule said it should be heard."""

    day: date
    entries: int
    exits: int
    openings: int
    beats: int
    silent_seconds: int


def hear(tx: Connection, *, lot: Lot, heartbeat: Heartbeat, at: datetime) -> Heard:
    """Keep a heartbeat as the lot's last, and count it on its day; what it was silent before counts on the days on which it was.

    A repeated heartbeat is one more. Holds the row of the lot's last heartbeat.

    Raises:
        Refused: ``heartbeat_invalid``.
    """
    _check(heartbeat, at)
    within = alarm_rules.minutes_of(tx, lot=lot, at=at)
    before = _keep(tx, lot=lot, heartbeat=heartbeat, at=at)
    silent = {} if before is None or within is None else _silence(before, at, timedelta(minutes=within))
    _count(tx, lot=lot, at=at, silent=silent)
    return Heard(heard_at=at, clock_ahead_seconds=round((heartbeat.at - at).total_seconds()), next_within_minutes=within)


def days(tx: Connection, *, lot: Lot, first: date, last: date) -> list[LotDay]:
    """Return what a lot did on the days from first to last (China) on which it did anything, oldest first."""
    query = text("""
        select day, entries, exits, openings, beats, silent_seconds from payments.lot_day
        where lot_id = :lot and day between :first and :last order by day
        """)
    return [LotDay(**row._mapping) for row in tx.execute(query, {"lot": lot.lot_id, "first": first, "last": last})]


def _check(heartbeat: Heartbeat, at: datetime) -> None:
    """Raise Refused (``heartbeat_invalid``) for a heartbeat that cannot be; a wrong clock is told, not refused."""
    try:
        if heartbeat.at.tzinfo is None:
            raise Rejected("at", "time_invalid", "a time needs its offset, such as +08:00")
        if abs(heartbeat.at - at) > CLOCK_DRIFT:
            raise Rejected("at", "time_invalid", f"the clock says {heartbeat.at.isoformat()} and it is {at.isoformat()}; set it")
        intake.check_words("software", heartbeat.software, NAME_LETTERS_MAX)
        names = [lane.lane for lane in heartbeat.lanes]
        for name in names:
            intake.check_words("lane", name, NAME_LETTERS_MAX)
        if len(names) > LANES_MAX or len(set(names)) < len(names):
            raise Rejected("lanes", "lanes_invalid", f"a lot names each lane once, at most {LANES_MAX}")
        if not 0 <= (heartbeat.last_number or 0) <= NUMBER_MAX or not 0 <= (heartbeat.queue or 0) <= QUEUE_MAX:
            raise Rejected("queue", "number_invalid", "last_number and queue count records, from 0 on")
    except Rejected as wrong:
        raise Refused(f"{wrong.field}: {wrong}", code="heartbeat_invalid") from None


def _keep(tx: Connection, *, lot: Lot, heartbeat: Heartbeat, at: datetime) -> datetime | None:
    """Write the last heartbeat; returns when the one before it came."""
    held = text("select heard_at from payments.lot_heartbeat where lot_id = :lot for update")
    before = tx.execute(held, {"lot": lot.lot_id}).scalar()
    tx.execute(
        text("""
        insert into payments.lot_heartbeat as h (lot_id, heard_at, said_at, software, lanes, offline, offline_since, last_number,
                                                 queue)
        values (:lot, :at, :said, :software, :lanes, cast(:offline as text[]), case when cardinality(cast(:offline as text[])) > 0
                then cast(:at as timestamptz) end, :last_number, :queue)
        on conflict (lot_id) do update
        set heard_at = greatest(h.heard_at, excluded.heard_at), said_at = excluded.said_at, software = excluded.software,
            lanes = excluded.lanes, offline = excluded.offline,
            offline_since = case when cardinality(excluded.offline) > 0 then coalesce(h.offline_since, excluded.offline_since) end,
            last_number = excluded.last_number, queue = excluded.queue
        """),
        {
            "lot": lot.lot_id, "at": at, "said": heartbeat.at, "software": heartbeat.software, "lanes": len(heartbeat.lanes),
            "offline": sorted(lane.lane for lane in heartbeat.lanes if not lane.online), "last_number": heartbeat.last_number,
            "queue": heartbeat.queue,
        },
    )  # fmt: skip
    return before


def _silence(before: datetime, at: datetime, within: timedelta) -> dict[date, int]:
    """Return the seconds of each day (China) in which a lot was silent longer than it may be."""
    start, silent = (before + within).astimezone(CHINA), {}
    end = at.astimezone(CHINA)
    while start < end:
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        silent[start.date()] = int((min(midnight, end) - start).total_seconds())
        start = midnight
    return silent


def _count(tx: Connection, *, lot: Lot, at: datetime, silent: dict[date, int]) -> None:
    today = at.astimezone(CHINA).date()
    days = sorted({today, *silent})
    tx.execute(
        text("""
        insert into payments.lot_day as d (lot_id, day, beats, silent_seconds)
        select :lot, n.* from unnest(cast(:days as date[]), cast(:beats as integer[]), cast(:silent as integer[])) as n
        on conflict (lot_id, day) do update
        set beats = d.beats + excluded.beats, silent_seconds = d.silent_seconds + excluded.silent_seconds
        """),
        {
            "lot": lot.lot_id, "days": days, "beats": [int(day == today) for day in days],
            "silent": [silent.get(day, 0) for day in days],
        },
    )  # fmt: skip
