"""The limitation clock 诉讼时效: three years from the due date, begun anew by each act that the law names.

Knows dates, acts and debts; must not know how an act is proven. Called by sending, instalments, the debt file and the command line.
Source: Civil Code art. 188 (three years), art. 195 (a demand, or the debtor's agreement, begins them anew), art. 192 (after their
end only the debtor's agreement does).
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments import store

YEARS: Final = 3
ActKind = Literal["demand", "part_paid", "instalments", "acknowledged"]
"""demand: a reminder whose arrival is proven. part_paid: the debtor paid a part. instalments: the debtor agreed to pay in parts.
acknowledged: the debtor said that it is owed."""
BY_DEBTOR: Final = frozenset({"part_paid", "instalments", "acknowledged"})


class Act(Struct, frozen=True, order=True):
    """What begins the years anew for a debt. ``source_id`` is the reminder, payment, plan or case."""

    act_on: date
    kind: ActKind
    charge_id: UUID
    source_id: UUID


class Ending(Struct, frozen=True, kw_only=True):
    """A debt whose years end soon."""

    charge_id: UUID
    operator_id: int
    owed_fen: int
    due_on: date
    limitation_on: date
    is_disputed: bool


def years_later(day: date, years: int = YEARS) -> date:
    """Return the same day so many years later; the 29th of February becomes the 28th."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return day.replace(year=day.year + years, day=28)


def ends_on(due_on: date, acts: Iterable[Act]) -> date:
    """Return the last day on which a debt can be claimed: pure, by the acts in the order of their days.

    A demand after the end does nothing; what the debtor does begins the years anew even then.
    """
    end = years_later(due_on)
    for act in sorted(acts):
        if act.act_on <= end or act.kind in BY_DEBTOR:
            end = max(end, years_later(act.act_on))
    return end


def begin_anew(tx: Connection, *, lane: int, acts: Sequence[Act]) -> int:
    """Write acts down and move the ends of their debts' years; returns how many acts were new. May be called again with the same.

    Holds the charges in the order of their ids.
    """
    if not acts:
        return 0
    charge_ids = sorted({act.charge_id for act in acts})
    store.hold_charges(tx, lane=lane, charge_ids=charge_ids)
    made = tx.execute(
        text("""
        insert into payments.limitation_act (charge_id, lane, act_on, kind, source_id)
        select charge_id, :lane, act_on, kind, source_id
        from unnest(cast(:charges as uuid[]), cast(:days as date[]), cast(:kinds as text[]), cast(:sources as uuid[]))
             as a (charge_id, act_on, kind, source_id)
        on conflict (charge_id, kind, source_id, lane) do nothing
        """),
        {
            "lane": lane, "charges": [act.charge_id for act in acts], "days": [act.act_on for act in acts],
            "kinds": [act.kind for act in acts], "sources": [act.source_id for act in acts],
        },
    ).rowcount  # fmt: skip
    _move_ends(tx, lane=lane, charge_ids=charge_ids)
    return int(made)


def void(tx: Connection, *, lane: int, source_id: UUID, at: datetime) -> int:
    """Let the acts of a source not count any more, because its proof proved wrong; returns how many debts it concerned."""
    query = text("select charge_id from payments.limitation_act where lane = :lane and source_id = :source and void_at is null")
    charge_ids = sorted(tx.execute(query, {"lane": lane, "source": source_id}).scalars())
    if charge_ids:
        store.hold_charges(tx, lane=lane, charge_ids=charge_ids)
        tx.execute(
            text("""
            update payments.limitation_act set void_at = :at
            where lane = :lane and source_id = :source and charge_id = any(cast(:charges as uuid[])) and void_at is null
            """),
            {"lane": lane, "source": source_id, "charges": charge_ids, "at": at},
        )
        _move_ends(tx, lane=lane, charge_ids=charge_ids)
    return len(charge_ids)


def acts_of(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, list[Act]]:
    """Return the acts that count, by debt, in the order of their days."""
    rows = tx.execute(
        text("""
        select act_on, kind, charge_id, source_id from payments.limitation_act
        where lane = :lane and charge_id = any(cast(:charges as uuid[])) and void_at is null
        """),
        {"lane": lane, "charges": list(charge_ids)},
    )
    found: dict[UUID, list[Act]] = {}
    for act in sorted(Act(*row) for row in rows):
        found.setdefault(act.charge_id, []).append(act)
    return found


def ending(tx: Connection, *, lane: int, until: date, operator_id: int | None = None, limit: int = 1_000) -> list[Ending]:
    """Return the open debts whose years end on or before a day, the earliest first: they want a proven demand or a claim."""
    rows = tx.execute(
        text("""
        select charge_id, operator_id, owed_fen, due_on, limitation_on, disputed_at is not null as is_disputed
        from payments.debt
        where lane = :lane and owed_fen > 0 and limitation_on <= :until
          and (cast(:operator as integer) is null or operator_id = :operator)
        order by limitation_on, charge_id limit :limit
        """),
        {"lane": lane, "until": until, "operator": operator_id, "limit": limit},
    )
    return [Ending(**row._mapping) for row in rows]


def _move_ends(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> None:
    acts = acts_of(tx, lane=lane, charge_ids=charge_ids)
    due = tx.execute(
        text("""
        select charge_id, due_on from payments.debt where lane = :lane and charge_id = any(cast(:charges as uuid[]))
        order by charge_id
        """),
        {"lane": lane, "charges": list(charge_ids)},
    ).all()
    tx.execute(
        text("""
        update payments.debt d set limitation_on = u.ends_on
        from unnest(cast(:charges as uuid[]), cast(:ends as date[])) as u (charge_id, ends_on)
        where d.lane = :lane and d.charge_id = u.charge_id and d.limitation_on <> u.ends_on
        """),
        {
            "lane": lane, "charges": [row.charge_id for row in due],
            "ends": [ends_on(row.due_on, acts.get(row.charge_id, ())) for row in due],
        },
    )  # fmt: skip
