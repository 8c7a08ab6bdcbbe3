"""Charges taken by the plate's mandate, against the channels' stand-ins over their real wires."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from sqlalchemy import Engine, text

from gateways.contract import Answer, Request, Unanswered
from gateways.sandbox.wechat.signing import Pair
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import SeededIds, payment_number
from payments import checkout, jobs
from payments.checkout import Payer
from payments.errors import AlreadyPaid, ChargeUnknown, DeductionUnderWay, PlateRefused
from payments.mandates import deductions
from payments.mandates.deductions import Tried
from payments.mandates.entrances import Told
from payments.refunding import refund_jobs, refunds
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import AT, IDS, books
from tests.payments.mandates.deducting import City, city

INCOME, SUSPENSE = 600101, 224101


@pytest.fixture
def at(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[City]:  # noqa: F811  # a fixture
    with city(db, fresh_pair, tmp_path) as made:
        yield made


# Entrances


def test_a_car_that_came_is_told_to_the_channels_that_want_to_know(at: City) -> None:
    at.wechat_plate()
    made = at.enter()
    assert made.created
    assert made.channels == (Told("alipay", "none"), Told("wechat", "open"))
    assert at.column("select state from payments.entrance_word order by channel") == ["none", "open"]


def test_the_same_entrance_again_is_the_same_and_tells_nobody_twice(at: City) -> None:
    at.wechat_plate()
    first, again = at.enter(), at.enter()
    assert (again.created, again.channels) == (False, first.channels)
    assert at.calls("entry") == 2


def test_a_channel_that_did_not_answer_is_told_when_the_entrance_comes_again(at: City) -> None:
    at.wechat_plate()
    transport, at.transport = at.transport, _Down(at.transport, answers=0)  # type: ignore[assignment]
    assert at.enter().channels == (Told("alipay", "unknown"), Told("wechat", "unknown"))
    at.transport = transport
    assert at.enter().channels == (Told("alipay", "none"), Told("wechat", "open"))


def test_a_serial_stands_for_one_car(at: City) -> None:
    at.enter()
    for other in ({"plate": "苏B54321"}, {"entered_at": AT}, {"plate_color": "yellow"}, {"free_minutes": 20}):
        with pytest.raises(Conflict) as refused:
            at.enter(**other)
        assert refused.value.code == "entrance_conflict"


@pytest.mark.parametrize(
    "wrong",
    [
        {"lot_serial": ""}, {"lot_serial": "x" * 65}, {"free_minutes": -1}, {"entered_at": AT.replace(tzinfo=None)},
        {"entered_at": AT + timedelta(hours=1)}, {"entered_at": AT - timedelta(days=2000)},
    ],
)  # fmt: skip
def test_an_entrance_that_cannot_be_is_refused(at: City, wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        at.enter(**wrong)
    assert refused.value.code == "entrance_invalid"
    with pytest.raises(PlateRefused):
        at.enter(plate="XYZ")
    assert at.calls("entry") == 0


def test_without_a_route_no_channel_is_told(at: City) -> None:
    without_routes(at)
    assert at.enter().channels == ()


# Deductions


def test_etc_is_tried_first_and_its_charge_is_settled_by_its_notice(at: City) -> None:
    at.etc_plate()
    made = at.deduct()
    assert (made.state, made.channel, made.receipt) == ("pending", "etc", None)
    at.later(seconds=5)
    at.deliver()
    assert taken(at) == [(INCOME, 1200)]
    paid = at.deduct()
    assert (paid.state, paid.channel) == ("succeeded", "etc")
    assert paid.receipt is not None
    assert at.calls("deduct") == 1
    assert at.sound()


def test_etc_that_pays_at_once_is_settled_by_the_answer(at: City) -> None:
    at.etc_plate(answer="paid")
    made = at.deduct()
    assert (made.state, made.receipt) == ("succeeded", at.deduct().receipt)
    at.deliver()
    assert taken(at) == [(INCOME, 1200)]
    assert books(at.db).events == ["payment.succeeded"]


def test_wechat_takes_a_charge_on_and_tells_of_it(at: City) -> None:
    at.wechat_plate()
    at.enter()
    made = at.deduct()
    assert made.tried == (
        Tried(channel="etc", state="none", reason="mandate_none"), Tried(channel="wechat", state="pending"),
    )  # fmt: skip
    at.later(seconds=5)
    at.deliver()
    paid = at.deduct()
    assert (paid.state, paid.channel, at.states()) == ("succeeded", "wechat", ["succeeded"])
    assert taken(at) == [(INCOME, 1200)]
    assert at.sound()


def test_alipay_takes_a_charge_at_once(at: City) -> None:
    at.alipay_plate()
    made = at.deduct()
    assert [(one.channel, one.state, one.reason) for one in made.tried] == [
        ("etc", "none", "mandate_none"), ("wechat", "none", "mandate_unknown"), ("alipay", "succeeded", None),
    ]  # fmt: skip
    at.deliver()
    assert taken(at) == [(INCOME, 1200)]
    assert at.deduct().receipt == made.receipt


def test_a_charge_that_is_taken_on_without_a_notice_is_found_by_the_query(at: City) -> None:
    at.wechat_plate()
    at.enter()
    at.deduct("wechat")
    at.later(seconds=5)
    assert jobs.run_due(at.till) == jobs.Ran(asked=1, closed=0, found_paid=1)
    assert at.deduct().state == "succeeded"


def test_a_plate_without_a_mandate_is_not_deducted(at: City) -> None:
    at.enter()
    made = at.deduct()
    assert (made.state, made.channel, made.receipt) == ("none", None, None)
    assert [(one.channel, one.reason) for one in made.tried] == [
        ("etc", "mandate_none"), ("wechat", "mandate_none"), ("alipay", "mandate_none"),
    ]  # fmt: skip
    assert (at.states(), at.calls("deduct")) == ([], 0)


def test_a_channel_that_is_named_is_the_only_one(at: City) -> None:
    at.etc_plate()
    at.alipay_plate()
    made = at.deduct("alipay")
    assert (made.state, [one.channel for one in made.tried]) == ("succeeded", ["alipay"])


def test_wechat_without_an_entry_cannot_be_asked(at: City) -> None:
    at.wechat_plate()
    assert at.deduct("wechat").tried == (Tried(channel="wechat", state="none", reason="entry_missing"),)
    assert at.states() == []


def test_a_blocked_plate_is_not_taken_and_nothing_is_claimed_of_it(at: City) -> None:
    at.wechat_plate()
    at.enter()
    at.wechat_plate(state="OVERDUE")
    assert at.deduct("wechat").state == "unknown"
    at.later(seconds=5)
    jobs.run_due(at.till)
    assert at.deduct("wechat").state == "unknown"
    at.later(minutes=6)
    jobs.run_due(at.till)
    assert at.states() == ["closed"]
    assert taken(at) == []


def test_a_channel_that_took_nothing_comes_last_the_next_time(at: City) -> None:
    at.wechat_plate()
    at.enter()
    at.wechat_plate(state="OVERDUE")
    assert at.deduct().state == "unknown"
    at.later(minutes=7)
    jobs.run_due(at.till)
    at.alipay_plate()
    made = at.deduct()
    assert [(one.channel, one.state) for one in made.tried] == [("etc", "none"), ("alipay", "succeeded")]


def test_the_same_question_at_the_same_instant_is_kept_once(at: City) -> None:
    at.till = msgspec.structs.replace(at.till, ids=SeededIds(1))
    at.ids = SeededIds(1)
    for _ in range(3):
        assert at.deduct("alipay").state == "none"
    assert at.calls("mandate_query") >= 1


def test_a_proven_refusal_lets_the_next_channel_try(at: City) -> None:
    at.etc_plate(answer="refused", reason=7)
    at.alipay_plate()
    made = at.deduct()
    assert [(one.channel, one.state) for one in made.tried] == [("etc", "failed"), ("wechat", "none"), ("alipay", "succeeded")]
    assert made.tried[0].reason is not None
    assert made.tried[0].reason.startswith("booking_")
    assert (made.state, made.channel, at.states()) == ("succeeded", "alipay", ["failed", "succeeded"])


def test_a_refusal_that_comes_later_lets_the_next_call_try_again(at: City) -> None:
    at.etc_plate(answer="refused_later")
    assert at.deduct().state == "pending"
    at.later(seconds=5)
    at.deliver()
    assert at.states() == ["failed"]
    at.alipay_plate()
    at.etc_plate(signed=False)
    assert (at.deduct().channel, at.states()) == ("alipay", ["failed", "succeeded"])


def test_a_call_that_finds_the_refusal_goes_on_to_the_next_channel(at: City) -> None:
    at.etc_plate(answer="refused_later")
    at.alipay_plate()
    at.deduct()
    at.later(seconds=5)
    made = at.deduct()
    assert [(one.channel, one.state) for one in made.tried] == [("etc", "failed"), ("wechat", "none"), ("alipay", "succeeded")]


def test_an_unknown_answer_is_never_followed_by_another_channel(at: City) -> None:
    at.etc_plate()
    at.alipay_plate()
    at.fault("etc", "unknown", next=1)
    made = at.deduct()
    assert (made.state, [one.channel for one in made.tried]) == ("unknown", ["etc"])
    assert at.states() == ["unknown"]


@pytest.mark.parametrize("channel", ["wechat", "alipay", "etc"])
def test_a_lost_answer_with_the_deduction_made_is_settled_by_the_query(at: City, channel: str) -> None:
    every_plate(at)
    at.enter()
    at.fault(channel, "unknown", next=1)
    assert at.deduct(channel).state == "unknown"
    at.later(seconds=5)
    assert jobs.run_due(at.till).found_paid == 1
    assert (at.deduct().state, at.states()) == ("succeeded", ["succeeded"])
    assert taken(at) == [(INCOME, 1200)]
    assert at.sound()


@pytest.mark.parametrize("channel", ["wechat", "alipay", "etc"])
def test_a_lost_answer_is_found_by_calling_again(at: City, channel: str) -> None:
    every_plate(at)
    at.enter()
    at.fault(channel, "unknown", next=1)
    assert at.deduct(channel).state == "unknown"
    again = at.deduct(channel)
    assert again.state == ("succeeded" if channel == "alipay" else "pending")
    assert len(at.states()) == 1


@pytest.mark.parametrize("channel", ["wechat", "alipay", "etc"])
def test_a_repeat_is_the_identical_deduction(at: City, channel: str) -> None:
    every_plate(at)
    at.enter()
    transport = at.transport
    at.transport = _Down(transport, answers=0 if channel != "etc" else 1)  # type: ignore[assignment]
    assert at.deduct(channel).state == "unknown"
    at.transport = transport
    at.later(minutes=1)
    with at.db.begin() as tx:
        tx.execute(text("update payments.lot set name = '改名停车场'"))
        deductions.number_lot(tx, lot_id=at.lot.lot_id, channel=channel, number="9999999999", at=AT)
    at.deduct(channel)
    bodies = at.column("select split_part(convert_from(request, 'utf8'), E'\\n\\n', 2) from gateways.raw_message "
                       "where operation = 'deduct' order by message_id")  # fmt: skip
    assert len(bodies) == 2
    assert essence(channel, bodies[0]) == essence(channel, bodies[1])
    assert len(at.states()) == 1


def test_a_deduction_that_never_arrived_is_given_up_and_made_anew(at: City) -> None:
    at.wechat_plate()
    at.enter()
    transport, at.transport = at.transport, _Down(at.transport, answers=0)  # type: ignore[assignment]
    assert at.deduct("wechat").state == "unknown"
    at.transport = transport
    at.later(minutes=4.5)
    assert at.deduct("wechat").state == "unknown"
    assert at.calls("deduct") == 1
    at.later(minutes=2)
    assert jobs.run_due(at.till).closed == 0
    assert at.states() == ["closed"]
    assert at.deduct("wechat").state == "pending"
    assert at.states() == ["closed", "pending"]


def test_pending_is_said_only_of_what_the_channel_took_on(at: City) -> None:
    at.etc_plate()
    transport, at.transport = at.transport, _Down(at.transport, answers=1)  # type: ignore[assignment]
    assert at.deduct("etc").state == "unknown"
    at.transport = transport
    at.later(seconds=5)
    jobs.run_due(at.till)
    at.later(minutes=4)
    assert at.states() == ["pending"]
    assert at.deduct("etc").state == "unknown"


def test_what_is_taken_on_is_asked_about_and_not_asked_for_again(at: City) -> None:
    at.etc_plate()
    at.deduct()
    at.later(seconds=4)
    assert at.deduct().state == "succeeded"
    assert (at.calls("deduct"), at.calls("query")) == (1, 1)


def test_a_call_that_we_died_in_is_made_again_after_its_claim_is_over(at: City) -> None:
    class Dies:
        def send(self, request: Request, **more: Any) -> Answer | Unanswered:
            if "pay" in request.url:
                raise MemoryError
            answer: Answer | Unanswered = transport.send(request, **more)
            return answer

    at.etc_plate()
    transport, at.transport = at.transport, Dies()  # type: ignore[assignment]
    with pytest.raises(MemoryError):
        at.deduct()
    at.transport = transport
    assert at.deduct().tried == (Tried(channel="etc", state="unknown", reason="under_way"),)
    at.later(minutes=1)
    assert (at.deduct().state, at.states()) == ("pending", ["pending"])


def test_twenty_calls_at_once_make_one_deduction(at: City) -> None:
    every_plate(at)
    at.enter()
    with ThreadPoolExecutor(20) as pool:
        made = [one.result() for one in [pool.submit(at.deduct) for _ in range(20)]]
    assert {one.state for one in made} <= {"pending", "unknown"}
    assert {one.channel for one in made} == {"etc"}
    assert at.states() == ["pending"]
    assert at.calls("deduct") == 1
    at.later(seconds=5)
    at.deliver()
    assert taken(at) == [(INCOME, 1200)]
    assert at.sound()


def test_calls_over_different_channels_at_once_make_one_deduction(at: City) -> None:
    every_plate(at)
    at.enter()

    def asked(channel: str) -> str:
        try:
            return at.deduct(channel).state
        except Conflict as refused:
            return refused.code

    with ThreadPoolExecutor(9) as pool:
        made = list(pool.map(asked, ["etc", "wechat", "alipay"] * 3))
    assert set(made) <= {"pending", "unknown", "succeeded", "deduction_under_way", "charge_settled"}
    assert len(at.states()) == 1


def test_while_a_payer_is_paying_nothing_is_deducted(at: City) -> None:
    at.etc_plate()
    checkout.start(
        at.till, lot_id=at.lot.lot_id, charge_id=at.charge_id, token="t", channel="wechat", payer=Payer(payer_id="oPayer")
    )  # fmt: skip
    with pytest.raises(Conflict) as refused:
        at.deduct()
    assert refused.value.code == "payment_under_way"
    at.later(minutes=17)
    jobs.run_due(at.till)
    assert at.deduct().state == "pending"


def test_while_one_channel_deducts_no_other_one_does(at: City) -> None:
    every_plate(at)
    at.deduct("etc")
    with pytest.raises(Conflict) as refused:
        at.deduct("alipay")
    assert refused.value.code == "deduction_under_way"


def test_a_charge_that_was_paid_otherwise_is_refused(at: City) -> None:
    at.alipay_plate()
    started = checkout.start(
        at.till, lot_id=at.lot.lot_id, charge_id=at.charge_id, token="t", channel="wechat", payer=Payer(payer_id="oPayer")
    )  # fmt: skip
    at.control("pay", order_no=payment_number(0, started.attempt.payment_id))
    at.later(seconds=5)
    jobs.run_due(at.till)
    with pytest.raises(AlreadyPaid):
        at.deduct()
    at.charge("S2")
    assert at.deduct(serial="S2").channel == "alipay"
    with pytest.raises(AlreadyPaid):
        at.deduct("etc", serial="S2")


def test_a_call_that_our_key_does_not_sign_was_never_made(at: City) -> None:
    at.etc_plate()
    without_routes(at)
    with at.db.begin() as tx:
        at.route(tx, "etc", valid_from=AT, mode="direct", key_ref="nobody")
    assert at.deduct("etc").tried == (Tried(channel="etc", state="failed", reason="signing"),)


def test_above_the_cap_a_channel_is_left_out(at: City) -> None:
    every_plate(at)
    at.charge("S2", amount_fen=200_000)
    made = at.deduct(serial="S2")
    assert made.tried[0] == Tried(channel="etc", state="none", reason="amount_above_cap")
    assert made.channel in ("wechat", "alipay")
    assert len(at.states()) == 1


def test_without_a_route_nothing_is_deducted(at: City) -> None:
    every_plate(at)
    at.enter()
    without_routes(at)
    made = at.deduct()
    assert made.state == "none"
    assert {one.reason for one in made.tried} == {"route_missing"}


def test_what_a_channel_cannot_carry_is_not_sent(at: City) -> None:
    at.etc_plate()
    at.charge("S2", plate_color="unknown")
    assert at.deduct("etc", serial="S2").tried == (Tried(channel="etc", state="none", reason="deduction_form"),)
    with at.db.begin() as tx:
        deductions.number_lot(tx, lot_id=at.lot.lot_id, channel="etc", number="unnumbered", at=AT)
    at.alipay_plate()
    made = at.deduct()
    assert (made.tried[0], made.channel) == (Tried(channel="etc", state="failed", reason="deduction_form"), "alipay")


def test_the_colour_that_the_entrance_knows_serves_the_charge(at: City) -> None:
    at.etc_plate()
    at.enter()
    at.charge("S2", plate_color="unknown")
    assert at.deduct("etc", serial="S2").state == "pending"


def test_a_plate_that_is_refused_too_often_is_for_a_person(at: City) -> None:
    at.etc_plate(answer="refused", reason=7)
    for _ in range(deductions.ATTEMPTS_MAX):
        assert at.deduct("etc").state == "failed"
    assert at.deduct("etc").tried == (Tried(channel="etc", state="none", reason="attempts_exhausted"),)
    assert len(at.states()) == deductions.ATTEMPTS_MAX


def test_what_is_not_there_is_refused(at: City) -> None:
    with pytest.raises(ChargeUnknown):
        at.deduct(serial="S9")
    with pytest.raises(NotFound):
        at.deduct("paypal")
    assert at.deduct("wechat").state == "none"


def test_another_amount_is_suspense_and_nothing_more_is_deducted(at: City) -> None:
    every_plate(at)
    at.deduct()
    with at.db.begin() as tx:  # as if it had been ordered for more than the channel takes
        tx.execute(text("update payments.payment set amount_fen = 1300"))
    at.later(seconds=5)
    made = at.deduct()
    assert made.tried == (Tried(channel="etc", state="unknown", reason="amount_differs"),)
    assert taken(at) == [(SUSPENSE, 1200)]
    with pytest.raises(Conflict) as refused:
        at.deduct()
    assert refused.value.code == "payment_in_suspense"


@pytest.mark.parametrize("kind", ["wrong_amount", "other_merchant"])
def test_a_notice_that_does_not_fit_books_nothing_and_the_query_settles(at: City, kind: str) -> None:
    at.wechat_plate()
    at.enter()
    at.fault("wechat", kind)
    at.deduct("wechat")
    at.later(seconds=5)
    at.deliver()
    assert taken(at) == []
    jobs.run_due(at.till)
    assert taken(at) == [(INCOME, 1200)]
    assert at.deduct().state == "succeeded"


def test_a_failed_deduction_of_wechat_is_told_by_its_notice(at: City) -> None:
    at.wechat_plate(pays="never")
    at.enter()
    assert at.deduct("wechat").state == "pending"
    at.later(seconds=5)
    at.deliver()
    assert (at.states(), taken(at)) == (["failed"], [])


def test_what_wechat_advanced_is_booked_once(at: City) -> None:
    at.wechat_plate(pays="later")
    at.enter()
    at.deduct("wechat")
    at.later(hours=2)
    at.deliver()
    assert taken(at) == [(INCOME, 1200)]


def test_nobody_pays_by_hand_what_is_being_deducted(at: City) -> None:
    at.etc_plate()
    at.deduct()
    with pytest.raises(DeductionUnderWay):
        checkout.start(
            at.till, lot_id=at.lot.lot_id, charge_id=at.charge_id, token="t", channel="wechat", payer=Payer(payer_id="oPayer")
        )
    at.later(seconds=5)
    at.deliver()
    assert taken(at) == [(INCOME, 1200)]
    assert at.sound()


# Refunds


@pytest.mark.parametrize("channel", ["wechat", "alipay", "etc"])
def test_a_deduction_is_refunded_as_any_payment(at: City, channel: str) -> None:
    every_plate(at)
    at.enter()
    at.deduct(channel)
    at.later(seconds=5)
    at.deliver()
    payment_id = at.column("select payment_id from payments.payment where state = 'succeeded'")[0]
    at.later(days=1, hours=6)  # ETC refunds what has been cleared
    at.deliver()
    with at.db.begin() as tx:
        refunds.promise(
            tx, lane=0, payment_id=payment_id, amount_fen=500, source="operator", source_ref="r-1", reason="退款",
            evidence_id=IDS.new(AT, "request"), at=at.clock.now(), ids=IDS,
        )  # fmt: skip
    for _ in range(4):
        refund_jobs.run_due(at.till)
        at.later(hours=2)
        at.deliver()
    assert at.column("select state from payments.refund") == ["done"]
    assert at.sound()


# Helpers


class _Down:
    """A line that goes down after so many calls."""

    def __init__(self, line: Any, *, answers: int) -> None:
        self._line, self._left = line, answers

    def send(self, request: Request, **more: Any) -> Answer | Unanswered:
        if self._left <= 0:
            return Unanswered("timeout")
        self._left -= 1
        answer: Answer | Unanswered = self._line.send(request, **more)
        return answer


def taken(at: City) -> list[tuple[int, int]]:
    """What the book says of money taken: the account that it went to, and how much."""
    return sorted((credit, fen) for _, credit, fen in books(at.db).entries)


def every_plate(at: City) -> None:
    at.wechat_plate()
    at.alipay_plate()
    at.etc_plate()


def without_routes(at: City) -> None:
    with at.db.begin() as tx:
        tx.execute(text("update gateways.merchant_account set valid = tstzrange(lower(valid), :at)"), {"at": AT})


def essence(channel: str, body: str) -> Any:
    """What a deduction asks for, without the envelope that each sending has anew."""
    if channel == "etc":
        message = msgspec.json.decode(body)
        return message["head"]["msgId"], message["body"]
    if channel == "wechat":
        return body
    return parse_qs(body)["biz_content"]


def test_a_payer_and_a_mandate_at_the_same_moment_never_both_begin(at: City) -> None:
    """Whoever holds the charge first begins; the other one is told so, whichever of them it is."""
    at.wechat_plate()
    at.enter()

    def pays(number: int) -> str:
        try:
            if number % 2:
                return at.deduct("wechat").state
            checkout.start(
                at.till, lot_id=at.lot.lot_id, charge_id=at.charge_id, token=f"{number:024d}", channel="wechat",
                payer=Payer(payer_id="oDriver"),
            )  # fmt: skip
        except Conflict as told:
            return told.code
        return "by hand"

    with ThreadPoolExecutor(8) as pool:
        told = set(pool.map(pays, range(16)))
    ways = set(at.column("select way from payments.payment"))
    assert len(ways) == 1, "both a payer and the mandate were let in"
    assert told <= {"by hand", "payment_under_way"} or told <= {"pending", "unknown", "deduction_under_way"}
    assert at.sound()
