"""Events for lots and operators: what is written into the outbox with a fact, and how a reader pulls it.

Knows charges and payments by their public names; must not know HTTP or channels' wire. Called by the applier, the other rooms that
tell lots something, ``payments.webhooks`` and the API.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import Connection

from ledger.db import raw
from payments import store
from payments.errors import CursorRefused

EVENTS_MAX: Final = 500
START: Final = "0-0"

PaymentKind = Literal[
    "payment.succeeded", "payment.partial", "payment.suspended", "payment.failed", "payment.taken_back", "refund.done",
    "refund.failed",
]  # fmt: skip
"""``payment.succeeded``: the charge is settled, the car may leave. ``payment.partial``: a part of a debt is paid.
``payment.suspended``: money came that nothing is owed for.
``payment.failed``: the issuer of a card will never pay what the card paid at the lane; the charge is due again.
``payment.taken_back``: the channel took its money back; the charge is due again, unless ``reason`` says why the payment had been
in suspense: then the charge stays as it is.
``refund.done``: money went back to the payer. ``refund.failed``: it did not, or came back; ``reason`` says which."""

DebtKind = Literal["debt.opened", "debt.reduced", "debt.settled", "debt.disputed", "debt.waived", "debt.written_off"]
"""``debt.opened``: the car left and owes the charge. ``debt.reduced``: less is owed: a part was paid, waived or credited.
``debt.settled``: nothing is owed any more, it was paid. ``debt.disputed``: the driver disputes it, or the dispute is over;
``reason`` says which. ``debt.waived``: it was let off. ``debt.written_off``: it is not expected any more."""

CodeKind = Literal["code.reported", "code.decided"]
"""``code.reported``: somebody says that a code looks wrong, or a person of the desk took it out of use. ``code.decided``: a person
has looked at what was reported; ``reason`` says what was found."""

EventKind = Literal[
    PaymentKind, DebtKind, CodeKind, "release.granted", "charge.corrected", "charge.discounted", "refund.requested"
]  # fmt: skip
"""``release.granted``: the barrier may open for the car. ``charge.corrected``: a credit note made the charge smaller.
``charge.discounted``: discounts came on it or went off.
``refund.requested``: a driver asks for money back; it comes once more as a reminder."""


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


class DebtEvent(Struct, frozen=True, kw_only=True):
    """What a lot or an operator is told about a debt.

    ``amount_fen`` is what the event is about: what the debt was opened with, was paid, reduced, waived or written off by.
    ``owed_fen`` is what is still due after it; ``receipt`` the payment's number where one paid.
    """

    kind: EventKind
    charge_serial: str
    amount_fen: int
    owed_fen: int
    at: datetime
    reason: str | None = None
    receipt: str | None = None


class ReleaseEvent(Struct, frozen=True, kw_only=True):
    """The car of this charge may leave, and why: it was paid, deducted, became a debt, nothing is due, or its card paid."""

    kind: EventKind = "release.granted"
    charge_serial: str
    at: datetime
    reason: Literal["paid", "deducted", "debt", "free", "card"]


class CorrectionEvent(Struct, frozen=True, kw_only=True):
    """A credit note with the number ``note`` made a charge smaller by ``amount_fen``."""

    kind: EventKind = "charge.corrected"
    charge_serial: str
    note: str
    amount_fen: int
    at: datetime
    reason: str


class RefundRequestEvent(Struct, frozen=True, kw_only=True):
    """A driver asks for ``amount_fen`` at most of a payment back, behind the payment's link; the lot answers ``request``."""

    kind: EventKind = "refund.requested"
    charge_serial: str
    receipt: str
    channel: str
    request: str
    amount_fen: int
    answer_until: datetime
    at: datetime
    reason: str


class DiscountEvent(Struct, frozen=True, kw_only=True):
    """Discounts came on a charge or went off it: what is taken off it now in all, and what is left to pay."""

    kind: EventKind = "charge.discounted"
    charge_serial: str
    amount_fen: int
    owed_fen: int
    at: datetime


class CodeEvent(Struct, frozen=True, kw_only=True):
    """What an operator is told about a code on a wall. Nothing of whoever reported it is in it, neither words nor address.

    ``case`` is the case's number, None when the desk reported the code itself. ``code_no`` is None for the lot's own code and for
    codes on screens. ``is_refused``: nobody can pay with it any more.
    """

    kind: EventKind
    case: str | None
    code_no: int | None
    place: str | None
    """What the code stands for, as ``berth A-017``."""
    is_refused: bool
    at: datetime
    reason: str
    """What was reported (``other_lot``, ``sticker``, ``other_site``, ``password``, ``other``; ``desk``: see the code's history), or
    what was found (``confirmed``, ``mended``, ``dismissed``)."""


class Told(Struct, frozen=True, kw_only=True):
    """An event as it is read again, whatever its kind; a field that the kind does not have is not there.

    ``paid_at`` belongs to payments and refunds, ``at`` to all others.
    """

    kind: EventKind
    charge_serial: str | UnsetType = UNSET
    receipt: str | UnsetType | None = UNSET
    channel: str | UnsetType = UNSET
    note: str | UnsetType = UNSET
    amount_fen: int | UnsetType = UNSET
    owed_fen: int | UnsetType = UNSET
    paid_at: datetime | UnsetType = UNSET
    at: datetime | UnsetType = UNSET
    reason: str | UnsetType | None = UNSET
    refund: str | UnsetType | None = UNSET
    request: str | UnsetType = UNSET
    answer_until: datetime | UnsetType = UNSET
    case: str | UnsetType | None = UNSET
    code_no: int | UnsetType | None = UNSET
    place: str | UnsetType | None = UNSET
    is_refused: bool | UnsetType = UNSET


class NewEvent(Struct, frozen=True):
    """An event to be written. ``subject`` is the payment, refund or debt it is about, ``body`` comes from ``encode``."""

    event_id: UUID
    operator_id: int
    lot_id: int
    subject: UUID
    charge_id: UUID | None
    kind: EventKind
    body: bytes


class Event(Struct, frozen=True):
    """One line of the outbox as the reader gets it; ``cursor`` is what to ask after next time."""

    cursor: str
    event_id: UUID
    event: Told


class EventPage(Struct, frozen=True):
    """Events in the order in which they became final. ``next`` is the cursor to ask after, also when the page is empty."""

    events: list[Event]
    next: str


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Told).decode


def write(tx: Connection, *, lane: int, rows: Sequence[NewEvent]) -> None:
    """Write events in one statement; lots are told after the commit. That each is written once is the caller's care."""
    if not rows:
        return
    columns = {name: [getattr(row, name) for row in rows] for name in NewEvent.__struct_fields__}
    with raw(tx).cursor() as cursor:
        cursor.execute(
            b"""
            insert into payments.outbox (event_id, lane, operator_id, lot_id, subject, charge_id, kind, body)
            select event_id, %(lane)s, operator_id, lot_id, subject, charge_id, kind, body
            from unnest(%(event_id)s::uuid[], %(operator_id)s::integer[], %(lot_id)s::integer[], %(subject)s::uuid[],
                        %(charge_id)s::uuid[], %(kind)s::text[], %(body)s::bytea[])
                 as u (event_id, operator_id, lot_id, subject, charge_id, kind, body)
            """,
            {"lane": lane} | columns,
        )


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
    events = [Event(_cursor(row.transaction, row.event_id), row.event_id, decode(row.body)) for row in rows]
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
