"""Writes clearing files as the channel does: fixed columns by byte, GBK, C or D before amounts, in a deflated ZIP.

Knows the file's form and what belongs into a clearing day; must not know HTTP or signatures. Called by the stand-in's routes.
Source: UnionPay, 对账文件接口规范.
"""

import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from io import BytesIO
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import msgspec
from msgspec import Struct

from gateways.sandbox.shapes import FaultKind
from gateways.sandbox.store import Order, Refund
from gateways.sandbox.unionpay import told
from gateways.sandbox.unionpay.desk import SUCCESS, Desk, Refusal, clearing_day, clearing_span, details_of
from gateways.sandbox.unionpay.refunds import counts, kind_of
from gateways.unionpay.bill import ZM_RESERVED_WIDTHS, ZM_WIDTHS, ZME_WIDTHS
from ledger.clock import CHINA

MADE_DAYS_MAX: Final = 180
"""How far back files are kept."""
ACQUIRER_NO: Final = "00010000"
SENDER_NO: Final = "00049992"
CATEGORY: Final = "7523"
"""Merchant category: parking."""
_LINE_END: Final = b"\r\n"
_CODES: Final = {"01": "S22", "04": "S30", "31": "S31"}
_DISPUTE_CODE: Final = "E22"
_NUMERIC_ZM: Final = {27: 21}
"""Fields that are zeros when there is nothing in them."""


class Disputed(Struct, frozen=True):
    """A payment that the payer's bank took back: a line of the ZME file. It names no order number."""

    merchant_no: str
    order_no: str
    disputed_at: int


class Files:
    """The clearing files of a desk. One thread at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def file(self, merchant_no: str, month_day: str) -> tuple[str, str]:
        """Return name and content (base64 of the deflated archive) of a merchant's file.

        Raises Refusal 98: nothing happened on that clearing day, or the file is not made yet; it does not say which.
        """
        day = self._day(month_day)
        archive = None if day is None else self._archive(merchant_no, day)
        if archive is None or day is None:
            raise Refusal("98", "文件不存在")
        return f"{merchant_no}_{day:%Y%m%d}.zip", inside(archive)

    def dispute(self, order: Order) -> None:
        """Write down that the payer's bank took a payment back; the file of today's clearing day shows it."""
        disputed = Disputed(merchant_no=order.merchant_no, order_no=order.order_no, disputed_at=self._desk.now())
        day = clearing_day(disputed.disputed_at)
        rows = [*self._disputes(order.merchant_no, day), disputed]
        self._desk.store.set_remark(_disputes_of(order.merchant_no, day), msgspec.json.encode(rows))

    def _day(self, month_day: str) -> date | None:
        """Return the last clearing day of that month and day whose file is made by now."""
        now = self._desk.around.clock.now().astimezone(CHINA)
        last = now.date() - timedelta(days=1 if now.hour >= self._desk.config.file_ready_hour else 2)
        kept = (last - timedelta(days=days) for days in range(MADE_DAYS_MAX))
        return next((day for day in kept if f"{day:%m%d}" == month_day), None)

    def _archive(self, merchant_no: str, day: date) -> bytes | None:
        begin, end = clearing_span(day)
        desk = self._desk
        paid = [order for order in desk.store.paid_between(begin, end, merchant_no) if order.state == SUCCESS]
        back = [refund for refund in desk.store.refunds_between(begin, end, merchant_no) if counts(refund)]
        disputes = self._disputes(merchant_no, day)
        if not paid and not back and not disputes:
            return None
        rows = sorted(
            [(order.paid_at or 0, self._payment_line(order)) for order in paid]
            + [(refund.accepted_at, self._refund_line(refund)) for refund in back],
            key=lambda row: row[0],
        )
        lines = [line for _, line in rows]
        kinds = {fault.kind for fault in desk.store.faults(_ON_FILE, f"bill {day}", bill_on=day)}
        if FaultKind.BILL_REISSUED in kinds:
            lines = lines[:-1]
        members = {f"INN{day:%y%m%d}88ZM_{merchant_no}": lines}
        if disputes:
            members[f"INN{day:%y%m%d}88ZME_{merchant_no}"] = [self._dispute_line(one) for one in disputes]
        archive = packed(members, day)
        return archive[: len(archive) * 3 // 5] if FaultKind.BILL_CUT in kinds else archive

    def _disputes(self, merchant_no: str, day: date) -> list[Disputed]:
        kept = self._desk.store.remark(_disputes_of(merchant_no, day))
        return [] if kept is None else msgspec.json.decode(kept, type=list[Disputed])

    # Lines

    def _payment_line(self, order: Order) -> bytes:
        request = details_of(order).request
        return zm_line(
            self._common(order, order.order_no, order.paid_at or 0, order.amount_fen)
            | {
                1: _CODES["01"],
                10: order.trade_no or "",
                12: order.order_no,
                16: signed_amount(-(order.fee_fen or 0)),
                17: signed_amount(order.amount_fen - (order.fee_fen or 0)),
                20: "01",
                21: request.get("txnSubType", ""),
                22: request.get("bizType", ""),
                42: cleared(order.amount_fen),
            }
        )

    def _refund_line(self, refund: Refund) -> bytes:
        order = self._order(refund.merchant_no, refund.order_no)
        return zm_line(
            self._common(order, refund.refund_no, refund.accepted_at, refund.refund_fen)
            | {
                1: _CODES[kind_of(refund)],
                10: refund.channel_refund_no,
                12: refund.refund_no,
                14: self._desk.trace_no(order.order_no),
                15: told.trace_time(order.paid_at or 0),
                16: signed_amount(refund.fee_fen),
                17: signed_amount(refund.fee_fen - refund.refund_fen),
                20: kind_of(refund),
                21: "00",
                22: details_of(order).request.get("bizType", ""),
                27: order.trade_no or "",
                41: order.order_no,
                42: cleared(-refund.refund_fen),
            }
        )

    def _common(self, order: Order, number: str, at: int, amount_fen: int) -> dict[int, str]:
        return {
            2: ACQUIRER_NO, 3: SENDER_NO, 4: self._desk.trace_no(number), 5: told.trace_time(at), 6: told.ACCOUNT[:19],
            7: f"{amount_fen:012d}", 8: CATEGORY, 9: "08", 13: told.CARD_TYPE, 18: told.PAY_TYPE, 28: order.merchant_no,
            34: details_of(order).request.get("termId", ""),
        }  # fmt: skip

    def _dispute_line(self, disputed: Disputed) -> bytes:
        order = self._order(disputed.merchant_no, disputed.order_no)
        paid_at = order.paid_at or 0
        return zme_line({
            1: _DISPUTE_CODE, 2: ACQUIRER_NO, 3: SENDER_NO, 4: self._desk.trace_no(f"dispute {order.order_no}"),
            5: told.trace_time(disputed.disputed_at), 6: told.ACCOUNT[:19], 7: f"{order.amount_fen:012d}", 8: CATEGORY, 9: "08",
            10: told.CARD_TYPE, 11: self._desk.trace_no(order.order_no), 12: told.trace_time(paid_at),
            13: f"{clearing_day(paid_at):%m%d}", 14: f"{order.amount_fen:012d}", 15: signed_amount(order.fee_fen or 0),
            16: signed_amount((order.fee_fen or 0) - order.amount_fen), 18: order.merchant_no, 22: "持卡人否认交易",
        })  # fmt: skip

    def _order(self, merchant_no: str, order_no: str) -> Order:
        order = self._desk.store.order(merchant_no, order_no)
        assert order is not None, "a refund or dispute belongs to an order"
        return order


_ON_FILE: Final = frozenset({FaultKind.BILL_REISSUED, FaultKind.BILL_CUT})


def zm_line(values: Mapping[int, str]) -> bytes:
    """Return a ZM line from its fields by number from 1."""
    zeros = {number: "0" * width for number, width in _NUMERIC_ZM.items()}
    return _line(ZM_WIDTHS, zeros | dict(values))


def zme_line(values: Mapping[int, str]) -> bytes:
    """Return a ZME line from its fields by number from 1."""
    return _line(ZME_WIDTHS, values)


def _line(widths: Sequence[int], values: Mapping[int, str]) -> bytes:
    fields = [fitted(values.get(number, ""), width) for number, width in enumerate(widths, 1)]
    return b" ".join(fields)


def fitted(text: str, width: int) -> bytes:
    """Return text in GBK, filled with spaces; what is too long is cut at the byte, as the channel does."""
    return text.encode("gbk", "replace")[:width].ljust(width)


def signed_amount(amount_fen: int) -> str:
    """Return an amount as X+n12: C when the merchant receives it, D when it pays."""
    return f"{'C' if amount_fen >= 0 else 'D'}{abs(amount_fen):012d}"


def cleared(amount_fen: int) -> str:
    """Return the newer layout of field 42; only its first part is filled."""
    parts = [signed_amount(amount_fen), *(" " * width for width in ZM_RESERVED_WIDTHS[1:])]
    return " ".join(parts)


def inside(archive: bytes) -> str:
    """Return a file as it stands in an answer: base64 of the deflated bytes."""
    return b64encode(zlib.compress(archive)).decode()


def packed(members: Mapping[str, Sequence[bytes]], day: date) -> bytes:
    """Return the archive; the same content gives the same bytes."""
    content, made_at = BytesIO(), datetime(day.year, day.month, day.day) + timedelta(days=1)  # noqa: DTZ001  # ZIP has no zone
    with ZipFile(content, "w", ZIP_DEFLATED) as archive:
        for name, lines in members.items():
            info = ZipInfo(name, date_time=made_at.timetuple()[:6])
            info.compress_type = ZIP_DEFLATED
            archive.writestr(info, b"".join(line + _LINE_END for line in lines))
    return content.getvalue()


def _disputes_of(merchant_no: str, day: date) -> str:
    return f"disputes {merchant_no} {day.isoformat()}"
