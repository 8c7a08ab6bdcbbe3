"""Disputes of debts that are paid meanwhile: the objection stays, and who is right gets the money back."""

from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from gateways.contract import ChannelState
from ledger.errors import Conflict, Refused
from payments import results
from payments.lots import Lot
from payments.owed import debt_desk, debt_list, disputes
from payments.owed.dispute_store import Dispute
from payments.owed.dunning import limitation
from payments.refunding import refunds
from tests.payments.conftest import AT, Due, make_attempt
from tests.payments.owed.owing import CHECKER, IDS, MAKER, desk, owe, told

__all__ = ["desk"]
PAPER = debt_desk.paper("核实单 2026-7.pdf", b"%PDF-1.7 signed")


def objected(tx: Connection, charge_id: UUID) -> Dispute:
    return disputes.open_dispute(
        tx, lane=0, charge_id=charge_id, reason="not_there", statement="没去过", opened_by="page", opened_ref="", at=AT, ids=IDS
    )


def pay(tx: Connection, lot: Lot, charge_id: UUID) -> Due:
    paid = make_attempt(tx, lot, charge_id)
    results.apply(tx, lane=0, notices=[paid.answer()], at=AT, ids=IDS)
    return paid


def give_back(tx: Connection, paid: Due, amount_fen: int) -> None:
    refunds.promise(
        tx, lane=0, payment_id=paid.attempt.payment_id, amount_fen=amount_fen, source="operator", source_ref=f"B{amount_fen}",
        reason="异议成立", evidence_id=IDS.new(AT, "refund"), at=AT, ids=IDS,
    )  # fmt: skip


def uphold(tx: Connection, dispute: Dispute, amount_fen: int | None = None) -> Dispute:
    return disputes.uphold(
        tx, lane=0, dispute_id=dispute.dispute_id, by=MAKER, note="属实", document=PAPER, at=AT, ids=IDS, amount_fen=amount_fen
    )


def found(tx: Connection, dispute: Dispute) -> Dispute:
    return disputes.by_id(tx, lane=0, dispute_id=dispute.dispute_id)


def waiting(tx: Connection) -> list[str]:
    return [one.standing for one in disputes.waiting(tx, lane=0)]


def test_paying_a_disputed_debt_leaves_the_objection_to_be_decided(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200, overdue_days=9)
    opened = objected(desk, one)
    assert opened.standing == "open"
    pay(desk, city, one)
    paid = found(desk, opened)
    assert (paid.state, paid.standing, paid.owed_fen, paid.to_give_back_fen) == ("open", "paid", 0, 1200)
    assert waiting(desk) == ["paid"]
    assert [x.dispute_id for x in disputes.of_lot(desk, lane=0, lot_id=city.lot_id)] == [opened.dispute_id]


def test_a_paid_and_disputed_debt_is_settled_for_lists_and_for_the_limitation(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200, overdue_days=3 * 366)
    objected(desk, one)
    today = AT.date()
    assert [x.is_disputed for x in limitation.ending(desk, lane=0, until=today)] == [True]
    pay(desk, city, one)
    assert limitation.ending(desk, lane=0, until=today) == []
    listed = debt_list.listed(desk, lane=0, scope=debt_list.Scope(), today=today, state=None, only_owed=False, limit=9)
    assert [(x.state, x.owed_fen) for x in listed] == [("settled", 0)]


def test_upheld_of_a_paid_debt_it_waits_until_all_is_promised_back(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    opened = objected(desk, one)
    paid = pay(desk, city, one)
    ended = uphold(desk, opened)
    assert (ended.state, ended.standing, ended.waiver_id, ended.to_give_back_fen) == ("upheld", "refund_due", None, 1200)
    assert debt_desk.listed(desk, lane=0) == []
    assert [(x.shown_by, x.body) for x in disputes.exhibits(desk, lane=0, dispute_id=opened.dispute_id)] == [("staff", PAPER.body)]
    assert told(desk).count("debt.disputed") == 2
    give_back(desk, paid, 200)
    assert (waiting(desk), found(desk, opened).to_give_back_fen) == (["refund_due"], 1000)
    give_back(desk, paid, 1000)
    assert (waiting(desk), found(desk, opened).standing) == ([], "refunded")
    with pytest.raises(Conflict, match="upheld"):
        uphold(desk, opened)


def test_upheld_for_a_part_of_a_paid_debt_one_refund_is_enough(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    opened = objected(desk, one)
    paid = pay(desk, city, one)
    assert uphold(desk, opened, 500).standing == "refund_due"
    give_back(desk, paid, 500)
    assert (waiting(desk), found(desk, opened).state, found(desk, opened).standing) == ([], "partly", "refunded")


@pytest.mark.parametrize("amount_fen", [0, -1, 1201])
def test_more_than_was_paid_cannot_go_back(desk: Connection, city: Lot, amount_fen: int) -> None:
    [one] = owe(desk, city, 1200)
    opened = objected(desk, one)
    pay(desk, city, one)
    with pytest.raises(Refused, match="1200 fen were paid"):
        uphold(desk, opened, amount_fen)
    assert waiting(desk) == ["paid"]


def test_a_document_without_its_bytes_does_not_do_for_a_paid_debt(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    opened = objected(desk, one)
    pay(desk, city, one)
    with pytest.raises(Refused, match="the document itself"):
        disputes.uphold(
            desk, lane=0, dispute_id=opened.dispute_id, by=MAKER, note="属实", at=AT, ids=IDS,
            document=debt_desk.Paper("核实单", PAPER.digest),
        )  # fmt: skip


def test_rejected_of_a_paid_debt_it_is_over(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    opened = objected(desk, one)
    pay(desk, city, one)
    ended = disputes.reject(desk, lane=0, dispute_id=opened.dispute_id, by=MAKER, note="照片相符", at=AT, ids=IDS)
    assert (ended.standing, waiting(desk)) == ("rejected", [])


def test_a_waiver_of_a_debt_that_is_paid_meanwhile_is_rejected_and_the_objection_decided_anew(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    opened = objected(desk, one)
    deciding = uphold(desk, opened)
    assert deciding.waiver_id is not None
    pay(desk, city, one)
    assert found(desk, opened).standing == "paid"
    made, _ = debt_desk.shown(desk, lane=0, decision_id=deciding.waiver_id)
    with pytest.raises(Conflict, match="since the proposal"):
        debt_desk.approve(
            desk, lane=0, decision_id=made.decision_id, lines_digest=made.lines_digest, by=CHECKER, at=AT, ids=IDS
        )  # fmt: skip
    debt_desk.reject(desk, lane=0, decision_id=made.decision_id, by=CHECKER, note="已付清", at=AT)
    assert uphold(desk, opened).standing == "refund_due"


@pytest.mark.parametrize(("amount_fen", "state"), [(None, "disputed"), (500, "open")])
def test_a_payment_that_is_taken_back_after_the_driver_was_right_is_not_demanded(
    desk: Connection, city: Lot, amount_fen: int | None, state: str
) -> None:
    [one] = owe(desk, city, 1200)
    opened = objected(desk, one)
    paid = pay(desk, city, one)
    uphold(desk, opened, amount_fen)
    results.apply(desk, lane=0, notices=[paid.answer(state=ChannelState.REVERSED)], at=AT, ids=IDS)
    assert desk.execute(text("select state from payments.v_debt")).scalar_one() == state
    assert waiting(desk) == ["waiver_due"]


def test_a_payment_taken_back_before_the_decision_leaves_an_open_dispute(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    opened = objected(desk, one)
    paid = pay(desk, city, one)
    results.apply(desk, lane=0, notices=[paid.answer(state=ChannelState.REVERSED)], at=AT, ids=IDS)
    assert (found(desk, opened).standing, found(desk, opened).to_give_back_fen) == ("open", 0)
    assert desk.execute(text("select state from payments.v_debt")).scalar_one() == "disputed"


def test_a_second_payment_that_goes_back_by_itself_does_not_count_as_given_back(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    opened = objected(desk, one)
    first, second = make_attempt(desk, city, one), make_attempt(desk, city, one)
    for attempt in (first, second):
        results.apply(desk, lane=0, notices=[attempt.answer()], at=AT, ids=IDS)
    give_back(desk, second, 1200)
    assert uphold(desk, opened).to_give_back_fen == 1200
