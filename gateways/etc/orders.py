"""What we ask of the clearing party: the contract's orders as bodies of services.

Knows both forms; must not know envelopes or keys. Called by the adapter. Source: docs/ETC.md, section 8.
"""

import hashlib
import unicodedata
from datetime import timedelta
from typing import Any, Final

from msgspec import Struct

from gateways.contract import BillRequest, Deduction, MandateRef, OrderRef, RefundOrder, RefundRef, Way
from gateways.etc import recon, services
from gateways.etc.codes import PlateColour, RefundReason
from gateways.etc.line import Provider
from gateways.etc.record import charge_id
from gateways.etc.services import PlatePay
from ledger.errors import Refused

ARREARS_AFTER: Final = timedelta(minutes=30)
"""A deduction that is asked for so long after the car left is one of a debt (mode ``ARREARS``) [P]."""
COLOURS: Final[dict[str, PlateColour]] = {
    "blue": PlateColour.BLUE,
    "yellow": PlateColour.YELLOW,
    "black": PlateColour.BLACK,
    "white": PlateColour.WHITE,
    "green": PlateColour.GRADIENT_GREEN,
    "limegreen": PlateColour.YELLOW_GREEN,
}
"""Our colours' codes: green is the small new-energy plate, limegreen the yellow and green one of the large."""

_REMARK_CHARACTERS_MAX: Final = 128
_REFUND_WORDS: Final[dict[str, RefundReason]] = {
    "重复": RefundReason.DUPLICATE,
    "多收": RefundReason.WRONG_FEE,
    "错收": RefundReason.WRONG_FEE,
    "车牌": RefundReason.WRONG_CAR,
    "减免": RefundReason.POLICY,
    "优惠": RefundReason.POLICY,
}


class DeductionRefused(Refused):
    """A deduction (or another call) that must not be sent; nothing was built.

    Codes: ``deduction_above_cap``, ``deduction_form`` (a car park, plate, colour, number or time that ETC cannot carry).
    """

    code = "deduction_form"


def plate_pay(deduction: Deduction, provider: Provider) -> dict[str, Any]:
    """Return the body that asks for a charge by plate; it depends on the deduction and on who we are alone.

    Raises:
        DeductionRefused: see there.
    """
    if deduction.amount_fen > provider.cap_fen:
        raise DeductionRefused(
            f"{deduction.amount_fen} fen are above the cap of {provider.cap_fen} for one ETC charge: let a person look",
            code="deduction_above_cap",
        )
    if deduction.entered_at > deduction.left_at:
        raise DeductionRefused("the car left before it came")
    is_late = deduction.created_at - deduction.left_at > ARREARS_AFTER
    exited_at = deduction.left_at.replace(microsecond=0)
    return _body_of(
        PlatePay(
            order_no=deduction.order_no,
            charge_id=charge_id(lot_no=deduction.lot_no, at=exited_at, lane_serial=_serial(deduction.order_no)),
            lot_no=deduction.lot_no,
            merchant_no=deduction.merchant_no,
            plate=deduction.plate,
            colour=_colour(deduction.plate_color),
            entered_at=deduction.entered_at.replace(microsecond=0),
            exited_at=exited_at,
            fee_fen=deduction.amount_fen,
            mode="ARREARS" if is_late else "EXIT",
            notify_no=provider.notify_no,
            cap_fen=provider.cap_fen,
        )
    )


def plate_pay_query(order: OrderRef) -> dict[str, Any]:
    """Return the body that asks for a charge by plate. Raises DeductionRefused."""
    return _body_of(services.PlatePayQuery(order.order_no))


def plate_sign_query(mandate: MandateRef) -> dict[str, Any]:
    """Return the body that asks whether a plate may be charged. Raises DeductionRefused."""
    colour = _colour(mandate.plate_color)
    return _body_of(services.PlateSignQuery(plate=mandate.plate, colour=colour, merchant_no=mandate.merchant_no))


def refund_apply(refund: RefundOrder) -> dict[str, Any]:
    """Return the body that asks for a refund: of a charge by card by its 26 digits, else of the order. Raises DeductionRefused."""
    by_card = refund.way is Way.CARD
    return _body_of(
        services.RefundApply(
            refund_no=refund.refund_no,
            refund_fen=refund.refund_fen,
            reason=_refund_reason(refund.reason or ""),
            charge_id=refund.trade_no if by_card else None,
            order_no=None if by_card else refund.order_no,
            remark=_remark(refund.reason or ""),
        )
    )


def refund_query(refund: RefundRef) -> dict[str, Any]:
    """Return the body that asks what became of a refund. Raises DeductionRefused."""
    return _body_of(services.RefundQuery(refund.refund_no))


def recon_file(bill: BillRequest) -> dict[str, Any]:
    """Return the body that asks where a file is. Raises DeductionRefused; a bill without a merchant is a mistake of ours."""
    assert bill.merchant_no is not None, "an ETC reconciliation file is one merchant's"
    return _body_of(services.ReconFileAsk(bill.bill_on, bill.merchant_no))


def plate_subject(mandate: MandateRef) -> str:
    """Return what stands for a question about a plate in its message's number."""
    return f"{mandate.plate} {mandate.plate_color} {mandate.merchant_no}"


def file_subject(bill: BillRequest) -> str:
    """Return the name of the file that is asked for."""
    return recon.file_name(merchant_no=bill.merchant_no or "", clear_on=bill.bill_on)


def _body_of(message: Struct) -> dict[str, Any]:
    try:
        return services.body_of(message)
    except ValueError as wrong:
        raise DeductionRefused(f"ETC cannot carry this: {wrong}") from None


def _colour(color: str) -> PlateColour:
    try:
        return COLOURS[color]
    except KeyError:
        raise DeductionRefused(f"ETC needs the plate's colour; {color!r} is none of {', '.join(COLOURS)}") from None


def _serial(order_no: str) -> int:
    """Return two digits that stand for the lane's serial number, by the order."""
    return int.from_bytes(hashlib.sha256(order_no.encode()).digest()[:4], "big") % 100


def _refund_reason(text: str) -> RefundReason:
    """Return the code for our reason in words: by the first word that it holds, else a complaint."""
    return next((code for word, code in _REFUND_WORDS.items() if word in text), RefundReason.COMPLAINT)


def _remark(text: str) -> str:
    """Return what can be sent of a text: without control characters and lone surrogates, as much as fits."""
    clean = "".join(letter for letter in text if letter >= " " and not "\ud800" <= letter <= "\udfff")
    return unicodedata.normalize("NFC", clean)[:_REMARK_CHARACTERS_MAX]
