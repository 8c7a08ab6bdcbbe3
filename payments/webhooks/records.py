"""What is said about webhooks and deliveries: the record types of this package.

Knows fields and their meaning only. Used by every module beside it and by the application.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from gateways.parking.sender import Reply

State = Literal["active", "paused", "disabled", "ended"]
"""active: events are sent. paused: they wait. disabled: we gave up, ``reason`` says why. ended: by its owner, for good."""


class Owner(Struct, frozen=True):
    """Whose webhooks: an operator's, all of them, or one lot's alone."""

    operator_id: int
    lot_id: int | None = None


class Webhook(Struct, frozen=True, kw_only=True):
    """A webhook without its secret. ``failing_since`` is the first failure after the last success, ``waiting`` and ``parked`` count
    its deliveries, ``old_until`` ends the overlap of a rotation."""

    webhook_id: UUID
    operator_id: int
    lot_id: int | None
    operator_code: str
    lot_code: str | None
    url: str
    kinds: list[str]
    state: State
    reason: str | None
    old_until: datetime | None
    failing_since: datetime | None
    created_at: datetime
    created_by: str
    changed_at: datetime
    ended_at: datetime | None
    waiting: int
    parked: int


class Delivery(Struct, frozen=True, kw_only=True):
    """An event that a webhook is to get, and what became of it. ``next_at`` is when it is tried next, while it waits."""

    delivery_id: int
    event_id: UUID
    kind: str
    lot_code: str
    is_replay: bool
    state: Literal["waiting", "delivered", "parked"]
    created_at: datetime
    attempts: int
    next_at: datetime | None
    last_status: int | None
    last_ms: int | None
    last_error: str | None
    done_at: datetime | None


class Try(Struct, frozen=True):
    """One call: its status or why there was none, the beginning of the answer, and how long it took in milliseconds."""

    number: int
    tried_at: datetime
    status: int | None
    failure: str | None
    excerpt: str
    ms: int


class Claimed(Struct, frozen=True):
    """A delivery that this worker holds, with all that is needed to send it. Secrets are still encrypted."""

    delivery_id: int
    webhook_id: UUID
    order_key: UUID
    attempts: int
    event_id: UUID
    body: bytes
    lot_code: str
    url: str
    secret: bytes
    old_secret: bytes | None
    old_until: datetime | None
    failing_since: datetime | None


class Outcome(Struct, frozen=True):
    """What follows from a call: delivered, or tried again at ``next_at``, or parked when there is no next time."""

    claimed: Claimed
    reply: Reply
    at: datetime
    ms: int
    delivered: bool
    next_at: datetime | None
    error: str | None
    """Why it did not succeed, in words."""
    disables: str | None
    """Why the webhook is to be disabled."""
