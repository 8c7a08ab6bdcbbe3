"""What must hold inside a tariff, a calendar and a rule, said in words. Pure.

Knows the records; must not know the database or how anything is priced. Called when a file is read.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from payments.tariffs.tariff import (
    BASE,
    NOT_FOUND,
    Calendar,
    Calendars,
    Cell,
    Options,
    Rules,
    Step,
    Tariff,
    TariffFile,
    Vehicles,
    fits,
)

CODE: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,47}", re.ASCII)
FEN_MAX: Final = 1_000_000
"""Largest price of a unit or a cap: 10,000 yuan. A larger one is a slip of the pen."""
NAME_LETTERS_MAX: Final = 24
DAY: Final = 24 * 60
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00", re.ASCII)
_KINDS: Final = ("workday", "restday", "holiday")
_OTHER_REASONS: Final = frozenset({"special", "valid_from", "free_minutes", "caps", "selectors"})


def minute_of_day(clock: str) -> int:
    """Return a clock's minutes since midnight; ``24:00`` is 1440. Raises ValueError."""
    if not _CLOCK.fullmatch(clock):
        raise ValueError(f"{clock!r} is not a time of day such as 07:00")
    return int(clock[:2]) * 60 + int(clock[3:])


def problems(file: TariffFile) -> list[str]:
    """Return everything that is wrong with a file, each in one sentence; nothing when it can be entered."""
    match file:
        case Tariff():
            return [*_head(file), *_selectors(file), *_bands(file), *_cells(file), *_special(file), *_reasons(file)]
        case Calendars():
            return [problem for calendar in file.calendars for problem in _calendar(calendar)] or _twice(
                [calendar.code for calendar in file.calendars], "calendar"
            )
        case Rules():
            return list(_rules(file))


def combinations(tariff: Tariff) -> Iterator[dict[str, str]]:
    """Return every way in which a lot can answer the tariff's selectors."""
    for words in itertools.product(*tariff.selectors.values()):
        yield dict(zip(tariff.selectors, words, strict=True))


def day_bands(tariff: Tariff, selectors: dict[str, str], *, kind: str, month: int) -> list[tuple[int, int, str, bool]]:
    """Return the bands of a day as (begin, end, name, is free) in minutes of that day; what runs past midnight is two pieces."""
    pieces = []
    for band in tariff.bands:
        if fits(band.when, selectors) and kind in (band.days or _KINDS) and month in (band.months or range(1, 13)):
            begin, end = minute_of_day(band.begin), minute_of_day(band.end)
            parts = [(begin, end)] if begin < end else [(0, end), (begin, DAY)]
            pieces += [(start, stop, band.name, band.is_free) for start, stop in parts if start < stop]
    return sorted(pieces)


def _head(tariff: Tariff) -> Iterator[str]:
    if not CODE.fullmatch(tariff.code):
        yield f"code {tariff.code!r} is not 2 to 48 small letters, digits and hyphens"
    if tariff.version < 1:
        yield "versions count from 1"
    if not 1 <= tariff.unit_minutes <= DAY:
        yield f"a unit of {tariff.unit_minutes} minutes is none"
    if not 0 <= tariff.free_minutes < DAY:
        yield f"{tariff.free_minutes} free minutes cannot be: 0 to 1439"
    if not 1 <= tariff.vehicles.large_times <= 10:
        yield "a large vehicle pays 1 to 10 times"
    if not tariff.document.title.strip() or not tariff.document.source.strip():
        yield "the approving document needs a title and a source"
    if tariff.valid_from_is == "assumed" and not tariff.document.note.strip():
        yield "valid_from is assumed: the document's note has to say what was found"
    for cap in msgspec.structs.astuple(tariff.caps):
        if cap is not None and not 0 < cap <= FEN_MAX:
            yield f"a cap of {cap} fen cannot be: 1 to {FEN_MAX}"


def _selectors(tariff: Tariff) -> Iterator[str]:
    for name, words in tariff.selectors.items():
        if not words or len(set(words)) < len(words):
            yield f"selector {name!r} needs different words"
    asked = [(f"band {band.name!r}", band.when) for band in tariff.bands]
    asked += [(f"cell {cell.words.en!r}", cell.when) for cell in tariff.cells]
    asked += [("resident_passes", tariff.resident_passes or {})]
    for where, when in asked:
        for name, word in when.items():
            if word not in tariff.selectors.get(name, ()):
                yield f"{where} speaks of {name} = {word!r}, which is not among the selectors"


def _bands(tariff: Tariff) -> Iterator[str]:
    for band in tariff.bands:
        try:
            begin, end = minute_of_day(band.begin), minute_of_day(band.end)
        except ValueError as wrong:
            yield f"band {band.name!r}: {wrong}"
            return
        if begin in (end, DAY):
            yield f"band {band.name!r} has no hours: {band.begin} to {band.end}"
        if band.name == BASE:
            yield f"no band may be called {BASE!r}: that is the name of the hours without a band"
        if not all(1 <= month <= 12 for month in band.months):
            yield f"band {band.name!r}: months are 1 to 12"
        if len(band.words.zh) > NAME_LETTERS_MAX or not band.words.zh:
            yield f"band {band.name!r} needs a Chinese name of at most {NAME_LETTERS_MAX} characters"
    for name in {band.name for band in tariff.bands}:
        if len({(band.is_free, band.words) for band in tariff.bands if band.name == name}) > 1:
            yield f"the bands {name!r} differ in words, or in being free; give them different names"
    yield from _overlaps(tariff)


def _overlaps(tariff: Tariff) -> Iterator[str]:
    for selectors, kind, month in itertools.product(combinations(tariff), _KINDS, range(1, 13)):
        pieces = day_bands(tariff, selectors, kind=kind, month=month)
        for (_, end, first, _), (begin, _, second, _) in itertools.pairwise(pieces):
            if begin < end:
                yield (
                    f"bands {first!r} and {second!r} overlap at {begin // 60:02d}:{begin % 60:02d} on a {kind} of month {month}"
                    + (f" where {selectors}" if selectors else "")
                )
                return


def _cells(tariff: Tariff) -> Iterator[str]:
    priced = {band.name for band in tariff.bands if not band.is_free} | {BASE}
    for cell in tariff.cells:
        for name in sorted(set(cell.prices) - priced):
            yield f"cell {cell.words.en!r} prices {name!r}, which is no band with a price"
        for name, steps in cell.prices.items():
            if steps == NOT_FOUND:
                if tariff.options.missing_price is None:
                    yield f"cell {cell.words.en!r} has no {name!r} price: options.missing_price must say 'refuse' or 'base'"
                if name == BASE and tariff.options.missing_price == BASE:
                    yield f"cell {cell.words.en!r} has no base price that could stand for another"
            else:
                assert not isinstance(steps, str)
                yield from (f"cell {cell.words.en!r}, {name!r}: {wrong}" for wrong in _steps(steps, tariff))
    for selectors in combinations(tariff):
        found = [cell for cell in tariff.cells if fits(cell.when, selectors)]
        where = ", ".join(f"{name} {word}" for name, word in selectors.items()) or "all lots"
        if len(found) != 1:
            yield f"{len(found)} cells fit {where}; it must be one"
        else:
            yield from _complete(tariff, found[0], selectors, where)


def _complete(tariff: Tariff, cell: Cell, selectors: dict[str, str], where: str) -> Iterator[str]:
    needed = {band.name for band in tariff.bands if not band.is_free and fits(band.when, selectors)} | {BASE}
    for name in sorted(needed - set(cell.prices)):
        yield f'there is no {name!r} price for {where}; write "not_found" when no source has it'


def _steps(steps: tuple[Step, ...], tariff: Tariff) -> Iterator[str]:
    if not steps or steps[-1].until_minutes is not None:
        yield "the last step holds without end; leave its until_minutes out"
    ends = [step.until_minutes for step in steps[:-1]]
    if None in ends or any(b <= a for a, b in itertools.pairwise([0, *(end or 0 for end in ends)])):
        yield "until_minutes must grow from step to step"
    for step in steps:
        if (step.fen is None) == (step.flat_fen is None):
            yield "a step has either fen (per unit) or flat_fen (for the whole step)"
        if not 0 <= (step.fen or 0) <= FEN_MAX or not 0 <= (step.flat_fen or 0) <= FEN_MAX:
            yield f"a price is 0 to {FEN_MAX} fen"
        if step.flat_fen is not None and tariff.options.unit_across_bands not in ("begin", "cut"):
            yield "a flat price cannot be shared between bands: options.unit_across_bands must be 'begin' or 'cut'"


def _special(tariff: Tariff) -> Iterator[str]:
    if tariff.special is not None:
        try:
            if minute_of_day(tariff.special.begin) == minute_of_day(tariff.special.end):
                yield "the special price has no hours"
        except ValueError as wrong:
            yield f"special: {wrong}"
        if not 0 <= tariff.special.fen <= FEN_MAX or tariff.special.units_max < 1:
            yield f"the special price is 0 to {FEN_MAX} fen for at least 1 unit"


def _reasons(tariff: Tariff) -> Iterator[str]:
    colors = {f"vehicles.{field.name}" for field in msgspec.structs.fields(Vehicles)}
    known = {field.name for field in msgspec.structs.fields(Options)}
    for name in sorted(set(tariff.why) - known - colors - _OTHER_REASONS):
        yield f"why.{name} explains nothing that there is"
    default = Options()
    for name in sorted(known):
        if getattr(tariff.options, name) != getattr(default, name) and not tariff.why.get(name, "").strip():
            yield f"options.{name} is not the default: why.{name} has to say the reason"


def _calendar(calendar: Calendar) -> Iterator[str]:
    if not CODE.fullmatch(calendar.code):
        yield f"code {calendar.code!r} is not 2 to 48 small letters, digits and hyphens"
    if calendar.last_day < calendar.first_day:
        yield f"calendar {calendar.code!r} ends before it begins"
    if calendar.effect != "free" and calendar.places != "all":
        yield f'calendar {calendar.code!r}: a kind of day is the same everywhere; places must be "all"'
    if not calendar.words.zh or len(calendar.words.zh) > NAME_LETTERS_MAX:
        yield f"calendar {calendar.code!r} needs a Chinese name of at most {NAME_LETTERS_MAX} characters"


def _rules(file: Rules) -> Iterator[str]:
    for rule in file.rules:
        if rule.free_minutes_min < 0 or not 1 <= rule.unit_minutes <= DAY:
            yield f"the rule for {rule.place} needs free minutes from 0 and a unit of 1 to {DAY} minutes"


def _twice(codes: list[str], what: str) -> list[str]:
    return [f"{what} {code!r} comes twice" for code in sorted({code for code in codes if codes.count(code) > 1})]
