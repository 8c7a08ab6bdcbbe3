"""The clerk's page, asked as a browser without scripts asks it; and the merchants' API with their own tokens."""

# fixtures of another module are asked for by name

import argparse
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zxingcpp
from litestar.routes import HTTPRoute
from litestar.testing import TestClient
from PIL import Image
from sqlalchemy import text

from app import clerk_links
from app.commands import discounts as cli
from app.pages import clerk
from app.pages.clerk_words import EN, ZH
from app.pages.limits import Misses
from app.wiring import Wiring
from ledger.clock import SetClock
from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from payments import people
from payments.bearers import bearers
from payments.people import Person
from tests.app.conftest import City, Client, app_of, bearer
from tests.app.test_pages import text_of
from tests.payments.conftest import AT, make_attempt, make_charge

PLATE, STRANGER = "苏B12345", "苏B54321"
OFFER = """
code = "{code}"
kind = "validation"
words = "观影停车优惠"
words_en = "Cinema parking"
bearer = "cinema"
document = "agreement 7"
valid_from = 2020-01-01T00:00:00+08:00
valid_until = 2099-01-01T00:00:00+08:00
{more}
"""
MERCHANT = """
code = "cinema-1"
name = "示例影院"
name_en = "Example Cinema"
bearer = "cinema"
offers = ["CINEMA-2H", "CINEMA-5"]
lots = ["lot-1"]
document = "agreement 7"
valid_from = 2020-01-01T00:00:00+08:00
valid_until = 2099-01-01T00:00:00+08:00
{more}
"""


def say(wiring: Wiring, *words: str) -> str:
    parser = argparse.ArgumentParser()
    cli.arguments(parser)
    return cli.run(wiring, parser.parse_args(words))


def enter(wiring: Wiring, folder: Path, more: str = "plate_day_max = 2") -> str:
    with wiring.db.begin() as tx:
        bearers.register(tx, code="cinema", name="示例影院", document="agreement 7", at=AT)
        people.enter(tx, person=Person("li", may_propose=True, may_approve=False, document="order 1"), at=AT)
    for code, said in (
        ("CINEMA-2H", 'free_minutes = 120\nminutes_else = "pro_rata"\ncap_fen = 2000'),
        ("CINEMA-5", "off_fen = 500"),
    ):
        (folder / f"{code}.toml").write_text(OFFER.format(code=code, more=said), encoding="utf-8")
        say(wiring, "add", str(folder / f"{code}.toml"))
    (folder / "cinema.toml").write_text(MERCHANT.format(more=more), encoding="utf-8")
    return say(wiring, "merchant", "add", str(folder / "cinema.toml"), "--by", "li")


@pytest.fixture(autouse=True)
def forgiving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clerk, "MISSES", Misses(per_minute=10, clock=lambda: 0.0))
    monkeypatch.setattr(clerk, "GIVES", Misses(per_minute=30, clock=lambda: 0.0))


@pytest.fixture
def shop(product: Wiring, two_lots: City, tmp_path: Path) -> Wiring:
    enter(product, tmp_path)
    return product


@pytest.fixture
def link(shop: Wiring) -> str:
    shown = say(shop, "merchant", "clerk", "cinema-1", "--name", "前台一", "--by", "li")
    return shown.split("\n")[1]


@pytest.fixture
def counter(shop: Wiring) -> Iterator[Client]:
    with TestClient(app_of(shop), base_url="http://pay.test") as client:
        yield client


def begin(counter: Client, link: str) -> Any:
    page = counter.get(link)
    secret = re.search(r'name="secret" value="([^"]+)"', page.text)
    assert secret is not None
    return counter.post("/clerk/begin", data={"secret": secret[1]})


def token_of(page: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def give(counter: Client, plate: str = PLATE, lang: str = "", **other: str) -> Any:
    form = {"lot": "lot-1", "offer": "CINEMA-5", "province": plate[0], "rest": plate[1:]} | other
    if "token" not in form:
        form["token"] = token_of(counter.get(f"/clerk{lang}").text)
    return counter.post(f"/clerk/give{lang}", data=form)


def given(shop: Wiring) -> list[tuple[str, bool]]:
    query = (
        "select p.number, g.cancelled_at is null from payments.discount_grant g join payments.plate p using (plate_id) order by 1"
    )
    with shop.db.connect() as tx:
        return [tuple(row) for row in tx.execute(text(query))]


def reduced(shop: Wiring) -> int:
    with shop.db.connect() as tx:
        return int(tx.execute(text("select coalesce(sum(reduced_fen), 0) from payments.charge")).scalar_one())


# The link


def test_a_link_is_exchanged_by_a_tap_for_a_strict_cookie_and_leaves_the_address(counter: Client, link: str, shop: Wiring) -> None:
    start = counter.get(link)
    assert (start.status_code, "set-cookie" in start.headers) == (200, False)  # a preview of the link begins nothing
    assert {"示例影院", "前台一"} <= set(re.split(r"[\s：<>·]", text_of(start.text)))
    begun = begin(counter, link)
    assert str(begun.url) == "http://pay.test/clerk"
    said = begun.history[0].headers["set-cookie"].lower()
    assert all(word in said for word in ("httponly", "samesite=strict", "path=/clerk"))
    secret = link.rpartition("/")[2]
    assert secret not in begun.text
    assert counter.cookies["clerk"] not in begun.text
    https = msgspec.structs.replace(shop, settings=msgspec.structs.replace(shop.settings, public_url="https://pay.test"))
    clerk_id = clerk_links.known(counter.cookies, shop)
    assert clerk_id is not None
    assert clerk_links.cookie(https, clerk_id, until=AT + timedelta(days=1)).secure


@pytest.mark.parametrize(
    "edit", [lambda s: s[:-1] + ("A" if s[-1] != "A" else "B"), lambda _: "x", lambda s: s + "A", lambda _: "é"]
)
def test_an_edited_link_is_one_plain_page_and_guessing_is_slowed(counter: Client, link: str, edit: Any) -> None:
    path, _, secret = link.rpartition("/")
    pages = [counter.get(f"{path}/{edit(secret)}") for _ in range(11)]
    assert {page.status_code for page in pages} == {404}
    assert all(ZH.ended in text_of(page.text) for page in pages)
    assert counter.get(link).status_code == 404  # from there no link is looked at for a while


def test_another_site_neither_begins_nor_ends_a_session(counter: Client, link: str) -> None:
    there = {"sec-fetch-site": "cross-site"}
    forged = counter.post("/clerk/begin", data={"secret": link.rpartition("/")[2]}, headers=there)
    assert (forged.status_code, "set-cookie" in forged.headers) == (404, False)
    begin(counter, link)
    counter.post("/clerk/leave", headers=there)
    assert counter.get("/clerk").status_code == 200


def test_an_ended_link_counts_no_more_also_where_it_is_open(counter: Client, link: str, shop: Wiring) -> None:
    begin(counter, link)
    page = counter.get("/clerk").text
    number = say(shop, "merchant", "clerk", "cinema-1").split()[0]
    assert "ended by li" in say(shop, "merchant", "clerk", "cinema-1", "--end", number, "--by", "li")
    assert counter.get("/clerk").status_code == 401
    assert ZH.again in text_of(give(counter, token=token_of(page)).text)
    assert counter.get(link).status_code == 404
    assert given(shop) == []


def test_an_ended_merchant_and_an_old_session_count_no_more(counter: Client, link: str, shop: Wiring) -> None:
    begin(counter, link)
    assert isinstance(shop.clock, SetClock)
    shop.clock.set(AT + clerk_links.LASTS)
    assert counter.get("/clerk").status_code == 401
    begin(counter, link)
    assert counter.get("/clerk").status_code == 200
    say(shop, "merchant", "end", "cinema-1", "--document", "notice 1", "--by", "li")
    assert counter.get("/clerk").status_code == 401
    assert counter.get(link).status_code == 404


def test_a_link_can_be_printed_again_and_its_code_is_the_link(shop: Wiring, link: str, tmp_path: Path) -> None:
    number = say(shop, "merchant", "clerk", "cinema-1").split()[0]
    say(shop, "merchant", "clerk", "cinema-1", "--show", number, "--png", str(tmp_path / "a.png"))
    [read] = zxingcpp.read_barcodes(Image.open(tmp_path / "a.png"))
    assert read.text == link


# Giving


@pytest.mark.parametrize(("lang", "words"), [("", ZH), ("?lang=en", EN)])
def test_a_present_and_an_absent_car_are_answered_alike(
    counter: Client, link: str, shop: Wiring, two_lots: City, lang: str, words: Any
) -> None:
    with shop.db.begin() as tx:
        make_charge(tx, two_lots.ours, "S1", amount_fen=400)  # the discount covers it: the car may leave at once
    begin(counter, link)
    told = [give(counter, plate, lang) for plate in (PLATE, STRANGER)]
    assert [one.status_code for one in told] == [200, 200]
    assert [one for one in [words.given_title] if one not in text_of(told[0].text)] == []
    bodies = [re.sub(r"苏B[^<\" ]+", "", one.text) for one in told]
    assert bodies[0] == bodies[1]
    assert reduced(shop) == 400
    lists = counter.get(f"/clerk{lang}").text
    assert text_of(lists).count(words.state_given) == 2
    serials = re.findall(r'name="serial" value="([^"]+)"', lists)
    gone = [counter.post(f"/clerk/withdraw{lang}", data={"token": token_of(lists), "serial": one}) for one in serials]
    assert [one.status_code for one in gone] == [200, 200]
    assert gone[0].text == gone[1].text  # what was used stays used, and that is not said
    assert text_of(counter.get(f"/clerk{lang}").text).count(words.state_withdrawn) == 2
    assert given(shop) == [(PLATE, True), (STRANGER, False)]


def test_what_was_given_last_is_chosen_already(counter: Client, link: str) -> None:
    begin(counter, link)
    chosen = r'value="CINEMA-(\S+)" required checked'
    assert re.findall(chosen, counter.get("/clerk").text) == []
    give(counter, offer="CINEMA-2H")
    assert re.findall(chosen, counter.get("/clerk").text) == ["2H"]


def test_a_second_tap_gives_one_and_a_used_form_gives_nothing_else(counter: Client, link: str, shop: Wiring) -> None:
    begin(counter, link)
    token = token_of(counter.get("/clerk").text)
    assert [give(counter, token=token).status_code for _ in range(2)] == [200, 200]
    other = give(counter, STRANGER, token=token)
    assert (other.status_code, ZH.sorry_form in text_of(other.text)) == (409, True)
    assert given(shop) == [(PLATE, True)]


def test_a_form_of_another_session_or_site_gives_nothing(counter: Client, link: str, shop: Wiring) -> None:
    begin(counter, link)
    token = token_of(counter.get("/clerk").text)
    for forged in ("", "x.y", "k." + token.rpartition(".")[2]):
        assert give(counter, token=forged).status_code == 409
        assert counter.post("/clerk/withdraw", data={"token": forged, "serial": "k-1"}).status_code == 409
    counter.cookies.clear()
    assert give(counter, token=token).status_code == 401
    begin(counter, link)  # another moment, another session would sign otherwise; this one is the same clerk in the same second
    assert given(shop) == []


def test_every_refusal_is_one_sentence_and_keeps_what_was_typed(counter: Client, link: str) -> None:
    begin(counter, link)
    for other, sorry in (
        ({"rest": "B1"}, ZH.sorry_plate), ({"offer": "M9"}, ZH.sorry_choose), ({"lot": "lot-2"}, ZH.sorry_choose),
    ):  # fmt: skip
        page = give(counter, **other)
        assert page.status_code in (409, 422)
        assert sorry in text_of(page.text)
        assert f'value="{other.get("rest", PLATE[1:])}"' in page.text


def test_limits_of_a_plate_count_what_was_withdrawn_and_giving_is_slowed(counter: Client, link: str, shop: Wiring) -> None:
    begin(counter, link)
    give(counter)
    page = counter.get("/clerk").text
    [serial] = re.findall(r'name="serial" value="([^"]+)"', page)
    counter.post("/clerk/withdraw", data={"token": token_of(page), "serial": serial})
    assert [give(counter).status_code for _ in range(2)] == [200, 409]
    assert ZH.sorry_plate_limit in text_of(give(counter).text)
    answers = [give(counter, f"苏B{number}") for number in range(20000, 20028)]
    assert [one.status_code for one in answers][-2:] == [429, 429]
    assert ZH.sorry_often in text_of(answers[-1].text)


def test_the_page_shows_no_whole_plate_keeps_none_and_takes_nothing_from_elsewhere(counter: Client, link: str) -> None:
    begin(counter, link)
    given_page = give(counter)
    page = counter.get("/clerk")
    for one in (given_page, page):
        assert PLATE not in one.text
        assert "default-src 'none'" in one.headers["content-security-policy"]
        assert not re.search(r'(src|href|action)="(https?:)?//', one.text)
    assert page.headers["cache-control"] == "no-store"
    assert 'id="recent"' not in page.text
    left = counter.post("/clerk/leave")
    assert ZH.left in text_of(left.text)
    assert counter.get("/clerk").status_code == 401


def test_addresses_of_forms_lead_back_to_the_page(counter: Client, link: str) -> None:
    begin(counter, link)
    for path in ("give", "withdraw", "leave", "begin"):
        assert str(counter.get(f"/clerk/{path}?lang=en").url).endswith("/clerk?lang=en")


# The desk


def test_the_desk_enters_lists_and_ends_merchants_with_person_and_document(product: Wiring, two_lots: City, tmp_path: Path) -> None:
    assert say(product, "merchant", "list") == "There is no merchant."
    line = enter(product, tmp_path, "plate_day_max = 2\nmonth_fen_max = 500000")
    assert all(
        words in line
        for words in ("示例影院 / Example Cinema", "2 offers at 1 lots", "borne by cinema", "2 a plate and day", "5000.00")
    )
    assert line == say(product, "merchant", "add", str(tmp_path / "cinema.toml"), "--by", "li")
    assert line == say(product, "merchant", "list")
    with pytest.raises(NotAllowed):
        say(product, "merchant", "add", str(tmp_path / "cinema.toml"), "--by", "nobody")
    (tmp_path / "cinema.toml").write_text(MERCHANT.format(more=""), encoding="utf-8")
    with pytest.raises(Conflict):
        say(product, "merchant", "add", str(tmp_path / "cinema.toml"), "--by", "li")
    with pytest.raises(Refused):
        say(product, "merchant", "clerk", "cinema-1", "--name", "x")
    assert "ended 2026" in say(product, "merchant", "end", "cinema-1", "--document", "notice 1", "--by", "li")
    with pytest.raises(NotAllowed):
        say(product, "merchant", "token", "cinema-1", "--by", "li")
    with pytest.raises(NotFound):
        say(product, "merchant", "end", "none", "--document", "notice 1", "--by", "li")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("validation_fen_max = 1000", "more than one validation may"),
        ("day_max = 0", "1 at least"),
        ('bearer = "mall"', "file"),
    ],
)
def test_a_merchant_that_cannot_stand_is_refused_with_the_reason(
    product: Wiring, two_lots: City, tmp_path: Path, more: str, why: str
) -> None:
    with pytest.raises(Refused, match=why if why != "file" else "no merchant"):
        enter(product, tmp_path, more)


# Its API


class Api:
    """A merchant's own system: it asks for a token and calls as docs/DISCOUNTS.md says."""

    def __init__(self, shop: Wiring, client: Client) -> None:
        told = say(shop, "merchant", "token", "cinema-1", "--by", "li").split("\n")
        form = {"grant_type": "client_credentials", "client_id": told[0].split()[1], "client_secret": told[1].split()[1]}
        self.token = client.post("/oauth/token", data=form).json()["access_token"]
        self._client, self.headers = client, {"authorization": f"Bearer {self.token}"}

    def post(self, body: Any) -> Any:
        return self._client.post("/v1/merchant/validations", json=body, headers=self.headers)

    def get(self, path: str = "/validations") -> Any:
        return self._client.get(f"/v1/merchant{path}", headers=self.headers)

    def delete(self, serial: str) -> Any:
        return self._client.delete(f"/v1/merchant/validations/{serial}", headers=self.headers)


@pytest.fixture
def theirs(shop: Wiring, counter: Client) -> Api:
    return Api(shop, counter)


def body(serial: str = "V1", plate: str = PLATE, **other: str) -> dict[str, str]:
    return {"serial": serial, "lot": "lot-1", "offer": "CINEMA-5", "plate": plate} | other


def test_a_merchants_token_gives_sees_and_withdraws_its_own(theirs: Api, shop: Wiring, two_lots: City) -> None:
    with shop.db.begin() as tx:
        make_charge(tx, two_lots.ours, "S1", amount_fen=1200)
    told = [theirs.post(body()), theirs.post(body("V2", STRANGER)), theirs.post(body())]
    assert [(one.status_code, one.json()["outcome"]) for one in told] == [(201, "created"), (201, "created"), (200, "already")]
    assert {**told[0].json(), "serial": ""} == {**told[1].json(), "serial": ""}
    assert reduced(shop) == 500
    seen = theirs.get().json()["validations"]
    told_of = sorted((one["serial"], one["state"], one["taken_off_fen"]) for one in seen)
    assert told_of == [("V1", "given", None), ("V2", "given", None)]
    assert PLATE not in json.dumps(seen, ensure_ascii=False)
    assert theirs.delete("V1").json()["state"] == "withdrawn"
    assert reduced(shop) == 0
    assert theirs.delete("V9").json()["code"] == "validation_unknown"
    first = theirs.get("/validations?limit=1").json()
    second = theirs.get(f"/validations?limit=1&before={first['next']}").json()
    assert second["next"] is None
    assert sorted(one["serial"] for page in (first, second) for one in page["validations"]) == ["V1", "V2"]
    assert theirs.get("").json()["offers"][0] == {"code": "CINEMA-2H", "name": "观影停车优惠"}


def test_what_was_taken_off_is_told_when_the_time_of_a_validation_is_over(theirs: Api, shop: Wiring, two_lots: City) -> None:
    with shop.db.begin() as tx:
        charge_id = make_charge(tx, two_lots.ours, "S1", amount_fen=1200)
    until = (AT + timedelta(minutes=5)).isoformat()
    for one in (body(valid_until=until), body("V2", STRANGER, valid_until=until)):
        assert theirs.post(one).status_code == 201
    with shop.db.begin() as tx:
        make_attempt(tx, two_lots.ours, charge_id)
    told = [theirs.delete(serial).json() for serial in ("V1", "V2")]  # somebody is paying with one of them
    assert [(one["state"], one["taken_off_fen"]) for one in told] == [("withdrawn", None)] * 2
    assert isinstance(shop.clock, SetClock)
    shop.clock.set(AT + timedelta(minutes=5))
    seen = theirs.get().json()["validations"]
    assert sorted((one["serial"], one["state"], one["taken_off_fen"]) for one in seen) == [
        ("V1", "withdrawn", 500), ("V2", "withdrawn", 0),
    ]  # fmt: skip


def test_records_are_answered_one_by_one_within_rights_and_limits(theirs: Api, shop: Wiring) -> None:
    told = theirs.post(
        [
            body("V1"), body("V2"), body("V3"), body("V4", lot="lot-2"), body("V5", offer="M9"), {"serial": "V6"},
            body("V7", plate="X"), body("V1", plate=STRANGER),
        ]
    )  # fmt: skip
    assert told.status_code == 207
    assert [one["reason"] for one in told.json()] == [
        None, None, "merchant_plate_limit", "discount_elsewhere", "discount_not_found", "malformed", "plate_invalid",
        "content_differs",
    ]  # fmt: skip
    assert given(shop) == [(PLATE, True), (PLATE, True)]


def test_a_merchants_token_opens_nothing_else_and_others_do_not_open_its_routes(
    theirs: Api, counter: Client, shop: Wiring, two_lots: City
) -> None:
    open_to_all = {"/oauth/token", "/v1/checkpoint", "/v1/checkpoint/key", "/v1/checkpoint/consistency"}
    for route in app_of(shop).routes:
        if isinstance(route, HTTPRoute) and route.path.startswith(("/v1", "/oauth")):
            asked = {name for handler in route.route_handlers for name in handler.parsed_fn_signature.parameters}
            assert asked & {"caller", "shop"} or route.path in open_to_all or route.path.endswith("/proof"), route.path
    for path in ("charges/S1", "codes", "events"):
        answer = counter.get(f"/v1/lots/lot-1/{path}", headers=theirs.headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_refused"), path
    posted = counter.post("/v1/lots/lot-1/validations", json={}, headers=theirs.headers)
    assert (posted.status_code, posted.json()["code"]) == (403, "scope_refused")
    for scope in ("lot", "operator", "city"):
        answer = counter.get("/v1/merchant", headers=bearer(shop, scope, two_lots.ours))
        assert answer.json()["code"] == "scope_refused"
    say(shop, "merchant", "end", "cinema-1", "--document", "notice 1", "--by", "li")
    assert theirs.post(body()).json()["code"] == "merchant_ended"


def test_a_client_that_was_switched_off_gets_no_token(theirs: Api, shop: Wiring, counter: Client) -> None:
    say(shop, "merchant", "token", "cinema-1", "--end", "--by", "li")
    form = {"grant_type": "client_credentials", "client_id": "cinema-1", "client_secret": "x"}
    assert counter.post("/oauth/token", data=form).status_code == 401
    with pytest.raises(Refused):
        say(shop, "merchant", "token", "cinema-1", "--client", "lot-client", "--end", "--by", "li")
