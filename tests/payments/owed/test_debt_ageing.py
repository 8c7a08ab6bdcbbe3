"""What is owed by age: each debt stands in one bucket, and the sums are what the books carry."""

from datetime import date

from sqlalchemy import Connection, text

from payments.lots import Lot
from payments.owed.debt_ageing import Bucket, ageing
from tests.payments.conftest import AT, make_city
from tests.payments.owed.owing import desk, owe, receivable

__all__ = ["desk"]
TODAY = date(2026, 3, 2)
EDGES = {
    0: "not_due", 1: "days_0_30", 30: "days_0_30", 31: "days_31_60", 60: "days_31_60", 61: "days_61_90", 90: "days_61_90",
    91: "days_91_180", 180: "days_91_180", 181: "days_181_365", 365: "days_181_365", 366: "days_over_365", -5: "not_due",
}  # fmt: skip


def test_each_day_lies_in_one_bucket(desk: Connection, city: Lot) -> None:
    for days in EDGES:
        owe(desk, city, 100, overdue_days=days)
    [row] = ageing(desk, lane=0, by="operator", today=TODAY)
    wanted = list(EDGES.values())
    assert {name: getattr(row, name).debts for name in set(wanted)} == {name: wanted.count(name) for name in set(wanted)}
    assert row.total == Bucket(len(EDGES), 100 * len(EDGES))


def test_the_sums_are_the_receivables_of_the_books(desk: Connection, city: Lot) -> None:
    other = make_city(desk, number=2)
    owe(desk, city, 100, 250, overdue_days=10)
    owe(desk, other, 400, overdue_days=100)
    desk.execute(text("update payments.debt set disputed_at = :at where owed_fen = 250"), {"at": AT})
    for by in ("operator", "lot", "district"):
        rows = ageing(desk, lane=0, by=by, today=TODAY)
        assert sum(row.total.owed_fen for row in rows) == receivable(desk) == 750
        assert sum(row.disputed.owed_fen for row in rows) == 250
    assert [row.code for row in ageing(desk, lane=0, by="lot", today=TODAY)] == ["lot-1", "lot-2"]
    assert [row.code for row in ageing(desk, lane=0, by="lot", today=TODAY, after="lot-1")] == ["lot-2"]
    assert [row.total.owed_fen for row in ageing(desk, lane=0, by="district", today=TODAY, operator_id=other.operator_id)] == [400]
    assert ageing(desk, lane=0, by="lot", today=TODAY, lot_id=city.lot_id, district="滨湖区") == []
