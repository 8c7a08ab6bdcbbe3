"""Openings by hand 人工开闸: each time a barrier was opened without a payment, with its reason: what may have gone lost 漏费.

Knows openings, plates and lots' numbers; must not know alarms or HTTP. Called by the API; its days are read by alarms and reports.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.clock import business_date
from ledger.errors import Refused
from ledger.ids import Ids
from payments.lot_records import intake, numbers
from payments.lot_records.intake import NAME_LETTERS_MAX, REMARK_LETTERS_MAX, Answer, Rejected, differs
from payments.lots import Lot
from payments.plates import PlateColor

Reason = Literal["fire", "ambulance", "fault", "vip", "test", "other"]
LOST_FEN_MAX: Final = 5_000_000
DAYS_MAX: Final = 400


class NewOpening(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A barrier opened by hand, as a lot posts it. ``serial`` is the lot's own number of it and the idempotency key."""

    serial: str
    number: int | None = None
    """The lot's own dense number of the opening."""
    at: datetime
    lane: str
    direction: Literal["in", "out"]
    reason: Reason
    """``fault``: of barrier or camera. ``test``: nobody went through. ``other`` needs a ``text``."""
    text: str | None = None
    plate: str | None = None
    plate_color: PlateColor = "unknown"
    operator_person_digest: str | None = None
    """SHA-256 of who opened it, as the operator knows the person: never a name."""
    amount_lost_fen: int | None = None
    """What went lost, as far as the lot knows."""


class OpeningDay(Struct, frozen=True, kw_only=True):
    """Openings of a lot on a day (China), beside the cars that left it. Tests are counted apart and are in no rate."""

    day: date
    exits: int
    openings_out: int
    openings_in: int
    tests: int
    by_reason: dict[str, int]
    lost_fen: int

    @property
    def per_100_exits(self) -> float:
        """Openings of the exit per 100 cars that left; as many when fewer left."""
        return 100 * self.openings_out / max(100, self.exits)


class _Row(Struct, frozen=True, kw_only=True):
    """An opening as it is kept."""

    opening_id: UUID
    lot_serial: str
    opened_at: datetime
    barrier: str
    direction: str
    reason: str
    remark: str | None
    plate_id: int | None
    person_digest: bytes | None
    lost_fen: int | None


_CONTENT: Final = (
    ("opened_at", "at"), ("barrier", "lane"), ("direction", "direction"), ("reason", "reason"), ("remark", "text"),
    ("plate_id", "plate"), ("person_digest", "operator_person_digest"), ("lost_fen", "amount_lost_fen"),
)  # fmt: skip
_FIELDS: Final = _Row.__struct_fields__


def post(tx: Connection, *, lane: int, lot: Lot, openings: Sequence[NewOpening], at: datetime, ids: Ids) -> list[Answer]:
    """Take the openings of one lot, set by set; a wrong one is refused by itself and the others stand.

    May be called again with the same openings: they are ``already``. Holds the intake of the lot.

    Raises:
        Refused: ``too_many_records``.
    """
    intake.check_count(openings)
    answers: list[Answer | None] = [None] * len(openings)
    good: list[tuple[int, NewOpening, tuple[str, str] | None, bytes | None]] = []
    for place, posted in enumerate(openings):
        try:
            good.append((place, posted, *_checked(posted, at)))
        except Rejected as wrong:
            answers[place] = intake.refused(posted.serial, wrong)
    if not good:
        return [answer for answer in answers if answer is not None]
    intake.hold(tx, lot_id=lot.lot_id)
    known = _by_serial(tx, lane=lane, lot_id=lot.lot_id, serials=sorted({posted.serial for _, posted, _, _ in good}))
    keys = intake.plate_keys(tx, sorted({plate for _, _, plate, _ in good if plate is not None}))
    claimed = numbers.claimed(tx, lot_id=lot.lot_id, series="opening", numbers=[posted.number for _, posted, _, _ in good])
    made: list[_Row] = []
    for place, posted, plate, person in good:
        row = _Row(
            opening_id=ids.new(at, f"opening {lot.lot_id} {posted.serial}"), lot_serial=posted.serial, opened_at=posted.at,
            barrier=posted.lane, direction=posted.direction, reason=posted.reason, remark=posted.text,
            plate_id=None if plate is None else keys[plate][0], person_digest=person, lost_fen=posted.amount_lost_fen,
        )  # fmt: skip
        kept = known.get(posted.serial)
        try:
            if kept is not None:
                _check_same(row, kept)
            claimed.check(posted.number, None if kept is None else kept.opening_id)
        except Rejected as wrong:
            answers[place] = intake.refused(posted.serial, wrong)
            continue
        answers[place] = Answer(serial=posted.serial, outcome="created" if kept is None else "already")
        if kept is None:
            known[posted.serial] = row
            claimed.take(posted.number, row.opening_id)
            made.append(row)
    if made:
        _insert(tx, lane=lane, lot=lot, rows=made, at=at)
        intake.write(tx, numbers.registering(lot_id=lot.lot_id, series="opening", taken=claimed.taken, at=at))
    return [answer for answer in answers if answer is not None]


def days(tx: Connection, *, lot: Lot, first: date, last: date) -> list[OpeningDay]:
    """Return the days from first to last (China) on which cars left or barriers were opened by hand, oldest first.

    Raises:
        Refused: ``date_invalid``.
    """
    if not 0 <= (last - first).days < DAYS_MAX:
        raise Refused(f"first comes before last, and at most {DAYS_MAX} days are read at once", code="date_invalid")
    query = text("""
        with opened as (
            select (opened_at at time zone 'Asia/Shanghai')::date as day, direction, reason, lost_fen
            from payments.barrier_opening
            where lot_id = :lot and opened_at >= cast(:first as timestamp) at time zone 'Asia/Shanghai'
              and opened_at < (cast(:last as timestamp) + interval '1 day') at time zone 'Asia/Shanghai'
        ), reasons as (
            select day, jsonb_object_agg(reason, openings order by reason) as by_reason
            from (select day, reason, count(*) as openings from opened group by day, reason) r group by day
        ), counted as (
            select day, count(*) filter (where direction = 'out' and reason <> 'test') as openings_out,
                   count(*) filter (where direction = 'in' and reason <> 'test') as openings_in,
                   count(*) filter (where reason = 'test') as tests, coalesce(sum(lost_fen), 0)::bigint as lost_fen
            from opened group by day
        )
        select d.day, d.exits, coalesce(c.openings_out, 0) as openings_out, coalesce(c.openings_in, 0) as openings_in,
               coalesce(c.tests, 0) as tests, coalesce(r.by_reason, '{}') as by_reason, coalesce(c.lost_fen, 0) as lost_fen
        from payments.lot_day d
        left join counted c on c.day = d.day
        left join reasons r on r.day = d.day
        where d.lot_id = :lot and d.day between :first and :last and (d.exits > 0 or c.day is not null)
        order by d.day
        """)
    return [OpeningDay(**row._mapping) for row in tx.execute(query, {"lot": lot.lot_id, "first": first, "last": last})]


def _checked(posted: NewOpening, at: datetime) -> tuple[tuple[str, str] | None, bytes | None]:
    """Return plate and person of an opening as they are kept. Raises Rejected for one that cannot be true."""
    intake.check_name(posted.serial, posted.number)
    intake.check_time("at", posted.at, at)
    intake.check_words("lane", posted.lane, NAME_LETTERS_MAX)
    intake.check_words("text", posted.text, REMARK_LETTERS_MAX)
    if posted.reason == "other" and posted.text is None:
        raise Rejected("text", "reason_missing", "say in words why the barrier was opened, or name one of the reasons")
    if posted.amount_lost_fen is not None and not 0 <= posted.amount_lost_fen <= LOST_FEN_MAX:
        raise Rejected("amount_lost_fen", "amount_invalid", f"what went lost is 0 to {LOST_FEN_MAX} fen, or is left out")
    person = intake.digest("operator_person_digest", posted.operator_person_digest)
    return None if posted.plate is None else (intake.plate(posted.plate, posted.plate_color), posted.plate_color), person


def _check_same(row: _Row, kept: _Row) -> None:
    for column, field in _CONTENT:
        if getattr(row, column) != getattr(kept, column):
            raise differs(row.lot_serial, field)


def _by_serial(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, _Row]:
    query = text(f"""
        select {", ".join(_FIELDS)} from payments.barrier_opening
        where lane = :lane and lot_id = :lot and lot_serial = any(cast(:serials as text[]))
        """)
    found = tx.execute(query, {"lane": lane, "lot": lot_id, "serials": list(serials)})
    return {row.lot_serial: _Row(**row._mapping) for row in found}


def _insert(tx: Connection, *, lane: int, lot: Lot, rows: Sequence[_Row], at: datetime) -> None:
    """Insert openings, and count them on their days."""
    given: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in _FIELDS}
    tx.execute(
        text("""
        insert into payments.barrier_opening (opening_id, lane, operator_id, lot_id, lot_serial, opened_at, barrier, direction,
                                              reason, remark, plate_id, person_digest, lost_fen, created_at)
        select opening_id, :lane, :operator, :lot, lot_serial, opened_at, barrier, direction, reason, remark, plate_id,
               person_digest, lost_fen, :at
        from unnest(cast(:opening_id as uuid[]), cast(:lot_serial as text[]), cast(:opened_at as timestamptz[]),
                    cast(:barrier as text[]), cast(:direction as text[]), cast(:reason as text[]), cast(:remark as text[]),
                    cast(:plate_id as bigint[]), cast(:person_digest as bytea[]), cast(:lost_fen as bigint[]))
             as n (opening_id, lot_serial, opened_at, barrier, direction, reason, remark, plate_id, person_digest, lost_fen)
        """),
        given | {"lane": lane, "operator": lot.operator_id, "lot": lot.lot_id, "at": at},
    )
    counted: dict[date, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        day = counted[business_date(row.opened_at)]
        day[0] += row.direction == "out" and row.reason != "test"
        day[1] += row.lost_fen or 0
    ordered = sorted(counted)
    tx.execute(
        text("""
        insert into payments.lot_day as d (lot_id, day, openings, lost_fen)
        select :lot, n.* from unnest(cast(:days as date[]), cast(:openings as integer[]), cast(:lost as bigint[])) as n
        on conflict (lot_id, day) do update set openings = d.openings + excluded.openings, lost_fen = d.lost_fen + excluded.lost_fen
        """),
        {
            "lot": lot.lot_id, "days": ordered, "openings": [counted[day][0] for day in ordered],
            "lost": [counted[day][1] for day in ordered],
        },
    )  # fmt: skip
