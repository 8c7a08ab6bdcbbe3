"""``tongting invoice`` and ``tongting lot refund-requests``, as the staff uses them."""

import argparse
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app.cli import Desk
from app.commands import invoices as desk
from app.commands import lots as lot_desk
from app.wiring import Wiring
from ledger.clock import SetClock
from ledger.errors import Conflict, NotFound, Refused
from payments import results
from payments.invoices import invoices
from payments.invoices.titles import Title
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


def test_single_invoices_are_listed_and_refused_red_ones_asked_for_anew(product: Wiring, two_lots: City) -> None:
    assert said(product, "invoice", "list") == "none"
    said(product, "invoice", "rule", "tax_invoice", "--document", "d", "--from", "2026-01-01T00:00", "--correct-days", "10")
    assert "made out anew 10 days, refunds 365 days" in said(product, "invoice", "rules")
    with product.db.begin() as tx:
        due = make_attempt(tx, two_lots.ours, make_charge(tx, two_lots.ours, "S1"))
        results.apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
        title = Title(buyer_kind="person", title="李某")
        payment_id = due.attempt.payment_id
        asked = invoices.request(tx, lane=0, payment_id=payment_id, title=title, at=AT, ids=IDS)
    row = said(product, "invoice", "list", "--lot", "lot-1", "--day", "2026-03-02", "--state", "requested")
    assert row.startswith(f"{asked.invoice_id}  blue  requested    lot-1")
    assert due.order_no in row
    assert "李某" not in row
    for other in (["--lot", "lot-2"], ["--day", "2026-03-01"], ["--state", "stuck"]):
        assert said(product, "invoice", "list", *other) == "none"
    assert said(product, "invoice", "retry").startswith("0 red invoices")
    assert said(product, "invoice", "retry", str(asked.invoice_id), "--lot", "lot-1").startswith("0 red invoices")
    with pytest.raises(NotFound):
        said(product, "invoice", "list", "--lot", "none")
    with product.db.begin() as tx:
        tx.execute(
            text("""
            insert into payments.invoice_red (red_id, lane, invoice_id, amount_fen, asked_at, state, refused_words,
                                              answered_at, evidence_id)
            values (:id, 0, :id, 100, :at, 'refused', '税控系统忙', :at, :id)
            """),
            {"id": asked.invoice_id, "at": AT},
        )
    assert "stuck" in said(product, "invoice", "list", "--state", "stuck")
    assert "税控系统忙" in said(product, "invoice", "list")
    assert said(product, "invoice", "run").endswith("WAIT FOR A PERSON: tongting invoice list --state stuck")
    assert said(product, "invoice", "retry", "--day", "2026-03-02") == "1 red invoices are asked for anew"
    assert said(product, "invoice", "list", "--state", "stuck") == "none"
