"""A tariff file that cannot stand is refused with everything that is wrong with it, in words."""

import pytest

from config.tariffs import FOLDER
from payments.tariffs import files
from payments.tariffs.errors import TariffInvalid
from payments.tariffs.files import tariff_of
from payments.tariffs.tariff import canonical
from tests.payments.tariffs.wuxi import ROAD_2023

ROAD = (FOLDER / "wuxi-road-2023.toml").read_text(encoding="utf-8")
HOSPITAL = (FOLDER / "wuxi-hospital-2023.toml").read_text(encoding="utf-8")
CALENDAR = (FOLDER / "wuxi-calendar-2024.toml").read_text(encoding="utf-8")


def changed(old: str, new: str, text: str = ROAD) -> bytes:
    assert old in text
    return text.replace(old, new, 1).encode()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_file_that_is_shipped_can_be_entered(path: object) -> None:
    assert files.read(path.read_bytes()) is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "not UTF-8"),
        (b"kind = ", "not TOML"),
        (b'kind = "price"', "wrong form"),
        (changed('kind = "tariff"', 'kind = "tariff"\ncolour = 1'), "unknown field `colour`"),
        (changed("unit_minutes = 30", "unit_minutes = 30.5"), "Expected `int`"),
        (changed("format = 1", "format = 2"), "Invalid enum value 2"),
        (changed("version = 2", "version = 0"), "versions count from 1"),
        (changed('code = "wuxi-road"', 'code = "Wuxi Road"'), "not 2 to 48 small letters"),
        (changed("unit_minutes = 30", "unit_minutes = 0"), "a unit of 0 minutes"),
        (changed("free_minutes = 30", "free_minutes = 1440"), "free minutes cannot be"),
        (changed('begin = "07:00"', 'begin = "7:00"'), "'7:00' is not a time of day"),
        (changed('end = "09:00"', 'end = "07:00"'), "has no hours"),
        (changed('end = "09:00"', 'end = "17:01"'), "'peak' and 'peak' overlap at 17:00"),
        (changed("months = [5, 6, 7, 8, 9, 10]", "months = [5, 13]"), "months are 1 to 12"),
        (changed('zone = "core", road = "main"', 'zone = "inner", road = "main"'), "zone = 'inner', which is not among"),
        (changed('zone = "core", road = "main"', 'zone = "core"'), "2 cells fit zone core, road branch"),
        (changed('missing_price = "refuse"\n', ""), "options.missing_price must say"),
        (changed("peak = [{ fen = 500 }]\n", ""), "no 'peak' price for zone core, road main"),
        (changed("peak = [{ fen = 500 }]", "peak = [{ fen = 500, flat_fen = 1 }]"), "either fen (per unit) or flat_fen"),
        (changed("peak = [{ fen = 500 }]", "peak = [{ fen = -1 }]"), "a price is 0 to"),
        (changed("peak = [{ fen = 500 }]", "peak = [{ fen = 500, until_minutes = 60 }]"), "the last step holds without end"),
        (changed("peak = [{ fen = 500 }]", "peak = [{ fen = 5, until_minutes = 60 }, { fen = 6, until_minutes = 9 }, { fen = 1 }]"),
         "until_minutes must grow"),
        (changed("peak = [{ fen = 500 }]", "rush = [{ fen = 500 }]\npeak = [{ fen = 500 }]"), "'rush', which is no band"),
        (changed('restart = "after_24h"', 'restart = "never"').replace(b'restart = "Published', b'#'), "why.restart has to say"),
        (changed("[why]", '[why]\nweather = "rain"'), "why.weather explains nothing"),
        (changed("large_times = 2", "large_times = 0"), "pays 1 to 10 times"),
        (changed("day_24h_fen = 4000", "day_24h_fen = 0", HOSPITAL), "a cap of 0 fen"),
        (changed('unit_across_bands = "begin"', 'unit_across_bands = "split"', HOSPITAL), "a flat price cannot be shared"),
        (changed('end = "07:00"', 'end = "20:00"', HOSPITAL), "the special price has no hours"),
        (changed("last_day = 2024-02-17", "last_day = 2024-02-01", CALENDAR), "ends before it begins"),
        (changed('effect = "free"', 'effect = "holiday"', CALENDAR), "places must be"),
        (b" " * (1024 * 1024 + 1), "at most 1048576 bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_in_words(content: bytes, said: str) -> None:
    with pytest.raises(TariffInvalid) as refused:
        files.read(content)
    assert said in str(refused.value)
    assert refused.value.code == "tariff_invalid"


def test_everything_that_is_wrong_is_said_at_once() -> None:
    content = changed("version = 2", "version = 0").replace(b"unit_minutes = 30", b"unit_minutes = 0")
    with pytest.raises(TariffInvalid, match=r"versions count from 1; a unit of 0 minutes is none"):
        files.read(content)


def test_an_assumed_day_needs_a_note() -> None:
    note = next(line for line in ROAD.splitlines() if line.startswith("note = "))
    with pytest.raises(TariffInvalid, match="has to say what was found"):
        files.read(changed(note, 'note = ""'))


def test_the_canonical_body_gives_the_same_tariff_and_the_same_bytes_again() -> None:
    body = canonical(ROAD_2023)
    assert tariff_of(body) == ROAD_2023
    assert canonical(tariff_of(body)) == body
    assert files.digest(body) == files.digest(canonical(ROAD_2023))
