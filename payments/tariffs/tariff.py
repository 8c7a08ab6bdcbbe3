"""The records of tariffs: prices, bands, caps, options, calendars, as a file gives them and the database keeps them.

Knows words and types only; what must hold between them is judged in ``checking``. Read by every module of this package.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final, Literal

import msgspec
from msgspec import Struct

Place = Literal["road", "hospital", "park"]
Regime = Literal["government_set", "government_guided", "market"]
DayKind = Literal["workday", "restday", "holiday"]
VehicleClass = Literal["small", "large", "exempt"]
MissingPrice = Literal["refuse", "base"]
NOT_FOUND: Final = "not_found"
"""Stands for a price that was not found in any source: see the option ``missing_price``."""


class _Record(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all records of a tariff have in common: a word that is not known is an error, never ignored."""


class Document(_Record, frozen=True, kw_only=True):
    """The document that approves a tariff, a calendar or a rule, and where it was read."""

    title: str
    number: str | None = None
    issued_on: date | None = None
    source: str
    """Kind of source: the text itself, a press conference, a newspaper."""
    note: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.title, self.number, self.issued_on and self.issued_on.isoformat()) if part)


class Names(_Record, frozen=True, kw_only=True):
    """A name as payers read it, and in English."""

    zh: str
    en: str


class Step(_Record, frozen=True, kw_only=True):
    """A price that holds while less than ``until_minutes`` have been charged; the last step has no end.

    ``fen`` is the price of a begun unit; ``flat_fen`` instead is the price of the whole step, however much of it is used.
    """

    until_minutes: int | None = None
    fen: int | None = None
    flat_fen: int | None = None
    words: Names | None = None


class Band(_Record, frozen=True, kw_only=True):
    """Hours of the day ``[begin, end)`` with a price of their own; ``end`` may lie on the next day. Empty ``days``: all days.

    Several bands may share a name: they share price, words and count of time, too. ``when`` limits a band to lots with these
    selectors, ``months`` to days of these months (each side of midnight by its own date). ``is_free`` bands have no price.
    """

    name: str
    words: Names
    begin: str
    end: str
    days: tuple[DayKind, ...] = ()
    months: tuple[int, ...] = ()
    when: dict[str, str] = {}
    is_free: bool = False


class Cell(_Record, frozen=True, kw_only=True):
    """The prices of lots with these selectors, by band; ``base`` is the price of all hours without a band."""

    when: dict[str, str] = {}
    words: Names
    prices: dict[str, tuple[Step, ...] | Literal["not_found"]]


class Caps(_Record, frozen=True, kw_only=True):
    """Most that can be charged, in fen: in a stay, in each 24 hours of it, in each calendar day. None: no cap was set."""

    stay_fen: int | None = None
    day_24h_fen: int | None = None
    calendar_day_fen: int | None = None


class Special(_Record, frozen=True, kw_only=True):
    """Another price for stays that lie wholly within ``[begin, end]``: in at or after ``begin``, out at or before ``end``."""

    words: Names
    begin: str
    end: str
    fen: int
    units_max: int


class Vehicles(_Record, frozen=True, kw_only=True):
    """Class of a vehicle by the colour of its plate, and how many times a large one pays. ``exempt`` pays nothing."""

    blue: VehicleClass = "small"
    green: VehicleClass = "small"
    yellow: VehicleClass = "large"
    limegreen: VehicleClass = "large"
    black: VehicleClass = "small"
    white: VehicleClass = "small"
    unknown: VehicleClass = "small"
    large_times: int = 2


class Options(_Record, frozen=True, kw_only=True):
    """What published texts leave open. docs/TARIFFS.md explains each value and why the defaults are these."""

    free_when_exceeded: Literal["deducted", "counts"] = "deducted"
    """Once the free time is exceeded, time counts from its end (deducted), or from entry (counts)."""
    free_runs: Literal["from_entry", "in_charged_time"] = "from_entry"
    """The free minutes run from entry, whatever the hour, or only while time would be charged."""
    free_after_restart: Literal["again", "once"] = "again"
    """After 24 hours the free minutes are given again, or only once in a stay."""
    unit_across_bands: Literal["begin", "cut", "split", "dearer", "cheaper"] = "begin"
    """A unit over a change of bands: price of the band in which it begins; cut there, and a new one begins; shared by minutes,
    rounded down to the fen; the dearer; the cheaper."""
    unit_across_night: Literal["starts_anew", "runs_on"] = "starts_anew"
    """After free hours a new unit begins, or units run on through them and those that begin in them are free."""
    first_hour_of: Literal["band", "stay"] = "band"
    """Steps such as the first hour count the time charged in their own band, or all time charged."""
    first_hour_again: Literal["after_restart", "after_night"] = "after_restart"
    """Steps begin again only after 24 hours, or also after each night that is free."""
    restart: Literal["after_24h", "never"] = "after_24h"
    """After 24 hours all is counted anew, or never."""
    restart_from: Literal["entry", "first_paid"] = "entry"
    """The 24 hours count from entry, or from the first minute that is paid for."""
    window_in_night: Literal["runs", "stands"] = "runs"
    """The 24 hours of restart and cap run on in free nights, or stand still."""
    seconds: Literal["dropped", "begun"] = "dropped"
    """A begun minute does not count, or counts."""
    tariff_change: Literal["next_24h", "entry", "exit"] = "next_24h"
    """A stay over a change of tariffs: the new one prices what begins anew after 24 hours; the one of entry, or of exit, prices
    all."""
    caps_for_large: Literal["multiplied", "same"] = "multiplied"
    """Large vehicles have caps as many times as high as prices, or the same caps."""
    missing_price: MissingPrice | None = None
    """A price that was not found: no quote, or the base price. Must be set where one is missing."""


class Tariff(_Record, frozen=True, kw_only=True, tag_field="kind", tag="tariff"):
    """One version of a tariff. ``format`` is the version of this record's own form."""

    format: Literal[1]
    code: str
    version: int
    valid_from: date
    """First day in China."""
    valid_from_is: Literal["published", "assumed"]
    """assumed: no source names the day; ``note`` of the document says what was found."""
    place: Place
    regime: Regime
    document: Document
    words: Names
    unit_minutes: int
    free_minutes: int
    selectors: dict[str, tuple[str, ...]] = {}
    """What a lot has to say of itself, and the words it may use, such as zone: core, centre, outer."""
    base: Names
    """Name of the hours without a band."""
    bands: tuple[Band, ...] = ()
    cells: tuple[Cell, ...]
    caps: Caps = Caps()
    special: Special | None = None
    vehicles: Vehicles = Vehicles()
    options: Options = Options()
    resident_passes: dict[str, str] | None = None
    """Residents' passes exist at lots with these selectors; None: nowhere."""
    why: dict[str, str] = {}
    """Why options, colours and readings are as they are, by their names."""


class Calendar(_Record, frozen=True, kw_only=True):
    """Days ``[first_day, last_day]`` that are free, or count as holidays or as workdays."""

    code: str
    effect: Literal["free", "holiday", "workday"]
    first_day: date
    last_day: date
    words: Names
    document: Document
    places: Literal["all"] | tuple[str, ...]
    """Codes of lots, or all. Lots can be added later, each with the list that names it."""
    places_published: int | None = None
    berths_published: int | None = None


class Calendars(_Record, frozen=True, kw_only=True, tag_field="kind", tag="calendars"):
    """A file of calendars."""

    format: Literal[1]
    calendars: tuple[Calendar, ...]


class Rule(_Record, frozen=True, kw_only=True):
    """What every tariff of a kind of place has to keep from a day on."""

    place: Place
    valid_from: date
    free_minutes_min: int
    unit_minutes: int
    document: Document


class Rules(_Record, frozen=True, kw_only=True, tag_field="kind", tag="rules"):
    """A file of rules."""

    format: Literal[1]
    rules: tuple[Rule, ...]


TariffFile = Tariff | Calendars | Rules
BASE: Final = "base"
"""Name of the hours without a band, in ``Cell.prices``."""


def fits(when: Mapping[str, str], selectors: Mapping[str, str]) -> bool:
    """Tell whether a lot's selectors have all the words asked for."""
    return all(selectors.get(name) == word for name, word in when.items())


def canonical(record: Struct) -> bytes:
    """Return a record as canonical JSON: every field, keys sorted, so that the same content has the same bytes."""
    return msgspec.json.encode(record, order="sorted")
