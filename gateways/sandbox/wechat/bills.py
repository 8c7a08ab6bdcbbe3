"""The channel's bill counter: the day's trade bill, and the files that can be fetched for a few minutes.

Knows which rows belong to a day and when its bill is there; must not know HTTP or the file's form. Called by the sandbox's routes.
Source: docs/CHANNELS.md, WeChat Pay, bills.
"""

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Final

from gateways.sandbox.chance import hex_text
from gateways.sandbox.shapes import FaultKind
from gateways.sandbox.wechat import bill as bill_form
from gateways.sandbox.wechat.desk import ApiRefusal, Desk
from ledger.clock import CHINA, microseconds

DOWNLOAD_SECONDS: Final = 300
_MICRO: Final = 1_000_000
BILL_MADE_HOUR: Final = 9
"""On the next day the bill is made: what it says of a refund's state is from then."""


class Bills:
    """The counter beside a desk. One thread at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def write(self, bill_on: date, form: bill_form.Form, merchant_no: str | None, *, compressed: bool) -> tuple[str, str]:
        """Write the day's bill and return token and SHA-1 of the file.

        Raises ApiRefusal: PARAM_ERROR (today or later, or older than three months), STATEMENT_CREATING, NO_STATEMENT_EXIST.
        """
        begin = self.begin(bill_on)
        entries = [entry for entry in self._billed(begin, merchant_no) if bill_form.belongs(entry, form)]
        if not entries:
            raise ApiRefusal(400, "NO_STATEMENT_EXIST", "账单不存在")
        content = self._content(entries, bill_on, form)
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        return self.keep(content, "bill", digest, compressed), digest

    def keep(self, content: bytes, *name: object) -> str:
        """Keep a file for five minutes and return its token."""
        token = hex_text(32, self._desk.seed, *name, self._desk.now())
        self._desk.state.add_bill_file(token, content, self._desk.now() + DOWNLOAD_SECONDS * _MICRO)
        return token

    def begin(self, bill_on: date) -> int:
        """Return the first moment of a day whose bills can be had. Raises ApiRefusal: PARAM_ERROR, STATEMENT_CREATING."""
        self._desk.settle()
        now = self._desk.clock.now().astimezone(CHINA)
        if bill_on >= now.date() or bill_on < now.date() - timedelta(days=92):
            raise ApiRefusal(400, "PARAM_ERROR", "账单日期超出范围")
        if now.date() == bill_on + timedelta(days=1) and now.hour < self._desk.config.bill_ready_hour:
            raise ApiRefusal(400, "STATEMENT_CREATING", "账单生成中，请稍后再试")
        return microseconds(datetime(bill_on.year, bill_on.month, bill_on.day, tzinfo=CHINA).astimezone(UTC))

    def _billed(self, begin: int, merchant_no: str | None) -> list[bill_form.Entry]:
        """Return the day's payments and accepted refunds in order of time; of refunds of earlier days' orders too."""
        end = begin + 86_400 * _MICRO
        made_at = min(self._desk.now(), end + BILL_MADE_HOUR * 3600 * _MICRO)
        rows: list[tuple[int, str, bill_form.Entry]] = [
            (order.paid_at or 0, order.order_no, order) for order in self._desk.state.paid_between(begin, end, merchant_no)
        ]
        for refund in self._desk.state.refunds_between(begin, end, merchant_no):
            order = self._desk.find(refund.order_no, refund.merchant_no)
            row = bill_form.RefundRow(order=order, refund=refund, word=refund.word(made_at))
            rows.append((refund.accepted_at, refund.order_no, row))
        # stable: at the same instant a payment stands before the refunds of its order
        return [entry for _, _, entry in sorted(rows, key=lambda row: row[:2])]

    def _content(self, entries: list[bill_form.Entry], bill_on: date, form: bill_form.Form) -> bytes:
        hit = self._desk.faults({FaultKind.BILL_REISSUED, FaultKind.BILL_CUT}, f"bill {bill_on}", bill_on=bill_on)
        kinds = {fault.kind for fault in hit}
        if FaultKind.BILL_REISSUED in kinds:
            entries = entries[:-1]
        content = bill_form.write(
            entries,
            provider_no=self._desk.config.provider_no,
            fee_bps=self._desk.config.fee_bps,
            form=form,
            bom=self._desk.config.bill_bom,
            crlf=self._desk.config.bill_crlf,
        )
        return content[: len(content) * 3 // 5] if FaultKind.BILL_CUT in kinds else content

    def file(self, token: str) -> bytes:
        """Return a bill file. Raises ApiRefusal INVALID_REQUEST for a link that is unknown or older than five minutes."""
        kept = self._desk.state.bill_file(token)
        if kept is None or kept[1] <= self._desk.now():
            raise ApiRefusal(400, "INVALID_REQUEST", "下载链接已失效，请重新申请账单")
        return kept[0]
