"""The reconciliation file of WXETC-1 [P]: H, D and T lines, the SM3 beside it, the channel's fee.

Knows the file's layout and its totals; must not know our book. Called by the adapter; the writer by the stand-in.
A file is taken whole or not at all: readers raise BillRefused. Source: docs/ETC.md, section 8, reconciliation file.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import partial
from io import BytesIO
from typing import BinaryIO, Final

import msgspec
from cryptography.hazmat.primitives import hashes
from msgspec import Struct

from gateways.contract import Bill, BillLine, BillRefused, RefundState
from gateways.etc import sm2
from gateways.etc.record import china_time
from ledger.clock import CHINA

FORM: Final = "WXETC-1"
FILE_BYTES_MAX: Final = 256 * 1024 * 1024
LINE_BYTES_MAX: Final = 4_096
"""A genuine line has fewer than 400 bytes."""
READY_AT_HOUR: Final = 9
"""Hour of T+1 (China) at which the file of day T is there."""
RATE_UNITS: Final = 10_000
"""The channel fee is a rate in 1/10000, per car park."""

_FORBIDDEN: Final = re.compile(r"[|\r\n]")
_AMOUNT: Final = re.compile(r"-?[1-9][0-9]{0,12}|0")
_COUNT: Final = re.compile(r"[1-9][0-9]{0,8}|0")
_NUMBERS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("id", re.compile(r"[0-9A-Za-z_\-]{1,32}")),
    ("orderId", re.compile(r"[0-9A-Za-z_\-]{0,32}")),
    ("messageId", re.compile(r"[0-9]{20}|")),
    ("transId", re.compile(r"[1-9][0-9]{0,4}|")),
)
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)
_LOT: Final = re.compile(r"[0-9]{10}|")
_SM3_LINE: Final = re.compile(r"([0-9a-fA-F]{64})  ([^\r\n]+)\n?")
_MASKED: Final = "*"


class Kind(StrEnum):
    """What a line is about."""

    PAY = "PAY"
    REFUND = "REFUND"
    ADJUST = "ADJUST"
    """A correction between the parties; it belongs to no single charge of ours and is not part of the neutral bill."""


class State(StrEnum):
    """How far a line is."""

    CLEARED = "CLEARED"
    BAD = "BAD"
    """The issuer will not pay; no money moves, and what had been told as paid is taken back."""
    PENDING = "PENDING"
    """In dispute; no money moves yet."""


_KINDS: Final = {kind.value: kind for kind in Kind}
_STATES: Final = {state.value: state for state in State}


class ReconLine(Struct, frozen=True, kw_only=True):
    """One D line. Amounts in fen, a refund's negative; ``net_fen`` is gross less fee."""

    kind: Kind
    line_no: str
    """Of a payment the charge's 26 digits, of a refund our refund number."""
    order_no: str
    """Empty for a charge by card."""
    message_no: str
    trans_no: str
    """Package and place of a charge by card; both empty for a charge by plate."""
    happened_at: datetime
    lot_no: str
    plate_masked: str
    gross_fen: int
    fee_fen: int
    net_fen: int
    state: State
    original_no: str = ""
    """Of a refund: the charge or order it gives back."""


class Recon(Struct, frozen=True):
    """A file whose totals agree with its lines, in the order of the file."""

    merchant_no: str
    clear_on: date
    created_at: datetime
    lines: tuple[ReconLine, ...]

    def of(self, kind: Kind, state: State) -> tuple[ReconLine, ...]:
        """Return the lines of one kind and state."""
        return tuple(line for line in self.lines if line.kind is kind and line.state is state)


def channel_fee_fen(amount_fen: int, rate: int) -> int:
    """Return the channel's fee on one charge, rounded half up to the fen; on a refund the same, negative.

    ``rate`` is in 1/10000. The day's fee is the sum of these, never a rate on the sum.
    """
    fee_fen = (abs(amount_fen) * rate * 2 + RATE_UNITS) // (RATE_UNITS * 2)
    return -fee_fen if amount_fen < 0 else fee_fen


def wrong_fees(recon: Recon, rates: Mapping[str, int]) -> tuple[int, ...]:
    """Return the places (from 1) of payments and refunds whose fee is not the agreed one; ``rates`` is by car park.

    A car park without a rate is wrong: nothing was agreed.
    """
    return tuple(
        place
        for place, line in enumerate(recon.lines, 1)
        if line.kind is not Kind.ADJUST
        and (line.lot_no not in rates or line.fee_fen != channel_fee_fen(line.gross_fen, rates[line.lot_no]))
    )


def masked(plate: str) -> str:
    """Return a plate with all but its first two and last two characters hidden; a short one shows its first only."""
    if len(plate) < 5:
        return plate[:1] + _MASKED * (len(plate) - 1)
    return plate[:2] + _MASKED * (len(plate) - 4) + plate[-2:]


def file_name(*, merchant_no: str, clear_on: date) -> str:
    """Return the name of an operator's file of a clearing date."""
    return f"WXETC_DETAIL_{merchant_no}_{clear_on:%Y%m%d}.txt"


def digest_file(name: str, content: bytes) -> bytes:
    """Return the file that lies beside: SM3 in hex, two blanks, the name."""
    return f"{sm2.sm3(content).hex()}  {name}\n".encode()


def check_digest(content: bytes, *, beside: bytes, name: str) -> None:
    """Take a file only when the digest beside it is its own and names it.

    Raises BillRefused: ``bill_digest``, ``bill_too_large``.
    """
    if len(content) > FILE_BYTES_MAX:
        raise BillRefused(f"the reconciliation file has more than {FILE_BYTES_MAX} bytes", code="bill_too_large")
    found = _SM3_LINE.fullmatch(beside.decode("utf-8", "replace"))
    if found is None or found[2] != name:
        raise BillRefused(f"the file beside {name} does not state its SM3", code="bill_digest")
    digest = sm2.sm3(content).hex()
    if found[1].lower() != digest:
        raise BillRefused(f"{name} has SM3 {digest}, announced was {found[1].lower()}", code="bill_digest")


def write(recon: Recon) -> bytes:
    """Return the file. Raises ValueError for values that its own reader would refuse."""
    rows = [f"H|{FORM}|{_safe(recon.merchant_no)}|{recon.clear_on.isoformat()}|{china_time(recon.created_at)}"]
    rows += ["|".join(["D", *map(_safe, _cells(line))]) for line in recon.lines]
    sums = _Sums()
    for line in recon.lines:
        sums.add(line)
    rows.append(f"T|{sums.lines}|{sums.gross_fen}|{sums.fee_fen}|{sums.net_fen}")
    content = "".join(f"{row}\n" for row in rows).encode()
    try:
        read(content, merchant_no=recon.merchant_no, clear_on=recon.clear_on)
    except BillRefused as refused:
        raise ValueError(f"this file must not be written: {refused}") from None
    return content


def proven(parts: Iterable[bytes], announced: str) -> Iterator[bytes]:
    """Yield a file's parts; in the end raise BillRefused ``bill_digest`` unless it has the announced SM3."""
    sm3 = hashes.Hash(hashes.SM3())
    for part in parts:
        sm3.update(part)
        yield part
    if (digest := sm3.finalize().hex()) != announced:
        raise BillRefused(f"the bill file has SM3 {digest}, announced was {announced}", code="bill_digest")


def lines(file: BinaryIO, *, merchant_no: str, clear_on: date) -> Iterator[ReconLine]:
    """Yield the file's lines one by one, while each can be read; memory grows by 8 bytes a line, which find what stands twice.

    Raises BillRefused: ``bill_form`` (with the row), ``bill_too_large``, ``bill_cut`` (no T line, or a total differs): possibly
    after the last line, so nothing may be booked before the end.
    """
    rows, sums, names, number = _rows(file), _Sums(), _Names(), 0
    _header(next(rows), merchant_no, clear_on)
    for number, row in enumerate(rows, 1):
        if row.startswith("T|"):
            if next(rows, None) is not None:
                raise BillRefused("the reconciliation file goes on after its T line", code="bill_form")
            _check_totals(row, sums)
            break
        line = _line(row, number)
        sums.add(line)
        names.add(line)
        yield line
    else:
        raise BillRefused(f"the reconciliation file ends after {number + 1} rows without a T line", code="bill_cut")
    if suspects := names.suspects():
        _check_names(file, suspects)


def read(content: bytes, *, merchant_no: str, clear_on: date) -> Recon:
    """Return a whole small file at once. Raises BillRefused as ``lines``."""
    found = tuple(lines(BytesIO(content), merchant_no=merchant_no, clear_on=clear_on))
    created_at = _header(next(_rows(BytesIO(content))), merchant_no, clear_on)
    return Recon(merchant_no=merchant_no, clear_on=clear_on, created_at=created_at, lines=found)


def bill_lines(file: BinaryIO, *, merchant_no: str, clear_on: date) -> Iterator[BillLine]:
    """Yield the neutral bill: cleared payments and refunds, and payments that are bad debts. What is pending or an adjustment moves
    no order's money.

    A charge by plate is named by its order, one by card by its 26 digits; that is order number and trade number at once.
    Raises BillRefused as ``lines``.
    """
    return _neutral_lines(lines(file, merchant_no=merchant_no, clear_on=clear_on), merchant_no)


def bill_of(recon: Recon) -> Bill:
    """Return the neutral bill of a whole file."""
    return Bill.of(_neutral_lines(recon.lines, recon.merchant_no))


def parse(content: bytes, *, merchant_no: str, clear_on: date) -> Bill:
    """Return the neutral bill of a whole small file. Raises BillRefused as ``lines``."""
    return Bill.of(bill_lines(BytesIO(content), merchant_no=merchant_no, clear_on=clear_on))


def _neutral_lines(told: Iterable[ReconLine], merchant_no: str) -> Iterator[BillLine]:
    for place, line in enumerate(told, 1):
        if line.state is State.CLEARED and line.kind is not Kind.ADJUST:
            yield _neutral(line, place, merchant_no)
        elif line.state is State.BAD and line.kind is Kind.PAY:
            yield msgspec.structs.replace(_neutral(line, place, merchant_no), kind="bad_debt", fee_fen=0)


def _neutral(line: ReconLine, place: int, merchant_no: str) -> BillLine:
    is_refund = line.kind is Kind.REFUND
    charge_no = line.original_no if is_refund else line.line_no
    return BillLine(
        line=place,
        kind="refund" if is_refund else "payment",
        merchant_no=merchant_no,
        trade_no=line.order_no or charge_no,
        order_no=line.order_no or charge_no,
        amount_fen=abs(line.gross_fen),
        fee_fen=line.fee_fen,
        happened_at=line.happened_at,
        refund_no=line.line_no if is_refund else None,
        refund_state=RefundState.DONE if is_refund else None,  # only what is cleared comes here
    )


def _rows(file: BinaryIO) -> Iterator[str]:
    """Yield the rows without their line ends; there is at least one."""
    size = 0
    for line in iter(partial(file.readline, LINE_BYTES_MAX), b""):
        size += len(line)
        if size > FILE_BYTES_MAX:
            raise BillRefused(f"the reconciliation file has more than {FILE_BYTES_MAX} bytes", code="bill_too_large")
        if not line.endswith(b"\n"):
            if len(line) == LINE_BYTES_MAX:
                raise BillRefused(f"the reconciliation file has a line of more than {LINE_BYTES_MAX} bytes", code="bill_form")
            raise BillRefused("the reconciliation file ends within a line", code="bill_cut")
        try:
            yield line[:-1].decode()
        except UnicodeDecodeError:
            raise BillRefused("the reconciliation file is not UTF-8", code="bill_form") from None
    if not size:
        raise BillRefused("the reconciliation file is empty", code="bill_cut")


def _header(row: str, merchant_no: str, clear_on: date) -> datetime:
    cells = row.split("|")
    if len(cells) != 5 or cells[:2] != ["H", FORM]:
        raise BillRefused(f"the reconciliation file begins with {row[:80]!r}", code="bill_form")
    if cells[2:4] != [merchant_no, clear_on.isoformat()]:
        raise BillRefused(f"the file is of {cells[2][:40]} for {cells[3][:10]}, not {merchant_no} for {clear_on}", code="bill_form")
    return _time(cells[4], 0)


def _line(row: str, number: int) -> ReconLine:
    cells = row.split("|")
    if len(cells) != 14 or cells[0] != "D":
        raise BillRefused(f"row {number} is not a D line of 14 fields", code="bill_form")
    for (name, form), cell in zip(_NUMBERS, cells[2:6], strict=True):
        if form.fullmatch(cell) is None:
            raise BillRefused(f"row {number}: {cell[:40]!r} is not a {name}", code="bill_form")
    if _LOT.fullmatch(cells[7]) is None:
        raise BillRefused(f"row {number}: {cells[7][:40]!r} is not a parkId", code="bill_form")
    kind, state = _KINDS.get(cells[1]), _STATES.get(cells[12])
    if kind is None or state is None:
        unknown = cells[1] if kind is None else cells[12]
        raise BillRefused(f"row {number}: {unknown[:40]!r} is no {'kind' if kind is None else 'state'}", code="bill_form")
    line = ReconLine(
        kind=kind,
        line_no=cells[2],
        order_no=cells[3],
        message_no=cells[4],
        trans_no=cells[5],
        happened_at=_time(cells[6], number),
        lot_no=cells[7],
        plate_masked=cells[8],
        gross_fen=_integer(_AMOUNT, cells[9], number),
        fee_fen=_integer(_AMOUNT, cells[10], number),
        net_fen=_integer(_AMOUNT, cells[11], number),
        state=state,
        original_no=cells[13],
    )
    if objection := _line_objection(line):
        raise BillRefused(f"row {number}: {objection}", code="bill_form")
    return line


def _line_objection(line: ReconLine) -> str | None:
    if line.net_fen != line.gross_fen - line.fee_fen:
        return "the net amount is not gross less fee"
    if bool(line.message_no) is not bool(line.trans_no):
        return "messageId and transId come together"
    if line.kind is Kind.PAY:
        if len(line.line_no) != 26 or not line.line_no.isdigit():
            return f"{line.line_no} is not a charge's 26 digits"
        if not line.order_no and not line.message_no:
            return "a payment has an order or a package"
        return "a payment is not negative" if line.gross_fen < 0 or line.fee_fen < 0 else None
    if line.kind is Kind.REFUND:
        if _NUMBERS[0][1].fullmatch(line.original_no) is None:
            return "a refund names what it gives back"
        return "a refund is negative" if line.gross_fen >= 0 or line.fee_fen > 0 else None
    return None


class _Sums(Struct):
    """What the lines add up to, whatever their state: the totals prove the file, not the money."""

    lines: int = 0
    gross_fen: int = 0
    fee_fen: int = 0
    net_fen: int = 0

    def add(self, line: ReconLine) -> None:
        self.lines += 1
        self.gross_fen += line.gross_fen
        self.fee_fen += line.fee_fen
        self.net_fen += line.net_fen


class _Names:
    """Notes which lines there were, in 8 bytes each, over so many heaps that one can be looked through at a time."""

    def __init__(self) -> None:
        self._heaps = [array("q") for _ in range(256)]

    def add(self, line: ReconLine) -> None:
        mark = hash(_name(line))
        self._heaps[mark & 0xFF].append(mark)

    def suspects(self) -> frozenset[int]:
        """Return the marks that came twice: of one name, or by chance of two."""
        twice = [heap for heap in self._heaps if len(set(heap)) != len(heap)]
        return frozenset(mark for heap in twice for mark, count in Counter(heap).items() if count > 1)


def _name(line: ReconLine) -> str:
    # two cars may leave a car park in one second: the 26 digits of a charge by plate need not be its own, its order number is
    return f"{line.kind} {line.order_no if line.kind is Kind.PAY and line.order_no else line.line_no}"


def _check_names(file: BinaryIO, suspects: frozenset[int]) -> None:
    """Go through a file that was read once more, and refuse it when a name really stands twice."""
    file.seek(0)
    rows, seen = _rows(file), set[str]()
    next(rows)
    for number, row in enumerate(rows, 1):
        if row.startswith("T|"):
            return
        name = _name(_line(row, number))
        if name in seen:
            raise BillRefused(f"row {number}: {name} stands twice", code="bill_form")
        if hash(name) in suspects:
            seen.add(name)


def _check_totals(row: str, sums: _Sums) -> None:
    cells = row.split("|")
    if len(cells) != 5:
        raise BillRefused(f"the T line has {len(cells)} fields, not 5", code="bill_form")
    stated = (_integer(_COUNT, cells[1], -1), *(_integer(_AMOUNT, cell, -1) for cell in cells[2:]))
    ours = (sums.lines, sums.gross_fen, sums.fee_fen, sums.net_fen)
    for name, told, summed in zip(("detailCount", "grossFen", "feeFen", "netFen"), stated, ours, strict=True):
        if told != summed:
            raise BillRefused(f"the file states {name} {told} and its lines give {summed}: it is cut", code="bill_cut")


def _cells(line: ReconLine) -> tuple[str, ...]:
    return (
        line.kind,
        line.line_no,
        line.order_no,
        line.message_no,
        line.trans_no,
        china_time(line.happened_at),
        line.lot_no,
        line.plate_masked,
        str(line.gross_fen),
        str(line.fee_fen),
        str(line.net_fen),
        line.state,
        line.original_no,
    )


def _safe(text: str) -> str:
    if _FORBIDDEN.search(text):
        raise ValueError(f"{text!r} cannot stand in a reconciliation file")
    return text


def _time(text: str, row: int) -> datetime:
    try:
        if _TIME.fullmatch(text) is not None:
            return datetime.fromisoformat(text).replace(tzinfo=CHINA).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BillRefused(f"row {row}: {text[:40]!r} is not a time", code="bill_form")


def _integer(form: re.Pattern[str], text: str, row: int) -> int:
    if form.fullmatch(text) is None:
        place = "the T line" if row < 0 else f"row {row}"
        raise BillRefused(f"{place}: {text[:40]!r} is not a number of fen or lines", code="bill_form")
    return int(text)
