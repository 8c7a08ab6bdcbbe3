"""Writes the trade bill file as the channel writes it: 27 columns, a backtick before each value, the summary.

Knows the file's form; must not know state. Called by the sandbox's desk. Source: docs/CHANNELS.md, trade bill.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from gateways.sandbox.state import Order
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
Form = Literal["ALL", "SUCCESS", "REFUND"]


def fee_fen(amount_fen: int, bps: int) -> int:
    """Return the channel's commission, rounded half up to the fen."""
    return (amount_fen * bps + 5000) // 10_000


def write(orders: Sequence[Order], *, provider_no: str, fee_bps: int, form: Form, bom: bool, crlf: bool) -> bytes:
    """Return the file for paid orders in the order given. There are no refunds yet, so form REFUND has no rows."""
    names = _ALL.split(",")
    if form == "SUCCESS":
        names = [name for name in names if name not in _REFUND_ONLY]
    if form == "REFUND":
        orders, names = (), [*names[:14], "退款申请时间", "退款成功时间", *names[14:]]
    end = "\r\n" if crlf else "\n"
    lines = [",".join(names)]
    lines += [_row([_cells(order, provider_no, fee_bps)[name] for name in names]) for order in orders]
    lines += _summary(orders, form)
    return (b"\xef\xbb\xbf" if bom else b"") + (end.join(lines) + end).encode()


def _row(values: Sequence[str]) -> str:
    return "`" + ",`".join(values)


def _cells(order: Order, provider_no: str, fee_bps: int) -> dict[str, str]:
    paid = datetime.fromtimestamp((order.paid_at or 0) // 1_000_000, tz=EPOCH.tzinfo).astimezone(CHINA)
    return {
        "交易时间": f"{paid:%Y-%m-%d %H:%M:%S}",
        "公众账号ID": order.app_id,
        "商户号": provider_no,
        "特约商户号": order.merchant_no,
        "设备号": "",
        "微信订单号": order.trade_no or "",
        "商户订单号": order.order_no,
        "用户标识": order.openid,
        "交易类型": "JSAPI",
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
        "商品名称": _escaped(order.description),
        "商户数据包": _escaped(order.attach or ""),
        "手续费": yuan(order.fee_fen or 0) + "000",
        "费率": f"{yuan(fee_bps)}%",
        "订单金额": yuan(order.amount_fen),
        "申请退款金额": "0.00",
        "费率备注": "",
    }


def _summary(orders: Sequence[Order], form: Form) -> list[str]:
    total, fee = yuan(sum(order.amount_fen for order in orders)), yuan(sum(order.fee_fen or 0 for order in orders)) + "000"
    if form == "SUCCESS":
        return [_SUMMARY_OF_SUCCESS, _row([f"{len(orders)}", total, fee, total])]
    return [_SUMMARY, _row([f"{len(orders)}", total, "0.00", "0.00", fee, total, "0.00"])]


def _escaped(text: str) -> str:
    """Write merchants' text as the channel does, so that no row holds a raw comma or line break inside a value."""
    return text.replace('"', '\\"').replace(",", "\\ ").replace("\r", "\\r").replace("\n", "\\n")
