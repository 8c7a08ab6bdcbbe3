"""Who is where on the way to one code: per district and kind of operator, and the lots that are behind what is required of them.

Knows lots, their codes, takings and the rules; must not know HTTP or how figures are printed. Called by API and command line.
"""

from datetime import date, timedelta
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.lots import Regime
from payments.rollout.policy import IN_FORCE, Requires

LEGACY_DAYS: Final = 30
"""A lot takes money on an old code as long as it did so within so many days."""
OVERDUE_MAX: Final = 10_000


class Progress(Struct, frozen=True, kw_only=True):
    """The lots of one kind of operator in one district on a day.

    ``on_code``: the city's code hangs there. ``on_legacy``: money was taken on an old code within 30 days. ``registered``: an old
    code is registered for that day. ``overdue``: what is required is not so: no city code though it is required, or an old code
    although the city's is to be the only one.
    """

    district: str
    regime: Regime
    lots: int
    berths: int
    on_code: int
    berths_on_code: int
    on_legacy: int
    registered: int
    overdue: int
    berths_overdue: int


class Behind(Struct, frozen=True, kw_only=True):
    """A lot that is behind what is required of it, by which document, since when."""

    lot_code: str
    lot_name: str
    operator_code: str
    district: str
    regime: Regime
    berths: int
    requires: Requires
    since: date
    document: str
    on_code: bool
    on_legacy: bool
    registered: bool


_ON_CODE: Final = """
    exists (select from payments.pay_code k where k.lot_id = l.lot_id and k.state = 'posted'
              and k.changed_at < cast(cast(:day as date) + 1 as timestamp) at time zone 'Asia/Shanghai')
    or exists (select from payments.v_payment p where p.lot_id = l.lot_id and p.state = 'succeeded'
                 and p.channel not in ('cash', 'legacy')
                 and p.succeeded_at < cast(cast(:day as date) + 1 as timestamp) at time zone 'Asia/Shanghai')
       and (exists (select from payments.pay_code k where k.lot_id = l.lot_id and k.state in ('issued', 'posted'))
            or not exists (select from payments.pay_code k where k.lot_id = l.lot_id))
"""
"""A code of the lot hangs, as the registry says; or it is paid over the city's channels, which needs its code, and the registry
does not say that all its codes are over."""

_LOTS: Final = f"""
    select l.lot_id, l.code as lot_code, l.name as lot_name, l.district, l.berths, o.code as operator_code, o.regime,
           r.requires, r.valid_from as since, r.document, c.on_code, t.last_on is not null as on_legacy, c.registered,
           coalesce(r.requires <> 'invited' and not c.on_code
                    or r.requires = 'city_code_only' and (c.registered or t.last_on >= r.valid_from), false) as overdue
    from payments.lot l
    join payments.operator o on o.operator_id = l.operator_id
    left join lateral ({IN_FORCE}) r on true
    cross join lateral (
        select ({_ON_CODE}) as on_code,
               exists (select from payments.legacy_code x where x.lot_id = l.lot_id and x.first_day <= :day
                         and (x.last_day is null or x.last_day >= :day)) as registered
    ) c
    cross join lateral (
        select (max(t.taken_at) at time zone 'Asia/Shanghai')::date as last_on from payments.taking t
        where t.lot_id = l.lot_id and t.channel = 'legacy'
          and t.taken_at >= cast(cast(:since as date) as timestamp) at time zone 'Asia/Shanghai'
          and t.taken_at < cast(cast(:day as date) + 1 as timestamp) at time zone 'Asia/Shanghai'
    ) t
    where cast(:district as text) is null or l.district = :district
"""


def report(tx: Connection, *, day: date, district: str | None = None) -> list[Progress]:
    """Return how far each kind of operator is in each district on a day (China), in one query; of one district, or of all."""
    query = text(f"""
        select district, regime, count(*) as lots, sum(berths) as berths, count(*) filter (where on_code) as on_code,
               coalesce(sum(berths) filter (where on_code), 0) as berths_on_code, count(*) filter (where on_legacy) as on_legacy,
               count(*) filter (where registered) as registered, count(*) filter (where overdue) as overdue,
               coalesce(sum(berths) filter (where overdue), 0) as berths_overdue
        from ({_LOTS}) s group by district, regime order by district, regime
        """)
    return [Progress(**row._mapping) for row in tx.execute(query, _given(day, district))]


def overdue(tx: Connection, *, day: date, district: str | None = None, limit: int = OVERDUE_MAX) -> list[Behind]:
    """Return the lots that are behind what is required of them on a day (China), the longest overdue first."""
    query = text(f"""
        select lot_code, lot_name, operator_code, district, regime, berths, requires, since, document, on_code, on_legacy,
               registered
        from ({_LOTS}) s where overdue order by since, district, lot_code limit :limit
        """)
    return [Behind(**row._mapping) for row in tx.execute(query, _given(day, district) | {"limit": limit})]


def _given(day: date, district: str | None) -> dict[str, object]:
    return {"day": day, "since": day - timedelta(days=LEGACY_DAYS - 1), "district": district}
