"""Departures and leaving first over HTTP: a barrier opens or stays down, and nobody learns what a plate owes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.wiring import Wiring
from payments.owed import leaving
from payments.owed.leaving import NewRule
from payments.tariffs import files, registry
from tests.app.conftest import City, Client, bearer
from tests.payments.conftest import AT, make_charge

PLATE = "苏B12345"
TARIFFS = Path(__file__).parents[2] / "config" / "tariffs"


def admit(product: Wiring, admits: Any = "everyone", **other: Any) -> None:
    said: dict[str, Any] = {
        "valid_from": AT, "document": "doc", "admits": admits, "debts_max": 3, "owed_fen_max": 30000, "overdue_days_max": 30,
        "checks_lists": True, "due_days": 30,
    } | other  # fmt: skip
    with product.db.begin() as tx:
        leaving.enter_rule(tx, rule=NewRule(**said), at=AT)


@pytest.fixture
def ours(product: Wiring, two_lots: City) -> dict[str, str]:
    with product.db.begin() as tx:
        make_charge(tx, two_lots.ours, "S1")
    return bearer(product, "lot", two_lots.ours)


def tell(api: Client, body: Any, headers: dict[str, str], lot: str = "lot-1") -> httpx.Response:
    return api.post(f"/v1/lots/{lot}/departures", json=body, headers=headers)


def ask(api: Client, body: Any, headers: dict[str, str], lot: str = "lot-1") -> httpx.Response:
    return api.post(f"/v1/lots/{lot}/leave-first", json=body, headers=headers)


def gone(serial: str = "S1", **other: Any) -> dict[str, Any]:
    return {"serial": serial, "left_at": AT.isoformat()} | other


def test_one_car_is_answered_with_the_barrier(api: Client, product: Wiring, ours: dict[str, str]) -> None:
    shut = tell(api, gone(), ours)
    assert (shut.status_code, shut.json()["outcome"], shut.json()["reason"]) == (200, "closed", "no_mandate")
    admit(product)
    opened = tell(api, gone(), ours)
    assert opened.json() == {
        "serial": "S1", "outcome": "open", "reason": "debt", "owed_fen": 1200, "receipt": None, "field": None, "detail": None,
    }  # fmt: skip


def test_cars_that_left_are_told_together_and_bad_ones_stop_no_good_one(api: Client, ours: dict[str, str]) -> None:
    whole = {"plate": PLATE, "entered_at": (AT - timedelta(hours=1)).isoformat(), "amount_fen": 500, "tariff_text": "x"}
    cars = [gone(), gone("S2", **whole), gone("S3"), gone("S4", amount_fen=3), {"serial": "S5", "left_at": "never"}]
    answer = tell(api, cars, ours)
    assert answer.status_code == 207
    assert [(one["serial"], one["outcome"], one["reason"], one["field"]) for one in answer.json()] == [
        ("S1", "open", "escaped", None), ("S2", "open", "escaped", None), ("S3", "refused", "charge_unknown", "serial"),
        ("S4", "refused", "malformed", "plate"), ("S5", "refused", "malformed", "left_at"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (gone("S9"), 404, "charge_unknown"),
        ({"serial": "S1"}, 400, "malformed"),
        (gone(amount_fen=900, plate=PLATE, entered_at=(AT - timedelta(hours=2)).isoformat()), 422, "tariff_invalid"),
        (gone(left_at=(AT + timedelta(hours=1)).isoformat()), 422, "time_in_future"),
    ],
)
def test_a_departure_that_cannot_be_is_a_problem(api: Client, ours: dict[str, str], body: Any, status: int, code: str) -> None:
    answer = tell(api, body, ours)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_the_lot_of_another_operator_looks_like_none(api: Client, product: Wiring, two_lots: City, ours: dict[str, str]) -> None:
    for call in (tell, ask):
        answer = call(api, gone() if call is tell else {"plate": PLATE}, bearer(product, "operator", two_lots.theirs))
        assert (answer.status_code, answer.json()["code"]) == (404, "lot_not_found")
        answer = call(api, gone() if call is tell else {"plate": PLATE}, bearer(product, "district", two_lots.ours))
        assert (answer.status_code, answer.json()["code"]) == (403, "read_only")


def test_who_asks_learns_yes_or_no_and_a_reason(api: Client, product: Wiring, two_lots: City, ours: dict[str, str]) -> None:
    admit(product, debts_max=1)
    assert tell(api, [gone()], ours).json()[0]["reason"] == "debt"
    theirs = bearer(product, "operator", two_lots.theirs)
    one = ask(api, {"plate": PLATE, "plate_color": "blue"}, theirs, "lot-2").json()
    assert one == {"may_leave": False, "reason": "too_many_debts"}
    both = ask(api, [{"plate": "苏B99999"}, {"plate": PLATE}], theirs, "lot-2").json()
    assert [one["may_leave"] for one in both] == [True, False]


@pytest.mark.parametrize("body", [{"plate": "XYZ"}, {"plat": PLATE}, "x", [{"plate": PLATE}] * 1001])
def test_a_question_that_is_none_is_refused(api: Client, ours: dict[str, str], body: Any) -> None:
    assert ask(api, body, ours).status_code in (400, 422)


def test_a_lot_without_prices_of_its_own_has_stays_priced_by_its_tariff(
    api: Client, product: Wiring, two_lots: City, ours: dict[str, str]
) -> None:  # fmt: skip
    stay = gone("S7", plate=PLATE, plate_color="blue", entered_at=(AT - timedelta(hours=2)).isoformat())
    refused = tell(api, stay, ours)
    assert (refused.status_code, refused.json()["code"]) == (422, "tariff_missing")
    with product.db.begin() as tx:
        for name in ("wuxi-rules-2023", "wuxi-road-2022", "wuxi-road-2023"):
            registry.add(tx, file=files.read((TARIFFS / f"{name}.toml").read_bytes()), at=AT)
        registry.assign(
            tx, lot=two_lots.ours, tariff_code="wuxi-road", selectors={"zone": "core", "road": "main", "section": "ordinary"},
            valid_from=AT - timedelta(days=30), document="list of roads 1", at=AT,
        )  # fmt: skip
    admit(product)
    assert tell(api, stay, ours).json()["owed_fen"] == 1000, "30 minutes free, two half hours at 3 yuan, one at 4"
    charge = api.get("/v1/lots/lot-1/charges/S7", headers=ours).json()
    assert (charge["amount_fen"], charge["state"], charge["left_at"]) == (1000, "open", "2026-03-02T04:00:00Z")
    assert tell(api, [stay], ours).json()[0]["reason"] == "debt", "what was priced before stands"
