"""What the stand-in remembers, in one SQLite file: orders, refunds, notices, merchants, keys, codes, bill files, the fault plan.

Knows SQL; must not know HTTP, signatures or rules. Used by the sandbox's desk alone, from one thread at a time.
Instants are whole microseconds since 1970 (UTC).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, convert, structs

from gateways.sandbox.wechat.parking_state import ParkingState
from gateways.sandbox.wechat.shapes import RefundWord

_TABLES: Final = """
create table if not exists remark (name text primary key, value blob not null) without rowid;
create table if not exists merchant (merchant_no text primary key, name text not null) without rowid;
create table if not exists pay_order (
    order_no text primary key, merchant_no text not null, app_id text not null, sub_app_id text, description text not null,
    attach text, amount_fen integer not null check (amount_fen > 0), openid text not null, notify_url text not null,
    content blob not null, expires_at integer not null, created_at integer not null, state text not null default 'NOTPAY',
    trade_no text unique, paid_at integer, fee_fen integer, trade_type text not null default 'JSAPI',
    combined_no text) without rowid;
create table if not exists combined (
    combined_no text primary key, app_id text not null, openid text not null, notify_url text not null, content blob not null,
    expires_at integer not null, created_at integer not null, trade_type text not null, state text not null default 'NOTPAY',
    trade_no text unique, paid_at integer) without rowid;
create index if not exists pay_order_paid on pay_order (paid_at) where paid_at is not null;
create index if not exists pay_order_of_merchant on pay_order (merchant_no, paid_at) where paid_at is not null;
create table if not exists refund (
    refund_no text primary key, channel_refund_no text not null unique, order_no text not null, merchant_no text not null,
    refund_fen integer not null check (refund_fen > 0), fee_fen integer not null, content blob, notify_url text,
    accepted_at integer not null, ends text not null, ends_at integer not null, fails_at integer) without rowid;
create index if not exists refund_of_order on refund (order_no, accepted_at);
create index if not exists refund_of_merchant on refund (merchant_no, accepted_at);
create index if not exists refund_accepted on refund (accepted_at);
create table if not exists prepay (
    prepay_id text primary key, order_no text not null, made_at integer not null default 0, combined_no text) without rowid;
create table if not exists notice (
    notice_id text primary key, order_no text not null, due_at integer not null, attempts integer not null default 0,
    state text not null default 'waiting', faults blob not null, refund_no text, refund_word text, combined_no text,
    event text, told blob) without rowid;
create index if not exists notice_due on notice (due_at, order_no, notice_id) where state = 'waiting';
create table if not exists certificate (number integer primary key, certificate blob not null, key blob not null);
create table if not exists code (
    code text primary key, openid text not null, expires_at integer not null, used integer not null) without rowid;
create table if not exists bill_file (token text primary key, content blob not null, expires_at integer not null) without rowid;
"""
_LATER_COLUMNS: Final = {
    "notice": {"refund_no": "text", "refund_word": "text", "combined_no": "text", "event": "text", "told": "blob"},
    "pay_order": {"trade_type": "text not null default 'JSAPI'", "combined_no": "text"},
    "prepay": {"made_at": "integer not null default 0", "combined_no": "text"},
}


class Order(Struct, frozen=True):
    """An order at the channel: by itself, a leg of a combined one, or a deduction.

    ``state`` is NOTPAY, SUCCESS or CLOSED; of a deduction ACCEPTED, SUCCESS or PAY_FAIL. Trade number, time and commission are set
    once it is paid; ``openid`` then at the latest, where the order itself names no payer.
    """

    order_no: str
    merchant_no: str
    app_id: str
    sub_app_id: str | None
    description: str
    attach: str | None
    amount_fen: int
    openid: str
    notify_url: str
    content: bytes
    """The order call's body in canonical form: a repeat must equal it."""
    expires_at: int
    created_at: int
    state: str = "NOTPAY"
    trade_no: str | None = None
    paid_at: int | None = None
    fee_fen: int | None = None
    trade_type: str = "JSAPI"
    combined_no: str | None = None


class CombinedOrder(Struct, frozen=True):
    """A combined order; its legs are orders that name it. ``state`` is NOTPAY, SUCCESS or CLOSED, the same as that of each leg."""

    combined_no: str
    app_id: str
    openid: str
    notify_url: str
    content: bytes
    expires_at: int
    created_at: int
    trade_type: str
    state: str = "NOTPAY"
    trade_no: str | None = None
    paid_at: int | None = None


class Handle(Struct, frozen=True):
    """What the cashier's page knows an order by, or a combined one."""

    prepay_id: str
    order_no: str
    made_at: int
    combined_no: str | None


class Refund(Struct, frozen=True):
    """A refund that the channel took on. How it ends is settled when it is accepted; until ``ends_at`` it is in process."""

    refund_no: str
    channel_refund_no: str
    order_no: str
    merchant_no: str
    refund_fen: int
    fee_fen: int
    """Commission given back with it."""
    content: bytes | None
    """The call's body in canonical form: a repeat must equal it. None: made in the merchant's console."""
    notify_url: str | None
    """Where its notices go; None means nowhere."""
    accepted_at: int
    ends: RefundWord
    ends_at: int
    fails_at: int | None = None
    """When a success turns out to have failed after all."""

    def word(self, at: int) -> RefundWord:
        """Return what the channel says of it at an instant."""
        if at < self.ends_at:
            return "PROCESSING"
        return "ABNORMAL" if self.fails_at is not None and at >= self.fails_at else self.ends


class Notice(Struct, frozen=True):
    """A notice: ``waiting`` for its next attempt, ``accepted`` or ``given_up``. ``faults`` is a tuple of faults as JSON.

    A refund's notice names the refund and the word that it tells of it.
    """

    notice_id: str
    order_no: str
    due_at: int
    attempts: int
    state: str
    faults: bytes
    refund_no: str | None = None
    refund_word: RefundWord | None = None
    combined_no: str | None = None
    event: str | None = None
    """Of a deduction or an entry: what the notice tells."""
    told: bytes | None = None
    """Of an entry: its plaintext, as things stood when they changed."""


class Takings(Struct, frozen=True):
    """What a merchant has taken and refunded so far. Closed refunds do not count: their money stayed."""

    merchant_no: str
    name: str
    payments: int
    taken_fen: int
    fee_fen: int
    """Commission kept at the payments."""
    refunds: int
    refunded_fen: int
    fee_returned_fen: int
    """Commission given back with the refunds."""

    @property
    def net_fen(self) -> int:
        """What is left: takings less commission, less refunds whose commission came back."""
        return self.taken_fen - self.fee_fen - self.refunded_fen + self.fee_returned_fen


class State:
    """The file. Each method is one statement; ``together`` joins several into one transaction."""

    def __init__(self, path: Path | str) -> None:
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(_TABLES)
        self._add_missing_columns()
        self.parking = ParkingState(self._db)

    def _add_missing_columns(self) -> None:
        """Take up a file that was written before there were refunds, combined orders and other ways to pay."""
        for table, columns in _LATER_COLUMNS.items():
            known = {row["name"] for row in self._db.execute(f"pragma table_info({table})")}
            for name, kind in columns.items():
                if name not in known:
                    self._db.execute(f"alter table {table} add column {name} {kind}")
        self._db.execute("create index if not exists pay_order_leg on pay_order (combined_no) where combined_no is not null")

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

    # Remarks: seed and fault plan

    def remark(self, name: str) -> bytes | None:
        row = self._one("select value from remark where name = ?", name)
        return None if row is None else bytes(row["value"])

    def set_remark(self, name: str, value: bytes) -> None:
        self._db.execute("insert into remark values (?, ?) on conflict (name) do update set value = excluded.value", (name, value))

    # Orders

    def order(self, order_no: str) -> Order | None:
        return _order(self._one("select * from pay_order where order_no = ?", order_no))

    def order_by_trade(self, trade_no: str) -> Order | None:
        return _order(self._one("select * from pay_order where trade_no = ?", trade_no))

    def add_order(self, order: Order) -> None:
        self._insert("pay_order", order)

    def handle(self, prepay_id: str) -> Handle | None:
        row = self._one("select * from prepay where prepay_id = ?", prepay_id)
        return None if row is None else convert(dict(row), Handle)

    def add_handle(self, handle: Handle) -> None:
        self._insert("prepay", handle)

    def handles(self, order_no: str, combined_no: str | None = None) -> int:
        """How many times the order was called for."""
        return self._count("select count(*) from prepay where order_no = ? and combined_no is ?", order_no, combined_no)

    def close_order(self, order_no: str) -> None:
        self._db.execute("update pay_order set state = 'CLOSED' where order_no = ? and state = 'NOTPAY'", (order_no,))

    def set_paid(self, order_no: str, *, trade_no: str, paid_at: int, fee_fen: int, openid: str) -> None:
        self._db.execute(
            """update pay_order set state = 'SUCCESS', trade_no = ?, paid_at = ?, fee_fen = ?, openid = ?
               where order_no = ? and state in ('NOTPAY', 'ACCEPTED')""",
            (trade_no, paid_at, fee_fen, openid, order_no),
        )

    def set_failed(self, order_no: str) -> None:
        """End a deduction without money."""
        self._db.execute("update pay_order set state = 'PAY_FAIL' where order_no = ? and state = 'ACCEPTED'", (order_no,))

    # Combined orders

    def combined(self, combined_no: str) -> CombinedOrder | None:
        row = self._one("select * from combined where combined_no = ?", combined_no)
        return None if row is None else convert(dict(row), CombinedOrder)

    def add_combined(self, combined: CombinedOrder) -> None:
        self._insert("combined", combined)

    def legs(self, combined_no: str) -> list[Order]:
        """Return the legs of a combined order, by number."""
        rows = self._db.execute("select * from pay_order where combined_no = ? order by order_no", (combined_no,))
        return [convert(dict(row), Order) for row in rows]

    def close_combined(self, combined_no: str) -> None:
        """Close a combined order with all its legs. Called inside ``together``."""
        self._db.execute("update combined set state = 'CLOSED' where combined_no = ? and state = 'NOTPAY'", (combined_no,))
        self._db.execute("update pay_order set state = 'CLOSED' where combined_no = ? and state = 'NOTPAY'", (combined_no,))

    def set_combined_paid(self, combined_no: str, *, trade_no: str, paid_at: int, openid: str) -> None:
        self._db.execute(
            """update combined set state = 'SUCCESS', trade_no = ?, paid_at = ?, openid = ?
               where combined_no = ? and state = 'NOTPAY'""",
            (trade_no, paid_at, openid, combined_no),
        )

    def paid_between(self, begin: int, end: int, merchant_no: str | None) -> Iterator[Order]:
        """Yield the orders paid in ``[begin, end)``, by time and number."""
        rows = self._db.execute(
            """select * from pay_order where paid_at >= ? and paid_at < ? and (? is null or merchant_no = ?)
               order by paid_at, order_no""",
            (begin, end, merchant_no, merchant_no),
        )
        for row in rows:
            yield convert(dict(row), Order)

    def latest_paid(self, merchant_no: str, limit: int, order_no: str | None = None) -> list[Order]:
        """Return a merchant's paid orders, the latest first; with ``order_no`` only that one."""
        rows = self._db.execute(
            """select * from pay_order where merchant_no = ? and paid_at is not null and (? is null or order_no = ?)
               order by paid_at desc, order_no limit ?""",
            (merchant_no, order_no, order_no, limit),
        )
        return [convert(dict(row), Order) for row in rows]

    # Refunds

    def refund(self, refund_no: str) -> Refund | None:
        row = self._one("select * from refund where refund_no = ?", refund_no)
        return None if row is None else convert(dict(row), Refund)

    def add_refund(self, refund: Refund) -> None:
        self._insert("refund", refund)

    def refunds_of(self, order_no: str) -> list[Refund]:
        """Return an order's refunds in the order of acceptance, the closed ones too."""
        rows = self._db.execute("select * from refund where order_no = ? order by accepted_at, refund_no", (order_no,))
        return [convert(dict(row), Refund) for row in rows]

    def latest_refunds(self, merchant_no: str, limit: int) -> list[Refund]:
        """Return a merchant's refunds, the latest first."""
        rows = self._db.execute(
            "select * from refund where merchant_no = ? order by accepted_at desc, refund_no limit ?", (merchant_no, limit)
        )
        return [convert(dict(row), Refund) for row in rows]

    def refunds_between(self, begin: int, end: int, merchant_no: str | None) -> Iterator[Refund]:
        """Yield the refunds accepted in ``[begin, end)``, by time and number."""
        rows = self._db.execute(
            """select * from refund where accepted_at >= ? and accepted_at < ? and (? is null or merchant_no = ?)
               order by accepted_at, refund_no""",
            (begin, end, merchant_no, merchant_no),
        )
        for row in rows:
            yield convert(dict(row), Refund)

    # Notices

    def add_notice(self, notice: Notice) -> None:
        self._insert("notice", notice)

    def due_notices(self, at: int, limit: int) -> list[Notice]:
        """Return notices due at ``at``, in the order (due, order number, notice)."""
        rows = self._db.execute(
            "select * from notice where state = 'waiting' and due_at <= ? order by due_at, order_no, notice_id limit ?", (at, limit)
        )
        return [convert(dict(row), Notice) for row in rows]

    def next_due(self) -> int | None:
        """Return when the next notice is due."""
        row = self._one("select min(due_at) as due_at from notice where state = 'waiting'")
        return None if row is None else row["due_at"]

    def notices_about(self, order_no: str) -> int:
        """Return how many notices there have been about an order or an entry."""
        return self._count("select count(*) from notice where order_no = ?", order_no)

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

    def takings(self, at: int, merchant_no: str | None = None) -> list[Takings]:
        """Return what each merchant (or one) has taken and refunded up to ``at``, by merchant number."""
        rows = self._db.execute(
            """with back as (
                   select merchant_no, count(*) as refunds, sum(refund_fen) as refunded_fen, sum(fee_fen) as fee_returned_fen
                   from refund where not (ends = 'CLOSED' and ends_at <= :at) group by merchant_no)
               select o.merchant_no, coalesce(m.name, '') as name, count(*) as payments, sum(o.amount_fen) as taken_fen,
                      sum(o.fee_fen) as fee_fen, coalesce(b.refunds, 0) as refunds, coalesce(b.refunded_fen, 0) as refunded_fen,
                      coalesce(b.fee_returned_fen, 0) as fee_returned_fen
               from pay_order o left join merchant m using (merchant_no) left join back b using (merchant_no)
               where o.paid_at is not null and (:merchant_no is null or o.merchant_no = :merchant_no)
               group by o.merchant_no order by o.merchant_no""",
            {"at": at, "merchant_no": merchant_no},
        )
        return [convert(dict(row), Takings) for row in rows]

    def balance_fen(self, merchant_no: str, *, since: int, at: int) -> int:
        """Return what a merchant has taken since an instant less commission and refunds; below zero when it refunded more."""
        return self._count(
            """select (select coalesce(sum(amount_fen - fee_fen), 0) from pay_order where merchant_no = ?1 and paid_at >= ?2)
                    - (select coalesce(sum(refund_fen - fee_fen), 0) from refund
                       where merchant_no = ?1 and accepted_at >= ?2 and not (ends = 'CLOSED' and ends_at <= ?3))""",
            merchant_no, since, at,
        )  # fmt: skip

    # Keys, codes, bill files

    def certificates(self) -> list[tuple[bytes, bytes]]:
        """Return platform certificates and their keys, oldest first."""
        rows = self._db.execute("select certificate, key from certificate order by number")
        return [(row["certificate"], row["key"]) for row in rows]

    def add_certificate(self, certificate: bytes, key: bytes) -> None:
        self._db.execute("insert into certificate (certificate, key) values (?, ?)", (certificate, key))

    def add_code(self, code: str, openid: str, expires_at: int) -> None:
        self._db.execute("insert into code values (?, ?, ?, 0)", (code, openid, expires_at))

    def use_code(self, code: str) -> tuple[str, int, bool] | None:
        """Mark a code as used; return its openid, its end and whether it had been used before."""
        row = self._one("select openid, expires_at, used from code where code = ?", code)
        if row is None:
            return None
        self._db.execute("update code set used = 1 where code = ?", (code,))
        return row["openid"], row["expires_at"], bool(row["used"])

    def add_bill_file(self, token: str, content: bytes, expires_at: int) -> None:
        self._db.execute("delete from bill_file where expires_at < ?", (expires_at - 3_600_000_000,))
        self._db.execute("insert or replace into bill_file values (?, ?, ?)", (token, content, expires_at))

    def bill_file(self, token: str) -> tuple[bytes, int] | None:
        row = self._one("select content, expires_at from bill_file where token = ?", token)
        return None if row is None else (row["content"], row["expires_at"])

    def _insert(self, table: str, record: Struct) -> None:
        fields = structs.asdict(record)
        marks = ", ".join("?" * len(fields))
        self._db.execute(f"insert into {table} ({', '.join(fields)}) values ({marks})", tuple(fields.values()))

    def _one(self, sql: str, *values: object) -> sqlite3.Row | None:
        row: Any = self._db.execute(sql, values).fetchone()
        return row if isinstance(row, sqlite3.Row) else None

    def _count(self, sql: str, *values: object) -> int:
        return int(self._db.execute(sql, values).fetchone()[0])


def _order(row: sqlite3.Row | None) -> Order | None:
    return None if row is None else convert(dict(row), Order)
