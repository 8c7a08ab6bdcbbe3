"""Our adapter and the stand-in over real HTTP: orders, signatures of both sides, keys."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gateways import calls
from gateways.contract import Answer, ChannelState, Request
from gateways.keys import KeyRing, VerificationKey
from gateways.sandbox.wechat.signing import Pair
from gateways.wechat import sign
from tests.gateways.conftest import APP_ID, HTTP, MERCHANT_NO, NOW, PROVIDER_NO, Play
from tests.gateways.playing import SUBJECT, close, control, inbox, order, pay, prepay, query, read, reference, state


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


def test_a_paid_order_is_also_found_by_the_channels_own_number(play: Play) -> None:
    played = play()
    prepay(played, order())
    trade_no = pay(played, order())["trade_no"]
    keys, found = played.line.connected.keys, []
    for merchant_no in (MERCHANT_NO, "1620000008"):
        url = f"{played.url}/v3/pay/partner/transactions/id/{trade_no}?sp_mchid={PROVIDER_NO}&sub_mchid={merchant_no}"
        signed = sign.authorization(
            provider_no=PROVIDER_NO, method="GET", url=url, body=b"", keys=keys, now=NOW, nonce="n"
        )  # fmt: skip
        headers = {"accept": "application/json", "user-agent": "test", "authorization": signed}
        answer = played.transport.send(Request(method="GET", url=url, headers=headers))
        assert isinstance(answer, Answer)
        found.append((answer.status, json.loads(answer.body).get("out_trade_no")))
    assert found == [(200, order().order_no), (404, None)]


def test_many_orders_at_once_are_each_made_once(play: Play) -> None:
    played = play()
    with ThreadPoolExecutor(64) as pool:
        states = list(pool.map(lambda number: prepay(played, order(number % 40)).state, range(120)))
        closed = list(pool.map(lambda number: close(played, order(number)), range(40)))
    assert set(states) == {ChannelState.PENDING}
    assert set(closed) == {ChannelState.CLOSED}


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


def test_an_order_that_never_was_is_pending_while_it_could_be_made_and_then_not_found(play: Play) -> None:
    played = play()
    reading = query(played, order())
    assert (reading.verdict, state(played, order())) == ("verified", ChannelState.PENDING)
    assert close(played, order()) is ChannelState.NOT_FOUND
    played.clock.set(order().expires_at)
    assert state(played, order()) is ChannelState.NOT_FOUND


def test_an_order_of_another_merchant_is_not_found(play: Play) -> None:
    played = play()
    prepay(played, order())
    played.clock.set(order().expires_at)
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
    request = channel.build_close(reference(order()), keys=keys, now=at, nonce="n")
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
        assert json.loads(message.headers)["wechatpay-serial"] == serial
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
