"""docs/TARIFFS.md says what the engine does: its examples are priced, its options are the options, its tests exist."""

import re
from pathlib import Path

import msgspec
import pytest

from config.tariffs import FOLDER
from payments.tariffs.pricing import price
from payments.tariffs.tariff import Options, Tariff
from tests.payments.tariffs.wuxi import HOSPITAL, ROAD_2022, ROAD_2023, at, stay, tariff, where

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "TARIFFS.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    r"^\| (wuxi-[\w-]+) \| ([\w –]+) \| (\w+) \| ([\d :-]{16}) \| ([\d :-]{16}) \| ([\d.]+) \| ([\d :-]{16}) \|$",
    PAGE,
    re.MULTILINE,
)
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))


@pytest.mark.parametrize(("name", "lot", "color", "entered", "left", "yuan", "until"), EXAMPLES)
def test_each_worked_example_costs_what_the_page_says(
    name: str, lot: str, color: str, entered: str, left: str, yuan: str, until: str
) -> None:
    of = tariff(name)
    place = where(*lot.split()) if of.selectors else {}
    found = price(of, stay(entered, left, color), selectors=place, looks_ahead=True)  # type: ignore[arg-type]
    assert (f"{found.amount_fen / 100:.2f}", found.same_until) == (yuan, at(until))


def test_the_page_has_examples_and_the_text_of_one() -> None:
    assert len(EXAMPLES) >= 12
    found = price(ROAD_2023, stay("2026-03-02 08:10", "2026-03-02 10:30"), selectors=where("core", "main"))
    assert f"> {found.words.zh}\n" in PAGE
    assert f"> {found.words.en}\n" in PAGE


def test_the_page_lists_every_option_with_its_default() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", PAGE, re.MULTILINE))
    for field in msgspec.structs.fields(Options):
        default = getattr(Options(), field.name)
        assert listed[field.name].startswith("none" if default is None else f"`{default}`")


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) >= 30
    assert sorted(name for name in named if f"def {name}(" not in TESTS) == []


def test_every_sentence_that_is_tested_stands_on_the_page() -> None:
    tested = re.findall(r"^def (test_\w+)\(", (Path(__file__).parent / "test_wuxi.py").read_text(encoding="utf-8"), re.MULTILINE)
    not_sentences = {"test_times_are_chinese_wall_clock_wherever_they_are_written"}
    assert sorted(name for name in tested if f"`{name}`" not in PAGE and name not in not_sentences) == []


@pytest.mark.parametrize("of", [ROAD_2022, ROAD_2023, HOSPITAL], ids=["2022", "2023", "hospital"])
def test_every_default_that_a_published_tariff_uses_has_its_reason_in_the_data(of: Tariff) -> None:
    open_ones = {"free_when_exceeded", "free_after_restart", "first_hour_of", "restart", "seconds", "tariff_change"}
    assert open_ones <= set(of.why)
    assert {f"vehicles.{color}" for color in ("black", "white", "unknown")} <= set(of.why)


def test_the_two_road_files_differ_in_version_day_document_and_free_minutes_alone() -> None:
    differing = {name for name in Tariff.__struct_fields__ if getattr(ROAD_2022, name) != getattr(ROAD_2023, name)}
    assert differing == {"version", "valid_from", "document", "free_minutes", "why"}
    assert len(list(FOLDER.glob("*.toml"))) == 5
