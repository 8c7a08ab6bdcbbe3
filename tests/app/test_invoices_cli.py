"""``tongting invoice`` and ``tongting lot refund-requests``, as the staff uses them."""

import argparse
from datetime import timedelta
from uuid import UUID

import pytest

from app.cli import Desk
from app.commands import invoices as desk
from app.commands import lots as lot_desk
from app.wiring import Wiring
from ledger.clock import SetClock
from ledger.errors import Conflict, NotFound, Refused
from payments import results
from payments.refunding import requests
from tests.app.conftest import City
from tests.payments.conftest import AT, IDS, make_attempt, make_charge


def said(wiring: Wiring, *words: str) -> str:
    parser = argparse.ArgumentParser()
    module: Desk = desk if words[0] == "invoice" else lot_desk
    module.arguments(parser)
    return module.run(wiring, parser.parse_args(words[1:]))


def test_rules_are_entered_with_their_document_and_listed(product: Wiring, two_lots: City) -> None:
    assert said(product, "invoice", "rules").startswith("no rule")
    told = said(
        product, "invoice", "rule", "fiscal_receipt", "--lot", "lot-1", "--document", "approval 3", "--from", "2026-01-01T00:00"
    )
    assert told.endswith("counts for payments from 2026-01-01 00:00 on")
    assert "fiscal_receipt  lot-1" in said(product, "invoice", "rules")
    with pytest.raises(Conflict, match="from that moment"):
        said(product, "invoice", "rule", "none", "--lot", "lot-1", "--document", "x", "--from", "2026-01-01T00:00")


@pytest.mark.parametrize(
    ("more", "error"),
    [(["--document", " "], Refused), (["--document", "d", "--lot", "none"], NotFound)],
)
def test_a_rule_that_cannot_stand_is_refused(product: Wiring, two_lots: City, more: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        said(product, "invoice", "rule", "tax_invoice", *more)


def test_a_rule_is_of_the_operators_own_lot(product: Wiring, two_lots: City) -> None:
    with pytest.raises(Refused, match="is not of operator"):
        said(product, "invoice", "rule", "none", "--lot", "lot-1", "--operator", "op-2", "--document", "d")


def test_a_round_by_hand_says_what_it_did(product: Wiring, two_lots: City) -> None:
    assert said(product, "invoice", "run") == "0 requests handed over, 0 answered, 0 red ones asked for"
    product.settings.invoice_inbox.mkdir(parents=True)
    (product.settings.invoice_inbox / "a.jsonl").write_bytes(b"?")
    assert said(product, "invoice", "run").endswith("; 1 files of answers set aside")


def test_what_drivers_wait_for_is_listed_with_what_is_late(product: Wiring, two_lots: City) -> None:
    assert said(product, "lot", "refund-requests") == "no driver waits for an answer"
    with product.db.begin() as tx:
        due = make_attempt(tx, two_lots.ours, make_charge(tx, two_lots.ours, "S1"))
        results.apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
        requests.ask(
            tx, lane=0, payment_id=due.attempt.payment_id, reason="other", words="", evidence_id=UUID(int=256),
            answer_within=timedelta(days=7), remind_after=timedelta(days=5), at=AT, ids=IDS,
        )  # fmt: skip
    row = said(product, "lot", "refund-requests", "lot-1")
    assert row.startswith("open  lot-1")
    assert due.order_no in row
    assert said(product, "lot", "refund-requests", "lot-2") == said(product, "lot", "refund-requests", "--late")
    assert isinstance(product.clock, SetClock)
    product.clock.set(AT + timedelta(days=8))
    assert said(product, "lot", "refund-requests", "--late").startswith("LATE")
