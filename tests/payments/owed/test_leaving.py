"""Who may leave first: each reason against it, in order, and what does not count."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import Engine, text

from gateways.etc.lists import plate_entry
from ledger.errors import Conflict, Refused
from payments.lots import Lot
from payments.owed import debt_store, leaving
from payments.owed.leaving import Asked, Leave, NewRule, Standing, decide
from tests.payments.conftest import AT, make_charge, make_city
from tests.payments.owed.test_debts import leave

PLATE = "苏B12345"
GOOD = Standing(
    rule_id=1, admits="everyone", debts_max=3, owed_fen_max=10000, overdue_days_max=30, has_mandate=False, debts=2, owed_fen=3000,
    oldest_due_on=date(2026, 2, 1), is_listed=False,
)  # fmt: skip
TODAY = date(2026, 3, 2)


@pytest.mark.parametrize(
    ("changes", "may_leave", "reason"),
    [
        ({}, True, "policy"),
        ({"has_mandate": True}, True, "mandate"),
        ({"admits": "mandate", "has_mandate": True}, True, "mandate"),
        ({"admits": "nobody", "has_mandate": True}, False, "not_admitted"),
        ({"admits": "mandate"}, False, "no_mandate"),
        ({"oldest_due_on": date(2026, 1, 31)}, True, "policy"),
        ({"oldest_due_on": date(2026, 1, 30)}, False, "overdue"),
        ({"oldest_due_on": None, "debts": 0, "owed_fen": 0}, True, "policy"),
        ({"debts": 3}, False, "too_many_debts"),
        ({"owed_fen": 8800}, True, "policy"),
        ({"owed_fen": 8801}, False, "owes_too_much"),
        ({"is_listed": True}, False, "listed"),
        ({"is_listed": True, "debts": 3, "owed_fen": 99999, "oldest_due_on": date(2020, 1, 1)}, False, "overdue"),
    ],
)
def test_the_first_reason_against_it_counts(changes: dict[str, Any], may_leave: bool, reason: str) -> None:
    found = msgspec.structs.replace(GOOD, **changes)
    assert decide(found, amount_fen=1200, today=TODAY) == Leave(may_leave, reason, 1)  # type: ignore[arg-type]


def ask(db: Engine, lot: Lot, *cars: Asked) -> list[tuple[bool, str]]:
    with db.begin() as tx:
        found = leaving.ask(tx, operator_id=lot.operator_id, lot_id=lot.lot_id, cars=cars, at=AT)
    return [(one.may_leave, one.reason) for one in found]


def rule(db: Engine, *, lot: Lot | None = None, **changes: Any) -> int:
    said: dict[str, Any] = {
        "operator_id": lot and lot.operator_id, "lot_id": lot and lot.lot_id, "valid_from": AT, "document": "doc 1",
        "admits": "everyone", "debts_max": 2, "owed_fen_max": 5000, "overdue_days_max": 30, "checks_lists": True, "due_days": 30,
    } | changes  # fmt: skip
    with db.begin() as tx:
        return leaving.enter_rule(tx, rule=NewRule(**said), at=AT)


def mandate(db: Engine, *, color: str = "blue", state: Any = "open", after: timedelta = timedelta(0)) -> None:
    with db.begin() as tx:
        said = [debt_store.Said(PLATE, color, "etc", state)]
        debt_store.remember_mandates(tx, said=said, at=AT + after)


def charge(db: Engine, lot: Lot, serial: str, **other: Any) -> UUID:
    with db.begin() as tx:
        return make_charge(tx, lot, serial, **other)


def test_by_default_only_plates_with_a_mandate_leave_first(db: Engine, city: Lot) -> None:
    charge(db, city, "S1")
    assert ask(db, city, Asked(PLATE, "blue", 1200)) == [(False, "no_mandate")]
    mandate(db)
    assert ask(db, city, Asked(PLATE, "blue", 1200)) == [(True, "mandate")]


def test_an_older_word_about_a_mandate_does_not_overtake_a_newer_one(db: Engine, city: Lot) -> None:
    charge(db, city, "S1")
    mandate(db, after=timedelta(minutes=1))
    mandate(db, state="none")
    assert ask(db, city, Asked(PLATE, "blue")) == [(True, "mandate")]
    mandate(db, state="none", after=timedelta(minutes=2))
    assert ask(db, city, Asked(PLATE, "blue")) == [(False, "no_mandate")]


def test_debts_at_other_operators_count(db: Engine, city: Lot) -> None:
    rule(db)
    with db.begin() as tx:
        other = make_city(tx, number=2)
    leave(db, charge(db, other, "S1"), charge(db, other, "S2"))
    assert ask(db, city, Asked(PLATE, "blue"), Asked("苏B99999")) == [(False, "too_many_debts"), (True, "policy")]


def test_another_colour_of_the_number_is_another_car_and_an_unknown_colour_is_any(db: Engine, city: Lot) -> None:
    rule(db, debts_max=1)
    leave(db, charge(db, city, "S1", plate_color="blue"))
    assert ask(db, city, Asked(PLATE, "yellow"), Asked(PLATE, "blue"), Asked(PLATE)) == [
        (True, "policy"), (False, "too_many_debts"), (False, "too_many_debts"),
    ]  # fmt: skip


def test_disputed_debts_cards_and_an_owner_before_do_not_count(db: Engine, city: Lot) -> None:
    rule(db, debts_max=1)
    leave(db, charge(db, city, "S1"))
    leave(db, charge(db, city, "S2", plate="苏B22222"), basis="card")
    assert ask(db, city, Asked("苏B22222", "blue")) == [(True, "policy")]
    with db.begin() as tx:
        tx.execute(text("update payments.debt set disputed_at = :at where basis = 'policy'"), {"at": AT})
    assert ask(db, city, Asked(PLATE, "blue")) == [(True, "policy")]
    with db.begin() as tx:
        tx.execute(text("update payments.debt set disputed_at = null"))
        tx.execute(text("update payments.plate set held_since = :at"), {"at": AT + timedelta(minutes=1)})
    assert ask(db, city, Asked(PLATE, "blue")) == [(True, "policy")]


def test_a_lots_rule_comes_before_its_operators_and_a_later_one_replaces_an_earlier_one(db: Engine, city: Lot) -> None:
    rule(db)
    rule(db, lot=city, lot_id=None, admits="mandate")
    assert ask(db, city, Asked(PLATE)) == [(False, "no_mandate")]
    rule(db, lot=city)
    assert ask(db, city, Asked(PLATE)) == [(True, "policy")]
    rule(db, lot=city, admits="nobody", valid_from=AT + timedelta(days=1))
    assert ask(db, city, Asked(PLATE)) == [(True, "policy")]


def test_the_same_rule_again_is_the_same_and_another_of_its_time_is_refused(db: Engine, city: Lot) -> None:
    assert rule(db) == rule(db)
    with pytest.raises(Conflict):
        rule(db, debts_max=5)


@pytest.mark.parametrize(
    "wrong", [{"document": " "}, {"lot_id": 1}, {"debts_max": 0}, {"due_days": -1}, {"valid_from": AT - timedelta(1)}]
)
def test_a_rule_that_cannot_be_is_refused(db: Engine, city: Lot, wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        rule(db, **wrong)
    assert refused.value.code == "leave_rule_invalid"


def test_a_plate_on_a_status_list_does_not_leave_first(db: Engine, city: Lot) -> None:
    rule(db)
    lists = text("""
        with made as (
            insert into payments.status_list (kind, province, version, step, due_at) values ('PLATE', '32', '1', 1, :at)
        )
        insert into payments.status_entry (kind, province, entry, is_listed, step) values ('PLATE', '32', :entry, true, 1)
        """)
    with db.begin() as tx:
        tx.execute(lists, {"at": AT, "entry": plate_entry(PLATE, "blue")})
    assert ask(db, city, Asked(PLATE, "blue"), Asked(PLATE)) == [(False, "listed"), (True, "policy")]
