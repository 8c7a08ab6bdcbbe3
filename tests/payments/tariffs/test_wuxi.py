"""Each published sentence of Wuxi's tariffs, as a test. docs/TARIFFS.md names them one by one."""

import pytest

from payments.tariffs.blocks import Around, Exempt
from payments.tariffs.courses import minute
from payments.tariffs.errors import PriceMissing
from payments.tariffs.registry import begin_of
from tests.payments.tariffs.wuxi import HOSPITAL, ROAD_2022, ROAD_2023, at, calendars, hospital, road, rules, where, whys, yuan

FIRST_AND_AFTER = [
    ("core", "main", 3, 4), ("centre", "main", 2, 3), ("outer", "main", 1, 2),
    ("core", "branch", 2, 3), ("centre", "branch", 1, 2), ("outer", "branch", 0.5, 1),
]  # fmt: skip
NOT_FOUND = [("centre", "main"), ("outer", "main"), ("centre", "branch"), ("outer", "branch")]


# Road berths: prices


@pytest.mark.parametrize("tariff", [ROAD_2022, ROAD_2023], ids=["2022", "2023"])
@pytest.mark.parametrize(("zone", "kind", "first", "after"), FIRST_AND_AFTER)
def test_each_zone_and_road_has_its_price_of_the_first_hour_and_after(
    tariff: object, zone: str, kind: str, first: float, after: float
) -> None:
    of, free = (ROAD_2022, 15) if tariff is ROAD_2022 else (ROAD_2023, 30)
    entered = f"09:{60 - free}"
    place = where(zone, kind)
    assert yuan(road(entered, "10:30", place=place, of=of)) == first
    assert yuan(road(entered, "11:00", place=place, of=of)) == 2 * first
    assert yuan(road(entered, "12:00", place=place, of=of)) == 2 * first + 2 * after


@pytest.mark.parametrize(("kind", "peak"), [("main", 5), ("branch", 4)])
@pytest.mark.parametrize(("entered", "left"), [("07:00", "08:30"), ("17:00", "18:30")])
def test_in_the_core_zone_the_peak_costs_five_on_main_and_four_on_branch_roads(
    kind: str, peak: int, entered: str, left: str
) -> None:  # fmt: skip
    assert yuan(road(entered, left, place=where("core", kind))) == 2 * peak


@pytest.mark.parametrize(("clock", "price"), [("06:59", 0), ("07:00", 5), ("08:59", 5), ("09:00", 3), ("16:59", 3), ("17:00", 5),
                                              ("19:59", 5), ("20:00", 0)])  # fmt: skip
def test_the_peak_is_from_seven_to_nine_and_from_seventeen_to_twenty(clock: str, price: int) -> None:
    hour, minutes = map(int, clock.split(":"))
    begin = hour * 60 + minutes - 30
    left = hour * 60 + minutes + 1
    assert yuan(road(f"{begin // 60:02d}:{begin % 60:02d}", f"{left // 60:02d}:{left % 60:02d}")) == price


@pytest.mark.parametrize(("zone", "kind"), NOT_FOUND)
def test_where_no_peak_price_was_found_no_quote_is_guessed(zone: str, kind: str) -> None:
    with pytest.raises(PriceMissing, match="no source has a price of wuxi-road") as refused:
        road("08:00", "09:30", place=where(zone, kind))
    assert refused.value.code == "tariff_price_missing"
    assert road("09:30", "16:59", place=where(zone, kind)).amount_fen > 0


@pytest.mark.parametrize(("zone", "kind"), NOT_FOUND)
def test_the_price_of_other_hours_stands_for_the_missing_one_where_that_was_decided(zone: str, kind: str) -> None:
    first, after = next((first, after) for z, k, first, after in FIRST_AND_AFTER if (z, k) == (zone, kind))
    decided = road("07:30", "10:00", place=where(zone, kind), missing_price="base")
    assert yuan(decided) == 2 * first + 2 * after


def test_a_begun_half_hour_counts() -> None:
    assert [yuan(road("09:00", left)) for left in ("09:30", "09:31", "10:00", "10:01")] == [0, 3, 3, 6]


def test_medium_and_large_vehicles_pay_double() -> None:
    small = road("08:10", "18:10").amount_fen
    assert [road("08:10", "18:10", color=color).amount_fen // small for color in ("yellow", "limegreen")] == [2, 2]


def test_blue_and_green_plates_are_small() -> None:
    amounts = {road("08:10", "18:10", color=color).amount_fen for color in ("blue", "green")}
    assert amounts == {road("08:10", "18:10", color="unknown").amount_fen}


# Road berths: free times


def test_ordinary_sections_are_free_from_twenty_to_seven() -> None:
    assert (whys(road("20:00", "2026-03-03 07:00")), road("20:00", "2026-03-03 07:00").amount_fen) == (["free_hours"], 0)
    assert yuan(road("19:00", "2026-03-03 07:00")) == 5
    assert yuan(road("19:00", "2026-03-03 07:01")) == 10


@pytest.mark.parametrize("month", [5, 6, 7, 8, 9, 10])
def test_night_economy_sections_are_free_from_midnight_only_from_may_to_october(month: int) -> None:
    place = where("core", "main", "night_economy")
    assert yuan(road(f"2026-{month:02d}-12 22:30", f"2026-{month:02d}-13 06:00", place=place)) == 2 * 3
    assert road(f"2026-{month:02d}-12 23:59", f"2026-{month:02d}-13 07:00", place=place).amount_fen == 0


@pytest.mark.parametrize("month", [11, 12, 1, 2, 3, 4])
def test_night_economy_sections_are_free_from_twenty_three_in_the_other_months(month: int) -> None:
    place = where("core", "main", "night_economy")
    assert yuan(road(f"2026-{month:02d}-12 22:00", f"2026-{month:02d}-13 06:00", place=place)) == 3
    assert yuan(road(f"2026-{month:02d}-12 20:30", f"2026-{month:02d}-13 06:00", place=place)) == 2 * 3 + 2 * 4


def test_on_the_last_of_october_the_night_begins_at_midnight_and_on_the_last_of_april_at_twenty_three() -> None:
    place = where("core", "main", "night_economy")
    assert yuan(road("2026-10-31 22:30", "2026-11-01 06:00", place=place)) == 2 * 3
    assert yuan(road("2026-04-30 22:00", "2026-05-01 06:00", place=place)) == 3
    assert yuan(road("2026-05-01 22:30", "2026-05-02 06:00", place=place)) == 2 * 3


def test_the_first_fifteen_minutes_were_free_in_2022() -> None:
    assert [yuan(road("10:00", left, of=ROAD_2022)) for left in ("10:15", "10:16", "10:45", "10:46")] == [0, 3, 3, 6]


def test_the_first_thirty_minutes_are_free_since_the_notice_of_2023() -> None:
    assert [yuan(road("10:00", left)) for left in ("10:30", "10:31", "11:00", "11:01")] == [0, 3, 3, 6]
    assert str(ROAD_2023.document) == "停车便民惠民十项措施 锡政办发〔2023〕38号 2023-08-26"


def test_all_other_places_give_at_least_thirty_free_minutes_and_roads_thirty() -> None:
    latest = {rule.place: rule.free_minutes_min for rule in rules().rules}
    assert latest == {"road": 30, "park": 30, "hospital": 30}


def test_the_unit_is_half_an_hour_on_roads_and_an_hour_elsewhere() -> None:
    assert {rule.place: rule.unit_minutes for rule in rules().rules} == {"road": 30, "park": 60, "hospital": 60}
    assert (ROAD_2022.unit_minutes, ROAD_2023.unit_minutes, HOSPITAL.unit_minutes) == (30, 30, 60)


def test_a_stay_over_several_bands_adds_each_bands_price() -> None:
    priced = road("07:30", "17:30")
    assert [(line.why, line.units, line.unit_fen) for line in priced.lines] == [
        ("free_minutes", 0, 0), ("peak", 2, 500), ("base", 2, 300), ("base", 14, 400), ("peak", 1, 500),
    ]  # fmt: skip
    assert yuan(priced) == 10 + 6 + 56 + 5


def test_after_twenty_four_hours_it_begins_anew() -> None:
    one_day = road("10:00", "2026-03-03 10:00").amount_fen
    assert road("10:00", "2026-03-03 10:30").amount_fen == one_day
    assert road("10:00", "2026-03-03 11:30").amount_fen == one_day + 2 * 300
    assert road("10:00", "2026-03-05 10:00").amount_fen == 3 * one_day


def test_a_price_for_a_whole_stay_lasts_at_most_twenty_four_hours() -> None:
    one_day = hospital("10:00", "2026-03-03 10:00").amount_fen
    again = hospital("10:00", "2026-03-03 11:01")
    assert again.amount_fen == one_day + 200
    assert [line.amount_fen for line in again.lines if line.unit_fen == 200 and line.units == 1] == [200, 200]


def test_road_berths_have_no_daily_cap() -> None:
    assert all(cap is None for cap in (ROAD_2023.caps.stay_fen, ROAD_2023.caps.day_24h_fen, ROAD_2023.caps.calendar_day_fen))
    assert yuan(road("07:00", "20:00")) == 3 * 5 + 2 * 3 + 14 * 4 + 6 * 5


# Pilot hospitals


def test_the_first_sixty_minutes_at_a_pilot_hospital_are_free() -> None:
    assert [yuan(hospital("09:00", left)) for left in ("10:00", "10:01")] == [0, 2]


def test_a_pilot_hospital_costs_two_yuan_a_stay_up_to_two_hours() -> None:
    assert [yuan(hospital("09:00", left)) for left in ("10:01", "11:00", "12:00")] == [2, 2, 2]


def test_from_two_to_four_hours_a_pilot_hospital_costs_two_yuan_an_hour() -> None:
    assert [yuan(hospital("09:00", left)) for left in ("12:01", "13:00", "13:01", "14:00")] == [4, 4, 6, 6]


def test_from_four_to_seven_hours_a_pilot_hospital_costs_three_yuan_an_hour() -> None:
    assert [yuan(hospital("09:00", left)) for left in ("14:01", "15:01", "17:00")] == [9, 12, 15]


def test_over_seven_hours_a_pilot_hospital_costs_five_yuan_an_hour() -> None:
    assert [yuan(hospital("09:00", left)) for left in ("17:01", "18:00", "18:01")] == [20, 20, 25]


def test_a_begun_hour_counts_at_a_pilot_hospital() -> None:
    assert yuan(hospital("09:00", "12:01")) == yuan(hospital("09:00", "13:00")) == 4


def test_twenty_four_hours_at_a_pilot_hospital_cost_forty_yuan_at_most() -> None:
    assert [yuan(hospital("07:00", left)) for left in ("20:00", "2026-03-03 07:00")] == [40, 40]
    assert yuan(hospital("07:00", "2026-03-04 07:00")) == 80
    assert "cap_24h" in whys(hospital("07:00", "2026-03-03 07:00"))


@pytest.mark.parametrize(("entered", "left", "price"), [("20:00", "22:00", 1), ("20:00", "2026-03-03 02:00", 5),
                                                       ("20:00", "2026-03-03 07:00", 5), ("22:30", "2026-03-03 01:00", 2),
                                                       ("2026-03-03 00:30", "2026-03-03 06:30", 5)])  # fmt: skip
def test_in_after_twenty_and_out_before_seven_costs_one_yuan_an_hour_and_five_at_most(
    entered: str, left: str, price: int
) -> None:  # fmt: skip
    assert yuan(hospital(entered, left)) == price


def test_the_night_price_needs_both_in_after_twenty_and_out_before_seven() -> None:
    assert yuan(hospital("19:59", "2026-03-03 07:00")) == 40 - 5
    assert yuan(hospital("20:00", "2026-03-03 07:01")) == 2 + 4 + 9 + 4 * 5


# Spring Festival 2024


def test_the_spring_festival_of_2024_was_free_at_the_places_listed() -> None:
    [calendar] = calendars().calendars
    assert (str(calendar.first_day), str(calendar.last_day)) == ("2024-02-09", "2024-02-17")
    assert (calendar.places_published, calendar.berths_published) == (284, 27_370)
    begin, end = (minute(begin_of(day)) for day in (calendar.first_day, calendar.last_day))
    listed = Around({}, [Exempt(begin, end + 24 * 60, f"calendar:{calendar.code}", calendar.words)])
    assert road("2024-02-09 09:00", "2024-02-17 23:59", around=listed).amount_fen == 0
    assert road("2024-02-09 09:00", "2024-02-17 23:59").amount_fen > 0
    assert yuan(road("2024-02-08 19:00", "2024-02-18 07:01", around=listed)) == 5 + 5
    assert "2024年春节免费" in road("2024-02-09 09:00", "2024-02-09 12:00", around=listed).words.zh


def test_times_are_chinese_wall_clock_wherever_they_are_written() -> None:
    assert at("08:10").utcoffset() is not None
    assert road("08:10", "10:30").lines[0].from_at.isoformat() == "2026-03-02T00:10:00+00:00"
