"""Who may leave first 先离场后付费: yes or no with a reason, from the rule in force and what the plate owes anywhere.

Knows rules, debts, mandates and status lists; must not know HTTP or channels. Called by departures and by the API, for any lot.
Nothing but yes or no and the reason leaves here: not how much a plate owes, nor to whom.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from gateways.etc.lists import plate_entry
from ledger.arrays import instant, integers, texts
from ledger.clock import business_date
from ledger.errors import Conflict, Refused
from ledger.volley import Statement, fire
from payments.owed import debt_store
from payments.plates import PlateColor

Reason = Literal[
    "mandate", "policy", "not_admitted", "no_mandate", "overdue", "too_many_debts", "owes_too_much", "listed"
]  # fmt: skip
"""Yes: ``mandate``, a channel may deduct from the plate; ``policy``, the rule admits everyone.
No, the first that holds: ``not_admitted``, the rule admits nobody; ``no_mandate``, it admits only plates with a mandate;
``overdue``, a debt is overdue for too long; ``too_many_debts``; ``owes_too_much``, with this charge; ``listed``, the plate is on a
status list."""


class Asked(Struct, frozen=True):
    """A car at the gate. ``plate`` is normalised; ``amount_fen`` what it would owe, 0 when that is not known yet."""

    plate: str
    plate_color: PlateColor = "unknown"
    amount_fen: int = 0


class Gate(Struct, frozen=True):
    """Where a car would leave: whose rule counts."""

    operator_id: int
    lot_id: int


class Leave(Struct, frozen=True):
    """Whether it may leave first. ``rule_id`` is the version of the rule that says so."""

    may_leave: bool
    reason: Reason
    rule_id: int


class Standing(Struct, frozen=True):
    """What the answer depends on, as one read finds it."""

    rule_id: int
    admits: Literal["nobody", "mandate", "everyone"]
    debts_max: int
    owed_fen_max: int
    overdue_days_max: int
    has_mandate: bool
    debts: int
    owed_fen: int
    oldest_due_on: date | None
    is_listed: bool


STANDING_SQL: Final = """
with asked as materialized (
    select * from unnest(%(operators)s::integer[], %(lots)s::integer[], %(plates)s::text[], %(colors)s::text[], %(entries)s::text[])
        with ordinality as a (operator_id, lot_id, number, color, entry, place)
), rule as materialized (
    select p.operator_id, p.lot_id, r.* from (select distinct operator_id, lot_id from asked) p cross join lateral (
        select n.rule_id, n.admits, n.debts_max, n.owed_fen_max, n.overdue_days_max, n.checks_lists from payments.leave_rule n
        where (n.operator_id is null or n.operator_id = p.operator_id) and (n.lot_id is null or n.lot_id = p.lot_id)
          and n.valid_from <= %(at)s::timestamptz
        order by n.lot_id nulls last, n.operator_id nulls last, n.valid_from desc limit 1
    ) r
)
select r.rule_id, r.admits, r.debts_max, r.owed_fen_max, r.overdue_days_max, coalesce(m.is_open, false),
       s.debts, s.owed_fen, s.oldest_due_on,
       r.checks_lists and exists (
           select from payments.status_entry e join payments.status_list l on l.kind = e.kind and l.province = e.province
           where e.kind = 'PLATE' and e.entry = a.entry and e.is_listed)
from asked a
join rule r on r.operator_id = a.operator_id and r.lot_id = a.lot_id
cross join lateral (
    select count(*) as debts, coalesce(sum(d.owed_fen), 0)::bigint as owed_fen, min(d.due_on) as oldest_due_on
    from payments.plate p join payments.debt d on d.plate_id = p.plate_id
    where p.number = a.number and (p.color = a.color or 'unknown' in (p.color, a.color)) and d.owed_fen > 0
      and d.basis <> 'card' and d.disputed_at is null and (p.held_since is null or exists (
          select from payments.charge h where h.lane = d.lane and h.charge_id = d.charge_id and h.entered_at >= p.held_since))
) s
left join lateral (
    select bool_or(n.state = 'open') as is_open from payments.plate p join payments.mandate n on n.plate_id = p.plate_id
    where p.number = a.number and (p.color = a.color or 'unknown' in (p.color, a.color))
) m on true
order by a.place
"""
"""The one read; measured by ``benchmarks.leaving`` as it is."""
_STANDING: Final = Statement(STANDING_SQL)


def ask(
    tx: Connection, *, operator_id: int, lot_id: int, cars: Sequence[Asked], at: datetime
) -> list[Leave]:  # fmt: skip
    """Say of each car whether it may leave a lot first, in order, in one read.

    A colour that one side does not know fits every colour. What waits for a card's issuer and what the driver disputes does not
    count against a plate, nor what an owner before owed.
    """
    return ask_at(tx, gates=[Gate(operator_id, lot_id)] * len(cars), cars=cars, at=at)


def ask_at(
    tx: Connection, *, gates: Sequence[Gate], cars: Sequence[Asked], at: datetime, and_commit: bool = False
) -> list[Leave]:  # fmt: skip
    """Say of each car whether it may leave the gate of its place in ``gates`` first, in order, in one read for all gates.

    As ``ask`` does for one lot. With ``and_commit`` the transaction is over when this returns.
    """
    today = business_date(at)
    found = standings(tx, gates=gates, cars=cars, at=at, and_commit=and_commit)
    return [decide(standing, amount_fen=car.amount_fen, today=today) for car, standing in zip(cars, found, strict=True)]


def standings(
    tx: Connection, *, gates: Sequence[Gate], cars: Sequence[Asked], at: datetime, and_commit: bool = False
) -> list[Standing]:  # fmt: skip
    """Return what the answers depend on, in the order of the cars."""
    shot = _STANDING.shot(
        operators=integers([gate.operator_id for gate in gates]),
        lots=integers([gate.lot_id for gate in gates]),
        at=instant(at),
        plates=texts([car.plate for car in cars]),
        colors=texts([car.plate_color for car in cars]),
        entries=texts([plate_entry(car.plate, car.plate_color) for car in cars]),
    )
    [rows] = fire(tx, [shot], and_commit=and_commit)
    return [Standing(*row) for row in rows]


def decide(found: Standing, *, amount_fen: int, today: date) -> Leave:
    """Say whether a car may leave first; the first reason against it counts. Pure."""
    return Leave(not (against := _against(found, amount_fen, today)), against or _for(found), found.rule_id)


def _against(found: Standing, amount_fen: int, today: date) -> Reason | None:
    if found.admits == "nobody":
        return "not_admitted"
    if found.admits == "mandate" and not found.has_mandate:
        return "no_mandate"
    if found.oldest_due_on is not None and (today - found.oldest_due_on).days > found.overdue_days_max:
        return "overdue"
    if found.debts >= found.debts_max:
        return "too_many_debts"
    if found.owed_fen + amount_fen > found.owed_fen_max:
        return "owes_too_much"
    return "listed" if found.is_listed else None


def _for(found: Standing) -> Reason:
    return "mandate" if found.has_mandate else "policy"


class NewRule(Struct, frozen=True, kw_only=True):
    """A rule to be entered; of no operator for the whole city, of no lot for all lots of the operator."""

    operator_id: int | None = None
    lot_id: int | None = None
    valid_from: datetime
    document: str
    admits: Literal["nobody", "mandate", "everyone"]
    debts_max: int
    owed_fen_max: int
    overdue_days_max: int
    checks_lists: bool
    due_days: int


def enter_rule(tx: Connection, *, rule: NewRule, at: datetime) -> int:
    """Enter a rule that counts from its date on, and return its version; the same again is the same.

    Raises:
        Conflict: ``leave_rule_conflict``, another rule of the same place begins at that time: begin this one later.
        Refused: ``leave_rule_invalid``, no document, a lot without its operator, a limit below its least, or a date in the past.
    """
    if not rule.document.strip() or (rule.lot_id is not None and rule.operator_id is None):
        raise Refused("a rule needs its approving document, and a lot's rule its operator", code="leave_rule_invalid")
    if min(rule.debts_max, rule.owed_fen_max) < 1 or min(rule.overdue_days_max, rule.due_days) < 0:
        raise Refused("the limits of a rule are 1 and more, its days 0 and more", code="leave_rule_invalid")
    given = msgspec.structs.asdict(rule)
    known = debt_store.leave_rule(tx, operator_id=rule.operator_id, lot_id=rule.lot_id, valid_from=rule.valid_from)
    if known is None:
        if rule.valid_from < at:
            raise Refused("a rule begins now or later: what was decided by the old one stands", code="leave_rule_invalid")
        return debt_store.insert_leave_rule(tx, values=given, at=at)
    if any(known[name] != value for name, value in given.items()):
        raise Conflict("another rule of this place begins at that time; let this one begin later", code="leave_rule_conflict")
    return int(known["rule_id"])
