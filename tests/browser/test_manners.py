"""How the pages behave in a hand: the keyboard, what the phone remembers, choosing, no mouse and no touch."""

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from app.pages.words import ZH
from tests.browser.city import City
from tests.browser.conftest import PHONE, WAIT_MS
from tests.browser.walking import SETTLE_MS, at_cashier, is_paid, pay_at_cashier, press, scan_and_look_up, tap, type_plate


def open_scan(city: City, page: Page) -> None:
    page.goto(f"{city.url}/p/{city.code}")
    expect(page.locator("#cells button").first).to_be_visible()


# The plate keyboard


@pytest.mark.parametrize(
    ("typed", "offered", "refused"),
    [
        ("苏", "ABY", "17挂"),
        ("苏B1234", "0Z挂学警试超使领", "港澳"),
        ("苏B12C4", "0Z挂学警试超", "港澳使领"),
        ("粤Z1234", "0Z挂港澳使", ""),
        ("苏B12345", "AHJK", "L6Z"),
        ("苏BD1234", "5", "A港"),
        ("使12345", "6", "A"),
    ],
)
def test_a_place_takes_only_what_a_plate_can_have_there(
    city: City, phone: BrowserContext, typed: str, offered: str, refused: str
) -> None:
    page = phone.new_page()
    open_scan(city, page)
    page.locator("#cells button").first.click()
    type_plate(page, f" {typed}")
    for letter in offered:
        expect(key(page, letter)).to_have_attribute("aria-disabled", "false")
    for letter in refused:
        expect(page.locator(f"#keys button[data-letter='{letter}'][aria-disabled=false]")).to_have_count(0)


def key(page: Page, letter: str) -> Locator:
    return page.locator("#keys div:not([hidden]) button", has_text=re.compile(f"^{letter}$"))


def test_the_eighth_box_is_green_when_it_is_tapped_and_then_eight_are_wanted(city: City, phone: BrowserContext) -> None:
    page = phone.new_page()
    open_scan(city, page)
    eighth, submit = page.locator("#cells button").nth(7), page.get_by_role("button", name=ZH.look_up)
    eighth.click()
    expect(page.locator("#cells")).to_have_class(re.compile("green"))
    expect(eighth).to_have_attribute("aria-pressed", "true")
    type_plate(page, "苏BD1234")
    expect(submit).to_be_disabled()
    press(page, "5")
    expect(submit).to_be_enabled()
    page.locator("#cells button").nth(2).click()
    press(page, "L")  # no plate of eight begins so
    expect(submit).to_be_disabled()


# What the phone remembers


def test_the_last_three_plates_stay_on_the_phone_and_can_be_removed(city: City, phone: BrowserContext) -> None:
    page = phone.new_page()
    plates = [city.owe() for _ in range(4)]
    for plate in plates:
        scan_and_look_up(city, page, plate)
        page.wait_for_url("**/due")
    open_scan(city, page)
    chips = page.locator("#recent .plate")
    expect(chips).to_have_text(plates[:0:-1])
    expect(page.get_by_text(ZH.plate_recent_note)).to_be_visible()
    page.get_by_role("button", name=ZH.plate_forget.format(plate=plates[3])).click()
    expect(chips).to_have_text([plates[2], plates[1]])
    chips.last.click()
    assert page.locator("#cells").inner_text().split() == [*plates[1], ZH.plate_energy]
    with page.expect_request("**/due") as sent:
        page.get_by_role("button", name=ZH.look_up).click()
    assert (sent.value.post_data or "").count("=") == 2  # the two fields of the form, and no other plate
    open_scan(city, page)
    expect(chips).to_have_text([plates[1], plates[2]])
    page.get_by_role("button", name=ZH.plate_forget_all).click()
    expect(page.locator("#recent")).to_be_hidden()
    page.reload()
    expect(page.locator("#recent")).to_be_hidden()
    assert phone.storage_state()["origins"] == []


FORBIDDEN = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }});"


@pytest.mark.parametrize("storage", [FORBIDDEN, "localStorage.setItem('tongting.plates', '{\"not\": \"a list\"}');"])
def test_a_browser_that_keeps_nothing_or_nonsense_is_served_all_the_same(city: City, phone: BrowserContext, storage: str) -> None:
    page = phone.new_page()
    page.add_init_script(storage)
    scan_and_look_up(city, page, city.owe(amount_fen=300))
    expect(page.get_by_text("¥3.00").first).to_be_visible()
    open_scan(city, page)
    if storage is FORBIDDEN:
        expect(page.locator("#recent")).to_be_hidden()


# Choosing


def owe_three(city: City) -> str:
    plate = city.owe(amount_fen=500, minutes=300)
    city.owe(amount_fen=700, plate=plate)
    city.owe(amount_fen=1105, plate=plate, lot=city.other_lot)
    return plate


def test_what_is_owed_here_is_chosen_and_the_sum_follows_every_tick(city: City, phone: BrowserContext) -> None:
    plate = owe_three(city)
    page = phone.new_page()
    scan_and_look_up(city, page, plate)
    boxes, pay = page.locator("input[name=chosen]"), page.locator("#chosen")
    assert [box.is_checked() for box in boxes.all()] == [True, True, False]
    expect(pay).to_have_text(f"{ZH.choose_go} ¥12.00")
    expect(page.locator("#choose")).to_contain_text(city.other_lot.operator_name)
    expect(page.get_by_text(city.other_lot.name)).to_have_count(0)
    page.get_by_label(ZH.choose_all).check()
    expect(page.locator("#sum")).to_have_text("23.05")
    page.get_by_label(ZH.choose_all).uncheck()
    expect(pay).to_be_disabled()
    boxes.nth(0).check()
    boxes.nth(2).check()
    expect(pay).to_have_text(f"{ZH.choose_go} ¥16.05")
    pay.click()
    expect(page.locator(".amount")).to_contain_text("16.05")
    page.go_back()
    page.locator("input[name=chosen]").nth(2).uncheck()
    page.locator("#chosen").click()
    expect(page.locator(".amount")).to_contain_text("5.00")
    tap(page, ZH.pay_wechat)
    pay_at_cashier(page, ZH.pay_wechat)
    expect(page.get_by_role("status")).to_have_text(ZH.basket_done, timeout=SETTLE_MS)
    assert city.paid_over(plate) == [("wechat", 500)]


def test_without_scripts_the_next_page_says_the_sum_of_what_was_chosen(city: City, chromium: Browser) -> None:
    plate = owe_three(city)
    context = chromium.new_context(viewport=PHONE, java_script_enabled=False)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(f"{city.url}/p/{city.code}")
    page.get_by_label(ZH.plate_rest).fill(plate[1:])
    page.get_by_role("button", name=ZH.look_up).click()
    boxes = page.locator("input[name=chosen]")
    expect(boxes).to_have_count(3)
    boxes.nth(1).uncheck()
    boxes.nth(2).check()
    page.locator("#chosen").click()
    expect(page.locator(".amount")).to_contain_text("16.05")
    page.go_back()
    for number in range(3):
        boxes.nth(number).uncheck()
    page.locator("#chosen").click()
    expect(page.get_by_role("alert")).to_have_text(ZH.choose_none)
    context.close()


FOCUSED = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  const text = one.dataset.letter ? "key " + one.dataset.letter : one.innerText || one.value || "";
  return [text, parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== "none"];
}"""


def tab_to(page: Page, words: str, *, by: str = "Tab") -> None:
    """Walk on by the tabulator until what begins with these words has the focus; every stop on the way must be seen."""
    for _ in range(60):
        page.keyboard.press(by)
        text, is_seen = page.evaluate(FOCUSED)
        assert is_seen, f"{text!r} has the focus and does not show it"
        if text.startswith(words):
            return
    raise AssertionError(f"no way by keyboard to {words!r}")


def look_up_by_keyboard(city: City, page: Page, plate: str) -> None:
    open_scan(city, page)
    page.keyboard.type(plate[1:-1])
    tab_to(page, f"key {plate[-1]}")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.innerText") == plate[-1]  # who walks through the keys keeps the place
    tab_to(page, ZH.look_up, by="Shift+Tab")
    page.keyboard.press("Enter")


@pytest.mark.parametrize("wallet", [ZH.pay_wechat, ZH.pay_alipay, ZH.pay_unionpay], ids=["wechat", "alipay", "unionpay"])
def test_a_driver_pays_with_the_keyboard_alone(city: City, phone: BrowserContext, wallet: str) -> None:
    page = phone.new_page()
    look_up_by_keyboard(city, page, city.owe(amount_fen=1300))
    expect(page.get_by_text("¥13.00").first).to_be_visible()
    tab_to(page, wallet)
    page.keyboard.press("Enter")
    at_cashier(page)
    pay_at_cashier(page, wallet)
    is_paid(page)
    tab_to(page, ZH.back_to_lot)


def test_what_is_paid_together_is_chosen_with_the_keyboard_alone(city: City, phone: BrowserContext) -> None:
    plate = owe_three(city)
    page = phone.new_page()
    look_up_by_keyboard(city, page, plate)
    page.locator("input[name=chosen]").first.wait_for()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name === 'chosen' && !document.activeElement.checked"):
            break
    page.keyboard.press("Space")
    expect(page.locator("#sum")).to_have_text("23.05")
    tab_to(page, ZH.choose_go)
    page.keyboard.press("Enter")
    expect(page.locator(".amount span")).to_have_text(ZH.basket_open)
    tab_to(page, ZH.pay_wechat)
    page.keyboard.press("Enter")
    pay_at_cashier(page, ZH.pay_wechat)
    expect(page.get_by_role("status")).to_have_text(ZH.basket_done, timeout=SETTLE_MS)
