"""Lists of debts for lots, operators and the staff: masked plates, page by page.

Knows debts and lots; must not know HTTP. Called by the API and the command line.
"""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments import plates

LIMIT_MAX = 1_000
State = Literal["open", "reserved", "disputed", "settled", "waived", "written_off", "credited"]


class DebtLine(Struct, frozen=True, kw_only=True):
    """A debt as a list shows it. ``step`` is the last reminder's, 0: none; ``after`` of the next page is ``charge_id``."""

    charge_id: UUID
    operator: str
    lot: str
    lot_serial: str
    plate: str
    amount_fen: int
    paid_fen: int
    reduced_fen: int
    owed_fen: int
    basis: str
    state: State
    left_at: datetime
    due_on: date
    overdue_days: int
    limitation_on: date
    disputed_at: datetime | None
    paused_until: date | None
    step: int


class Scope(Struct, frozen=True, kw_only=True):
    """Whose debts: each given name narrows them."""

    operator_id: int | None = None
    lot_id: int | None = None
    district: str | None = None
    plate: str | None = None
    """A plate in full, any colour."""


def listed(
    tx: Connection, *, lane: int, scope: Scope, today: date, state: State | None = None, only_owed: bool = True,
    after: UUID | None = None, limit: int = 100,
) -> list[DebtLine]:  # fmt: skip
    """Return debts in the order of their charges, the oldest first, those behind ``after``; the plate is masked."""
    rows = tx.execute(
        text("""
        select v.charge_id, o.code as operator, l.code as lot, v.lot_serial, p.number as plate, v.amount_fen, v.paid_fen,
               v.reduced_fen, v.owed_fen, v.basis, v.state, v.opened_at as left_at, v.due_on,
               greatest(0, cast(:today as date) - v.due_on) as overdue_days, v.limitation_on, v.disputed_at, v.paused_until,
               coalesce(s.step, 0) as step
        from payments.v_debt v
        join payments.lot l on l.lot_id = v.lot_id
        join payments.operator o on o.operator_id = v.operator_id
        join payments.plate p on p.plate_id = v.plate_id
        left join payments.debt_step s on s.lane = v.lane and s.charge_id = v.charge_id
        where v.lane = :lane and (not :only_owed or v.owed_fen > 0)
          and (cast(:operator as integer) is null or v.operator_id = :operator)
          and (cast(:lot as integer) is null or v.lot_id = :lot)
          and (cast(:district as text) is null or l.district = :district)
          and (cast(:plate as text) is null or p.number = :plate)
          and (cast(:state as text) is null or v.state = :state)
          and (cast(:after as uuid) is null or v.charge_id > :after)
        order by v.charge_id limit :limit
        """),
        {
            "lane": lane, "today": today, "operator": scope.operator_id, "lot": scope.lot_id, "district": scope.district,
            "plate": None if scope.plate is None else plates.checked(scope.plate), "state": state, "only_owed": only_owed,
            "after": after, "limit": max(1, min(limit, LIMIT_MAX)),
        },
    )  # fmt: skip
    return [DebtLine(**{**row._mapping, "plate": plates.masked(row.plate)}) for row in rows]
