"""Who gets which events where: webhooks, entered and changed by their owners.

Knows owners, addresses, kinds and secrets; must not know HTTP or how a message is sent. Called by the API and the command line.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, get_args
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways.parking.addresses import AddressRefused, Guard, NameUnknown
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids
from payments.events import EventKind
from payments.orders import Tokens
from payments.webhooks import store
from payments.webhooks.records import Owner, Webhook
from payments.webhooks.secret import Vault, new_secret

WEBHOOKS_MAX: Final = 50
"""Of one owner, not counting those that have ended."""
OVERLAP: Final = timedelta(hours=24)
OVERLAP_MAX: Final = timedelta(days=7)


def _names(kinds: Sequence[object]) -> list[str]:
    """Flatten the names of nested literals."""
    return [name for kind in kinds for name in ([kind] if isinstance(kind, str) else _names(get_args(kind)))]


KINDS: Final = frozenset(_names(get_args(EventKind)))
FAMILIES: Final = frozenset({"*"} | {f"{kind.partition('.')[0]}.*" for kind in KINDS})


class Shown(Struct, frozen=True):
    """A webhook with its secret, which is shown this once."""

    webhook: Webhook
    secret: str


def check_url(url: str, *, guard: Guard) -> None:
    """Refuse an address that nothing may be sent to. Asks the name service, so call it outside a transaction.

    Raises:
        Refused: ``webhook_url_refused``, with the reason and what would do.
    """
    try:
        guard.examine(url)
    except (AddressRefused, NameUnknown) as refused:
        raise Refused(str(refused), code="webhook_url_refused") from None


def checked_kinds(kinds: Sequence[str]) -> list[str]:
    """Return kinds sorted, each once. Raises Refused (``webhook_kinds_refused``)."""
    unknown = sorted(set(kinds) - KINDS - FAMILIES)
    if unknown or not kinds:
        known = ", ".join(sorted(FAMILIES | KINDS))
        raise Refused(f"{', '.join(unknown) or 'nothing'} is no kind of event; known are: {known}", code="webhook_kinds_refused")
    return sorted(set(kinds))


def add(
    tx: Connection,
    *,
    lane: int,
    owner: Owner,
    url: str,
    kinds: Sequence[str],
    by: str,
    at: datetime,
    ids: Ids,
    tokens: Tokens,
    vault: Vault,
) -> Shown:
    """Let events be pushed to an address, which ``check_url`` has let pass: those that become final from now on.

    Holds the lane's cursor, so that the first event is certain.

    Raises:
        Conflict: ``webhook_taken``, the owner has one with this address.
        Refused: ``webhook_kinds_refused``; ``webhook_limit``, the owner has too many.
    """
    store.hold_cursor(tx, lane=lane, wait=True)
    if len(store.webhooks(tx, lane=lane, owner=owner, ended=False)) >= WEBHOOKS_MAX:
        raise Refused(f"at most {WEBHOOKS_MAX} webhooks; end one that is not needed", code="webhook_limit")
    webhook_id = ids.new(at, f"webhook {owner.operator_id} {owner.lot_id} {url}")
    secret = new_secret(tokens, webhook_id=webhook_id)
    columns = {
        "webhook_id": webhook_id, "lane": lane, "operator_id": owner.operator_id, "lot_id": owner.lot_id, "url": url,
        "kinds": checked_kinds(kinds), "state": "active", "secret": vault.lock(secret, webhook_id=webhook_id), "created_at": at,
        "created_by": by, "changed_at": at,
    }  # fmt: skip
    if not store.insert(tx, columns=columns):
        raise Conflict("there is a webhook with this address already; change it or end it", code="webhook_taken")
    return Shown(one(tx, lane=lane, owner=owner, webhook_id=webhook_id), secret)


def one(tx: Connection, *, lane: int, owner: Owner, webhook_id: UUID) -> Webhook:
    """Return a webhook of an owner. Raises NotFound (``webhook_not_found``): not yours looks exactly like not there."""
    found = store.webhook(tx, lane=lane, owner=owner, webhook_id=webhook_id)
    if found is None:
        raise NotFound(f"there is no webhook {webhook_id}", code="webhook_not_found")
    return found


def change(
    tx: Connection,
    *,
    lane: int,
    owner: Owner,
    webhook_id: UUID,
    at: datetime,
    url: str | None = None,
    kinds: Sequence[str] | None = None,
    state: Literal["active", "paused"] | None = None,
) -> Webhook:
    """Change a webhook's address, kinds or state; what is None stays. Events that were in line stay in line.

    ``active`` on a disabled one switches it on for events from now on; what was parked or missed can be replayed.

    Raises:
        NotFound: ``webhook_not_found``.
        Conflict: ``webhook_ended``; ``webhook_taken``; ``webhook_disabled``, only ``active`` leads out of it.
        Refused: ``webhook_kinds_refused``.
    """
    was = _held(tx, lane=lane, owner=owner, webhook_id=webhook_id, cursor=True)
    if was.state == "disabled" and state == "paused":
        raise Conflict("the webhook is disabled; set it to active first", code="webhook_disabled")
    columns: dict[str, object] = {"changed_at": at}
    if url is not None and url != was.url:
        others = store.webhooks(tx, lane=lane, owner=owner, ended=False)
        if any((other.url, other.lot_id) == (url, was.lot_id) for other in others):
            raise Conflict("there is a webhook with this address already; change it or end it", code="webhook_taken")
        columns |= {"url": url}
    if kinds is not None:
        columns |= {"kinds": checked_kinds(kinds)}
        store.begin_here(tx, webhook_id=webhook_id, pushed=False)
    if state is not None and state != was.state:
        columns |= {"state": state, "reason": None, "failing_since": None}
        if was.state == "disabled":
            store.begin_here(tx, webhook_id=webhook_id, pushed=True)
    store.update(tx, webhook_id=webhook_id, columns=columns)
    return one(tx, lane=lane, owner=owner, webhook_id=webhook_id)


def rotate(
    tx: Connection,
    *,
    lane: int,
    owner: Owner,
    webhook_id: UUID,
    at: datetime,
    tokens: Tokens,
    vault: Vault,
    overlap: timedelta = OVERLAP,
) -> Shown:
    """Give a webhook a new secret, shown once; the one before signs as well during the overlap, an earlier one no more.

    Raises:
        NotFound: ``webhook_not_found``.
        Conflict: ``webhook_ended``.
        Refused: ``webhook_overlap_refused``.
    """
    if not timedelta(0) <= overlap <= OVERLAP_MAX:
        raise Refused(f"the overlap is 0 to {OVERLAP_MAX // timedelta(hours=1)} hours", code="webhook_overlap_refused")
    _held(tx, lane=lane, owner=owner, webhook_id=webhook_id)
    secret = new_secret(tokens, webhook_id=webhook_id)
    store.keep_old_secret(tx, webhook_id=webhook_id, until=at + overlap if overlap else None)
    store.update(
        tx, webhook_id=webhook_id, columns={"secret": vault.lock(secret, webhook_id=webhook_id), "changed_at": at}
    )  # fmt: skip
    return Shown(one(tx, lane=lane, owner=owner, webhook_id=webhook_id), secret)


def end(tx: Connection, *, lane: int, owner: Owner, webhook_id: UUID, at: datetime) -> Webhook:
    """End a webhook for good; what was still in line is parked. Ending it again changes nothing.

    Raises:
        NotFound: ``webhook_not_found``.
    """
    was = one(tx, lane=lane, owner=owner, webhook_id=webhook_id)
    if was.state != "ended":
        store.hold(tx, webhook_id=webhook_id)
        columns = {"state": "ended", "reason": None, "ended_at": at, "changed_at": at, "old_secret": None, "old_until": None}
        store.update(tx, webhook_id=webhook_id, columns=columns)
        store.park_all(tx, webhook_ids=[webhook_id], at=at)
    return one(tx, lane=lane, owner=owner, webhook_id=webhook_id)


def _held(tx: Connection, *, lane: int, owner: Owner, webhook_id: UUID, cursor: bool = False) -> Webhook:
    """Lock a webhook that has not ended and return it; with ``cursor`` the lane's cursor before it."""
    one(tx, lane=lane, owner=owner, webhook_id=webhook_id)
    if cursor:
        store.hold_cursor(tx, lane=lane, wait=True)
    store.hold(tx, webhook_id=webhook_id)
    held = one(tx, lane=lane, owner=owner, webhook_id=webhook_id)
    if held.state == "ended":
        raise Conflict("the webhook has ended; enter a new one", code="webhook_ended")
    return held
