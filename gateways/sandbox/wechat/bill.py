"""Writes the trade bill file as the channel writes it: 27 columns, a backtick before each value, the summary.

Knows the file's form; must not know state. Called by the sandbox's desk. Source: docs/CHANNELS.md, trade bill.
"""

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Final, Literal

from msgspec import Struct

from gateways.sandbox.wechat.shapes import RefundWord
from gateways.sandbox.wechat.state import Order, Refund
from ledger.clock import CHINA, EPOCH
from ledger.money import yuan

_ALL: Final = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,"
    "代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,"
    "申请退款金额,费率备注"
)
_REFUND_ONLY: Final = frozenset(
    {"微信退款单号", "商户退款单号", "退款金额", "充值券退款金额", "退款类型", "退款状态", "申请退款金额"}
)
_SUMMARY: Final = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
_SUMMARY_OF_SUCCESS: Final = "总交易单数,应结订单总金额,手续费总金额,订单总金额"
_STATES: Final[dict[RefundWord, str]] = {
    "PROCESSING": "PROCESSING", "SUCCESS": "SUCCESS", "CLOSED": "FAIL", "ABNORMAL": "CHANGE"
}  # fmt: skip
"""The bill's words for a refund's state are not those of the API."""
Form = Literal["ALL", "SUCCESS", "REFUND"]


class RefundRow(Struct, frozen=True):
    """A refund to be billed: with its order, and what the channel says of it when it makes the bill."""

    order: Order
    refund: Refund
    word: RefundWord


Entry = Order | RefundRow


def fee_fen(amount_fen: int, bps: int) -> int:
    """Return the channel's commission, rounded half up to the fen."""
    return (amount_fen * bps + 5000) // 10_000


def fee_returned_fen(refund_fen: int, *, left_fen: int, fee_left_fen: int) -> int:
    """Return the commission given back with a refund: the refund's part of what is left of the order, rounded half to even.

    ``left_fen`` is the order less its refunds so far, ``fee_left_fen`` the commission less what came back with them; so the last
    refund of an order gives back all that remains.
    """
    return round(Fraction(refund_fen * fee_left_fen, left_fen))


def write(entries: Sequence[Entry], *, provider_no: str, fee_bps: int, form: Form, bom: bool, crlf: bool) -> bytes:
    """Return the file for paid orders and refunds in the order given; each form takes the rows that belong to it."""
    names, rows = _names(form), [entry for entry in entries if belongs(entry, form)]
    end = "\r\n" if crlf else "\n"
    lines = [",".join(names)]
    for entry in rows:
        cells = _cells(entry, provider_no, fee_bps, form)
        lines.append(_row([cells[name] for name in names]))
    lines += _summary(rows, form)
    return (b"\xef\xbb\xbf" if bom else b"") + (end.join(lines) + end).encode()


def belongs(entry: Entry, form: Form) -> bool:
    """Say whether a bill of this form lists the entry."""
    return form == "ALL" or (form == "REFUND") == isinstance(entry, RefundRow)


def _names(form: Form) -> list[str]:
    names = _ALL.split(",")
    if form == "SUCCESS":
        return [name for name in names if name not in _REFUND_ONLY]
    return [*names[:14], "退款申请时间", "退款成功时间", *names[14:]] if form == "REFUND" else names


def _row(values: Sequence[str]) -> str:
    return "`" + ",`".join(values)


def _cells(entry: Entry, provider_no: str, fee_bps: int, form: Form) -> dict[str, str]:
    if isinstance(entry, Order):
        return _payment_cells(entry, provider_no, fee_bps)
    return _payment_cells(entry.order, provider_no, fee_bps) | _refund_cells(entry, form)


def _refund_cells(row: RefundRow, form: Form) -> dict[str, str]:
    """Return what a refund's row has instead of its order's. In form REFUND the first column stays the time of payment."""
    refund, accepted = row.refund, _time(row.refund.accepted_at)
    amount = yuan(refund.refund_fen)
    cells = {
        "交易时间": accepted,
        "交易状态": "REFUND",
        "应结订单金额": "0.00",
        "退款申请时间": accepted,
        "退款成功时间": _time(refund.ends_at) if row.word == "SUCCESS" else "",
        "微信退款单号": refund.channel_refund_no,
        "商户退款单号": refund.refund_no,
        "退款金额": amount,
        "退款类型": "ORIGINAL",
        "退款状态": _STATES[row.word],
        "手续费": yuan(-refund.fee_fen) + "000",
        "订单金额": "0.00",
        "申请退款金额": amount,
    }
    if form == "REFUND":
        del cells["交易时间"]
    return cells


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at // 1_000_000, tz=EPOCH.tzinfo).astimezone(CHINA):%Y-%m-%d %H:%M:%S}"


def _payment_cells(order: Order, provider_no: str, fee_bps: int) -> dict[str, str]:
    return {
        "交易时间": _time(order.paid_at or 0),
        "公众账号ID": order.app_id,
        "商户号": provider_no,
        "特约商户号": order.merchant_no,
        "设备号": "",
        "微信订单号": order.trade_no or "",
        "商户订单号": order.order_no,
        "用户标识": order.openid,
        "交易类型": order.trade_type,
        "交易状态": "SUCCESS",
        "付款银行": "OTHERS",
        "货币种类": "CNY",
        "应结订单金额": yuan(order.amount_fen),
        "代金券金额": "0.00",
        "微信退款单号": "0",
        "商户退款单号": "0",
        "退款金额": "0.00",
        "充值券退款金额": "0.00",
        "退款类型": "",
        "退款状态": "",
        "商品名称": escaped(order.description),
        "商户数据包": escaped(order.attach or ""),
        "手续费": yuan(order.fee_fen or 0) + "000",
        "费率": f"{yuan(fee_bps)}%",
        "订单金额": yuan(order.amount_fen),
        "申请退款金额": "0.00",
        "费率备注": "",
    }


def _summary(rows: Sequence[Entry], form: Form) -> list[str]:
    """Return the plain sums of the columns over all rows; the commission is net."""
    orders = [row for row in rows if isinstance(row, Order)]
    refunds = [row.refund for row in rows if isinstance(row, RefundRow)]
    count, total = f"{len(rows)}", yuan(sum(order.amount_fen for order in orders))
    back = yuan(sum(refund.refund_fen for refund in refunds))
    fee = yuan(sum(order.fee_fen or 0 for order in orders) - sum(refund.fee_fen for refund in refunds)) + "000"
    if form == "SUCCESS":
        return [_SUMMARY_OF_SUCCESS, _row([count, total, fee, total])]
    return [_SUMMARY, _row([count, total, back, "0.00", fee, total, back])]


def escaped(text: str) -> str:
    """Write merchants' text as the channel does, so that no row holds a raw comma or line break inside a value."""
    return text.replace('"', '\\"').replace(",", "\\ ").replace("\r", "\\r").replace("\n", "\\n")
