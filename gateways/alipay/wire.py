"""Alipay's wire forms: addresses, methods, limits, amounts and times, the fields of a call.

Knows what the channel's documents print; must not know keys or what follows from a message. Read by the adapter and a stand-in, as
are contents (what calls say), answers (what comes back) and errors (what codes mean). Amounts are yuan text on the wire and whole
fen here; times are China time on the wire and aware UTC here.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final
from urllib.parse import urlencode

from msgspec import Meta, Struct

from ledger.money import fen as whole_fen

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
CANCEL_ACTIONS: Final = frozenset({"close", "refund"})
BUYER_NUMBER: Final = re.compile(r"2088\d{12}", re.ASCII)
"""A payer's number; any other text is an open id."""

_YUAN: Final = re.compile(r"-?\d{1,10}(?:\.\d{1,2})?", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,3})?", re.ASCII)
_CHINA_AHEAD: Final = timedelta(hours=8)

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


AGREED: Final = "0"
"""``agreement_status``: the plate may be debited. 1: it may not; 2: it may, but at another payer's cost."""
NOT_AGREED: Final = frozenset({"1", "2"})
CAR_STATUSES: Final = {"NON-SENSE-PAY": AGREED, "NORMAL": "1"}
"""``car_status`` of an entry, in the words of ``agreement_status``."""
PLATE_SCENE: Final = "PLATE_PAY"
PAY_VERSION: Final = "3.0"
PLATE_COLORS: Final = {name: name.upper() for name in ("blue", "green", "yellow", "white", "black", "limegreen")}
"""By our own name; a colour that is not here is not sent."""


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
