"""Drivers' refund requests over the API: listed and answered by the lot, and by nobody else."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.wiring import Wiring
from ledger.errors import Refused
from payments import results
from payments.invariants import check
from payments.refunding import requests
from payments.refunding.request_store import Request
from tests.app.conftest import City, Client, bearer
from tests.payments.conftest import AT, IDS, Due, books, make_attempt, make_charge

EVIDENCE = UUID("019cacb3-f200-7dd3-9711-2b7289cd0f00")
Said = dict[str, Any]


@pytest.fixture
def paid(product: Wiring, two_lots: City) -> Due:
    with product.db.begin() as tx:
        due = make_attempt(tx, two_lots.ours, make_charge(tx, two_lots.ours, "S1"))
        results.apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
    return due


def ask(product: Wiring, due: Due, words: str = "没有抬杆") -> Request:
    with product.db.begin() as tx:
        return requests.ask(
            tx, lane=0, payment_id=due.attempt.payment_id, reason="barrier", words=words, evidence_id=EVIDENCE,
            answer_within=timedelta(days=7), remind_after=timedelta(days=5), at=AT, ids=IDS,
        )  # fmt: skip


@pytest.fixture
def asked(product: Wiring, paid: Due) -> Request:
    return ask(product, paid)


def answer(api: Client, product: Wiring, city: City, one: Request, said: Said, *, scope: str = "lot", theirs: bool = False) -> Any:
    lot = city.theirs if theirs else city.ours
    headers = bearer(product, scope, lot)  # type: ignore[arg-type]
    return api.post(f"/v1/lots/{lot.code}/refund-requests/{one.request_id.hex}", json=said, headers=headers)


def test_a_lot_lists_what_drivers_ask_back(api: Client, product: Wiring, two_lots: City, paid: Due, asked: Request) -> None:
    headers = bearer(product, "lot", two_lots.ours)
    [view] = api.get("/v1/lots/lot-1/refund-requests?state=open", headers=headers).json()
    assert (view["request"], view["receipt"], view["charge_serial"]) == (asked.request_id.hex, paid.order_no, "S1")
    assert (view["reason"], view["words"], view["left_fen"]) == ("barrier", "没有抬杆", 1200)
    assert view["answer_until"] == "2026-03-09T04:00:00Z"
    assert api.get(f"/v1/lots/lot-1/refund-requests?after={view['request']}", headers=headers).json() == []
    others = api.get("/v1/lots/lot-2/refund-requests", headers=bearer(product, "lot", two_lots.theirs))
    assert others.json() == []
    assert api.get("/v1/lots/lot-1/refund-requests", headers=bearer(product, "lot", two_lots.theirs)).status_code == 404


def test_what_is_accepted_is_promised_once_and_the_event_had_told_the_lot(
    api: Client, product: Wiring, two_lots: City, asked: Request
) -> None:
    said = {"decision": "accept", "words": "抱歉"}
    first, second = answer(api, product, two_lots, asked, said), answer(api, product, two_lots, asked, said)
    assert first.status_code == 200
    assert first.json() == second.json()
    assert (first.json()["state"], first.json()["amount_fen"], first.json()["refund"][:2]) == ("accepted", 1200, "R0")
    found = books(product.db)
    assert [entry for entry in found.entries if entry[0] == 600103] == [(600103, 224102, 1200)]
    assert "refund.requested" in found.events
    with product.db.connect() as tx:
        assert check(tx) == []


def test_a_part_may_be_accepted_but_never_more_than_is_left(api: Client, product: Wiring, two_lots: City, asked: Request) -> None:
    too_much = answer(api, product, two_lots, asked, {"decision": "accept", "amount_fen": 1201})
    assert (too_much.status_code, too_much.json()["code"]) == (422, "refund_exceeds")
    part = answer(api, product, two_lots, asked, {"decision": "accept", "amount_fen": 500})
    assert (part.json()["amount_fen"], part.json()["left_fen"]) == (500, 700)
    other = answer(api, product, two_lots, asked, {"decision": "accept", "amount_fen": 700})
    assert (other.status_code, other.json()["code"]) == (409, "refund_request_over")


def test_a_request_is_declined_in_words_and_may_be_made_again_a_few_times(
    api: Client, product: Wiring, two_lots: City, paid: Due, asked: Request
) -> None:
    silent = answer(api, product, two_lots, asked, {"decision": "decline", "words": " "})
    assert (silent.status_code, silent.json()["code"]) == (422, "refund_answer_invalid")
    for _ in range(requests.REQUESTS_MAX):
        one = ask(product, paid, "再看看")
        declined = answer(api, product, two_lots, one, {"decision": "decline", "words": "已抬杆"})
        assert declined.json()["state"] == "declined"
    with pytest.raises(Refused, match="at most 3"):
        ask(product, paid)
    over = answer(api, product, two_lots, asked, {"decision": "accept"})
    assert (over.status_code, over.json()["code"]) == (409, "refund_request_over")


def test_only_the_lot_itself_answers(api: Client, product: Wiring, two_lots: City, asked: Request) -> None:
    said = {"decision": "accept"}
    foreign = answer(api, product, two_lots, asked, said, theirs=True)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "refund_request_not_found")
    assert answer(api, product, two_lots, asked, said, scope="district").status_code == 403
    assert answer(api, product, two_lots, asked, {"decision": "perhaps"}).json()["code"] == "malformed"
    assert len(books(product.db).entries) == 1


def test_a_lot_that_does_not_answer_is_told_once_more(product: Wiring, asked: Request) -> None:
    told = []
    for days in (4, 6, 7):
        with product.db.begin() as tx:
            told.append(requests.remind(tx, lane=0, at=AT + timedelta(days=days), ids=IDS))
    assert told == [0, 1, 0]
    assert books(product.db).events.count("refund.requested") == 2
    with product.db.connect() as tx:
        assert requests.waiting(tx, lane=0, due_before=AT + timedelta(days=6)) == []
        assert len(requests.waiting(tx, lane=0, due_before=AT + timedelta(days=8))) == 1
