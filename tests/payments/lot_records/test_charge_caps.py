"""The most that one stay may cost: by lot, operator and city, from a date on."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from ledger.errors import Conflict, Refused
from payments import charges
from payments.lot_records import charge_caps
from payments.lot_records.charge_caps import Cap, NewCap
from payments.lots import Lot
from tests.payments.conftest import AT, IDS, new_charge


def enter(db: Engine, **other: Any) -> None:
    said: dict[str, Any] = {"valid_from": AT, "document": "doc", "charge_fen_max": 10_000} | other
    with db.begin() as tx:
        charge_caps.enter(tx, cap=NewCap(**said), at=AT)


def post(db: Engine, lot: Lot, *amounts: int, minutes: int = 120) -> list[str]:
    sent = [new_charge(f"S{fen}-{minutes}", amount_fen=fen, minutes=minutes) for fen in amounts]
    with db.begin() as tx:
        made = charges.post(tx, lane=0, lot=lot, charges=sent, at=AT, ids=IDS)
    return [one.reason or one.outcome for one in made]


def test_without_a_cap_only_what_no_stay_costs_is_refused(db: Engine, city: Lot) -> None:
    assert post(db, city, 5_000_000, 5_000_001) == ["created", "amount_invalid"]


def test_the_lots_cap_comes_before_its_operators_before_the_citys(db: Engine, city: Lot) -> None:
    enter(db)
    assert post(db, city, 10_000, 10_001) == ["created", "amount_above_lot_cap"]
    enter(db, operator_id=city.operator_id, charge_fen_max=20_000)
    assert post(db, city, 20_000, 20_001) == ["created", "amount_above_lot_cap"]
    enter(db, operator_id=city.operator_id, lot_id=city.lot_id, charge_fen_max=500)
    assert post(db, city, 500, 501) == ["created", "amount_above_lot_cap"]
    enter(db, operator_id=city.operator_id, lot_id=city.lot_id, charge_fen_max=900, valid_from=AT + timedelta(seconds=1))
    assert post(db, city, 600) == ["amount_above_lot_cap"]


def test_a_cap_by_day_grows_with_each_begun_day() -> None:
    cap = Cap(charge_fen_max=10_000, day_fen_max=4_000)
    assert [cap.allows(fen, minutes) for fen, minutes in ((4_000, 0), (4_001, 1440), (4_001, 1441), (10_001, 99_999))] == [
        True, False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [{"charge_fen_max": 0}, {"day_fen_max": 0}, {"document": " "}, {"lot_id": 1}, {"valid_from": AT - timedelta(days=1)}]
)
def test_a_cap_that_cannot_be_is_refused(db: Engine, city: Lot, wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        enter(db, **wrong)
    assert refused.value.code == "charge_cap_invalid"


def test_two_caps_of_one_moment_are_a_conflict(db: Engine, city: Lot) -> None:
    enter(db)
    with pytest.raises(Conflict):
        enter(db, charge_fen_max=7)
