"""What WeChat's stand-in says and is told: the channel's JSON as it leaves the channel.

Knows field names; must not know state. Used by the sandbox's modules.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from gateways.wechat import wire

MchId = Annotated[str, Meta(pattern=r"^[0-9]{8,10}$")]
RefundWord = Literal["PROCESSING", "SUCCESS", "CLOSED", "ABNORMAL"]
"""What the channel says of a refund."""
OrderNo = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-|*]{6,32}$")]
NotifyUrl = Annotated[str, Meta(pattern=r"^https?://[^?#]{1,247}$")]
TradeType = Literal["JSAPI", "MWEB", "NATIVE", "PARKING"]
"""How an order is paid; the last is our word for a deduction, whose own is not known."""


class AmountIn(Struct, frozen=True):
    total: Annotated[int, Meta(ge=1, le=100_000_000_000)]
    currency: Literal["CNY"] = "CNY"


class H5InfoIn(Struct, frozen=True):
    type: Literal["iOS", "Android", "Wap"]
    app_name: Annotated[str, Meta(max_length=64)] | None = None
    app_url: Annotated[str, Meta(max_length=128)] | None = None


class SceneIn(Struct, frozen=True):
    payer_client_ip: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f.:]{2,45}$")]
    h5_info: H5InfoIn | None = None


class OrderIn(Struct, frozen=True, kw_only=True):
    """An order as the channel reads it; which of ``payer`` and ``scene_info`` must be there depends on the call."""

    sp_appid: Annotated[str, Meta(max_length=32)]
    sp_mchid: MchId
    sub_mchid: MchId
    description: Annotated[str, Meta(min_length=1, max_length=wire.DESCRIPTION_CHARACTERS_MAX)]
    out_trade_no: OrderNo
    notify_url: Annotated[str, Meta(pattern=r"^https?://[^?#]{1,247}$")]
    amount: AmountIn
    payer: wire.Payer | None = None
    scene_info: SceneIn | None = None
    sub_appid: Annotated[str, Meta(max_length=32)] | None = None
    time_expire: Annotated[datetime, Meta(tz=True)] | None = None
    attach: Annotated[str, Meta(max_length=wire.ATTACH_CHARACTERS_MAX)] | None = None


class SubAmountIn(Struct, frozen=True):
    total_amount: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    currency: Literal["CNY"]


class SubOrderIn(Struct, frozen=True, kw_only=True):
    mchid: MchId
    sub_mchid: MchId
    out_trade_no: OrderNo
    attach: Annotated[str, Meta(min_length=1, max_length=wire.ATTACH_CHARACTERS_MAX)]
    amount: SubAmountIn
    description: Annotated[str, Meta(min_length=1, max_length=wire.DESCRIPTION_CHARACTERS_MAX)]
    sub_appid: Annotated[str, Meta(max_length=32)] | None = None


class CombinedPayerIn(Struct, frozen=True):
    openid: Annotated[str, Meta(min_length=1, max_length=128)]


class CombinedIn(Struct, frozen=True, kw_only=True):
    """A combined order as the channel reads it."""

    combine_appid: Annotated[str, Meta(max_length=32)]
    combine_mchid: MchId
    combine_out_trade_no: OrderNo
    notify_url: NotifyUrl
    sub_orders: Annotated[tuple[SubOrderIn, ...], Meta(min_length=1, max_length=wire.LEGS_MAX)]
    combine_payer_info: CombinedPayerIn | None = None
    scene_info: SceneIn | None = None
    time_start: Annotated[datetime, Meta(tz=True)] | None = None
    time_expire: Annotated[datetime, Meta(tz=True)] | None = None


class SubCloseIn(Struct, frozen=True):
    mchid: MchId
    sub_mchid: MchId
    out_trade_no: OrderNo
    sub_appid: Annotated[str, Meta(max_length=32)] | None = None


class CombinedCloseIn(Struct, frozen=True):
    combine_appid: str
    sub_orders: tuple[SubCloseIn, ...]


class SubAmountOut(Struct, frozen=True):
    total_amount: int
    payer_amount: int
    currency: str = "CNY"
    payer_currency: str = "CNY"


class SubOrderOut(Struct, frozen=True, omit_defaults=True):
    """A leg as the combined query and the combined notice tell of it."""

    mchid: str
    sub_mchid: str
    out_trade_no: str
    trade_state: str
    amount: SubAmountOut
    attach: str
    sub_appid: str | None = None
    transaction_id: str | None = None
    trade_type: str | None = None
    bank_type: str | None = None
    success_time: str | None = None


class CombinedOut(Struct, frozen=True, omit_defaults=True):
    combine_appid: str
    combine_mchid: str
    combine_out_trade_no: str
    sub_orders: tuple[SubOrderOut, ...]
    combine_payer_info: wire.CombinedPayer | None = None
    combine_transaction_id: str | None = None


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
