"""Debts on the citizen's pages: until when they are due, paying a part, and saying that one is wrong."""

# ruff: noqa: F811  # fixtures of another module are asked for by name

import re
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app.pages.words import EN, ZH
from app.wiring import Wiring
from payments import lots
from payments.lots import Lot, NewOperator
from payments.owed.debts import Left, open_debts
from payments.splitting import rules
from tests.app.test_pages import PLATE, Browser, browser, code, lot, made_keys, owe, text_of, wiring  # noqa: F401  # fixtures

TYPED = {"province": PLATE[0], "rest": PLATE[1:]}


@pytest.fixture
def debt(wiring: Wiring, lot: Lot) -> UUID:
    """The car has left and owes 15.50 yuan."""
    owe(wiring, lot)
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        charge_id: UUID = tx.execute(text("select charge_id from payments.charge")).scalar_one()
        open_debts(tx, lane=0, left=[Left(charge_id, "policy", at)], evidence_id=charge_id, at=at, ids=wiring.ids)
    return charge_id


def due(browser: Browser, code: str, lang: str = "") -> str:
    return browser.post(f"/p/{code}/due{lang}", data=TYPED).text


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(("lang", "words"), [("", ZH), ("?lang=en", EN)])
def test_a_debt_says_until_when_and_offers_a_part_and_a_dispute(
    browser: Browser, code: str, debt: UUID, lang: str, words: object
) -> None:
    page = text_of(due(browser, code, lang))
    assert words.debt_due.split("{day}")[0].strip() in page  # type: ignore[attr-defined]
    assert words.part in page  # type: ignore[attr-defined]
    assert all(reason in page for reason in words.dispute_reasons)  # type: ignore[attr-defined]


def test_at_the_gate_there_is_neither(browser: Browser, code: str, wiring: Wiring, lot: Lot) -> None:
    owe(wiring, lot)
    page = text_of(due(browser, code))
    assert ZH.part not in page
    assert ZH.dispute not in page


def test_a_part_leads_to_a_basket_of_that_amount(browser: Browser, code: str, debt: UUID) -> None:
    page = due(browser, code)
    part = re.findall(r'name="basket" value="([^"]+)"', page)[-1]
    answer = browser.post(f"/p/{code}/basket", data={"charges": str(debt), "basket": part, "amount": "5.5"})
    assert "¥ 5.50" in text_of(answer.text).replace("¥5.50", "¥ 5.50")
    assert "15.50" in answer.text


@pytest.mark.parametrize("amount", ["0", "-1", "15.51", "x", "1.234"])
def test_what_is_no_part_is_one_plain_sentence(browser: Browser, code: str, debt: UUID, amount: str) -> None:
    part = re.findall(r'name="basket" value="([^"]+)"', due(browser, code))[-1]
    answer = browser.post(f"/p/{code}/basket", data={"charges": str(debt), "basket": part, "amount": amount})
    assert answer.status_code == 422
    assert ZH.sorry_part in text_of(answer.text)


def test_a_disputed_debt_is_not_demanded_and_a_second_tap_is_the_same(
    browser: Browser, code: str, debt: UUID, wiring: Wiring
) -> None:
    for _ in range(2):
        answer = browser.post(
            f"/p/{code}/dispute", data={"charge": str(debt), "reason": "not_my_car", "statement": "<b>没去过</b>"}
        )
        assert answer.status_code == 200
        assert ZH.dispute_title in text_of(answer.text)
    with wiring.db.connect() as tx:
        assert tx.execute(text("select state from payments.v_debt")).scalars().all() == ["disputed"]
        assert tx.execute(text("select count(*) from payments.debt_dispute")).scalar_one() == 1


def test_only_a_debt_of_the_scanned_lot_can_be_disputed(browser: Browser, code: str, wiring: Wiring, lot: Lot) -> None:
    owe(wiring, lot, serial="gate")
    with wiring.db.connect() as tx:
        at_the_gate = tx.execute(text("select charge_id from payments.charge")).scalar_one()
    for wrong in (str(at_the_gate), str(UUID(int=1)), "x"):
        assert browser.post(f"/p/{code}/dispute", data={"charge": wrong, "reason": "other"}).status_code == 409


def test_who_has_the_plate_now_sees_nothing_of_the_owner_before(browser: Browser, code: str, debt: UUID, wiring: Wiring) -> None:
    with wiring.db.begin() as tx:
        tx.execute(text("update payments.plate set held_since = :at"), {"at": wiring.clock.now() + timedelta(minutes=1)})
    assert ZH.nothing_title in text_of(due(browser, code))


@pytest.fixture
def cut(wiring: Wiring, lot: Lot) -> None:
    """The lot's charges are cut from now on: 30 % go to an owner of berths."""
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        other = NewOperator("BW", "无锡泊位业主示范有限公司", "91320213MA0DEM0022", "梁溪区", "social")
        lots.register_operators(tx, operators=[other], at=at)
        legs = (
            rules.NewLeg(operator="LX", share_bps=7000, words="停车费", words_en="parking"),
            rules.NewLeg(operator="BW", share_bps=3000, words="泊位费", words_en="berth"),
        )
        rule = rules.NewRule(lot=lot.code, valid_from=at - timedelta(days=1), document="agreement", leg=legs)
        rules.add_rule(tx, lane=0, rule=rule, at=at, ids=wiring.ids)


@pytest.mark.parametrize(("lang", "word"), [("", "泊位费"), ("?lang=en", "berth")])
def test_a_stay_of_two_payees_is_one_card_that_says_who_gets_what(
    browser: Browser, code: str, wiring: Wiring, lot: Lot, cut: None, lang: str, word: str
) -> None:
    owe(wiring, lot, amount_fen=1000)
    page = due(browser, code, lang)
    shown = text_of(page)
    assert page.count('class="amount"') == 1
    assert "10.00" in shown
    assert "7.00" in shown
    assert "3.00" in shown
    assert word in shown
    answer = browser.post(f"/p/{code}/basket", data={"charges": field(page, "charges"), "basket": field(page, "basket")})
    assert answer.status_code == 200
    assert answer.text.count("<li>") == 2
