"""What a stand-in remembers, in one SQLite file: orders, refunds, notices, merchants, files, remarks. The same for every channel.

Knows SQL; must not know HTTP, signatures or a channel's rules. Used from one thread at a time.
Instants are whole microseconds since 1970 (UTC). What only one channel has lies in ``details``, in that channel's own form.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, convert

from gateways.sandbox.faults import met
from gateways.sandbox.shapes import Fault, FaultKind, FaultPlan

_TABLES: Final = """
create table if not exists remark (name text primary key, value blob not null) without rowid;
create table if not exists merchant (merchant_no text primary key, name text not null) without rowid;
create table if not exists pay_order (
    merchant_no text not null, order_no text not null, amount_fen integer not null check (amount_fen > 0),
    state text not null, content blob not null, details blob not null, created_at integer not null, expires_at integer not null,
    handle text unique, trade_no text unique, paid_at integer, fee_fen integer,
    primary key (merchant_no, order_no)) without rowid;
create index if not exists pay_order_number on pay_order (order_no);
create index if not exists pay_order_paid on pay_order (paid_at) where paid_at is not null;
create index if not exists pay_order_of_merchant on pay_order (merchant_no, paid_at) where paid_at is not null;
create table if not exists refund (
    merchant_no text not null, refund_no text not null, order_no text not null, channel_refund_no text not null unique,
    refund_fen integer not null check (refund_fen > 0), fee_fen integer not null, content blob, details blob not null,
    accepted_at integer not null, ends text not null, ends_at integer not null,
    primary key (merchant_no, refund_no)) without rowid;
create index if not exists refund_of_order on refund (merchant_no, order_no, accepted_at);
create index if not exists refund_accepted on refund (accepted_at);
create table if not exists notice (
    notice_id text primary key, subject text not null, due_at integer not null, attempts integer not null default 0,
    state text not null default 'waiting', faults blob not null, details blob not null) without rowid;
create index if not exists notice_due on notice (due_at, subject, notice_id) where state = 'waiting';
create table if not exists file (name text primary key, content blob not null, expires_at integer) without rowid;
"""


class Order(Struct, frozen=True, kw_only=True):
    """An order at the channel; ``state`` is the channel's own word. The last three are set once it is paid."""

    merchant_no: str
    order_no: str
    amount_fen: int
    state: str
    content: bytes
    """The order call in canonical form: a repeat must equal it."""
    details: bytes
    created_at: int
    expires_at: int
    handle: str | None = None
    """What the cashier's page knows it by."""
    trade_no: str | None = None
    paid_at: int | None = None
    fee_fen: int | None = None


class Refund(Struct, frozen=True, kw_only=True):
    """A refund that the channel took on. How it ends is settled when it is accepted; until ``ends_at`` it is in process."""

    merchant_no: str
    refund_no: str
    order_no: str
    channel_refund_no: str
    refund_fen: int
    fee_fen: int
    """Commission given back with it."""
    content: bytes | None
    """The call in canonical form: a repeat must equal it. None: made in the merchant's console."""
    details: bytes = b"{}"
    accepted_at: int
    ends: str
    """The channel's own word for how it ends."""
    ends_at: int


class Notice(Struct, frozen=True, kw_only=True):
    """A notice: ``waiting`` for its next attempt, ``accepted`` or ``given_up``. ``faults`` is a tuple of faults as JSON."""

    notice_id: str
    subject: str
    """Number of the order that it speaks of."""
    due_at: int
    attempts: int = 0
    state: str = "waiting"
    faults: bytes = b"[]"
    details: bytes = b"{}"


class Store:
    """The file. Each method is one statement; ``together`` joins several into one transaction."""

    def __init__(self, path: Path, *, seed: str | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(_TABLES)
        self.seed = seed or self._remembered_seed()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Commit what happens inside as one, or nothing of it."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def _remembered_seed(self) -> str:
        if (kept := self.remark("seed")) is None:
            kept = secrets.token_hex(16).encode()
            self.set_remark("seed", kept)
        return kept.decode()

    # Remarks and faults

    def remark(self, name: str) -> bytes | None:
        row = self._one("select value from remark where name = ?", name)
        return None if row is None else bytes(row["value"])

    def set_remark(self, name: str, value: bytes) -> None:
        self._db.execute("insert into remark values (?, ?) on conflict (name) do update set value = excluded.value", (name, value))

    def next_number(self, name: str) -> int:
        """Count up under ``name`` and return the new number, from 1."""
        number = int(self.remark(name) or b"0") + 1
        self.set_remark(name, str(number).encode())
        return number

    def plan(self) -> FaultPlan:
        kept = self.remark("faults")
        return FaultPlan(faults=()) if kept is None else msgspec.json.decode(kept, type=FaultPlan)

    def set_plan(self, plan: FaultPlan) -> None:
        self.set_remark("faults", msgspec.json.encode(plan))

    def faults(
        self, kinds: Iterable[FaultKind], subject: str, *, bill_on: date | None = None, refund_no: str | None = None
    ) -> tuple[Fault, ...]:
        """Return the faults that meet ``subject`` (an order number, or a name of a bill) now; counts go down."""
        plan = self.plan()
        hit, left = met(plan, kinds, subject=subject, seed=self.seed, bill_on=bill_on, refund_no=refund_no)
        if left != plan:
            self.set_plan(left)
        return hit

    # Orders

    def order(self, merchant_no: str, order_no: str) -> Order | None:
        return _order(self._one("select * from pay_order where merchant_no = ? and order_no = ?", merchant_no, order_no))

    def order_by_number(self, order_no: str) -> Order | None:
        """Return an order whatever its merchant: our numbers are unique, and a control route names no merchant."""
        return _order(self._one("select * from pay_order where order_no = ?", order_no))

    def order_by_trade(self, trade_no: str) -> Order | None:
        return _order(self._one("select * from pay_order where trade_no = ?", trade_no))

    def order_by_handle(self, handle: str) -> Order | None:
        return _order(self._one("select * from pay_order where handle = ?", handle))

    def add_order(self, order: Order) -> None:
        self._insert("pay_order", order)

    def set_state(self, merchant_no: str, order_no: str, state: str) -> None:
        self._db.execute("update pay_order set state = ? where merchant_no = ? and order_no = ?", (state, merchant_no, order_no))

    def set_details(self, merchant_no: str, order_no: str, details: bytes) -> None:
        self._db.execute(
            "update pay_order set details = ? where merchant_no = ? and order_no = ?", (details, merchant_no, order_no)
        )

    def set_paid(self, merchant_no: str, order_no: str, *, state: str, trade_no: str, paid_at: int, fee_fen: int) -> None:
        self._db.execute(
            """update pay_order set state = ?, trade_no = ?, paid_at = ?, fee_fen = ?
               where merchant_no = ? and order_no = ? and paid_at is null""",
            (state, trade_no, paid_at, fee_fen, merchant_no, order_no),
        )

    def paid_between(self, begin: int, end: int, merchant_no: str) -> list[Order]:
        """Return a merchant's orders paid in ``[begin, end)``, by time and number."""
        rows = self._db.execute(
            "select * from pay_order where merchant_no = ? and paid_at >= ? and paid_at < ? order by paid_at, order_no",
            (merchant_no, begin, end),
        )
        return [convert(dict(row), Order) for row in rows]

    def latest_paid(self, merchant_no: str, limit: int, order_no: str | None = None) -> list[Order]:
        """Return a merchant's paid orders, the latest first; with ``order_no`` only that one."""
        rows = self._db.execute(
            """select * from pay_order where merchant_no = ? and paid_at is not null and (? is null or order_no = ?)
               order by paid_at desc, order_no limit ?""",
            (merchant_no, order_no, order_no, limit),
        )
        return [convert(dict(row), Order) for row in rows]

    # Refunds

    def refund(self, merchant_no: str, refund_no: str) -> Refund | None:
        row = self._one("select * from refund where merchant_no = ? and refund_no = ?", merchant_no, refund_no)
        return None if row is None else convert(dict(row), Refund)

    def add_refund(self, refund: Refund) -> None:
        self._insert("refund", refund)

    def refunds_of(self, merchant_no: str, order_no: str) -> list[Refund]:
        """Return an order's refunds in the order of acceptance, those that failed too."""
        rows = self._db.execute(
            "select * from refund where merchant_no = ? and order_no = ? order by accepted_at, refund_no", (merchant_no, order_no)
        )
        return [convert(dict(row), Refund) for row in rows]

    def latest_refunds(self, merchant_no: str, limit: int) -> list[Refund]:
        """Return a merchant's refunds, the latest first."""
        rows = self._db.execute(
            "select * from refund where merchant_no = ? order by accepted_at desc, refund_no limit ?", (merchant_no, limit)
        )
        return [convert(dict(row), Refund) for row in rows]

    def refunds_between(self, begin: int, end: int, merchant_no: str) -> list[Refund]:
        """Return a merchant's refunds accepted in ``[begin, end)``, by time and number."""
        rows = self._db.execute(
            "select * from refund where merchant_no = ? and accepted_at >= ? and accepted_at < ? order by accepted_at, refund_no",
            (merchant_no, begin, end),
        )
        return [convert(dict(row), Refund) for row in rows]

    # Notices

    def add_notice(self, notice: Notice) -> None:
        self._insert("notice", notice)

    def due_notices(self, at: int, limit: int) -> list[Notice]:
        """Return notices due at ``at``, in the order (due, subject, notice)."""
        rows = self._db.execute(
            "select * from notice where state = 'waiting' and due_at <= ? order by due_at, subject, notice_id limit ?", (at, limit)
        )
        return [convert(dict(row), Notice) for row in rows]

    def next_due(self) -> int | None:
        """Return when the next notice is due."""
        row = self._one("select min(due_at) as due_at from notice where state = 'waiting'")
        return None if row is None else row["due_at"]

    def waiting_notices(self) -> int:
        return self._count("select count(*) from notice where state = 'waiting'")

    def set_notice(self, notice_id: str, *, attempts: int, state: str, due_at: int) -> None:
        self._db.execute(
            "update notice set attempts = ?, state = ?, due_at = ? where notice_id = ?", (attempts, state, due_at, notice_id)
        )

    # Merchants

    def name_merchant(self, merchant_no: str, name: str) -> None:
        self._db.execute(
            "insert into merchant values (?, ?) on conflict (merchant_no) do update set name = excluded.name", (merchant_no, name)
        )

    def merchant_name(self, merchant_no: str) -> str | None:
        row = self._one("select name from merchant where merchant_no = ?", merchant_no)
        return None if row is None else str(row["name"])

    def balance_fen(self, merchant_no: str) -> int:
        """Return what a merchant has taken so far less commission and refunds."""
        return self._count(
            """select (select coalesce(sum(amount_fen - fee_fen), 0) from pay_order where merchant_no = ?1 and paid_at is not null)
                    - (select coalesce(sum(refund_fen - fee_fen), 0) from refund where merchant_no = ?1)""",
            merchant_no,
        )

    # Files: bills that were made, codes, whatever has a name and an end

    def put_file(self, name: str, content: bytes, *, expires_at: int | None = None) -> None:
        self._db.execute("insert or replace into file values (?, ?, ?)", (name, content, expires_at))

    def file(self, name: str) -> tuple[bytes, int | None] | None:
        """Return a file and its end."""
        row = self._one("select content, expires_at from file where name = ?", name)
        return None if row is None else (row["content"], row["expires_at"])

    def drop_file(self, name: str) -> None:
        self._db.execute("delete from file where name = ?", (name,))

    def _insert(self, table: str, record: Struct) -> None:
        fields = msgspec.structs.asdict(record)
        marks = ", ".join("?" * len(fields))
        self._db.execute(f"insert into {table} ({', '.join(fields)}) values ({marks})", tuple(fields.values()))

    def _one(self, sql: str, *values: object) -> sqlite3.Row | None:
        row: Any = self._db.execute(sql, values).fetchone()
        return row if isinstance(row, sqlite3.Row) else None

    def _count(self, sql: str, *values: object) -> int:
        return int(self._db.execute(sql, values).fetchone()[0])


def _order(row: sqlite3.Row | None) -> Order | None:
    return None if row is None else convert(dict(row), Order)
