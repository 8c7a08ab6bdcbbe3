"""The questions tariffs ask of PostgreSQL: versions, lots' entries, rules, calendars, passes. Private to this package.

Everything here is dated and only ever added; rows come in sets.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal

from msgspec import Struct
from psycopg.types.range import Range
from sqlalchemy import Connection, text

from payments.tariffs.tariff import Calendar, MissingPrice, Rule, Tariff


class VersionRow(Struct, frozen=True, kw_only=True):
    """A version of a tariff; ``body`` is its canonical JSON."""

    tariff_id: int
    code: str
    version: int
    valid_from: datetime
    document: str
    body: str
    digest: bytes
    entered_at: datetime


class LotRow(Struct, frozen=True, kw_only=True):
    """A lot's entry: by which tariff it charges from a moment on; ``selectors`` is canonical JSON."""

    lot_id: int
    lot_code: str
    valid_from: datetime
    tariff_code: str | None
    selectors: str
    free_minutes: int | None
    missing_price: MissingPrice | None
    document: str


class RuleRow(Struct, frozen=True, kw_only=True):
    """What every tariff of a kind of place has to keep from a moment on."""

    place: str
    valid_from: datetime
    free_minutes_min: int
    unit_minutes: int
    document: str


class CalendarRow(Struct, frozen=True, kw_only=True):
    """Days that count otherwise. ``last_day`` belongs to them. ``lot_ids``: those asked about that are on its list."""

    calendar_id: int
    code: str
    effect: Literal["free", "holiday", "workday"]
    first_day: date
    last_day: date
    everywhere: bool
    name_zh: str
    name_en: str
    document: str
    body: str
    lot_ids: list[int]


class PassRow(Struct, frozen=True, kw_only=True):
    """A pass that covers a stay asked about, by the stay's place in the question."""

    place: int
    number: str
    kind: str
    valid_from: datetime
    valid_until: datetime


def lock(tx: Connection) -> None:
    """Let one at a time enter tariffs, so that what is checked still holds when it is written."""
    tx.execute(text("select pg_advisory_xact_lock(hashtext('payments.tariffs'))"))


# Versions and rules


def versions(tx: Connection, *, codes: Sequence[str] | None) -> list[VersionRow]:
    """Return all versions of some tariffs, or of all, by code, day and version."""
    query = text("""
        select tariff_id, code, version, valid_from, document, body, digest, entered_at from payments.tariff
        where cast(:codes as text[]) is null or code = any(cast(:codes as text[])) order by code, valid_from, version
        """)
    rows = tx.execute(query, {"codes": None if codes is None else list(codes)})
    return [VersionRow(**{**row._mapping, "digest": bytes(row.digest)}) for row in rows]


def insert_version(
    tx: Connection, *, tariff: Tariff, valid_from: datetime, body: bytes, digest: bytes, at: datetime
) -> int:  # fmt: skip
    query = text("""
        insert into payments.tariff (code, version, valid_from, place, regime, document, body, digest, entered_at)
        values (:code, :version, :valid_from, :place, :regime, :document, :body, :digest, :at) returning tariff_id
        """)
    given = {
        "code": tariff.code, "version": tariff.version, "valid_from": valid_from, "place": tariff.place, "regime": tariff.regime,
        "document": str(tariff.document), "body": body.decode(), "digest": digest, "at": at,
    }  # fmt: skip
    return int(tx.execute(query, given).scalar_one())


def rules(tx: Connection) -> list[RuleRow]:
    """Return all rules by place and day."""
    query = text("""
        select place, valid_from, free_minutes_min, unit_minutes, document from payments.tariff_rule order by place, valid_from
        """)
    return [RuleRow(**row._mapping) for row in tx.execute(query)]


def insert_rules(tx: Connection, *, rules: Sequence[tuple[Rule, datetime]], at: datetime) -> None:
    query = text("""
        insert into payments.tariff_rule (place, valid_from, free_minutes_min, unit_minutes, document, entered_at)
        select place, valid_from, free_minutes_min, unit_minutes, document, :at
        from unnest(cast(:place as text[]), cast(:valid_from as timestamptz[]), cast(:free as integer[]), cast(:unit as integer[]),
                    cast(:document as text[])) as n (place, valid_from, free_minutes_min, unit_minutes, document)
        """)
    given = {
        "place": [rule.place for rule, _ in rules], "valid_from": [begin for _, begin in rules], "at": at,
        "free": [rule.free_minutes_min for rule, _ in rules], "unit": [rule.unit_minutes for rule, _ in rules],
        "document": [str(rule.document) for rule, _ in rules],
    }  # fmt: skip
    if rules:
        tx.execute(query, given)


# Lots


def lot_entries(tx: Connection, *, lot_ids: Sequence[int] | None) -> list[LotRow]:
    """Return all entries of some lots, or of all, by lot and moment."""
    query = text("""
        select a.lot_id, l.code as lot_code, a.valid_from, a.tariff_code, a.selectors, a.free_minutes, a.missing_price, a.document
        from payments.lot_tariff a join payments.lot l on l.lot_id = a.lot_id
        where cast(:lots as integer[]) is null or a.lot_id = any(cast(:lots as integer[])) order by a.lot_id, a.valid_from
        """)
    return [LotRow(**row._mapping) for row in tx.execute(query, {"lots": None if lot_ids is None else list(lot_ids)})]


def insert_lot_entry(tx: Connection, *, row: LotRow, at: datetime) -> None:
    query = text("""
        insert into payments.lot_tariff (lot_id, valid_from, tariff_code, selectors, free_minutes, missing_price, document,
                                         entered_at)
        values (:lot_id, :valid_from, :tariff_code, :selectors, :free_minutes, :missing_price, :document, :at)
        """)
    given = {name: getattr(row, name) for name in LotRow.__struct_fields__ if name != "lot_code"}
    tx.execute(query, given | {"at": at})


# Calendars


def calendars(tx: Connection, *, lot_ids: Sequence[int], first_day: date, last_day: date) -> list[CalendarRow]:
    """Return the calendars that touch ``[first_day, last_day]``, each with those of the lots that are on its list."""
    query = text("""
        select c.calendar_id, c.code, c.effect, lower(c.days) as first_day, upper(c.days) - 1 as last_day, c.everywhere,
               c.name_zh, c.name_en, c.document, c.body,
               array(select p.lot_id from payments.tariff_calendar_lot p
                     where p.calendar_id = c.calendar_id and p.lot_id = any(cast(:lots as integer[])) order by p.lot_id) as lot_ids
        from payments.tariff_calendar c
        where c.days && daterange(:first, :last, '[]') order by c.days, c.code
        """)
    return [CalendarRow(**row._mapping) for row in tx.execute(query, {"lots": list(lot_ids), "first": first_day, "last": last_day})]


def calendars_by_code(tx: Connection, *, codes: Sequence[str]) -> dict[str, CalendarRow]:
    query = text("""
        select calendar_id, code, effect, lower(days) as first_day, upper(days) - 1 as last_day, everywhere, name_zh, name_en,
               document, body, array[]::integer[] as lot_ids
        from payments.tariff_calendar where code = any(cast(:codes as text[]))
        """)
    return {row.code: CalendarRow(**row._mapping) for row in tx.execute(query, {"codes": list(codes)})}


def insert_calendar(tx: Connection, *, calendar: Calendar, body: bytes, at: datetime) -> int:
    query = text("""
        insert into payments.tariff_calendar (code, effect, days, everywhere, name_zh, name_en, document, body, entered_at)
        values (:code, :effect, daterange(:first, :last, '[]'), :everywhere, :zh, :en, :document, :body, :at) returning calendar_id
        """)
    given = {
        "code": calendar.code, "effect": calendar.effect, "first": calendar.first_day, "last": calendar.last_day,
        "everywhere": calendar.places == "all", "zh": calendar.words.zh, "en": calendar.words.en,
        "document": str(calendar.document), "body": body.decode(), "at": at,
    }  # fmt: skip
    return int(tx.execute(query, given).scalar_one())


def insert_calendar_lots(tx: Connection, *, calendar_id: int, lot_ids: Sequence[int], document: str, at: datetime) -> int:
    """Put lots on a calendar's list; returns how many were not on it."""
    query = text("""
        insert into payments.tariff_calendar_lot (calendar_id, lot_id, document, entered_at)
        select :calendar, lot_id, :document, :at from unnest(cast(:lots as integer[])) as n (lot_id)
        on conflict (lot_id, calendar_id) do nothing
        """)
    return tx.execute(query, {"calendar": calendar_id, "lots": list(lot_ids), "document": document, "at": at}).rowcount


# Passes


def find_pass(tx: Connection, *, operator_id: int, number: str) -> tuple[str, int | None, int, datetime, datetime] | None:
    """Return kind, lot, plate and time of an operator's pass."""
    query = text("""
        select kind, lot_id, plate_id, lower(valid), upper(valid) from payments.parking_pass
        where operator_id = :operator and number = :number
        """)
    row = tx.execute(query, {"operator": operator_id, "number": number}).first()
    return None if row is None else (row[0], row[1], row[2], row[3], row[4])


def insert_pass(
    tx: Connection, *, lane: int, operator_id: int, lot_id: int | None, number: str, kind: str, plate_id: int,
    begin: datetime, end: datetime, document: str, at: datetime,
) -> None:  # fmt: skip
    query = text("""
        insert into payments.parking_pass (number, kind, lane, operator_id, lot_id, plate_id, valid, document, entered_at)
        values (:number, :kind, :lane, :operator, :lot, :plate, :valid, :document, :at)
        """)
    given = {
        "number": number, "kind": kind, "lane": lane, "operator": operator_id, "lot": lot_id, "plate": plate_id,
        "valid": Range(begin, end), "document": document, "at": at,
    }  # fmt: skip
    tx.execute(query, given)


def passes(
    tx: Connection, *, lane: int, lot_ids: Sequence[int], numbers: Sequence[str], colors: Sequence[str],
    entered: Sequence[datetime], until: Sequence[datetime],
) -> list[PassRow]:  # fmt: skip
    """Return the passes that touch stays, given column by column. A colour that is not known fits every other."""
    query = text("""
        select (s.place - 1)::integer as place, y.number, y.kind, lower(y.valid) as valid_from, upper(y.valid) as valid_until
        from unnest(cast(:lots as integer[]), cast(:numbers as text[]), cast(:colors as text[]), cast(:entered as timestamptz[]),
                    cast(:until as timestamptz[])) with ordinality as s (lot_id, number, color, entered_at, until, place)
        join payments.plate p on p.number = s.number and (p.color = s.color or 'unknown' in (p.color, s.color))
        join payments.lot l on l.lot_id = s.lot_id
        join payments.parking_pass y on y.plate_id = p.plate_id and y.operator_id = l.operator_id and y.lane = :lane
             and (y.lot_id is null or y.lot_id = s.lot_id) and y.valid && tstzrange(s.entered_at, s.until, '[]')
        order by s.place, lower(y.valid), y.pass_id
        """)
    given = {
        "lane": lane, "lots": list(lot_ids), "numbers": list(numbers), "colors": list(colors), "entered": list(entered),
        "until": list(until),
    }  # fmt: skip
    return [PassRow(**row._mapping) for row in tx.execute(query, given)]


def lot_ids(tx: Connection, *, codes: Sequence[str]) -> dict[str, int]:
    """Return the numbers of lots by their codes; those that are not there are left out."""
    query = text("select code, lot_id from payments.lot where code = any(cast(:codes as text[]))")
    return {row.code: row.lot_id for row in tx.execute(query, {"codes": list(codes)})}
