"""Writes a large genuine bill of each channel to a file, row by row: what a day of a whole city would be.

Knows the files' forms; the rows are those of the stand-ins' writers. Called by the measurement of bills and by tests.
"""

import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from msgspec import Struct

from gateways.alipay import bill as alipay
from gateways.contract import BillLine
from gateways.etc import recon
from gateways.sandbox.unionpay.clearing import signed_amount, zm_line
from gateways.unionpay import bill as unionpay
from gateways.wechat import bill as wechat
from ledger.ids import payment_number, refund_number
from ledger.money import yuan

DAY: Final = date(2026, 3, 2)
REFUND_EVERY: Final = 50
"""Each fiftieth row gives the payment before it back."""
_PROVIDER_NO: Final = "1900000001"
_PID: Final = "2088001122334455"
_UNIONPAY_NO: Final = "777290058110048"
_ETC_NO: Final = "M-1620000007"


class Row(Struct, frozen=True):
    """What a row tells. Amounts in fen, without a sign."""

    number: int
    is_refund: bool
    order_no: str
    refund_no: str
    amount_fen: int
    fee_fen: int
    clock: str
    """Time of the day, ``hh:mm:ss``."""


class Form(Struct, frozen=True):
    """How one channel's bill is written and read."""

    write: Callable[[Path, int], None]
    read: Callable[[BinaryIO], Iterator[BillLine]]


def rows(count: int) -> Iterator[Row]:
    """Yield rows of a day, in order of time."""
    order_no = ""
    for number in range(count):
        is_refund = number % REFUND_EVERY == REFUND_EVERY - 1
        if not is_refund:
            order_no = payment_number(0, UUID(int=number))
        amount_fen = 300 + (number - is_refund) * 37 % 4_000
        second = number * 86_399 // count
        yield Row(
            number=number,
            is_refund=is_refund,
            order_no=order_no,
            refund_no=refund_number(0, UUID(int=number)),
            amount_fen=amount_fen,
            fee_fen=(amount_fen * 60 + 5_000) // 10_000,
            clock=f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}",
        )


class _Sums(Struct):
    paid: int = 0
    paid_fen: int = 0
    back: int = 0
    back_fen: int = 0
    fee_fen: int = 0

    def add(self, row: Row) -> None:
        if row.is_refund:
            self.back += 1
            self.back_fen += row.amount_fen
            self.fee_fen -= row.fee_fen
        else:
            self.paid += 1
            self.paid_fen += row.amount_fen
            self.fee_fen += row.fee_fen


_WECHAT_HEAD: Final = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,"
    "代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,"
    "申请退款金额,费率备注"
)
_WECHAT_SUMS: Final = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"


def write_wechat(path: Path, count: int) -> None:
    """Write WeChat's trade bill: CSV in UTF-8, a backtick before each value."""
    sums = _Sums()
    with path.open("w", encoding="utf-8", newline="\r\n") as file:
        file.write(f"\ufeff{_WECHAT_HEAD}\n")
        for row in rows(count):
            sums.add(row)
            amount, paid, back = yuan(row.amount_fen), "0.00", "0.00"
            fee, kind, refund = yuan(row.fee_fen), "SUCCESS", "`0,`0,`0.00,`0.00,`,`"
            if row.is_refund:
                kind, back, fee = "REFUND", amount, yuan(-row.fee_fen)
                refund = f"`503{row.number:026d},`{row.refund_no},`{amount},`0.00,`ORIGINAL,`SUCCESS"
            else:
                paid = amount
            file.write(
                f"`{DAY} {row.clock},`wx8888888888888888,`{_PROVIDER_NO},`1620000007,`,`42{row.number:026d},`{row.order_no},"
                f"`oPayer{row.number:022d},`JSAPI,`{kind},`OTHERS,`CNY,`{paid},`0.00,{refund},`停车费,`,`{fee}000,`0.60%,"
                f"`{paid},`{back},`\n"
            )
        paid, back = yuan(sums.paid_fen), yuan(sums.back_fen)
        file.write(f"{_WECHAT_SUMS}\n`{count},`{paid},`{back},`0.00,`{yuan(sums.fee_fen)}000,`{paid},`{back}\n")


_ALIPAY_HEAD: Final = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,"
    "商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
    "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)


def write_alipay(path: Path, count: int) -> None:
    """Write Alipay's archive: a table in GBK with its sums below it."""
    sums = _Sums()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("1_detail.csv", "w", force_zip64=True) as file:

        def line(text: str) -> None:
            file.write(f"{text}\r\n".encode("gbk"))

        line(f"#支付宝业务明细查询\r\n#账号：[{_PID}0156]\r\n#起始日期：[2026年03月02日 00:00:00]\r\n#----业务明细列表----")
        line(_ALIPAY_HEAD)
        for row in rows(count):
            sums.add(row)
            sign = -1 if row.is_refund else 1
            amount, fee = yuan(sign * row.amount_fen), yuan(-sign * row.fee_fen)
            kind, refund_no = ("退款", row.refund_no) if row.is_refund else ("交易", "")
            line(
                f"20260302{row.number - row.is_refund:020d}\t,{row.order_no}\t,{kind}\t,停车费,{DAY} {row.clock},{DAY} {row.clock},"
                f"\t,\t,\t,\t,*明(138****0001)\t,{amount},{amount},0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,{refund_no}\t,{fee},0.00,"
            )
        line("#----业务明细列表结束----")
        line(f"#交易合计：{sums.paid}笔，商家实收共{yuan(sums.paid_fen)}元，商家优惠共0.00元")
        line(f"#退款合计：{sums.back}笔，商家实收退款共{yuan(-sums.back_fen)}元，商家优惠退款共0.00元")


def write_unionpay(path: Path, count: int) -> None:
    """Write UnionPay's archive with one ZM file."""
    name = f"INN{DAY:%y%m%d}88ZM_{_UNIONPAY_NO}"
    same = {
        2: "00010000", 3: "00049992", 6: "621600******0018", 8: "7523", 9: "08", 13: "01", 21: "01", 22: "000201",
        28: _UNIONPAY_NO, 34: "00000001",
    }  # fmt: skip
    payment, refund = zm_line(same | {1: "S22", 20: "01"}), zm_line(same | {1: "S30", 20: "04"})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w", force_zip64=True) as file:
        for row in rows(count):
            sign = -1 if row.is_refund else 1
            line = bytearray(refund if row.is_refund else payment)
            for field, text in (
                (4, f"{row.number % 1_000_000:06d}"),
                (5, f"{DAY:%m%d}{row.clock.replace(':', '')}"),
                (7, f"{row.amount_fen:012d}"),
                (10, f"202603{row.number:015d}"),
                (12, row.refund_no if row.is_refund else row.order_no),
                (16, signed_amount(-sign * row.fee_fen)),
                (17, signed_amount(sign * (row.amount_fen - row.fee_fen))),
                (27, f"202603{row.number - 1:015d}" if row.is_refund else "0" * 21),
                (41, row.order_no if row.is_refund else ""),
            ):
                line[_ZM_STARTS[field - 1] : _ZM_STARTS[field - 1] + len(text)] = text.encode()
            file.write(line + b"\r\n")


_ZM_STARTS: Final = tuple(accumulate((width + 1 for width in unionpay.ZM_WIDTHS), initial=0))


def write_etc(path: Path, count: int) -> None:
    """Write a reconciliation file of WXETC-1."""
    sums = _Sums()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"H|WXETC-1|{_ETC_NO}|{DAY}|2026-03-03 09:00:00\n")
        for row in rows(count):
            sums.add(row)
            sign = -1 if row.is_refund else 1
            gross, fee = sign * row.amount_fen, sign * row.fee_fen
            kind, line_no = ("REFUND", row.refund_no) if row.is_refund else ("PAY", f"{row.number:026d}")
            original = f"{row.number - 1:026d}" if row.is_refund else ""
            file.write(
                f"D|{kind}|{line_no}|{row.order_no}|||{DAY} {row.clock}|3201020001|苏B****45|{gross}|{fee}|{gross - fee}|CLEARED|"
                f"{original}\n"
            )
        gross, fee = sums.paid_fen - sums.back_fen, sums.fee_fen
        file.write(f"T|{count}|{gross}|{fee}|{gross - fee}\n")


FORMS: Final = {
    "wechat": Form(write_wechat, lambda file: wechat.read(file, provider_no=_PROVIDER_NO)),
    "alipay": Form(write_alipay, lambda file: alipay.trade_lines(file, merchant_no=_PID, bill_on=DAY)),
    "unionpay": Form(write_unionpay, lambda file: unionpay.lines(file, merchant_no=_UNIONPAY_NO, cleared_on=DAY)),
    "etc": Form(write_etc, lambda file: recon.bill_lines(file, merchant_no=_ETC_NO, clear_on=DAY)),
}
