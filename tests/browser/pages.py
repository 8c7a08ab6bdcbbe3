"""Every page that a citizen can see, and how it is reached. Whoever adds a page adds a line to ``PAGES``.

What is dear to reach and changes no more is reached once, and its address kept (``City.kept``).
"""

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from playwright.sync_api import Page, expect

from app.pages.words import EN, ZH, Words
from tests.browser.city import City
from tests.browser.walking import SETTLE_MS, at_cashier, enter_plate, pay_at_cashier

IN_WECHAT: Final = "Mozilla/5.0 (Linux; Android 14; Mobile) AppleWebKit/537.36 MicroMessenger/8.0.50"
Walk = Callable[[City, Page, Words], None]


def _at(city: City, page: Page, w: Words, path: str) -> None:
    page.goto(f"{city.url}{path}{('&' if '?' in path else '?') + 'lang=en' if w is EN else ''}")


def _look_up(city: City, page: Page, w: Words, plate: str, code: str = "") -> None:
    _at(city, page, w, f"/p/{code or city.code}")
    enter_plate(page, plate)
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
    def make() -> str:
        due(city, page, ZH)
        _tap(page, ZH.pay_wechat)
        pay_at_cashier(page, ZH.pay_wechat)
        expect(page.get_by_role("status")).to_have_text(ZH.paid_title, timeout=SETTLE_MS)
        return page.url.removeprefix(city.url)

    _at(city, page, w, city.kept("paid", make))
    expect(page.get_by_role("status")).to_have_text(w.paid_title)


def debt(city: City, page: Page, w: Words) -> None:
    """A debt, with all that can be done about it unfolded."""
    plate = city.owe(amount_fen=1500)
    city.let_leave()
    _look_up(city, page, w, plate)
    for words in (w.part, w.dispute):
        page.get_by_text(words, exact=True).click()


def disputed(city: City, page: Page, w: Words) -> None:
    debt(city, page, w)
    page.get_by_label(w.dispute_reason).select_option("not_my_car")
    page.get_by_role("button", name=w.dispute_go).click()
    expect(page.get_by_role("heading", name=w.dispute_title)).to_be_visible()


def objection(city: City, page: Page, w: Words) -> None:
    """What became of an objection to a debt that was paid all the same."""

    def make() -> str:
        disputed(city, page, ZH)
        plate = city.last_plate
        _look_up(city, page, ZH, plate)
        _tap(page, ZH.pay_wechat)
        pay_at_cashier(page, ZH.pay_wechat)
        expect(page.get_by_role("status")).to_have_text(ZH.paid_title, timeout=SETTLE_MS)
        return plate

    _look_up(city, page, w, city.kept("objection", make))
    expect(page.get_by_role("status")).to_contain_text(w.objections[0])


def _coupon(city: City, page: Page, w: Words, code: str) -> None:
    plate = city.owe(amount_fen=400)
    _look_up(city, page, w, plate)
    page.get_by_text(w.coupon, exact=True).click()
    page.get_by_label(w.coupon_code).fill(code)
    page.get_by_role("button", name=w.coupon_go).click()


def coupon_wrong(city: City, page: Page, w: Words) -> None:
    city.coupon()
    _coupon(city, page, w, "AAAA-BBBB-CCCC-DDDD")
    expect(page.get_by_role("alert")).to_have_text(w.coupon_sorry[0])


def coupon_free(city: City, page: Page, w: Words) -> None:
    _coupon(city, page, w, city.coupon())
    expect(page.get_by_role("heading", name=w.coupon_free_title)).to_be_visible()


def coupon(city: City, page: Page, w: Words) -> None:
    """A coupon takes off less than is due: what is left, with the line that says so, and the form unfolded."""
    _coupon(city, page, w, city.coupon(fen=100))
    expect(page.get_by_text("¥3.00").first).to_be_visible()
    page.get_by_text(w.coupon, exact=True).click()


def away(city: City, page: Page, w: Words) -> None:
    _look_up(city, page, w, "苏B00002", city.code_of(city.away_lot))
    expect(page.get_by_role("alert")).to_have_text(w.sorry_lot_away)


def price_changed(city: City, page: Page, w: Words) -> None:
    plate = city.quoted(amount_fen=1000)
    _look_up(city, page, w, plate)
    city.quoted(amount_fen=1500, plate=plate, instead=True)
    _tap(page, w.pay_wechat)
    expect(page.get_by_role("alert")).to_have_text(w.price_changed.format(old="10.00", new="15.00"))


def shown(city: City, page: Page, w: Words) -> None:
    city.owe(amount_fen=1200)
    _at(city, page, w, city.on_screen())
    expect(page.get_by_text("¥12.00").first).to_be_visible()


def shown_two(city: City, page: Page, w: Words) -> None:
    plate = city.owe(amount_fen=1200)
    city.owe(amount_fen=800, plate=plate)
    _at(city, page, w, city.on_screen(charges_shown=2))
    expect(page.get_by_text("¥20.00").first).to_be_visible()


def code_retired(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, city.wall_code(state="retired"))
    expect(page.get_by_role("alert")).to_have_text(w.sorry_code_retired)


def berth(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, city.wall_code())
    expect(page.locator("#keys button").first).to_be_attached()


def basket_waiting(city: City, page: Page, w: Words) -> None:
    basket(city, page, w)
    address = page.url
    _tap(page, w.pay_wechat)
    at_cashier(page)
    page.goto(address)
    expect(page.get_by_role("status")).to_have_text(w.waiting_title)
    page.get_by_text(w.basket_other, exact=True).click()


def basket_price(city: City, page: Page, w: Words) -> None:
    plate = city.quoted(amount_fen=1000)
    city.owe(amount_fen=700, plate=plate)
    _look_up(city, page, w, plate)
    page.get_by_role("button", name=re.compile(f"^{w.together}")).click()
    expect(page.locator(".amount span")).to_have_text(w.basket_open)
    city.quoted(amount_fen=1500, plate=plate, instead=True)
    page.reload()
    expect(page.get_by_role("alert")).to_have_text(w.basket_price)


def basket_paid(city: City, page: Page, w: Words) -> None:
    def make() -> str:
        choose(city, page, ZH)
        page.get_by_role("button", name=re.compile(f"^{ZH.together}")).click()
        _tap(page, ZH.pay_wechat)
        pay_at_cashier(page, ZH.pay_wechat)
        expect(page.get_by_role("status")).to_have_text(ZH.basket_done, timeout=SETTLE_MS)
        return page.url.removeprefix(city.url)

    _at(city, page, w, city.kept("basket", make))
    expect(page.get_by_role("status")).to_have_text(w.basket_done)


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


def reported(city: City, page: Page, w: Words) -> None:
    report(city, page, w)
    page.get_by_label(w.report_kind).select_option("other")
    page.get_by_role("button", name=w.report_go).click()
    expect(page.get_by_role("heading", name=w.report_thanks)).to_be_visible()


def leave_first(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, "/leave-first")


def leave_first_plate(city: City, page: Page, w: Words) -> None:
    """Inside WeChat, which is asked who pays."""
    _at(city, page, w, "/leave-first")
    expect(page.locator("main form")).to_be_visible()


def leave_first_elsewhere(city: City, page: Page, w: Words) -> None:
    leave_first(city, page, w)
    page.get_by_role("link", name=w.channel_wechat).click()
    expect(page.locator(".scan-me svg")).to_be_visible()


def leave_first_etc(city: City, page: Page, w: Words) -> None:
    leave_first(city, page, w)
    page.get_by_role("link", name=w.channel_etc, exact=True).click()
    expect(page.get_by_role("heading", name=w.mandate_etc_head)).to_be_visible()


def mandate_words(city: City, page: Page, w: Words) -> None:
    leave_first_plate(city, page, w)
    enter_plate(page, city.owe(amount_fen=100))
    page.get_by_role("button", name=w.mandate_next.format(channel=w.channel_wechat)).click()
    page.get_by_text(w.mandate_all_words).click()


def mandate_go(city: City, page: Page, w: Words) -> None:
    mandate_words(city, page, w)
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name=w.mandate_sign.format(channel=w.channel_wechat)).click()
    page.wait_for_url("**/go*")


def mandate_none(city: City, page: Page, w: Words) -> None:
    mandate_go(city, page, w)
    page.get_by_role("link", name=w.mandate_look).click()
    expect(page.get_by_role("status")).to_have_text(w.mandate_none_title)


def mandate_open(city: City, page: Page, w: Words) -> None:
    mandate_go(city, page, w)
    mine = page.url.partition("?")[0].removesuffix("/go")
    page.get_by_role("link", name=w.mandate_go_button.format(app=w.app_wechat)).click()
    page.get_by_role("button", name="开通停车服务").click()
    expect(page.get_by_text("已开通停车服务")).to_be_visible()
    _at(city, page, w, mine.removeprefix(city.url))
    expect(page.get_by_role("status")).to_have_text(w.mandate_open_title)
    page.get_by_text(w.mandate_end, exact=True).click()


def mandate_ended(city: City, page: Page, w: Words) -> None:
    mandate_open(city, page, w)
    page.get_by_role("button", name=w.mandate_end_go).click()
    expect(page.get_by_role("status")).to_have_text(w.mandate_ended_title)


def mandate_mine(city: City, page: Page, w: Words) -> None:
    mandate_go(city, page, w)
    _at(city, page, w, "/leave-first/mine")
    expect(page.get_by_text(w.mandate_mine_text)).to_be_visible()


def clerk_start(city: City, page: Page, w: Words) -> None:
    _at(city, page, w, city.kept("counter", city.counter))


def clerk(city: City, page: Page, w: Words) -> None:
    """The form, with one that was given before."""
    clerk_given(city, page, w)
    page.locator("a.button").click()
    expect(page.locator("#keys button").first).to_be_attached()


def clerk_given(city: City, page: Page, w: Words) -> None:
    clerk_start(city, page, w)
    page.locator("main button[type=submit]").click()
    page.get_by_role("radio").first.check()
    page.locator("input[name=lot]").first.check()
    enter_plate(page, city.owe(amount_fen=1500))
    page.locator("#plate-form button[type=submit]").click()
    expect(page.locator(".mark.done")).to_be_visible()


class Seen(Struct, frozen=True):
    """A page: which template it is made of, how it is reached, and in which app it shows; empty: in any browser."""

    template: str
    walk: Walk
    agent: str = ""


PAGES: Final[dict[str, Seen]] = {
    "board": Seen("board", board),
    "board-search": Seen("board", board_search),
    "sheet": Seen("sheet", sheet),
    "scan": Seen("scan", scan),
    "scan-again": Seen("scan", scan_again),
    "berth": Seen("scan", berth),
    "due": Seen("due", due),
    "debt": Seen("due", debt),
    "choose": Seen("due", choose),
    "elsewhere": Seen("due", elsewhere),
    "away": Seen("due", away),
    "price-changed": Seen("due", price_changed),
    "coupon": Seen("due", coupon),
    "which": Seen("which", which),
    "shown": Seen("shown", shown),
    "shown-two": Seen("shown", shown_two),
    "nothing": Seen("message", nothing),
    "objection": Seen("message", objection),
    "disputed": Seen("message", disputed),
    "coupon-wrong": Seen("due", coupon_wrong),
    "coupon-free": Seen("covered", coupon_free),
    "no-code": Seen("message", no_code),
    "code-retired": Seen("message", code_retired),
    "no-page": Seen("message", no_page),
    "reported": Seen("message", reported),
    "basket": Seen("basket", basket),
    "basket-waiting": Seen("basket", basket_waiting),
    "basket-price": Seen("basket", basket_price),
    "basket-paid": Seen("basket", basket_paid),
    "leaving": Seen("leaving", leaving),
    "opening": Seen("opening", opening, IN_WECHAT),
    "waiting": Seen("result", waiting),
    "paid": Seen("result", paid),
    "receipt": Seen("receipt", receipt),
    "report": Seen("report", report),
    "leave-first": Seen("mandate_start", leave_first),
    "leave-first-elsewhere": Seen("mandate_wallet", leave_first_elsewhere),
    "leave-first-etc": Seen("mandate_etc", leave_first_etc),
    "leave-first-plate": Seen("mandate", leave_first_plate, IN_WECHAT),
    "mandate-words": Seen("mandate_words", mandate_words, IN_WECHAT),
    "mandate-go": Seen("mandate_go", mandate_go, IN_WECHAT),
    "mandate-none": Seen("mandate_state", mandate_none, IN_WECHAT),
    "mandate-open": Seen("mandate_state", mandate_open, IN_WECHAT),
    "mandate-ended": Seen("mandate_state", mandate_ended, IN_WECHAT),
    "mandate-mine": Seen("mandate_mine", mandate_mine, IN_WECHAT),
    "clerk-start": Seen("clerk_start", clerk_start),
    "clerk": Seen("clerk", clerk),
    "clerk-given": Seen("clerk_given", clerk_given),
}
