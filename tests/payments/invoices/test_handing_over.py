"""Invoices from the request to the red one, over the directories of the issuer that is always there."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec import Struct
from sqlalchemy import Engine, event, text

from gateways.contract import ChannelState, RefundResult, RefundState
from ledger.errors import Conflict, NotFound, Refused
from payments import results
from payments.invoices import handing_over, invoices, rules
from payments.invoices.file_issuer import FileIssuer
from payments.invoices.handing_over import Ran
from payments.invoices.invoice_store import Invoice, Red
from payments.invoices.rules import NewRule
from payments.invoices.titles import Title, checked
from payments.lots import Lot
from payments.refunding import refunds
from payments.results import Notice
from tests.payments.conftest import AT, IDS, Due, message

NUMBER = "26322000000000000001"
COMPANY = checked(buyer_kind="company", title="某某公司", tax_no="91350100M000100Y43", email="a@b.example")


class Desk(Struct, frozen=True):
    """Invoices of a lot, and the issuer's two directories."""

    db: Engine
    outbox: Path
    inbox: Path

    def run(self, *, days: int = 0) -> Ran:
        issuer = FileIssuer(outbox=self.outbox, inbox=self.inbox)
        return handing_over.run(self.db, lane=0, issuer=issuer, at=AT + timedelta(days=days), ids=IDS)

    def ask(self, due: Due, title: Title = COMPANY) -> Invoice:
        with self.db.begin() as tx:
            return invoices.request(tx, lane=0, payment_id=due.attempt.payment_id, title=title, at=AT, ids=IDS)

    def now(self, due: Due) -> Invoice:
        payment_id = due.attempt.payment_id
        with self.db.connect() as tx:
            return invoices.latest(tx, lane=0, payment_ids=[payment_id])[payment_id]

    def lines(self) -> list[dict[str, Any]]:
        files = sorted(self.outbox.glob("*.jsonl"))
        return [msgspec.json.decode(line) for file in files for line in file.read_bytes().splitlines()]

    def answer(self, *answers: dict[str, Any] | bytes, name: str = "a.jsonl", original: bytes | None = b"<invoice/>") -> None:
        self.inbox.mkdir(parents=True, exist_ok=True)
        if original is not None:
            (self.inbox / "one.xml").write_bytes(original)
        lines = [one if isinstance(one, bytes) else msgspec.json.encode(one) for one in answers]
        (self.inbox / name).write_bytes(b"\n".join(lines) + b"\n")

    def why(self, name: str = "a.jsonl") -> str:
        return (self.inbox / "aside" / f"{name}.why.txt").read_text(encoding="utf-8")

    def refund(self, due: Due, fen: int, ref: str = "r-1") -> UUID:
        with self.db.begin() as tx:
            made = refunds.promise(
                tx, lane=0, payment_id=due.attempt.payment_id, amount_fen=fen, source="operator", source_ref=ref, reason="退款",
                evidence_id=due.attempt.payment_id, at=AT, ids=IDS,
            )  # fmt: skip
            told = RefundResult(
                channel="wechat", state=RefundState.DONE, refund_no=refunds.number(made), provider_no=made.provider_no,
                merchant_no=made.merchant_no, trade_no=made.trade_no, refund_fen=fen, happened_at=AT,
            )  # fmt: skip
            results.apply(tx, lane=0, notices=[Notice(message("refund"), None, "callback", told)], at=AT, ids=IDS)
        return made.refund_id


def issued(request: object, **other: object) -> dict[str, Any]:
    said = {"request": str(request), "state": "issued", "number": NUMBER, "issued_at": "2026-03-02T13:00:00+08:00"}
    return said | {"amount_fen": 1200, "file": "one.xml"} | other


@pytest.fixture
def desk(db: Engine, city: Lot, tmp_path: Path) -> Desk:
    with db.begin() as tx:
        rule = NewRule(kind="tax_invoice", document="agreement 1", valid_from=AT - timedelta(days=9), operator_id=city.operator_id)
        rules.enter(tx, rule=rule, at=AT)
    return Desk(db, tmp_path / "out", tmp_path / "in")


@pytest.fixture
def paid(db: Engine, due: Callable[..., Due]) -> Due:
    made = due()
    with db.begin() as tx:
        results.apply(tx, lane=0, notices=[made.callback()], at=AT, ids=IDS)
    return made


def test_a_request_is_handed_over_once_and_its_answer_is_kept_with_the_original(desk: Desk, paid: Due) -> None:
    asked = desk.ask(paid)
    assert desk.ask(paid).invoice_id == asked.invoice_id
    assert desk.run() == Ran(handed_over=1)
    assert desk.run() == Ran()
    [line] = desk.lines()
    assert (line["request"], line["color"], line["amount_fen"]) == (str(asked.invoice_id), "blue", 1200)
    assert (line["buyer_tax_no"], line["email"], line["receipt"]) == ("91350100M000100Y43", "a@b.example", paid.order_no)
    with desk.db.connect() as tx:
        assert tx.execute(text("select body from payments.invoice_batch")).scalar_one() is None
    desk.answer(issued(asked.invoice_id, sha256=hashlib.sha256(b"<invoice/>").hexdigest()))
    assert desk.run() == Ran(answered=1)
    now = desk.now(paid)
    assert (now.state, now.number, now.amount_fen, now.has_file) == ("issued", NUMBER, 1200, True)
    assert (desk.inbox / "taken" / "a.jsonl").exists()
    with desk.db.connect() as tx:
        kept = invoices.original(tx, lane=0, payment_ids=[paid.attempt.payment_id], subject_id=asked.invoice_id)
        assert (kept.body, kept.media_type) == (b"<invoice/>", "application/xml")
        with pytest.raises(NotFound):
            invoices.original(tx, lane=0, payment_ids=[asked.invoice_id], subject_id=asked.invoice_id)


def test_the_same_answers_again_change_nothing(desk: Desk, paid: Due) -> None:
    asked = desk.ask(paid)
    desk.run()
    for _ in range(2):
        desk.answer(issued(asked.invoice_id))
        ran = desk.run()
    desk.answer(issued(asked.invoice_id), b"", name="b.jsonl")
    assert (ran, desk.run()) == (Ran(), Ran())


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"request": "019cacb3-f200-7dd3-9711-2b7289cd0f00"}, "there is no request"),
        ({"amount_fen": 1199}, "issued over 1199 fen, asked for 1200"),
        ({"number": "12345678"}, "20 digits"),
        ({"number": None}, "has a number"),
        ({"file": "two.xml"}, "two.xml is not there"),
        ({"file": None}, "the structured original is missing"),
        ({"file": "../one.xml"}, "this is no answer"),
        ({"file": "one.html"}, "the structured original is missing"),
        ({"sha256": "0" * 64}, "its SHA-256 differs"),
        ({"state": "refused", "words": " "}, "says why"),
        ({"colour": "red"}, "this is no answer"),
    ],
)
def test_an_answer_that_cannot_be_right_is_set_aside_in_words_and_the_good_line_counts(
    desk: Desk, paid: Due, due: Callable[..., Due], other: dict[str, Any], why: str
) -> None:
    second = due()
    with desk.db.begin() as tx:
        results.apply(tx, lane=0, notices=[second.callback()], at=AT, ids=IDS)
    asked, good = desk.ask(paid), desk.ask(second)
    desk.run()
    desk.answer(issued(asked.invoice_id) | other, issued(good.invoice_id, number="26322000000000000002"))
    assert desk.run() == Ran(answered=1, aside=1)
    assert why in desk.why()
    assert desk.why().startswith("line 1: ")
    assert (desk.now(paid).state, desk.now(second).state) == ("handed_over", "issued")


def test_one_number_belongs_to_one_invoice(desk: Desk, paid: Due, due: Callable[..., Due]) -> None:
    second = due()
    with desk.db.begin() as tx:
        results.apply(tx, lane=0, notices=[second.callback()], at=AT, ids=IDS)
    first, other = desk.ask(paid), desk.ask(second)
    desk.run()
    desk.answer(issued(first.invoice_id), issued(other.invoice_id))
    assert desk.run() == Ran(answered=1, aside=1)
    assert "belongs to another invoice" in desk.why()


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"not json\n{}\n"])
def test_a_broken_file_is_set_aside_and_the_next_one_is_taken(desk: Desk, paid: Due, body: bytes) -> None:
    asked = desk.ask(paid)
    desk.run()
    desk.answer(body)
    desk.answer(issued(asked.invoice_id), name="b.jsonl")
    assert desk.run() == Ran(answered=1, aside=1)
    assert desk.why()


def test_a_file_whose_original_came_late_is_simply_brought_again(desk: Desk, paid: Due) -> None:
    asked = desk.ask(paid)
    desk.run()
    desk.answer(issued(asked.invoice_id), original=None)
    assert desk.run() == Ran(aside=1)
    desk.answer(issued(asked.invoice_id))
    assert desk.run() == Ran(answered=1)


def test_while_the_issuer_is_away_everything_waits(desk: Desk, paid: Due) -> None:
    desk.ask(paid)
    desk.outbox.write_text("a file where the directory should be")
    ran = desk.run()
    assert ran.trouble is not None
    assert "cannot be written" in ran.trouble
    desk.outbox.unlink()
    assert desk.run() == Ran()
    assert len(desk.lines()) == 1


def test_what_was_refused_may_be_asked_for_anew(desk: Desk, paid: Due) -> None:
    first = desk.ask(paid)
    desk.run()
    desk.answer({"request": str(first.invoice_id), "state": "refused", "words": "税号与名称不符"})
    desk.run()
    assert desk.now(paid).refused_words == "税号与名称不符"
    assert desk.ask(paid).invoice_id != first.invoice_id


def test_a_refund_before_it_is_handed_over_makes_it_smaller(desk: Desk, paid: Due) -> None:
    desk.ask(paid)
    desk.refund(paid, 200)
    desk.run()
    assert desk.lines()[0]["amount_fen"] == 1000


def test_a_refund_under_way_is_waited_for(desk: Desk, paid: Due) -> None:
    desk.ask(paid)
    with desk.db.begin() as tx:
        refunds.promise(
            tx, lane=0, payment_id=paid.attempt.payment_id, amount_fen=200, source="operator", source_ref="r-1", reason="退款",
            evidence_id=paid.attempt.payment_id, at=AT, ids=IDS,
        )  # fmt: skip
    assert desk.run() == Ran()
    assert desk.now(paid).state == "requested"


def test_of_what_was_refunded_in_full_nothing_is_issued(desk: Desk, paid: Due) -> None:
    desk.ask(paid)
    desk.refund(paid, 1200)
    assert desk.run() == Ran(handed_over=1)
    assert (desk.now(paid).state, desk.lines()) == ("refused", [])
    with pytest.raises(Refused, match="nothing is left"):
        desk.ask(paid)


def test_a_refund_between_handing_over_and_issue_becomes_a_red_one_at_once(desk: Desk, paid: Due) -> None:
    asked = desk.ask(paid)
    desk.run()
    desk.refund(paid, 200)
    desk.answer(issued(asked.invoice_id))
    assert desk.run() == Ran(answered=1, handed_over=1)
    [_, red] = sorted(desk.lines(), key=lambda line: str(line["color"]))
    assert (red["color"], red["red_of"], red["amount_fen"]) == ("red", NUMBER, 200)


def by_amount(desk: Desk, paid: Due) -> list[Red]:
    """Red invoices that were asked for at the same moment stand in any order."""
    return sorted(desk.now(paid).reds, key=lambda red: red.amount_fen)


def test_refunds_after_the_issue_are_taken_off_each_once(desk: Desk, paid: Due) -> None:
    asked = desk.ask(paid)
    desk.run()
    desk.answer(issued(asked.invoice_id))
    desk.run()
    desk.refund(paid, 200)
    assert desk.run() == Ran(reds=1, handed_over=1)
    assert desk.run() == Ran()
    desk.refund(paid, 1000, "r-2")
    assert desk.run() == Ran(reds=1, handed_over=1)
    reds = by_amount(desk, paid)
    assert [red.amount_fen for red in reds] == [200, 1000]
    desk.answer(issued(reds[0].red_id, amount_fen=200, number="26322000000000000009"), name="b.jsonl")
    assert desk.run() == Ran(answered=1)
    assert [(red.state, red.has_file) for red in by_amount(desk, paid)] == [("issued", True), ("handed_over", False)]


def test_a_payment_that_was_taken_back_is_taken_off_in_full(desk: Desk, paid: Due) -> None:
    asked = desk.ask(paid)
    desk.run()
    desk.answer(issued(asked.invoice_id))
    desk.run()
    with desk.db.begin() as tx:
        results.apply(tx, lane=0, notices=[paid.answer(state=ChannelState.REVERSED)], at=AT, ids=IDS)
    assert desk.run() == Ran(reds=1, handed_over=1)
    assert [red.amount_fen for red in desk.now(paid).reds] == [1200]


def test_the_rule_of_the_lot_when_it_was_paid_says_what_there_is(desk: Desk, paid: Due, city: Lot) -> None:
    with desk.db.begin() as tx:
        for kind, days in (("fiscal_receipt", -1), ("none", 1)):
            place = {"operator_id": city.operator_id, "lot_id": city.lot_id}
            rule = NewRule(kind=kind, document="d", valid_from=AT + timedelta(days=days), **place)  # type: ignore[arg-type]
            rules.enter(tx, rule=rule, at=AT)
        with pytest.raises(Conflict, match="another one"):
            rules.enter(tx, rule=rule, at=AT)
    assert desk.ask(paid).kind == "fiscal_receipt"
    desk.run()
    desk.answer(issued(desk.now(paid).invoice_id, number="320100260000000001"))
    assert desk.run() == Ran(answered=1)


def test_without_a_rule_nothing_is_to_be_had(db: Engine, paid: Due, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="ask the operator"):
        Desk(db, tmp_path, tmp_path).ask(paid)


def test_a_second_payment_goes_back_and_gets_no_invoice(desk: Desk, due: Callable[..., Due]) -> None:
    first = due()
    second = due(same_charge_as=first)
    with desk.db.begin() as tx:
        results.apply(tx, lane=0, notices=[first.callback(), second.callback()], at=AT, ids=IDS)
    with pytest.raises(Conflict, match="goes back"):
        desk.ask(second)
    with pytest.raises(NotFound):
        desk.ask(due())


def test_emails_are_erased_some_days_after_the_answer(desk: Desk, paid: Due) -> None:
    asked = desk.ask(paid)
    desk.run()
    desk.answer(issued(asked.invoice_id))
    desk.run()
    with desk.db.begin() as tx:
        assert invoices.forget_emails(tx, lane=0, before=AT) == 0
        assert invoices.forget_emails(tx, lane=0, before=AT + timedelta(days=30)) == 1
        assert tx.execute(text("select email from payments.invoice")).scalar_one() is None


# Made out anew

OTHER: Any = checked(buyer_kind="person", title="李某", tax_no="", email="")


def had(desk: Desk, paid: Due) -> UUID:
    """Have an invoice issued."""
    asked = desk.ask(paid)
    desk.run()
    desk.answer(issued(asked.invoice_id))
    desk.run()
    return asked.invoice_id


def correct(desk: Desk, paid: Due, invoice_id: UUID, title: Title = OTHER, *, days: int = 0) -> Invoice:
    with desk.db.begin() as tx:
        return invoices.correct(
            tx,
            lane=0,
            payment_id=paid.attempt.payment_id,
            invoice_id=invoice_id,
            title=title,
            at=AT + timedelta(days=days),
            ids=IDS,
        )


def test_a_wrong_name_is_put_right_by_a_red_one_first_and_then_a_new_one(desk: Desk, paid: Due) -> None:
    first = had(desk, paid)
    desk.refund(paid, 200)
    desk.run()
    [refunded] = desk.now(paid).reds
    made = correct(desk, paid, first)
    assert correct(desk, paid, first) == made
    assert (made.corrects, made.state, made.title) == (first, "requested", "李某")
    assert desk.run() == Ran(handed_over=1)
    with desk.db.connect() as tx:
        known = invoices.of_payments(tx, lane=0, payment_ids=[paid.attempt.payment_id])[paid.attempt.payment_id]
    [red] = [red for one in known if one.invoice_id == first for red in one.reds if red.cause == "correction"]
    said = {line["request"]: (line["color"], line["amount_fen"], line.get("because")) for line in desk.lines()}
    assert said[str(red.red_id)] == ("red", 1000, "correction")
    assert said[str(refunded.red_id)] == ("red", 200, "refund")
    desk.answer(issued(red.red_id, amount_fen=1000, number="26322000000000000011"), name="b.jsonl")
    assert desk.run() == Ran(answered=1)  # the red one of the refund is still to come
    desk.answer(issued(refunded.red_id, amount_fen=200, number="26322000000000000012"), name="c.jsonl")
    assert desk.run() == Ran(answered=1, handed_over=1)
    blue = next(line for line in desk.lines() if line["request"] == str(made.invoice_id))
    assert (blue["color"], blue["amount_fen"], blue["replaces"], blue["buyer"]) == ("blue", 1000, NUMBER, "李某")
    desk.answer(issued(made.invoice_id, amount_fen=1000, number="26322000000000000013"), name="d.jsonl")
    desk.run()
    desk.refund(paid, 300, "r-2")
    assert desk.run() == Ran(reds=1, handed_over=1)
    assert [red.amount_fen for red in desk.now(paid).reds] == [300]


def test_the_same_name_again_changes_nothing(desk: Desk, paid: Due) -> None:
    first = had(desk, paid)
    assert correct(desk, paid, first, COMPANY).invoice_id == first
    assert desk.run() == Ran()


def test_when_the_new_name_is_refused_it_is_asked_for_once_more(desk: Desk, paid: Due) -> None:
    first = had(desk, paid)
    made = correct(desk, paid, first)
    desk.run()
    [line] = [line for line in desk.lines() if line["color"] == "red"]
    desk.answer(issued(line["request"], number="26322000000000000011"), name="b.jsonl")
    desk.run()
    desk.answer({"request": str(made.invoice_id), "state": "refused", "words": "查无此人"}, name="c.jsonl")
    desk.run()
    assert (desk.now(paid).refused_words, desk.now(paid).invoice_id) == ("查无此人", made.invoice_id)
    assert desk.ask(paid).state == "requested"
    assert desk.run() == Ran(handed_over=1)


def test_what_cannot_be_put_right_is_refused(desk: Desk, paid: Due) -> None:
    asked = desk.ask(paid)
    with pytest.raises(Conflict, match="not issued yet"):
        correct(desk, paid, asked.invoice_id)
    desk.run()
    desk.answer(issued(asked.invoice_id))
    desk.run()
    with pytest.raises(NotFound, match="no such invoice"):
        correct(desk, paid, paid.attempt.payment_id)
    with pytest.raises(Refused, match="days"):
        correct(desk, paid, asked.invoice_id, days=31)
    desk.refund(paid, 1200)
    with pytest.raises(Refused, match="nothing is left"):
        correct(desk, paid, asked.invoice_id)


@pytest.mark.parametrize("days", [{"correct_days": -1}, {"red_days": 0}, {"red_days": 9_999}])
def test_days_that_cannot_be_are_refused(db: Engine, days: dict[str, int]) -> None:
    with db.begin() as tx, pytest.raises(Refused, match="days"):
        rules.enter(tx, rule=NewRule(kind="none", document="d", valid_from=AT, **days), at=AT)


# Red ones that were refused


def refused_red(desk: Desk, paid: Due) -> str:
    had(desk, paid)
    desk.refund(paid, 200)
    desk.run()
    return refuse_red(desk, "r0")


def refuse_red(desk: Desk, name: str, *, hours: int = 0) -> str:
    request = next(str(line["request"]) for line in reversed(desk.lines()) if line["color"] == "red")
    desk.answer({"request": request, "state": "refused", "words": "税控系统忙"}, name=f"{name}.jsonl")
    assert run_at(desk, hours).answered == 1
    return request


def run_at(desk: Desk, hours: int) -> Ran:
    issuer = FileIssuer(outbox=desk.outbox, inbox=desk.inbox)
    ran = handing_over.run(desk.db, lane=0, issuer=issuer, at=AT + timedelta(hours=hours), ids=IDS)
    for number, file in enumerate(sorted(desk.outbox.glob("*.jsonl"), key=lambda file: file.stat().st_mtime_ns)):
        file.rename(file.with_name(f"{number:04}.jsonl"))  # so that the lines stand in the order in which they were handed over
    return ran


def test_a_refused_red_one_is_asked_for_anew_after_a_while_under_another_id(desk: Desk, paid: Due) -> None:
    first = refused_red(desk, paid)
    assert [red.state for red in desk.now(paid).reds] == ["retry"]
    assert run_at(desk, 0) == Ran()
    assert run_at(desk, 1) == Ran(again=1, handed_over=1)
    assert run_at(desk, 1) == Ran()
    [red] = desk.now(paid).reds
    assert (red.state, red.amount_fen, str(red.red_id) != first) == ("handed_over", 200, True)
    desk.answer(issued(red.red_id, amount_fen=200, number="26322000000000000011"), name="b.jsonl")
    assert run_at(desk, 2) == Ran(answered=1)
    assert [red.state for red in desk.now(paid).reds] == ["issued"]


def test_refused_to_the_last_it_waits_for_a_person_who_asks_anew(desk: Desk, paid: Due) -> None:
    refused_red(desk, paid)
    for turn in range(1, handing_over.RED_TRIES_MAX):
        assert run_at(desk, turn * 24).again == 1
        refuse_red(desk, f"r{turn}", hours=turn * 24)
    assert run_at(desk, 999) == Ran(stuck=1)
    assert [red.state for red in desk.now(paid).reds] == ["stuck"]
    with desk.db.begin() as tx:
        asked = {"lane": 0, "at": AT, "ids": IDS}
        assert handing_over.retry(tx, asked_on=AT.date() - timedelta(days=1), **asked) == 0  # type: ignore[arg-type]
        assert handing_over.retry(tx, requests=[paid.attempt.payment_id], **asked) == 0  # type: ignore[arg-type]
        assert handing_over.retry(tx, **asked) == 1  # type: ignore[arg-type]
        assert handing_over.retry(tx, **asked) == 0  # type: ignore[arg-type]
    assert run_at(desk, 999) == Ran(handed_over=1)


def test_refunds_are_followed_for_the_days_of_the_rule_however_late_they_are_noticed(desk: Desk, paid: Due) -> None:
    had(desk, paid)
    desk.refund(paid, 200)
    assert desk.run(days=100) == Ran()
    for days, found in ((366, 0), (100, 1), (100, 0)):
        assert handing_over.compare_all(desk.db, lane=0, at=AT + timedelta(days=days), ids=IDS) == found


def test_invoices_of_many_payments_are_asked_for_in_as_many_statements_as_of_one(desk: Desk, due: Callable[..., Due]) -> None:
    dues = [due() for _ in range(7)]
    with desk.db.begin() as tx:
        results.apply(tx, lane=0, notices=[one.callback() for one in dues[:6]], at=AT, ids=IDS)
    said: list[str] = []
    event.listen(desk.db, "before_cursor_execute", lambda *given: said.append(given[2]))
    counts = []
    for some, new in ((dues[:1], 1), (dues, 5), (dues, 0)):  # one has an invoice by then, one took no money
        said.clear()
        with desk.db.begin() as tx:
            payment_ids = [one.attempt.payment_id for one in some]
            assert invoices.request_all(tx, lane=0, payment_ids=payment_ids, title=COMPANY, at=AT, ids=IDS) == new
        counts.append(len(said))
    assert counts[0] == counts[1] == counts[2] + 1
    assert desk.run().handed_over == 6
