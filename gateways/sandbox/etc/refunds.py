"""The clearing party's refund counter: nothing before clearing, never more than is left, netted in a later clearing day.

Knows the rules and the state; must not know HTTP or signatures. Called by the stand-in's services, console and control routes.
Source: docs/ETC.md, section 8.
"""

from typing import Final

import msgspec
from msgspec import Struct

from gateways.etc import services
from gateways.etc.codes import Receipt, RefundRefusal
from gateways.etc.recon import channel_fee_fen
from gateways.etc.services import PlateState, RefundApply, RefundResult, Service
from gateways.sandbox.chance import digits
from gateways.sandbox.etc.clearing import Packages
from gateways.sandbox.etc.desk import SECOND, Desk, Going, Told, instant, taken
from gateways.sandbox.faults import seconds_of
from gateways.sandbox.shapes import ON_REFUND, Fault, FaultKind, RefundedByHandOut
from gateways.sandbox.stand_in import HandRefused
from gateways.sandbox.store import Refund
from ledger.clock import CHINA, business_date

CONSOLE: Final = "CONSOLE"
"""Begins the refund numbers that the merchant's console makes for itself."""
DONE: Final = "DONE"


class Taking(Struct, frozen=True):
    """What a refund gives back: a paid charge by plate, or a booked charge by card."""

    merchant_no: str
    number: str
    """Order number of a charge by plate, the 26 digits of one by card."""
    is_order: bool
    amount_fen: int
    cleared: bool


class Refunds:
    """The refund counter beside a desk. One thread at a time."""

    def __init__(self, desk: Desk, packages: Packages) -> None:
        self._desk, self._packages = desk, packages

    def apply(self, wanted: RefundApply, content: bytes) -> Told | None:
        """Make a refund, or tell where the one stands that the same call made before. None: fail, and make nothing."""
        store = self._desk.store
        number = wanted.order_no or wanted.charge_id or ""
        if store.faults({FaultKind.REFUND_ERROR}, number, refund_no=wanted.refund_no):
            return None
        known = store.refund_by_number(wanted.refund_no)
        if known is not None and known.content != content:
            return Told(Receipt.CONTENT_WRONG, f"refund {wanted.refund_no} came before with other content")
        if known is None:
            taking = self._taking(wanted)
            refusal = self._refusal(taking, wanted)
            if refusal is not None or taking is None:
                return taken(_refused(wanted, taking, refusal or RefundRefusal.NO_CHARGE))
            known = self._made(taking, wanted, content)
        hit = store.faults({FaultKind.REFUND_UNKNOWN}, number, refund_no=wanted.refund_no)
        return msgspec.structs.replace(taken(self.standing(known)), faults=hit)

    def query(self, asked: services.RefundQuery) -> Told:
        """Tell where a refund stands; 4 when there is none."""
        refund = self._desk.store.refund_by_number(asked.refund_no)
        if refund is None:
            return Told(Receipt.CONTENT_WRONG, f"there is no refund {asked.refund_no}")
        return taken(self.standing(refund))

    def by_hand(self, order_no: str, amount_fen: int | None, merchant_no: str | None = None) -> RefundedByHandOut:
        """Refund as the merchant's console does: its own number, no notice. Raises HandRefused."""
        desk = self._desk
        desk.decide_due()
        order = desk.store.order_by_number(order_no)
        if order is None or order.paid_at is None or order.state != PlateState.PAID or merchant_no not in (None, order.merchant_no):
            raise HandRefused("there is no such paid charge")
        taking = Taking(order.merchant_no, order_no, True, order.amount_fen, self._cleared(order.paid_at))
        left_fen = self.left_fen(order.merchant_no, order_no, order.amount_fen)
        wanted_fen = left_fen if amount_fen is None else amount_fen
        if not taking.cleared:
            raise HandRefused("the charge is not cleared yet: refund it on the next day")
        if not 0 < wanted_fen <= left_fen:
            raise HandRefused(f"{left_fen} fen are left of the charge")
        count = len(desk.store.refunds_of(order.merchant_no, order_no))
        today = business_date(desk.around.clock.now())
        refund_no = f"{CONSOLE}{today:%Y%m%d}{digits(12, desk.store.seed, 'console', order_no, count)}"
        refund = self._refund(taking, wanted_fen, refund_no, None, DONE)
        desk.store.add_refund(refund)
        desk.credit(order_no, wanted_fen)
        return RefundedByHandOut(order_no, refund_no, refund.channel_refund_no, wanted_fen, instant(refund.accepted_at))

    def left_fen(self, merchant_no: str, number: str, amount_fen: int) -> int:
        """Return how much of a charge can still be refunded."""
        return amount_fen - sum(one.refund_fen for one in self._desk.store.refunds_of(merchant_no, number) if one.ends == DONE)

    def standing(self, refund: Refund) -> RefundResult:
        """Return where a refund stands now."""
        is_over = refund.ends_at <= self._desk.now()
        is_card = refund.details == b'{"card":true}'
        told = RefundResult(
            refund_no=refund.refund_no,
            merchant_no=refund.merchant_no,
            refund_fen=refund.refund_fen,
            state="ACCEPTED",
            order_no=None if is_card else refund.order_no,
            charge_id=refund.order_no if is_card else None,
        )
        if is_over and refund.ends == DONE:
            done_at = instant(refund.ends_at // SECOND * SECOND)
            return msgspec.structs.replace(told, state="DONE", done_at=done_at, clear_on=business_date(done_at))
        return msgspec.structs.replace(told, state="REFUSED", reason=RefundRefusal(refund.ends)) if is_over else told

    # Inside

    def _cleared(self, paid_at: int) -> bool:
        return self._desk.cleared_at(paid_at) <= self._desk.now()

    def _taking(self, wanted: RefundApply) -> Taking | None:
        self._desk.decide_due()
        if wanted.order_no is not None:
            order = self._desk.store.order_by_number(wanted.order_no)
            if order is None or order.paid_at is None or order.state != PlateState.PAID:
                return None
            return Taking(order.merchant_no, order.order_no, True, order.amount_fen, self._cleared(order.paid_at))
        card = self._packages.charge(wanted.charge_id or "")
        if card is None:
            return None
        return Taking(self._desk.store.merchant_of(card.lot_no), card.charge_id, False, card.fee_fen, card.cleared)

    def _refusal(self, taking: Taking | None, wanted: RefundApply) -> RefundRefusal | None:
        if taking is None:
            return RefundRefusal.NO_CHARGE
        if not taking.cleared or self._desk.store.faults(
            {FaultKind.REFUND_NOT_ENOUGH}, taking.number, refund_no=wanted.refund_no
        ):  # fmt: skip
            return RefundRefusal.NOT_CLEARED
        above = wanted.refund_fen > self.left_fen(taking.merchant_no, taking.number, taking.amount_fen)
        return RefundRefusal.ABOVE_REST if above else None

    def _made(self, taking: Taking, wanted: RefundApply, content: bytes) -> Refund:
        store = self._desk.store
        hit = store.faults(ON_REFUND, taking.number, refund_no=wanted.refund_no)
        refund = self._refund(taking, wanted.refund_fen, wanted.refund_no, content, _end(hit))
        store.add_refund(refund)
        if taking.is_order and refund.ends == DONE:
            self._desk.credit(taking.number, refund.refund_fen)
        self._put_notices(refund, hit)
        return refund

    def _refund(self, taking: Taking, refund_fen: int, refund_no: str, content: bytes | None, ends: str) -> Refund:
        desk = self._desk
        at = desk.around.clock.now().astimezone(CHINA)
        return Refund(
            merchant_no=taking.merchant_no,
            refund_no=refund_no,
            order_no=taking.number,
            channel_refund_no=f"ER{at:%Y%m%d}{digits(16, desk.store.seed, 'refund', refund_no)}",
            refund_fen=refund_fen,
            fee_fen=channel_fee_fen(refund_fen, desk.around.fee_bps),
            content=content,
            details=b"{}" if taking.is_order else b'{"card":true}',
            accepted_at=desk.now(),
            ends=ends,
            ends_at=desk.now() if content is None else desk.after(desk.config.refund_seconds),
        )

    def _put_notices(self, refund: Refund, hit: tuple[Fault, ...]) -> None:
        kinds = {fault.kind for fault in hit}
        if FaultKind.REFUND_NEVER in kinds:
            return
        late = int(seconds_of(FaultKind.REFUND_LATE, hit) / self._desk.around.time_factor * SECOND)
        going = Going(service=Service.REFUND_RESULT, refund_no=refund.refund_no)
        for copy in range(2 if FaultKind.REFUND_TWICE in kinds else 1):
            self._desk.put_notice(going, f"refund {refund.refund_no}", refund.order_no, refund.ends_at + late, copy=copy)


def _end(hit: tuple[Fault, ...]) -> str:
    kinds = {fault.kind for fault in hit}
    if FaultKind.REFUND_CLOSED in kinds:
        return RefundRefusal.ISSUER.value
    return RefundRefusal.ACCOUNT.value if FaultKind.REFUND_ABNORMAL in kinds else DONE


def _refused(wanted: RefundApply, taking: Taking | None, refusal: RefundRefusal) -> RefundResult:
    return RefundResult(
        refund_no=wanted.refund_no,
        merchant_no=None if taking is None else taking.merchant_no,
        refund_fen=wanted.refund_fen,
        state="REFUSED",
        reason=refusal,
        order_no=wanted.order_no,
        charge_id=wanted.charge_id,
    )
