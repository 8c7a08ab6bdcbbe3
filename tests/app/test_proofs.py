"""Proofs over HTTP, checked as a stranger would: with hashlib and the public key, not with our tree."""

import hashlib

import pytest

from app.wiring import Wiring
from ledger import checkpoint
from payments import results
from tests.app.conftest import City, Client
from tests.payments.conftest import AT, IDS, Due, make_attempt, make_charge


@pytest.fixture
def paid(product: Wiring, two_lots: City) -> list[Due]:
    """Five payments in five batches, sealed after the second and after the last."""
    with product.db.begin() as tx:
        dues = [make_attempt(tx, two_lots.ours, make_charge(tx, two_lots.ours, f"S{n}")) for n in range(5)]
    sealer = product.sealer()
    for number, due in enumerate(dues):
        with product.db.begin() as tx:
            results.apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
        if number in (1, 4):
            with product.db.connect() as connection:
                assert sealer.seal_once(connection, at=AT) is not None
    return dues


def root_from(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 6962 by recursion over the tree's shape."""
    if size == 1:
        return leaf
    half = 1
    while half * 2 < size:
        half *= 2
    *rest, last = path
    if index < half:
        left, right = root_from(leaf, index, half, rest), last
    else:
        left, right = last, root_from(leaf, index - half, size - half, rest)
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_a_stranger_can_check_that_a_receipt_is_in_the_book(api: Client, paid: list[Due]) -> None:
    key = api.get("/v1/checkpoint/key").text
    for due in paid:
        proof = api.get(f"/v1/receipts/{due.order_no}/proof").json()
        leaf = hashlib.sha256(b"\0" + bytes.fromhex(proof["record"])).digest()
        assert leaf.hex() == proof["leaf"]
        signed = checkpoint.read(proof["checkpoint"], verifier_key=key)
        path = [bytes.fromhex(hashed) for hashed in proof["path"]]
        assert root_from(leaf, proof["leaf_index"], proof["tree_size"], path) == signed.root
        assert (signed.size, proof["verifier_key"]) == (proof["tree_size"], key)


def test_the_sealed_record_names_the_route_that_the_money_took(api: Client, paid: list[Due]) -> None:
    for due in paid:
        record = bytes.fromhex(api.get(f"/v1/receipts/{due.order_no}/proof").json()["record"])
        assert record[:2] == b"\x01\x02"
        assert int.from_bytes(record[52:56], "big") == due.attempt.route_id > 0


def test_a_proof_can_be_asked_for_under_an_earlier_checkpoint(api: Client, paid: list[Due]) -> None:
    first, last = (due.order_no for due in (paid[0], paid[4]))
    assert api.get(f"/v1/receipts/{first}/proof", params={"tree_size": 2}).json()["tree_size"] == 2
    assert api.get(f"/v1/receipts/{last}/proof", params={"tree_size": 2}).status_code == 404


@pytest.mark.parametrize("receipt", ["P000", "P0" + "0" * 26, "P1" + "0" * 26, "x"])
def test_a_number_that_is_no_receipt_is_not_found(api: Client, paid: list[Due], receipt: str) -> None:
    answer = api.get(f"/v1/receipts/{receipt}/proof")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_book_shows_that_it_only_grew(api: Client, paid: list[Due]) -> None:
    grown = api.get("/v1/checkpoint/consistency", params={"old_size": 2, "tree_size": 5}).json()
    assert (grown["old_size"], grown["tree_size"], len(grown["path"])) == (2, 5, 2)
    assert api.get("/v1/checkpoint").text.split("\n")[1] == "5"


@pytest.mark.parametrize("sizes", [(0, 5), (5, 2), (2, 6)])
def test_sizes_that_were_never_sealed_are_refused(api: Client, paid: list[Due], sizes: tuple[int, int]) -> None:
    answer = api.get("/v1/checkpoint/consistency", params={"old_size": sizes[0], "tree_size": sizes[1]})
    assert (answer.status_code, answer.json()["code"]) == (422, "size_invalid")


def test_before_the_first_seal_there_is_no_checkpoint(api: Client) -> None:
    assert api.get("/v1/checkpoint").status_code == 404
