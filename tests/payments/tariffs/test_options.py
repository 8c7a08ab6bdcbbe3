"""What the published texts leave open: each named option does what docs/TARIFFS.md says of each of its values."""

import msgspec
import pytest

from payments.tariffs.blocks import Around, Exempt
from payments.tariffs.courses import minute
from payments.tariffs.pricing import price
from payments.tariffs.tariff import Caps, Names, Tariff
from tests.payments.tariffs.wuxi import CORE_MAIN, HOSPITAL, ROAD_2023, at, hospital, road, stay, where, whys, with_options, yuan


def capped(**caps: int) -> Tariff:
    return msgspec.structs.replace(ROAD_2023, caps=Caps(**caps))


def test_free_time_that_is_exceeded_is_deducted_or_counts() -> None:
    assert yuan(road("09:00", "10:30")) == 2 * 3
    assert yuan(road("09:00", "10:30", free_when_exceeded="counts")) == 2 * 3 + 4
    assert yuan(road("09:00", "09:30", free_when_exceeded="counts")) == 0
    assert yuan(road("09:00", "09:31", free_when_exceeded="counts")) == 2 * 3


def test_free_minutes_run_from_entry_or_in_charged_time_only() -> None:
    assert yuan(road("06:45", "07:40")) == 5
    assert yuan(road("06:45", "07:40", free_runs="in_charged_time")) == 5
    assert yuan(road("06:45", "07:30")) == 5
    assert yuan(road("06:45", "07:30", free_runs="in_charged_time")) == 0


def test_free_minutes_are_given_again_after_twenty_four_hours_or_once() -> None:
    assert yuan(road("10:00", "2026-03-03 10:20")) == yuan(road("10:00", "2026-03-03 10:00"))
    once = road("10:00", "2026-03-03 10:20", free_after_restart="once")
    assert yuan(once) == yuan(road("10:00", "2026-03-03 10:00")) + 3


@pytest.mark.parametrize(("way", "price"), [("begin", 5), ("cut", 5 + 3), ("split", (500 * 10 + 300 * 20) // 30 / 100),
                                            ("dearer", 5), ("cheaper", 3)])  # fmt: skip
def test_a_unit_over_a_change_of_bands_costs_as_the_option_says(way: str, price: float) -> None:
    assert yuan(road("08:20", "09:20", unit_across_bands=way)) == price


def test_shared_units_are_rounded_down_to_the_fen() -> None:
    assert road("08:20", "09:20", unit_across_bands="split").amount_fen == 366


def test_after_free_hours_a_new_unit_begins_or_units_run_on_through_them() -> None:
    assert yuan(road("19:10", "2026-03-03 07:05")) == 5 + 5
    assert yuan(road("19:10", "2026-03-03 07:05", unit_across_night="runs_on")) == 5
    assert yuan(road("19:10", "2026-03-03 07:11", unit_across_night="runs_on")) == 5 + 5


def test_a_unit_that_runs_on_into_the_night_shares_its_price_with_the_free_hours() -> None:
    shared = road("19:10", "19:59", unit_across_night="runs_on", unit_across_bands="split")
    assert shared.amount_fen == 500 * 20 // 30


def test_the_first_hour_is_that_of_the_band_or_of_the_stay() -> None:
    assert yuan(road("07:30", "10:00")) == 2 * 5 + 2 * 3
    assert yuan(road("07:30", "10:00", first_hour_of="stay")) == 2 * 5 + 2 * 4


def test_the_first_hour_counts_again_after_twenty_four_hours_or_after_each_night() -> None:
    entered, left = "12:00", "2026-03-03 10:00"
    day = 2 * 3 + 7 * 4 + 1 * 4 + 6 * 5 + 4 * 5
    assert yuan(road(entered, left)) == day - 4 + 2 * 4
    assert yuan(road(entered, left, first_hour_again="after_night")) == day - 4 + 2 * 3


def test_all_is_counted_anew_after_twenty_four_hours_or_never() -> None:
    begun = hospital("09:00", "2026-03-03 10:01")
    assert yuan(begun) == 40 + 2
    assert yuan(hospital("09:00", "2026-03-03 10:01", restart="never")) == 40 + 2 * 5


def test_the_twenty_four_hours_count_from_entry_or_from_the_first_paid_minute() -> None:
    left = "2026-03-03 09:50"
    assert yuan(hospital("09:00", left)) == 40
    assert yuan(hospital("09:00", left, restart_from="first_paid")) == 40
    assert yuan(hospital("09:00", "2026-03-03 10:30")) == 40 + 2
    assert yuan(hospital("09:00", "2026-03-03 10:30", restart_from="first_paid")) == 40


def test_the_twenty_four_hours_run_on_in_free_nights_or_stand_still() -> None:
    left = "2026-03-03 12:00"
    runs, stands = road("10:00", left), road("10:00", left, window_in_night="stands")
    assert [line.why for line in runs.lines].count("free_minutes") == 2
    assert [line.why for line in stands.lines].count("free_minutes") == 1
    assert runs.amount_fen < stands.amount_fen


def test_a_cap_of_twenty_four_hours_counts_the_free_night_or_leaves_it_out() -> None:
    of = capped(day_24h_fen=3000)
    left = "2026-03-03 19:00"
    assert yuan(road("10:00", left, of=of)) == 60
    assert yuan(road("10:00", left, of=of, window_in_night="stands")) == 30


def test_a_begun_minute_is_dropped_or_counts() -> None:
    entered, left = at("09:00"), at("09:30").replace(second=59)
    half = msgspec.structs.replace(stay("09:00", "09:30"), entered_at=entered, left_at=left)
    assert price(ROAD_2023, half, selectors=CORE_MAIN).amount_fen == 0
    assert price(with_options(ROAD_2023, seconds="begun"), half, selectors=CORE_MAIN).amount_fen == 300
    exact = msgspec.structs.replace(half, left_at=at("09:30"))
    assert price(with_options(ROAD_2023, seconds="begun"), exact, selectors=CORE_MAIN).amount_fen == 0


def test_seconds_of_entry_never_take_from_the_free_minutes() -> None:
    late = msgspec.structs.replace(stay("09:00", "09:31"), entered_at=at("09:00").replace(second=58), left_at=at("09:31"))
    assert price(ROAD_2023, late, selectors=CORE_MAIN).minutes == 30
    assert price(ROAD_2023, late, selectors=CORE_MAIN).amount_fen == 0


def test_caps_of_large_vehicles_are_multiplied_or_the_same() -> None:
    of = capped(stay_fen=2000)
    assert yuan(road("08:00", "18:00", of=of)) == 20
    assert yuan(road("08:00", "18:00", of=of, color="yellow")) == 40
    assert yuan(road("08:00", "18:00", of=of, color="yellow", caps_for_large="same")) == 20


def test_a_cap_stands_in_a_line_of_its_own() -> None:
    priced = road("08:00", "18:00", of=capped(calendar_day_fen=2000))
    [line] = [line for line in priced.lines if line.amount_fen < 0]
    assert (line.why, line.words.zh) == ("cap_day", "当日封顶20.00元")
    assert sum(one.amount_fen for one in priced.lines) == priced.amount_fen == 2000


def test_a_calendar_days_cap_begins_anew_at_midnight() -> None:
    of = capped(calendar_day_fen=2000)
    assert yuan(road("08:00", "2026-03-03 08:00", of=of)) == 20 + 10


@pytest.mark.parametrize("color", ["black", "white", "unknown"])
def test_colours_that_the_text_does_not_name_are_small_unless_it_is_decided_otherwise(color: str) -> None:
    small = road("08:10", "18:10").amount_fen
    assert road("08:10", "18:10", color=color).amount_fen == small  # type: ignore[arg-type]
    decided = msgspec.structs.replace(ROAD_2023, vehicles=msgspec.structs.replace(ROAD_2023.vehicles, **{color: "large"}))
    assert road("08:10", "18:10", color=color, of=decided).amount_fen == 2 * small  # type: ignore[arg-type]


def test_a_vehicle_that_is_exempt_pays_nothing_and_is_told_why() -> None:
    of = msgspec.structs.replace(ROAD_2023, vehicles=msgspec.structs.replace(ROAD_2023.vehicles, white="exempt"))
    priced = road("08:10", "18:10", color="white", of=of, looks_ahead=True)
    assert (priced.amount_fen, whys(priced), priced.same_until) == (0, ["exempt_vehicle"], None)
    assert "免费车辆" in priced.words.zh
    assert road("08:00", "09:30", color="white", of=of, place=where("outer", "main")).amount_fen == 0


def test_an_exempt_time_ends_a_unit_and_a_new_one_begins_behind_it() -> None:
    pass_hours = Exempt(minute(at("10:10")), minute(at("11:00")), "pass:P1", Names(zh="月卡免费", en="month pass"))
    priced = road("09:00", "11:10", around=Around({}, [pass_hours]))
    assert [(line.why, line.units) for line in priced.lines] == [
        ("free_minutes", 0), ("base", 2), ("pass:P1", 0), ("base", 1),
    ]  # fmt: skip


def test_each_answer_says_until_when_it_stays_the_same() -> None:
    cases = [
        (road("09:00", "09:10", looks_ahead=True), "2026-03-02 09:31"),
        (road("09:00", "09:45", looks_ahead=True), "2026-03-02 10:01"),
        (road("09:00", "19:50", looks_ahead=True), "2026-03-03 07:01"),
        (road("09:00", "21:00", looks_ahead=True), "2026-03-03 07:01"),
        (hospital("20:00", "2026-03-03 03:00", looks_ahead=True), "2026-03-03 07:01"),
        (hospital("07:00", "21:00", looks_ahead=True), "2026-03-03 08:01"),
        (road("08:00", "08:10", place=where("outer", "main"), looks_ahead=True), "2026-03-02 08:31"),
    ]
    assert [priced.same_until for priced, _ in cases] == [at(expected) for _, expected in cases]


def test_a_hospital_has_no_price_for_large_vehicles_of_its_own() -> None:
    assert HOSPITAL.vehicles.large_times == 1
    assert hospital("09:00", "18:00", color="yellow").amount_fen == hospital("09:00", "18:00").amount_fen
