"""The demo city: made once, never twice, and its own car always owes something."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from app import demo
from gateways import routing
from ledger.books import open_lane
from ledger.ids import SeededIds
from payments import charges, lots
from payments.tariffs import quotes

AT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
IDS = SeededIds(1)


@pytest.fixture
def city(tx: Connection) -> Connection:
    open_lane(tx, lane=0, origin="test/lane0")
    assert demo.fill(tx, lane=0, providers={"wechat": "1900000001"}, at=AT, ids=IDS)
    return tx


def test_every_operator_has_a_book_a_lot_and_a_merchant_account_of_its_own(city: Connection) -> None:
    operators = lots.operators(city)
    accounts = [routing.choose(city, operator_id=item.operator_id, channel="wechat", at=AT) for item in operators]
    assert len({item.book_id for item in operators}) == len(operators) == 9
    assert len({account.merchant_no for account in accounts if account}) == 9
    assert {lot.operator_id for lot in lots.lots(city, limit=100)} == {item.operator_id for item in operators}


def test_every_lot_has_something_to_pay(city: Connection) -> None:
    for lot in lots.lots(city, limit=100):
        due = [charge for plate in demo._PLATES for charge in charges.due(city, lane=0, lot_id=lot.lot_id, plate=plate)]
        assert len(due) == 5


def test_a_city_that_exists_is_left_alone(city: Connection) -> None:
    assert not demo.fill(city, lane=0, providers={"wechat": "1900000001"}, at=AT, ids=IDS)
    assert len(lots.operators(city)) == 9


def test_the_demo_car_owes_one_charge_however_often_it_is_asked_for(city: Connection) -> None:
    for _ in range(2):
        lot = demo.ensure_due(city, lane=0, at=AT, ids=IDS)
    assert len(charges.due(city, lane=0, lot_id=lot.lot_id, plate=demo.PLATE)) == 1


@pytest.mark.parametrize(
    ("minutes", "due_fen"), [(30, 0), (31, 500), (60, 500), (61, 1000), (720, 6000), (1440, 6000), (1441, 6500), (2881, 12500)]
)
def test_the_demo_tariff_counts_begun_hours_caps_the_day_and_begins_anew(minutes: int, due_fen: int) -> None:
    assert demo.Tariff(500, 6000).due_fen(minutes) == due_fen


def test_a_car_that_stood_at_a_road_berth_before_the_demo_began_is_priced(city: Connection) -> None:
    for code in ("LX-0003", "BH-0002", "YX-0002"):
        lot = lots.lot_by_code(city, code=code)
        priced = quotes.quote(
            city, lane=0, lot=lot, plate_color="blue", entered_at=AT - timedelta(hours=30), left_at=AT, looks_ahead=False
        )
        assert priced.amount_fen > 0
