"""The form for codes that look wrong: without scripts, account or personal data, and never more than a person can look at."""

import html
import re
from collections.abc import Iterator

import pytest
from httpx import Response
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy import text

from app.pages import report
from app.pages.limits import Misses
from app.pages.words import EN, ZH
from app.wiring import Wiring
from payments import paycode
from payments.codes import registry
from payments.codes.records import WHOLE_LOT
from payments.paycode import WallCode
from payments.rollout import code_reports
from payments.rollout.code_reports import KINDS, Report
from tests.app.conftest import City, app_of
from tests.payments.conftest import AT

Browser = TestClient[Litestar]


@pytest.fixture
def browser(product: Wiring, two_lots: City, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    monkeypatch.setattr(report, "REPORTS", Misses(per_minute=report.REPORTS_PER_MINUTE))
    with TestClient(app_of(product), base_url="http://pay.test") as client:
        yield client


@pytest.fixture
def token(product: Wiring, two_lots: City) -> str:
    return paycode.token(two_lots.ours.lot_id, keys=product.pay_codes)


def cases(product: Wiring) -> list[Report]:
    with product.db.connect() as tx:
        return code_reports.listed(tx)


def send(browser: Browser, path: str, **said: str) -> Response:
    return browser.post(path, data={"kind": "sticker"} | said)


def test_the_scan_page_leads_to_the_form_of_its_lot(browser: Browser, token: str) -> None:
    for query, words in (("", ZH), ("?lang=en", EN)):
        page = browser.get(f"/p/{token}{query}")
        assert f'href="/p/{token}/report{query}"' in page.text
        assert html.escape(words.report_link) in page.text
        form = browser.get(f"/p/{token}/report{query}")
        assert form.status_code == 200
        assert "示例停车场" in form.text
        assert f'action="/p/{token}/report{query}"' in form.text
        assert [kind in form.text for kind in KINDS] == [True] * 5
        assert "<script" not in form.text


def test_a_report_is_answered_with_thanks_and_a_number_and_opens_a_case_of_the_lot(
    product: Wiring, browser: Browser, token: str
) -> None:
    answer = send(browser, f"/p/{token}/report", words=" 入口的码上\r\n贴了一张 <b>码</b> ")
    [case] = cases(product)
    assert (case.kind, case.lot_code, case.words) == ("sticker", "lot-1", "入口的码上 贴了一张 <b>码</b>")
    assert answer.status_code == 200
    assert ZH.report_thanks in answer.text
    assert re.findall(r"\d{6}-[A-Z2-7]{4}-[A-Z2-7]{4}", answer.text) == [case.number]


def test_without_a_code_it_is_reported_as_well(product: Wiring, browser: Browser) -> None:
    assert EN.report_thanks in send(browser, "/report?lang=en", kind="other_site").text
    assert [(case.kind, case.lot_code, case.words) for case in cases(product)] == [("other_site", None, None)]


def test_a_code_that_is_none_of_ours_leads_to_the_form_and_is_kept_with_the_case(product: Wiring, browser: Browser) -> None:
    assert 'href="/report"' in browser.get("/p/FORGED").text
    assert browser.get("/p/FORGED/report").status_code == 200
    send(browser, "/p/FORGED/report")
    assert [case.lot_code for case in cases(product)] == [None]
    with product.db.connect() as tx:
        body = tx.execute(text("select body from gateways.raw_message where operation = 'code_report'")).scalar_one()
    assert b'"scanned":"FORGED"' in body


@pytest.mark.parametrize("is_registered", [True, False])
def test_a_report_names_the_scanned_code_and_later_scanners_are_asked_to_compare_and_may_pay(
    product: Wiring, two_lots: City, browser: Browser, token: str, is_registered: bool
) -> None:
    if is_registered:
        with product.db.begin() as tx:
            [code] = registry.issue(tx, lot=two_lots.ours, batch="b", places=[WHOLE_LOT], by="wang", at=AT)
        token = paycode.signed(WallCode(code.code_no), keys=product.pay_codes)
    assert ZH.report_caution not in browser.get(f"/p/{token}").text
    send(browser, f"/p/{token}/report")
    assert [(case.lot_code, case.code_no) for case in cases(product)] == [("lot-1", 1 if is_registered else None)]
    for query, words in (("", ZH), ("?lang=en", EN)):
        page = browser.get(f"/p/{token}{query}")
        assert (page.status_code, words.report_caution in page.text, 'action="/p/' in page.text) == (200, True, True)
    other = paycode.token(two_lots.theirs.lot_id, keys=product.pay_codes)
    assert ZH.report_caution not in browser.get(f"/p/{other}").text


@pytest.mark.parametrize(("said", "sorry"), [({"kind": "x"}, ZH.report_choose), ({"words": "码" * 301}, ZH.report_too_long)])
def test_what_cannot_be_taken_is_said_and_nothing_typed_is_lost(
    product: Wiring, browser: Browser, token: str, said: dict[str, str], sorry: str
) -> None:
    answer = send(browser, f"/p/{token}/report", **({"words": "在左边"} | said))
    assert (answer.status_code, sorry in answer.text) == (422, True)
    assert said.get("words", "在左边") in answer.text
    assert cases(product) == []


def test_who_reports_too_often_is_asked_to_wait_and_keeps_what_was_typed(product: Wiring, browser: Browser, token: str) -> None:
    answers = [send(browser, f"/p/{token}/report", words=f"第{n}次").status_code for n in range(6)]
    assert answers == [200] * 5 + [429]
    last = send(browser, "/report", words="又一次")
    assert (last.status_code, ZH.sorry_often in last.text, "又一次" in last.text) == (429, True, True)
    assert len(cases(product)) == 5


def test_the_page_takes_nothing_from_elsewhere_and_is_not_kept(browser: Browser, token: str) -> None:
    form = browser.get(f"/p/{token}/report")
    assert "default-src 'none'" in form.headers["content-security-policy"]
    assert form.headers["cache-control"] == "no-store"
    assert not re.search(r'(src|href|action)="(https?:)?//', form.text)


def test_a_scan_is_counted_when_the_process_ends(product: Wiring, two_lots: City, token: str) -> None:
    with TestClient(app_of(product), base_url="http://pay.test") as client:
        for _ in range(3):
            client.get(f"/p/{token}")
        client.get("/p/FORGED")
    with product.db.connect() as tx:
        assert tx.execute(text("select lot_id, scans from payments.lot_visit_day")).all() == [(two_lots.ours.lot_id, 3)]
