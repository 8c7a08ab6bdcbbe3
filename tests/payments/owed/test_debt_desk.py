"""Debts are let off, written off and written back by two persons; what they approve is exactly what is booked."""

import threading
from datetime import date, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from ledger import documents
from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from payments import invariants, people
from payments.lots import Lot
from payments.owed import debt_desk, disputes
from payments.owed.debt_desk import Ask
from payments.owed.debt_desk_store import Decision, Kind
from payments.owed.disputes import Shown
from payments.people import Person
from tests.payments.conftest import AT, make_attempt
from tests.payments.owed.owing import CHECKER, IDS, MAKER, debt, desk, overdue, owe, receivable, staff, told

__all__ = ["desk"]
PAPER = debt_desk.paper("减免审批表 2026-1", b"%PDF-1.7 signed by two")


def propose(tx: Connection, kind: Kind, *asked: Ask, by: str = MAKER) -> Decision:
    return debt_desk.propose(
        tx, lane=0, kind=kind, asked=list(asked), reason="设备故障", document=PAPER, by=by, at=AT, ids=IDS
    )  # fmt: skip


def approve(tx: Connection, made: Decision, *, by: str = CHECKER) -> Decision:
    return debt_desk.approve(
        tx, lane=0, decision_id=made.decision_id, lines_digest=made.lines_digest, by=by, at=AT, ids=IDS
    )  # fmt: skip


def sound(tx: Connection) -> bool:
    return [found for found in invariants.check(tx) if found.invariant in ("I16", "reduced")] == []


def test_a_proposal_alone_changes_nothing(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    propose(desk, "waiver", Ask(one))
    assert debt(desk, one) == ("open", 0, 1200)
    assert receivable(desk) == 1200


def test_an_approved_waiver_takes_the_debt_off_the_plate_and_out_of_the_income(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    made = approve(desk, propose(desk, "waiver", Ask(one)))
    assert (made.state, made.decided_by) == ("approved", CHECKER)
    assert debt(desk, one) == ("waived", 1200, 0)
    assert receivable(desk) == 0
    assert desk.execute(text("select debit_account from ledger.posting where credit_account = 112201")).scalar_one() == 600102
    assert told(desk) == ["debt.opened", "debt.waived"]
    assert sound(desk)


def test_a_partial_waiver_leaves_the_rest_due(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    approve(desk, propose(desk, "waiver", Ask(one, 500)))
    assert debt(desk, one) == ("open", 500, 700)
    assert receivable(desk) == 700
    assert told(desk) == ["debt.opened", "debt.reduced"]
    approve(desk, propose(desk, "waiver", Ask(one)))
    assert debt(desk, one) == ("waived", 1200, 0)
    assert sound(desk)


def test_a_write_off_is_a_loss_and_a_write_back_makes_the_debt_due_again_with_its_old_date(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200, overdue_days=1500)
    before = desk.execute(text("select due_on, limitation_on from payments.debt")).one()
    approve(desk, propose(desk, "write_off", Ask(one)))
    assert debt(desk, one) == ("written_off", 1200, 0)
    assert desk.execute(text("select amount_fen from ledger.posting where debit_account = 670101")).scalar_one() == 1200
    approve(desk, propose(desk, "write_back", Ask(one)))
    assert debt(desk, one) == ("open", 0, 1200)
    assert receivable(desk) == 1200
    assert desk.execute(text("select due_on, limitation_on from payments.debt")).one() == before
    assert told(desk) == ["debt.opened", "debt.opened", "debt.written_off"]
    with pytest.raises(Refused, match="not written off"):
        propose(desk, "write_back", Ask(one))
    approve(desk, propose(desk, "write_off", Ask(one)))
    assert debt(desk, one) == ("written_off", 1200, 0)
    assert sound(desk)


def test_nobody_approves_what_he_proposed_and_the_database_says_so_too(desk: Connection, city: Lot) -> None:
    people.enter(desk, person=Person("both", may_propose=True, may_approve=True, document="任命书 3"), at=AT)
    [one] = owe(desk, city, 1200)
    made = propose(desk, "waiver", Ask(one), by="both")
    with pytest.raises(NotAllowed) as refused:
        approve(desk, made, by="both")
    assert refused.value.code == "same_person"
    with pytest.raises(DBAPIError, match="check"), desk.begin_nested():
        desk.execute(text("update payments.debt_decision set state = 'approved', decided_by = 'both', decided_at = now()"))


def test_only_people_of_the_staff_with_the_right_propose_and_approve(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    with pytest.raises(NotAllowed, match="no person"):
        propose(desk, "waiver", Ask(one), by="nobody")
    with pytest.raises(NotAllowed, match="not propose"):
        propose(desk, "waiver", Ask(one), by=CHECKER)
    made = propose(desk, "waiver", Ask(one))
    with pytest.raises(NotAllowed, match="not approve"):
        approve(desk, made, by=MAKER)
    people.end(desk, person_code=CHECKER, at=AT)
    with pytest.raises(NotAllowed, match="no person"):
        approve(desk, made)


def test_an_approval_is_of_the_lines_that_were_shown(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    made = propose(desk, "waiver", Ask(one))
    with pytest.raises(Conflict) as refused:
        debt_desk.approve(desk, lane=0, decision_id=made.decision_id, lines_digest=bytes(32), by=CHECKER, at=AT, ids=IDS)
    assert refused.value.code == "decision_changed"
    with pytest.raises(DBAPIError, match="permission denied"), desk.begin_nested():
        desk.execute(text("update payments.debt_decision_line set amount_fen = 1"))


def test_an_approval_fails_when_the_debt_has_changed_since(desk: Connection, city: Lot) -> None:
    one, other = owe(desk, city, 1200, 300)
    made = propose(desk, "waiver", Ask(one), Ask(other))
    desk.execute(text("update payments.charge set paid_fen = 100 where charge_id = :id"), {"id": one})
    desk.execute(text("update payments.debt set owed_fen = 1100 where charge_id = :id"), {"id": one})
    with pytest.raises(Conflict) as refused:
        approve(desk, made)
    assert refused.value.code == "debt_changed"
    assert debt(desk, other) == ("open", 0, 300)


def test_nothing_is_decided_while_somebody_pays(desk: Connection, city: Lot) -> None:
    one, other = owe(desk, city, 1200, 300)
    made = propose(desk, "waiver", Ask(one))
    make_attempt(desk, city, one)
    make_attempt(desk, city, other)
    with pytest.raises(Conflict) as refused:
        approve(desk, made)
    assert refused.value.code == "payment_under_way"
    with pytest.raises(Conflict, match="somebody is paying"):
        propose(desk, "write_off", Ask(other))


def test_a_decision_is_made_once(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    made = propose(desk, "waiver", Ask(one))
    with pytest.raises(Conflict) as waiting:
        propose(desk, "write_off", Ask(one))
    assert waiting.value.code == "decision_waiting"
    rejected = debt_desk.reject(desk, lane=0, decision_id=made.decision_id, by=CHECKER, note="材料不全", at=AT)
    assert rejected.state == "rejected"
    with pytest.raises(Conflict) as over:
        approve(desk, made)
    assert over.value.code == "decision_made"
    with pytest.raises(DBAPIError, match="not changed any more"), desk.begin_nested():
        desk.execute(text("update payments.debt_decision set state = 'approved'"))
    assert debt(desk, one) == ("open", 0, 1200)


def test_a_decision_is_sealed_beside_the_entries(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    made = approve(desk, propose(desk, "waiver", Ask(one)))
    [sealed] = documents.find(desk, lane=0, document_ids=[made.decision_id])
    kept, _ = debt_desk.shown(desk, lane=0, decision_id=made.decision_id)
    assert sealed == documents.of(
        kind=documents.DocumentKind.DECISION, document_id=made.decision_id, content=debt_desk.sealed_content(kept), happened_at=AT
    )


def test_what_cannot_be_is_refused(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    with pytest.raises(NotFound, match="no debt"):
        propose(desk, "waiver", Ask(UUID(int=256)))
    with pytest.raises(Refused, match="at most 1200"):
        propose(desk, "waiver", Ask(one, 1201))
    with pytest.raises(Refused, match="exactly 1200"):
        propose(desk, "write_off", Ask(one, 1199))
    with pytest.raises(Refused, match="once"):
        propose(desk, "waiver", Ask(one), Ask(one))
    with pytest.raises(Refused, match="1 to"):
        propose(desk, "waiver")
    with pytest.raises(NotFound, match="no decision"):
        debt_desk.reject(desk, lane=0, decision_id=UUID(int=256), by=CHECKER, note="否", at=AT)
    with pytest.raises(Refused, match="bytes"):
        debt_desk.paper("空", b"")


def test_debts_over_limitation_are_one_decision_of_many_lines(desk: Connection, city: Lot) -> None:
    old = owe(desk, city, 100, 200, 300, overdue_days=3 * 366)
    owe(desk, city, 400, overdue_days=10)
    disputed, paying, *_ = old
    desk.execute(text("update payments.debt set disputed_at = now() where charge_id = :id"), {"id": disputed})
    make_attempt(desk, city, paying)
    more = owe(desk, city, 500, overdue_days=4 * 366)

    def found() -> Decision | None:
        return debt_desk.propose_over_limitation(
            desk, lane=0, limitation_before=date(2026, 3, 2), operator_id=city.operator_id, reason="超过诉讼时效", document=PAPER,
            by=MAKER, at=AT, ids=IDS,
        )  # fmt: skip

    made = found()
    assert made is not None
    assert (made.lines, made.amount_fen) == (2, 800)
    assert found() is None
    approve(desk, made)
    assert [debt(desk, one)[0] for one in [*old, *more]] == ["open", "open", "written_off", "written_off"]
    assert sound(desk)


def test_a_disputed_debt_waits_and_a_rejected_dispute_lets_it_go_on(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    opened = disputes.open_dispute(
        desk, lane=0, charge_id=one, reason="not_my_car", statement="车不在无锡", opened_by="page", opened_ref="s1", at=AT, ids=IDS
    )
    assert desk.execute(text("select state from payments.v_debt")).scalar_one() == "disputed"
    assert told(desk) == ["debt.disputed", "debt.opened"]
    again = disputes.open_dispute(
        desk, lane=0, charge_id=one, reason="other", statement="补充材料", opened_by="page", opened_ref="s1", at=AT, ids=IDS,
        shown=[Shown("票据.jpg", "image/jpeg", b"\xff\xd8")],
    )  # fmt: skip
    assert again.dispute_id == opened.dispute_id
    answered = disputes.answer(
        desk, lane=0, dispute_id=opened.dispute_id, words="入场照片见附件", shown=[Shown("in.jpg", "image/jpeg", b"\xff\xd8\xff")],
        by="lot-1", at=AT + timedelta(days=1), ids=IDS,
    )  # fmt: skip
    assert answered.answer == "入场照片见附件"
    assert [x.shown_by for x in disputes.exhibits(desk, lane=0, dispute_id=opened.dispute_id)] == ["driver", "lot"]
    ended = disputes.reject(desk, lane=0, dispute_id=opened.dispute_id, by=MAKER, note="照片相符", at=AT, ids=IDS)
    assert ended.state == "rejected"
    assert desk.execute(text("select state from payments.v_debt")).scalar_one() == "open"
    with pytest.raises(Conflict, match="rejected"):
        disputes.answer(desk, lane=0, dispute_id=opened.dispute_id, words="x", shown=[], by="lot-1", at=AT, ids=IDS)


@pytest.mark.parametrize(
    ("amount_fen", "state", "left"), [(None, "upheld", ("waived", 1200, 0)), (200, "partly", ("open", 200, 1000))]
)
def test_an_upheld_dispute_lets_off_what_a_second_person_approves(
    desk: Connection, city: Lot, amount_fen: int | None, state: str, left: tuple[str, int, int]
) -> None:
    [one] = owe(desk, city, 1200)
    opened = disputes.open_dispute(
        desk,
        lane=0,
        charge_id=one,
        reason="times_wrong",
        statement="早就离开了",
        opened_by="staff",
        opened_ref=MAKER,
        at=AT,
        ids=IDS,
    )
    deciding = disputes.uphold(
        desk, lane=0, dispute_id=opened.dispute_id, by=MAKER, note="道闸故障", document=PAPER, at=AT, ids=IDS, amount_fen=amount_fen
    )
    assert (deciding.state, debt(desk, one)) == ("deciding", ("open", 0, 1200))
    assert deciding.waiver_id is not None
    made, _ = debt_desk.shown(desk, lane=0, decision_id=deciding.waiver_id)
    approve(desk, made)
    assert disputes.by_id(desk, lane=0, dispute_id=opened.dispute_id).state == state
    assert debt(desk, one) == left
    assert desk.execute(text("select disputed_at from payments.debt")).scalar_one() is None
    assert sound(desk)


def test_a_waiver_that_the_second_person_rejects_opens_the_dispute_again(desk: Connection, city: Lot) -> None:
    [one] = owe(desk, city, 1200)
    opened = disputes.open_dispute(
        desk, lane=0, charge_id=one, reason="exempt", statement="军车", opened_by="api", opened_ref="app", at=AT, ids=IDS
    )
    deciding = disputes.uphold(desk, lane=0, dispute_id=opened.dispute_id, by=MAKER, note="属实", document=PAPER, at=AT, ids=IDS)
    assert deciding.waiver_id is not None
    debt_desk.reject(desk, lane=0, decision_id=deciding.waiver_id, by=CHECKER, note="缺证明", at=AT)
    assert disputes.by_id(desk, lane=0, dispute_id=opened.dispute_id).state == "open"
    assert disputes.withdraw(desk, lane=0, dispute_id=opened.dispute_id, note="算了", at=AT, ids=IDS).state == "withdrawn"
    overdue(desk, [one], days=1)
    with pytest.raises(Refused, match="1 to 2000"):
        disputes.open_dispute(
            desk, lane=0, charge_id=one, reason="other", statement=" ", opened_by="api", opened_ref="app", at=AT, ids=IDS
        )
    with pytest.raises(Refused, match="a file"):
        disputes.open_dispute(
            desk, lane=0, charge_id=one, reason="other", statement="x", opened_by="api", opened_ref="app",
            at=AT + timedelta(days=1), ids=IDS, shown=[Shown("x.exe", "application/x-msdownload", b"MZ")],
        )  # fmt: skip


def test_a_decision_of_many_debts_takes_as_many_statements_as_one_of_few(desk: Connection, city: Lot) -> None:
    statements: list[str] = []
    event.listen(desk.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    counts: list[tuple[int, int]] = []
    for many in (3, 40):
        for kind in ("write_off", "write_back"):
            asked = [Ask(one) for one in (owe(desk, city, *[100] * many) if kind == "write_off" else written_off(desk))]
            statements.clear()
            made = propose(desk, kind, *asked)
            proposed = len(statements)
            approve(desk, made)
            counts.append((proposed, len(statements) - proposed))
        desk.execute(text("update payments.charge set state = 'credited', reduced_fen = amount_fen"))
        desk.execute(text("update payments.debt set owed_fen = 0"))
    assert counts[0] == counts[2]
    assert counts[1] == counts[3]


def written_off(tx: Connection) -> list[UUID]:
    return list(tx.execute(text("select charge_id from payments.charge where state = 'written_off'")).scalars())


def test_of_two_checkers_at_once_one_decides(db: Engine, city: Lot) -> None:
    with db.begin() as tx:
        staff(tx)
        people.enter(tx, person=Person("third", may_propose=False, may_approve=True, document="任命书 3"), at=AT)
        [one] = owe(tx, city, 1200)
        made = propose(tx, "waiver", Ask(one))
    said: list[str] = []

    def work(by: str) -> None:
        try:
            with db.begin() as tx:
                said.append(approve(tx, made, by=by).state)
        except Conflict as late:
            said.append(late.code)

    threads = [threading.Thread(target=work, args=(by,)) for by in (CHECKER, "third")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["approved", "decision_made"]
    with db.begin() as tx:
        assert debt(tx, one) == ("waived", 1200, 0)
        assert receivable(tx) == 0
