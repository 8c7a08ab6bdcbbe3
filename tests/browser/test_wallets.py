"""A driver pays with each wallet, from an ordinary browser and inside the wallet's own app, one charge and several together."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.pages.words import EN, ZH
from ledger.ids import read_payment_number
from tests.browser.city import City
from tests.browser.conftest import PHONE, WAIT_MS
from tests.browser.walking import SETTLE_MS, at_cashier, is_paid, pay_at_cashier, scan_and_look_up, tap, type_plate

ANDROID = "Mozilla/5.0 (Linux; Android 14; Mobile) AppleWebKit/537.36 "
IN_WECHAT, IN_ALIPAY = ANDROID + "MicroMessenger/8.0.50", ANDROID + "AliApp(AP/10.5.96) AlipayClient/10.5.96"
IN_UNIONPAY = ANDROID + "(com.unionpay.mobilepay) CloudPay"
WALLETS = [ZH.pay_wechat, ZH.pay_alipay, ZH.pay_unionpay]


@contextmanager
def inside(chromium: Browser, agent: str) -> Iterator[BrowserContext]:
    """A phone on which the pages are open inside a wallet's app; in an ordinary browser where ``agent`` is empty."""
    context = chromium.new_context(
        viewport=PHONE, device_scale_factor=2, is_mobile=True, has_touch=True, user_agent=agent or None
    )  # fmt: skip
    context.set_default_timeout(WAIT_MS)
    yield context
    context.close()


@pytest.mark.parametrize("wallet", WALLETS[1:], ids=["alipay", "unionpay"])
def test_an_ordinary_browser_pays_with_each_wallet_to_the_receipt(city: City, phone: BrowserContext, wallet: str) -> None:
    plate = city.owe(amount_fen=1200)
    page = phone.new_page()
    scan_and_look_up(city, page, plate)
    tap(page, wallet)
    at_cashier(page)
    pay_at_cashier(page, wallet)
    is_paid(page)
    assert page.url.startswith(f"{city.url}/r/")
    expect(page.locator("main dd", has_text=wallet.removeprefix("银联")).first).to_be_visible()  # the channel that paid
    assert read_payment_number(page.locator(".receipt").inner_text()) is not None
    page.reload()
    is_paid(page)
    assert city.books() == [("settled", 1200)]


@pytest.mark.parametrize("wallet", WALLETS, ids=["wechat", "alipay", "unionpay"])
def test_without_scripts_every_wallet_is_reached(city: City, chromium: Browser, wallet: str) -> None:
    context = chromium.new_context(viewport=PHONE, java_script_enabled=False)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(f"{city.url}/p/{city.code}")
    page.get_by_label(ZH.plate_rest).fill(city.owe(amount_fen=500)[1:])
    page.get_by_role("button", name=ZH.look_up).click()
    tap(page, wallet)
    if wallet == ZH.pay_unionpay:
        page.get_by_role("button", name=ZH.opening_button).click()  # nothing can send a form by itself
    at_cashier(page)
    pay_at_cashier(page, wallet)
    is_paid(page)
    context.close()


@pytest.mark.parametrize(("agent", "wallet"), [(IN_WECHAT, ZH.pay_wechat), (IN_ALIPAY, ZH.pay_alipay)], ids=["wechat", "alipay"])
def test_without_scripts_a_wallets_app_says_why_it_ends_at_the_hand_off(
    city: City, chromium: Browser, agent: str, wallet: str
) -> None:  # fmt: skip
    context = chromium.new_context(viewport=PHONE, java_script_enabled=False, user_agent=agent)
    page = context.new_page()
    page.goto(f"{city.url}/p/{city.code}")
    page.get_by_label(ZH.plate_rest).fill(city.owe(amount_fen=500)[1:])
    page.get_by_role("button", name=ZH.look_up).click()
    tap(page, wallet)
    expect(page.get_by_text(ZH.opening_scripts)).to_be_visible()
    page.get_by_role("link", name=ZH.refresh).click()
    expect(page.get_by_role("status")).to_have_text(ZH.waiting_title)
    context.close()


def test_going_on_leads_to_the_same_wallet_and_leaves_by_itself_again(city: City, phone: BrowserContext) -> None:
    page = phone.new_page()
    scan_and_look_up(city, page, city.owe(amount_fen=400))
    tap(page, ZH.pay_alipay)
    at_cashier(page)
    page.get_by_role("button", name="取消").click()
    expect(page.get_by_role("status")).to_have_text(ZH.waiting_title)
    page.get_by_role("link", name=ZH.continue_paying).click()
    pay_at_cashier(page, ZH.pay_alipay)
    is_paid(page)
    assert city.attempts() == 1


BRIDGE = """
window.AlipayJSBridge = {call: function (name, request, answer) {
  window.sessionStorage.setItem("asked", JSON.stringify([name, request]));
  answer({resultCode: window.sessionStorage.getItem("say") || "6001"});
}};
"""


def test_inside_alipay_the_payer_is_asked_for_and_the_wallet_called_up(city: City, chromium: Browser) -> None:
    plate = city.owe(amount_fen=400)
    with inside(chromium, IN_ALIPAY) as context:
        page = context.new_page()
        page.add_init_script(BRIDGE)
        scan_and_look_up(city, page, plate)
        expect(page.get_by_role("button")).to_have_count(1)  # no other wallet can be opened from here
        tap(page, ZH.pay_alipay)
        expect(page.locator("#note")).to_have_text(ZH.opening_cancelled)
        asked = page.evaluate("JSON.parse(window.sessionStorage.getItem('asked'))")
        assert (asked[0], list(asked[1])) == ("tradePay", ["tradeNO"])
        assert {cookie["name"] for cookie in context.cookies(city.url)} == {"payer_alipay", "paying"}
        page.evaluate("window.sessionStorage.setItem('say', '9000')")
        page.get_by_role("button", name=ZH.opening_button).click()
        expect(page.get_by_role("status")).to_have_text(ZH.waiting_title)  # the wallet said paid, and that proves nothing
        page.evaluate("window.sessionStorage.setItem('say', '6001')")
        page.get_by_role("link", name=ZH.continue_paying).click()
        page.get_by_role("link", name=ZH.opening_cashier).click()
        pay_at_cashier(page, ZH.pay_alipay)
        is_paid(page)
    assert (city.attempts(), city.books()) == (1, [("settled", 400)])


# Several together


def owe_at_both_lots(city: City) -> str:
    """Let a car owe two fees at the first lot and one at the second; returns its plate."""
    plate = city.owe(amount_fen=500)
    city.owe(amount_fen=700, plate=plate)
    city.owe(amount_fen=1100, plate=plate, lot=city.other_lot)
    return plate


def open_basket(city: City, page: Page, plate: str) -> None:
    scan_and_look_up(city, page, plate)
    page.get_by_role("button", name=re.compile(ZH.together)).click()
    expect(page.locator(".amount span")).to_have_text(ZH.basket_open)


def test_charges_of_two_operators_are_paid_in_one_act(city: City, phone: BrowserContext) -> None:
    plate = owe_at_both_lots(city)
    page = phone.new_page()
    open_basket(city, page, plate)
    tap(page, ZH.pay_wechat)
    expect(page.get_by_text("合并支付 3 笔")).to_be_visible()
    pay_at_cashier(page, ZH.pay_wechat)
    expect(page.get_by_role("status")).to_have_text(ZH.basket_done, timeout=SETTLE_MS)
    expect(page.locator(".receipt")).to_have_count(3)
    assert city.paid_over(plate) == [("wechat", 500), ("wechat", 700), ("wechat", 1100)]


def test_one_of_two_cars_with_a_number_pays_all_that_it_owes_elsewhere(city: City, phone: BrowserContext) -> None:
    plate = city.owe(amount_fen=600, lot=city.other_lot, color="blue")
    city.owe(amount_fen=800, plate=plate, lot=city.other_lot, color="blue")
    city.owe(amount_fen=900, plate=plate, lot=city.other_lot, color="yellow")
    page = phone.new_page()
    scan_and_look_up(city, page, plate)
    expect(page.get_by_text("¥")).to_have_count(0)
    page.get_by_role("button", name=ZH.plate_colors[0]).click()
    expect(page.get_by_text(city.other_lot.name)).to_have_count(0)
    page.get_by_role("button", name=f"{ZH.together} ¥14.00").click()
    tap(page, ZH.pay_wechat)
    pay_at_cashier(page, ZH.pay_wechat)
    expect(page.get_by_role("status")).to_have_text(ZH.basket_done, timeout=SETTLE_MS)
    assert city.paid_over(plate) == [("wechat", 600), ("wechat", 800)]
    scan_and_look_up(city, page, plate)  # one car is left: nothing is asked
    expect(page.get_by_text("¥9.00").first).to_be_visible()


def test_what_one_wallet_cannot_pay_is_said_and_paid_with_another(city: City, phone: BrowserContext) -> None:
    plate = city.owe(amount_fen=500)
    city.owe(amount_fen=1100, plate=plate, lot=city.other_lot)  # its operator has no account at UnionPay
    page = phone.new_page()
    open_basket(city, page, plate)
    expect(page.get_by_text(ZH.basket_left.format(n=1))).to_be_visible()
    tap(page, ZH.pay_unionpay)
    pay_at_cashier(page, ZH.pay_unionpay)
    partly = ZH.basket_partly.format(paid="5.00", open="11.00")
    expect(page.get_by_role("status")).to_have_text(partly, timeout=SETTLE_MS)
    expect(page.get_by_role("button", name=ZH.pay_unionpay)).to_have_count(0)
    page.reload()
    expect(page.get_by_role("status")).to_have_text(partly)
    tap(page, ZH.pay_alipay)
    pay_at_cashier(page, ZH.pay_alipay)
    expect(page.get_by_role("status")).to_have_text(ZH.basket_done, timeout=SETTLE_MS)
    assert city.paid_over(plate) == [("unionpay", 500), ("alipay", 1100)]


def test_the_pages_of_all_wallets_fit_the_phone_and_the_thumb(city: City, phone: BrowserContext) -> None:
    page = phone.new_page()
    for language in (ZH, EN):
        page.goto(f"{city.url}/p/{city.code}{'?lang=en' if language is EN else ''}")
        type_plate(page, owe_at_both_lots(city))
        page.get_by_role("button", name=language.look_up).click()
        fits(page)
        page.get_by_role("button", name=re.compile(language.together)).click()
        expect(page.locator(".amount span")).to_have_text(language.basket_open)
        fits(page)


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for button in page.locator("button, .button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 48
