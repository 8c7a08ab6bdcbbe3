"""Bad debts in bills: taken back once, by rule and with proof; and charges by card beside charges by plate."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, text

from gateways.contract import BillLine, ChannelState
from gateways.etc.record import TransactionRecord
from gateways.sandbox.wechat.signing import Pair
from ledger.checkpoint import Signer
from ledger.ids import payment_number
from ledger.seal import Sealer, Witness
from payments import invariants as payment_invariants
from payments import results
from payments.cards.records import NewCardCharge
from payments.refunding import refund_jobs, refunds
from reconciliation import daily, invariants, matching
from reconciliation.daily import Day
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import AT, Due
from tests.payments.mandates import deducting
from tests.payments.test_cards import Lane
from tests.reconciliation.conftest import DAY, IDS, City, billed
from tests.reconciliation.test_matching import found

NEXT = DAY + timedelta(days=1)
MORNING = datetime(2026, 3, 3, 2, 30, tzinfo=UTC)
CLEARING, INCOME, RECEIVABLE = 101204, 600101, 112201


def bad(due: Due, **other: object) -> BillLine:
    return billed(due, kind="bad_debt", fee_fen=0, **other)


def take_back(city: City, *dues: Due) -> None:
    with city.db.begin() as tx:
        notices = [due.answer(state=ChannelState.REVERSED) for due in dues]
        results.apply(tx, lane=0, notices=notices, at=AT, ids=IDS)


def close(city: City, *dues: Due) -> None:
    """Let payments fail."""
    with city.db.begin() as tx:
        results.apply(tx, lane=0, notices=[due.answer(state=ChannelState.FAILED) for due in dues], at=AT, ids=IDS)


# What the comparison finds


def test_a_bad_debt_that_the_book_has_as_paid_is_d23_alone(city: City) -> None:
    due = city.pay()
    city.seal()
    run = city.match(city.keep([bad(due)]))
    assert found(city, run) == [("D23", 1200, 1200)]
    assert (run.matched, run.matched_fen) == (0, 0)


def test_a_bad_debt_before_its_payment_is_sealed_waits(city: City) -> None:
    due = city.pay()
    assert found(city, city.match(city.keep([bad(due)]))) == [("D10", 1200, 1200)]


def test_what_the_book_has_taken_back_agrees_once_that_is_sealed(city: City) -> None:
    due = city.pay()
    city.seal()
    take_back(city, due)
    kept = city.keep([bad(due)])
    assert found(city, city.match(kept)) == [("D10", 1200, 1200)]
    city.seal()
    assert found(city, city.match(kept)) == []


@pytest.mark.parametrize("failed", [False, True])
def test_a_bad_debt_of_a_payment_that_never_succeeded_agrees(city: City, failed: bool) -> None:
    due = city.order()
    if failed:
        close(city, due)
    city.seal()
    assert found(city, city.match(city.keep([bad(due)]))) == []


def test_a_bad_debt_of_another_order_merchant_or_amount_has_its_own_name(city: City) -> None:
    stranger, moved, differs = city.order(), city.pay(), city.pay()
    city.seal()
    lines = [bad(stranger, order_no="somebody-else"), bad(moved, merchant_no="1620000099"), bad(differs, amount_fen=1)]
    assert found(city, city.match(city.keep(lines))) == [("D02", None, 1200), ("D04", 1200, 1), ("D22", 1200, 1200)]


def test_a_bad_debt_counts_neither_as_payment_nor_as_refund_nor_as_fee(city: City) -> None:
    due, fine = city.pay(), city.pay(amount_fen=500)
    kept = city.keep([bad(due), billed(fine)])
    with city.db.begin() as tx:
        query = text("select lines, total_fen, refund_fen, fee_fen from reconciliation.bill where bill_id = :id")
        assert tuple(tx.execute(query, {"id": kept.bill_id}).one()) == (2, 500, 0, 7)


def test_a_payment_that_was_taken_back_is_not_missed_in_a_bill(city: City) -> None:
    due = city.pay()
    take_back(city, due)
    city.seal()
    assert found(city, city.match(city.keep([]))) == []


def test_the_bill_of_the_day_of_payment_still_agrees_after_a_later_bill_took_it_back(city: City) -> None:
    due = city.pay()
    city.seal()
    first = city.keep([billed(due)])
    assert city.match(first).matched == 1
    assert found(city, city.match(city.keep([bad(due)], bill_on=NEXT))) == [("D23", 1200, 1200)]
    take_back(city, due)
    city.seal()
    again = city.match(first)
    assert (again.matched, found(city, again)) == (1, [])


def test_a_payment_after_its_bad_debt_is_d06_for_a_person(city: City) -> None:
    due = city.pay()
    city.seal()
    city.match(city.keep([bad(due)]))
    take_back(city, due)
    city.seal()
    assert found(city, city.match(city.keep([billed(due)], bill_on=NEXT))) == [("D06", None, 1200)]
    assert found(city, city.match(city.keep([billed(due)]))) == [("D06", None, 1200)], "also when the same day is issued anew"


# The whole way, at ETC's stand-in


class Etc:
    """A lot that deducts at ETC, and its mornings."""

    def __init__(self, city: deducting.City, witness: Path) -> None:
        self.city = city
        key = Ed25519PrivateKey.from_private_bytes(bytes(32))
        self._sealer = Sealer(lane=0, signer=Signer("tongting.example/lane/0", key), witness=Witness(witness))

    def deducted(self) -> str:
        """Let the plate pay, and return the order's number."""
        self.city.etc_plate(answer="paid")
        assert self.city.deduct("etc").state == "succeeded"
        [payment_id] = self.city.column("select payment_id from payments.payment where state = 'succeeded'")
        return payment_number(0, payment_id)

    def turn_bad(self, order_no: str) -> None:
        self.city.posted("etc-sandbox/bad", {"order_no": order_no})

    def morning(self, bill_on: date = DAY) -> Day:
        """Seal, and compare the day's bill once."""
        self.seal()
        self.city.clock.set(max(self.city.clock.now(), MORNING + (bill_on - DAY)) + timedelta(minutes=1))
        with self.city.db.connect() as tx:
            [account] = daily.accounts(tx, channel=self.city.line("etc").connected.channel, bill_on=bill_on)
        return daily.reconcile(self.city.db, lane=0, line=self.city.line("etc"), bill_on=bill_on, account=account)

    def seal(self) -> None:
        with self.city.db.connect() as connection:
            self._sealer.seal_once(connection, at=self.city.clock.now())

    def found(self, day: Day) -> list[str]:
        assert day.run is not None
        with self.city.db.connect() as tx:
            return [one.code for one in matching.differences(tx, run_id=day.run.run_id)]

    def waits(self, bill_on: date = DAY) -> bool:
        with self.city.db.connect() as tx:
            return bool(daily.waiting(tx, channel=self.city.line("etc").connected.channel, bill_on=bill_on))

    def entries(self) -> list[tuple[int, int, int]]:
        with self.city.db.connect() as tx:
            rows = tx.execute(text("select debit_account, credit_account, amount_fen from ledger.posting order by entry_id, line"))
            return [(row[0], row[1], row[2]) for row in rows]

    def sound(self) -> bool:
        with self.city.db.connect() as tx:
            return payment_invariants.check(tx) == [] and invariants.check(tx) == []


@pytest.fixture
def etc(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[Etc]:  # noqa: F811  # a fixture
    with deducting.city(db, fresh_pair, tmp_path) as city:
        yield Etc(city, tmp_path / "witness")


def test_a_deduction_that_turns_bad_is_taken_back_by_its_bill_and_the_day_is_over(etc: Etc) -> None:
    order_no = etc.deducted()
    etc.turn_bad(order_no)
    first = etc.morning()
    assert (etc.found(first), first.taken_back, etc.waits()) == (["D23"], 1, True)
    second = etc.morning()
    assert (etc.found(second), second.taken_back, etc.waits()) == ([], 0, False)
    assert etc.entries() == [(CLEARING, INCOME, 1200), (RECEIVABLE, CLEARING, 1200)]
    assert sorted(etc.city.column("select kind from payments.outbox")) == ["payment.succeeded", "payment.taken_back"]
    assert etc.city.column("select state from payments.charge") == ["open"]
    assert etc.sound()


def test_its_proof_is_the_signed_answer_that_named_the_file(etc: Etc) -> None:
    etc.turn_bad(etc.deducted())
    etc.morning()
    query = """select operation || ' ' || verdict from ledger.v_posting e join gateways.v_message m on m.message_id = e.evidence_id
               where e.kind = 6"""
    assert etc.city.column(query) == ["bill verified"]


def test_repeating_the_morning_at_the_same_seal_takes_nothing_back_twice(etc: Etc) -> None:
    etc.turn_bad(etc.deducted())
    etc.morning()
    line = etc.city.line("etc")
    with etc.city.db.connect() as tx:
        [route] = daily.accounts(tx, channel=line.connected.channel, bill_on=DAY)
    etc.city.later(minutes=1)
    assert daily.reconcile(etc.city.db, lane=0, line=line, bill_on=DAY, account=route).taken_back == 0
    assert len(etc.entries()) == 2


def test_what_turns_bad_on_a_later_day_comes_in_that_days_bill(etc: Etc) -> None:
    order_no = etc.deducted()
    assert etc.found(etc.morning()) == []
    etc.turn_bad(order_no)
    assert (etc.morning(NEXT).taken_back, etc.found(etc.morning(NEXT)), etc.waits(NEXT)) == (1, [], False)
    assert etc.found(etc.morning()) == [], "the day of the payment agrees as before"
    assert etc.sound()


def test_the_debt_is_deducted_anew_under_a_new_payment(etc: Etc) -> None:
    etc.turn_bad(etc.deducted())
    etc.morning()
    assert etc.city.deduct("etc").state == "succeeded"
    assert etc.entries()[-1] == (CLEARING, RECEIVABLE, 1200)
    assert etc.city.states() == ["succeeded", "succeeded"]
    assert etc.found(etc.morning(NEXT)) == []
    assert etc.sound()


def test_after_a_refund_a_person_decides_and_the_day_is_over(etc: Etc) -> None:
    order_no = etc.deducted()
    etc.turn_bad(order_no)
    [payment_id] = etc.city.column("select payment_id from payments.payment")
    with etc.city.db.begin() as tx:
        refunds.promise(
            tx, lane=0, payment_id=payment_id, amount_fen=100, source="operator", source_ref="1", reason="退款",
            evidence_id=payment_id, at=etc.city.clock.now(), ids=etc.city.ids,
        )  # fmt: skip
    day = etc.morning()
    assert (etc.found(day), day.taken_back, etc.waits()) == (["D23"], 0, False)
    assert etc.city.column("select kind from payments.payment_case") == ["taken_back_after_refund"]
    assert etc.city.column("select state from payments.charge") == ["settled"]


# Charges by card


class Cards(Etc):
    """A lane with cards, sent and decided by their issuers."""

    def __init__(self, city: deducting.City, witness: Path) -> None:
        super().__init__(city, witness)
        self.lane = Lane(city)

    def sent(self, count: int = 2, **behaviour: Any) -> list[TransactionRecord]:
        if behaviour:
            self.lane.behave(**behaviour)
        records = self.lane.bring(count)
        self.lane.send()
        return records


@pytest.fixture
def cards(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[Cards]:  # noqa: F811  # a fixture
    with deducting.city(db, fresh_pair, tmp_path) as city:
        yield Cards(city, tmp_path / "witness")


def test_cards_and_plates_of_one_bill_match_to_the_fen(cards: Cards) -> None:
    cards.sent()
    cards.lane.book()
    cards.city.charge("P1")
    cards.city.etc_plate(answer="paid")
    assert cards.city.deduct("etc", serial="P1").state == "succeeded"
    cards.lane.clear()
    day = cards.morning()
    assert day.run is not None
    assert (cards.found(day), day.run.matched, day.run.matched_fen, cards.waits()) == ([], 3, 3600, False)
    assert cards.sound()


def test_a_card_that_its_issuer_has_not_decided_waits_and_nothing_is_asked(cards: Cards) -> None:
    cards.sent(hold_booking=True)
    day = cards.morning()
    assert (cards.found(day), day.asked, cards.waits()) == (["D01", "D01"], 0, True)
    assert cards.sound()


def test_a_card_in_dispute_and_then_bad_is_no_difference(cards: Cards) -> None:
    cards.sent(dispute=[7])
    cards.lane.book()
    assert sorted(cards.lane.cards()) == ["booked", "disputed"]
    cards.lane.settle(1)
    cards.lane.clear()
    day = cards.morning()
    assert day.run is not None
    assert (cards.found(day), day.run.matched, cards.waits()) == ([], 1, False)
    assert cards.sound()


def test_a_card_is_due_on_the_day_that_cleared_it_and_not_before(cards: Cards) -> None:
    cards.sent(move_clear_date=True)
    cards.lane.book()
    assert cards.found(cards.morning()) == [], "paid that day, cleared on the next"
    cards.city.clock.set(MORNING + timedelta(hours=14))
    cards.lane.clear(NEXT)
    day = cards.morning(NEXT)
    assert day.run is not None
    assert (cards.found(day), day.run.matched) == ([], 2)
    assert cards.sound()


def test_a_cleared_card_that_the_bill_does_not_show_is_d03_however_old_it_is(cards: Cards) -> None:
    cards.sent()
    cards.lane.book()
    cards.lane.clear()
    cards.seal()
    with cards.city.db.begin() as tx:
        tx.execute(text("update payments.card_package set cleared_on = cleared_on + 30"))
    assert cards.found(cards.morning(DAY + timedelta(days=30))) == ["D03", "D03"]


@pytest.mark.parametrize("kind", ["payment", "bad_debt"])
def test_a_card_of_nobody_is_d02(city: City, kind: str) -> None:
    due, number = city.order(), "32020100012026030212000001"
    assert found(city, city.match(city.keep([billed(due, kind=kind, order_no=number, trade_no=number)]))) == [("D02", None, 1200)]


def test_a_stay_that_cost_nothing_is_no_difference(cards: Cards) -> None:
    free = cards.lane.record(1, fee_fen=0)
    [taken] = cards.lane.take(NewCardCharge(free))
    assert taken.outcome == "created"
    cards.lane.send()
    cards.lane.book()
    cards.lane.clear()
    assert (cards.found(cards.morning()), cards.waits()) == ([], False)
    assert cards.sound()


def test_a_refund_of_a_card_pairs_by_its_number(cards: Cards) -> None:
    [_, _] = cards.sent()
    cards.lane.book()
    cards.lane.clear()
    assert cards.found(cards.morning()) == []
    [payment_id, _] = cards.city.column("select payment_id from payments.payment order by payment_id")
    with cards.city.db.begin() as tx:
        refunds.promise(
            tx, lane=0, payment_id=payment_id, amount_fen=200, source="operator", source_ref="1", reason="退款",
            evidence_id=payment_id, at=cards.city.clock.now(), ids=cards.city.ids,
        )  # fmt: skip
    refund_jobs.run_due(cards.city.till)
    cards.city.later(minutes=2)
    cards.city.deliver()
    assert cards.city.column("select state from payments.refund") == ["done"]
    day = cards.morning(NEXT)
    assert day.run is not None
    assert (cards.found(day), day.run.matched) == ([], 1)
    assert cards.sound()
