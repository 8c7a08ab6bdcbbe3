"""Webhooks over HTTP: a lot's or an operator's system says where events are to be pushed, and sees what became of them.

Knows the form of requests and answers, and whose webhooks a caller manages; must not know how messages are sent. Mounted by
``app.api``.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, TypeVar
from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter, RawBody
from msgspec import UNSET, Meta, Struct, UnsetType
from sqlalchemy import Connection

from app import auth
from app.api.charges import Malformed
from app.auth import Called, Caller
from app.wiring import Wired
from gateways.parking.addresses import URL_LETTERS_MAX
from ledger.errors import NotAllowed, NotFound
from payments.webhooks import replays, store, subscriptions
from payments.webhooks.records import Delivery, Owner, State, Try, Webhook
from payments.webhooks.replays import EVENT_IDS_MAX, Replayed
from payments.webhooks.subscriptions import OVERLAP, OVERLAP_MAX, Shown

LISTED_MAX: Final = 200
_HOUR: Final = timedelta(hours=1)

Url = Annotated[str, Meta(min_length=1, max_length=URL_LETTERS_MAX)]
Kinds = Annotated[list[str], Meta(min_length=1, max_length=50)]
Moment = Annotated[datetime, Meta(tz=True)]


class WebhookIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A webhook to be entered. ``kinds`` are names of events, families such as ``payment.*``, or ``*``; ``lot`` the code of one
    lot, without it the events of all lots of the operator."""

    url: Url
    kinds: Kinds = msgspec.field(default_factory=lambda: ["*"])
    lot: str | None = None


class WebhookChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change; what is left out stays. ``active`` also switches on what was disabled."""

    url: Url | UnsetType = UNSET
    kinds: Kinds | UnsetType = UNSET
    state: Literal["active", "paused"] | UnsetType = UNSET


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the secret before signs as well, in hours; 0: no more from now on."""

    overlap_hours: Annotated[int, Meta(ge=0, le=OVERLAP_MAX // _HOUR)] = OVERLAP // _HOUR


class ReplayIn(Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """What is to be sent again: events written from a time on and before another, or with these ids, or that were parked."""

    since: Moment | None = None
    until: Moment | None = None
    event_ids: Annotated[list[UUID], Meta(max_length=EVENT_IDS_MAX)] | None = None
    kinds: Kinds | None = None
    parked: bool = False
    after: UUID | None = None


class WebhookView(Struct, frozen=True, kw_only=True):
    """A webhook as its owner sees it. ``waiting`` and ``parked`` count deliveries; ``reason`` says why it is disabled.

    ``failing_since`` is the first failure after the last success; ``overlap_until`` the end of a rotation's overlap. The secret is
    there once, in the answer to the call that made it.
    """

    id: UUID
    operator: str
    lot: str | None
    url: str
    kinds: list[str]
    state: State
    reason: str | None
    failing_since: datetime | None
    waiting: int
    parked: int
    created_at: datetime
    created_by: str
    changed_at: datetime
    ended_at: datetime | None
    overlap_until: datetime | None
    secret: str | UnsetType = UNSET


class DeliveryPage(Struct, frozen=True):
    """Deliveries, the newest first; ``next`` is the number to ask before, None when there are no more."""

    deliveries: list[Delivery]
    next: int | None


T = TypeVar("T", bound=Struct)


@post(
    "/v1/webhooks",
    sync_to_thread=True,
    status_code=201,
    tags=["webhooks"],
    summary="Enter a webhook",
    responses={201: ResponseSpec(WebhookView, description="It gets the events from now on; the secret is shown this once")},
)
def post_webhook(wiring: Wired, caller: Called, body: RawBody) -> Response[bytes]:
    """Let events be pushed to an address of the caller's own. 409 ``webhook_taken`` when it has one with this address."""
    asked = _read(body, WebhookIn)
    _manager(caller)
    subscriptions.check_url(asked.url, guard=wiring.post().guard)
    with wiring.db.begin() as tx:
        shown = subscriptions.add(
            tx, lane=wiring.lane, owner=_owner_of(tx, caller, asked.lot), url=asked.url, kinds=asked.kinds, by=caller.client_id,
            at=wiring.clock.now(), ids=wiring.ids, tokens=wiring.link_tokens, vault=wiring.post().vault,
        )  # fmt: skip
    return _shown(201, shown)


@get("/v1/webhooks", sync_to_thread=True, tags=["webhooks"], summary="List webhooks")
def get_webhooks(
    wiring: Wired, caller: Called, ended: Annotated[bool, QueryParameter(description="Those too that have ended")] = False
) -> list[WebhookView]:
    """Return the caller's webhooks, the oldest first: an operator's client sees those of its lots too."""
    owner = _manager(caller)
    with wiring.db.connect() as tx:
        return [_view(one) for one in store.webhooks(tx, lane=wiring.lane, owner=owner, ended=ended)]


@get("/v1/webhooks/{webhook_id:uuid}", sync_to_thread=True, tags=["webhooks"], summary="Ask for a webhook")
def get_webhook(wiring: Wired, caller: Called, webhook_id: FromPath[UUID]) -> WebhookView:
    """Return a webhook and how it fares."""
    owner = _manager(caller)
    with wiring.db.connect() as tx:
        return _view(subscriptions.one(tx, lane=wiring.lane, owner=owner, webhook_id=webhook_id))


@patch("/v1/webhooks/{webhook_id:uuid}", sync_to_thread=True, tags=["webhooks"], summary="Change, pause or switch on a webhook")
def patch_webhook(wiring: Wired, caller: Called, webhook_id: FromPath[UUID], body: RawBody) -> WebhookView:
    """Change address, kinds or state. While it is paused its events wait; what waits goes to the new address."""
    asked = _read(body, WebhookChange)
    owner = _manager(caller)
    if asked.url is not UNSET:
        subscriptions.check_url(asked.url, guard=wiring.post().guard)
    with wiring.db.begin() as tx:
        changed = subscriptions.change(
            tx, lane=wiring.lane, owner=owner, webhook_id=webhook_id, at=wiring.clock.now(),
            url=None if asked.url is UNSET else asked.url, kinds=None if asked.kinds is UNSET else asked.kinds,
            state=None if asked.state is UNSET else asked.state,
        )  # fmt: skip
    return _view(changed)


@post(
    "/v1/webhooks/{webhook_id:uuid}/rotate",
    sync_to_thread=True,
    status_code=200,
    tags=["webhooks"],
    summary="Give a webhook a new secret",
    responses={200: ResponseSpec(WebhookView, description="With the new secret, shown this once")},
)
def post_rotate(wiring: Wired, caller: Called, webhook_id: FromPath[UUID], body: RawBody) -> Response[bytes]:
    """Make a new secret; both sign during the overlap, so no message is lost while the receiver changes over."""
    asked = _read(body or b"{}", Rotation)
    owner = _manager(caller)
    with wiring.db.begin() as tx:
        shown = subscriptions.rotate(
            tx, lane=wiring.lane, owner=owner, webhook_id=webhook_id, at=wiring.clock.now(), tokens=wiring.link_tokens,
            vault=wiring.post().vault, overlap=asked.overlap_hours * _HOUR,
        )  # fmt: skip
    return _shown(200, shown)


@delete("/v1/webhooks/{webhook_id:uuid}", sync_to_thread=True, status_code=200, tags=["webhooks"], summary="End a webhook")
def delete_webhook(wiring: Wired, caller: Called, webhook_id: FromPath[UUID]) -> WebhookView:
    """End a webhook for good. What was still in line is parked; events can be pulled as before."""
    owner = _manager(caller)
    with wiring.db.begin() as tx:
        return _view(subscriptions.end(tx, lane=wiring.lane, owner=owner, webhook_id=webhook_id, at=wiring.clock.now()))


@post(
    "/v1/webhooks/{webhook_id:uuid}/replay",
    sync_to_thread=True,
    status_code=202,
    tags=["webhooks"],
    summary="Send events again",
    responses={202: ResponseSpec(Replayed, description="In line; go on with `after` set to `next` until that is null")},
)
def post_replay(wiring: Wired, caller: Called, webhook_id: FromPath[UUID], body: RawBody) -> Response[bytes]:
    """Put events in line again, by time, by id, or those that were parked. The receiver knows them by their ids."""
    asked = _read(body, ReplayIn)
    owner = _manager(caller)
    with wiring.db.begin() as tx:
        replayed = replays.replay(
            tx, lane=wiring.lane, owner=owner, webhook_id=webhook_id, at=wiring.clock.now(), since=asked.since, until=asked.until,
            event_ids=asked.event_ids, kinds=asked.kinds, parked=asked.parked, after=asked.after,
        )  # fmt: skip
    return Response(msgspec.json.encode(replayed), status_code=202, media_type="application/json")


@get("/v1/webhooks/{webhook_id:uuid}/deliveries", sync_to_thread=True, tags=["webhooks"], summary="List deliveries")
def get_deliveries(
    wiring: Wired,
    caller: Called,
    webhook_id: FromPath[UUID],
    where: Annotated[
        Literal["waiting", "delivered", "parked"] | None, QueryParameter(name="state", description="Only those")
    ] = None,
    before: Annotated[int | None, QueryParameter(ge=1, description="From the page before")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=LISTED_MAX)] = 50,
) -> DeliveryPage:
    """Return what was, or is to be, sent to a webhook, the newest first."""
    owner = _manager(caller)
    with wiring.db.connect() as tx:
        subscriptions.one(tx, lane=wiring.lane, owner=owner, webhook_id=webhook_id)
        found = store.deliveries(tx, webhook_id=webhook_id, state=where, before=before, limit=limit)
    return DeliveryPage(found, found[-1].delivery_id if len(found) == limit else None)


@get(
    "/v1/webhooks/{webhook_id:uuid}/deliveries/{delivery_id:int}",
    sync_to_thread=True,
    tags=["webhooks"],
    summary="List the calls of a delivery",
)
def get_tries(wiring: Wired, caller: Called, webhook_id: FromPath[UUID], delivery_id: FromPath[int]) -> list[Try]:
    """Return each call of a delivery, the first one first: its status or why there was none, and the beginning of the answer."""
    owner = _manager(caller)
    with wiring.db.connect() as tx:
        subscriptions.one(tx, lane=wiring.lane, owner=owner, webhook_id=webhook_id)
        found = store.tries(tx, webhook_id=webhook_id, delivery_id=delivery_id)
    if found is None:
        raise NotFound(f"the webhook has no delivery {delivery_id}", code="delivery_not_found")
    return found


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as wrong:
        raise Malformed(f"the body does not fit: {wrong}") from None


def _manager(caller: Caller) -> Owner:
    """Return whose webhooks the caller manages. Raises NotAllowed (``read_only``): supervisors have none."""
    if not caller.may_write or caller.operator_id is None:
        raise NotAllowed("webhooks are managed by the lot's or the operator's own client", code="read_only")
    return Owner(caller.operator_id, caller.lot_id)


def _owner_of(tx: Connection, caller: Caller, lot_code: str | None) -> Owner:
    """Return whose the new webhook is: a lot's client makes the lot's, whatever it leaves out."""
    manager = _manager(caller)
    return manager if lot_code is None else Owner(manager.operator_id, auth.own_lot(tx, caller=caller, code=lot_code).lot_id)


def _view(webhook: Webhook, *, secret: str | UnsetType = UNSET) -> WebhookView:
    return WebhookView(
        id=webhook.webhook_id, operator=webhook.operator_code, lot=webhook.lot_code, url=webhook.url, kinds=webhook.kinds,
        state=webhook.state, reason=webhook.reason, failing_since=webhook.failing_since, waiting=webhook.waiting,
        parked=webhook.parked, created_at=webhook.created_at, created_by=webhook.created_by, changed_at=webhook.changed_at,
        ended_at=webhook.ended_at, overlap_until=webhook.old_until, secret=secret,
    )  # fmt: skip


def _shown(status: int, shown: Shown) -> Response[bytes]:
    """Return a webhook with its secret; nobody on the way may keep it."""
    content = msgspec.json.encode(_view(shown.webhook, secret=shown.secret))
    return Response(content, status_code=status, media_type="application/json", headers={"cache-control": "no-store"})


routes: Final = [
    post_webhook, get_webhooks, get_webhook, patch_webhook, post_rotate, delete_webhook, post_replay, get_deliveries, get_tries,
]  # fmt: skip
