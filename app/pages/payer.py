"""Who pays, as the channel needs to know it: the openid of the WeChat user, or of this browser at the stand-in.

Knows cookies and when to ask; must not know the wire (that is gateways.wechat.openid) or payments. Called by the page views.
No name, no account: an openid says only "the same wallet as before" to one AppID. Source: channel document, openid for a web page.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Final

from litestar.datastructures import Cookie
from msgspec import Struct

from config.settings import Settings
from gateways.transport import Transport
from gateways.wechat import openid

PAYER_COOKIE: Final = "payer"
STATE_COOKIE: Final = "paying"
_OPENID: Final = re.compile(r"[0-9A-Za-z_-]{1,128}")
_PAYER_SECONDS: Final = 7_200
_STATE_SECONDS: Final = 600


class Paying(Struct, frozen=True):
    """What a payer was about to do when sent away for the openid; kept in a cookie of that browser for ten minutes."""

    state: str
    charge_id: str
    order_token: str


def is_wechat(user_agent: str) -> bool:
    """Say whether the page is open inside WeChat. Only a hint: the payment itself is bound by the openid."""
    return "MicroMessenger" in user_agent


def known(cookies: Mapping[str, str]) -> str | None:
    """Return the payer this browser has been before."""
    value = cookies.get(PAYER_COOKIE, "")
    return value if _OPENID.fullmatch(value) else None


def at_stand_in() -> str:
    """Return a new payer for a browser that pays at the stand-in."""
    return f"oBrowser{secrets.token_hex(10)}"


def new_state() -> str:
    """Return a word that ties the way back to this browser."""
    return secrets.token_hex(16)


def authorize_url(settings: Settings, *, back: str, state: str) -> str:
    """Return where WeChat asks itself who the user is; nothing is shown to the user."""
    return openid.authorize_url(settings.wechat_authorize_url, app_id=settings.wechat_app_id, return_url=back, state=state)


def exchange(settings: Settings, *, code: str, secret: str, transport: Transport) -> str | None:
    """Return the openid for a code, or None when it is used up, unknown, or WeChat does not answer."""
    request = openid.build_exchange(settings.wechat_openid_url, app_id=settings.wechat_app_id, secret=secret, code=code)
    return openid.parse_exchange(transport.send(request)).openid


def payer_cookie(settings: Settings, payer_id: str) -> Cookie:
    """Return the cookie that spares the next payment the way to WeChat."""
    return _cookie(settings, PAYER_COOKIE, payer_id, _PAYER_SECONDS)


def paying_cookie(settings: Settings, paying: Paying) -> Cookie:
    """Return the cookie that remembers what was about to be paid."""
    return _cookie(settings, STATE_COOKIE, "~".join((paying.state, paying.charge_id, paying.order_token)), _STATE_SECONDS)


def paying(cookies: Mapping[str, str], *, state: str) -> Paying | None:
    """Return what this browser was about to pay, when ``state`` is the one it left with."""
    parts = cookies.get(STATE_COOKIE, "").split("~")
    if len(parts) != 3 or not secrets.compare_digest(parts[0].encode(), state.encode()):
        return None
    return Paying(*parts)


def _cookie(settings: Settings, name: str, value: str, seconds: int) -> Cookie:
    is_secure = settings.public_url.startswith("https:")
    return Cookie(name, value=value, max_age=seconds, path="/", httponly=True, secure=is_secure, samesite="lax")
