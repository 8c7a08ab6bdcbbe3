"""A driver pays: with a phone and scripts, without scripts, with impatient fingers, with a wrong code."""

import re

from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.pages.words import EN, ZH
from tests.browser.conftest import PHONE, City


def press(page: Page, letter: str) -> None:
    page.locator("#keys button", has_text=re.compile(f"^{letter}$")).click()


def type_plate(page: Page, plate: str) -> None:
    """Type on the page's own keyboard; the province is there already."""
    for letter in plate[1:]:
        press(page, letter)


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
    press(page, "6")
    assert page.locator("#cells").inner_text().split() == ["浙", "B", "1", "2", "3", "4", "5", "6"]


def test_a_wrong_plate_comes_back_with_what_was_typed(city: City, phone: BrowserContext) -> None:
    page = phone.new_page()
    page.goto(f"{city.url}/p/{city.code}")
    type_plate(page, "苏B123456")
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
