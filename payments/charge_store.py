"""The questions that posting charges asks of PostgreSQL, set by set, ten thousand at a time. Called by ``payments.charges``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from ledger.arrays import bigints, blobs, instant, instants, integer, integers, smallint, texts, uuids
from ledger.volley import Statement, fire
from payments.lot_records.intake import NO_TIME
from payments.lots import Lot
from payments.plates import PlateColor


class Kept(Struct, frozen=True, gc=False):
    """A charge's content, and its id: what a second post of its serial may not contradict."""

    charge_id: UUID
    lot_serial: str
    plate: str
    plate_color: PlateColor
    entered_at: datetime
    left_at: datetime | None
    minutes: int
    amount_fen: int
    tariff_text: str
    scene: str


_BY_SERIAL: Final = Statement(
    """
    select c.charge_id, c.lot_serial, p.number, p.color, c.entered_at, c.left_at, c.minutes, c.amount_fen, c.tariff_text, c.scene
    from payments.charge c join payments.plate p on p.plate_id = c.plate_id
    where c.lane = %(lane)s::smallint and c.lot_id = %(lot)s::integer and c.lot_serial = any(%(serials)s::text[])
    """
)
_INSERT: Final = Statement(
    """
    insert into payments.charge (charge_id, lane, operator_id, lot_id, lot_serial, content_digest, plate_id, scene, entered_at,
                                 left_at, minutes, amount_fen, tariff_text, state, created_at)
    select charge_id, %(lane)s::smallint, %(operator)s::integer, %(lot)s::integer, lot_serial, content_digest, plate_id, scene,
           entered_at, nullif(left_at, timestamptz 'epoch'), minutes, amount_fen, tariff_text, 'open', %(at)s::timestamptz
    from unnest(%(ids)s::uuid[], %(serials)s::text[], %(digests)s::bytea[], %(plates)s::bigint[], %(scenes)s::text[],
                %(entered)s::timestamptz[], %(left)s::timestamptz[], %(minutes)s::integer[], %(amounts)s::bigint[],
                %(tariffs)s::text[])
         as n (charge_id, lot_serial, content_digest, plate_id, scene, entered_at, left_at, minutes, amount_fen, tariff_text)
    on conflict (lane, lot_id, lot_serial) do nothing
    returning lot_serial
    """
)


def by_serial(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, Kept]:
    """Return the charges of a lot that have these serials."""
    [rows] = fire(tx, [_BY_SERIAL.shot(lane=smallint(lane), lot=integer(lot_id), serials=texts(serials))])
    return {row[1]: Kept(*row) for row in rows}


def insert(
    tx: Connection, *, lane: int, lot: Lot, charges: Sequence[Kept], plates: Sequence[int], digests: Sequence[bytes], at: datetime
) -> set[str]:
    """Insert charges in the order given; returns the serials that were new."""
    asked = _INSERT.shot(
        lane=smallint(lane), operator=integer(lot.operator_id), lot=integer(lot.lot_id), at=instant(at),
        ids=uuids([x.charge_id for x in charges]), serials=texts([x.lot_serial for x in charges]), digests=blobs(digests),
        plates=bigints(plates), scenes=texts([x.scene for x in charges]), entered=instants([x.entered_at for x in charges]),
        left=instants([x.left_at or NO_TIME for x in charges]), minutes=integers([x.minutes for x in charges]),
        amounts=bigints([x.amount_fen for x in charges]), tariffs=texts([x.tariff_text for x in charges]),
    )  # fmt: skip
    [rows] = fire(tx, [asked])
    return {row[0] for row in rows}
