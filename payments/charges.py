"""Charges 停车费单: what stays owe, as the lots' parking systems post them, and what is due for a plate.

Knows lots, plates and charges; must not know channels, payments' states or HTTP. Called by the API and the pages.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from gateways import messages
from ledger.clock import checked as in_utc
from ledger.errors import Refused
from ledger.ids import Ids
from ledger.volley import Question
from payments import charge_store, plates, store
from payments.charge_store import Kept
from payments.errors import ChargeUnknown
from payments.lot_records import charge_caps, intake, numbers
from payments.lot_records.charge_caps import CHARGE_FEN_MAX, Cap
from payments.lot_records.intake import Rejected
from payments.lot_records.numbers import Claimed
from payments.lots import Lot
from payments.records import Charge, NewCharge, Posted
from payments.splitting import splits

CHARGES_MAX: Final = intake.RECORDS_MAX
"""Most charges in one call."""
STAY_DAYS_MAX: Final = intake.STAY_DAYS_MAX
SERIAL_LETTERS_MAX: Final = intake.SERIAL_LETTERS_MAX
TARIFF_LETTERS_MAX: Final = 500
CLOCK_TOLERANCE: Final = intake.CLOCK_TOLERANCE

_digested: Final = msgspec.json.Encoder().encode


class _Good(Struct, gc=False):
    """A charge that can be true, in the form in which it is kept, at its place in the call."""

    place: int
    charge: Kept
    number: int | None
    energy_fen: int | None


def post(
    tx: Connection, *, lane: int, lot: Lot, charges: Sequence[NewCharge], at: datetime, ids: Ids, body: bytes | None = None
) -> list[Posted]:
    """Take the charges of one lot, set by set; a wrong one is refused by itself and the others stand.

    Where a rule says that a stay owes several payees, its charge becomes one for each (``payments.splitting.splits``).

    May be called again with the same charges: they are ``already``. Holds the intake of the lot when any charge has a number; else
    it takes no lock but the uniqueness of the serials, in the order of the serials.

    Args:
        body: The call as it came, kept as evidence when a charge of it is new.

    Raises:
        Refused: ``too_many_charges``.
    """
    if len(charges) > CHARGES_MAX:
        raise Refused(f"at most {CHARGES_MAX} charges fit into one call, not {len(charges)}", code="too_many_charges")
    results: list[Posted | None] = [None] * len(charges)
    good: list[_Good] = []
    cap = charge_caps.of(tx, lot=lot, at=at)
    for place, charge in enumerate(charges):
        try:
            good.append(_Good(place, _checked(charge, lot, cap, at, ids), charge.number, charge.energy_fen))
        except Rejected as wrong:
            results[place] = _refused(charge.lot_serial, wrong)
    if good and splits.are_cut(tx, lot_id=lot.lot_id):
        good = _cut(tx, lane, lot, good, results, at, ids)
    if good:
        _carry_out(tx, lane, lot, good, results, at)
    if body is not None and any(result is not None and result.outcome == "created" for result in results):
        kept = messages.from_lot(operation="charges", body=body, at=at, ids=ids, occasion=lot.code)
        messages.keep(tx, lane=lane, messages=[kept])
    return [result for result in results if result is not None]


def _carry_out(tx: Connection, lane: int, lot: Lot, good: list[_Good], results: list[Posted | None], at: datetime) -> None:
    """Insert what is new, and put the results into their places."""
    claimed = Claimed({})
    if any(one.number is not None for one in good):
        intake.hold(tx, lot_id=lot.lot_id)
        claimed = numbers.claimed(tx, lot_id=lot.lot_id, series="charge", numbers=[one.number for one in good])
    serials = sorted({one.charge.lot_serial for one in good})
    known = charge_store.by_serial(tx, lane=lane, lot_id=lot.lot_id, serials=serials)
    first, wanted = _first(good, known, claimed, results)
    created = _insert(tx, lane, lot, list(first.values()), at)
    if lost := sorted(first.keys() - created):  # somebody posted them at the same moment
        known |= charge_store.by_serial(tx, lane=lane, lot_id=lot.lot_id, serials=lost)
    known |= {serial: first[serial] for serial in created}
    kept = {first[serial].charge_id for serial in created}
    taken = [(number, subject) for number, subject in wanted if subject in kept]
    for one in good:
        if results[one.place] is None:
            results[one.place] = _result(one, known[one.charge.lot_serial], created, claimed)
    intake.write(tx, numbers.registering(lot_id=lot.lot_id, series="charge", taken=taken, at=at))


def _cut(
    tx: Connection, lane: int, lot: Lot, good: list[_Good], results: list[Posted | None], at: datetime, ids: Ids
) -> list[_Good]:  # fmt: skip
    """Cut charges that owe several payees, and put their results into their places; returns those that are not cut."""
    unique = {one.charge.lot_serial: one for one in reversed(good)}
    before = splits.charge_ids_of(tx, lane=lane, lot_id=lot.lot_id, serials=sorted(unique))
    claimed = Claimed({})
    if any(one.number is not None for one in good):
        intake.hold(tx, lot_id=lot.lot_id)
        claimed = numbers.claimed(tx, lot_id=lot.lot_id, series="charge", numbers=[one.number for one in good])
    for serial, one in list(unique.items()):
        try:
            if serial not in before:
                claimed.check(one.number, None)
        except Rejected as wrong:
            results[one.place] = _refused(serial, wrong)
            del unique[serial]
    keys = intake.plate_keys(tx, sorted({(one.charge.plate, one.charge.plate_color) for one in unique.values()}))
    answers = splits.post(
        tx, lane=lane, lot=lot, charges=[one.charge for one in unique.values()],
        plate_ids={plate: found[0] for plate, found in keys.items()},
        energy_fen={serial: one.energy_fen for serial, one in unique.items() if one.energy_fen is not None}, at=at, ids=ids,
    )  # fmt: skip
    for serial, answer in answers.items():
        if answer.outcome == "created" and answer.charge_id is not None:
            claimed.take(unique[serial].number, answer.charge_id)
    intake.write(tx, numbers.registering(lot_id=lot.lot_id, series="charge", taken=claimed.taken, at=at))
    rest: list[_Good] = []
    for one in good:
        told = answers.get(one.charge.lot_serial)
        if told is not None:
            first = unique[one.charge.lot_serial]
            results[one.place] = told if first is one else _again(one, first, told)
        elif results[one.place] is None:
            rest.append(one)
    return rest


def _again(one: _Good, first: _Good, answer: Posted) -> Posted:
    """Return what becomes of a charge whose serial stands before it in the same call."""
    same = all(getattr(one.charge, field) == getattr(first.charge, field) for field in _CONTENT)
    if answer.outcome == "created" and same:
        return msgspec.structs.replace(answer, outcome="already")
    if answer.outcome != "created":
        return answer
    return Posted(
        lot_serial=one.charge.lot_serial, outcome="refused", charge_id=answer.charge_id, reason="content_differs",
        detail="the serial stands twice in this call, with other content; a new charge needs a new serial",
    )  # fmt: skip


def _first(
    good: list[_Good], known: dict[str, Kept], claimed: Claimed, results: list[Posted | None]
) -> tuple[dict[str, Kept], list[tuple[int, UUID]]]:
    """Return the charges that are not there yet, by serial, and their numbers; of a serial that comes twice the first counts."""
    first: dict[str, Kept] = {}
    for one in good:
        serial = one.charge.lot_serial
        if serial in known or serial in first:
            continue
        try:
            claimed.check(one.number, None)
        except Rejected as wrong:
            results[one.place] = _refused(serial, wrong)
            continue
        claimed.take(one.number, one.charge.charge_id)
        first[serial] = one.charge
    return first, claimed.taken


def due(tx: Connection, *, lane: int, lot_id: int, plate: str) -> list[Charge]:
    """Return what is open for a plate at one lot, oldest stay first; any colour of the same number.

    Raises:
        PlateRefused: this is not a plate.
    """
    return store.open_charges(tx, lane=lane, lot_id=lot_id, number=plates.checked(plate))


def due_anywhere(tx: Connection, *, lane: int, plate: str, limit: int) -> list[Charge]:
    """Return what is open for a plate at all lots, oldest stay first; any colour of the same number.

    Whoever only typed the plate may be shown payees and amounts of it, never places and times.

    Raises:
        PlateRefused: this is not a plate.
    """
    return store.open_charges_anywhere(tx, lane=lane, number=plates.checked(plate), limit=limit)


def by_serial(tx: Connection, *, lane: int, lot_id: int, lot_serial: str) -> Charge:
    """Return a lot's charge. Raises ChargeUnknown."""
    found = store.charges_by_serial(tx, lane=lane, lot_id=lot_id, serials=[lot_serial])
    if lot_serial not in found:
        raise ChargeUnknown(f"the lot has no charge {lot_serial[:SERIAL_LETTERS_MAX]!r}")
    return found[lot_serial]


def by_id(tx: Connection, *, lane: int, charge_id: UUID) -> Charge:
    """Return a charge. Raises ChargeUnknown."""
    found = store.charge(tx, lane=lane, charge_id=charge_id)
    if found is None:
        raise ChargeUnknown(f"there is no charge {charge_id}")
    return found


def which_charge(*, lane: int, charge_id: UUID) -> Question[Charge | None]:
    """The charge of an id, where there is one."""
    return store.which_charge(lane=lane, charge_id=charge_id)


def _insert(tx: Connection, lane: int, lot: Lot, charges: list[Kept], at: datetime) -> set[str]:
    """Insert what is new, plates first, in the order of the serials; returns the serials that were."""
    if not charges:
        return set()
    ordered = sorted(charges, key=lambda charge: charge.lot_serial)
    keys = intake.plate_keys(tx, sorted({(charge.plate, charge.plate_color) for charge in ordered}))
    return charge_store.insert(
        tx, lane=lane, lot=lot, charges=ordered, plates=[keys[charge.plate, charge.plate_color][0] for charge in ordered],
        digests=[_digest(charge) for charge in ordered], at=at,
    )  # fmt: skip


def _digest(charge: Kept) -> bytes:
    """Return the SHA-256 of a charge's content."""
    content = (
        charge.lot_serial, charge.plate, charge.plate_color, charge.entered_at, charge.left_at, charge.minutes, charge.amount_fen,
        charge.tariff_text, charge.scene,
    )  # fmt: skip
    return hashlib.sha256(_digested(content)).digest()


def _checked(charge: NewCharge, lot: Lot, cap: Cap, at: datetime, ids: Ids) -> Kept:
    """Return a charge in the form in which it is kept. Raises Rejected for one that cannot be true."""
    serial = charge.lot_serial
    if not 0 < len(serial) <= SERIAL_LETTERS_MAX or not serial.isprintable():
        raise Rejected("lot_serial", "serial_invalid", f"a serial has 1 to {SERIAL_LETTERS_MAX} printable characters")
    intake.check_name(serial, charge.number)
    if not 0 < charge.amount_fen <= CHARGE_FEN_MAX:
        raise Rejected("amount_fen", "amount_invalid", f"a charge is 1 to {CHARGE_FEN_MAX} fen, not {charge.amount_fen}")
    if not 0 < len(charge.tariff_text) <= TARIFF_LETTERS_MAX:
        raise Rejected("tariff_text", "tariff_invalid", f"the tariff text has 1 to {TARIFF_LETTERS_MAX} characters")
    entered_at, left_at = _times(charge, at)
    if not 0 <= charge.minutes <= STAY_DAYS_MAX * 24 * 60:
        raise Rejected("minutes", "minutes_invalid", f"{charge.minutes} minutes is no stay")
    if not cap.allows(charge.amount_fen, charge.minutes):
        most = f"{cap.charge_fen_max} fen" + ("" if cap.day_fen_max is None else f", and {cap.day_fen_max} for each begun 24 hours")
        raise Rejected("amount_fen", "amount_above_lot_cap", f"a stay costs at most {most} at this lot; let a person look at it")
    return Kept(
        ids.new(at, f"charge {lot.lot_id} {serial}"), serial, intake.plate(charge.plate, charge.plate_color), charge.plate_color,
        entered_at, left_at, charge.minutes, charge.amount_fen, charge.tariff_text, charge.scene or lot.scene,
    )  # fmt: skip


def _times(charge: NewCharge, at: datetime) -> tuple[datetime, datetime | None]:
    if charge.entered_at.tzinfo is None or (charge.left_at is not None and charge.left_at.tzinfo is None):
        raise Rejected("entered_at", "time_invalid", "a time needs its offset, such as +08:00")
    entered_at, left_at = in_utc(charge.entered_at), None if charge.left_at is None else in_utc(charge.left_at)
    if max(entered_at, left_at or entered_at) > at + CLOCK_TOLERANCE:
        raise Rejected("left_at" if left_at else "entered_at", "time_in_future", "the time lies in the future; set its clock")
    if left_at is not None and left_at < entered_at:
        raise Rejected("left_at", "left_before_entry", "the car cannot have left before it came")
    if at - entered_at > intake.OLDEST:
        raise Rejected("entered_at", "too_old", "the stay began more than three years ago")
    return entered_at, left_at


def _refused(lot_serial: str, wrong: Rejected) -> Posted:
    return Posted(lot_serial=lot_serial, outcome="refused", reason=wrong.code, field=wrong.field, detail=str(wrong))


_CONTENT: Final = (
    "plate", "plate_color", "entered_at", "left_at", "minutes", "amount_fen", "tariff_text", "scene",
)  # fmt: skip


def _result(one: _Good, kept: Kept, created: set[str], claimed: Claimed) -> Posted:
    """Return what became of a charge; of a serial that comes twice the first is the one that was created."""
    posted = one.charge
    serial = posted.lot_serial
    if posted is not kept:
        for field in _CONTENT:
            if getattr(posted, field) != getattr(kept, field):
                return Posted(
                    lot_serial=serial, outcome="refused", charge_id=kept.charge_id, reason="content_differs", field=field,
                    detail=f"serial {serial} was posted before with another {field}; a new charge needs a new serial",
                )  # fmt: skip
        try:
            claimed.check(one.number, kept.charge_id)
        except Rejected as wrong:
            return _refused(serial, wrong)
    fresh = serial in created
    created.discard(serial)
    return Posted(lot_serial=serial, outcome="created" if fresh else "already", charge_id=kept.charge_id)
