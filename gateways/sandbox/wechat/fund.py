"""The fund-flow bill of an operator's account: what moved and what was left, written and encrypted as the channel does.

Knows the file's form and which movements an order and a refund make; must not know HTTP. Called by the sandbox's routes.
Source: docs/CHANNELS.md, WeChat Pay, fund-flow bill.
"""

import gzip
import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from gateways.sandbox.chance import digits, hex_text
from gateways.sandbox.shapes import FaultKind
from gateways.sandbox.wechat.bill import escaped
from gateways.sandbox.wechat.bills import Bills
from gateways.sandbox.wechat.desk import ApiRefusal, Desk, instant
from gateways.sandbox.wechat.state import Order, Refund
from gateways.wechat import sensitive
from ledger.clock import CHINA
from ledger.money import yuan

PROVIDER_ACCOUNTS: Final = frozenset({"BASIC", "OPERATION", "FEES"})
OPERATOR_ACCOUNTS: Final = PROVIDER_ACCOUNTS | {"DEPOSIT"}
_HEADER: Final = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号"
)
_SUMMARY: Final = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"
_DAY: Final = 86_400_000_000


class Flow(Struct, frozen=True):
    """One movement. ``amount_fen`` is below zero for an expense."""

    at: int
    trade_no: str
    name: str
    kind: str
    amount_fen: int
    note: str
    voucher: str


class SealedFile(Struct, frozen=True):
    """An encrypted bill file that was kept, and what the channel says of it."""

    token: str
    encrypt_key: str
    nonce: str
    digest: str


class Funds:
    """The counter beside a desk. One thread at a time."""

    def __init__(self, desk: Desk, bills: Bills) -> None:
        self._desk = desk
        self._bills = bills

    def sealed(self, bill_on: date, merchant_no: str, *, account: str, compressed: bool) -> SealedFile:
        """Write and encrypt the day's bill of an operator's account; money moves in its basic account alone.

        Raises ApiRefusal: PARAM_ERROR, STATEMENT_CREATING, NO_STATEMENT_EXIST.
        """
        desk, begin = self._desk, self._bills.begin(bill_on)
        flows = self._flows(merchant_no, begin + _DAY)
        today = [flow for flow in flows if flow.at >= begin]
        if not today or account != "BASIC":
            raise ApiRefusal(400, "NO_STATEMENT_EXIST", "账单不存在")
        opening_fen = sum(flow.amount_fen for flow in flows if flow.at < begin)
        content = self._file(today, opening_fen, merchant_no, bill_on)
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        name = (desk.seed, "fund", merchant_no, bill_on, digest)
        key, nonce = bytes.fromhex(hex_text(64, *name, "key")), hex_text(16, *name, "nonce")
        box = AESGCM(key).encrypt(nonce.encode(), gzip.compress(content, mtime=0) if compressed else content, None)
        return SealedFile(
            token=self._bills.keep(box, "fund", merchant_no, digest, compressed),
            encrypt_key=sensitive.sealed(key, key=desk.config.merchant_key),
            nonce=nonce,
            digest=digest,
        )

    def _flows(self, merchant_no: str, end: int) -> list[Flow]:
        """Return all movements of an account before ``end``, in order of time."""
        state = self._desk.state
        found = [flow for order in state.paid_between(0, end, merchant_no) for flow in _of_order(order)]
        for refund in state.refunds_between(0, end, merchant_no):
            order = state.order(refund.order_no)
            assert order is not None, "a refund belongs to an order"
            found += _of_refund(order, refund)
        return sorted((flow for flow in found if flow.at < end), key=lambda flow: (flow.at, flow.voucher))

    def _file(self, flows: Sequence[Flow], opening_fen: int, merchant_no: str, bill_on: date) -> bytes:
        hit = self._desk.faults({FaultKind.BILL_REISSUED, FaultKind.BILL_CUT}, f"fund {bill_on}", bill_on=bill_on)
        kinds = {fault.kind for fault in hit}
        if FaultKind.BILL_REISSUED in kinds:
            flows = flows[:-1]
        config = self._desk.config
        content = write(flows, opening_fen=opening_fen, merchant_no=merchant_no, bom=config.bill_bom, crlf=config.bill_crlf)
        return content[: len(content) * 3 // 5] if FaultKind.BILL_CUT in kinds else content


def _of_order(order: Order) -> list[Flow]:
    """Return the gross amount in and the commission out."""
    at, trade_no, note = order.paid_at or 0, order.trade_no or "", order.description
    taken = Flow(at, trade_no, "交易", "交易", order.amount_fen, note, order.order_no)
    fee = Flow(at, trade_no, "交易", "扣除交易手续费", -(order.fee_fen or 0), note, order.order_no)
    return [taken, fee] if order.fee_fen else [taken]


def _of_refund(order: Order, refund: Refund) -> list[Flow]:
    """Return the refund out and its commission in; a refund that was closed comes back the same way."""

    def moved(at: int, kinds: tuple[str, str], sign: int) -> list[Flow]:
        amounts = (-sign * refund.refund_fen, sign * refund.fee_fen)
        return [
            Flow(at, refund.channel_refund_no, "退款", kind, amount_fen, order.description, refund.refund_no)
            for kind, amount_fen in zip(kinds, amounts, strict=True)
            if amount_fen
        ]

    flows = moved(refund.accepted_at, ("退款", "退还交易手续费"), 1)
    return flows + moved(refund.ends_at, ("退款关闭", "扣除交易手续费"), -1) if refund.ends == "CLOSED" else flows


def write(flows: Sequence[Flow], *, opening_fen: int, merchant_no: str, bom: bool, crlf: bool) -> bytes:
    """Return the file for movements in the order given; each row states what is left after it."""
    lines, balance_fen = [_HEADER], opening_fen
    for number, flow in enumerate(flows, 1):
        balance_fen += flow.amount_fen
        lines.append(_row(_cells(flow, balance_fen, merchant_no, number)))
    incomes = [flow.amount_fen for flow in flows if flow.amount_fen > 0]
    expenses = [-flow.amount_fen for flow in flows if flow.amount_fen < 0]
    totals = [f"{len(flows)}", f"{len(incomes)}", yuan(sum(incomes)), f"{len(expenses)}", yuan(sum(expenses))]
    end = "\r\n" if crlf else "\n"
    return (b"\xef\xbb\xbf" if bom else b"") + (end.join([*lines, _SUMMARY, _row(totals)]) + end).encode()


def _cells(flow: Flow, balance_fen: int, merchant_no: str, number: int) -> list[str]:
    at = instant(flow.at).astimezone(CHINA)
    return [
        f"{at:%Y-%m-%d %H:%M:%S}", flow.trade_no, _flow_no(flow, merchant_no, at, number), flow.name, flow.kind,
        "收入" if flow.amount_fen > 0 else "支出", yuan(abs(flow.amount_fen)), yuan(balance_fen), "system", escaped(flow.note),
        escaped(flow.voucher),
    ]  # fmt: skip


def _flow_no(flow: Flow, merchant_no: str, at: datetime, number: int) -> str:
    return f"{merchant_no}{at:%Y%m%d}{digits(10, flow.voucher, flow.kind, number)}"


def _row(values: Sequence[str]) -> str:
    return "`" + ",`".join(values)
