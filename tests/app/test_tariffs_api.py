"""Quotes over the API: one stay or a thousand, each with its explanation; who may ask, and what is said of bad ones."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from app.wiring import Wiring
from config.tariffs import FOLDER
from ledger.clock import CHINA
from payments.lots import Lot
from payments.tariffs import files, registry
from tests.app.conftest import City, Client, bearer
from tests.payments.conftest import AT

NOON = AT.astimezone(CHINA)
"""12:00 on Monday, 2 March 2026: what the product's clock says."""


@pytest.fixture
def roads(product: Wiring, two_lots: City) -> City:
    """Our lot charges as a main road of the core zone; theirs has pricing of its own."""
    with product.db.begin() as tx:
        registry.add(tx, file=files.read((FOLDER / "wuxi-road-2022.toml").read_bytes()), at=AT)
        registry.add(tx, file=files.read((FOLDER / "wuxi-road-2023.toml").read_bytes()), at=AT)
        registry.assign(
            tx, lot=two_lots.ours, tariff_code="wuxi-road", selectors={"zone": "core", "road": "main", "section": "ordinary"},
            valid_from=AT - timedelta(days=30), document="list 1", at=AT,
        )  # fmt: skip
    return two_lots


def ask(api: Client, product: Wiring, lot: Lot, body: Any, *, scope: str = "lot", of: Lot | None = None) -> Any:
    headers = bearer(product, scope, lot) | {"content-type": "application/json"}  # type: ignore[arg-type]
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return api.post(f"/v1/lots/{(of or lot).code}/quotes", headers=headers, content=content)


def stay(minutes: int = 90, **other: Any) -> dict[str, Any]:
    return {"entered_at": (NOON - timedelta(minutes=minutes)).isoformat(), "plate_color": "blue"} | other


def test_one_stay_is_quoted_with_its_lines_words_tariff_and_the_moment_of_the_next_change(
    api: Client, product: Wiring, roads: City
) -> None:  # fmt: skip
    answer = ask(api, product, roads.ours, stay(90, ref="A1"))
    assert answer.status_code == 200
    said = answer.json()
    assert (said["outcome"], said["ref"], said["amount_fen"], said["minutes"]) == ("quoted", "A1", 600, 90)
    assert [(line["why"], line["units"], line["unit_fen"], line["amount_fen"]) for line in said["lines"]] == [
        ("free_minutes", 0, 0, 0), ("base", 2, 300, 600),
    ]  # fmt: skip
    assert said["words"]["zh"] == (
        "无锡道路停车·核心区干道：停1小时30分钟。10:30–11:00免费30分钟；11:00–12:00其他时段首小时2个半小时×3.00元＝6.00元。应收6.00元"
    )
    assert said["words"]["en"].endswith("Due: 6.00 yuan")
    assert said["tariffs"] == [
        {
            "code": "wuxi-road",
            "version": 2,
            "regime": "government_set",
            "document": "停车便民惠民十项措施 锡政办发〔2023〕38号 2023-08-26",
        }
    ]
    assert (said["left_at"], said["same_until"]) == ("2026-03-02T04:00:00Z", "2026-03-02T04:01:00Z")


def test_a_quote_may_be_posted_as_a_charge_as_it_is(api: Client, product: Wiring, roads: City) -> None:
    said = ask(api, product, roads.ours, stay(60 * 24 * 20)).json()
    charge = {
        "lot_serial": "Q1", "plate": "苏B12345", "plate_color": "blue", "entered_at": stay(60 * 24 * 20)["entered_at"],
        "left_at": said["left_at"], "minutes": said["minutes"], "amount_fen": said["amount_fen"],
        "tariff_text": said["words"]["zh"],
    }  # fmt: skip
    posted = api.post(f"/v1/lots/{roads.ours.code}/charges", json=charge, headers=bearer(product, "lot", roads.ours))
    assert posted.status_code == 201


def test_each_stay_of_a_list_has_its_own_result_in_order(api: Client, product: Wiring, roads: City) -> None:
    answer = ask(api, product, roads.ours, [
        stay(90, ref="a"), stay(90, plate_color="yellow"), stay(-5, ref="c"), {"ref": "d"}, stay(20), stay(90, colour="red"),
        stay(90, plate="XYZ"), {"entered_at": "2026-03-02T10:00:00"}, stay(90, left_at=(NOON + timedelta(hours=2)).isoformat()),
    ])  # fmt: skip
    assert answer.status_code == 207
    assert [(one["ref"], one["amount_fen"], one["reason"]) for one in answer.json()] == [
        ("a", 600, None), (None, 1200, None), ("c", None, "stay_invalid"), ("d", None, "malformed"), (None, 0, None),
        (None, None, "malformed"), (None, None, "plate_invalid"), (None, None, "stay_invalid"), (None, 600 + 4 * 400, None),
    ]  # fmt: skip
    assert all(one["detail"] for one in answer.json() if one["outcome"] == "refused")


def test_a_thousand_stays_fit_into_one_call_and_no_more(api: Client, product: Wiring, roads: City) -> None:
    answer = ask(api, product, roads.ours, [stay(n) for n in range(1_000)])
    assert (answer.status_code, len(answer.json())) == (207, 1_000)
    amounts = [one["amount_fen"] for one in answer.json()]
    assert all(isinstance(amount, int) for amount in amounts)
    too_many = ask(api, product, roads.ours, [stay()] * 1_001)
    assert (too_many.status_code, too_many.json()["code"]) == (422, "malformed")


@pytest.mark.parametrize(("scope", "status"), [("lot", 200), ("operator", 200), ("district", 200), ("city", 200)])
def test_whoever_sees_the_lot_may_ask(api: Client, product: Wiring, roads: City, scope: str, status: int) -> None:
    assert ask(api, product, roads.ours, stay(), scope=scope).status_code == status


def test_not_yours_looks_like_not_there_and_without_a_token_nothing_is_said(api: Client, product: Wiring, roads: City) -> None:
    foreign = ask(api, product, roads.theirs, stay(), of=roads.ours)
    missing = api.post("/v1/lots/lot-77/quotes", headers=bearer(product, "lot", roads.ours), json=stay())
    assert (foreign.status_code, foreign.json()["code"]) == (missing.status_code, missing.json()["code"]) == (404, "lot_not_found")
    assert api.post(f"/v1/lots/{roads.ours.code}/quotes", json=stay()).status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [(b"{", 422, "malformed"), (b"[1", 422, "malformed"), (b"1", 400, "malformed"), (b'{"entered_at": 1}', 400, "malformed"),
     ({"entered_at": "2026-03-02T10:00:00"}, 422, "stay_invalid"),
     ({"entered_at": "2026-03-03T10:00:00+08:00"}, 422, "stay_invalid"),
     ({"entered_at": "2024-03-03T10:00:00+08:00"}, 422, "stay_invalid"),
     ({"entered_at": "0001-01-01T00:00:00+14:00"}, 422, "stay_invalid"),
     ({"entered_at": "2026-01-03T10:00:00+08:00"}, 422, "tariff_missing")],
)  # fmt: skip
def test_a_stay_that_cannot_be_priced_is_a_problem_that_says_what_to_do(
    api: Client, product: Wiring, roads: City, body: Any, status: int, code: str
) -> None:
    answer = ask(api, product, roads.ours, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"]


def test_a_lot_with_pricing_of_its_own_has_no_quote(api: Client, product: Wiring, roads: City) -> None:
    answer = ask(api, product, roads.theirs, stay())
    assert (answer.status_code, answer.json()["code"]) == (422, "tariff_missing")


def test_the_call_stands_on_the_page_of_the_api(api: Client) -> None:
    page = api.get("/schema").text
    assert "/v1/lots/{lot_code}/quotes" in page
