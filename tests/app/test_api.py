"""The API for lots' systems: charges in, events out, and every refusal as a problem."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.wiring import Wiring
from payments.results import apply
from tests.app.conftest import City, Client, bearer
from tests.payments.conftest import AT, IDS, make_attempt

CHARGE: dict[str, Any] = {
    "lot_serial": "20260302-0001", "plate": "苏B·12345", "plate_color": "blue", "entered_at": "2026-03-02T10:00:00+08:00",
    "left_at": "2026-03-02T11:30:00+08:00", "minutes": 90, "amount_fen": 900, "tariff_text": "每小时6元, 90分钟",
}  # fmt: skip


def posted(api: Client, product: Wiring, city: City, body: object, **headers: str) -> Any:
    return api.post("/v1/lots/lot-1/charges", json=body, headers=bearer(product, "lot", city.ours) | headers)


def test_a_charge_is_created_once_and_is_the_same_when_posted_again(api: Client, product: Wiring, two_lots: City) -> None:
    first, second = (posted(api, product, two_lots, CHARGE) for _ in range(2))
    assert (first.status_code, first.json()["outcome"]) == (201, "created")
    assert (second.status_code, second.json()["outcome"]) == (200, "already")
    assert first.json()["charge_id"] == second.json()["charge_id"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("plate", "苏B54321"),
        ("plate_color", "unknown"),
        ("entered_at", "2026-03-02T10:00:01+08:00"),
        ("left_at", None),
        ("minutes", 91),
        ("amount_fen", 901),
        ("tariff_text", "另外"),
        ("scene", "hospital"),
    ],
)
def test_changed_content_under_the_same_serial_is_refused_and_names_the_field(
    api: Client, product: Wiring, two_lots: City, field: str, value: object
) -> None:
    posted(api, product, two_lots, CHARGE)
    answer = posted(api, product, two_lots, CHARGE | {field: value})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["field"]) == ("content_differs", field)
    with product.db.connect() as tx:
        assert tx.execute(text("select count(*), sum(amount_fen) from payments.charge")).one() == (1, 900)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"left_at": "2026-03-02T09:00:00+08:00"}, "left_at"),
        ({"left_at": "2026-03-02T13:00:00+08:00"}, "left_at"),
        ({"entered_at": "2026-03-03T09:00:00+08:00", "left_at": None}, "entered_at"),
        ({"entered_at": "2020-03-03T09:00:00+08:00", "left_at": None}, "entered_at"),
        ({"entered_at": "2026-03-02T10:00:00"}, "entered_at"),
        ({"amount_fen": 0}, "amount_fen"),
        ({"amount_fen": -5}, "amount_fen"),
        ({"amount_fen": 5_000_001}, "amount_fen"),
        ({"plate": "B12345"}, "plate"),
        ({"plate": "苏BD12345"}, "plate"),
        ({"minutes": -1}, "minutes"),
        ({"lot_serial": ""}, "lot_serial"),
        ({"lot_serial": "a\nb"}, "lot_serial"),
        ({"tariff_text": ""}, "tariff_text"),
    ],
)
def test_a_charge_that_cannot_be_true_is_refused_and_names_the_field(
    api: Client, product: Wiring, two_lots: City, change: dict[str, Any], field: str
) -> None:
    answer = posted(api, product, two_lots, CHARGE | change)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    with product.db.connect() as tx:
        assert tx.execute(text("select count(*) from payments.charge")).scalar_one() == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount_fen": "9"}, "amount_fen"),
        ({"amount_fen": 9.5}, "amount_fen"),
        ({"plate_color": "pi"}, "plate_color"),
        ({"x": 1}, None),
    ],
)
def test_a_charge_of_another_form_is_a_bad_request(
    api: Client, product: Wiring, two_lots: City, change: dict[str, Any], field: str | None
) -> None:
    answer = posted(api, product, two_lots, CHARGE | change)
    assert (answer.status_code, answer.json().get("field")) == (400, field)


def test_in_a_list_each_has_its_result_and_the_good_ones_stand(api: Client, product: Wiring, two_lots: City) -> None:
    batch = [
        CHARGE,
        CHARGE | {"lot_serial": "2", "amount_fen": 0},
        CHARGE | {"lot_serial": "3", "minutes": "x"},
        CHARGE,
        CHARGE | {"amount_fen": 5},
        CHARGE | {"lot_serial": "4", "plate": "苏BD12345", "plate_color": "green"},
    ]
    answer = posted(api, product, two_lots, batch)
    assert answer.status_code == 207
    assert [(one["outcome"], one["reason"]) for one in answer.json()] == [
        ("created", None),
        ("refused", "amount_invalid"),
        ("refused", "malformed"),
        ("already", None),
        ("refused", "content_differs"),
        ("created", None),
    ]


@pytest.mark.parametrize("body", [b"{", b"[{]", b"", b"\xff"])
def test_a_body_that_is_not_json_is_a_bad_request(api: Client, product: Wiring, two_lots: City, body: bytes) -> None:
    answer = api.post("/v1/lots/lot-1/charges", content=body, headers=bearer(product, "lot", two_lots.ours))
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_list_of_more_than_ten_thousand_is_refused_whole(api: Client, product: Wiring, two_lots: City) -> None:
    answer = posted(api, product, two_lots, [CHARGE | {"lot_serial": str(n)} for n in range(10_001)])
    assert answer.status_code == 422
    with product.db.connect() as tx:
        assert tx.execute(text("select count(*) from payments.charge")).scalar_one() == 0


def test_another_operators_lot_looks_exactly_like_one_that_is_not_there(api: Client, product: Wiring, two_lots: City) -> None:
    headers = bearer(product, "operator", two_lots.ours)
    for path in ("charges/1", "events"):
        theirs = api.get(f"/v1/lots/lot-2/{path}", headers=headers)
        nobodys = api.get(f"/v1/lots/lot-9/{path}", headers=headers)
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.text.replace("lot-2", "lot-9") == nobodys.text
    answer = api.post("/v1/lots/lot-2/charges", json=CHARGE, headers=headers)
    assert answer.status_code == 404


@pytest.mark.parametrize("scope", ["district", "city"])
def test_supervisors_read_but_do_not_post(api: Client, product: Wiring, two_lots: City, scope: Any) -> None:
    headers = bearer(product, scope, two_lots.ours)
    assert api.post("/v1/lots/lot-1/charges", json=CHARGE, headers=headers).status_code == 403
    assert api.get("/v1/lots/lot-1/events", headers=headers).status_code == 200


def test_a_charge_is_shown_with_a_masked_plate_and_its_receipt_once_paid(api: Client, product: Wiring, two_lots: City) -> None:
    headers = bearer(product, "lot", two_lots.ours)
    charge_id = posted(api, product, two_lots, CHARGE).json()["charge_id"]
    path = "/v1/lots/lot-1/charges/20260302-0001"
    shown = api.get(path, headers=headers).json()
    assert (shown["state"], shown["plate"], shown["receipt"]) == ("open", "苏B·1***5", None)
    with product.db.begin() as tx:
        due = make_attempt(tx, two_lots.ours, UUID(charge_id))
    with product.db.begin() as tx:
        apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
    shown = api.get(path, headers=headers).json()
    assert (shown["state"], shown["receipt"]) == ("settled", due.order_no)


def test_events_are_pulled_page_by_page_and_none_twice(api: Client, product: Wiring, two_lots: City) -> None:
    headers = bearer(product, "lot", two_lots.ours)
    for number in range(5):
        charge_id = posted(api, product, two_lots, CHARGE | {"lot_serial": str(number)}).json()["charge_id"]
        with product.db.begin() as tx:
            due = make_attempt(tx, two_lots.ours, UUID(charge_id))
            apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
    serials, after = [], "0-0"
    while page := api.get("/v1/lots/lot-1/events", params={"after": after, "limit": 2}, headers=headers).json():
        if not page["events"]:
            break
        serials += [one["event"]["charge_serial"] for one in page["events"]]
        after = page["next"]
    assert serials == ["0", "1", "2", "3", "4"]
    assert page["next"] == after
    assert api.get("/v1/lots/lot-2/events", headers=bearer(product, "lot", two_lots.theirs)).json()["events"] == []


def test_an_event_that_commits_late_is_not_skipped(api: Client, product: Wiring, two_lots: City) -> None:
    headers = bearer(product, "lot", two_lots.ours)
    ids = [posted(api, product, two_lots, CHARGE | {"lot_serial": str(n)}).json()["charge_id"] for n in range(2)]
    with product.db.begin() as tx:
        early, late = (make_attempt(tx, two_lots.ours, UUID(charge_id)) for charge_id in ids)
    with product.db.connect() as slow, slow.begin():
        apply(slow, lane=0, notices=[early.callback()], at=AT, ids=IDS)
        with product.db.begin() as tx:
            apply(tx, lane=0, notices=[late.callback()], at=AT, ids=IDS)
        assert api.get("/v1/lots/lot-1/events", headers=headers).json()["events"] == []
    seen = api.get("/v1/lots/lot-1/events", headers=headers).json()["events"]
    assert sorted(one["event"]["charge_serial"] for one in seen) == ["0", "1"]


@pytest.mark.parametrize("cursor", ["x", "1", "-", "zz-0", "1-" + "f" * 40, "f" * 30 + "-0"])
def test_a_foreign_cursor_is_refused(api: Client, product: Wiring, two_lots: City, cursor: str) -> None:
    answer = api.get("/v1/lots/lot-1/events", params={"after": cursor}, headers=bearer(product, "lot", two_lots.ours))
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")


def test_the_api_explains_itself(api: Client) -> None:
    described = api.get("/schema/openapi.json").json()
    assert "/v1/lots/{lot_code}/charges" in described["paths"]
    assert "/oauth/token" in described["paths"]
