"""Who pays, for a page inside WeChat: the redirect that asks nothing, and the exchange of its code for an openid.

Knows the official accounts' web authorisation; must not know sessions or pages. Called by the pages.
"""

from typing import Annotated, Final
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta, Struct

from gateways.contract import Answer, Request, Unanswered
from gateways.wechat.wire import UNREADABLE

_ASK_AGAIN: Final = frozenset({40029, 40163})


class OpenId(Struct, frozen=True):
    """The payer under one AppID, or why there is none: ``ask_again`` (the code is used or too old) or ``unavailable``."""

    openid: str | None = None
    reason: str | None = None


class _Exchange(Struct, frozen=True):
    openid: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_-]{1,128}$")] | None = None
    errcode: int = 0


_decode: Final = msgspec.json.Decoder(_Exchange).decode


def authorize_url(base_url: str, *, app_id: str, return_url: str, state: str) -> str:
    """Return the address that a browser inside WeChat is sent to. The order of the parameters matters there.

    ``state`` has at most 128 letters and digits and is bound to the session.
    """
    query = urlencode(
        {"appid": app_id, "redirect_uri": return_url, "response_type": "code", "scope": "snsapi_base", "state": state},
        quote_via=quote,
        safe="",
    )
    return f"{base_url}?{query}#wechat_redirect"


def build_exchange(base_url: str, *, app_id: str, secret: str, code: str) -> Request:
    """Exchange a code (single use, 5 minutes) for the openid. The address holds the secret: it must not be logged."""
    query = urlencode({"appid": app_id, "secret": secret, "code": code, "grant_type": "authorization_code"})
    return Request(method="GET", url=f"{base_url}?{query}", headers={"accept": "application/json"})


def parse_exchange(answer: Answer | Unanswered) -> OpenId:
    """Read the answer; errors come with status 200 and an ``errcode``."""
    if isinstance(answer, Unanswered) or answer.status != 200:
        return OpenId(reason="unavailable")
    try:
        told = _decode(answer.body)
    except UNREADABLE:
        return OpenId(reason="unavailable")
    if told.openid is not None:
        return OpenId(openid=told.openid)
    return OpenId(reason="ask_again" if told.errcode in _ASK_AGAIN else "unavailable")
