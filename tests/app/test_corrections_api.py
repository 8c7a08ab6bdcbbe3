"""Corrections over the API: by the lot's own system, once per serial; their notes verify with openssl alone."""

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from app.checks import violations
from app.wiring import Wiring
from ledger import documents
from ledger.documents import DocumentKind
from payments import results
from payments.amends.credit_notes import CreditNote
from tests.app.conftest import City, Client, bearer
from tests.payments.conftest import AT, IDS, Due, books, make_attempt, make_charge

ASKED = {"serial": "K1", "charge_serial": "S1", "kind": "cancel", "reason": "complaint", "text": "车主投诉"}
NEW = {
    "lot_serial": "S1b", "plate": "苏B1234S", "plate_color": "blue", "entered_at": "2026-03-02T10:00:00+08:00", "minutes": 60,
    "amount_fen": 600, "tariff_text": "每小时6元",
}  # fmt: skip


@pytest.fixture
def charged(product: Wiring, two_lots: City) -> City:
    with product.db.begin() as tx:
        make_charge(tx, two_lots.ours, "S1")
    return two_lots


@pytest.fixture
def paid(product: Wiring, two_lots: City) -> Due:
    with product.db.begin() as tx:
        due = make_attempt(tx, two_lots.ours, make_charge(tx, two_lots.ours, "S1"))
        results.apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
    return due


def asked(api: Client, product: Wiring, city: City, body: object = ASKED, *, scope: str = "lot", lot: str = "lot-1") -> Any:
    return api.post(f"/v1/lots/{lot}/corrections", json=body, headers=bearer(product, scope, city.ours))  # type: ignore[arg-type]


def got(api: Client, product: Wiring, city: City, path: str) -> Any:
    return api.get(f"/v1/lots/lot-1/{path}", headers=bearer(product, "lot", city.ours))


def test_a_charge_is_cancelled_once_and_asked_for_again(api: Client, product: Wiring, charged: City) -> None:
    answer = asked(api, product, charged)
    assert answer.status_code == 201
    assert answer.json() == {
        "serial": "K1", "outcome": "created", "note": "lot-1.000001", "amount_fen": 1200, "credited_fen": 1200, "refunded_fen": 0,
    }  # fmt: skip
    again = asked(api, product, charged)
    assert (again.status_code, again.json()["outcome"]) == (200, "already")
    view = got(api, product, charged, "corrections/K1").json()
    assert (view["charge_serial"], view["note"], view["text"], view["refunds"]) == ("S1", "lot-1.000001", "车主投诉", [])
    assert got(api, product, charged, "charges/S1").json()["state"] == "credited"


def test_the_lots_call_is_the_evidence_and_a_repeat_is_not_kept(api: Client, product: Wiring, two_lots: City, paid: Due) -> None:
    asked(api, product, two_lots)
    asked(api, product, two_lots)
    with product.db.connect() as tx:
        [row] = tx.execute(
            text("""
            select m.verdict, m.body from ledger.posting p join gateways.raw_message m on m.message_id = p.evidence_id
            where p.debit_account = 600103
            """)
        )
        kept = tx.execute(text("select count(*) from gateways.raw_message where operation = 'corrections'")).scalar_one()
        assert violations(tx) == []
    assert (row.verdict, b"complaint" in row.body, kept) == ("verified", True, 1)


def test_what_was_paid_is_on_its_way_back(api: Client, product: Wiring, two_lots: City, paid: Due) -> None:
    answer = asked(api, product, two_lots, ASKED | {"kind": "reduce", "amount_fen": 300})
    assert answer.json()["refunded_fen"] == 300
    [back] = got(api, product, two_lots, "corrections/K1").json()["refunds"]
    assert (back["receipt"], back["amount_fen"], back["state"], back["done_at"]) == (paid.order_no, 300, "promised", None)
    listed = got(api, product, two_lots, f"payments/{paid.order_no}/refunds").json()
    assert [(one["refund"], one["number"]) for one in listed] == [(back["refund"], "lot-1.000001")]
    assert (600103, 224102, 300) in books(product.db).entries


def test_in_a_list_each_correction_has_its_own_result(api: Client, product: Wiring, charged: City) -> None:
    answer = asked(
        api, product, charged,
        [
            ASKED | {"kind": "replace", "reason": "misread_plate", "new": NEW},
            ASKED | {"serial": "K2", "charge_serial": "S9"},
            {"serial": "K3", "charge_serial": "S1", "kind": "undo", "reason": "other"},
        ],
    )  # fmt: skip
    assert answer.status_code == 207
    assert [(one["outcome"], one.get("reason"), one.get("field")) for one in answer.json()] == [
        ("created", None, None), ("refused", "charge_unknown", "charge_serial"), ("refused", "malformed", "kind"),
    ]  # fmt: skip
    assert got(api, product, charged, "charges/S1b").json()["amount_fen"] == 600


@pytest.mark.parametrize(
    ("other", "status", "code", "field"),
    [
        ({"charge_serial": "S9"}, 404, "charge_unknown", "charge_serial"),
        ({"kind": "reduce", "amount_fen": 5000}, 422, "amount_exceeds", "amount_fen"),
        ({"kind": "reduce"}, 422, "correction_invalid", "amount_fen"),
        ({"kind": "replace", "new": NEW | {"plate": "ABC"}}, 422, "plate_invalid", "new.plate"),
        ({"reason": "because"}, 400, "malformed", "reason"),
    ],
)
def test_one_correction_refused_is_a_problem(
    api: Client, product: Wiring, charged: City, other: dict[str, object], status: int, code: str, field: str
) -> None:
    answer = asked(api, product, charged, ASKED | other)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, field)
    assert got(api, product, charged, "charges/S1").json()["state"] == "open"


def test_while_a_payer_is_paying_the_answer_is_a_conflict(api: Client, product: Wiring, charged: City) -> None:
    with product.db.begin() as tx:
        charge_id = tx.execute(text("select charge_id from payments.charge")).scalar_one()
        make_attempt(tx, charged.ours, charge_id)
    answer = asked(api, product, charged)
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_under_way")


def test_another_content_under_the_same_serial_is_a_conflict(api: Client, product: Wiring, charged: City) -> None:
    asked(api, product, charged)
    answer = asked(api, product, charged, ASKED | {"reason": "duplicate"})
    assert (answer.status_code, answer.json()["code"]) == (409, "content_differs")


def test_a_lot_corrects_its_own_charges_only(api: Client, product: Wiring, charged: City) -> None:
    assert asked(api, product, charged, lot="lot-2").status_code == 404
    refused = asked(api, product, charged, scope="city")
    assert (refused.status_code, refused.json()["code"]) == (403, "read_only")


def test_what_is_not_there_is_not_found(api: Client, product: Wiring, charged: City) -> None:
    assert got(api, product, charged, "corrections/K9").json()["code"] == "correction_not_found"
    assert got(api, product, charged, "credit-notes/lot-1.000009").json()["code"] == "credit_note_not_found"


@pytest.mark.parametrize("body", [b"{", b'[{"serial": "K1"},', b"[" + b"{}," * 1000 + b"{}]"])
def test_a_body_that_is_none_is_refused(api: Client, product: Wiring, charged: City, body: bytes) -> None:
    answer = api.post("/v1/lots/lot-1/corrections", content=body, headers=bearer(product, "lot", charged.ours))
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


def verified(folder: Path) -> bool:
    """Run the command of docs/CORRECTIONS.md."""
    command = "openssl pkeyutl -verify -pubin -inkey seal.pub -rawin -in note.json -sigfile note.sig"
    return subprocess.run(command.split(), cwd=folder, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed here")
def test_a_note_is_verified_without_this_product(api: Client, product: Wiring, charged: City, tmp_path: Path) -> None:
    asked(api, product, charged)
    note = got(api, product, charged, "credit-notes/lot-1.000001").json()
    (tmp_path / "note.json").write_bytes(note["document"].encode())
    (tmp_path / "note.sig").write_bytes(base64.b64decode(note["signature"]))
    (tmp_path / "seal.pub").write_text(note["public_key"])
    assert verified(tmp_path)
    named = product.signer().verifier_key().split("+", 2)[2]
    raw = base64.b64decode(named)[1:]
    assert base64.b64decode("".join(note["public_key"].splitlines()[1:-1]))[-32:] == raw
    (tmp_path / "note.json").write_bytes(note["document"].replace("1200", "1201").encode())
    assert not verified(tmp_path)


# The page


PAGE = (Path(__file__).parents[2] / "docs" / "CORRECTIONS.md").read_text(encoding="utf-8")


def shown(name: str) -> str:
    """A block of the page by its name."""
    return PAGE.partition(f" {name}\n")[2].partition("\n```")[0]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed here")
def test_the_note_of_the_page_verifies_and_has_the_leaf_that_it_says(tmp_path: Path) -> None:
    document = shown("note.json").encode()
    (tmp_path / "note.json").write_bytes(document)
    (tmp_path / "note.sig").write_bytes(base64.b64decode(shown("signature")))
    (tmp_path / "seal.pub").write_text(shown("seal.pub") + "\n")
    assert verified(tmp_path)
    assert "openssl pkeyutl -verify -pubin -inkey seal.pub -rawin -in note.json -sigfile note.sig" in PAGE
    note = msgspec.json.decode(document, type=CreditNote)
    assert documents.canonical(note) == document
    record = bytes.fromhex(shown("record"))
    assert record[20:52] == hashlib.sha256(document).digest()
    assert hashlib.sha256(b"\0" + record).hexdigest() == shown("leaf")
    leaf = documents.Document(DocumentKind.CREDIT_NOTE, note.note_id, hashlib.sha256(document).digest(), note.made_at)
    assert documents.canonical_record(leaf, lane=0) == record
