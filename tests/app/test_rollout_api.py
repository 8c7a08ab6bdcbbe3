"""The API of old codes and of the rollout: who may post, look up and read what."""

from typing import Any

import pytest
from sqlalchemy import text

from app.wiring import Wiring
from payments.rollout import policy
from payments.rollout.policy import NewRule
from tests.app.conftest import City, Client, bearer
from tests.payments.conftest import AT
from tests.payments.rollout.test_legacy_codes import DAY, PAYLOAD

CODE: dict[str, Any] = {
    "serial": "Q1", "payload": PAYLOAD, "kind": "alipay", "first_day": "2024-01-01", "document": "协议 7",
}  # fmt: skip


def post(api: Client, product: Wiring, city: City, body: object, *, scope: Any = "lot", code: str = "lot-1") -> Any:
    lot = city.ours if code == "lot-1" else city.theirs
    return api.post(f"/v1/lots/{code}/legacy-codes", json=body, headers=bearer(product, scope, lot))


def look_up(api: Client, product: Wiring, city: City, body: object, scope: Any = "city") -> Any:
    return api.post("/v1/codes/lookup", json=body, headers=bearer(product, scope, city.ours))


def test_one_code_is_created_already_and_completed(api: Client, product: Wiring, two_lots: City) -> None:
    answers = [post(api, product, two_lots, CODE | more) for more in ({}, {}, {"last_day": "2026-12-31"})]
    assert [(one.status_code, one.json()["outcome"]) for one in answers] == [
        (201, "created"), (200, "already"), (200, "completed"),
    ]  # fmt: skip


def test_many_codes_have_an_answer_each(api: Client, product: Wiring, two_lots: City) -> None:
    body = [CODE, CODE | {"serial": "Q2"}, {"serial": "Q3"}, CODE | {"serial": "Q4", "payload": "https://x.example/4"}]
    answer = post(api, product, two_lots, body, scope="operator")
    assert answer.status_code == 207
    assert [(one["serial"], one["outcome"], one.get("reason")) for one in answer.json()] == [
        ("Q1", "created", None), ("Q2", "refused", "overlaps"), ("Q3", "refused", "malformed"), ("Q4", "created", None),
    ]  # fmt: skip


def test_a_code_of_another_operator_is_a_conflict(api: Client, product: Wiring, two_lots: City) -> None:
    post(api, product, two_lots, CODE)
    answer = post(api, product, two_lots, CODE, code="lot-2")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (409, "code_of_another", "payload")


@pytest.mark.parametrize(("scope", "status"), [("district", 403), ("city", 403)])
def test_supervisors_post_no_codes(api: Client, product: Wiring, two_lots: City, scope: str, status: int) -> None:
    assert post(api, product, two_lots, CODE, scope=scope).status_code == status


def test_a_lot_of_somebody_else_looks_like_none(api: Client, product: Wiring, two_lots: City) -> None:
    answer = api.post("/v1/lots/lot-2/legacy-codes", json=CODE, headers=bearer(product, "lot", two_lots.ours))
    assert (answer.status_code, answer.json()["code"]) == (404, "lot_not_found")


def test_the_city_asks_whose_a_scanned_code_is(api: Client, product: Wiring, two_lots: City) -> None:
    post(api, product, two_lots, CODE)
    found = look_up(api, product, two_lots, {"payload": f" {PAYLOAD}\n", "lot": "lot-1"})
    assert found.status_code == 200
    said = found.json()
    assert (said["found"], said["is_allowed"], said["day"], said["registered"][0]["operator_code"]) == (
        "registered", True, str(DAY), "op-1",
    )  # fmt: skip
    elsewhere = look_up(api, product, two_lots, {"payload": PAYLOAD, "lot": "lot-2"}).json()
    assert (elsewhere["is_allowed"], elsewhere["registered"][0]["standing"]) == (False, "elsewhere")
    assert look_up(api, product, two_lots, {"payload": "x"}).json()["found"] == "unknown"
    assert not look_up(api, product, two_lots, {"payload": PAYLOAD, "day": "2023-12-31"}).json()["is_allowed"]


@pytest.mark.parametrize(
    ("body", "scope", "status", "code"),
    [
        ({"payload": PAYLOAD}, "lot", 403, "scope_refused"),
        ({"payload": PAYLOAD}, "district", 403, "scope_refused"),
        ({"payload": ""}, "city", 422, "payload_invalid"),
        ({"payload": PAYLOAD, "lot": "lot-9"}, "city", 404, "lot_not_found"),
        ({}, "city", 422, "malformed"),
    ],
)
def test_a_look_up_that_cannot_be_says_why(
    api: Client, product: Wiring, two_lots: City, body: object, scope: str, status: int, code: str
) -> None:
    answer = look_up(api, product, two_lots, body, scope)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_the_city_sees_every_district_and_a_district_its_own(api: Client, product: Wiring, two_lots: City) -> None:
    with product.db.begin() as tx:
        tx.execute(text("update payments.lot set district = '江阴市' where code = 'lot-2'"))
        policy.enter(tx, rules=[NewRule(requires="parallel", valid_from=DAY, document="通知 1")], at=AT)

    def ask(scope: Any, query: str = "") -> Any:
        return api.get(f"/v1/rollout{query}", headers=bearer(product, scope, two_lots.ours))

    city, district = ask("city").json(), ask("district").json()
    assert [(one["district"], one["lots"], one["overdue"]) for one in city["rows"]] == [("梁溪区", 1, 1), ("江阴市", 1, 1)]
    assert [one["lot_code"] for one in city["overdue"]] == ["lot-1", "lot-2"]
    assert [one["lot_code"] for one in district["overdue"]] == ["lot-1"]
    assert [one["overdue"] for one in ask("city", "?day=2026-03-01").json()["rows"]] == [0, 0]
    assert (ask("lot").status_code, ask("operator").status_code) == (403, 403)
