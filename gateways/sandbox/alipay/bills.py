"""The channel's bill desk: which rows a merchant's day has, when the file is there, how long its address lives.

Knows the rules and the store; must not know HTTP. Called by the stand-in's routes. Source: docs/CHANNELS.md, Alipay, bills.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from gateways.alipay import wire
from gateways.sandbox.alipay import bill as form
from gateways.sandbox.alipay.bill import Entry, Flow, Frame, RefundRow
from gateways.sandbox.alipay.desk import DAY, MICRO, Desk, Refusal, details_of
from gateways.sandbox.chance import digits, hex_text
from gateways.sandbox.shapes import FaultKind
from gateways.sandbox.store import Order
from ledger.clock import CHINA, microseconds

KINDS: Final = frozenset({"trade", "signcustomer"})
MADE_HOUR: Final = 3


class Bills:
    """The bill desk beside the counter. One thread at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def token(self, kind: str, bill_on: date, merchant_no: str) -> str:
        """Write a merchant's bill of a day and return what its address names it by, for 30 seconds.

        Raises Refusal: isv.invalid-parameter (today or later), isp.bill_not_exist (not made yet).
        """
        now = self._desk.around.clock.now().astimezone(CHINA)
        if bill_on >= now.date():
            raise Refusal("isv.invalid-parameter", "账单日期不正确", code="40002", msg="Invalid Arguments")
        if now.date() == bill_on + timedelta(days=1) and now.hour < self._desk.config.bill_ready_hour:
            raise Refusal("isp.bill_not_exist", "账单不存在")
        content = self._written(kind, bill_on, merchant_no)
        token = hex_text(32, self._desk.seed, "bill", kind, bill_on, merchant_no, self._desk.now())
        expires_at = self._desk.now() + wire.BILL_LINK_SECONDS * MICRO
        self._desk.store.put_file(f"bill {token}", content, expires_at=expires_at)
        return token

    def file(self, token: str) -> bytes | None:
        """Return a file whose address still lives."""
        kept = self._desk.store.file(f"bill {token}")
        return kept[0] if kept is not None and kept[1] is not None and kept[1] > self._desk.now() else None

    def _written(self, kind: str, bill_on: date, merchant_no: str) -> bytes:
        midnight = datetime(bill_on.year, bill_on.month, bill_on.day, tzinfo=CHINA)
        made_at = midnight + timedelta(days=1, hours=MADE_HOUR, minutes=1, seconds=2)
        frame = Frame(merchant_no=merchant_no, bill_on=bill_on, made_at=made_at)
        begin = microseconds(midnight.astimezone(UTC))
        if kind == "signcustomer":
            return form.flow_archive(self._flows(begin, merchant_no), frame)
        entries = self._entries(begin, begin + DAY, merchant_no)
        faults = {FaultKind.BILL_REISSUED, FaultKind.BILL_CUT}
        kinds = {fault.kind for fault in self._desk.store.faults(faults, f"bill {bill_on}", bill_on=bill_on)}
        if FaultKind.BILL_REISSUED in kinds:
            entries = entries[:-1]
        content = form.trade_archive(entries, frame)
        return content[: len(content) * 3 // 5] if FaultKind.BILL_CUT in kinds else content

    def _entries(self, begin: int, end: int, merchant_no: str) -> list[Entry]:
        """Return the payments and refunds between two instants in order of time; of refunds of earlier days' trades too."""
        store = self._desk.store
        rows: list[tuple[int, str, Entry]] = [
            (order.paid_at or 0, order.order_no, order) for order in store.paid_between(begin, end, merchant_no)
        ]
        for refund in store.refunds_between(begin, end, merchant_no):
            order = store.order(merchant_no, refund.order_no)
            assert order is not None, "a refund belongs to a trade"
            rows.append((refund.accepted_at, refund.order_no, RefundRow(order=order, refund=refund)))
        # stable: at the same instant a payment stands before the refunds of its trade
        return [entry for _, _, entry in sorted(rows, key=lambda row: row[:2])]

    def _flows(self, begin: int, merchant_no: str) -> list[Flow]:
        """Return the day's movements of a merchant's balance: each payment and refund, and its commission in a row of its own."""
        before = self._entries(0, begin, merchant_no)
        balance_fen = sum(amount_fen for entry in before for amount_fen, _ in _moves(entry))
        flows = []
        for entry in self._entries(begin, begin + DAY, merchant_no):
            order = entry if isinstance(entry, Order) else entry.order
            at = (entry.paid_at or 0) if isinstance(entry, Order) else entry.refund.accepted_at
            refund_no = "" if isinstance(entry, Order) else entry.refund.refund_no
            for amount_fen, kind in _moves(entry):
                balance_fen += amount_fen
                flow_no = digits(20, self._desk.seed, "flow", order.trade_no, refund_no, kind)
                flows.append(
                    Flow(
                        flow_no=flow_no,
                        trade_no=order.trade_no or "",
                        order_no=order.order_no,
                        subject=details_of(order).subject,
                        at=at,
                        amount_fen=amount_fen,
                        balance_fen=balance_fen,
                        kind=kind,
                        note=refund_no,
                    )
                )
        return flows


def _moves(entry: Entry) -> list[tuple[int, str]]:
    """Return the movements of one payment or refund, those of nothing left out."""
    if isinstance(entry, Order):
        moves = [(entry.amount_fen, "在线支付"), (-(entry.fee_fen or 0), "收费")]
    else:
        moves = [(-entry.refund.refund_fen, "交易退款"), (entry.refund.fee_fen, "收费退回")]
    return [move for move in moves if move[0]]
