"""Debts over the API: whose they are decides who sees them; disputes are opened and answered there, kept as they came."""

import base64
from uuid import UUID

import pytest
from sqlalchemy import text

from app.wiring import Wiring
from payments.lots import Lot
from tests.app.conftest import City, Client, bearer
from tests.payments.owed.owing import overdue, owe, receivable


@pytest.fixture
def owed(product: Wiring, two_lots: City) -> list[UUID]:
    """Two debts at our lot, one at theirs."""
    with product.db.begin() as tx:
        made = [*owe(tx, two_lots.ours, 1200, 300), *owe(tx, two_lots.theirs, 5000, plate="苏B00001")]
        overdue(tx, made, days=40)
        return made


def ask(api: Client, product: Wiring, path: str, lot: Lot, scope: str = "lot") -> object:
    answer = api.get(path, headers=bearer(product, scope, lot))  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return answer.json()


def serial(product: Wiring, charge_id: UUID) -> str:
    with product.db.begin() as tx:
        return str(tx.execute(text("select lot_serial from payments.charge where charge_id = :id"), {"id": charge_id}).scalar_one())


def test_each_caller_sees_the_debts_of_its_scope_with_masked_plates(
    api: Client, product: Wiring, two_lots: City, owed: list[UUID]
) -> None:
    def amounts(scope: str) -> list[int]:
        rows = ask(api, product, "/v1/debts", two_lots.ours, scope)
        assert isinstance(rows, list)
        assert {row["plate"] for row in rows} <= {"苏B·1***5", "苏B·0***1"}
        return sorted(row["owed_fen"] for row in rows)

    assert amounts("lot") == amounts("operator") == [300, 1200]
    assert amounts("district") == amounts("city") == [300, 1200, 5000]


def test_a_list_is_read_page_by_page(api: Client, product: Wiring, two_lots: City, owed: list[UUID]) -> None:
    seen: list[str] = []
    after = ""
    while rows := ask(api, product, f"/v1/debts?limit=1{after}", two_lots.ours, "city"):
        assert isinstance(rows, list)
        seen.append(rows[0]["charge_id"])
        after = f"&after={seen[-1]}"
    assert sorted(seen) == sorted(str(one) for one in owed)
    assert ask(api, product, "/v1/debts?state=settled", two_lots.ours, "city") == []


def test_ageing_over_the_api_is_what_the_books_carry(api: Client, product: Wiring, two_lots: City, owed: list[UUID]) -> None:
    for by in ("operator", "lot", "district"):
        found = ask(api, product, f"/v1/debts/ageing?by={by}", two_lots.ours, "city")
        assert isinstance(found, dict)
        with product.db.begin() as tx:
            assert sum(row["total"]["owed_fen"] for row in found["rows"]) == receivable(tx) == 6500
        assert sum(row["days_31_60"]["debts"] for row in found["rows"]) == 3
    mine = ask(api, product, "/v1/debts/ageing", two_lots.ours, "operator")
    assert isinstance(mine, dict)
    assert [(row["code"], row["total"]["owed_fen"]) for row in mine["rows"]] == [("op-1", 1500)]


def test_a_dispute_is_opened_asked_about_and_answered(api: Client, product: Wiring, two_lots: City, owed: list[UUID]) -> None:
    mine = bearer(product, "lot", two_lots.ours)
    photo = {"name": "in.jpg", "media_type": "image/jpeg", "body": base64.b64encode(b"\xff\xd8").decode()}
    path = f"/v1/lots/{two_lots.ours.code}/charges/{serial(product, owed[0])}/disputes"
    opened = api.post(path, headers=mine, json={"reason": "not_there", "statement": "没有停过"})
    assert opened.status_code == 201, opened.text
    assert ask(api, product, f"/v1/lots/{two_lots.ours.code}/disputes", two_lots.ours) == [opened.json()]
    answer_path = f"/v1/lots/{two_lots.ours.code}/disputes/{opened.json()['dispute_id']}/answer"
    answered = api.post(answer_path, headers=mine, json={"answer": "有入场照片", "files": [photo]})
    assert answered.status_code == 200, answered.text
    assert answered.json()["answer"] == "有入场照片"
    assert ask(api, product, "/v1/debts?state=disputed", two_lots.ours) != []
    with product.db.begin() as tx:
        kept = tx.execute(text("select operation from gateways.raw_message order by 1")).scalars().all()
        assert tx.execute(text("select shown_by, body from payments.dispute_exhibit")).all() == [("lot", b"\xff\xd8")]
    assert list(kept) == ["dispute", "dispute_answer"]


def test_what_is_not_yours_looks_like_what_is_not_there(api: Client, product: Wiring, two_lots: City, owed: list[UUID]) -> None:
    mine, theirs = bearer(product, "lot", two_lots.ours), bearer(product, "lot", two_lots.theirs)
    path = f"/v1/lots/{two_lots.ours.code}/charges/{serial(product, owed[0])}/disputes"
    said = {"reason": "not_there", "statement": "没有停过"}
    opened = api.post(path, headers=mine, json=said).json()
    assert api.post(path, headers=theirs, json=said).status_code == 404
    answer = f"/v1/lots/{two_lots.theirs.code}/disputes/{opened['dispute_id']}/answer"
    refused = api.post(answer, headers=theirs, json={"answer": "x"})
    assert (refused.status_code, refused.json()["code"]) == (404, "dispute_not_found")
    read_only = api.post(path, headers=bearer(product, "city", two_lots.ours), json=said)
    assert (read_only.status_code, read_only.json()["code"]) == (403, "read_only")
    bodies: tuple[object, ...] = ({"reason": "because"}, {"reason": "other", "statement": ""}, [])
    for wrong in bodies:
        assert api.post(path, headers=mine, json=wrong).status_code in (400, 422)
    unowed = api.post(f"/v1/lots/{two_lots.ours.code}/charges/none/disputes", headers=mine, json=said)
    assert unowed.status_code == 404
