"""Clerks' links and the cookie they are exchanged for: which key signs them, and what the address is.

Knows cookies, a key and addresses; must not know merchants or what a page shows. Called by the clerk's page and the command line.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from litestar.datastructures import Cookie

from app.wiring import Wiring
from payments.discounts import clerks
from payments.discounts.clerks import Clerk

PATH: Final = "/clerk"
NAME: Final = "clerk"
LASTS: Final = timedelta(hours=14)
"""A long shift; whoever has the link opens it again tomorrow."""
_USE: Final = b"clerks of merchants give discounts"
"""Sets this use of the key apart from every other."""


def link(wiring: Wiring, clerk: Clerk) -> str:
    """Return the address that a shop prints or bookmarks."""
    return f"{wiring.settings.public_url}{PATH}/{clerks.secret(clerk, key(wiring))}"


def key(wiring: Wiring) -> bytes:
    """Return the key that signs links and sessions of clerks."""
    return hmac.digest(wiring.keys.webhook, _USE, "sha256")


def cookie(wiring: Wiring, clerk_id: UUID, *, until: datetime) -> Cookie:
    """Return the cookie of a session: it ends with the shift, or before with the link."""
    now = wiring.clock.now()
    lasts = min(LASTS, until - now)
    said = f"{clerk_id.hex}~{int((now + lasts).timestamp())}"
    return Cookie(
        NAME, value=f"{said}~{_mac(wiring, said)}", max_age=int(lasts.total_seconds()), path=PATH, httponly=True,
        secure=wiring.settings.public_url.startswith("https:"), samesite="strict",
    )  # fmt: skip


def known(cookies: Mapping[str, str], wiring: Wiring) -> UUID | None:
    """Return whose session this browser has; None: it has none, or its time is over."""
    said, _, mac = cookies.get(NAME, "").rpartition("~")
    if not said or not hmac.compare_digest(_mac(wiring, said).encode(), mac.encode()):
        return None
    clerk, until = said.split("~")
    return UUID(clerk) if int(until) > wiring.clock.now().timestamp() else None


def form_token(cookies: Mapping[str, str], wiring: Wiring, nonce: str) -> str:
    """Return the token of a form: a number used once, which this session alone can have signed."""
    mac = _mac(wiring, f"form {nonce} {cookies.get(NAME, '')}")
    return f"{nonce}.{mac[:32]}"


def nonce_of(token: str, cookies: Mapping[str, str], wiring: Wiring) -> str | None:
    """Return the number in a form's token; None: the form is not of this session."""
    nonce = token.rpartition(".")[0]
    good = hmac.compare_digest(form_token(cookies, wiring, nonce).encode(), token.encode())
    return nonce if nonce and good else None


def _mac(wiring: Wiring, said: str) -> str:
    return hmac.new(key(wiring), said.encode(), hashlib.sha256).hexdigest()
