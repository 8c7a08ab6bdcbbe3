"""What the stand-in remembers of the parking service: plates, entries, deductions under way.

Knows SQL; must not know HTTP, signatures or rules. Part of the state's file, used by the parking counter.
"""

import sqlite3
from typing import Final

from msgspec import Struct, convert, structs

PARKING_TABLES: Final = """
create table if not exists plate (
    plate text not null, color text not null, openid text not null, state text not null, pays text not null,
    opened_at integer not null, primary key (plate, color)) without rowid;
create table if not exists parking (
    parking_id text primary key, merchant_no text not null, out_parking_no text not null, plate text not null, color text not null,
    notify_url text not null, start_time text not null, lot_name text not null, free_duration integer not null,
    content blob not null, state text not null, reason text, live integer not null, changed_at integer not null,
    unique (merchant_no, out_parking_no)) without rowid;
create index if not exists parking_of_plate on parking (plate, color) where live = 1;
create table if not exists deduction (
    order_no text primary key, parking_id text not null unique, details blob not null, ends text not null,
    advanced integer not null, ends_at integer not null, repaid_at integer) without rowid;
create index if not exists deduction_due on deduction (ends_at);
"""


class Plate(Struct, frozen=True):
    """A plate whose owner opened the service. ``pays`` says how its deductions end: ``at_once``, ``later``, ``never``."""

    plate: str
    color: str
    openid: str
    state: str
    pays: str
    opened_at: int


class Parking(Struct, frozen=True):
    """A car's entry. ``live`` is 1 until a newer entry of the plate, or a deduction, uses it up."""

    parking_id: str
    merchant_no: str
    out_parking_no: str
    plate: str
    color: str
    notify_url: str
    start_time: str
    lot_name: str
    free_duration: int
    content: bytes
    state: str
    reason: str | None
    live: int
    changed_at: int


class Deduction(Struct, frozen=True):
    """What a deduction has beside its order. How it ends is settled when it is accepted; until ``ends_at`` it is in process."""

    order_no: str
    parking_id: str
    details: bytes
    """The stay, as the call gave it."""
    ends: str
    """SUCCESS or PAY_FAIL."""
    advanced: int
    """1: the channel paid in the payer's place."""
    ends_at: int
    repaid_at: int | None
    """When the payer gives back what was advanced."""


class ParkingState:
    """The tables of the parking service in the state's file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.executescript(PARKING_TABLES)

    def plate(self, plate: str, color: str) -> Plate | None:
        row = self._db.execute("select * from plate where plate = ? and color = ?", (plate, color)).fetchone()
        return None if row is None else convert(dict(row), Plate)

    def put_plate(self, plate: Plate) -> None:
        self._put("insert or replace", "plate", plate)

    def parking(self, parking_id: str) -> Parking | None:
        return _parking(self._db.execute("select * from parking where parking_id = ?", (parking_id,)).fetchone())

    def parking_by_number(self, merchant_no: str, out_parking_no: str) -> Parking | None:
        sql = "select * from parking where merchant_no = ? and out_parking_no = ?"
        return _parking(self._db.execute(sql, (merchant_no, out_parking_no)).fetchone())

    def live_parking(self, plate: str, color: str) -> Parking | None:
        return _parking(
            self._db.execute("select * from parking where plate = ? and color = ? and live = 1", (plate, color)).fetchone()
        )

    def add_parking(self, parking: Parking) -> None:
        """Add an entry; an older one of the plate is void."""
        self._db.execute("update parking set live = 0 where plate = ? and color = ?", (parking.plate, parking.color))
        self._put("insert", "parking", parking)

    def set_parking(self, parking_id: str, *, state: str, reason: str | None, at: int) -> None:
        self._db.execute(
            "update parking set state = ?, reason = ?, changed_at = ? where parking_id = ?", (state, reason, at, parking_id)
        )

    def use_up(self, parking_id: str) -> None:
        self._db.execute("update parking set live = 0 where parking_id = ?", (parking_id,))

    def deduction(self, order_no: str) -> Deduction | None:
        row = self._db.execute("select * from deduction where order_no = ?", (order_no,)).fetchone()
        return None if row is None else convert(dict(row), Deduction)

    def add_deduction(self, deduction: Deduction) -> None:
        self._put("insert", "deduction", deduction)

    def ended(self, at: int) -> list[Deduction]:
        """Return deductions whose end has come and is not yet booked, by time and number."""
        rows = self._db.execute(
            """select d.* from deduction d join pay_order o using (order_no)
               where d.ends_at <= ? and o.state = 'ACCEPTED' order by d.ends_at, d.order_no""",
            (at,),
        )
        return [convert(dict(row), Deduction) for row in rows]

    def _put(self, how: str, table: str, record: Struct) -> None:
        fields = structs.asdict(record)
        marks = ", ".join("?" * len(fields))
        self._db.execute(f"{how} into {table} ({', '.join(fields)}) values ({marks})", tuple(fields.values()))


def _parking(row: sqlite3.Row | None) -> Parking | None:
    return None if row is None else convert(dict(row), Parking)
