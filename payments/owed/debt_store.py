"""The questions that debts ask of PostgreSQL. Private to this room."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.arrays import smallint, uuids
from ledger.volley import Question, Statement, ask

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


def release(tx: Connection, *, lane: int, charge_id: UUID, reason: str, left_at: datetime, at: datetime) -> bool:
    """Write that the barrier may open for a car, and when it left unless that is known; says whether that is new."""
    query = text("""
        with made as (
            insert into payments.release (charge_id, lane, reason, released_at) values (:id, :lane, :reason, :at)
            on conflict (charge_id, lane) do nothing returning charge_id
        ), gone as (
            update payments.charge set left_at = :left_at where lane = :lane and charge_id = :id and left_at is null
        )
        select charge_id from made
        """)
    asked = {"lane": lane, "id": charge_id, "reason": reason, "left_at": left_at, "at": at}
    return tx.execute(query, asked).first() is not None


def under_way_by_card(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Return which charges a card has paid at the lane while its issuer has not decided."""
    query = text("""
        select distinct charge_id from payments.payment
        where lane = :lane and charge_id = any(cast(:ids as uuid[])) and way = 'card'
          and state in ('created', 'pending', 'unknown')
        """)
    return frozenset(tx.execute(query, {"lane": lane, "ids": list(charge_ids)}).scalars())


def due_days(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, date]:
    return ask(tx, until_when(lane=lane, charge_ids=charge_ids))


_DUE_DAYS: Final = Statement("""
    select charge_id, due_on from payments.debt where lane = %(lane)s::smallint and charge_id = any(%(ids)s::uuid[])
    """)


def until_when(*, lane: int, charge_ids: Sequence[UUID]) -> Question[dict[UUID, date]]:
    """As ``due_days``."""
    return Question(_DUE_DAYS.shot(lane=smallint(lane), ids=uuids(charge_ids)), dict)


def begin_anew(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], at: datetime) -> None:
    """Let debts of which a card's issuer will never pay be the plates' own, due so many days from now as the rule says."""
    if not charge_ids:
        return
    query = text("""
        update payments.debt d
        set basis = 'taken_back', due_on = n.due_on, limitation_on = n.due_on + interval '3 years'
        from (
            select charge_id, (cast(:at as timestamptz) at time zone 'Asia/Shanghai')::date
                              + payments.due_days_v1(operator_id, lot_id, :at) as due_on
            from payments.debt where lane = :lane and charge_id = any(cast(:ids as uuid[])) order by charge_id for update
        ) n
        where d.lane = :lane and d.charge_id = n.charge_id
        """)
    tx.execute(query, {"lane": lane, "ids": list(charge_ids), "at": at})


# Rules.

_RULE: Final = (
    "operator_id, lot_id, valid_from, document, admits, debts_max, owed_fen_max, overdue_days_max, checks_lists, due_days"
)


def leave_rule(
    tx: Connection, *, operator_id: int | None, lot_id: int | None, valid_from: datetime
) -> dict[str, Any] | None:  # fmt: skip
    """Return the rule of a place that begins at that time."""
    query = text(f"""
        select rule_id, {_RULE} from payments.leave_rule
        where operator_id is not distinct from :operator and lot_id is not distinct from :lot and valid_from = :from
        """)
    row = tx.execute(query, {"operator": operator_id, "lot": lot_id, "from": valid_from}).mappings().first()
    return None if row is None else dict(row)


def insert_leave_rule(tx: Connection, *, values: dict[str, Any], at: datetime) -> int:
    names = ", ".join(f":{name.strip()}" for name in _RULE.split(","))
    query = text(f"insert into payments.leave_rule ({_RULE}, entered_at) values ({names}, :entered_at) returning rule_id")
    return int(tx.execute(query, values | {"entered_at": at}).scalar_one())


def leave_rules(tx: Connection) -> list[dict[str, Any]]:
    """Return all rules, the city's first, each place's in the order of their dates."""
    query = text(
        f"select rule_id, {_RULE} from payments.leave_rule order by operator_id nulls first, lot_id nulls first, valid_from"
    )
    return [dict(row) for row in tx.execute(query).mappings()]


# Mandates.


class Said(Struct, frozen=True):
    """A channel's word about a plate: whether it may be deducted there."""

    number: str
    color: str
    channel: str
    state: Literal["open", "none"]


def remember_mandates(tx: Connection, *, said: Sequence[Said], at: datetime) -> None:
    """Keep what channels say of plates' mandates; a word that is older than the one kept changes nothing.

    Locks the rows in the order of plate and channel.
    """
    if not said:
        return
    query = text("""
        insert into payments.mandate as m (plate_id, channel, state, told_at)
        select p.plate_id, s.channel, min(s.state), :at
        from unnest(cast(:numbers as text[]), cast(:colors as text[]), cast(:channels as text[]), cast(:states as text[]))
             as s (number, color, channel, state)
        join payments.plate p on p.number = s.number and p.color = s.color
        group by p.plate_id, s.channel order by p.plate_id, s.channel
        on conflict (plate_id, channel) do update set state = excluded.state, told_at = excluded.told_at
        where m.told_at <= excluded.told_at
        """)
    columns = {"numbers": "number", "colors": "color", "channels": "channel", "states": "state"}
    tx.execute(query, {"at": at} | {name: [getattr(one, field) for one in said] for name, field in columns.items()})
