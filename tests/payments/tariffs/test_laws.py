"""Laws of every amount, over random stays, tariffs and options; minute by minute where a law speaks of time."""

import itertools
from datetime import timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.clock import CHINA
from payments.tariffs import words
from payments.tariffs.blocks import NOTHING_AROUND, Around, Exempt
from payments.tariffs.checking import problems
from payments.tariffs.courses import Applied, course, minute
from payments.tariffs.priced import Priced, Stay
from payments.tariffs.pricing import price
from payments.tariffs.tariff import Caps, Names, Options, Tariff
from tests.payments.tariffs.wuxi import HOSPITAL, ROAD_2022, ROAD_2023, at, where

_CHOICES = {
    field.name: field.type.__args__
    for field in msgspec.structs.fields(Options)
    if field.name not in ("missing_price", "tariff_change")
}


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    """A published tariff with any options and caps that it may have."""
    of = draw(st.sampled_from([ROAD_2022, ROAD_2023, HOSPITAL]))
    chosen = {name: draw(st.sampled_from(values)) for name, values in _CHOICES.items()}
    if of is HOSPITAL:
        chosen["unit_across_bands"] = draw(st.sampled_from(["begin", "cut"]))
    caps = st.none() | st.integers(100, 20_000)
    changed = msgspec.structs.replace(
        of, options=Options(**chosen, missing_price="base"), why=dict.fromkeys(chosen, "a test") | {"missing_price": "a test"},
        caps=Caps(stay_fen=draw(caps), day_24h_fen=draw(caps), calendar_day_fen=draw(caps)), free_minutes=draw(st.integers(0, 90)),
    )  # fmt: skip
    assert problems(changed) == []
    return changed


@st.composite
def places(draw: st.DrawFn) -> dict[str, str]:
    return where(
        draw(st.sampled_from(["core", "centre", "outer"])), draw(st.sampled_from(["main", "branch"])),
        draw(st.sampled_from(["ordinary", "night_economy"])),
    )  # fmt: skip


@st.composite
def arounds(draw: st.DrawFn) -> Around:
    begin = minute(at("2026-03-02 00:00")) + draw(st.integers(0, 3 * 1440))
    name = Names(zh="免费", en="free")
    if draw(st.booleans()):
        return NOTHING_AROUND
    return Around({}, [Exempt(begin, begin + draw(st.integers(1, 2000)), "calendar:x", name)])


entries = st.integers(0, 2 * 1440).map(lambda minutes: at("2026-03-02 00:00") + timedelta(minutes=minutes))
lengths = st.integers(0, 4 * 1440)
colors = st.sampled_from(["blue", "green", "yellow", "limegreen", "black", "white", "unknown"])


def priced(of: Tariff, place: dict[str, str], entered: object, length: int, color: str, around: Around, **how: bool) -> Priced:
    stay = Stay(entered_at=entered, left_at=entered + timedelta(minutes=length), plate_color=color)  # type: ignore[operator, arg-type]
    return price(of, stay, selectors=place if of.selectors else {}, around=around, **how)


@settings(max_examples=150, deadline=None)
@given(tariffs(), places(), entries, lengths, colors, arounds())
def test_lines_sum_to_the_amount_which_is_never_negative_and_never_above_a_cap(
    of: Tariff, place: dict[str, str], entered: object, length: int, color: str, around: Around
) -> None:
    found = priced(of, place, entered, length, color, around)
    times = (
        2 if of.vehicles.large_times == 2 and color in ("yellow", "limegreen") and of.options.caps_for_large == "multiplied" else 1
    )
    assert sum(line.amount_fen for line in found.lines) == found.amount_fen >= 0
    assert all(line.units * line.unit_fen == line.amount_fen for line in found.lines)
    assert of.caps.stay_fen is None or found.amount_fen <= of.caps.stay_fen * times or of.special is not None
    if of.caps.day_24h_fen is not None and of.special is None and of.options.window_in_night == "runs":
        assert found.amount_fen <= of.caps.day_24h_fen * times * (length // 1440 + 1)
    if of.caps.calendar_day_fen is not None and of.special is None:
        assert found.amount_fen <= of.caps.calendar_day_fen * times * (length // 1440 + 2)


@settings(max_examples=60, deadline=None)
@given(tariffs(), places(), entries, st.integers(0, 3 * 1440), colors, arounds())
def test_leaving_later_never_costs_less(
    of: Tariff, place: dict[str, str], entered: object, length: int, color: str, around: Around
) -> None:
    of = msgspec.structs.replace(of, special=None)
    amounts = [priced(of, place, entered, length + later, color, around).amount_fen for later in range(0, 200, 7)]
    assert amounts == sorted(amounts)


@settings(max_examples=40, deadline=None)
@given(entries, st.integers(0, 1500))
def test_leaving_a_published_hospital_later_never_costs_less_its_night_price_included(entered: object, length: int) -> None:
    amounts = [priced(HOSPITAL, {}, entered, length + later, "blue", NOTHING_AROUND).amount_fen for later in range(0, 300, 5)]
    assert amounts == sorted(amounts)


@settings(max_examples=60, deadline=None)
@given(tariffs(), places(), entries, st.integers(0, 2 * 1440), arounds())
def test_the_amount_stays_the_same_until_the_moment_that_is_named_and_not_longer(
    of: Tariff, place: dict[str, str], entered: object, length: int, around: Around
) -> None:
    found = priced(of, place, entered, length, "blue", around, looks_ahead=True)
    if found.same_until is None:
        return
    until = (found.same_until - entered) // timedelta(minutes=1)  # type: ignore[operator]
    last, changed = (until, until + 1) if of.options.seconds == "begun" else (until - 1, until)
    assert last >= length
    assert priced(of, place, entered, last, "blue", around).amount_fen == found.amount_fen
    assert priced(of, place, entered, changed, "blue", around).amount_fen != found.amount_fen


@settings(max_examples=80, deadline=None)
@given(tariffs(), places(), entries, lengths, arounds())
def test_a_large_vehicle_pays_exactly_double(
    of: Tariff, place: dict[str, str], entered: object, length: int, around: Around
) -> None:
    options = msgspec.structs.replace(of.options, caps_for_large="multiplied", unit_across_bands="begin")
    of = msgspec.structs.replace(of, options=options)
    small = priced(of, place, entered, length, "blue", around).amount_fen
    assert priced(of, place, entered, length, "yellow", around).amount_fen == small * of.vehicles.large_times


@settings(max_examples=80, deadline=None)
@given(tariffs(), places(), entries, st.integers(0, 60 * 1440), colors, arounds())
def test_words_fit_a_charge_and_name_the_amount_however_long_the_stay(
    of: Tariff, place: dict[str, str], entered: object, length: int, color: str, around: Around
) -> None:
    found = priced(of, place, entered, length, color, around)
    for text in (found.words.zh, found.words.en):
        assert 0 < len(text) <= 500
        assert f"{found.amount_fen // 100}.{found.amount_fen % 100:02d}" in text


@settings(max_examples=60, deadline=None)
@given(tariffs(), places(), entries, lengths)
def test_however_lines_are_summed_up_for_display_the_money_is_the_same(
    of: Tariff, place: dict[str, str], entered: object, length: int
) -> None:
    found = priced(of, place, entered, length, "blue", NOTHING_AROUND)
    made = course(
        Applied(valid_from=at("2026-01-01 00:00"), tariff=of, selectors=tuple(place.items()) if of.selectors else ()), "blue"
    )
    for parts in (found.lines, found.lines[:1], ()):
        text = words.told(made, minute(entered), minute(entered) + length, parts, found.amount_fen)  # type: ignore[arg-type]
        assert f"应收{found.amount_fen // 100}.{found.amount_fen % 100:02d}元" in text.zh
    cut = len(found.lines) // 2
    halves = [sum(line.amount_fen for line in half) for half in (found.lines[:cut], found.lines[cut:])]
    assert sum(halves) == found.amount_fen


@settings(max_examples=60, deadline=None)
@given(tariffs(), places(), entries, lengths, arounds())
def test_lines_lie_within_the_stay_and_time_without_caps_is_told_without_a_gap(
    of: Tariff, place: dict[str, str], entered: object, length: int, around: Around
) -> None:
    found = priced(of, place, entered, length, "blue", around)
    told = [line for line in found.lines if line.amount_fen >= 0]
    for one, following in itertools.pairwise(told):
        assert one.to_at == following.from_at
    if length:
        assert (told[0].from_at, told[-1].to_at) == (entered, entered + timedelta(minutes=length))  # type: ignore[operator]


def test_the_same_stay_gives_the_same_bytes() -> None:
    stay = Stay(entered_at=at("08:10"), left_at=at("2026-03-04 18:10"), plate_color="blue")
    one, other = (msgspec.json.encode(price(ROAD_2023, stay, selectors=where("core", "main"))) for _ in range(2))
    assert one == other
    assert stay.entered_at.tzinfo is CHINA
