"""Billing anew 更正重开: the new bill that stands for a charge that was taken away, as a debt where the old one was a debt.

Knows charges and debts; must not know notes, refunds or HTTP. Called by ``corrections``.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from ledger.clock import checked as in_utc
from ledger.ids import Ids
from payments import charges
from payments.amends import correction_store
from payments.amends.correction_store import Held
from payments.lot_records.intake import Rejected
from payments.lots import Lot
from payments.owed import debts
from payments.owed.debt_store import Basis
from payments.owed.debts import Left
from payments.records import NewCharge, Posted


class Replacing(Struct, frozen=True):
    """A new bill and the charge, held, that it stands for."""

    bill: NewCharge
    old: Held


def bill(
    tx: Connection, *, lane: int, lot: Lot, replacing: Sequence[Replacing], evidence_id: UUID, at: datetime, ids: Ids
) -> list[Rejected | None]:
    """Post new bills, those of debts as debts at once. Returns for each, in order, why it is refused; None: it is posted."""
    if not replacing:
        return []
    posted = charges.post(tx, lane=lane, lot=lot, charges=[one.bill for one in replacing], at=at, ids=ids)
    refused = [None if result.outcome == "created" else _refusal(result) for result in posted]
    owing = [one for one, wrong in zip(replacing, refused, strict=True) if wrong is None and one.old.is_receivable]
    if owing:
        _owe(tx, lane=lane, lot=lot, owing=owing, evidence_id=evidence_id, at=at, ids=ids)
    return refused


def _owe(
    tx: Connection, *, lane: int, lot: Lot, owing: Sequence[Replacing], evidence_id: UUID, at: datetime, ids: Ids
) -> None:  # fmt: skip
    """Make debts of new bills whose old charges were debts."""
    bills = correction_store.bills(tx, lane=lane, lot_id=lot.lot_id, serials=[one.bill.lot_serial for one in owing])
    left = [
        Left(charge_id, _basis(one.old.basis), _left_at(one)) for one in owing for charge_id in bills.get(one.bill.lot_serial, [])
    ]
    debts.open_debts(tx, lane=lane, left=left, evidence_id=evidence_id, at=at, ids=ids)


def _refusal(result: Posted) -> Rejected:
    """Return the refusal of a correction whose new bill is refused; one that is there already is no new bill."""
    if result.reason is None:
        return Rejected("new.lot_serial", "new_serial_taken", "the new charge is posted already; cancel the old one, without a new")
    return Rejected(f"new.{result.field or 'lot_serial'}", result.reason, result.detail or result.reason)


def _basis(old: Basis | None) -> Basis:
    """Return why a new bill is owed: as the old one was, unless that speaks of a payment that the new one never had."""
    return "policy" if old in (None, "card", "taken_back") else old


def _left_at(one: Replacing) -> datetime:
    """Return since when a new bill is owed."""
    said = one.bill.left_at or one.old.left_at or one.old.opened_at
    assert said is not None, "a debt has a moment at which it began"
    return in_utc(said)
