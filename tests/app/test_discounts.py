"""Discounts from outside: merchants' validations over the API, ``tongting discount``, and coupons on the citizen's page."""

# ruff: noqa: F811  # fixtures of another module are asked for by name

import argparse
import html
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from app.commands import discounts as cli
from app.pages import after_words, covered
from app.pages import coupon as coupon_page
from app.pages.words import EN, ZH
from app.wiring import Wiring
from ledger.clock import SetClock
from ledger.errors import Refused
from payments.bearers import bearers, following
from payments.discounts import grants
from payments.lots import Lot
from tests.app.conftest import City, Client, app_of, bearer
from tests.app.test_pages import PLATE, Browser, browser, code, lot, owe, text_of, wiring  # noqa: F401  # fixtures
from tests.payments.conftest import AT, make_charge

OFFER = """
code = "{code}"
kind = "{kind}"
words = "商家优惠"
words_en = "Shop discount"
bearer = "mall"
document = "agreement 3"
valid_from = 2020-01-01T00:00:00+08:00
valid_until = 2099-01-01T00:00:00+08:00
off_fen = {fen}
"""


def say(wiring: Wiring, *words: str) -> str:
    parser = argparse.ArgumentParser()
    cli.arguments(parser)
    return cli.run(wiring, parser.parse_args(words))


def enter(wiring: Wiring, folder: Path, code: str, kind: str, fen: int = 500) -> None:
    with wiring.db.begin() as tx:
        bearers.register(tx, code="mall", name="示例商场", document="agreement 3", at=AT)
    file = folder / f"{code}.toml"
    file.write_text(OFFER.format(code=code, kind=kind, fen=fen), encoding="utf-8")
    assert say(wiring, "add", str(file)).startswith(code)


def issued(wiring: Wiring, folder: Path, *, fen: int = 500) -> str:
    enter(wiring, folder, "C5", "coupon", fen)
    return say(wiring, "issue", "C5", "--count", "1")


@pytest.fixture(autouse=True)
def forgiving() -> Iterator[None]:
    """Each test types its wrong codes as if it were the first."""
    coupon_page.MISSES._left.clear()
    yield
    coupon_page.MISSES._left.clear()


def post(api: Client, product: Wiring, lot: Lot, body: Any, scope: Any = "lot") -> Any:
    return api.post("/v1/lots/lot-1/validations", json=body, headers=bearer(product, scope, lot))


def test_a_validation_is_created_already_and_taken_back(api: Client, product: Wiring, two_lots: City, tmp_path: Path) -> None:
    enter(product, tmp_path, "M5", "validation")
    with product.db.begin() as tx:
        make_charge(tx, two_lots.ours, "S1")
    body = {"serial": "V1", "offer": "M5", "plate": "苏B·12345"}
    answers = [post(api, product, two_lots.ours, body) for _ in range(2)]
    assert [(one.status_code, one.json()["outcome"], one.json()["taken_off_fen"]) for one in answers] == [
        (201, "created", 500), (200, "already", 500),
    ]  # fmt: skip
    gone = api.delete("/v1/lots/lot-1/validations/V1", headers=bearer(product, "lot", two_lots.ours))
    assert (gone.status_code, gone.json()["standing"]) == (200, "cancelled")
    missing = api.delete("/v1/lots/lot-1/validations/V2", headers=bearer(product, "lot", two_lots.ours))
    assert (missing.status_code, missing.json()["code"]) == (404, "validation_unknown")


def test_records_are_answered_one_by_one_and_scopes_hold(api: Client, product: Wiring, two_lots: City, tmp_path: Path) -> None:
    enter(product, tmp_path, "M5", "validation")
    given = [{"serial": "V1", "offer": "M5", "plate": PLATE}, {"serial": "V2"}, {"serial": "V3", "offer": "X", "plate": PLATE}]
    answer = post(api, product, two_lots.ours, given)
    assert answer.status_code == 207
    assert [one["reason"] for one in answer.json()] == [None, "malformed", "discount_not_found"]
    assert post(api, product, two_lots.theirs, given[0]).status_code == 404
    assert post(api, product, two_lots.ours, given[0], "city").json()["code"] == "read_only"
    wrong = post(api, product, two_lots.ours, given[0] | {"plate": PLATE[:-1] + "9"})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "content_differs")


def test_a_posted_charge_meets_the_validation_that_waits(api: Client, product: Wiring, two_lots: City, tmp_path: Path) -> None:
    enter(product, tmp_path, "M5", "validation")
    assert post(api, product, two_lots.ours, {"serial": "V1", "offer": "M5", "plate": "苏B12345"}).json()["standing"] == "waiting"
    charge = {
        "lot_serial": "S1", "plate": "苏B·12345", "plate_color": "blue", "entered_at": "2026-03-02T10:00:00+08:00", "minutes": 60,
        "amount_fen": 1200, "tariff_text": "每小时6元",
    }  # fmt: skip
    told = api.post("/v1/lots/lot-1/charges", json=charge, headers=bearer(product, "lot", two_lots.ours))
    assert told.status_code == 201
    with product.db.connect() as tx:
        assert tx.execute(text("select reduced_fen from payments.charge")).scalar_one() == 500


def test_the_command_enters_lists_and_issues(product: Wiring, tmp_path: Path) -> None:
    assert say(product, "list") == "There is no offer."
    enter(product, tmp_path, "C5", "coupon")
    assert "5.00 yuan off" in say(product, "list")
    codes = say(product, "issue", "C5", "--count", "3").split("\n")
    assert len(set(codes)) == 3
    assert all(re.fullmatch(r"([A-Z2-7]{4}-){3}[A-Z2-7]{4}", code) for code in codes)
    with product.db.connect() as tx:
        kept = set(tx.execute(text("select code_digest from payments.discount_grant")).scalars())
    assert {bytes(one) for one in kept} == {grants.digest_of(code) for code in codes}
    with pytest.raises(Refused):
        say(product, "issue", "C5", "--count", "0")
    with pytest.raises(Refused):
        say(product, "issue", "C5", "--count", "1", "--until", "2026-04-01T00:00:00")
    with pytest.raises(Refused, match="no offer"):
        say(product, "add", str(tmp_path / "none.toml"))


def due(browser: Browser, code: str, lang: str = "") -> str:
    return browser.post(f"/p/{code}/due{lang}", data={"province": PLATE[0], "rest": PLATE[1:]}).text


def use(browser: Browser, code: str, page: str, coupon: str, lang: str = "") -> Any:
    found = re.search(r'name="charge" value="([^"]+)"', page)
    assert found is not None
    return browser.post(f"/p/{code}/coupon{lang}", data={"charge": found[1], "code": coupon})


def test_the_page_asks_for_a_coupon_only_where_there_are_some(
    browser: Browser, code: str, wiring: Wiring, lot: Lot, tmp_path: Path
) -> None:
    owe(wiring, lot)
    assert ZH.coupon not in due(browser, code)
    issued(wiring, tmp_path)
    assert ZH.coupon in due(browser, code)


@pytest.mark.parametrize(("lang", "words"), [("", ZH), ("?lang=en", EN)])
def test_a_coupon_shows_what_it_takes_off_and_the_lower_price_but_not_whose_it_is(
    browser: Browser, code: str, wiring: Wiring, lot: Lot, tmp_path: Path, lang: str, words: Any
) -> None:
    owe(wiring, lot)
    coupon = issued(wiring, tmp_path)
    answer = use(browser, code, due(browser, code, lang), coupon.lower(), lang)
    said = "商家优惠" if words is ZH else "Shop discount"
    assert answer.status_code == 200
    assert words.discount.format(words=said, yuan="5.00") in text_of(answer.text)
    assert "示例商场" not in answer.text  # whoever typed the plate learns nothing of where its driver was
    assert 'name="shown" value="10.50"' in answer.text
    assert words.discount.format(words=said, yuan="5.00") in text_of(due(browser, code, lang))


def seal(wiring: Wiring) -> None:
    with wiring.db.connect() as connection:
        while wiring.sealer().seal_once(connection, at=wiring.clock.now()) is not None:
            pass


@pytest.mark.parametrize(("lang", "words", "after"), [("", ZH, after_words.ZH), ("?lang=en", EN, after_words.EN)])
def test_a_coupon_that_covers_all_gives_a_receipt_whose_place_in_the_book_is_proven(
    browser: Browser, code: str, wiring: Wiring, lot: Lot, tmp_path: Path, lang: str, words: Any, after: Any
) -> None:
    owe(wiring, lot)
    coupon = issued(wiring, tmp_path, fen=9900)
    page = due(browser, code, lang)
    first = text_of(use(browser, code, page, coupon, lang).text)
    assert words.covered_text.format(yuan="15.50") in first
    assert after.sealing in first
    assert words.covered_text.format(yuan="15.50") in text_of(use(browser, code, page, coupon, lang).text)
    other = say(wiring, "issue", "C5", "--count", "1")
    assert words.coupon_sorry[-1] in text_of(use(browser, code, page, other, lang).text)
    following.follow(wiring.db, lane=0, at=wiring.clock.now)
    seal(wiring)
    again = due(browser, code, lang)  # whoever looks later sees it too
    proof = re.search(r'href="(/v1/receipts/[^"]+)"', again)
    assert proof is not None
    assert "示例商场" not in again
    proven = browser.get(html.unescape(proof[1])).json()
    assert (proven["receipt"], proven["leaf_index"] < proven["tree_size"]) == (proof[1].split("/")[3], True)


def test_what_the_operator_itself_gives_has_no_entry_and_of_a_stay_that_is_over_nothing_is_told(
    browser: Browser, code: str, wiring: Wiring, lot: Lot, tmp_path: Path
) -> None:
    owe(wiring, lot)
    file = tmp_path / "free.toml"
    file.write_text(OFFER.format(code="FREE", kind="coupon", fen=9900).replace('bearer = "mall"', ""), encoding="utf-8")
    say(wiring, "add", str(file))
    use(browser, code, due(browser, code), say(wiring, "issue", "FREE", "--count", "1"))
    shown = due(browser, code)
    assert ZH.covered_text.format(yuan="15.50") in text_of(shown)
    assert ZH.covered_number not in shown
    later = msgspec.structs.replace(wiring, clock=SetClock(wiring.clock.now() + covered.SHOWN_FOR + timedelta(minutes=1)))
    app_of(later)
    assert ZH.nothing_title in text_of(due(browser, code))


def test_a_wrong_code_is_one_plain_sentence_and_guessing_is_slowed(
    browser: Browser, code: str, wiring: Wiring, lot: Lot, tmp_path: Path
) -> None:
    owe(wiring, lot)
    issued(wiring, tmp_path)
    page = due(browser, code)
    answers = [use(browser, code, page, f"AAAA-{number:04}") for number in range(12)]
    assert ZH.coupon_sorry[0] in text_of(answers[0].text)
    assert [one.status_code for one in answers] == [409] * 10 + [429] * 2
    with wiring.db.connect() as tx:
        assert tx.execute(text("select sum(reduced_fen) from payments.charge")).scalar_one() == 0


def test_the_address_of_the_form_alone_leads_to_the_first_page(browser: Browser, code: str) -> None:
    assert browser.get(f"/p/{code}/coupon").status_code == 200
    assert browser.post(f"/p/{code}/coupon", data={"charge": "x", "code": "y"}).status_code in (404, 409)
