"""Who agrees inside a wallet: the payer as the channel itself named it, kept in a cookie that nobody else can make.

Knows cookies and a key; must not know the wire or agreements. Called by the pages of mandates. The cookie with which payments spare
the way to the wallet carries a bare number and proves nothing: a mandate is not shown or signed for it.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from litestar.datastructures import Cookie

from app.wiring import Wiring

NAME: Final = "signer"
LASTS: Final = timedelta(minutes=30)
_PAYER: Final = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)
_USE: Final = b"who signs mandates on pages"
"""Sets this use of the key apart from every other."""


def cookie(wiring: Wiring, channel: str, payer_id: str) -> Cookie:
    """Return the cookie of a payer whom the channel has just named; it lasts half an hour."""
    until = int((wiring.clock.now() + LASTS).timestamp())
    said = f"{channel}~{payer_id}~{until}"
    return Cookie(
        NAME, value=f"{said}~{_mac(wiring, said)}", max_age=int(LASTS.total_seconds()), path="/leave-first", httponly=True,
        secure=wiring.settings.public_url.startswith("https:"), samesite="lax",
    )  # fmt: skip


def known(cookies: Mapping[str, str], wiring: Wiring, channel: str) -> str | None:
    """Return the payer that the channel has named to this browser within the half hour."""
    said, _, mac = cookies.get(NAME, "").rpartition("~")
    if not said or not hmac.compare_digest(_mac(wiring, said).encode(), mac.encode()):
        return None
    of, payer_id, until = said.split("~")
    fresh = int(until) > wiring.clock.now().timestamp()
    return payer_id if of == channel and fresh else None


def fits(payer_id: str) -> bool:
    """Say whether a payer's id is one that a channel gives."""
    return bool(_PAYER.fullmatch(payer_id))


def _mac(wiring: Wiring, said: str) -> str:
    key = hmac.digest(wiring.keys.webhook, _USE, "sha256")
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()
