"""What the stand-in says and is told: the channel's JSON as it leaves the channel, and the control routes' bodies.

Knows field names; must not know state. Used by the sandbox's modules.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from gateways.wechat import wire

Text = Annotated[str, Meta(min_length=1)]
MchId = Annotated[str, Meta(pattern=r"^[0-9]{8,10}$")]
OrderNo = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-|*]{6,32}$")]


class AmountIn(Struct, frozen=True):
    total: Annotated[int, Meta(ge=1, le=100_000_000_000)]
    currency: Literal["CNY"] = "CNY"


class OrderIn(Struct, frozen=True):
    """A JSAPI order as the channel reads it."""

    sp_appid: Annotated[str, Meta(max_length=32)]
    sp_mchid: MchId
    sub_mchid: MchId
    description: Annotated[str, Meta(min_length=1, max_length=wire.DESCRIPTION_CHARACTERS_MAX)]
    out_trade_no: OrderNo
    notify_url: Annotated[str, Meta(pattern=r"^https?://[^?#]{1,247}$")]
    amount: AmountIn
    payer: wire.Payer
    sub_appid: Annotated[str, Meta(max_length=32)] | None = None
    time_expire: Annotated[datetime, Meta(tz=True)] | None = None
    attach: Annotated[str, Meta(max_length=wire.ATTACH_CHARACTERS_MAX)] | None = None


class AmountOut(Struct, frozen=True):
    total: int
    payer_total: int
    currency: str = "CNY"
    payer_currency: str = "CNY"


class TransactionOut(Struct, frozen=True, omit_defaults=True):
    """An order as query answers and notices tell of it; what follows payment is absent before."""

    sp_appid: str
    sp_mchid: str
    sub_mchid: str
    out_trade_no: str
    trade_state: str
    trade_state_desc: str
    sub_appid: str | None = None
    transaction_id: str | None = None
    trade_type: str | None = None
    bank_type: str | None = None
    attach: str | None = None
    success_time: str | None = None
    payer: wire.Payer | None = None
    amount: AmountOut | None = None


class ResourceOut(Struct, frozen=True):
    original_type: str
    algorithm: str
    ciphertext: str
    associated_data: str
    nonce: str


class NoticeOut(Struct, frozen=True):
    id: str
    create_time: str
    resource_type: str
    event_type: str
    summary: str
    resource: ResourceOut


class FailureDetail(Struct, frozen=True):
    issue: str


class FailureOut(Struct, frozen=True, omit_defaults=True):
    code: str
    message: str
    detail: FailureDetail | None = None


class EncryptedCertificateOut(Struct, frozen=True):
    algorithm: str
    nonce: str
    associated_data: str
    ciphertext: str


class CertificateOut(Struct, frozen=True):
    serial_no: str
    effective_time: str
    expire_time: str
    encrypt_certificate: EncryptedCertificateOut


class CertificatesOut(Struct, frozen=True):
    data: list[CertificateOut]


class OpenIdOut(Struct, frozen=True):
    access_token: str
    refresh_token: str
    openid: str
    expires_in: int = 7200
    scope: str = "snsapi_base"


class OpenIdFailure(Struct, frozen=True):
    errcode: int
    errmsg: str


# Control routes


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


ON_NOTICE: Final = frozenset(FaultKind) - {
    FaultKind.UNKNOWN, FaultKind.ROTATE_KEY, FaultKind.BILL_REISSUED, FaultKind.BILL_CUT
}  # fmt: skip
"""Faults decided when an order is paid."""


class Fault(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fault and whom it meets: orders like a pattern, the next so many, or a share of all by seed. All conditions must hold."""

    kind: FaultKind
    order_like: str = "*"
    """Pattern of order numbers with ``*`` and ``?``."""
    next: Annotated[int, Meta(ge=0)] | None = None
    """Only so many more times; None means always."""
    probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Share of the orders, chosen by the seed and the order number."""
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


class MerchantIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Name of a merchant as the cashier shows it."""

    merchant_no: MchId
    name: Text


class MerchantsIn(Struct, frozen=True, forbid_unknown_fields=True):
    merchants: tuple[MerchantIn, ...]


class MerchantOut(Struct, frozen=True):
    merchant_no: str
    name: str
    payments: int
    taken_fen: int
    fee_fen: int


class MerchantsOut(Struct, frozen=True):
    merchants: list[MerchantOut]


class RotatedOut(Struct, frozen=True):
    serial: str


class RefusedOut(Struct, frozen=True):
    reason: str
