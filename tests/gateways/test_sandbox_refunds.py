"""Our adapter and the stand-in over real HTTP: refunds, their notices, the merchant's console, refunds in the bill, every fault."""

import json
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateways import calls
from gateways.calls import BillFile
from gateways.contract import Answer, Bill, BillAbsent, BillLine, BillRequest, RefundState, Request
from gateways.sandbox.wechat.bill import fee_returned_fen
from gateways.sandbox.wechat.notify import SCHEDULE_SECONDS
from gateways.wechat import sign, wire
from tests.gateways.conftest import HTTP, MERCHANT_NO, NOW, PROVIDER_NO, Play, Played
from tests.gateways.playing import (
    SUBJECT,
    Inbox,
    arrived,
    control,
    inbox,
    later,
    order,
    paid,
    prepay,
    read,
    reference,
    refund,
    refund_order,
    refund_query,
    refund_state,
    refunded,
)

OTHER_MERCHANT_NO = "1620000008"


def takings(played: Played) -> Any:
    return HTTP.get(f"{played.url}/_control/merchants").json()["merchants"][0]


def trade_state(played: Played) -> Any:
    """The channel's own word for the first order."""
    ref = reference(order())
    return json.loads(calls.query(played.line, ref, subject=SUBJECT, occasion="1").message.body)["trade_state"]


def called(played: Played, body: dict[str, Any]) -> tuple[int, Any]:
    """Call for a refund with any body, validly signed."""
    url, keys, content = played.url + wire.REFUND_PATH, played.line.connected.keys, msgspec.json.encode(body)
    signed = sign.authorization(
        provider_no=PROVIDER_NO, method="POST", url=url, body=content, keys=keys, now=played.clock.now(), nonce="n"
    )
    headers = {"accept": "application/json", "user-agent": "test", "content-type": "application/json", "authorization": signed}
    answer = played.transport.send(Request(method="POST", url=url, headers=headers, body=content))
    assert isinstance(answer, Answer)
    return answer.status, json.loads(answer.body)


def body_of(taken: Any, **changes: Any) -> dict[str, Any]:
    """The body of a refund call; None takes a field out."""
    told = {
        "sub_mchid": MERCHANT_NO,
        "transaction_id": taken["trade_no"],
        "out_refund_no": "R-1",
        "amount": {"refund": 400, "total": 1200, "currency": "CNY"},
    }
    return {name: value for name, value in (told | changes).items() if value is not None}


# Asking


def test_a_refund_is_taken_on_at_once_and_done_after_a_minute(play: Play) -> None:
    played = play()
    taken = paid(played)
    wanted = refund_order(taken)
    first = refund(played, wanted)
    assert first.verdict == "verified"
    assert (refunded(first).state, refunded(first).word, refunded(first).happened_at) == (RefundState.PENDING, "PROCESSING", None)
    later(played, 59)
    assert refund_state(played, wanted) is RefundState.PENDING
    later(played, 1)
    done = refunded(refund_query(played, wanted))
    assert (done.state, done.refund_fen, done.happened_at) == (RefundState.DONE, 400, NOW + timedelta(seconds=60))
    assert (done.order_no, done.trade_no, done.merchant_no) == (taken["order_no"], taken["trade_no"], MERCHANT_NO)
    assert done.channel_refund_no == refunded(first).channel_refund_no
    assert done.channel_refund_no is not None
    assert done.channel_refund_no.startswith("5030")
    assert len(done.channel_refund_no) == 29


def test_the_answer_has_the_channels_fields(play: Play) -> None:
    played = play()
    status, first = called(played, body_of(paid(played)))
    assert (status, first["status"], first["channel"]) == (200, "PROCESSING", "ORIGINAL")
    assert first["create_time"] == "2026-03-02T10:00:00+08:00"
    assert "success_time" not in first
    assert first["amount"] == {
        "total": 1200, "refund": 400, "payer_total": 1200, "payer_refund": 400, "settlement_refund": 400, "settlement_total": 1200,
        "refund_fee": 2, "discount_refund": 0, "currency": "CNY", "from": [],
    }  # fmt: skip
    later(played, 60)
    assert called(played, body_of({"trade_no": first["transaction_id"]}))[1]["success_time"] == "2026-03-02T10:01:00+08:00"


def test_the_order_says_refund_once_something_was_refunded(play: Play) -> None:
    played = play()
    taken = paid(played)
    assert trade_state(played) == "SUCCESS"
    refund(played, refund_order(taken))
    assert trade_state(played) == "REFUND"


def test_the_identical_call_again_is_the_same_refund_as_it_stands_and_moves_no_second_money(play: Play) -> None:
    played = play()
    wanted = refund_order(paid(played))
    first = refunded(refund(played, wanted))
    assert refunded(refund(played, wanted)) == first
    later(played, 60)
    again = refunded(refund(played, wanted))
    assert (again.state, again.channel_refund_no) == (RefundState.DONE, first.channel_refund_no)
    assert takings(played)["refunds"] == 1


@pytest.mark.parametrize("change", [{"refund_fen": 300}, {"reason": "其他"}, {"merchant_no": OTHER_MERCHANT_NO}, {"total_fen": 1}])
def test_the_same_number_with_other_content_is_refused(play: Play, change: dict[str, Any]) -> None:
    played = play()
    wanted = refund_order(paid(played))
    refund(played, wanted)
    reading = refund(played, msgspec.structs.replace(wanted, **change))
    assert (reading.verdict, reading.reason, reading.refund) == ("verified", "order_number_taken", None)
    assert takings(played)["refunded_fen"] == 400


def test_an_order_that_is_unknown_unpaid_or_anothers_is_not_found(play: Play) -> None:
    played = play()
    taken = paid(played)
    prepay(played, order(2))
    assert refund(played, refund_order(taken, merchant_no=OTHER_MERCHANT_NO)).reason == "not_found"
    assert refund(played, refund_order(taken, trade_no="4200000000000000000000000000")).reason == "not_found"
    by_order_no = body_of(taken, transaction_id=None)
    for order_no in (order(2).order_no, order(3).order_no):
        status, answer = called(played, by_order_no | {"out_trade_no": order_no})
        assert (status, answer["code"]) == (404, "RESOURCE_NOT_EXISTS")
    assert called(played, body_of(taken, out_trade_no=order(2).order_no))[0] == 404
    assert called(played, by_order_no | {"out_trade_no": order().order_no})[0] == 200
    assert takings(played)["refunds"] == 1


def test_no_more_than_the_order_goes_back_and_all_of_it_can(play: Play) -> None:
    played = play()
    taken = paid(played)
    refund(played, refund_order(taken, 1, refund_fen=500))
    too_much = refund(played, refund_order(taken, 2, refund_fen=701))
    assert (too_much.reason, too_much.refund) == ("order_number_taken", None)
    assert refunded(refund(played, refund_order(taken, 2, refund_fen=700))).state is RefundState.PENDING
    assert refund(played, refund_order(taken, 3, refund_fen=1)).reason == "order_number_taken"
    assert (takings(played)["refunded_fen"], takings(played)["fee_returned_fen"], takings(played)["net_fen"]) == (1200, 7, 0)


def test_another_total_is_refused_for_good(play: Play) -> None:
    played = play()
    assert refunded(refund(played, refund_order(paid(played), total_fen=1201))).state is RefundState.REFUSED


def test_an_order_can_be_refunded_for_365_days(play: Play) -> None:
    played = play()
    taken = paid(played)
    later(played, 365 * 86_400)
    assert refunded(refund(played, refund_order(taken, 1))).state is RefundState.PENDING
    later(played, 1)
    assert refunded(refund(played, refund_order(taken, 2))).state is RefundState.REFUSED


def test_an_order_can_be_refunded_in_fifty_parts(play: Play) -> None:
    played = play()
    taken = paid(played)
    states = {refunded(refund(played, refund_order(taken, number, refund_fen=1))).state for number in range(50)}
    assert states == {RefundState.PENDING}
    assert refunded(refund(played, refund_order(taken, 50, refund_fen=1))).state is RefundState.REFUSED


@pytest.mark.parametrize(
    "change",
    [
        {"sub_mchid": None},
        {"transaction_id": None},
        {"out_refund_no": ""},
        {"out_refund_no": "R#1"},
        {"out_refund_no": "R" * 65},
        {"amount": None},
        {"amount": {"refund": 0, "total": 1200, "currency": "CNY"}},
        {"amount": {"refund": 400, "total": 1200}},
        {"amount": {"refund": 400, "total": 1200, "currency": "USD"}},
        {"reason": "退" * 27},
        {"notify_url": "https://pay.example/n?x=1"},
        {"funds_account": "UNSETTLED"},
    ],
)
def test_a_call_that_breaks_the_form_is_refused(play: Play, change: dict[str, Any]) -> None:
    played = play()
    status, answer = called(played, body_of(paid(played), **change))
    assert (status, answer["code"]) == (400, "PARAM_ERROR")


def test_a_refund_that_never_was_or_is_anothers_is_not_found(play: Play) -> None:
    played = play()
    wanted = refund_order(paid(played))
    assert refund_state(played, wanted) is RefundState.NOT_FOUND
    refund(played, wanted)
    assert refund_state(played, msgspec.structs.replace(wanted, merchant_no=OTHER_MERCHANT_NO)) is RefundState.NOT_FOUND


def test_a_refund_query_without_a_merchant_is_refused(play: Play) -> None:
    played = play()
    url, keys = f"{played.url}{wire.REFUND_PATH}/R1", played.line.connected.keys
    signed = sign.authorization(provider_no=PROVIDER_NO, method="GET", url=url, body=b"", keys=keys, now=NOW, nonce="n")
    headers = {"accept": "application/json", "user-agent": "test", "authorization": signed}
    assert HTTP.get(url, headers=headers).json()["code"] == "PARAM_ERROR"
    assert HTTP.get(url, headers=headers | {"authorization": signed.replace("n", "m")}).json()["code"] == "SIGN_ERROR"


def test_the_pause_between_refunds_of_an_order_is_kept_when_it_is_asked_for(play: Play) -> None:
    played = play(refund_gap_seconds=60)
    taken = paid(played)
    refund(played, refund_order(taken, 1))
    soon = refund(played, refund_order(taken, 2))
    assert (soon.reason, refunded(soon).state) == ("rate_limited", RefundState.LATER)
    later(played, 60)
    assert refunded(refund(played, refund_order(taken, 2))).state is RefundState.PENDING


def test_yesterdays_takings_are_settled_so_a_checked_balance_may_be_too_low(play: Play) -> None:
    played = play(check_balance=True)
    taken = paid(played)
    assert refunded(refund(played, refund_order(taken, 1, refund_fen=200))).state is RefundState.PENDING
    later(played, 86_400)
    low = refund(played, refund_order(taken, 2, refund_fen=1000))
    assert (low.reason, refunded(low).state) == ("balance_low", RefundState.LATER)
    paid(played, 2, amount_fen=900, expires_at=played.clock.now() + timedelta(minutes=15))
    assert refunded(refund(played, refund_order(taken, 2, refund_fen=1000))).state is RefundState.LATER
    paid(played, 3, amount_fen=100, expires_at=played.clock.now() + timedelta(minutes=15))
    assert refunded(refund(played, refund_order(taken, 2, refund_fen=1000))).state is RefundState.PENDING


def test_a_refund_runs_faster_with_the_time_factor(play: Play) -> None:
    played = play(time_factor=60.0)
    wanted = refund_order(paid(played))
    refund(played, wanted)
    later(played, 1)
    assert refund_state(played, wanted) is RefundState.DONE


def test_the_commission_comes_back_in_proportion_and_the_last_part_brings_the_rest(play: Play) -> None:
    played = play()
    taken = paid(played)
    back = []
    for number, amount_fen in enumerate((100, 350, 750)):
        refund(played, refund_order(taken, number, refund_fen=amount_fen))
        back.append(takings(played)["fee_returned_fen"])
    assert back == [1, 3, 7]


@pytest.mark.parametrize(
    ("refund_fen", "left_fen", "fee_left_fen", "back"),
    [(1, 1200, 7, 0), (1200, 1200, 7, 7), (50, 100, 1, 0), (50, 100, 3, 2), (50, 100, 5, 2), (51, 100, 1, 1), (1, 1, 0, 0)],
)
def test_a_part_of_the_commission_is_rounded_half_to_even(refund_fen: int, left_fen: int, fee_left_fen: int, back: int) -> None:
    assert fee_returned_fen(refund_fen, left_fen=left_fen, fee_left_fen=fee_left_fen) == back


# Notices


def told(play: Play, *faults: dict[str, Any], until_seconds: float = 60, **changes: Any) -> tuple[Played, Inbox]:
    """One refund under a fault plan, with every notice of it that is due within ``until_seconds`` delivered."""
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url, **changes)
        taken = paid(played)
        control(played, "deliver")
        came.clear()
        control(played, "faults", faults=faults)
        refund(played, refund_order(taken))
        later(played, until_seconds)
        control(played, "deliver")
        return played, came


def states(played: Played, came: Inbox) -> list[RefundState]:
    return [refunded(read(played, notice)).state for notice in came]


def truth(played: Played) -> RefundState:
    """What the query says of the refund of ``told``."""
    return refund_state(played, refund_order({"order_no": order().order_no, "trade_no": "", "amount_fen": 1200}))


def test_the_notice_of_a_success_is_read_as_a_refund(play: Play) -> None:
    played, came = told(play)
    reading = read(played, came[0])
    result = refunded(reading)
    assert (reading.verdict, reading.result) == ("verified", None)
    assert (result.state, result.refund_fen, result.happened_at) == (RefundState.DONE, 400, NOW + timedelta(seconds=60))
    assert (result.refund_no, result.order_no) == (f"R{1:027d}", order().order_no)
    assert (result.provider_no, result.merchant_no) == (PROVIDER_NO, MERCHANT_NO)
    assert result.channel_refund_no is not None
    assert json.loads(came[0][1])["event_type"] == "REFUND.SUCCESS"
    assert json.loads(came[0][1])["resource"]["original_type"] == "refund"


def test_no_notice_comes_before_the_refund_has_ended(play: Play) -> None:
    assert told(play, until_seconds=59)[1] == []


def test_a_refund_notice_comes_again_by_the_schedule_freshly_signed_until_it_is_taken(play: Play) -> None:
    with inbox(lambda number: 200 if number == 3 else 500) as (url, came):
        played = play(notify_url=url)
        control(played, "faults", faults=[{"kind": "never"}])
        refund(played, refund_order(paid(played)))
        for seconds in (60, *SCHEDULE_SECONDS[:2]):
            later(played, seconds)
            assert control(played, "deliver")["attempts"] == 1
            assert refunded(read(played, came[-1])).state is RefundState.DONE
        assert control(played, "deliver")["waiting"] == 0
    assert len({body for _, body in came}) == 1
    assert len({headers["wechatpay-signature"] for headers, _ in came}) == 3


def test_refund_notices_go_out_in_the_order_of_due_time_and_order_number(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url)
        taken = {number: paid(played, number) for number in (2, 1)}
        control(played, "deliver")
        came.clear()
        for number in (2, 1):
            refund(played, refund_order(taken[number], number))
        later(played, 60)
        assert control(played, "deliver", limit=1)["waiting"] == 1
        control(played, "deliver")
    assert [refunded(read(played, notice)).order_no for notice in came] == [order(1).order_no, order(2).order_no]


def test_refund_notices_go_out_by_themselves_when_they_are_not_sent_by_hand(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url, manual=False, refund_seconds=0.0)
        refund(played, refund_order(paid(played)))
        assert arrived(came, 2)
        ended = [reading.refund.state for notice in came if (reading := read(played, notice)).refund is not None]
    assert ended == [RefundState.DONE]


def test_refunds_survive_a_restart_with_their_notices(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        first = play(notify_url=url)
        wanted = refund_order(paid(first))
        control(first, "deliver")
        made = refunded(refund(first, wanted))
        second = play(notify_url=url)
        later(second, 60)
        assert control(second, "deliver")["accepted"] == 1
        done = refunded(read(second, came[-1]))
        assert (done.state, done.channel_refund_no) == (RefundState.DONE, made.channel_refund_no)
        assert refund_state(second, wanted) is RefundState.DONE
        assert refunded(refund(second, wanted)).state is RefundState.DONE
    assert takings(second)["refunds"] == 1


def test_the_same_seed_gives_the_same_refund_numbers_and_notices(play: Play, tmp_path: Path) -> None:
    def story(name: str) -> tuple[str | None, list[bytes], str]:
        with inbox(lambda _: 200) as (url, came):
            played = play(notify_url=url, state_path=tmp_path / name)
            taken = paid(played)
            made = refunded(refund(played, refund_order(taken)))
            by_hand = control(played, "refund", order_no=taken["order_no"])
            later(played, 60)
            control(played, "deliver")
        return made.channel_refund_no, [body for _, body in came], by_hand["refund_no"]

    assert story("first.db") == story("second.db")


def test_a_call_without_an_address_for_notices_brings_none(play: Play) -> None:
    played = play()
    assert called(played, body_of(paid(played)))[0] == 200
    later(played, 60)
    assert control(played, "deliver")["attempts"] == 1  # the payment's own


# Faults


def test_refund_error_makes_nothing_and_the_next_call_does(play: Play) -> None:
    played = play()
    wanted = refund_order(paid(played))
    control(played, "faults", faults=[{"kind": "refund_error", "next": 1}])
    reading = refund(played, wanted)
    assert (reading.reason, reading.refund) == ("unavailable", None)
    assert refund_state(played, wanted) is RefundState.NOT_FOUND
    assert refunded(refund(played, wanted)).state is RefundState.PENDING


def test_refund_unknown_answers_an_error_although_the_refund_is_made(play: Play) -> None:
    played = play()
    wanted = refund_order(paid(played))
    control(played, "faults", faults=[{"kind": "refund_unknown", "next": 1}])
    reading = refund(played, wanted)
    assert (reading.reason, reading.refund) == ("unavailable", None)
    assert refund_state(played, wanted) is RefundState.PENDING
    assert refunded(refund(played, wanted)).state is RefundState.PENDING
    assert takings(played)["refunds"] == 1


def test_refund_unknown_with_seconds_answers_later_than_we_wait(play: Play) -> None:
    played = play()
    wanted = refund_order(paid(played))
    control(played, "faults", faults=[{"kind": "refund_unknown", "seconds": 4}])
    reading = refund(played, wanted)
    assert (reading.verdict, reading.reason, reading.refund) == ("unanswered", "timeout", None)
    assert refund_state(played, wanted) is RefundState.PENDING


def test_refund_not_enough_comes_so_many_times_and_then_the_same_number_is_carried_out(play: Play) -> None:
    played = play()
    wanted = refund_order(paid(played))
    control(played, "faults", faults=[{"kind": "refund_not_enough", "next": 2}])
    came = [refunded(refund(played, wanted)).state for _ in range(3)]
    assert came == [RefundState.LATER, RefundState.LATER, RefundState.PENDING]
    assert takings(played)["refunds"] == 1


def test_a_closed_refund_leaves_the_money_and_a_new_number_takes_it(play: Play) -> None:
    played, came = told(play, {"kind": "refund_closed", "next": 1})
    assert states(played, came) == [RefundState.CLOSED]
    assert truth(played) is RefundState.CLOSED
    assert trade_state(played) == "SUCCESS"
    assert (takings(played)["refunds"], takings(played)["net_fen"]) == (0, 1193)
    trade_no = refunded(read(played, came[0])).trade_no
    whole = refund_order({"order_no": order().order_no, "trade_no": trade_no, "amount_fen": 1200}, 2, refund_fen=1200)
    assert refunded(refund(played, whole)).state is RefundState.PENDING


def test_an_abnormal_refund_is_stuck_and_its_money_is_not_refunded_again(play: Play) -> None:
    played, came = told(play, {"kind": "refund_abnormal"})
    assert states(played, came) == [RefundState.STUCK]
    assert refunded(read(played, came[0])).happened_at is None
    assert truth(played) is RefundState.STUCK
    assert takings(played)["refunded_fen"] == 400


def test_a_success_may_fail_later_and_a_second_notice_says_so(play: Play) -> None:
    played, came = told(play, {"kind": "refund_fails_later"})
    assert (states(played, came), truth(played)) == ([RefundState.DONE], RefundState.DONE)
    later(played, 3599)
    assert control(played, "deliver")["attempts"] == 0
    assert truth(played) is RefundState.DONE
    later(played, 1)
    assert control(played, "deliver")["attempts"] == 1
    assert truth(played) is RefundState.STUCK


def test_the_notice_of_a_later_failure_is_read_as_stuck(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url)
        taken = paid(played)
        control(played, "faults", faults=[{"kind": "refund_fails_later", "seconds": 90}])
        refund(played, refund_order(taken))
        later(played, 150)
        control(played, "deliver")
    assert [json.loads(body)["event_type"] for _, body in came] == ["TRANSACTION.SUCCESS", "REFUND.SUCCESS", "REFUND.ABNORMAL"]
    assert states(played, came[1:]) == [RefundState.DONE, RefundState.STUCK]


def test_refund_never_means_that_only_a_query_finds_the_end(play: Play) -> None:
    played, came = told(play, {"kind": "refund_never"}, until_seconds=100_000)
    assert came == []
    assert truth(played) is RefundState.DONE


def test_refund_twice_comes_again_although_it_was_taken_with_the_same_content(play: Play) -> None:
    _, came = told(play, {"kind": "refund_twice"}, until_seconds=61)
    assert len(came) == 2
    assert came[0][1] == came[1][1]


@pytest.mark.parametrize(("until_seconds", "count"), [(149, 0), (150, 1)])
def test_refund_late_comes_after_its_seconds(play: Play, until_seconds: int, count: int) -> None:
    assert len(told(play, {"kind": "refund_late", "seconds": 90}, until_seconds=until_seconds)[1]) == count


def test_faults_of_payments_do_not_touch_refunds_nor_the_other_way_round(play: Play) -> None:
    played, came = told(play, {"kind": "never"}, {"kind": "wrong_signature", "attempts": 0}, {"kind": "unknown"})
    assert states(played, came) == [RefundState.DONE]
    control(played, "faults", faults=[{"kind": "refund_never"}, {"kind": "refund_error"}])
    paid(played, 2, expires_at=played.clock.now() + timedelta(minutes=15))
    assert control(played, "deliver")["attempts"] == 1


def test_a_share_of_the_refunds_is_chosen_by_their_own_numbers(play: Play) -> None:
    played = play()
    taken = paid(played)
    control(played, "faults", faults=[{"kind": "refund_not_enough", "probability": 0.5, "order_like": "P*1"}])
    came = [refunded(refund(played, refund_order(taken, number, refund_fen=1))).state for number in range(20)]
    assert 4 <= came.count(RefundState.LATER) <= 16
    again = [refunded(refund(played, refund_order(taken, number, refund_fen=1))).state for number in range(20)]
    assert again == came


# The merchant's console


def console(played: Played, merchant_no: str = MERCHANT_NO) -> str:
    return f"{played.url}/console/{merchant_no}"


def press(played: Played, merchant_no: str = MERCHANT_NO, **form: str) -> Any:
    return HTTP.post(f"{console(played, merchant_no)}/refund", data=form)


def test_the_console_lists_paid_orders_with_a_form_and_refunds_with_their_state(play: Play) -> None:
    played = play()
    control(played, "merchants", merchants=[{"merchant_no": MERCHANT_NO, "name": "无锡太湖<停车>"}])
    taken = paid(played, description="停车费 <b>太湖</b>")
    prepay(played, order(2))
    page = HTTP.get(console(played))
    assert page.status_code == 200
    assert "无锡太湖&lt;停车&gt;" in page.text
    assert "停车费 &lt;b&gt;太湖&lt;/b&gt;" in page.text
    assert 'name="viewport"' in page.text
    assert 'value="12.00"' in page.text
    assert (taken["trade_no"] in page.text, order(2).order_no in page.text) == (True, False)
    assert "没有退款" in page.text
    assert "script" not in page.text
    refund(played, refund_order(taken))
    page = HTTP.get(console(played))
    assert ("处理中" in page.text, 'value="8.00"' in page.text, "可退金额" in page.text) == (True, True, True)
    later(played, 60)
    assert "已退款" in HTTP.get(console(played)).text


def test_the_console_refunds_a_part_and_then_the_rest(play: Play) -> None:
    played = play()
    taken = paid(played)
    answer = press(played, order_no=taken["order_no"], amount=" 5.5 ")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/console/{MERCHANT_NO}")
    assert takings(played)["refunded_fen"] == 550
    assert press(played, order_no=taken["order_no"], amount="6.50").status_code == 303
    page = HTTP.get(console(played)).text
    assert '<button class="pay"' not in page
    assert takings(played)["net_fen"] == 0


def test_a_refund_from_the_console_has_its_own_number_sends_no_notice_and_is_found_by_query(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url)
        taken = paid(played)
        control(played, "deliver")
        press(played, order_no=taken["order_no"], amount="4")
        later(played, 100_000)
        assert control(played, "deliver")["attempts"] == 0
    assert len(came) == 1
    connection = sqlite3.connect(played.sandbox.desk.config.state_path)
    refund_no = connection.execute("select refund_no from refund").fetchone()[0]
    connection.close()
    assert refund_no.startswith("CONSOLE20260302")
    found = refunded(refund_query(played, refund_order(taken, refund_no=refund_no)))
    assert (found.state, found.refund_fen, found.order_no) == (RefundState.DONE, 400, taken["order_no"])
    assert trade_state(played) == "REFUND"


@pytest.mark.parametrize(
    ("form", "status", "words"),
    [
        ({"amount": "12.01"}, 400, "超过订单可退金额"),
        ({"amount": "0"}, 400, "金额不正确"),
        ({"amount": "1.005"}, 400, "金额不正确"),
        ({"amount": "-1"}, 400, "金额不正确"),
        ({"amount": ""}, 400, "金额不正确"),
        ({"amount": "1", "order_no": "P<none>"}, 404, "订单不存在或未支付"),
        ({"amount": "1", "order_no": ""}, 404, "订单不存在或未支付"),
        ({"amount": "1", "order_no": order(2).order_no}, 404, "订单不存在或未支付"),
    ],
)
def test_the_console_says_what_it_does_not_do(play: Play, form: dict[str, str], status: int, words: str) -> None:
    played = play()
    taken = paid(played)
    prepay(played, order(2))
    answer = press(played, **({"order_no": taken["order_no"]} | form))
    assert (answer.status_code, words in answer.text) == (status, True)
    assert "P<none>" not in answer.text
    assert takings(played)["refunds"] == 0


def test_a_console_refunds_only_its_own_merchants_orders(play: Play) -> None:
    played = play()
    taken = paid(played)
    assert press(played, OTHER_MERCHANT_NO, order_no=taken["order_no"], amount="1").status_code == 404
    page = HTTP.get(console(played, OTHER_MERCHANT_NO))
    assert (page.status_code, "没有已支付的订单" in page.text) == (200, True)


def test_an_older_order_is_found_by_its_number(play: Play) -> None:
    played = play()
    for number in range(1, 53):
        paid(played, number)
        later(played, 1)
    assert order(1).order_no not in HTTP.get(console(played)).text
    page = HTTP.get(console(played), params={"order_no": order(1).order_no}).text
    assert f'name="order_no" value="{order(1).order_no}"' in page
    assert order(52).order_no not in page


def test_the_control_route_refunds_as_the_console_does(play: Play) -> None:
    played = play()
    taken = paid(played)
    by_hand = control(played, "refund", order_no=taken["order_no"], amount_fen=300)
    assert (by_hand["order_no"], by_hand["amount_fen"], by_hand["accepted_at"]) == (taken["order_no"], 300, "2026-03-02T02:00:00Z")
    assert by_hand["refund_no"].startswith("CONSOLE")
    rest = control(played, "refund", order_no=taken["order_no"])
    assert rest["amount_fen"] == 900
    assert rest["refund_no"] != by_hand["refund_no"]
    url = f"{played.url}/_control/refund"
    assert HTTP.post(url, json={"order_no": taken["order_no"]}).status_code == 409
    prepay(played, order(2))
    for order_no in ("P0", order(2).order_no):
        assert HTTP.post(url, json={"order_no": order_no, "amount_fen": 1}).status_code == 404
    assert HTTP.post(url, json={"order_no": taken["order_no"], "amount_fen": 0}).status_code == 400
    assert takings(played) == {
        "merchant_no": MERCHANT_NO, "name": "", "payments": 1, "taken_fen": 1200, "fee_fen": 7,
        "refunds": 2, "refunded_fen": 1200, "fee_returned_fen": 7, "net_fen": 0,
    }  # fmt: skip


# Bills


def bill_file(played: Played, bill_on: date = date(2026, 3, 2), **changes: Any) -> bytes:
    outcome = calls.bill(played.line, BillRequest(bill_on=bill_on, **changes), occasion="1").outcome
    assert isinstance(outcome, BillFile), outcome
    return outcome.content


def bill(played: Played, bill_on: date = date(2026, 3, 2), **changes: Any) -> Bill:
    return played.line.connected.channel.parse_bill(
        bill_file(played, bill_on, **changes), bill=BillRequest(bill_on=date(2026, 3, 2))
    )


def a_day_with_a_refund(play: Play, *faults: dict[str, Any]) -> Played:
    """Two payments; an hour later the first is partly refunded; the day after at 10:00."""
    played = play()
    taken = paid(played)
    paid(played, 2, amount_fen=500)
    control(played, "faults", faults=faults)
    later(played, 3600)
    refund(played, refund_order(taken))
    played.clock.set(NOW + timedelta(days=1))
    return played


def refund_lines(found: Bill) -> list[BillLine]:
    return [line for line in found.lines if line.kind == "refund"]


def test_the_days_bill_lists_payments_and_refunds_with_sums_that_hold(play: Play) -> None:
    played = a_day_with_a_refund(play)
    found = bill(played)
    assert [line.kind for line in found.lines] == ["payment", "payment", "refund"]
    line = found.lines[2]
    assert (line.refund_no, line.order_no, line.merchant_no) == ("R" + f"{1:027d}", order().order_no, MERCHANT_NO)
    assert (line.amount_fen, line.fee_fen, line.refund_state) == (400, -2, RefundState.DONE)
    assert line.happened_at == NOW + timedelta(hours=1)
    assert line.trade_no == found.lines[0].trade_no
    assert (found.total_fen, found.refund_fen, found.fee_fen) == (1700, 400, 7 + 3 - 2)
    assert len(refund_lines(bill(played, merchant_no=MERCHANT_NO))) == 1


def test_the_form_success_lists_payments_alone_and_the_form_refund_refunds_alone(play: Play) -> None:
    played = a_day_with_a_refund(play)
    success, back = bill(played, form="success"), bill(played, form="refund")
    assert ([line.kind for line in success.lines], success.total_fen, success.fee_fen) == (["payment", "payment"], 1700, 10)
    assert [line.kind for line in back.lines] == ["refund"]
    assert (back.total_fen, back.refund_fen, back.fee_fen) == (0, 400, -2)
    assert back.lines[0] == msgspec.structs.replace(refund_lines(bill(played))[0], line=1)


def cells(content: bytes, row: int) -> dict[str, str]:
    lines = content.decode("utf-8-sig").split("\r\n")
    return dict(zip(lines[0].split(","), lines[row][1:].split(",`"), strict=True))


def test_a_refunds_row_has_the_channels_columns(play: Play) -> None:
    played = a_day_with_a_refund(play)
    row, payment = cells(bill_file(played), 3), cells(bill_file(played), 1)
    changed = {name: value for name, value in row.items() if payment[name] != value}
    number = changed.pop("微信退款单号")
    assert number.startswith("5030")
    assert changed == {
        "交易时间": "2026-03-02 11:00:00", "交易状态": "REFUND", "应结订单金额": "0.00", "商户退款单号": f"R{1:027d}",
        "退款金额": "4.00", "退款类型": "ORIGINAL", "退款状态": "SUCCESS", "手续费": "-0.02000", "订单金额": "0.00",
        "申请退款金额": "4.00",
    }  # fmt: skip
    of_form = cells(bill_file(played, form="refund"), 1)
    assert len(of_form) == 29
    assert (of_form["交易时间"], of_form["退款申请时间"], of_form["退款成功时间"]) == (
        "2026-03-02 10:00:00", "2026-03-02 11:00:00", "2026-03-02 11:01:00"
    )  # fmt: skip
    assert len(cells(bill_file(played, form="success"), 1)) == 20


def test_a_refund_of_an_earlier_days_order_is_in_the_bill_of_the_day_it_was_accepted(play: Play) -> None:
    played = play()
    taken = paid(played)
    played.clock.set(datetime(2026, 3, 3, 15, 59, 59, tzinfo=UTC))
    refund(played, refund_order(taken))
    played.clock.set(datetime(2026, 3, 5, 2, 0, tzinfo=UTC))
    assert [line.kind for line in bill(played).lines] == ["payment"]
    on_its_day = bill(played, date(2026, 3, 3))
    assert [(line.kind, line.order_no, line.amount_fen) for line in on_its_day.lines] == [("refund", taken["order_no"], 400)]
    assert (on_its_day.total_fen, on_its_day.refund_fen, on_its_day.fee_fen) == (0, 400, -2)
    for wanted in (
        BillRequest(bill_on=date(2026, 3, 2), form="refund"),
        BillRequest(bill_on=date(2026, 3, 3), form="success"),
        BillRequest(bill_on=date(2026, 3, 4)),
    ):
        assert calls.bill(played.line, wanted, occasion="1").outcome == BillAbsent(reason="empty")


@pytest.mark.parametrize(("fault", "state"), [("refund_closed", RefundState.CLOSED), ("refund_abnormal", RefundState.STUCK)])
def test_the_bill_says_what_became_of_a_refund(play: Play, fault: str, state: RefundState) -> None:
    played = a_day_with_a_refund(play, {"kind": fault})
    assert [(line.amount_fen, line.refund_state) for line in refund_lines(bill(played))] == [(400, state)]
    assert cells(bill_file(played, form="refund"), 1)["退款成功时间"] == ""


def test_the_bill_tells_a_refunds_state_as_it_was_when_the_bill_was_made(play: Play) -> None:
    played = play(refund_seconds=3 * 86_400.0)
    refund(played, refund_order(paid(played)))
    played.clock.set(NOW + timedelta(days=5))
    assert [line.refund_state for line in refund_lines(bill(played))] == [RefundState.PENDING]


def test_a_refund_from_the_console_is_in_the_bill_so_that_it_can_be_adopted(play: Play) -> None:
    played = play()
    by_hand = control(played, "refund", order_no=paid(played)["order_no"], amount_fen=300)
    played.clock.set(NOW + timedelta(days=1))
    assert [(line.refund_no, line.amount_fen) for line in refund_lines(bill(played))] == [(by_hand["refund_no"], 300)]


def test_a_state_file_from_before_there_were_refunds_is_taken_up(play: Play, tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "sandbox.db")
    old.execute(
        """create table notice (
            notice_id text primary key, order_no text not null, due_at integer not null, attempts integer not null default 0,
            state text not null default 'waiting', faults blob not null) without rowid"""
    )
    old.commit()
    old.close()
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url)
        refund(played, refund_order(paid(played)))
        later(played, 60)
        assert control(played, "deliver")["accepted"] == 2
    assert states(played, came[1:]) == [RefundState.DONE]
