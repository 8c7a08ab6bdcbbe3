"""A course: one version of a tariff made ready for one kind of lot and one class of vehicle. Pure.

Knows the records and minutes of Chinese time; must not know stays. Called by ``blocks`` and ``pricing``.

Minutes here are whole minutes of Chinese wall clock since 1970; China has kept +08:00 without summer time since 1991.
"""

import functools
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final

from msgspec import Struct

from payments.plates import PlateColor
from payments.tariffs.checking import DAY, day_bands
from payments.tariffs.errors import TariffInvalid
from payments.tariffs.tariff import BASE, NOT_FOUND, Caps, DayKind, MissingPrice, Names, Options, Special, Step, Tariff, fits

CHINA_MINUTES: Final = 8 * 60
EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)
_KINDS: Final[tuple[DayKind, ...]] = ("workday", "restday", "holiday")

Piece = tuple[int, int, str]
"""Begin and end in minutes of a day, and the band."""


class Applied(Struct, frozen=True, kw_only=True):
    """What a lot charges by from ``valid_from`` on: a tariff and what the lot is in its words. None: no tariff of ours."""

    valid_from: datetime
    tariff: Tariff | None
    selectors: tuple[tuple[str, str], ...] = ()
    free_minutes: int | None = None
    """A longer free time of the lot."""
    missing_price: MissingPrice | None = None
    """What the lot's own document says of a price that was not found."""
    digest: bytes = b""


class Course(Struct, frozen=True, kw_only=True):
    """What a kind of lot charges a class of vehicle. Prices and caps are already multiplied."""

    applied: Applied
    label: Names
    unit: int
    free_minutes: int
    options: Options
    times: int
    """How many times the price of a small vehicle; 0: exempt."""
    is_large: bool
    steps: dict[str, tuple[Step, ...] | None]
    """By band; None: the price was not found. Free bands are not in it."""
    words: dict[str, Names]
    """Names of the bands."""
    caps: Caps
    pieces: dict[tuple[str, int], tuple[Piece, ...]]
    """A day's bands by kind of day and month; together they are the whole day."""
    special: "tuple[Special, Course] | None" = None


def minute(at: datetime) -> int:
    """Return the minute of Chinese wall clock in which an instant lies."""
    return (at - _EPOCH) // _MINUTE + CHINA_MINUTES


def instant(wall_minute: int) -> datetime:
    """Return the instant (UTC) at which a minute of Chinese wall clock begins."""
    return _EPOCH + (wall_minute - CHINA_MINUTES) * _MINUTE


def day_of(wall_minute: int) -> date:
    """Return the day in China in which a minute lies."""
    return date.fromordinal(wall_minute // DAY + EPOCH_DAY)


def course(applied: Applied, color: PlateColor) -> Course:
    """Return the course of a lot for a plate's colour.

    Raises:
        TariffInvalid: the lot's selectors are none of the tariff's; they are checked when they are entered.
    """
    assert applied.tariff is not None
    kind = getattr(applied.tariff.vehicles, color)
    return _course(_Keyed(applied), kind)


class _Keyed:
    """An applied tariff that is compared by its digest and the lot's own words: the content itself, so nothing can be stale."""

    __slots__ = ("applied", "key")

    def __init__(self, applied: Applied) -> None:
        self.applied = applied
        assert applied.tariff is not None
        self.key = (applied.tariff.code, applied.tariff.version, applied.selectors, applied.free_minutes, applied.missing_price)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Keyed) or self.key != other.key:
            return False
        same = self.applied.digest == other.applied.digest if self.applied.digest else self.applied.tariff is other.applied.tariff
        return same or self.applied.tariff == other.applied.tariff

    def __hash__(self) -> int:
        return hash(self.key)


@functools.lru_cache(maxsize=512)
def _course(keyed: _Keyed, kind: str) -> Course:
    applied = keyed.applied
    tariff = applied.tariff
    assert tariff is not None
    times = {"small": 1, "large": tariff.vehicles.large_times, "exempt": 0}[kind]
    made = _plain(applied, tariff, times, is_large=kind == "large")
    special = None if tariff.special is None else (tariff.special, _night(made, tariff.special))
    return Course(**{name: getattr(made, name) for name in Course.__struct_fields__} | {"special": special})


def _plain(applied: Applied, tariff: Tariff, times: int, *, is_large: bool) -> Course:
    selectors = dict(applied.selectors)
    cell = next((cell for cell in tariff.cells if fits(cell.when, selectors)), None)
    if cell is None or set(selectors) != set(tariff.selectors):
        raise TariffInvalid(f"tariff {tariff.code} has no price for {selectors}; it asks for {', '.join(tariff.selectors)}")
    missing = applied.missing_price or tariff.options.missing_price
    given = {
        name: (None if missing == "refuse" else cell.prices[BASE]) if steps == NOT_FOUND else steps
        for name, steps in cell.prices.items()
    }
    return Course(
        applied=applied,
        label=cell.words,
        unit=tariff.unit_minutes,
        free_minutes=max(applied.free_minutes or 0, tariff.free_minutes),
        options=tariff.options,
        times=times,
        is_large=is_large,
        steps={name: _multiplied(steps, times) for name, steps in given.items() if not isinstance(steps, str)},
        words={BASE: tariff.base} | {band.name: band.words for band in tariff.bands},
        caps=_caps(tariff.caps, 1 if tariff.options.caps_for_large == "same" else max(times, 1)),
        pieces=_pieces(
            tariff, selectors, alias={name for name, steps in cell.prices.items() if steps == NOT_FOUND and missing == BASE}
        ),
    )


def _night(made: Course, special: Special) -> Course:
    """Return the course of a special price: one price at all hours, with a cap for the stay."""
    fen = special.fen * made.times
    fields = {name: getattr(made, name) for name in Course.__struct_fields__}
    return Course(
        **fields | {
            "steps": {BASE: (Step(fen=fen),)},
            "words": {BASE: special.words},
            "caps": Caps(stay_fen=fen * special.units_max or None),
            "pieces": {(kind, month): ((0, DAY, BASE),) for kind in _KINDS for month in range(1, 13)},
            "special": None,
        }
    )  # fmt: skip


def _multiplied(steps: tuple[Step, ...] | None, times: int) -> tuple[Step, ...] | None:
    if steps is None or times == 1:
        return steps
    return tuple(
        Step(
            until_minutes=step.until_minutes, words=step.words, fen=None if step.fen is None else step.fen * times,
            flat_fen=None if step.flat_fen is None else step.flat_fen * times,
        )
        for step in steps
    )  # fmt: skip


def _caps(caps: Caps, times: int) -> Caps:
    def of(cap: int | None) -> int | None:
        return None if cap is None else cap * times

    return Caps(stay_fen=of(caps.stay_fen), day_24h_fen=of(caps.day_24h_fen), calendar_day_fen=of(caps.calendar_day_fen))


def _pieces(tariff: Tariff, selectors: Mapping[str, str], *, alias: set[str]) -> dict[tuple[str, int], tuple[Piece, ...]]:
    """Return whole days: bands with the base between them; a band in ``alias`` is one with the base."""
    return {(kind, month): tuple(_filled(tariff, selectors, kind, month, alias)) for kind in _KINDS for month in range(1, 13)}


def _filled(tariff: Tariff, selectors: Mapping[str, str], kind: str, month: int, alias: set[str]) -> list[Piece]:
    pieces: list[Piece] = []
    for begin, end, name, _ in [*day_bands(tariff, dict(selectors), kind=kind, month=month), (DAY, DAY, BASE, False)]:
        last = pieces[-1][1] if pieces else 0
        for start, stop, band in ((last, begin, BASE), (begin, end, BASE if name in alias else name)):
            if start < stop and pieces and pieces[-1][2] == band:
                pieces[-1] = (pieces[-1][0], stop, band)
            elif start < stop:
                pieces.append((start, stop, band))
    return pieces
