"""Cars that left without paying, for tests of what becomes of debts."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from ledger.accounts import Account
from ledger.ids import RandomIds
from payments import people
from payments.lots import Lot
from payments.owed import debts
from payments.owed.debts import Left
from payments.people import Person
from tests.payments.conftest import AT, make_charge

IDS = RandomIds()
MAKER, CHECKER = "wang.ming", "li.hua"
_numbers = itertools.count(1)


def staff(tx: Connection) -> None:
    """A maker and a checker."""
    people.enter(tx, person=Person(MAKER, may_propose=True, may_approve=False, document="任命书 1"), at=AT)
    people.enter(tx, person=Person(CHECKER, may_propose=False, may_approve=True, document="任命书 2"), at=AT)


def owe(
    tx: Connection, lot: Lot, *amounts_fen: int, plate: str = "苏B12345", overdue_days: int | None = None, at: datetime = AT
) -> list[UUID]:
    """Cars that left: debts of the amounts, in order. ``overdue_days`` sets how long they are overdue at ``at``."""
    made: list[UUID] = []
    for amount_fen in amounts_fen:
        charge_id = make_charge(tx, lot, f"D{next(_numbers)}", amount_fen=amount_fen, plate=plate)
        debts.open_debts(tx, lane=0, left=[Left(charge_id, "policy", AT)], evidence_id=IDS.new(AT, "exit"), at=AT, ids=IDS)
        made.append(charge_id)
    if overdue_days is not None:
        overdue(tx, made, days=overdue_days, at=at)
    return made


def overdue(tx: Connection, charge_ids: Sequence[UUID], *, days: int, at: datetime = AT) -> None:
    """Let debts be due so many days before ``at``."""
    tx.execute(
        text("""
        update payments.debt set due_on = :due, limitation_on = cast(:due as date) + interval '3 years'
        where charge_id = any(cast(:ids as uuid[]))
        """),
        {"ids": list(charge_ids), "due": (at + timedelta(hours=8)).date() - timedelta(days=days)},
    )


def debt(tx: Connection, charge_id: UUID) -> tuple[str, int, int]:
    """State of a charge, what is taken off it, and what its debt owes."""
    row = tx.execute(
        text("""
        select c.state, c.reduced_fen, d.owed_fen from payments.charge c join payments.debt d using (charge_id, lane)
        where charge_id = :id
        """),
        {"id": charge_id},
    ).one()
    return row[0], row[1], row[2]


def told(tx: Connection) -> list[str]:
    """Kinds of events, sorted."""
    return list(tx.execute(text("select kind from payments.outbox order by kind")).scalars())


def receivable(tx: Connection) -> int:
    """What the books carry as owed by plates (1122), in fen."""
    return int(
        tx.execute(
            text("""
            select coalesce(sum(case debit_account when :account then amount_fen else -amount_fen end), 0) from ledger.posting
            where :account in (debit_account, credit_account)
            """),
            {"account": int(Account.RECEIVABLE)},
        ).scalar_one()
    )


@pytest.fixture
def desk(db: Engine, city: Lot) -> Iterator[Connection]:
    """An open transaction in a city with a maker and a checker."""
    with db.connect() as connection:
        connection.begin()
        staff(connection)
        yield connection
