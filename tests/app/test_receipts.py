"""What a driver has after paying, asked as a browser without scripts asks it."""

import hashlib
import html
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from app import worker
from app.pages import after_words
from app.pages.after_words import EN, ZH
from app.wiring import Wiring
from gateways.contract import ChannelState
from ledger.clock import SetClock
from payments import basket_store, baskets, orders, results, store
from payments.basket_store import NewPayment
from payments.invoices import rules
from payments.invoices.rules import NewRule
from payments.refunding import refunds, requests
from tests.app.conftest import City, app_of
from tests.payments.conftest import AT, IDS, MERCHANT, PROVIDER, Due, make_attempt, make_charge, route_of

Browser = TestClient[Litestar]
COMPANY = {"buyer": "company", "title": "某某公司", "tax_no": "91350100M000100Y43", "email": ""}


@pytest.fixture
def browser(product: Wiring) -> Iterator[Browser]:
    with TestClient(app_of(product), base_url="http://pay.test") as client:
        yield client


def pay(product: Wiring, city: City, serial: str = "S1", **said: object) -> Due:
    with product.db.begin() as tx:
        due = make_attempt(tx, city.ours, make_charge(tx, city.ours, serial))
        results.apply(tx, lane=0, notices=[due.answer(**said)], at=AT, ids=IDS)
    return due


@pytest.fixture
def paid(product: Wiring, two_lots: City) -> Due:
    return pay(product, two_lots)


@pytest.fixture
def invoiced(product: Wiring, two_lots: City, paid: Due) -> Due:
    with product.db.begin() as tx:
        rules.enter(tx, rule=NewRule(kind="tax_invoice", document="d", valid_from=AT - timedelta(days=1)), at=AT)
    return paid


def read(page: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


# The receipt


def test_a_receipt_says_who_was_paid_what_for_which_stay(browser: Browser, two_lots: City, paid: Due) -> None:
    page = browser.get(f"/r/{paid.token}/receipt").text
    shown = read(page)
    for word in (paid.order_no, two_lots.ours.operator_name, "91320200MA1000001X", "¥12.00", "每小时6元", "2026-03-02 12:00:00"):
        assert word in shown
    assert f"42{paid.attempt.payment_id.hex[:30]}" in shown
    assert "苏B12345" not in page
    assert ZH.sealing in shown
    assert EN.sealing in read(browser.get(f"/r/{paid.token}/receipt?lang=en").text)
    assert f'href="/r/{paid.token}/receipt"' in browser.get(f"/r/{paid.token}").text


def test_once_sealed_it_shows_the_number_in_the_book_and_leads_to_a_proof_that_holds(
    browser: Browser, product: Wiring, two_lots: City, paid: Due
) -> None:
    others = [pay(product, two_lots, f"T{n}") for n in range(3)]
    with product.db.connect() as connection:
        product.sealer().seal_once(connection, at=AT)
    last = pay(product, two_lots, "U1")
    with product.db.connect() as connection:
        product.sealer().seal_once(connection, at=AT)
    numbers = []
    for due in (paid, *others, last):
        page = browser.get(f"/r/{due.token}/receipt").text
        assert all(step in read(page) for step in ZH.proof_steps)
        size = 5 if due is last else 4
        proof = browser.get(html.unescape(re.findall(r'href="(/v1/receipts/[^"]+)"', page)[0])).json()
        assert (proof["receipt"], proof["tree_size"]) == (due.order_no, size)
        assert hashlib.sha256(b"\0" + bytes.fromhex(proof["record"])).hexdigest() == proof["leaf"]
        [number, shown_size, root] = re.findall(ZH.sealed.format(number=r"(\d+)", size=r"(\d+)", root="(.{12})"), read(page))[0]
        assert (int(shown_size), proof["checkpoint"].split("\n")[2][:12]) == (size, root)
        numbers.append(int(number))
    assert numbers == [1, 2, 3, 4, 5]


@pytest.mark.skipif(not all(shutil.which(tool) for tool in ("jq", "xxd", "openssl")), reason="the page's tools are not here")
def test_the_commands_of_the_page_check_a_proof_without_our_software(
    browser: Browser, product: Wiring, two_lots: City, paid: Due, tmp_path: Path
) -> None:
    dues = [paid, *(pay(product, two_lots, f"T{n}") for n in range(4))]
    with product.db.connect() as connection:
        product.sealer().seal_once(connection, at=AT)
    page = (Path(__file__).parents[2] / "docs" / "RECEIPTS.md").read_text(encoding="utf-8")
    commands = re.findall(r"```sh\nP=.*?\n(.*?)```", page, re.DOTALL)[0]
    for due in (dues[1], dues[4]):
        proof = browser.get(f"/v1/receipts/{due.order_no}/proof").text
        told = subprocess.run(
            ["bash", "-c", commands], env={"P": proof, "PATH": os.environ["PATH"]}, cwd=tmp_path, capture_output=True, text=True,
            check=True,
        ).stdout.split("\n")  # fmt: skip
        read_by_us = msgspec.json.decode(proof)
        assert told[:2] == [read_by_us["leaf"], read_by_us["checkpoint"].split("\n")[2]]
        assert told[2] == "Signature Verified Successfully"


def test_refunds_on_their_way_and_done_stand_on_the_receipt(browser: Browser, product: Wiring, paid: Due) -> None:
    with product.db.begin() as tx:
        refunds.promise(
            tx, lane=0, payment_id=paid.attempt.payment_id, amount_fen=500, source="operator", source_ref="r-1", reason="退款",
            evidence_id=paid.attempt.payment_id, at=AT, ids=IDS,
        )  # fmt: skip
    assert ZH.back_way.format(amount="5.00") in read(browser.get(f"/r/{paid.token}/receipt").text)


def test_what_is_not_paid_has_no_receipt_and_a_foreign_link_nothing(browser: Browser, product: Wiring, two_lots: City) -> None:
    open_still = pay(product, two_lots, "S2", state=ChannelState.PENDING, trade_no=None, amount_fen=None)
    assert ZH.title not in browser.get(f"/r/{open_still.token}/receipt").text
    for path in ("/r/AAAAAAAAAAAAAAAAAAAAAAAA/receipt", "/b/AAAAAAAAAAAAAAAAAAAAAAAA/receipt", "/r/x/receipt"):
        assert browser.get(path).status_code in (404, 409)


def test_the_page_offers_its_own_address_to_be_kept(browser: Browser, paid: Due) -> None:
    page = browser.get(f"/r/{paid.token}?lang=en").text
    assert f'value="http://pay.test/r/{paid.token}?lang=en"' in page
    assert EN.keep in page


@pytest.mark.parametrize(("minutes", "words"), [(3, ZH.waiting_later), (11, ZH.waiting_long)], ids=["a while", "long"])
def test_whoever_waits_is_told_what_happens_and_that_the_money_is_not_lost(
    browser: Browser, product: Wiring, two_lots: City, minutes: int, words: str
) -> None:
    due = pay(product, two_lots, state=ChannelState.PENDING, trade_no=None, amount_fen=None)
    assert isinstance(product.clock, SetClock)
    product.clock.set(AT + timedelta(minutes=minutes))
    assert words.format(channel="微信支付") in browser.get(f"/r/{due.token}?via=wechat").text
    assert "evil" not in browser.get(f"/r/{due.token}?via=evil").text.split("<main>")[1].split("href")[0]


# Refund requests


def test_a_request_is_kept_with_its_form_and_shown_until_it_is_answered(browser: Browser, product: Wiring, paid: Due) -> None:
    assert ZH.refund in browser.get(f"/r/{paid.token}").text
    form = {"receipt": paid.order_no, "reason": "barrier", "words": "等了<十>分钟"}
    first = browser.post(f"/r/{paid.token}/refund", data=form)
    again = browser.post(f"/r/{paid.token}/refund", data=form | {"words": "又一次"})
    assert (first.status_code, read(again.text)) == (200, read(first.text))
    assert ZH.refund_open.format(day="3月9日") in read(browser.get(f"/r/{paid.token}").text)
    assert 'name="reason"' not in first.text
    with product.db.begin() as tx:
        kept = tx.exec_driver_sql("select body, subject from gateways.raw_message where channel = 'page'").all()
        assert [(b"reason=barrier" in row.body, row.subject) for row in kept] == [(True, paid.attempt.payment_id)]
        [one] = requests.waiting(tx, lane=0)
        assert one.words == "等了<十>分钟"
        requests.decline(
            tx,
            lane=0,
            lot_id=one.lot_id,
            request_id=one.request_id,
            words="闸机<正常>",
            by="lot",
            evidence_id=one.request_id,
            at=AT,
        )
    page = browser.get(f"/r/{paid.token}").text
    assert ZH.refund_declined in page
    assert "闸机&lt;正常&gt;" in page
    assert ZH.refund_again in page


@pytest.mark.parametrize("other", [{"reason": ""}, {"reason": "whim"}, {"words": "长" * 301}])
def test_a_form_that_cannot_be_taken_comes_back_with_what_was_typed(
    browser: Browser, product: Wiring, paid: Due, other: dict[str, str]
) -> None:
    form = {"receipt": paid.order_no, "reason": "other", "words": "原话"} | other
    page = browser.post(f"/r/{paid.token}/refund", data=form)
    assert page.status_code == 422
    assert ZH.refund_wrong in page.text
    assert form["words"] in page.text
    with product.db.connect() as tx:
        assert requests.waiting(tx, lane=0) == []


def test_a_payment_of_another_link_cannot_be_asked_back(browser: Browser, product: Wiring, two_lots: City, paid: Due) -> None:
    other = pay(product, two_lots, "S2")
    form = {"receipt": other.order_no, "reason": "other", "words": ""}
    assert browser.post(f"/r/{paid.token}/refund", data=form).status_code == 409
    assert browser.post(f"/r/{paid.token}/invoice", data=form | COMPANY).status_code == 409
    with product.db.connect() as tx:
        assert requests.waiting(tx, lane=0) == []


def test_a_second_payment_says_that_it_goes_back_unasked(browser: Browser, product: Wiring, two_lots: City) -> None:
    with product.db.begin() as tx:
        charge_id = make_charge(tx, two_lots.ours, "S1")
        first, second = make_attempt(tx, two_lots.ours, charge_id), make_attempt(tx, two_lots.ours, charge_id)
        results.apply(tx, lane=0, notices=[first.answer(), second.answer()], at=AT, ids=IDS)
    page = browser.get(f"/r/{second.token}").text
    assert ZH.refund_itself in page
    assert 'name="reason"' not in page
    form = {"receipt": second.order_no, "reason": "paid_twice", "words": ""}
    refused = browser.post(f"/r/{second.token}/refund", data=form)
    assert (refused.status_code, ZH.refund_itself in refused.text) == (409, True)


# Invoices


def test_without_a_rule_the_page_says_whom_to_ask(browser: Browser, paid: Due) -> None:
    page = browser.get(f"/r/{paid.token}").text
    assert ZH.invoice_none in page
    assert 'name="tax_no"' not in page
    assert browser.post(f"/r/{paid.token}/invoice", data=COMPANY | {"receipt": paid.order_no}).status_code == 409


def test_a_wrong_tax_number_comes_back_with_what_was_typed(browser: Browser, invoiced: Due) -> None:
    form = COMPANY | {"receipt": invoiced.order_no, "tax_no": "91350100M000100Y44"}
    page = browser.post(f"/r/{invoiced.token}/invoice", data=form)
    assert page.status_code == 422
    assert ZH.invoice_wrong[1] in page.text
    assert 'value="91350100M000100Y44"' in page.text
    assert "<details open><summary>申请电子发票" in page.text


def test_an_invoice_is_asked_for_issued_and_downloaded_behind_the_link(
    browser: Browser, product: Wiring, two_lots: City, invoiced: Due
) -> None:
    form = COMPANY | {"receipt": invoiced.order_no}
    first = browser.post(f"/r/{invoiced.token}/invoice", data=form)
    assert read(browser.post(f"/r/{invoiced.token}/invoice", data=form).text) == read(first.text)
    assert ZH.invoice_waiting in first.text
    assert worker.issue_invoices(product).handed_over == 1
    [line] = [msgspec.json.decode(file.read_bytes()) for file in product.settings.invoice_outbox.glob("*.jsonl")]
    inbox = product.settings.invoice_inbox
    inbox.mkdir(parents=True)
    (inbox / "x.ofd").write_bytes(b"OFD")
    said = {"number": "26322000000000000001", "issued_at": "2026-03-02T13:00:00Z", "amount_fen": 1200, "file": "x.ofd"}
    (inbox / "a.jsonl").write_bytes(msgspec.json.encode({"request": line["request"], "state": "issued"} | said))
    assert worker.issue_invoices(product).answered == 1
    page = browser.get(f"/r/{invoiced.token}").text
    assert "26322000000000000001" in page
    href = re.findall(r'href="(/r/[^"]+/invoice/[^"]+)"', page)[0]
    file = browser.get(href)
    assert (file.content, file.headers["content-type"]) == (b"OFD", "application/ofd")
    assert file.headers["content-disposition"].startswith("attachment")
    other = pay(product, two_lots, "S2")
    assert browser.get(href.replace(invoiced.token, other.token)).status_code == 404


def test_a_refund_request_and_an_invoice_after_everything_went_back_are_not_offered(
    browser: Browser, product: Wiring, invoiced: Due
) -> None:
    with product.db.begin() as tx:
        refunds.promise(
            tx, lane=0, payment_id=invoiced.attempt.payment_id, amount_fen=1200, source="operator", source_ref="r", reason="退款",
            evidence_id=invoiced.attempt.payment_id, at=AT, ids=IDS,
        )  # fmt: skip
    page = browser.get(f"/r/{invoiced.token}").text
    assert 'name="reason"' not in page
    assert 'name="tax_no"' not in page
    late = browser.post(f"/r/{invoiced.token}/invoice", data=COMPANY | {"receipt": invoiced.order_no})
    assert (late.status_code, ZH.gone in read(browser.get(f"/r/{invoiced.token}/receipt").text)) == (409, False)


# Baskets


def test_a_basket_has_one_receipt_a_leg_and_a_sum(browser: Browser, product: Wiring, two_lots: City) -> None:
    token = orders.RandomTokens().new("basket")
    with product.db.begin() as tx:
        lots = (two_lots.ours, two_lots.theirs)
        charges = [make_charge(tx, lot, f"B{n}") for n, lot in enumerate(lots)]
        basket = baskets.open_basket(tx, till=product.till(), lot_id=two_lots.ours.lot_id, charge_ids=charges, token=token, at=AT)
        rows = [
            NewPayment(
                payment_id=IDS.new(AT, "p"), order_id=IDS.new(AT, "o"), charge_id=charge, lot_id=lot.lot_id,
                operator_id=lot.operator_id, route_id=route_of(tx, lot).route_id, merchant_no=str(int(MERCHANT) + n), key_ref=None,
                amount_fen=1200, payer_digest=b"p", token_digest=bytes([n]) * 32,
            )
            for n, (lot, charge) in enumerate(zip(lots, charges, strict=True))
        ]  # fmt: skip
        basket_store.insert_act(
            tx, basket=basket, act_id=IDS.new(AT, "act"), channel="wechat", provider_no=PROVIDER, way="in_wallet", at=AT,
            expires_at=AT + timedelta(minutes=15), next_query_at=AT, payments=rows,
        )  # fmt: skip
        made = [store.attempt(tx, lane=0, payment_id=row.payment_id) for row in rows]
        legs = {one.merchant_no: Due(lot, None, one, "") for lot, one in zip(lots, made, strict=True) if one}  # type: ignore[arg-type]
        results.apply(tx, lane=0, notices=[one.answer() for one in legs.values()], at=AT, ids=IDS)
    assert f'href="/b/{token}/receipt"' in browser.get(f"/b/{token}").text
    page = browser.get(f"/b/{token}/receipt").text
    shown = read(page)
    assert page.count('class="card paper"') == 2
    assert f"{ZH.together} ¥24.00" in shown
    assert shown.count(ZH.elsewhere) == 1
    assert shown.count("每小时6元") == 1
    form = {"receipt": legs[str(int(MERCHANT) + 1)].order_no, "reason": "other", "words": ""}
    assert ZH.refund_open.format(day="3月9日") in read(browser.post(f"/b/{token}/refund", data=form).text)
    with product.db.begin() as tx:
        rules.enter(tx, rule=NewRule(kind="tax_invoice", document="d", valid_from=AT - timedelta(days=1)), at=AT)
    assert ZH.invoice_all.format(count=1) in browser.get(f"/b/{token}/receipt").text
    asked = browser.post(f"/b/{token}/invoice", data=COMPANY | {"receipt": form["receipt"], "all": "yes"})
    assert read(asked.text).count(ZH.invoice_waiting) == 2
    assert browser.post(f"/b/{token}/invoice", data=COMPANY | {"receipt": form["receipt"], "all": "yes"}).text == asked.text
    assert worker.issue_invoices(product).handed_over == 2
    [file] = product.settings.invoice_outbox.glob("*.jsonl")
    sellers = {msgspec.json.decode(line)["seller_name"] for line in file.read_bytes().splitlines()}
    assert sellers == {two_lots.ours.operator_name, two_lots.theirs.operator_name}


def issue(product: Wiring, number: str, *, of: str = "blue") -> None:
    """Issue what was handed over last of a colour."""
    bodies = [file.read_bytes() for file in product.settings.invoice_outbox.glob("*.jsonl")]
    lines = [msgspec.json.decode(line) for body in bodies for line in body.splitlines()]
    line = next(line for line in lines if line["color"] == of)
    for file in product.settings.invoice_outbox.glob("*.jsonl"):
        file.unlink()
    inbox = product.settings.invoice_inbox
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / "one.xml").write_bytes(b"<invoice/>")
    said = {"request": line["request"], "state": "issued", "number": number, "issued_at": AT, "file": "one.xml"}
    (inbox / f"{number}.jsonl").write_bytes(msgspec.json.encode(said | {"amount_fen": line["amount_fen"]}))
    assert worker.issue_invoices(product).answered == 1


def test_an_invoice_with_a_wrong_name_is_made_out_anew_behind_the_link(browser: Browser, product: Wiring, invoiced: Due) -> None:
    at = f"/r/{invoiced.token}"
    browser.post(f"{at}/invoice", data=COMPANY | {"receipt": invoiced.order_no})
    worker.issue_invoices(product)
    issue(product, "26322000000000000001")
    page = browser.get(f"{at}/receipt").text
    assert ZH.invoice_correct_text.format(day="4月1日") in read(page)
    [corrects] = re.findall(r'name="corrects" value="([^"]+)"', page)
    form = COMPANY | {"receipt": invoiced.order_no, "corrects": corrects, "buyer": "person", "title": "李某"}
    wrong = browser.post(f"{at}/invoice", data=form | {"title": " "})
    assert (wrong.status_code, ZH.invoice_wrong[0] in wrong.text) == (422, True)
    asked = browser.post(f"{at}/invoice", data=form)
    for words in (ZH.invoice_correct_waiting, ZH.invoice_replaced, ZH.invoice_red_correct_waiting):
        assert words.format(amount="12.00") in read(asked.text)
    assert browser.post(f"{at}/invoice", data=form).text == asked.text
    worker.issue_invoices(product)
    issue(product, "26322000000000000002", of="red")
    issue(product, "26322000000000000003")
    done = read(browser.get(f"{at}/receipt?lang=en").text)
    for words in (EN.invoice_issued, EN.invoice_replaced, EN.invoice_red_correct, EN.invoice_correct):
        assert words.format(amount="12.00") in done
    assert len(re.findall(r'href="[^"]+/invoice/\w+', browser.get(f"{at}/receipt").text)) == 3
    for other in ("x", str(invoiced.attempt.payment_id)):
        assert browser.post(f"{at}/invoice", data=form | {"corrects": other}).status_code in (404, 409)
    product_clock = product.clock
    assert isinstance(product_clock, SetClock)
    product_clock.set(AT + timedelta(days=31))
    assert ZH.invoice_correct not in browser.get(f"{at}/receipt").text


def test_every_sentence_stands_in_both_languages() -> None:
    for name in after_words.AfterWords.__struct_fields__:
        zh, en = getattr(ZH, name), getattr(EN, name)
        assert zh
        assert en
        assert len(zh) == len(en) if isinstance(zh, tuple) else set(re.findall(r"{\w+}", zh)) == set(re.findall(r"{\w+}", en))
