"""The channel's parking desk: plates with an agreement, cars that came, debits without a hand.

Knows the rules and the store; must not know HTTP or signatures. Called by the stand-in's routes.
Source: docs/CHANNELS.md, Alipay, parking.
"""

from typing import Final

import msgspec
from msgspec import Struct

from gateways.sandbox.alipay.desk import Desk, Refusal, Wanted
from gateways.sandbox.chance import digits
from gateways.sandbox.shapes import Fault, FaultKind
from gateways.sandbox.store import Order

NO_SCENE: Final = "NO_AGREEMENT_SCENE"
AGREED, NOT_AGREED, AGREED_BY_ANOTHER = "0", "1", "2"


class Agreement(Struct, frozen=True):
    """A plate whose owner lets parking be debited."""

    plate: str
    plate_color: str
    buyer_id: str
    scenes: str = "PLATE_PAY"


class Debited(Struct, frozen=True):
    """A paid trade, and the faults that meet the answer."""

    order: Order
    faults: tuple[Fault, ...]


class Parking:
    """The parking desk beside the counter. One thread at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def agree(self, agreement: Agreement) -> None:
        """Sign an agreement for a plate, in place of the one before."""
        self._desk.store.put_file(_name(agreement.plate), msgspec.json.encode(agreement))

    def end(self, plate: str) -> None:
        """End a plate's agreement."""
        self._desk.store.drop_file(_name(plate))

    def agreement(self, plate: str) -> Agreement | None:
        kept = self._desk.store.file(_name(plate))
        return None if kept is None else msgspec.json.decode(kept[0], type=Agreement)

    def status(self, plate: str, *, buyer_id: str | None) -> str:
        """Return ``agreement_status``: with a payer it is about that payer alone."""
        agreement = self.agreement(plate)
        if agreement is None:
            return NOT_AGREED
        return AGREED if buyer_id in (None, agreement.buyer_id) else AGREED_BY_ANOTHER

    def enter(self, merchant_no: str, *, parking_id: str, plate: str, in_time: str) -> str:
        """Note a car that came and return the number of its entry; the same entry has the same number."""
        serial_no = f"PS{digits(20, self._desk.seed, 'entry', merchant_no, parking_id, plate, in_time)}"
        self._desk.store.put_file(f"entry {serial_no}", msgspec.json.encode([merchant_no, parking_id, plate, in_time]))
        return serial_no

    def debit(self, wanted: Wanted, *, plate: str) -> Debited:
        """Take a charge from the owner of a plate, once per order number.

        Raises Refusal: TRADE_HAS_SUCCESS, BUYER_ENABLE_STATUS_FORBID (no agreement), and as ``Desk.place`` does.
        """
        desk, agreement = self._desk, self.agreement(plate)
        known = desk.store.order(wanted.merchant_no, wanted.order_no)
        if known is None and agreement is None:
            raise Refusal("ACQ.BUYER_ENABLE_STATUS_FORBID", "买家状态非法：车牌未开通代扣")
        order = desk.place(wanted)
        desk.pay(order, buyer_id=None if agreement is None else agreement.buyer_id)
        paid = desk.store.order(order.merchant_no, order.order_no)
        assert paid is not None, "the trade was just paid"
        return Debited(order=paid, faults=desk.store.faults({FaultKind.UNKNOWN}, order.order_no))


def _name(plate: str) -> str:
    return f"agreement {plate}"
