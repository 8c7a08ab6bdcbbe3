"""Operators and lots: registered once, each operator with a book of its own."""

from datetime import UTC, datetime

import msgspec
import pytest
from sqlalchemy import Connection, text

from ledger.books import open_lane
from ledger.errors import Conflict, NotFound, Refused
from payments.lots import (
    NewLot,
    NewOperator,
    lot_by_code,
    lot_by_id,
    lots,
    operator_by_code,
    operators,
    register_lots,
    register_operators,
)

AT = datetime(2026, 3, 2, 1, tzinfo=UTC)
LIANGXI = NewOperator("LX01", "无锡梁溪停车管理有限公司", "91320200MA0000001A", "梁溪", "government")
BINHU = NewOperator("BH01", "无锡滨湖停车服务有限公司", "91320200MA0000002B", "滨湖", "soe")
LOT = NewLot("LX01-01", "LX01", "中山路地面停车场", "梁溪", "中山路 100 号", 80, "gate", "每小时 4 元, 30 分钟内免费。")


@pytest.fixture
def city(tx: Connection) -> Connection:
    open_lane(tx, lane=0, origin="test.example/lane0")
    return tx


def test_each_operator_gets_a_book_in_its_own_legal_name(city: Connection) -> None:
    liangxi, binhu = register_operators(city, operators=[LIANGXI, BINHU], at=AT)
    books = city.execute(text("select book_id, owner_kind, owner_name, lane from ledger.book order by book_id")).all()
    assert [tuple(book) for book in books] == [
        (liangxi.book_id, "operator", LIANGXI.legal_name, 0),
        (binhu.book_id, "operator", BINHU.legal_name, 0),
    ]
    assert (liangxi.operator_id, binhu.operator_id) == (1, 2)


def test_registering_again_changes_nothing_and_opens_no_second_book(city: Connection) -> None:
    first = register_operators(city, operators=[LIANGXI], at=AT)
    assert register_operators(city, operators=[BINHU, LIANGXI], at=AT)[1] == first[0]
    assert city.execute(text("select count(*) from ledger.book")).scalar_one() == 2


def test_a_code_taken_by_another_operator_is_a_conflict(city: Connection) -> None:
    register_operators(city, operators=[LIANGXI], at=AT)
    with pytest.raises(Conflict, match="legal_name") as refused:
        register_operators(city, operators=[msgspec.structs.replace(LIANGXI, legal_name="别家公司")], at=AT)
    assert refused.value.code == "operator_conflict"


def test_a_credit_code_belongs_to_one_operator_only(city: Connection) -> None:
    register_operators(city, operators=[LIANGXI], at=AT)
    with pytest.raises(Conflict) as refused:
        register_operators(city, operators=[msgspec.structs.replace(BINHU, credit_code=LIANGXI.credit_code)], at=AT)
    assert refused.value.code == "credit_code_taken"


@pytest.mark.parametrize("change", [{"code": "梁溪"}, {"code": "A"}, {"code": "A/B"}, {"credit_code": "123"}, {"legal_name": "  "}])
def test_an_operator_without_a_proper_form_is_refused(city: Connection, change: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        register_operators(city, operators=[msgspec.structs.replace(LIANGXI, **change)], at=AT)
    assert refused.value.code == "operator_invalid"


def test_a_lot_is_found_by_its_code_and_by_its_number_with_its_payee(city: Connection) -> None:
    register_operators(city, operators=[LIANGXI], at=AT)
    (lot,) = register_lots(city, lots=[LOT], at=AT)
    assert lot.operator_name == LIANGXI.legal_name
    assert lot_by_code(city, code="LX01-01") == lot == lot_by_id(city, lot_id=lot.lot_id)


def test_many_lots_are_registered_at_once_in_the_order_given(city: Connection) -> None:
    register_operators(city, operators=[LIANGXI, BINHU], at=AT)
    many = [msgspec.structs.replace(LOT, code=f"L{n:04d}", operator_code=("LX01", "BH01")[n % 2]) for n in range(2000)]
    registered = register_lots(city, lots=many, at=AT)
    assert [lot.code for lot in registered] == [lot.code for lot in many]
    assert [lot.lot_id for lot in registered] == list(range(1, 2001))
    assert [lot.code for lot in lots(city, limit=2, operator_id=2)] == ["L0001", "L0003"]
    assert register_lots(city, lots=many, at=AT) == registered


def test_a_lot_code_taken_by_other_content_is_a_conflict(city: Connection) -> None:
    register_operators(city, operators=[LIANGXI], at=AT)
    register_lots(city, lots=[LOT], at=AT)
    with pytest.raises(Conflict, match="tariff_text"):
        register_lots(city, lots=[msgspec.structs.replace(LOT, tariff_text="免费。")], at=AT)


def test_a_lot_of_an_unknown_operator_is_refused(city: Connection) -> None:
    with pytest.raises(NotFound) as refused:
        register_lots(city, lots=[LOT], at=AT)
    assert refused.value.code == "operator_not_found"


@pytest.mark.parametrize("change", [{"berths": 0}, {"name": ""}, {"code": "a b"}])
def test_a_lot_without_a_proper_form_is_refused(city: Connection, change: dict[str, object]) -> None:
    with pytest.raises(Refused) as refused:
        register_lots(city, lots=[msgspec.structs.replace(LOT, **change)], at=AT)
    assert refused.value.code == "lot_invalid"


def test_a_code_twice_in_one_call_is_refused(city: Connection) -> None:
    register_operators(city, operators=[LIANGXI], at=AT)
    with pytest.raises(Refused):
        register_lots(city, lots=[LOT, LOT], at=AT)


def test_what_is_not_registered_is_not_found(city: Connection) -> None:
    assert operators(city) == []
    for look_up in (
        lambda: operator_by_code(city, code="NOPE"),
        lambda: lot_by_code(city, code="NOPE"),
        lambda: lot_by_id(city, lot_id=99),
    ):
        with pytest.raises(NotFound):
            look_up()
