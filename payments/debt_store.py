"""The questions that debts ask of PostgreSQL. Private to this room."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

Basis = Literal["mandate", "policy", "escaped", "card", "taken_back"]
"""mandate, policy: the car left first by the plate's mandate or by the lot's rule. escaped: it left without leave. card: its card
paid at the lane and the issuer decides. taken_back: the channel took its money back."""


class OpenDebt(Struct, frozen=True, kw_only=True):
    """A debt as it was opened."""

    charge_id: UUID
    operator_id: int
    lot_id: int
    book_id: int
    lot_serial: str
    owed_fen: int
    basis: Basis
    opened_at: datetime
    due_on: date


def open_debts(tx: Connection, *, lane: int, left: Sequence[tuple[UUID, Basis, datetime]]) -> list[OpenDebt]:
    """Make debts of open charges that are none yet, holding the charges in the order of their ids; returns them in that order."""
    query = text("""
        with given as materialized (
            select distinct on (charge_id) *
            from unnest(cast(:charges as uuid[]), cast(:bases as text[]), cast(:times as timestamptz[]))
                 with ordinality as g (charge_id, basis, left_at, place)
            order by charge_id, place
        ), held as materialized (
            select c.charge_id, g.basis, g.left_at from payments.charge c join given g on g.charge_id = c.charge_id
            where c.lane = :lane and c.state = 'open' and not c.is_receivable
            order by c.charge_id for update of c
        ), owed as (
            update payments.charge c set is_receivable = true, left_at = coalesce(c.left_at, h.left_at)
            from held h where c.lane = :lane and c.charge_id = h.charge_id
            returning c.charge_id, c.operator_id, c.lot_id, c.plate_id, c.lot_serial, h.basis, h.left_at as opened_at,
                      c.amount_fen - c.paid_fen - c.reduced_fen as owed_fen
        ), due as (
            select o.*, (o.opened_at at time zone 'Asia/Shanghai')::date
                        + payments.due_days_v1(o.operator_id, o.lot_id, o.opened_at) as due_on
            from owed o
        ), made as (
            insert into payments.debt
                (charge_id, lane, operator_id, lot_id, plate_id, owed_fen, basis, opened_at, due_on, limitation_on)
            select charge_id, :lane, operator_id, lot_id, plate_id, owed_fen, basis, opened_at, due_on, due_on + interval '3 years'
            from due
        )
        select d.charge_id, d.operator_id, d.lot_id, o.book_id, d.lot_serial, d.owed_fen, d.basis, d.opened_at, d.due_on
        from due d join payments.operator o on o.operator_id = d.operator_id
        order by d.charge_id
        """)
    charges, bases, times = ([one[place] for one in left] for place in range(3))
    asked = {"lane": lane, "charges": charges, "bases": bases, "times": times}
    return [OpenDebt(**row._mapping) for row in tx.execute(query, asked)]
