"""Charges by card from the lane to the day they are cleared, over the real wire to the clearing party's stand-in."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, text

from gateways.etc import services
from gateways.etc.clearing import ClearingStatistics
from gateways.etc.record import TransactionRecord, charge_id
from gateways.etc.uplink import HttpsUplink
from gateways.sandbox.wechat.signing import Pair
from payments import charges, checkout
from payments.cards import intake, packing
from payments.cards.hearing import hear
from payments.cards.intake import Rules
from payments.cards.packing import Sent
from payments.cards.records import Finding, NewCardCharge, TakenCard
from payments.checkout import Payer
from payments.errors import CardUnderWay
from payments.records import Charge
from payments.refunding import refund_jobs, refunds
from tests.gateways.conftest import HTTP, fresh_pair, pair  # noqa: F401  # fixtures
from tests.gateways.etc_cases import RECORD
from tests.payments.conftest import AT, IDS, message
from tests.payments.mandates import deducting
from tests.payments.mandates.deducting import LOT_NUMBERS, MERCHANTS, PLATE, City

TODAY = date(2026, 3, 2)
SETTLED = (101204, 112201, 1200)
OWED = (112201, 600101, 1200)


class Lane:
    """A lot with cards: what its lanes bring, and what the clearing party does with it."""

    def __init__(self, city: City) -> None:
        self.city = city
        self.uplink = HttpsUplink(city.line("etc"))
        city.posted("etc-sandbox/lots", {"lot_no": LOT_NUMBERS["etc"], "merchant_no": MERCHANTS["etc"]})

    def record(self, number: int, **other: Any) -> TransactionRecord:
        at = AT - timedelta(minutes=5, seconds=number)
        fee = other.pop("fee_fen", 1200)
        said: dict[str, Any] = {
            "charge_id": charge_id(lot_no=LOT_NUMBERS["etc"], at=at, lane_serial=number), "lot_no": LOT_NUMBERS["etc"],
            "happened_at": at, "entered_at": AT - timedelta(hours=2), "plate": PLATE, "fee_fen": fee,
            "post_balance_fen": RECORD.pre_balance_fen - fee,
        }  # fmt: skip
        return replace(RECORD, **(said | other))

    def take(self, *charges: NewCardCharge) -> list[TakenCard]:
        return intake.take(self.city.till, lot=self.city.lot, charges=charges, body=b"[lane]", rules=Rules())

    def bring(self, count: int) -> list[TransactionRecord]:
        """Post as many charges of 12 yuan and bring the cards that paid them."""
        records = [self.record(number) for number in range(1, count + 1)]
        for number in range(1, count + 1):
            if number > 1:
                self.city.charge(f"S{number}")
        taken = self.take(*(NewCardCharge(record, f"S{number}") for number, record in enumerate(records, 1)))
        assert [one.outcome for one in taken] == ["created"] * count
        return records

    def send(self) -> Sent:
        """Let the packing time pass and send what is due."""
        self.city.later(minutes=16)
        return packing.run_due(self.city.till, self.uplink)

    def behave(self, **how: Any) -> None:
        self.city.posted("etc-sandbox/behaviour", how)

    def book(self) -> None:
        """Let the issuers decide, and hear what they say."""
        self.city.later(seconds=61)
        self.city.deliver()

    def settle(self, outcome: int, **which: Any) -> None:
        self.city.posted("etc-sandbox/settle", {"outcome": outcome, **which})
        self.city.deliver()

    def clear(self, day: date = TODAY) -> None:
        self.city.posted("etc-sandbox/clear", {"clear_on": day.isoformat()})
        self.city.deliver()

    def packages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = HTTP.get(f"{self.city.url}/etc-sandbox/packages").json()["packages"]
        return found

    def charge(self, serial: str = "S1") -> Charge:
        with self.city.db.connect() as tx:
            return charges.by_serial(tx, lane=0, lot_id=self.city.lot.lot_id, lot_serial=serial)

    def cards(self) -> list[str]:
        return self.city.column("select state from payments.card_record order by number")

    def package(self) -> str:
        [state] = self.city.column("select state from payments.card_package")
        return str(state)

    def cases(self) -> list[str]:
        return self.city.column("select kind from payments.payment_case order by 1")

    def entries(self) -> list[tuple[int, int, int]]:
        with self.city.db.connect() as tx:
            rows = tx.execute(text("select debit_account, credit_account, amount_fen from ledger.posting order by 1, 2, 3"))
            return [(row[0], row[1], row[2]) for row in rows]

    def notices_left(self) -> int:
        """How many notices of the stand-in were not taken."""
        query = "select count(*) from gateways.raw_message where operation = 'callback' and reason is not null"
        return int(self.city.column(query)[0])


@pytest.fixture
def lane(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[Lane]:  # noqa: F811  # a fixture
    with deducting.city(db, fresh_pair, tmp_path) as city:
        yield Lane(city)


def due_of(lane: Lane) -> Sequence[Charge]:
    with lane.city.db.connect() as tx:
        return charges.due(tx, lane=0, lot_id=lane.city.lot.lot_id, plate=PLATE)


def test_a_card_is_owed_then_booked_then_cleared(lane: Lane) -> None:
    [first, second] = lane.bring(2)
    assert lane.entries() == [OWED, OWED]
    assert lane.city.states() == ["pending", "pending"]
    assert lane.send() == Sent(packed=1, called=1, answered=1)
    assert lane.package() == "acked"
    lane.book()
    assert lane.cards() == ["booked", "booked"]
    assert [lane.charge("S1").state, lane.charge("S2").state] == ["settled", "settled"]
    assert lane.entries() == [SETTLED, SETTLED, OWED, OWED]
    assert sorted(lane.city.column("select trade_no from payments.payment_fact")) == sorted([first.charge_id, second.charge_id])
    lane.clear()
    assert lane.city.column("select cleared_on from payments.v_payment_fact") == [TODAY, TODAY]
    shares = lane.city.column("select (merchant_no, count, amount_fen)::text from payments.v_card_share")
    assert shares == [f"({MERCHANTS['etc']},2,2400)"]
    assert lane.cases() == []
    assert lane.notices_left() == 0
    assert lane.city.sound()


def test_nobody_pays_by_hand_what_a_card_has_paid(lane: Lane) -> None:
    lane.bring(1)
    charge = lane.charge()
    with pytest.raises(CardUnderWay):
        checkout.start(
            lane.city.till, lot_id=charge.lot_id, charge_id=charge.charge_id, token="a" * 24, channel="wechat",
            payer=Payer(payer_id="oDriver"),
        )  # fmt: skip
    assert due_of(lane) == []
    with pytest.raises(CardUnderWay):
        lane.city.deduct("etc")
    assert lane.city.sound()


def test_the_same_records_again_change_nothing(lane: Lane) -> None:
    [record] = lane.bring(1)
    [again] = lane.take(NewCardCharge(record, "S1"))
    assert (again.outcome, again.receipt is not None) == ("already", True)
    assert lane.entries() == [OWED]
    [other] = lane.take(NewCardCharge(replace(record, card_counter="0DA3"), "S1"))
    assert (other.outcome, other.reason) == ("refused", "content_differs")
    assert lane.city.calls("lane_records") == 1


def test_one_call_with_a_record_twice_takes_it_once(lane: Lane) -> None:
    record = lane.record(1)
    taken = lane.take(NewCardCharge(record, "S1"), NewCardCharge(record, "S1"))
    assert [one.outcome for one in taken] == ["created", "already"]
    assert lane.city.states() == ["pending"]


@pytest.mark.parametrize(
    ("change", "serial", "reason", "field"),
    [
        ({"tac": "XYZ"}, "S1", "record_form", "tac"),
        ({"fee_fen": 30_001, "pre_balance_fen": 40_000, "post_balance_fen": 9_999}, "S1", "fee_above_cap", "fee"),
        ({"post_balance_fen": 1}, "S1", "balances_differ", "postBalance"),
        ({"entered_at": AT}, "S1", "entry_after_exit", "enterTime"),
        ({"lot_no": "3202010009", "charge_id": "32020100090000000000000000"}, "S1", "lot_number_differs", "parkId"),
        ({"happened_at": AT - timedelta(days=31), "entered_at": None}, "S1", "record_overdue", "transTime"),
        ({"fee_fen": 1300}, "S1", "fee_differs", "fee"),
        ({}, "S9", "charge_unknown", "serial"),
        ({}, "", "charge_unknown", "serial"),
        ({"fee_fen": 0}, "S1", "fee_differs", "fee"),
    ],
)
def test_a_record_that_must_not_go_is_refused_by_itself(
    lane: Lane, change: dict[str, Any], serial: str, reason: str, field: str
) -> None:
    lane.city.charge("S2")
    bad, good = lane.take(NewCardCharge(lane.record(1, **change), serial), NewCardCharge(lane.record(2), "S2"))
    assert (bad.outcome, bad.reason, bad.field) == ("refused", reason, field)
    assert good.outcome == "created"
    assert lane.city.sound()


def test_a_stay_that_cost_nothing_goes_to_the_driver_s_list_and_moves_no_money(lane: Lane) -> None:
    [taken] = lane.take(NewCardCharge(lane.record(1, fee_fen=0)))
    assert (taken.outcome, taken.receipt) == ("created", None)
    lane.send()
    lane.book()
    assert lane.cards() == ["booked"]
    assert lane.entries() == []
    lane.clear()
    assert lane.cases() == []
    assert lane.city.sound()


def test_a_dispute_that_is_released_is_paid(lane: Lane) -> None:
    lane.bring(2)
    lane.behave(dispute=[1])
    lane.send()
    lane.book()
    assert sorted(lane.cards()) == ["booked", "disputed"]
    assert lane.city.states() == ["pending", "succeeded"]
    lane.settle(0)
    assert sorted(lane.cards()) == ["booked", "released"]
    assert lane.entries() == [SETTLED, SETTLED, OWED, OWED]
    lane.clear()
    assert lane.city.column("select cleared_on from payments.v_payment_fact") == [TODAY, TODAY]
    assert lane.cases() == []
    assert lane.city.sound()


def test_a_bad_debt_goes_back_to_the_plate(lane: Lane) -> None:
    lane.bring(1)
    lane.behave(dispute=[9])
    lane.send()
    lane.book()
    assert due_of(lane) == []
    lane.settle(1)
    assert lane.cards() == ["bad"]
    assert lane.city.states() == ["failed"]
    assert lane.entries() == [OWED]
    assert lane.city.column("select kind from payments.outbox") == ["payment.failed"]
    [charge] = due_of(lane)
    assert charge.state == "open"
    lane.city.etc_plate(answer="paid")
    assert lane.city.deduct("etc").state == "succeeded"
    assert lane.charge().state == "settled"
    assert lane.entries() == [SETTLED, OWED]
    assert lane.city.sound()


def test_a_card_and_a_wallet_for_one_stay_are_one_payment_and_one_refund(lane: Lane) -> None:
    lane.city.etc_plate(answer="paid")
    assert lane.city.deduct("etc").state == "succeeded"
    [taken] = lane.take(NewCardCharge(lane.record(1), "S1"))
    assert taken.outcome == "created"
    lane.send()
    lane.book()
    assert lane.entries() == [(101204, 224101, 1200), (101204, 600101, 1200)]
    assert lane.cases() == ["refund_second_payment"]
    assert lane.city.sound()


def test_a_package_that_is_not_answered_goes_again_under_its_number(lane: Lane) -> None:
    lane.bring(1)
    lane.behave(busy=2)
    assert lane.send().answered == 1
    assert lane.package() == "sent"
    for _ in range(3):
        lane.city.later(minutes=1)
        packing.run_due(lane.city.till, lane.uplink)
    assert lane.package() == "acked"
    assert [one["count"] for one in lane.packages()] == [1]
    lane.book()
    assert lane.city.states() == ["succeeded"]


def test_a_booking_result_proves_the_receipt_whose_answer_was_lost(lane: Lane) -> None:
    lane.bring(1)
    lane.send()
    with lane.city.db.begin() as tx:  # as if the worker had ended between sending and the answer
        tx.execute(text("update payments.card_package set state = 'sent', due_at = now() - interval '1 day', acked_at = null"))
    lane.book()
    assert lane.package() == "booked"
    assert packing.run_due(lane.city.till, lane.uplink).called == 0
    assert lane.city.states() == ["succeeded"]


def test_the_same_booking_again_is_taken_another_one_is_refused(lane: Lane) -> None:
    lane.bring(2)
    lane.behave(dispute=[1], booking_twice=True)
    lane.send()
    lane.book()
    assert lane.cases() == ["booking_refused"]
    lane.city.posted("etc-sandbox/book", {"message_no": lane.packages()[0]["message_no"]})
    lane.city.deliver()
    assert lane.city.states() == ["pending", "succeeded"]
    assert lane.city.sound()


def test_a_charge_settled_twice_is_refused(lane: Lane) -> None:
    lane.bring(1)
    lane.behave(dispute=[1])
    lane.send()
    lane.book()
    lane.settle(1)
    lane.settle(0, again=True)
    assert lane.cards() == ["bad"]
    assert lane.cases() == ["dispute_refused"]
    assert lane.city.states() == ["failed"]


@pytest.mark.parametrize("off", [{"clearing_off_fen": 1}, {"clearing_off_count": 1}])
def test_clearing_that_is_off_is_refused(lane: Lane, off: dict[str, int]) -> None:
    lane.bring(1)
    lane.send()
    lane.book()
    lane.behave(**off)
    lane.clear()
    assert lane.cases() == ["clearing_disagrees"]
    assert lane.city.column("select cleared_on from payments.v_payment_fact") == [None]


def test_statistics_told_again_at_another_time_are_the_same(lane: Lane) -> None:
    lane.bring(1)
    lane.send()
    lane.book()
    lane.clear()
    bodies = lane.city.column("select body from gateways.raw_message where operation = 'callback'")
    [told_once] = [body for body in map(bytes, bodies) if b"etc.clear.stat" in body]
    told = services.read(ClearingStatistics, json.loads(told_once)["body"])
    assert isinstance(told, ClearingStatistics)
    later = replace(told, processed_at=AT + timedelta(days=1))
    heard = {}
    for name, word in (("again", later), ("other", replace(later, count=told.count + 1))):
        with lane.city.db.begin() as tx:
            heard[name] = hear(tx, lane=0, told=word, message=message(), at=AT, ids=IDS).finding
    assert heard == {"again": Finding.CLEARING_ALREADY, "other": Finding.CLEARING_DISAGREES}


def test_a_share_of_another_merchant_is_refused(lane: Lane) -> None:
    lane.bring(1)
    lane.send()
    lane.book()
    lane.city.posted("etc-sandbox/lots", {"lot_no": LOT_NUMBERS["etc"], "merchant_no": "M-0000000000"})
    lane.clear()
    assert lane.cases() == ["clearing_disagrees"]


def test_the_clearing_date_is_the_one_that_they_state(lane: Lane) -> None:
    lane.bring(1)
    lane.behave(move_clear_date=True)
    lane.send()
    lane.book()
    assert lane.city.column("select clear_on from payments.card_package") == [TODAY + timedelta(days=1)]
    lane.clear(TODAY + timedelta(days=1))
    assert lane.city.column("select cleared_on from payments.v_payment_fact") == [TODAY + timedelta(days=1)]


def test_a_booking_result_that_never_comes_is_told_to_a_person(lane: Lane) -> None:
    lane.bring(1)
    lane.behave(hold_booking=True)
    lane.send()
    lane.book()
    assert lane.package() == "acked"
    lane.city.later(hours=25)
    packing.run_due(lane.city.till, lane.uplink)
    assert lane.cases() == ["package_waits"]
    lane.city.posted("etc-sandbox/book", {"message_no": lane.packages()[0]["message_no"]})
    lane.city.deliver()
    assert lane.city.states() == ["succeeded"]


def test_packages_are_by_issuer_and_never_too_large(lane: Lane) -> None:
    lane.uplink.charges_max = 2
    records = [lane.record(1), lane.record(2), lane.record(3), lane.record(4, issuer_no="310101")]
    for number in (2, 3, 4):
        lane.city.charge(f"S{number}")
    lane.take(*(NewCardCharge(record, f"S{number}") for number, record in enumerate(records, 1)))
    assert packing.pack(lane.city.till, lane.uplink) == 1  # the full one goes at once
    assert lane.send().packed == 2
    lane.book()
    assert lane.city.states() == ["succeeded"] * 4
    assert lane.city.column("select count from payments.card_package order by 1") == [1, 1, 2]


def test_workers_at_once_pack_and_send_each_record_once(lane: Lane) -> None:
    lane.bring(6)
    lane.city.later(minutes=16)
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda _: packing.run_due(lane.city.till, lane.uplink), range(6)))
    assert sum(run.packed for run in runs) == len(lane.packages())
    assert sum(run.called for run in runs) == len(lane.packages())
    assert sum(one["count"] for one in lane.packages()) == 6


def test_a_refund_of_a_card_waits_for_the_clearing_and_is_not_asked_for_in_between(lane: Lane) -> None:
    lane.bring(1)
    lane.send()
    lane.book()
    [payment_id] = lane.city.column("select payment_id from payments.payment")
    with lane.city.db.begin() as tx:
        refunds.promise(
            tx, lane=0, payment_id=payment_id, amount_fen=500, source="operator", source_ref="r-1", reason="多收",
            evidence_id=IDS.new(AT, "request"), at=lane.city.clock.now(), ids=IDS,
        )  # fmt: skip
    for _ in range(5):
        refund_jobs.run_due(lane.city.till)
        lane.city.later(hours=2)
    assert lane.city.calls("refund") == 1
    lane.clear()
    lane.city.later(hours=12)
    for _ in range(4):
        refund_jobs.run_due(lane.city.till)
        lane.city.later(hours=2)
        lane.city.deliver()
    assert lane.city.column("select state from payments.refund") == ["done"]
    assert lane.cases() == []
    assert lane.city.sound()
