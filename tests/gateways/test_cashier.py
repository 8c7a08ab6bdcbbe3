"""The cashier's page and the payer's openid, as a browser meets them."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gateways.contract import Answer, ChannelState
from gateways.wechat import openid
from tests.gateways.conftest import APP_ID, HTTP, MERCHANT_NO, Play, Played
from tests.gateways.playing import close, control, order, prepay, state

BACK = "http://127.0.0.1:8620/r/token?lang=en&x=1"


def ordered(played: Played, **changes: Any) -> str:
    hand_off = prepay(played, order(**changes)).hand_off
    assert hand_off is not None
    return f"{played.url}/cashier/{hand_off.fields['package'].removeprefix('prepay_id=')}"


def test_the_page_names_payee_amount_and_goods(play: Play) -> None:
    played = play()
    control(played, "merchants", merchants=[{"merchant_no": MERCHANT_NO, "name": "无锡太湖停车服务有限公司"}])
    page = HTTP.get(ordered(played, description="停车费 <b>太湖</b> & 湖"))
    assert page.status_code == 200
    assert "无锡太湖停车服务有限公司" in page.text
    assert "12.00" in page.text
    assert "停车费 &lt;b&gt;太湖&lt;/b&gt; &amp; 湖" in page.text
    assert "script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_paying_takes_the_money_and_leads_back(play: Play) -> None:
    played = play()
    url = ordered(played)
    assert "return_url=http%3A%2F%2F127.0.0.1" in HTTP.get(url, params={"return_url": BACK}).text
    answer = HTTP.post(f"{url}/pay", params={"return_url": BACK})
    assert (answer.status_code, answer.headers["location"]) == (303, BACK)
    assert state(played, order()) is ChannelState.SUCCEEDED
    assert HTTP.post(f"{url}/pay", params={"return_url": BACK}).headers["location"] == BACK
    assert "已支付" in HTTP.post(f"{url}/pay").text
    assert "返回商家" in HTTP.get(url, params={"return_url": BACK}).text


def test_cancelling_takes_nothing_and_leads_back(play: Play) -> None:
    played = play()
    url = ordered(played)
    answer = HTTP.post(f"{url}/cancel", params={"return_url": BACK})
    assert (answer.status_code, answer.headers["location"]) == (303, BACK)
    assert state(played, order()) is ChannelState.PENDING
    assert "没有扣款" in HTTP.post(f"{url}/cancel").text


@pytest.mark.parametrize("target", ["javascript:alert(1)", "//evil.example", "http://", "http://a\r\nb", "data:text/html,x"])
def test_a_return_address_that_is_none_is_not_followed(play: Play, target: str) -> None:
    answer = HTTP.post(f"{ordered(play())}/cancel", params={"return_url": target})
    assert answer.status_code == 200
    assert target not in answer.text


def test_nothing_is_taken_for_an_order_whose_last_moment_has_passed(play: Play) -> None:
    played = play()
    url = ordered(played)
    played.clock.set(order().expires_at)
    assert "无法支付" in HTTP.post(f"{url}/pay", params={"return_url": BACK}).text
    assert state(played, order()) is ChannelState.PENDING


def test_an_unknown_or_closed_order_says_so(play: Play) -> None:
    played = play()
    assert HTTP.get(f"{played.url}/cashier/wx0").status_code == 404
    assert HTTP.post(f"{played.url}/cashier/wx0/pay", params={"return_url": BACK}).status_code == 404
    url = ordered(played)
    close(played, order())
    assert "订单已关闭" in HTTP.get(url).text


def test_a_browser_keeps_its_openid_and_a_code_is_used_once(play: Play) -> None:
    played = play()
    authorize = openid.authorize_url(
        f"{played.url}/connect/oauth2/authorize", app_id=APP_ID, return_url="http://127.0.0.1:1/back?a=1", state="s1"
    )
    got = []
    with httpx.Client() as browser:
        for _ in range(2):
            target = urlsplit(browser.get(authorize.partition("#")[0]).headers["location"])
            back = parse_qs(target.query)
            assert (target.path, back["a"], back["state"]) == ("/back", ["1"], ["s1"])
            request = openid.build_exchange(
                f"{played.url}/sns/oauth2/access_token", app_id=APP_ID, secret="app-secret", code=back["code"][0]
            )
            first, second = (openid.parse_exchange(played.transport.send(request)) for _ in range(2))
            got.append(first.openid)
            assert second == openid.OpenId(reason="ask_again")
    assert got[0] == got[1]
    assert got[0] is not None


@pytest.mark.parametrize(
    "query", [{"appid": "wx1", "redirect_uri": "http://a/b"}, {"appid": APP_ID, "redirect_uri": "javascript:x"}, {}]
)
def test_a_redirect_to_nowhere_is_refused(play: Play, query: dict[str, str]) -> None:
    assert HTTP.get(f"{play().url}/connect/oauth2/authorize", params=query).status_code == 400


def test_a_wrong_secret_or_grant_gets_no_openid(play: Play) -> None:
    played = play()
    url = f"{played.url}/sns/oauth2/access_token"
    wrong = openid.build_exchange(url, app_id=APP_ID, secret="other", code="c")
    assert openid.parse_exchange(played.transport.send(wrong)) == openid.OpenId(reason="unavailable")


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"openid":"<x>"}', b'{"openid":null}'])
def test_an_answer_without_an_openid_is_unavailable(body: bytes) -> None:
    assert openid.parse_exchange(Answer(status=200, headers={}, body=body)) == openid.OpenId(reason="unavailable")
