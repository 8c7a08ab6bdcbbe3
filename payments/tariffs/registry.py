"""Entering tariffs: versions, rules, calendars, lots' entries and passes, each dated and with its document. Append only.

Knows what may follow on what; must not know how anything is priced. Called by the command line and the tests.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Final, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from ledger.clock import CHINA
from payments import plates, store
from payments.lots import Lot, Operator
from payments.plates import PlateColor
from payments.tariffs import files
from payments.tariffs import store as tariff_store
from payments.tariffs.errors import PassInvalid, TariffConflict, TariffInvalid, TariffOverlaps, TariffUnknown
from payments.tariffs.store import LotRow, VersionRow
from payments.tariffs.tariff import Calendar, Calendars, MissingPrice, Rules, Tariff, TariffFile, canonical, fits

PassKind = Literal["month", "quarter", "year", "resident"]
PASS_LETTERS_MAX: Final = 64
_DOCUMENT_LETTERS_MAX: Final = 500


class Entered(Struct, frozen=True, kw_only=True):
    """What became of an entry. ``is_new`` is false when the same was entered before. ``remarks`` tell what a person should know."""

    what: str
    is_new: bool
    remarks: tuple[str, ...] = ()


class NewPass(Struct, frozen=True, kw_only=True):
    """A pass to be entered: ``[first_day, last_day]``, whole days in China."""

    number: str
    kind: PassKind
    plate: str
    plate_color: PlateColor = "unknown"
    first_day: date
    last_day: date
    document: str


def begin_of(day: date) -> datetime:
    """Return the instant at which a day begins in China."""
    return datetime.combine(day, time(), CHINA)


def add(tx: Connection, *, file: TariffFile, at: datetime) -> list[Entered]:
    """Enter what a file says. May be repeated: the same is the same.

    Locks: one at a time enters tariffs.

    Raises:
        TariffInvalid: ``tariff_invalid``; a tariff that keeps less than the rules of its time.
        TariffConflict: ``tariff_conflict``, version or code is taken by other content, or versions are left out.
        TariffOverlaps: ``tariff_overlaps``, another version, rule or calendar counts at that time.
        TariffUnknown: ``tariff_not_found``, a calendar names a lot that is not here.
    """
    files.checked(file)
    tariff_store.lock(tx)
    match file:
        case Tariff():
            return [_add_tariff(tx, file, at)]
        case Calendars():
            return [_add_calendar(tx, calendar, at) for calendar in file.calendars]
        case Rules():
            return _add_rules(tx, file, at)


def _add_tariff(tx: Connection, tariff: Tariff, at: datetime) -> Entered:
    body = canonical(tariff)
    digest = files.digest(body)
    what = f"tariff {tariff.code} version {tariff.version}"
    known = tariff_store.versions(tx, codes=[tariff.code])
    for row in known:
        if row.version == tariff.version:
            if row.digest == digest:
                return Entered(what=what, is_new=False)
            raise TariffConflict(f"{what} is entered with other content; give the new content version {_next(known)}")
    if tariff.version != _next(known):
        raise TariffConflict(f"the next version of {tariff.code} is {_next(known)}, not {tariff.version}")
    begin = begin_of(tariff.valid_from)
    last = max(known, key=lambda row: row.valid_from, default=None)
    if last is not None and begin <= last.valid_from:
        raise TariffOverlaps(
            f"{what} would begin on {tariff.valid_from}, but version {last.version} counts from {_day(last.valid_from)} on; "
            "a new version begins on a later day and replaces it from then on"
        )
    _keeps_rules(tx, tariff)
    _keeps_lots(tx, tariff)
    tariff_store.insert_version(tx, tariff=tariff, valid_from=begin, body=body, digest=digest, at=at)
    return Entered(what=what, is_new=True, remarks=_remarks(tariff, at))


def _next(known: Sequence[VersionRow]) -> int:
    return max((row.version for row in known), default=0) + 1


def _day(at: datetime) -> str:
    return at.astimezone(CHINA).date().isoformat()


def _keeps_rules(tx: Connection, tariff: Tariff) -> None:
    """Refuse a tariff that keeps less than the rule of its first day. Source: 锡政办发〔2023〕38号."""
    begin = begin_of(tariff.valid_from)
    rule = None
    for row in tariff_store.rules(tx):
        if row.place == tariff.place and row.valid_from <= begin:
            rule = row
    if rule is not None and tariff.free_minutes < rule.free_minutes_min:
        raise TariffInvalid(f"{tariff.free_minutes} free minutes are less than the {rule.free_minutes_min} of {rule.document}")
    if rule is not None and tariff.unit_minutes != rule.unit_minutes:
        raise TariffInvalid(f"a unit of {tariff.unit_minutes} minutes is not the {rule.unit_minutes} of {rule.document}")


def _keeps_lots(tx: Connection, tariff: Tariff) -> None:
    """Refuse a version under which a lot that charges by the tariff would have no price, or less free time than it was promised."""
    begin = begin_of(tariff.valid_from)
    entries = tariff_store.lot_entries(tx, lot_ids=None)
    latest = {row.lot_id: row for row in entries if row.valid_from <= begin}
    later = [row for row in entries if row.valid_from > begin]
    wrong = sorted(
        {row.lot_code for row in [*latest.values(), *later] if row.tariff_code == tariff.code and _unfit(tariff, _selectors(row))}
    )
    if wrong:
        raise TariffInvalid(
            f"the selectors do not fit lots that charge by it: {', '.join(wrong[:20])}; enter them under another code"
        )


def _selectors(row: LotRow) -> dict[str, str]:
    return msgspec.json.decode(row.selectors, type=dict[str, str])


def _unfit(tariff: Tariff, selectors: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a lot's selectors for a tariff, in words."""
    return sorted(
        [f"{name} must be {' or '.join(words)}" for name, words in tariff.selectors.items() if selectors.get(name) not in words]
        + [f"{name} is not asked for" for name in selectors if name not in tariff.selectors]
    )


def _remarks(tariff: Tariff, at: datetime) -> tuple[str, ...]:
    found = []
    if tariff.valid_from_is == "assumed":
        found.append(f"the first day {tariff.valid_from} is assumed: {tariff.document.note}")
    missing = [f"{cell.words.en} {name}" for cell in tariff.cells for name, steps in cell.prices.items() if isinstance(steps, str)]
    if missing:
        way = "no quote is given there" if tariff.options.missing_price == "refuse" else "the base price stands for them"
        found.append(f"prices that no source has ({way}): {', '.join(missing)}")
    if begin_of(tariff.valid_from) <= at:
        found.append("it counts already: what was quoted before is not changed")
    return tuple(found)


def _add_rules(tx: Connection, file: Rules, at: datetime) -> list[Entered]:
    known = {(row.place, row.valid_from): row for row in tariff_store.rules(tx)}
    entered, new = [], []
    for rule in file.rules:
        begin = begin_of(rule.valid_from)
        kept = known.get((rule.place, begin))
        content = (rule.free_minutes_min, rule.unit_minutes, str(rule.document))
        if kept is not None and content != (kept.free_minutes_min, kept.unit_minutes, kept.document):
            raise TariffOverlaps(f"a rule for {rule.place} counts from {rule.valid_from} on with other content: {kept.document}")
        if kept is None:
            new.append((rule, begin))
        entered.append(Entered(what=f"rule for {rule.place} from {rule.valid_from}", is_new=kept is None))
    tariff_store.insert_rules(tx, rules=new, at=at)
    return entered


# Calendars


def _add_calendar(tx: Connection, calendar: Calendar, at: datetime) -> Entered:
    what = f"calendar {calendar.code}"
    body = canonical(calendar)
    kept = tariff_store.calendars_by_code(tx, codes=[calendar.code]).get(calendar.code)
    if kept is not None:
        if kept.body == body.decode():
            return Entered(what=what, is_new=False)
        raise TariffConflict(f"{what} is entered with other content; a calendar is never changed, take another code")
    lot_ids = _lot_ids(tx, () if calendar.places == "all" else calendar.places)
    try:
        with tx.begin_nested():
            calendar_id = tariff_store.insert_calendar(tx, calendar=calendar, body=body, at=at)
    except IntegrityError as refused:
        if "one_kind_of_day" in str(refused.orig) or "one_free_time" in str(refused.orig):
            raise TariffOverlaps(
                f"{what}: days from {calendar.first_day} to {calendar.last_day} are in another calendar of this kind"
            ) from None
        raise
    if lot_ids:
        tariff_store.insert_calendar_lots(tx, calendar_id=calendar_id, lot_ids=lot_ids, document=str(calendar.document), at=at)
    missing = (calendar.places_published or 0) - len(lot_ids)
    remark = f"{missing} of {calendar.places_published} published places are not on its list yet: 'tariff exempt' adds them"
    return Entered(what=what, is_new=True, remarks=(remark,) if calendar.places != "all" and missing > 0 else ())


def exempt(tx: Connection, *, calendar_code: str, lot_codes: Sequence[str], document: str, at: datetime) -> int:
    """Put lots on the list of a calendar; returns how many were not on it. May be repeated.

    Raises:
        TariffUnknown: ``tariff_not_found``, there is no such calendar or lot.
        TariffInvalid: ``tariff_invalid``, the calendar counts everywhere, or no document was named.
    """
    _check_document(document)
    tariff_store.lock(tx)
    calendar = tariff_store.calendars_by_code(tx, codes=[calendar_code]).get(calendar_code)
    if calendar is None:
        raise TariffUnknown(f"there is no calendar {calendar_code!r}")
    if calendar.everywhere:
        raise TariffInvalid(f"calendar {calendar_code} counts at every lot; it has no list")
    lot_ids = _lot_ids(tx, lot_codes)
    return tariff_store.insert_calendar_lots(tx, calendar_id=calendar.calendar_id, lot_ids=lot_ids, document=document, at=at)


def _lot_ids(tx: Connection, codes: Sequence[str]) -> list[int]:
    known = tariff_store.lot_ids(tx, codes=codes) if codes else {}
    unknown = sorted(set(codes) - set(known))
    if unknown:
        raise TariffUnknown(f"there is no lot {', '.join(unknown[:20])}")
    return sorted(set(known.values()))


# Lots


def assign(
    tx: Connection, *, lot: Lot, tariff_code: str | None, selectors: Mapping[str, str], valid_from: datetime, document: str,
    at: datetime, free_minutes: int | None = None, missing_price: MissingPrice | None = None,
) -> Entered:  # fmt: skip
    """Let a lot charge by a tariff from a moment on, until the next entry. None: by none of ours. May be repeated.

    ``free_minutes`` is a longer free time that the lot had before and keeps.

    Raises:
        TariffUnknown: ``tariff_not_found``, or no version of it counts at that moment.
        TariffInvalid: ``tariff_invalid``, the selectors are not the tariff's, no document, free minutes that are not longer.
        TariffOverlaps: ``tariff_overlaps``, the lot has an entry from that moment or a later one on.
    """
    _check_document(document)
    tariff_store.lock(tx)
    if tariff_code is not None:
        _check_fits(tx, tariff_code, selectors, valid_from, free_minutes)
    row = LotRow(
        lot_id=lot.lot_id, lot_code=lot.code, valid_from=valid_from, tariff_code=tariff_code,
        selectors=msgspec.json.encode(dict(selectors), order="sorted").decode(), free_minutes=free_minutes,
        missing_price=missing_price, document=document,
    )  # fmt: skip
    what = f"lot {lot.code} by {tariff_code or 'no tariff of ours'} from {valid_from.astimezone(CHINA):%Y-%m-%d %H:%M}"
    known = tariff_store.lot_entries(tx, lot_ids=[lot.lot_id])
    if row in known:
        return Entered(what=what, is_new=False)
    if known and valid_from <= known[-1].valid_from:
        raise TariffOverlaps(
            f"{what}: the lot charges by {known[-1].tariff_code or 'no tariff of ours'} from "
            f"{known[-1].valid_from.astimezone(CHINA):%Y-%m-%d %H:%M} on; a new entry begins later and replaces it from then on"
        )
    tariff_store.insert_lot_entry(tx, row=row, at=at)
    return Entered(what=what, is_new=True)


def _check_fits(
    tx: Connection, code: str, selectors: Mapping[str, str], valid_from: datetime, free_minutes: int | None
) -> None:  # fmt: skip
    """Refuse an entry that does not fit every version of the tariff that can count for it."""
    known = tariff_store.versions(tx, codes=[code])
    if not known or known[0].valid_from > valid_from:
        raise TariffUnknown(f"no version of tariff {code!r} counts at {valid_from.isoformat()}")
    begun = max(place for place, row in enumerate(known) if row.valid_from <= valid_from)
    for row in known[begun:]:
        tariff = files.tariff_of(row.body.encode())
        wrong = _unfit(tariff, selectors)
        if wrong:
            raise TariffInvalid(f"tariff {code} version {row.version}: {'; '.join(wrong)}")
        if free_minutes is not None and not tariff.free_minutes < free_minutes < 24 * 60:
            raise TariffInvalid(
                f"tariff {code} version {row.version} has {tariff.free_minutes} free minutes; a lot's own are longer"
            )


def _check_document(document: str) -> None:
    if not document.strip() or len(document) > _DOCUMENT_LETTERS_MAX:
        raise TariffInvalid(f"name the document that says so, in at most {_DOCUMENT_LETTERS_MAX} characters")


# Passes


def add_pass(
    tx: Connection, *, operator: Operator, lot: Lot | None, given: NewPass, at: datetime
) -> Entered:  # fmt: skip
    """Enter a pass: the plate parks free at the lot, or at all lots of the operator, on these days. May be repeated.

    Raises:
        PassInvalid: ``pass_invalid``, days, number or document; a resident's pass where there are none.
        PlateRefused: ``plate_invalid``.
        TariffConflict: ``tariff_conflict``, the number is taken by another pass.
        TariffOverlaps: ``tariff_overlaps``, the plate has another pass there in that time.
    """
    plate = plates.checked(given.plate, given.plate_color)
    if not 0 < len(given.number) <= PASS_LETTERS_MAX or not given.number.isprintable() or not given.document.strip():
        raise PassInvalid(f"a pass has a number of 1 to {PASS_LETTERS_MAX} printable characters and a document")
    if given.last_day < given.first_day:
        raise PassInvalid("the pass ends before it begins")
    begin, end = begin_of(given.first_day), begin_of(date.fromordinal(given.last_day.toordinal() + 1))
    if lot is not None and lot.operator_id != operator.operator_id:
        raise PassInvalid(f"lot {lot.code} is not the operator's")
    if given.kind == "resident":
        _check_resident(tx, lot, begin)
    tariff_store.lock(tx)
    found = store.plate_ids(tx, plates=[(plate, given.plate_color)], salt=lambda: secrets.token_bytes(16))
    plate_id = found[plate, given.plate_color]
    kept = tariff_store.find_pass(tx, operator_id=operator.operator_id, number=given.number)
    what = f"pass {given.number}"
    if kept is not None:
        if kept == (given.kind, None if lot is None else lot.lot_id, plate_id, begin, end):
            return Entered(what=what, is_new=False)
        raise TariffConflict(f"{what} of operator {operator.code} is entered with other content; take a new number")
    try:
        with tx.begin_nested():
            tariff_store.insert_pass(
                tx, lane=operator.lane, operator_id=operator.operator_id, lot_id=None if lot is None else lot.lot_id,
                number=given.number, kind=given.kind, plate_id=plate_id, begin=begin, end=end, document=given.document, at=at,
            )  # fmt: skip
    except IntegrityError as refused:
        if "one_pass_at_a_time" in str(refused.orig):
            raise TariffOverlaps(f"{what}: the plate has another pass there in that time") from None
        raise
    return Entered(what=what, is_new=True)


def _check_resident(tx: Connection, lot: Lot | None, begin: datetime) -> None:
    """Refuse a resident's pass where the tariff knows none: in Wuxi they are for branch roads."""
    entries = [] if lot is None else [row for row in tariff_store.lot_entries(tx, lot_ids=[lot.lot_id]) if row.valid_from <= begin]
    code = entries[-1].tariff_code if entries else None
    known = [row for row in tariff_store.versions(tx, codes=[code]) if row.valid_from <= begin] if code else []
    where = files.tariff_of(known[-1].body.encode()).resident_passes if known else None
    if where is None or not fits(where, _selectors(entries[-1])):
        raise PassInvalid("residents' passes are for a lot whose tariff has them: in Wuxi, berths on branch roads")
