"""What Alipay answers and tells: the nodes of answers, notices, and their state words.

Knows what the channel's documents print; must not know keys or what follows from a message. Read by the adapter and a stand-in.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from gateways.alipay.wire import NOTICE_KIND, Fen, Number, fen, instant
from gateways.contract import ChannelState

CLOSED_UNPAID: Final = ChannelState.CLOSED
"""What TRADE_CLOSED means without a time of payment and without a refund. Documents name ``send_pay_date`` as the difference
between an order that timed out and one that was refunded whole, but do not promise it; UNKNOWN here would leave such orders to a
person."""


_T = TypeVar("_T", bound=Struct)


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


# Reading


def read(text: str, kind: type[_T]) -> _T | None:
    """Return a node's text as ``kind``, or None when it is not JSON, nested without end, or lacks a field."""
    try:
        found: _T = _decoder(kind).decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
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


def agreement_scenes(text: str) -> frozenset[str]:
    """Return the ways in which a plate may be debited (``PLATE_PAY``, ``ETC_PAY``); nothing when there is no agreement."""
    return frozenset(scene for scene in (part.strip() for part in text.split(",")) if scene) - {"NO_AGREEMENT_SCENE"}


# Inside


def _from_wire(kind: type, value: object) -> object:
    """Read the one type that JSON does not have. Raises ValueError, which a decoder turns into its own error."""
    if kind is not Fen or not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not an amount in yuan")
    amount_fen = fen(str(value))
    if amount_fen < 0:
        raise ValueError(f"{value!r} is negative")
    return Fen(amount_fen)


@lru_cache(maxsize=64)
def _decoder(kind: type[Struct]) -> msgspec.json.Decoder[Any]:
    """Return the reader of one shape. A JSON number with a point reaches it as its digits, never as a float."""
    # not strict: durations come as numbers or as text
    return msgspec.json.Decoder(kind, strict=False, dec_hook=_from_wire, float_hook=str)
