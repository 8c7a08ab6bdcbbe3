"""Entrances: a car that has come is told to every channel that wants to know before it deducts, and each says whether it may.

Knows lots, plates, routes and calls to channels; must not know HTTP or any channel's wire. Called by the API; read by deductions.

The entrance is committed, then the channels are called outside any transaction, then their words are kept. What a channel says of a
payer stays here: a lot learns whether a plate may be deducted, and nothing else.
"""

import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways import calls, routing
from gateways.contract import Entrance, EntryOutcome, MerchantAccount, Operation, RawMessage
from ledger.clock import checked as in_utc
from ledger.errors import Conflict, Refused
from payments import charges, plates, store
from payments.checkout import Till
from payments.lots import Lot
from payments.mandates import deduction_store
from payments.mandates.deduction_store import Entry, MandateState, Word
from payments.mandates.entry_words import entrance_number
from payments.plates import PlateColor

FREE_MINUTES_MAX: Final = 24 * 60


class NewEntrance(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A car that came, as a lot posts it. ``lot_serial`` is the lot's own number of the entrance and the idempotency key."""

    lot_serial: str
    plate: str
    plate_color: PlateColor = "unknown"
    entered_at: datetime
    free_minutes: int = 0
    """Minutes that cost nothing, as channels are told."""


class Told(Struct, frozen=True):
    """Whether a channel may deduct from the plate: ``open``, ``none``, or ``unknown`` (it may not have learned of the car)."""

    channel: str
    state: MandateState


class Recorded(Struct, frozen=True):
    """An entrance that is kept, and what the channels said; ``created`` is False when it was posted before."""

    lot_serial: str
    created: bool
    channels: tuple[Told, ...]


def record(till: Till, *, lot: Lot, entrance: NewEntrance) -> Recorded:
    """Keep a car that came and tell the channels that want to know of it and have a route of the lot's operator now.

    Posting the same again is harmless: a channel that has answered is not told again, one that has not is. Takes up to the
    time-out of each channel.

    Raises:
        Refused: ``entrance_invalid``, or ``plate_invalid``.
        Conflict: ``entrance_conflict``, the serial was used for another car or time.
    """
    at = till.clock.now()
    good = _checked(entrance, at)
    with till.db.begin() as tx:
        entry, created = _kept(tx, till, lot, good, at)
        routes = [route for name in _told_channels(till) if (route := _route(tx, lot, name, at)) is not None]
        known = {(word.channel, word.merchant_no): word for word in _words(tx, entry)}
        numbers = {
            route.channel: deduction_store.lot_number(tx, lot_id=lot.lot_id, channel=route.channel) for route in routes
        }  # fmt: skip
    told = []
    for route in routes:
        word = known.get((route.channel, route.merchant_no))
        if word is None or (word.entry_no is None and word.state == "unknown"):
            word = _tell(till, entry, route, numbers[route.channel])
        told.append(Told(route.channel, word.state))
    return Recorded(good.lot_serial, created, tuple(told))


def number(entry: Entry) -> str:
    """Return the 28 characters that channels know an entrance by: E, the lane, the id."""
    return entrance_number(entry.lane, entry.entrance_id)


def _told_channels(till: Till) -> list[str]:
    return [name for name in till.channels() if Operation.ENTRY in till.line(name).connected.channel.supports]


def _route(tx: Connection, lot: Lot, channel: str, at: datetime) -> MerchantAccount | None:
    return routing.choose(tx, operator_id=lot.operator_id, channel=channel, at=at)


def _words(tx: Connection, entry: Entry) -> list[Word]:
    return deduction_store.words(tx, lane=entry.lane, entrance_id=entry.entrance_id)


def _kept(tx: Connection, till: Till, lot: Lot, entrance: NewEntrance, at: datetime) -> tuple[Entry, bool]:
    """Insert an entrance or find it; returns it and whether it is new."""
    plate = (entrance.plate, entrance.plate_color)
    plate_id = store.plate_ids(tx, plates=[plate], salt=lambda: secrets.token_bytes(16))[plate]
    entrance_id: UUID = till.ids.new(at, f"entrance {lot.lot_id} {entrance.lot_serial}")
    created = deduction_store.insert_entrance(
        tx, entrance_id=entrance_id, lane=till.lane, operator_id=lot.operator_id, lot_id=lot.lot_id,
        lot_serial=entrance.lot_serial, plate_id=plate_id, entered_at=entrance.entered_at, free_minutes=entrance.free_minutes,
        lot_name=lot.name, at=at,
    )  # fmt: skip
    kept = deduction_store.entrance(tx, lane=till.lane, lot_id=lot.lot_id, lot_serial=entrance.lot_serial)
    assert kept is not None
    for field in ("plate", "plate_color", "entered_at", "free_minutes"):
        if getattr(kept, field) != getattr(entrance, field):
            raise Conflict(
                f"serial {entrance.lot_serial} was posted before with another {field}; another car needs another serial",
                code="entrance_conflict",
            )
    return kept, created


def _tell(till: Till, entry: Entry, route: MerchantAccount, lot_no: str) -> Word:
    """Tell one channel, outside any transaction, and keep its word."""
    told = Entrance(
        entrance_no=number(entry), merchant_no=route.merchant_no, plate=entry.plate, plate_color=entry.plate_color,
        entered_at=entry.entered_at, free_minutes=entry.free_minutes, lot_no=lot_no, lot_name=entry.lot_name,
        key_ref=route.key_ref,
    )  # fmt: skip
    at = till.clock.now()
    outcome, message = _called(till, route.channel, told, entry.entrance_id, at)
    word = Word(
        channel=route.channel, merchant_no=route.merchant_no, entry_no=outcome.entry_no, state=outcome.state, word=outcome.word
    )
    with till.db.begin() as tx:
        if message is not None:
            deduction_store.keep_message(tx, lane=entry.lane, message=message)
        deduction_store.keep_word(tx, lane=entry.lane, entrance_id=entry.entrance_id, word=word, at=at)
    return word


def _called(till: Till, channel: str, told: Entrance, subject: UUID, at: datetime) -> tuple[EntryOutcome, RawMessage | None]:
    """Call the channel. What it cannot carry is not sent, and then nothing is known."""
    try:
        call = calls.entry(till.line(channel), told, subject=subject, occasion=f"entry {subject} {at.isoformat()}")
    except Refused as wrong:
        return EntryOutcome(verdict="unanswered", reason=wrong.code), None
    return call.outcome, call.message


def _checked(entrance: NewEntrance, at: datetime) -> NewEntrance:
    """Return an entrance in the form in which it is kept. Raises Refused for one that cannot be true."""
    if not 0 < len(entrance.lot_serial) <= charges.SERIAL_LETTERS_MAX or not entrance.lot_serial.isprintable():
        raise _invalid(f"a serial has 1 to {charges.SERIAL_LETTERS_MAX} printable characters")
    if not 0 <= entrance.free_minutes <= FREE_MINUTES_MAX:
        raise _invalid(f"free minutes are 0 to {FREE_MINUTES_MAX}, not {entrance.free_minutes}")
    if entrance.entered_at.tzinfo is None:
        raise _invalid("a time needs its offset, such as +08:00")
    entered_at = in_utc(entrance.entered_at)
    if entered_at > at + charges.CLOCK_TOLERANCE:
        raise _invalid("the time lies in the future; set its clock")
    if at - entered_at > timedelta(days=charges.STAY_DAYS_MAX):
        raise _invalid("the stay began more than three years ago")
    return NewEntrance(
        lot_serial=entrance.lot_serial, plate=plates.checked(entrance.plate, entrance.plate_color),
        plate_color=entrance.plate_color, entered_at=entered_at, free_minutes=entrance.free_minutes,
    )  # fmt: skip


def _invalid(detail: str) -> Refused:
    return Refused(detail, code="entrance_invalid")
