"""A car whose card paid at the lane leaves by its card, whichever of the lane's record and the departure comes first."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateways.sandbox.wechat.signing import Pair
from payments.cards.records import NewCardCharge
from payments.owed import departures, leaving
from payments.owed.departures import Departure
from payments.owed.leaving import NewRule
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import AT
from tests.payments.mandates import deducting
from tests.payments.test_cards import Lane


@pytest.fixture
def lane(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[Lane]:  # noqa: F811  # a fixture
    with deducting.city(db, fresh_pair, tmp_path) as city:
        rule = NewRule(
            valid_from=AT, document="doc", admits="everyone", debts_max=3, owed_fen_max=30000, overdue_days_max=30,
            checks_lists=True, due_days=30,
        )  # fmt: skip
        with city.db.begin() as tx:
            leaving.enter_rule(tx, rule=rule, at=AT)
        yield Lane(city)


def depart(lane: Lane, serial: str = "S1") -> tuple[str, str, int]:
    departure = Departure(charge_serial=serial, left_at=AT)
    made = departures.depart(lane.city.till, lot=lane.city.lot, departure=departure, body=b"{}")
    return made.outcome, made.reason, made.owed_fen


def gone(lane: Lane, *serials: str) -> list[tuple[str, int]]:
    told = [Departure(charge_serial=serial, left_at=AT) for serial in serials]
    made = departures.depart_many(lane.city.till, lot=lane.city.lot, departures=told, body=b"[]")
    return [(one.reason, one.owed_fen) for one in made]


def releases(lane: Lane) -> list[str]:
    return lane.city.column("select reason from payments.release")


def test_the_lanes_record_comes_before_the_departure(lane: Lane) -> None:
    lane.bring(1)
    assert depart(lane) == ("open", "card", 0)
    assert depart(lane) == ("open", "card", 0)
    assert releases(lane) == ["card"]
    assert lane.city.column("select kind from payments.outbox where kind = 'release.granted'") == ["release.granted"]
    assert lane.city.column("select basis from payments.debt") == ["card"]
    assert lane.city.sound()


def test_the_departure_comes_before_the_lanes_record(lane: Lane) -> None:
    assert depart(lane) == ("open", "debt", 1200)
    lane.take(NewCardCharge(lane.record(1), "S1"))
    assert depart(lane) == ("open", "card", 0)
    assert releases(lane) == ["debt"]
    assert lane.city.sound()


def test_of_cars_told_together_each_has_its_own_word(lane: Lane) -> None:
    lane.bring(1)
    lane.city.charge("S2")
    assert gone(lane, "S1", "S2") == [("card", 0), ("debt", 1200)]
    lane.take(NewCardCharge(lane.record(2), "S2"))
    assert gone(lane, "S1", "S2") == [("card", 0), ("card", 0)]
    assert lane.city.sound()


def test_what_its_issuer_refuses_is_a_debt_after_all(lane: Lane) -> None:
    lane.bring(2)
    lane.behave(dispute=[1])
    lane.send()
    lane.book()
    assert sorted(gone(lane, "S1", "S2")) == [("card", 0), ("paid", 0)]
    lane.settle(1)
    assert sorted(gone(lane, "S1", "S2")) == [("debt", 1200), ("paid", 0)]
    assert lane.city.sound()
