"""A driver who scans sees the price that the lot's own system answers, or that it is away; over real HTTP in both directions."""

import html
import importlib.util
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from app.checks import violations
from app.pages import scan
from app.pages.limits import MISSES_PER_MINUTE, Misses
from app.pages.words import EN, ZH
from app.wiring import Wiring
from config.settings import SettingsError, changed
from ledger.clock import SystemClock
from payments import charges, paycode
from payments.lots import Lot
from payments.quoting.turns import Turns
from payments.records import NewCharge
from tests.app.conftest import City, Client, bearer
from tests.payments.conftest import AT
from tests.payments.webhooks.receiver import Got, Receiver, Says, receiving

PLATE = "苏B12345"
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "quote_server.py"


@pytest.fixture
def product(product: Wiring, monkeypatch: pytest.MonkeyPatch) -> Wiring:
    """The product, on a machine whose own servers may be asked."""
    monkeypatch.setattr(scan, "MISSES", Misses())
    monkeypatch.setattr(scan, "TURNS", Turns())
    settings = changed(product.settings, webhook_allowed_networks="127.0.0.0/8")
    return msgspec.structs.replace(product, settings=settings)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        server.answer = lambda _: says(quote())
        yield server


@pytest.fixture
def lot(two_lots: City) -> Lot:
    return two_lots.ours


@pytest.fixture
def page(product: Wiring, lot: Lot) -> str:
    return f"/p/{paycode.token(lot.lot_id, keys=product.pay_codes)}/due"


class Owner:
    """The lot's system towards the API."""

    def __init__(self, api: Client, product: Wiring, lot: Lot, scope: Any = "lot") -> None:
        self._api, self._headers = api, bearer(product, scope, lot)

    def call(self, method: str, body: object = None, *, status: int, lot: str = "lot-1") -> Any:
        content = None if body is None else msgspec.json.encode(body)
        answer = self._api.request(method, f"/v1/lots/{lot}/quote-endpoint", content=content, headers=self._headers)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def owner(api: Client, product: Wiring, lot: Lot) -> Owner:
    return Owner(api, product, lot)


@pytest.fixture
def asked(owner: Owner, receiver: Receiver) -> Receiver:
    owner.call("PUT", {"url": receiver.url}, status=201)
    return receiver


def quote(**other: object) -> dict[str, object]:
    return {
        "serial": "Q1", "stay_serial": "P1", "plate": PLATE, "entered_at": AT - timedelta(hours=2), "minutes": 120,
        "amount_fen": 1234, "tariff_text": "每小时6元", "valid_until": AT + timedelta(minutes=15),
    } | other  # fmt: skip


def says(*found: dict[str, object]) -> Says:
    return Says(200, {}, msgspec.json.encode({"quotes": found}))


def shown(api: Client, page: str, *, plate: str = PLATE, status: int = 200) -> str:
    answer = api.post(page, data={"province": "", "rest": plate})
    assert answer.status_code == status, answer.text
    return html.unescape(re.sub(r"<[^>]+>", " ", answer.text))


def push(product: Wiring, lot: Lot) -> None:
    charge = NewCharge(
        lot_serial="S1", plate=PLATE, entered_at=AT - timedelta(hours=3), minutes=180, amount_fen=777, tariff_text="每小时6元"
    )
    with product.db.begin() as tx:
        charges.post(tx, lane=0, lot=lot, charges=[charge], at=AT, ids=product.ids)


def wrong(product: Wiring) -> list[Any]:
    with product.db.connect() as tx:
        return list(violations(tx))


# Pages.


def test_a_scan_shows_the_price_that_the_lot_answers(api: Client, page: str, asked: Receiver, product: Wiring) -> None:
    text = shown(api, page)
    assert "12.34" in text
    assert ZH.sorry_lot_away not in text
    assert asked.got[0].content["data"]["plate"] == PLATE
    assert wrong(product) == []


def test_a_lot_that_is_not_asked_is_as_ever(api: Client, page: str, receiver: Receiver) -> None:
    assert ZH.nothing_title in shown(api, page)
    assert receiver.got == []


def test_nothing_due_is_said_when_the_lot_says_so(api: Client, page: str, asked: Receiver) -> None:
    asked.answer = lambda _: says()
    assert ZH.nothing_title in shown(api, page)


@pytest.mark.parametrize(("query", "words"), [("", ZH), ("?lang=en", EN)])
def test_a_lot_that_is_away_is_said_plainly_with_a_way_to_try_again(
    api: Client, page: str, asked: Receiver, monkeypatch: pytest.MonkeyPatch, query: str, words: Any
) -> None:
    asked.answer = lambda _: Says(500)
    text = shown(api, page + query, status=503)
    assert words.sorry_lot_away in text
    assert words.try_again in text
    assert words.nothing_title not in text
    form = api.post(page + query, data={"province": "", "rest": PLATE}).text
    [again] = re.findall(r'name="rest" value="([^"]+)"', form)
    monkeypatch.setattr(scan, "TURNS", Turns())
    asked.answer = lambda _: says(quote())
    assert "12.34" in shown(api, page + query, plate=again)


def test_what_is_due_from_before_is_shown_though_the_lot_is_away(
    api: Client, page: str, asked: Receiver, product: Wiring, lot: Lot
) -> None:
    push(product, lot)
    asked.answer = lambda _: Says(500)
    text = shown(api, page)
    assert text.index(ZH.sorry_lot_away) < text.index("7.77")


@pytest.mark.parametrize(("query", "words"), [("", ZH), ("?lang=en", EN)])
def test_what_is_owed_elsewhere_is_offered_though_the_lot_is_away(
    api: Client, page: str, asked: Receiver, product: Wiring, two_lots: City, query: str, words: Any
) -> None:
    push(product, two_lots.theirs)
    asked.answer = lambda _: Says(500)
    text = shown(api, page + query)
    assert text.index(words.sorry_lot_away) < text.index("7.77")
    assert words.try_again in text
    assert words.nothing_here not in text
    assert words.nothing_title not in text


def test_a_chosen_car_is_kept_when_a_lot_that_is_away_is_asked_again(
    api: Client, page: str, asked: Receiver, product: Wiring
) -> None:
    asked.answer = lambda _: Says(500)
    form = api.post(page, data={"province": "", "rest": PLATE, "color": "yellow"})
    assert form.status_code == 503
    assert re.findall(r'name="color" value="([^"]+)"', form.text) == ["yellow"]
    assert 'class="chip yellow"' in form.text


def test_a_changed_price_takes_the_place_of_the_one_before(
    api: Client, page: str, asked: Receiver, monkeypatch: pytest.MonkeyPatch, product: Wiring
) -> None:
    shown(api, page)
    asked.answer = lambda _: says(quote(serial="Q2", amount_fen=5678))
    assert "12.34" in shown(api, page)  # ten seconds are not over
    monkeypatch.setattr(scan, "TURNS", Turns())
    text = shown(api, page)
    assert "56.78" in text
    assert "12.34" not in text
    assert wrong(product) == []


def test_two_phones_at_once_ask_once_and_see_the_same(api: Client, page: str, asked: Receiver) -> None:
    begun, go = threading.Event(), threading.Event()

    def slowly(_: Got) -> Says:
        begun.set()
        go.wait(1)
        return says(quote())

    asked.answer = slowly
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(shown(api, page))) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join(20)
    assert ["12.34" in text for text in texts] == [True, True]
    assert len(asked.got) == 1


def test_whoever_tries_plates_does_not_drive_us_to_the_lot(api: Client, page: str, asked: Receiver) -> None:
    asked.answer = lambda _: says()
    for number in range(MISSES_PER_MINUTE):
        shown(api, page, plate=f"苏B{number:05d}")
    shown(api, page, plate="苏B99999", status=429)
    assert len(asked.got) == MISSES_PER_MINUTE
    shown(api, page, plate="nonsense", status=429)


def test_what_is_no_plate_is_not_asked(api: Client, page: str, asked: Receiver) -> None:
    shown(api, page, plate="nonsense", status=422)
    assert asked.got == []


# Endpoints.


def test_an_endpoint_shows_its_secret_once_and_what_was_refused(owner: Owner, api: Client, page: str, receiver: Receiver) -> None:
    made = owner.call("PUT", {"url": receiver.url, "timeout_seconds": 1.5}, status=201)
    assert made["secret"].startswith("whsec_")
    receiver.answer = lambda _: says(quote(plate="苏B99999"))
    shown(api, page)
    seen = owner.call("GET", status=200)
    assert "secret" not in seen
    assert (seen["url"], seen["timeout_seconds"], seen["state"]) == (receiver.url, 1.5, "answering")
    assert [(one["serial"], one["reason"]) for one in seen["refused"]] == [("Q1", "plate_differs")]


def test_an_endpoint_is_changed_renewed_and_ended(owner: Owner, receiver: Receiver) -> None:
    first = owner.call("PUT", {"url": receiver.url}, status=201)
    assert "secret" not in owner.call("PUT", {"url": receiver.url + "/x"}, status=200)
    renewed = owner.call("PUT", {"url": receiver.url, "new_secret": True}, status=200)
    assert renewed["secret"] not in ("", first["secret"])
    assert renewed["overlap_until"] is not None
    owner.call("DELETE", status=200)
    assert owner.call("GET", status=404)["code"] == "quote_endpoint_not_found"


def test_a_failing_lot_sees_why(owner: Owner, api: Client, page: str, asked: Receiver) -> None:
    asked.answer = lambda _: Says(404)
    shown(api, page, status=503)
    seen = owner.call("GET", status=200)
    assert (seen["state"], seen["failures"]) == ("failing", 1)
    assert "404" in seen["last_error"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": "http://10.0.0.1/"}, "quote_url_refused"),
        ({"url": "ftp://lot.example/"}, "quote_url_refused"),
        ({"url": "http://127.0.0.1:8700/", "timeout_seconds": 0}, "quote_timeout_refused"),
        ({"url": "http://127.0.0.1:8700/", "timeout_seconds": 1e300}, "quote_timeout_refused"),
        ({"url": ""}, "malformed"),
        ({"address": "x"}, "malformed"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(owner: Owner, body: object, code: str) -> None:
    assert owner.call("PUT", body, status=422)["code"] == code
    owner.call("GET", status=404)


def test_only_the_owner_manages_an_endpoint(api: Client, product: Wiring, lot: Lot, two_lots: City, receiver: Receiver) -> None:
    stranger = Owner(api, product, two_lots.theirs)
    for method, body in (("PUT", {"url": receiver.url}), ("GET", None), ("DELETE", None)):
        assert stranger.call(method, body, status=404)["code"] == "lot_not_found"
    supervisor = Owner(api, product, lot, "city")
    assert supervisor.call("PUT", {"url": receiver.url}, status=403)["code"] == "read_only"


def test_a_time_out_of_nothing_is_refused_at_start(product: Wiring) -> None:
    with pytest.raises(SettingsError, match="quote_timeout_seconds"):
        changed(product.settings, quote_timeout_seconds="0")


# The example.


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quote_server", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_answers_our_questions_and_nobody_elses(
    example: ModuleType, api: Client, product: Wiring, lot: Lot, page: str, receiver: Receiver
) -> None:
    owner = Owner(api, product, lot)
    secret = owner.call("PUT", {"url": receiver.url}, status=201)["secret"]
    product.clock.set(SystemClock().now())  # type: ignore[attr-defined]
    server = example.server(secret, 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with product.db.begin() as tx:
            lead_to(tx, f"http://127.0.0.1:{server.server_address[1]}/quotes")
        assert "18.00" in shown(api, page)
        assert ZH.nothing_title in shown(api, page, plate="苏B54321")
        assert not example.verified(secret, {}, b"{}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def lead_to(tx: Any, url: str) -> None:
    tx.execute(text("update payments.quote_endpoint set url = :url"), {"url": url})
