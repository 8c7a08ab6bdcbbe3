"""Quotes 询价 of stays: finds the tariffs, calendars and passes that count, and lets the engine price. Writes nothing.

Knows which dated rows a stay needs; must not know HTTP. Called by the API and the command line.

However many stays are asked about, PostgreSQL is asked four times, and three times when no plate is named. Nothing is remembered
between calls but the reading of a version's body, which is told by its digest and never changes.
"""

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from ledger.clock import business_date
from ledger.errors import Refused
from payments import plates
from payments.lots import Lot
from payments.plates import PlateColor
from payments.tariffs import files, store
from payments.tariffs.blocks import Around, Exempt
from payments.tariffs.courses import Applied, minute
from payments.tariffs.errors import StayInvalid
from payments.tariffs.priced import Priced, Stay
from payments.tariffs.pricing import HORIZON_DAYS, STAY_DAYS_MAX, price_over
from payments.tariffs.registry import begin_of
from payments.tariffs.store import CalendarRow, LotRow, PassRow, VersionRow
from payments.tariffs.tariff import DayKind, Names, Tariff

QUOTES_MAX: Final = 10_000
"""Most stays in one call."""
DAYS_MAX: Final = 20_000
"""Most days that the stays of one call may have together: each day has some lines to explain it."""
_YEARS: Final = (1992, 2999)
_PASSES: Final = {
    "month": Names(zh="月卡免费", en="month pass"),
    "quarter": Names(zh="季卡免费", en="quarter pass"),
    "year": Names(zh="年卡免费", en="year pass"),
    "resident": Names(zh="居民卡免费", en="residents' pass"),
}


class AskedStay(Struct, frozen=True, kw_only=True):
    """A stay whose price is asked for. ``plate`` finds its pass; without it no pass counts."""

    lot_id: int
    plate_color: PlateColor = "unknown"
    entered_at: datetime
    left_at: datetime
    plate: str | None = None


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a stay of a batch has no price: a stable code of docs/ERRORS.md, and what to do."""

    code: str
    detail: str


def quote(
    tx: Connection, *, lane: int, lot: Lot, plate_color: PlateColor, entered_at: datetime, left_at: datetime,
    plate: str | None = None, looks_ahead: bool = True,
) -> Priced:  # fmt: skip
    """Return what a stay at a lot costs, and why.

    Raises:
        TariffMissing: ``tariff_missing``. PriceMissing: ``tariff_price_missing``. StayInvalid: ``stay_invalid``.
        PlateRefused: ``plate_invalid``.
    """
    asked = AskedStay(lot_id=lot.lot_id, plate_color=plate_color, entered_at=entered_at, left_at=left_at, plate=plate)
    return _one(_found(tx, lane=lane, stays=[_checked(asked)]), asked, 0, looks_ahead=looks_ahead)


def quote_many(
    tx: Connection, *, lane: int, stays: Sequence[AskedStay], looks_ahead: bool = False
) -> list[Priced | Refusal]:  # fmt: skip
    """Return what stays cost, in their order; one that has no price is refused by itself.

    Raises:
        Refused: ``too_many_stays``.
    """
    if len(stays) > QUOTES_MAX:
        raise Refused(f"at most {QUOTES_MAX} stays fit into one call, not {len(stays)}", code="too_many_stays")
    answers: list[Priced | Refusal | None] = [None] * len(stays)
    days = 0
    good: list[AskedStay] = []
    places: list[int] = []
    for place, asked in enumerate(stays):
        try:
            good.append(_checked(asked))
            places.append(place)
            days += (asked.left_at - asked.entered_at).days
        except Refused as wrong:
            answers[place] = Refusal(code=wrong.code, detail=str(wrong))
    if days > DAYS_MAX:
        raise Refused(f"the stays of one call have at most {DAYS_MAX} days together, not {days}", code="too_many_stays")
    found = _found(tx, lane=lane, stays=good)
    for number, (place, asked) in enumerate(zip(places, good, strict=True)):
        try:
            answers[place] = _one(found, asked, number, looks_ahead=looks_ahead)
        except Refused as wrong:
            answers[place] = Refusal(code=wrong.code, detail=str(wrong))
    return [answer for answer in answers if answer is not None]


class _Found(Struct, frozen=True, kw_only=True):
    """The dated rows that a batch of stays needs."""

    applied: dict[int, list[Applied]]
    calendars: list[CalendarRow]
    passes: dict[int, list[PassRow]]


def _checked(asked: AskedStay) -> AskedStay:
    """Return a stay whose times the database can be asked about; the engine judges them."""
    if asked.entered_at.tzinfo is None or asked.left_at.tzinfo is None:
        raise StayInvalid("a time needs its offset, such as +08:00")
    if asked.entered_at.year < _YEARS[0] or asked.left_at.year > _YEARS[1]:
        raise StayInvalid(f"nothing is priced before {_YEARS[0]} and after {_YEARS[1]}")
    if not timedelta() <= asked.left_at - asked.entered_at <= timedelta(days=STAY_DAYS_MAX):
        raise StayInvalid(f"a stay ends after it begins, within {STAY_DAYS_MAX} days")
    if asked.plate is None:
        return asked
    return msgspec.structs.replace(asked, plate=plates.checked(asked.plate, asked.plate_color))


def _found(tx: Connection, *, lane: int, stays: Sequence[AskedStay]) -> _Found:
    if not stays:
        return _Found(applied={}, calendars=[], passes={})
    lots = sorted({asked.lot_id for asked in stays})
    entries = store.lot_entries(tx, lot_ids=lots)
    versions = store.versions(tx, codes=sorted({row.tariff_code for row in entries if row.tariff_code}))
    ahead = timedelta(days=HORIZON_DAYS)
    first, last = min(asked.entered_at for asked in stays), max(asked.left_at for asked in stays) + ahead
    calendars = store.calendars(tx, lot_ids=lots, first_day=business_date(first), last_day=business_date(last))
    return _Found(applied=_applied(entries, versions), calendars=calendars, passes=_passes_of(tx, lane, stays, ahead))


def _passes_of(tx: Connection, lane: int, stays: Sequence[AskedStay], ahead: timedelta) -> dict[int, list[PassRow]]:
    named = [(place, asked) for place, asked in enumerate(stays) if asked.plate is not None]
    if not named:
        return {}
    rows = store.passes(
        tx, lane=lane, lot_ids=[asked.lot_id for _, asked in named], numbers=[asked.plate or "" for _, asked in named],
        colors=[asked.plate_color for _, asked in named], entered=[asked.entered_at for _, asked in named],
        until=[asked.left_at + ahead for _, asked in named],
    )  # fmt: skip
    found: dict[int, list[PassRow]] = defaultdict(list)
    for row in rows:
        found[named[row.place][0]].append(row)
    return found


def _applied(entries: Sequence[LotRow], versions: Sequence[VersionRow]) -> dict[int, list[Applied]]:
    """Return by what each lot charges, moment by moment: its entries, cut by the versions of their tariffs."""
    by_code: dict[str, list[VersionRow]] = defaultdict(list)
    for version in versions:
        by_code[version.code].append(version)
    by_lot: dict[int, list[LotRow]] = defaultdict(list)
    for entry in entries:
        by_lot[entry.lot_id].append(entry)
    return {
        lot_id: [
            applied
            for entry, following in zip(rows, [*rows[1:], None], strict=True)
            for applied in _of_entry(entry, None if following is None else following.valid_from, by_code)
        ]
        for lot_id, rows in by_lot.items()
    }


def _of_entry(entry: LotRow, until: datetime | None, by_code: Mapping[str, Sequence[VersionRow]]) -> list[Applied]:
    if entry.tariff_code is None:
        return [Applied(valid_from=entry.valid_from, tariff=None)]
    selectors = tuple(sorted(msgspec.json.decode(entry.selectors, type=dict[str, str]).items()))
    rows = by_code[entry.tariff_code]
    begun = max(place for place, row in enumerate(rows) if row.valid_from <= entry.valid_from)
    return [
        Applied(
            valid_from=max(row.valid_from, entry.valid_from), tariff=_read(row.digest, row.body), selectors=selectors,
            free_minutes=entry.free_minutes, missing_price=entry.missing_price, digest=row.digest,
        )
        for row in rows[begun:]
        if until is None or row.valid_from < until
    ]  # fmt: skip


@functools.lru_cache(maxsize=256)
def _read(_digest: bytes, body: str) -> Tariff:
    return files.tariff_of(body.encode())


def _one(found: _Found, asked: AskedStay, place: int, *, looks_ahead: bool) -> Priced:
    stay = Stay(entered_at=asked.entered_at, left_at=asked.left_at, plate_color=asked.plate_color)
    around = _around(found.calendars, asked.lot_id, found.passes.get(place, []))
    return price_over(found.applied.get(asked.lot_id, []), stay, around=around, looks_ahead=looks_ahead)


def _around(calendars: Sequence[CalendarRow], lot_id: int, passes: Sequence[PassRow]) -> Around:
    kinds: dict[date, DayKind] = {}
    exempt = []
    for row in calendars:
        days = range(row.first_day.toordinal(), row.last_day.toordinal() + 1)
        if row.effect != "free":
            kinds |= {date.fromordinal(day): row.effect for day in days}
        elif row.everywhere or lot_id in row.lot_ids:
            begin, end = begin_of(row.first_day), begin_of(date.fromordinal(days.stop))
            exempt.append(Exempt(minute(begin), minute(end), f"calendar:{row.code}", Names(zh=row.name_zh, en=row.name_en)))
    exempt += [Exempt(minute(row.valid_from), minute(row.valid_until), f"pass:{row.number}", _PASSES[row.kind]) for row in passes]
    return Around(kinds, exempt)
