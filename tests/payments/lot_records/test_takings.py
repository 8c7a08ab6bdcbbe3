"""What lots take by hand: cash and old codes, for a charge or without one, and the cash that is brought to the bank."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from gateways import messages
from ledger.accounts import Account
from ledger.errors import Conflict, Refused
from payments.invariants import check
from payments.lot_records import takings
from payments.lot_records.takings import NewSlip, NewTaking, TakingAnswer
from payments.lots import Lot, NewLot, register_lots
from payments.orders import RandomTokens
from payments.owed import debts
from payments.refunding import refund_store, refunds
from payments.results import apply
from reconciliation import invariants as reconciled
from tests.payments.conftest import AT, IDS, make_attempt, make_charge, make_city, message


@pytest.fixture
def lot(tx: Connection) -> Lot:
    return make_city(tx)


def taking(serial: str = "T1", **other: object) -> NewTaking:
    said: dict[str, Any] = {
        "serial": serial, "channel": "cash", "charge_serial": "S1", "amount_fen": 1200, "taken_at": AT - timedelta(minutes=5),
        "evidence_text": "收据 0001",
    } | other  # fmt: skip
    return NewTaking(**said)


def post(tx: Connection, lot: Lot, *given: NewTaking, body: bytes = b"[]") -> list[TakingAnswer]:
    return takings.post(tx, lane=0, lot=lot, takings=given, body=body, at=AT, ids=IDS, tokens=RandomTokens())


def bank(tx: Connection, lot: Lot, amount_fen: int, slip_no: str = "B1", **other: Any) -> takings.SlipAnswer:
    said: dict[str, Any] = {"slip_no": slip_no, "amount_fen": amount_fen, "banked_at": AT, "bank": "示例银行"} | other
    return takings.bring_to_bank(tx, lane=0, lot=lot, slip=NewSlip(**said), body=b"{}", at=AT, ids=IDS)


def entries(tx: Connection) -> list[tuple[int, int, int]]:
    rows = tx.execute(text("select debit_account, credit_account, amount_fen from ledger.posting order by 1, 2, 3"))
    return [(row[0], row[1], row[2]) for row in rows]


def charge(tx: Connection) -> tuple[str, int]:
    row = tx.execute(text("select state, paid_fen from payments.charge")).one()
    return row.state, row.paid_fen


def cases(tx: Connection) -> list[str]:
    return list(tx.execute(text("select kind from payments.payment_case order by 1")).scalars())


def events(tx: Connection) -> list[str]:
    return list(tx.execute(text("select kind from payments.outbox order by 1")).scalars())


def assert_sound(tx: Connection) -> None:
    assert check(tx) == []
    assert reconciled.check(tx) == []


def test_cash_for_a_charge_settles_it_and_lies_in_the_till(tx: Connection, lot: Lot) -> None:
    make_charge(tx, lot, "S1")
    [answer] = post(tx, lot, taking(), body=b'[{"serial":"T1"}]')
    assert (answer.outcome, answer.treatment, answer.receipt is not None) == ("created", "settled", True)
    assert charge(tx) == ("settled", 1200)
    assert entries(tx) == [(Account.CASH, Account.INCOME, 1200)]
    assert events(tx) == ["payment.succeeded"]
    body = tx.execute(text("select body from gateways.raw_message where channel = 'lot' and operation = 'takings'")).scalar_one()
    assert bytes(body) == b'[{"serial":"T1"}]'
    assert_sound(tx)


def test_posted_again_nothing_is_booked_and_no_evidence_is_kept_twice(tx: Connection, lot: Lot) -> None:
    make_charge(tx, lot, "S1")
    given = [taking(), taking("T2", charge_serial=None, amount_fen=300)]
    first, second = post(tx, lot, *given), post(tx, lot, *given)
    assert [answer.outcome for answer in second] == ["already", "already"]
    assert [(answer.receipt, answer.treatment) for answer in second] == [(answer.receipt, answer.treatment) for answer in first]
    assert len(entries(tx)) == 2
    assert tx.execute(text("select count(*) from gateways.raw_message")).scalar_one() == 1
    assert_sound(tx)


def test_many_takings_of_one_call_share_their_evidence(tx: Connection, lot: Lot) -> None:
    for number in range(5):
        make_charge(tx, lot, f"S{number}", amount_fen=100 + number)
    answers = post(tx, lot, *[taking(f"T{n}", charge_serial=f"S{n}", amount_fen=100 + n, number=n + 1) for n in range(5)])
    assert {answer.treatment for answer in answers} == {"settled"}
    assert tx.execute(text("select count(distinct evidence_id), count(*) from payments.payment_fact")).one() == (1, 5)
    assert_sound(tx)


def test_without_a_charge_it_is_income_of_its_own(tx: Connection, lot: Lot) -> None:
    answers = post(tx, lot, taking(charge_serial=None), taking("T2", charge_serial=None, channel="legacy", amount_fen=500))
    assert [(answer.outcome, answer.treatment, answer.receipt) for answer in answers] == [("created", "taken_elsewhere", None)] * 2
    assert entries(tx) == [(Account.CASH, Account.INCOME, 1200), (Account.CLEARING_LEGACY, Account.INCOME, 500)]
    assert_sound(tx)


def test_cash_for_a_charge_that_a_channel_has_settled_lies_in_suspense_with_a_case(tx: Connection, lot: Lot) -> None:
    due = make_attempt(tx, lot, make_charge(tx, lot, "S1"))
    apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
    [answer] = post(tx, lot, taking())
    assert (answer.outcome, answer.treatment) == ("created", "second_payment")
    assert cases(tx) == ["refund_second_payment"]
    assert (Account.CASH, Account.SUSPENSE_OVER, 1200) in entries(tx)
    assert charge(tx) == ("settled", 1200)
    assert_sound(tx)


def test_a_channels_money_after_cash_lies_in_suspense(tx: Connection, lot: Lot) -> None:
    due = make_attempt(tx, lot, make_charge(tx, lot, "S1"))
    post(tx, lot, taking(channel="legacy"))
    apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
    assert (Account.CLEARING_WECHAT, Account.SUSPENSE_OVER, 1200) in entries(tx)
    assert_sound(tx)


def test_nobody_is_called_to_send_cash_back(tx: Connection, lot: Lot) -> None:
    make_charge(tx, lot, "S1")
    post(tx, lot, taking("T1"), taking("T2"))
    [case] = refund_store.second_payments(tx, lane=0, fen_max=10_000, limit=10)
    made = refunds.promise(
        tx, lane=0, payment_id=case.payment_id, amount_fen=1200, source="case", source_ref=str(case.case_id), reason="",
        evidence_id=case.evidence_id, at=AT, ids=IDS,
    )  # fmt: skip
    assert made.state == "promised"
    assert (Account.SUSPENSE_OVER, Account.REFUNDS_PAYABLE, 1200) in entries(tx)
    assert tx.execute(text("select count(*) from payments.next_refund")).scalar_one() == 0
    assert_sound(tx)


def test_the_same_charge_twice_in_one_call_is_settled_once(tx: Connection, lot: Lot) -> None:
    make_charge(tx, lot, "S1")
    answers = post(tx, lot, taking("T1"), taking("T2"))
    assert [answer.treatment for answer in answers] == ["settled", "second_payment"]
    assert_sound(tx)


@pytest.mark.parametrize("amount_fen", [1000, 1500])
def test_another_amount_than_is_due_at_the_gate_waits_for_a_person(tx: Connection, lot: Lot, amount_fen: int) -> None:
    make_charge(tx, lot, "S1")
    [answer] = post(tx, lot, taking(amount_fen=amount_fen))
    assert answer.treatment == "amount_differs"
    assert (charge(tx), cases(tx)) == (("open", 0), ["amount_differs"])
    assert entries(tx) == [(Account.CASH, Account.SUSPENSE_OVER, amount_fen)]
    assert_sound(tx)


def test_of_a_debt_a_part_can_be_paid_in_cash(tx: Connection, lot: Lot) -> None:
    left = make_charge(tx, lot, "S1", left_at=AT - timedelta(hours=1))
    _owe(tx, left)
    answers = post(tx, lot, taking("T1", amount_fen=500), taking("T2", amount_fen=700))
    assert [answer.treatment for answer in answers] == ["part", "settled"]
    assert charge(tx) == ("settled", 1200)
    assert_sound(tx)


def _owe(tx: Connection, charge_id: UUID) -> None:
    said = message()
    messages.keep(tx, lane=0, messages=[said])
    debts.open_debts(
        tx, lane=0, left=[debts.Left(charge_id, "policy", AT - timedelta(hours=1))], evidence_id=said.message_id, at=AT, ids=IDS
    )


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"charge_serial": "S9"}, "charge_unknown", "charge_serial"),
        ({"amount_fen": 0}, "amount_invalid", "amount_fen"),
        ({"amount_fen": 5_000_001}, "amount_invalid", "amount_fen"),
        ({"taken_at": AT + timedelta(hours=1)}, "time_in_future", "taken_at"),
        ({"evidence_text": None}, "evidence_missing", "evidence_text"),
        ({"evidence_digest": "12"}, "digest_invalid", "evidence_digest"),
        ({"plate": "12"}, "plate_invalid", "plate"),
        ({"serial": "\n"}, "serial_invalid", "serial"),
    ],
)
def test_a_taking_that_cannot_be_is_refused_by_itself(
    tx: Connection, lot: Lot, change: dict[str, Any], reason: str, field: str
) -> None:
    make_charge(tx, lot, "S1")
    wrong, right = post(tx, lot, taking(**{"serial": "T0"} | change), taking("T2", charge_serial=None))
    assert (wrong.outcome, wrong.reason, wrong.field) == ("refused", reason, field)
    assert right.outcome == "created"
    assert_sound(tx)


def test_other_content_under_a_serial_and_a_number_twice_are_refused(tx: Connection, lot: Lot) -> None:
    post(tx, lot, taking(charge_serial=None, number=1))
    changed, twice = post(tx, lot, taking(charge_serial=None, number=1, amount_fen=1), taking("T2", charge_serial=None, number=1))
    assert (changed.reason, changed.field) == ("content_differs", "amount_fen")
    assert (twice.reason, twice.field) == ("number_taken", "number")
    assert len(entries(tx)) == 1


def test_cash_goes_to_the_bank_once_and_never_more_than_the_till_holds(tx: Connection, lot: Lot) -> None:
    post(tx, lot, taking(charge_serial=None), taking("T2", charge_serial=None, channel="legacy"))
    with pytest.raises(Refused, match="holds 1200 fen") as exceeded:
        bank(tx, lot, 1201)
    assert exceeded.value.code == "till_exceeded"
    assert bank(tx, lot, 1000) == takings.SlipAnswer("B1", "created", 200)
    assert bank(tx, lot, 1000) == takings.SlipAnswer("B1", "already", 200)
    with pytest.raises(Conflict, match="other content"):
        bank(tx, lot, 200)
    assert (Account.BANK, Account.CASH, 1000) in entries(tx)
    assert_sound(tx)


def test_a_slip_of_another_lot_of_the_operator_is_not_counted_again(tx: Connection, lot: Lot) -> None:
    [second] = register_lots(
        tx, lots=[NewLot("lot-1b", lot.operator_code, "二号场", "梁溪区", "示例路2号", 10, "gate", "每小时6元")], at=AT
    )
    post(tx, lot, taking(charge_serial=None))
    post(tx, second, taking(charge_serial=None))
    bank(tx, lot, 1200)
    with pytest.raises(Conflict) as used:
        bank(tx, second, 1200)
    assert used.value.code == "slip_conflict"


@pytest.mark.parametrize("change", [{"amount_fen": 0}, {"slip_no": ""}, {"banked_at": AT + timedelta(days=1)}, {"bank": ""}])
def test_a_slip_that_cannot_be_is_refused(tx: Connection, lot: Lot, change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as invalid:
        bank(tx, lot, **{"amount_fen": 1} | change)
    assert invalid.value.code == "slip_invalid"


def test_the_till_is_told_day_by_day(tx: Connection, lot: Lot) -> None:
    make_charge(tx, lot, "S1")
    yesterday = AT - timedelta(days=1)
    post(tx, lot, taking(), taking("T2", charge_serial=None, amount_fen=300, taken_at=yesterday))
    post(tx, lot, taking("T3", charge_serial=None, amount_fen=70, channel="legacy"))
    bank(tx, lot, 1400)
    told = takings.till(tx, lane=0, lot=lot, first=date(2026, 3, 1), last=date(2026, 3, 2))
    assert told.in_till_fen == 100
    assert [
        (one.day.day, one.cash_for_charges_fen, one.cash_without_charge_fen, one.legacy_fen, one.banked_fen, one.in_till_fen)
        for one in told.days
    ] == [(1, 0, 300, 0, 0, 300), (2, 1200, 0, 70, 1400, 100)]


def test_takings_cannot_be_changed_or_taken_away(tx: Connection, lot: Lot) -> None:
    post(tx, lot, taking(charge_serial=None))
    for change in ("update payments.taking set amount_fen = 1", "delete from payments.taking", "truncate payments.taking"):
        with pytest.raises(DBAPIError), tx.begin_nested():
            tx.execute(text(change))
    assert entries(tx) == [(Account.CASH, Account.INCOME, 1200)]
