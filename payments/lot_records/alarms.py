"""Alarms of lots: silence, gaps, lanes offline, openings, hand-backs, drops, reports. One is open per lot and kind while it is so.

Knows heartbeats, numbers, days, refunds by hand, drops, reported codes and rules; must not know the scheduler or HTTP. Called by
the worker and the API.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.lot_records.alarm_rules import IN_FORCE

AlarmKind = Literal["silent", "gap", "offline_lane", "leak", "unreturned", "drop", "sudden", "reported"]
GAP_AFTER: Final = timedelta(minutes=10)
"""Records overtake each other on the way: so long may a number be missing."""
OFFLINE_AFTER: Final = timedelta(minutes=5)
LIMIT_MAX: Final = 1_000


class Alarm(Struct, frozen=True, kw_only=True):
    """An alarm of a lot. ``closed_at`` None: it is still so."""

    lot_code: str
    lot_name: str
    kind: AlarmKind
    opened_at: datetime
    closed_at: datetime | None
    detail: str


class Change(Struct, frozen=True):
    """An alarm that was opened or closed now."""

    lot_code: str
    kind: AlarmKind
    opened: bool
    detail: str


class Silence(Struct, frozen=True, kw_only=True):
    """A lot that is to be heard, and when it was: ``heard_at`` None: never. The longest silence stands first."""

    lot_code: str
    lot_name: str
    within_minutes: int
    heard_at: datetime | None
    is_silent: bool
    offline: list[str]
    queue: int | None


_HEARD: Final = """greatest(h.heard_at, (select max(s.heard_at) from payments.lot_series s where s.lot_id = l.lot_id))"""
"""Records are signs of life too, where they are numbered."""

_SILENT: Final = f"""
    select l.lot_id, 'silent' as kind,
           format('not heard within %s minutes: %s', r.most, coalesce('last at ' || to_char(x.heard_at at time zone 'Asia/Shanghai',
                  'YYYY-MM-DD HH24:MI'), 'never')) as detail
    from payments.lot l
    cross join lateral ({IN_FORCE.format(kind="'silent'")}) r
    left join payments.lot_heartbeat h on h.lot_id = l.lot_id
    cross join lateral (select {_HEARD} as heard_at) x
    where greatest(x.heard_at, r.valid_from, l.created_at) + make_interval(mins => r.most) < :at
"""
_GAP: Final = """
    select lot_id, 'gap' as kind, string_agg(format('%s: %s of %s numbers are missing', series, last_number - numbers, last_number),
                                             '; ' order by series) as detail
    from payments.lot_series s
    where last_number > numbers
      and exists (select from payments.lot_alarm a where a.lot_id = s.lot_id and a.kind = 'gap' and a.closed_at is null)
    group by lot_id
    union all
    select s.lot_id, 'gap', string_agg(format('%s: %s of %s numbers are missing', s.series, s.last_number - s.numbers,
                                              s.last_number), '; ' order by s.series)
    from payments.lot_series s
    where s.last_number > s.numbers
      and not exists (select from payments.lot_alarm a where a.lot_id = s.lot_id and a.kind = 'gap' and a.closed_at is null)
      and exists (select from payments.v_record_gap g where g.lot_id = s.lot_id and g.series = s.series and g.since <= :gap_before)
    group by s.lot_id
"""
_OFFLINE: Final = """
    select lot_id, 'offline_lane' as kind, format('offline: %s', array_to_string(offline, ', ')) as detail
    from payments.lot_heartbeat where offline_since <= :offline_before
"""
_LEAK: Final = f"""
    select distinct on (l.lot_id) l.lot_id, 'leak' as kind,
           format('%s: %s openings by hand beside %s exits, more than %s per 100', d.day, d.openings, d.exits, r.most) as detail
    from payments.lot_day d
    join payments.lot l on l.lot_id = d.lot_id
    cross join lateral ({IN_FORCE.format(kind="'leak'")}) r
    where d.day in ((cast(:at as timestamptz) at time zone 'Asia/Shanghai')::date,
                    (cast(:at as timestamptz) at time zone 'Asia/Shanghai')::date - 1)
      and d.openings * 100 > r.most * greatest(100, d.exits)
    order by l.lot_id, d.day desc
"""
_UNRETURNED: Final = f"""
    select l.lot_id, 'unreturned' as kind,
           format('%s refunds of %s fen are not reported as handed back within %s days, the oldest of %s', count(*),
                  sum(w.amount_fen), r.most, to_char(min(w.created_at) at time zone 'Asia/Shanghai', 'YYYY-MM-DD')) as detail
    from payments.refund w
    join payments.payment p on p.lane = w.lane and p.payment_id = w.payment_id
    join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
    join payments.lot l on l.lot_id = c.lot_id
    cross join lateral ({IN_FORCE.format(kind="'unreturned'")}) r
    where w.channel in ('cash', 'legacy') and w.state = 'promised' and w.created_at + make_interval(days => r.most) < :at
    group by l.lot_id, r.most
"""
_DROP: Final = "select lot_id, kind, detail from payments.v_lot_drop"
"""Judged when something was counted, see ``payments.rollout.drops``: here a few rows are read."""
_REPORTED: Final = """
    select lot_id, 'reported' as kind,
           format('%s reports that its code looks wrong, the first of %s: see case %s', count(*),
                  to_char(min(reported_at) at time zone 'Asia/Shanghai', 'YYYY-MM-DD HH24:MI'),
                  (array_agg(number order by reported_at, number))[1]) as detail
    from payments.v_code_report where closed_at is null and lot_id is not null group by lot_id
"""

_WATCH: Final = f"""
with now as materialized (
    select lot_id, kind, detail from ({_SILENT}) s
    union all select lot_id, kind, detail from ({_GAP}) g
    union all select lot_id, kind, detail from ({_OFFLINE}) o
    union all select lot_id, kind, detail from ({_LEAK}) k
    union all select lot_id, kind, detail from ({_UNRETURNED}) u
    union all select lot_id, kind, detail from ({_DROP}) d
    union all select lot_id, kind, detail from ({_REPORTED}) t
), opened as (
    insert into payments.lot_alarm (lot_id, kind, opened_at, detail)
    select n.lot_id, n.kind, :at, n.detail from now n
    where not exists (select from payments.lot_alarm a where a.lot_id = n.lot_id and a.kind = n.kind and a.closed_at is null)
    order by n.lot_id, n.kind
    on conflict do nothing
    returning lot_id, kind, detail
), closed as (
    update payments.lot_alarm a set closed_at = :at
    where a.closed_at is null and not exists (select from now n where n.lot_id = a.lot_id and n.kind = a.kind)
    returning lot_id, kind, detail
), told as (
    update payments.lot_alarm a set detail = n.detail
    from now n where a.closed_at is null and a.lot_id = n.lot_id and a.kind = n.kind and a.detail <> n.detail
)
select l.code as lot_code, c.kind, c.opened, c.detail
from (select lot_id, kind, detail, true as opened from opened union all select lot_id, kind, detail, false from closed) c
join payments.lot l on l.lot_id = c.lot_id
order by l.code, c.kind
"""


def watch(tx: Connection, *, at: datetime) -> list[Change]:
    """Open an alarm for what is wrong now and close those whose cause is gone; returns what changed, by lot and kind.

    May run as often as wanted, also beside itself: one alarm is open per lot and kind. Whoever runs it first in a moment writes.
    """
    tx.execute(text("select pg_advisory_xact_lock(hashtext('payments.lot_alarm'))"))
    values = {"at": at, "gap_before": at - GAP_AFTER, "offline_before": at - OFFLINE_AFTER}
    return [Change(**row._mapping) for row in tx.execute(text(_WATCH), values)]


def alarms(
    tx: Connection, *, lot_id: int | None = None, operator_id: int | None = None, district: str | None = None,
    kind: AlarmKind | None = None, is_open: bool | None = True, limit: int = LIMIT_MAX,
) -> list[Alarm]:  # fmt: skip
    """Return alarms, the latest first; of one lot, operator or district, or of the city, open ones, closed ones or (None) all."""
    query = text("""
        select lot_code, lot_name, kind, opened_at, closed_at, detail from payments.v_lot_alarm
        where (cast(:lot as integer) is null or lot_id = :lot) and (cast(:operator as integer) is null or operator_id = :operator)
          and (cast(:district as text) is null or district = :district) and (cast(:kind as text) is null or kind = :kind)
          and (cast(:open as boolean) is null or (closed_at is null) = :open)
        order by opened_at desc, lot_code, kind limit :limit
        """)
    given = {"lot": lot_id, "operator": operator_id, "district": district, "kind": kind, "open": is_open, "limit": limit}
    return [Alarm(**row._mapping) for row in tx.execute(query, given)]


def silences(tx: Connection, *, at: datetime, limit: int = LIMIT_MAX) -> Sequence[Silence]:
    """Return the lots that a rule says are to be heard, the longest silence first."""
    query = text(f"""
        select l.code as lot_code, l.name as lot_name, r.most as within_minutes, x.heard_at,
               greatest(x.heard_at, r.valid_from, l.created_at) + make_interval(mins => r.most) < :at as is_silent,
               coalesce(h.offline, '{{}}') as offline, h.queue
        from payments.lot l
        cross join lateral ({IN_FORCE.format(kind="'silent'")}) r
        left join payments.lot_heartbeat h on h.lot_id = l.lot_id
        cross join lateral (select {_HEARD} as heard_at) x
        order by x.heard_at nulls first, l.code limit :limit
        """)
    return [Silence(**row._mapping) for row in tx.execute(query, {"at": at, "limit": limit})]
