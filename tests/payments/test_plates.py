"""Plates of the mainland: which can exist, in which colours, and how they are shown."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import plates
from payments.errors import PlateRefused

GOOD = [
    "苏B12345", "苏BA1234", "京A8888Z", "苏B1234挂", "苏B1234学", "苏B1234警", "粤Z1234港", "粤ZAB12澳",
    "使123456", "123456使", "沪A0023领",
    "苏BD12345", "苏BDA1234", "苏B12345D", "WJ苏12345", "VA12345",
]  # fmt: skip
BAD = [
    "", "苏", "B12345", "苏B1234", "苏B123456", "苏I12345", "苏BI2345", "苏BO2345", "国B12345", "苏B1234I",
    "粤B1234港", "苏BD1234A", "苏B12345X",
    "苏BL12345", "苏B12345 OR 1=1", "苏B1234😀", "SU B12345", "苏B١٢٣٤٥",
]  # fmt: skip


@pytest.mark.parametrize("number", GOOD)
def test_a_plate_that_can_exist_is_taken(number: str) -> None:
    assert plates.checked(number) == number


@pytest.mark.parametrize("number", BAD)
def test_a_plate_that_cannot_exist_is_refused(number: str) -> None:
    with pytest.raises(PlateRefused):
        plates.checked(number)


@pytest.mark.parametrize("written", ["苏B·12345", "苏b 12345", " 苏B-12345 ", "苏Ｂ１２３４５", "苏.B.1.2.3.4.5", "苏B•12345"])
def test_ways_of_writing_are_one_plate(written: str) -> None:
    assert plates.checked(written) == "苏B12345"


@pytest.mark.parametrize(
    ("number", "color"), [("苏B12345", "green"), ("苏B12345", "limegreen"), ("苏BD12345", "blue"), ("苏B12345D", "yellow")]
)
def test_a_colour_that_does_not_fit_the_form_is_refused(number: str, color: plates.PlateColor) -> None:
    with pytest.raises(PlateRefused):
        plates.checked(number, color)


@given(st.text(max_size=20))
def test_normalising_twice_is_normalising_once_and_no_text_breaks_the_check(written: str) -> None:
    once = plates.normalised(written)
    assert plates.normalised(once) == once
    with suppress(PlateRefused):
        assert plates.checked(written) == once


@pytest.mark.parametrize("number", GOOD)
def test_a_masked_plate_hides_the_middle(number: str) -> None:
    shown = plates.masked(number)
    assert "***" in shown
    assert number not in shown
    assert len(shown) < len(number) + 2
