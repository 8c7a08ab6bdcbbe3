"""What became of debts on simulated days: opened, paid, owed, deducted, recovered, and what an operator's system was told.

Knows published views, the ageing of debts and the events of lots; must not know how the days went. Called by ``app.day.closing``.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, text

from app.day.doors import DoorClosed
from app.day.receiver import Heard, Receiver
from app.wiring import Wiring
from ledger.accounts import Account
from ledger.balances import TrialBalanceLine
from ledger.clock import business_date
from payments import events, lots
from payments.incentive import reports
from payments.incentive.reports import Viewer
from payments.owed import debt_ageing


class Owed(Struct, frozen=True):
    """Debts that owe something, and how much in fen."""

    debts: int
    owed_fen: int


class Sum(Struct, frozen=True):
    """How many, and how much in fen."""

    count: int
    amount_fen: int


class EventsHeard(Struct, frozen=True):
    """What the operator's own system was told over its webhook, in the order of each charge's events."""

    operator: str
    kinds: dict[str, int]
    charges: int
    sent_again: int
    """Messages that it had not answered at first."""


class DebtsAtEnd(Struct, frozen=True):
    """What became of debts. Counts by name; amounts in fen."""

    owed: Owed
    receivable_fen: int
    """What the books carry as owed by plates (1122)."""
    opened: dict[str, Sum]
    """By basis, with what the charges cost."""
    states: dict[str, Sum]
    """By state, with what is still owed."""
    paid: dict[str, Sum]
    """Payments that count for debts, by channel and way."""
    ageing: dict[str, Sum]
    """What is owed by days after the due date."""
    letters: int
    """Reminders that went by file."""
    deductions: dict[str, int]
    """Tries of the plan of deductions, by channel, state and reason."""
    recoveries: dict[str, Sum]
    """Payments of debts by through whose effort they came."""
    shares: dict[str, Sum]
    """What is owed for recovering, by who owes it and whom."""
    credit_notes: Sum
    events: EventsHeard | None = None


class Hook(Struct, frozen=True):
    """An operator whose events are pushed, and what takes them."""

    operator: str
    receiver: Receiver


_OWED: Final = text("select count(*), coalesce(sum(owed_fen), 0)::bigint from payments.v_debt where owed_fen > 0")
_SUMS: Final = {
    "opened": "select basis, count(*), sum(amount_fen)::bigint from payments.v_debt group by 1 order by 1",
    "states": "select state, count(*), sum(owed_fen)::bigint from payments.v_debt group by 1 order by 1",
    "paid": "select f.channel || ' ' || o.way, count(*), sum(f.amount_fen)::bigint from payments.v_payment_fact f "
    "join payments.v_debt d on d.lane = f.lane and d.charge_id = f.charge_id "
    "join payments.v_order o on o.lane = f.lane and o.payment_id = f.payment_id "
    "where f.treatment in ('settled', 'part') and f.taken_back_at is null group by 1 order by 1",
    "recoveries": "select basis, count(*), sum(recovered_fen)::bigint from payments.v_recovery group by 1 order by 1",
}
_TRIES: Final = text("""
select coalesce(nullif(channel, ''), 'none') || ' ' || state || coalesce(' ' || reason, ''), count(*)
from payments.v_deduction_try group by 1 order by 1
""")
_CREDITED: Final = text("select count(*), coalesce(sum(amount_fen), 0)::bigint from payments.v_credit_note")
_AGES: Final = ("not_due", "days_0_30", "days_31_60", "days_61_90", "days_91_180", "days_181_365", "days_over_365", "disputed")


def owed(tx: Connection) -> Owed:
    """Return what is owed now."""
    return Owed(*tx.execute(_OWED).one())


def debts_at_end(
    tx: Connection, *, wiring: Wiring, trial: Sequence[TrialBalanceLine], letters: int, today: date
) -> DebtsAtEnd:  # fmt: skip
    """Return what became of debts. ``trial`` is the trial balance, ``letters`` counts reminders that went by file."""
    sums = {name: {row[0]: Sum(row[1], row[2]) for row in tx.execute(text(query))} for name, query in _SUMS.items()}
    receivable = [line.balance_debit_fen - line.balance_credit_fen for line in trial if line.account == Account.RECEIVABLE]
    return DebtsAtEnd(
        owed=owed(tx), receivable_fen=sum(receivable), ageing=_ageing(tx, wiring, today), letters=letters,
        shares=_shares(tx, wiring, today), deductions={row[0]: row[1] for row in tx.execute(_TRIES)},
        credit_notes=Sum(*tx.execute(_CREDITED).one()), opened=sums["opened"], states=sums["states"], paid=sums["paid"],
        recoveries=sums["recoveries"],
    )  # fmt: skip


def _ageing(tx: Connection, wiring: Wiring, today: date) -> dict[str, Sum]:
    found = debt_ageing.ageing(tx, lane=wiring.lane, by="operator", today=today)
    buckets = {name: [getattr(one, name) for one in found] for name in _AGES}
    return {
        name: Sum(sum(one.debts for one in of_name), sum(one.owed_fen for one in of_name))
        for name, of_name in buckets.items()
        if any(one.debts for one in of_name)
    }


def _shares(tx: Connection, wiring: Wiring, today: date) -> dict[str, Sum]:
    since = business_date(wiring.settings.simulated_start_at)
    rows = reports.read(tx, lane=wiring.lane, since=since, until=today, viewer=Viewer())
    found: dict[str, Sum] = {}
    for row in rows:
        name = f"{row.owner} to {row.recoverer_kind} {row.recoverer}"
        before = found.get(name, Sum(0, 0))
        found[name] = Sum(before.count + row.payments, before.amount_fen + row.given_fen - row.returned_fen)
    return found


def events_told(tx: Connection, *, wiring: Wiring, hook: Hook) -> EventsHeard:
    """Return what an operator's system heard.

    Raises:
        DoorClosed: it is not what the operator's lots can pull, event by event and in the same order for each charge.
    """
    heard = hook.receiver.heard()
    check(heard, pulled(tx, wiring=wiring, operator=hook.operator))
    return EventsHeard(hook.operator, heard.kinds, len(heard.by_charge), heard.lost)


def check(heard: Heard, expected: dict[tuple[str, str], list[str]]) -> None:
    """Raise DoorClosed when what was pushed is not what can be pulled, in the order of each charge."""
    if heard.wrong:
        raise DoorClosed(f"{heard.wrong} events came with a wrong signature")
    for charge in sorted(heard.by_charge.keys() | expected.keys()):
        pushed, pull = heard.by_charge.get(charge, []), expected.get(charge, [])
        if pushed != pull:
            raise DoorClosed(f"of charge {charge} were pushed {pushed}, but can be pulled {pull}")


def pulled(tx: Connection, *, wiring: Wiring, operator: str) -> dict[tuple[str, str], list[str]]:
    """Return the kinds of events of an operator's lots as these pull them, by lot and serial of the charge."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    owner = lots.operator_by_code(tx, code=operator)
    for lot in lots.lots(tx, limit=1_000, operator_id=owner.operator_id):
        after = events.START
        while (page := events.read(tx, lane=wiring.lane, lot_id=lot.lot_id, after=after)).events:
            after = page.next
            for one in page.events:
                found[lot.code, one.event.charge_serial or ""].append(one.event.kind)
    return dict(found)
