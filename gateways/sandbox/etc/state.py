"""What the ETC stand-in remembers beyond the common store: plates, list changes, messages seen, packages, disputes, clearing days.

Knows SQL; must not know HTTP, signatures or rules. Used from one thread at a time. Instants are microseconds since 1970.
In ``pay_order`` the column ``expires_at`` is when a charge that is taken on is decided.
"""

from datetime import date
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, convert

from gateways.etc.clearing import Package
from gateways.sandbox.etc.shapes import Answered, Behaviour
from gateways.sandbox.store import Order, Refund, Store

_TABLES: Final = """
create table if not exists plate (
    plate text not null, colour integer not null, signed integer not null, listed integer not null, balance_fen integer,
    answer text not null, reason integer not null, sign_no text not null, primary key (plate, colour)) without rowid;
create table if not exists listing (
    version integer primary key, kind text not null, province text not null, entry text not null, is_added integer not null);
create table if not exists seen (
    sender text not null, msg_id text not null, fingerprint text not null, reply blob not null,
    primary key (sender, msg_id)) without rowid;
create table if not exists lot (lot_no text primary key, merchant_no text not null) without rowid;
create table if not exists free_charge (
    order_no text primary key, merchant_no text not null, content blob not null, details blob not null,
    paid_at integer not null) without rowid;
create table if not exists bad_charge (
    order_no text primary key, merchant_no text not null, bad_at integer not null) without rowid;
create table if not exists package (
    message_no text primary key, clear_on text not null, content blob not null, wire text not null, received_at integer not null,
    cleared_on text) without rowid;
create table if not exists dispute (
    message_no text not null, trans_no integer not null, fee_fen integer not null, reason integer not null, outcome integer,
    file_no text, primary key (message_no, trans_no)) without rowid;
create table if not exists dispute_file (
    file_no text primary key, content blob not null, count integer not null, amount_fen integer not null,
    cleared_on text) without rowid;
create table if not exists outgoing (
    name text primary key, message_no text not null, due_at integer not null, attempts integer not null default 0,
    state text not null default 'waiting', details blob not null) without rowid;
create table if not exists clearing_day (clear_on text primary key, content blob not null) without rowid;
create index if not exists pay_order_open on pay_order (expires_at) where state in ('ACCEPTED', 'UNKNOWN');
create index if not exists refund_done on refund (ends_at) where ends = 'DONE';
"""


class PlateAccount(Struct, frozen=True, kw_only=True):
    """A plate at its issuer."""

    plate: str
    colour: int
    signed: bool
    listed: bool
    balance_fen: int | None
    answer: Answered
    reason: int
    sign_no: str


class FreeCharge(Struct, frozen=True):
    """A charge of nothing: it makes the driver's list complete and moves no money."""

    order_no: str
    merchant_no: str
    content: bytes
    details: bytes
    paid_at: int


class Kept(Struct, frozen=True):
    """A package as it came. ``cleared_on`` is the clearing date that listed it."""

    package: Package
    clear_on: date
    wire: str
    received_at: int
    cleared_on: date | None


class Dispute(Struct, frozen=True):
    """A disputed charge; ``outcome`` and ``file_no`` once it is settled."""

    message_no: str
    trans_no: int
    fee_fen: int
    reason: int
    outcome: int | None = None
    file_no: str | None = None


class DisputeFile(Struct, frozen=True):
    """A file that settled disputes; ``count`` and ``amount_fen`` are what it released."""

    file_no: str
    content: bytes
    count: int
    amount_fen: int
    cleared_on: str | None = None


class Outgoing(Struct, frozen=True, kw_only=True):
    """A message to be sent over TCP: ``waiting``, ``sent`` or ``given_up``."""

    name: str
    message_no: str
    due_at: int
    details: bytes
    attempts: int = 0
    state: str = "waiting"


class EtcStore(Store):
    """The file. Each method is one statement; ``together`` joins several into one transaction."""

    def __init__(self, path: Path, *, seed: str | None = None) -> None:
        super().__init__(path, seed=seed)
        self._db.executescript(_TABLES)

    # How it behaves

    def behaviour(self) -> Behaviour:
        kept = self.remark("behaviour")
        return Behaviour() if kept is None else msgspec.json.decode(kept, type=Behaviour)

    def set_behaviour(self, behaviour: Behaviour) -> None:
        self.set_remark("behaviour", msgspec.json.encode(behaviour))

    # Plates and lists

    def plate(self, plate: str, colour: int) -> PlateAccount | None:
        row = self._one("select * from plate where plate = ? and colour = ?", plate, colour)
        return None if row is None else convert(dict(row), PlateAccount, strict=False)

    def set_plate(self, account: PlateAccount) -> None:
        values = tuple(msgspec.structs.asdict(account).values())
        self._db.execute("insert or replace into plate values (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def latest_plates(self, limit: int) -> list[PlateAccount]:
        rows = self._db.execute("select * from plate order by plate, colour limit ?", (limit,))
        return [convert(dict(row), PlateAccount, strict=False) for row in rows]

    def list_change(self, *, kind: str, province: str, entry: str, is_added: bool) -> None:
        self._db.execute(
            "insert into listing (kind, province, entry, is_added) values (?, ?, ?, ?)", (kind, province, entry, is_added)
        )

    def listing(self, *, kind: str, province: str, since: int, until: int) -> list[tuple[int, str, bool]]:
        """Return changes with a version in ``(since, until]``: version, entry, whether it was added."""
        rows = self._db.execute(
            "select * from listing where kind = ? and province = ? and version > ? and version <= ? order by version",
            (kind, province, since, until),
        )
        return [(row["version"], row["entry"], bool(row["is_added"])) for row in rows]

    def last_version(self) -> int:
        """Return the version of the latest change of any list."""
        return self._count("select coalesce(max(version), 0) from listing")

    # Messages

    def seen(self, sender: str, msg_id: str) -> tuple[str, bytes] | None:
        """Return fingerprint and reply of a message that came before."""
        row = self._one("select * from seen where sender = ? and msg_id = ?", sender, msg_id)
        return None if row is None else (row["fingerprint"], row["reply"])

    def set_seen(self, sender: str, msg_id: str, fingerprint: str, reply: bytes) -> None:
        self._db.execute("insert into seen values (?, ?, ?, ?)", (sender, msg_id, fingerprint, reply))

    # Charges by plate

    def open_orders(self, at: int) -> list[Order]:
        """Return charges taken on whose decision is due."""
        rows = self._db.execute(
            "select * from pay_order where state in ('ACCEPTED', 'UNKNOWN') and expires_at <= ? order by expires_at, order_no",
            (at,),
        )
        return [convert(dict(row), Order) for row in rows]

    def free_charge(self, order_no: str) -> FreeCharge | None:
        row = self._one("select * from free_charge where order_no = ?", order_no)
        return None if row is None else convert(dict(row), FreeCharge)

    def add_free_charge(self, charge: FreeCharge) -> None:
        self._insert("free_charge", charge)

    def free_between(self, begin: int, end: int, merchant_no: str) -> list[FreeCharge]:
        rows = self._db.execute(
            "select * from free_charge where merchant_no = ? and paid_at >= ? and paid_at < ? order by paid_at, order_no",
            (merchant_no, begin, end),
        )
        return [convert(dict(row), FreeCharge) for row in rows]

    def refunds_done_between(self, begin: int, end: int, merchant_no: str) -> list[Refund]:
        rows = self._db.execute(
            """select * from refund where merchant_no = ? and ends = 'DONE' and ends_at >= ? and ends_at < ?
               order by ends_at, refund_no""",
            (merchant_no, begin, end),
        )
        return [convert(dict(row), Refund) for row in rows]

    def refund_by_number(self, refund_no: str) -> Refund | None:
        row = self._one("select * from refund where refund_no = ?", refund_no)
        return None if row is None else convert(dict(row), Refund)

    def balance_fen(self, merchant_no: str) -> int:
        """Return what a merchant has taken so far less commission and the refunds whose money went or goes back."""
        return self._count(
            """select (select coalesce(sum(amount_fen - fee_fen), 0) from pay_order where merchant_no = ?1 and state = 'PAID')
                    - (select coalesce(sum(refund_fen - fee_fen), 0) from refund where merchant_no = ?1 and ends = 'DONE')""",
            merchant_no,
        )

    def bad_at(self, order_no: str) -> int | None:
        """Return when a charge that had been paid became bad."""
        row = self._one("select bad_at from bad_charge where order_no = ?", order_no)
        return None if row is None else int(row["bad_at"])

    def add_bad(self, order_no: str, merchant_no: str, at: int) -> None:
        self._db.execute("insert into bad_charge values (?, ?, ?)", (order_no, merchant_no, at))

    def bad_between(self, begin: int, end: int, merchant_no: str) -> list[Order]:
        """Return a merchant's charges that became bad in ``[begin, end)``, by time and number."""
        rows = self._db.execute(
            """select o.* from bad_charge b join pay_order o on o.order_no = b.order_no and o.merchant_no = b.merchant_no
               where b.merchant_no = ? and b.bad_at >= ? and b.bad_at < ? order by b.bad_at, b.order_no""",
            (merchant_no, begin, end),
        )
        return [convert(dict(row), Order) for row in rows]

    # Lots

    def merchant_of(self, lot_no: str) -> str:
        """Return whose a car park is; one that nobody named stands for itself."""
        row = self._one("select merchant_no from lot where lot_no = ?", lot_no)
        return lot_no if row is None else str(row["merchant_no"])

    def set_lot(self, lot_no: str, merchant_no: str) -> None:
        self._db.execute("insert or replace into lot values (?, ?)", (lot_no, merchant_no))

    # Packages

    def package(self, message_no: str) -> Kept | None:
        row = self._one("select * from package where message_no = ?", message_no)
        return None if row is None else _kept(row["content"], row["clear_on"], row["wire"], row["received_at"], row["cleared_on"])

    def add_package(self, kept: Kept) -> None:
        self._db.execute(
            "insert into package values (?, ?, ?, ?, ?, null)",
            (kept.package.message_no, kept.clear_on.isoformat(), msgspec.msgpack.encode(kept.package), kept.wire, kept.received_at),
        )

    def packages(self, *, clear_on: date | None = None, uncleared: bool = False) -> list[Kept]:
        rows = self._db.execute(
            "select * from package where (?1 is null or clear_on = ?1) and (?2 = 0 or cleared_on is null) order by message_no",
            (None if clear_on is None else clear_on.isoformat(), uncleared),
        )
        return [_kept(row["content"], row["clear_on"], row["wire"], row["received_at"], row["cleared_on"]) for row in rows]

    def set_cleared(self, message_no: str, clear_on: date) -> None:
        self._db.execute("update package set cleared_on = ? where message_no = ?", (clear_on.isoformat(), message_no))

    def disputes(self, message_no: str) -> list[Dispute]:
        rows = self._db.execute("select * from dispute where message_no = ? order by trans_no", (message_no,))
        return [convert(dict(row), Dispute) for row in rows]

    def add_dispute(self, dispute: Dispute) -> None:
        self._insert("dispute", dispute)

    def settle(self, message_no: str, trans_no: int, *, outcome: int, file_no: str) -> None:
        self._db.execute(
            "update dispute set outcome = ?, file_no = ? where message_no = ? and trans_no = ?",
            (outcome, file_no, message_no, trans_no),
        )

    def all_disputes(self) -> list[Dispute]:
        rows = self._db.execute("select * from dispute order by message_no, trans_no")
        return [convert(dict(row), Dispute) for row in rows]

    def add_dispute_file(self, file: DisputeFile) -> None:
        self._insert("dispute_file", file)

    def dispute_file(self, file_no: str) -> DisputeFile | None:
        row = self._one("select * from dispute_file where file_no = ?", file_no)
        return None if row is None else convert(dict(row), DisputeFile)

    def uncleared_files(self) -> list[DisputeFile]:
        rows = self._db.execute("select * from dispute_file where cleared_on is null order by file_no")
        return [convert(dict(row), DisputeFile) for row in rows]

    def set_file_cleared(self, file_no: str, clear_on: date) -> None:
        self._db.execute("update dispute_file set cleared_on = ? where file_no = ?", (clear_on.isoformat(), file_no))

    def add_outgoing(self, outgoing: Outgoing) -> None:
        self._insert("outgoing", outgoing)

    def due_outgoing(self, at: int, limit: int) -> list[Outgoing]:
        rows = self._db.execute(
            "select * from outgoing where state = 'waiting' and due_at <= ? order by due_at, name limit ?", (at, limit)
        )
        return [convert(dict(row), Outgoing) for row in rows]

    def set_outgoing(self, name: str, *, attempts: int, state: str, due_at: int) -> None:
        self._db.execute("update outgoing set attempts = ?, state = ?, due_at = ? where name = ?", (attempts, state, due_at, name))

    def clearing_day(self, clear_on: date) -> bytes | None:
        row = self._one("select content from clearing_day where clear_on = ?", clear_on.isoformat())
        return None if row is None else bytes(row["content"])

    def add_clearing_day(self, clear_on: date, content: bytes) -> None:
        self._db.execute("insert into clearing_day values (?, ?)", (clear_on.isoformat(), content))


def _kept(content: bytes, clear_on: str, wire: str, received_at: int, cleared_on: str | None) -> Kept:
    package = msgspec.msgpack.decode(content, type=Package)
    return Kept(
        package, date.fromisoformat(clear_on), wire, received_at, None if cleared_on is None else date.fromisoformat(cleared_on)
    )
