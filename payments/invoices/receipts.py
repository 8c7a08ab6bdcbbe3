"""Receipts 凭证: what a payment that took money says about itself, its stay and what went back.

Knows payments, charges and refunds as they are kept; must not know HTTP, seals or issuers. Called by the pages.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.plates import PlateColor


class Back(Struct, frozen=True, kw_only=True):
    """Money that went back, or is on its way back, to the payer."""

    refund_id: UUID
    amount_fen: int
    state: str
    done_at: datetime | None
    created_at: datetime


class Receipt(Struct, frozen=True, kw_only=True):
    """A payment that took money. ``plate`` is the full number: mask it before it is shown. Amounts in fen."""

    payment_id: UUID
    lane: int
    operator_id: int
    operator_name: str
    credit_code: str
    lot_id: int
    lot_name: str
    charge_id: UUID
    charge_serial: str
    plate: str
    plate_color: PlateColor
    entered_at: datetime
    left_at: datetime | None
    minutes: int
    tariff_text: str
    charge_fen: int
    """What the stay cost before anything was taken off."""
    reduced_fen: int
    """What discounts, credit notes and waivers took off the charge."""
    channel: str
    trade_no: str
    taken_fen: int
    paid_at: datetime
    is_taken_back: bool
    counts: bool
    """It paid for the charge, in full or in part; else nothing was owed for it and it goes back by itself."""
    backs: tuple[Back, ...] = ()

    @property
    def done_back_fen(self) -> int:
        """What has gone back."""
        return sum(one.amount_fen for one in self.backs if one.state == "done")

    @property
    def promised_back_fen(self) -> int:
        """What is on its way back."""
        return sum(one.amount_fen for one in self.backs if one.state in ("promised", "pending", "stuck"))

    @property
    def left_fen(self) -> int:
        """What is left of it: neither gone back nor promised; 0 when the channel took it back."""
        return 0 if self.is_taken_back else self.taken_fen - self.done_back_fen - self.promised_back_fen


def of_payments(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> list[Receipt]:
    """Return the receipts of payments in the order given, in two questions; those that took no money are left out."""
    if not payment_ids:
        return []
    given = {"lane": lane, "ids": list(payment_ids)}
    backs: dict[UUID, list[Back]] = {}
    for row in tx.execute(_BACKS, given):
        backs.setdefault(row.payment_id, []).append(
            Back(
                refund_id=row.refund_id, amount_fen=row.amount_fen, state=row.state, done_at=row.done_at, created_at=row.created_at
            )
        )
    rows = tx.execute(_PAID, given)
    found = {row.payment_id: Receipt(**row._mapping, backs=tuple(backs.get(row.payment_id, ()))) for row in rows}
    return [found[one] for one in payment_ids if one in found]


_PAID: Final = text("""
select p.payment_id, p.lane, p.operator_id, o.legal_name as operator_name, o.credit_code, c.lot_id, l.name as lot_name, c.charge_id,
       c.lot_serial as charge_serial, n.number as plate, n.color as plate_color, c.entered_at, c.left_at, c.minutes, c.tariff_text,
       c.amount_fen as charge_fen, c.reduced_fen, p.channel, p.trade_no, p.taken_fen, p.succeeded_at as paid_at,
       p.taken_back_at is not null as is_taken_back, f.treatment in ('settled', 'part') as counts
from payments.payment p
join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
join payments.lot l on l.lot_id = c.lot_id
join payments.operator o on o.operator_id = p.operator_id
join payments.plate n on n.plate_id = c.plate_id
join payments.payment_fact f
  on f.lane = p.lane and f.channel = p.channel and f.merchant_no = p.merchant_no and f.trade_no = p.trade_no
where p.lane = :lane and p.payment_id = any(cast(:ids as uuid[])) and p.state = 'succeeded'
""")
_BACKS: Final = text("""
select payment_id, refund_id, amount_fen, state, done_at, created_at from payments.refund
where lane = :lane and payment_id = any(cast(:ids as uuid[])) and state <> 'closed' order by refund_id
""")
