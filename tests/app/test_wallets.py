"""From a tapped button to each wallet and back, against the stand-ins over HTTP; asked as a browser without scripts asks."""

import html
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from httpx import Response
from litestar import Litestar
from litestar.testing import TestClient

from app import demo
from app.pages import pay, payer
from app.pages.payer import Paying
from app.pages.render import headers
from app.pages.wallets import Offer, offers, without_payer
from app.pages.words import EN, ZH
from app.stand_in import other_stand_ins, sandbox_config
from app.wiring import Wiring, build
from config.settings import load
from gateways import routing
from gateways.contract import Way
from gateways.sandbox.server import running
from ledger.books import open_lane
from payments import charges, lots, paycode
from payments.lots import Lot, NewLot, NewOperator
from payments.records import NewCharge
from tests.app.conftest import app_of
from tests.ports import free_port

Browser = TestClient[Litestar]
PLATE = "苏B12345"
WECHAT, ALIPAY = "Mozilla MicroMessenger/8.0", "Mozilla AliApp(AP/10.5) AlipayClient/10.5"
ORDINARY, UNIONPAY = "Mozilla Chrome/124.0 Mobile Safari", "Mozilla (com.unionpay.mobilepay) CloudPay"


@pytest.fixture
def wiring(home_with_keys: Path, database: str, tmp_path: Path) -> Iterator[Wiring]:
    """An installation beside its stand-ins, which are served on a port of their own."""
    shutil.copytree(home_with_keys, tmp_path / "home")
    port = free_port()
    settings = load({
        "TONGTING_HOME": str(tmp_path / "home"), "TONGTING_DATABASE_URL": database, "TONGTING_PUBLIC_URL": "http://pay.test",
        "TONGTING_SANDBOX_PORT": str(port),
    })  # fmt: skip
    config = sandbox_config(settings)
    with running(config, host=settings.sandbox_host, port=port, others=other_stand_ins(settings, config)):
        built = build(settings)
        yield built
        built.close()


@pytest.fixture
def lot(wiring: Wiring) -> Lot:
    """A lot whose operator has an account at WeChat, Alipay and UnionPay, and a car that owes something there."""
    now = wiring.clock.now()
    operator = NewOperator("liangxi", "无锡梁溪示范停车管理有限公司", "91320213MA0DEM0011", "梁溪区", "government")
    with wiring.db.begin() as tx:
        open_lane(tx, lane=0, origin="tongting.example/lane0")
        (registered,) = lots.register_operators(tx, operators=[operator], at=now)
        for channel in ("wechat", "alipay", "unionpay"):
            number = "1620000001" if channel == "wechat" else demo.numbered(channel, 1)
            account = routing.NewAccount(
                registered.operator_id, channel, number, operator.legal_name, "agreement", now - timedelta(days=1)
            )  # fmt: skip
            routing.register(
                tx, account=account, operator_name=operator.legal_name, provider_no=wiring.providers()[channel], at=now
            )  # fmt: skip
        wanted = NewLot("LX-01", "liangxi", "中山路停车场", "梁溪区", "中山路 100 号", 80, "gate", "每小时5元。")
        (made,) = lots.register_lots(tx, lots=[wanted], at=now)
        owed = [
            NewCharge(
                lot_serial=f"S{number}", plate=PLATE, entered_at=now - timedelta(minutes=161), minutes=161,
                amount_fen=1000 + number, tariff_text="3 小时",
            )
            for number in (1, 2)
        ]  # fmt: skip
        charges.post(tx, lane=0, lot=made, charges=owed, at=now, ids=wiring.ids)
    return made


@pytest.fixture
def browser(wiring: Wiring, lot: Lot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    monkeypatch.setattr(pay, "address_of", lambda *_: "203.0.113.7")  # this client has none, and WeChat's H5 wants one
    with TestClient(app_of(wiring), base_url="http://pay.test") as client:
        client.follow_redirects = False
        yield client


@pytest.fixture
def code(wiring: Wiring, lot: Lot) -> str:
    return paycode.token(lot.lot_id, keys=wiring.pay_codes)


def due(browser: Browser, code: str, agent: str) -> str:
    return browser.post(f"/p/{code}/due", data={"province": "苏", "rest": PLATE[1:]}, headers={"user-agent": agent}).text


def hidden(page: str, *names: str) -> dict[str, str]:
    return {name: html.unescape(re.findall(f'name="{name}" value="([^"]+)"', page)[0]) for name in names}


def tapped(browser: Browser, code: str, channel: str, agent: str) -> Response:
    """Tap a wallet's button for the first charge."""
    form = hidden(due(browser, code, agent), "charge", "order") | {"channel": channel}
    return browser.post(f"/p/{code}/pay", data=form, headers={"user-agent": agent})


def followed(browser: Browser, answer: Response, agent: str) -> Response:
    """Follow a redirect to a page of ours."""
    assert answer.status_code == 303, answer.text
    return browser.get(answer.headers["location"].removeprefix("http://pay.test"), headers={"user-agent": agent})


def logged_in(answer: Response, agent: str) -> str:
    """Go to the wallet's login as the browser is told to; return where it leads back to."""
    assert answer.status_code == 303, answer.text
    back = httpx.get(answer.headers["location"], headers={"user-agent": agent}, trust_env=False)
    assert back.status_code == 302, back.text
    return back.headers["location"].removeprefix("http://pay.test")


# What is offered


@pytest.mark.parametrize(
    ("agent", "offered"),
    [
        (ORDINARY, [("wechat", Way.BROWSER), ("alipay", Way.BROWSER), ("unionpay", Way.BROWSER)]),
        (WECHAT, [("wechat", Way.IN_WALLET)]),
        (ALIPAY, [("alipay", Way.IN_WALLET)]),
        (UNIONPAY, [("unionpay", Way.IN_WALLET)]),
        ("", [("wechat", Way.BROWSER), ("alipay", Way.BROWSER), ("unionpay", Way.BROWSER)]),
    ],
)
def test_inside_a_wallet_only_that_one_is_offered(wiring: Wiring, agent: str, offered: list[tuple[str, Way]]) -> None:
    channels = [one.channel for one in wiring.channels]
    found = offers(channels, routed=wiring.channels.names(), user_agent=agent)
    assert found == [Offer(channel, way) for channel, way in offered]


def test_a_wallet_without_a_route_is_not_offered_and_etc_never_is(wiring: Wiring) -> None:
    channels = [one.channel for one in wiring.channels]
    assert offers(channels, routed=["unionpay", "etc"], user_agent=ORDINARY) == [Offer("unionpay", Way.BROWSER)]
    assert offers(channels, routed=["unionpay", "etc"], user_agent=WECHAT) == []


def test_only_alipay_is_reached_without_its_payer() -> None:
    assert without_payer(Offer("alipay", Way.IN_WALLET)) == Offer("alipay", Way.BROWSER, unnamed=True)
    assert without_payer(Offer("wechat", Way.IN_WALLET)) is None
    assert without_payer(Offer("unionpay", Way.IN_WALLET)) is None


def test_apps_are_listed_as_in_a_sentence() -> None:
    assert ZH.apps(["wechat", "alipay", "unionpay"]) == "微信、支付宝或云闪付"
    assert EN.apps(["wechat", "alipay"]) == "WeChat or Alipay"
    assert EN.apps(["wechat"]) == "WeChat"


def test_the_sheet_names_the_wallets_of_this_installation(browser: Browser, lot: Lot) -> None:
    assert "请用微信、支付宝或云闪付“扫一扫”" in browser.get(f"/codes/{lot.code}").text


def test_inside_a_wallet_without_a_route_the_page_says_to_open_it_elsewhere(
    browser: Browser, wiring: Wiring, lot: Lot, code: str
) -> None:  # fmt: skip
    with wiring.db.begin() as tx:
        (route,) = [one for one in routing.listed(tx, operator_id=lot.operator_id) if one.channel == "wechat"]
        routing.end(tx, route_id=route.route_id, at=wiring.clock.now())
    page = due(browser, code, WECHAT)
    assert ZH.sorry_wallet in page
    assert 'name="channel"' not in page


# Who pays


def test_a_payer_of_one_channel_is_no_payer_of_another() -> None:
    cookies = {"payer": "oWechat", "payer_alipay": "2088000000000001"}
    assert payer.known(cookies, "wechat") == "oWechat"
    assert payer.known(cookies, "alipay") == "2088000000000001"
    assert payer.known({"payer": "oWechat"}, "alipay") is None
    assert payer.known(cookies, "unionpay") is None
    assert payer.known({"payer": "o; Path=/"}, "wechat") is None


def test_what_was_about_to_be_paid_comes_back_with_its_state_only(wiring: Wiring) -> None:
    was = Paying("a" * 32, "alipay", "charge", "token", again=True, shown="12.00")
    said = payer.paying_cookie(wiring, was).value or ""
    assert payer.paying(wiring, {"paying": said}, state="a" * 32) == was
    for wrong in ("", "b" * 32, "a" * 31, "é"):
        assert payer.paying(wiring, {"paying": said}, state=wrong) is None
    changed = (said.replace("12.00", "01.00"), said.replace("alipay", "wechat"), said[:-1], said.partition("~")[2])
    for broken in ("", "~~~~~~", f"{'a' * 32}~alipay~charge~token~~12.00~", *changed):
        assert payer.paying(wiring, {"paying": broken}, state=broken.partition("~")[0]) is None
    unsigned = payer.paying_cookie(wiring, Paying("a" * 32, "unionpay", "charge", "token", shown="; Path=/"))
    assert "Path" not in (unsigned.value or "")
    assert payer.paying(wiring, {"paying": unsigned.value or ""}, state="a" * 32) is None  # it never asks who pays


@pytest.mark.parametrize(("agent", "channel"), [(WECHAT, "wechat"), (ALIPAY, "alipay")])
def test_a_wallet_says_who_pays_and_the_page_calls_it_up(browser: Browser, code: str, agent: str, channel: str) -> None:
    back = logged_in(tapped(browser, code, channel, agent), agent)
    went_on = browser.get(back, headers={"user-agent": agent})
    assert f"via={channel}" in went_on.headers["location"]
    page = followed(browser, went_on, agent)
    call = hidden_call(page.text)
    assert f'data-channel="{channel}"' in page.text
    assert set(call) == (
        {"tradeNO"} if channel == "alipay" else {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"}
    )
    assert page.headers["referrer-policy"] == "no-referrer"
    assert hidden_call(followed(browser, went_on, agent).text) == call  # a reload calls up the same order
    again = browser.get(back, headers={"user-agent": agent})  # a reload of the way back: the code is used, the payer known
    assert again.headers["location"] == went_on.headers["location"]
    assert tapped(browser, code, channel, agent).headers["location"].startswith("/r/")  # the next one needs no login


def hidden_call(page: str) -> dict[str, str]:
    found = re.findall(r'data-request="([^"]+)"', page)
    assert found, page
    return dict(re.findall(r'"(\w+)":"([^"]*)"', html.unescape(found[0])))


def test_an_alipay_that_does_not_say_who_pays_is_reached_as_from_a_browser(browser: Browser, code: str) -> None:
    asked = parse_qs(urlsplit(tapped(browser, code, "alipay", ALIPAY).headers["location"]).query)
    nobody = browser.get(f"/p/{code}/payer?{urlencode({'state': asked['state'][0]})}", headers={"user-agent": ALIPAY})
    assert nobody.headers["location"].endswith("/pay?via=alipay&by=browser")
    page = followed(browser, nobody, ALIPAY)
    assert "alipay.trade.wap.pay" in html.unescape(page.text)
    assert "payer_alipay" not in browser.cookies


def test_a_code_that_is_not_taken_is_asked_for_once_more_and_not_a_third_time(browser: Browser, code: str) -> None:
    answer = tapped(browser, code, "alipay", ALIPAY)
    for _ in range(2):
        asked = parse_qs(urlsplit(answer.headers["location"]).query)
        back = urlencode({"state": asked["state"][0], "auth_code": "never-given"})
        answer = browser.get(f"/p/{code}/payer?{back}", headers={"user-agent": ALIPAY})
    assert answer.headers["location"].endswith("/pay?via=alipay&by=browser")


def test_a_wechat_that_does_not_say_who_pays_is_told_as_a_sentence(browser: Browser, code: str) -> None:
    asked = parse_qs(urlsplit(tapped(browser, code, "wechat", WECHAT).headers["location"]).query)
    page = browser.get(f"/p/{code}/payer?{urlencode({'state': asked['state'][0]})}", headers={"user-agent": WECHAT})
    assert page.status_code == 503
    assert ZH.sorry_busy in page.text


def test_a_way_back_serves_the_wallet_it_was_begun_with_alone(browser: Browser, code: str) -> None:
    """A code of WeChat's is nothing to Alipay's login, whatever the address says."""
    asked = parse_qs(urlsplit(tapped(browser, code, "alipay", ALIPAY).headers["location"]).query)
    back = urlencode({"state": asked["state"][0], "code": "of-wechat", "via": "wechat"})
    went_on = browser.get(f"/p/{code}/payer?{back}", headers={"user-agent": ALIPAY})
    assert "via=alipay" in went_on.headers["location"]
    assert "payer" not in browser.cookies


@pytest.mark.parametrize(("agent", "channel"), [(WECHAT, "wechat"), (ALIPAY, "alipay")])
def test_a_basket_asks_the_wallet_too(browser: Browser, code: str, agent: str, channel: str) -> None:
    form = hidden(due(browser, code, agent), "charges", "basket")
    address = browser.post(f"/p/{code}/basket", data=form, headers={"user-agent": agent}).headers["location"]
    asked = browser.post(f"{address}/pay", data={"channel": channel}, headers={"user-agent": agent})
    back = logged_in(asked, agent)
    assert back.startswith(f"{address}/payer?")
    page = followed(browser, browser.get(back, headers={"user-agent": agent}), agent)
    assert hidden_call(page.text)


def test_a_single_payments_way_back_does_not_serve_a_basket(browser: Browser, code: str) -> None:
    form = hidden(due(browser, code, ALIPAY), "charges", "basket")
    address = browser.post(f"/p/{code}/basket", data=form).headers["location"]
    asked = parse_qs(urlsplit(tapped(browser, code, "alipay", ALIPAY).headers["location"]).query)
    query = urlencode({"state": asked["state"][0], "auth_code": "x"})
    assert browser.get(f"{address}/payer?{query}").headers["location"] == address


# Leaving and coming back


def link_of(page: str) -> str:
    return html.unescape(re.findall(r'id="leave" href="([^"]+)"', page)[0])


def test_wechat_takes_the_browser_because_the_page_says_where_it_comes_from(browser: Browser, code: str) -> None:
    page = followed(browser, tapped(browser, code, "wechat", ORDINARY), ORDINARY)
    assert page.headers["referrer-policy"] == "origin"
    link = link_of(page.text)
    assert f'<noscript><meta http-equiv="refresh" content="1;url={html.escape(link)}"></noscript>' in page.text
    assert page.text.count("http-equiv") == 1  # with scripts, the script alone leaves
    assert httpx.get(link, trust_env=False).status_code == 403
    assert httpx.get(link, headers={"referer": "http://pay.test/"}, trust_env=False).status_code == 302


@pytest.mark.parametrize("path", ["/", "/codes/LX-01", "/p/x", "/r/" + "x" * 24])
def test_no_other_page_says_where_it_comes_from(browser: Browser, path: str) -> None:
    assert browser.get(path).headers["referrer-policy"] == "no-referrer"


def test_unionpays_form_leads_there_and_its_own_leads_back(browser: Browser, wiring: Wiring, code: str) -> None:
    page = followed(browser, tapped(browser, code, "unionpay", ORDINARY), ORDINARY)
    assert f"form-action 'self' {wiring.settings.sandbox_url}" in page.headers["content-security-policy"]
    fields = {name: html.unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text)}
    action = html.unescape(re.findall(r'id="leave" method="post" action="([^"]+)"', page.text)[0])
    arrived = httpx.post(action, data=fields, trust_env=False)
    assert arrived.status_code == 303, arrived.text
    cashier = f"{wiring.settings.sandbox_url}{arrived.headers['location']}"
    assert httpx.post(f"{cashier}/pay", trust_env=False).status_code == 303
    paid = httpx.get(cashier, trust_env=False).text
    signed = {name: html.unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', paid)}
    (back,) = re.findall(r'action="http://pay\.test(/r/[^"]+)"', paid)
    assert len(urlencode(signed)) > 2_000
    returned = browser.post(html.unescape(back), data=signed)
    assert (returned.status_code, returned.headers["location"]) == (303, html.unescape(back))
    assert returned.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/r/", "/b/"])
def test_a_wallets_form_may_be_large_and_nothing_of_it_is_used(browser: Browser, path: str) -> None:
    token = "x" * 24
    answer = browser.post(f"{path}{token}", data={"signPubKeyCert": "a" * 20_000})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}{token}")
    assert browser.post(f"{path}x%2F..", data={}).status_code in (404, 409)


@pytest.mark.parametrize("channel", ["wechat", "alipay", "unionpay"])
def test_going_on_leads_to_the_wallet_that_was_tapped(browser: Browser, code: str, channel: str) -> None:
    answer = tapped(browser, code, channel, ORDINARY)
    page = followed(browser, answer, ORDINARY)
    (result,) = set(re.findall(r'class="button plain" href="(/r/[^"]+)"', page.text))
    shown = browser.get(html.unescape(result))
    assert ZH.waiting_title in shown.text
    assert f'class="button" href="{html.escape(answer.headers["location"])}"' in shown.text


def test_with_the_real_channels_forms_may_lead_to_the_cashiers_beside_the_gateways(
    wiring: Wiring, browser: Browser, code: str
) -> None:  # fmt: skip
    policy = headers(wiring.settings, leads_to="https://gateway.95516.com/gateway/api/frontTransReq.do")["content-security-policy"]
    assert "https://*.95516.com https://gateway.95516.com" in policy
    assert "*" not in browser.get(f"/p/{code}").headers["content-security-policy"]
