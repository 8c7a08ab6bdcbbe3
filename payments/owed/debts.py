"""Debts 欠费: a car left, its charge is owed by the plate and carried by the operator's book as a receivable (1122).

Knows charges, debts and the book; must not know channels, HTTP or who chases a debt. Called by departures and by what cards paid.
A debt is its charge: the applier pays both, in full or in parts; what is left of the charge is what the debt owes, always.
"""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from ledger import book, recipes
from ledger.clock import business_date
from ledger.ids import Ids
from ledger.volley import Question
from payments import events
from payments.owed import debt_store
from payments.owed.debt_store import Basis, OpenDebt


class Left(Struct, frozen=True):
    """A charge whose car left without having paid it, and why that is so."""

    charge_id: UUID
    basis: Basis
    left_at: datetime


def open_debts(
    tx: Connection, *, lane: int, left: Sequence[Left], evidence_id: UUID, at: datetime, ids: Ids
) -> list[OpenDebt]:  # fmt: skip
    """Book charges whose cars have left: earned by their operators, owed by their plates. Returns those that are new debts.

    A charge of which nothing is due, or that is a debt already, is left alone; so this may be repeated. Locks the charges in the
    order of their ids. Lots are told, but not of what a card has paid at the lane: only if its issuer will not pay it is it due.

    Args:
        evidence_id: The message that says that they left.
        at: When they are booked (UTC); they are due so many days after they left as the rule in force says.
    """
    opened = debt_store.open_debts(tx, lane=lane, left=[(one.charge_id, one.basis, one.left_at) for one in left])
    if not opened:
        return []
    entries = [
        recipes.left_unpaid(
            charge_id=debt.charge_id, book_id=debt.book_id, amount_fen=debt.owed_fen, happened_at=debt.opened_at,
            booked_on=business_date(at), evidence_id=evidence_id,
        )
        for debt in opened
    ]  # fmt: skip
    book.post(tx, lane=lane, entries=entries, at=at)
    events.write(tx, lane=lane, rows=[_opened(debt, ids, at) for debt in opened if debt.basis != "card"])
    return opened


def due_days(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, date]:
    """Return until when those of these charges that are debts are to be paid."""
    return debt_store.due_days(tx, lane=lane, charge_ids=charge_ids)


def until_when(*, lane: int, charge_ids: Sequence[UUID]) -> Question[dict[UUID, date]]:
    """As ``due_days``."""
    return debt_store.until_when(lane=lane, charge_ids=charge_ids)


def _opened(debt: OpenDebt, ids: Ids, at: datetime) -> events.NewEvent:
    told = events.DebtEvent(
        kind="debt.opened", charge_serial=debt.lot_serial, amount_fen=debt.owed_fen, owed_fen=debt.owed_fen, at=debt.opened_at,
        reason=debt.basis,
    )  # fmt: skip
    return events.NewEvent(
        ids.new(at, f"debt.opened {debt.charge_id}"), debt.operator_id, debt.lot_id, debt.charge_id, debt.charge_id, told.kind,
        events.encode(told),
    )  # fmt: skip
