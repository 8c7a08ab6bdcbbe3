"""The records of this room that others see: charges as they are posted and kept, orders, attempts.

Knows words and types only. Read by every module of this room, the API and the pages.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from gateways.contract import HandOff, Way
from payments.decisions import PaymentState
from payments.lots import Scene
from payments.plates import PlateColor

ChargeState = Literal["open", "settled", "waived", "written_off", "credited"]
"""open: something is due. settled: paid. waived: let off. written_off: not expected any more. credited: taken away by a credit
note."""


class NewCharge(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A charge as a lot posts it. ``lot_serial`` is the lot's own number of the charge and the idempotency key."""

    lot_serial: str
    plate: str
    plate_color: PlateColor = "unknown"
    entered_at: datetime
    left_at: datetime | None = None
    """None while the car stands at the gate."""
    minutes: int
    """Minutes charged for; free minutes may be left out by the lot."""
    amount_fen: int
    tariff_text: str
    """How the amount came about, as the payer may read it."""
    scene: Scene | None = None
    """None: the lot's own scene."""
    number: int | None = None
    """The lot's own dense number of the charge: 1, 2, 3 ..."""
    energy_fen: int | None = None
    """Where charging and parking are one bill: how much of the amount is for energy."""


class Posted(Struct, frozen=True, kw_only=True):
    """What became of one posted charge; the results stand in the order of the charges.

    ``created``: it is due now. ``already``: it was posted before with the same content. ``refused``: ``reason`` is a stable word
    (``content_differs`` when the serial is taken by other content), ``field`` names what is wrong and ``detail`` says how.
    """

    lot_serial: str
    outcome: Literal["created", "already", "refused"]
    charge_id: UUID | None = None
    reason: str | None = None
    field: str | None = None
    detail: str | None = None


class Charge(Struct, frozen=True, kw_only=True):
    """A charge as it is kept. ``plate`` is the full number: mask it before it is shown or logged."""

    charge_id: UUID
    lane: int
    operator_id: int
    lot_id: int
    lot_serial: str
    plate: str
    plate_color: PlateColor
    scene: Scene
    entered_at: datetime
    left_at: datetime | None
    minutes: int
    amount_fen: int
    tariff_text: str
    state: ChargeState
    settled_by: UUID | None
    settled_at: datetime | None
    created_at: datetime
    paid_fen: int
    """Sum of the payments that count for it."""
    reduced_fen: int
    """Sum of credit notes, waivers and write-offs."""
    is_receivable: bool
    """Its car has left: it is a debt of the plate, or was one."""

    @property
    def owed_fen(self) -> int:
        """What is still due in fen; 0 unless it is open."""
        return self.amount_fen - self.paid_fen - self.reduced_fen


class Order(Struct, frozen=True, kw_only=True):
    """A payer's intent: one locked price for one charge."""

    order_id: UUID
    lane: int
    charge_id: UUID
    lot_id: int
    amount_fen: int
    expires_at: datetime
    created_at: datetime


class Attempt(Struct, frozen=True, kw_only=True):
    """One payment 支付单 of an order over one channel. ``hand_off`` is there once the channel has made the order."""

    payment_id: UUID
    order_id: UUID
    charge_id: UUID
    lane: int
    operator_id: int
    book_id: int
    route_id: int
    channel: str
    provider_no: str
    merchant_no: str
    way: Way
    key_ref: str | None
    amount_fen: int
    state: PaymentState
    hand_off: HandOff | None
    trade_no: str | None
    taken_fen: int | None
    succeeded_at: datetime | None
    taken_back_at: datetime | None
    """When the channel took back what it had paid: it stays succeeded, and what it paid for is due again."""
    created_at: datetime
    expires_at: datetime
    queries: int
    payer_digest: bytes
    act_id: UUID | None
    """The combined order that it is a leg of."""
