"""A stay's time cut into blocks: runs of like units with their price, and free time with its reason. Pure.

Knows courses, exempt times and the options; must not know caps, words or exits beyond ``until``. Called by ``pricing``.

A block never depends on when the car leaves: a unit that has begun costs what it costs. That is why a later exit never costs less.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from msgspec import Struct

from payments.tariffs.checking import DAY
from payments.tariffs.courses import EPOCH_DAY, Course, instant
from payments.tariffs.errors import PriceMissing
from payments.tariffs.tariff import DayKind, Names, Step

FREE_MINUTES: Final = "free_minutes"
"""Why the free time of a stay is free."""


class Exempt(Struct, frozen=True):
    """Minutes ``[begin, end)`` in which nothing is charged: a calendar's or a pass's. ``why`` is a stable word."""

    begin: int
    end: int
    why: str
    words: Names


class Around(Struct, frozen=True):
    """What is true around a stay whatever its tariff: days that count as another kind, and exempt times by their begin."""

    day_kinds: Mapping[date, DayKind]
    exempt: Sequence[Exempt]


NOTHING_AROUND: Final = Around({}, ())


class Block(Struct, gc=False):
    """``count`` units from ``start`` on, ``unit`` minutes and ``fen`` each; the last may end early, at ``stop``.

    A unit is due when the car leaves after both its begin and ``gate``. Free time has no units.
    """

    start: int
    stop: int
    count: int
    unit: int
    fen: int
    gate: int
    window: int
    """Number of the 24 hours of the stay in which it begins."""
    why: str
    words: Names
    course: Course
    step: Step | None = None

    def due(self, end: int) -> int:
        """Return how many units are due when the car leaves at ``end``."""
        if end <= self.gate or end <= self.start:
            return 0
        return min(self.count, -((self.start - end) // self.unit))


def blocks(courses: Callable[[int], Course], *, start: int, until: int, around: Around = NOTHING_AROUND) -> Iterator[Block]:
    """Return the blocks that begin before ``until``, in order. ``courses`` gives what counts in the 24 hours from a minute on.

    Raises:
        PriceMissing: a price that is needed was not found in any source.
    """
    begin, window, given = start, 0, False
    while begin < until:
        walk = _Walk(courses(begin), around, begin=begin, until=until, window=window, free_given=given)
        yield from walk.blocks()
        begin, window, given = walk.at, walk.window + 1, True


class _Walk:
    """The way through one count of steps: 24 hours of a stay, or the whole of it where nothing restarts."""

    def __init__(self, course: Course, around: Around, *, begin: int, until: int, window: int, free_given: bool) -> None:
        self.course, self.around, self.until, self.window = course, around, until, window
        self.at = self.begin = begin
        options = course.options
        self.restarts = options.restart == "after_24h"
        self.end = begin + DAY if options.restart_from == "entry" else None
        self.free_end = begin
        if not free_given or options.free_after_restart == "again":
            self.free_end = self._free_end()
        counts = options.free_when_exceeded == "counts"
        self.gate, self.free_end = (self.free_end, begin) if counts else (begin, self.free_end)
        self.charged: dict[str, int] = {}
        self.flat_paid: set[tuple[str, int]] = set()

    def blocks(self) -> Iterator[Block]:
        if self.until <= self.gate:
            yield self._free(self.begin, self.until, FREE_MINUTES, self.course.applied.tariff.words)  # type: ignore[union-attr]
            self.at = self.until
            return
        while self.at < self.until:
            if self.end is not None and self.at >= self.end:
                if self.restarts:
                    return
                self.window, self.end = self.window + 1, self.end + DAY
            stop, why, words = self._segment(self.at)
            limit = stop if self.end is None else min(stop, self.end)
            if why in self.course.steps:
                yield from self._charged(why, limit)
            else:
                limit = self._whole_units(why, limit)
                yield self._free(self.at, limit, why, words)
                self._pass_free(why, limit)

    def _pass_free(self, why: str, limit: int) -> None:
        options = self.course.options
        if why != FREE_MINUTES:
            if options.window_in_night == "stands" and self.end is not None:
                self.end += limit - self.at
            if options.first_hour_again == "after_night":
                self.charged.clear()
                self.flat_paid.clear()
        self.at = limit

    def _segment(self, at: int) -> tuple[int, str, Names]:
        """Return until when what holds at a minute holds on; what it is, a band with a price or why it is free; and its name."""
        day = at // DAY
        base = day * DAY
        calendar_day = date.fromordinal(day + EPOCH_DAY)
        kind = self.around.day_kinds.get(calendar_day) if self.around.day_kinds else None
        if kind is None:
            kind = "workday" if (day + 3) % 7 < 5 else "restday"  # 1970-01-01 was a Thursday
        stop, why = base + DAY, ""
        for _, piece_stop, name in self.course.pieces[kind, calendar_day.month]:
            if at < base + piece_stop:
                stop, why = base + piece_stop, name
                break
        words = self.course.words[why]
        if why not in self.course.steps:
            return (stop, why, words) if not self._runs_on() else (self._cut_by_exempt(at, stop), why, words)
        for exempt in self.around.exempt:
            if exempt.begin <= at < exempt.end:
                return min(stop, exempt.end), exempt.why, exempt.words
        stop = self._cut_by_exempt(at, stop)
        if at < self.free_end:
            return min(stop, self.free_end), FREE_MINUTES, words
        return stop, why, words

    def _runs_on(self) -> bool:
        return self.course.options.unit_across_night == "runs_on"

    def _cut_by_exempt(self, at: int, stop: int) -> int:
        return min([stop, *(exempt.begin for exempt in self.around.exempt if at < exempt.begin)])

    def _whole_units(self, why: str, limit: int) -> int:
        """Return where free hours end: where units run on through them, with the last unit that begins in them."""
        if not self._runs_through(why):
            return limit
        units = -((self.at - limit) // self.course.unit)
        stop = self._cut_by_exempt(self.at, self.at + units * self.course.unit)
        return min(stop, self.end) if self.restarts and self.end is not None else stop

    def _free_end(self) -> int:
        """Return when the free minutes that begin with this count are over."""
        minutes = self.course.free_minutes
        if self.course.options.free_runs == "from_entry":
            return self.begin + minutes
        at = self.begin
        while minutes > 0 and at < self.until:
            stop, why, _ = self._segment(at)
            used = min(stop - at, minutes) if why in self.course.steps else stop - at
            minutes -= used if why in self.course.steps else 0
            at += used
        return at

    def _free(self, start: int, stop: int, why: str, words: Names) -> Block:
        return Block(start, stop, 0, 1, 0, start, self.window, why, words, self.course)

    def _charged(self, band: str, limit: int) -> Iterator[Block]:
        """Return the units that begin before ``limit`` in one band; the last may reach beyond it."""
        key = band if self.course.options.first_hour_of == "band" else ""
        unit = self.course.unit
        while self.at < min(limit, self.until):
            place, step = self._step(band, key)
            done = self.charged.get(key, 0)
            if step.flat_fen is not None:
                stop = limit if step.until_minutes is None else min(limit, self.at + step.until_minutes - done)
                fen = 0 if (key, place) in self.flat_paid else step.flat_fen
                self.flat_paid.add((key, place))
                yield self._units(band, step, stop=stop, count=1, unit=stop - self.at, fen=fen)
            else:
                assert step.fen is not None
                count = (limit - self.at) // unit
                if step.until_minutes is not None:
                    count = min(count, -((done - step.until_minutes) // unit))
                if count:
                    yield self._units(band, step, stop=self.at + count * unit, count=count, unit=unit, fen=step.fen)
                else:
                    stop, fen = self._crossing(band, step.fen)
                    yield self._units(band, step, stop=stop, count=1, unit=unit, fen=fen)
            self.charged[key] = done + self._stop - self.at
            self.at = self._stop

    def _units(self, band: str, step: Step, *, stop: int, count: int, unit: int, fen: int) -> Block:
        self._stop = stop
        if self.end is None and fen:
            self.end = self.at + DAY
        return Block(
            self.at, stop, count, unit, fen, max(self.at, self.gate), self.window, band, self.course.words[band], self.course, step
        )

    def _step(self, band: str, key: str) -> tuple[int, Step]:
        steps = self.course.steps[band]
        if steps is None:
            tariff = self.course.applied.tariff
            assert tariff is not None
            raise PriceMissing(
                f"no source has a price of {tariff.code} for {self.course.label.en} in {self.course.words[band].en} "
                f"(needed at {instant(self.at).isoformat()}); say missing_price = \"base\" at the lot, with a document, "
                "or enter a version that has it",
                minute=self.at,
            )  # fmt: skip
        done = self.charged.get(key, 0)
        return next((n, step) for n, step in enumerate(steps) if step.until_minutes is None or done < step.until_minutes)

    def _crossing(self, band: str, fen: int) -> tuple[int, int]:
        """Return where a unit ends that reaches beyond its band or its day, and its price."""
        way = self.course.options.unit_across_bands
        at, target, parts = self.at, self.at + self.course.unit, list[tuple[int, int]]()
        if self.restarts and self.end is not None:
            target = min(target, self.end)
        while at < target:
            stop, why, _ = self._segment(at)
            if (why not in self.course.steps and not self._runs_through(why)) or (way == "cut" and why != band):
                break
            stop = min(stop, target)
            parts.append((fen if why == band else self._price_at(why), stop - at))
            at = stop
        prices = [price for price, _ in parts]
        shared = sum(price * minutes for price, minutes in parts) // sum(minutes for _, minutes in parts)
        return at, {"split": shared, "dearer": max(prices), "cheaper": min(prices)}.get(way, fen)

    def _runs_through(self, why: str) -> bool:
        return self._runs_on() and why in self.course.words

    def _price_at(self, band: str) -> int:
        """Return the price of a unit that would begin in a band now; free hours cost nothing."""
        if band not in self.course.steps or self.course.options.unit_across_bands in ("begin", "cut"):
            return 0
        _, step = self._step(band, band if self.course.options.first_hour_of == "band" else "")
        return step.fen or 0
