"""The questions that stays ask of PostgreSQL, all set by set. Private to this room; called by ``stays`` alone."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from ledger.arrays import bigints, blobs, instant, instants, integer, integers, smallint, texts, uuids
from ledger.volley import Shot, Statement, fire
from payments.lot_records.intake import NO_TIME
from payments.lots import Lot

StayState = Literal["in", "out", "exit_unknown"]


class Kept(Struct, gc=False):
    """A stay while a call is decided about: one that is kept, or one that the call brings."""

    stay_id: UUID
    plate_id: int
    entered_at: datetime
    left_at: datetime | None
    state: StayState
    serial: str


class Full(Struct, frozen=True):
    """A stay as it is kept, with all that a second post of its serial may contradict."""

    stay_id: UUID
    plate_id: int
    number: str
    color: str
    entered_at: datetime
    left_at: datetime | None
    state: StayState
    serial: str
    scene: str
    berth: str | None
    lane_in: str | None
    lane_out: str | None
    entry_photo: bytes | None
    exit_photo: bytes | None


class Row(Struct, gc=False):
    """A new stay."""

    kept: Kept
    scene: str
    berth: str | None
    lane_in: str | None
    lane_out: str | None
    entry_photo: bytes | None
    exit_photo: bytes | None


class Going(Struct, frozen=True):
    """The end of a stay that is kept, with what its second post added."""

    stay_id: UUID
    left_at: datetime
    berth: str | None
    lane_in: str | None
    lane_out: str | None
    entry_photo: bytes | None
    exit_photo: bytes | None


_BY_SERIAL: Final = Statement(
    """
    select s.stay_id, s.plate_id, p.number, p.color, s.entered_at, s.left_at, s.state, s.lot_serial, s.scene, s.berth, s.lane_in,
           s.lane_out, s.entry_photo_digest, s.exit_photo_digest
    from payments.stay s join payments.plate p on p.plate_id = s.plate_id
    where s.lot_id = %(lot)s::integer and s.lane = %(lane)s::smallint and s.lot_serial = any(%(serials)s::text[])
    """
)
_NEIGHBOURS: Final = Statement(
    """
    select n.stay_id, n.plate_id, n.entered_at, n.left_at, n.state, n.lot_serial
    from unnest(%(plates)s::bigint[], %(times)s::timestamptz[]) as w (plate_id, entered_at)
    cross join lateral (
        select s.stay_id, s.plate_id, s.entered_at, s.left_at, s.state, s.lot_serial from payments.stay s
        where s.plate_id = w.plate_id and s.lot_id = %(lot)s::integer and s.lane = %(lane)s::smallint
        order by s.entered_at desc limit 1
    ) latest
    cross join lateral (
        select latest.* where latest.entered_at <= w.entered_at
        union all
        (select s.stay_id, s.plate_id, s.entered_at, s.left_at, s.state, s.lot_serial from payments.stay s
         where latest.entered_at > w.entered_at and s.plate_id = w.plate_id and s.lot_id = %(lot)s::integer
           and s.lane = %(lane)s::smallint and s.entered_at <= w.entered_at
         order by s.entered_at desc limit 1)
        union all
        (select s.stay_id, s.plate_id, s.entered_at, s.left_at, s.state, s.lot_serial from payments.stay s
         where latest.entered_at > w.entered_at and s.plate_id = w.plate_id and s.lot_id = %(lot)s::integer
           and s.lane = %(lane)s::smallint and s.entered_at > w.entered_at
         order by s.entered_at limit 1)
    ) n
    """
)
"""Records come in order mostly: then the latest stay of the plate is the one before, and none is behind."""
_INSERT: Final = Statement(
    """
    insert into payments.stay (stay_id, entered_at, left_at, created_at, completed_at, plate_id, operator_id, lot_id, lane, state,
                               scene, lot_serial, berth, lane_in, lane_out, entry_photo_digest, exit_photo_digest)
    select stay_id, entered_at, nullif(left_at, timestamptz 'epoch'), %(at)s::timestamptz,
           case when left_at > timestamptz 'epoch' then %(at)s::timestamptz end, plate_id, %(operator)s::integer, %(lot)s::integer,
           %(lane)s::smallint, state, scene, lot_serial, berth, lane_in, lane_out, entry_photo, exit_photo
    from unnest(%(ids)s::uuid[], %(entered)s::timestamptz[], %(left)s::timestamptz[], %(plates)s::bigint[], %(states)s::text[],
                %(scenes)s::text[], %(serials)s::text[], %(berths)s::text[], %(lanes_in)s::text[], %(lanes_out)s::text[],
                %(entry_photos)s::bytea[], %(exit_photos)s::bytea[])
         as n (stay_id, entered_at, left_at, plate_id, state, scene, lot_serial, berth, lane_in, lane_out, entry_photo, exit_photo)
    """
)
_COMPLETE: Final = Statement(
    """
    update payments.stay s
    set left_at = n.left_at, completed_at = %(at)s::timestamptz, state = 'out', berth = coalesce(s.berth, n.berth),
        lane_in = coalesce(s.lane_in, n.lane_in), lane_out = n.lane_out,
        entry_photo_digest = coalesce(s.entry_photo_digest, n.entry_photo), exit_photo_digest = n.exit_photo
    from unnest(%(ids)s::uuid[], %(left)s::timestamptz[], %(berths)s::text[], %(lanes_in)s::text[], %(lanes_out)s::text[],
                %(entry_photos)s::bytea[], %(exit_photos)s::bytea[])
         as n (stay_id, left_at, berth, lane_in, lane_out, entry_photo, exit_photo)
    where s.stay_id = n.stay_id and s.lane = %(lane)s::smallint
    """
)
_LOSE: Final = Statement(
    """
    update payments.stay set state = 'exit_unknown' where stay_id = any(%(ids)s::uuid[]) and lane = %(lane)s::smallint
    """
)
_COUNT: Final = Statement(
    """
    insert into payments.lot_day as d (lot_id, day, entries, exits)
    select %(lot)s::integer, date '1970-01-01' + n.day, n.entries, n.exits
    from unnest(%(days)s::integer[], %(entries)s::integer[], %(exits)s::integer[]) as n (day, entries, exits)
    order by n.day
    on conflict (lot_id, day) do update set entries = d.entries + excluded.entries, exits = d.exits + excluded.exits
    """
)


def by_serial(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, Full]:
    """Return the stays of a lot that have these serials."""
    [rows] = fire(tx, [_BY_SERIAL.shot(lane=smallint(lane), lot=integer(lot_id), serials=texts(serials))])
    return {row[7]: Full(*row) for row in rows}


def neighbours(
    tx: Connection, *, lane: int, lot_id: int, of: Sequence[tuple[int, datetime]]
) -> dict[UUID, Kept]:  # fmt: skip
    """Return for each plate and time the stay at or before it and the one behind it, each once."""
    if not of:
        return {}
    asked = _NEIGHBOURS.shot(
        lane=smallint(lane), lot=integer(lot_id), plates=bigints([plate for plate, _ in of]), times=instants([at for _, at in of])
    )
    [rows] = fire(tx, [asked])
    return {row[0]: Kept(*row) for row in rows}


def inserting(*, lane: int, lot: Lot, rows: Sequence[Row], at: datetime) -> list[Shot]:
    """Return what inserts new stays."""
    if not rows:
        return []
    kept = [row.kept for row in rows]
    return [
        _INSERT.shot(
            lane=smallint(lane), lot=integer(lot.lot_id), operator=integer(lot.operator_id), at=instant(at),
            ids=uuids([one.stay_id for one in kept]), entered=instants([one.entered_at for one in kept]),
            left=instants([one.left_at or NO_TIME for one in kept]), plates=bigints([one.plate_id for one in kept]),
            states=texts([one.state for one in kept]), scenes=texts([row.scene for row in rows]),
            serials=texts([one.serial for one in kept]), berths=texts([row.berth for row in rows]),
            lanes_in=texts([row.lane_in for row in rows]), lanes_out=texts([row.lane_out for row in rows]),
            entry_photos=blobs([row.entry_photo for row in rows]), exit_photos=blobs([row.exit_photo for row in rows]),
        )
    ]  # fmt: skip


def completing(*, lane: int, goings: Sequence[Going], at: datetime) -> list[Shot]:
    """Return what ends stays that are kept."""
    if not goings:
        return []
    return [
        _COMPLETE.shot(
            lane=smallint(lane), at=instant(at), ids=uuids([one.stay_id for one in goings]),
            left=instants([one.left_at for one in goings]), berths=texts([one.berth for one in goings]),
            lanes_in=texts([one.lane_in for one in goings]), lanes_out=texts([one.lane_out for one in goings]),
            entry_photos=blobs([one.entry_photo for one in goings]), exit_photos=blobs([one.exit_photo for one in goings]),
        )
    ]  # fmt: skip


def losing(*, lane: int, stay_ids: Sequence[UUID]) -> list[Shot]:
    """Return what marks stays whose going nobody saw."""
    return [_LOSE.shot(lane=smallint(lane), ids=uuids(stay_ids))] if stay_ids else []


_DAY_SECONDS: Final = 86_400
_CHINA_SECONDS: Final = 8 * 3_600
"""China has one offset, without summer time since 1991: older records than three years are not taken."""


def day_number(at: datetime) -> int:
    """Return the business date of an instant as days since 1970."""
    return int((at.timestamp() + _CHINA_SECONDS) // _DAY_SECONDS)


def counting(*, lot_id: int, entries: dict[int, int], exits: dict[int, int]) -> list[Shot]:
    """Return what adds cars that came and went to the days (since 1970) on which they did."""
    days = sorted(entries.keys() | exits.keys())
    if not days:
        return []
    return [
        _COUNT.shot(
            lot=integer(lot_id), days=integers(days), entries=integers([entries.get(day, 0) for day in days]),
            exits=integers([exits.get(day, 0) for day in days]),
        )
    ]  # fmt: skip
