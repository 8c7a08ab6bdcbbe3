"""Alipay's wire forms: addresses, methods, JSON and form shapes, state words, error codes.

Knows what the channel's documents print; must not know keys or what follows from a message. Read by the adapter and a stand-in.
Amounts are yuan text on the wire and whole fen here; times are China time on the wire and aware UTC here.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct, field

from gateways.contract import ChannelState, RefundState
from ledger.money import fen as whole_fen
from ledger.money import yuan

API_URL: Final = "https://openapi.alipay.com/gateway.do"
SANDBOX_URL: Final = "https://openapi-sandbox.dl.alipaydev.com/gateway.do"
LOGIN_URL: Final = "https://openauth.alipay.com/oauth2/publicAppAuthorize.htm"
"""Where a payer's browser says who it is (probable)."""
AUTHORISE_URL: Final = "https://openauth.alipay.com/oauth2/appToAppAuth.htm"
"""Where an operator lets us act for it (probable)."""

CREATE: Final = "alipay.trade.create"
PRECREATE: Final = "alipay.trade.precreate"
WAP_PAY: Final = "alipay.trade.wap.pay"
QUERY: Final = "alipay.trade.query"
CLOSE: Final = "alipay.trade.close"
CANCEL: Final = "alipay.trade.cancel"
REFUND: Final = "alipay.trade.refund"
REFUND_QUERY: Final = "alipay.trade.fastpay.refund.query"
BILL: Final = "alipay.data.dataservice.bill.downloadurl.query"
LOGIN: Final = "alipay.system.oauth.token"
APP_TOKEN: Final = "alipay.open.auth.token.app"
CERTIFICATE: Final = "alipay.open.app.alipaycert.download"
PARKING_AGREEMENT: Final = "alipay.eco.mycar.parking.agreement.query"
PARKING_ENTRY: Final = "alipay.eco.mycar.parking.enterinfo.sync"
PARKING_PAY: Final = "alipay.eco.mycar.parking.order.pay"

FORM_TYPE: Final = "application/x-www-form-urlencoded;charset=utf-8"
ACCEPTED: Final = b"success"
"""The whole answer to a notice that was taken, with status 200: nothing before it, nothing after it."""
NOT_ACCEPTED: Final = b"fail"
"""Any other answer makes the notice come again; this word is the custom."""
NOTICE_KIND: Final = "trade_status_sync"

OK: Final = "10000"
SUBJECT_CHARACTERS_MAX: Final = 256
SUBJECT_AVOIDED: Final = frozenset("/=&")
PRODUCT_JSAPI: Final = "JSAPI_PAY"
"""With ``op_app_id``. Older contracts have FACE_TO_FACE_PAYMENT (probable)."""
PRODUCT_CODE: Final = "FACE_TO_FACE_PAYMENT"
PRODUCT_WAP: Final = "QUICK_WAP_WAY"
"""Older texts and SDKs write QUICK_WAP_PAY; which one counts is only probable."""
URL_CHARACTERS_MAX: Final = 2000
"""Longest address that every browser and proxy takes; a longer order goes as a form."""
QUIT_URL_CHARACTERS_MAX: Final = 400
EXPIRY_DAYS_MAX: Final = 15
"""Longest life of an order."""
CANCEL_HOURS_MAX: Final = 24
"""How long a cancel is allowed (probable)."""
REFUND_QUERY_SECONDS_MIN: Final = 10
"""A refund asked about earlier than this may not be there yet."""
BILL_LINK_SECONDS: Final = 30
"""How long a bill's address lives."""
CLOSED_UNPAID: Final = ChannelState.CLOSED
"""What TRADE_CLOSED means without a time of payment and without a refund. Documents name ``send_pay_date`` as the difference
between an order that timed out and one that was refunded whole, but do not promise it; UNKNOWN here would leave such orders to a
person."""

CANCEL_ACTIONS: Final = frozenset({"close", "refund"})
BUYER_NUMBER: Final = re.compile(r"2088\d{12}", re.ASCII)
"""A payer's number; any other text is an open id."""

_YUAN: Final = re.compile(r"-?\d{1,10}(?:\.\d{1,2})?", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,3})?", re.ASCII)
_CHINA_AHEAD: Final = timedelta(hours=8)
_T = TypeVar("_T", bound=Struct)

_NUMBER: Final = r"^[0-9A-Za-z_\-|*@]{1,64}\Z"
Number = Annotated[str, Meta(pattern=_NUMBER)]
"""A number of an order, trade, refund, application or seller. Anything else cannot be stored or compared safely."""


class Fen(int):
    """Whole fen, never negative, in a shape of this channel; the wire has yuan, as text or in some samples as a JSON number."""


def is_number(text: str) -> bool:
    """Tell whether a text is a ``Number``."""
    return re.fullmatch(_NUMBER, text) is not None


# Amounts and times


def fen(text: str) -> int:
    """Return yuan text as fen. Raises ValueError for more than two decimals, exponents and all that is not plain digits."""
    if _YUAN.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is not an amount in yuan with at most two decimals")
    return whole_fen(text)


def instant(text: str | None) -> datetime | None:
    """Return a time of the wire (``yyyy-MM-dd HH:mm:ss[.SSS]``, China) in UTC, or None when it is none."""
    if text is None or _TIME.fullmatch(text) is None:
        return None
    try:
        return (datetime.fromisoformat(_padded(text)) - _CHINA_AHEAD).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def china_time(at: datetime) -> str:
    """Return an aware instant as the wire writes it: China time, whole seconds, rounded down."""
    return (at.astimezone(UTC).replace(tzinfo=None) + _CHINA_AHEAD).isoformat(sep=" ", timespec="seconds")


def _padded(text: str) -> str:
    whole, point, part = text.partition(".")
    return f"{whole}{point}{part.ljust(3, '0')}" if point else whole


# Answers


class Head(Struct, frozen=True):
    """What every node has. A login that went well has none of it."""

    code: str = ""
    msg: str = ""
    sub_code: str = ""
    sub_msg: str = ""


class Created(Struct, frozen=True):
    """``alipay.trade.create``: the trade exists from now on and is bound to its buyer."""

    trade_no: Number
    order_no: Number = field(name="out_trade_no")


class Precreated(Struct, frozen=True):
    """``alipay.trade.precreate``: a code to be shown. No trade exists before it is scanned."""

    qr_code: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,1024}\Z")]
    order_no: Number = field(name="out_trade_no")


class Trade(Struct, frozen=True):
    """``alipay.trade.query``. It tells of no refunds: those have a query of their own."""

    trade_no: Number
    trade_status: str
    order_no: Number = field(name="out_trade_no")
    total_fen: Fen | None = field(name="total_amount", default=None)
    """The order's amount; what the payer really paid after coupons is not read here."""
    receipt_fen: Fen | None = field(name="receipt_amount", default=None)
    send_pay_date: str | None = None
    trans_currency: str = "CNY"
    """Only named when it is not the yuan."""

    @property
    def paid_at(self) -> datetime | None:
        """When the payer paid, UTC."""
        return instant(self.send_pay_date)

    @property
    def state(self) -> ChannelState:
        """What became of the order."""
        return state_of(self.trade_status, paid=bool(self.send_pay_date))


class Closed(Struct, frozen=True):
    """``alipay.trade.close``."""

    trade_no: Number | None = None
    order_no: Number | None = field(name="out_trade_no", default=None)


class Cancelled(Struct, frozen=True):
    """``alipay.trade.cancel``: ``action`` is ``close``, ``refund`` or empty; ``retry_flag`` Y asks for the same call again."""

    retry_flag: str
    action: str = ""
    trade_no: Number | None = None
    order_no: Number | None = field(name="out_trade_no", default=None)
    gmt_refund_pay: str | None = None

    @property
    def again(self) -> bool:
        """Tell whether the cancel is not done and is to be sent again."""
        return self.retry_flag != "N"


class Refunded(Struct, frozen=True):
    """``alipay.trade.refund``."""

    trade_no: Number
    order_no: Number = field(name="out_trade_no")
    fund_change: str | None = None
    refunded_total_fen: Fen | None = field(name="refund_fee", default=None)
    """All refunds of the trade together, not this one."""
    gmt_refund_pay: str | None = None

    @property
    def proven(self) -> bool:
        """Tell whether this very call moved money. If not it may be a repeat or be pending: ask for the refund."""
        return self.fund_change == "Y"


class RefundTold(Struct, frozen=True):
    """``alipay.trade.fastpay.refund.query``. Without a status the refund was not received, or has failed, so far."""

    trade_no: Number | None = None
    order_no: Number | None = field(name="out_trade_no", default=None)
    refund_no: Number | None = field(name="out_request_no", default=None)
    refund_status: str | None = None
    refund_fen: Fen | None = field(name="refund_amount", default=None)
    """This refund alone."""
    total_fen: Fen | None = field(name="total_amount", default=None)
    """The order's amount."""
    gmt_refund_pay: str | None = None

    @property
    def proven(self) -> bool:
        """Tell whether the refund was made."""
        return self.refund_status == "REFUND_SUCCESS"

    @property
    def refunded_at(self) -> datetime | None:
        """When the money was given back, UTC; only there when it was asked for."""
        return instant(self.gmt_refund_pay)


class BillAddress(Struct, frozen=True):
    """``alipay.data.dataservice.bill.downloadurl.query``: good for ``BILL_LINK_SECONDS``, to be asked anew for every try."""

    bill_download_url: Annotated[str, Meta(pattern=r"^https?://[\x21-\x7e]{1,4000}\Z")]
    bill_file_code: str = ""


class Login(Struct, frozen=True):
    """``alipay.system.oauth.token``: who the browser's payer is. New applications are told the open id alone."""

    user_id: Number | None = None
    open_id: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,128}\Z")] | None = None


class AppToken(Struct, frozen=True):
    """Leave to act for one operator. A refreshed token ends the one before it: both parts are stored together or not at all."""

    app_auth_token: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,128}\Z")]
    app_refresh_token: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,128}\Z")]
    auth_app_id: Number
    user_id: Number
    """The operator's merchant number (PID), which is the ``seller_id`` of its trades."""
    expires_in: int
    """Seconds."""
    re_expires_in: int = 0
    """Seconds for which it can be refreshed."""


class AppTokens(Struct, frozen=True):
    """``alipay.open.auth.token.app`` where the answer lists what was granted."""

    tokens: tuple[AppToken, ...] = ()


class Agreement(Struct, frozen=True):
    """``…parking.agreement.query``: whether a plate may be debited at this moment; to be asked again before every debit."""

    agreement_scene: str = ""
    agreement_status: str = ""
    advance_status: str = ""
    expire_time: str | None = None
    car_status: str = ""


class Entered(Struct, frozen=True):
    """``…parking.enterinfo.sync``."""

    serial_no: str | None = None
    agreement_scene: str = ""
    car_status: str = ""
    current_time: str | None = None


class Debited(Struct, frozen=True):
    """``…parking.order.pay``: the plate's owner was debited."""

    trade_no: Number
    order_no: Number = field(name="out_trade_no")
    total_fen: Fen | None = field(name="total_fee", default=None)
    gmt_payment: str | None = None

    @property
    def paid_at(self) -> datetime | None:
        """When the debit was made, UTC."""
        return instant(self.gmt_payment)


class CertificateFile(Struct, frozen=True):
    """``alipay.open.app.alipaycert.download``: base64 of the PEM. The answer is not verified by signature, the chain is instead."""

    content: str = field(name="alipay_cert_content")


# Notices


class Notice(Struct, frozen=True):
    """A trade's notice, as a form's text. Fields are absent when empty; others are kept with the evidence."""

    app_id: Number
    trade_no: Number
    trade_status: str
    seller_id: Number
    order_no: Number = field(name="out_trade_no")
    total_fen: Fen = field(name="total_amount")
    notify_type: str = NOTICE_KIND
    notify_id: str = ""
    """The same when the notice comes again."""
    auth_app_id: Number | None = None
    """The operator's application, when we act for it."""
    refund_no: str | None = field(name="out_biz_no", default=None)
    """On a refund's notice our refund number (probable)."""
    refunded_total_fen: Fen | None = field(name="refund_fee", default=None)
    """All refunds of the trade together."""
    gmt_payment: str | None = None
    gmt_refund: str | None = None
    gmt_close: str | None = None
    trans_currency: str = "CNY"

    @property
    def paid_at(self) -> datetime | None:
        """When the payer paid, UTC."""
        return instant(self.gmt_payment)

    @property
    def refunded_at(self) -> datetime | None:
        """When the refund was made that this notice tells of, UTC."""
        return instant(self.gmt_refund)

    @property
    def refunded(self) -> bool:
        """Tell whether a refund made this notice: it is no second payment, and no close of an unpaid order."""
        return bool(self.gmt_refund) or bool(self.refunded_total_fen)

    @property
    def state(self) -> ChannelState:
        """What became of the order."""
        return state_of(self.trade_status, paid=bool(self.gmt_payment) or self.refunded)


# States


STATES: Final[dict[str, ChannelState]] = {
    "WAIT_BUYER_PAY": ChannelState.PENDING,
    "TRADE_SUCCESS": ChannelState.SUCCEEDED,  # stays so after part of it was refunded
    "TRADE_FINISHED": ChannelState.SUCCEEDED,
}
"""TRADE_CLOSED is not among them: it says two things, see ``state_of``."""


def state_of(trade_status: str, *, paid: bool) -> ChannelState:
    """Return what a trade's status says. TRADE_CLOSED is a payment refunded whole when the message has a time of payment."""
    if trade_status == "TRADE_CLOSED":
        return ChannelState.SUCCEEDED if paid else CLOSED_UNPAID
    return STATES.get(trade_status, ChannelState.UNKNOWN)


# Errors


class Meaning(StrEnum):
    """What an error code means for us; the word is the ``reason`` of the outcome."""

    REFUSED = "call_refused"
    """The same call would be refused again, and would have been refused before."""
    NOT_ALLOWED = "not_allowed"
    """Key, clock, permission or contract: to be mended by a person. It says nothing about the order."""
    TOKEN = "token_invalid"
    """Leave to act for the operator has ended: to be refreshed or granted anew. It says nothing about the order."""
    PAYER_REFUSED = "payer_refused"
    """This payer cannot pay; nothing was taken."""
    OTHER_PAYER = "other_payer"
    """The order is bound to another payer: close it and take a new number."""
    ORDER_PAID = "order_paid"
    ORDER_CLOSED = "order_closed"
    NOT_FOUND = "not_found"
    """Not made, or not yet: a code that was not scanned and a cashier that was not reached look the same until they expire."""
    TAKEN = "order_number_taken"
    """The number was used with other content: close it and take a new one."""
    ORDER_STATE = "order_state"
    """Not possible in the order's state: query it and decide."""
    FROZEN = "frozen"
    """Held by the channel; a person must look."""
    BALANCE_SHORT = "balance_short"
    """Not refunded: the operator's balance does not suffice. Later, with the same refund number."""
    REFUND_EXCEEDS = "refund_exceeds"
    """More would be given back than was paid."""
    REFUND_NUMBER_TAKEN = "refund_number_taken"
    """The refund number was used with another amount."""
    REFUND_NOT_ALLOWED = "refund_not_allowed"
    """This trade can no longer be refunded here; a person must look."""
    RATE_LIMITED = "rate_limited"
    """Not carried out; ask later."""
    UNAVAILABLE = "unavailable"
    """The result is unknown: repeat the same, or query."""
    BILL_ABSENT = "not_ready"
    """No file yet, or nothing happened that day: the channel does not say which. Ask again that day, then take it as empty."""


ERRORS: Final[dict[str, Meaning]] = {
    "isp.unknow-error": Meaning.UNAVAILABLE,
    "aop.unknow-error": Meaning.UNAVAILABLE,
    "aop.invalid-auth-token": Meaning.TOKEN,
    "aop.auth-token-time-out": Meaning.TOKEN,
    "aop.invalid-app-auth-token": Meaning.TOKEN,
    "aop.app-auth-token-time-out": Meaning.TOKEN,
    "aop.invalid-app-auth-token-no-api": Meaning.TOKEN,
    "isv.invalid-signature": Meaning.NOT_ALLOWED,
    "isv.invalid-app-id": Meaning.NOT_ALLOWED,
    "isv.invalid-timestamp": Meaning.NOT_ALLOWED,
    "isv.invalid-parameter": Meaning.REFUSED,
    "isv.invalid-method": Meaning.REFUSED,
    "isv.invalid-charset": Meaning.REFUSED,
    "isv.code-invalid": Meaning.REFUSED,
    "INVAILID_ARGUMENTS": Meaning.REFUSED,
    "isv.insufficient-isv-permissions": Meaning.NOT_ALLOWED,
    "isv.insufficient-user-permissions": Meaning.NOT_ALLOWED,
    "isp.bill_not_exist": Meaning.BILL_ABSENT,
    "BILL_NOT_EXIST": Meaning.BILL_ABSENT,
    "ACQ.SYSTEM_ERROR": Meaning.UNAVAILABLE,
    "AQC.SYSTEM_ERROR": Meaning.UNAVAILABLE,  # so spelt in cancel
    "ACQ.INVALID_PARAMETER": Meaning.REFUSED,
    "ACQ.ACCESS_FORBIDDEN": Meaning.NOT_ALLOWED,
    "ACQ.PARTNER_ERROR": Meaning.NOT_ALLOWED,
    "ACQ.SELLER_BEEN_BLOCKED": Meaning.NOT_ALLOWED,
    "ACQ.CONTEXT_INCONSISTENT": Meaning.TAKEN,
    "ACQ.TRADE_HAS_SUCCESS": Meaning.ORDER_PAID,
    "ACQ.TRADE_HAS_CLOSE": Meaning.ORDER_CLOSED,
    "ACQ.TRADE_BUYER_NOT_MATCH": Meaning.OTHER_PAYER,
    "ACQ.BUYER_SELLER_EQUAL": Meaning.PAYER_REFUSED,
    "ACQ.BUYER_BALANCE_NOT_ENOUGH": Meaning.PAYER_REFUSED,
    "ACQ.BUYER_ENABLE_STATUS_FORBID": Meaning.PAYER_REFUSED,
    "ACQ.TOTAL_FEE_EXCEED": Meaning.REFUSED,
    "ACQ.EXIST_FORBIDDEN_WORD": Meaning.REFUSED,
    "ACQ.TRADE_NOT_EXIST": Meaning.NOT_FOUND,
    "ACQ.TRADE_STATUS_ERROR": Meaning.ORDER_STATE,
    "ACQ.REASON_TRADE_STATUS_INVALID": Meaning.ORDER_STATE,
    "ACQ.REASON_TRADE_BEEN_FREEZEN": Meaning.FROZEN,
    "ACQ.SELLER_BALANCE_NOT_ENOUGH": Meaning.BALANCE_SHORT,
    "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL": Meaning.REFUND_EXCEEDS,
    "ACQ.DISCORDANT_REPEAT_REQUEST": Meaning.REFUND_NUMBER_TAKEN,
    "ACQ.TRADE_NOT_ALLOW_REFUND": Meaning.REFUND_NOT_ALLOWED,
    "ACQ.TRADE_HAS_FINISHED": Meaning.REFUND_NOT_ALLOWED,
}
"""By ``sub_code``, spelt as the channel spells it. The channel's list is longer; what is not here is unknown."""

GATEWAY_ERRORS: Final[dict[str, Meaning]] = {
    "20000": Meaning.UNAVAILABLE,
    "20001": Meaning.TOKEN,
    "40003": Meaning.NOT_ALLOWED,
    "40005": Meaning.RATE_LIMITED,
    "40006": Meaning.NOT_ALLOWED,
}
"""By ``code``, for a ``sub_code`` that is not listed."""

REFUND_MEANINGS: Final[dict[Meaning, RefundState]] = {
    Meaning.REFUSED: RefundState.REFUSED,
    Meaning.REFUND_EXCEEDS: RefundState.REFUSED,
    Meaning.BALANCE_SHORT: RefundState.LATER,
    Meaning.RATE_LIMITED: RefundState.LATER,
    Meaning.FROZEN: RefundState.STUCK,
    Meaning.REFUND_NOT_ALLOWED: RefundState.STUCK,
}
"""What a proven error answer to the refund call says about the refund; every other one says nothing."""

_MISSING: Final = "isv.missing-"


def meaning(head: Head) -> Meaning | None:
    """Return what an error node means, or None when its codes are not listed: then nothing is known about the call."""
    if (listed := ERRORS.get(head.sub_code)) is not None:
        return listed
    if head.sub_code.startswith(_MISSING):
        return Meaning.REFUSED
    return GATEWAY_ERRORS.get(head.code)


# Reading


def read(text: str, kind: type[_T]) -> _T | None:
    """Return a node's text as ``kind``, or None when it is not JSON or a field is missing or of another form."""
    try:
        found: _T = _decoder(kind).decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    return found


def read_notice(fields: Mapping[str, str]) -> Notice | None:
    """Return a form's fields as a trade's notice, or None when one is missing or of another form."""
    try:
        return msgspec.convert(dict(fields), Notice, dec_hook=_from_wire)
    except msgspec.ValidationError:
        return None


def read_app_tokens(text: str) -> tuple[AppToken, ...]:
    """Return what an authorisation granted: the answer lists it, or is itself the only one. Nothing when it cannot be read."""
    listed = read(text, AppTokens)
    if listed is not None and listed.tokens:
        return listed.tokens
    only = read(text, AppToken)
    return () if only is None else (only,)


AGREED: Final = "0"
"""``agreement_status``: the plate may be debited. 1: it may not; 2: it may, but at another payer's cost."""
NOT_AGREED: Final = frozenset({"1", "2"})
CAR_STATUSES: Final = {"NON-SENSE-PAY": AGREED, "NORMAL": "1"}
"""``car_status`` of an entry, in the words of ``agreement_status``."""
PLATE_SCENE: Final = "PLATE_PAY"
PAY_VERSION: Final = "3.0"
PLATE_COLORS: Final = {name: name.upper() for name in ("blue", "green", "yellow", "white", "black", "limegreen")}
"""By our own name; a colour that is not here is not sent."""


def agreement_scenes(text: str) -> frozenset[str]:
    """Return the ways in which a plate may be debited (``PLATE_PAY``, ``ETC_PAY``); nothing when there is no agreement."""
    return frozenset(scene for scene in (part.strip() for part in text.split(",")) if scene) - {"NO_AGREEMENT_SCENE"}


# Content of requests


class ExtendParams(Struct, frozen=True, omit_defaults=True):
    """``sys_service_provider_id`` is the provider's own merchant number, for its rebate."""

    sys_service_provider_id: str | None = None


class NewTrade(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Content of ``alipay.trade.create``. The buyer is named by exactly one of ``buyer_id`` and ``buyer_open_id``."""

    order_no: str = field(name="out_trade_no")
    total_fen: Fen = field(name="total_amount")
    subject: str
    buyer_id: str | None = None
    buyer_open_id: str | None = None
    product_code: str | None = None
    op_app_id: str | None = None
    """The mini program, with ``PRODUCT_JSAPI``."""
    seller_id: str | None = None
    time_expire: str | None = None
    """Last moment to pay, see ``china_time``."""
    passback_params: str | None = None
    extend_params: ExtendParams | None = None


class NewCode(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Content of ``alipay.trade.precreate``."""

    order_no: str = field(name="out_trade_no")
    total_fen: Fen = field(name="total_amount")
    subject: str
    product_code: str | None = None
    seller_id: str | None = None
    time_expire: str | None = None
    qr_code_timeout_express: str | None = None
    """Life of the code, ``1m`` to ``15d``; two hours when not given (probable)."""
    passback_params: str | None = None
    extend_params: ExtendParams | None = None


class NewPage(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Content of ``alipay.trade.wap.pay``. The trade exists only when the payer reaches the cashier."""

    order_no: str = field(name="out_trade_no")
    total_fen: Fen = field(name="total_amount")
    subject: str
    product_code: str
    """``PRODUCT_WAP``."""
    quit_url: str | None = None
    seller_id: str | None = None
    time_expire: str | None = None
    passback_params: str | None = None
    extend_params: ExtendParams | None = None


class TradeName(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Content of query, close and cancel: names a trade by our number or the channel's; the channel's wins when both are given."""

    order_no: str | None = field(name="out_trade_no", default=None)
    trade_no: str | None = None
    query_options: tuple[str, ...] | None = None
    """Only for a query."""


class Refund(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Content of ``alipay.trade.refund``. The refund number is always sent: the same number moves no second money."""

    refund_fen: Fen = field(name="refund_amount")
    refund_no: str = field(name="out_request_no")
    order_no: str | None = field(name="out_trade_no", default=None)
    trade_no: str | None = None
    refund_reason: str | None = None
    query_options: tuple[str, ...] | None = None


class RefundName(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Content of ``alipay.trade.fastpay.refund.query``. ``query_options`` must name ``gmt_refund_pay`` to be told the time."""

    refund_no: str = field(name="out_request_no")
    order_no: str | None = field(name="out_trade_no", default=None)
    trade_no: str | None = None
    query_options: tuple[str, ...] | None = None


class BillName(Struct, frozen=True, kw_only=True):
    """Content of the bill call: ``trade`` or ``signcustomer``, of a day (``yyyy-MM-dd``) or a month (``yyyy-MM``) that is over."""

    bill_type: str
    bill_date: str


class CertificateName(Struct, frozen=True, kw_only=True):
    """Content of ``alipay.open.app.alipaycert.download``."""

    alipay_cert_sn: str


class AppCode(Struct, frozen=True, kw_only=True):
    """Content of ``alipay.open.auth.token.app`` with the code that an operator's consent gave; it can be used once."""

    code: str
    grant_type: str = "authorization_code"


class AppRefresh(Struct, frozen=True, kw_only=True):
    """Content of ``alipay.open.auth.token.app`` to have a new token for one that ends."""

    refresh_token: str
    grant_type: str = "refresh_token"


class AgreementName(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Content of ``…parking.agreement.query``."""

    car_number: str
    plate_color: str | None = None
    parking_id: str | None = None
    open_id: str | None = None
    alipay_user_id: str | None = None
    ver: str | None = None


class Entry(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Content of ``…parking.enterinfo.sync``. ``in_time`` see ``china_time``."""

    parking_id: str
    car_number: str
    in_time: str
    car_color: str | None = None
    """BLUE, GREEN, YELLOW, WHITE, BLACK or LIMEGREEN."""
    agreement_query: bool | None = None
    """True asks for the plate's agreement in the same call."""
    out_serial_no: str | None = None
    entrance_id: str | None = None
    free_minutes: str | None = None


class PlateDebit(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Content of ``…parking.order.pay``: debits the owner of a plate without a hand of theirs, to ``seller_id``."""

    order_no: str = field(name="out_trade_no")
    total_fen: Fen = field(name="total_fee")
    subject: str
    car_number: str
    seller_id: str
    pay_scene: str
    """``PLATE_PAY`` or ``ETC_PAY``."""
    pay_version: str
    """``3.0``."""
    parking_id: str | None = None
    out_parking_id: str | None = None
    car_number_color: str | None = None
    serial_no: str | None = None
    in_time: str | None = None
    out_time: str | None = None
    in_duration: str | None = None
    """Minutes."""
    agent_id: str | None = None


def content(asked: Struct) -> str:
    """Return ``biz_content``: the same text for the same content, fields in the order in which they are declared, no spaces."""
    return _encode(asked).decode()


def subject_text(text: str) -> str:
    """Return a title as the channel takes it: without control characters, ``/``, ``=``, ``&`` and four-byte ones; then cut."""
    kept = (letter for letter in text if " " <= letter <= "\uffff" and not "\ud800" <= letter <= "\udfff")
    return "".join(letter for letter in kept if letter not in SUBJECT_AVOIDED)[:SUBJECT_CHARACTERS_MAX]


def bill_date(on: date) -> str:
    """Return the day of a bill as the wire writes it."""
    return on.isoformat()


# Requests


def common(
    *,
    app_id: str,
    method: str,
    now: datetime,
    biz_content: str | None = None,
    notify_url: str | None = None,
    return_url: str | None = None,
    app_auth_token: str | None = None,
    app_cert_sn: str | None = None,
    root_cert_sn: str | None = None,
) -> dict[str, str]:
    """Return a request's fields, without those that are not given and not yet signed.

    ``app_auth_token`` makes the call in the name of the operator that granted it. The two SNs are given in certificate mode.
    """
    fields = {
        "app_id": app_id,
        "method": method,
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": china_time(now),
        "version": "1.0",
        "notify_url": notify_url,
        "return_url": return_url,
        "app_auth_token": app_auth_token,
        "app_cert_sn": app_cert_sn,
        "alipay_root_cert_sn": root_cert_sn,
        "biz_content": biz_content,
    }
    return {name: value for name, value in fields.items() if value}


def login_fields(code: str) -> dict[str, str]:
    """Return the fields of ``alipay.system.oauth.token``, which stand beside the common ones and not in ``biz_content``."""
    return {"grant_type": "authorization_code", "code": code}


def form_body(fields: Mapping[str, str]) -> bytes:
    """Return signed fields as the body of a POST of ``FORM_TYPE``."""
    return urlencode(fields).encode()


def page_url(fields: Mapping[str, str], *, gateway: str = API_URL) -> str:
    """Return where a browser is sent with the signed fields of ``alipay.trade.wap.pay``."""
    return f"{gateway}?{urlencode(fields)}"


class PageForm(Struct, frozen=True):
    """A form that a browser posts by itself: where to, and its hidden fields."""

    action: str
    fields: Mapping[str, str]


def page_form(fields: Mapping[str, str], *, gateway: str = API_URL) -> PageForm:
    """Return the signed fields of ``alipay.trade.wap.pay`` as a form: the content hidden in it, all others in the address."""
    inside = {name: value for name, value in fields.items() if name == "biz_content"}
    outside = {name: value for name, value in fields.items() if name not in inside}
    return PageForm(action=page_url(outside, gateway=gateway), fields=inside)


def login_url(*, app_id: str, redirect_uri: str, state: str, base: str = LOGIN_URL) -> str:
    """Return where a payer's browser fetches the code of a silent login; it comes back to ``redirect_uri`` with ``auth_code``."""
    query = {"app_id": app_id, "scope": "auth_base", "redirect_uri": redirect_uri, "state": state}
    return f"{base}?{urlencode(query)}"


def authorise_url(*, app_id: str, redirect_uri: str) -> str:
    """Return where an operator lets us act for it; the browser comes back to ``redirect_uri`` with ``app_auth_code``."""
    return f"{AUTHORISE_URL}?{urlencode({'app_id': app_id, 'redirect_uri': redirect_uri})}"


# Inside


def _from_wire(kind: type, value: object) -> object:
    """Read the one type that JSON does not have. Raises ValueError, which a decoder turns into its own error."""
    if kind is not Fen or not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not an amount in yuan")
    amount_fen = fen(str(value))
    if amount_fen < 0:
        raise ValueError(f"{value!r} is negative")
    return Fen(amount_fen)


def _to_wire(value: object) -> str:
    if isinstance(value, Fen):
        return yuan(value)
    raise NotImplementedError(f"{type(value).__name__} has no form on the wire")


@lru_cache(maxsize=64)
def _decoder(kind: type[Struct]) -> msgspec.json.Decoder[Any]:
    """Return the reader of one shape. A JSON number with a point reaches it as its digits, never as a float."""
    # not strict: durations come as numbers or as text
    return msgspec.json.Decoder(kind, strict=False, dec_hook=_from_wire, float_hook=str)


_encode: Final = msgspec.json.Encoder(enc_hook=_to_wire).encode
