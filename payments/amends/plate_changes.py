"""The identity of plates 车牌归属: two plates are the same by number and colour, they change hands, are misread, are forgotten.

Knows plates and what hangs on them; must not know HTTP or channels' wire. Called by the command line. Source: docs/CORRECTIONS.md.
A change is proposed by one person and approved by another; it is sealed, and never names a person.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from ledger import documents
from ledger.clock import checked as in_utc
from ledger.documents import DocumentKind
from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from ledger.ids import Ids
from payments import people, plates
from payments.amends import plate_change_store as store
from payments.amends.plate_change_store import Change, Kind, Lookup, Nearby, Plate, Seen, State
from payments.errors import ChargeUnknown, PlateRefused
from payments.owed.debt_desk import Paper
from payments.plates import PlateColor

REASON_LETTERS_MAX: Final = 500
LIKELY_MAX: Final = 20
AROUND: Final = timedelta(hours=2)
"""How far from a stay another one may lie that was misread for it."""
CONFUSABLE: Final = ("0OD", "8B", "5S", "2Z", "1I7")
"""Letters and digits that cameras take for each other."""

_SAME_SHAPE: Final = {letter: group for group in CONFUSABLE for letter in group}


class Likely(Struct, frozen=True, kw_only=True):
    """A car that may be the one that was misread. ``places`` are the letters, from 1, in which its number differs."""

    nearby: Nearby
    places: tuple[int, ...]
    minutes_apart: int
    """Between the two moments of coming."""


# What is one plate. Pure.


def plates_match(one: tuple[str, PlateColor], other: tuple[str, PlateColor]) -> bool:
    """Say whether two plates may be the same car: equal numbers, and colours that are equal or of which one is unknown.

    苏B12345 blue and 苏B12345 yellow are two cars. A colour that nobody told fits every colour of its number.
    """
    return one[0] == other[0] and (one[1] == other[1] or "unknown" in (one[1], other[1]))


def misreadings(number: str) -> list[str]:
    """Return the numbers that differ from this one in one letter that cameras take for another, and can exist; sorted."""
    return sorted(set(_misreadings(number)) - {number})


def _misreadings(number: str) -> Iterator[str]:
    for place, letter in enumerate(number):
        for other in _SAME_SHAPE.get(letter, ""):
            try:
                yield plates.checked(number[:place] + other + number[place + 1 :])
            except PlateRefused:
                continue


# Misread plates.


def likely(
    tx: Connection, *, lane: int, lot_id: int, number: str, entered_at: datetime, left_at: datetime | None = None,
    limit: int = LIKELY_MAX,
) -> list[Likely]:  # fmt: skip
    """Return the cars of which a lot told around a stay, and whose numbers a camera takes for this one; the nearest first.

    For the person who works on a dispute ``not_my_car``: full numbers, never to be shown to drivers. Changes nothing.

    Raises:
        PlateRefused: this is not a plate.
    """
    asked = plates.checked(number)
    numbers = misreadings(asked)
    if not numbers:
        return []
    last = (left_at or entered_at) + AROUND
    found = store.nearby(tx, lane=lane, lot_id=lot_id, numbers=numbers, first=entered_at - AROUND, last=last)
    ordered = [
        Likely(
            nearby=one, places=tuple(place for place, (a, b) in enumerate(zip(asked, one.number, strict=True), 1) if a != b),
            minutes_apart=round(abs((one.entered_at - entered_at).total_seconds()) / 60),
        )
        for one in found
    ]  # fmt: skip
    ordered.sort(key=lambda one: (one.minutes_apart, one.nearby.number, one.nearby.source, one.nearby.serial))
    return ordered[:limit]


def likely_of_charge(tx: Connection, *, lane: int, charge_id: UUID, limit: int = LIKELY_MAX) -> list[Likely]:
    """Return ``likely`` for the stay of a charge. Raises ChargeUnknown."""
    stay = store.stay_of(tx, lane=lane, charge_id=charge_id)
    if stay is None:
        raise ChargeUnknown(f"there is no charge {charge_id}")
    return likely(
        tx, lane=lane, lot_id=stay.lot_id, number=stay.number, entered_at=stay.entered_at, left_at=stay.left_at, limit=limit
    )  # fmt: skip


# Changes by two persons.


def transfer(
    tx: Connection, *, lane: int, number: str, color: PlateColor, held_since: datetime, reason: str, document: Paper, by: str,
    at: datetime, ids: Ids,
) -> Change:  # fmt: skip
    """Propose that a plate belongs to another owner from a moment on; nothing changes until another person approves it.

    Then its mandates end, and what was before stays owed but is neither shown to the new owner nor deducted. Holds the plate.

    Args:
        held_since: The moment from which on it is the new owner's: not in the future, and behind any earlier transfer.

    Raises:
        NotAllowed: ``person_unknown``, ``person_may_not``.
        NotFound: ``plate_not_found``, no charge, stay or entrance of this number and colour was ever told.
        Refused: ``plate_change_invalid``, ``document_invalid``, ``plate_invalid``.
        Conflict: ``plate_change_waiting``, another change of it waits.
    """
    if held_since.tzinfo is None or held_since > at:
        raise Refused("a plate changes hands at a moment that is over, with its offset", code="plate_change_invalid")
    since = in_utc(held_since)
    plate = _proposed_about(tx, number=number, color=color, reason=reason, document=document, by=by, at=at)
    _check_later(plate, since)
    return _propose(
        tx, lane=lane, plate=plate, kind="transfer", held_since=since, reason=reason, document=document, by=by, at=at, ids=ids
    )  # fmt: skip


def erase(
    tx: Connection, *, lane: int, number: str, color: PlateColor, reason: str, document: Paper, by: str, at: datetime, ids: Ids
) -> Change:  # fmt: skip
    """Propose that nothing leads from a plate to a person any more; nothing changes until another person approves it.

    Holds the plate.

    Raises:
        As ``transfer``; Conflict: ``plate_in_use``, something is open that needs it.
    """
    plate = _proposed_about(tx, number=number, color=color, reason=reason, document=document, by=by, at=at)
    _check_unused(tx, lane=lane, plate=plate)
    return _propose(
        tx, lane=lane, plate=plate, kind="erasure", held_since=None, reason=reason, document=document, by=by, at=at, ids=ids
    )  # fmt: skip


def approve(tx: Connection, *, lane: int, change_id: UUID, by: str, note: str | None = None, at: datetime) -> Change:
    """Approve a change and carry it out; it is sealed. Holds the plate, then the change.

    Raises:
        NotFound: ``plate_change_not_found``.
        NotAllowed: ``person_unknown``, ``person_may_not``, ``same_person``.
        Conflict: ``plate_change_made``; ``plate_in_use``.
        Refused: ``plate_change_invalid``, the plate changed hands later meanwhile.
    """
    waiting, plate = _for_decision(tx, lane=lane, change_id=change_id, by=by, note=note, at=at)
    if waiting.kind == "transfer":
        assert waiting.held_since is not None, "a transfer has its moment"
        _check_later(plate, waiting.held_since)
        store.hand_over(tx, lane=lane, plate_id=plate.plate_id, held_since=waiting.held_since, at=at)
    else:
        _check_unused(tx, lane=lane, plate=plate)
    store.decide(tx, lane=lane, change_id=change_id, state="approved", by=by, note=_words(note), at=at)
    if waiting.kind == "erasure":
        store.erase(tx, lane=lane, plate_id=plate.plate_id, at=at)
    return _sealed(tx, lane=lane, change_id=change_id, at=at)


def reject(tx: Connection, *, lane: int, change_id: UUID, by: str, note: str, at: datetime) -> Change:
    """Reject a change with the second person's words; nothing happens to the plate. Raises as ``approve``."""
    if not note.strip():
        raise Refused("say why it is rejected", code="plate_change_invalid")
    _for_decision(tx, lane=lane, change_id=change_id, by=by, note=note, at=at)
    store.decide(tx, lane=lane, change_id=change_id, state="rejected", by=by, note=_words(note), at=at)
    return _sealed(tx, lane=lane, change_id=change_id, at=at)


def listed(
    tx: Connection, *, lane: int, state: State | None = None, number: str | None = None, limit: int = 100
) -> list[Seen]:  # fmt: skip
    """Return changes, the newest first; of one number those of every colour."""
    return store.changes(tx, lane=lane, state=state, number=None if number is None else plates.checked(number), limit=limit)


def lookups(tx: Connection, *, number: str | None = None, limit: int = 100) -> list[Lookup]:
    """Return who saw or exported everything about plates, the newest first."""
    return store.lookups(tx, number=None if number is None else plates.checked(number), limit=limit)


def sealed_content(change: Change) -> dict[str, object]:
    """Return what of a change is sealed beside the entries: keys and digests, nothing that names a person or a car."""
    content = msgspec.structs.asdict(change)
    return {name: content[name] for name in content if name not in ("reason", "decided_note", "document_name")}


def _proposed_about(
    tx: Connection, *, number: str, color: PlateColor, reason: str, document: Paper, by: str, at: datetime
) -> Plate:  # fmt: skip
    """Return the plate of a proposal that has the form of one, holding it."""
    people.maker(tx, person_code=by, at=at)
    if not 0 < len(reason.strip()) <= REASON_LETTERS_MAX:
        raise Refused(f"say why, in 1 to {REASON_LETTERS_MAX} characters", code="plate_change_invalid")
    if not 0 < len(document.name.strip()) <= 200 or len(document.digest) != hashlib.sha256().digest_size:
        raise Refused("name the document in 1 to 200 characters, with its SHA-256", code="document_invalid")
    found = store.find(tx, number=plates.checked(number, color), color=color, lock=True)
    if found is None:
        raise NotFound(f"no {color} plate of this number was ever told here", code="plate_not_found")
    return found


def _check_later(plate: Plate, since: datetime) -> None:
    if plate.held_since is not None and since <= plate.held_since:
        raise Refused(
            f"the plate changed hands at {plate.held_since.isoformat()} already; a transfer comes behind it",
            code="plate_change_invalid",
        )


def _check_unused(tx: Connection, *, lane: int, plate: Plate) -> None:
    if still := store.still_open(tx, lane=lane, plate_id=plate.plate_id):
        raise Conflict(f"the plate cannot be forgotten yet: {'; '.join(still)}", code="plate_in_use")


def _propose(
    tx: Connection, *, lane: int, plate: Plate, kind: Kind, held_since: datetime | None, reason: str, document: Paper, by: str,
    at: datetime, ids: Ids,
) -> Change:  # fmt: skip
    made = Change(
        change_id=ids.new(at, f"plate change {kind} {plate.plate_id}"), plate_id=plate.plate_id, kind=kind, held_since=held_since,
        reason=reason.strip(), document_name=document.name.strip(), document_digest=document.digest, state="proposed",
        proposed_by=by, proposed_at=at, decided_by=None, decided_at=None, decided_note=None,
    )  # fmt: skip
    if not store.insert(tx, lane=lane, change=made, document_bytes=document.body):
        raise Conflict("another change of this plate waits; approve or reject it first", code="plate_change_waiting")
    return made


def _for_decision(
    tx: Connection, *, lane: int, change_id: UUID, by: str, note: str | None, at: datetime
) -> tuple[Change, Plate]:  # fmt: skip
    """Return a proposal that this person may decide, and its plate; holds the plate, then the proposal, as proposers do."""
    people.checker(tx, person_code=by, at=at)
    if note is not None and len(note.strip()) > REASON_LETTERS_MAX:
        raise Refused(f"say it in at most {REASON_LETTERS_MAX} characters", code="plate_change_invalid")
    known = store.change(tx, lane=lane, change_id=change_id)
    if known is None:
        raise NotFound(f"there is no change {change_id} of a plate", code="plate_change_not_found")
    plate = store.hold(tx, plate_id=known.plate_id)
    found = store.change(tx, lane=lane, change_id=change_id, lock=True)
    assert found is not None, "changes are never deleted"
    if found.state != "proposed":
        raise Conflict(f"the change is {found.state} already, by {found.decided_by}", code="plate_change_made")
    if found.proposed_by == by:
        raise NotAllowed("whoever proposed it does not decide it; another person has to", code="same_person")
    return found, plate


def _words(note: str | None) -> str | None:
    return None if note is None or not note.strip() else note.strip()


def _sealed(tx: Connection, *, lane: int, change_id: UUID, at: datetime) -> Change:
    """Return a change as it is now, sealed."""
    made = store.change(tx, lane=lane, change_id=change_id)
    assert made is not None, "it was held"
    document = documents.of(
        kind=DocumentKind.DECISION, document_id=change_id, content=sealed_content(made), happened_at=at
    )  # fmt: skip
    documents.record(tx, lane=lane, documents=[document], at=at)
    return made
