"""The report of the incentive over HTTP: who sees which lines, and what is refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.wiring import Wiring
from payments.incentive.rules import NewShare
from tests.app.conftest import Client, bearer
from tests.payments.incentive.conftest import City

PATH = "/v1/incentive?since=2026-03-01&until=2026-03-31"


@pytest.fixture
def town(product: Wiring, tmp_path: Path) -> City:
    """op-1 owes the platform 60 and the bureau 36, op-2 owes them 10 and 6."""
    acting = City(product.db, tmp_path)
    acting.rule(share=(NewShare(bps=500), NewShare(to="liangxi", bps=300)))
    for amount_fen, lot in ((1200, 0), (200, 1)):
        acting.paid(amount_fen, lot=lot, scanned=1 - lot)
    acting.follow()
    return acting


def rows(api: Client, headers: dict[str, str], path: str = PATH) -> list[dict[str, Any]]:
    answer = api.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


def shown(found: list[dict[str, Any]]) -> list[tuple[str, str, int, int]]:
    return [(row["owner"], row["recoverer"], row["given_fen"], row["open_fen"]) for row in found]


def test_the_city_sees_all_lines_by_month_pair_and_rule(api: Client, product: Wiring, town: City) -> None:
    found = rows(api, bearer(product, "city", town.lots[0]))
    assert shown(found) == [
        ("op-1", "liangxi", 36, 36), ("op-1", "city", 60, 60), ("op-2", "liangxi", 6, 6), ("op-2", "city", 10, 10),
    ]  # fmt: skip
    assert {(row["month"], row["document"], row["payments"]) for row in found} == {("2026-03", "incentive notice 1", 1)}
    assert [row["recovered_fen"] for row in found] == [1200, 1200, 200, 200]


def test_an_operator_sees_its_own_lines_only(api: Client, product: Wiring, town: City) -> None:
    assert shown(rows(api, bearer(product, "operator", town.lots[1]))) == [("op-2", "liangxi", 6, 6), ("op-2", "city", 10, 10)]


def test_a_district_sees_the_lines_of_its_operators_and_of_its_bureau(api: Client, product: Wiring, town: City) -> None:
    assert len(rows(api, bearer(product, "district", town.lots[0]))) == 4
    elsewhere = bearer(product, "district", _in(town, "滨湖区"))
    assert rows(api, elsewhere) == []


def test_what_was_returned_is_shown_beside_what_was_given(api: Client, product: Wiring, town: City) -> None:
    due = town.paid(1000, scanned=1)
    town.follow()
    town.refund(due, 1000)
    town.follow()
    found = rows(api, bearer(product, "operator", town.lots[0]))
    assert [(row["recoverer"], row["given_fen"], row["returned_fen"], row["open_fen"]) for row in found] == [
        ("liangxi", 66, 30, 36), ("city", 110, 50, 60),
    ]  # fmt: skip


def test_other_days_are_other_lines(api: Client, product: Wiring, town: City) -> None:
    assert rows(api, bearer(product, "city", town.lots[0]), "/v1/incentive?since=2026-04-01&until=2026-04-30") == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("since=2026-03-02&until=2026-03-01", 422),
        ("since=2024-01-01&until=2026-03-01", 422),
        ("since=yesterday&until=2026-03-01", 400),
        ("since=2026-03-01", 400),
    ],
)
def test_days_that_make_no_period_are_refused(api: Client, product: Wiring, town: City, query: str, status: int) -> None:
    answer = api.get(f"/v1/incentive?{query}", headers=bearer(product, "city", town.lots[0]))
    assert answer.status_code == status, answer.text


def test_a_lots_client_and_a_stranger_see_nothing(api: Client, product: Wiring, town: City) -> None:
    refused = api.get(PATH, headers=bearer(product, "lot", town.lots[0]))
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_refused")
    assert api.get(PATH).status_code == 401


def _in(town: City, district: str) -> Any:
    return msgspec.structs.replace(town.lots[0], district=district)
