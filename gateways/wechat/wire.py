"""WeChat Pay's wire forms: addresses, JSON shapes, state words, error codes.

Knows what the channel's documents print; must not know keys or what follows from a message. Read by the adapter and the sandbox.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from gateways.contract import ChannelState, RefundState

API_URL: Final = "https://api.mch.weixin.qq.com"

JSAPI_PATH: Final = "/v3/pay/partner/transactions/jsapi"
H5_PATH: Final = "/v3/pay/partner/transactions/h5"
NATIVE_PATH: Final = "/v3/pay/partner/transactions/native"
ORDER_PATH: Final = "/v3/pay/partner/transactions/out-trade-no/"
TRADE_PATH: Final = "/v3/pay/partner/transactions/id/"
COMBINED_JSAPI_PATH: Final = "/v3/combine-transactions/jsapi"
COMBINED_H5_PATH: Final = "/v3/combine-transactions/h5"
COMBINED_NATIVE_PATH: Final = "/v3/combine-transactions/native"
COMBINED_PATH: Final = "/v3/combine-transactions/out-trade-no/"
REFUND_PATH: Final = "/v3/refund/domestic/refunds"
CERTIFICATES_PATH: Final = "/v3/certificates"
TRADE_BILL_PATH: Final = "/v3/bill/tradebill"
FUND_BILL_PATH: Final = "/v3/bill/fundflowbill"
SUB_FUND_BILL_PATH: Final = "/v3/bill/sub-merchant-fundflowbill"

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
BOX: Final = "AEAD_AES_256_GCM"
LEGS_MAX: Final = 50
CLOCK_SECONDS_MAX: Final = 300
"""A message this old or older, or this far ahead, is refused."""

CURRENCY: Final = "CNY"
DESCRIPTION_CHARACTERS_MAX: Final = 127
ATTACH_CHARACTERS_MAX: Final = 128
REFUND_REASON_BYTES_MAX: Final = 80
TIME_EXPIRE_DAYS_MAX: Final = 15
"""One document says 15 days, another 90: the smaller one holds in both."""
UNSIGNED_ERRORS_COUNT: Final = True
"""The documents do not say whether error answers are always signed, and the official SDKs check 2xx only. True: an error code in
an answer without signature headers is believed (the transport is TLS); one with a wrong signature never is."""

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are not the JSON expected: another form, not UTF-8, nested without end."""

Number = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-|*@]{1,64}$")]
"""A number of an order, trade or merchant. Anything else cannot be stored or compared safely."""


class Resource(Struct, frozen=True):
    """The encrypted part of a notice."""

    ciphertext: str
    nonce: str
    algorithm: str = BOX
    original_type: str = ""
    associated_data: str | None = None


class Notice(Struct, frozen=True):
    """A notice as it comes in; other fields are kept with the evidence."""

    event_type: str
    resource: Resource
    id: str = ""
    create_time: str = ""
    resource_type: str = "encrypt-resource"
    summary: str = ""


class Amount(Struct, frozen=True, omit_defaults=True):
    """``total`` is the order's amount in fen; what the payer really paid after coupons is not read here."""

    total: Annotated[int, Meta(ge=1, le=1_000_000_000_000)] | None = None
    currency: Annotated[str, Meta(pattern=r"^[A-Za-z]{1,16}$")] | None = None


class Transaction(Struct, frozen=True):
    """An order as a query's answer and a notice's plaintext tell of it. What is absent depends on the state."""

    out_trade_no: Number | None = None
    trade_state: str | None = None
    sp_mchid: Number | None = None
    sub_mchid: Number | None = None
    transaction_id: Number | None = None
    amount: Amount | None = None
    success_time: Annotated[datetime, Meta(tz=True)] | None = None
    combine_out_trade_no: str | None = None
    trade_scene: str | None = None


class SubAmount(Struct, frozen=True, omit_defaults=True):
    """Fen. The leg's amount has another name than an order's."""

    total_amount: Annotated[int, Meta(ge=1, le=1_000_000_000_000)] | None = None
    currency: Annotated[str, Meta(pattern=r"^[A-Za-z]{1,16}$")] | None = None


class SubOrder(Struct, frozen=True):
    """A leg as the combined query's answer and the combined notice tell of it."""

    mchid: Number | None = None
    sub_mchid: Number | None = None
    out_trade_no: Number | None = None
    trade_state: str | None = None
    transaction_id: Number | None = None
    amount: SubAmount | None = None
    success_time: Annotated[datetime, Meta(tz=True)] | None = None


class CombinedTransaction(Struct, frozen=True):
    """A combined order as the query's answer and the one notice tell of it."""

    combine_mchid: Number | None = None
    combine_out_trade_no: Number | None = None
    sub_orders: Annotated[tuple[SubOrder, ...], Meta(max_length=LEGS_MAX)] = ()


class Payer(Struct, frozen=True, omit_defaults=True):
    sp_openid: str | None = None
    sub_openid: str | None = None


class H5Info(Struct, frozen=True, omit_defaults=True):
    """What kind of page leads to the wallet: ``iOS``, ``Android`` or ``Wap``."""

    type: str
    app_name: str | None = None
    app_url: str | None = None


class SceneInfo(Struct, frozen=True, omit_defaults=True):
    payer_client_ip: str | None = None
    h5_info: H5Info | None = None


class OrderCall(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of the order calls. ``payer`` is JSAPI's, ``scene_info`` H5's. A field without a value is left out: null is refused."""

    sp_appid: str
    sp_mchid: str
    sub_mchid: str
    description: str
    out_trade_no: str
    time_expire: str
    notify_url: str
    amount: Amount
    payer: Payer | None = None
    scene_info: SceneInfo | None = None
    sub_appid: str | None = None
    attach: str | None = None


class CombinedPayer(Struct, frozen=True, omit_defaults=True):
    openid: str | None = None


class SubCall(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A leg of the combined order call. ``attach`` is required here."""

    mchid: str
    sub_mchid: str
    out_trade_no: str
    attach: str
    amount: SubAmount
    description: str
    sub_appid: str | None = None


class CombinedCall(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of the combined order calls."""

    combine_appid: str
    combine_mchid: str
    combine_out_trade_no: str
    time_start: str
    time_expire: str
    notify_url: str
    sub_orders: tuple[SubCall, ...]
    combine_payer_info: CombinedPayer | None = None
    scene_info: SceneInfo | None = None


class SubClose(Struct, frozen=True):
    mchid: str
    sub_mchid: str
    out_trade_no: str


class CombinedClose(Struct, frozen=True):
    """Body of the combined close: the legs must be those of the order, all of them."""

    combine_appid: str
    sub_orders: tuple[SubClose, ...]


class RefundAmount(Struct, frozen=True, omit_defaults=True):
    """Fen. ``refund`` is this refund, ``total`` the order."""

    refund: Annotated[int, Meta(ge=1, le=1_000_000_000_000)] | None = None
    total: Annotated[int, Meta(ge=1, le=1_000_000_000_000)] | None = None
    currency: str | None = None


class RefundCall(Struct, frozen=True, omit_defaults=True):
    """Body of the refund call. A field without a value is left out."""

    sub_mchid: str
    transaction_id: str
    out_refund_no: str
    amount: RefundAmount
    notify_url: str
    reason: str | None = None


class Refunded(Struct, frozen=True):
    """A refund as answers (``status``) and notices (``refund_status``, ``sp_mchid``, ``sub_mchid``) tell of it."""

    out_refund_no: Number | None = None
    refund_id: Number | None = None
    transaction_id: Number | None = None
    out_trade_no: Number | None = None
    status: str | None = None
    refund_status: str | None = None
    sp_mchid: Number | None = None
    sub_mchid: Number | None = None
    amount: RefundAmount | None = None
    success_time: Annotated[datetime, Meta(tz=True)] | None = None


class Prepaid(Struct, frozen=True):
    prepay_id: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,64}$")]


class H5Made(Struct, frozen=True):
    h5_url: Annotated[str, Meta(pattern=r"^https?://[\x21-\x7e]{1,2000}$")]


class NativeMade(Struct, frozen=True):
    code_url: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,512}$")]


class CloseOrder(Struct, frozen=True):
    sp_mchid: str
    sub_mchid: str


class BillLocation(Struct, frozen=True):
    hash_type: str
    hash_value: str
    download_url: str


class SealedPart(Struct, frozen=True):
    """Where one part of an encrypted bill is, and what opens it."""

    bill_sequence: int
    download_url: str
    encrypt_key: str
    """The AES key, encrypted for our merchant certificate, as base64."""
    nonce: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{8,64}$")]
    hash_type: str
    hash_value: str


class SealedLocation(Struct, frozen=True):
    download_bill_count: int
    download_bill_list: tuple[SealedPart, ...]


class EncryptedCertificate(Struct, frozen=True):
    nonce: str
    ciphertext: str
    algorithm: str = BOX
    associated_data: str = "certificate"


class CertificateRow(Struct, frozen=True):
    serial_no: str
    encrypt_certificate: EncryptedCertificate
    effective_time: str = ""
    expire_time: str = ""


class Certificates(Struct, frozen=True):
    data: tuple[CertificateRow, ...]


class Failure(Struct, frozen=True):
    code: str
    message: str = ""


class Meaning(StrEnum):
    """What an error code means for us; the word is the ``reason`` of the outcome."""

    REFUSED = "call_refused"
    """The same call would be refused again, and would have been refused before."""
    NOT_ALLOWED = "not_allowed"
    """Key, clock, permission or account: to be mended by a person. It says nothing about the order."""
    ORDER_PAID = "order_paid"
    ORDER_CLOSED = "order_closed"
    NOT_FOUND = "not_found"
    TAKEN = "order_number_taken"
    """The number was used with other content, or a rule was hit: query it first."""
    RATE_LIMITED = "rate_limited"
    """Not carried out; ask later."""
    UNAVAILABLE = "unavailable"
    """The result is unknown."""
    BALANCE_LOW = "balance_low"
    """The operator's account at the channel holds too little for the refund."""
    PAYER_GONE = "payer_gone"
    """The payer's account at the channel was closed: the money must go back another way."""
    BILL_EMPTY = "empty"
    BILL_NOT_READY = "not_ready"


ERRORS: Final[dict[str, Meaning]] = {
    "PARAMERROR": Meaning.REFUSED,
    "APPIDMCHIDNOTMATCH": Meaning.REFUSED,
    "MCHNOTEXISTS": Meaning.REFUSED,
    "OPENIDMISMATCH": Meaning.REFUSED,
    "INVALIDTRANSACTIONID": Meaning.REFUSED,
    "INVALIDREQUEST": Meaning.TAKEN,
    "OUTTRADENOUSED": Meaning.TAKEN,
    "TRADEERROR": Meaning.TAKEN,
    "ORDERPAID": Meaning.ORDER_PAID,
    "ORDERCLOSED": Meaning.ORDER_CLOSED,
    "ORDERNOTEXIST": Meaning.NOT_FOUND,
    "RESOURCENOTEXISTS": Meaning.NOT_FOUND,
    "SIGNERROR": Meaning.NOT_ALLOWED,
    "NOAUTH": Meaning.NOT_ALLOWED,
    "RULELIMIT": Meaning.NOT_ALLOWED,
    "ACCOUNTERROR": Meaning.NOT_ALLOWED,
    "FREQUENCYLIMITED": Meaning.RATE_LIMITED,
    "RATELIMITEXCEEDED": Meaning.RATE_LIMITED,
    "RATELIMITED": Meaning.RATE_LIMITED,
    "NOTENOUGH": Meaning.BALANCE_LOW,
    "USERACCOUNTABNORMAL": Meaning.PAYER_GONE,
    "SYSTEMERROR": Meaning.UNAVAILABLE,
    "BANKERROR": Meaning.UNAVAILABLE,
    "SERVICEUNAVAILABLE": Meaning.UNAVAILABLE,
    "NOSTATEMENTEXIST": Meaning.BILL_EMPTY,
    "STATEMENTCREATING": Meaning.BILL_NOT_READY,
}
"""Keyed without underscores: older texts write SYSTEMERROR for SYSTEM_ERROR."""

STATES: Final[dict[str, ChannelState]] = {
    "SUCCESS": ChannelState.SUCCEEDED,
    "REFUND": ChannelState.SUCCEEDED,  # the money was taken; refunds are facts of their own
    "NOTPAY": ChannelState.PENDING,
    "USERPAYING": ChannelState.PENDING,
    "CLOSED": ChannelState.CLOSED,
    "REVOKED": ChannelState.CLOSED,
    "PAYERROR": ChannelState.FAILED,
}
REFUND_STATES: Final[dict[str, RefundState]] = {
    "SUCCESS": RefundState.DONE,
    "PROCESSING": RefundState.PENDING,
    "CLOSED": RefundState.CLOSED,
    "ABNORMAL": RefundState.STUCK,
}
REFUND_MEANINGS: Final[dict[Meaning, RefundState]] = {
    Meaning.REFUSED: RefundState.REFUSED,
    Meaning.BALANCE_LOW: RefundState.LATER,
    Meaning.RATE_LIMITED: RefundState.LATER,
    Meaning.PAYER_GONE: RefundState.STUCK,
}
"""What an error answer to the refund call says about the refund; every other one says nothing."""


def meaning(body: bytes) -> Meaning | None:
    """Return what an error answer means, or None when it is not one of the channel's or its code is not listed."""
    try:
        code = decode_failure(body).code
    except UNREADABLE:
        return None
    return ERRORS.get(code.replace("_", ""))


decode_notice: Final = msgspec.json.Decoder(Notice).decode
decode_transaction: Final = msgspec.json.Decoder(Transaction).decode
decode_refunded: Final = msgspec.json.Decoder(Refunded).decode
decode_combined: Final = msgspec.json.Decoder(CombinedTransaction).decode
decode_h5: Final = msgspec.json.Decoder(H5Made).decode
decode_native: Final = msgspec.json.Decoder(NativeMade).decode
decode_prepaid: Final = msgspec.json.Decoder(Prepaid).decode
decode_bill_location: Final = msgspec.json.Decoder(BillLocation).decode
decode_sealed_location: Final = msgspec.json.Decoder(SealedLocation).decode
decode_certificates: Final = msgspec.json.Decoder(Certificates).decode
decode_failure: Final = msgspec.json.Decoder(Failure).decode
encode: Final = msgspec.json.Encoder().encode
