"""What lots hand back of cash and old codes' money: promised like every refund, reported by the lot, booked by the one applier."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from ledger.accounts import Account
from ledger.errors import Refused
from ledger.ids import read_payment_number, refund_number
from payments.invariants import check
from payments.lot_records import alarm_rules, alarms, numbers, returns, takings
from payments.lot_records.alarm_rules import NewRule
from payments.lot_records.returns import NewReturn, ReturnAnswer
from payments.lots import Lot, NewLot, register_lots
from payments.refunding import refund_store, refunds
from payments.results import apply
from reconciliation import invariants as reconciled
from tests.payments.conftest import AT, IDS, make_attempt, make_charge, make_city
from tests.payments.lot_records import test_takings as taken

PERSON = "ab" * 32


@pytest.fixture
def lot(tx: Connection) -> Lot:
    return make_city(tx)


def owe(tx: Connection, lot: Lot, serial: str = "S1", *, channel: str = "cash", amount_fen: int = 1200, ref: str = "1") -> str:
    """Let a charge be paid by hand and promise some of it back; returns the refund's number."""
    make_charge(tx, lot, serial)
    [answer] = taken.post(tx, lot, taken.taking(f"T-{serial}", charge_serial=serial, channel=channel))
    paid = read_payment_number(str(answer.receipt))
    assert paid is not None
    return promise(tx, paid[1], amount_fen, ref)


def promise(tx: Connection, payment_id: UUID, amount_fen: int, ref: str) -> str:
    made = refunds.promise(
        tx, lane=0, payment_id=payment_id, amount_fen=amount_fen, source="operator", source_ref=ref, reason="",
        evidence_id=payment_id, at=AT, ids=IDS,
    )  # fmt: skip
    return refund_number(0, made.refund_id)


def back(serial: str = "R1", **other: object) -> NewReturn:
    said: dict[str, Any] = {
        "serial": serial, "charge_serial": "S1", "amount_fen": 1200, "returned_at": AT - timedelta(minutes=1),
        "operator_person_digest": PERSON, "receipt_no": "退 0001",
    } | other  # fmt: skip
    return NewReturn(**said)


def post(tx: Connection, lot: Lot, *given: NewReturn, body: bytes = b"[]") -> list[ReturnAnswer]:
    return returns.post(tx, lane=0, lot=lot, returns=given, body=body, at=AT, ids=IDS)


def reason(answer: ReturnAnswer) -> tuple[str | None, str | None]:
    return answer.reason, answer.field


def till(tx: Connection, lot: Lot) -> int:
    return takings.till(tx, lane=0, lot=lot, first=date(2026, 3, 1), last=date(2026, 3, 2)).in_till_fen


def assert_sound(tx: Connection) -> None:
    assert check(tx) == []
    assert reconciled.check(tx) == []


def test_cash_handed_back_leaves_the_till_and_nothing_is_owed_any_more(tx: Connection, lot: Lot) -> None:
    refund = owe(tx, lot)
    [owed] = returns.owing(tx, lane=0, lot=lot)
    assert (owed.charge_serial, owed.channel, owed.amount_fen, owed.lot_code) == ("S1", "cash", 1200, lot.code)
    [answer] = post(tx, lot, back(), body=b'[{"serial":"R1"}]')
    assert answer == ReturnAnswer(serial="R1", outcome="created", refund=refund, charge_serial="S1")
    assert taken.entries(tx) == [
        (Account.CASH, Account.INCOME, 1200),
        (Account.REFUNDS_PAYABLE, Account.CASH, 1200),
        (Account.INCOME_REFUNDED, Account.REFUNDS_PAYABLE, 1200),
    ]
    assert taken.events(tx) == ["payment.succeeded", "refund.done"]
    row = tx.execute(text("select state, done_at, channel_refund_no from payments.refund")).one()
    assert tuple(row) == ("done", AT - timedelta(minutes=1), f"{lot.code}/R1")
    body = tx.execute(text("select body from gateways.raw_message where channel = 'lot' and operation = 'returns'")).scalar_one()
    assert bytes(body) == b'[{"serial":"R1"}]'
    assert (till(tx, lot), returns.owing(tx, lane=0, lot=lot)) == (0, [])
    assert_sound(tx)


def test_an_old_codes_money_goes_back_over_the_old_code_and_the_till_stays(tx: Connection, lot: Lot) -> None:
    owe(tx, lot, channel="legacy", amount_fen=500)
    taken.post(tx, lot, taken.taking("T2", charge_serial=None, amount_fen=300))
    [answer] = post(tx, lot, back(amount_fen=500))
    assert answer.outcome == "created"
    assert (Account.REFUNDS_PAYABLE, Account.CLEARING_LEGACY, 500) in taken.entries(tx)
    assert till(tx, lot) == 300
    assert_sound(tx)


def test_posted_again_nothing_is_booked_and_no_evidence_is_kept_twice(tx: Connection, lot: Lot) -> None:
    refund = owe(tx, lot)
    first, second, named = post(tx, lot, back()), post(tx, lot, back()), post(tx, lot, back(refund=refund, charge_serial=None))
    assert [one.outcome for one in (*first, *second, *named)] == ["created", "already", "already"]
    assert second[0].refund == refund
    assert len(taken.entries(tx)) == 3
    assert tx.execute(text("select count(*) from gateways.raw_message where operation = 'returns'")).scalar_one() == 1
    assert_sound(tx)


def test_many_of_one_call_share_their_evidence_and_a_wrong_one_stops_no_good_one(tx: Connection, lot: Lot) -> None:
    for number in range(1, 4):
        owe(tx, lot, f"S{number}")
    answers = post(
        tx, lot, back("R1", number=1), back("R0", charge_serial="S9"), back("R2", charge_serial="S2", number=2),
        back("R3", charge_serial="S3", number=4),
    )  # fmt: skip
    assert [one.outcome for one in answers] == ["created", "refused", "created", "created"]
    assert tx.execute(text("select count(distinct evidence_id), count(*) from payments.taking_return")).one() == (1, 3)
    assert [(gap.series, gap.first) for gap in numbers.gaps(tx, lot_id=lot.lot_id)] == [("return", 3)]
    assert till(tx, lot) == 0
    assert_sound(tx)


def test_many_hand_backs_ask_no_more_of_the_database_than_two(tx: Connection, lot: Lot) -> None:
    for number in range(12):
        owe(tx, lot, f"S{number}")
    asked: list[int] = []
    for first, last in ((0, 2), (2, 12)):
        statements: list[str] = []
        event.listen(tx, "before_cursor_execute", lambda *said, kept=statements: kept.append(said[2]))
        answers = post(tx, lot, *[back(f"R{n}", charge_serial=f"S{n}", number=n + 1) for n in range(first, last)])
        assert {one.outcome for one in answers} == {"created"}
        asked.append(len(statements))
    assert 0 < asked[0] == asked[1]
    assert_sound(tx)


def test_a_refund_goes_back_once(tx: Connection, lot: Lot) -> None:
    refund = owe(tx, lot)
    once, twice = post(tx, lot, back("R1"), back("R2"))
    assert (once.outcome, reason(twice)) == ("created", ("already_returned", "refund"))
    [later] = post(tx, lot, back("R3", refund=refund))
    assert reason(later) == ("already_returned", "refund")
    assert len(taken.entries(tx)) == 3


@pytest.mark.parametrize(
    ("change", "why", "field"),
    [
        ({"amount_fen": 1201}, "amount_exceeds", "amount_fen"),
        ({"amount_fen": 1199}, "return_in_part", "amount_fen"),
        ({"amount_fen": 0}, "amount_invalid", "amount_fen"),
        ({"charge_serial": "S9"}, "return_unknown", "charge_serial"),
        ({"charge_serial": None}, "return_unknown", "refund"),
        ({"refund": "R0"}, "return_unknown", "refund"),
        ({"refund": refund_number(0, UUID(int=0x019CACB3F2007DD39711_2B7289CD0F00))}, "return_unknown", "refund"),
        ({"returned_at": AT + timedelta(hours=1)}, "time_in_future", "returned_at"),
        ({"returned_at": AT - timedelta(hours=1)}, "returned_before_taken", "returned_at"),
        ({"operator_person_digest": "1"}, "digest_invalid", "operator_person_digest"),
        ({"receipt_no": ""}, "words_invalid", "receipt_no"),
        ({"serial": ""}, "serial_invalid", "serial"),
    ],
)
def test_a_hand_back_that_cannot_be_is_refused_by_itself(
    tx: Connection, lot: Lot, change: dict[str, Any], why: str, field: str
) -> None:
    owe(tx, lot)
    [wrong] = post(tx, lot, back(**change))
    assert (wrong.outcome, *reason(wrong)) == ("refused", why, field)
    assert len(returns.owing(tx, lane=0, lot=lot)) == 1
    assert till(tx, lot) == 1200


def test_another_lot_hands_nothing_back_for_it(tx: Connection, lot: Lot) -> None:
    [second] = register_lots(
        tx, lots=[NewLot("lot-1b", lot.operator_code, "二号场", "梁溪区", "示例路2号", 10, "gate", "每小时6元")], at=AT
    )
    refund = owe(tx, lot)
    by_refund, by_charge = post(tx, second, back(refund=refund, charge_serial=None), back("R2"))
    assert (reason(by_refund), reason(by_charge)) == (("return_unknown", "refund"), ("return_unknown", "charge_serial"))
    assert returns.owing(tx, lane=0, lot=second) == []
    assert len(returns.owing(tx, lane=0)) == 1


def test_what_a_channel_sends_back_is_not_handed_out(tx: Connection, lot: Lot) -> None:
    due = make_attempt(tx, lot, make_charge(tx, lot, "S1"))
    apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
    refund = promise(tx, due.attempt.payment_id, 1200, "1")
    by_refund, by_charge = post(tx, lot, back(refund=refund), back("R2"))
    assert (reason(by_refund), reason(by_charge)) == (("return_not_by_hand", "refund"), ("return_unknown", "charge_serial"))


def test_where_several_refunds_of_a_charge_wait_one_is_named(tx: Connection, lot: Lot) -> None:
    first = owe(tx, lot, amount_fen=500)
    second = promise(tx, tx.execute(text("select payment_id from payments.payment")).scalar_one(), 700, "2")
    [unclear] = post(tx, lot, back(amount_fen=700))
    assert reason(unclear) == ("return_unclear", "refund")
    assert first in str(unclear.detail)
    assert second in str(unclear.detail)
    named, last = post(tx, lot, back(amount_fen=700, refund=second), back("R2", amount_fen=500))
    assert (named.refund, last.refund) == (second, first)
    assert_sound(tx)


def test_no_more_cash_is_handed_back_or_brought_to_the_bank_than_the_till_holds(tx: Connection, lot: Lot) -> None:
    owe(tx, lot, "S1")
    owe(tx, lot, "S2")
    taken.bank(tx, lot, 1200)
    first, second = post(tx, lot, back(), back("R2", charge_serial="S2"))
    assert (first.outcome, reason(second)) == ("created", ("till_exceeded", "amount_fen"))
    with pytest.raises(Refused, match="holds 0 fen"):
        taken.bank(tx, lot, 1, "B2")
    taken.post(tx, lot, taken.taking("T9", charge_serial=None, amount_fen=1500))
    [second] = post(tx, lot, back("R2", charge_serial="S2"))
    assert (second.outcome, till(tx, lot)) == ("created", 300)
    assert_sound(tx)


def test_a_second_payment_that_is_handed_back_ends_its_case(tx: Connection, lot: Lot) -> None:
    make_charge(tx, lot, "S1")
    taken.post(tx, lot, taken.taking("T1"), taken.taking("T2"))
    [case] = refund_store.second_payments(tx, lane=0, fen_max=10_000, limit=10)
    refunds.promise(
        tx, lane=0, payment_id=case.payment_id, amount_fen=1200, source="case", source_ref=str(case.case_id), reason="",
        evidence_id=case.evidence_id, at=AT, ids=IDS,
    )  # fmt: skip
    assert [one.outcome for one in post(tx, lot, back())] == ["created"]
    assert tx.execute(text("select state from payments.payment_case")).scalar_one() == "closed"
    assert (Account.SUSPENSE_OVER, Account.REFUNDS_PAYABLE, 1200) in taken.entries(tx)
    assert_sound(tx)


def test_other_content_under_a_serial_and_a_number_twice_are_refused(tx: Connection, lot: Lot) -> None:
    owe(tx, lot, "S1")
    owe(tx, lot, "S2")
    post(tx, lot, back(number=1))
    changed, other, twice = post(
        tx, lot, back(number=1, receipt_no="退 0002"), back(number=1, charge_serial="S2"),
        back("R2", charge_serial="S2", number=1),
    )  # fmt: skip
    assert reason(changed) == ("content_differs", "receipt_no")
    assert reason(other) == ("content_differs", "charge_serial")
    assert reason(twice) == ("number_taken", "number")


def test_the_till_tells_day_by_day_what_went_back(tx: Connection, lot: Lot) -> None:
    owe(tx, lot, "S1", amount_fen=200)
    owe(tx, lot, "S2", amount_fen=300, channel="legacy")
    post(tx, lot, back(amount_fen=200), back("R2", charge_serial="S2", amount_fen=300))
    [day] = takings.till(tx, lane=0, lot=lot, first=date(2026, 3, 1), last=date(2026, 3, 2)).days
    assert (day.cash_returned_fen, day.legacy_returned_fen, day.legacy_fen, day.in_till_fen) == (200, 300, 1200, 1000)


def test_what_waits_longer_than_some_days_is_told_apart(tx: Connection, lot: Lot) -> None:
    owe(tx, lot)
    assert returns.owing(tx, lane=0, promised_before=AT) == []
    assert len(returns.owing(tx, lane=0, promised_before=AT + timedelta(days=3))) == 1
    with pytest.raises(Refused, match="limit"):
        returns.owing(tx, lane=0, limit=0)


def test_what_waits_longer_than_the_rule_allows_is_an_alarm_until_it_is_handed_back(tx: Connection, lot: Lot) -> None:
    owe(tx, lot)
    late = AT + timedelta(days=3, minutes=1)
    assert alarms.watch(tx, at=late) == []
    alarm_rules.enter(tx, rule=NewRule(kind="unreturned", most=3, document="doc", valid_from=AT), at=AT)
    assert alarms.watch(tx, at=AT + timedelta(days=3)) == []
    [opened] = alarms.watch(tx, at=late)
    assert (opened.lot_code, opened.kind, opened.opened) == (lot.code, "unreturned", True)
    assert "1 refunds of 1200 fen are not reported as handed back within 3 days" in opened.detail
    post(tx, lot, back())
    [closed] = alarms.watch(tx, at=late)
    assert (closed.kind, closed.opened) == ("unreturned", False)


def test_hand_backs_cannot_be_changed_and_a_refund_done_without_one_is_found(tx: Connection, lot: Lot) -> None:
    owe(tx, lot, "S1")
    owe(tx, lot, "S2")
    post(tx, lot, back())
    for change in ("update payments.taking_return set amount_fen = 1", "delete from payments.taking_return"):
        with pytest.raises(DBAPIError), tx.begin_nested():
            tx.execute(text(change))
    assert_sound(tx)
    tx.execute(text("update payments.refund set state = 'done', done_at = :at where state = 'promised'"), {"at": AT})
    assert any("handed back says otherwise" in one.detail for one in check(tx))
