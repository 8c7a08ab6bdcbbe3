"""Settlements of bearers: proposed by one person, approved by another, booked with the bank slip, in every book and once."""

import argparse
import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.commands import splits as desk
from ledger import documents
from ledger.clock import business_date
from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from payments import people
from payments.bearers import reports, settlements
from payments.bearers.settlements import Settlement
from payments.people import Person
from tests.payments.bearers.conftest import BANK, CLAIM, OWED, Town
from tests.payments.conftest import AT, IDS
from tests.payments.owed.owing import CHECKER, MAKER

TODAY = business_date(AT)
TOMORROW = AT + timedelta(days=1)


def propose(town: Town, **other: Any) -> list[Settlement]:
    said: dict[str, Any] = {"until_on": TODAY, "by": MAKER, "at": TOMORROW} | other
    with town.db.begin() as tx:
        return settlements.propose(tx, lane=0, ids=IDS, **said)


def approve(town: Town, one: Settlement, **other: Any) -> Settlement:
    said: dict[str, Any] = {"settlement_id": one.settlement_id, "digest": one.digest, "by": CHECKER} | other
    with town.db.begin() as tx:
        return settlements.approve(tx, lane=0, at=TOMORROW, **said)


def pay(town: Town, one: Settlement, **other: Any) -> Settlement:
    said: dict[str, Any] = {"slip": "SLIP-1", "paid_on": TODAY, "amount_fen": one.amount_fen, "by": MAKER} | other
    with town.db.begin() as tx:
        return settlements.pay(tx, lane=0, settlement_id=one.settlement_id, at=TOMORROW, **said)


@pytest.fixture
def owing(town: Town) -> Town:
    """The platform owes op-1 for three stays of 5 yuan."""
    town.rule("city")
    town.earned("S1", "S2", "S3")
    return town


def test_a_settlement_is_paid_once_and_booked_on_both_sides(owing: Town) -> None:
    [one] = propose(owing)
    assert (one.amount_fen, one.lines, one.state, propose(owing)) == (1500, 3, "proposed", [])
    assert approve(owing, one).state == "approved"
    with owing.db.connect() as tx:
        assert documents.find(tx, lane=0, document_ids=[one.settlement_id]) == [
            settlements.as_document(next(iter(settlements.listed(tx, lane=0))))
        ]
    paid = pay(owing, one)
    assert (paid.state, pay(owing, one)) == ("paid", paid)
    assert (owing.balance("op-1", CLAIM), owing.balance("op-1", BANK)) == (0, 1500)
    assert (owing.balance("city", OWED), owing.balance("city", BANK)) == (0, -1500)
    owing.seal()


def test_a_bearer_without_a_book_pays_into_the_operators_bank_alone(town: Town) -> None:
    town.rule("mall")
    town.earned("S1")
    pay(town, approve(town, propose(town)[0]))
    assert (town.balance("op-1", CLAIM), town.balance("op-1", BANK)) == (0, 500)
    town.seal()


def test_what_is_cancelled_after_it_was_settled_lessens_the_next_settlement(owing: Town) -> None:
    pay(owing, approve(owing, propose(owing)[0]))
    owing.correct()
    owing.follow()
    assert propose(owing) == [], "the operator would owe the bearer: it waits"
    owing.earned("S4", "S5")
    [next_one] = propose(owing)
    assert (next_one.amount_fen, next_one.lines) == (500, 3)
    pay(owing, approve(owing, next_one), slip="SLIP-2")
    assert owing.balance("op-1", CLAIM) == 0
    owing.seal()


def test_whoever_proposed_cannot_approve_and_the_database_refuses_it_too(owing: Town) -> None:
    with owing.db.begin() as tx:
        people.enter(tx, person=Person("staff-3", may_propose=True, may_approve=True, document="任命书 3"), at=AT)
    one = propose(owing, by="staff-3")[0]
    with pytest.raises(NotAllowed) as refused:
        approve(owing, one, by="staff-3")
    assert refused.value.code == "same_person"
    with owing.db.begin() as tx, pytest.raises(IntegrityError):
        tx.execute(
            text("update payments.bearer_settlement set state = 'approved', decided_by = made_by, decided_at = :at"), {"at": AT}
        )


def test_who_may_not_is_refused_and_so_is_a_day_that_is_not_over(owing: Town) -> None:
    with pytest.raises(NotAllowed):
        propose(owing, by=CHECKER)
    with pytest.raises(Refused):
        propose(owing, until_on=business_date(TOMORROW))
    one = propose(owing)[0]
    for by in (MAKER, "nobody"):
        with pytest.raises(NotAllowed):
            approve(owing, one, by=by)
    with pytest.raises(Conflict) as changed:
        approve(owing, one, digest=bytes(32))
    assert changed.value.code == "settlement_changed"


def test_a_rejected_settlement_frees_its_lines(owing: Town) -> None:
    one = propose(owing)[0]
    with owing.db.begin() as tx, pytest.raises(Refused):
        settlements.reject(tx, lane=0, settlement_id=one.settlement_id, by=CHECKER, note=" ", at=TOMORROW)
    with owing.db.begin() as tx:
        settlements.reject(tx, lane=0, settlement_id=one.settlement_id, by=CHECKER, note="not ours", at=TOMORROW)
    with pytest.raises(Conflict):
        approve(owing, one)
    assert [again.amount_fen for again in propose(owing)] == [1500]


def test_a_slip_that_cannot_be_is_refused(owing: Town) -> None:
    one = propose(owing)[0]
    with pytest.raises(Conflict, match="second person"):
        pay(owing, one)
    approve(owing, one)
    for wrong in ({"slip": " "}, {"amount_fen": 1499}, {"paid_on": TODAY + timedelta(days=9)}):
        with pytest.raises(Refused):
            pay(owing, one, **wrong)
    pay(owing, one)
    with pytest.raises(Conflict):
        pay(owing, one, slip="SLIP-9")
    owing.earned("S4")
    with pytest.raises(Conflict) as taken:
        pay(owing, approve(owing, propose(owing)[0]))
    assert taken.value.code == "slip_taken"
    owing.seal()


# The desk.


def said(town: Town, *words: str) -> str:
    parser = argparse.ArgumentParser()
    desk.arguments(parser)

    class Bare:
        lane, ids, db = 0, IDS, town.db

        class clock:  # noqa: N801
            now = staticmethod(lambda: TOMORROW)

    bare: Any = Bare()
    return desk.run(bare, parser.parse_args(list(words)))


def test_the_desk_leads_from_the_claims_to_the_bank_slip(owing: Town) -> None:
    assert said(owing, "claims").split()[:6] == ["city", "to", "op-1", "3", "parts", "borne"]
    until = TODAY.isoformat()
    line = said(owing, "settle", "--until", until, "--bearer", "city", "--operator", "op-1", "--by", MAKER)
    settlement, digest = line.split()[0], line.split("digest ")[1].split()[0]
    with pytest.raises(Refused) as short:
        said(owing, "approve", settlement, "--digest", digest[:8], "--by", CHECKER)
    assert short.value.code == "digest_too_short"
    assert "approved" in said(owing, "approve", settlement, "--digest", digest[:16], "--by", CHECKER)
    assert "slip B-7" in said(owing, "paid", settlement, "--slip", "B-7", "--on", until, "--yuan", "15.00", "--by", MAKER)
    assert said(owing, "settlements", "--state", "paid").split()[:2] == [settlement, "paid"]
    assert said(owing, "settle", "--until", until, "--by", MAKER) == "Nothing is to be settled."
    with owing.db.connect() as tx:
        [one] = reports.sums(tx, lane=0, bearer_id=owing.city.bearer_id)
    assert (one.parts, one.borne_fen, one.settled_fen, one.open_fen) == (3, 1500, 1500, 0)
    owing.seal()


def test_the_bearers_report_names_stays_and_no_plate(owing: Town) -> None:
    owing.correct()
    said(owing, "follow")
    owing.seal()
    said(owing, "follow")
    report = said(owing, "report", "--bearer", "city", "--since", "2026-03-01", "--until", "2026-03-31")
    rows = list(csv.DictReader(io.StringIO(report)))
    assert [(row["lot"], row["serial"], row["fen"], row["settlement"]) for row in rows if row["serial"] != "S1"] == [
        ("lot-1", "S2", "500", "open"), ("lot-1", "S3", "500", "open"),
    ]  # fmt: skip
    assert sorted(row["fen"] for row in rows if row["serial"] == "S1") == ["-500", "500"]
    assert {row["happened_at"] for row in rows if int(row["fen"]) > 0} == {"2026-03-02T12:00:00+08:00"}
    assert "12345" not in report
    with pytest.raises(NotFound):
        said(owing, "report", "--bearer", "nobody", "--since", "2026-03-01", "--until", "2026-03-31")


def test_the_desk_registers_bearers_and_lists_them(town: Town) -> None:
    assert (
        said(town, "bearer", "shop", "--name", "示例药店", "--document", "agreement 9")
        == "shop             示例药店  [agreement 9]"
    )
    assert [line.split()[0] for line in said(town, "bearers").splitlines()] == ["mall", "city", "own", "shop"]
    assert said(town, "claims") == "Nothing was claimed from a bearer."
