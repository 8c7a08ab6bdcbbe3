"""What steers the stand-ins: faults, clock, delivery, paying and refunding by hand. The same for every channel.

Knows the control routes' bodies; must not know any channel's wire. Used by all stand-ins, the simulation and the tests.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

Text = Annotated[str, Meta(min_length=1)]


class FaultKind(StrEnum):
    """What can go wrong on purpose."""

    LATE = "late"
    """The notice comes ``seconds`` later."""
    TWICE = "twice"
    """A second, equal notice comes although the first was taken."""
    NEVER = "never"
    """No notice comes at all."""
    OUT_OF_ORDER = "out_of_order"
    """The notice comes at a moment by seed within ``seconds`` (default 600), so later payments are told of first."""
    WRONG_AMOUNT = "wrong_amount"
    """The notice, validly signed, tells another amount."""
    WRONG_SIGNATURE = "wrong_signature"
    """The notice's signature does not fit."""
    SIGNTEST = "signtest"
    """The notice carries the channel's own probe, ``WECHATPAY/SIGNTEST/…``."""
    OTHER_MERCHANT = "other_merchant"
    """The notice, validly signed, names another operator's merchant number."""
    UNKNOWN = "unknown"
    """The order is made, but the call is answered 500, or after ``seconds`` (longer than the caller waits)."""
    ROTATE_KEY = "rotate_key"
    """From now on a new platform certificate signs; it can be fetched as ever."""
    BILL_REISSUED = "bill_reissued"
    """The bill's first issue lacks its last row (with sums to fit); the next issue is whole."""
    BILL_CUT = "bill_cut"
    """The bill file ends in the middle; its digest is that of the cut file."""
    REFUND_ERROR = "refund_error"
    """The refund call is answered 500 and nothing is made."""
    REFUND_UNKNOWN = "refund_unknown"
    """The refund is made, but the call is answered 500, or after ``seconds`` (longer than the caller waits)."""
    REFUND_NOT_ENOUGH = "refund_not_enough"
    """The refund call is answered 403 NOT_ENOUGH and nothing is made; with ``next`` only so many times."""
    REFUND_CLOSED = "refund_closed"
    """The refund ends CLOSED: the money stays with the merchant."""
    REFUND_ABNORMAL = "refund_abnormal"
    """The refund ends ABNORMAL: the payer's account takes the money no more."""
    REFUND_FAILS_LATER = "refund_fails_later"
    """The refund succeeds, and turns ABNORMAL ``seconds`` (default 3600) after that, with a second notice."""
    REFUND_LATE = "refund_late"
    """The notice of the refund's end comes ``seconds`` later."""
    REFUND_TWICE = "refund_twice"
    """A second, equal notice of the refund comes although the first was taken."""
    REFUND_NEVER = "refund_never"
    """No notice of the refund comes at all."""


ON_NOTICE: Final = frozenset({
    FaultKind.LATE, FaultKind.TWICE, FaultKind.NEVER, FaultKind.OUT_OF_ORDER, FaultKind.WRONG_AMOUNT, FaultKind.WRONG_SIGNATURE,
    FaultKind.SIGNTEST, FaultKind.OTHER_MERCHANT,
})  # fmt: skip
"""Faults decided when an order is paid."""
ON_REFUND: Final = frozenset({
    FaultKind.REFUND_CLOSED, FaultKind.REFUND_ABNORMAL, FaultKind.REFUND_FAILS_LATER, FaultKind.REFUND_LATE, FaultKind.REFUND_TWICE,
    FaultKind.REFUND_NEVER,
})  # fmt: skip
"""Faults decided when a refund is made by a call."""


class Fault(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fault and whom it meets: orders like a pattern, the next so many, or a share of all by seed. All conditions must hold.

    A refund is met by the number of its order, and is in or out of a share by its own number.
    """

    kind: FaultKind
    order_like: str = "*"
    """Pattern of order numbers with ``*`` and ``?``."""
    next: Annotated[int, Meta(ge=0)] | None = None
    """Only so many more times; None means always."""
    probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Share of the orders (or refunds), chosen by the seed and the number."""
    seconds: Annotated[float, Meta(ge=0)] = 0
    attempts: Annotated[int, Meta(ge=0)] = 1
    """For wrong_amount, wrong_signature, signtest and other_merchant: how many attempts are touched; 0 means all."""
    bill_on: date | None = None
    """For bill faults: only the bill of that day."""


class FaultPlan(Struct, frozen=True, forbid_unknown_fields=True):
    faults: tuple[Fault, ...]


class SetClockIn(Struct, frozen=True, forbid_unknown_fields=True):
    at: Annotated[datetime, Meta(tz=True)]


class ClockOut(Struct, frozen=True):
    now: datetime


class DeliverIn(Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1)] = 1_000_000


class Delivered(Struct, frozen=True):
    """How many attempts were made, how many were taken, how many failed, and how many notices still wait (due later)."""

    attempts: int
    accepted: int
    failed: int
    waiting: int


class PayIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Pay as a payer: by order number or prepay id. ``openid`` must be the order's own when given."""

    order_no: str | None = None
    prepay_id: str | None = None
    openid: str | None = None


class PaidOut(Struct, frozen=True):
    order_no: str
    trade_no: str
    amount_fen: int
    paid_at: datetime


class RefundByHandIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Refund as the merchant's console does; without an amount all that is left of the order."""

    order_no: str
    amount_fen: Annotated[int, Meta(ge=1)] | None = None


class RefundedByHandOut(Struct, frozen=True):
    order_no: str
    refund_no: str
    channel_refund_no: str
    amount_fen: int
    accepted_at: datetime


class MerchantIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Name of a merchant as the cashier shows it."""

    merchant_no: Text
    name: Text


class MerchantsIn(Struct, frozen=True, forbid_unknown_fields=True):
    merchants: tuple[MerchantIn, ...]


class MerchantOut(Struct, frozen=True):
    merchant_no: str
    name: str
    payments: int
    taken_fen: int
    fee_fen: int
    refunds: int
    refunded_fen: int
    fee_returned_fen: int
    net_fen: int


class MerchantsOut(Struct, frozen=True):
    merchants: list[MerchantOut]


class RotatedOut(Struct, frozen=True):
    serial: str


class RefusedOut(Struct, frozen=True):
    reason: str
