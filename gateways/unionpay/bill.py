"""UnionPay's clearing file: unpacking, reading transactions (ZM) and disputes (ZME) line by line.

Knows the file's layout (fields by byte offset, GBK, amounts with C or D before them); must not know our book. Called by the
adapter. A file is read line by line in bounded memory; ``parse`` takes it whole or not at all. Source: UnionPay, 对账文件接口规范.
"""

import re
import struct
import zlib
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator
from datetime import UTC, date, datetime
from io import BufferedReader, BytesIO
from itertools import accumulate
from operator import itemgetter
from typing import IO, BinaryIO, Final, Literal
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipExtFile, ZipFile, ZipInfo

from msgspec import Struct

from gateways.contract import Bill, BillLine, BillRefused, RefundState
from gateways.unionpay.answers import instant_near
from ledger.clock import CHINA

ZIP_BYTES_MAX: Final = 256 * 1024 * 1024
"""Largest packed file."""
FILE_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Largest content, all files that are read taken together: more than a million lines."""
MEMBERS_MAX: Final = 64
"""A genuine archive has fewer than ten files."""

ZM_WIDTHS: Final = (
    *(3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13, 13, 8, 32),
    *(13, 13, 12, 2, 1, 32, 98),
)
ZME_WIDTHS: Final = (3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2, 135)
"""Widths in bytes; one space stands between fields."""
ZM_RESERVED_WIDTHS: Final = (13, 2, 1, 12, 20, 45)
"""What newer files (V2.5) put into field 42. Probable: nothing here is booked by it."""
ZM_LAYOUT_OLD_FROM: Final = 40
"""Older files have one reserved field in place of the last two: from this index on the space between fields may be missing."""

KINDS: Final[dict[str, Literal["payment", "refund", "revoked"]]] = {
    "01": "payment",
    "03": "payment",
    "04": "refund",
    "31": "revoked",
    "33": "revoked",
}
"""By txnType: payment, completed pre-authorisation, refund, cancel, cancel of a completion. Authorisations move no money."""

_LINE_BYTES_MAX: Final = 1_024
_READ_BYTES: Final = 256 * 1024
_MEMBER: Final = re.compile(r"INN(?P<day>[0-9]{6})..(?P<kind>ZME?)_(?P<rest>.*)", re.DOTALL)
_ORDER_NO: Final = re.compile(r"[0-9A-Za-z]{1,32}")
_ENCRYPTED: Final = 0x1
_ENTRY: Final = b"PK\x01\x02"
"""Begins each entry of the directory: counted before the directory is read, which takes memory for every entry."""
_BROKEN: Final = (
    BadZipFile, zlib.error, struct.error, EOFError, OSError,
    NotImplementedError, RuntimeError, ValueError, OverflowError, IndexError,
)  # fmt: skip
"""All that reading a broken archive may raise."""


Archive = bytes | BinaryIO
"""An archive in memory, or a file of one."""


class Member(Struct, frozen=True):
    """A file of the archive that is read here."""

    name: str
    kind: Literal["ZM", "ZME"]
    cleared_on: date
    """Clearing day, from the file's name."""
    size: int
    """Bytes when unpacked."""


class Transaction(Struct, frozen=True):
    """A line of a ZM file. Only successful transactions are in it."""

    line: int
    """Number over all ZM files of the archive, from 1."""
    kind: Literal["payment", "refund", "revoked"]
    txn_type: str
    merchant_no: str
    sub_merchant_no: str
    """Of a platform's sub-merchant; empty otherwise."""
    query_id: str
    """The channel's number of this very transaction."""
    order_no: str
    """Our number of this very transaction: of a refund the refund's."""
    original_query_id: str
    """Refund and cancel: the payment's queryId. May be empty."""
    original_order_no: str
    """Refund and cancel: the payment's number. Empty in older files."""
    amount_fen: int
    """Without a sign; the kind says which way it went."""
    fee_fen: int
    """Positive: the merchant pays it. Negative: it is given back."""
    settled_fen: int
    """What is settled after the fee. Positive: the merchant receives. Negative: the merchant pays."""
    sent_at: datetime
    """Transmission time at the channel, UTC; the file writes no year."""
    trace_no: str
    cleared_on: date
    terminal_no: str
    attach: str
    """First 32 bytes of what the merchant added."""


class Reserved(Struct, frozen=True):
    """What newer files say in field 42, as text. Probable."""

    cleared_amount: str
    entry_mode: str
    mobile_product: str
    retrieval_no: str
    marketing: str


class Dispute(Struct, frozen=True):
    """A line of a ZME file 差错. It has neither order number nor queryId: match by trace number, time and amount.

    The widths are certain, the fields' meaning is probable.
    """

    line: int
    code: str
    merchant_no: str
    trace_no: str
    sent_at: datetime | None
    amount_fen: int
    original_trace_no: str
    original_trace_time: str
    """MMDDhhmmss as it stands: it may lie more than a year back."""
    original_settle_date: str
    """MMDD as it stands."""
    original_amount_fen: int
    fee_fen: int
    """Positive: the merchant pays it."""
    settled_fen: int
    """Positive: the merchant receives."""
    cleared_on: date


# Unpacking


def unpacked(file_content: str) -> bytes:
    """Return the archive inside an answer's ``fileContent``: base64 of a deflated ZIP file.

    Raises BillRefused: ``bill_form`` (not base64), ``bill_cut``, ``bill_too_large``.
    """
    if len(file_content) > ZIP_BYTES_MAX // 3 * 4:
        raise BillRefused(f"the clearing file has more than {ZIP_BYTES_MAX} bytes", code="bill_too_large")
    try:
        packed = a2b_base64(file_content.replace("\r", "").replace("\n", ""), strict_mode=True)
    except (Base64Error, ValueError) as wrong:
        raise BillRefused(f"the clearing file's content is not base64: {wrong}", code="bill_form") from None
    machine = zlib.decompressobj()
    try:
        content = machine.decompress(packed, ZIP_BYTES_MAX)
    except zlib.error as broken:
        raise BillRefused(f"the clearing file's content cannot be inflated: {broken}", code="bill_cut") from None
    if machine.unconsumed_tail:
        raise BillRefused(f"the clearing file has more than {ZIP_BYTES_MAX} bytes", code="bill_too_large")
    if not machine.eof:
        raise BillRefused("the clearing file's content ends early", code="bill_cut")
    if machine.unused_data:
        raise BillRefused("the clearing file's content goes on after its end", code="bill_form")
    return content


def members(archive: Archive) -> tuple[Member, ...]:
    """Return the files of an archive that are read here, by name; others are left alone.

    Raises BillRefused: ``bill_cut`` (not a whole archive), ``bill_too_large``, ``bill_form`` (two files of a name, encrypted, an
    unknown compression, no day in the name, nothing of the kind).
    """
    if _entries(archive) > MEMBERS_MAX:
        raise BillRefused(f"the archive has more than {MEMBERS_MAX} files", code="bill_too_large")
    try:
        with ZipFile(_file(archive)) as whole:
            listed = whole.infolist()
    except _BROKEN as broken:
        raise BillRefused(f"the clearing file's archive cannot be opened: {broken}", code="bill_cut") from None
    found = sorted((one for info in listed if (one := _member(info)) is not None), key=lambda one: one.name)
    if len({one.name for one in found}) != len(found):
        raise BillRefused("the archive has two files of one name", code="bill_form")
    if sum(one.size for one in found) > FILE_BYTES_MAX:
        raise BillRefused(f"the archive's files have more than {FILE_BYTES_MAX} bytes", code="bill_too_large")
    if not found:
        raise BillRefused("the archive holds neither a ZM nor a ZME file", code="bill_form")
    return tuple(found)


def _file(archive: Archive) -> BinaryIO:
    return BytesIO(archive) if isinstance(archive, bytes) else archive


def _entries(archive: Archive) -> int:
    """Return how often what begins an entry of the directory stands in an archive."""
    if isinstance(archive, bytes):
        return archive.count(_ENTRY)
    count, tail = 0, b""
    archive.seek(0)
    while part := archive.read(_READ_BYTES):
        window = tail + part
        count += window.count(_ENTRY)
        tail = window[1 - len(_ENTRY) :]
    return count


def _member(info: ZipInfo) -> Member | None:
    named = _MEMBER.fullmatch(info.filename.rpartition("/")[2])
    if named is None:
        return None
    if info.flag_bits & _ENCRYPTED or info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise BillRefused(f"{info.filename} is encrypted or packed in an unknown way", code="bill_form")
    day = named["day"]
    try:
        cleared_on = date(2000 + int(day[:2]), int(day[2:4]), int(day[4:]))
    except ValueError:
        raise BillRefused(f"{info.filename} names no day", code="bill_form") from None
    kind: Literal["ZM", "ZME"] = "ZME" if named["kind"] == "ZME" else "ZM"
    return Member(name=info.filename, kind=kind, cleared_on=cleared_on, size=info.file_size)


def _rows(archive: Archive, member: Member, width: int) -> Iterator[bytes]:
    """Yield a file's lines of ``width`` bytes, CRLF or LF, with or without a last line end. The archive's check sum is checked."""
    try:
        with ZipFile(_file(archive)) as whole, whole.open(member.name) as packed:
            assert isinstance(packed, ZipExtFile)
            with BufferedReader(packed, _READ_BYTES) as stream:
                yield from _lines(stream, member.name, width)
    except _BROKEN as broken:
        raise BillRefused(f"{member.name} cannot be unpacked: {broken}", code="bill_cut") from None


def _lines(stream: IO[bytes], name: str, width: int) -> Iterator[bytes]:
    number = 0
    while line := stream.readline(_LINE_BYTES_MAX):
        number += 1
        row = line.rstrip(b"\r\n")
        if not row and not stream.read(1):
            return
        if len(row) != width:
            raise BillRefused(f"line {number} of {name} has {len(row)} bytes, not {width}", code="bill_form")
        yield row


# Fields by offset


def _slices(widths: tuple[int, ...]) -> tuple[slice, ...]:
    starts = accumulate((width + 1 for width in widths), initial=0)
    return tuple(slice(start, start + width) for start, width in zip(starts, widths, strict=False))


_ZM: Final = _slices(ZM_WIDTHS)
_ZME: Final = _slices(ZME_WIDTHS)
_RESERVED: Final = _slices(ZM_RESERVED_WIDTHS)
_ZM_BYTES: Final = _ZM[-1].stop
_ZME_BYTES: Final = _ZME[-1].stop
_ZM_GAPS: Final = tuple(field.stop for field in _ZM[:ZM_LAYOUT_OLD_FROM])
_ZME_GAPS: Final = tuple(field.stop for field in _ZME[:-1])
_zm_gaps: Final = itemgetter(*_ZM_GAPS)
_zme_gaps: Final = itemgetter(*_ZME_GAPS)
_SPACE: Final = 0x20
_ZM_SPACES: Final = (_SPACE,) * len(_ZM_GAPS)
_ZME_SPACES: Final = (_SPACE,) * len(_ZME_GAPS)


def _text(content: bytes, errors: str = "strict") -> str:
    # most fields are ASCII, which is decoded several times faster and to the same text
    return content.strip(b" ").decode("ascii" if content.isascii() else "gbk", errors)


class _Row(Struct, frozen=True):
    """A line with the place of its fields, for reading them one by one; fields are counted from 1, as the document does."""

    number: int
    content: bytes
    fields: tuple[slice, ...]

    def text(self, field: int) -> str:
        """Return a field as text without the spaces that fill it."""
        try:
            return _text(self.content[self.fields[field - 1]])
        except UnicodeDecodeError:
            raise self.refused(field, "is not GBK") from None

    def name(self, field: int) -> str:
        """Return a number as text; all zeros mean that there is none."""
        text = self.text(field)
        return text if text.strip("0") else ""

    def amount(self, field: int) -> int:
        """Return an amount of digits alone. Raises BillRefused for anything else."""
        digits = self.content[self.fields[field - 1]]
        if not digits.isdigit():
            raise self.refused(field, "is not an amount")
        return int(digits)

    def signed(self, field: int) -> int:
        """Return an amount with its letter: positive for C (the merchant receives), negative for D. Blank or zero is 0."""
        value = self.content[self.fields[field - 1]]
        if not value.strip(b" 0"):
            return 0
        if not value[1:].isdigit() or value[:1] not in (b"C", b"D"):
            raise self.refused(field, "is not an amount with C or D before it")
        return int(value[1:]) if value[:1] == b"C" else -int(value[1:])

    def sent_at(self, field: int, near: date) -> datetime:
        instant = instant_near(self.text(field), near)
        if instant is None:
            raise self.refused(field, "is not a time")
        return instant

    def refused(self, field: int, words: str) -> BillRefused:
        shown = self.content[self.fields[field - 1]]
        return BillRefused(f"line {self.number}, field {field}: {shown!r} {words}", code="bill_form")


# Transactions


def transactions(archive: Archive, *, merchant_no: str, cleared_on: date | None = None) -> Iterator[Transaction]:
    """Yield the archive's transactions one after another; a line's memory is freed before the next.

    Raises BillRefused, possibly after many lines: nothing may be booked before the end was reached. Codes as ``members``, and
    ``bill_form`` for a line of another width or merchant, another day than ``cleared_on``, or a field that contradicts another.
    """
    number = 0
    for member in _of_day(archive, "ZM", cleared_on):
        for content in _rows(archive, member, _ZM_BYTES):
            number += 1
            yield _transaction(number, content, merchant_no, member.cleared_on)


def _of_day(archive: Archive, kind: str, cleared_on: date | None) -> Iterator[Member]:
    for member in members(archive):
        if cleared_on is not None and member.cleared_on != cleared_on:
            raise BillRefused(f"{member.name} is not of {cleared_on.isoformat()}", code="bill_form")
        if member.kind == kind:
            yield member


def _transaction(number: int, content: bytes, merchant_no: str, cleared_on: date) -> Transaction:
    row = _Row(number, content, _ZM)
    if _zm_gaps(content) != _ZM_SPACES:
        raise BillRefused(f"line {number}: a space between fields is missing", code="bill_form")
    if (merchant := row.text(28)) != merchant_no:
        raise BillRefused(f"line {number} belongs to merchant {merchant!r}, not {merchant_no}", code="bill_form")
    kind = KINDS.get(txn_type := row.text(20))
    if kind is None:
        raise row.refused(20, "is an unknown 交易类型")
    query_id, amount_fen, fee_fen, settled_fen = row.name(10), row.amount(7), -row.signed(16), row.signed(17)
    if not query_id:
        raise row.refused(10, "names no transaction")
    _check_direction(row, amount_fen if kind == "payment" else -amount_fen, fee_fen, settled_fen)
    return Transaction(
        line=number,
        kind=kind,
        txn_type=txn_type,
        merchant_no=merchant,
        sub_merchant_no=row.name(30),
        query_id=query_id,
        order_no=row.text(12),
        original_query_id=row.name(27),
        original_order_no=_original_order_no(content),
        amount_fen=amount_fen,
        fee_fen=fee_fen,
        settled_fen=settled_fen,
        sent_at=row.sent_at(5, cleared_on),
        trace_no=row.text(4),
        cleared_on=cleared_on,
        terminal_no=row.text(34),
        attach=_cut_text(content[_ZM[34]]),
    )


def _check_direction(row: _Row, moved_fen: int, fee_fen: int, settled_fen: int) -> None:
    """Refuse a line whose settled amount goes the other way than its kind says: a letter or a type is wrong.

    Discounts and instalments may change how much is settled, so the amount itself is not recomputed.
    """
    due_fen = moved_fen - fee_fen
    if due_fen * settled_fen < 0:
        raise row.refused(17, f"goes the other way than transaction type {row.text(20)}")


def _original_order_no(content: bytes) -> str:
    """Return field 41, or nothing where an older file has one reserved field in place of the last two."""
    text = _cut_text(content[_ZM[40]])
    separate = content[_ZM[40].stop] == _SPACE
    return text if separate and _ORDER_NO.fullmatch(text) else ""


def _cut_text(content: bytes) -> str:
    """Return text that was cut at a byte, perhaps inside a character."""
    return _text(content, errors="ignore")


def reserved(content: bytes) -> Reserved | None:
    """Return what a whole ZM line says in field 42 when the file is of the newer layout, or None for the older one."""
    field = content[_ZM[41]]
    amount = field[_RESERVED[0]]
    newer = all(field[part.stop : part.stop + 1] == b" " for part in _RESERVED[:-1])
    if len(content) != _ZM_BYTES or not newer or amount[:1] not in (b"C", b"D") or not amount[1:].isdigit():
        return None
    texts = [_cut_text(field[part]) for part in _RESERVED[:5]]
    return Reserved(*texts)


# Disputes


def disputes(archive: Archive, *, merchant_no: str, cleared_on: date | None = None) -> Iterator[Dispute]:
    """Yield the archive's disputes. Raises BillRefused as ``transactions`` does; a time that cannot be read is None."""
    number = 0
    for member in _of_day(archive, "ZME", cleared_on):
        for content in _rows(archive, member, _ZME_BYTES):
            number += 1
            yield _dispute(number, content, merchant_no, member.cleared_on)


def _dispute(number: int, content: bytes, merchant_no: str, cleared_on: date) -> Dispute:
    row = _Row(number, content, _ZME)
    if _zme_gaps(content) != _ZME_SPACES:
        raise BillRefused(f"line {number}: a space between fields is missing", code="bill_form")
    if (merchant := row.text(18)) != merchant_no:
        raise BillRefused(f"line {number} belongs to merchant {merchant!r}, not {merchant_no}", code="bill_form")
    return Dispute(
        line=number,
        code=row.text(1),
        merchant_no=merchant,
        trace_no=row.text(4),
        sent_at=instant_near(row.text(5), cleared_on),
        amount_fen=row.amount(7),
        original_trace_no=row.name(11),
        original_trace_time=row.name(12),
        original_settle_date=row.name(13),
        original_amount_fen=row.amount(14) if row.name(14) else 0,
        fee_fen=-row.signed(15),
        settled_fen=row.signed(16),
        cleared_on=cleared_on,
    )


# The neutral bill


def bill_line(told: Transaction) -> BillLine:
    """Return the neutral line: a refund or cancel names the payment it undoes, and its own number as ``refund_no``. The file has
    only what succeeded, so both are done.

    ``trade_no`` and ``order_no`` are empty where the file does not name that payment.
    """
    payment = told.kind == "payment"
    return BillLine(
        line=told.line,
        kind=told.kind,
        merchant_no=told.merchant_no,
        trade_no=told.query_id if payment else told.original_query_id,
        order_no=told.order_no if payment else told.original_order_no,
        amount_fen=told.amount_fen,
        fee_fen=told.fee_fen,
        happened_at=told.sent_at,
        refund_no=None if payment else told.order_no,
        refund_state=None if payment else RefundState.DONE,
    )


def dispute_line(told: Dispute, *, line: int) -> BillLine:
    """Return the neutral line of a dispute, so that a person learns of it.

    Money that goes back is ``revoked``, money that comes is a payment that nobody ordered.

    The file does not name the payment: ``trade_no`` is the original's trace number and time, ``order_no`` is empty.
    """
    midnight = datetime(told.cleared_on.year, told.cleared_on.month, told.cleared_on.day, tzinfo=CHINA).astimezone(UTC)
    return BillLine(
        line=line,
        kind="payment" if told.settled_fen > 0 else "revoked",
        merchant_no=told.merchant_no,
        trade_no=f"{told.original_trace_no}{told.original_trace_time}",
        order_no="",
        amount_fen=told.amount_fen,
        fee_fen=told.fee_fen,
        happened_at=told.sent_at or midnight,
    )


def lines(archive: Archive, *, merchant_no: str, cleared_on: date | None = None) -> Iterator[BillLine]:
    """Yield the lines of an archive one by one: transactions, then disputes, numbered in one.

    The file has no totals of its own: that it is whole is proven by the answer's signature and the archive's check sums. Raises
    BillRefused as ``transactions`` does: nothing may be booked before the end.
    """
    paid = 0
    for told in transactions(archive, merchant_no=merchant_no, cleared_on=cleared_on):
        paid = told.line
        yield bill_line(told)
    for dispute in disputes(archive, merchant_no=merchant_no, cleared_on=cleared_on):
        yield dispute_line(dispute, line=paid + dispute.line)


def parse(archive: Archive, *, merchant_no: str, cleared_on: date | None = None) -> Bill:
    """Return the whole bill of a small archive at once. Raises BillRefused as ``lines``."""
    return Bill.of(lines(archive, merchant_no=merchant_no, cleared_on=cleared_on))
