"""The citizen's pages, asked as a browser without scripts asks them."""

import html
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import zxingcpp
from httpx import Response
from litestar import Litestar
from litestar.testing import TestClient
from PIL import Image
from sqlalchemy import text

from app.pages import scan
from app.pages.limits import Misses, address_of
from app.pages.render import assets
from app.pages.words import EN, ZH, Words
from app.wiring import Wiring, build
from config.settings import Settings, load
from gateways import routing
from gateways.contract import ChannelState
from ledger.books import open_lane
from payments import charges, lots, paycode, results
from payments.codes import reading
from payments.lots import Lot, NewLot, NewOperator
from payments.plates import PlateColor
from payments.records import NewCharge
from tests.app.conftest import app_of
from tests.payments.conftest import AT, MERCHANT, PROVIDER, make_attempt, make_charge
from tests.statements import seen

Browser = TestClient[Litestar]
PLATE = "苏B12345"
OPERATOR = NewOperator("LX", "无锡梁溪<示范>停车管理有限公司", "91320213MA0DEM0011", "梁溪区", "government")
LOT = NewLot("LX-01", "LX", "中山路 & 人民路停车场", "梁溪区", "中山路 100 号", 80, "gate", "30分钟内免费,超过后每小时5元。")


def settings_of(home: Path, database: str, **other: str) -> Settings:
    given = {"TONGTING_HOME": str(home), "TONGTING_DATABASE_URL": database, "TONGTING_PUBLIC_URL": "http://pay.test"}
    return load(given | {f"TONGTING_{name.upper()}": value for name, value in other.items()})


@pytest.fixture
def wiring(home_with_keys: Path, database: str, tmp_path: Path) -> Iterator[Wiring]:
    home = tmp_path / "home"
    shutil.copytree(home_with_keys, home)
    built = build(settings_of(home, database))
    yield built
    built.close()


@pytest.fixture
def lot(wiring: Wiring) -> Lot:
    with wiring.db.begin() as tx:
        open_lane(tx, lane=0, origin="tongting.example/lane0")
        lots.register_operators(tx, operators=[OPERATOR], at=wiring.clock.now())
        (registered,) = lots.register_lots(tx, lots=[LOT], at=wiring.clock.now())
        account = routing.NewAccount(
            registered.operator_id, "wechat", MERCHANT, registered.operator_name, "agreement", AT - timedelta(days=1)
        )
        routing.register(tx, account=account, operator_name=registered.operator_name, provider_no=PROVIDER, at=wiring.clock.now())
    return registered


@pytest.fixture
def browser(wiring: Wiring, lot: Lot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    monkeypatch.setattr(scan, "MISSES", Misses())
    with TestClient(app_of(wiring), base_url="http://pay.test") as client:
        yield client


@pytest.fixture
def code(wiring: Wiring, lot: Lot) -> str:
    return paycode.token(lot.lot_id, keys=wiring.pay_codes)


def owe(
    wiring: Wiring, lot: Lot, *, serial: str = "S1", amount_fen: int = 1550, plate: str = PLATE, plate_color: PlateColor = "unknown"
) -> None:
    now = wiring.clock.now()
    charge = NewCharge(
        lot_serial=serial, plate=plate, plate_color=plate_color, entered_at=now - timedelta(minutes=161), minutes=161,
        amount_fen=amount_fen, tariff_text="3 小时 <b>x</b>",
    )  # fmt: skip
    with wiring.db.begin() as tx:
        (posted,) = charges.post(tx, lane=0, lot=lot, charges=[charge], at=now, ids=wiring.ids)
    assert posted.outcome == "created"


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


# Scanning


def test_a_scanned_code_opens_the_lot_with_its_payee(browser: Browser, code: str) -> None:
    page = browser.get(f"/p/{code}")
    assert page.status_code == 200
    shown = text_of(page.text)
    assert LOT.name in shown
    assert f"{ZH.payee}：{OPERATOR.legal_name}" in shown
    assert LOT.tariff_text in shown
    assert "<示范>" not in page.text  # escaped


@pytest.mark.parametrize("lang", ["", "?lang=en"])
def test_an_edited_a_foreign_and_a_cut_code_give_one_plain_page(browser: Browser, code: str, lang: str) -> None:
    words = EN if lang else ZH
    forged = code[:-1] + ("A" if code[-1] != "A" else "B")
    pages = [browser.get(f"/p/{bad}{lang}") for bad in ("B" + code[1:], forged, "x", code + "A")]
    assert {page.status_code for page in pages} == {404}
    for page in pages:
        assert words.sorry_code in text_of(page.text)
        assert words.sorry_code_next in text_of(page.text)
    assert len({page.text.split("<main>")[1] for page in pages}) == 1


def test_a_genuine_code_of_a_lot_that_is_gone_looks_like_a_wrong_code(browser: Browser, wiring: Wiring) -> None:
    page = browser.get(f"/p/{paycode.token(99, keys=wiring.pay_codes)}")
    assert page.status_code == 404


def test_the_page_speaks_english_when_asked_and_keeps_it_in_its_links(browser: Browser, code: str) -> None:
    page = browser.get(f"/p/{code}?lang=en")
    assert '<html lang="en">' in page.text
    assert EN.plate_enter in page.text
    assert f'action="/p/{code}/due?lang=en"' in page.text
    assert f'href="/p/{code}" hreflang="zh"' in page.text
    assert 'hreflang="en"' in browser.get(f"/p/{code}").text


# What a page costs the database


def test_a_scan_is_one_message_to_the_database_and_what_is_due_three(
    browser: Browser, wiring: Wiring, lot: Lot, code: str
) -> None:  # fmt: skip
    for number in range(5):
        owe(wiring, lot, serial=f"S{number}", amount_fen=100 + number)
    with seen(wiring.keyed_db) as asked:
        assert browser.get(f"/p/{code}").status_code == 200
    assert asked.messages == 1
    with seen(wiring.keyed_db) as asked:
        page = browser.post(f"/p/{code}/due", data={"rest": PLATE})
    assert page.text.count("/pay") >= 5
    assert asked.messages == 3 + 1, asked.statements  # which of several charges belong together is asked by itself
    owe(wiring, lot, serial="T1", plate="苏B00001")
    with seen(wiring.keyed_db) as asked:
        browser.post(f"/p/{code}/due", data={"rest": "苏B00001"})
    assert asked.messages == 3, asked.statements


# The amount due


def ask(browser: Browser, code: str, plate: str = PLATE, *, lang: str = "") -> Response:
    return browser.post(f"/p/{code}/due{lang}", data={"province": plate[:1], "rest": plate[1:]})


def test_the_due_page_shows_the_facts_and_the_amount_in_large(
    browser: Browser,
    wiring: Wiring,
    lot: Lot,
    code: str,
) -> None:
    owe(wiring, lot)
    page = ask(browser, code)
    shown = text_of(page.text)
    assert page.status_code == 200
    assert "<strong><small>¥</small>15.50</strong>" in page.text
    assert "2 小时 41 分钟" in shown
    assert ZH.still_here in shown
    assert "3 小时 <b>x</b>" in shown
    assert "<b>x</b>" not in page.text
    assert LOT.name in shown


def test_the_plate_is_masked_and_never_in_an_address(browser: Browser, wiring: Wiring, lot: Lot, code: str) -> None:
    owe(wiring, lot)
    page = ask(browser, code)
    assert "苏B·1***5" in page.text
    assert PLATE not in page.text
    assert "12345" not in re.sub(r"0510-12345", "", page.text)
    assert "苏" not in str(page.url)


@pytest.mark.parametrize(
    "typed", [("苏", "b12345"), ("", "苏B12345"), ("苏", "苏B·12345"), ("京", "苏b 12345"), ("苏", "Ｂ１２３４５")]
)
def test_a_plate_is_understood_however_it_is_typed(
    browser: Browser,
    wiring: Wiring,
    lot: Lot,
    code: str,
    typed: tuple[str, str],
) -> None:
    owe(wiring, lot)
    page = browser.post(f"/p/{code}/due", data={"province": typed[0], "rest": typed[1]})
    assert "15.50" in page.text


@pytest.mark.parametrize("rest", ["", "B1234", "B123456789", "I12345", "<script>", "1", "B1234O"])
def test_a_plate_that_cannot_be_is_asked_for_again_with_what_was_typed(browser: Browser, code: str, rest: str) -> None:
    page = browser.post(f"/p/{code}/due", data={"province": "苏", "rest": rest})
    assert page.status_code == 422
    assert ZH.sorry_plate in page.text
    assert "<script>" not in page.text
    assert f'value="{html.escape(rest)}"' in page.text


def test_nothing_due_is_a_friendly_page_with_a_way_on(browser: Browser, code: str) -> None:
    page = ask(browser, code, "苏BD12345")
    assert page.status_code == 200
    assert ZH.nothing_title in page.text
    assert f'href="/p/{code}"' in page.text


def test_several_charges_are_shown_one_by_one(browser: Browser, wiring: Wiring, lot: Lot, code: str) -> None:
    owe(wiring, lot, serial="S1", amount_fen=500)
    owe(wiring, lot, serial="S2", amount_fen=700)
    page = ask(browser, code)
    assert page.text.count('class="amount"') == 2
    assert ZH.together_text.format(n=2) in page.text
    assert f"{ZH.together} ¥12.00" in text_of(page.text)


def test_a_charge_of_another_lot_is_not_shown(browser: Browser, wiring: Wiring, lot: Lot) -> None:
    owe(wiring, lot)
    with wiring.db.begin() as tx:
        other = NewLot("LX-02", "LX", "别处停车场", "梁溪区", "别处", 5, "gate", "每小时5元")
        (elsewhere,) = lots.register_lots(tx, lots=[other], at=wiring.clock.now())
    page = ask(browser, paycode.token(elsewhere.lot_id, keys=wiring.pay_codes)).text
    assert ZH.nothing_here in page
    assert page.count('class="facts"') == 0
    assert LOT.name not in text_of(page)


def test_whoever_tries_plate_after_plate_is_slowed_down_and_a_driver_is_not(
    browser: Browser,
    wiring: Wiring,
    lot: Lot,
    code: str,
) -> None:
    owe(wiring, lot)
    for _ in range(25):
        assert ask(browser, code).status_code == 200
    answers = [ask(browser, code, f"苏B{number:05d}").status_code for number in range(25)]
    assert answers[:20] == [200] * 20
    assert answers[-1] == 429


def test_misses_are_forgiven_as_time_goes_by() -> None:
    now = [0.0]
    misses = Misses(per_minute=2, clock=lambda: now[0])
    misses.count("a")
    misses.count("a")
    assert misses.is_over("a")
    assert not misses.is_over("b")
    now[0] = 30.0
    assert not misses.is_over("a")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("::1", "x" * 1000, "x" * 45),
    ],
)
def test_only_a_proxy_on_this_machine_says_where_a_request_comes_from(peer: str, forwarded: str, address: str) -> None:
    assert address_of(peer, forwarded) == address


@pytest.mark.parametrize("form", ["due", "pay"])
def test_the_address_of_a_form_opened_by_itself_leads_to_the_first_page(browser: Browser, code: str, form: str) -> None:
    answer = browser.get(f"/p/{code}/{form}?lang=en", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/p/{code}?lang=en")


def test_a_form_that_is_too_large_is_refused(browser: Browser, code: str) -> None:
    page = browser.post(f"/p/{code}/due", data={"province": "苏", "rest": "B" * 20_000})
    assert page.status_code == 413
    assert ZH.sorry_title in page.text


# Codes and board


def test_the_sheet_names_lot_payee_and_help_line_and_tells_to_compare(browser: Browser, lot: Lot) -> None:
    shown = text_of(browser.get(f"/codes/{lot.code}").text)
    for words in (LOT.name, OPERATOR.legal_name, "支付前请核对页面显示的停车场名称", "0510-12345"):
        assert words in shown


def test_an_independent_reader_finds_the_page_behind_the_printed_code(browser: Browser, lot: Lot, code: str) -> None:
    picture = browser.get(f"/codes/{lot.code}.png")
    (found,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(picture.content)).convert("L"))
    assert found.text == f"http://pay.test/p/{code}"
    assert LOT.name in text_of(browser.get(found.text.removeprefix("http://pay.test")).text)


def test_the_svg_is_a_picture_of_its_own(browser: Browser, lot: Lot) -> None:
    picture = browser.get(f"/codes/{lot.code}.svg")
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert "&amp;" in picture.text


@pytest.mark.parametrize("name", ["NOPE", "NOPE.svg", "NOPE.png", ".svg", "LX-01.gif", "LX-01.svg.png"])
def test_a_code_of_no_lot_is_not_found(browser: Browser, name: str) -> None:
    assert browser.get(f"/codes/{name}").status_code == 404


def test_the_board_leads_to_the_codes(browser: Browser, code: str) -> None:
    page = browser.get("/")
    assert f'href="/p/{code}"' in page.text
    assert 'href="/codes/LX-01"' in page.text


# What every page keeps


def every_page(browser: Browser, code: str) -> list[str]:
    return [browser.get("/").text, browser.get(f"/p/{code}").text, ask(browser, code).text, browser.get("/p/x").text]


def test_no_page_loads_anything_from_elsewhere_or_holds_a_script(browser: Browser, wiring: Wiring, lot: Lot, code: str) -> None:
    owe(wiring, lot)
    for page in [*every_page(browser, code), browser.get("/codes/LX-01").text]:
        assert re.findall(r'(?:src|href|action)="(?!/|tel:)[^"]*"', page) == []
        assert re.findall(r"<script(?! src=)", page) == []
        assert re.findall(r"<[^>]* (?:style|on\w+)=", page) == []
        assert "<style" not in page


def test_the_headers_forbid_foreign_content_frames_caches_and_referrers(browser: Browser, code: str) -> None:
    for page in (browser.get(f"/p/{code}"), browser.get("/p/x")):
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "form-action 'self' http://127.0.0.1:8621" in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"


def test_a_page_with_all_it_loads_stays_below_60_kilobytes(browser: Browser, code: str) -> None:
    page = browser.get(f"/p/{code}")
    loaded = [browser.get(path) for path in re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text)]
    assert len(loaded) == 3
    assert len(page.content) + sum(len(item.content) for item in loaded) < 60_000
    assert all("immutable" in item.headers["cache-control"] for item in loaded)


def test_an_asset_that_is_not_there_is_not_found(browser: Browser) -> None:
    assert browser.get("/assets/none.js").status_code == 404
    assert browser.get("/assets/..%2f__init__.py").status_code == 404
    assert set(assets()) >= {"mark.svg", "pay.css", "pay.js", "plate.js", "sheet.js", "leave.js", "keep.js", "receipt.css"}


def test_an_address_that_is_nothing_is_a_page_for_people_and_a_problem_for_programs(browser: Browser) -> None:
    page = browser.get("/nothing/here", headers={"accept": "text/html"})
    assert (page.status_code, ZH.sorry_missing in page.text) == (404, True)
    for path, accept in (("/nothing", "application/json"), ("/v1/nothing", "text/html")):
        problem = browser.get(path, headers={"accept": accept})
        assert (problem.status_code, problem.json()["code"]) == (404, "not_found")


def test_a_wrong_method_is_told_to_a_program_and_to_a_person(browser: Browser) -> None:
    told = browser.get("/v1/codes/lookup", headers={"accept": "*/*"})
    assert (told.status_code, told.json()["code"]) == (405, "method_not_allowed")
    page = browser.put("/?lang=en", headers={"accept": "text/html"})
    assert page.status_code == 405
    assert f'href="/?lang=en">{EN.sorry_code_lots}' in page.text
    assert EN.sorry_title in text_of(page.text)


def test_a_failure_of_ours_is_one_plain_sentence(browser: Browser, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Lot:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(reading, "scanned", broken)
    page = browser.get(f"/p/{code}")
    assert page.status_code == 500
    assert ZH.sorry_broken in page.text
    assert "secret" not in page.text


def test_everything_the_words_say_is_said_in_both_languages() -> None:
    for one in fields(Words):
        assert getattr(ZH, one.name)
        assert getattr(EN, one.name)


# Paying, as far as it goes without a channel (the browser tests go all the way)


def test_the_page_behind_the_back_button_is_kept_by_one_browser_only(browser: Browser, wiring: Wiring, lot: Lot, code: str) -> None:
    owe(wiring, lot)
    assert ask(browser, code).headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"charge": "x", "order": "y" * 24},
        {"charge": "0" * 32, "order": ""},
        {"charge": "0" * 32, "order": "x" * 24},
        {"charge": "0" * 32, "order": "; Path=/" * 3},
    ],
)
def test_a_charge_that_is_not_of_this_lot_leads_back_to_the_plate(browser: Browser, code: str, form: dict[str, str]) -> None:
    page = browser.post(f"/p/{code}/pay", data=form)
    assert page.status_code == 409
    assert ZH.sorry_gone in page.text
    assert f'href="/p/{code}"' in page.text


def shown(browser: Browser, code: str) -> dict[str, str]:
    """The hidden fields of the due page's first form."""
    page = ask(browser, code).text
    return {name: re.findall(f'name="{name}" value="([^"]+)"', page)[0] for name in ("charge", "order")}


def test_without_a_route_nothing_is_charged_and_the_page_says_so(browser: Browser, wiring: Wiring, lot: Lot, code: str) -> None:
    owe(wiring, lot)
    form = shown(browser, code)
    with wiring.db.begin() as tx:
        (route,) = routing.listed(tx, operator_id=lot.operator_id)
        routing.end(tx, route_id=route.route_id, at=wiring.clock.now())
    offered = ask(browser, code).text
    assert ZH.pay_none in offered
    assert "<button" not in offered
    page = browser.post(f"/p/{code}/pay", data=form)
    assert page.status_code == 503
    assert ZH.sorry_busy in page.text


def test_inside_wechat_the_payer_is_asked_for_first(browser: Browser, wiring: Wiring, lot: Lot, code: str) -> None:
    owe(wiring, lot)
    inside = {"user-agent": "MicroMessenger/8.0"}
    answer = browser.post(f"/p/{code}/pay", data=shown(browser, code), headers=inside, follow_redirects=False)
    assert answer.status_code == 303
    address = answer.headers["location"]
    query = urlsplit(address).query
    assert address.startswith("http://127.0.0.1:8621/connect/oauth2/authorize?appid=")
    assert address.endswith("#wechat_redirect")
    assert [part.split("=")[0] for part in query.split("&")] == ["appid", "redirect_uri", "response_type", "scope", "state"]
    assert f"redirect_uri=http%3A%2F%2Fpay.test%2Fp%2F{code}%2Fpayer" in query
    assert "paying" in answer.cookies


def test_a_way_back_that_did_not_start_in_this_browser_starts_nothing(browser: Browser, wiring: Wiring, code: str) -> None:
    answer = browser.get(f"/p/{code}/payer?code=c&state=forged", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/p/{code}")
    with wiring.db.begin() as tx:
        assert tx.execute(text("select count(*) from payments.payment")).scalar_one() == 0


@pytest.mark.parametrize("path", ["/r/" + "x" * 24, "/r/short", "/r/" + "x" * 24 + "/pay"])
def test_a_link_that_is_not_ours_is_not_found(browser: Browser, path: str) -> None:
    page = browser.get(path)
    assert page.status_code in (404, 409)
    assert ZH.sorry_title in page.text


def test_inside_an_app_that_the_operator_has_no_route_to_the_driver_is_told_where_to_pay(
    home_with_keys: Path, database: str, tmp_path: Path, lot: Lot
) -> None:
    home = tmp_path / "real"
    shutil.copytree(home_with_keys, home)
    real = build(settings_of(home, database, sandbox="false"))
    owe(real, lot)
    with TestClient(app_of(real), base_url="http://pay.test") as client:
        code = paycode.token(lot.lot_id, keys=real.pay_codes)
        form = shown(client, code)
        page = client.post(f"/p/{code}/pay", data=form, headers={"user-agent": "Mozilla AlipayClient/10.5"})
        assert "8621" not in page.headers["content-security-policy"]
    real.close()
    assert ZH.sorry_wallet in page.text


def stage(wiring: Wiring, lot: Lot, **other: object) -> str:
    """Open an order, let the channel say what is in ``other``, and return its link token."""
    with wiring.db.begin() as tx:
        now = wiring.clock.now()
        charge_id = make_charge(tx, lot, "S9")
        due = make_attempt(tx, lot, charge_id, at=now)
        if other:
            results.apply(tx, lane=0, notices=[due.answer(happened_at=now, **other)], at=now, ids=wiring.ids)
    return due.token


def test_a_payer_whose_payment_was_taken_back_reads_that_the_fee_is_due_again(browser: Browser, wiring: Wiring, lot: Lot) -> None:
    with wiring.db.begin() as tx:
        now = wiring.clock.now()
        due = make_attempt(tx, lot, make_charge(tx, lot, "S9"), at=now)
        for state in (ChannelState.SUCCEEDED, ChannelState.REVERSED):
            results.apply(tx, lane=0, notices=[due.answer(happened_at=now, state=state)], at=now, ids=wiring.ids)
    page = browser.get(f"/r/{due.token}").text
    assert f'role="status">{ZH.taken_back_title}<' in page
    assert ZH.taken_back_text in page
    assert ZH.scan_again in page
    with wiring.db.begin() as tx:
        again = make_attempt(tx, lot, due.attempt.charge_id, at=now)
        results.apply(tx, lane=0, notices=[again.answer(happened_at=now)], at=now, ids=wiring.ids)
    assert ZH.taken_back_settled in browser.get(f"/r/{due.token}").text
    assert f'role="status">{ZH.paid_title}<' in browser.get(f"/r/{again.token}").text


@pytest.mark.parametrize(
    ("said", "title", "refreshes"),
    [
        ({}, ZH.waiting_title, True),
        ({"state": ChannelState.SUCCEEDED}, ZH.paid_title, False),
        ({"state": ChannelState.SUCCEEDED, "amount_fen": 1}, ZH.check_title, False),
        ({"state": ChannelState.CLOSED, "trade_no": None, "amount_fen": None}, ZH.closed_title, False),
    ],
)
def test_the_result_shows_what_the_channel_has_proven(
    browser: Browser, wiring: Wiring, lot: Lot, said: dict[str, object], title: str, refreshes: bool
) -> None:
    token = stage(wiring, lot, **said)
    page = browser.get(f"/r/{token}")
    assert f'role="status">{title}<' in page.text
    assert ('http-equiv="refresh"' in page.text) == refreshes
    assert "苏B12345" not in page.text
    assert browser.get(f"/r/{token}").text == page.text
