"""The pages on which a driver signs, sees and ends a mandate, asked as a wallet's browser asks them; no channel answers here."""

# ruff: noqa: F811  # fixtures of another module are asked for by name

import re
from datetime import timedelta
from typing import Any, Final

import msgspec
import pytest
from httpx import Response
from sqlalchemy import text

from app.pages import mandate, signer
from app.pages.limits import Misses
from app.pages.words import EN, ZH
from app.wiring import Wiring
from gateways.contract import ChannelState, Way
from ledger.clock import SetClock
from payments import orders, results
from payments.lots import Lot
from payments.mandates import agreement_texts, agreements, deduction_store
from payments.mandates.agreement_store import Event, insert_event
from payments.mandates.deduction_store import Held, Terms
from tests.app.test_pages import Browser, browser, lot, owe, text_of, wiring  # noqa: F401  # fixtures
from tests.payments.conftest import PROVIDER, Due, route_of

IN_WECHAT: Final = {"user-agent": "Mozilla/5.0 MicroMessenger/8.0.50"}
TYPED: Final = {"province": "苏", "rest": "B12345", "color": "", "at": "LX-01"}
OPENID: Final = "oOwner"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mandate, "ASKS", Misses(per_minute=30))


@pytest.fixture
def wallet(browser: Browser, wiring: Wiring) -> Browser:
    """WeChat's browser, whose payer the channel has named."""
    browser.headers.update(IN_WECHAT)
    as_payer(browser, wiring, OPENID)
    return browser


def as_payer(browser: Browser, wiring: Wiring, payer_id: str) -> None:
    made = signer.cookie(wiring, "wechat", payer_id)
    browser.cookies.set(made.key, str(made.value), path=made.path or "/")


def form_of(page: Response) -> dict[str, str]:
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    assert {"plate", "color", "text", "token", "at"} <= found.keys(), text_of(page.text)
    return found


def read(wallet: Browser, lang: str = "", **typed: str) -> dict[str, str]:
    return form_of(wallet.post(f"/leave-first/words{lang}", data=TYPED | typed))


def sign(wallet: Browser, form: dict[str, str], **more: str) -> Response:
    return wallet.post("/leave-first/sign", data=form | {"agree": "yes"} | more, follow_redirects=False)


def count(wiring: Wiring, table: str = "agreement") -> Any:
    with wiring.db.connect() as tx:
        return tx.execute(text(f"select count(*) from payments.{table}")).scalar_one()


def test_an_ordinary_browser_is_led_to_the_wallet_and_asked_for_no_plate(browser: Browser) -> None:
    page = browser.get("/leave-first")
    assert ZH.channel_wechat in text_of(page.text)
    assert 'id="plate-form"' not in page.text
    inside = browser.get("/leave-first/in/wechat?lang=en")
    assert "<svg" in inside.text
    assert "http://pay.test/leave-first?lang=en" in inside.text
    assert browser.get("/leave-first/in/unionpay").status_code == 404


@pytest.mark.parametrize("path", ["/leave-first", "/leave-first/at/LX-01"])
def test_inside_the_wallet_the_wallet_says_who_signs(browser: Browser, path: str) -> None:
    browser.headers.update(IN_WECHAT)
    browser.cookies.set("payer", OPENID)  # the cookie of payments proves nothing
    sent = browser.get(path, follow_redirects=False)
    assert sent.status_code == 303
    assert "/connect/oauth2/authorize?" in sent.headers["location"]
    assert "leave-first%2Fpayer" in sent.headers["location"]


def test_who_comes_back_without_a_state_or_while_the_wallet_is_away_signs_nothing(browser: Browser, wiring: Wiring) -> None:
    browser.headers.update(IN_WECHAT)
    lost = browser.get("/leave-first/payer?code=x&state=y")
    assert (lost.status_code, ZH.mandate_away.format(app=ZH.app_wechat) in text_of(lost.text)) == (409, True)
    location = browser.get("/leave-first", follow_redirects=False).headers["location"]
    state = re.search(r"state=(\w+)", location)
    assert state is not None
    away = browser.get(f"/leave-first/payer?code=x&state={state[1]}")
    assert (away.status_code, ZH.mandate_away.format(app=ZH.app_wechat) in text_of(away.text)) == (503, True)
    assert "signer" not in browser.cookies


@pytest.mark.parametrize("cookie", ["wechat~oOther~99999999999~00", "x", "~~", "wechat~oOwner"])
def test_a_cookie_that_we_did_not_make_names_nobody(browser: Browser, cookie: str) -> None:
    browser.headers.update(IN_WECHAT)
    browser.cookies.set("signer", cookie, path="/leave-first")
    for path in ("/leave-first", "/leave-first/mine"):
        assert browser.get(path, follow_redirects=False).status_code == 303
    assert browser.post("/leave-first/words", data=TYPED, follow_redirects=False).status_code == 303


def test_a_signers_cookie_ends_after_half_an_hour_and_is_of_one_channel(wiring: Wiring) -> None:
    made = signer.cookie(wiring, "wechat", OPENID)
    cookies = {made.key: str(made.value)}
    assert signer.known(cookies, wiring, "wechat") == OPENID
    assert signer.known(cookies, wiring, "alipay") is None
    later = SetClock(wiring.clock.now() + timedelta(minutes=31))
    assert signer.known(cookies, msgspec.structs.replace(wiring, clock=later), "wechat") is None


@pytest.mark.parametrize(
    ("rest", "color", "shown"), [("B12345", "", "blue"), ("BD12345", "", "green"), ("B12345", "yellow", "yellow")]
)
def test_the_colour_follows_from_the_number_unless_it_is_said(wallet: Browser, rest: str, color: str, shown: str) -> None:
    assert read(wallet, rest=rest, color=color)["color"] == shown


@pytest.mark.parametrize(("rest", "color"), [("B1", ""), ("B12345", "green"), ("BD12345", "blue"), ("", "")])
def test_a_wrong_plate_or_colour_comes_back_with_what_was_typed(wallet: Browser, wiring: Wiring, rest: str, color: str) -> None:
    page = wallet.post("/leave-first/words", data=TYPED | {"rest": rest, "color": color})
    assert (page.status_code, ZH.mandate_plate_wrong in page.text, f'value="{rest}"' in page.text) == (422, True, True)
    assert count(wiring, "plate") == 0


@pytest.mark.parametrize(("lang", "words", "short"), [("", ZH, "short_zh"), ("?lang=en", EN, "short_en")])
def test_the_words_are_shown_with_a_box_that_is_not_ticked(wallet: Browser, lang: str, words: Any, short: str) -> None:
    page = wallet.post(f"/leave-first/words{lang}", data=TYPED)
    assert all(point in text_of(page.text) for point in getattr(agreement_texts.FIRST, short).splitlines())
    assert words.mandate_tick in page.text
    assert "checked" not in page.text
    assert "苏B12345" not in str(page.url)


def test_without_the_box_nothing_is_kept(wallet: Browser, wiring: Wiring) -> None:
    page = sign(wallet, read(wallet), agree="")
    assert (page.status_code, ZH.mandate_tick_first in page.text, count(wiring)) == (422, True, 0)
    assert form_of(page)["plate"] == "苏B12345"


def test_a_consent_is_kept_once_and_leads_to_the_wallets_own_page(wallet: Browser, wiring: Wiring) -> None:
    form = read(wallet)
    went = [sign(wallet, form) for _ in range(2)]
    assert [(one.status_code, one.headers["location"]) for one in went] == [(303, f"/leave-first/a/{form['token']}/go")] * 2
    assert count(wiring) == 1
    page = wallet.get(went[0].headers["location"])
    address = re.search(r'class="button" href="([^"]+)"', page.text)
    assert address is not None
    assert "/pages/auth-creditpay/auth-creditpay?mchid=" in address[1]
    assert "openid=oOwner&amp;plate_number=%E8%8B%8FB12345&amp;plate_color=BLUE&amp;trade_scene=PARKING" in address[1]
    with wiring.db.connect() as tx:
        assert tx.execute(text("select page || ' ' || language from payments.agreement")).scalar_one() == "leave-first/LX-01 zh"


def test_a_token_of_another_plate_begins_again(wallet: Browser, wiring: Wiring) -> None:
    form = read(wallet)
    sign(wallet, form)
    assert sign(wallet, form, plate="苏B99999").headers["location"] == "/leave-first"
    assert count(wiring) == 1


def test_words_that_changed_meanwhile_are_shown_again_before_anything_is_kept(wallet: Browser, wiring: Wiring) -> None:
    form, now = read(wallet), wiring.clock.now()
    newer = msgspec.structs.replace(agreement_texts.FIRST, valid_from=now, document="order 7", short_zh="新的要点")
    with wiring.db.begin() as tx:
        agreement_texts.enter(tx, lane=0, text=newer, at=now, ids=wiring.ids)
    page = sign(wallet, form)
    assert (page.status_code, ZH.mandate_words_changed in page.text, "新的要点" in page.text, count(wiring)) == (409, True, True, 0)
    assert sign(wallet, form_of(page)).status_code == 303


def test_a_channel_that_is_away_is_said_and_asked_again_and_a_return_signs_nothing(wallet: Browser, wiring: Wiring) -> None:
    form = read(wallet)
    sign(wallet, form)
    for query in ("", "?result=success&state=NORMAL"):
        page = wallet.get(f"/leave-first/a/{form['token']}{query}")
        assert ZH.mandate_unknown_title in text_of(page.text)
        assert ZH.mandate_open_title not in text_of(page.text)
    assert count(wiring, "agreement_event") == 0


def test_who_asks_too_often_is_shown_that_it_is_not_known(wallet: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    form = read(wallet)
    sign(wallet, form)
    monkeypatch.setattr(mandate, "ASKS", Misses(per_minute=0))
    assert ZH.mandate_unknown_title in text_of(wallet.get(f"/leave-first/a/{form['token']}").text)
    assert sign(wallet, read(wallet)).status_code == 429


@pytest.mark.parametrize("was_open", [True, False])
def test_an_end_is_at_once_and_said_plainly_and_a_second_tap_is_the_same(wallet: Browser, wiring: Wiring, was_open: bool) -> None:
    form = read(wallet)
    sign(wallet, form)
    if was_open:
        with wiring.db.begin() as tx:
            made = agreements.by_token(tx, lane=0, token=form["token"])
            insert_event(tx, agreement=made, event=Event(kind="open", said_by="channel"), at=wiring.clock.now())
    for _ in range(2):
        page = wallet.post(f"/leave-first/a/{form['token']}/end")
        assert ZH.mandate_ended_title in text_of(page.text)
        assert ZH.mandate_ended_text in text_of(page.text)
    assert ZH.mandate_go_end_title.format(app=ZH.app_wechat) in text_of(wallet.get(f"/leave-first/a/{form['token']}/go").text)
    with wiring.db.begin() as tx:
        assert agreements.ended(tx, plate="苏B12345", color="blue", channel="wechat") is was_open


def test_another_browser_with_the_link_sees_the_last_word_masked_and_is_led_to_the_wallet(wallet: Browser, wiring: Wiring) -> None:
    form = read(wallet)
    sign(wallet, form)
    wallet.cookies.clear()
    page = wallet.get(f"/leave-first/a/{form['token']}")
    assert ZH.mandate_last_word.format(app=ZH.app_wechat) in text_of(page.text)
    assert "B12345" not in page.text
    assert OPENID not in page.text
    led = wallet.get(f"/leave-first/a/{form['token']}/go")
    assert "<svg" in led.text
    assert "auth-creditpay" not in led.text
    assert wallet.get("/leave-first/a/aaaaaaaaaaaaaaaaaaaaaaaa").status_code == 404


def test_a_payer_finds_own_mandates_in_the_wallet_and_nobody_elses(wallet: Browser, wiring: Wiring) -> None:
    sign(wallet, read(wallet))
    listed = wallet.get("/leave-first/mine")
    number = re.search(r'name="agreement" value="([^"]+)"', listed.text)
    assert number is not None
    opened = wallet.post("/leave-first/mine", data={"agreement": number[1]})
    assert opened.url.path.startswith("/leave-first/a/")
    as_payer(wallet, wiring, "oStranger")
    assert ZH.mandate_mine_none in wallet.get("/leave-first/mine").text
    for wrong in (number[1], "x"):
        assert wallet.post("/leave-first/mine", data={"agreement": wrong}).status_code == 404


def test_the_address_of_a_form_without_its_content_leads_to_the_begin(wallet: Browser) -> None:
    for path in ("/leave-first/words", "/leave-first/sign"):
        assert wallet.get(path, follow_redirects=False).headers["location"] == "/leave-first"


# What was deducted


def opened(wallet: Browser, wiring: Wiring) -> None:
    """Sign for the plate, with the channel's word that it is open."""
    form = read(wallet)
    sign(wallet, form)
    with wiring.db.begin() as tx:
        made = agreements.by_token(tx, lane=0, token=form["token"])
        insert_event(tx, agreement=made, event=Event(kind="open", said_by="channel"), at=wiring.clock.now())


def deducted(wiring: Wiring, lot: Lot, serial: str, *, is_taken: bool) -> Due:
    """Deduct a stay of the plate over WeChat, with the channel's word that it is open just after."""
    owe(wiring, lot, serial=serial, plate="苏B12345", plate_color="blue")
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        charge_id = tx.execute(text("select charge_id from payments.charge where lot_serial = :s"), {"s": serial}).scalar_one()
        order = orders.open_order(
            tx, lane=0, lot_id=lot.lot_id, charge_id=charge_id, token=f"secret-{serial}-{'x' * 20}", at=at, ids=wiring.ids,
            price_lock=timedelta(minutes=5),
        )  # fmt: skip
        attempt = orders.attempt(
            tx, order=order, route=route_of(tx, lot), provider_no=PROVIDER, payer_id="", way=Way.DEDUCTION, at=at, ids=wiring.ids,
            first_query=timedelta(seconds=5),
        )  # fmt: skip
        terms = Terms(
            plate_color="blue", entered_at=at, left_at=at, lot_no="1", lot_name=lot.name, entry_no=None, mandate_no=None
        )  # fmt: skip
        held = Held("苏B12345", "blue", "wechat")
        assert deduction_store.begin(tx, lane=0, payment_id=attempt.payment_id, terms=terms, held=held, until=at)
        due = Due(lot, order, attempt, "")
        said = due.answer(happened_at=at) if is_taken else due.answer(state=ChannelState.FAILED)
        results.apply(tx, lane=0, notices=[said], at=at, ids=wiring.ids)
        tx.execute(text("update payments.agreement_watch set confirmed_at = :at"), {"at": wiring.clock.now()})
    return due


def test_a_signer_finds_what_was_deducted_with_its_receipt_and_a_stranger_does_not(
    wallet: Browser, wiring: Wiring, lot: Lot
) -> None:
    opened(wallet, wiring)
    due = deducted(wiring, lot, "S1", is_taken=True)
    page = wallet.get("/leave-first/mine")
    assert all(words in text_of(page.text) for words in (ZH.mandate_own_taken, "¥15.50", lot.name))
    assert "苏B12345" not in page.text
    assert EN.mandate_own_receipt in wallet.get("/leave-first/mine?lang=en").text
    [number] = re.findall(r'name="payment" value="(\w+)"', page.text)
    shown = wallet.post("/leave-first/mine/receipt", data={"payment": number})
    assert re.fullmatch(r"/d/[\w-]{24}/receipt", shown.url.path)
    assert all(words in text_of(shown.text) for words in (due.order_no, "¥15.50", lot.operator_name))
    assert 'href="/leave-first/mine"' in shown.text
    assert wallet.get(shown.url.path.removesuffix("/receipt")).url.path == shown.url.path
    asked = wallet.post(
        shown.url.path.replace("/receipt", "/refund"), data={"receipt": number, "reason": "barrier", "words": ""}
    )  # fmt: skip
    assert (asked.status_code, asked.url.path) == (200, shown.url.path)
    as_payer(wallet, wiring, "oStranger")
    assert lot.name not in text_of(wallet.get("/leave-first/mine").text)
    for wrong in (number, "x"):
        assert wallet.post("/leave-first/mine/receipt", data={"payment": wrong}).status_code == 404
    wallet.cookies.clear()
    assert wallet.post("/leave-first/mine/receipt", data={"payment": number}, follow_redirects=False).status_code == 303
    assert wallet.get(f"/d/{'a' * 24}/receipt").status_code == 404
    assert wallet.get("/d/x/receipt").status_code == 404


def test_what_was_refused_says_so_plainly_and_leads_to_where_it_is_paid(wallet: Browser, wiring: Wiring, lot: Lot) -> None:
    opened(wallet, wiring)
    deducted(wiring, lot, "S1", is_taken=False)
    page = wallet.get("/leave-first/mine")
    assert ZH.mandate_own_refused.format(app=ZH.app_wechat) in text_of(page.text)
    [address] = re.findall(rf'href="([^"]+)">{ZH.mandate_own_pay}', page.text)
    assert lot.name in text_of(wallet.get(address).text)
