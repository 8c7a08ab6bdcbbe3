"""Writes bill files as the channel writes them: a ZIP with GBK names, the day's rows and a summary, in GBK.

Knows the files' form; must not know the store. Called by the stand-in's bill desk. Source: docs/CHANNELS.md, Alipay, bills.
"""

import io
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from msgspec import Struct

from gateways.sandbox.alipay.desk import details_of, wire_time
from gateways.sandbox.store import Order, Refund
from ledger.money import yuan

_TRADE: Final = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,"
    "商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
    "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
_TRADE_SUMMARY: Final = (
    "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,商家优惠（元）,卡消费金额（元）,"
    "服务费（元）,分润（元）,实收净额（元）"
)
_FLOW: Final = (
    "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,业务类型,"
    "备注"
)
_FLOW_SUMMARY: Final = "类型,收入笔数,收入金额（+元）,支出笔数,支出金额（-元）,总金额（元）"
_PAYER: Final = "*明(138****0001)"


class RefundRow(Struct, frozen=True):
    """A refund to be billed, with its trade."""

    order: Order
    refund: Refund


Entry = Order | RefundRow


class Flow(Struct, frozen=True):
    """One change of a merchant's balance, positive or negative, and what is left."""

    flow_no: str
    trade_no: str
    order_no: str
    subject: str
    at: int
    amount_fen: int
    balance_fen: int
    kind: str
    note: str = ""


class Frame(Struct, frozen=True):
    """Whose file it is, of which day, and when it was made."""

    merchant_no: str
    bill_on: date
    made_at: datetime
    """In China."""


def trade_archive(entries: Sequence[Entry], frame: Frame) -> bytes:
    """Return the trade bill of paid trades and refunds, in the order given."""
    rows = [_trade_row(entry) for entry in entries]
    paid = [entry for entry in entries if isinstance(entry, Order)]
    back = [entry.refund for entry in entries if isinstance(entry, RefundRow)]
    taken, given = sum(order.amount_fen for order in paid), sum(refund.refund_fen for refund in back)
    ends = (
        f"#交易合计：{len(paid)}笔，商家实收共{yuan(taken)}元，商家优惠共0.00元",
        f"#退款合计：{len(back)}笔，商家实收退款共{yuan(-given)}元，商家优惠退款共0.00元",
    )
    fee = -sum(order.fee_fen or 0 for order in paid) + sum(refund.fee_fen for refund in back)
    net = yuan(taken - given + fee)
    sums = f"{len(paid)},{len(back)},{yuan(taken - given)},{yuan(taken - given)},0.00,0.00,0.00,{yuan(fee)},0.00,{net}"
    summary = [*_head("业务汇总查询", "业务汇总列表", frame), _TRADE_SUMMARY, f"\t,\t,{sums}", f"合计\t,\t,{sums}"]
    summary.append(_rule("业务汇总列表结束"))
    detail = [*_head("业务明细查询", "业务明细列表", frame), _TRADE, *rows, _rule("业务明细列表结束"), *ends, _made(frame)]
    return _archive(frame, "业务明细", detail, [*summary, _made(frame)])


def flow_archive(flows: Sequence[Flow], frame: Frame) -> bytes:
    """Return the bill of an account's movements, in the order given."""
    come = [flow.amount_fen for flow in flows if flow.amount_fen > 0]
    gone = [-flow.amount_fen for flow in flows if flow.amount_fen < 0]
    ends = (f"#支出合计：{len(gone)}笔，共{yuan(-sum(gone))}元", f"#收入合计：{len(come)}笔，共{yuan(sum(come))}元")
    rows = [_flow_row(flow) for flow in flows]
    summary = [*_head("账务汇总查询", "账务汇总列表", frame), _FLOW_SUMMARY, *_flow_sums(flows), _rule("账务汇总列表结束")]
    detail = [*_head("账务明细查询", "账务明细列表", frame), _FLOW, *rows, _rule("账务明细列表结束"), *ends, _made(frame)]
    return _archive(frame, "账务明细", detail, [*summary, _made(frame)])


def _trade_row(entry: Entry) -> str:
    """Return a row; a refund repeats its trade's numbers and has its own amount, with a minus."""
    order, refund = (entry, None) if isinstance(entry, Order) else (entry.order, entry.refund)
    if refund is None:
        amount, fee, refund_no, kind, at = yuan(order.amount_fen), yuan(-(order.fee_fen or 0)), "", "交易", order.paid_at
    else:
        amount, fee, refund_no = yuan(-refund.refund_fen), yuan(refund.fee_fen), refund.refund_no
        kind, at = "退款", refund.ends_at
    begun = order.created_at if refund is None else refund.accepted_at
    cells = [
        f"{order.trade_no}\t", f"{order.order_no}\t", f"{kind}\t", _quoted(details_of(order).subject), wire_time(begun),
        wire_time(at), "\t", "\t", "\t", "\t", f"{_PAYER}\t", amount, amount,
        "0.00", "0.00", "0.00", "0.00", "0.00", "", "0.00\t", "0.00",
        f"{refund_no}\t", fee, "0.00", "",
    ]  # fmt: skip
    return ",".join(cells)


def _flow_row(flow: Flow) -> str:
    come = yuan(flow.amount_fen) if flow.amount_fen > 0 else ""
    gone = yuan(flow.amount_fen) if flow.amount_fen < 0 else ""
    cells = [
        f"{flow.flow_no}\t", f"{flow.trade_no}\t", f"{flow.order_no}\t", _quoted(flow.subject), wire_time(flow.at), f"{_PAYER}\t",
        come, gone, yuan(flow.balance_fen), "支付宝", flow.kind, _quoted(flow.note),
    ]  # fmt: skip
    return ",".join(cells)


def _flow_sums(flows: Sequence[Flow]) -> list[str]:
    rows = []
    for kind in sorted({flow.kind for flow in flows}):
        come = [flow.amount_fen for flow in flows if flow.kind == kind and flow.amount_fen > 0]
        gone = [flow.amount_fen for flow in flows if flow.kind == kind and flow.amount_fen < 0]
        total = yuan(sum(come) + sum(gone))
        rows.append(f"{kind},{len(come)},{yuan(sum(come))},{len(gone)},{yuan(sum(gone))},{total}")
    return rows


def _head(title: str, listed: str, frame: Frame) -> list[str]:
    begin, end = (f"{day:%Y年%m月%d日} 00:00:00" for day in (frame.bill_on, frame.bill_on + timedelta(days=1)))
    return [
        f"#支付宝{title}",
        f"#账号：[{frame.merchant_no}0156]",
        f"#起始日期：[{begin}]   终止日期：[{end}]",
        _rule(listed),
    ]


def _rule(words: str) -> str:
    return f"#-----------------------------------------{words}----------------------------------------"


def _made(frame: Frame) -> str:
    return f"#导出时间：[{frame.made_at:%Y年%m月%d日 %H:%M:%S}]"


def _quoted(text: str) -> str:
    """Return text that may hold commas or quotes as one value."""
    return '"' + text.replace('"', '""') + '"' if any(letter in text for letter in ',"\r\n') else text


def _archive(frame: Frame, kind: str, detail: Sequence[str], summary: Sequence[str]) -> bytes:
    stem = f"{frame.merchant_no}0156_{frame.bill_on:%Y%m%d}_{kind}"
    target, names = io.BytesIO(), (f"{stem}.csv", f"{stem}(汇总).csv")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, lines in zip(names, (detail, summary), strict=True):
            entry = _GbkName(name, date_time=frame.made_at.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, ("\r\n".join(lines) + "\r\n").encode("gbk", "replace"))
    return target.getvalue()


class _GbkName(zipfile.ZipInfo):
    """An entry whose name is written in GBK without saying so, as the channel does."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 the library's own hook
        return self.filename.encode("gbk"), self.flag_bits & ~0x800
