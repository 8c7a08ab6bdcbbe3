"""Who pays, for a page inside Alipay: the redirect that asks nothing, and the exchange of its code for the payer.

Knows the open platform's login; must not know sessions or pages. Called by the pages.
"""

from datetime import datetime

from msgspec import Struct

from gateways.alipay import answers, wire
from gateways.alipay.channel import Provider
from gateways.alipay.errors import Meaning
from gateways.alipay.exchange import opened, posted, signed_fields
from gateways.alipay.keys import AlipayKeys
from gateways.contract import Answer, Request, Unanswered


class Buyer(Struct, frozen=True):
    """The payer as orders name it, or why there is none: ``ask_again`` (the code is used or too old) or ``unavailable``."""

    payer_id: str | None = None
    reason: str | None = None


def login_url(provider: Provider, *, return_url: str, state: str) -> str:
    """Return where a browser inside Alipay is sent; it comes back to ``return_url`` with ``auth_code`` and ``state``."""
    return wire.login_url(app_id=provider.app_id, redirect_uri=return_url, state=state, base=provider.login_url)


def build_exchange(provider: Provider, *, code: str, keys: AlipayKeys, now: datetime) -> Request:
    """Exchange a code (single use) for the payer. Raises NoKeys, SigningFailed."""
    fields = signed_fields(wire.LOGIN, app=keys.app(None), now=now, beside=wire.login_fields(code))
    return posted(fields, gateway=provider.api_url)


def parse_exchange(answer: Answer | Unanswered, *, keys: AlipayKeys, now: datetime) -> Buyer:
    """Read the answer: the payer's number where the application is told it, else the open id."""
    look = opened(answer, method=wire.LOGIN, app=keys.apps.get(None), now=now)
    if look.meaning is Meaning.REFUSED:
        return Buyer(reason="ask_again")
    told = None if look.reason is not None else answers.read(look.text, answers.Login)
    payer_id = None if told is None else told.user_id or told.open_id
    return Buyer(reason="unavailable") if payer_id is None else Buyer(payer_id=payer_id)
