"""Lots are found by what people know of them."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection

from ledger.books import open_lane
from payments import lot_search, lots
from payments.lots import NewLot, NewOperator

AT = datetime(2026, 3, 1, 4, tzinfo=UTC)


@pytest.fixture
def tx(tx: Connection) -> Connection:
    open_lane(tx, lane=0, origin="tongting.example/lane0")
    lots.register_operators(
        tx, operators=[NewOperator("LX", "无锡梁溪示范停车管理有限公司", "91320213MA0DEM0011", "梁溪区", "government")], at=AT
    )
    found = [
        ("LX-01", "中山路停车场", "梁溪区", "中山路 100 号"), ("LX-02", "人民医院停车场", "梁溪区", "中山路 200 号"),
        ("BH-01", "湖滨公园停车场", "滨湖区", "环湖路 6 号"), ("BH-02", "100%满意停车场", "滨湖区", "环湖路_8 号"),
    ]  # fmt: skip
    wanted = [NewLot(code, "LX", name, district, address, 10, "gate", "每小时5元") for code, name, district, address in found]
    lots.register_lots(tx, lots=wanted, at=AT)
    return tx


@pytest.mark.parametrize(
    ("typed", "codes"),
    [
        ("", ["LX-01", "LX-02", "BH-01", "BH-02"]),
        ("中山路", ["LX-01", "LX-02"]),
        ("人民医院", ["LX-02"]),
        ("bh-01", ["BH-01"]),
        ("梁溪 200", ["LX-02"]),
        ("滨湖区 中山路", []),
        ("100%", ["BH-02"]),
        ("%", ["BH-02"]),
        ("_8", ["BH-02"]),
        ("\\", []),
        ("湖滨 停车场 BH 6 nothing of this is looked at", ["BH-01"]),
    ],
)
def test_every_word_occurs_in_name_code_district_or_address(tx: Connection, typed: str, codes: list[str]) -> None:
    assert [lot.code for lot in lot_search.found(tx, typed=typed, skip=0, limit=10)] == codes


def test_a_page_follows_the_other(tx: Connection) -> None:
    pages = [[lot.code for lot in lot_search.found(tx, typed="停车场", skip=skip, limit=3)] for skip in (0, 3, 6)]
    assert pages == [["LX-01", "LX-02", "BH-01"], ["BH-02"], []]


def test_the_lot_with_this_very_code_comes_first_and_then_names_that_begin_so(tx: Connection) -> None:
    near = [
        NewLot("X-1", "LX", "对面", "x", "BH-02 对面", 1, "gate", "x"),
        NewLot("X-2", "LX", "BH-02 对面", "x", "x", 1, "gate", "x"),
    ]
    lots.register_lots(tx, lots=near, at=AT)
    assert [lot.code for lot in lot_search.found(tx, typed="bh-02", skip=0, limit=9)] == ["BH-02", "X-2", "X-1"]
