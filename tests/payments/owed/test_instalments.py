"""A kept plan lets dunning rest; a missed part ends it."""

from datetime import date, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from ledger.errors import Conflict, NotFound, Refused
from payments.lots import Lot
from payments.owed import instalments
from payments.owed.instalments import Checked, Part, Plan, next_fen, spread
from tests.payments.conftest import AT, make_attempt
from tests.payments.owed.owing import CHECKER, IDS, MAKER, desk, owe

__all__ = ["desk"]
DAYS = [date(2026, 3, 10), date(2026, 4, 10), date(2026, 5, 10)]
PARTS = tuple(Part(n, day, 500) for n, day in enumerate(DAYS, 1))


def agree(tx: Connection, lot: Lot, days: list[date] = DAYS, *, by: str = MAKER) -> Plan:
    return instalments.agree(
        tx, lane=0, plate="苏B12345", plate_color="blue", operator_id=lot.operator_id, due_on=days, document="分期协议 1",
        by=by, at=AT, ids=IDS,
    )  # fmt: skip


def pay(tx: Connection, charge_id: UUID, fen: int) -> None:
    tx.execute(text("update payments.debt set owed_fen = owed_fen - :fen where charge_id = :id"), {"id": charge_id, "fen": fen})


def test_a_plan_divides_what_is_owed_and_lets_dunning_rest(desk: Connection, city: Lot) -> None:
    owe(desk, city, 1000, 501, overdue_days=40)
    plan = agree(desk, city)
    assert [part.amount_fen for part in plan.parts] == [501, 500, 500]
    assert [part.due_on for part in plan.parts] == DAYS
    rows = desk.execute(text("select distinct paused_until, limitation_on from payments.debt")).all()
    assert rows == [(date(2026, 5, 11), date(2029, 3, 2))]
    with pytest.raises(Conflict, match="runs already"):
        agree(desk, city)


def test_a_kept_plan_ends_when_nothing_is_owed_any_more(desk: Connection, city: Lot) -> None:
    first, second = owe(desk, city, 1000, 500)
    plan = agree(desk, city)
    pay(desk, first, 500)
    assert instalments.check(desk, lane=0, at=AT + timedelta(days=9)) == Checked(0, 0)
    pay(desk, first, 500)
    pay(desk, second, 500)
    assert instalments.check(desk, lane=0, at=AT + timedelta(days=9)) == Checked(1, 0)
    assert instalments.by_id(desk, lane=0, plan_id=plan.plan_id).state == "kept"
    assert instalments.check(desk, lane=0, at=AT + timedelta(days=90)) == Checked(0, 0)


def test_a_missed_part_ends_the_plan_and_dunning_goes_on(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1500)
    plan = agree(desk, city)
    assert instalments.check(desk, lane=0, at=AT + timedelta(days=8)) == Checked(0, 0)
    assert instalments.payable(desk, lane=0, plan_id=plan.plan_id, at=AT) == [(one, 500)]
    assert instalments.check(desk, lane=0, at=AT + timedelta(days=9)) == Checked(0, 1)
    assert desk.execute(text("select paused_until from payments.debt")).scalar_one() is None
    assert [x.state for x in instalments.of_plate(desk, lane=0, plate_id=plan.plate_id)] == ["missed"]
    assert agree(desk, city).state == "running"


@pytest.mark.parametrize(
    ("paid_fen", "today", "expected"),
    [
        (0, DAYS[0], 500),
        (500, DAYS[0], 500),
        (700, DAYS[0], 300),
        (0, DAYS[2], 1500),
        (1500, DAYS[0], 0),
        (600, date(2027, 1, 1), 900),
    ],
)
def test_what_is_overdue_and_the_next_part_are_payable(paid_fen: int, today: date, expected: int) -> None:
    assert next_fen(PARTS, paid_fen, today) == expected


def test_an_amount_is_spread_over_debts_in_their_order() -> None:
    a, b = UUID(int=256), UUID(int=512)
    assert spread(700, [(a, 500), (b, 500)]) == [(a, 500), (b, 200)]
    assert spread(0, [(a, 500)]) == []


def test_what_cannot_be_a_plan_is_refused(desk: Connection, city: Lot) -> None:
    with pytest.raises(NotFound, match="owes nothing"):
        agree(desk, city)
    [one] = owe(desk, city, 1500)
    for days in (DAYS[:1], DAYS[::-1], [date(2026, 3, 1), date(2026, 4, 1)], [date(2026, 4, 1), date(2031, 4, 1)]):
        with pytest.raises(Refused, match="rising days"):
            agree(desk, city, days)
    with pytest.raises(Refused, match="not propose"):
        agree(desk, city, by=CHECKER)
    with pytest.raises(NotFound, match="no plan"):
        instalments.by_id(desk, lane=0, plan_id=UUID(int=256))
    make_attempt(desk, city, one)
    with pytest.raises(Conflict, match="paying"):
        agree(desk, city)
