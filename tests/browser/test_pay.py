"""A driver pays: with a phone and scripts, without scripts, with impatient fingers, with a wrong code."""

import json
import re

from playwright.sync_api import Browser, BrowserContext, expect

from app.pages import facts
from app.pages.words import EN, ZH
from ledger.ids import read_payment_number
from tests.browser.city import City
from tests.browser.conftest import PHONE
from tests.browser.walking import pay_at_cashier, press, scan_and_look_up, tap, type_plate


def test_the_keyboard_offers_only_what_a_place_can_hold(city: City, phone: BrowserContext) -> None:
    page = phone.new_page()
    page.goto(f"{city.url}/p/{city.code}")
    submit = page.get_by_role("button", name=ZH.look_up)
    expect(submit).to_be_disabled()
    expect(page.locator("#keys button", has_text=re.compile("^1$"))).to_be_disabled()
    page.locator("#cells button").first.click()
    press(page, "浙")
    type_plate(page, "浙B12345")
    expect(submit).to_be_enabled()
    press(page, "⌫")
    expect(submit).to_be_disabled()
    press(page, "学")
    expect(submit).to_be_enabled()
    assert page.locator("#cells").inner_text().split() == ["浙", "B", "1", "2", "3", "4", "学", ZH.plate_energy]
    page.locator("#cells button").nth(6).click()
    press(page, "5")
    press(page, "D")
    assert page.locator("#cells").inner_text().split() == ["浙", "B", "1", "2", "3", "4", "5", "D"]


def test_a_plate_can_be_typed_on_a_keyboard_and_sent_with_enter(city: City, phone: BrowserContext) -> None:
    plate = city.owe(amount_fen=300)
    page = phone.new_page()
    page.goto(f"{city.url}/p/{city.code}")
    page.keyboard.type(f"1io{plate[1:].lower()}")  # a digit, I and O do not fit and are passed over
    page.keyboard.press("d")
    page.keyboard.press("Backspace")
    assert page.locator("#cells").inner_text().split() == [*plate, ZH.plate_energy]
    page.keyboard.press("Enter")
    expect(page.get_by_text("¥3.00").first).to_be_visible()


PASTE = """text => {
  const carried = new DataTransfer();
  carried.setData("text", text);
  document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: carried, cancelable: true}));
}"""


def test_a_plate_can_be_pasted_however_it_is_written(city: City, phone: BrowserContext) -> None:
    page = phone.new_page()
    page.goto(f"{city.url}/p/{city.code}")
    for text, shown in (
        ("浙a·d1234 5", "浙AD12345"),
        ("B12345", "浙B12345"),
        ("not a plate", "浙B12345"),
        ("苏B1234警", "苏B1234警"),
    ):
        page.evaluate(PASTE, text)
        assert "".join(page.locator("#cells").inner_text().split()).removesuffix(ZH.plate_energy) == shown


def test_a_wrong_plate_comes_back_with_what_was_typed(city: City, phone: BrowserContext) -> None:
    page = phone.new_page()
    page.goto(f"{city.url}/p/{city.code}")
    page.get_by_role("button", name=ZH.plate_plain).click()
    page.get_by_label(ZH.plate_rest).fill("B123456")
    page.get_by_role("button", name=ZH.look_up).click()
    expect(page.get_by_role("alert")).to_have_text(ZH.sorry_plate)
    assert page.locator("#cells").inner_text().split() == list("苏B123456")


def test_an_edited_code_shows_a_warning_and_nothing_to_pay(city: City, phone: BrowserContext) -> None:
    page = phone.new_page()
    page.goto(f"{city.url}/p/B{city.code[1:]}")
    expect(page.get_by_role("alert")).to_have_text(ZH.sorry_code)
    expect(page.get_by_text(ZH.sorry_code_next)).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)


def test_the_language_can_be_switched_and_stays(city: City, phone: BrowserContext) -> None:
    plate = city.owe()
    page = phone.new_page()
    page.goto(f"{city.url}/p/{city.code}")
    page.get_by_role("link", name=ZH.other_language_name).click()
    expect(page.get_by_role("button", name=EN.look_up)).to_be_visible()
    type_plate(page, plate)
    page.get_by_role("button", name=EN.look_up).click()
    expect(page.get_by_text(EN.due, exact=True)).to_be_visible()


def test_no_page_is_wider_than_the_phone(city: City, phone: BrowserContext) -> None:
    page = phone.new_page()
    for path in ("/", f"/p/{city.code}", "/codes/LX-01", "/p/x"):
        page.goto(city.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_without_scripts_the_plate_is_typed_into_plain_fields(city: City, chromium: Browser) -> None:
    plate = city.owe()
    context = chromium.new_context(viewport=PHONE, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{city.url}/p/{city.code}")
    expect(page.locator("#keys")).to_be_hidden()
    page.get_by_label(ZH.plate_rest).fill(plate[1:].lower())
    page.get_by_role("button", name=ZH.look_up).click()
    expect(page.get_by_text("¥15.00").first).to_be_visible()
    context.close()


def test_a_driver_scans_types_looks_pays_and_sees_the_receipt(city: City, phone: BrowserContext) -> None:
    plate = city.owe(amount_fen=1500)
    page = phone.new_page()
    scan_and_look_up(city, page, plate)
    expect(page.get_by_text(facts.plate(plate))).to_be_visible()
    expect(page.get_by_text("¥15.00").first).to_be_visible()
    tap(page, ZH.pay_wechat)
    page.wait_for_url("**/cashier/**")
    expect(page.get_by_text("无锡梁溪示范停车管理有限公司")).to_be_visible()  # the stand-in's cashier names the payee
    pay_at_cashier(page, ZH.pay_wechat)
    expect(page.get_by_role("status")).to_have_text(ZH.paid_title, timeout=20_000)
    receipt = page.locator(".receipt").inner_text()
    assert read_payment_number(receipt) is not None
    for _ in range(2):
        page.reload()
        expect(page.get_by_role("status")).to_have_text(ZH.paid_title)
        assert page.locator(".receipt").inner_text() == receipt
    assert city.books() == [("settled", 1500)]


def test_two_phones_that_both_pay_are_told_the_truth(city: City, phone: BrowserContext, chromium: Browser) -> None:
    plate = city.owe(amount_fen=600)
    other = chromium.new_context(viewport=PHONE)
    pages = [phone.new_page(), other.new_page()]
    for page in pages:
        scan_and_look_up(city, page, plate)
        tap(page, ZH.pay_wechat)
        page.wait_for_url("**/cashier/**")
    for page, title in zip(pages, (ZH.paid_title, ZH.twice_title), strict=True):
        pay_at_cashier(page, ZH.pay_wechat)
        expect(page.get_by_role("status")).to_have_text(title, timeout=20_000)
    assert city.books() == [("second_payment", 600), ("settled", 600)]
    other.close()


WALLET = """
window.WeixinJSBridge = {invoke: function (name, request, answer) {
  window.sessionStorage.setItem("asked", JSON.stringify({name: name, request: request}));
  answer({err_msg: "get_brand_wcpay_request:" + (window.sessionStorage.getItem("say") || "ok")});
}};
"""


def test_inside_wechat_the_openid_is_asked_for_and_the_wallet_called_up(city: City, chromium: Browser) -> None:
    plate = city.owe(amount_fen=400)
    context = chromium.new_context(viewport=PHONE, user_agent="Mozilla/5.0 (iPhone) MicroMessenger/8.0.50")
    page = context.new_page()
    page.add_init_script(WALLET)
    scan_and_look_up(city, page, plate)
    tap(page, ZH.pay_wechat)
    expect(page.get_by_role("status")).to_have_text(ZH.waiting_title)  # the wallet said ok, and that proves nothing
    asked = json.loads(page.evaluate("window.sessionStorage.getItem('asked')"))
    assert asked["name"] == "getBrandWCPayRequest"
    assert set(asked["request"]) == {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"}
    assert {cookie["name"] for cookie in context.cookies(city.url)} >= {"payer"}
    page.evaluate("window.sessionStorage.setItem('say', 'cancel')")
    page.get_by_role("link", name=ZH.continue_paying).click()
    expect(page.locator("#note")).to_have_text(ZH.opening_cancelled)
    page.get_by_role("link", name=ZH.opening_cashier).click()
    pay_at_cashier(page, ZH.pay_wechat)
    expect(page.get_by_role("status")).to_have_text(ZH.paid_title, timeout=20_000)
    assert city.books() == [("settled", 400)]
    context.close()
