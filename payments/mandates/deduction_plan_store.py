"""The questions that the plan of deductions asks of PostgreSQL. Private to this room."""

from collections.abc import Sequence
from datetime import datetime, time
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text


class Due(Struct, frozen=True):
    """A debt that is tried now."""

    charge_id: UUID
    lot_id: int
    lot_serial: str
    tries: int


class TryRow(Struct, frozen=True):
    """What became of one try over one channel."""

    charge_id: UUID
    tried_at: datetime
    channel: str
    state: str
    reason: str | None


class Next(Struct, frozen=True):
    """When a debt is tried next: never (``over``), at ``due_at`` without counting (``wait``), else at the rule's next time."""

    charge_id: UUID
    over: bool = False
    wait: bool = False
    due_at: datetime | None = None


_HAS_MANDATE: Final = "exists (select from payments.mandate m where m.plate_id = d.plate_id and m.state = 'open')"
_ITS_OWNERS: Final = """(p.held_since is null or exists (
    select from payments.charge h where h.lane = d.lane and h.charge_id = d.charge_id and h.entered_at >= p.held_since))"""
"""The stay is of whoever has the plate ``p`` now: what an owner before owes is never taken by the mandate of the next one."""


def begin(
    tx: Connection, *, lane: int, charge_ids: Sequence[UUID], due_at: datetime | None, behind: datetime | None
) -> None:  # fmt: skip
    """Plan debts whose plates have a mandate; one that is planned already stays as it is."""
    query = text(f"""
        insert into payments.deduction_plan (charge_id, lane, due_at)
        select charge_id, lane, at from (
            select d.charge_id, d.lane,
                   coalesce(cast(:due_at as timestamptz), payments.next_deduction_v1(d.operator_id, d.opened_at, :behind)) as at
            from payments.debt d join payments.plate p on p.plate_id = d.plate_id
            where d.lane = :lane and d.charge_id = any(cast(:ids as uuid[])) and d.owed_fen > 0 and {_HAS_MANDATE} and {_ITS_OWNERS}
        ) planned where at is not null
        order by charge_id
        on conflict (charge_id, lane) do nothing
        """)
    tx.execute(query, {"lane": lane, "ids": list(charge_ids), "due_at": due_at, "behind": behind})


def plan(
    tx: Connection, *, lane: int, at: datetime, behind: UUID | None, limit: int
) -> tuple[int, UUID | None]:  # fmt: skip
    """Plan open debts that are not planned and whose plates have a mandate; returns how many, and the last id.

    A mandate that came after the rule's last day and the last try is tried once, at once.
    """
    query = text(f"""
        with chunk as materialized (
            select d.charge_id, d.plate_id, d.operator_id, d.opened_at, d.basis from payments.debt d
            where d.lane = :lane and d.owed_fen > 0 and d.charge_id > coalesce(cast(:behind as uuid), cast(:least as uuid))
            order by d.charge_id limit :limit
        ), fit as (
            select s.charge_id, s.operator_id, s.opened_at, max(m.told_at) as told_at
            from chunk s
            join payments.mandate m on m.plate_id = s.plate_id and m.state = 'open'
            join payments.plate p on p.plate_id = s.plate_id
            join payments.debt d on d.lane = :lane and d.charge_id = s.charge_id
            where s.basis <> 'card' and {_ITS_OWNERS}
              and not exists (select from payments.deduction_plan p where p.lane = :lane and p.charge_id = s.charge_id)
            group by s.charge_id, s.operator_id, s.opened_at
        ), made as (
            insert into payments.deduction_plan (charge_id, lane, due_at)
            select charge_id, :lane, due_at from (
                select f.charge_id, coalesce(
                    payments.next_deduction_v1(f.operator_id, f.opened_at, :at),
                    case when not exists (select from payments.deduction_try t
                                          where t.lane = :lane and t.charge_id = f.charge_id and t.tried_at >= f.told_at)
                         then cast(:at as timestamptz) end) as due_at
                from fit f
            ) planned where due_at is not null
            order by charge_id
            on conflict (charge_id, lane) do nothing
            returning 1
        )
        select (select count(*) from made) as planned, (select count(*) from chunk) as seen,
               (select charge_id from chunk order by charge_id desc limit 1) as last
        """)
    row = tx.execute(query, {"lane": lane, "at": at, "behind": behind, "least": UUID(int=0), "limit": limit}).one()
    return int(row.planned), row.last if row.seen == limit else None


def claim(tx: Connection, *, lane: int, at: datetime, until: datetime, limit: int) -> list[Due]:
    """Claim debts that are due; what is disputed or paused is tried at the rule's next time.

    What is paid, or owed by an owner of the plate before, is forgotten. Waits for nobody: what another worker holds is left out.
    """
    query = text(f"""
        with due as materialized (
            select p.charge_id, p.lane, p.tries from payments.deduction_plan p
            where p.lane = :lane and p.due_at <= :at and (p.claimed_until is null or p.claimed_until <= :at)
            order by p.due_at, p.charge_id limit :limit
            for update skip locked
        ), seen as materialized (
            select u.*, case when {_ITS_OWNERS} then d.owed_fen else 0 end as owed_fen, d.operator_id, d.opened_at, d.lot_id,
                   d.disputed_at is not null
                   or coalesce(d.paused_until > (cast(:at as timestamptz) at time zone 'Asia/Shanghai')::date, false) as is_paused
            from due u
            join payments.debt d on d.lane = u.lane and d.charge_id = u.charge_id
            join payments.plate p on p.plate_id = d.plate_id
        ), over as (
            delete from payments.deduction_plan p using seen s
            where p.lane = s.lane and p.charge_id = s.charge_id and s.owed_fen = 0
        ), later as (
            update payments.deduction_plan p
            set due_at = coalesce(payments.next_deduction_v1(s.operator_id, s.opened_at, :at),
                                  cast(:at as timestamptz) + interval '1 day')
            from seen s where p.lane = s.lane and p.charge_id = s.charge_id and s.owed_fen > 0 and s.is_paused
        ), mine as (
            update payments.deduction_plan p set claimed_until = :until, tries = p.tries + 1
            from seen s where p.lane = s.lane and p.charge_id = s.charge_id and s.owed_fen > 0 and not s.is_paused
            returning p.charge_id, p.due_at
        )
        select m.charge_id, s.lot_id, c.lot_serial, s.tries + 1 as tries
        from mine m join seen s on s.charge_id = m.charge_id
        join payments.charge c on c.lane = :lane and c.charge_id = m.charge_id
        order by m.due_at, m.charge_id
        """)
    return [Due(*row) for row in tx.execute(query, {"lane": lane, "at": at, "until": until, "limit": limit})]


def keep_tries(tx: Connection, *, lane: int, tries: Sequence[TryRow]) -> None:
    query = text("""
        insert into payments.deduction_try (charge_id, lane, tried_at, channel, state, reason)
        select charge_id, :lane, tried_at, channel, state, reason
        from unnest(cast(:charge_id as uuid[]), cast(:tried_at as timestamptz[]), cast(:channel as text[]), cast(:state as text[]),
                    cast(:reason as text[])) as t (charge_id, tried_at, channel, state, reason)
        on conflict do nothing
        """)
    tx.execute(query, {"lane": lane} | {name: [getattr(one, name) for one in tries] for name in TryRow.__struct_fields__})


def go_on(tx: Connection, *, lane: int, nexts: Sequence[Next], at: datetime) -> int:
    """Plan the next tries and give the debts back; returns how many are tried no more although they are not paid."""
    query = text("""
        with given as materialized (
            select g.*, d.owed_fen,
                   case when g.wait then g.due_at
                        when not g.over then payments.next_deduction_v1(d.operator_id, d.opened_at, :at) end as at
            from unnest(cast(:charge_id as uuid[]), cast(:over as boolean[]), cast(:wait as boolean[]),
                        cast(:due_at as timestamptz[])) as g (charge_id, over, wait, due_at)
            join payments.debt d on d.lane = :lane and d.charge_id = g.charge_id
        ), gone as (
            delete from payments.deduction_plan p using given g
            where p.lane = :lane and p.charge_id = g.charge_id and g.at is null
            returning g.owed_fen
        ), later as (
            update payments.deduction_plan p set due_at = g.at, claimed_until = null, tries = p.tries - g.wait::int
            from given g where p.lane = :lane and p.charge_id = g.charge_id and g.at is not null
        )
        select count(*) filter (where owed_fen > 0) from gone
        """)
    given = {name: [getattr(one, name) for one in nexts] for name in Next.__struct_fields__}
    return int(tx.execute(query, {"lane": lane, "at": at} | given).scalar_one())


def insert_rule(
    tx: Connection, *, operator_id: int | None, valid_from: datetime, document: str, days: Sequence[int], times: Sequence[time],
    at: datetime,
) -> int | None:  # fmt: skip
    """Insert a rule; None when one of this operator begins at that time."""
    query = text("""
        insert into payments.deduct_rule (operator_id, valid_from, document, after_days, at_times, entered_at)
        values (:operator, :from, :document, :days, cast(:times as time[]), :at) on conflict do nothing returning rule_id
        """)
    given = {"operator": operator_id, "from": valid_from, "document": document, "days": list(days), "times": list(times), "at": at}
    return tx.execute(query, given).scalar()


def rules(tx: Connection) -> list[dict[str, Any]]:
    query = text("""
        select rule_id, operator_id, valid_from, document, after_days, at_times from payments.deduct_rule
        order by operator_id nulls first, valid_from
        """)
    return [dict(row) for row in tx.execute(query).mappings()]
