"""Who pays, as the channel needs to know it: WeChat's openid, Alipay's buyer number, each known in this browser under its channel.

Knows cookies, whom to ask and when; must not know the wire (that is gateways.wechat.openid and gateways.alipay.login) or payments.
Called by the page views. No name, no account: it says only "the same wallet as before" to one application. What one channel calls
a payer is never told to another. Source: the channels' documents, web pages inside the wallet.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Final

from litestar.datastructures import Cookie
from msgspec import Struct

from app.pages import seals
from app.pages.wallets import Offer
from app.wiring import Wiring
from config.settings import Settings
from gateways.alipay import login
from gateways.alipay.channel import Alipay
from gateways.contract import Way
from gateways.keys import SigningFailed
from gateways.wechat import openid

STATE_COOKIE: Final = "paying"
STATE_LETTERS_MAX: Final = 128
CODE_LETTERS_MAX: Final = 512
_COOKIES: Final = {"wechat": "payer", "alipay": "payer_alipay"}
"""Channels whose own page needs a payer, and the cookie of each."""
_CODES: Final = {"wechat": "code", "alipay": "auth_code"}
"""What each calls the code that it sends the browser back with."""
_PAYER: Final = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)
_PAYER_SECONDS: Final = 7_200
_STATE_SECONDS: Final = 600
_AGAIN: Final = "again"
_SHOWN: Final = re.compile(r"\d{1,7}\.\d\d", re.ASCII)
_USE: Final = b"what was about to be paid"
"""Sets this use of the key apart from every other."""


class Paying(Struct, frozen=True):
    """What a payer was about to do when sent away to be known; kept in a cookie of that browser for ten minutes.

    ``charge_id`` is empty where ``token`` is a basket's. ``shown``: yuan that the page said are due. ``again``: asked a second
    time, and not a third. The cookie bears our mark: the browser brings back what the page said, or nothing.
    """

    state: str
    channel: str
    charge_id: str
    token: str
    again: bool = False
    shown: str = ""


class Told(Struct, frozen=True):
    """The payer, or why there is none: ``ask_again`` (the code is used or too old) or ``unavailable``."""

    payer_id: str | None = None
    reason: str | None = None


def is_needed(offer: Offer) -> bool:
    """Say whether an order of this wallet must name its payer."""
    return offer.way is Way.IN_WALLET and offer.channel in _COOKIES


def known(cookies: Mapping[str, str], channel: str) -> str | None:
    """Return the payer this browser has been before at a channel."""
    value = cookies.get(_COOKIES.get(channel, ""), "")
    return value if _PAYER.fullmatch(value) else None


def new_state() -> str:
    """Return a word that ties the way back to this browser."""
    return secrets.token_hex(16)


def login_url(wiring: Wiring, paying: Paying, *, back: str) -> str:
    """Return where the channel asks itself who the user is; nothing is shown to the user."""
    if paying.channel == "alipay":
        return login.login_url(_alipay(wiring).provider, return_url=back, state=paying.state)
    settings = wiring.settings
    return openid.authorize_url(
        settings.wechat_authorize_url, app_id=settings.wechat_app_id, return_url=back, state=paying.state
    )  # fmt: skip


def exchanged(wiring: Wiring, channel: str, query: Mapping[str, str]) -> Told:
    """Ask the channel for the payer behind the code that the browser came back with. Calls the channel."""
    code = query.get(_CODES[channel], "")
    if not 0 < len(code) <= CODE_LETTERS_MAX:
        return Told(reason="unavailable")
    return _buyer(wiring, code) if channel == "alipay" else _openid(wiring, code)


def payer_cookie(settings: Settings, channel: str, payer_id: str) -> Cookie:
    """Return the cookie that spares the next payment the way to the channel."""
    return _cookie(settings, _COOKIES[channel], payer_id, _PAYER_SECONDS)


def paying_cookie(wiring: Wiring, paying: Paying) -> Cookie:
    """Return the cookie that remembers what was about to be paid."""
    shown = paying.shown if _SHOWN.fullmatch(paying.shown) else ""
    said = "~".join((paying.state, paying.channel, paying.charge_id, paying.token, _AGAIN if paying.again else "", shown))
    return _cookie(wiring.settings, STATE_COOKIE, f"{said}~{seals.mark(wiring, _USE, said)}", _STATE_SECONDS)


def paying(wiring: Wiring, cookies: Mapping[str, str], *, state: str) -> Paying | None:
    """Return what this browser was about to pay, when it says it in our words and ``state`` is the one it left with."""
    said, _, mark = cookies.get(STATE_COOKIE, "").rpartition("~")
    parts = said.split("~")
    if len(parts) != 6 or not secrets.compare_digest(mark.encode(), seals.mark(wiring, _USE, said).encode()):
        return None
    left_with, channel, charge_id, token, again, shown = parts
    if not left_with or not secrets.compare_digest(left_with.encode(), state[:STATE_LETTERS_MAX].encode()):
        return None
    return Paying(left_with, channel, charge_id, token, again == _AGAIN, shown) if channel in _COOKIES else None


def _openid(wiring: Wiring, code: str) -> Told:
    settings = wiring.settings
    request = openid.build_exchange(
        settings.wechat_openid_url, app_id=settings.wechat_app_id, secret=wiring.keys.wechat.app_secret, code=code
    )  # fmt: skip
    told = openid.parse_exchange(wiring.transport.send(request))
    return Told(told.openid, told.reason)


def _buyer(wiring: Wiring, code: str) -> Told:
    keys, provider = wiring.channels.find("alipay").keys, _alipay(wiring).provider
    try:
        request = login.build_exchange(provider, code=code, keys=keys, now=wiring.clock.now())
    except SigningFailed:
        return Told(reason="unavailable")
    told = login.parse_exchange(wiring.transport.send(request), keys=keys, now=wiring.clock.now())
    if told.payer_id is None or not _PAYER.fullmatch(told.payer_id):
        return Told(reason=told.reason or "unavailable")
    return Told(told.payer_id)


def _alipay(wiring: Wiring) -> Alipay:
    channel = wiring.channels.find("alipay").channel
    assert isinstance(channel, Alipay), "the channel of that name has its adapter"
    return channel


def _cookie(settings: Settings, name: str, value: str, seconds: int) -> Cookie:
    is_secure = settings.public_url.startswith("https:")
    return Cookie(name, value=value, max_age=seconds, path="/", httponly=True, secure=is_secure, samesite="lax")
