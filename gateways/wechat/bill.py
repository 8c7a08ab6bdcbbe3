"""WeChat Pay's trade bill file: reading, checking its totals.

Knows the file's layout (columns by name, a backtick before each value, the summary); must not know our book. Called by the adapter.
A file is read row by row and taken whole or not at all. Source: docs/CHANNELS.md, trade bill.
"""

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import BinaryIO, Final, Literal

from msgspec import Struct

from gateways.contract import Bill, BillLine, BillRefused, RefundState
from gateways.wechat.files import SEPARATOR, amounts_of, instant_of, text_lines, values_of
from ledger.money import fen, yuan

_OLD_NAMES: Final = {"总金额": "应结订单金额", "企业红包金额": "代金券金额"}
_KINDS: Final[dict[str, Literal["payment", "refund", "revoked"]]] = {
    "SUCCESS": "payment",
    "REFUND": "refund",
    "REVOKED": "revoked",
}
_REFUND_STATES: Final = {
    "SUCCESS": RefundState.DONE,
    "PROCESSING": RefundState.PENDING,
    "FAIL": RefundState.CLOSED,
    "CHANGE": RefundState.STUCK,
}
"""退款状态, whose words are not those of the API."""
_NEEDED: Final = frozenset(
    {"交易时间", "商户号", "特约商户号", "微信订单号", "商户订单号", "交易状态", "货币种类", "手续费", "订单金额"}
)
_CURRENCY: Final = "CNY"
_TOTALS: Final = {
    "应结订单总金额": "应结订单金额",
    "退款总金额": "退款金额",
    "充值券退款总金额": "充值券退款金额",
    "手续费总金额": "手续费",
    "订单总金额": "订单金额",
    "申请退款总金额": "申请退款金额",
}
"""Summary column → the column it is the plain sum of."""
_TOTALS_NEEDED: Final = frozenset({"总交易单数", "手续费总金额", "订单总金额"})


class _Layout(Struct, frozen=True):
    """Where each column stands in this file; None where an optional one is missing."""

    columns: int
    summed: tuple[tuple[str, int], ...]
    """Columns that the summary sums, with their places."""
    provider_no: int
    currency: int
    status: int
    merchant_no: int
    trade_no: int
    order_no: int
    happened_at: int
    refund_no: int | None
    refund_state: int | None


def read(file: BinaryIO, *, provider_no: str, merchant_no: str | None = None) -> Iterator[BillLine]:
    """Yield the bill's lines one by one, while every row can be read and is ours (and ``merchant_no``'s, if given).

    Raises BillRefused: ``bill_form`` (with the row), and at the end ``bill_cut`` (summary missing, or a total differs: which, and
    by how much). So nothing may be booked before the end.
    """
    rows = text_lines(file)
    layout = _layout(_names(next(rows, "")))
    sums = dict.fromkeys((name for name, _ in layout.summed), 0)
    number = 0
    for number, row in enumerate(rows, 1):
        if not row.startswith("`"):
            _check_summary(row, next(rows, None), rows, sums, number - 1)
            return
        line = _line(number, values_of(row, layout.columns, number), layout, provider_no, sums)
        if merchant_no is not None and merchant_no != line.merchant_no:
            raise BillRefused(f"row {number} belongs to merchant {line.merchant_no}, not {merchant_no}", code="bill_form")
        yield line
    raise BillRefused(f"the bill file ends after {number} rows without a summary", code="bill_cut")


def parse(content: bytes, *, provider_no: str, merchant_no: str | None = None) -> Bill:
    """Return a whole small bill at once. Raises BillRefused as ``read``."""
    return Bill.of(read(BytesIO(content), provider_no=provider_no, merchant_no=merchant_no))


def _names(header: str) -> list[str]:
    names = [_OLD_NAMES.get(name, name) for name in header.split(",")]
    if missing := _NEEDED - set(names):
        raise BillRefused(f"the bill's header has no column {'、'.join(sorted(missing))}", code="bill_form")
    if len(set(names)) != len(names):
        raise BillRefused("the bill's header names a column twice", code="bill_form")
    return names


def _layout(names: list[str]) -> _Layout:
    place = {name: index for index, name in enumerate(names)}
    return _Layout(
        columns=len(names),
        summed=tuple((name, place[name]) for name in _TOTALS.values() if name in place),
        provider_no=place["商户号"],
        currency=place["货币种类"],
        status=place["交易状态"],
        merchant_no=place["特约商户号"],
        trade_no=place["微信订单号"],
        order_no=place["商户订单号"],
        # in the REFUND form 交易时间 is the payment's time; the refund was accepted at 退款申请时间, as in the ALL form
        happened_at=place.get("退款申请时间", place["交易时间"]),
        refund_no=place.get("商户退款单号"),
        refund_state=place.get("退款状态"),
    )


def _line(number: int, values: list[str], layout: _Layout, provider_no: str, sums: dict[str, int]) -> BillLine:
    amounts = amounts_of(values, layout.summed, number)
    for name, amount_fen in amounts.items():
        sums[name] += amount_fen
    if (provider := values[layout.provider_no]) != provider_no:
        raise BillRefused(f"row {number} belongs to provider {provider}, not {provider_no}", code="bill_form")
    if (currency := values[layout.currency]) != _CURRENCY:
        raise BillRefused(f"row {number} is in {currency!r}, not {_CURRENCY}", code="bill_form")
    kind = _KINDS.get(values[layout.status])
    if kind is None:
        raise BillRefused(f"row {number} has the unknown 交易状态 {values[layout.status]!r}", code="bill_form")
    is_refund = kind == "refund"
    return BillLine(
        line=number,
        kind=kind,
        merchant_no=values[layout.merchant_no],
        trade_no=values[layout.trade_no],
        order_no=values[layout.order_no],
        amount_fen=_moved(kind, amounts),
        fee_fen=amounts["手续费"],
        happened_at=instant_of(values[layout.happened_at], number),
        refund_no=values[layout.refund_no] if is_refund and layout.refund_no is not None else None,
        refund_state=_refund_state(values, layout) if is_refund else None,
    )


def _refund_state(values: list[str], layout: _Layout) -> RefundState:
    word = values[layout.refund_state] if layout.refund_state is not None else ""
    return _REFUND_STATES.get(word, RefundState.UNKNOWN)


def _moved(kind: str, amounts: Mapping[str, int]) -> int:
    """Return the order's amount of a payment, the amount asked back of a refund, and of a reversal whichever is stated."""
    asked_back = amounts.get("申请退款金额", 0)
    return amounts["订单金额"] if kind == "payment" else asked_back or amounts["订单金额"]


def _check_summary(header: str, values: str | None, rest: Iterator[str], sums: Mapping[str, int], count: int) -> None:
    """Compare the summary with what was read. A total that the summary does not state is not checked."""
    names = header.split(",")
    if not set(names) >= _TOTALS_NEEDED:
        raise BillRefused(f"after {count} rows a summary was due, not {header[:80]!r}", code="bill_cut")
    if values is None or not values.startswith("`"):
        raise BillRefused("the bill file ends in its summary", code="bill_cut")
    stated = values[1:].split(SEPARATOR)
    if len(stated) != len(names):
        raise BillRefused("the bill file ends in its summary", code="bill_cut")
    for name, text in zip(names, stated, strict=True):
        _check_total(name, text, sums, count)
    if any(rest):
        raise BillRefused("the bill file goes on after its summary", code="bill_form")


def _check_total(name: str, text: str, sums: Mapping[str, int], count: int) -> None:
    if name == "总交易单数":
        if _total(name, text) != count * 100:  # printed as 45 or 45.0: read with two decimals
            raise BillRefused(f"the bill states {text} rows and has {count}: it is cut", code="bill_cut")
    elif (summed := sums.get(_TOTALS.get(name, ""))) is not None and (total := _total(name, text)) != summed:
        raise BillRefused(f"the bill states {name} {yuan(total)} and its rows sum to {yuan(summed)}: it is cut", code="bill_cut")


def _total(name: str, text: str) -> int:
    try:
        return fen(text)
    except ValueError as wrong:
        raise BillRefused(f"the bill's {name}: {wrong}", code="bill_cut") from None
