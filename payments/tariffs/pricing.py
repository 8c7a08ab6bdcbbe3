"""The price of a stay, with an explanation of every fen. Pure: the same tariff and stay give the same bytes.

Knows blocks, caps and lines; must not know the database or the clock. Called by ``quotes``, the command line and the tests.

The amount is the sum over units that have begun of what each costs, each as far as no cap is reached. As no unit depends on
the exit, a later exit never costs less. Two readings are excepted where they are chosen: ``tariff_change = "exit"`` (the tariff of
the exit prices all, and may be cheaper), and a special price for whole nights that were dearer than the ordinary one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from msgspec import Struct

from ledger.clock import checked as in_utc
from payments.plates import PlateColor
from payments.tariffs import words
from payments.tariffs.blocks import FREE_MINUTES, NOTHING_AROUND, Around, Block, blocks
from payments.tariffs.checking import DAY, minute_of_day
from payments.tariffs.courses import Applied, Course, course, instant, minute
from payments.tariffs.errors import PriceMissing, StayInvalid, TariffMissing
from payments.tariffs.priced import Basis, Line, Priced, Stay
from payments.tariffs.tariff import Caps, Names, Special, Tariff

STAY_DAYS_MAX: Final = 366
"""Longest stay that is priced: a longer one is a mistake of the lot's system, or a matter for a person."""
HORIZON_DAYS: Final = 40
"""How far ahead the next change of the amount is looked for."""
_MINUTE: Final = timedelta(minutes=1)
_START: Final = date(1991, 12, 31)
"""Before that day China kept summer time; nothing is priced there."""


def price(
    tariff: Tariff, stay: Stay, *, selectors: dict[str, str] | None = None, around: Around = NOTHING_AROUND,
    looks_ahead: bool = False,
) -> Priced:  # fmt: skip
    """Return what a stay costs by one version of a tariff.

    Raises:
        PriceMissing: ``tariff_price_missing``.
        StayInvalid: ``stay_invalid``.
    """
    applied = Applied(valid_from=instant(0), tariff=tariff, selectors=tuple(sorted((selectors or {}).items())))
    return price_over([applied], stay, around=around, looks_ahead=looks_ahead)


def price_over(
    versions: Sequence[Applied], stay: Stay, *, around: Around = NOTHING_AROUND, looks_ahead: bool = True
) -> Priced:  # fmt: skip
    """Return what a stay costs at a lot whose tariffs were ``versions``, by ``valid_from``.

    Raises:
        PriceMissing: ``tariff_price_missing``, a price that is needed was not found in any source.
        StayInvalid: ``stay_invalid``, times that are no stay.
        TariffMissing: ``tariff_missing``, the lot has no tariff of ours when the car comes, or when a count begins anew.
    """
    start, end = _minutes(versions, stay)
    around = _within(around, start, end + HORIZON_DAYS * DAY)
    courses = _courses(versions, stay.plate_color, start, end)
    first = courses(start)
    boundaries = [minute(version.valid_from) - 1 for version in versions]
    lines, total, used = _exempt_vehicle(first, start, end) if first.times == 0 else _priced(courses, start, end, around)
    return Priced(
        amount_fen=total,
        minutes=end - start,
        lines=lines,
        words=words.told(first, start, end, lines, total),
        tariffs=tuple(dict.fromkeys(map(_basis, used))),
        same_until=_same_until(courses, stay, start, end, around, boundaries) if looks_ahead and first.times else None,
    )


def _priced(
    courses: Callable[[int], Course], start: int, end: int, around: Around
) -> tuple[tuple[Line, ...], int, list[Course]]:  # fmt: skip
    special = _special(courses(start), start, end)
    chosen = courses if special is None else (lambda _at: special[0])
    due = [(block, block.due(end)) for block in blocks(chosen, start=start, until=end, around=around)]
    tally = _Tally()
    lines = [*_lines(tally, due, end), *tally.cap_lines()]
    used = {id(made): made for made in [courses(start), *(block.course for block, _ in due)]}
    return tuple(sorted(lines, key=lambda line: (line.from_at, line.amount_fen < 0))), tally.total, list(used.values())


def _exempt_vehicle(first: Course, start: int, end: int) -> tuple[tuple[Line, ...], int, list[Course]]:
    return (_free_line(start, end, "exempt_vehicle", words.EXEMPT_VEHICLE),) if start < end else (), 0, [first]


def _minutes(versions: Sequence[Applied], stay: Stay) -> tuple[int, int]:
    """Return the minutes of entry and exit by which a stay is priced."""
    if stay.entered_at.tzinfo is None or stay.left_at.tzinfo is None:
        raise StayInvalid("a time needs its offset, such as +08:00")
    entered_at, left_at = in_utc(stay.entered_at), in_utc(stay.left_at)
    if left_at < entered_at:
        raise StayInvalid("the car cannot have left before it came")
    if left_at - entered_at > timedelta(days=STAY_DAYS_MAX):
        raise StayInvalid(f"a stay of more than {STAY_DAYS_MAX} days is not priced; a person has to look at it")
    if entered_at.date() <= _START:
        raise StayInvalid("nothing is priced before 1992")
    begins = _at(versions, entered_at).tariff
    assert begins is not None
    stayed = left_at - entered_at
    minutes = stayed // _MINUTE if begins.options.seconds == "dropped" else -(-stayed // _MINUTE)
    start = minute(entered_at)
    return start, start + minutes


def _at(versions: Sequence[Applied], at: datetime) -> Applied:
    found = None
    for applied in versions:
        if applied.valid_from <= at:
            found = applied
    if found is None or found.tariff is None:
        raise TariffMissing(
            f"the lot has no tariff at {at.isoformat()}; its own system prices the stay, or one has to be assigned",
            minute=minute(at),
        )  # fmt: skip
    return found


def _courses(versions: Sequence[Applied], color: PlateColor, start: int, end: int) -> Callable[[int], Course]:
    """Return what counts in the 24 hours that begin at a minute, as the option ``tariff_change`` of the tariff of entry says."""
    first = course(_at(versions, instant(start)), color)
    if len(versions) == 1:
        return lambda _at: first
    match first.options.tariff_change:
        case "entry":
            return lambda _at: first
        case "exit":
            last = course(_at(versions, instant(end)), color)
            return lambda _at: last
        case "next_24h":
            return lambda at: first if at == start else course(_at(versions, instant(at)), color)


def _within(around: Around, start: int, end: int) -> Around:
    exempt = tuple(exempt for exempt in around.exempt if exempt.begin < end and exempt.end > start)
    return Around(around.day_kinds, tuple(sorted(exempt, key=lambda one: (one.begin, one.end, one.why))))


def _special(made: Course, start: int, end: int) -> tuple[Course, int] | None:
    """Return the course of the special price and the minute at which its hours end, when the stay lies wholly within them."""
    if made.special is None:
        return None
    special, night = made.special
    last = _hours_end(special, start)
    return (night, last) if last is not None and end <= last else None


def _hours_end(special: Special, at: int) -> int | None:
    """Return when the special hours in which a minute lies are over; None when it lies in none."""
    begin, end = minute_of_day(special.begin), minute_of_day(special.end)
    midnight, clock = at // DAY * DAY, at % DAY
    if begin < end:
        return midnight + end if begin <= clock < end else None
    if clock >= begin:
        return midnight + DAY + end
    return midnight + end if clock < end else None


# Caps and lines


class _Tally:
    """Adds units up, each as far as no cap is reached, and remembers what each cap took off."""

    def __init__(self) -> None:
        self.total = 0
        self._sums: dict[tuple[str, int], int] = {}
        self._taken: dict[tuple[str, int], tuple[int, int, int, int]] = {}

    def room(self, block: Block) -> tuple[int | None, tuple[str, int]]:
        """Return what can still be charged for a block, and the cap that says so; None: no cap."""
        found: tuple[int | None, tuple[str, int]] = (None, ("", 0))
        for key, cap in _caps(block):
            left = cap - self._sums.get(key, 0)
            if found[0] is None or left < found[0]:
                found = (left, key)
        return found

    def add(self, block: Block, units: int) -> None:
        full = units * block.fen
        room, key = self.room(block)
        charged = full if room is None else min(full, room)
        if charged < full:
            start, _, taken, cap = self._taken.get(key, (block.start, 0, 0, dict(_caps(block))[key]))
            self._taken[key] = (start, block.start + units * block.unit, taken + full - charged, cap)
        self.total += charged
        for each, _ in _caps(block):
            self._sums[each] = self._sums.get(each, 0) + charged

    def cap_lines(self) -> Iterable[Line]:
        for (why, _), (start, stop, taken, cap) in self._taken.items():
            yield Line(
                from_at=instant(start), to_at=instant(stop), units=1, unit_fen=-taken, amount_fen=-taken, why=why,
                words=words.cap(why, cap),
            )  # fmt: skip


def _caps(block: Block) -> list[tuple[tuple[str, int], int]]:
    caps: Caps = block.course.caps
    found = []
    if caps.stay_fen is not None:
        found.append((("cap_stay", 0), caps.stay_fen))
    if caps.day_24h_fen is not None:
        found.append((("cap_24h", block.window), caps.day_24h_fen))
    if caps.calendar_day_fen is not None:
        found.append((("cap_day", block.start // DAY), caps.calendar_day_fen))
    return found


class _Run(Struct, gc=False):
    """Blocks that make one line."""

    block: Block
    stop: int
    units: int


def _lines(tally: _Tally, due: Iterable[tuple[Block, int]], end: int) -> Iterator[Line]:
    runs: list[_Run] = []
    for block, units in due:
        if units:
            tally.add(block, units)
        stop = min(end, block.stop)
        last = runs[-1] if runs else None
        if last is not None and last.stop == block.start and _alike(last.block, block):
            last.stop, last.units = stop, last.units + units
        else:
            runs.append(_Run(block, stop, units))
    return (_line(run) for run in runs if run.stop > run.block.start)


def _alike(one: Block, other: Block) -> bool:
    if not one.count and not other.count:
        return one.why == other.why
    return (
        bool(one.count and other.count) and (one.why, one.fen, one.window) == (other.why, other.fen, other.window)
        and one.step is other.step and one.course is other.course
        and (one.step is None or one.step.flat_fen is None)
    )  # fmt: skip


def _line(run: _Run) -> Line:
    block = run.block
    if not block.count:
        why = block.why if ":" in block.why or block.why == FREE_MINUTES else "free_hours"
        return _free_line(block.start, run.stop, why, words.free(why, block.words, run.stop - block.start))
    return Line(
        from_at=instant(block.start), to_at=instant(run.stop), units=run.units, unit_fen=block.fen,
        amount_fen=run.units * block.fen, why=block.why, words=words.units(block, run.units),
    )  # fmt: skip


def _free_line(start: int, end: int, why: str, said: Names) -> Line:
    return Line(from_at=instant(start), to_at=instant(end), units=0, unit_fen=0, amount_fen=0, why=why, words=said)


def _basis(made: Course) -> Basis:
    tariff = made.applied.tariff
    assert tariff is not None
    return Basis(code=tariff.code, version=tariff.version, regime=tariff.regime, document=str(tariff.document))


# The next change


def _same_until(
    courses: Callable[[int], Course], stay: Stay, start: int, end: int, around: Around, boundaries: Sequence[int]
) -> datetime | None:
    """Return the instant before which leaving costs the same. ``boundaries``: minutes after which another version counts."""
    first = courses(start)
    special = _special(first, start, end)
    if special is not None:
        night, last = special
        total, changes = _next_change(lambda _at: night, start, end, around)
        if changes is None or changes >= last:
            ordinary, _ = _next_change(courses, start, last + 1, around)
            changes = last if ordinary != total else _next_change(courses, start, last + 1, around)[1]
    else:
        _, changes = _next_change(courses, start, end, around)
    if first.options.tariff_change == "exit":
        changes = min([wall for wall in (changes, *boundaries) if wall is not None and wall >= end], default=None)
    if changes is None:
        return None
    later = changes - start + (first.options.seconds == "dropped")
    return in_utc(stay.entered_at) + later * _MINUTE


def _next_change(courses: Callable[[int], Course], start: int, end: int, around: Around) -> tuple[int, int | None]:
    """Return the amount at ``end`` and the minute after which it is another; None: not within the horizon."""
    tally = _Tally()
    try:
        for block in blocks(courses, start=start, until=end + HORIZON_DAYS * DAY, around=around):
            units = block.due(end)
            if units:
                tally.add(block, units)
            if units < block.count and block.fen:
                room, _ = tally.room(block)
                if room is None or room > 0:
                    return tally.total, max(block.start + units * block.unit, block.gate)
    except (PriceMissing, TariffMissing) as missing:
        return tally.total, max(missing.minute, end)
    return tally.total, None
