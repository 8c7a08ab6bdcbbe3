"""Barriers opened by hand: what may have gone lost, per lot and day."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from ledger.errors import Refused
from payments.lot_records import openings, stays
from payments.lot_records.intake import Answer
from payments.lot_records.openings import NewOpening
from payments.lot_records.stays import NewStay
from payments.lots import Lot
from tests.payments.conftest import AT, IDS, make_city


@pytest.fixture
def lot(tx: Connection) -> Lot:
    return make_city(tx)


def opening(serial: str = "O1", **other: Any) -> NewOpening:
    said: dict[str, Any] = {"serial": serial, "at": AT, "lane": "B1", "direction": "out", "reason": "vip"} | other
    return NewOpening(**said)


def post(tx: Connection, lot: Lot, *given: NewOpening) -> list[Answer]:
    return openings.post(tx, lane=0, lot=lot, openings=given, at=AT, ids=IDS)


def test_an_opening_is_kept_once(tx: Connection, lot: Lot) -> None:
    given = [opening(plate="苏B12345", number=1), opening("O2", number=2, operator_person_digest="ab" * 32, amount_lost_fen=0)]
    assert [answer.outcome for answer in post(tx, lot, *given, given[0])] == ["created", "created", "already"]
    assert [answer.outcome for answer in post(tx, lot, *given)] == ["already", "already"]
    assert tx.execute(text("select count(*) from payments.barrier_opening")).scalar_one() == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"at": AT - timedelta(minutes=1)}, "at"),
        ({"lane": "B2"}, "lane"),
        ({"direction": "in"}, "direction"),
        ({"reason": "fault"}, "reason"),
        ({"text": "x"}, "text"),
        ({"plate": "苏B12345"}, "plate"),
        ({"amount_lost_fen": 1}, "amount_lost_fen"),
        ({"number": 7}, "number"),
    ],
)
def test_other_content_under_a_serial_is_refused_by_name(tx: Connection, lot: Lot, change: dict[str, Any], field: str) -> None:
    post(tx, lot, opening())
    [answer] = post(tx, lot, opening(**change))
    assert (answer.reason, answer.field) == ("content_differs", field)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reason": "other"}, "reason_missing"),
        ({"amount_lost_fen": -1}, "amount_invalid"),
        ({"operator_person_digest": "Zhang"}, "digest_invalid"),
        ({"plate": "?"}, "plate_invalid"),
        ({"lane": ""}, "words_invalid"),
        ({"at": AT + timedelta(hours=1)}, "time_in_future"),
    ],
)
def test_an_opening_that_cannot_be_is_refused_by_itself(tx: Connection, lot: Lot, change: dict[str, Any], reason: str) -> None:
    wrong, right = post(tx, lot, opening("O0", **change), opening("O2"))
    assert (wrong.outcome, wrong.reason, right.outcome) == ("refused", reason, "created")


def test_a_day_tells_openings_beside_the_cars_that_left_and_tests_apart(tx: Connection, lot: Lot) -> None:
    came = [
        NewStay(serial=f"S{n}", plate=f"苏B1000{n}", entered_at=AT - timedelta(hours=1), left_at=AT - timedelta(minutes=n))
        for n in range(4)
    ]
    stays.post(tx, lane=0, lot=lot, stays=came, at=AT, ids=IDS)
    post(
        tx, lot, opening("O1", amount_lost_fen=500), opening("O2", reason="fire"), opening("O3", reason="test"),
        opening("O4", direction="in"), opening("O5", at=AT - timedelta(days=1)),
    )  # fmt: skip
    before, today = openings.days(tx, lot=lot, first=date(2026, 3, 1), last=date(2026, 3, 2))
    assert (before.day, before.exits, before.openings_out) == (date(2026, 3, 1), 0, 1)
    assert (today.exits, today.openings_out, today.openings_in, today.tests, today.lost_fen) == (4, 2, 1, 1, 500)
    assert today.by_reason == {"vip": 2, "fire": 1, "test": 1}
    assert today.per_100_exits == 2.0


def test_days_are_asked_for_in_order(tx: Connection, lot: Lot) -> None:
    with pytest.raises(Refused, match="first comes before last"):
        openings.days(tx, lot=lot, first=date(2026, 3, 2), last=date(2026, 3, 1))
