"""The parking service on the wire: what goes out byte for byte, and which answers and notices say something."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from gateways.contract import Answer, ChannelState, EntryTold, HandOff, MandateRef, OrderRef, Reading, Request, Unanswered, Way
from gateways.sandbox.wechat.signing import Pair, answer_headers
from gateways.sandbox.wechat.signing import notice as sealed_notice
from gateways.wechat.channel import Provider, WeChat
from tests.contract.wechat import DEDUCTED, DEDUCTION, ENTRANCE, MANDATE, MERCHANT_NO, ORDER_NO, PROVIDER_NO, TRADE_NO
from tests.gateways.conftest import NOW

NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"
REF = OrderRef(order_no=ORDER_NO, merchant_no=MERCHANT_NO, created_at=NOW, expires_at=NOW + timedelta(hours=1), way=Way.DEDUCTION)
PAID = DEDUCTED | {
    "trade_state": "SUCCESS",
    "transaction_id": TRADE_NO,
    "bank_type": "OTHERS",
    "success_time": "2026-03-02T10:00:03+08:00",
}
SERVICE = {"plate_number": MANDATE.plate, "plate_color": "BLUE", "openid": "oOwner", "service_state": "NORMAL"}
ENTRY = {
    "id": "5K1", "out_parking_no": ENTRANCE.entrance_no, "plate_number": ENTRANCE.plate, "plate_color": "BLUE", "state": "NORMAL",
}  # fmt: skip


def told(fields: dict[str, Any], **changes: Any) -> bytes:
    """Fields with changes; None takes a field out."""
    return json.dumps({name: value for name, value in (fields | changes).items() if value is not None}).encode()


def answer(pair: Pair, body: bytes, status: int = 200) -> Answer:
    return Answer(status=status, headers=answer_headers(pair.public_key, body=body, at=NOW, nonce="n" * 32), body=body)


def noticed(pair: Pair, wechat: WeChat, body: bytes, event: str = "TRANSACTION.SUCCESS") -> Reading:
    content = sealed_notice(
        body, kind="transaction", event=event, summary="", at=NOW, api_key=pair.api_key, notice_id="EV", nonce="0123456789ab"
    )  # fmt: skip
    headers = answer_headers(pair.public_key, body=content, at=NOW, nonce="n" * 32)
    return wechat.parse_callback(headers, content, keys=pair.ring, now=NOW)


def test_a_plate_in_an_address_is_encoded_and_signed_so(pair: Pair, wechat: WeChat) -> None:
    request = wechat.build_mandate_query(MANDATE, keys=pair.ring, now=NOW, nonce=NONCE)
    assert request.url == (
        "https://api.mch.weixin.qq.com/v3/vehicle/parking/services/find?appid=wx8888888888888888&sub_mchid=1620000007"
        "&plate_number=%E8%8B%8FB12345&plate_color=BLUE&openid=oOwner"
    )


def test_an_entry_is_told_with_what_the_deduction_must_agree_with(pair: Pair, wechat: WeChat) -> None:
    request = wechat.build_entry(ENTRANCE, keys=pair.ring, now=NOW, nonce=NONCE)
    assert (request.method, request.url) == ("POST", "https://api.mch.weixin.qq.com/v3/vehicle/parking/parkings")
    assert request.body.decode() == (
        '{"sub_mchid":"1620000007","out_parking_no":"E0000000000000000000000000D1","plate_number":"苏B12345","plate_color":"BLUE",'
        '"notify_url":"https://pay.example/callbacks/wechat","start_time":"2026-03-02T08:00:00+08:00",'
        '"parking_name":"太湖广场停车场","free_duration":1800}'
    )


def deducting(pair: Pair, wechat: WeChat, later: timedelta = timedelta(), **changes: Any) -> Request:
    wanted = msgspec.structs.replace(DEDUCTION, **changes)
    return wechat.build_deduct(wanted, keys=pair.ring, now=NOW + later, nonce=NONCE)


def test_a_deduction_is_built_byte_for_byte(pair: Pair, wechat: WeChat) -> None:
    request = deducting(pair, wechat)
    assert (request.method, request.url) == ("POST", "https://api.mch.weixin.qq.com/v3/vehicle/transactions/parking")
    assert request.body.decode() == (
        '{"appid":"wx8888888888888888","sub_mchid":"1620000007","description":"停车费 太湖广场停车场",'
        '"out_trade_no":"P0000000000000000000000000A1","trade_scene":"PARKING","notify_url":"https://pay.example/callbacks/wechat",'
        '"profit_sharing":"N","amount":{"total":1200,"currency":"CNY"},"parking_info":{"parking_id":"5K00000000000000000001",'
        '"plate_number":"苏B12345","plate_color":"BLUE","start_time":"2026-03-02T08:00:00+08:00",'
        '"end_time":"2026-03-02T09:59:00+08:00","parking_name":"太湖广场停车场","charging_duration":7140,"device_id":"LOT-17"}}'
    )
    assert deducting(pair, wechat, timedelta(days=1)).body == request.body


def test_a_stay_within_one_second_ends_in_the_next(pair: Pair, wechat: WeChat) -> None:
    info = json.loads(deducting(pair, wechat, left_at=DEDUCTION.entered_at).body)["parking_info"]
    assert (info["start_time"], info["end_time"]) == ("2026-03-02T08:00:00+08:00", "2026-03-02T08:00:01+08:00")


@pytest.mark.parametrize(
    ("changes", "state", "word", "reason"),
    [
        ({}, "open", None, None),
        ({"service_state": "PAUSE"}, "none", "PAUSE", None),
        ({"service_state": "OUT_SERVICE"}, "none", "OUT_SERVICE", None),
        ({"service_state": "NEW_WORD"}, "unknown", "NEW_WORD", "state_unlisted"),
        ({"plate_number": "苏B54321"}, "unknown", None, "other_order"),
        ({"plate_color": "GREEN"}, "unknown", None, "other_order"),
        ({"openid": "oOther"}, "unknown", None, "other_order"),
        ({"service_state": None}, "unknown", None, "field_missing"),
    ],
)
def test_only_a_listed_word_about_this_plate_says_something(
    pair: Pair, wechat: WeChat, changes: dict[str, Any], state: str, word: str | None, reason: str | None
) -> None:
    outcome = wechat.parse_mandate_query(answer(pair, told(SERVICE, **changes)), mandate=MANDATE, keys=pair.ring, now=NOW)
    assert (outcome.state, outcome.word, outcome.reason) == (state, word, reason)


@pytest.mark.parametrize(
    ("changes", "state", "entry_no", "word", "reason"),
    [
        ({}, "open", "5K1", None, None),
        ({"state": "BLOCKED", "block_reason": "OVERDUE"}, "none", "5K1", "OVERDUE", None),
        ({"state": "NEW_WORD"}, "unknown", "5K1", "NEW_WORD", "state_unlisted"),
        ({"out_parking_no": "E2"}, "unknown", None, None, "other_order"),
        ({"plate_number": "苏B54321"}, "unknown", None, None, "other_order"),
        ({"id": ""}, "unknown", None, None, "field_missing"),
    ],
)
def test_an_entrys_answer_is_about_this_entry(
    pair: Pair, wechat: WeChat, changes: dict[str, Any], state: str, entry_no: str | None, word: str | None, reason: str | None
) -> None:
    outcome = wechat.parse_entry(answer(pair, told(ENTRY, **changes)), entrance=ENTRANCE, keys=pair.ring, now=NOW)
    assert (outcome.state, outcome.entry_no, outcome.word, outcome.reason) == (state, entry_no, word, reason)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("ACCEPTED", ChannelState.PENDING),
        ("ACCEPT", ChannelState.PENDING),
        ("SUCCESS", ChannelState.SUCCEEDED),
        ("REFUND", ChannelState.SUCCEEDED),
        ("PAY_FAIL", ChannelState.FAILED),
        ("NOTPAY", ChannelState.UNKNOWN),
        ("NEW_WORD", ChannelState.UNKNOWN),
    ],
)
def test_each_word_has_one_meaning_wherever_it_comes(pair: Pair, wechat: WeChat, word: str, state: ChannelState) -> None:
    body = told(PAID, trade_state=word)
    readings = (
        wechat.parse_deduct(answer(pair, body), deduction=DEDUCTION, keys=pair.ring, now=NOW),
        wechat.parse_query(answer(pair, body), order=REF, keys=pair.ring, now=NOW),
        noticed(pair, wechat, body),
    )
    assert [None if one.result is None else one.result.state for one in readings] == [state] * 3


def test_a_paid_deduction_tells_what_was_taken(pair: Pair, wechat: WeChat) -> None:
    result = noticed(pair, wechat, told(PAID)).result
    assert result is not None
    assert (result.order_no, result.trade_no, result.amount_fen, result.currency) == (ORDER_NO, TRADE_NO, 1200, "CNY")
    assert (result.provider_no, result.merchant_no) == (PROVIDER_NO, MERCHANT_NO)
    assert result.happened_at == datetime(2026, 3, 2, 2, 0, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"out_trade_no": "P0000000000000000000000000A2"}, "other_order"),
        ({"sub_mchid": "1620000008"}, "other_order"),
        ({"trade_scene": None}, "other_order"),
        ({"sp_mchid": "1900009999"}, "other_provider"),
        ({"transaction_id": None}, "field_missing"),
        ({"amount": {"total": "1200"}}, "field_missing"),
        ({"success_time": None}, "field_missing"),
        ({"trade_state": None}, "field_missing"),
    ],
)
def test_an_answer_about_another_or_without_a_needed_field_proves_nothing(
    pair: Pair, wechat: WeChat, changes: dict[str, Any], reason: str
) -> None:
    body = told(PAID, **changes)
    for reading in (
        wechat.parse_deduct(answer(pair, body), deduction=DEDUCTION, keys=pair.ring, now=NOW),
        wechat.parse_query(answer(pair, body), order=REF, keys=pair.ring, now=NOW),
    ):
        assert (reading.verdict, reading.reason, reading.results) == ("unreadable", reason, ())


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("PARAM_ERROR", ChannelState.FAILED),
        ("INVALID_REQUEST", None),
        ("NO_AUTH", None),
        ("SYSTEM_ERROR", None),
        ("RATELIMIT_EXCEEDED", None),
        ("SOMETHING_NEW", None),
    ],
)
def test_only_what_would_always_be_refused_has_failed(pair: Pair, wechat: WeChat, code: str, state: ChannelState | None) -> None:
    refused = answer(pair, told({"code": code}), 400)
    result = wechat.parse_deduct(refused, deduction=DEDUCTION, keys=pair.ring, now=NOW).result
    assert (None if result is None else result.state) == state


@pytest.mark.parametrize("reply", [Unanswered(reason="timeout"), Answer(status=200, headers={}, body=told(PAID))])
def test_what_is_not_proven_says_nothing(pair: Pair, wechat: WeChat, reply: Answer | Unanswered) -> None:
    assert wechat.parse_deduct(reply, deduction=DEDUCTION, keys=pair.ring, now=NOW).results == ()
    assert wechat.parse_query(reply, order=REF, keys=pair.ring, now=NOW).results == ()
    assert wechat.parse_entry(reply, entrance=ENTRANCE, keys=pair.ring, now=NOW).state == "unknown"
    assert wechat.parse_mandate_query(reply, mandate=MANDATE, keys=pair.ring, now=NOW).state == "unknown"


@pytest.mark.parametrize("event", ["TRANSACTION.FAIL", "TRANSACTION.PAY_BACK"])
def test_events_of_deductions_alone_are_taken_for_nothing_else(pair: Pair, wechat: WeChat, event: str) -> None:
    assert noticed(pair, wechat, told(PAID), event).result == noticed(pair, wechat, told(PAID)).result
    assert noticed(pair, wechat, told(PAID, trade_scene=None), event).reason == "event_unknown"
    assert noticed(pair, wechat, b"[]", event).reason == "field_missing"


CHANGED = {
    "sp_mchid": PROVIDER_NO, "sub_mchid": MERCHANT_NO, "parking_id": "5K1", "out_parking_no": ENTRANCE.entrance_no,
    "plate_number": ENTRANCE.plate, "plate_color": "BLUE", "start_time": "2026-03-02T08:00:00+08:00", "parking_state": "BLOCKED",
    "blocked_state_description": "PAUSE", "state_update_time": "2026-03-02T09:30:00+08:00",
}  # fmt: skip


def changed(pair: Pair, wechat: WeChat, **changes: Any) -> Reading:
    return noticed(pair, wechat, told(CHANGED, **changes), "VEHICLE.ENTRANCE_STATE_CHANGE")


@pytest.mark.parametrize(
    ("changes", "state", "word"),
    [
        ({}, "none", "PAUSE"),
        ({"blocked_state_description": "OVERDUE"}, "none", "OVERDUE"),
        ({"blocked_state_description": "NEW\x00" + "A" * 100}, "none", "NEW" + "A" * 61),
        ({"blocked_state_description": None}, "none", None),
        ({"parking_state": "NORMAL"}, "open", None),
        ({"parking_state": "NORMAL", "blocked_state_description": None}, "open", None),
    ],
)
def test_a_change_during_the_stay_is_about_the_entry_and_no_payment(
    pair: Pair, wechat: WeChat, changes: dict[str, Any], state: Any, word: str | None
) -> None:
    assert changed(pair, wechat, **changes) == Reading(
        verdict="verified",
        entry=EntryTold(
            entrance_no=ENTRANCE.entrance_no, provider_no=PROVIDER_NO, merchant_no=MERCHANT_NO, entry_no="5K1", state=state,
            word=word, happened_at=datetime(2026, 3, 2, 1, 30, tzinfo=UTC),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("state", ["NEW_WORD", "normal", ""])
def test_a_state_that_is_not_listed_is_kept_and_proves_nothing(pair: Pair, wechat: WeChat, state: str) -> None:
    assert changed(pair, wechat, parking_state=state) == Reading(verdict="verified", reason="kept")


def test_a_change_told_to_another_provider_says_nothing(pair: Pair, wechat: WeChat) -> None:
    assert changed(pair, wechat, sp_mchid="1900009999") == Reading(verdict="unreadable", reason="other_provider")


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, None) for name in CHANGED if name not in ("start_time", "blocked_state_description")]
    + [
        ("plate_number", ""), ("plate_color", ""), ("out_parking_no", "E 1"), ("state_update_time", "2026-03-02T09:30:00"),
        ("state_update_time", "soon"), ("sub_mchid", 1620000007),
    ],
)  # fmt: skip
def test_a_change_without_a_needed_field_says_nothing(pair: Pair, wechat: WeChat, name: str, value: Any) -> None:
    assert changed(pair, wechat, **{name: value}) == Reading(verdict="unreadable", reason="field_missing")


def test_the_signing_page_has_the_documented_parameters_and_an_address_only_from_the_contract() -> None:
    mandate = MandateRef(plate="苏B12345", plate_color="blue", merchant_no="1900000109", payer_id="oOwner")
    path = (
        "/pages/auth-creditpay/auth-creditpay?mchid=1900000001&sub_mchid=1900000109&openid=oOwner"
        "&plate_number=%E8%8B%8FB12345&plate_color=BLUE&trade_scene=PARKING"
    )
    for sign_url, url in (
        (None, None), ("http://stand-in{path}", f"http://stand-in{path}"),
        ("weixin://dl/business/?q={path_quoted}", f"weixin://dl/business/?q={quote(path, safe='')}"),
    ):  # fmt: skip
        channel = WeChat(Provider(provider_no="1900000001", app_id="wx1", notify_url="https://x.test/n", sign_url=sign_url))
        made = channel.sign_hand_off(mandate, return_url="https://pay.test/back")
        assert made == HandOff(
            kind="mini_program",
            fields={"app_id": "wxbcad394b3d99dac9", "username": "gh_518c42c65952", "path": path},
            url=url,
        )
