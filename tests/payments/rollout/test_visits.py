"""Scans and payments are counted per day and hour in China, each once."""

import threading
from datetime import date, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from payments.results import apply
from payments.rollout import visits
from payments.rollout.visits import Scans
from tests.payments.conftest import AT, IDS, make_attempt, make_charge, make_city

DAY = date(2026, 3, 2)
"""A Monday; what happened on it is judged on the day behind it."""


def days(tx: Connection) -> list[tuple[date, int, int, int]]:
    query = text("select day, lot_id, scans, payments from payments.lot_visit_day order by day, lot_id")
    return [(row.day, row.lot_id, row.scans, row.payments) for row in tx.execute(query)]


def by_hour(tx: Connection, what: str) -> dict[int, int]:
    """The hours of ``DAY`` in which there was something."""
    [hours] = tx.execute(text(f"select {what}_by_hour from payments.lot_visit_day where day = :day"), {"day": DAY}).scalars()
    return {hour: count for hour, count in enumerate(hours) if count}


# Counting.


def test_scans_are_written_together_and_added_up_by_day_in_china(db: Engine) -> None:
    here, there = Scans(), Scans()
    for scans, lot_id, at in [(here, 1, AT), (here, 1, AT), (here, 2, AT), (there, 1, AT), (here, 1, AT.replace(hour=16))]:
        scans.count(lot_id, at)
    assert (here.flush(db), there.flush(db), here.flush(db)) == (4, 1, 0)
    with db.connect() as tx:
        assert days(tx) == [(DAY, 1, 3, 0), (DAY, 2, 1, 0), (DAY + timedelta(days=1), 1, 1, 0)]


def test_scans_are_added_up_by_the_hour_whoever_counted_them(db: Engine) -> None:
    here, there = Scans(), Scans()
    for scans, minutes in [(here, 0), (here, 59), (here, 60), (there, 61), (there, 11 * 60)]:
        scans.count(1, AT + timedelta(minutes=minutes))
    assert (here.flush(db), there.flush(db)) == (3, 2)
    with db.connect() as tx:
        assert by_hour(tx, "scans") == {12: 2, 13: 2, 23: 1}


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


def test_payments_are_counted_hour_by_hour_beside_the_scans_and_once_more_when_the_day_is_over(db: Engine) -> None:
    with db.begin() as tx:
        lot = make_city(tx)
        attempts = [make_attempt(tx, lot, make_charge(tx, lot, f"S{n}")) for n in range(3)]
        for minutes, due in zip((0, 59, 61), attempts, strict=True):
            paid_at = AT + timedelta(minutes=minutes)
            apply(tx, lane=0, notices=[due.callback(happened_at=paid_at)], at=paid_at, ids=IDS)
    scans = Scans()
    scans.count(lot.lot_id, AT)
    scans.flush(db)
    at = AT + timedelta(minutes=65)
    assert (visits.count_hours(db, at=lambda: at), visits.count_hours(db, at=lambda: at)) == (24, 0)
    with db.connect() as tx:
        assert (by_hour(tx, "payments"), by_hour(tx, "scans")) == ({12: 2}, {12: 1})
    assert visits.count_hours(db, at=lambda: at + timedelta(hours=1)) == 1
    with db.begin() as tx:
        assert by_hour(tx, "payments") == {12: 2, 13: 1}
        visits.count_payments(tx, day=DAY, at=at)
        assert by_hour(tx, "payments") == {12: 2, 13: 1}
        assert days(tx) == [(DAY, lot.lot_id, 1, 3)]


def test_a_city_without_lots_has_nothing_to_count(db: Engine) -> None:
    assert visits.count_days(db, at=lambda: AT) == visits.count_hours(db, at=lambda: AT) == 0
