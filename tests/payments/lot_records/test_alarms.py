"""Alarms: a lot that is not heard, hides records, has a lane offline, or opens its barrier too often."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from ledger.errors import Conflict, Refused
from payments.lot_records import alarm_rules, alarms, heartbeats, openings, stays
from payments.lot_records.alarm_rules import NewRule
from payments.lot_records.heartbeats import Heartbeat, LaneState
from payments.lot_records.openings import NewOpening
from payments.lot_records.stays import NewStay
from payments.lots import Lot
from tests.payments.conftest import AT, IDS, make_city


@pytest.fixture
def lot(tx: Connection) -> Lot:
    return make_city(tx)


def minutes(count: float) -> datetime:
    return AT + timedelta(minutes=count)


def rule(tx: Connection, most: int = 10, **other: Any) -> int:
    said: dict[str, Any] = {"kind": "silent", "most": most, "document": "锡城管〔2026〕1号", "valid_from": AT} | other
    return alarm_rules.enter(tx, rule=NewRule(**said), at=AT)


def beat(tx: Connection, lot: Lot, at: datetime, /, **other: Any) -> heartbeats.Heard:
    said: dict[str, Any] = {"at": at, "software": "gate 1.0", "lanes": [LaneState("A", True), LaneState("B", True)]} | other
    return heartbeats.hear(tx, lot=lot, heartbeat=Heartbeat(**said), at=at)


def watch(tx: Connection, at: datetime) -> list[tuple[str, str, bool]]:
    return [(change.lot_code, change.kind, change.opened) for change in alarms.watch(tx, at=at)]


def open_alarms(tx: Connection, **scope: Any) -> list[tuple[str, str]]:
    return [(alarm.lot_code, alarm.kind) for alarm in alarms.alarms(tx, **scope)]


def test_without_a_rule_nobody_is_expected_to_be_heard(tx: Connection, lot: Lot) -> None:
    assert watch(tx, minutes(10_000)) == []
    assert beat(tx, lot, minutes(1)).next_within_minutes is None


def test_a_lot_that_falls_silent_is_an_alarm_once_and_ends_when_it_is_heard(tx: Connection, lot: Lot) -> None:
    rule(tx)
    assert beat(tx, lot, minutes(1)).next_within_minutes == 10
    assert watch(tx, minutes(11)) == []
    assert watch(tx, minutes(11.5)) == [("lot-1", "silent", True)]
    assert watch(tx, minutes(12)) == []
    assert open_alarms(tx) == [("lot-1", "silent")]
    beat(tx, lot, minutes(20))
    assert watch(tx, minutes(20)) == [("lot-1", "silent", False)]
    assert open_alarms(tx) == []
    [over] = alarms.alarms(tx, is_open=False)
    assert (over.opened_at, over.closed_at) == (minutes(11.5), minutes(20))


def test_a_lot_that_was_never_heard_is_silent_too(tx: Connection, lot: Lot) -> None:
    rule(tx)
    assert watch(tx, minutes(9)) == []
    assert watch(tx, minutes(11)) == [("lot-1", "silent", True)]
    [alarm] = alarms.alarms(tx)
    assert "never" in alarm.detail


def test_numbered_records_are_signs_of_life(tx: Connection, lot: Lot) -> None:
    rule(tx)
    posted = [NewStay(serial="S1", number=1, plate="苏B12345", entered_at=AT)]
    stays.post(tx, lane=0, lot=lot, stays=posted, at=minutes(8), ids=IDS)
    assert watch(tx, minutes(15)) == []


def test_the_nearest_rule_counts_and_the_latest_of_a_place(tx: Connection, lot: Lot) -> None:
    other = make_city(tx, number=2)
    rule(tx, 10)
    rule(tx, 60, operator_id=lot.operator_id)
    rule(tx, 30, operator_id=lot.operator_id, lot_id=lot.lot_id)
    rule(tx, 20, scene="gate")
    rule(tx, 5, scene="hospital")
    rule(tx, 40, operator_id=lot.operator_id, lot_id=lot.lot_id, valid_from=minutes(100))
    found = [alarm_rules.minutes_of(tx, lot=one, at=at) for one, at in ((lot, AT), (other, AT), (lot, minutes(101)))]
    assert found == [30, 20, 40]


def test_a_rule_names_its_document_and_is_never_changed(tx: Connection, lot: Lot) -> None:
    rule(tx)
    with pytest.raises(Conflict, match="another one"):
        rule(tx, 20)
    for wrong in ({"document": " "}, {"most": 0}):
        with pytest.raises(Refused):
            rule(tx, **{"valid_from": minutes(1)} | wrong)
    assert len(alarm_rules.listed(tx)) == 1


def test_silence_counts_on_the_days_on_which_it_was(tx: Connection, lot: Lot) -> None:
    rule(tx)
    beat(tx, lot, AT)
    beat(tx, lot, minutes(5))
    beat(tx, lot, minutes(15 + 24 * 60))
    days = heartbeats.days(tx, lot=lot, first=date(2026, 3, 2), last=date(2026, 3, 3))
    assert [(day.beats, day.silent_seconds) for day in days] == [(2, (12 * 60 - 15) * 60), (1, (12 * 60 + 15) * 60)]


def test_an_offline_lane_is_an_alarm_after_a_while(tx: Connection, lot: Lot) -> None:
    lanes = [LaneState("A", False), LaneState("B", True)]
    beat(tx, lot, AT, lanes=lanes)
    assert watch(tx, minutes(4)) == []
    beat(tx, lot, minutes(4), lanes=lanes)
    assert watch(tx, minutes(6)) == [("lot-1", "offline_lane", True)]
    assert [alarm.detail for alarm in alarms.alarms(tx)] == ["offline: A"]
    beat(tx, lot, minutes(7))
    assert watch(tx, minutes(7)) == [("lot-1", "offline_lane", False)]


def test_missing_numbers_are_an_alarm_once_they_had_time_to_come(tx: Connection, lot: Lot) -> None:
    def come(number: int, at: datetime) -> None:
        posted = [NewStay(serial=f"S{number}", number=number, plate=f"苏B1234{number}", entered_at=AT)]
        assert stays.post(tx, lane=0, lot=lot, stays=posted, at=at, ids=IDS)[0].outcome == "created"

    come(1, AT)
    come(3, AT)
    assert watch(tx, minutes(9)) == []
    assert watch(tx, minutes(10)) == [("lot-1", "gap", True)]
    come(5, minutes(11))
    assert watch(tx, minutes(12)) == []
    assert [alarm.detail for alarm in alarms.alarms(tx)] == ["stay: 2 of 5 numbers are missing"]
    come(2, minutes(13))
    come(4, minutes(13))
    assert watch(tx, minutes(14)) == [("lot-1", "gap", False)]


def test_more_openings_than_the_rule_allows_are_an_alarm(tx: Connection, lot: Lot) -> None:
    rule(tx, 2, kind="leak")

    def opened(count: int, reason: str) -> None:
        posted = [
            NewOpening(serial=f"{reason}{n}", at=AT, lane="B", direction="out", reason=reason)  # type: ignore[arg-type]
            for n in range(count)
        ]
        openings.post(tx, lane=0, lot=lot, openings=posted, at=AT, ids=IDS)

    opened(9, "test")
    opened(2, "vip")
    assert watch(tx, minutes(1)) == []
    opened(1, "fire")
    assert watch(tx, minutes(2)) == [("lot-1", "leak", True)]
    assert watch(tx, minutes(48 * 60)) == [("lot-1", "leak", False)]


def test_alarms_are_told_by_lot_operator_and_district(tx: Connection, lot: Lot) -> None:
    other = make_city(tx, number=2)
    rule(tx)
    watch(tx, minutes(11))
    assert open_alarms(tx) == [("lot-1", "silent"), ("lot-2", "silent")]
    assert open_alarms(tx, lot_id=lot.lot_id) == [("lot-1", "silent")]
    assert open_alarms(tx, operator_id=other.operator_id) == [("lot-2", "silent")]
    assert open_alarms(tx, district="滨湖区") == []
    assert open_alarms(tx, kind="gap") == []


def test_the_report_of_silence_has_the_longest_first(tx: Connection, lot: Lot) -> None:
    make_city(tx, number=2)
    rule(tx)
    beat(tx, lot, minutes(1), queue=7)
    told = alarms.silences(tx, at=minutes(11))
    assert [(one.lot_code, one.heard_at, one.is_silent, one.queue) for one in told] == [
        ("lot-2", None, True, None), ("lot-1", minutes(1), False, 7),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"at": AT + timedelta(days=2)},
        {"at": datetime(2026, 3, 2, 12)},  # noqa: DTZ001
        {"software": ""},
        {"lanes": [LaneState("A", True), LaneState("A", False)]},
        {"queue": -1},
        {"last_number": -1},
    ],
)
def test_a_heartbeat_that_cannot_be_is_refused(tx: Connection, lot: Lot, change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as wrong:
        beat(tx, lot, AT, **change)
    assert wrong.value.code == "heartbeat_invalid"


def test_a_wrong_clock_is_told_and_the_heartbeat_counts(tx: Connection, lot: Lot) -> None:
    heard = heartbeats.hear(tx, lot=lot, heartbeat=Heartbeat(at=AT - timedelta(minutes=7), software="x", lanes=[]), at=AT)
    assert heard.clock_ahead_seconds == -420
