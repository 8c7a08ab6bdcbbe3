"""Wuxi's published tariffs as the tests ask them: read from the data files, priced by the engine, times in China."""

from datetime import datetime

import msgspec

from config.tariffs import FOLDER
from ledger.clock import CHINA
from payments.plates import PlateColor
from payments.tariffs import files
from payments.tariffs.blocks import NOTHING_AROUND, Around
from payments.tariffs.priced import Priced, Stay
from payments.tariffs.pricing import price
from payments.tariffs.tariff import Calendars, Options, Rules, Tariff

CORE_MAIN = {"zone": "core", "road": "main", "section": "ordinary"}


def tariff(name: str) -> Tariff:
    read = files.read((FOLDER / f"{name}.toml").read_bytes())
    assert isinstance(read, Tariff)
    return read


def calendars() -> Calendars:
    read = files.read((FOLDER / "wuxi-calendar-2024.toml").read_bytes())
    assert isinstance(read, Calendars)
    return read


def rules() -> Rules:
    read = files.read((FOLDER / "wuxi-rules-2023.toml").read_bytes())
    assert isinstance(read, Rules)
    return read


ROAD_2022, ROAD_2023, HOSPITAL = tariff("wuxi-road-2022"), tariff("wuxi-road-2023"), tariff("wuxi-hospital-2023")


def where(zone: str, road: str, section: str = "ordinary") -> dict[str, str]:
    return {"zone": zone, "road": road, "section": section}


def at(words: str) -> datetime:
    """A moment in China: ``2026-03-02 08:10``, or only ``08:10`` on that Monday."""
    return datetime.fromisoformat(words if " " in words else f"2026-03-02 {words}").replace(tzinfo=CHINA)


def stay(entered: str, left: str, color: PlateColor = "blue") -> Stay:
    return Stay(entered_at=at(entered), left_at=at(left), plate_color=color)


def road(
    entered: str, left: str, *, place: dict[str, str] | None = None, color: PlateColor = "blue", of: Tariff = ROAD_2023,
    around: Around = NOTHING_AROUND, looks_ahead: bool = False, **options: object,
) -> Priced:  # fmt: skip
    """What a stay on a road costs: a main road of the core zone, unless said otherwise, with options changed."""
    changed = with_options(of, **options)
    return price(changed, stay(entered, left, color), selectors=place or CORE_MAIN, around=around, looks_ahead=looks_ahead)


def hospital(entered: str, left: str, *, color: PlateColor = "blue", looks_ahead: bool = False, **options: object) -> Priced:
    return price(with_options(HOSPITAL, **options), stay(entered, left, color), looks_ahead=looks_ahead)


def with_options(of: Tariff, **options: object) -> Tariff:
    if not options:
        return of
    changed = msgspec.structs.replace(of.options, **options)
    return msgspec.structs.replace(of, options=msgspec.convert(msgspec.to_builtins(changed), Options))


def yuan(priced: Priced) -> float:
    return priced.amount_fen / 100


def whys(priced: Priced) -> list[str]:
    return [line.why for line in priced.lines]
