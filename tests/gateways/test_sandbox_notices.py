"""The stand-in's notices over real HTTP: schedule, order, and every fault on purpose."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateways import calls
from gateways.contract import (
    ChannelState,
)
from gateways.sandbox.wechat.notify import SCHEDULE_SECONDS
from tests.gateways.conftest import HTTP, MERCHANT_NO, NOW, Play, Played
from tests.gateways.playing import Inbox, arrived, control, inbox, order, pay, prepay, query, read, state


def test_a_paid_order_is_told_until_it_is_taken_by_the_real_schedule_each_time_freshly_signed(play: Play) -> None:
    with inbox(lambda number: 200 if number == 4 else 500) as (url, came):
        played = play(notify_url=url)
        prepay(played, order())
        pay(played, order())
        assert control(played, "deliver") == {"attempts": 1, "accepted": 0, "failed": 1, "waiting": 1}
        assert control(played, "deliver")["attempts"] == 0
        for seconds in (15, 15, 30):
            played.clock.set(played.clock.now() + timedelta(seconds=seconds - 1))
            assert control(played, "deliver")["attempts"] == 0
            played.clock.set(played.clock.now() + timedelta(seconds=1))
            assert control(played, "deliver")["attempts"] == 1
            assert read(played, came[-1]).verdict == "verified"
        assert control(played, "deliver")["waiting"] == 0
    assert len({headers["wechatpay-signature"] for headers, _ in came}) == 4
    assert len({headers["wechatpay-nonce"] for headers, _ in came}) == 4
    assert len({body for _, body in came}) == 1


def test_a_notice_that_is_never_taken_is_given_up_after_a_day(play: Play) -> None:
    with inbox(lambda _: 500) as (url, came):
        played = play(notify_url=url)
        prepay(played, order())
        pay(played, order())
        for seconds in (0, *SCHEDULE_SECONDS):
            played.clock.set(played.clock.now() + timedelta(seconds=seconds))
            assert control(played, "deliver")["attempts"] == 1
        assert control(played, "deliver")["waiting"] == 0
    assert len(came) == 16
    assert sum(SCHEDULE_SECONDS) == 24 * 3600 + 4 * 60


def test_notices_go_out_in_the_order_of_due_time_and_number(play: Play) -> None:
    with inbox(lambda _: 204) as (url, came):
        played = play(notify_url=url)
        for number in (3, 1, 2):
            prepay(played, order(number))
            pay(played, order(number))
        assert control(played, "deliver", limit=2)["waiting"] == 1
        control(played, "deliver")
        results = [read(played, notice).result for notice in came]
    assert [result.order_no for result in results if result] == [order(number).order_no for number in (1, 2, 3)]


def test_notices_go_out_by_themselves_when_they_are_not_sent_by_hand(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url, manual=False)
        prepay(played, order())
        pay(played, order())
        assert arrived(came, 1)
        assert read(played, came[0]).result is not None
        assert HTTP.post(f"{played.url}/_control/deliver").status_code == 409


def test_a_waiting_notice_survives_a_restart(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        first = play(notify_url=url)
        prepay(first, order())
        paid = pay(first, order())
        second = play(notify_url=url)
        assert control(second, "deliver")["accepted"] == 1
        result = read(second, came[0]).result
        assert result is not None
        assert result.trade_no == paid["trade_no"]


def test_the_same_seed_gives_the_same_trade_numbers_and_notices(play: Play, tmp_path: Path) -> None:
    def story(name: str) -> tuple[str, list[bytes], list[str]]:
        with inbox(lambda number: 500 if number == 1 else 200) as (url, came):
            played = play(notify_url=url, state_path=tmp_path / name)
            prepay(played, order())
            paid = pay(played, order())
            control(played, "deliver")
            played.clock.set(NOW + timedelta(seconds=15))
            control(played, "deliver")
        return paid["trade_no"], [body for _, body in came], [headers["wechatpay-signature"] for headers, _ in came]

    first = story("first.db")
    assert len(first[1]) == 2
    assert story("second.db") == first


# Faults


def told(play: Play, *faults: dict[str, Any], until_seconds: int = 0, **changes: Any) -> tuple[Played, Inbox]:
    """One paid order under a fault plan, with every notice due within ``until_seconds`` delivered."""
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url, **changes)
        control(played, "faults", faults=faults)
        prepay(played, order())
        pay(played, order())
        played.clock.set(NOW + timedelta(seconds=until_seconds))
        control(played, "deliver")
        return played, came


def test_never_means_that_only_a_query_finds_the_payment(play: Play) -> None:
    played, came = told(play, {"kind": "never"}, until_seconds=100_000)
    assert came == []
    assert state(played, order()) is ChannelState.SUCCEEDED


def test_late_comes_after_its_seconds(play: Play) -> None:
    assert told(play, {"kind": "late", "seconds": 90}, until_seconds=89)[1] == []


def test_late_comes_in_the_end(play: Play) -> None:
    assert len(told(play, {"kind": "late", "seconds": 90}, until_seconds=90)[1]) == 1


def test_twice_comes_again_although_it_was_taken_with_the_same_content(play: Play) -> None:
    _, came = told(play, {"kind": "twice"}, until_seconds=1)
    assert len(came) == 2
    assert came[0][1] == came[1][1]


def test_out_of_order_comes_some_time_later(play: Play) -> None:
    played, came = told(play, {"kind": "out_of_order"})
    assert came == []
    played.clock.set(NOW + timedelta(seconds=600))
    assert control(played, "deliver")["attempts"] == 1


def test_a_wrong_amount_is_validly_signed_and_the_query_tells_the_truth(play: Play) -> None:
    played, came = told(play, {"kind": "wrong_amount"})
    result, truth = read(played, came[0]).result, query(played, order()).result
    assert result is not None
    assert truth is not None
    assert (result.amount_fen, truth.amount_fen) == (1201, 1200)


def test_another_merchant_is_validly_signed(play: Play) -> None:
    played, came = told(play, {"kind": "other_merchant"})
    result = read(played, came[0]).result
    assert result is not None
    assert result.merchant_no != MERCHANT_NO


@pytest.mark.parametrize("kind", ["wrong_signature", "signtest"])
@pytest.mark.parametrize("mode", ["certificate", "public_key", "mixed"])
def test_a_wrong_signature_is_refused_and_the_next_attempt_is_genuine(play: Play, kind: str, mode: str) -> None:
    with inbox(lambda number: 401 if number == 1 else 200) as (url, came):
        played = play(notify_url=url, signing_mode=mode)
        control(played, "faults", faults=[{"kind": kind}])
        prepay(played, order())
        pay(played, order())
        control(played, "deliver")
        played.clock.set(NOW + timedelta(seconds=15))
        control(played, "deliver")
        assert [read(played, notice).reason for notice in came] == ["signature", None]
    assert ("WECHATPAY/SIGNTEST/" in came[0][0]["wechatpay-signature"]) is (kind == "signtest")


def test_unknown_answers_an_error_although_the_order_is_made(play: Play) -> None:
    played = play()
    control(played, "faults", faults=[{"kind": "unknown", "next": 1}])
    outcome = prepay(played, order())
    assert (outcome.state, outcome.reason) == (ChannelState.UNKNOWN, "unavailable")
    assert state(played, order()) is ChannelState.PENDING
    assert prepay(played, order()).state is ChannelState.PENDING


def test_unknown_with_seconds_answers_later_than_we_wait(play: Play) -> None:
    played = play()
    control(played, "faults", faults=[{"kind": "unknown", "seconds": 4}])
    outcome = prepay(played, order())
    assert (outcome.verdict, outcome.state, outcome.reason) == ("unanswered", ChannelState.UNKNOWN, "timeout")
    assert state(played, order()) is ChannelState.PENDING


def test_a_fault_meets_only_the_orders_it_names_and_only_so_often(play: Play) -> None:
    played = play()
    control(played, "faults", faults=[{"kind": "unknown", "order_like": "P*2", "next": 1}])
    outcomes = [prepay(played, order(number)).state for number in (1, 2, 12)]
    assert outcomes == [ChannelState.PENDING, ChannelState.UNKNOWN, ChannelState.PENDING]


def test_a_share_of_the_orders_is_chosen_by_the_seed(play: Play) -> None:
    played = play()
    control(played, "faults", faults=[{"kind": "unknown", "probability": 0.5}])
    outcomes = [prepay(played, order(number)).state for number in range(1, 21)]
    assert 4 <= outcomes.count(ChannelState.UNKNOWN) <= 16
    assert [prepay(played, order(number)).state for number in range(1, 21)] == outcomes


@pytest.mark.parametrize("body", [b"", b"{", b'{"faults":[{"kind":"flood"}]}', b'{"faults":[{"kind":"late","sec":1}]}'])
def test_a_fault_plan_that_cannot_be_read_is_refused(play: Play, body: bytes) -> None:
    assert HTTP.post(f"{play().url}/_control/faults", content=body).status_code == 400


def test_rotate_key_as_a_fault_rotates_once_and_does_not_stay(play: Play) -> None:
    played = play()
    assert control(played, "faults", faults=[{"kind": "rotate_key"}, {"kind": "never"}]) == {"faults": [{"kind": "never"}]}
    assert calls.refresh_keys(played.line) == 2
