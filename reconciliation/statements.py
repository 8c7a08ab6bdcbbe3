"""The operator's statement 对账单 of a day: what was booked for it, line by line, read at a seal and verifiable without us.

Knows extracts of the book and the published views of payments; must not know HTTP. Called by the API and the exports.
"""

import base64
import binascii
import struct
from collections.abc import Sequence
from datetime import date, datetime
from typing import ClassVar, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import extracts
from ledger.accounts import Account, clearing
from ledger.errors import NotFound, Refused
from ledger.extracts import ExtractTotal, NumberedEntry, Seal
from ledger.ids import payment_number, refund_number, source_of
from ledger.journal import REVERSAL, EntryKind

LIMIT_DEFAULT: Final = 500
LIMIT_MAX: Final = 5_000
CHANNELS: Final = ("alipay", "cash", "etc", "legacy", "unionpay", "wechat")
"""cash, legacy: what lots take by hand; no bill of a channel proves it."""

_CURSOR: Final = struct.Struct(">BiiHqq")
_CURSOR_VERSION: Final = 1
_CHANNEL_OF: Final = {int(clearing(channel)): channel for channel in CHANNELS}


class StatementCursorRefused(Refused):
    """A cursor that belongs to another statement or was not made by us."""

    code: ClassVar[str] = "cursor_invalid"


class StatementLine(Struct, frozen=True, kw_only=True):
    """One entry. ``number`` is the operator's own count from its first entry on: a gap would show.

    ``kind``: ``payment`` (a charge was paid), ``suspense`` (money came that nothing was owed for: to be refunded), ``bad_debt``
    (the channel took a payment back: the charge is due again), the other kinds by the names of the facts, each also with
    ``_reversed`` behind it.
    """

    number: int
    leaf_index: int
    entry_id: UUID
    kind: str
    channel: str | None
    amount_fen: int
    happened_at: datetime
    receipt: str | None = None
    """Payment number: what the payer's receipt and the channel's bill say; of a refund, that of the payment it refunds."""
    refund: str | None = None
    """Refund number, on lines of refunds."""
    lot_code: str | None = None
    lot_name: str | None = None
    charge_serial: str | None = None
    """The lot's own number of the charge."""


class StatementTotal(Struct, frozen=True):
    """Sum of a day's lines of one channel and kind, over all pages."""

    channel: str | None
    kind: str
    entries: int
    amount_fen: int


class Statement(Struct, frozen=True, kw_only=True):
    """A page of an operator's statement. All pages of one reading carry the same seal, totals and checkpoint.

    ``cursor`` is to be sent for the next page; None on the last. Before anything was sealed, ``tree_size`` is 0 and there is no
    checkpoint.
    """

    operator_code: str
    operator_name: str
    booked_on: date
    lane: int
    tree_size: int
    sealed_at: datetime | None
    checkpoint: str | None
    totals: list[StatementTotal]
    lines: list[StatementLine]
    cursor: str | None = None


class Party(Struct, frozen=True):
    """Whose statement it is."""

    operator_id: int
    lane: int
    book_id: int
    code: str
    legal_name: str


def party(tx: Connection, *, operator_code: str) -> Party:
    """Return the operator that keeps a book. Raises NotFound (``operator_not_found``)."""
    query = text("select operator_id, lane, book_id, code, legal_name from payments.v_operator where code = :code")
    row = tx.execute(query, {"code": operator_code}).first()
    if row is None:
        raise NotFound(f"there is no operator {operator_code}", code="operator_not_found")
    return Party(*row)


def read(tx: Connection, *, of: Party, booked_on: date, cursor: str | None = None, limit: int = LIMIT_DEFAULT) -> Statement:
    """Return a page of what was booked for an operator on a business date (China), in order of its dense numbers.

    The first page is read at the lane's last seal; the cursor keeps that seal, so that all pages fit together while payments go on.
    Read-only, locks nothing, may be repeated: the same cursor gives the same page for ever.

    Raises:
        StatementCursorRefused: ``cursor`` is not from this statement.
        Refused: ``limit_invalid``.
    """
    if not 1 <= limit <= LIMIT_MAX:
        raise Refused(f"limit must be from 1 to {LIMIT_MAX}", code="limit_invalid")
    tree_size, after = (None, 0) if cursor is None else _opened(cursor, of, booked_on)
    seal = _seal(tx, of, tree_size)
    if seal is None:
        return _page(of, booked_on, None, [], [], None)
    where = extracts.Extent(lane=of.lane, book_id=of.book_id, booked_on=booked_on, tree_size=seal.tree_size)
    found = extracts.entries(tx, where=where, after=after, limit=limit + 1)
    entries = found[:limit]
    following = _cursor(of, booked_on, seal.tree_size, entries[-1].number) if len(found) > limit else None
    lines = _lines(tx, of, entries)
    return _page(of, booked_on, seal, _totals(extracts.totals(tx, where=where)), lines, following)


def _page(
    of: Party, booked_on: date, seal: Seal | None, totals: list[StatementTotal], lines: list[StatementLine], cursor: str | None
) -> Statement:
    return Statement(
        operator_code=of.code,
        operator_name=of.legal_name,
        booked_on=booked_on,
        lane=of.lane,
        tree_size=0 if seal is None else seal.tree_size,
        sealed_at=None if seal is None else seal.sealed_at,
        checkpoint=None if seal is None else seal.checkpoint,
        totals=totals,
        lines=lines,
        cursor=cursor,
    )


def _seal(tx: Connection, of: Party, tree_size: int | None) -> Seal | None:
    try:
        return extracts.seal(tx, lane=of.lane, tree_size=tree_size)
    except NotFound:
        raise StatementCursorRefused("the cursor names a seal that there is not; begin again without one") from None


def _cursor(of: Party, booked_on: date, tree_size: int, number: int) -> str:
    packed = _CURSOR.pack(_CURSOR_VERSION, of.operator_id, booked_on.toordinal(), of.lane, tree_size, number)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _opened(cursor: str, of: Party, booked_on: date) -> tuple[int, int]:
    try:
        packed = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, operator_id, day, lane, tree_size, number = _CURSOR.unpack(packed)
    except (binascii.Error, struct.error, UnicodeError):
        raise StatementCursorRefused("this is not a cursor of a statement; begin again without one") from None
    if (version, operator_id, day, lane) != (_CURSOR_VERSION, of.operator_id, booked_on.toordinal(), of.lane):
        raise StatementCursorRefused("the cursor belongs to another statement; begin again without one")
    return tree_size, number


class _Stay(Struct, frozen=True):
    """The stay behind an entry: of its payment, or of the payment that it refunds."""

    payment_id: UUID
    refund_id: UUID | None
    lot_code: str
    lot_name: str
    lot_serial: str


def _stays(tx: Connection, lane: int, sources: Sequence[UUID]) -> dict[UUID, _Stay]:
    """Return the stays of payments and refunds by their ids; other sources are left out."""
    query = text("""
        select payment_id as source, payment_id, cast(null as uuid) as refund_id, lot_code, lot_name, lot_serial
        from payments.v_payment where lane = :lane and payment_id = any(:ids)
        union all
        select r.refund_id, p.payment_id, r.refund_id, p.lot_code, p.lot_name, p.lot_serial
        from payments.v_refund r join payments.v_payment p on p.lane = r.lane and p.payment_id = r.payment_id
        where r.lane = :lane and r.refund_id = any(:ids)
        """)
    return {source: _Stay(*stay) for source, *stay in tx.execute(query, {"lane": lane, "ids": list(sources)})}


def _lines(tx: Connection, of: Party, entries: Sequence[NumberedEntry]) -> list[StatementLine]:
    sources = [source_of(entry.entry_id)[0] for entry in entries]
    stays = _stays(tx, of.lane, sources) if sources else {}
    return [_line(of.lane, entry, stays.get(source)) for entry, source in zip(entries, sources, strict=True)]


def _line(lane: int, entry: NumberedEntry, stay: _Stay | None) -> StatementLine:
    _, kind = source_of(entry.entry_id)
    return StatementLine(
        number=entry.number,
        leaf_index=entry.leaf_index,
        entry_id=entry.entry_id,
        kind=_kind(kind, entry.debit_account, entry.credit_account),
        channel=_channel(entry.debit_account, entry.credit_account),
        amount_fen=entry.amount_fen,
        happened_at=entry.happened_at,
        receipt=payment_number(lane, stay.payment_id) if stay else None,
        refund=refund_number(lane, stay.refund_id) if stay and stay.refund_id else None,
        lot_code=stay.lot_code if stay else None,
        lot_name=stay.lot_name if stay else None,
        charge_serial=stay.lot_serial if stay else None,
    )


def _kind(kind: int, debit: int, credit: int) -> str:
    fact = EntryKind(kind & ~REVERSAL)
    in_suspense = fact is EntryKind.PAYMENT and Account.SUSPENSE_OVER in (debit, credit)
    return ("suspense" if in_suspense else fact.name.lower()) + ("_reversed" if kind & REVERSAL else "")


def _channel(debit: int, credit: int) -> str | None:
    return _CHANNEL_OF.get(debit) or _CHANNEL_OF.get(credit)


def _totals(rows: Sequence[ExtractTotal]) -> list[StatementTotal]:
    """Sum up by channel and kind, ordered by these; what has no channel stands first."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for row in rows:
        key = (_channel(row.debit_account, row.credit_account) or "", _kind(row.kind, row.debit_account, row.credit_account))
        entries, amount = sums.get(key, (0, 0))
        sums[key] = (entries + row.entries, amount + row.amount_fen)
    return [StatementTotal(channel or None, kind, *sums[channel, kind]) for channel, kind in sorted(sums)]
