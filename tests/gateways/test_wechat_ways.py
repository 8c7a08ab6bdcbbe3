"""An order by browser or by code: what goes to the channel, and what the payer's page is given."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gateways.contract import Answer, ChannelState, HandOff, PrepayOrder, PrepayOutcome, Request, Way
from gateways.sandbox.wechat.signing import Pair, answer_headers
from gateways.wechat.channel import Provider, WeChat
from tests.gateways.conftest import APP_ID, MERCHANT_NO, NOW, PROVIDER_NO

NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"
WECHAT = WeChat(
    Provider(
        provider_no=PROVIDER_NO,
        app_id=APP_ID,
        notify_url="https://pay.example/callbacks/wechat",
        site_name="停车缴费",
        site_url="https://pay.example",
    )
)
ORDER = PrepayOrder(
    order_no="P0000000000000000000000000A1",
    merchant_no=MERCHANT_NO,
    description="停车费 太湖广场停车场",
    amount_fen=1200,
    created_at=NOW,
    expires_at=NOW + timedelta(minutes=15),
    way=Way.BROWSER,
    payer_ip="203.0.113.7",
    return_url="https://pay.example/o/1?a=1&b=2",
    attach="lot=17",
)
H5_URL = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx1&package=2"


def built(pair: Pair, order: PrepayOrder, later: timedelta = timedelta()) -> Request:
    return WECHAT.build_prepay(order, keys=pair.ring, now=NOW + later, nonce=NONCE)


def answered(pair: Pair, order: PrepayOrder, **body: Any) -> PrepayOutcome:
    content = json.dumps(body).encode()
    answer = Answer(
        status=200, headers=answer_headers(pair.public_key, body=content, at=NOW, nonce="n" * 32), body=content
    )  # fmt: skip
    return WECHAT.parse_prepay(answer, order=order, keys=pair.ring, now=NOW, nonce=NONCE)


def of(way: Way, **changes: Any) -> PrepayOrder:
    return msgspec.structs.replace(ORDER, way=way, **changes)


def test_an_order_by_browser_tells_whose_phone_it_is(pair: Pair) -> None:
    request = built(pair, ORDER)
    assert (request.method, request.url) == ("POST", "https://api.mch.weixin.qq.com/v3/pay/partner/transactions/h5")
    assert request.body.decode() == (
        '{"sp_appid":"wx8888888888888888","sp_mchid":"1900000001","sub_mchid":"1620000007","description":"停车费 太湖广场停车场",'
        '"out_trade_no":"P0000000000000000000000000A1","time_expire":"2026-03-02T10:15:00+08:00",'
        '"notify_url":"https://pay.example/callbacks/wechat","amount":{"total":1200,"currency":"CNY"},'
        '"scene_info":{"payer_client_ip":"203.0.113.7","h5_info":{"type":"Wap","app_name":"停车缴费","app_url":"https://pay.example"}},'
        '"attach":"lot=17"}'
    )


def test_an_order_by_code_names_no_payer(pair: Pair) -> None:
    request = built(pair, of(Way.CODE, payer_id="oPayer"))
    assert request.url == "https://api.mch.weixin.qq.com/v3/pay/partner/transactions/native"
    assert request.body.decode() == (
        '{"sp_appid":"wx8888888888888888","sp_mchid":"1900000001","sub_mchid":"1620000007","description":"停车费 太湖广场停车场",'
        '"out_trade_no":"P0000000000000000000000000A1","time_expire":"2026-03-02T10:15:00+08:00",'
        '"notify_url":"https://pay.example/callbacks/wechat","amount":{"total":1200,"currency":"CNY"},"attach":"lot=17"}'
    )


@pytest.mark.parametrize("way", [Way.IN_WALLET, Way.BROWSER, Way.CODE])
def test_a_repeat_has_the_same_body_even_for_an_order_that_outlives_the_channels_limit(pair: Pair, way: Way) -> None:
    endless = of(way, payer_id="oPayer", expires_at=NOW + timedelta(days=400))
    first, again = built(pair, endless), built(pair, endless, timedelta(days=3))
    assert first.body == again.body
    assert b'"time_expire":"2026-03-17T10:00:00+08:00"' in first.body


def test_the_browser_is_led_to_the_wallet_and_back(pair: Pair) -> None:
    outcome = answered(pair, ORDER, h5_url=H5_URL)
    assert (outcome.verdict, outcome.state) == ("verified", ChannelState.PENDING)
    back = "https%3A%2F%2Fpay.example%2Fo%2F1%3Fa%3D1%26b%3D2"
    assert outcome.hand_off == HandOff(kind="redirect", url=f"{H5_URL}&redirect_url={back}", valid_until=NOW + timedelta(minutes=5))


def test_without_a_way_back_the_address_is_taken_verbatim(pair: Pair) -> None:
    outcome = answered(pair, of(Way.BROWSER, return_url=None), h5_url=H5_URL)
    assert outcome.hand_off == HandOff(kind="redirect", url=H5_URL, valid_until=NOW + timedelta(minutes=5))


def test_a_code_is_shown_as_it_came(pair: Pair) -> None:
    outcome = answered(pair, of(Way.CODE), code_url="weixin://wxpay/bizpayurl?pr=JyC91EIz1")
    assert outcome.hand_off == HandOff(kind="code", fields={"code": "weixin://wxpay/bizpayurl?pr=JyC91EIz1"})


@pytest.mark.parametrize(
    ("way", "body"),
    [
        (Way.BROWSER, {"prepay_id": "wx1"}),
        (Way.BROWSER, {"h5_url": "javascript:alert(1)"}),
        (Way.BROWSER, {"h5_url": ""}),
        (Way.CODE, {"h5_url": H5_URL}),
        (Way.CODE, {"code_url": "码"}),
        (Way.IN_WALLET, {"code_url": "weixin://wxpay/bizpayurl?pr=1"}),
        (Way.IN_WALLET, {}),
    ],
)
def test_an_answer_of_another_form_leaves_the_order_unknown(pair: Pair, way: Way, body: dict[str, str]) -> None:
    outcome = answered(pair, of(way), **body)
    assert (outcome.verdict, outcome.state, outcome.hand_off) == ("unreadable", ChannelState.UNKNOWN, None)
    assert outcome.reason == "field_missing"
