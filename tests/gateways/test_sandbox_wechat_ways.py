"""H5 and Native over real HTTP: what the browser meets, which handles live how long, what the channel remembers."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gateways.contract import ChannelState, HandOff, Way
from gateways.sandbox.wechat.bills import Bills
from tests.gateways.conftest import HTTP, Play, Played
from tests.gateways.playing import control, later, order, pay, prepay, query, state

BACK = "https://pay.example/o/1?a=1"
REFERER = {"referer": "https://pay.example/p/1"}
CODE = "weixin://wxpay/bizpayurl?pr="


def handed(played: Played, number: int = 1, **changes: Any) -> HandOff:
    hand_off = prepay(played, order(number, **changes)).hand_off
    assert hand_off is not None
    return hand_off


def by_browser(played: Played, **changes: Any) -> str:
    wanted = {"way": Way.BROWSER, "payer_id": None, "payer_ip": "203.0.113.7", "return_url": BACK} | changes
    return handed(played, **wanted).url or ""


def by_code(played: Played, **changes: Any) -> str:
    return handed(played, way=Way.CODE, payer_id=None, **changes).fields["code"]


def test_a_browser_is_led_to_the_cashier_pays_and_comes_back(play: Play) -> None:
    played = play()
    url = by_browser(played)
    assert url.startswith(f"{played.url}/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx2026")
    cashier = played.url + HTTP.get(url, headers=REFERER).headers["location"]
    assert "12.00" in HTTP.get(cashier).text
    page, _, query_part = cashier.partition("?")
    answer = HTTP.post(f"{page}/pay?{query_part}")
    assert (answer.status_code, answer.headers["location"]) == (303, BACK)
    assert state(played, order(way=Way.BROWSER)) is ChannelState.SUCCEEDED


def test_a_browser_that_does_not_say_where_it_comes_from_is_turned_away(play: Play) -> None:
    played = play()
    answer = HTTP.get(by_browser(played))
    assert answer.status_code == 403
    assert "Referer" in answer.text
    assert HTTP.get(by_browser(play(check_referer=False))).status_code == 302


def test_an_address_of_a_browser_lives_five_minutes_and_a_repeat_gives_a_fresh_one(play: Play) -> None:
    played = play()
    first = by_browser(played)
    later(played, 301)
    cashier = played.url + HTTP.get(first, headers=REFERER).headers["location"]
    assert "已失效" in HTTP.get(cashier).text
    assert "已失效" in HTTP.post(f"{cashier.partition('?')[0]}/pay").text
    assert state(played, order()) is ChannelState.PENDING
    fresh = played.url + HTTP.get(by_browser(played), headers=REFERER).headers["location"]
    assert HTTP.post(f"{fresh.partition('?')[0]}/pay").status_code == 200
    assert state(played, order()) is ChannelState.SUCCEEDED


def test_a_code_is_scanned_and_paid(play: Play) -> None:
    played = play()
    code = by_code(played)
    assert code.startswith(CODE)
    assert "识别" in HTTP.get(f"{played.url}/scan").text
    assert "weixin://" in HTTP.get(f"{played.url}/scan", params={"code": "https://example"}).text
    cashier = HTTP.get(f"{played.url}/scan", params={"code": code}).headers["location"]
    assert "12.00" in HTTP.get(played.url + cashier).text
    assert "已支付" in HTTP.post(f"{played.url}{cashier}/pay").text
    assert state(played, order(way=Way.CODE)) is ChannelState.SUCCEEDED


def test_an_older_code_dies_with_a_newer_one(play: Play) -> None:
    played = play()
    first = by_code(played).removeprefix(CODE)
    second = by_code(played).removeprefix(CODE)
    assert first != second
    assert "已失效" in HTTP.get(f"{played.url}/cashier/{first}").text
    assert "立即支付" in HTTP.get(f"{played.url}/cashier/{second}").text


def test_the_channel_learns_who_pays_only_when_he_does(play: Play) -> None:
    played = play()
    by_code(played)
    assert "payer" not in _told(played)
    HTTP.post(f"{played.url}/_control/pay", json={"order_no": order().order_no, "openid": "oScanner"})
    assert (_told(played)["payer"], _told(played)["trade_type"]) == ({"sp_openid": "oScanner"}, "NATIVE")


def _told(played: Played) -> Any:
    desk = played.sandbox.desk
    found = desk.state.order(order().order_no)
    assert found is not None
    return msgspec.json.decode(msgspec.json.encode(desk.told(found)))


def test_one_number_stays_with_its_way(play: Play) -> None:
    played = play()
    by_code(played)
    outcome = prepay(played, order(way=Way.BROWSER, payer_ip="203.0.113.7"))
    assert (outcome.state, outcome.reason) == (ChannelState.UNKNOWN, "order_number_taken")


@pytest.mark.parametrize("payer_ip", [None, "not an address"])
def test_an_order_by_browser_without_the_phones_address_is_refused(play: Play, payer_ip: str | None) -> None:
    outcome = prepay(play(), order(way=Way.BROWSER, payer_ip=payer_ip))
    assert (outcome.state, outcome.reason) == (ChannelState.FAILED, "call_refused")


def test_the_bill_says_how_each_was_paid(play: Play) -> None:
    played = play()
    for number, way in enumerate((Way.IN_WALLET, Way.BROWSER, Way.CODE), 1):
        handed(played, number, way=way, payer_ip="203.0.113.7")
        control(played, "pay", order_no=order(number).order_no)
    desk = played.sandbox.desk
    later(played, 86_400)
    token, _ = Bills(desk).write(order().created_at.date(), "ALL", None, compressed=False)
    rows = Bills(desk).file(token).decode().splitlines()[1:4]
    assert [row.split(",`")[8] for row in rows] == ["JSAPI", "MWEB", "NATIVE"]


def test_an_endless_order_is_taken_whenever_it_is_repeated(play: Play) -> None:
    played = play()
    endless = order(expires_at=order().created_at + timedelta(days=100))
    prepay(played, endless)
    later(played, 3600)
    assert prepay(played, endless).state is ChannelState.PENDING
    pay(played, endless)
    assert query(played, endless).result is not None
