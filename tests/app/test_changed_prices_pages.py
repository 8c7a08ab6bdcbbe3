"""A price that the lot's own system changed after the page was shown is asked for again, and the change is said."""

# ruff: noqa: F811  # fixtures of another module are asked for by name

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from httpx import Response

from app.pages import scan, seals
from app.pages.words import ZH
from app.wiring import Wiring
from ledger.clock import SetClock
from payments import paycode
from payments.lots import Lot
from payments.quoting.turns import Turns
from tests.app.conftest import City, Client
from tests.app.test_asked_quotes_pages import (  # noqa: F401  # fixtures
    PLATE,
    asked,
    lot,
    owner,
    page,
    product,
    push,
    quote,
    receiver,
    says,
)
from tests.app.test_choosing_pages import field
from tests.app.test_pages import text_of
from tests.payments.webhooks.receiver import Receiver

TYPED = {"province": PLATE[0], "rest": PLATE[1:]}


def test_a_price_that_the_lot_replaced_is_asked_for_again_and_the_change_is_said(
    api: Client, page: str, asked: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = api.post(page, data=TYPED).text
    asked.answer = lambda _: says(quote(serial="Q2", amount_fen=5678))
    monkeypatch.setattr(scan, "TURNS", Turns())
    api.post(page, data=TYPED)  # another phone has looked meanwhile
    stale = {name: field(form, name) for name in ("charge", "order", "shown")}
    answer = api.post(page.replace("/due", "/pay"), data=stale, follow_redirects=False)
    assert ZH.price_changed.format(old="12.34", new="56.78") in text_of(answer.text)


def test_a_price_that_has_ended_is_asked_for_again_and_the_change_is_said(
    api: Client, page: str, asked: Receiver, product: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = api.post(page, data=TYPED).text
    clock = product.clock
    assert isinstance(clock, SetClock)
    clock.set(quote()["valid_until"])  # type: ignore[arg-type]
    monkeypatch.setattr(scan, "TURNS", Turns())
    later = clock.now() + timedelta(hours=1)
    asked.answer = lambda _: says(quote(serial="Q2", amount_fen=5678, minutes=135, valid_until=later))
    stale = {name: field(form, name) for name in ("charge", "order", "shown")}
    answer = api.post(page.replace("/due", "/pay"), data=stale, follow_redirects=False)
    assert ZH.price_changed.format(old="12.34", new="56.78") in text_of(answer.text)


# Through the wallet's login, and in baskets

IN_WECHAT = {"user-agent": "Mozilla/5.0 (iPhone) MicroMessenger/8.0.50"}
CHANGED = ZH.price_changed.format(old="12.34", new="56.78")


def replaced(api: Client, page: str, asked: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lot replace its price, which another phone sees first."""
    asked.answer = lambda _: says(quote(serial="Q2", amount_fen=5678))
    monkeypatch.setattr(scan, "TURNS", Turns())
    api.post(page, data=TYPED)


def state_of(answer: Response) -> str:
    assert answer.status_code == 303, answer.text
    return parse_qs(urlsplit(answer.headers["location"]).query)["state"][0]


def ordered(product: Wiring) -> int:
    with product.db.connect() as tx:
        return int(tx.exec_driver_sql("select count(*) from payments.pay_order").scalar_one())


def test_a_price_that_changes_during_the_wallets_login_is_confirmed_anew_and_nothing_is_ordered(
    api: Client, page: str, asked: Receiver, product: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = api.post(page, data=TYPED, headers=IN_WECHAT).text
    given = {name: field(form, name) for name in ("charge", "order", "shown")} | {"channel": "wechat"}
    left = api.post(page.replace("/due", "/pay"), data=given, headers=IN_WECHAT, follow_redirects=False)
    replaced(api, page, asked, monkeypatch)
    api.cookies.set("payer", "o-payer-1")  # as the wallet's login leaves it
    back = page.replace("/due", f"/payer?state={state_of(left)}")
    answer = api.get(back, headers=IN_WECHAT, follow_redirects=False)
    assert CHANGED in text_of(answer.text)
    assert field(answer.text, "shown") == "56.78"
    assert ordered(product) == 0


@pytest.fixture
def basket(api: Client, page: str, asked: Receiver, product: Wiring, lot: Lot) -> str:
    """The address of a basket of a price that its lot answered, 12.34 yuan, and of a charge that it sent, 7.77 yuan."""
    push(product, lot)
    form = api.post(page, data=TYPED).text
    given = {name: field(form, name) for name in ("charges", "basket")}
    filled = api.post(page.replace("/due", "/basket"), data=given, follow_redirects=False)
    return str(filled.headers["location"])


def test_a_price_of_a_basket_that_the_lot_replaced_is_asked_for_again_and_the_change_is_said(
    api: Client, page: str, asked: Receiver, product: Wiring, basket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert field(api.get(basket).text, "open") == "20.11"
    replaced(api, page, asked, monkeypatch)
    answer = api.post(f"{basket}/pay", data={"channel": "wechat", "open": "20.11"}, headers=IN_WECHAT)
    assert CHANGED in text_of(answer.text)
    assert f"{ZH.together} ¥64.55" in text_of(answer.text)
    assert ordered(product) == 0


def test_a_baskets_page_says_which_price_has_ended_and_leads_to_the_new_one(
    api: Client, page: str, asked: Receiver, basket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(api, page, asked, monkeypatch)
    shown = api.get(basket).text
    assert ZH.leg_price in text_of(shown)
    assert ZH.basket_price in text_of(shown)
    assert ZH.basket_done not in text_of(shown)
    assert field(shown, "open") == "7.77"  # the rest can be paid
    assert CHANGED in text_of(api.post(f"{basket}/price").text)


def test_a_price_of_a_basket_that_changes_during_the_wallets_login_is_confirmed_anew(
    api: Client, page: str, asked: Receiver, product: Wiring, basket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = api.post(f"{basket}/pay", data={"channel": "wechat", "open": "20.11"}, headers=IN_WECHAT, follow_redirects=False)
    replaced(api, page, asked, monkeypatch)
    api.cookies.set("payer", "o-payer-1")
    answer = api.get(f"{basket}/payer?state={state_of(left)}", headers=IN_WECHAT, follow_redirects=False)
    assert CHANGED in text_of(answer.text)
    assert ordered(product) == 0


def test_a_price_that_changed_elsewhere_is_said_without_place_or_time(
    api: Client, page: str, asked: Receiver, product: Wiring, two_lots: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(product, two_lots.theirs)
    api.post(page, data=TYPED)
    other = f"/p/{paycode.token(two_lots.theirs.lot_id, keys=product.pay_codes)}"
    form = api.post(f"{other}/due", data=TYPED).text
    given = {name: field(form, name) for name in ("charges", "basket")}
    basket = api.post(f"{other}/basket", data=given, follow_redirects=False).headers["location"]
    replaced(api, page, asked, monkeypatch)
    answer = api.post(f"{basket}/pay", data={"channel": "wechat", "open": "20.11"}, headers=IN_WECHAT)
    assert ZH.price_changed.format(old="20.11", new="7.77") in text_of(answer.text)
    assert ZH.basket_price_elsewhere in text_of(answer.text)
    assert "56.78" not in answer.text
    nothing_anew = api.post(f"{basket}/price", follow_redirects=False)  # of that lot's prices nothing is shown here
    assert nothing_anew.headers["location"] == basket


# Whoever did not see the page


def test_an_id_of_a_charge_gives_no_right_without_the_page_that_offered_it(
    api: Client, page: str, product: Wiring, two_lots: City, lot: Lot
) -> None:
    push(product, two_lots.theirs)
    with product.db.connect() as tx:
        charge = str(tx.exec_driver_sql("select charge_id from payments.charge").scalar_one())
    sealed = seals.of(product, two_lots.theirs.lot_id, charge)
    later, other = sealed.replace("~1", "~2"), re.sub(r"^.", "f", sealed)
    sent = [charge, f"{charge},{charge}", sealed, f"{charge}~9999999999~{'0' * 32}", later, other, f"{sealed}0", ""]
    for path, name in (("basket", "charges"), ("pay", "charge"), ("coupon", "charge"), ("dispute", "charge")):
        for text in sent:
            form = {name: text, "basket": "t" * 40, "order": "t" * 40, "code": "x", "channel": "wechat"}
            answer = api.post(page.replace("/due", f"/{path}"), data=form, follow_redirects=False)
            assert answer.status_code == 409, (path, text)
            assert "7.77" not in answer.text
    with product.db.connect() as tx:
        assert tx.exec_driver_sql("select count(*) from payments.basket").scalar_one() == 0


def test_a_page_that_lay_open_for_two_hours_is_looked_up_again(api: Client, page: str, product: Wiring, lot: Lot) -> None:
    push(product, lot)
    form = api.post(page, data=TYPED).text
    given = {name: field(form, name) for name in ("charge", "order", "shown")} | {"channel": "wechat"}
    clock = product.clock
    assert isinstance(clock, SetClock)
    clock.set(clock.now() + seals.OPEN_FOR)
    answer = api.post(page.replace("/due", "/pay"), data=given, follow_redirects=False)
    assert answer.status_code == 409
    assert ZH.sorry_gone in text_of(answer.text)
    assert ordered(product) == 0
