"""Refunds over the API: asked for by the lot's own system, once per number, never of another's payment."""

from typing import Any

import pytest

from app.wiring import Wiring
from payments import results
from payments.invariants import check
from tests.app.conftest import City, Client, bearer
from tests.payments.conftest import AT, IDS, Due, books, make_attempt, make_charge

ASKED = {"number": "r-1", "amount_fen": 500, "reason": "多收退款"}


@pytest.fixture
def paid(product: Wiring, two_lots: City) -> Due:
    with product.db.begin() as tx:
        due = make_attempt(tx, two_lots.ours, make_charge(tx, two_lots.ours, "S1"))
        results.apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
    return due


def asked(
    api: Client, product: Wiring, city: City, due: Due, body: object = ASKED, *, scope: str = "lot", lot: str = "lot-1"
) -> Any:
    headers = bearer(product, scope, city.ours)  # type: ignore[arg-type]
    return api.post(f"/v1/lots/{lot}/payments/{due.order_no}/refunds", json=body, headers=headers)


def test_a_refund_is_promised_and_listed(api: Client, product: Wiring, two_lots: City, paid: Due) -> None:
    answer = asked(api, product, two_lots, paid)
    assert answer.status_code == 201
    view = answer.json()
    assert (view["number"], view["receipt"], view["state"], view["amount_fen"]) == ("r-1", paid.order_no, "promised", 500)
    assert view["refund"].startswith("R0")
    listed = api.get(f"/v1/lots/lot-1/payments/{paid.order_no}/refunds", headers=bearer(product, "operator", two_lots.ours))
    assert listed.json() == [view]
    assert (600103, 224102, 500) in books(product.db).entries
    with product.db.connect() as tx:
        assert check(tx) == []


def test_the_request_itself_is_the_evidence_of_the_promise(api: Client, product: Wiring, two_lots: City, paid: Due) -> None:
    asked(api, product, two_lots, paid)
    with product.db.connect() as tx:
        row = tx.exec_driver_sql(
            "select m.channel, m.body, m.subject from ledger.posting p join gateways.raw_message m on m.message_id = p.evidence_id "
            "where p.debit_account = 600103"
        ).one()
    assert row.channel == "api"
    assert b"r-1" in row.body
    assert row.subject == paid.attempt.payment_id


def test_the_same_number_again_is_the_same_refund(api: Client, product: Wiring, two_lots: City, paid: Due) -> None:
    first, second = asked(api, product, two_lots, paid), asked(api, product, two_lots, paid, ASKED | {"reason": "又一次"})
    assert first.json() == second.json()
    differs = asked(api, product, two_lots, paid, ASKED | {"amount_fen": 501})
    assert (differs.status_code, differs.json()["code"]) == (409, "refund_conflict")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (ASKED | {"amount_fen": 1201}, 422, "refund_exceeds"),
        (ASKED | {"amount_fen": 0}, 422, "malformed"),
        (ASKED | {"amount_fen": 1.5}, 422, "malformed"),
        (ASKED | {"number": "没有"}, 422, "malformed"),
        (ASKED | {"colour": "red"}, 422, "malformed"),
        ([ASKED], 422, "malformed"),
    ],
)
def test_what_cannot_be_refunded_is_refused_in_words(
    api: Client, product: Wiring, two_lots: City, paid: Due, body: object, status: int, code: str
) -> None:
    answer = asked(api, product, two_lots, paid, body)
    assert answer.json()["code"] == code
    assert answer.status_code in (status, 400)
    assert len(books(product.db).entries) == 1


def test_only_the_lots_own_payments_and_only_by_those_who_may_write(
    api: Client, product: Wiring, two_lots: City, paid: Due
) -> None:  # fmt: skip
    assert asked(api, product, two_lots, paid, scope="district").status_code == 403
    assert asked(api, product, two_lots, paid, lot="lot-2").status_code == 404
    headers = bearer(product, "lot", two_lots.theirs)
    other = api.post(f"/v1/lots/lot-2/payments/{paid.order_no}/refunds", json=ASKED, headers=headers)
    assert (other.status_code, other.json()["code"]) == (404, "payment_not_found")
    assert api.post(f"/v1/lots/lot-1/payments/{paid.order_no}/refunds", json=ASKED).status_code == 401
