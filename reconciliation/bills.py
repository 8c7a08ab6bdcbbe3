"""Channel bills 渠道账单: fetch a day's trade bill over the channel's wire and keep every version of it whole.

Knows bills and their lines; must not know the book. Called by the daily jobs and the command line: ``fetch`` outside any
transaction, then ``keep`` inside one. Between them file and lines are on disk: memory does not grow with them.
Source: DESIGN of the differences D15 (missing), D16 (cut), D17 (re-issued).
"""

import itertools
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from gateways import calls, messages
from gateways.calls import BillFile, Line
from gateways.contract import BillAbsent, BillRefused, BillRequest, MerchantAccount, RawMessage
from gateways.spool import Spool
from ledger.db import raw
from ledger.ids import Ids, read_payment_number, read_refund_number
from reconciliation.bill_lines import BillLines

PART_BYTES: Final = 4 * 1024 * 1024
"""A file is stored in parts of this size: most are one."""


class Fetched(Struct, frozen=True):
    """What came of asking for a bill. With ``lines`` it can be kept; ``refused`` says why a file was not taken."""

    channel: str
    provider_no: str
    bill_on: date
    message: RawMessage | None
    file: Spool | None = None
    """None: there was none, or it was not the announced one."""
    lines: BillLines | None = None
    refused: BillRefused | None = None
    absent: str | None = None
    """``not_ready``, or why nothing came; the day stays open (D15)."""
    merchant_no: str = ""
    """Empty: all merchants of the provider."""
    period: tuple[datetime, datetime] | None = None
    """First moment of the bill's day and the first after it; None: midnights in China."""


class Kept(Struct, frozen=True):
    """What was made of it: a ``new`` version, the ``same`` file as a version before, ``refused`` (D16), or ``absent`` (D15)."""

    outcome: Literal["new", "same", "refused", "absent"]
    bill_id: UUID | None = None
    version: int | None = None
    reason: str | None = None


def fetch(line: Line, *, bill_on: date, occasion: str, account: MerchantAccount | None = None) -> Fetched:
    """Ask the channel for a day's trade bill, get the file and read it. Network; never inside a transaction.

    The bill is of all operators, or of one ``account`` where the channel makes them so.

    ``occasion`` tells two askings for the same day apart. Never raises for what the outside does.
    """
    channel = line.connected.channel
    merchant_no = "" if account is None else account.merchant_no
    wanted = BillRequest(
        bill_on=bill_on, merchant_no=merchant_no or None, key_ref=None if account is None else account.key_ref
    )  # fmt: skip
    asked = Fetched(
        channel.name, channel.provider_no, bill_on, None, merchant_no=merchant_no, period=channel.bill_period(bill_on)
    )  # fmt: skip
    try:
        call = calls.bill(line, wanted, occasion=f"{occasion} {merchant_no}".strip())
    except BillRefused as refused:
        return _with(asked, refused=refused)
    if isinstance(call.outcome, BillAbsent):
        if call.outcome.reason == "empty":
            return _with(asked, message=call.message, lines=BillLines.of(()))
        return _with(asked, message=call.message, absent=call.outcome.reason)
    return _read(line, _with(asked, message=call.message), call.outcome, wanted)


def _read(line: Line, asked: Fetched, file: BillFile, wanted: BillRequest) -> Fetched:
    try:
        return _with(asked, file=file.file, lines=BillLines.of(line.connected.channel.read_bill(file.file.open(), bill=wanted)))
    except BillRefused as refused:
        return _with(asked, file=file.file, refused=refused)


def _with(asked: Fetched, **changes: Any) -> Fetched:
    fields = {name: getattr(asked, name) for name in asked.__struct_fields__}
    return Fetched(**(fields | changes))


def keep(tx: Connection, *, lane: int, fetched: Fetched, at: datetime, ids: Ids) -> Kept:
    """Keep what was fetched: the answer as evidence, a new file as the next version of its day with all its lines.

    A file is taken whole or not at all. The same file again is ``same`` and adds nothing; a re-issued one with changes is the next
    version, and the former stays. Locks the day of this channel, so two who fetch at once keep one version.
    """
    messages.keep(tx, lane=lane, messages=[fetched.message] if fetched.message is not None else [])
    if fetched.refused is not None:
        return _keep_refused(tx, fetched, fetched.refused, at=at, ids=ids)
    if fetched.lines is None:
        return Kept("absent", reason=fetched.absent)
    return _keep_version(tx, fetched, fetched.lines, at=at, ids=ids)


def _keep_refused(tx: Connection, fetched: Fetched, refused: BillRefused, *, at: datetime, ids: Ids) -> Kept:
    file = fetched.file or Spool()
    refused_id = ids.new(at, f"refused bill {_name(fetched)} {file.digest.hex()} {at.isoformat()}")
    parts = file.parts(PART_BYTES)
    values = {
        "id": refused_id, "channel": fetched.channel, "provider": fetched.provider_no, "merchant": fetched.merchant_no,
        "day": fetched.bill_on, "code": refused.code, "detail": str(refused), "body": next(parts, b""), "at": at,
    }  # fmt: skip
    tx.execute(_INSERT_REFUSED, values)
    for part, body in enumerate(parts, 2):
        tx.execute(_INSERT_REFUSED_PART, {"id": refused_id, "part": part, "body": body})
    return Kept("refused", reason=refused.code)


def _name(fetched: Fetched) -> str:
    return f"{fetched.channel} {fetched.provider_no}{fetched.merchant_no} {fetched.bill_on}"


def _keep_version(tx: Connection, fetched: Fetched, lines: BillLines, *, at: datetime, ids: Ids) -> Kept:
    file = fetched.file or Spool()
    day = {"channel": fetched.channel, "provider": fetched.provider_no, "merchant": fetched.merchant_no, "day": fetched.bill_on}
    tx.execute(_LOCK_DAY, day)
    versions = tx.execute(_VERSIONS, day).all()
    for row in versions:
        if row.digest == file.digest:
            return Kept("same", bill_id=row.bill_id, version=row.version)
    version = len(versions) + 1
    bill_id = ids.new(at, f"bill {_name(fetched)} {file.digest.hex()}")
    parts, sums = file.parts(PART_BYTES), lines.sums
    values = day | {
        "id": bill_id, "version": version, "digest": file.digest, "lines": sums.lines, "total": sums.total_fen,
        "refund": sums.refund_fen, "fee": sums.fee_fen, "body": next(parts, b""), "at": at,
        "begins": fetched.period and fetched.period[0], "ends": fetched.period and fetched.period[1],
    }  # fmt: skip
    tx.execute(_INSERT, values)
    for part, body in enumerate(parts, 2):
        tx.execute(_INSERT_PART, {"id": bill_id, "part": part, "body": body})
    _copy_lines(tx, bill_id, lines)
    return Kept("new", bill_id=bill_id, version=version)


_INSERT_REFUSED: Final = text("""
insert into reconciliation.refused_bill (refused_id, channel, provider_no, merchant_no, bill_on, code, detail, body, refused_at)
values (:id, :channel, :provider, :merchant, :day, :code, :detail, :body, :at)
on conflict (refused_id) do nothing
""")
_INSERT_REFUSED_PART: Final = text("""
insert into reconciliation.refused_part (refused_id, part, body) values (:id, :part, :body)
on conflict (refused_id, part) do nothing
""")
_LOCK_DAY: Final = text("""
select pg_advisory_xact_lock(hashtext('bill ' || cast(:channel as text) ||
    cast(:provider as text) || cast(:merchant as text) || cast(:day as date)))
""")
_VERSIONS: Final = text("""
select bill_id, version, digest from reconciliation.bill
where channel = :channel and provider_no = :provider and merchant_no = :merchant and bill_on = :day and kind = 'trade'
order by version
""")
_INSERT: Final = text("""
insert into reconciliation.bill (bill_id, channel, kind, provider_no, merchant_no, bill_on, begins_at, ends_at,
    version, digest, lines, total_fen, refund_fen,
    fee_fen, body, fetched_at)
values (:id, :channel, 'trade', :provider, :merchant, :day, :begins, :ends,
    :version, :digest, :lines, :total, :refund, :fee, :body, :at)
""")
_INSERT_PART: Final = text("insert into reconciliation.bill_part (bill_id, part, body) values (:id, :part, :body)")
_COPY: Final = b"""
copy reconciliation.bill_line (bill_id, line, kind, merchant_no, trade_no, order_no, refund_no, payment_lane, payment_id,
    refund_id, refund_state, amount_fen, fee_fen, happened_at) from stdin
"""


def _copy_lines(tx: Connection, bill_id: UUID, lines: BillLines) -> None:
    with raw(tx).cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in _rows(bill_id, lines):
            copy.write_row(row)


def _rows(bill_id: UUID, lines: BillLines) -> Iterator[tuple[object, ...]]:
    for line in lines:
        lane, payment_id = read_payment_number(line.order_no) or (None, None)
        _, refund_id = read_refund_number(line.refund_no or "") or (None, None)
        yield (
            bill_id, line.line, line.kind, line.merchant_no, line.trade_no, line.order_no, line.refund_no, lane, payment_id,
            refund_id, line.refund_state, line.amount_fen, line.fee_fen, line.happened_at,
        )  # fmt: skip


def content(tx: Connection, *, bill_id: UUID) -> bytes:
    """Return a kept file byte for byte, whole: for small ones."""
    return b"".join(parts(tx, bill_id=bill_id))


def parts(tx: Connection, *, bill_id: UUID) -> Iterator[bytes]:
    """Yield a kept file byte for byte, in its parts."""
    yield tx.execute(text("select body from reconciliation.bill where bill_id = :id"), {"id": bill_id}).scalar_one()
    following = text("select body from reconciliation.bill_part where bill_id = :id and part = :part")
    for part in itertools.count(2):
        if (body := tx.execute(following, {"id": bill_id, "part": part}).scalar_one_or_none()) is None:
            return
        yield body
