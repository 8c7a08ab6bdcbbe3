"""Debts on the citizen's pages: until when they are due, paying a part, and saying that one is wrong."""

# ruff: noqa: F811  # fixtures of another module are asked for by name

import re
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app.pages import seals
from app.pages.words import EN, ZH, Words
from app.wiring import Wiring
from payments import charges, lots, paycode, results
from payments.lots import Lot, NewLot, NewOperator
from payments.owed import disputes
from payments.owed.debts import Left, open_debts
from payments.plates import PlateColor
from payments.records import NewCharge
from payments.splitting import rules
from tests.app.test_pages import PLATE, Browser, browser, code, lot, owe, text_of, wiring  # noqa: F401  # fixtures
from tests.payments.conftest import make_attempt
from tests.payments.owed.owing import MAKER, staff

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
    answer = browser.post(f"/p/{code}/basket", data={"charges": field(page, "charges"), "basket": part, "amount": "5.5"})
    assert "¥ 5.50" in text_of(answer.text).replace("¥5.50", "¥ 5.50")
    assert "15.50" in answer.text


@pytest.mark.parametrize("amount", ["0", "-1", "15.51", "x", "1.234"])
def test_what_is_no_part_is_one_plain_sentence(browser: Browser, code: str, debt: UUID, amount: str) -> None:
    page = due(browser, code)
    part = re.findall(r'name="basket" value="([^"]+)"', page)[-1]
    answer = browser.post(f"/p/{code}/basket", data={"charges": field(page, "charges"), "basket": part, "amount": amount})
    assert answer.status_code == 422
    assert ZH.sorry_part in text_of(answer.text)


def test_a_disputed_debt_is_not_demanded_and_a_second_tap_is_the_same(
    browser: Browser, code: str, debt: UUID, wiring: Wiring
) -> None:
    said = {"charge": field(due(browser, code), "charge"), "reason": "not_my_car", "statement": "<b>没去过</b>"}
    for _ in range(2):
        answer = browser.post(f"/p/{code}/dispute", data=said)
        assert answer.status_code == 200
        assert ZH.dispute_title in text_of(answer.text)
    with wiring.db.connect() as tx:
        assert tx.execute(text("select state from payments.v_debt")).scalars().all() == ["disputed"]
        assert tx.execute(text("select count(*) from payments.debt_dispute")).scalar_one() == 1


def test_only_a_debt_of_the_scanned_lot_can_be_disputed(browser: Browser, code: str, wiring: Wiring, lot: Lot) -> None:
    owe(wiring, lot, serial="gate")
    with wiring.db.connect() as tx:
        at_the_gate = tx.execute(text("select charge_id from payments.charge")).scalar_one()
    for wrong in (seals.of(wiring, lot.lot_id, str(at_the_gate)), seals.of(wiring, lot.lot_id, str(UUID(int=1))), "x"):
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


# Owed at other car parks


@pytest.fixture
def elsewhere(wiring: Wiring, lot: Lot) -> str:
    """The code of another lot, at which the car owes nothing."""
    with wiring.db.begin() as tx:
        other = NewLot("LX-02", "LX", "别处停车场", "梁溪区", "别处", 5, "gate", "每小时5元")
        (registered,) = lots.register_lots(tx, lots=[other], at=wiring.clock.now())
    return paycode.token(registered.lot_id, keys=wiring.pay_codes)


@pytest.mark.parametrize(("lang", "words"), [("", ZH), ("?lang=en", EN)])
def test_what_is_owed_elsewhere_is_offered_and_tells_neither_place_nor_time(
    browser: Browser, elsewhere: str, debt: UUID, lot: Lot, lang: str, words: Words
) -> None:
    page = due(browser, elsewhere, lang)
    shown = text_of(page)
    assert words.nothing_here in shown
    assert words.elsewhere_text.format(n=1) in shown
    assert "15.50" in shown
    assert words.entered not in shown
    assert lot.name not in shown
    assert field(page, "charges").startswith(f"{debt}~")
    basket = browser.post(f"/p/{elsewhere}/basket", data={name: field(page, name) for name in ("charges", "basket")})
    shown = text_of(basket.text)
    assert basket.status_code == 200
    assert "15.50" in shown
    assert lot.operator_name in shown
    assert lot.name not in shown


def test_a_part_of_what_is_owed_elsewhere_can_be_paid(browser: Browser, elsewhere: str, debt: UUID) -> None:
    page = due(browser, elsewhere)
    part = re.findall(r'name="basket" value="([^"]+)"', page)[-1]
    answer = browser.post(f"/p/{elsewhere}/basket", data={"charges": field(page, "charges"), "basket": part, "amount": "5.5"})
    assert "5.50" in answer.text


def test_of_a_car_that_stands_at_another_gate_no_part_is_offered(
    browser: Browser, elsewhere: str, wiring: Wiring, lot: Lot
) -> None:
    owe(wiring, lot)
    shown = text_of(due(browser, elsewhere))
    assert "15.50" in shown
    assert ZH.part not in shown


def test_looking_up_plates_that_owe_only_elsewhere_is_slowed_down_too(browser: Browser, elsewhere: str, debt: UUID) -> None:
    answers = [browser.post(f"/p/{elsewhere}/due", data=TYPED).status_code for _ in range(22)]
    assert (answers[0], answers[-1]) == (200, 429)


# Two cars with one number


def stay(wiring: Wiring, lot: Lot, color: PlateColor, amount_fen: int) -> None:
    now = wiring.clock.now()
    charge = NewCharge(
        lot_serial=f"C{amount_fen}", plate=PLATE, plate_color=color, entered_at=now - timedelta(minutes=161), minutes=161,
        amount_fen=amount_fen, tariff_text="3 小时",
    )  # fmt: skip
    with wiring.db.begin() as tx:
        (posted,) = charges.post(tx, lane=0, lot=lot, charges=[charge], at=now, ids=wiring.ids)
    assert posted.outcome == "created"


@pytest.mark.parametrize(("lang", "words"), [("", ZH), ("?lang=en", EN)])
def test_where_two_cars_have_one_number_the_driver_says_which_and_sees_nothing_before(
    browser: Browser, code: str, wiring: Wiring, lot: Lot, lang: str, words: Words
) -> None:
    stay(wiring, lot, "blue", 1100)
    stay(wiring, lot, "yellow", 2200)
    stay(wiring, lot, "unknown", 300)
    page = due(browser, code, lang)
    shown = text_of(page)
    assert words.which_car in shown
    assert re.findall(r'name="color" value="(\w+)"', page) == ["blue", "yellow"]
    assert [words.plate_colors[0] in shown, words.plate_colors[1] in shown, words.plate_colors[2] in shown] == [True, False, True]
    assert not any(amount in shown for amount in ("11.00", "22.00", "3.00", "¥"))
    chosen = text_of(browser.post(f"/p/{code}/due{lang}", data=TYPED | {"color": "yellow"}).text)
    assert ["22.00" in chosen, "3.00" in chosen, "11.00" in chosen] == [True, True, False]
    assert f"{words.together} ¥25.00" in chosen


def test_the_other_car_may_owe_at_another_lot_only(browser: Browser, code: str, elsewhere: str, wiring: Wiring, lot: Lot) -> None:
    stay(wiring, lot, "blue", 1100)
    stay(wiring, lot, "yellow", 2200)
    assert ZH.which_car in text_of(due(browser, elsewhere))
    shown = text_of(browser.post(f"/p/{elsewhere}/due", data=TYPED | {"color": "blue"}).text)
    assert ["11.00" in shown, "22.00" in shown] == [True, False]


def test_one_car_is_not_asked_for_its_colour_and_a_colour_that_is_none_is_no_choice(
    browser: Browser, code: str, wiring: Wiring, lot: Lot
) -> None:
    stay(wiring, lot, "yellow", 2200)
    stay(wiring, lot, "unknown", 300)
    page = due(browser, code)
    assert ZH.which_car not in text_of(page)
    assert 'class="chip yellow"' in page
    stay(wiring, lot, "blue", 1100)
    for color in ("pink", "unknown", "<b>"):
        assert ZH.which_car in text_of(browser.post(f"/p/{code}/due", data=TYPED | {"color": color}).text)


def test_who_chose_a_car_never_sees_the_other_when_its_own_has_paid(browser: Browser, code: str, wiring: Wiring, lot: Lot) -> None:
    stay(wiring, lot, "yellow", 2200)
    shown = text_of(browser.post(f"/p/{code}/due", data=TYPED | {"color": "blue"}).text)
    assert ZH.nothing_title in shown
    assert "22.00" not in shown


# Objections to debts that were paid


def object_to(browser: Browser, code: str, debt: UUID) -> None:
    said = {"charge": field(due(browser, code), "charge"), "reason": "not_there", "statement": "没去过"}
    answer = browser.post(f"/p/{code}/dispute", data=said)
    assert answer.status_code == 200


def pay_off(wiring: Wiring, lot: Lot, debt: UUID) -> str:
    """Pay a debt in full; returns the link token of its order."""
    now = wiring.clock.now()
    with wiring.db.begin() as tx:
        attempt = make_attempt(tx, lot, debt, at=now)
        results.apply(tx, lane=0, notices=[attempt.answer(happened_at=now)], at=now, ids=wiring.ids)
        assert tx.execute(text("select state from payments.charge")).scalar_one() == "settled"
    return attempt.token


@pytest.mark.parametrize(("lang", "words"), [("", ZH), ("?lang=en", EN)])
def test_a_disputed_debt_says_that_paying_does_not_withdraw_the_objection(
    browser: Browser, code: str, debt: UUID, wiring: Wiring, lot: Lot, lang: str, words: Words
) -> None:
    object_to(browser, code, debt)
    before = text_of(due(browser, code, lang))
    assert words.objection_open in before
    assert words.dispute_go not in before
    token = pay_off(wiring, lot, debt)
    assert words.objections[0] in text_of(due(browser, code, lang))
    assert words.nothing_title in text_of(due(browser, code, lang))
    assert words.objections[0] in text_of(browser.get(f"/r/{token}{lang}").text)


def test_an_objection_to_a_paid_debt_shows_at_its_own_lot_and_for_its_own_car_only(
    browser: Browser, code: str, elsewhere: str, debt: UUID, wiring: Wiring, lot: Lot
) -> None:
    object_to(browser, code, debt)
    pay_off(wiring, lot, debt)
    assert ZH.objections[0] not in text_of(due(browser, elsewhere))
    other = browser.post(f"/p/{code}/due", data={"province": "苏", "rest": "B54321"})
    assert ZH.objections[0] not in text_of(other.text)
    with wiring.db.begin() as tx:
        tx.execute(text("update payments.plate set held_since = :at"), {"at": wiring.clock.now() + timedelta(minutes=1)})
    assert ZH.objections[0] not in text_of(due(browser, code))


def test_what_was_decided_of_a_paid_debt_is_shown_for_a_month(
    browser: Browser, code: str, debt: UUID, wiring: Wiring, lot: Lot
) -> None:
    object_to(browser, code, debt)
    pay_off(wiring, lot, debt)
    with wiring.db.begin() as tx:
        staff(tx)
        now = wiring.clock.now()
        [waiting] = disputes.waiting(tx, lane=0)
        disputes.reject(tx, lane=0, dispute_id=waiting.dispute_id, by=MAKER, note="照片相符", at=now, ids=wiring.ids)
    assert ZH.objections[3] in text_of(due(browser, code))
    with wiring.db.begin() as tx:
        tx.execute(text("update payments.debt_dispute set decided_at = decided_at - interval '31 days'"))
        tx.execute(text("update payments.charge set settled_at = settled_at - interval '31 days'"))
    assert ZH.objections[3] not in text_of(due(browser, code))
