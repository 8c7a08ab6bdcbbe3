"""Free minutes: the price of the stay less its price with so many minutes less, by the tariff, or by the offer's word."""

import itertools
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Refused
from payments.discounts import effects, shortening
from payments.discounts.grants import NewValidation
from payments.discounts.offers import FREE_MINUTES_STEP, MinutesAt
from payments.discounts.shortening import ChargedStay, Curve, Wanted
from payments.discounts.stacking import Terms, apply
from payments.tariffs import registry
from payments.tariffs.priced import Stay
from payments.tariffs.pricing import price
from payments.tariffs.quotes import Refusal
from payments.tariffs.tariff import Tariff
from tests.payments.conftest import AT, IDS
from tests.payments.discounts.conftest import Town
from tests.payments.tariffs.test_laws import entries, places, tariffs
from tests.payments.tariffs.test_quotes import counted
from tests.payments.tariffs.wuxi import CORE_MAIN, ROAD_2022, ROAD_2023, road, rules
from tests.payments.tariffs.wuxi import at as in_china

MINUTES = {"off_fen": None, "free_minutes": 60, "minutes_else": "pro_rata"}


def a_stay(entered: datetime, length: int, amount_fen: int) -> ChargedStay:
    return ChargedStay(
        key=UUID(int=1), lot_id=1, plate="苏B12345", plate_color="blue", entered_at=entered, left_at=None, minutes=length,
        amount_fen=amount_fen,
    )  # fmt: skip


def curve_of(
    tariff: Tariff, place: dict[str, str], entered: datetime, length: int, minutes: int, end: MinutesAt
) -> tuple[int, Curve]:
    """Return what the stay costs, and what minutes take off it, as ``shortening.curves`` reckons it."""

    def cost(entered_at: datetime, left_at: datetime) -> Any:
        return price(
            tariff, Stay(entered_at=entered_at, left_at=left_at, plate_color="blue"), selectors=place if tariff.selectors else {}
        )

    amount = cost(entered, entered + timedelta(minutes=length)).amount_fen
    asks = shortening.shortened(Wanted(a_stay(entered, length, amount), minutes, end))
    found = shortening.curve(amount, [cost(one.entered_at, one.left_at) for one in asks])
    assert isinstance(found, Curve)
    return amount, found


@given(tariffs(), places(), entries, st.integers(0, 600), st.integers(1, 48), st.sampled_from(["entry", "exit"]))
def test_minutes_never_take_off_less_than_nothing_or_more_than_the_price_and_more_of_them_never_less(
    tariff: Tariff, place: dict[str, str], entered: Any, length: int, steps: int, end: MinutesAt
) -> None:
    most = steps * FREE_MINUTES_STEP
    amount, curve = curve_of(tariff, place, entered, length, most, end)
    off = [curve.off(minutes) for minutes in range(0, most + 1, FREE_MINUTES_STEP)]
    assert off[0] == 0
    assert off == sorted(off)
    assert off[-1] <= amount
    if most >= length:
        assert off[-1] == amount


@given(st.integers(1, 5_000), st.integers(0, 900), st.integers(0, 1_000), st.integers(0, 1_000))
def test_a_share_by_minutes_is_within_the_amount_and_rises_with_them(amount: int, length: int, less: int, more: int) -> None:
    off = [shortening.pro_rata(a_stay(AT, length, amount), minutes) for minutes in sorted((less, more))]
    assert 0 <= off[0] <= off[1] <= amount


@st.composite
def offers(draw: st.DrawFn) -> list[Terms]:
    found = []
    for number in range(draw(st.integers(0, 5))):
        cap, group = draw(st.none() | st.integers(1, 900)), draw(st.sampled_from([None, "a"]))
        terms: dict[str, Any] = {"key": UUID(int=number), "group": group, "is_alone": group is None and draw(st.booleans())}
        match draw(st.sampled_from(["entry", "exit", "fen", "bps"])):
            case "fen":
                terms |= {"off_fen": draw(st.integers(1, 900))}
            case "bps":
                terms |= {"off_bps": draw(st.integers(1, 10_000)), "cap_fen": cap or 900}
            case end:
                terms |= {"minutes": draw(st.integers(1, 12)) * FREE_MINUTES_STEP, "curve": end, "cap_fen": cap}
        found.append(Terms(**terms))
    return found


rising = st.lists(st.integers(0, 300), min_size=1, max_size=40).map(lambda each: Curve((0, *itertools.accumulate(each))))


@given(st.integers(0, 5_000), offers(), rising, rising, st.randoms())
def test_laws_of_stacking_hold_with_minutes(amount: int, given_: list[Terms], entry: Curve, late: Curve, random: Any) -> None:
    curves = {"entry": entry.off, "exit": late.off}
    found = [apply(amount, given_[:count], AT, curves) for count in range(len(given_) + 1)]
    rests = [one.rest_fen for one in found]
    assert rests == sorted(rests, reverse=True)  # one offer more never makes it dearer
    assert all(sum(line.fen for line in one.lines) + one.rest_fen == amount and one.rest_fen >= 0 for one in found)
    assert all(line.fen > 0 for one in found for line in one.lines)
    shuffled = list(given_)
    random.shuffle(shuffled)
    assert apply(amount, shuffled, AT, curves) == found[-1]


def test_minutes_of_two_offers_count_together_and_before_amounts() -> None:
    curve = Curve((0, 0, 600, 600, 900))
    both = [Terms(key=UUID(int=1), minutes=10, curve="entry"), Terms(key=UUID(int=2), minutes=10, curve="entry")]
    fen = Terms(key=UUID(int=0), off_fen=100)
    told = apply(1_000, [fen, *both], AT, {"entry": curve.off})
    assert [(line.key.int, line.fen) for line in told.lines] == [(1, 600), (2, 300), (0, 100)]


# With the tariffs of the database


def with_tariff(town: Town) -> None:
    with town.db.begin() as tx:
        for file in (rules(), ROAD_2022, ROAD_2023):
            registry.add(tx, file=file, at=AT)
        registry.assign(
            tx, lot=town.lots[0], at=AT, tariff_code="wuxi-road", selectors=CORE_MAIN, valid_from=in_china("2024-01-01 00:00"),
            document="list 1",
        )  # fmt: skip


def stays(town: Town, minutes: int = 150, **other: Any) -> tuple[UUID, int]:
    """A charge by the road tariff of a car that came at half past nine and stands at the gate."""
    amount = road("09:30", f"{(570 + minutes) // 60:02}:{(570 + minutes) % 60:02}").amount_fen
    said: dict[str, Any] = {"entered_at": in_china("09:30"), "minutes": minutes, "amount_fen": amount} | other
    return town.post(said.pop("serial", "S1"), **said), amount


@pytest.mark.parametrize(("end", "left"), [("entry", ("10:30", "12:00")), ("exit", ("09:30", "11:00"))])
def test_an_hour_takes_off_what_the_tariff_says(town: Town, end: str, left: tuple[str, str]) -> None:
    with_tariff(town)
    town.offer("H", **MINUTES, minutes_at=end)
    charge_id, amount = stays(town)
    town.validate(serial="V1", offer="H")
    off = amount - road(*left).amount_fen
    assert off > 0
    assert town.stands(charge_id)[1] == off
    assert town.value("select reckoned_by from payments.discount_effect") == "tariff"


def test_a_cap_holds_and_the_bearer_owes_what_the_minutes_took_off(town: Town) -> None:
    with_tariff(town)
    town.offer("H", **MINUTES, cap_fen=100)
    charge_id, _ = stays(town)
    town.validate(serial="V1", offer="H")
    assert town.stands(charge_id)[1] == 100
    town.pay(charge_id)
    assert town.follow() == 1
    assert town.value("select amount_fen from payments.bearer_line") == 100


def test_as_many_minutes_as_the_stay_has_let_it_off(town: Town) -> None:
    with_tariff(town)
    town.offer("H", **MINUTES | {"free_minutes": 150})
    charge_id, amount = stays(town)
    town.validate(serial="V1", offer="H")
    assert town.stands(charge_id) == ("waived", amount, 0)


@pytest.mark.parametrize("tariffed", [False, True])
def test_where_the_lot_alone_priced_the_stay_a_share_by_minutes_goes_off(town: Town, tariffed: bool) -> None:
    if tariffed:
        with_tariff(town)  # and the lot charges something else
    town.offer("H", **MINUTES)
    charge_id = town.post("S1")
    town.validate(serial="V1", offer="H")
    assert town.stands(charge_id) == ("open", 600, 600)
    assert town.value("select reckoned_by from payments.discount_effect") == "pro_rata"


def test_an_offer_that_says_so_takes_nothing_off_there_and_the_reason_is_on_record(town: Town) -> None:
    town.offer("H", **MINUTES | {"minutes_else": "refuse"})
    charge_id = town.post("S1")
    [told] = town.validate(serial="V1", offer="H")
    assert (told.outcome, told.standing) == ("created", "waiting")
    assert town.stands(charge_id) == ("open", 0, 1200)
    assert town.value("select why from payments.discount_unpriced").startswith("tariff_missing")
    with town.db.begin() as tx, counted(town.db) as sent:
        assert effects.meet(tx, lane=0, lot_id=town.lots[0].lot_id, at=AT, ids=IDS) == 0
    assert len(sent) == 1  # it is not asked about again


def test_questions_do_not_grow_with_the_stays(town: Town) -> None:
    with_tariff(town)
    town.offer("H", **MINUTES)
    lengths = (60, 150)

    def statements(many: int, first: int) -> int:
        plates = [f"苏B{20000 + first + number}" for number in range(many)]
        for number, plate in enumerate(plates):
            stays(town, lengths[number % 2], serial=f"S{first + number}", plate=plate)
        given_ = [NewValidation(serial=f"V{plate}", offer="H", plate=plate) for plate in plates]
        with counted(town.db) as sent:
            told = town.validate(*given_)
        assert {one.standing for one in told} == {"on"}
        return len(sent)

    assert statements(2, 0) == statements(12, 100)


def test_a_price_that_was_refused_is_no_curve() -> None:
    assert shortening.curve(5, [Refusal(code="tariff_missing", detail="none")]) == "tariff_missing: none"


@pytest.mark.parametrize(
    "other",
    [
        {"minutes_else": None}, {"free_minutes": 7}, {"free_minutes": 1445}, {"off_fen": 5}, {"free_minutes": None},
        {"free_up_to_fen": 5, "free_minutes": None, "minutes_else": None, "cap_fen": 5},
    ],
)  # fmt: skip
def test_minutes_that_cannot_stand_are_refused(town: Town, other: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="cannot stand"):
        town.offer("H", **MINUTES | other)


def test_a_stay_of_more_than_a_week_is_not_priced_again_and_again(town: Town) -> None:
    with_tariff(town)
    entered = AT - shortening.STAY_MAX - timedelta(minutes=1)
    stay = a_stay(entered, 7 * 24 * 60 + 1, 5_000)
    with town.db.connect() as tx:
        [told] = shortening.curves(tx, lane=0, wanted=[Wanted(stay, 60, "entry")]).values()
    assert told == "the stay is longer than 7 days"
