"""A price that has ended is marked: no list shows it as due, no report as owed; a late payment or the lot may come back."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

from ledger.ids import RandomIds
from payments.invariants import check
from payments.lots import Lot
from payments.mandates import deduction_plan_store
from payments.owed import debt_ageing, debt_list, debts, leaving
from payments.owed.debt_list import Scope
from payments.owed.debts import Left
from payments.quoting import ending
from payments.results import apply
from tests.payments.conftest import AT, IDS, make_attempt
from tests.payments.quoting.test_asked_quotes import MINUTE, PLATE, charge_of, due, quote, take

OVER = AT + 16 * MINUTE


def end(db: Engine, at: datetime = OVER) -> int:
    return ending.end_all(db, lane=0, at=at)


def states(db: Engine) -> dict[str, str]:
    with db.connect() as tx:
        rows = tx.execute(text("select serial, state from payments.v_charge_quote order by serial"))
        return {row.serial: row.state for row in rows}


def sound(db: Engine) -> bool:
    with db.connect() as tx:
        return check(tx) == []


def test_a_price_is_marked_when_it_has_ended_and_not_before(db: Engine, city: Lot) -> None:
    take(db, city, quote(), quote("Q2", "P2", valid_until=AT + 60 * MINUTE))
    assert end(db, AT + 14 * MINUTE) == 0
    assert end(db) == 1
    assert states(db) == {"Q1": "ended", "Q2": "open"}
    assert (end(db), charge_of(db, city, "Q1").owed_fen) == (0, 1200), "the charge is as it was"
    assert sound(db)


def test_many_are_marked_batch_by_batch(db: Engine, city: Lot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "BATCH", 2)
    take(db, city, *(quote(f"Q{number}", f"P{number}") for number in range(5)))
    assert end(db) == 5
    assert set(states(db).values()) == {"ended"}


def test_a_price_that_somebody_is_paying_is_not_marked_and_a_late_payment_of_a_marked_one_pays_it(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    with db.begin() as tx:
        paying = make_attempt(tx, city, charge_of(db, city, "Q1").charge_id)
    assert end(db) == 0
    with db.begin() as tx:
        tx.execute(text("update payments.payment set state = 'closed'"))
    assert end(db) == 1
    with db.begin() as tx:
        [outcome] = apply(tx, lane=0, notices=[paying.callback()], at=OVER, ids=IDS)
    assert outcome.finding.value == "settled"
    assert states(db) == {"Q1": "settled"}
    assert sound(db)


def test_a_price_that_the_lot_names_again_stands_again(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    end(db)
    assert take(db, city, quote(valid_until=OVER + 15 * MINUTE), at=OVER) == []
    assert (due(db, city, at=OVER), states(db)) == ({"Q1": 1200}, {"Q1": "open"})
    assert end(db, OVER + 15 * MINUTE) == 1


def test_a_newer_price_of_the_stay_takes_the_place_of_one_that_has_ended(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    end(db)
    take(db, city, quote("Q2", amount_fen=1800, valid_until=OVER + 15 * MINUTE), at=OVER)
    assert (due(db, city, at=OVER), states(db)) == ({"Q2": 1800}, {"Q1": "superseded", "Q2": "open"})
    assert charge_of(db, city, "Q1").state == "credited"


def test_a_stay_whose_plate_was_read_wrongly_has_a_price_under_the_right_one(db: Engine, city: Lot) -> None:
    take(db, city, quote(plate="苏B54321"), plate="苏B54321")
    end(db)
    take(db, city, quote("Q2", valid_until=OVER + 15 * MINUTE), at=OVER)
    assert (due(db, city, at=OVER), due(db, city, at=OVER, plate="苏B54321")) == ({"Q2": 1200}, {})


def test_an_answer_leaves_alone_what_has_ended_of_other_stays(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    end(db)
    before = _row(db)
    take(db, city, quote("Q2", "P2", valid_until=OVER + 15 * MINUTE), at=OVER)
    assert _row(db) == before


def _row(db: Engine) -> Any:
    with db.connect() as tx:
        return tx.execute(text("select q.*, q.xmin::text from payments.charge_quote q where serial = 'Q1'")).one()


def test_a_car_that_leaves_without_paying_owes_the_newest_price_also_after_its_end(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    end(db)
    _leave(db, city)
    assert states(db) == {"Q1": "debt"}
    assert due(db, city, at=OVER) == {"Q1": 1200}
    assert _owed(db) == {"v_debt": 1200}


def _leave(db: Engine, lot: Lot) -> None:
    with db.begin() as tx:
        left = [Left(charge_of(db, lot, "Q1").charge_id, "policy", OVER)]
        debts.open_debts(tx, lane=0, left=left, evidence_id=IDS.new(AT, "exit"), at=OVER, ids=RandomIds())


def _owed(db: Engine) -> dict[str, int]:
    """What is owed by each published view that says so; those that say nothing are left out."""
    with db.connect() as tx:
        views = tx.execute(
            text("""
            select c.table_name from information_schema.columns c
            join information_schema.views v on (v.table_schema, v.table_name) = (c.table_schema, c.table_name)
            where c.table_schema in ('payments', 'reconciliation') and c.column_name = 'owed_fen' order by 1
            """)
        ).scalars()
        sums = {
            view: tx.execute(text(f"select coalesce(sum(owed_fen), 0)::bigint from payments.{view}")).scalar_one() for view in views
        }
    assert "v_debt" in sums
    return {view: owed for view, owed in sums.items() if owed}


def test_nothing_that_lists_reports_or_collects_what_is_owed_knows_a_price_that_has_ended(db: Engine, city: Lot) -> None:
    """The same reads know it as soon as the car has left without paying."""
    with db.begin() as tx:
        rule = leaving.NewRule(
            operator_id=None, lot_id=None, valid_from=AT, document="文件 1", admits="everyone", debts_max=1,
            owed_fen_max=100_000, overdue_days_max=30, checks_lists=False, due_days=0,
        )  # fmt: skip
        leaving.enter_rule(tx, rule=rule, at=AT)
    take(db, city, quote())
    with db.begin() as tx:
        tx.execute(text("insert into payments.mandate select plate_id, 'etc', 'open', :at from payments.plate"), {"at": AT})
    end(db)
    assert (due(db, city, at=OVER), _owed(db), _collected(db, city)) == ({}, {}, (0, 0, 0, True, 0))
    _leave(db, city)
    assert _collected(db, city) == (1, 1200, 1, False, 1)


def _collected(db: Engine, lot: Lot) -> tuple[int, int, int, bool, int]:
    """Debts of the ageing, their sum, lines of the list, whether the plate may leave first, debts that are to be deducted."""
    today = AT.date()
    with db.begin() as tx:
        ages = [one.total for one in debt_ageing.ageing(tx, lane=0, by="lot", today=today)]
        listed = debt_list.listed(tx, lane=0, scope=Scope(plate=PLATE), today=today, only_owed=False)
        cars = [leaving.Asked(PLATE, "blue", 100)]
        [leave] = leaving.ask(tx, operator_id=lot.operator_id, lot_id=lot.lot_id, cars=cars, at=OVER)
        planned, _ = deduction_plan_store.plan(tx, lane=0, at=OVER, behind=None, limit=9)
    return sum(one.debts for one in ages), sum(one.owed_fen for one in ages), len(listed), leave.may_leave, planned
