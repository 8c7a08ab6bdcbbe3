"""Pay codes through the doors of the product: the pages of codes that count or do not, the API, the command."""

import argparse
import html
import re
from datetime import timedelta
from pathlib import Path

import pypdfium2  # type: ignore[import-untyped]  # ships no types
import pytest
import zxingcpp

from app.api.codes import CodeView
from app.commands import codes as desk
from app.pages import scan, seals
from app.pages.limits import Misses
from app.pages.words import EN, ZH
from app.wiring import Wiring
from ledger.clock import SetClock
from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from payments import charges, paycode, people
from payments.codes import registry
from payments.codes.records import Place
from payments.lots import Lot
from payments.paycode import WallCode
from payments.people import Person
from tests.app.conftest import City, Client, bearer
from tests.payments.conftest import AT, new_charge

PLATE = "苏B12345"


@pytest.fixture
def ours(two_lots: City) -> Lot:
    return two_lots.ours


@pytest.fixture
def browser(api: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(scan, "MISSES", Misses())
    return api


def clock(product: Wiring) -> SetClock:
    assert isinstance(product.clock, SetClock)
    return product.clock


def issue(product: Wiring, lot: Lot, *names: str) -> list[str]:
    """Issue a berth's code for each name and return where each leads to."""
    places = [Place("berth", name) for name in names]
    with product.db.begin() as tx:
        made = registry.issue(tx, lot=lot, batch=" ".join(names), places=places, by="wang", at=AT)
    return ["/p/" + paycode.signed(WallCode(one.code_no), keys=product.pay_codes) for one in made]


def owe(product: Wiring, lot: Lot, *serials: str, plate: str = PLATE) -> None:
    posted = [new_charge(serial, plate=plate) for serial in serials]
    with product.db.begin() as tx:
        charges.post(tx, lane=0, lot=lot, charges=posted, at=AT, ids=product.ids)


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


def field(page: str, name: str) -> str:
    [value] = re.findall(rf'name="{name}" value="([^"]*)"', page)
    return html.unescape(value)


# Walls


def test_a_berths_code_opens_its_lot(browser: Client, product: Wiring, ours: Lot) -> None:
    [path] = issue(product, ours, "A-12")
    page = browser.get(path)
    assert page.status_code == 200
    assert ours.name in text_of(page.text)
    assert "A-12 号泊位" in text_of(page.text)
    assert browser.get("/p/" + path[3:].lower()).status_code == 200


@pytest.mark.parametrize("words", [ZH, EN], ids=["zh", "en"])
def test_each_code_that_counts_no_more_has_a_plain_page_with_a_way_on(
    browser: Client, product: Wiring, two_lots: City, words: object
) -> None:
    w, query = (ZH, "") if words is ZH else (EN, "?lang=en")
    retired, replaced, moved, reported = issue(product, two_lots.ours, "A", "B", "C", "D")
    with product.db.begin() as tx:
        registry.retire(tx, code_nos=[1], reason="torn", by="wang", at=AT)
        registry.replace(tx, lot=two_lots.ours, code_nos=[2], batch="new", reason="faded", by="wang", at=AT)
        registry.move(tx, code_no=3, to=Place("berth", "C"), reason="found", by="wang", at=AT, other_lot=two_lots.theirs)
        registry.report(tx, code_nos=[4], reason="stolen", by="wang", at=AT)
    for path, sentence in ((retired, w.sorry_code_retired), (replaced, w.sorry_code_replaced), (moved, w.sorry_code_moved)):
        page = browser.get(path + query)
        assert page.status_code == 410
        assert sentence in text_of(page.text)
        assert w.sorry_code_look in text_of(page.text)
        assert f'<a class="button plain" href="/{query}">{w.sorry_code_lots}</a>' in page.text
        assert "<form" not in page.text
    page = browser.get(reported + query)
    assert page.status_code == 410
    assert w.sorry_code_reported in text_of(page.text)
    assert 'class="button plain" href="/p/' not in page.text
    assert w.sorry_code_lots not in text_of(page.text)


def test_a_code_retired_between_scan_and_payment_is_refused_where_it_is_paid(browser: Client, product: Wiring, ours: Lot) -> None:
    [path] = issue(product, ours, "A")
    owe(product, ours, "S1")
    due = browser.post(f"{path}/due", data={"province": "苏", "rest": "B12345"})
    assert due.status_code == 200
    with product.db.begin() as tx:
        registry.retire(tx, code_nos=[1], reason="torn", by="wang", at=AT)
    assert browser.post(f"{path}/due", data={"province": "苏", "rest": "B12345"}).status_code == 410
    assert browser.post(f"{path}/pay", data={"charge": "x", "order": "y"}).status_code == 410
    assert browser.post(f"{path}/basket", data={"charges": "x", "basket": "y"}).status_code == 410


def test_the_charge_of_another_lot_cannot_be_paid_with_this_lots_code(browser: Client, product: Wiring, two_lots: City) -> None:
    [path] = issue(product, two_lots.ours, "A")
    owe(product, two_lots.theirs, "T1")
    with product.db.connect() as tx:
        theirs = charges.by_serial(tx, lane=0, lot_id=two_lots.theirs.lot_id, lot_serial="T1")
    sealed = seals.of(product, two_lots.ours.lot_id, str(theirs.charge_id))
    form = {"charge": sealed, "order": "A" * 24, "channel": "wechat"}
    agent = {"user-agent": "Mozilla/5.0 (iPhone) Mobile/15E148"}
    page = browser.post(f"{path}/pay", data=form, headers=agent, follow_redirects=False)
    assert page.status_code == 409
    with product.db.connect() as tx:
        assert tx.exec_driver_sql("select count(*) from payments.pay_order").scalar_one() == 0


# Screens


def ask_stay(api: Client, product: Wiring, lot: Lot, serial: str, **more: object) -> str:
    headers = bearer(product, "lot", lot)
    answer = api.post(f"/v1/lots/{lot.code}/codes/stay", json={"serial": serial} | more, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["link"]).removeprefix("http://pay.test")


def test_the_code_of_an_exits_screen_opens_exactly_its_stay_without_a_plate(browser: Client, product: Wiring, ours: Lot) -> None:
    owe(product, ours, "S1", "S2")
    owe(product, ours, "S3", plate="苏B99999")
    page = browser.get(ask_stay(browser, product, ours, "S1"))
    assert page.status_code == 200
    with product.db.connect() as tx:
        charge = charges.by_serial(tx, lane=0, lot_id=ours.lot_id, lot_serial="S1")
    assert seals.charge(product, ours.lot_id, field(page.text, "charge")) == charge.charge_id
    assert field(page.text, "shown") == "12.00"
    assert PLATE not in page.text
    assert "苏B·1***5" in page.text
    assert page.text.count("<dl ") == 1
    assert "苏B9" not in page.text


def test_a_stay_on_a_screen_is_paid_from_its_page(browser: Client, product: Wiring, ours: Lot) -> None:
    owe(product, ours, "S1")
    path = ask_stay(browser, product, ours, "S1")
    page = browser.get(path)
    clock(product).set(AT + timedelta(minutes=12))
    form = {name: field(page.text, name) for name in ("charge", "order", "shown")} | {"channel": "wechat"}
    agent = {"user-agent": "Mozilla/5.0 (iPhone) MicroMessenger/8.0.50"}
    begun = browser.post(f"{path}/pay", data=form, headers=agent, follow_redirects=False)
    assert begun.status_code == 303
    assert "%2Fpayer" in begun.headers["location"]


def test_a_screens_code_is_over_after_its_minutes_and_leads_to_the_lots_own_page(
    browser: Client, product: Wiring, ours: Lot
) -> None:
    owe(product, ours, "S1")
    path = ask_stay(browser, product, ours, "S1", minutes=2)
    clock(product).set(AT + timedelta(minutes=2))
    page = browser.get(path)
    assert page.status_code == 410
    assert ZH.sorry_code_over in text_of(page.text)
    assert f'href="/p/{paycode.token(ours.lot_id, keys=product.pay_codes)}"' in page.text


def test_a_screens_code_that_was_paid_meanwhile_says_so(browser: Client, product: Wiring, ours: Lot) -> None:
    owe(product, ours, "S1")
    path = ask_stay(browser, product, ours, "S1")
    with product.db.begin() as tx:
        tx.exec_driver_sql("update payments.charge set state = 'waived', reduced_fen = amount_fen")
    page = browser.get(path)
    assert page.status_code == 200
    assert ZH.shown_done in text_of(page.text)


def test_a_clerks_code_opens_its_charges_and_nothing_else_of_the_plate(browser: Client, product: Wiring, ours: Lot) -> None:
    owe(product, ours, "S1", "S2", "S3")
    answer = browser.post(
        f"/v1/lots/{ours.code}/codes/basket", json={"serials": ["S1", "S3"]}, headers=bearer(product, "operator", ours)
    )
    assert answer.status_code == 200
    path = str(answer.json()["link"]).removeprefix("http://pay.test")
    page = browser.get(path + "?lang=en")
    assert "¥24.00" in page.text
    assert page.text.count("<dl ") == 2
    begun = browser.post(
        f"{path}/basket", data={name: field(page.text, name) for name in ("charges", "basket")}, follow_redirects=False
    )
    assert begun.status_code == 303
    assert "24.00" in browser.get(begun.headers["location"]).text


# The API


def test_a_foreign_lots_charge_gets_no_code_and_a_foreign_lot_is_not_there(api: Client, product: Wiring, two_lots: City) -> None:
    owe(product, two_lots.theirs, "T1")
    headers = bearer(product, "lot", two_lots.ours)
    mine = api.post(f"/v1/lots/{two_lots.ours.code}/codes/stay", json={"serial": "T1"}, headers=headers)
    assert (mine.status_code, mine.json()["code"]) == (404, "charge_unknown")
    theirs = api.post(f"/v1/lots/{two_lots.theirs.code}/codes/stay", json={"serial": "T1"}, headers=headers)
    assert (theirs.status_code, theirs.json()["code"]) == (404, "lot_not_found")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"serial": "S1", "minutes": 0}, 422, "code_minutes_invalid"), ({"serial": ""}, 422, "malformed"),
        ({}, 422, "malformed"), ({"serial": "S1", "plate": "x"}, 422, "malformed"),
    ],
)  # fmt: skip
def test_a_question_for_a_screens_code_that_cannot_be_answered_says_why(
    api: Client, product: Wiring, ours: Lot, body: dict[str, object], status: int, code: str
) -> None:
    owe(product, ours, "S1")
    answer = api.post(f"/v1/lots/{ours.code}/codes/stay", json=body, headers=bearer(product, "lot", ours))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("scope", ["district", "city"])
def test_who_may_only_read_gets_no_code_for_a_screen(api: Client, product: Wiring, ours: Lot, scope: str) -> None:
    owe(product, ours, "S1")
    headers = bearer(product, scope, ours)  # type: ignore[arg-type]
    answer = api.post(f"/v1/lots/{ours.code}/codes/stay", json={"serial": "S1"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "read_only")


@pytest.mark.parametrize("scope", ["operator", "city"])
def test_the_city_and_the_operator_issue_codes_that_are_then_listed(api: Client, product: Wiring, ours: Lot, scope: str) -> None:
    headers = bearer(product, scope, ours)  # type: ignore[arg-type]
    asked = {"batch": "berths", "places": [{"place": "berth", "name": "A1"}, {"place": "lot"}]}
    path = f"/v1/lots/{ours.code}/codes"
    made = api.post(path, json=asked, headers=headers)
    assert made.status_code == 200
    assert made.json() == api.post(path, json=asked, headers=headers).json()
    listed = api.get(path, headers=headers, params={"limit": 1}).json()
    assert listed == {"codes": made.json()[:1], "next_after": 1}
    assert api.get(path, headers=headers, params={"after": 1}).json() == {"codes": made.json()[1:], "next_after": None}
    token = made.json()[0]["link"].rpartition("/")[2]
    assert paycode.read(token, public_keys=product.pay_codes.public_keys) == WallCode(1)


@pytest.mark.parametrize("scope", ["lot", "district"])
def test_a_lots_own_system_and_a_district_issue_no_codes(api: Client, product: Wiring, ours: Lot, scope: str) -> None:
    headers = bearer(product, scope, ours)  # type: ignore[arg-type]
    answer = api.post(f"/v1/lots/{ours.code}/codes", json={"batch": "x", "places": [{"place": "lot"}]}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_refused")


def test_a_code_that_is_over_is_listed_without_its_link(api: Client, product: Wiring, ours: Lot) -> None:
    issue(product, ours, "A")
    with product.db.begin() as tx:
        registry.retire(tx, code_nos=[1], reason="torn", by="wang", at=AT)
    [code] = api.get(f"/v1/lots/{ours.code}/codes", headers=bearer(product, "lot", ours)).json()["codes"]
    assert (code["state"], code["link"]) == ("retired", None)
    assert set(code) == set(CodeView.__struct_fields__)


# The command


@pytest.fixture
def staff(product: Wiring) -> Wiring:
    """The product with people who may propose, and one who may approve alone."""
    with product.db.begin() as tx:
        for code, proposes in (("wang", True), ("li", True), ("chen", False)):
            people.enter(tx, person=Person(code, proposes, not proposes, "岗位授权书 2026-1"), at=AT)
    return product


def run(product: Wiring, *words: str) -> str:
    parser = argparse.ArgumentParser()
    desk.arguments(parser)
    return desk.run(product, parser.parse_args(words))


def test_a_life_of_codes_at_the_command_line(staff: Wiring, ours: Lot, tmp_path: Path) -> None:
    product = staff
    berths = tmp_path / "berths.txt"
    berths.write_text("A-1\nA-2\n\nA-3\n", encoding="utf-8")
    said = run(product, "issue", ours.code, "--batch", "b1", "--berths", str(berths), "--by", "wang")
    assert said == "3 codes of batch b1, numbers 1 to 3"
    assert "posted" in run(product, "post", "1", "2", "--by", "li")
    assert "berth B-9" in run(product, "move", "1", "--name", "B-9", "--reason", "renumbered", "--by", "wang")
    assert "reported" in run(product, "report", "3", "--reason", "stolen", "--by", "li")
    replaced = run(product, "replace", "--lot", ours.code, "--batch", "b2", "--reason", "stolen", "--by", "wang", "3")
    assert replaced == "3 is replaced by 4"
    assert "retired" in run(product, "retire", "2", "--reason", "torn", "--by", "wang")
    assert [line.split()[:2] for line in run(product, "list", ours.code).splitlines()] == [
        ["1", "posted"], ["2", "retired"], ["3", "replaced"], ["4", "issued"],
    ]  # fmt: skip
    assert [line.split()[2] for line in run(product, "history", "3").splitlines()] == ["issued", "reported", "replaced"]
    with pytest.raises(Conflict):
        run(product, "post", "2", "--by", "li")
    with pytest.raises(NotFound):
        run(product, "history", "99")


def test_what_is_printed_at_the_command_line_is_what_is_paid_with_and_its_key_is_noted(
    staff: Wiring, ours: Lot, tmp_path: Path
) -> None:
    product = staff
    paths = issue(product, ours, "A-1", "A-2", "A-3")
    with product.db.begin() as tx:
        registry.retire(tx, code_nos=[2], reason="torn", by="wang", at=AT)
    said = run(product, "print", ours.code, "--size", "80x100", "--to", str(tmp_path), "--by", "wang")
    assert said.startswith("2 codes in 1 files, from ")
    with pypdfium2.PdfDocument(tmp_path / f"{ours.code}-codes-80x100-0001.pdf") as document:
        picture = document[0].render(scale=2).to_pil()
    read = sorted(found.text for found in zxingcpp.read_barcodes(picture))
    assert read == sorted(f"http://pay.test{path}" for path in (paths[0], paths[2]))
    signing = product.pay_codes.signing_id
    assert run(product, "keys") == f"key {signing}: 2 codes\nnew codes are signed with key {signing}"


def test_a_lots_own_code_is_printed_without_an_entry_in_the_registry(staff: Wiring, ours: Lot, tmp_path: Path) -> None:
    run(staff, "print", ours.code, "--own", "--form", "svg", "--to", str(tmp_path), "--by", "wang")
    assert ours.name in (tmp_path / f"{ours.code}-own-poster-0001.svg").read_text(encoding="utf-8")
    with staff.db.connect() as tx:
        assert tx.exec_driver_sql("select code_nos, printed_by from payments.code_printing").all() == [([], "wang")]


def test_printing_a_lot_without_codes_says_what_to_do(staff: Wiring, ours: Lot, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="issue one first"):
        run(staff, "print", ours.code, "--to", str(tmp_path), "--by", "wang")


def test_only_codes_that_are_drawn_are_noted_as_printed(staff: Wiring, ours: Lot, tmp_path: Path) -> None:
    issue(staff, ours, "A-1", "A-2", "A-3")
    words = ["print", ours.code, "--pages", "1", "--processes", "1", "--to", str(tmp_path), "--by", "wang"]
    run(staff, *words)
    with staff.db.begin() as tx:
        registry.retire(tx, code_nos=[3], reason="torn", by="wang", at=AT)
    clock(staff).set(AT + timedelta(minutes=1))
    assert "2 codes in 2 files" in run(staff, *words)
    assert "2 were whole before" in run(staff, *words)
    assert sorted(path.name for path in tmp_path.glob("*.pdf")) == [f"{ours.code}-codes-poster-000{n}.pdf" for n in (1, 2)]
    with staff.db.connect() as tx:
        noted = tx.exec_driver_sql("select code_nos, printed_by from payments.code_printing order by code_nos").all()
    assert [tuple(row) for row in noted] == [([1], "wang"), ([2], "wang"), ([3], "wang")]


def test_the_name_of_a_batch_cannot_lead_out_of_the_folder(staff: Wiring, ours: Lot, tmp_path: Path) -> None:
    with staff.db.begin() as tx:
        registry.issue(tx, lot=ours, batch="../春 1%", places=[Place("lot")], by="wang", at=AT)
    run(staff, "print", ours.code, "--batch", "../春 1%", "--form", "svg", "--to", str(tmp_path / "out" / "here"), "--by", "wang")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["here"]
    assert (tmp_path / "out" / "here" / f"{ours.code}-..%2F春 1%25-poster-0001.svg").is_file()


@pytest.mark.parametrize(
    "words",
    [
        "issue {lot} --batch new", "print {lot} --to {folder}", "post 1", "move 1 --name B --reason renumbered",
        "retire 1 --reason torn", "report 1 --reason stolen", "replace --lot {lot} --batch new --reason faded 1", "basket {lot} S1",
    ],
)  # fmt: skip
def test_nothing_is_done_for_somebody_who_is_not_of_the_staff_or_may_not(
    staff: Wiring, ours: Lot, tmp_path: Path, words: str
) -> None:
    issue(staff, ours, "A")
    owe(staff, ours, "S1")
    with staff.db.begin() as tx:
        people.enter(tx, person=Person("gone", True, False, "岗位授权书 2026-2"), at=AT)
        people.end(tx, person_code="gone", at=AT)
    for by, code in (("nobody", "person_unknown"), ("chen", "person_may_not"), ("gone", "person_unknown")):
        with pytest.raises(NotAllowed) as refused:
            run(staff, *words.format(lot=ours.code, folder=tmp_path / "print").split(), "--by", by)
        assert refused.value.code == code
    with staff.db.connect() as tx:
        assert [one.act for one in registry.history(tx, code_no=1)] == ["issued"]
        tables = ("pay_code", "code_printing", "code_set")
        counts = [tx.exec_driver_sql(f"select count(*) from payments.{table}").scalar_one() for table in tables]
    assert counts == [1, 0, 0]
    assert not (tmp_path / "print").exists()


def test_a_clerks_screen_is_given_at_the_command_line(staff: Wiring, ours: Lot) -> None:
    product = staff
    owe(product, ours, "S1", "S2")
    for words in (["stay", ours.code, "S1"], ["basket", ours.code, "S1", "S2", "--by", "wang"]):
        said = run(product, *words).splitlines()
        assert said[-2].startswith("http://pay.test/p/")
        assert said[-1] == "good until 12:10"
    with pytest.raises(Refused, match="minutes"):
        run(product, "stay", ours.code, "S1", "--minutes", "999")


def test_a_file_of_berths_that_cannot_be_read_is_one_sentence(staff: Wiring, ours: Lot, tmp_path: Path) -> None:
    product = staff
    with pytest.raises(Refused, match="no list of places"):
        run(product, "issue", ours.code, "--batch", "b", "--berths", str(tmp_path / "none"), "--by", "wang")
