"""Laws of stacking: what offers take off and what is left sum to the amount, and no offer makes a stay dearer."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.discounts.stacking import OFFERS_MAX, Line, Terms, apply, share

AT = datetime(2026, 3, 2, tzinfo=UTC)


def fen(number: int, off_fen: int, *, group: str | None = None, alone: bool = False) -> Terms:
    return Terms(key=UUID(int=number), off_fen=off_fen, group=group, is_alone=alone)


def percent(number: int, off_bps: int, cap_fen: int, *, group: str | None = None, alone: bool = False) -> Terms:
    return Terms(key=UUID(int=number), off_bps=off_bps, cap_fen=cap_fen, group=group, is_alone=alone)


@st.composite
def many(draw: st.DrawFn) -> list[Terms]:
    found = []
    for number in range(draw(st.integers(0, 5))):
        group = draw(st.sampled_from([None, "a", "b"]))
        alone = group is None and draw(st.booleans())
        amount = draw(st.integers(1, 3_000))
        if draw(st.booleans()):
            found.append(fen(number, amount, group=group, alone=alone))
        else:
            found.append(percent(number, draw(st.integers(1, 10_000)), amount, group=group, alone=alone))
    return found


amounts = st.integers(0, 5_000)


@given(amounts, many())
def test_lines_and_rest_sum_to_the_amount_and_none_is_negative(amount: int, offers: list[Terms]) -> None:
    found = apply(amount, offers, AT)
    assert sum(line.fen for line in found.lines) + found.rest_fen == amount
    assert found.rest_fen >= 0
    assert all(line.fen > 0 for line in found.lines)


@given(amounts, many(), st.randoms())
def test_the_order_in_which_offers_are_given_does_not_matter(amount: int, offers: list[Terms], random: object) -> None:
    shuffled = list(offers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert apply(amount, shuffled, AT) == apply(amount, offers, AT)


@given(amounts, many())
def test_one_offer_more_never_makes_it_dearer(amount: int, offers: list[Terms]) -> None:
    rests = [apply(amount, offers[:count], AT).rest_fen for count in range(len(offers) + 1)]
    assert rests == sorted(rests, reverse=True)


@given(amounts, many())
def test_of_a_group_one_counts_and_what_is_alone_stands_alone(amount: int, offers: list[Terms]) -> None:
    by_key = {one.key: one for one in offers}
    used = [by_key[line.key] for line in apply(amount, offers, AT).lines]
    groups = [one.group for one in used if one.group is not None]
    assert len(set(groups)) == len(groups)
    assert len(used) == 1 or not any(one.is_alone for one in used)


@given(st.lists(st.integers(0, 900), min_size=1, max_size=6).flatmap(lambda w: st.tuples(st.just(w), st.integers(0, sum(w)))))
def test_shares_sum_and_none_exceeds_its_charge(given_: tuple[list[int], int]) -> None:
    weights, whole = given_
    parts = share(whole, weights)
    assert sum(parts) == whole
    assert all(0 <= part <= weight for part, weight in zip(parts, weights, strict=True))


def test_fen_go_before_percent_and_a_cap_holds() -> None:
    found = apply(1_000, [percent(1, 5_000, 200), fen(2, 300)], AT)
    assert found.lines == (Line(UUID(int=2), 300), Line(UUID(int=1), 200))
    assert found.rest_fen == 500


def test_the_best_for_the_driver_counts_where_one_stands_alone() -> None:
    assert apply(1_000, [fen(1, 300), fen(2, 400), fen(3, 600, alone=True)], AT).rest_fen == 300
    assert [line.key.int for line in apply(1_000, [fen(1, 300), fen(3, 600, alone=True)], AT).lines] == [3]


def test_nothing_is_taken_off_below_zero_and_what_takes_nothing_is_not_used() -> None:
    assert apply(500, [fen(1, 500), fen(2, 500)], AT).lines == (Line(UUID(int=1), 500),)


def test_an_offer_counts_within_its_time_only() -> None:
    over = Terms(key=UUID(int=1), off_fen=5, valid_from=AT - timedelta(days=1), valid_until=AT)
    assert apply(100, [over], AT).rest_fen == 100
    assert apply(100, [over], AT - timedelta(seconds=1)).rest_fen == 95


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing can be taken off"):
        apply(-1, [], AT)
    with pytest.raises(ValueError, match="offers for one stay"):
        apply(1, [fen(number, 1) for number in range(OFFERS_MAX + 1)], AT)
    with pytest.raises(ValueError, match="cannot be taken off"):
        share(3, [1, 1])
