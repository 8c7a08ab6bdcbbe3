"""What the stand-in says and is told: the channel's JSON as it leaves the channel, and the control routes' bodies.

Knows field names; must not know state. Used by the sandbox's modules.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from gateways.wechat import wire

Text = Annotated[str, Meta(min_length=1)]
MchId = Annotated[str, Meta(pattern=r"^[0-9]{8,10}$")]
RefundWord = Literal["PROCESSING", "SUCCESS", "CLOSED", "ABNORMAL"]
"""What the channel says of a refund."""
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


class RefundAmountIn(Struct, frozen=True):
    refund: Annotated[int, Meta(ge=1, le=100_000_000_000)]
    total: Annotated[int, Meta(ge=1, le=100_000_000_000)]
    currency: Literal["CNY"]


class RefundIn(Struct, frozen=True):
    """A refund as the channel reads it. Without ``notify_url`` no notice is sent: none is set on the channel's own site."""

    sub_mchid: MchId
    out_refund_no: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-|*@]{1,64}$")]
    amount: RefundAmountIn
    transaction_id: Annotated[str, Meta(max_length=32)] | None = None
    out_trade_no: OrderNo | None = None
    reason: Annotated[str, Meta(min_length=1)] | None = None
    notify_url: Annotated[str, Meta(pattern=r"^https?://[^?#]{1,248}$")] | None = None
    funds_account: Literal["AVAILABLE"] | None = None


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


class RefundAmountOut(Struct, frozen=True):
    total: int
    refund: int
    payer_total: int
    payer_refund: int
    settlement_refund: int
    settlement_total: int
    refund_fee: int
    """Commission given back, in fen."""
    discount_refund: int = 0
    currency: str = "CNY"
    from_accounts: tuple[()] = field(default=(), name="from")


class RefundOut(Struct, frozen=True):
    """A refund as the refund call and the refund query answer; the time of success is absent before and without it."""

    refund_id: str
    out_refund_no: str
    transaction_id: str
    out_trade_no: str
    user_received_account: str
    create_time: str
    status: RefundWord
    amount: RefundAmountOut
    success_time: str | UnsetType = UNSET
    channel: str = "ORIGINAL"
    funds_account: str = "AVAILABLE"
    promotion_detail: tuple[()] = ()


class RefundNoticeAmountOut(Struct, frozen=True):
    total: int
    refund: int
    payer_total: int
    payer_refund: int


class RefundNoticeOut(Struct, frozen=True):
    """A refund as its notices tell of it: with the merchants' numbers, and the state under another name."""

    sp_mchid: str
    sub_mchid: str
    transaction_id: str
    out_trade_no: str
    refund_id: str
    out_refund_no: str
    refund_status: RefundWord
    user_received_account: str
    amount: RefundNoticeAmountOut
    success_time: str | UnsetType = UNSET


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
