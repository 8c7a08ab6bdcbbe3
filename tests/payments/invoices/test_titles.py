"""Whom an invoice is made out to: tax numbers are checked as GB 32100 says."""

import pytest

from payments.invoices.titles import TitleRefused, check_letter, checked, is_tax_no


def test_the_example_of_the_standard_has_the_right_check_character() -> None:
    assert check_letter("91350100M000100Y4") == "3"


@pytest.mark.parametrize(
    ("number", "good"),
    [
        ("91350100M000100Y43", True),
        ("91350100M000100Y44", False),
        ("91350100M000010Y43", False),
        ("9135010OM000100Y43", False),
        ("320200123456789", True),
        ("32020019800101001500", True),
        ("3202001234567890", False),
        ("", False),
        ("91350100m000100y43", False),
    ],
)
def test_a_tax_number_is_one_of_three_lengths_and_the_18_are_checked(number: str, good: bool) -> None:
    assert is_tax_no(number) is good


def test_what_was_typed_wide_or_with_spaces_is_mended() -> None:
    title = checked(buyer_kind="company", title=" 某某  公司 ", tax_no="９１350100 m000100y43", email=" a@b.example ")
    assert (title.title, title.tax_no, title.email) == ("某某 公司", "91350100M000100Y43", "a@b.example")


def test_a_person_has_no_tax_number_and_needs_no_email() -> None:
    title = checked(buyer_kind="person", title="张三", tax_no="x", email="")
    assert (title.buyer_kind, title.tax_no, title.email) == ("person", None, None)


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"title": "  "}, "title"),
        ({"title": "长" * 101}, "title"),
        ({"tax_no": "91350100M000100Y44"}, "tax_no"),
        ({"tax_no": ""}, "tax_no"),
        ({"email": "a@b"}, "email"),
        ({"email": "a b@c.example"}, "email"),
    ],
)
def test_what_cannot_be_right_names_its_field(typed: dict[str, str], field: str) -> None:
    good = {"buyer_kind": "company", "title": "某某公司", "tax_no": "91350100M000100Y43", "email": ""}
    with pytest.raises(TitleRefused) as refused:
        checked(**(good | typed))
    assert refused.value.field == field
