"""Settlements: proposed by one person, approved by another, booked with the bank slip, on both sides and once."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, InternalError

from ledger import documents
from ledger.clock import business_date
from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from payments import people
from payments.incentive import settlements
from payments.incentive.rules import NewShare
from payments.incentive.settlements import Settlement
from payments.people import Person
from tests.payments.conftest import AT, IDS
from tests.payments.incentive.conftest import City
from tests.payments.owed.owing import CHECKER, MAKER

TODAY = business_date(AT)
TOMORROW = AT + timedelta(days=1)
PAYABLE, RECEIVABLE, BANK = 224103, 122101, 100201


def propose(town: City, **other: Any) -> list[Settlement]:
    said: dict[str, Any] = {"until_on": TODAY, "by": MAKER, "at": TOMORROW} | other
    with town.db.begin() as tx:
        return settlements.propose(tx, lane=0, ids=IDS, **said)


def approve(town: City, one: Settlement, **other: Any) -> Settlement:
    said: dict[str, Any] = {"settlement_id": one.settlement_id, "digest": one.digest, "by": CHECKER} | other
    with town.db.begin() as tx:
        return settlements.approve(tx, lane=0, at=TOMORROW, **said)


def pay(town: City, one: Settlement, **other: Any) -> Settlement:
    said: dict[str, Any] = {"slip": "SLIP-1", "paid_on": TODAY, "amount_fen": one.amount_fen, "by": MAKER} | other
    with town.db.begin() as tx:
        return settlements.pay(tx, lane=0, settlement_id=one.settlement_id, at=TOMORROW, **said)


@pytest.fixture
def owing(town: City) -> City:
    """op-1 owes the city 60 + 50 and the bureau 36 + 30, op-2 owes the city 10 and the bureau 6."""
    town.rule(share=(NewShare(bps=500), NewShare(to="liangxi", bps=300)))
    for amount_fen, lot in ((1200, 0), (1000, 0), (200, 1)):
        town.paid(amount_fen, lot=lot, scanned=1 - lot)
    town.follow()
    return town


def test_each_pair_gets_a_settlement_over_its_open_lines_and_nothing_is_settled_twice(owing: City) -> None:
    made = propose(owing)
    codes = {party.party_id: party.code for party in (owing.platform, owing.bureau, owing.party("op-1"), owing.party("op-2"))}
    assert sorted((codes[one.owner_id], codes[one.recoverer_id], one.amount_fen, one.lines) for one in made) == [
        ("op-1", "city", 110, 2), ("op-1", "liangxi", 66, 2), ("op-2", "city", 10, 1), ("op-2", "liangxi", 6, 1),
    ]  # fmt: skip
    assert {one.state for one in made} == {"proposed"}
    assert propose(owing) == []


def test_one_pair_can_be_settled_alone(owing: City) -> None:
    op_1 = owing.party("op-1").party_id
    assert [one.amount_fen for one in propose(owing, owner_id=op_1, recoverer_id=owing.bureau.party_id)] == [66]
    assert len(propose(owing)) == 3


def test_the_slip_books_both_sides_once(owing: City) -> None:
    one = next(one for one in propose(owing) if one.amount_fen == 110)
    pay_day = approve(owing, one)
    assert pay_day.state == "approved"
    paid = pay(owing, one)
    assert (paid.state, paid.slip, pay(owing, one)) == ("paid", "SLIP-1", paid)
    owner = owing.party("op-1")
    assert (owing.balance(owner, PAYABLE), owing.balance(owner, BANK)) == (-66, -110)
    assert (owing.balance(owing.platform, RECEIVABLE), owing.balance(owing.platform, BANK)) == (10, 110)
    owing.seal()


def test_an_approved_settlement_is_sealed_with_both_persons(owing: City) -> None:
    one = approve(owing, propose(owing)[0])
    with owing.db.connect() as tx:
        assert documents.find(tx, lane=0, document_ids=[one.settlement_id]) == [settlements.as_document(one)]


def test_whoever_proposed_cannot_approve_and_the_database_refuses_it_too(owing: City) -> None:
    with owing.db.begin() as tx:
        people.enter(tx, person=Person("staff-3", may_propose=True, may_approve=True, document="任命书 3"), at=AT)
    one = propose(owing, by="staff-3")[0]
    with pytest.raises(NotAllowed) as refused:
        approve(owing, one, by="staff-3")
    assert refused.value.code == "same_person"
    with owing.db.begin() as tx, pytest.raises(IntegrityError):
        tx.execute(
            text("update payments.incentive_settlement set state = 'approved', decided_by = made_by, decided_at = :at"), {"at": AT}
        )


def test_who_may_not_is_refused(owing: City) -> None:
    with pytest.raises(NotAllowed):
        propose(owing, by=CHECKER)
    one = propose(owing)[0]
    for by in (MAKER, "nobody"):
        with pytest.raises(NotAllowed):
            approve(owing, one, by=by)


def test_lines_that_are_not_those_that_were_shown_are_not_approved(owing: City) -> None:
    one = propose(owing)[0]
    with pytest.raises(Conflict) as refused:
        approve(owing, one, digest=bytes(32))
    assert refused.value.code == "settlement_changed"


def test_a_rejected_settlement_frees_its_lines(owing: City) -> None:
    first = propose(owing)
    with owing.db.begin() as tx:
        with pytest.raises(Refused):
            settlements.reject(tx, lane=0, settlement_id=first[0].settlement_id, by=CHECKER, note=" ", at=TOMORROW)
        gone = settlements.reject(tx, lane=0, settlement_id=first[0].settlement_id, by=CHECKER, note="账期有误", at=TOMORROW)
    assert (gone.state, gone.decided_note) == ("rejected", "账期有误")
    [again] = propose(owing)
    assert (again.amount_fen, again.digest) == (first[0].amount_fen, first[0].digest)
    with pytest.raises(Conflict):
        approve(owing, gone)


def test_a_pair_with_more_returned_than_given_waits_until_there_is_something_to_pay(town: City) -> None:
    town.rule()
    due = town.paid(1200, scanned=1)
    town.follow()
    pay(town, approve(town, propose(town)[0]))
    town.refund(due, 1200)
    town.follow()
    assert propose(town) == []
    town.paid(2000, scanned=1)
    town.follow()
    [one] = propose(town)
    assert (one.amount_fen, one.lines) == (40, 2)
    owner = town.party("op-1")
    assert town.balance(owner, PAYABLE) == -40


def test_days_that_are_not_over_are_not_settled_and_later_lines_wait(owing: City) -> None:
    with pytest.raises(Refused):
        propose(owing, until_on=TODAY, at=AT)
    assert propose(owing, until_on=TODAY - timedelta(days=1)) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount_fen": 1}, "slip_differs"),
        ({"slip": " "}, "slip_invalid"),
        ({"paid_on": date(2026, 12, 31)}, "date_invalid"),
        ({"by": CHECKER}, "person_may_not"),
    ],
)
def test_a_slip_that_does_not_fit_books_nothing(owing: City, change: dict[str, Any], code: str) -> None:
    one = approve(owing, propose(owing)[0])
    with pytest.raises(Refused) as refused:
        pay(owing, one, **change)
    assert refused.value.code == code
    assert owing.rows("select 1 from ledger.posting where 100201 in (debit_account, credit_account)") == []


def test_a_settlement_is_paid_after_approval_by_one_slip_of_its_own(owing: City) -> None:
    first, second = [one for one in propose(owing) if one.owner_id == owing.party("op-1").party_id]
    with pytest.raises(Conflict) as early:
        pay(owing, first)
    assert early.value.code == "settlement_not_approved"
    pay(owing, approve(owing, first))
    with pytest.raises(Conflict) as other:
        pay(owing, first, slip="SLIP-2")
    assert other.value.code == "settlement_paid"
    with pytest.raises(Conflict) as taken:
        pay(owing, approve(owing, second))
    assert taken.value.code == "slip_taken"
    with pytest.raises(NotFound):
        pay(owing, approve_nothing(first))


def approve_nothing(one: Settlement) -> Settlement:
    return msgspec.structs.replace(one, settlement_id=UUID(int=1 << 90))


def test_states_go_forward_only_and_lines_are_never_changed(owing: City) -> None:
    pay(owing, approve(owing, propose(owing)[0]))
    with owing.db.begin() as tx, pytest.raises(IntegrityError, match="cannot become"):
        tx.execute(text("update payments.incentive_settlement set state = 'approved' where state = 'paid'"))
    for change in ("update payments.incentive_line set amount_fen = 1", "delete from payments.recovery"):
        with owing.db.begin() as tx, pytest.raises((InternalError, Exception)) as refused:
            tx.execute(text(change))
        assert isinstance(getattr(refused.value, "orig", None), psycopg.errors.InsufficientPrivilege)
