"""Money, ids and time: the laws everything else stands on."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.clock import SetClock, business_date
from ledger.ids import RandomIds, SeededIds, entry_id, payment_number, read_payment_number, source_of
from ledger.money import fen, split, yuan

instants = st.datetimes(datetime(2020, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds are naive by contract


@given(st.integers(-(10**13), 10**13))
def test_yuan_text_reads_back_as_the_same_fen(amount_fen: int) -> None:
    assert fen(yuan(amount_fen)) == amount_fen


@pytest.mark.parametrize("text", ["", "1.005", "1,00", "1.", ".5", "1e3", " 1", "NaN", "١"])
def test_text_that_is_no_whole_number_of_fen_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an amount|part of a fen"):
        fen(text)


def test_bill_amounts_with_padding_zeros_are_read_exactly() -> None:
    assert [fen("0.07000"), fen("-0.02000"), fen("12"), fen("0.1")] == [7, -2, 1200, 10]


@given(st.integers(0, 10**11), st.lists(st.integers(0, 10_000), min_size=1, max_size=20).filter(any))
def test_the_parts_of_a_split_sum_to_the_whole_and_are_off_by_less_than_a_fen(amount_fen: int, weights: list[int]) -> None:
    parts = split(amount_fen, weights)
    assert sum(parts) == amount_fen
    assert all(abs(part * sum(weights) - amount_fen * weight) < sum(weights) for part, weight in zip(parts, weights, strict=True))


def test_a_fen_that_cannot_be_divided_goes_to_the_largest_remainder_then_to_the_earlier_share() -> None:
    assert split(100, [1, 1, 1]) == [34, 33, 33]
    assert split(10, [1, 3]) == [3, 7]
    assert split(5, [0, 1]) == [0, 5]


@pytest.mark.parametrize(("amount_fen", "weights"), [(-1, [1]), (1, []), (1, [0, 0]), (1, [2, -1])])
def test_a_split_without_meaning_is_refused(amount_fen: int, weights: list[int]) -> None:
    with pytest.raises(ValueError, match="splitting needs"):
        split(amount_fen, weights)


@given(instants, instants)
def test_ids_sort_as_their_instants_do(first: datetime, second: datetime) -> None:
    if second - first >= timedelta(milliseconds=1):
        assert RandomIds().new(first, "").bytes < RandomIds().new(second, "").bytes


@given(instants, st.integers(0, 31))
def test_a_payment_number_has_28_characters_and_reads_back(at: datetime, lane: int) -> None:
    payment = RandomIds().new(at, "")
    number = payment_number(lane, payment)
    assert len(number) == 28
    assert number.isalnum()
    assert number == number.upper()
    assert read_payment_number(number) == (lane, payment)


@given(st.text(max_size=40))
def test_a_number_that_is_not_ours_is_told_so_and_never_raises(number: str) -> None:
    read = read_payment_number(number)
    assert read is None or payment_number(*read) == number


def test_seeded_ids_depend_on_seed_instant_and_name_alone() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    assert SeededIds(1).new(at, "charge 7") == SeededIds(1).new(at, "charge 7")
    assert len({SeededIds(seed).new(at, name) for seed in (1, 2) for name in ("a", "b")}) == 4


@given(instants, st.integers(1, 255))
def test_an_entry_id_tells_its_source_and_kind(at: datetime, kind: int) -> None:
    source = RandomIds().new(at, "")
    assert source_of(entry_id(source, kind)) == (source, kind)
    assert source.version == 7


def test_an_entry_is_never_the_source_of_another() -> None:
    with pytest.raises(ValueError, match="cannot name an entry"):
        entry_id(UUID(int=5), 1)


def test_the_business_date_changes_at_midnight_in_china() -> None:
    assert business_date(datetime(2026, 3, 1, 15, 59, 59, tzinfo=UTC)) == date(2026, 3, 1)
    assert business_date(datetime(2026, 3, 1, 16, 0, 0, tzinfo=UTC)) == date(2026, 3, 2)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        business_date(datetime(2026, 3, 1))  # noqa: DTZ001  # that is the point


def test_a_set_clock_never_goes_back() -> None:
    clock = SetClock(datetime(2026, 3, 2, tzinfo=UTC))
    with pytest.raises(ValueError, match="cannot go back"):
        clock.set(datetime(2026, 3, 1, tzinfo=UTC))
