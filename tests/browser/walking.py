"""How the tests of this folder walk through the pages."""

import re

from playwright.sync_api import Page, expect

from app.pages.words import ZH
from tests.browser.city import City

SETTLE_MS: int = 20_000
"""Longest wait for a notice to arrive and the page to look again."""


def press(page: Page, letter: str) -> None:
    page.locator("#keys div:not([hidden]) button", has_text=re.compile(f"^{letter}$")).click()


def type_plate(page: Page, plate: str) -> None:
    """Type on the page's own keyboard; the province is there already."""
    for letter in plate[1:]:
        press(page, letter)


def enter_plate(page: Page, plate: str) -> None:
    """Type on the keyboard of a computer, which is quicker than tapping."""
    page.keyboard.type(plate[1:])


def scan_and_look_up(city: City, page: Page, plate: str) -> None:
    page.goto(f"{city.url}/p/{city.code}")
    enter_plate(page, plate)
    page.get_by_role("button", name=ZH.look_up).click()


def tap(page: Page, wallet: str) -> None:
    """Tap a wallet's button on a page that may offer several."""
    page.get_by_role("button", name=re.compile(f"^{wallet} ")).click()


def at_cashier(page: Page) -> None:
    """Wait until the page that leaves has left: its button is named like the cashier's."""
    page.wait_for_url("**/cashier/**")


def pay_at_cashier(page: Page, wallet: str) -> None:
    """Press the cashier's button, and UnionPay's that leads back by a form."""
    at_cashier(page)
    page.get_by_role("button", name=re.compile("确认付款" if wallet == ZH.pay_alipay else "立即支付")).click()
    if wallet == ZH.pay_unionpay:
        page.get_by_role("button", name="返回商家").click()


def is_paid(page: Page) -> None:
    expect(page.get_by_role("status")).to_have_text(ZH.paid_title, timeout=SETTLE_MS)
