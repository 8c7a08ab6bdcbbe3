"""Alipay's bill files: unpacking, reading, checking their totals.

Knows the archive and the layout of its files (columns by name, lines that begin with ``#``); must not know our book. Called by the
adapter. A file is read row by row, from the archive itself, and taken whole or not at all: a reader of rows books nothing before
the last one. Source: Alipay OpenAPI "查询对账单下载地址"; the sums under the rows and all of ``signcustomer`` are only probable.
"""

import csv
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import lru_cache
from io import BufferedReader, BytesIO, RawIOBase
from typing import IO, BinaryIO, Final, Literal, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from msgspec import Struct

from gateways.alipay import wire
from gateways.contract import Bill, BillLine, BillRefused, RefundState
from gateways.parts import begun
from ledger.money import yuan

BILL_BYTES_MAX: Final = 512 * 1024 * 1024
"""Most uncompressed bytes of an archive, all its files together: more than a million rows."""
FILES_MAX: Final = 1000
LINE_BYTES_MAX: Final = 65_536
TOTALS_NEEDED: Final = True
"""The sums under the rows are only probable. True: rows of a kind whose sum is not stated are refused as cut."""

ZIP_MAGIC: Final = b"PK"
_ZIP_END: Final = b"PK\x05\x06"
"""Begins the last record of an archive, after which at most a remark of 64 KB comes."""
_ZIP_END_BYTES: Final = 22
"""Its length; its last two bytes are the remark's."""
_TAIL_BYTES: Final = _ZIP_END_BYTES + 65_535
_HEAD_BYTES: Final = 40
_ENCRYPTED: Final = 0x1
_UTF8_NAME: Final = 0x800
_SUMMARY: Final = "汇总"
_END: Final = "列表结束"
_ACCOUNT: Final = re.compile(r"^#账号[：:]\s*\[?(\d{16})(?:\d{4})?\]?\s*$", re.ASCII)
_BEGINS_ON: Final = re.compile(r"^#起始日期[：:]\s*\[?(\d{4})年(\d{2})月(\d{2})日", re.ASCII)
_STATED: Final = re.compile(r"^#(交易|退款|收入|支出)合计[：:]\s*(\d{1,9})笔(.*)$", re.ASCII)
_PART: Final = re.compile(r"(.*?)(?:退款)?共(-?[\d.]+)元", re.ASCII)
_SUMMED: Final = frozenset({"交易商家实收", "交易商家优惠", "退款商家实收", "退款商家优惠", "收入", "支出"})
_BEGINS_TOTAL: Final = re.compile(r"^#(?:交易|退款|收入|支出)合计")
_COUNT: Final = "笔数"
_KINDS: Final[dict[str, Literal["payment", "refund"]]] = {"交易": "payment", "退款": "refund"}
_TRADE_NEEDED: Final = frozenset(
    {"支付宝交易号", "商户订单号", "业务类型", "完成时间", "订单金额（元）", "商家实收（元）", "商家优惠（元）",
     "退款批次号/请求号", "服务费（元）"}
)  # fmt: skip
_FLOW_NEEDED: Final = frozenset(
    {"账务流水号", "业务流水号", "商户订单号", "发生时间", "收入金额（+元）", "支出金额（-元）", "账户余额（元）", "业务类型"}
)
_fen: Final = lru_cache(maxsize=16_384)(wire.fen)  # the same few amounts fill a day's file


Archive = bytes | BinaryIO
"""An archive in memory, or a file of one that stands at its begin."""


class FlowRow(Struct, frozen=True):
    """One change of an account's balance. Amounts in fen."""

    line: int
    """Number of the row in the archive, from 1."""
    merchant_no: str
    flow_no: str
    """账务流水号: unique."""
    trade_no: str
    """业务流水号: the channel's trade number where the change comes from a payment."""
    order_no: str
    happened_at: datetime
    """UTC."""
    amount_fen: int
    """Positive: came in; negative: went out."""
    balance_fen: int | None
    """Afterwards, as stated; not continuous."""
    kind: str
    """业务类型 as printed, such as 在线支付, 收费, 交易退款, 提现."""
    note: str


class Flows(Struct, frozen=True):
    """A parsed ``signcustomer`` bill whose totals agree with its rows. Both sums are positive."""

    rows: tuple[FlowRow, ...]
    in_fen: int
    out_fen: int


class _Row(Struct, frozen=True):
    """A row with what is needed to read it and to say where it stands."""

    number: int
    values: list[str]
    place: Mapping[str, int]
    merchant_no: str

    def text(self, name: str) -> str:
        return self.values[self.place[name]].strip()

    def optional(self, name: str) -> str:
        return self.text(name) if name in self.place else ""

    def amount(self, name: str) -> int:
        try:
            return _fen(self.text(name))
        except ValueError as wrong:
            raise BillRefused(f"row {self.number}, {name}: {wrong}", code="bill_form") from None

    def instant(self, name: str) -> datetime:
        found = wire.instant(self.text(name))
        if found is None:
            raise BillRefused(f"row {self.number}, {name}: {self.text(name)[:40]!r} is not a time", code="bill_form")
        return found


class _Of(Struct, frozen=True):
    """Whose bill it must be, and of which day; None: whatever the file says."""

    merchant_no: str | None
    bill_on: date | None


class _Sums(Struct):
    """What one file's rows add up to, and what the file states. Keys are a kind and what is summed; amounts are positive."""

    name: str
    summed: dict[str, int]
    stated: dict[str, int]

    def add(self, kind: str, amounts: Mapping[str, int]) -> None:
        for what, amount in ((_COUNT, 1), *amounts.items()):
            self.summed[kind + what] = self.summed.get(kind + what, 0) + amount


# The trade bill


def parse(archive: Archive, *, merchant_no: str | None = None, bill_on: date | None = None) -> Bill:
    """Return the ``trade`` bill of an archive when every row can be read and every total agrees.

    ``merchant_no`` (PID) is whose bill it must be, ``bill_on`` its day; without them the file's own word is taken.
    Holds all lines in memory.
    Raises BillRefused: ``bill_form`` (with the row), ``bill_cut`` (broken archive, no end, a total differs), ``bill_too_large``.
    """
    return Bill.of(trade_lines(archive, merchant_no=merchant_no, bill_on=bill_on))


def trade_lines(archive: Archive, *, merchant_no: str | None = None, bill_on: date | None = None) -> Iterator[BillLine]:
    """Yield the lines of a ``trade`` bill one by one; memory does not grow with the file.

    Raises BillRefused as ``parse`` does, for the totals only after the last line: nothing may be booked before the end.
    """
    sheets: list[_Sums] = []
    for row in _rows(archive, needed=_TRADE_NEEDED, of=_Of(merchant_no, bill_on), sheets=sheets):
        yield _trade_line(row, sheets[-1])
    _check_totals(sheets)


def _trade_line(row: _Row, sums: _Sums) -> BillLine:
    """Return the neutral line of a row. The type says which way money went: refunds come with a minus and without.

    A payment's 服务费 is printed negative (it costs), a refund's positive (it comes back); a neutral fee is the other way round.
    """
    printed = row.text("业务类型")
    kind = _KINDS.get(printed)
    if kind is None:
        raise BillRefused(f"row {row.number} has the unknown 业务类型 {printed[:40]!r}", code="bill_form")
    if not (trade_no := row.text("支付宝交易号")):
        raise BillRefused(f"row {row.number} has no 支付宝交易号", code="bill_form")
    amount_fen, received_fen = row.amount("订单金额（元）"), row.amount("商家实收（元）")
    if kind == "payment" and (amount_fen < 0 or received_fen < 0):
        raise BillRefused(f"row {row.number} is a payment of {yuan(min(amount_fen, received_fen))}", code="bill_form")
    fee_fen = abs(row.amount("服务费（元）"))
    sums.add(printed, {"商家实收": abs(received_fen), "商家优惠": abs(row.amount("商家优惠（元）"))})
    return BillLine(
        line=row.number,
        kind=kind,
        merchant_no=row.merchant_no,
        trade_no=trade_no,
        order_no=row.text("商户订单号"),
        amount_fen=abs(amount_fen),
        fee_fen=fee_fen if kind == "payment" else -fee_fen,
        happened_at=row.instant("完成时间"),
        refund_no=row.text("退款批次号/请求号") or None if kind == "refund" else None,
        refund_state=RefundState.DONE if kind == "refund" else None,
    )


# The account's flow


def parse_flows(archive: Archive, *, merchant_no: str | None = None, bill_on: date | None = None) -> Flows:
    """Return the ``signcustomer`` bill of an archive when every row can be read and every total agrees.

    Raises BillRefused as ``parse`` does. Holds all rows in memory.
    """
    rows = tuple(flow_rows(archive, merchant_no=merchant_no, bill_on=bill_on))
    return Flows(
        rows=rows,
        in_fen=sum(row.amount_fen for row in rows if row.amount_fen > 0),
        out_fen=-sum(row.amount_fen for row in rows if row.amount_fen < 0),
    )


def flow_rows(archive: Archive, *, merchant_no: str | None = None, bill_on: date | None = None) -> Iterator[FlowRow]:
    """Yield the rows of a ``signcustomer`` bill one by one; memory does not grow with the file.

    Raises BillRefused as ``parse`` does, for the totals only after the last row: nothing may be booked before the end.
    """
    sheets: list[_Sums] = []
    for row in _rows(archive, needed=_FLOW_NEEDED, of=_Of(merchant_no, bill_on), sheets=sheets):
        yield _flow_row(row, sheets[-1])
    _check_totals(sheets)


def _flow_row(row: _Row, sums: _Sums) -> FlowRow:
    """Return the neutral row. The column says which way money went, 支出 with a minus or without; the other is blank or zero."""
    in_fen, out_fen = (row.amount(name) if row.text(name) else 0 for name in ("收入金额（+元）", "支出金额（-元）"))
    out_fen = abs(out_fen)
    if in_fen < 0:
        raise BillRefused(f"row {row.number} states 收入 {yuan(in_fen)}", code="bill_form")
    if in_fen and out_fen:
        raise BillRefused(f"row {row.number} states both 收入 {yuan(in_fen)} and 支出 {yuan(out_fen)}", code="bill_form")
    if not (flow_no := row.text("账务流水号")):
        raise BillRefused(f"row {row.number} has no 账务流水号", code="bill_form")
    if in_fen or out_fen:
        sums.add("收入" if in_fen else "支出", {"": in_fen or out_fen})
    return FlowRow(
        line=row.number,
        merchant_no=row.merchant_no,
        flow_no=flow_no,
        trade_no=row.text("业务流水号"),
        order_no=row.text("商户订单号"),
        happened_at=row.instant("发生时间"),
        amount_fen=in_fen - out_fen,
        balance_fen=row.amount("账户余额（元）") if row.text("账户余额（元）") else None,
        kind=row.text("业务类型"),
        note=row.optional("备注"),
    )


# The archive


def detail_names(archive: Archive) -> tuple[str, ...]:
    """Return the names of the files that hold rows, in order of name: all tables but the summaries (汇总).

    Raises BillRefused: ``bill_form`` (not an archive, or none in it), ``bill_cut`` (broken), ``bill_too_large``.
    """
    with _opened(archive) as files:
        return tuple(name for name, _ in _details(files))


def whole(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield an archive's parts; it begins and ends as an archive does. What is in it is seen when it is read.

    Raises BillRefused: ``bill_digest`` (not an archive), in the end ``bill_cut``.
    """
    head, parts = begun(parts, _HEAD_BYTES)
    if not head.startswith(ZIP_MAGIC):
        raise BillRefused(f"the bill file begins with {head!r}: it is no archive; ask for a new link", code="bill_digest")
    tail = b""
    for part in parts:
        tail = (tail + part)[-_TAIL_BYTES:]
        yield part
    end = tail.rfind(_ZIP_END)
    remark = tail[end + _ZIP_END_BYTES :] if end >= 0 else b""
    if end < 0 or len(tail) < end + _ZIP_END_BYTES or len(remark) < int.from_bytes(tail[end + 20 : end + 22], "little"):
        raise BillRefused("the bill's archive ends early: its directory is not whole", code="bill_cut")


def _opened(archive: Archive) -> ZipFile:
    file = BytesIO(archive) if isinstance(archive, bytes) else archive
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if not head.startswith(ZIP_MAGIC):
        raise BillRefused(f"the bill is not a ZIP archive: it begins with {head!r}", code="bill_form")
    try:
        return ZipFile(file)
    except (BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as broken:
        raise BillRefused(f"the bill's archive cannot be opened: {broken}", code="bill_cut") from None


def _details(files: ZipFile) -> list[tuple[str, ZipInfo]]:
    entries = files.infolist()
    if len(entries) > FILES_MAX or sum(entry.file_size for entry in entries) > BILL_BYTES_MAX:
        raise BillRefused(f"the bill's archive has more than {FILES_MAX} files or {BILL_BYTES_MAX} bytes", code="bill_too_large")
    named = sorted(((_name(entry), entry) for entry in entries), key=lambda pair: pair[0])
    details = [(name, entry) for name, entry in named if name.lower().endswith(".csv") and _SUMMARY not in name]
    if not details:
        raise BillRefused(f"the bill's archive has no file with rows: {[name for name, _ in named][:5]}", code="bill_form")
    for name, entry in details:
        if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise BillRefused(f"{name} in the bill's archive is encrypted or of an unknown compression", code="bill_form")
    return details


def _name(entry: ZipInfo) -> str:
    """Return an entry's name: GBK, although the archive does not say so and it is read as code page 437."""
    if entry.flag_bits & _UTF8_NAME:
        return entry.filename
    return entry.filename.encode("cp437", "replace").decode("gb18030", "replace")


def _rows(archive: Archive, *, needed: frozenset[str], of: _Of, sheets: list[_Sums]) -> Iterator[_Row]:
    """Yield every file's rows. ``sheets`` gets one entry for each file, into which the caller adds its rows."""
    number = 0
    with _opened(archive) as files:
        for name, entry in _details(files):
            sheets.append(_Sums(name=name, summed={}, stated={}))
            try:
                with files.open(entry) as stream:
                    for values, place, owner in _sheet(stream, sheets[-1], needed=needed, of=of):
                        number += 1
                        if len(values) != len(place):
                            told = f"row {number} of the bill has {len(values)} values for {len(place)} columns"
                            raise BillRefused(told, code="bill_form")
                        yield _Row(number=number, values=values, place=place, merchant_no=owner)
            except (BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as broken:
                raise BillRefused(f"{name} cannot be unpacked: {broken}", code="bill_cut") from None


def _sheet(
    stream: IO[bytes], sums: _Sums, *, needed: frozenset[str], of: _Of
) -> Iterator[tuple[list[str], Mapping[str, int], str]]:
    """Yield the values of each row of one file, with the place of each column and whose account it is."""
    place: Mapping[str, int] = {}
    owner, ended = of.merchant_no, False
    for values in _records(stream, sums.name):
        if values[0].startswith("#"):
            comment = ",".join(values).rstrip(",\t ")
            ended = ended or _END in comment
            owner = _owner(comment, owner, of.merchant_no)
            _check_day(comment, of.bill_on)
            _take_total(comment, sums)
        elif ended:
            raise BillRefused(f"{sums.name} goes on after its end", code="bill_form")
        elif not place:
            place = _places(values, needed)
        elif owner is None:
            raise BillRefused(f"{sums.name} does not say whose account it is of", code="bill_form")
        else:
            yield values, place, owner
    if not place or not ended:
        raise BillRefused(f"{sums.name} ends without {'the line that ends its rows' if place else 'a header'}", code="bill_cut")


def _records(stream: IO[bytes], name: str) -> Iterator[list[str]]:
    """Yield what is between line ends, as values; a quoted value may hold commas and line ends."""
    reader = csv.reader(_text_lines(stream, name))
    try:
        yield from (values for values in reader if values)
    except csv.Error as broken:
        raise BillRefused(f"{name}, line {reader.line_num}: {broken}", code="bill_form") from None


def _text_lines(stream: IO[bytes], name: str) -> Iterator[str]:
    """Yield a file's lines one by one. GBK is read as GB18030, which contains it; a line end is never part of a character."""
    buffered = BufferedReader(cast(RawIOBase, stream), LINE_BYTES_MAX)
    while line := buffered.readline(LINE_BYTES_MAX + 1):
        if len(line) > LINE_BYTES_MAX:
            raise BillRefused(f"{name} has a line of more than {LINE_BYTES_MAX} bytes", code="bill_form")
        try:
            yield line.decode("gb18030")
        except UnicodeDecodeError:
            raise BillRefused(f"{name} holds bytes that are not GB18030: {line[:80]!r}", code="bill_form") from None


def _places(header: list[str], needed: frozenset[str]) -> Mapping[str, int]:
    names = [name.strip().replace("(", "（").replace(")", "）") for name in header]
    if missing := needed - set(names):
        raise BillRefused(f"the bill's header has no column {'、'.join(sorted(missing))}", code="bill_form")
    if len(set(names)) != len(names):
        raise BillRefused("the bill's header names a column twice", code="bill_form")
    return {name: index for index, name in enumerate(names)}


def _owner(comment: str, known: str | None, wanted: str | None) -> str | None:
    """Return whose account a file is of: the 16 digits of a merchant number, after which the account's own four come."""
    found = _ACCOUNT.match(comment)
    if found is None:
        return known
    if wanted is not None and found[1] != wanted:
        raise BillRefused(f"the bill is of merchant {found[1]}, not {wanted}", code="bill_form")
    return found[1]


def _check_day(comment: str, wanted: date | None) -> None:
    """Refuse a file that says it is of another day."""
    found = _BEGINS_ON.match(comment)
    if wanted is not None and found is not None and tuple(map(int, found.groups())) != (wanted.year, wanted.month, wanted.day):
        raise BillRefused(f"the bill begins on {'-'.join(found.groups())}, not {wanted}", code="bill_form")


# Totals


def _take_total(comment: str, sums: _Sums) -> None:
    """Note what a line under the rows states: ``#交易合计：1笔，商家实收共12.00元，…``; a sum of refunds may have a minus."""
    if _BEGINS_TOTAL.match(comment) is None:
        return
    found = _STATED.match(comment)
    if found is None:
        raise BillRefused(f"{sums.name} ends in its totals: {comment[:80]!r}", code="bill_cut")
    kind, count, rest = found.groups()
    sums.stated[kind + _COUNT] = int(count)
    for piece in filter(None, (part.strip() for part in re.split("[，,]", rest))):
        if (part := _PART.fullmatch(piece)) is None:
            raise BillRefused(f"{sums.name} ends in its totals: {comment[:80]!r}", code="bill_cut")
        if kind + part[1] in _SUMMED:
            sums.stated[kind + part[1]] = abs(_total(part[2], sums.name))


def _total(text: str, name: str) -> int:
    try:
        return wire.fen(text)
    except ValueError as wrong:
        raise BillRefused(f"{name}, totals: {wrong}", code="bill_cut") from None


def _check_totals(sheets: list[_Sums]) -> None:
    """Compare what was stated with what was read; a total that is not stated is not checked, but the count must be.

    Where a day has several files no document says whether each states its own rows or all: either is taken, file by file.
    """
    whole: dict[str, int] = {}
    for sheet in sheets:
        for key, amount in sheet.summed.items():
            whole[key] = whole.get(key, 0) + amount
    for sheet in sheets:
        differing = _differs(sheet.stated, sheet.summed)
        if differing is not None and _differs(sheet.stated, whole) is not None:
            stated, summed = (_shown(differing, of.get(differing, 0)) for of in (sheet.stated, sheet.summed))
            raise BillRefused(f"{sheet.name} states {differing} {stated} and its rows have {summed}: it is cut", code="bill_cut")
    if TOTALS_NEEDED and (lacking := [key for key in whole if key.endswith(_COUNT) and not _covered(key, sheets, whole)]):
        raise BillRefused(f"the bill does not state its {'、'.join(lacking)}: it is cut", code="bill_cut")


def _differs(stated: Mapping[str, int], summed: Mapping[str, int]) -> str | None:
    return next((key for key, amount in stated.items() if amount != summed.get(key, 0)), None)


def _covered(key: str, sheets: list[_Sums], whole: Mapping[str, int]) -> bool:
    """Tell whether every row that ``key`` counts is in some stated count."""
    return any(sheet.stated.get(key) == whole[key] for sheet in sheets) or all(
        key in sheet.stated for sheet in sheets if key in sheet.summed
    )


def _shown(key: str, amount: int) -> str:
    return str(amount) if key.endswith(_COUNT) else yuan(amount)
