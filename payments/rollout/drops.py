"""When scans or payments of a lot drop against its own past: by the day, and by the last hours.

Knows counts, calendars and rules; must not know alarms or how anything is counted. Called by the worker when something was counted.
Source: docs/ROLLOUT.md.

What was found is kept (``payments.lot_drop``) until it is judged again: whoever looks for alarms each minute reads a few rows.
"""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.clock import CHINA
from payments.lot_records.alarm_rules import IN_FORCE, WEEKS_MAX

JUDGED_DAYS: Final = 14
"""A drop is judged by the last ordinary day that is over, if it is not longer ago: holidays neither ring nor end an alarm."""
HOURS: Final = (1, 2, 3)
"""So many last hours are judged together: a busy lot shows within one, a quiet one within three."""
LATE: Final = timedelta(hours=2)
"""An hour that has been over for longer is not judged any more."""
CITY_LOTS: Final = 20
CITY_PERCENT: Final = 20
"""When so many lots and more than so many percent of those that can be judged drop in the same hour, it is the city, not its
codes: a storm, a holiday that no calendar has, or our own pages that could not be reached. No lot rings then; the city hears it."""

_TODAY: Final = "(cast(:at as timestamptz) at time zone 'Asia/Shanghai')::date"
_ORDINARY: Final = """
    not exists (select from off o where o.day = d.day and o.lot_id is null)
    and not exists (select from off o where o.day = d.day and o.lot_id = j.lot_id)
"""
"""No calendar makes a day ``d`` free or a holiday for a lot ``j``: it is judged, and other days are compared with it."""
_RULED: Final = """
    select l.lot_id, (l.created_at at time zone 'Asia/Shanghai')::date as since, r.most, r.weeks, r.least, r.odds
    from payments.lot l cross join lateral ({rule}) r
"""
_DAY: Final = f"""
    with off as materialized (
        select d.day, x.lot_id
        from payments.visit_day d
        join payments.tariff_calendar c on c.days @> d.day and c.effect in ('free', 'holiday')
        left join payments.tariff_calendar_lot x on x.calendar_id = c.calendar_id and not c.everywhere
        where d.day >= {_TODAY} - {JUDGED_DAYS + 7 * WEEKS_MAX} and (c.everywhere or x.lot_id is not null)
    ), ruled as materialized ({_RULED.format(rule=IN_FORCE.format(kind="'drop'"))}
    ), judged as materialized (
        select j.lot_id, j.since, j.most, j.weeks, j.least, max(d.day) as day
        from ruled j join payments.visit_day d on d.day >= {_TODAY} - {JUDGED_DAYS} and d.day < {_TODAY}
        where {_ORDINARY}
        group by j.lot_id, j.since, j.most, j.weeks, j.least
    ), past as materialized (
        select j.lot_id, count(*) as days, percentile_cont(0.5) within group (order by coalesce(v.scans, 0)) as scans,
               percentile_cont(0.5) within group (order by coalesce(v.payments, 0)) as payments
        from judged j
        join generate_series(1, {WEEKS_MAX}) w on w <= j.weeks
        join payments.visit_day d on d.day = j.day - 7 * w and d.day >= j.since
        left join payments.lot_visit_day v on v.day = d.day and v.lot_id = j.lot_id
        where {_ORDINARY}
        group by j.lot_id
    ), low as materialized (
        select j.lot_id, x.what, j.day,
               format('%s %s on %s, the median of %s such days before is %s', x.what, x.count, j.day, p.days, x.median) as detail
        from judged j
        join past p on p.lot_id = j.lot_id and p.days * 2 >= j.weeks
        left join payments.lot_visit_day v on v.day = j.day and v.lot_id = j.lot_id
        cross join lateral (
            values ('scans', coalesce(v.scans, 0), p.scans), ('payments', coalesce(v.payments, 0), p.payments)
        ) x (what, count, median)
        where x.median >= j.least and x.count * 100 < x.median * (100 - j.most)
    ), over as (
        delete from payments.lot_drop d
        where d.span = 'day' and not exists (select from low w where w.lot_id = d.lot_id and w.what = d.what)
    )
    insert into payments.lot_drop as d (lot_id, span, what, judged_until, detail)
    select lot_id, 'day', what, cast(day + 1 as timestamp) at time zone 'Asia/Shanghai', detail from low order by lot_id, what
    on conflict (lot_id, span, what) do update set judged_until = excluded.judged_until, detail = excluded.detail
"""


def judge_days(tx: Connection, *, at: datetime) -> int:
    """Judge the last ordinary day of each lot that a rule of drops counts for; returns how many counts are low. May be repeated."""
    _turn(tx)
    return tx.execute(text(_DAY), {"at": at}).rowcount


class Judged(Struct, frozen=True, kw_only=True):
    """What was found by the hour: ``judged`` lots had cars enough, ``low`` of them dropped. ``is_city``: none of them rings."""

    until: datetime
    judged: int
    low: int
    is_city: bool


def _sums(column: str, name: str) -> str:
    """Return the sums of the last 1, 2 and 3 hours up to the one judged, as columns; hours of the day before do not count."""
    hours = [f"coalesce({column}[cast(:place as integer) - {back}], 0)" for back in range(max(HOURS))]
    return ", ".join(f"{' + '.join(hours[:n])} as {name}{n}" for n in HOURS)


_COUNTS: Final = [(what, n) for what in ("scans", "payments") for n in HOURS]
_OF_WEEKS: Final = """
    max({one}) filter (where w = 0) as {one}_now,
    percentile_cont(0.5) within group (order by {one}) filter (where w > 0) as {one}_median,
    (array_agg({one} order by {one}) filter (where w > 0))[2] as {one}_poor"""
_HOURS: Final = f"""
    with off as materialized (
        select d.day, x.lot_id
        from generate_series(0, {WEEKS_MAX}) w
        cross join lateral (select cast(:day as date) - 7 * w as day) d
        join payments.tariff_calendar c on c.days @> d.day and c.effect in ('free', 'holiday')
        left join payments.tariff_calendar_lot x on x.calendar_id = c.calendar_id and not c.everywhere
        where c.everywhere or x.lot_id is not null
    ), judged as materialized (
        select j.* from ({_RULED.format(rule=IN_FORCE.format(kind="'sudden'"))}) j, (select cast(:day as date) as day) d
        where {_ORDINARY}
    ), week as materialized (
        select j.lot_id, j.most, j.weeks, j.odds, w, {_sums("v.scans_by_hour", "scans")}, {_sums("v.payments_by_hour", "payments")}
        from judged j
        join generate_series(0, {WEEKS_MAX}) w on w <= j.weeks
        cross join lateral (select cast(:day as date) - 7 * w as day) d
        left join payments.lot_visit_day v on v.day = d.day and v.lot_id = j.lot_id
        where {_ORDINARY}
          and (w = 0 or d.day >= j.since and exists (select from payments.visit_day c where c.day = d.day and c.by_hour))
    ), lot as materialized (
        select lot_id, most, odds, count(*) - 1 as days, {", ".join(_OF_WEEKS.format(one=f"{what}{n}") for what, n in _COUNTS)}
        from week group by lot_id, most, weeks, odds having (count(*) - 1) * 2 >= weeks
    ), seen as materialized (
        select j.lot_id, j.odds, j.days, y.what, y.hours, y.count, y.median, y.poor,
               y.count * 100 < y.median * (100 - j.most) as is_less
        from lot j cross join lateral (
            values {", ".join(f"('{what}', {n}, {what}{n}_now, {what}{n}_median, {what}{n}_poor)" for what, n in _COUNTS)}
        ) y (what, hours, count, median, poor)
        where y.poor > ln(j.odds) and y.hours <= :place
    ), found as materialized (
        select lot_id, what, hours, is_less,
               case when is_less and count < poor
                         and poor - count - case when count > 0 then count * ln(poor::float8 / count) else 0 end > ln(odds) then
                   format('%s %s from %s to %s, the median of %s such days before is %s', what, count,
                          to_char(cast(:until as timestamptz) at time zone 'Asia/Shanghai' - hours * interval '1 hour',
                                  'YYYY-MM-DD HH24:MI'),
                          to_char(cast(:until as timestamptz) at time zone 'Asia/Shanghai', 'HH24:MI'), days, median)
               end as detail
        from seen
    ), verdict as materialized (
        select lot_id, what, is_less, case when is_less then detail end as detail
        from (select lot_id, what, (array_agg(is_less order by hours))[1] as is_less,
                     (array_agg(detail order by hours) filter (where detail is not null))[1] as detail
              from found group by lot_id, what) f
    ), city as materialized (
        select count(distinct lot_id) as judged, count(distinct lot_id) filter (where detail is not null) as low from verdict
    ), ring as materialized (
        select judged, low, low >= {CITY_LOTS} and low * 100 > judged * {CITY_PERCENT} as is_city from city
    ), over as (
        delete from payments.lot_drop d
        where d.span = 'hours'
          and (exists (select from verdict v where v.lot_id = d.lot_id and v.what = d.what and not v.is_less)
               or d.judged_until < cast(:until as timestamptz) - interval '{JUDGED_DAYS} days')
    ), kept as (
        insert into payments.lot_drop as d (lot_id, span, what, judged_until, detail)
        select v.lot_id, 'hours', v.what, :until, v.detail from verdict v, ring r
        where v.detail is not null and not r.is_city order by v.lot_id, v.what
        on conflict (lot_id, span, what) do update set judged_until = excluded.judged_until, detail = excluded.detail
    )
    select judged, low, is_city from ring
"""


def judge_hours(tx: Connection, *, at: datetime) -> Judged | None:
    """Judge the hours up to the last one that was counted, against the same hours of the same weekday; None: there is none of late.

    A count of the last 1, 2 or 3 hours is low when it is so many percent below the median of the weeks before, and when chance
    brings so few less than once in so many looks even on a poor day, as the second poorest of those weeks was: with m cars then, by
    Chernoff's bound of the Poisson distribution, P(X <= x) <= exp(x - m + x ln(m / x)). Hours in which not even an empty lot would
    be that rare are not judged. What was low ends when the shortest span that can be judged is so no more; until then, as at night,
    it stays. Repeatable.
    """
    _turn(tx)
    last: datetime | None = tx.execute(text("select max(starts_at) from payments.visit_hour")).scalar()
    if last is None or at - last > timedelta(hours=1) + LATE:
        return None
    there = last.astimezone(CHINA)
    given = {"at": at, "day": there.date(), "place": there.hour + 1, "until": last + timedelta(hours=1)}
    found = tx.execute(text(_HOURS), given).one()
    return Judged(until=last + timedelta(hours=1), judged=found.judged, low=found.low, is_city=found.is_city)


def _turn(tx: Connection) -> None:
    """Let one judge at a time write."""
    tx.execute(text("select pg_advisory_xact_lock(hashtext('payments.lot_drop'))"))
