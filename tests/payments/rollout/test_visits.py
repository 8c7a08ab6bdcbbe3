"""Scans and payments per day, and the alarm when they drop against a lot's own past."""

import threading
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from ledger.clock import CHINA
from ledger.errors import Refused
from payments.lot_records import alarm_rules, alarms
from payments.lot_records.alarm_rules import NewRule
from payments.lots import Lot
from payments.results import apply
from payments.rollout import visits
from payments.rollout.visits import Scans
from tests.payments.conftest import AT, IDS, make_attempt, make_charge, make_city

DAY = date(2026, 3, 2)
"""A Monday; what happened on it is judged on the day behind it."""


def days(tx: Connection) -> list[tuple[date, int, int, int]]:
    query = text("select day, lot_id, scans, payments from payments.lot_visit_day order by day, lot_id")
    return [(row.day, row.lot_id, row.scans, row.payments) for row in tx.execute(query)]


# Counting.


def test_scans_are_written_together_and_added_up_by_day_in_china(db: Engine) -> None:
    here, there = Scans(), Scans()
    for scans, lot_id, at in [(here, 1, AT), (here, 1, AT), (here, 2, AT), (there, 1, AT), (here, 1, AT.replace(hour=16))]:
        scans.count(lot_id, at)
    assert (here.flush(db), there.flush(db), here.flush(db)) == (4, 1, 0)
    with db.connect() as tx:
        assert days(tx) == [(DAY, 1, 3, 0), (DAY, 2, 1, 0), (DAY + timedelta(days=1), 1, 1, 0)]


def test_what_cannot_be_written_waits_and_is_written_later(db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    scans, stop = Scans(), threading.Event()
    scans.count(1, AT)
    stop.set()
    with monkeypatch.context() as patch:
        patch.setattr(visits, "_add", lambda tx, _counts: tx.execute(text("select 1 / 0")))
        scans.flush_until(db, stop)
    assert len(scans) == 1
    scans.flush_until(db, stop)
    assert len(scans) == 0
    with db.connect() as tx:
        assert days(tx) == [(DAY, 1, 1, 0)]


def test_payments_over_the_citys_channels_are_counted_once_per_day(db: Engine) -> None:
    with db.begin() as tx:
        lot = make_city(tx)
        tx.execute(text("update payments.lot set created_at = :at"), {"at": AT - timedelta(days=3)})
        attempts = [make_attempt(tx, lot, make_charge(tx, lot, f"S{n}")) for n in range(3)]
        apply(tx, lane=0, notices=[due.callback() for due in attempts[:2]], at=AT, ids=IDS)
    told: list[str] = []

    def say(words: str, *given: object) -> None:
        told.append(words % given)

    tomorrow = AT + timedelta(days=1)
    assert visits.count_days(db, at=lambda: tomorrow, say=say) == 4
    assert visits.count_days(db, at=lambda: tomorrow, say=say) == 0
    assert told[-1] == "payments of 2026-03-02 are counted, 4 of 4 days"
    with db.connect() as tx:
        assert days(tx) == [(DAY, lot.lot_id, 0, 2)]
        assert tx.execute(text("select count(*) from payments.visit_day")).scalar_one() == 4


def test_a_city_without_lots_has_nothing_to_count(db: Engine) -> None:
    assert visits.count_days(db, at=lambda: AT) == 0


# Alarms.


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
        tx.execute(text("insert into payments.lot_visit_day values (:day, :lot, :scans, :payments)"), given)
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
