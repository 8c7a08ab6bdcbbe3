"""What of its debts a plate pays is chosen; a price that changed is confirmed anew; what is deducted anyway is said."""

# ruff: noqa: F811  # fixtures of another module are asked for by name

import re
from uuid import UUID

import pytest
from sqlalchemy import text

from app.pages import seals
from app.pages.words import EN, ZH, Words
from app.wiring import Wiring
from payments import lots
from payments.lots import Lot, NewLot, NewOperator
from payments.mandates import deduction_store
from payments.mandates.deduction_store import Word
from tests.app.test_pages import PLATE, Browser, browser, code, lot, owe, text_of, wiring  # noqa: F401  # fixtures

TYPED = {"province": PLATE[0], "rest": PLATE[1:]}


@pytest.fixture
def far(wiring: Wiring, lot: Lot) -> Lot:
    """A lot of another operator."""
    with wiring.db.begin() as tx:
        other = NewOperator("BH", "无锡滨湖示范城市停车有限公司", "91320211MA0DEM0027", "滨湖区", "government")
        lots.register_operators(tx, operators=[other], at=wiring.clock.now())
        wanted = NewLot("BH-01", "BH", "远处停车场", "滨湖区", "环湖路 6 号", 5, "gate", "每小时5元")
        (registered,) = lots.register_lots(tx, lots=[wanted], at=wiring.clock.now())
    return registered


def boxes(page: str) -> list[tuple[str, bool]]:
    """Return the charges of each box on a page, and whether it is ticked."""
    found = re.findall(r'<input type="checkbox" name="chosen" value="([^"]+)" data-fen="\d+"( checked)?>', page)
    return [(value, bool(ticked)) for value, ticked in found]


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(("lang", "words"), [("", ZH), ("?lang=en", EN)])
def test_what_is_owed_here_is_ticked_and_of_other_lots_payee_and_amount_are_offered(
    browser: Browser, code: str, wiring: Wiring, lot: Lot, far: Lot, lang: str, words: Words
) -> None:
    owe(wiring, lot, serial="S1", amount_fen=500)
    owe(wiring, far, serial="S2", amount_fen=700)
    answer = browser.post(f"/p/{code}/due{lang}", data=TYPED).text
    shown = text_of(answer)
    assert [ticked for _, ticked in boxes(answer)] == [True, False]
    assert far.operator_name in shown
    assert "7.00" in shown
    assert far.name not in shown
    assert f"{words.together} ¥12.00" in shown


def test_where_nothing_is_owed_here_all_is_ticked(browser: Browser, code: str, wiring: Wiring, far: Lot) -> None:
    owe(wiring, far, serial="S1", amount_fen=500)
    owe(wiring, far, serial="S2", amount_fen=700)
    assert [ticked for _, ticked in boxes(browser.post(f"/p/{code}/due", data=TYPED).text)] == [True, True]


@pytest.mark.parametrize(("ticked", "amount"), [([0], "5.00"), ([1, 2], "18.00"), ([0, 1, 2], "23.00")])
def test_only_what_was_ticked_is_put_together_and_the_same_again_is_the_same(
    browser: Browser, code: str, wiring: Wiring, lot: Lot, far: Lot, ticked: list[int], amount: str
) -> None:
    for number, (where, amount_fen) in enumerate([(lot, 500), (lot, 700), (far, 1100)]):
        owe(wiring, where, serial=f"S{number}", amount_fen=amount_fen)
    answer = browser.post(f"/p/{code}/due", data=TYPED).text
    form = {"charges": field(answer, "charges"), "basket": field(answer, "basket"), "of": "chosen"}
    chosen = [boxes(answer)[number][0] for number in ticked]
    first, second = (browser.post(f"/p/{code}/basket", data=form | {"chosen": chosen}) for _ in range(2))
    assert f"¥{amount}" in re.sub(r"<[^>]+>", "", first.text)
    assert first.url == second.url
    with wiring.db.begin() as tx:
        assert tx.execute(text("select count(*) from payments.basket")).scalar_one() == 1
    whole = browser.post(f"/p/{code}/basket", data=form | {"of": ""})
    assert (whole.url == first.url) == (len(ticked) == 3)


def test_nothing_ticked_and_what_was_not_offered_is_said_and_makes_no_basket(
    browser: Browser, code: str, wiring: Wiring, lot: Lot
) -> None:
    owe(wiring, lot, serial="S1")
    owe(wiring, lot, serial="S2", plate="苏B54321")
    with wiring.db.begin() as tx:
        mine, foreign = tx.execute(text("select charge_id from payments.charge order by lot_serial")).scalars().all()
    form = {"charges": seals.of(wiring, lot.lot_id, str(mine)), "basket": "t" * 40, "of": "chosen"}
    for chosen in ({}, {"chosen": str(foreign)}, {"chosen": ["x", ""]}):
        answer = browser.post(f"/p/{code}/basket", data=form | chosen)
        assert answer.status_code == 422
        assert ZH.choose_none in answer.text
    with wiring.db.begin() as tx:
        assert tx.execute(text("select count(*) from payments.basket")).scalar_one() == 0


# Prices


@pytest.mark.parametrize(("lang", "words"), [("", ZH), ("?lang=en", EN)])
def test_an_amount_that_changed_since_the_page_is_said_and_confirmed_anew(
    browser: Browser, code: str, wiring: Wiring, lot: Lot, lang: str, words: Words
) -> None:
    owe(wiring, lot)
    form = browser.post(f"/p/{code}/due", data=TYPED).text
    stale = {name: field(form, name) for name in ("charge", "order")} | {"shown": "12.00", "channel": "wechat"}
    answer = browser.post(f"/p/{code}/pay{lang}", data=stale, follow_redirects=False)
    assert words.price_changed.format(old="12.00", new="15.50") in text_of(answer.text)
    assert field(answer.text, "shown") == "15.50"
    with wiring.db.begin() as tx:
        assert tx.execute(text("select count(*) from payments.pay_order")).scalar_one() == 0


def test_of_a_charge_of_another_lot_nothing_is_shown(browser: Browser, code: str, wiring: Wiring, lot: Lot, far: Lot) -> None:
    owe(wiring, far)
    with wiring.db.begin() as tx:
        charge: UUID = tx.execute(text("select charge_id from payments.charge")).scalar_one()
    stale = {"charge": seals.of(wiring, lot.lot_id, str(charge)), "order": "t" * 40, "shown": "12.00", "channel": "wechat"}
    answer = browser.post(f"/p/{code}/pay", data=stale, follow_redirects=False)
    assert "15.50" not in answer.text


def test_a_basket_whose_sum_changed_since_its_page_says_so_before_it_is_paid(
    browser: Browser, code: str, wiring: Wiring, lot: Lot
) -> None:
    owe(wiring, lot, serial="S1", amount_fen=500)
    owe(wiring, lot, serial="S2", amount_fen=700)
    answer = browser.post(f"/p/{code}/due", data=TYPED).text
    shown = browser.post(f"/p/{code}/basket", data={name: field(answer, name) for name in ("charges", "basket")})
    paying = browser.post(f"{shown.url.path}/pay", data={"channel": "wechat", "open": "15.00"})
    assert ZH.price_changed.format(old="15.00", new="12.00") in text_of(paying.text)
    with wiring.db.begin() as tx:
        assert tx.execute(text("select count(*) from payments.pay_order")).scalar_one() == 0


# Mandates


@pytest.mark.parametrize(("state", "is_said"), [("open", True), ("none", False)])
def test_a_stay_that_will_be_deducted_says_so_and_can_be_paid_all_the_same(
    browser: Browser, code: str, wiring: Wiring, lot: Lot, state: str, is_said: bool
) -> None:
    owe(wiring, lot)
    with wiring.db.begin() as tx:
        row = tx.execute(text("select plate_id, entered_at from payments.charge")).one()
        entrance_id = wiring.ids.new(wiring.clock.now(), "entrance")
        deduction_store.insert_entrance(
            tx, entrance_id=entrance_id, lane=0, operator_id=lot.operator_id, lot_id=lot.lot_id, lot_serial="E1",
            plate_id=row.plate_id, entered_at=row.entered_at, free_minutes=0, lot_name=lot.name, at=wiring.clock.now(),
        )  # fmt: skip
        word = Word(channel="wechat", merchant_no="m", entry_no="1", state=state, word=None)  # type: ignore[arg-type]
        deduction_store.keep_word(tx, lane=0, entrance_id=entrance_id, word=word, at=wiring.clock.now())
    shown = text_of(browser.post(f"/p/{code}/due", data=TYPED).text)
    assert (ZH.by_mandate.format(channels=ZH.channel_wechat) in shown) == is_said
    assert f"{ZH.pay_wechat} ¥15.50" in shown


# The board


def test_the_board_is_searched_paged_and_keeps_the_language(browser: Browser, wiring: Wiring, lot: Lot) -> None:
    with wiring.db.begin() as tx:
        many = [NewLot(f"Z-{n:02}", "LX", f"第{n:02}停车场", "梁溪区", "远路", 5, "gate", "每小时5元") for n in range(41)]
        lots.register_lots(tx, lots=many, at=wiring.clock.now())
    names: list[str] = []
    address: str | None = "/?q=远路&lang=en"
    while address:
        answer = browser.get(address).text
        names += re.findall(r"<strong>(第\d\d停车场)</strong>", answer)
        forward = re.search(r'rel="next" href="([^"]+)"', answer)
        address = forward[1].replace("&amp;", "&") if forward else None
        assert address is None or "lang=en" in address
    assert names == [lot.name for lot in many]
    assert ZH.board_missing.format(typed="<b>") in text_of(browser.get("/?q=%3Cb%3E").text)
    for odd in ("page=0", "page=x", "page=99999999999", "page=²", "q=%00%01", "q=" + "x" * 3000, "q=a&q=b"):
        assert browser.get(f"/?{odd}").status_code == 200


def test_the_board_leads_only_to_pages_that_there_are(browser: Browser) -> None:
    answer = browser.get("/").text
    for path in ("/report", "/leave-first"):
        assert (f'href="{path}"' in answer) == (browser.get(path).status_code == 200)


# Compression


def test_pages_and_files_go_out_compressed_to_whom_can_read_it(browser: Browser, code: str) -> None:
    answer = browser.get(f"/p/{code}")
    assert answer.headers["content-encoding"] == "gzip"
    style = re.search(r'href="(/assets/pay.css[^"]*)"', answer.text)
    assert style is not None
    zipped, plain = (browser.get(style[1], headers={"accept-encoding": encoding}) for encoding in ("gzip", "identity"))
    assert (zipped.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
    assert zipped.content == plain.content
    assert "accept-encoding" in zipped.headers["vary"]
