"""The engine against the published words carried out minute by minute, by a walk that shares nothing with it."""

from datetime import timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from payments.tariffs.priced import Stay
from payments.tariffs.pricing import price
from tests.payments.tariffs.wuxi import HOSPITAL, ROAD_2023, at, where

PRICES = {"main": (500, 300, 400), "branch": (400, 200, 300)}
YEAR = at("2026-01-01 00:00")


def road_by_the_minute(entered: int, length: int, *, kind: str, section: str, large: bool) -> int:
    """Walk through a stay on a road of the core zone; ``entered`` counts minutes of 2026."""
    peak, first, after = PRICES[kind]
    amount = unit_left = base_used = 0
    unit_is_base = False
    for passed in range(length):
        now = entered + passed
        clock, month = now % 1440, (YEAR + timedelta(minutes=now)).month
        if passed % 1440 == 0:
            unit_left = base_used = 0
        night_begins = 1200 if section == "ordinary" else 1440 if 5 <= month <= 10 else 1380
        if clock < 420 or clock >= night_begins:
            unit_left = 0
        elif passed % 1440 >= 30:
            if unit_left == 0:
                unit_is_base = not (420 <= clock < 540 or 1020 <= clock < 1200)
                amount += (first if base_used < 60 else after) if unit_is_base else peak
                unit_left = 30
            unit_left -= 1
            base_used += unit_is_base
    return amount * (2 if large else 1)


def hospital_by_the_minute(entered: int, length: int) -> int:
    """Walk through a stay at a pilot hospital."""
    evening = entered if entered % 1440 >= 1200 else entered - 1440
    night_ends = (evening // 1440 + 1) * 1440 + 420
    if (entered % 1440 >= 1200 or entered % 1440 < 420) and entered + length <= night_ends:
        return min(-(-max(length - 60, 0) // 60), 5) * 100
    total = 0
    for begin in range(0, length, 1440):
        charged = min(length - begin, 1440) - 60
        window = 0
        for minute in range(0, max(charged, 0), 60):
            if minute == 0:
                window += 200
            elif minute >= 120:
                window += 200 if minute < 240 else 300 if minute < 420 else 500
        total += min(window, 4000)
    return total


entries = st.integers(0, 364 * 1440)
lengths = st.integers(0, 3 * 1440)


@settings(max_examples=300, deadline=None)
@given(entries, lengths, st.sampled_from(["main", "branch"]), st.sampled_from(["ordinary", "night_economy"]), st.booleans())
@example(303 * 1440 + 22 * 60, 600, "main", "night_economy", False)
@example(119 * 1440 + 22 * 60, 600, "branch", "night_economy", True)
def test_a_stay_on_a_road_costs_what_the_words_say_minute_by_minute(
    entered: int, length: int, kind: str, section: str, large: bool
) -> None:
    begin = YEAR + timedelta(minutes=entered)
    stay = Stay(entered_at=begin, left_at=begin + timedelta(minutes=length), plate_color="yellow" if large else "blue")
    found = price(ROAD_2023, stay, selectors=where("core", kind, section)).amount_fen
    assert found == road_by_the_minute(entered, length, kind=kind, section=section, large=large)


@settings(max_examples=300, deadline=None)
@given(entries, lengths | st.integers(0, 700))
@example(20 * 60, 660)
@example(20 * 60, 661)
@example(20 * 60 - 1, 661)
def test_a_stay_at_a_pilot_hospital_costs_what_the_words_say(entered: int, length: int) -> None:
    begin = YEAR + timedelta(minutes=entered)
    stay = Stay(entered_at=begin, left_at=begin + timedelta(minutes=length), plate_color="blue")
    assert price(HOSPITAL, stay).amount_fen == hospital_by_the_minute(entered, length)
