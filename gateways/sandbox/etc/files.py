"""Writes an operator's reconciliation file of a clearing date from what the stand-in holds.

Knows which charges and refunds belong to a day; must not know HTTP. Called by the stand-in's services.
Source: docs/ETC.md, section 8, reconciliation file.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import msgspec
from msgspec import Struct

from gateways.etc import recon, sm2
from gateways.etc.codes import DisputeOutcome
from gateways.etc.recon import Kind, Recon, ReconLine, State, channel_fee_fen, masked
from gateways.etc.record import TransactionRecord
from gateways.sandbox.etc.clearing import Packages
from gateways.sandbox.etc.desk import Desk, instant, pay_of
from gateways.sandbox.etc.state import Dispute, Kept
from gateways.sandbox.shapes import FaultKind
from gateways.sandbox.store import Refund
from ledger.clock import CHINA, microseconds


class Issued(Struct, frozen=True):
    """A file as it can be fetched: its name and the SM3 that is announced."""

    name: str
    content: bytes
    sm3: str


class Files:
    """The files over a desk and its packages. A file that was made stays as it is."""

    def __init__(self, desk: Desk, packages: Packages) -> None:
        self._desk, self._packages = desk, packages

    def ready(self, clear_on: date) -> bool:
        """Tell whether the file of a date is there: from 09:00 on the next day."""
        now = self._desk.around.clock.now().astimezone(CHINA)
        return now >= datetime(clear_on.year, clear_on.month, clear_on.day, recon.READY_AT_HOUR, tzinfo=CHINA) + timedelta(days=1)

    def issue(self, merchant_no: str, clear_on: date) -> Issued:
        """Return the file; its faults touch the issue that meets them, a later one is whole."""
        self._desk.decide_due()
        name, store = recon.file_name(merchant_no=merchant_no, clear_on=clear_on), self._desk.store
        if (kept := store.file(f"whole {name}")) is None:
            lines = tuple(self._lines(merchant_no, clear_on))
            whole = Recon(merchant_no, clear_on, self._desk.around.clock.now().replace(microsecond=0), lines)
            kept = (msgspec.msgpack.encode(whole), None)
            store.put_file(f"whole {name}", kept[0])
        whole = msgspec.msgpack.decode(kept[0], type=Recon)
        kinds = {one.kind for one in store.faults({FaultKind.BILL_REISSUED, FaultKind.BILL_CUT}, name, bill_on=clear_on)}
        if FaultKind.BILL_REISSUED in kinds:
            whole = msgspec.structs.replace(whole, lines=whole.lines[:-1])
        content = recon.write(whole)
        if FaultKind.BILL_CUT in kinds:
            content = content[: len(content) * 2 // 3]
        store.put_file(name, content)
        return Issued(name, content, sm2.sm3(content).hex())

    def fetch(self, name: str) -> bytes | None:
        """Return a file that was issued, or the digest beside it."""
        is_digest = name.endswith(".sm3")
        kept = self._desk.store.file(name.removesuffix(".sm3"))
        if kept is None or not name.startswith("WXETC_DETAIL_"):
            return None
        return recon.digest_file(name.removesuffix(".sm3"), kept[0]) if is_digest else kept[0]

    def _lines(self, merchant_no: str, clear_on: date) -> Iterator[ReconLine]:
        begin = microseconds(datetime(clear_on.year, clear_on.month, clear_on.day, tzinfo=CHINA))
        end = begin + 86_400 * 1_000_000
        store = self._desk.store
        for order in store.paid_between(begin, end, merchant_no):
            bad_at = store.bad_at(order.order_no)
            state = State.CLEARED if bad_at is None or bad_at >= end else State.BAD
            yield self._by_plate(order.content, order.amount_fen, order.paid_at or 0, state)
        for order in store.bad_between(begin, end, merchant_no):
            if order.paid_at is not None and order.paid_at < begin:
                yield self._by_plate(order.content, order.amount_fen, order.paid_at, State.BAD)
        for free in store.free_between(begin, end, merchant_no):
            yield self._by_plate(free.content, 0, free.paid_at)
        for kept in store.packages(clear_on=clear_on):
            yield from self._by_card(kept, merchant_no)
        yield from self._released(merchant_no, clear_on)
        for refund in store.refunds_done_between(begin, end, merchant_no):
            if refund.ends_at <= self._desk.now():
                yield self._refunded(refund)

    def _by_plate(self, content: bytes, amount_fen: int, paid_at: int, state: State = State.CLEARED) -> ReconLine:
        pay = pay_of(content)
        fee_fen = channel_fee_fen(amount_fen, self._desk.around.fee_bps)
        return ReconLine(
            kind=Kind.PAY,
            line_no=pay.charge_id,
            order_no=pay.order_no,
            message_no="",
            trans_no="",
            happened_at=instant(paid_at // 1_000_000 * 1_000_000),
            lot_no=pay.lot_no,
            plate_masked=masked(pay.plate),
            gross_fen=amount_fen,
            fee_fen=fee_fen,
            net_fen=amount_fen - fee_fen,
            state=state,
        )

    def _by_card(self, kept: Kept, merchant_no: str) -> Iterator[ReconLine]:
        disputes = {one.trans_no: one for one in self._desk.store.disputes(kept.package.message_no)}
        for trans_no, record in enumerate(kept.package.records, 1):
            if self._desk.store.merchant_of(record.lot_no) == merchant_no:
                state = self._state(disputes.get(trans_no), kept.clear_on)
                yield self._record(kept.package.message_no, trans_no, record, state)

    def _state(self, dispute: Dispute | None, clear_on: date) -> State:
        if dispute is None:
            return State.CLEARED
        file = None if dispute.file_no is None else self._desk.store.dispute_file(dispute.file_no)
        if file is None or file.cleared_on != clear_on.isoformat():
            return State.PENDING
        return State.CLEARED if dispute.outcome == DisputeOutcome.RELEASED else State.BAD

    def _released(self, merchant_no: str, clear_on: date) -> Iterator[ReconLine]:
        """Yield what was settled by files of this date for packages of earlier ones."""
        store = self._desk.store
        for dispute in store.all_disputes():
            file = None if dispute.file_no is None else store.dispute_file(dispute.file_no)
            kept = store.package(dispute.message_no)
            if file is None or kept is None or file.cleared_on != clear_on.isoformat() or kept.clear_on == clear_on:
                continue
            record = kept.package.records[dispute.trans_no - 1]
            if store.merchant_of(record.lot_no) == merchant_no:
                state = State.CLEARED if dispute.outcome == DisputeOutcome.RELEASED else State.BAD
                yield self._record(dispute.message_no, dispute.trans_no, record, state)

    def _record(self, message_no: str, trans_no: int, record: TransactionRecord, state: State) -> ReconLine:
        fee_fen = channel_fee_fen(record.fee_fen, self._desk.around.fee_bps)
        return ReconLine(
            kind=Kind.PAY,
            line_no=record.charge_id,
            order_no="",
            message_no=message_no,
            trans_no=str(trans_no),
            happened_at=record.happened_at,
            lot_no=record.lot_no,
            plate_masked=masked(record.plate),
            gross_fen=record.fee_fen,
            fee_fen=fee_fen,
            net_fen=record.fee_fen - fee_fen,
            state=state,
        )

    def _refunded(self, refund: Refund) -> ReconLine:
        order = self._desk.store.order_by_number(refund.order_no)
        pay = None if order is None else pay_of(order.content)
        return ReconLine(
            kind=Kind.REFUND,
            line_no=refund.refund_no,
            order_no="" if pay is None else pay.order_no,
            message_no="",
            trans_no="",
            happened_at=instant(refund.accepted_at // 1_000_000 * 1_000_000),
            lot_no=refund.order_no[:10] if pay is None else pay.lot_no,
            plate_masked="" if pay is None else masked(pay.plate),
            gross_fen=-refund.refund_fen,
            fee_fen=-refund.fee_fen,
            net_fen=refund.fee_fen - refund.refund_fen,
            state=State.CLEARED,
            original_no=refund.order_no if pay is None else pay.charge_id,
        )
