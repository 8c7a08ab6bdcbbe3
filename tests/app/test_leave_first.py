"""Questions at many barriers are answered together, and each gets its own answer."""

import asyncio
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from app.api.leave_first import CARS_MAX, Question, Questions
from app.auth import Caller
from app.wiring import Wiring
from ledger.db import engine
from payments.lots import Lot
from payments.owed import leaving
from payments.owed.leaving import Asked, NewRule
from tests.app.conftest import City
from tests.payments.conftest import AT

PLATE = "苏B12345"
CITY = Caller(client_id="city", scope="city")


@pytest.fixture
def rules(product: Wiring, two_lots: City) -> City:
    """Everyone may leave our lot, nobody theirs."""
    said: dict[str, Any] = {
        "valid_from": AT, "document": "doc", "debts_max": 3, "owed_fen_max": 30000, "overdue_days_max": 30, "checks_lists": True,
        "due_days": 30,
    }  # fmt: skip
    with product.db.begin() as tx:
        for lot, admits in ((two_lots.ours, "everyone"), (two_lots.theirs, "nobody")):
            rule = NewRule(operator_id=lot.operator_id, lot_id=lot.lot_id, admits=admits, **said)  # type: ignore[arg-type]
            leaving.enter_rule(tx, rule=rule, at=AT)
    return two_lots


def of(lot: Lot) -> Caller:
    return Caller(client_id=lot.code, scope="lot", lot_id=lot.lot_id, operator_id=lot.operator_id)


def question(caller: Caller, code: str, *, amount_fen: int = 0, cars: int = 1) -> Question:
    return Question(caller, code, [Asked(PLATE, "blue", amount_fen)] * cars)


def reasons(product: Wiring, *questions: Question) -> list[list[str] | str]:
    """Ask at the same moment; the reasons of each answer, or the code of its refusal."""

    async def asked() -> list[Any]:
        together = Questions(db=product.db, clock=product.clock)
        return await asyncio.gather(*(together.ask(one) for one in questions), return_exceptions=True)

    return [
        [one.reason for one in found] if isinstance(found, list) else found.code for found in asyncio.run(asked())
    ]  # fmt: skip


def test_questions_of_many_lots_are_answered_by_the_rule_of_each(product: Wiring, rules: City) -> None:
    ours, theirs = rules.ours, rules.theirs
    found = reasons(
        product,
        question(of(ours), ours.code),
        question(of(theirs), theirs.code, cars=2),
        question(of(ours), ours.code, amount_fen=30001),
        question(CITY, theirs.code),
    )
    assert found == [["policy"], ["not_admitted", "not_admitted"], ["owes_too_much"], ["not_admitted"]]


def test_who_may_not_see_a_lot_learns_nothing_and_stops_nobody(product: Wiring, rules: City) -> None:
    ours, theirs = rules.ours, rules.theirs
    found = reasons(
        product,
        question(of(theirs), ours.code),
        question(of(ours), ours.code),
        question(of(ours), "lot-99"),
        question(CITY, "\x00"),
        question(CITY, "苏" * 500),
        question(CITY, theirs.code),
    )
    assert found == ["lot_not_found", ["policy"], "lot_not_found", "lot_not_found", "lot_not_found", ["not_admitted"]]


def test_more_cars_than_one_read_takes_are_answered_one_read_after_the_other(product: Wiring, rules: City) -> None:
    many = [question(of(rules.ours), rules.ours.code, cars=cars) for cars in (1, CARS_MAX, CARS_MAX - 1, 2, 0)]
    assert [len(found) for found in reasons(product, *many)] == [1, CARS_MAX, CARS_MAX - 1, 2, 0]


def test_who_asks_again_at_the_moment_of_the_answer_is_answered(product: Wiring, rules: City) -> None:
    ours = rules.ours

    async def one(together: Questions) -> int:
        told = [await together.ask(question(of(ours), ours.code)) for _ in range(10)]
        return sum(leave.may_leave for [leave] in told)

    async def several() -> list[int]:
        together = Questions(db=product.db, clock=product.clock)
        return await asyncio.wait_for(asyncio.gather(*(one(together) for _ in range(6))), 30)

    assert asyncio.run(several()) == [10] * 6


def test_who_goes_away_leaves_the_others_their_answers(product: Wiring, rules: City) -> None:
    ours = rules.ours

    async def some() -> list[Any]:
        together = Questions(db=product.db, clock=product.clock)
        asking = [asyncio.create_task(together.ask(question(of(ours), ours.code))) for _ in range(4)]
        await asyncio.sleep(0)
        asking[1].cancel()
        return await asyncio.gather(*asking, return_exceptions=True)

    found = asyncio.run(some())
    assert isinstance(found[1], asyncio.CancelledError)
    assert [found[place][0].reason for place in (0, 2, 3)] == ["policy"] * 3


def test_a_database_that_is_away_is_told_to_everyone_and_the_next_question_is_answered(product: Wiring, rules: City) -> None:
    ours = rules.ours
    nowhere = engine("postgresql+psycopg://nobody@127.0.0.1:1/none")

    async def both() -> tuple[list[Any], list[leaving.Leave]]:
        together = Questions(db=nowhere, clock=product.clock)
        asking = [together.ask(question(of(ours), ours.code)) for _ in range(3)]
        failed = await asyncio.gather(*asking, return_exceptions=True)
        together._db = product.db
        return failed, await together.ask(question(of(ours), ours.code))

    failed, [answered] = asyncio.run(both())
    assert [type(one) for one in failed] == [OperationalError] * 3
    assert answered.reason == "policy"
