"""UnionPay's wire forms: addresses, the fields of each request, the text of times and amounts.

Knows what the channel's documents print; must not know keys or what follows from a message. Read by the adapter and a stand-in.
The fields of a request come without ``signMethod``, ``certId`` and ``signature``: ``sign.signed`` adds them.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from html import escape
from typing import Final
from urllib.parse import quote, urlencode

from msgspec import Struct

from ledger.clock import CHINA, checked
from ledger.money import AMOUNT_FEN_MAX

GATEWAY_URL: Final = "https://gateway.95516.com"
GATEWAY_TEST_URL: Final = "https://gateway.test.95516.com"
FILE_URL: Final = "https://filedownload.95516.com"
FILE_TEST_URL: Final = "https://filedownload.test.95516.com"

FRONT_PATH: Final = "/gateway/api/frontTransReq.do"
"""Where the payer's browser is sent with a signed form; there is no answer to us."""
BACK_PATH: Final = "/gateway/api/backTransReq.do"
"""Refund, cancel, reversal and QR."""
QUERY_PATH: Final = "/gateway/api/queryTrans.do"
APP_PATH: Final = "/gateway/api/appTransReq.do"
IN_APP_PATH: Final = "/gateway/api/newAppTransReq.do"
"""Payer's id and order of a page inside a UnionPay app. Seen in use, printed in no document at hand."""
FILE_PATH: Final = "/"

AUTHORIZE_URL: Final = "https://qr.95516.com/qrcGtwWeb-web/api/userAuth"
AUTHORIZE_VERSION: Final = "1.0.0"
"""1.0.2 is seen too."""

VERSION: Final = "5.1.0"
VERSION_OLD: Final = "5.0.0"
"""Signs with SHA-1; only for merchants that were never moved to 5.1.0."""
RSA: Final = "01"
SHA256_KEY: Final = "11"
SM3_KEY: Final = "12"
"""The values of ``signMethod``: RSA with a certificate, SHA-256 with a shared key, SM3 with a shared key."""

ENCODING: Final = "UTF-8"
_CODECS: Final = {"UTF-8": "utf-8", "UTF8": "utf-8", "GBK": "gbk"}

CURRENCY: Final = "156"
QUERY_TYPE: Final = "00"
"""txnType of a query."""
ORDER_NO_CHARACTERS_MAX: Final = 32
"""Messages take 40, older texts and the clearing file 32: the smaller one holds everywhere."""
REFUND_DAYS_MAX: Final = 330
"""11 months for browser payments; one source says 360 days for QR. The smaller one holds for both."""
IN_APP_TRADE_TYPE: Final = "mobileWeb"
IN_APP_CODE_TYPE: Final = "0"
"""``qrCodeType`` of an in-app order; known from use, not from a document at hand."""
BILL_FILE_TYPE: Final = "00"
CUT_OVER: Final = time(23, 0)
"""In China: what is paid later belongs to the next clearing day. Probable; ``settleDate`` of a payment says it for certain."""

BROWSER_QUERY_MINUTES: Final = (5, 10, 30, 60, 120)
"""When to ask for an order that a payer pays in a browser or by QR, from when it was made. Notices stop soon."""
SERVER_QUERY_SECONDS: Final = (1, 2, 4, 8, 16, 32)
"""When to ask for a charge, refund or cancel whose answer is unknown; after that the clearing file decides."""
NOTICE_REPEATS_MAX: Final = 5
"""How often a notice may come again is nowhere confirmed: plan for this many within minutes, then for silence."""

_ORDER_NO: Final = re.compile(r"[0-9A-Za-z]{8,32}")
_MERCHANT_NO: Final = re.compile(r"[0-9A-Za-z]{15}")
_QUERY_ID: Final = re.compile(r"[0-9]{21}")
_PAYER_CODE: Final = re.compile(r"62[0-9]{17}")
_TERMINAL_NO: Final = re.compile(r"[0-9A-Za-z]{8}")
_TIME: Final = re.compile(r"[0-9]{14}")
_AMOUNT: Final = re.compile(r"[0-9]{1,12}")
_GROUPING: Final = re.compile(r"[&={}\[\]\r\n]")
_WALLET: Final = re.compile(r"UnionPay/[0-9.]+ [A-Za-z0-9]+")
_USER_AGENT_CHARACTERS_MAX: Final = 2_048
_CHINA_AHEAD: Final = timedelta(hours=8)


def codec(encoding: str) -> str | None:
    """Return Python's name of a message's ``encoding``, or None for one that the channel does not use."""
    return _CODECS.get(encoding.upper())


# Who asks


class Direct(Struct, frozen=True):
    """accessType 0: the operator is a merchant of its own."""

    merchant_no: str


class Acquirer(Struct, frozen=True):
    """accessType 1: an acquiring institution asks for its merchant."""

    merchant_no: str
    acquirer_no: str
    """acqInsCode."""


class Platform(Struct, frozen=True):
    """accessType 2: a platform merchant asks for a merchant below it. Names as they are registered."""

    merchant_no: str
    sub_merchant_no: str
    sub_merchant_name: str
    sub_merchant_short_name: str


Party = Direct | Acquirer | Platform


def _party(party: Party) -> dict[str, str]:
    if _MERCHANT_NO.fullmatch(party.merchant_no) is None:
        raise ValueError(f"{party.merchant_no!r} is not a merchant number: 15 letters and digits")
    match party:
        case Direct():
            return {"accessType": "0", "merId": party.merchant_no}
        case Acquirer():
            return {"accessType": "1", "acqInsCode": party.acquirer_no, "merId": party.merchant_no}
        case Platform():
            return {
                "accessType": "2",
                "merId": party.merchant_no,
                "subMerId": party.sub_merchant_no,
                "subMerName": party.sub_merchant_name,
                "subMerAbbr": party.sub_merchant_short_name,
            }


# What is asked


class Product(StrEnum):
    """The way a payment was made; its refund and cancel must name the same."""

    PC = "pc"
    """A browser on a computer."""
    WAP = "wap"
    """A browser on a phone."""
    QR = "qr"
    """Either way of scanning, and orders from inside a UnionPay app."""


_BUSINESS: Final[dict[Product, tuple[str, str]]] = {
    Product.PC: ("000201", "07"),
    Product.WAP: ("000201", "08"),
    Product.QR: ("000000", "08"),
}
"""bizType and channelType."""


class OrderKey(Struct, frozen=True):
    """Names a transaction at the channel: number *and* time. A query needs the pair exactly as it was sent."""

    order_no: str
    created_at: datetime
    """Sent as txnTime, in whole seconds; it must be kept with the order."""


class Order(Struct, frozen=True):
    """A payment to be made."""

    key: OrderKey
    amount_fen: int
    notify_url: str
    """backUrl: without a query string, never redirected, port 80 or 443."""
    expires_at: datetime | None = None
    """payTimeout: last moment to pay."""
    return_url: str | None = None
    """frontUrl: where the browser comes back to; what it brings proves nothing."""
    terminal_no: str | None = None
    attach: str | None = None
    """reqReserved: comes back as sent; without the characters that group a message."""


def txn_time(at: datetime) -> str:
    """Return an instant as the channel writes it: ``YYYYMMDDhhmmss`` in China, parts of a second dropped.

    Raises ValueError for a time without a zone.
    """
    return checked(at).astimezone(CHINA).strftime("%Y%m%d%H%M%S")


def instant(text: str) -> datetime | None:
    """Return the instant (UTC) of a ``YYYYMMDDhhmmss`` in China, or None when there is no such time."""
    if _TIME.fullmatch(text) is None:
        return None
    try:
        local = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return local - _CHINA_AHEAD


def amount_text(amount_fen: int) -> str:
    """Return fen as a message carries them. Raises ValueError for an amount that cannot be paid."""
    if not 0 < amount_fen <= AMOUNT_FEN_MAX:
        raise ValueError(f"{amount_fen} fen cannot be paid")
    return str(amount_fen)


def without_groups(text: str) -> str | None:
    """Return what may come back with a notice: without the characters that group a message; None when nothing is left."""
    return _GROUPING.sub("", text) or None


def is_payer_code(text: str) -> bool:
    """Tell whether a scanned text has the form of a payer's code 付款码: 19 digits that begin with 62."""
    return _PAYER_CODE.fullmatch(text) is not None


def amount_fen(text: str) -> int | None:
    """Return the fen of an amount in a message, or None when it is not one."""
    return int(text) if _AMOUNT.fullmatch(text) else None


def browser_payment(party: Party, order: Order, *, product: Product = Product.WAP) -> dict[str, str]:
    """Send a browser to the channel's cashier; goes to FRONT_PATH as ``auto_form``. Any browser can pay this way."""
    return _fields(party, "01", "01", product, order.key, **_payment(order))


def qr_code(party: Party, order: Order) -> dict[str, str]:
    """Ask for a code that the payer scans 主扫; goes to BACK_PATH. One code is one payment."""
    return _fields(party, "01", "07", Product.QR, order.key, **_payment(order))


def qr_charge(party: Party, order: Order, *, payer_code: str) -> dict[str, str]:
    """Charge the code 付款码 that a payer shows 被扫; goes to BACK_PATH. Its 19 digits begin with 62."""
    _matching(_PAYER_CODE, payer_code, "a payer's code: 19 digits that begin with 62")
    return _fields(party, "01", "06", Product.QR, order.key, **_payment(order), qrNo=payer_code)


def payer_id(party: Party, key: OrderKey, *, auth_code: str, app: str) -> dict[str, str]:
    """Exchange the code of ``authorize_url`` for the payer's id inside a UnionPay app; goes to IN_APP_PATH.

    ``app`` is what ``app_identifier`` cut from the user agent. ``key`` is a number of its own, not the order's.
    """
    _matching(_WALLET, app, "an app's identifier")
    return _fields(party, "00", "10", Product.QR, key, userAuthCode=auth_code, appUpIdentifier=app)


def in_app_payment(party: Party, order: Order, *, app_user_id: str) -> dict[str, str]:
    """Order a payment on a page inside a UnionPay app; goes to IN_APP_PATH. The answer's ``payUrl`` is for the browser."""
    return _fields(
        party,
        "01",
        "01",
        Product.QR,
        order.key,
        **_payment(order),
        tradeType=IN_APP_TRADE_TYPE,
        appUserId=app_user_id,
        qrCodeType=IN_APP_CODE_TYPE,
    )


def query(party: Party, key: OrderKey) -> dict[str, str]:
    """Ask what became of a payment, refund or cancel by its own number and time; goes to QUERY_PATH."""
    return _fields(party, QUERY_TYPE, "00", None, key)


def refund(
    party: Party, key: OrderKey, *, product: Product, payment_query_id: str, amount_fen: int, notify_url: str
) -> dict[str, str]:
    """Give back a payment or a part of it; goes to BACK_PATH.

    ``key`` is the refund's own and stays its own: an unknown refund is queried, never sent again under a new number.
    ``payment_query_id`` is the payment's queryId. Answer 00 means accepted, not done. At most REFUND_DAYS_MAX after the payment.
    """
    return _undo(party, "04", key, product, payment_query_id, amount_fen, notify_url)


def cancel(
    party: Party, key: OrderKey, *, product: Product, payment_query_id: str, amount_fen: int, notify_url: str
) -> dict[str, str]:
    """Undo a whole payment 消费撤销 within its clearing day, before about 23:00 in China; goes to BACK_PATH.

    May be switched off for a merchant; a refund does the same at any time. ``key`` is the cancel's own.
    """
    return _undo(party, "31", key, product, payment_query_id, amount_fen, notify_url)


def cancel_no(order_no: str) -> str:
    """Return the number of an order's cancel: its own, and always the same. X in place of the order number's first letter."""
    return "X" + order_no[1:]


def cut_over_after(paid_at: datetime) -> datetime:
    """Return when the clearing day of a payment ends (UTC): from then on it can be refunded and no more be cancelled."""
    local = checked(paid_at).astimezone(CHINA)
    end = datetime.combine(local.date(), CUT_OVER, tzinfo=CHINA)
    return (end if local < end else end + timedelta(days=1)).astimezone(UTC)


def reversal(party: Party, key: OrderKey) -> dict[str, str]:
    """Take back a charge of a payer's code whose result stays unknown 冲正; goes to BACK_PATH.

    ``key`` is the charge's own. Ended by success or by 12; repeated on 03, 04, 05.
    """
    return _fields(party, "99", "01", Product.QR, key)


def clearing_file(*, merchant_no: str, asked_at: datetime, settled_on: date) -> dict[str, str]:
    """Ask for a merchant's clearing file of one clearing day; goes to FILE_URL. There from about 09:00 on the next day."""
    return {
        **_head("76", "01", "000000"),
        **_party(Direct(merchant_no=merchant_no)),
        "txnTime": txn_time(asked_at),
        "settleDate": settled_on.strftime("%m%d"),
        "fileType": BILL_FILE_TYPE,
    }


def _head(txn_type: str, txn_sub_type: str, business: str) -> dict[str, str]:
    return {"version": VERSION, "encoding": ENCODING, "txnType": txn_type, "txnSubType": txn_sub_type, "bizType": business}


def _fields(
    party: Party, txn_type: str, txn_sub_type: str, product: Product | None, key: OrderKey, **more: str | None
) -> dict[str, str]:
    _matching(_ORDER_NO, key.order_no, "an order number: 8–32 letters and digits")
    business, channel = _BUSINESS[product] if product is not None else ("000000", None)
    fields = {
        **_head(txn_type, txn_sub_type, business),
        "channelType": channel,
        **_party(party),
        "orderId": key.order_no,
        "txnTime": txn_time(key.created_at),
        **more,
    }
    return {name: value for name, value in fields.items() if value}


def _payment(order: Order) -> dict[str, str | None]:
    if order.attach is not None and _GROUPING.search(order.attach):
        raise ValueError("what comes back with a notice must be free of & = { } [ ] and line ends")
    if "?" in order.notify_url:
        raise ValueError("the address of notices must have no query string")
    if order.terminal_no is not None:
        _matching(_TERMINAL_NO, order.terminal_no, "a terminal number: 8 letters and digits")
    if order.expires_at is not None and order.expires_at <= order.key.created_at:
        raise ValueError("an order cannot expire before it is made")
    return {
        "txnAmt": amount_text(order.amount_fen),
        "currencyCode": CURRENCY,
        "backUrl": order.notify_url,
        "frontUrl": order.return_url,
        "payTimeout": None if order.expires_at is None else txn_time(order.expires_at),
        "termId": order.terminal_no,
        "reqReserved": order.attach,
    }


def _undo(
    party: Party, txn_type: str, key: OrderKey, product: Product, payment_query_id: str, amount_fen: int, notify_url: str
) -> dict[str, str]:
    _matching(_QUERY_ID, payment_query_id, "a queryId: 21 digits")
    return _fields(
        party,
        txn_type,
        "00",
        product,
        key,
        origQryId=payment_query_id,
        txnAmt=amount_text(amount_fen),
        currencyCode=CURRENCY,
        backUrl=notify_url,
    )


def _matching(form: re.Pattern[str], text: str, words: str) -> None:
    if form.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not {words}")


def form_body(fields: Mapping[str, str]) -> bytes:
    """Return the body of a POST: percent-encoded in the message's own encoding. Raises ValueError for an unknown encoding."""
    name = codec(fields.get("encoding", ENCODING))
    if name is None:
        raise ValueError(f"{fields['encoding']!r} is not an encoding of the channel")
    return urlencode(fields, encoding=name, errors="strict").encode("ascii")


def auto_form(url: str, fields: Mapping[str, str], *, button: str = "去支付", script_nonce: str | None = None) -> str:
    """Return the page that posts ``fields`` to ``url`` by itself, and by its button where there is no JavaScript.

    To be sent in the fields' encoding. ``script_nonce`` is that of the page's Content-Security-Policy.
    """
    encoding = escape(fields.get("encoding", ENCODING))
    inputs = "\n".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items()
    )  # fmt: skip
    nonce = "" if script_nonce is None else f' nonce="{escape(script_nonce)}"'
    return (
        f'<!doctype html>\n<html lang="zh-CN">\n<head><meta charset="{encoding}"><title>{escape(button)}</title></head>\n<body>\n'
        f'<form id="pay" method="post" action="{escape(url)}" accept-charset="{encoding}">\n{inputs}\n'
        f'<button type="submit">{escape(button)}</button>\n</form>\n'
        f'<script{nonce}>document.getElementById("pay").submit()</script>\n</body>\n</html>\n'
    )


# A page inside a UnionPay app


def app_identifier(user_agent: str) -> str | None:
    """Return ``UnionPay/1.0 CloudPay`` or its like, cut from a user agent, or None when no UnionPay app asks."""
    found = _WALLET.search(user_agent[:_USER_AGENT_CHARACTERS_MAX])
    return None if found is None else found[0]


def authorize_url(return_url: str) -> str:
    """Return the address that a browser inside a UnionPay app is sent to; it comes back with ``userAuthCode``.

    The code may hold ``+``, ``/`` and ``=``: decode the query string once, not twice.
    """
    return f"{AUTHORIZE_URL}?version={AUTHORIZE_VERSION}&redirectUrl={quote(return_url, safe='')}"
