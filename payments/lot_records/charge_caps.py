"""The most that one stay may cost at a lot: dated, with its document. A larger charge is a mistake of the lot's system, not a stay.

Knows its own rows; must not know charges. Called by the intake of charges and by the command line.
"""

from datetime import datetime
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.errors import Conflict, Refused
from payments.lots import Lot

CHARGE_FEN_MAX: Final = 5_000_000
"""Largest charge anywhere: 50,000 yuan."""
_DAY: Final = 24 * 60


class Cap(Struct, frozen=True):
    """What counts for a lot now: for a whole charge, and for each begun 24 hours of its stay where that is limited, in fen."""

    charge_fen_max: int = CHARGE_FEN_MAX
    day_fen_max: int | None = None

    def allows(self, amount_fen: int, minutes: int) -> bool:
        """Say whether a charge of so many fen can be for so many minutes."""
        days = max(1, -(-minutes // _DAY))
        return amount_fen <= self.charge_fen_max and (self.day_fen_max is None or amount_fen <= days * self.day_fen_max)


class NewCap(Struct, frozen=True, kw_only=True):
    """A cap to be entered: of a lot, of all lots of an operator, or of the whole city."""

    operator_id: int | None = None
    lot_id: int | None = None
    valid_from: datetime
    document: str
    charge_fen_max: int
    day_fen_max: int | None = None


def of(tx: Connection, *, lot: Lot, at: datetime) -> Cap:
    """Return the cap that counts: the lot's, else its operator's, else the city's, of each the latest that has begun."""
    query = text("""
        select charge_fen_max, day_fen_max from payments.charge_cap
        where (operator_id is null or operator_id = :operator) and (lot_id is null or lot_id = :lot) and valid_from <= :at
        order by lot_id nulls last, operator_id nulls last, valid_from desc limit 1
        """)
    row = tx.execute(query, {"operator": lot.operator_id, "lot": lot.lot_id, "at": at}).first()
    return Cap() if row is None else Cap(row.charge_fen_max, row.day_fen_max)


def enter(tx: Connection, *, cap: NewCap, at: datetime) -> None:
    """Enter a cap that counts from its date on.

    Raises:
        Refused: ``charge_cap_invalid``, no document, a lot without its operator, an amount that cannot be, or a date in the past.
        Conflict: ``charge_cap_conflict``, another cap of the same place begins at that time.
    """
    limits = [cap.charge_fen_max, cap.charge_fen_max if cap.day_fen_max is None else cap.day_fen_max]
    if not all(0 < one <= CHARGE_FEN_MAX for one in limits):
        raise Refused(f"a cap is 1 to {CHARGE_FEN_MAX} fen", code="charge_cap_invalid")
    if not cap.document.strip() or cap.valid_from < at or (cap.lot_id is not None and cap.operator_id is None):
        raise Refused("a cap needs its document, begins now or later, and a lot's its operator", code="charge_cap_invalid")
    made = tx.execute(
        text("""
        insert into payments.charge_cap (operator_id, lot_id, valid_from, document, charge_fen_max, day_fen_max, entered_at)
        values (:operator, :lot, :from, :document, :charge, :day, :at) on conflict do nothing
        """),
        {
            "operator": cap.operator_id, "lot": cap.lot_id, "from": cap.valid_from, "document": cap.document,
            "charge": cap.charge_fen_max, "day": cap.day_fen_max, "at": at,
        },
    )  # fmt: skip
    if made.rowcount == 0:
        raise Conflict("another cap of this place begins at that time; let this one begin later", code="charge_cap_conflict")
