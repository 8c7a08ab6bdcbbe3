"""A driver lets parking be paid by itself: agrees inside the wallet, signs on the channel's own page, sees it, ends it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import text

from app.pages.words import EN, ZH
from payments.mandates import agreements
from tests.browser.city import City
from tests.browser.conftest import PHONE
from tests.browser.test_manners import tab_to
from tests.browser.test_wallets import IN_ALIPAY, IN_WECHAT, inside
from tests.browser.walking import enter_plate

Act = Callable[[Page], None]


def sign_in_wechat(page: Page) -> None:
    page.get_by_role("button", name="开通停车服务").click()
    expect(page.get_by_text("已开通停车服务")).to_be_visible()


def sign_in_alipay(page: Page) -> None:
    page.get_by_role("button", name="开通").click()
    expect(page.get_by_text("已开通")).to_be_visible()


def end_in_wechat(page: Page) -> None:
    page.get_by_role("button", name="解除停车服务").click()
    expect(page.get_by_text("已解除停车服务")).to_be_visible()


def end_in_alipay(page: Page) -> None:
    page.get_by_role("button", name="解约").click()
    expect(page.get_by_text("未开通")).to_be_visible()


WALLETS = [
    pytest.param("wechat", IN_WECHAT, sign_in_wechat, end_in_wechat, id="wechat"),
    pytest.param("alipay", IN_ALIPAY, sign_in_alipay, end_in_alipay, id="alipay"),
]


def new_plate(city: City) -> str:
    return city.owe(amount_fen=100)


def read_words(city: City, page: Page, plate: str, channel: str, path: str = "/leave-first") -> None:
    page.goto(f"{city.url}{path}")
    enter_plate(page, plate)
    page.get_by_role("button", name=ZH.mandate_next.format(channel=ZH.channel_name(channel))).click()
    expect(page.get_by_role("heading", name=ZH.mandate_words_title)).to_be_visible()


def agree(city: City, page: Page, plate: str, channel: str) -> str:
    """Agree to a plate's mandate; returns the address of its page."""
    read_words(city, page, plate, channel)
    box = page.get_by_role("checkbox")
    expect(box).not_to_be_checked()
    box.check()
    page.get_by_role("button", name=ZH.mandate_sign.format(channel=ZH.channel_name(channel))).click()
    page.wait_for_url("**/go")
    return page.url.removesuffix("/go")


def ended(city: City, plate: str, channel: str) -> bool:
    with city.wiring.db.begin() as tx:
        return agreements.ended(tx, plate=plate, color="blue", channel=channel)


def kept(city: City, plate: str) -> list[str]:
    query = text("""
        select a.state from payments.v_agreement a join payments.plate p on p.plate_id = a.plate_id
        where p.number = :plate order by a.confirmed_at
        """)
    with city.wiring.db.begin() as tx:
        return list(tx.execute(query, {"plate": plate}).scalars())


@pytest.mark.parametrize(("channel", "agent", "sign", "end"), WALLETS)
def test_a_mandate_is_signed_seen_and_ended(
    city: City, chromium: Browser, channel: str, agent: str, sign: Act, end: Act
) -> None:  # fmt: skip
    plate, app = new_plate(city), ZH.apps([channel])
    with inside(chromium, agent) as context:
        page = context.new_page()
        address = agree(city, page, plate, channel)
        page.goto(address)  # nothing was signed: coming back proves nothing
        expect(page.get_by_role("status")).to_have_text(ZH.mandate_none_title)
        page.get_by_role("link", name=ZH.mandate_go_button.format(app=app)).click()
        page.get_by_role("link", name=ZH.mandate_go_button.format(app=app)).click()
        expect(page.get_by_text(plate).first).to_be_visible()  # the channel's own page
        sign(page)
        page.goto(address)
        expect(page.get_by_role("status")).to_have_text(ZH.mandate_open_title)
        assert plate not in page.content()
        page.reload()
        expect(page.get_by_role("status")).to_have_text(ZH.mandate_open_title)
        assert (kept(city, plate), ended(city, plate, channel)) == (["open"], False)
        page.get_by_text(ZH.mandate_end, exact=True).click()
        page.get_by_role("button", name=ZH.mandate_end_go).dblclick(no_wait_after=True)
        expect(page.get_by_role("status")).to_have_text(ZH.mandate_ended_title)
        assert (kept(city, plate), ended(city, plate, channel)) == (["ended"], True)
        page.go_back()
        page.reload()
        expect(page.get_by_role("status")).to_have_text(ZH.mandate_ended_title)
        page.get_by_role("link", name=ZH.mandate_go_end_button.format(app=app)).click()
        page.get_by_role("link", name=ZH.mandate_go_end_button.format(app=app)).click()
        end(page)


def test_a_double_tap_is_one_consent_and_the_list_in_the_wallet_leads_back_to_it(city: City, chromium: Browser) -> None:
    plate = new_plate(city)
    with inside(chromium, IN_WECHAT) as context:
        page = context.new_page()
        read_words(city, page, plate, "wechat", "/leave-first/at/LX-01")
        page.get_by_role("checkbox").check()
        page.get_by_role("button", name=ZH.mandate_sign.format(channel=ZH.channel_wechat)).dblclick(no_wait_after=True)
        page.wait_for_url("**/go")
        assert kept(city, plate) == ["begun"]
        page.goto(f"{city.url}/leave-first/mine")
        page.get_by_role("button").first.click()
        expect(page.get_by_role("status")).to_have_text(ZH.mandate_none_title)
        address = page.url
    with inside(chromium, IN_WECHAT) as context:  # another phone of another payer
        page = context.new_page()
        page.goto(address)
        expect(page.get_by_text(ZH.mandate_last_word.format(app=ZH.app_wechat))).to_be_visible()
        page.goto(f"{city.url}/leave-first")
        page.goto(f"{city.url}/leave-first/mine")
        expect(page.get_by_text(ZH.mandate_mine_none)).to_be_visible()


def test_who_does_not_tick_the_box_agrees_to_nothing(city: City, chromium: Browser) -> None:
    plate = new_plate(city)
    with inside(chromium, IN_WECHAT) as context:
        page = context.new_page()
        read_words(city, page, plate, "wechat")
        page.get_by_role("button", name=ZH.mandate_sign.format(channel=ZH.channel_wechat)).click()
        expect(page.get_by_role("heading", name=ZH.mandate_words_title)).to_be_visible()  # the browser asks for the tick
        page.get_by_text(ZH.mandate_all_words).click()
        expect(page.get_by_text("收款方：").first).to_be_visible()
        assert kept(city, plate) == []


def test_an_ordinary_browser_shows_the_way_into_the_wallet_and_what_etc_is(city: City, phone: BrowserContext) -> None:
    page = phone.new_page()
    page.goto(f"{city.url}/leave-first")
    expect(page.get_by_role("button")).to_have_count(0)
    page.get_by_role("link", name=ZH.channel_wechat).click()
    expect(page.locator(".scan-me svg")).to_be_visible()
    expect(page.get_by_text(f"{city.url}/leave-first")).to_be_visible()
    page.get_by_role("link", name=ZH.mandate_back).click()
    page.get_by_role("link", name=ZH.channel_etc, exact=True).click()
    for point in ZH.mandate_etc_points:
        expect(page.get_by_text(point)).to_be_visible()


def test_without_scripts_a_mandate_is_agreed_to_all_the_same(city: City, chromium: Browser) -> None:
    plate = new_plate(city)
    context = chromium.new_context(viewport=PHONE, java_script_enabled=False, user_agent=IN_ALIPAY)
    page = context.new_page()
    page.goto(f"{city.url}/leave-first?lang=en")
    page.get_by_label(EN.plate_rest, exact=True).fill(plate[1:])
    page.get_by_role("button", name=EN.mandate_next.format(channel=EN.channel_alipay)).click()
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name=EN.mandate_sign.format(channel=EN.channel_alipay)).click()
    expect(page.get_by_role("link", name=EN.mandate_go_button.format(app=EN.app_alipay))).to_be_visible()
    context.close()


def test_a_mandate_is_agreed_to_with_the_keyboard_alone(city: City, chromium: Browser) -> None:
    plate = new_plate(city)
    with inside(chromium, IN_WECHAT) as context:
        page = context.new_page()
        page.goto(f"{city.url}/leave-first")
        page.keyboard.type(plate[1:])
        tab_to(page, ZH.mandate_next.format(channel=ZH.channel_wechat))
        page.keyboard.press("Enter")
        page.get_by_role("checkbox").wait_for()
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.type === 'checkbox'"):
                break
        page.keyboard.press("Space")
        expect(page.get_by_role("checkbox")).to_be_checked()
        tab_to(page, ZH.mandate_sign.format(channel=ZH.channel_wechat))
        page.keyboard.press("Enter")
        page.wait_for_url("**/go")
        assert kept(city, plate) == ["begun"]


def test_the_pages_of_mandates_fit_the_phone_and_the_thumb(city: City, chromium: Browser) -> None:
    plate = new_plate(city)
    with inside(chromium, IN_WECHAT) as context:
        page = context.new_page()
        address = agree(city, page, plate, "wechat")
        for path in (f"{address}/go", address, f"{city.url}/leave-first", f"{city.url}/leave-first/mine"):
            for lang in ("", "?lang=en"):
                page.goto(path + lang)
                assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
                for button in page.locator("main > .card > .button, button[type=submit]").all():
                    box = button.bounding_box()
                    assert box is not None
                    assert box["height"] >= 48 or not button.is_visible()  # what is folded away has no height
