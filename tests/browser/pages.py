"""Every page that a citizen can see, and how it is reached. Whoever adds a page adds a line to ``PAGES``."""

import re
from collections.abc import Callable
from typing import Final

from playwright.sync_api import Page, expect

from app.pages.words import EN, ZH, Words
from tests.browser.conftest import City
from tests.browser.walking import SETTLE_MS, at_cashier, pay_at_cashier, type_plate

IN_WECHAT: Final = "Mozilla/5.0 (Linux; Android 14; Mobile) AppleWebKit/537.36 MicroMessenger/8.0.50"
Walk = Callable[[City, Page, Words], None]


def _at(city: City, page: Page, w: Words, path: str) -> None:
    page.goto(f"{city.url}{path}{('&' if '?' in path else '?') + 'lang=en' if w is EN else ''}")


def _look_up(city: City, page: Page, w: Words, plate: str) -> None:
    _at(city, page, w, f"/p/{city.code}")
    type_plate(page, plate)
    page.get_by_role("button", name=w.look_up).click()
    page.wait_for_url("**/due*")


def _tap(page: Page, wallet: str) -> None:
    page.get_by_role("button", name=re.compile(f"^{wallet} ")).click()


def scan(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, f"/p/{city.code}")
    expect(page.locator("#keys button").first).to_be_attached()


def scan_again(city: City, page: Page, w: Words) -> None:
    """The phone remembers two plates, and the third look-up was of none."""
    for plate in (city.owe(), "苏BD12345"):
        _look_up(city, page, w, plate)
    scan(city, page, w)
    page.get_by_role("button", name=w.plate_plain).click()
    page.get_by_label(w.plate_rest, exact=True).fill("B1")
    page.get_by_role("button", name=w.look_up).click()
    expect(page.get_by_role("alert")).to_have_text(w.sorry_plate)


def due(city: City, page: Page, w: Words) -> None:
    _look_up(city, page, w, city.owe(amount_fen=1500))
    expect(page.get_by_text("¥15.00").first).to_be_visible()


def _debts(city: City) -> str:
    plate = city.owe(amount_fen=500)
    city.owe(amount_fen=700, plate=plate)
    city.owe(amount_fen=1100, plate=plate, lot=city.other_lot)
    return plate


def choose(city: City, page: Page, w: Words) -> None:
    _look_up(city, page, w, _debts(city))
    expect(page.locator(".boxes input[name=chosen]")).to_have_count(3)


def elsewhere(city: City, page: Page, w: Words) -> None:
    plate = city.owe(amount_fen=600, lot=city.other_lot)
    city.owe(amount_fen=800, plate=plate, lot=city.other_lot)
    _look_up(city, page, w, plate)
    expect(page.get_by_role("heading", name=w.nothing_here)).to_be_visible()


def which(city: City, page: Page, w: Words) -> None:
    plate = city.owe(amount_fen=600, color="blue")
    city.owe(amount_fen=900, plate=plate, color="yellow")
    _look_up(city, page, w, plate)
    expect(page.get_by_role("heading", name=w.which_car)).to_be_visible()


def nothing(city: City, page: Page, w: Words) -> None:
    _look_up(city, page, w, "苏B00001")
    expect(page.get_by_text(w.nothing_title).first).to_be_visible()


def basket(city: City, page: Page, w: Words) -> None:
    choose(city, page, w)
    page.get_by_role("button", name=re.compile(f"^{w.together}")).click()
    expect(page.locator(".amount span")).to_have_text(w.basket_open)


def leaving(city: City, page: Page, w: Words) -> None:
    due(city, page, w)
    _tap(page, w.pay_alipay)
    at_cashier(page)
    page.go_back()
    expect(page.get_by_role("heading", name=w.opening_title)).to_be_visible()


def waiting(city: City, page: Page, w: Words) -> None:
    leaving(city, page, w)
    page.get_by_role("link", name=w.refresh).click()
    expect(page.get_by_role("status")).to_have_text(w.waiting_title)


def opening(city: City, page: Page, w: Words) -> None:
    """Inside WeChat: the page that calls up the wallet."""
    due(city, page, w)
    _tap(page, w.pay_wechat)
    expect(page.get_by_role("heading", name=w.opening_title)).to_be_visible()


def paid(city: City, page: Page, w: Words) -> None:
    due(city, page, w)
    _tap(page, w.pay_wechat)
    pay_at_cashier(page, ZH.pay_wechat)
    expect(page.get_by_role("status")).to_have_text(w.paid_title, timeout=SETTLE_MS)


def board(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, "/")
    expect(page.get_by_text(city.lot.name).first).to_be_visible()


def board_search(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, "/")
    page.get_by_role("searchbox").fill("环湖路")
    page.get_by_role("button", name=w.board_search_go).click()
    expect(page.locator(".list strong")).to_have_text([city.other_lot.name])


def sheet(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, f"/codes/{city.lot.code}")


def no_code(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, f"/p/B{city.code[1:]}")
    expect(page.get_by_role("alert")).to_have_text(w.sorry_code)


def no_page(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, "/codes/NOWHERE")
    expect(page.get_by_role("alert")).to_have_text(w.sorry_missing)


def receipt(city: City, page: Page, w: Words) -> None:
    paid(city, page, w)
    page.locator("a[href*='/receipt']").click()
    page.wait_for_url("**/receipt*")


def report(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, f"/p/{city.code}/report")


def leave_first(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, "/leave-first")


def leave_first_plate(city: City, page: Page, w: Words) -> None:
    """Inside WeChat, which is asked who pays."""
    _at(city, page, w, "/leave-first")
    expect(page.locator("main form")).to_be_visible()


PAGES: Final[dict[str, Walk]] = {
    "board": board, "board-search": board_search, "sheet": sheet, "scan": scan, "scan-again": scan_again, "due": due,
    "choose": choose, "elsewhere": elsewhere, "which": which, "nothing": nothing, "basket": basket, "leaving": leaving,
    "opening": opening, "waiting": waiting, "paid": paid, "no-code": no_code, "no-page": no_page, "receipt": receipt,
    "report": report, "leave-first": leave_first, "leave-first-plate": leave_first_plate,
}  # fmt: skip
AGENTS: Final = {"opening": IN_WECHAT, "leave-first-plate": IN_WECHAT}
"""Pages that only show inside a wallet's app."""
