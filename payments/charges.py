"""Charges 停车费单: what stays owe, as the lots' parking systems post them, and what is due for a plate.

Knows lots, plates and charges; must not know channels, payments' states or HTTP. Called by the API and the pages.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from ledger.clock import checked as in_utc
from ledger.errors import Refused
from ledger.ids import Ids
from payments import plates, store
from payments.errors import ChargeUnknown
from payments.lots import Lot
from payments.records import Charge, NewCharge, Posted

CHARGES_MAX: Final = 1_000
"""Most charges in one call."""
CHARGE_FEN_MAX: Final = 5_000_000
"""Largest charge: 50,000 yuan. A larger one is a mistake of the lot's system, not a stay."""
STAY_DAYS_MAX: Final = 3 * 366
SERIAL_LETTERS_MAX: Final = 64
TARIFF_LETTERS_MAX: Final = 500
CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""How far a lot's clock may be ahead of ours."""


class _Rejected(Refused):
    """A charge that cannot be taken; carries the name of the field."""

    def __init__(self, field: str, reason: str, detail: str) -> None:
        super().__init__(detail, code=reason)
        self.field = field


def post(tx: Connection, *, lane: int, lot: Lot, charges: Sequence[NewCharge], at: datetime, ids: Ids) -> list[Posted]:
    """Take the charges of one lot, set by set; a wrong one is refused by itself and the others stand.

    May be called again with the same charges: they are ``already``. Takes no lock but the uniqueness of the serials, in the order
    of the serials.

    Raises:
        Refused: ``too_many_charges``.
    """
    if len(charges) > CHARGES_MAX:
        raise Refused(f"at most {CHARGES_MAX} charges fit into one call, not {len(charges)}", code="too_many_charges")
    results: list[Posted | None] = [None] * len(charges)
    first: dict[str, NewCharge] = {}
    for place, charge in enumerate(charges):
        try:
            good = _checked(charge, lot, at)
        except _Rejected as wrong:
            results[place] = _refused(charge.lot_serial, wrong)
        else:
            first.setdefault(good.lot_serial, good)
    created = _insert(tx, lane=lane, lot=lot, charges=first, at=at, ids=ids)
    known = store.charges_by_serial(tx, lane=lane, lot_id=lot.lot_id, serials=sorted(first)) if first else {}
    for place, charge in enumerate(charges):
        if results[place] is None:
            fresh = charge.lot_serial in created
            created.discard(charge.lot_serial)
            results[place] = _result(_checked(charge, lot, at), known[charge.lot_serial], fresh=fresh)
    return [result for result in results if result is not None]


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


def _insert(tx: Connection, *, lane: int, lot: Lot, charges: dict[str, NewCharge], at: datetime, ids: Ids) -> set[str]:
    """Insert what is new, plates first; returns the serials that were."""
    if not charges:
        return set()
    ordered = [charges[serial] for serial in sorted(charges)]
    plate_ids = store.plate_ids(tx, plates=sorted({(charge.plate, charge.plate_color) for charge in ordered}), salt=_salt)
    rows = [
        store.NewChargeRow(
            charge_id=ids.new(at, f"charge {lot.lot_id} {charge.lot_serial}"),
            lot_serial=charge.lot_serial,
            content_digest=hashlib.sha256(msgspec.json.encode(charge)).digest(),
            plate_id=plate_ids[charge.plate, charge.plate_color],
            scene=charge.scene or lot.scene,
            entered_at=charge.entered_at,
            left_at=charge.left_at,
            minutes=charge.minutes,
            amount_fen=charge.amount_fen,
            tariff_text=charge.tariff_text,
        )
        for charge in ordered
    ]
    return store.insert_charges(tx, lane=lane, operator_id=lot.operator_id, lot_id=lot.lot_id, charges=rows, at=at)


def _salt() -> bytes:
    return secrets.token_bytes(16)


def _checked(charge: NewCharge, lot: Lot, at: datetime) -> NewCharge:
    """Return a charge in the form in which it is kept. Raises _Rejected for one that cannot be true."""
    if not 0 < len(charge.lot_serial) <= SERIAL_LETTERS_MAX or not charge.lot_serial.isprintable():
        raise _Rejected("lot_serial", "serial_invalid", f"a serial has 1 to {SERIAL_LETTERS_MAX} printable characters")
    if not 0 < charge.amount_fen <= CHARGE_FEN_MAX:
        raise _Rejected("amount_fen", "amount_invalid", f"a charge is 1 to {CHARGE_FEN_MAX} fen, not {charge.amount_fen}")
    if not 0 < len(charge.tariff_text) <= TARIFF_LETTERS_MAX:
        raise _Rejected("tariff_text", "tariff_invalid", f"the tariff text has 1 to {TARIFF_LETTERS_MAX} characters")
    entered_at, left_at = _times(charge, at)
    if not 0 <= charge.minutes <= STAY_DAYS_MAX * 24 * 60:
        raise _Rejected("minutes", "minutes_invalid", f"{charge.minutes} minutes is no stay")
    try:
        plate = plates.checked(charge.plate, charge.plate_color)
    except Refused as wrong:
        raise _Rejected("plate", "plate_invalid", str(wrong)) from None
    return msgspec.structs.replace(
        charge, plate=plate, entered_at=entered_at, left_at=left_at, scene=charge.scene or lot.scene
    )  # fmt: skip


def _times(charge: NewCharge, at: datetime) -> tuple[datetime, datetime | None]:
    if charge.entered_at.tzinfo is None or (charge.left_at is not None and charge.left_at.tzinfo is None):
        raise _Rejected("entered_at", "time_invalid", "a time needs its offset, such as +08:00")
    entered_at, left_at = in_utc(charge.entered_at), None if charge.left_at is None else in_utc(charge.left_at)
    if max(entered_at, left_at or entered_at) > at + CLOCK_TOLERANCE:
        raise _Rejected("left_at" if left_at else "entered_at", "time_in_future", "the time lies in the future; set its clock")
    if left_at is not None and left_at < entered_at:
        raise _Rejected("left_at", "left_before_entry", "the car cannot have left before it came")
    if at - entered_at > timedelta(days=STAY_DAYS_MAX):
        raise _Rejected("entered_at", "too_old", "the stay began more than three years ago")
    return entered_at, left_at


def _refused(lot_serial: str, wrong: _Rejected) -> Posted:
    return Posted(lot_serial=lot_serial, outcome="refused", reason=wrong.code, field=wrong.field, detail=str(wrong))


_CONTENT: Final = (
    "plate", "plate_color", "entered_at", "left_at", "minutes", "amount_fen", "tariff_text", "scene",
)  # fmt: skip


def _result(posted: NewCharge, kept: Charge, *, fresh: bool) -> Posted:
    for field in _CONTENT:
        if getattr(posted, field) != getattr(kept, field):
            return Posted(
                lot_serial=posted.lot_serial, outcome="refused", charge_id=kept.charge_id, reason="content_differs", field=field,
                detail=f"serial {posted.lot_serial} was posted before with another {field}; a new charge needs a new serial",
            )  # fmt: skip
    return Posted(lot_serial=posted.lot_serial, outcome="created" if fresh else "already", charge_id=kept.charge_id)
