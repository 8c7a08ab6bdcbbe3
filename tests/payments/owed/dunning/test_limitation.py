"""The limitation clock: three years, begun anew by what the law names and by nothing else."""

from datetime import date, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from payments.lots import Lot
from payments.owed.dunning import limitation
from payments.owed.dunning.limitation import Act, ActKind, ends_on
from tests.payments.conftest import AT
from tests.payments.owed.owing import desk, owe

__all__ = ["desk"]
ONE, SOURCE = UUID(int=256), UUID(int=512)
DUE = date(2023, 3, 1)


def act(day: date, kind: ActKind = "demand") -> Act:
    return Act(day, kind, ONE, SOURCE)


@pytest.mark.parametrize(
    ("acts", "expected"),
    [
        ([], date(2026, 3, 1)),
        ([act(date(2024, 5, 1))], date(2027, 5, 1)),
        ([act(date(2026, 3, 1))], date(2029, 3, 1)),
        ([act(date(2026, 3, 2))], date(2026, 3, 1)),
        ([act(date(2026, 3, 2), "acknowledged")], date(2029, 3, 2)),
        ([act(date(2027, 5, 1)), act(date(2024, 5, 1))], date(2030, 5, 1)),
        ([act(date(2022, 1, 1))], date(2026, 3, 1)),
        ([act(date(2024, 2, 29))], date(2027, 2, 28)),
    ],
)
def test_each_act_in_time_begins_three_years_anew(acts: list[Act], expected: date) -> None:
    assert ends_on(DUE, acts) == expected


def test_an_act_moves_the_end_of_a_debt_once_and_a_void_one_moves_it_back(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200, overdue_days=400)
    before = desk.execute(text("select limitation_on from payments.debt")).scalar_one()
    demand = Act(AT.date(), "demand", one, SOURCE)
    assert limitation.begin_anew(desk, lane=0, acts=[demand]) == 1
    assert limitation.begin_anew(desk, lane=0, acts=[demand]) == 0
    assert desk.execute(text("select limitation_on from payments.debt")).scalar_one() == date(2029, 3, 2)
    assert limitation.void(desk, lane=0, source_id=SOURCE, at=AT) == 1
    assert desk.execute(text("select limitation_on from payments.debt")).scalar_one() == before


def test_debts_whose_years_end_soon_are_named_the_earliest_first(desk: Connection, city: Lot) -> None:
    late, later = owe(desk, city, 100, 200, overdue_days=3 * 365 - 5)
    owe(desk, city, 300, overdue_days=10)
    desk.execute(text("update payments.debt set limitation_on = limitation_on + 3 where charge_id = :id"), {"id": later})
    found = limitation.ending(desk, lane=0, until=AT.date() + timedelta(days=30))
    assert [one.charge_id for one in found] == [late, later]
