"""The API for lots' records: stays, openings, takings, slips, heartbeats, gaps and alarms, one by one and in bulk."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from app.wiring import Wiring
from payments.lot_records import alarm_rules, alarms
from payments.lot_records.alarm_rules import NewRule
from payments.lots import Lot
from tests.app.conftest import City, Client, bearer, later
from tests.payments.conftest import AT, make_charge

STAY: dict[str, Any] = {
    "serial": "S1", "plate": "苏B·12345", "plate_color": "blue", "entered_at": "2026-03-02T10:00:00+08:00", "lane_in": "A1",
}  # fmt: skip
OPENING: dict[str, Any] = {
    "serial": "O1", "at": "2026-03-02T10:00:00+08:00", "lane": "B1", "direction": "out", "reason": "vip",
}  # fmt: skip
TAKING: dict[str, Any] = {
    "serial": "T1", "channel": "cash", "charge_serial": "C1", "amount_fen": 1200, "taken_at": "2026-03-02T11:00:00+08:00",
    "evidence_text": "收据 0001",
}  # fmt: skip
SLIP: dict[str, Any] = {"slip_no": "B1", "amount_fen": 1000, "banked_at": "2026-03-02T11:30:00+08:00", "bank": "示例银行"}
BEAT: dict[str, Any] = {
    "at": "2026-03-02T12:00:03+08:00", "software": "gate 1.0", "lanes": [{"lane": "A1", "online": True}], "queue": 0,
}  # fmt: skip
RETURN: dict[str, Any] = {
    "serial": "R1", "number": 1, "charge_serial": "C1", "amount_fen": 1200, "returned_at": "2026-03-02T11:50:00+08:00",
    "operator_person_digest": "ab" * 32, "receipt_no": "退 0001",
}  # fmt: skip
POSTS = [("stays", STAY), ("openings", OPENING), ("takings", TAKING | {"charge_serial": None}), ("heartbeats", BEAT)]


def post(api: Client, product: Wiring, lot: Lot, what: str, body: object, *, code: str = "lot-1") -> Any:
    return api.post(f"/v1/lots/{code}/{what}", json=body, headers=bearer(product, "lot", lot))


def get(api: Client, product: Wiring, lot: Lot, path: str, scope: Any = "lot") -> Any:
    return api.get(path, headers=bearer(product, scope, lot))


def test_a_stay_is_created_completed_and_already(api: Client, product: Wiring, two_lots: City) -> None:
    gone = STAY | {"left_at": "2026-03-02T11:00:00+08:00"}
    answers = [post(api, product, two_lots.ours, "stays", body) for body in (STAY, gone, gone)]
    assert [(one.status_code, one.json()["outcome"]) for one in answers] == [
        (201, "created"), (200, "completed"), (200, "already"),
    ]  # fmt: skip


def test_one_record_that_is_refused_is_a_problem_with_its_field(api: Client, product: Wiring, two_lots: City) -> None:
    post(api, product, two_lots.ours, "stays", STAY)
    found = [
        post(api, product, two_lots.ours, "stays", STAY | change)
        for change in ({"lane_in": "A2"}, {"serial": "S2"}, {"serial": "S3", "plate": "1"}, {"entered_at": 1}, {"colour": "x"})
    ]
    assert [(one.status_code, one.json()["code"], one.json().get("field")) for one in found] == [
        (409, "content_differs", "lane_in"), (409, "overlaps", "entered_at"), (422, "plate_invalid", "plate"),
        (400, "malformed", "entered_at"), (400, "malformed", None),
    ]  # fmt: skip
    assert {one.headers["content-type"] for one in found} == {"application/problem+json"}


def test_a_list_is_answered_in_order_and_the_good_ones_stand(api: Client, product: Wiring, two_lots: City) -> None:
    given = [STAY, {"serial": "S2"}, "nonsense", STAY | {"serial": "S3", "plate": "苏B54321", "number": 1}]
    for outcome in ("created", "already"):
        answer = post(api, product, two_lots.ours, "stays", given)
        assert answer.status_code == 207
        assert [one["outcome"] for one in answer.json()] == [outcome, "refused", "refused", outcome]
        assert [one["serial"] for one in answer.json()] == ["S1", "S2", "", "S3"]
        assert answer.json()[1]["reason"] == "malformed"


def test_lines_are_answered_in_lines_and_a_broken_one_is_refused_by_itself(api: Client, product: Wiring, two_lots: City) -> None:
    body = "\n".join([json.dumps(STAY), '{"serial": "S2", "pla', "", json.dumps(STAY | {"serial": "S3", "plate": "苏B54321"})])
    headers = bearer(product, "lot", two_lots.ours) | {"content-type": "application/x-ndjson; charset=utf-8"}
    answer = api.post("/v1/lots/lot-1/stays", content=body.encode(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (207, "application/x-ndjson")
    assert [json.loads(line)["outcome"] for line in answer.text.splitlines()] == ["created", "refused", "created"]


@pytest.mark.parametrize("body", [b"", b"[", b"{]", b"\xff"])
def test_a_body_that_is_no_json_is_refused_whole(api: Client, product: Wiring, two_lots: City, body: bytes) -> None:
    answer = api.post("/v1/lots/lot-1/stays", content=body, headers=bearer(product, "lot", two_lots.ours))
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


@pytest.mark.parametrize("what", ["stays", "charges", "takings", "returns", "openings"])
def test_ten_thousand_records_fit_into_a_call_and_no_more(api: Client, product: Wiring, two_lots: City, what: str) -> None:
    for count, status in ((10_000, 207), (10_001, 422)):
        answer = post(api, product, two_lots.ours, what, [{"serial": "x"}] * count)
        assert answer.status_code == status
    filled = b"[" + b" " * (3 * 1024 * 1024) + b"]"
    headers = bearer(product, "lot", two_lots.ours)
    assert api.post(f"/v1/lots/lot-1/{what}", content=filled, headers=headers).status_code == 207


def test_only_routes_of_bulk_records_take_long_bodies(api: Client, product: Wiring, two_lots: City) -> None:
    headers = bearer(product, "lot", two_lots.ours)
    for what, bytes_sent in (("heartbeats", 3 * 1024 * 1024), ("stays", 9 * 1024 * 1024)):
        answer = api.post(f"/v1/lots/lot-1/{what}", content=b" " * bytes_sent, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(("what", "body"), [*POSTS, ("cash-slips", SLIP), ("returns", RETURN)])
def test_another_operators_lot_looks_exactly_like_one_that_is_not_there(
    api: Client, product: Wiring, two_lots: City, what: str, body: dict[str, Any]
) -> None:
    answers = [post(api, product, two_lots.ours, what, body, code=code) for code in ("lot-2", "lot-9")]
    assert [(one.status_code, one.json()["code"]) for one in answers] == [(404, "lot_not_found")] * 2


@pytest.mark.parametrize(("what", "body"), [*POSTS, ("cash-slips", SLIP), ("returns", RETURN)])
@pytest.mark.parametrize("scope", ["district", "city"])
def test_supervisors_read_but_do_not_post(
    api: Client, product: Wiring, two_lots: City, what: str, body: dict[str, Any], scope: Any
) -> None:
    answer = api.post(f"/v1/lots/lot-1/{what}", json=body, headers=bearer(product, scope, two_lots.ours))
    assert (answer.status_code, answer.json()["code"]) == (403, "read_only")
    today = "first=2026-03-02&last=2026-03-02"
    for path in (f"openings?{today}", f"till?{today}", "record-gaps", "returns/owed"):
        assert get(api, product, two_lots.ours, f"/v1/lots/lot-1/{path}", scope).status_code == 200


@pytest.mark.parametrize(("what", "body"), POSTS)
def test_an_operators_client_posts_for_its_lots(
    api: Client, product: Wiring, two_lots: City, what: str, body: dict[str, Any]
) -> None:
    answer = api.post(f"/v1/lots/lot-1/{what}", json=body, headers=bearer(product, "operator", two_lots.ours))
    assert answer.status_code in (200, 201)


def test_cash_settles_a_charge_goes_to_the_bank_and_the_till_tells_it(api: Client, product: Wiring, two_lots: City) -> None:
    with product.db.begin() as tx:
        make_charge(tx, two_lots.ours, "C1")
    first, again = (post(api, product, two_lots.ours, "takings", TAKING) for _ in range(2))
    assert (first.status_code, first.json()["treatment"], again.json()["outcome"]) == (201, "settled", "already")
    charge = get(api, product, two_lots.ours, "/v1/lots/lot-1/charges/C1").json()
    assert (charge["state"], charge["receipt"]) == ("settled", first.json()["receipt"])
    too_much = post(api, product, two_lots.ours, "cash-slips", SLIP | {"amount_fen": 1201})
    assert (too_much.status_code, too_much.json()["code"]) == (422, "till_exceeded")
    banked = [post(api, product, two_lots.ours, "cash-slips", SLIP) for _ in range(2)]
    assert [(one.status_code, one.json()) for one in banked] == [
        (201, {"slip_no": "B1", "outcome": "created", "in_till_fen": 200}),
        (200, {"slip_no": "B1", "outcome": "already", "in_till_fen": 200}),
    ]
    till = get(api, product, two_lots.ours, "/v1/lots/lot-1/till?first=2026-03-01&last=2026-03-02").json()
    assert (till["in_till_fen"], [day["banked_fen"] for day in till["days"]]) == (200, [1000])


def test_a_charge_paid_in_cash_is_corrected_owed_and_handed_back(api: Client, product: Wiring, two_lots: City) -> None:
    ours = two_lots.ours
    with product.db.begin() as tx:
        make_charge(tx, ours, "C1")
    receipt = post(api, product, ours, "takings", TAKING).json()["receipt"]
    early = post(api, product, ours, "returns", RETURN)
    assert (early.status_code, early.json()["code"], early.json()["field"]) == (404, "return_unknown", "charge_serial")
    correction = {"serial": "K1", "charge_serial": "C1", "kind": "cancel", "reason": "wrong_time"}
    note = post(api, product, ours, "corrections", correction).json()
    [owed] = get(api, product, ours, "/v1/lots/lot-1/returns/owed").json()
    assert (owed["receipt"], owed["asked_for"], owed["amount_fen"], owed["channel"]) == (receipt, note["note"], 1200, "cash")
    first, again = (post(api, product, ours, "returns", RETURN) for _ in range(2))
    assert (first.status_code, first.json()["refund"]) == (201, owed["refund"])
    assert (again.status_code, again.json()["outcome"]) == (200, "already")
    twice = post(api, product, ours, "returns", RETURN | {"serial": "R2", "number": 2})
    assert (twice.status_code, twice.json()["code"]) == (409, "already_returned")
    listed = post(api, product, ours, "returns", [RETURN, {"serial": "R3"}]).json()
    assert [(one["serial"], one["outcome"], one.get("reason")) for one in listed] == [
        ("R1", "already", None), ("R3", "refused", "malformed"),
    ]  # fmt: skip
    [back] = get(api, product, ours, "/v1/lots/lot-1/corrections/K1").json()["refunds"]
    assert (back["refund"], back["state"]) == (owed["refund"], "done")
    assert get(api, product, ours, "/v1/lots/lot-1/returns/owed").json() == []
    till = get(api, product, ours, "/v1/lots/lot-1/till?first=2026-03-01&last=2026-03-02").json()
    assert (till["in_till_fen"], [day["cash_returned_fen"] for day in till["days"]]) == (0, [1200])


def test_the_calls_that_book_or_owe_money_are_kept_verbatim(api: Client, product: Wiring, two_lots: City) -> None:
    charge = {
        "lot_serial": "C1", "plate": "苏B12345", "entered_at": "2026-03-02T10:00:00+08:00", "minutes": 90, "amount_fen": 1200,
        "tariff_text": "每小时6元",
    }  # fmt: skip
    for what, body in (("charges", [charge]), ("charges", [charge]), ("takings", TAKING), ("stays", STAY)):
        assert post(api, product, two_lots.ours, what, body).status_code in (201, 207)
    with product.db.connect() as tx:
        kept = tx.execute(text("select operation, body from gateways.raw_message order by operation")).all()
    assert [(row.operation, json.loads(bytes(row.body))) for row in kept] == [("charges", [charge]), ("takings", TAKING)]


def test_missing_numbers_are_told(api: Client, product: Wiring, two_lots: City) -> None:
    given = [STAY | {"serial": f"S{n}", "plate": f"苏B1000{n}", "number": n} for n in (2, 5)]
    post(api, product, two_lots.ours, "stays", given)
    told = get(api, product, two_lots.ours, "/v1/lots/lot-1/record-gaps").json()
    assert [(one["series"], one["last_number"], one["missing"]) for one in told["series"]] == [("stay", 5, 3)]
    assert [(one["first"], one["last"]) for one in told["gaps"]] == [(1, 1), (3, 4)]
    assert len(get(api, product, two_lots.ours, "/v1/lots/lot-1/record-gaps?limit=1").json()["gaps"]) == 1


def test_a_heartbeat_says_how_far_the_clock_is_off_and_when_the_next_is_due(api: Client, product: Wiring, two_lots: City) -> None:
    answer = post(api, product, two_lots.ours, "heartbeats", BEAT)
    assert (answer.status_code, answer.json()["clock_ahead_seconds"], answer.json()["next_within_minutes"]) == (200, 3, None)
    wrong = post(api, product, two_lots.ours, "heartbeats", BEAT | {"queue": -1})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "heartbeat_invalid")


def test_alarms_are_told_to_whom_they_concern(api: Client, product: Wiring, two_lots: City) -> None:
    with product.db.begin() as tx:
        alarm_rules.enter(tx, rule=NewRule(kind="silent", most=10, document="锡城管〔2026〕1号", valid_from=AT), at=AT)
        alarms.watch(tx, at=later(11))
    for scope, lots in (
        ("lot", ["lot-1"]),
        ("operator", ["lot-1"]),
        ("district", ["lot-1", "lot-2"]),
        ("city", ["lot-1", "lot-2"]),
    ):
        told = get(api, product, two_lots.ours, "/v1/alarms?kind=silent", scope).json()
        assert sorted(one["lot_code"] for one in told) == lots
    assert get(api, product, two_lots.ours, "/v1/alarms?state=closed").json() == []
    assert get(api, product, two_lots.ours, "/v1/alarms?kind=noise").status_code == 400


def test_openings_of_a_day_are_told(api: Client, product: Wiring, two_lots: City) -> None:
    post(api, product, two_lots.ours, "openings", [OPENING, OPENING | {"serial": "O2", "reason": "fire", "amount_lost_fen": 300}])
    [day] = get(api, product, two_lots.ours, "/v1/lots/lot-1/openings?first=2026-03-01&last=2026-03-02").json()
    assert (day["day"], day["openings_out"], day["by_reason"], day["lost_fen"]) == ("2026-03-02", 2, {"fire": 1, "vip": 1}, 300)
    backwards = get(api, product, two_lots.ours, "/v1/lots/lot-1/openings?first=2026-03-02&last=2026-03-01")
    assert (backwards.status_code, backwards.json()["code"]) == (422, "date_invalid")
