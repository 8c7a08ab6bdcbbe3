"""Planning 催缴计划: which plates are reminded of which debts tonight, by which step and over which channel.

Knows debts, steps, contacts and rules; must not know texts or how anything is sent. Called by the worker and the command line.
It reads plate by plate behind a cursor, in chunks of bounded size, and locks no debt: payers and the applier never wait for it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter
from typing import Final

from msgspec import Struct
from sqlalchemy import Engine

from ledger.clock import business_date
from ledger.ids import Ids
from payments.owed.dunning import plan_store, rules
from payments.owed.dunning.channels import Registry
from payments.owed.dunning.plan_store import Contact, OpenDebt, Planned, PlannedDebt, Run
from payments.owed.dunning.rules import Rule, Step

CHUNK: Final = 10_000
"""Debts looked at in one transaction."""


class Tonight(Struct, frozen=True):
    """What planning needs to know besides the debts of a chunk."""

    rules: Sequence[Rule]
    channels: Registry
    today: date


def plan(
    db: Engine, *, lane: int, at: datetime, ids: Ids, channels: Registry, chunk: int = CHUNK,
    progress: Callable[[Run], None] = lambda _run: None,
) -> Run:  # fmt: skip
    """Plan the reminders of the business date of ``at``; one transaction per chunk of plates, until all are looked at.

    A run that was broken off goes on where it stood; one that is finished stays as it is. Of two callers at once, one waits for the
    other's chunk and takes the next. Memory does not grow with the number of debts.

    Args:
        progress: Called after each chunk with how far the run is.
    """
    today = business_date(at)
    with db.begin() as tx:
        run = plan_store.begin_run(tx, lane=lane, planned_on=today, run_id=ids.new(at, f"dunning {today}"), at=at)
        tonight = Tonight(rules.in_force(tx, at=at), channels, today)
    while run.finished_at is None:
        with db.begin() as tx:
            run = plan_store.hold_run(tx, lane=lane, run_id=run.run_id)
            if run.finished_at is not None:
                break
            until = plan_store.chunk_end(tx, lane=lane, after=run.plate_cursor, debts=chunk)
            if until is None:
                run = plan_store.finish(tx, lane=lane, run_id=run.run_id, at=at)
                break
            where = plan_store.Chunk(lane, run.plate_cursor, until, today, _days_min(tonight.rules))
            found = plan_store.open_debts(tx, where)
            chosen = list(
                choose(
                    found, tonight, contacts=plan_store.contacts(tx, where), last=plan_store.last_planned(tx, where), at=at, ids=ids
                )
            )
            plan_store.insert(tx, lane=lane, run_id=run.run_id, planned=chosen, at=at, today=today)
            run = plan_store.advance(tx, lane=lane, run_id=run.run_id, until=until, looked_at=found, planned=chosen)
        progress(run)
    return run


def choose(
    debts: Iterable[OpenDebt], tonight: Tonight, *, contacts: Mapping[int, Mapping[str, Contact]],
    last: Mapping[tuple[int, int | None], date], at: datetime, ids: Ids,
) -> Iterator[Planned]:  # fmt: skip
    """Yield the reminders of a chunk; pure but for the ids. ``debts`` stand by plate.

    A plate gets at most one reminder per rule for all its debts, and one for each debt at steps that say so. What is reminded of
    names all that is overdue, so that nobody gets a second one for the rest.
    """
    city, own = rules.of_operator(tonight.rules)
    for plate_id, of_plate in groupby(debts, key=attrgetter("plate_id")):
        by_rule: dict[int, tuple[Rule, list[OpenDebt]]] = {}
        for debt in of_plate:
            rule = own.get(debt.operator_id, city)
            if rule is not None:
                by_rule.setdefault(rule.rule_id, (rule, []))[1].append(debt)
        for rule, owed in by_rule.values():
            before = last.get((plate_id, rule.operator_id))
            if before is None or (tonight.today - before).days >= rule.days_between:
                yield from _of_rule(rule, owed, tonight, contacts.get(plate_id, {}), at, ids)


def next_step(rule: Rule, debt: OpenDebt, today: date) -> Step | None:
    """Return the step that a debt is due for, or None.

    Steps are taken one after another, however old a debt is, with the time between them that the rule means: nobody's first word
    from us is a demand.
    """
    number = debt.step or 0
    if number >= len(rule.steps):
        return None
    step = rule.steps[number]
    if (today - debt.due_on).days < step.days_after_due:
        return None
    if number and debt.stepped_on is not None:
        between = step.days_after_due - rule.steps[number - 1].days_after_due
        if (today - debt.stepped_on).days < between:
            return None
    return step


def _of_rule(
    rule: Rule, owed: Sequence[OpenDebt], tonight: Tonight, contacts: Mapping[str, Contact], at: datetime, ids: Ids
) -> Iterator[Planned]:  # fmt: skip
    due = {debt.charge_id: step for debt in owed if (step := next_step(rule, debt, tonight.today)) is not None}
    alone = [debt for debt in owed if debt.charge_id in due and due[debt.charge_id].per == "debt"]
    for debt in alone:
        step = due[debt.charge_id]
        if debt.owed_fen >= step.owed_fen_min:
            yield from _planned(
                rule, step, [PlannedDebt(debt.charge_id, debt.owed_fen, step.step)], tonight, contacts, debt, at, ids
            )
    together = [debt for debt in owed if debt.charge_id in due and due[debt.charge_id].per == "plate"]
    named = [debt for debt in owed if debt in together or (debt.due_on < tonight.today and debt not in alone)]
    total_fen = sum(debt.owed_fen for debt in named)
    worth = [due[debt.charge_id] for debt in together if total_fen >= due[debt.charge_id].owed_fen_min]
    if worth:
        step = max(worth, key=attrgetter("step"))
        lines = [PlannedDebt(x.charge_id, x.owed_fen, due[x.charge_id].step if x in together else 0) for x in named]
        yield from _planned(rule, step, lines, tonight, contacts, together[0], at, ids)


def _planned(
    rule: Rule, step: Step, debts: Sequence[PlannedDebt], tonight: Tonight, contacts: Mapping[str, Contact], first: OpenDebt,
    at: datetime, ids: Ids,
) -> Iterator[Planned]:  # fmt: skip
    """Yield the reminder over the first channel of the step that reaches the plate; none when no channel does."""
    for name in step.channels:
        channel = tonight.channels.find(name)
        contact = None if channel is None or channel.medium is None else contacts.get(channel.medium)
        if channel is None or (contact is None and channel.needs_contact):
            continue
        yield Planned(
            reminder_id=ids.new(at, f"reminder {first.charge_id} {step.step} {len(debts)}"), plate_id=first.plate_id,
            rule_id=rule.rule_id, step=step.step, channel=name, contact_id=None if contact is None else contact.contact_id,
            language="zh" if contact is None else contact.language, template_code=step.template_code,
            owed_fen=sum(debt.owed_fen for debt in debts), debts=tuple(debts),
        )  # fmt: skip
        return


def _days_min(chosen: Sequence[Rule]) -> int:
    """Return the day after the due date before which no debt is read: no step is due, and it is not overdue."""
    return min((rule.steps[0].days_after_due for rule in chosen if rule.steps and rule.steps[0].days_after_due < 1), default=1)
