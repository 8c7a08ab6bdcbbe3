"""What calls to Alipay say: the content of each method, and its one text.

Knows field names and their order; must not know keys or how a call goes out. Read by the adapter.
"""

from typing import Final

import msgspec
from msgspec import Struct, field

from gateways.alipay.wire import Fen
from ledger.money import yuan


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


def _to_wire(value: object) -> str:
    if isinstance(value, Fen):
        return yuan(value)
    raise NotImplementedError(f"{type(value).__name__} has no form on the wire")


_encode: Final = msgspec.json.Encoder(enc_hook=_to_wire).encode
