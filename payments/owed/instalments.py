"""Instalments 分期: a plate pays its debts of one operator in parts; while it keeps to the plan nothing is dunned or deducted.

Knows plans, parts and debts; must not know HTTP or how a part is paid: an order for less than a debt owes pays a part of it. Called
by the command line, the pages and the worker. Source: docs/DUNNING.md; Civil Code art. 195 (agreeing to pay begins the years anew).
"""

import itertools
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.clock import business_date
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids
from ledger.money import split
from payments import people, plates, store
from payments.owed.dunning import limitation
from payments.owed.dunning.limitation import Act

PARTS_MIN: Final = 2
PARTS_MAX: Final = 36
DEBTS_MAX: Final = 1_000
LAST_WITHIN: Final = timedelta(days=3 * 366)


class Part(Struct, frozen=True):
    """One part of a plan, to be paid until ``due_on``."""

    part: int
    due_on: date
    amount_fen: int


class Plan(Struct, frozen=True, kw_only=True):
    """A plan and what has been paid of it; waivers and credit notes count as paid."""

    plan_id: UUID
    plate_id: int
    operator_id: int
    owed_fen: int
    paid_fen: int
    state: Literal["running", "kept", "missed"]
    agreed_at: datetime
    parts: tuple[Part, ...]


class Checked(Struct, frozen=True):
    """What one look at the running plans found."""

    kept: int
    missed: int


def agree(
    tx: Connection, *, lane: int, plate: str, plate_color: plates.PlateColor, operator_id: int, due_on: Sequence[date],
    document: str, by: str, at: datetime, ids: Ids,
) -> Plan:  # fmt: skip
    """Agree that a plate pays what it owes to an operator in equal parts on the given days; dunning and deductions rest.

    Disputed debts stay out. Holds the charges in the order of their ids. The agreement begins the limitation anew.

    Raises:
        NotAllowed: ``person_unknown``, ``person_may_not``.
        NotFound: ``debt_not_found``, the plate owes nothing to the operator.
        Conflict: ``plan_running``, ``payment_under_way``.
        Refused: ``plan_invalid``: days not rising, in the past, too many or too few; ``plate_invalid``.
    """
    people.maker(tx, person_code=by, at=at)
    today = business_date(at)
    _check_days(due_on, today, document)
    plate_id, charge_ids = _debts_of(
        tx, lane=lane, number=plates.checked(plate, plate_color), color=plate_color, operator_id=operator_id
    )  # fmt: skip
    store.hold_charges(tx, lane=lane, charge_ids=charge_ids)
    owed = _owed(tx, lane=lane, charge_ids=charge_ids)
    total_fen = sum(owed.values())
    if not total_fen:
        raise NotFound("the plate owes nothing to the operator", code="debt_not_found")
    if total_fen < len(due_on):
        raise Refused(f"{total_fen} fen cannot be paid in {len(due_on)} parts", code="plan_invalid")
    amounts = split(total_fen, [1] * len(due_on))
    parts = tuple(Part(n, day, fen) for n, (day, fen) in enumerate(zip(due_on, amounts, strict=True), 1))
    plan_id = ids.new(at, f"instalments {plate_id} {operator_id}")
    _insert(
        tx, lane=lane, plan_id=plan_id, plate_id=plate_id, operator_id=operator_id, owed=owed, parts=parts, document=document,
        by=by, at=at,
    )  # fmt: skip
    limitation.begin_anew(tx, lane=lane, acts=[Act(today, "instalments", charge_id, plan_id) for charge_id in owed])
    return by_id(tx, lane=lane, plan_id=plan_id)


def by_id(tx: Connection, *, lane: int, plan_id: UUID) -> Plan:
    """Return a plan. Raises NotFound (``plan_not_found``)."""
    found = _plans(tx, lane=lane, condition="p.plan_id = :given", given=plan_id)
    if not found:
        raise NotFound(f"there is no plan {plan_id}", code="plan_not_found")
    return found[0]


def of_plate(tx: Connection, *, lane: int, plate_id: int) -> list[Plan]:
    """Return all plans of a plate, the oldest first."""
    return _plans(tx, lane=lane, condition="p.plate_id = :given", given=plate_id)


def payable(tx: Connection, *, lane: int, plan_id: UUID, at: datetime) -> list[tuple[UUID, int]]:
    """Return what is to be paid next by a plan: debts with amounts, the earliest due first; empty when nothing is due yet.

    What is overdue and the next part make one sum.
    """
    plan = by_id(tx, lane=lane, plan_id=plan_id)
    wanted_fen = next_fen(plan.parts, plan.paid_fen, business_date(at))
    rows = tx.execute(
        text("""
        select d.charge_id, d.owed_fen from payments.instalment_debt i
        join payments.debt d on d.lane = i.lane and d.charge_id = i.charge_id
        where i.lane = :lane and i.plan_id = :plan and d.owed_fen > 0 order by d.due_on, d.charge_id
        """),
        {"lane": lane, "plan": plan_id},
    )
    return spread(wanted_fen, [(row.charge_id, row.owed_fen) for row in rows])


def check(tx: Connection, *, lane: int, at: datetime, limit: int = 1_000) -> Checked:
    """End the plans that are paid, and those of which a part is overdue: their debts are dunned again. Set by set; repeatable.

    Call again while it returns something: at most ``limit`` plans are looked at that would end.
    """
    rows = tx.execute(
        text("""
        with due as (
            select p.plan_id, p.lane, p.owed_fen,
                   (select coalesce(sum(d.owed_fen), 0) from payments.instalment_debt i
                    join payments.debt d on d.lane = i.lane and d.charge_id = i.charge_id
                    where i.lane = p.lane and i.plan_id = p.plan_id) as left_fen,
                   (select coalesce(sum(t.amount_fen), 0) from payments.instalment_part t
                    where t.lane = p.lane and t.plan_id = p.plan_id and t.due_on < :today) as due_fen
            from payments.instalment_plan p where p.lane = :lane and p.state = 'running'
        ), over as (
            select plan_id, lane, case when left_fen = 0 then 'kept' else 'missed' end as state
            from due where left_fen = 0 or owed_fen - left_fen < due_fen order by plan_id limit :limit
        ), ended as (
            update payments.instalment_plan p set state = o.state, ended_at = :at
            from over o where p.lane = o.lane and p.plan_id = o.plan_id
            returning p.plan_id, p.lane, p.state
        )
        select e.plan_id, e.state, array(select i.charge_id from payments.instalment_debt i
                                         where i.lane = e.lane and i.plan_id = e.plan_id) as charges
        from ended e
        """),
        {"lane": lane, "today": business_date(at), "at": at, "limit": limit},
    ).all()
    charges = sorted({charge for row in rows for charge in row.charges})
    if charges:
        store.hold_charges(tx, lane=lane, charge_ids=charges)
        tx.execute(
            text("update payments.debt set paused_until = null where lane = :lane and charge_id = any(cast(:charges as uuid[]))"),
            {"lane": lane, "charges": charges},
        )
    missed = sum(row.state == "missed" for row in rows)
    return Checked(len(rows) - missed, missed)


def next_fen(parts: Sequence[Part], paid_fen: int, today: date) -> int:
    """Return what is to be paid next: everything due until today and not paid, or else the rest of the next part."""
    owed = 0
    for part in parts:
        owed += part.amount_fen
        if owed > paid_fen and part.due_on >= today:
            break
    return max(0, owed - paid_fen)


def spread(amount_fen: int, owed: Sequence[tuple[UUID, int]]) -> list[tuple[UUID, int]]:
    """Spread an amount over debts in their order, each as far as it owes."""
    found: list[tuple[UUID, int]] = []
    for charge_id, fen in owed:
        taken = min(fen, amount_fen)
        if taken:
            found.append((charge_id, taken))
        amount_fen -= taken
    return found


def _check_days(due_on: Sequence[date], today: date, document: str) -> None:
    rising = all(a < b for a, b in itertools.pairwise(due_on))
    if not PARTS_MIN <= len(due_on) <= PARTS_MAX or not rising or due_on[0] < today or due_on[-1] > today + LAST_WITHIN:
        raise Refused(
            f"a plan has {PARTS_MIN} to {PARTS_MAX} rising days, the first not in the past, the last within three years",
            code="plan_invalid",
        )
    if not 0 < len(document.strip()) <= 200:
        raise Refused("name the agreement, in 1 to 200 characters", code="plan_invalid")


def _debts_of(
    tx: Connection, *, lane: int, number: str, color: str, operator_id: int
) -> tuple[int, list[UUID]]:  # fmt: skip
    rows = tx.execute(
        text("""
        select p.plate_id, d.charge_id,
               exists (select from payments.instalment_plan x where x.lane = d.lane and x.plate_id = d.plate_id
                       and x.operator_id = d.operator_id and x.state = 'running') as runs,
               exists (select from payments.payment y where y.lane = d.lane and y.charge_id = d.charge_id
                       and y.state in ('created', 'pending', 'unknown')) as is_being_paid
        from payments.plate p join payments.debt d on d.plate_id = p.plate_id
        where p.number = :number and p.color = :color and d.lane = :lane and d.operator_id = :operator and d.owed_fen > 0
          and d.disputed_at is null
        order by d.charge_id limit :limit
        """),
        {"lane": lane, "number": number, "color": color, "operator": operator_id, "limit": DEBTS_MAX + 1},
    ).all()
    if not rows:
        raise NotFound("the plate owes nothing to the operator", code="debt_not_found")
    if len(rows) > DEBTS_MAX:
        raise Refused(f"more than {DEBTS_MAX} debts do not fit into one plan", code="plan_invalid")
    if any(row.runs for row in rows):
        raise Conflict("a plan with this operator runs already", code="plan_running")
    if any(row.is_being_paid for row in rows):
        raise Conflict("somebody is paying one of the debts; wait until that is decided", code="payment_under_way")
    return rows[0].plate_id, [row.charge_id for row in rows]


def _owed(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, int]:
    rows = tx.execute(
        text("""
        select charge_id, owed_fen from payments.debt
        where lane = :lane and charge_id = any(cast(:charges as uuid[])) and owed_fen > 0 and disputed_at is null order by charge_id
        """),
        {"lane": lane, "charges": list(charge_ids)},
    )
    return {row.charge_id: row.owed_fen for row in rows}


def _insert(
    tx: Connection, *, lane: int, plan_id: UUID, plate_id: int, operator_id: int, owed: dict[UUID, int], parts: Sequence[Part],
    document: str, by: str, at: datetime,
) -> None:  # fmt: skip
    given = {
        "lane": lane, "plan": plan_id, "plate": plate_id, "operator": operator_id, "owed": sum(owed.values()), "document": document,
        "by": by, "at": at, "parts": [x.part for x in parts], "days": [x.due_on for x in parts],
        "fens": [x.amount_fen for x in parts], "charges": list(owed), "owings": list(owed.values()),
        "rest_until": parts[-1].due_on + timedelta(days=1),
    }  # fmt: skip
    tx.execute(
        text("""
        with plan as (
            insert into payments.instalment_plan (plan_id, lane, plate_id, operator_id, owed_fen, state, document, agreed_by,
                                                  agreed_at)
            values (:plan, :lane, :plate, :operator, :owed, 'running', :document, :by, :at)
        ), part as (
            insert into payments.instalment_part (plan_id, lane, part, due_on, amount_fen)
            select :plan, :lane, part, due_on, fen
            from unnest(cast(:parts as smallint[]), cast(:days as date[]), cast(:fens as bigint[])) as t (part, due_on, fen)
        ), debt as (
            insert into payments.instalment_debt (plan_id, lane, charge_id, owed_fen)
            select :plan, :lane, charge_id, fen
            from unnest(cast(:charges as uuid[]), cast(:owings as bigint[])) as d (charge_id, fen)
        )
        update payments.debt set paused_until = :rest_until where lane = :lane and charge_id = any(cast(:charges as uuid[]))
        """),
        given,
    )


def _plans(tx: Connection, *, lane: int, condition: str, given: UUID | int) -> list[Plan]:
    rows = tx.execute(
        text(f"""
        select p.plan_id, p.plate_id, p.operator_id, p.owed_fen, p.state, p.agreed_at,
               p.owed_fen - (select coalesce(sum(d.owed_fen), 0)::bigint from payments.instalment_debt i
                             join payments.debt d on d.lane = i.lane and d.charge_id = i.charge_id
                             where i.lane = p.lane and i.plan_id = p.plan_id) as paid_fen,
               array(select array[t.part::text, t.due_on::text, t.amount_fen::text] from payments.instalment_part t
                     where t.lane = p.lane and t.plan_id = p.plan_id order by t.part) as parts
        from payments.instalment_plan p where p.lane = :lane and {condition} order by p.plan_id
        """),
        {"lane": lane, "given": given},
    )
    return [
        Plan(
            plan_id=row.plan_id, plate_id=row.plate_id, operator_id=row.operator_id, owed_fen=row.owed_fen, paid_fen=row.paid_fen,
            state=row.state, agreed_at=row.agreed_at,
            parts=tuple(Part(int(n), date.fromisoformat(day), int(fen)) for n, day, fen in row.parts),
        )
        for row in rows
    ]  # fmt: skip
