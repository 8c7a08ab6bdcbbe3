"""Events for lots and operators: what is written into the outbox with a fact, and how a reader pulls it.

Knows charges and payments by their public names; must not know HTTP or channels' wire. Called by the applier and the API.
"""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from payments import store
from payments.errors import CursorRefused

EVENTS_MAX: Final = 500
START: Final = "0-0"

EventKind = Literal[
    "payment.succeeded", "payment.suspended", "payment.failed", "payment.taken_back", "refund.done", "refund.failed"
]  # fmt: skip
"""``payment.succeeded``: the charge is settled, the car may leave. ``payment.suspended``: money came that nothing is owed for.
``payment.failed``: the issuer of a card will never pay what the card paid at the lane; the charge is due again.
``payment.taken_back``: the channel took its money back; the charge is due again, unless ``reason`` says why the payment had been
in suspense: then the charge stays as it is.
``refund.done``: money went back to the payer. ``refund.failed``: it did not, or came back; ``reason`` says which."""


class PaymentEvent(Struct, frozen=True, kw_only=True):
    """What a lot or an operator is told about a payment or a refund of it.

    ``receipt`` is the payment's number at the channel, ``refund`` the refund's; ``paid_at`` is when the money moved.
    """

    kind: EventKind
    charge_serial: str
    receipt: str
    channel: str
    amount_fen: int
    paid_at: datetime
    reason: str | None = None
    refund: str | None = None


class Event(Struct, frozen=True):
    """One line of the outbox as the reader gets it; ``cursor`` is what to ask after next time."""

    cursor: str
    event_id: UUID
    event: PaymentEvent


class EventPage(Struct, frozen=True):
    """Events in the order in which they became final. ``next`` is the cursor to ask after, also when the page is empty."""

    events: list[Event]
    next: str


encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(PaymentEvent).decode


def read(tx: Connection, *, lane: int, lot_id: int, after: str = START, limit: int = EVENTS_MAX) -> EventPage:
    """Return a lot's events after a cursor, oldest first, at most ``limit``.

    No event is ever skipped: only transactions below the oldest one still running are read, so nothing can appear behind the
    cursor later. May be asked as often as wanted.

    Raises:
        CursorRefused: ``after`` did not come from an earlier page.
    """
    transaction, event_id = _read_cursor(after)
    rows = store.events_after(
        tx, lane=lane, lot_id=lot_id, transaction=transaction, event_id=event_id, limit=max(1, min(limit, EVENTS_MAX))
    )
    events = [Event(_cursor(row.transaction, row.event_id), row.event_id, _decode(row.body)) for row in rows]
    return EventPage(events, events[-1].cursor if events else after)


def _cursor(transaction: int, event_id: UUID) -> str:
    return f"{transaction:x}-{event_id.hex}"


def _read_cursor(text: str) -> tuple[int, UUID]:
    transaction, _, event = text.partition("-")
    try:
        number = int(transaction, 16)
        found = UUID(int=int(event, 16))
    except ValueError:
        raise CursorRefused(f"{text[:80]!r} is not a cursor of this feed; begin again without one") from None
    if not 0 <= number < 1 << 63:
        raise CursorRefused(f"{text[:80]!r} is not a cursor of this feed; begin again without one")
    return number, found
