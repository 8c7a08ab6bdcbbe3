"""A lot rings when scans or payments drop against its own past: by the day, and within an hour or two. Chance hardly rings."""

import math
import random
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from ledger.clock import CHINA
from ledger.errors import Refused
from payments.lot_records import alarm_rules, alarms
from payments.lot_records.alarm_rules import NewRule
from payments.lots import Lot
from payments.rollout import drops
from payments.rollout.drops import Judged
from tests.payments.conftest import AT, make_city

DAY = date(2026, 3, 2)
"""A Monday; what happened on it is judged on the day behind it, or hour by hour."""


# By the day.


@pytest.fixture
def lot(tx: Connection) -> Lot:
    """A lot with 8 weeks behind it: 40 scans and 30 payments a weekday, every other week two more."""
    made = make_city(tx)
    tx.execute(text("update payments.lot set created_at = :at"), {"at": AT - timedelta(days=100)})
    live(tx, made, range(-56, 0))
    rule(tx)
    return made


def live(tx: Connection, lot: Lot, ago: Any, *, scans: int = 40, payments: int = 30, counted: bool = True) -> None:
    """Count days relative to ``DAY``."""
    for n in ago:
        day, more = DAY + timedelta(days=n), 2 * (n // 7 % 2)
        given = {"day": day, "lot": lot.lot_id, "scans": scans and scans + more, "payments": payments and payments + more, "at": AT}
        tx.execute(
            text("insert into payments.lot_visit_day (day, lot_id, scans, payments) values (:day, :lot, :scans, :payments)"), given
        )
        if counted:
            tx.execute(text("insert into payments.visit_day values (:day, :at) on conflict do nothing"), given)


def rule(tx: Connection, most: int = 60, **other: Any) -> None:
    said: dict[str, Any] = {
        "kind": "drop", "most": most, "weeks": 8, "least": 20, "document": "通知 3", "valid_from": AT - timedelta(days=1),
    } | other  # fmt: skip
    alarm_rules.enter(tx, rule=NewRule(**said), at=AT)


def noon(days_later: int) -> datetime:
    return datetime(2026, 3, 2, 12, tzinfo=CHINA) + timedelta(days=days_later)


def watch(tx: Connection, days_later: int = 1) -> list[tuple[str, bool]]:
    """Judge and look for alarms, as the worker does."""
    drops.judge_days(tx, at=noon(days_later))
    return [(change.kind, change.opened) for change in alarms.watch(tx, at=noon(days_later))]


def test_a_day_that_fell_by_less_than_the_rule_says_is_no_alarm(tx: Connection, lot: Lot) -> None:
    live(tx, lot, [0], scans=17, payments=13)
    assert watch(tx) == []


def test_a_sudden_drop_rings_once_and_ends_when_the_cars_come_back(tx: Connection, lot: Lot) -> None:
    live(tx, lot, [0], scans=5, payments=4)
    assert (watch(tx, 0), watch(tx), watch(tx)) == ([], [("drop", True)], [])
    [alarm] = alarms.alarms(tx)
    assert alarm.detail == (
        "scans 5 on 2026-03-02, the median of 8 such days before is 41; "
        "payments 4 on 2026-03-02, the median of 8 such days before is 31"
    )
    live(tx, lot, [1])
    assert watch(tx, 2) == [("drop", False)]


def test_payments_alone_may_drop_while_the_code_is_scanned_as_ever(tx: Connection, lot: Lot) -> None:
    live(tx, lot, [0], payments=0)
    assert watch(tx) == [("drop", True)]
    assert alarms.alarms(tx)[0].detail.startswith("payments 0 on 2026-03-02")


def test_a_lot_without_a_row_on_a_counted_day_had_nobody(tx: Connection, lot: Lot) -> None:
    tx.execute(text("insert into payments.visit_day values (:day, :at)"), {"day": DAY, "at": AT})
    assert watch(tx) == [("drop", True)]


def test_a_day_that_is_not_counted_yet_is_not_judged(tx: Connection, lot: Lot) -> None:
    live(tx, lot, [0], scans=0, payments=0, counted=False)
    assert watch(tx) == []


def test_a_lot_with_few_cars_does_not_ring(tx: Connection, lot: Lot) -> None:
    rule(tx, least=50, valid_from=AT)
    live(tx, lot, [0], scans=0, payments=0)
    assert watch(tx) == []


def test_a_lot_without_half_of_its_weeks_does_not_ring(tx: Connection, lot: Lot) -> None:
    tx.execute(text("update payments.lot set created_at = :at"), {"at": AT - timedelta(days=27)})
    live(tx, lot, [0], scans=0, payments=0)
    assert watch(tx) == []
    tx.execute(text("update payments.lot set created_at = :at"), {"at": AT - timedelta(days=28)})
    assert watch(tx) == [("drop", True)]


def calendar(tx: Connection, first: date, last: date, *, effect: str = "free", lot: Lot | None = None) -> None:
    given = {"days": f"[{first},{last}]", "effect": effect, "everywhere": lot is None, "at": AT, "code": f"c-{first}-{effect}"}
    number = tx.execute(
        text("""
        insert into payments.tariff_calendar (code, effect, days, everywhere, name_zh, name_en, document, body, entered_at)
        values (:code, :effect, cast(:days as daterange), :everywhere, '春节', 'Spring Festival', '通知', '{}', :at)
        returning calendar_id
        """),
        given,
    ).scalar_one()
    if lot is not None:
        tx.execute(
            text("insert into payments.tariff_calendar_lot values (:number, :lot, '清单', :at)"),
            {"number": number, "lot": lot.lot_id, "at": AT},
        )


@pytest.mark.parametrize(("effect", "listed"), [("free", True), ("free", False), ("holiday", False)])
def test_a_holiday_of_the_calendar_neither_rings_nor_ends_an_alarm(tx: Connection, lot: Lot, effect: str, listed: bool) -> None:
    calendar(tx, DAY, DAY + timedelta(days=2), effect=effect, lot=lot if listed else None)
    live(tx, lot, [0, 1, 2], scans=0, payments=0)
    assert watch(tx, 3) == []
    live(tx, lot, [3], scans=0, payments=0)
    assert watch(tx, 4) == [("drop", True)]
    calendar(tx, DAY + timedelta(days=4), DAY + timedelta(days=5), effect=effect, lot=lot if listed else None)
    live(tx, lot, [4, 5], scans=50, payments=50)
    assert watch(tx, 6) == []


def test_a_calendar_of_other_lots_exempts_nobody_here(tx: Connection, lot: Lot) -> None:
    calendar(tx, DAY, DAY, lot=make_city(tx, number=2))
    live(tx, lot, [0], scans=0, payments=0)
    assert watch(tx) == [("drop", True)]


def test_holidays_are_no_past_to_be_compared_with(tx: Connection, lot: Lot) -> None:
    for weeks in range(1, 5):
        tx.execute(
            text("update payments.lot_visit_day set scans = 0, payments = 0 where day = :day"),
            {"day": DAY - timedelta(weeks=weeks)},
        )
        calendar(tx, DAY - timedelta(weeks=weeks), DAY - timedelta(weeks=weeks), effect="holiday")
    live(tx, lot, [0], scans=0, payments=0)
    assert watch(tx) == [("drop", True)]


def test_without_a_rule_for_the_lot_nobody_rings(tx: Connection, lot: Lot) -> None:
    live(tx, lot, [0], scans=0, payments=0)
    tx.execute(text("update payments.lot set scene = 'hospital'"))
    rule(tx, scene="hospital", least=1_000, valid_from=AT)
    assert watch(tx) == []


@pytest.mark.parametrize(
    "wrong",
    [{"most": 101}, {"weeks": 1}, {"weeks": 13}, {"weeks": None}, {"least": 0}, {"least": None}, {"kind": "silent"}],
)
def test_a_rule_of_drops_has_its_measures_and_others_have_none(tx: Connection, wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        rule(tx, **wrong)
    assert refused.value.code == "alarm_rule_invalid"


def test_rules_are_listed_with_their_measures(tx: Connection, lot: Lot) -> None:
    assert "drop: 60 percent below the median of 8 weeks, if it is 20 or more, for the city" in alarm_rules.listed(tx)[0]


# By the hour.

BUSY = [2, 1, 1, 1, 1, 2, 8, 25, 40, 45, 48, 46, 52, 48, 45, 44, 46, 50, 48, 40, 30, 20, 10, 5]
"""Scans of a busy lot by the hour of an ordinary day."""
Count = Callable[[int, int], int]
"""Week before (0: this day) and hour: how many there are."""


def sudden(tx: Connection, most: int = 60, **other: Any) -> None:
    said: dict[str, Any] = {"kind": "sudden", "most": most, "weeks": 8, "least": None, "odds": 1_000_000}
    rule(tx, **(said | other))


def hours(tx: Connection, lot: Lot, scans: Count, payments: Count | None = None) -> None:
    """Count the hours of ``DAY`` and of the same weekday in the 8 weeks before."""
    for week in range(9):
        tx.execute(
            text("""
            insert into payments.lot_visit_day (day, lot_id, scans_by_hour, payments_by_hour) values (:day, :lot, :scans, :payments)
            """),
            {
                "day": DAY - timedelta(weeks=week), "lot": lot.lot_id, "scans": [scans(week, hour) for hour in range(24)],
                "payments": [(payments or scans)(week, hour) for hour in range(24)],
            },
        )  # fmt: skip
    counted(tx)


def counted(tx: Connection) -> None:
    tx.execute(
        text("""
        insert into payments.visit_day (day, counted_at, by_hour)
        select cast(:day as date) - 7 * w, :at, true from generate_series(1, 8) w on conflict do nothing
        """),
        {"day": DAY, "at": AT},
    )


def judge(tx: Connection, hour: int, *, day: date = DAY) -> Judged | None:
    """Judge at five past, when the hour before ``hour`` was counted."""
    at = datetime(day.year, day.month, day.day, hour, 5, tzinfo=CHINA)
    last = at.replace(minute=0) - timedelta(hours=1)
    tx.execute(text("insert into payments.visit_hour values (:hour, :at) on conflict do nothing"), {"hour": last, "at": at})
    return drops.judge_hours(tx, at=at)


def rings(tx: Connection, through: Sequence[int]) -> dict[int, list[tuple[str, bool]]]:
    """Which alarms begin and end at five past which hour."""
    found: dict[int, list[tuple[str, bool]]] = {}
    for hour in through:
        judge(tx, hour)
        at = datetime(2026, 3, 2, hour, 5, tzinfo=CHINA)
        changed: list[tuple[str, bool]] = [(change.kind, change.opened) for change in alarms.watch(tx, at=at)]
        if changed:
            found[hour] = changed
    return found


@pytest.fixture
def watched(tx: Connection) -> Lot:
    made = make_city(tx)
    tx.execute(text("update payments.lot set created_at = :at"), {"at": AT - timedelta(days=100)})
    sudden(tx)
    return made


def busy(week: int, hour: int) -> int:
    """Ordinary: every other week a little more."""
    return BUSY[hour] + week % 2


def test_a_busy_lot_that_loses_most_of_its_cars_at_ten_is_told_at_five_past_eleven_and_its_end_likewise(
    tx: Connection, watched: Lot
) -> None:
    hours(tx, watched, lambda week, hour: BUSY[hour] // 5 if week == 0 and 10 <= hour < 15 else busy(week, hour))
    assert rings(tx, range(1, 24)) == {11: [("sudden", True)], 16: [("sudden", False)]}
    [alarm] = alarms.alarms(tx, is_open=False)
    assert alarm.detail.startswith("scans 9 from 2026-03-02 14:00 to 15:00, the median of 8 such days before is 45.5; payments 9 ")


def test_a_quiet_lot_that_nobody_pays_at_any_more_is_told_within_three_hours(tx: Connection, watched: Lot) -> None:
    hours(tx, watched, lambda week, hour: 0 if week == 0 and hour >= 10 else busy(week, hour) // 6)
    assert rings(tx, range(1, 24)) == {12: [("sudden", True)]}


def test_a_lot_with_too_few_cars_to_say_anything_never_rings(tx: Connection, watched: Lot) -> None:
    hours(tx, watched, lambda week, hour: 0 if week == 0 else busy(week, hour) // 12)
    assert rings(tx, range(1, 24)) == {}


def test_payments_alone_may_drop_within_the_hour_while_the_code_is_scanned_as_ever(tx: Connection, watched: Lot) -> None:
    hours(tx, watched, busy, lambda week, hour: 0 if week == 0 and hour >= 10 else busy(week, hour))
    assert rings(tx, range(1, 12)) == {11: [("sudden", True)]}
    assert alarms.alarms(tx)[0].detail.startswith("payments 0 from 2026-03-02 10:00 to 11:00")


def test_what_is_low_in_the_evening_stays_so_over_night_and_ends_when_cars_come_back_in_the_morning(
    tx: Connection, watched: Lot
) -> None:
    hours(tx, watched, lambda week, hour: 0 if week == 0 and hour >= 19 else busy(week, hour))
    assert rings(tx, range(18, 24)) == {20: [("sudden", True)]}
    tx.execute(text("update payments.visit_hour set starts_at = starts_at - interval '7 days'"))
    tx.execute(text("update payments.lot_visit_day set day = day + 1"))
    tx.execute(text("update payments.lot_visit_day set scans_by_hour = :is, payments_by_hour = :is where day = :day"),
               {"is": BUSY, "day": DAY + timedelta(days=1)})  # fmt: skip
    tx.execute(text("update payments.visit_day set day = day + 1"))
    found = []
    for hour in range(1, 10):
        judge(tx, hour, day=DAY + timedelta(days=1))
        if alarms.watch(tx, at=datetime(2026, 3, 3, hour, 5, tzinfo=CHINA)):
            found.append(hour)
    assert found == [8]


def test_one_odd_week_hides_nothing_and_two_make_such_days_ordinary(tx: Connection, watched: Lot) -> None:
    hours(tx, watched, lambda week, hour: 0 if week in (0, 3) else busy(week, hour))
    assert rings(tx, range(1, 12)) == {8: [("sudden", True)]}
    empty = {"none": [0] * 24, "day": DAY - timedelta(weeks=5)}
    tx.execute(text("update payments.lot_visit_day set scans_by_hour = :none, payments_by_hour = :none where day = :day"), empty)
    tx.execute(text("delete from payments.lot_drop"))
    assert rings(tx, range(12, 24)) == {12: [("sudden", False)]}


def test_a_holiday_is_neither_judged_nor_compared_with_by_the_hour(tx: Connection, watched: Lot) -> None:
    hours(tx, watched, lambda week, hour: 0 if week <= 4 else busy(week, hour))
    calendar(tx, DAY, DAY, effect="holiday", lot=watched)
    assert rings(tx, range(1, 24)) == {}


def test_holidays_before_are_left_out_and_half_of_the_weeks_is_enough(tx: Connection, watched: Lot) -> None:
    hours(tx, watched, lambda week, hour: 0 if week <= 4 else busy(week, hour))
    for week in range(1, 5):
        calendar(tx, DAY - timedelta(weeks=week), DAY - timedelta(weeks=week), effect="holiday")
    assert rings(tx, range(1, 12)) == {8: [("sudden", True)]}


def test_an_hour_that_is_long_over_is_not_judged(tx: Connection, watched: Lot) -> None:
    hours(tx, watched, lambda week, hour: 0 if week == 0 else busy(week, hour))
    at = datetime(2026, 3, 2, 12, 5, tzinfo=CHINA)
    assert drops.judge_hours(tx, at=at) is None
    tx.execute(text("insert into payments.visit_hour values (:hour, :at)"), {"hour": at.replace(hour=8, minute=0), "at": at})
    assert drops.judge_hours(tx, at=at) is None


# Chance, and the whole city.


def many(tx: Connection, lots: int, *, hours: Sequence[int], spread: float, now: float = 1) -> None:
    """Busy lots whose hours differ by chance and whose days differ as weather and events make them; this day ``now`` times that."""
    chance = random.Random(7)
    make_city(tx)
    tx.execute(
        text("""
        insert into payments.lot (lot_id, operator_id, code, name, district, address, berths, scene, tariff_text, created_at)
        select lot_id + n, operator_id, 'many-' || n, name, district, address, berths, scene, tariff_text, created_at
        from payments.lot, generate_series(1, :more) n
        """),
        {"more": lots - 1},
    )
    tx.execute(text("update payments.lot set created_at = :at"), {"at": AT - timedelta(days=100)})

    def some(day: float) -> str:
        said = [0] * 24
        for hour in hours:
            said[hour] = max(0, round(chance.gauss(BUSY[hour] * day, (BUSY[hour] * day) ** 0.5)))
        return "{" + ",".join(map(str, said)) + "}"

    ids = list(tx.execute(text("select lot_id from payments.lot order by 1")).scalars())
    for week in range(9):
        days = [math.exp(chance.gauss(0, spread)) * (1 if week else now) for _ in ids]
        of_week = [(some(day), some(day * 0.8)) for day in days]
        tx.execute(
            text("""
            insert into payments.lot_visit_day (day, lot_id, scans_by_hour, payments_by_hour)
            select :day, lot_id, cast(s as integer[]), cast(p as integer[])
            from unnest(cast(:ids as integer[]), cast(:scans as text[]), cast(:payments as text[])) n (lot_id, s, p)
            """),
            {
                "day": DAY - timedelta(weeks=week), "ids": ids, "scans": [one for one, _ in of_week],
                "payments": [one for _, one in of_week],
            },
        )  # fmt: skip
    counted(tx)
    sudden(tx)


def test_a_year_of_ordinary_days_rings_at_most_a_few_times(tx: Connection) -> None:
    """365 lots, each with a day and a past of its own, looked at each hour: what one lot has in a year. Days spread by a fifth."""
    many(tx, 365, hours=range(5, 22), spread=0.2)
    rang: set[int] = set()
    for hour in range(8, 23):
        judge(tx, hour)
        rang.update(tx.execute(text("select lot_id from payments.v_lot_drop")).scalars())
    assert len(rang) <= 3


def test_when_the_whole_city_drops_no_lot_rings_and_the_city_is_told(tx: Connection) -> None:
    many(tx, 40, hours=range(9, 12), spread=0.1, now=0.1)
    judged = judge(tx, 12)
    assert judged is not None
    assert (judged.is_city, judged.judged, judged.low) == (True, 40, 40)
    assert alarms.watch(tx, at=datetime(2026, 3, 2, 12, 6, tzinfo=CHINA)) == []


def test_a_few_lots_that_drop_at_once_are_no_city(tx: Connection) -> None:
    many(tx, 19, hours=range(9, 12), spread=0.1, now=0.1)
    judged = judge(tx, 12)
    assert judged is not None
    assert (judged.is_city, judged.low) == (False, 19)
    assert len(alarms.watch(tx, at=datetime(2026, 3, 2, 12, 6, tzinfo=CHINA))) == 19
