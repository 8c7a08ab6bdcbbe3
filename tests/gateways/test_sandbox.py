"""Our adapter and the stand-in over real HTTP: each side signs and verifies for real."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from gateways import calls
from gateways.calls import BillFile
from gateways.contract import (
    Answer,
    BillAbsent,
    BillRefused,
    BillRequest,
    ChannelState,
    OrderRef,
    PrepayOrder,
    PrepayOutcome,
    Reading,
    Request,
)
from gateways.keys import KeyRing, VerificationKey
from gateways.sandbox.notify import SCHEDULE_SECONDS
from gateways.sandbox.signing import Pair
from ledger.ids import RandomIds
from tests.gateways.conftest import APP_ID, HTTP, MERCHANT_NO, NOW, PROVIDER_NO, Play, Played

SUBJECT = RandomIds().new(NOW, "payment")


def order(number: int = 1, **changes: Any) -> PrepayOrder:
    given: dict[str, Any] = {
        "order_no": f"P{number:027d}",
        "merchant_no": MERCHANT_NO,
        "description": "停车费 太湖广场停车场",
        "amount_fen": 1200,
        "payer_id": "oPayer",
        "expires_at": NOW + timedelta(minutes=15),
    }
    return PrepayOrder(**(given | changes))


def prepay(played: Played, wanted: PrepayOrder) -> PrepayOutcome:
    return calls.prepay(played.line, wanted, subject=SUBJECT, occasion="1").outcome


def query(played: Played, wanted: PrepayOrder) -> Reading:
    ref = OrderRef(order_no=wanted.order_no, merchant_no=wanted.merchant_no)
    return calls.query(played.line, ref, subject=SUBJECT, occasion="1").outcome


def close(played: Played, wanted: PrepayOrder) -> ChannelState:
    ref = OrderRef(order_no=wanted.order_no, merchant_no=wanted.merchant_no)
    return calls.close(played.line, ref, subject=SUBJECT, occasion="1").outcome.state


def control(played: Played, path: str, **body: Any) -> Any:
    answer = HTTP.post(f"{played.url}/_control/{path}", content=msgspec.json.encode(body))
    assert answer.status_code in (200, 204), answer.text
    return answer.json() if answer.content else None


def pay(played: Played, wanted: PrepayOrder) -> Any:
    return control(played, "pay", order_no=wanted.order_no)


def state(played: Played, wanted: PrepayOrder) -> ChannelState:
    result = query(played, wanted).result
    assert result is not None
    return result.state


Inbox = list[tuple[dict[str, str], bytes]]


@contextmanager
def inbox(answer: Callable[[int], int]) -> Iterator[tuple[str, Inbox]]:
    """A receiver of notices; ``answer`` gives the status for the n-th one (from 1)."""
    came: Inbox = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(answer(len(came)))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/callbacks/wechat", came
        finally:
            server.shutdown()
            thread.join()


def read(played: Played, notice: tuple[dict[str, str], bytes]) -> Reading:
    channel, keys = played.line.connected.channel, played.line.connected.keys
    return channel.parse_callback(notice[0], notice[1], keys=keys, now=played.clock.now())


# Orders


def test_an_order_is_made_paid_and_found_by_query(play: Play) -> None:
    played = play()
    outcome = prepay(played, order())
    assert (outcome.verdict, outcome.state) == ("verified", ChannelState.PENDING)
    assert outcome.hand_off is not None
    assert outcome.hand_off.fields["package"].startswith("prepay_id=wx20260302100000")
    assert state(played, order()) is ChannelState.PENDING
    paid = pay(played, order())
    result = query(played, order()).result
    assert result is not None
    assert (result.state, result.amount_fen, result.currency) == (ChannelState.SUCCEEDED, 1200, "CNY")
    assert (result.trade_no, result.happened_at) == (paid["trade_no"], NOW)
    assert (result.provider_no, result.merchant_no, result.order_no) == (PROVIDER_NO, MERCHANT_NO, order().order_no)


def test_the_call_up_parameters_are_signed_by_us(play: Play, fresh_pair: Pair) -> None:
    hand_off = prepay(play(), order()).hand_off
    assert hand_off is not None
    told = hand_off.fields
    message = f"{told['appId']}\n{told['timeStamp']}\n{told['nonceStr']}\n{told['package']}\n".encode()
    assert VerificationKey(serial="", public_key=fresh_pair.merchant_key.public_key()).verifies(message, told["paySign"])
    assert (told["signType"], told["appId"]) == ("RSA", APP_ID)


def test_the_call_leaves_evidence_of_request_and_answer(play: Play) -> None:
    message = calls.prepay(play().line, order(), subject=SUBJECT, occasion="1").message
    assert (message.direction, message.verdict, message.operation, message.subject) == ("out", "verified", "prepay", SUBJECT)
    assert b'"prepay_id"' in message.body
    assert message.request is not None
    assert message.request.startswith(b"POST http://127.0.0.1")
    assert b"authorization" not in message.request.lower()
    assert "wechatpay-signature" in message.headers


def test_the_identical_order_again_gives_a_fresh_prepay_id_and_one_payment(play: Play) -> None:
    played = play()
    first, second = prepay(played, order()).hand_off, prepay(played, order()).hand_off
    assert first is not None
    assert second is not None
    assert first.fields["package"] != second.fields["package"]
    old = first.fields["package"].removeprefix("prepay_id=")
    assert control(played, "pay", prepay_id=old)["order_no"] == order().order_no
    assert HTTP.post(f"{played.url}/_control/pay", json={"order_no": order().order_no}).status_code == 409


@pytest.mark.parametrize("change", [{"amount_fen": 1300}, {"merchant_no": "1620000008"}, {"payer_id": "oOther"}, {"attach": "x"}])
def test_the_same_number_with_other_content_is_not_ordered(play: Play, change: dict[str, Any]) -> None:
    played = play()
    prepay(played, order())
    outcome = prepay(played, order(**change))
    assert (outcome.state, outcome.reason, outcome.hand_off) == (ChannelState.UNKNOWN, "order_number_taken", None)


def test_a_paid_number_cannot_be_ordered_again(play: Play) -> None:
    played = play()
    prepay(played, order())
    pay(played, order())
    outcome = prepay(played, order())
    assert (outcome.verdict, outcome.state, outcome.reason) == ("verified", ChannelState.UNKNOWN, "order_paid")


def test_a_closed_order_cannot_be_paid_or_ordered_again_and_closing_repeats(play: Play) -> None:
    played = play()
    prepay(played, order())
    assert close(played, order()) is ChannelState.CLOSED
    assert close(played, order()) is ChannelState.CLOSED
    assert state(played, order()) is ChannelState.CLOSED
    assert HTTP.post(f"{played.url}/_control/pay", json={"order_no": order().order_no}).json()["reason"].startswith("ORDER_CLOSED")
    assert prepay(played, order()).state is ChannelState.CLOSED


def test_a_paid_order_cannot_be_closed(play: Play) -> None:
    played = play()
    prepay(played, order())
    pay(played, order())
    assert close(played, order()) is ChannelState.UNKNOWN
    assert state(played, order()) is ChannelState.SUCCEEDED


def test_an_order_that_never_was_is_not_found(play: Play) -> None:
    played = play()
    reading = query(played, order())
    assert (reading.verdict, state(played, order())) == ("verified", ChannelState.NOT_FOUND)
    assert close(played, order()) is ChannelState.NOT_FOUND


def test_an_order_of_another_merchant_is_not_found(play: Play) -> None:
    played = play()
    prepay(played, order())
    assert state(played, order(merchant_no="1620000008")) is ChannelState.NOT_FOUND


def test_nobody_can_pay_after_the_last_moment_but_the_order_is_not_closed_by_itself(play: Play) -> None:
    played = play()
    prepay(played, order())
    played.clock.set(NOW + timedelta(minutes=15))
    assert HTTP.post(f"{played.url}/_control/pay", json={"order_no": order().order_no}).status_code == 409
    assert state(played, order()) is ChannelState.PENDING


def test_only_the_payer_who_ordered_can_pay(play: Play) -> None:
    played = play()
    prepay(played, order())
    answer = HTTP.post(f"{played.url}/_control/pay", json={"order_no": order().order_no, "openid": "oOther"})
    assert answer.json()["reason"].startswith("OPENID_MISMATCH")
    assert control(played, "pay", order_no=order().order_no, openid="oPayer")["amount_fen"] == 1200


@pytest.mark.parametrize(
    "change",
    [
        {"amount_fen": 0},
        {"order_no": "P-1"},
        {"order_no": "P" * 33},
        {"merchant_no": PROVIDER_NO},
        {"merchant_no": "abc"},
        {"description": ""},
        {"payer_id": ""},
    ],
)
def test_an_order_that_breaks_the_rules_is_refused_for_good(play: Play, change: dict[str, Any]) -> None:
    outcome = prepay(play(), order(**change))
    assert (outcome.state, outcome.reason, outcome.verdict) == (ChannelState.FAILED, "call_refused", "verified")


def test_a_description_with_characters_the_channel_refuses_is_made_fit(play: Play) -> None:
    assert prepay(play(), order(description="停车🚗\n" + "长" * 200)).state is ChannelState.PENDING


def test_an_operators_own_app_id_is_used_with_the_payers_id_under_it(play: Play) -> None:
    played = play()
    outcome = prepay(played, order(sub_app_id="wx9999999999999999"))
    assert outcome.hand_off is not None
    assert outcome.hand_off.fields["appId"] == "wx9999999999999999"


# Signatures of requests


@pytest.mark.parametrize("change", ["body", "path", "query", "method", "old", "mchid", "serial", "none"])
def test_a_request_that_is_not_exactly_what_was_signed_is_refused(play: Play, change: str) -> None:
    played = play()
    channel, keys = played.line.connected.channel, played.line.connected.keys
    at = NOW - timedelta(seconds=301) if change == "old" else NOW
    request = channel.build_close(OrderRef(order_no=order().order_no, merchant_no=MERCHANT_NO), keys=keys, now=at, nonce="n")
    headers = dict(request.headers)
    signed = headers["authorization"]
    altered: dict[str, Any] = {
        "body": {"body": request.body.replace(b"1620000007", b"1620000008")},
        "path": {"url": request.url.replace("/close", "/clos%65")},
        "query": {"url": request.url + "?x=1"},
        "mchid": {"headers": headers | {"authorization": signed.replace(PROVIDER_NO, "1900000002")}},
        "serial": {"headers": headers | {"authorization": signed.replace('serial_no="', 'serial_no="9')}},
        "none": {"headers": {name: value for name, value in headers.items() if name != "authorization"}},
    }
    changed = msgspec.structs.replace(request, **altered.get(change, {}))
    if change == "method":
        changed = Request(method="GET", url=request.url.removesuffix("/close"), headers=request.headers)
    answer = played.transport.send(changed)
    assert isinstance(answer, Answer)
    assert (answer.status, json.loads(answer.body)["code"]) == (401, "SIGN_ERROR")


def test_an_answer_is_signed_with_the_kind_of_key_that_was_asked_for(play: Play, fresh_pair: Pair) -> None:
    played = play()
    for wanted, serial in ((fresh_pair.public_key.serial, fresh_pair.public_key.serial), (None, fresh_pair.certificate.serial)):
        fresh_pair.ring.preferred_serial = wanted
        message = calls.prepay(played.line, order(), subject=SUBJECT, occasion="1").message
        assert message.headers["wechatpay-serial"] == serial
        assert message.verdict == "verified"


def test_an_answer_signed_with_an_unknown_key_proves_nothing(play: Play, fresh_pair: Pair) -> None:
    played = play()
    fresh_pair.ring.replace([])
    outcome = prepay(played, order())
    assert (outcome.state, outcome.reason, outcome.hand_off) == (ChannelState.UNKNOWN, "serial_unknown", None)
    reading = query(played, order())
    assert (reading.verdict, reading.reason, reading.result) == ("refused", "serial_unknown", None)


# Keys


def test_a_new_platform_certificate_is_fetched_and_notices_signed_with_it_are_read(play: Play, fresh_pair: Pair) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url, signing_mode="certificate")
        prepay(played, order())
        serial = control(played, "rotate")["serial"]
        pay(played, order())
        control(played, "deliver")
        assert came[0][0]["wechatpay-serial"] == serial
        assert read(played, came[0]).reason == "serial_unknown"
        assert calls.refresh_keys(played.line) == 2
        assert read(played, came[0]).verdict == "verified"
        assert fresh_pair.ring.find(fresh_pair.certificate.serial, at=NOW) is not None


def test_certificates_of_a_stranger_are_not_taken(play: Play, fresh_pair: Pair) -> None:
    played = play()
    stranger = KeyRing(
        merchant_key=fresh_pair.merchant_key, merchant_serial=fresh_pair.merchant_serial, api_key=b"y" * 32, channel_keys=()
    )
    line = msgspec.structs.replace(played.line, connected=msgspec.structs.replace(played.line.connected, keys=stranger))
    assert calls.refresh_keys(line) is None
    assert stranger.known() == ()


def test_a_first_certificate_is_taken_by_a_ring_that_knows_none(play: Play, fresh_pair: Pair) -> None:
    played = play()
    fresh_pair.ring.preferred_serial = None
    fresh_pair.ring.replace([])
    assert calls.refresh_keys(played.line) == 1
    assert prepay(played, order()).state is ChannelState.PENDING


# Notices


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
        waited = 0
        while not came and waited < 400:
            waited += 1
            HTTP.get(f"{played.url}/health")
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


# Bills


def a_day(play: Play, count: int = 3) -> Played:
    played = play()
    for number in range(1, count + 1):
        prepay(played, order(number, amount_fen=100 * number))
        pay(played, order(number))
    played.clock.set(NOW + timedelta(days=1, seconds=1))
    return played


def bill(played: Played, **changes: Any) -> BillFile | BillAbsent:
    return calls.bill(played.line, BillRequest(bill_on=date(2026, 3, 2), **changes), occasion="1").outcome


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("form", ["all", "success"])
def test_the_days_bill_lists_every_payment_with_its_fee(play: Play, compressed: bool, form: str) -> None:
    played = a_day(play)
    file = bill(played, compressed=compressed, form=form)
    assert isinstance(file, BillFile)
    read_back = played.line.connected.channel.parse_bill(file.content)
    assert [(line.order_no, line.amount_fen, line.fee_fen) for line in read_back.lines] == [
        (order(1).order_no, 100, 1), (order(2).order_no, 200, 1), (order(3).order_no, 300, 2)
    ]  # fmt: skip
    assert (read_back.total_fen, read_back.fee_fen) == (600, 4)


def test_a_bill_of_one_operator_lists_only_its_payments(play: Play) -> None:
    played = a_day(play)
    assert bill(played, merchant_no="1620000008") == BillAbsent(reason="empty")
    assert isinstance(bill(played, merchant_no=MERCHANT_NO), BillFile)


def test_the_bill_is_not_ready_before_ten_and_never_for_today(play: Play) -> None:
    played = play()
    prepay(played, order())
    pay(played, order())
    assert bill(played) == BillAbsent(reason="call_refused")
    played.clock.set(NOW + timedelta(days=1, seconds=-1))
    assert bill(played) == BillAbsent(reason="not_ready")
    played.clock.set(NOW + timedelta(days=1))
    assert isinstance(bill(played), BillFile)


def test_a_day_without_payments_has_no_bill(play: Play) -> None:
    played = play()
    played.clock.set(NOW + timedelta(days=1))
    assert bill(played) == BillAbsent(reason="empty")


def test_a_reissued_bill_first_lacks_its_last_row_and_then_has_it(play: Play) -> None:
    played = a_day(play)
    control(played, "faults", faults=[{"kind": "bill_reissued", "next": 1, "bill_on": "2026-03-02"}])
    first, second = bill(played), bill(played)
    assert isinstance(first, BillFile)
    assert isinstance(second, BillFile)
    channel = played.line.connected.channel
    assert [len(channel.parse_bill(file.content).lines) for file in (first, second)] == [2, 3]
    assert first.link.digest != second.link.digest


def test_a_cut_bill_has_the_digest_of_the_cut_file_and_is_refused_by_its_form(play: Play) -> None:
    played = a_day(play)
    control(played, "faults", faults=[{"kind": "bill_cut"}])
    file = bill(played)
    assert isinstance(file, BillFile)
    with pytest.raises(BillRefused):
        played.line.connected.channel.parse_bill(file.content)


def test_a_bill_link_dies_after_five_minutes(play: Play) -> None:
    played = a_day(play)
    file = bill(played)
    assert isinstance(file, BillFile)
    played.clock.set(played.clock.now() + timedelta(minutes=5))
    channel, keys = played.line.connected.channel, played.line.connected.keys
    answer = played.transport.send(channel.build_bill_download(file.link, keys=keys, now=played.clock.now(), nonce="n"))
    assert isinstance(answer, Answer)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "INVALID_REQUEST")


def test_merchants_takings_are_kept(play: Play) -> None:
    played = a_day(play)
    control(played, "merchants", merchants=[{"merchant_no": MERCHANT_NO, "name": "无锡太湖停车"}])
    assert HTTP.get(f"{played.url}/_control/merchants").json()["merchants"] == [
        {"merchant_no": MERCHANT_NO, "name": "无锡太湖停车", "payments": 3, "taken_fen": 600, "fee_fen": 4}
    ]


def test_the_clock_is_set_forward_only(play: Play) -> None:
    played = play()
    assert control(played, "clock", at="2026-03-02T11:00:00+08:00") == {"now": "2026-03-02T03:00:00Z"}
    assert HTTP.post(f"{played.url}/_control/clock", json={"at": "2026-03-02T10:00:00+08:00"}).status_code == 409
    assert HTTP.post(f"{played.url}/_control/clock", json={"at": "2026-03-02T10:00:00"}).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v3/nothing", 404), ("DELETE", "/health", 405), ("GET", "/health", 200)]
)
def test_an_address_that_is_not_there_is_answered_plainly(play: Play, method: str, path: str, status: int) -> None:
    assert HTTP.request(method, play().url + path).status_code == status


def test_a_huge_body_is_not_read(play: Play) -> None:
    assert HTTP.post(f"{play().url}/_control/faults", content=b"x" * 100_000).status_code == 413
