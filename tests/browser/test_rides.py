"""A rough ride for each flow in each wallet: slow, tapped twice, turned back, reloaded, without a network, closed, in five tabs.

Each ride is one payment; whatever happens on the way, it is ordered once and booked once. See the table in docs/PAGES.md.
"""

import re
from collections.abc import Iterator
from typing import Final

import pytest
from msgspec import Struct
from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.pages.words import ZH
from tests.browser.city import City
from tests.browser.test_wallets import IN_ALIPAY, IN_UNIONPAY, IN_WECHAT, inside
from tests.browser.walking import SETTLE_MS, at_cashier, pay_at_cashier, scan_and_look_up, tap
from tests.browser.wire import Wire

TABS: Final = 5


class Seat(Struct, frozen=True):
    """The wallet that pays, and the app that the page is open in; empty: an ordinary browser."""

    wallet: str
    agent: str = ""

    @property
    def is_called_up(self) -> bool:
        """The page itself calls up the wallet, whose place the stand-in's cashier takes."""
        return self.agent in (IN_WECHAT, IN_ALIPAY)


SEATS: Final = {
    "wechat": Seat(ZH.pay_wechat), "alipay": Seat(ZH.pay_alipay), "unionpay": Seat(ZH.pay_unionpay),
    "in-wechat": Seat(ZH.pay_wechat, IN_WECHAT), "in-alipay": Seat(ZH.pay_alipay, IN_ALIPAY),
    "in-unionpay": Seat(ZH.pay_unionpay, IN_UNIONPAY),
}  # fmt: skip


@pytest.fixture(params=[*SEATS.values()], ids=[*SEATS])
def seat(request: pytest.FixtureRequest) -> Seat:
    found: Seat = request.param
    return found


@pytest.fixture
def car(seat: Seat, chromium: Browser) -> Iterator[BrowserContext]:
    with inside(chromium, seat.agent) as context:
        yield context


def test_one_charge_is_ordered_once_and_booked_once(city: City, car: BrowserContext, seat: Seat) -> None:
    page = car.new_page()
    scan_and_look_up(city, page, city.owe(amount_fen=900))
    page, address = ridden(page, seat)
    kept(page, address, ZH.paid_title)
    assert (city.attempts(), city.books()) == (1, [("settled", 900)])


@pytest.mark.parametrize("seat", [SEATS["unionpay"], SEATS["in-wechat"]], ids=["unionpay", "in-wechat"])
def test_a_code_on_a_screen_is_ordered_once_and_booked_once(city: City, car: BrowserContext, seat: Seat) -> None:
    city.owe(amount_fen=1100)
    page = car.new_page()
    page.goto(f"{city.url}{city.on_screen()}")
    page, address = ridden(page, seat)
    kept(page, address, ZH.paid_title)
    assert (city.attempts(), city.books()) == (1, [("settled", 1100)])


def test_several_charges_are_ordered_once_each_and_booked_once_each(city: City, car: BrowserContext, seat: Seat) -> None:
    plate = city.owe(amount_fen=500, minutes=300)
    city.owe(amount_fen=700, plate=plate)
    page = car.new_page()
    scan_and_look_up(city, page, plate)
    page.get_by_role("button", name=re.compile(f"^{ZH.together}")).click()
    page, address = ridden(page, seat)
    if seat.wallet != ZH.pay_wechat:  # one act after another, and what is paid is said in between
        expect(page.get_by_role("status")).to_have_text(ZH.basket_partly.format(paid="5.00", open="7.00"), timeout=SETTLE_MS)
        tap(page, seat.wallet)
        reach(page, seat)
        pay_at_cashier(page, seat.wallet)
    kept(page, address, ZH.basket_done)
    assert [fen for _, fen in city.paid_over(plate)] == [500, 700]
    assert (city.attempts(), city.books()) == (1, [("settled", 700)])


def reach(page: Page, seat: Seat) -> None:
    """Go on from a tapped button, or from the page in between, to the cashier."""
    if seat.is_called_up:
        page.get_by_role("link", name=ZH.opening_cashier).click()
    at_cashier(page)


def ridden(page: Page, seat: Seat) -> tuple[Page, str]:
    """Pay from the page with the wallets' buttons, with all that can go wrong before; returns the page and the result's address."""
    wire = Wire(page)
    wire.slow()
    page.get_by_role("button", name=re.compile(f"^{seat.wallet} ")).dblclick(no_wait_after=True)
    reach(page, seat)
    wire.fast()
    page.go_back()
    page.reload()
    expect(page.get_by_role("heading", name=ZH.opening_title)).to_be_visible()  # it does not leave again by itself
    page.get_by_role("link", name=ZH.refresh).click()
    expect(page.get_by_role("status")).to_have_text(ZH.waiting_title)
    address = page.url
    page.context.set_offline(True)
    expect(page.locator("#offline")).to_have_text(ZH.offline)
    page.context.set_offline(False)
    expect(page.locator("#offline")).to_have_count(0)  # it has looked again by itself
    page.close()
    page = page.context.new_page()  # closed, and opened again from the history
    page.goto(address)
    page.get_by_role("link", name=ZH.continue_paying).click()
    reach(page, seat)
    pay_at_cashier(page, seat.wallet)
    return page, address


def kept(page: Page, address: str, title: str) -> None:
    """See the end of it in five tabs, and after going back and forward."""
    context = page.context
    tabs = [*context.pages, *(context.new_page() for _ in range(TABS - len(context.pages)))]
    for tab in tabs:
        if tab.url != address:
            tab.goto(address)
    for tab in tabs:
        expect(tab.get_by_role("status")).to_have_text(title, timeout=SETTLE_MS)
    tabs[0].go_back()
    tabs[0].go_forward()
    expect(tabs[0].get_by_role("status")).to_have_text(title)
