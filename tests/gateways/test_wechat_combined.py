"""Combined orders on the wire: what goes out, and that each leg is read by itself or the whole message not at all."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gateways.contract import (
    Answer,
    ChannelState,
    CombinedOrder,
    CombinedRef,
    HandOff,
    Leg,
    OrderRef,
    Reading,
    Request,
    Unanswered,
    Way,
)
from gateways.sandbox.wechat.signing import Pair, answer_headers
from gateways.sandbox.wechat.signing import notice as sealed_notice
from gateways.wechat.channel import WeChat
from tests.gateways.conftest import NOW, PROVIDER_NO

NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"
LEGS = (
    Leg(order_no="P0000000000000000000000000A1", merchant_no="1620000007", description="停车费 太湖广场", amount_fen=1200),
    Leg(
        order_no="P0000000000000000000000000A2",
        merchant_no="1620000008",
        description="停车费 三阳广场",
        amount_fen=500,
        attach="lot=9",
    ),
)
ORDER = CombinedOrder(
    combined_no="C0000000000000000000000000C1",
    legs=LEGS,
    created_at=NOW,
    expires_at=NOW + timedelta(minutes=15),
    payer_id="oPayer",
)
REF = CombinedRef(
    combined_no=ORDER.combined_no,
    legs=tuple(
        OrderRef(order_no=leg.order_no, merchant_no=leg.merchant_no, created_at=NOW, expires_at=ORDER.expires_at) for leg in LEGS
    ),
)


def sub(leg: Leg, **changes: Any) -> dict[str, Any]:
    number = "42000000002026030200000000" + leg.order_no[-2:]
    told: dict[str, Any] = {
        "mchid": PROVIDER_NO,
        "sub_mchid": leg.merchant_no,
        "out_trade_no": leg.order_no,
        "transaction_id": number,
        "trade_type": "JSAPI",
        "trade_state": "SUCCESS",
        "bank_type": "OTHERS",
        "attach": "x",
        "success_time": "2026-03-02T10:00:05+08:00",
        "amount": {"total_amount": leg.amount_fen, "currency": "CNY", "payer_amount": leg.amount_fen, "payer_currency": "CNY"},
    } | changes
    return {name: value for name, value in told.items() if value is not None}


def plain(*legs: dict[str, Any], **changes: Any) -> bytes:
    told = {
        "combine_appid": "wx8888888888888888",
        "combine_mchid": PROVIDER_NO,
        "combine_out_trade_no": ORDER.combined_no,
        "sub_orders": list(legs or [sub(leg) for leg in LEGS]),
        "combine_payer_info": {"openid": "oPayer"},
    } | changes
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


def noticed(pair: Pair, wechat: WeChat, content: bytes) -> Reading:
    body = sealed_notice(
        content, kind="transaction", event="TRANSACTION.SUCCESS", summary="支付成功", at=NOW, api_key=pair.api_key, notice_id="E1",
        nonce="0123456789ab",
    )  # fmt: skip
    headers = answer_headers(pair.public_key, body=body, at=NOW, nonce="n" * 32)
    return wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)


def queried(
    pair: Pair, wechat: WeChat, content: bytes, ref: CombinedRef = REF, *, status: int = 200, at: datetime = NOW
) -> Reading:
    headers = answer_headers(pair.public_key, body=content, at=at, nonce="n" * 32)
    return wechat.parse_combined_query(Answer(status=status, headers=headers, body=content), order=ref, keys=pair.ring, now=at)


def built(wechat: WeChat, pair: Pair, order: CombinedOrder, later: timedelta = timedelta()) -> Request:
    return wechat.build_combined(order, keys=pair.ring, now=NOW + later, nonce=NONCE)


def test_the_order_names_each_operator_and_one_payer(pair: Pair, wechat: WeChat) -> None:
    request = built(wechat, pair, ORDER)
    assert (request.method, request.url) == ("POST", "https://api.mch.weixin.qq.com/v3/combine-transactions/jsapi")
    assert request.body.decode() == (
        '{"combine_appid":"wx8888888888888888","combine_mchid":"1900000001","combine_out_trade_no":"C0000000000000000000000000C1",'
        '"time_start":"2026-03-02T10:00:00+08:00","time_expire":"2026-03-02T10:15:00+08:00",'
        '"notify_url":"https://pay.example/callbacks/wechat","sub_orders":['
        '{"mchid":"1900000001","sub_mchid":"1620000007","out_trade_no":"P0000000000000000000000000A1",'
        '"attach":"P0000000000000000000000000A1","amount":{"total_amount":1200,"currency":"CNY"},"description":"停车费 太湖广场"},'
        '{"mchid":"1900000001","sub_mchid":"1620000008","out_trade_no":"P0000000000000000000000000A2","attach":"lot=9",'
        '"amount":{"total_amount":500,"currency":"CNY"},"description":"停车费 三阳广场"}],"combine_payer_info":{"openid":"oPayer"}}'
    )


@pytest.mark.parametrize(("way", "end"), [(Way.BROWSER, "h5"), (Way.CODE, "native")])
def test_the_other_ways_name_no_payer(pair: Pair, wechat: WeChat, way: Way, end: str) -> None:
    request = built(wechat, pair, msgspec.structs.replace(ORDER, way=way, payer_ip="203.0.113.7"))
    assert request.url.endswith(f"/v3/combine-transactions/{end}")
    body = json.loads(request.body)
    assert "combine_payer_info" not in body
    assert body.get("scene_info", {}).get("payer_client_ip") == ("203.0.113.7" if way is Way.BROWSER else None)


def test_a_repeat_has_the_same_body(pair: Pair, wechat: WeChat) -> None:
    endless = msgspec.structs.replace(ORDER, expires_at=NOW + timedelta(days=99))
    assert built(wechat, pair, endless).body == built(wechat, pair, endless, timedelta(days=2)).body


@pytest.mark.parametrize(
    ("way", "body", "hand_off"),
    [
        (Way.BROWSER, {"h5_url": "https://wx.example/h5?x=1"},
         HandOff(kind="redirect", url="https://wx.example/h5?x=1&redirect_url=https%3A%2F%2Fpay.example%2F",
                 valid_until=NOW + timedelta(minutes=5))),
        (Way.CODE, {"code_url": "weixin://c"}, HandOff(kind="code", fields={"code": "weixin://c"})),
    ],
)  # fmt: skip
def test_each_way_has_its_hand_off(pair: Pair, wechat: WeChat, way: Way, body: dict[str, str], hand_off: HandOff) -> None:
    order = msgspec.structs.replace(ORDER, way=way, return_url="https://pay.example/")
    content = json.dumps(body).encode()
    answer = Answer(status=200, headers=answer_headers(pair.public_key, body=content, at=NOW, nonce="n" * 32), body=content)
    outcome = wechat.parse_combined(answer, order=order, keys=pair.ring, now=NOW, nonce=NONCE)
    assert (outcome.state, outcome.hand_off) == (ChannelState.PENDING, hand_off)


def test_one_notice_tells_of_every_leg(pair: Pair, wechat: WeChat) -> None:
    reading = noticed(pair, wechat, plain())
    assert (reading.verdict, reading.reason, reading.result) == ("verified", None, None)
    assert [(one.order_no, one.merchant_no, one.amount_fen, one.currency) for one in reading.results] == [
        (leg.order_no, leg.merchant_no, leg.amount_fen, "CNY") for leg in LEGS
    ]
    assert {one.state for one in reading.results} == {ChannelState.SUCCEEDED}
    assert len({one.trade_no for one in reading.results}) == 2
    assert {one.provider_no for one in reading.results} == {PROVIDER_NO}
    assert {one.happened_at for one in reading.results} == {datetime(2026, 3, 2, 2, 0, 5, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (plain(combine_mchid="1900009999"), "other_provider"),
        (plain(sub(LEGS[0]), sub(LEGS[1], mchid="1900009999")), "other_provider"),
        (plain(combine_mchid=None), "field_missing"),
        (plain(sub_orders=[]), "field_missing"),
        (plain(sub(LEGS[0]), sub(LEGS[0])), "field_missing"),
        (plain(sub(LEGS[0]), sub(LEGS[1], transaction_id=None)), "field_missing"),
        (plain(sub(LEGS[0]), sub(LEGS[1], amount=None)), "field_missing"),
        (plain(sub(LEGS[0]), sub(LEGS[1], amount={"total": 500})), "field_missing"),
        (plain(sub(LEGS[0]), sub(LEGS[1], sub_mchid=None)), "field_missing"),
        (plain(sub(LEGS[0]), sub(LEGS[1], success_time="2026-03-02 10:00:05")), "field_missing"),
        (plain(sub_orders=[sub(LEGS[0], out_trade_no=f"P{number:027d}") for number in range(51)]), "field_missing"),
    ],
)
def test_one_leg_that_cannot_be_read_spoils_the_message(pair: Pair, wechat: WeChat, content: bytes, reason: str) -> None:
    for reading in (noticed(pair, wechat, content), queried(pair, wechat, content)):
        assert (reading.verdict, reading.reason, reading.results) == ("unreadable", reason, ())


def test_fifty_legs_fit_into_one_notice(pair: Pair, wechat: WeChat) -> None:
    legs = [sub(LEGS[0], out_trade_no=f"P{number:027d}", transaction_id=f"42{number:026d}") for number in range(50)]
    assert len(noticed(pair, wechat, plain(*legs)).results) == 50


def test_the_query_answers_in_the_order_of_the_legs(pair: Pair, wechat: WeChat) -> None:
    reading = queried(pair, wechat, plain(sub(LEGS[1]), sub(LEGS[0])))
    assert [one.order_no for one in reading.results] == [leg.order_no for leg in LEGS]


def test_a_query_for_one_leg_answers_that_leg_alone(pair: Pair, wechat: WeChat) -> None:
    reading = queried(pair, wechat, plain(), CombinedRef(combined_no=REF.combined_no, legs=REF.legs[1:]))
    assert reading.result is not None
    assert (reading.result.order_no, reading.result.amount_fen) == (LEGS[1].order_no, 500)


def test_legs_that_are_not_paid_are_pending(pair: Pair, wechat: WeChat) -> None:
    legs = [sub(leg, trade_state="NOTPAY", transaction_id=None, success_time=None) for leg in LEGS]
    reading = queried(pair, wechat, plain(*legs))
    assert [one.state for one in reading.results] == [ChannelState.PENDING, ChannelState.PENDING]


@pytest.mark.parametrize(
    "content",
    [
        plain(combine_out_trade_no="C0000000000000000000000000C2"),
        plain(sub(LEGS[0])),
        plain(sub(LEGS[0]), sub(LEGS[1], sub_mchid="1620000009")),
        plain(sub(LEGS[0]), sub(LEGS[1], out_trade_no="P0000000000000000000000000A3")),
    ],
)
def test_an_answer_about_other_legs_proves_nothing(pair: Pair, wechat: WeChat, content: bytes) -> None:
    reading = queried(pair, wechat, content)
    assert (reading.verdict, reading.reason, reading.results) == ("unreadable", "other_order", ())


def test_an_unknown_combined_order_is_pending_until_its_end_and_then_not_found(pair: Pair, wechat: WeChat) -> None:
    content = b'{"code":"ORDER_NOT_EXIST","message":"x"}'
    early = queried(pair, wechat, content, status=404)
    late = queried(pair, wechat, content, status=404, at=ORDER.expires_at)
    assert [one.state for one in early.results] == [ChannelState.PENDING] * 2
    assert [one.state for one in late.results] == [ChannelState.NOT_FOUND] * 2


@pytest.mark.parametrize("answer", [Unanswered(reason="timeout"), Answer(status=200, headers={}, body=plain())])
def test_what_is_not_proven_says_nothing(pair: Pair, wechat: WeChat, answer: Answer | Unanswered) -> None:
    assert wechat.parse_combined_query(answer, order=REF, keys=pair.ring, now=NOW).results == ()
    assert wechat.parse_combined_close(answer, order=REF, keys=pair.ring, now=NOW).state is ChannelState.UNKNOWN
    assert wechat.parse_combined(answer, order=ORDER, keys=pair.ring, now=NOW, nonce=NONCE).state is ChannelState.UNKNOWN


def test_a_close_names_all_legs(pair: Pair, wechat: WeChat) -> None:
    request = wechat.build_combined_close(REF, keys=pair.ring, now=NOW, nonce=NONCE)
    assert request.url == "https://api.mch.weixin.qq.com/v3/combine-transactions/out-trade-no/C0000000000000000000000000C1/close"
    assert request.body == (
        b'{"combine_appid":"wx8888888888888888","sub_orders":['
        b'{"mchid":"1900000001","sub_mchid":"1620000007","out_trade_no":"P0000000000000000000000000A1"},'
        b'{"mchid":"1900000001","sub_mchid":"1620000008","out_trade_no":"P0000000000000000000000000A2"}]}'
    )
