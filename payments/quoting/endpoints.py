"""Where lots are asked: addresses, time-outs and secrets of their systems, entered, changed and ended by their owners.

Knows endpoints; must not know questions, quotes or HTTP. Called by the API.
Source: docs/QUOTES.md, section 1.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from gateways.parking.addresses import AddressRefused, Guard, NameUnknown
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids
from payments.orders import Tokens
from payments.quoting import endpoint_store
from payments.quoting.endpoint_store import Endpoint
from payments.webhooks.secret import Vault, new_secret

TIMEOUT_MS_MIN: Final = 200
OVERLAP: Final = timedelta(hours=24)
"""So long the secret before signs as well."""


class Shown(Struct, frozen=True):
    """An endpoint, with its secret where it is new: it is shown this once. ``is_new``: there was none before."""

    endpoint: Endpoint
    secret: str | None
    is_new: bool


def check_url(url: str, *, guard: Guard) -> None:
    """Refuse an address that must not be called. Asks the name service, so call it outside a transaction.

    Raises:
        Refused: ``quote_url_refused``, with the reason and what would do.
    """
    try:
        guard.examine(url)
    except (AddressRefused, NameUnknown) as refused:
        raise Refused(str(refused), code="quote_url_refused") from None


def enter(
    tx: Connection, *, lane: int, lot_id: int, url: str, timeout_ms: int, timeout_ms_max: int, new: bool, by: str, at: datetime,
    ids: Ids, tokens: Tokens, vault: Vault,
) -> Shown:  # fmt: skip
    """Let a lot's system be asked at an address, which ``check_url`` has let pass; or change address and time-out.

    The secret stays when these change; with ``new`` there is another one, and the one before signs as well for a day. May be
    repeated.

    Raises:
        Conflict: ``quote_endpoint_taken``, somebody entered one at the same moment.
        Refused: ``quote_timeout_refused``.
    """
    if not TIMEOUT_MS_MIN <= timeout_ms <= timeout_ms_max:
        words = f"an answer is waited for from {TIMEOUT_MS_MIN / 1000:g} to {timeout_ms_max / 1000:g} seconds: a driver waits"
        raise Refused(words, code="quote_timeout_refused")
    was = endpoint_store.endpoint(tx, lane=lane, lot_id=lot_id, lock=True)
    if was is not None:
        return _change(tx, was, url=url, timeout_ms=timeout_ms, new=new, at=at, tokens=tokens, vault=vault)
    endpoint_id = ids.new(at, f"quote endpoint {lot_id} {url}")
    secret = new_secret(tokens, webhook_id=endpoint_id)
    made = Endpoint(
        endpoint_id=endpoint_id, lot_id=lot_id, url=url, timeout_ms=timeout_ms, secret=vault.lock(secret, webhook_id=endpoint_id),
        old_secret=None, old_until=None, failures=0, tried_at=None, last_error=None, created_at=at, created_by=by, changed_at=at,
    )  # fmt: skip
    if not endpoint_store.insert_endpoint(tx, lane=lane, made=made):
        raise Conflict("an endpoint was entered at the same moment; look at it first", code="quote_endpoint_taken")
    return Shown(made, secret, is_new=True)


def _change(
    tx: Connection, was: Endpoint, *, url: str, timeout_ms: int, new: bool, at: datetime, tokens: Tokens, vault: Vault
) -> Shown:  # fmt: skip
    changed = msgspec.structs.replace(
        was, url=url, timeout_ms=timeout_ms, changed_at=at, failures=0, tried_at=None, last_error=None
    )
    secret = None
    if new:
        secret = new_secret(tokens, webhook_id=was.endpoint_id)
        locked = vault.lock(secret, webhook_id=was.endpoint_id)
        changed = msgspec.structs.replace(changed, secret=locked, old_secret=was.secret, old_until=at + OVERLAP)
    endpoint_store.change_endpoint(tx, changed=changed)
    return Shown(changed, secret, is_new=False)


def find(tx: Connection, *, lane: int, lot_id: int, lock: bool = False) -> Endpoint:
    """Return where a lot is asked. Raises NotFound (``quote_endpoint_not_found``)."""
    found = endpoint_store.endpoint(tx, lane=lane, lot_id=lot_id, lock=lock)
    if found is None:
        raise NotFound("the lot has no address that quotes are asked at", code="quote_endpoint_not_found")
    return found


def end(tx: Connection, *, lane: int, lot_id: int, at: datetime) -> Endpoint:
    """Ask a lot no more. Prices that it gave stand until they end. Raises NotFound (``quote_endpoint_not_found``)."""
    found = find(tx, lane=lane, lot_id=lot_id, lock=True)
    endpoint_store.end_endpoint(tx, endpoint_id=found.endpoint_id, at=at)
    return found
