"""``tongting tariff``: a person enters tariffs, assigns lots, and sees what a stay costs and why."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from app.commands import tariffs as tariffs_cli
from app.wiring import Wiring
from config.tariffs import FOLDER
from ledger.errors import Refused
from tests.app.conftest import City

Said = Callable[..., str]
FILES = [str(FOLDER / f"{name}.toml") for name in ("wuxi-rules-2023", "wuxi-road-2022", "wuxi-road-2023", "wuxi-hospital-2023")]
ROAD = ["--is", "zone=core", "--is", "road=main", "--is", "section=ordinary", "--document", "list 1"]


@pytest.fixture
def said(product: Wiring, two_lots: City) -> Said:
    def say(*words: str) -> str:
        parser = argparse.ArgumentParser()
        tariffs_cli.arguments(parser)
        return tariffs_cli.run(product, parser.parse_args(words))

    return say


def refused(said: Said, *words: str) -> tuple[str, str]:
    with pytest.raises(Refused) as wrong:
        said(*words)
    return wrong.value.code, str(wrong.value)


def test_files_are_entered_once_with_what_a_person_should_know(said: Said) -> None:
    assert said("list") == "There is no tariff."
    first = said("add", *FILES)
    assert "tariff wuxi-road version 2: entered" in first
    assert "the first day 2023-08-30 is assumed" in first
    assert said("add", *FILES).count("was entered before") == 7
    assert said("list").count("\n") == 6
    assert "wuxi-hospital            version 1   from 2023-08-30" in said("list")


def test_a_wrong_file_is_explained_and_nothing_of_the_call_is_entered(said: Said, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text((FOLDER / "wuxi-road-2022.toml").read_text(encoding="utf-8").replace("version = 1", "version = 7"))
    code, words = refused(said, "add", FILES[0], str(wrong))
    assert (code, "the next version of wuxi-road is 1, not 7; no file was entered" in words) == ("tariff_conflict", True)
    assert said("list") == "There is no tariff."
    wrong.write_text('kind = "tariff"\n')
    code, words = refused(said, "check", FILES[0], str(wrong), str(tmp_path / "none.toml"))
    assert code == "tariff_invalid"
    assert f"{wrong}: the file has a wrong form: Object missing required field `format`" in words
    assert "none.toml cannot be read: No such file or directory" in words
    assert said("check", *FILES) == "4 files can be entered."


def test_a_lot_is_assigned_and_a_stay_is_quoted_with_every_line(said: Said) -> None:
    said("add", *FILES)
    assert said("assign", "lot-1", "wuxi-road", *ROAD, "--from", "2026-01-01T00:00") == (
        "lot lot-1 by wuxi-road from 2026-01-01 00:00: entered"
    )
    assert said("list", "--lot", "lot-1").endswith("[list 1]")
    *lines, total, chinese, english = said("quote", "lot-1", "2026-03-02T08:10", "2026-03-02T10:30", "--color", "blue").splitlines()
    after = "other hours, after the first hour: 1 half hour at 4.00 yuan"
    assert lines == [
        "2026-03-02 08:10 to 2026-03-02 08:40     0 x     0.00 =      0.00  30 free minutes",
        "2026-03-02 08:40 to 2026-03-02 09:10     1 x     5.00 =      5.00  peak hours: 1 half hour at 5.00 yuan",
        "2026-03-02 09:10 to 2026-03-02 10:10     2 x     3.00 =      6.00  other hours, first hour: 2 half hours at 3.00 yuan",
        "2026-03-02 10:10 to 2026-03-02 10:30     1 x     4.00 =      4.00  " + after,
    ]
    assert total == (
        "15.00 yuan for 140 minutes, the same until 2026-03-02 10:41; "
        "by wuxi-road version 2 (停车便民惠民十项措施 锡政办发〔2023〕38号 2023-08-26)"
    )
    assert chinese == (
        "无锡道路停车·核心区干道：停2小时20分钟。08:10–08:40免费30分钟；08:40–09:10高峰时段1个半小时×5.00元；"
        "09:10–10:10其他时段首小时2个半小时×3.00元＝6.00元；10:10–10:30其他时段首小时后1个半小时×4.00元。应收15.00元"
    )
    assert english.startswith("Wuxi road parking, core zone, main road: 2 h 20 min. 08:10–08:40 30 free minutes; 08:40–09:10 peak")
    assert english.endswith("Due: 15.00 yuan")


def test_a_lot_on_a_calendars_list_and_a_plate_with_a_pass_park_free(said: Said) -> None:
    said("add", *FILES, str(FOLDER / "wuxi-calendar-2024.toml"))
    said("assign", "lot-1", "wuxi-road", *ROAD, "--from", "2024-01-01T00:00")
    assert said("exempt", "wuxi-spring-festival-2024", "lot-1", "--document", "list of places, line 7") == (
        "1 lots put on the list of wuxi-spring-festival-2024; 0 were on it"
    )
    assert "0.00 yuan" in said("quote", "lot-1", "2024-02-10T10:00", "2024-02-10T12:00")
    assert (
        said("pass", "op-1", "M-1", "month", "苏B12345", "2026-03-01", "2026-03-31", "--document", "agreement 1")
        == "pass M-1: entered"
    )
    assert "month pass, free" in said("quote", "lot-1", "2026-03-02T10:00", "2026-03-02T12:00", "--plate", "苏B12345")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["assign", "lot-9", "wuxi-road", *ROAD], "lot_not_found"),
        (["assign", "lot-1", "wuxi-roads", *ROAD], "tariff_not_found"),
        (["assign", "lot-1", "wuxi-road", "--is", "zone", "--document", "x"], "tariff_invalid"),
        (["quote", "lot-1", "2026-03-02T10:00", "2026-03-02T12:00"], "tariff_missing"),
        (["exempt", "nothing", "lot-1", "--document", "x"], "tariff_not_found"),
        (["pass", "op-9", "M-1", "month", "苏B12345", "2026-03-01", "2026-03-31", "--document", "x"], "operator_not_found"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_code(said: Said, words: list[str], code: str) -> None:
    said("add", *FILES)
    assert refused(said, *words)[0] == code


def test_a_lot_goes_back_to_pricing_of_its_own(said: Said) -> None:
    said("add", *FILES)
    said("assign", "lot-1", "wuxi-road", *ROAD, "--from", "2026-01-01T00:00")
    said("assign", "lot-1", "none", "--from", "2026-02-01T00:00", "--document", "its own system")
    assert refused(said, "quote", "lot-1", "2026-03-02T10:00", "2026-03-02T12:00")[0] == "tariff_missing"
