"""Stays as lots post them: once when the car comes, once more when it goes, one by one or ten thousand at a time."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from ledger.errors import Refused
from payments.lot_records import intake, stays
from payments.lot_records.stays import NewStay, StayAnswer
from payments.lots import Lot
from tests.payments.conftest import AT, IDS, make_city


@pytest.fixture
def lot(tx: Connection) -> Lot:
    return make_city(tx)


def hours(count: float) -> datetime:
    """So many hours before now."""
    return AT - timedelta(hours=count)


def stay(serial: str = "S1", **other: object) -> NewStay:
    said: dict[str, Any] = {"serial": serial, "plate": "苏B12345", "plate_color": "blue", "entered_at": hours(2)} | other
    return NewStay(**said)


def post(tx: Connection, lot: Lot, *given: NewStay, at: datetime = AT) -> list[StayAnswer]:
    return stays.post(tx, lane=0, lot=lot, stays=given, at=at, ids=IDS)


def outcomes(answers: list[StayAnswer]) -> list[str]:
    return [answer.reason or answer.outcome for answer in answers]


def kept(tx: Connection, columns: str = "lot_serial, state") -> list[tuple[object, ...]]:
    return [tuple(row) for row in tx.execute(text(f"select {columns} from payments.stay order by entered_at, lot_serial"))]


def test_a_stay_is_created_when_the_car_comes_and_completed_when_it_goes(tx: Connection, lot: Lot) -> None:
    assert outcomes(post(tx, lot, stay())) == ["created"]
    assert kept(tx, "state, left_at") == [("in", None)]
    assert outcomes(post(tx, lot, stay(left_at=hours(1), lane_out="A2"))) == ["completed"]
    assert kept(tx, "state, left_at, lane_out") == [("out", hours(1), "A2")]


def test_a_client_that_lost_the_answer_posts_again_and_nothing_changes(tx: Connection, lot: Lot) -> None:
    given = [stay("S1", left_at=hours(1)), stay("S2", entered_at=hours(0.5)), stay("S3", plate="苏B54321", number=1)]
    assert outcomes(post(tx, lot, *given)) == ["created"] * 3
    before = kept(tx, "*")
    assert outcomes(post(tx, lot, *given)) == ["already"] * 3
    assert kept(tx, "*") == before


def test_the_coming_posted_again_after_the_going_is_already(tx: Connection, lot: Lot) -> None:
    post(tx, lot, stay())
    post(tx, lot, stay(left_at=hours(1)))
    assert outcomes(post(tx, lot, stay(), stay(left_at=hours(1)))) == ["already", "already"]


def test_a_stay_may_come_and_go_in_one_call(tx: Connection, lot: Lot) -> None:
    assert outcomes(post(tx, lot, stay(berth="07"), stay(left_at=hours(1), lane_out="B"), stay())) == [
        "created", "completed", "already",
    ]  # fmt: skip
    assert kept(tx, "state, berth, lane_out") == [("out", "07", "B")]


def test_what_the_coming_did_not_say_the_going_may_add_and_nothing_else(tx: Connection, lot: Lot) -> None:
    photo = "AB" * 32
    post(tx, lot, stay())
    assert outcomes(post(tx, lot, stay(berth="07"))) == ["content_differs"]
    assert outcomes(post(tx, lot, stay(berth="07", left_at=hours(1), exit_photo_digest=photo))) == ["completed"]
    assert kept(tx, "berth, exit_photo_digest") == [("07", bytes.fromhex(photo))]
    [answer] = post(tx, lot, stay(berth="08", left_at=hours(1)))
    assert (answer.reason, answer.field) == ("content_differs", "berth")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"plate": "苏B54321"}, "plate"),
        ({"plate_color": "yellow"}, "plate"),
        ({"entered_at": hours(3)}, "entered_at"),
        ({"scene": "hospital"}, "scene"),
        ({"left_at": hours(0.5)}, "left_at"),
        ({"lane_in": "B"}, "lane_in"),
        ({"number": 9}, "number"),
    ],
)
def test_other_content_under_a_serial_is_refused_by_name_and_edits_nothing(
    tx: Connection, lot: Lot, change: dict[str, Any], field: str
) -> None:
    post(tx, lot, stay(left_at=hours(1), lane_in="A"))
    before = kept(tx, "*")
    said: dict[str, Any] = {"left_at": hours(1), "lane_in": "A"} | change
    [answer] = post(tx, lot, stay(**said))
    assert (answer.outcome, answer.reason, answer.field) == ("refused", "content_differs", field)
    assert kept(tx, "*") == before


def test_a_going_that_says_nothing_of_the_colour_ends_the_same_cars_stay(tx: Connection, lot: Lot) -> None:
    post(tx, lot, stay(plate_color="blue"))
    assert outcomes(post(tx, lot, stay(plate_color="unknown", left_at=hours(1)))) == ["completed"]


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"left_at": hours(3)}, "left_before_entry", "left_at"),
        ({"entered_at": hours(-1)}, "time_in_future", "entered_at"),
        ({"left_at": hours(-1)}, "time_in_future", "left_at"),
        ({"entered_at": hours(24 * 3 * 366 + 1)}, "too_old", "entered_at"),
        ({"entered_at": datetime(2026, 3, 2, 10)}, "time_invalid", "entered_at"),  # noqa: DTZ001
        ({"plate": "B12345"}, "plate_invalid", "plate"),
        ({"scene": "garden"}, "scene_invalid", "scene"),
        ({"serial": ""}, "serial_invalid", "serial"),
        ({"serial": "x" * 65}, "serial_invalid", "serial"),
        ({"number": 0}, "number_invalid", "number"),
        ({"berth": "x" * 33}, "words_invalid", "berth"),
        ({"entry_photo_digest": "AB"}, "digest_invalid", "entry_photo_digest"),
    ],
)
def test_a_stay_that_cannot_be_true_is_refused_by_itself_and_the_others_stand(
    tx: Connection, lot: Lot, change: dict[str, Any], reason: str, field: str
) -> None:
    wrong, right = post(tx, lot, stay(**{"serial": "S1"} | change), stay("S2", plate="苏B54321"))
    assert (wrong.outcome, wrong.reason, wrong.field) == ("refused", reason, field)
    assert wrong.detail
    assert right.outcome == "created"
    assert kept(tx) == [("S2", "in")]


def test_a_car_is_in_one_place_once(tx: Connection, lot: Lot) -> None:
    post(tx, lot, stay("S1", entered_at=hours(5), left_at=hours(3)))
    for entered, left in ((6, 4), (4.5, 4), (4, 2), (6, 1), (5, 4.5), (5, 5)):
        [answer] = post(tx, lot, stay("S2", entered_at=hours(entered), left_at=hours(left)))
        assert (answer.reason, "S1" in (answer.detail or "")) == ("overlaps", True), (entered, left)
    assert outcomes(post(tx, lot, stay("S3", entered_at=hours(4)))) == ["overlaps"]
    assert outcomes(post(tx, lot, stay("S4", entered_at=hours(6), left_at=hours(5)))) == ["created"]
    assert outcomes(post(tx, lot, stay("S5", entered_at=hours(3), left_at=hours(3)))) == ["created"]


def test_stays_of_one_call_do_not_overlap_each_other_either(tx: Connection, lot: Lot) -> None:
    given = [stay(f"S{n}", entered_at=hours(9 - n), left_at=hours(7.5 - n)) for n in range(4)]
    assert outcomes(post(tx, lot, *given)) == ["created", "overlaps", "created", "overlaps"]


def test_an_older_stay_that_never_ended_does_not_stand_in_the_way_and_is_reported(tx: Connection, lot: Lot) -> None:
    post(tx, lot, stay("S1", entered_at=hours(20)))
    [answer] = post(tx, lot, stay("S2", entered_at=hours(2)))
    assert (answer.outcome, answer.exit_unknown) == ("created", ("S1",))
    assert kept(tx) == [("S1", "exit_unknown"), ("S2", "in")]


def test_the_same_in_one_call(tx: Connection, lot: Lot) -> None:
    first, second = post(tx, lot, stay("S1", entered_at=hours(20)), stay("S2", entered_at=hours(2)))
    assert (first.exit_unknown, second.exit_unknown) == ((), ("S1",))
    assert kept(tx) == [("S1", "exit_unknown"), ("S2", "in")]


def test_a_coming_that_arrives_after_a_later_one_has_an_unknown_end(tx: Connection, lot: Lot) -> None:
    post(tx, lot, stay("S2", entered_at=hours(2)))
    [answer] = post(tx, lot, stay("S1", entered_at=hours(20)))
    assert answer.exit_unknown == ("S1",)
    assert kept(tx) == [("S1", "exit_unknown"), ("S2", "in")]


def test_a_late_going_ends_what_was_lost_unless_the_car_had_come_again(tx: Connection, lot: Lot) -> None:
    post(tx, lot, stay("S1", entered_at=hours(20)), stay("S2", entered_at=hours(2)))
    assert outcomes(post(tx, lot, stay("S1", entered_at=hours(20), left_at=hours(1)))) == ["overlaps"]
    assert outcomes(post(tx, lot, stay("S1", entered_at=hours(20), left_at=hours(2)))) == ["completed"]
    assert kept(tx) == [("S1", "out"), ("S2", "in")]


def test_lost_and_ended_in_one_call(tx: Connection, lot: Lot) -> None:
    post(tx, lot, stay("S1", entered_at=hours(20)))
    answers = post(tx, lot, stay("S2", entered_at=hours(2)), stay("S1", entered_at=hours(20), left_at=hours(19)))
    assert outcomes(answers) == ["created", "completed"]
    assert kept(tx) == [("S1", "out"), ("S2", "in")]


def test_other_lots_and_other_plates_do_not_count(tx: Connection, lot: Lot) -> None:
    other = make_city(tx, number=2)
    post(tx, lot, stay("S1"))
    assert outcomes(post(tx, other, stay("S1"))) == ["created"]
    assert outcomes(post(tx, lot, stay("S2", plate="苏B54321"))) == ["created"]
    assert [state for _, state in kept(tx)] == ["in", "in", "in"]


def test_days_count_who_came_and_went_in_china(tx: Connection, lot: Lot) -> None:
    noon = AT  # 12:00 in China
    post(
        tx, lot, stay("S1", entered_at=noon - timedelta(hours=13), left_at=noon - timedelta(hours=11)), stay("S2", entered_at=noon)
    )
    post(tx, lot, stay("S2", entered_at=noon, left_at=noon))
    post(tx, lot, stay("S2", entered_at=noon, left_at=noon))
    days = tx.execute(text("select to_char(day, 'MM-DD'), entries, exits from payments.lot_day order by day")).all()
    assert [tuple(day) for day in days] == [("03-01", 1, 0), ("03-02", 1, 2)]


def test_more_than_fit_into_a_call_are_refused_as_a_whole(tx: Connection, lot: Lot) -> None:
    with pytest.raises(Refused, match="at most 10000"):
        post(tx, lot, *[stay(f"S{n}") for n in range(intake.RECORDS_MAX + 1)])


def test_ten_thousand_in_one_call_and_again(db: Engine) -> None:
    with db.begin() as tx:
        lot = make_city(tx)
    given = [
        stay(
            f"S{n}",
            number=n + 1,
            plate=f"苏B{n % 8_000:05d}",
            entered_at=hours(9 - n // 8_000 * 4),
            left_at=hours(7 - n // 8_000 * 4),
        )
        for n in range(intake.RECORDS_MAX)
    ]
    for outcome in ("created", "already"):
        with db.begin() as tx:
            assert set(outcomes(post(tx, lot, *given))) == {outcome}
    with db.begin() as tx:
        assert tx.execute(text("select count(*), count(distinct plate_id) from payments.stay")).one() == (10_000, 8_000)
        assert tx.execute(text("select last_number, numbers from payments.lot_series")).one() == (10_000, 10_000)
