"""Owners manage their webhooks over the API and a person over the command line; the worker pushes."""

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook as Verifier

from app.checks import violations
from app.commands import webhooks as webhooks_cli
from app.wiring import Wiring
from app.worker import push_until
from config.settings import SettingsError, changed
from ledger.clock import SystemClock
from ledger.errors import NotFound, Refused
from payments import events
from payments.lots import Lot
from payments.webhooks import delivery
from tests.app.conftest import City, Client, bearer
from tests.payments.conftest import AT, IDS
from tests.payments.webhooks.receiver import Receiver, Says, receiving


@pytest.fixture
def product(product: Wiring) -> Wiring:
    """The product, on a machine whose own receivers may be called."""
    return msgspec.structs.replace(product, settings=changed(product.settings, webhook_allowed_networks="127.0.0.0/8"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


class Owner:
    """A caller with its token."""

    def __init__(self, api: Client, headers: dict[str, str]) -> None:
        self._api, self._headers = api, headers

    def ask(self, method: str, path: str = "", body: object = None, *, status: int = 200) -> Any:
        content = None if body is None else msgspec.json.encode(body)
        answer = self._api.request(method, f"/v1/webhooks{path}", content=content, headers=self._headers)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def operator(api: Client, product: Wiring, two_lots: City) -> Owner:
    return Owner(api, bearer(product, "operator", two_lots.ours))


def event(product: Wiring, lot: Lot, serial: str = "S1") -> str:
    told = events.PaymentEvent(
        kind="payment.succeeded", charge_serial=serial, receipt="P1", channel="wechat", amount_fen=1200, paid_at=AT
    )
    event_id = IDS.new(AT, serial)
    row = events.NewEvent(event_id, lot.operator_id, lot.lot_id, event_id, event_id, told.kind, events.encode(told))
    with product.db.begin() as tx:
        events.write(tx, lane=0, rows=[row])
    return str(event_id)


def test_a_webhook_is_entered_and_its_secret_is_shown_once(operator: Owner, receiver: Receiver) -> None:
    made = operator.ask("POST", body={"url": receiver.url, "kinds": ["payment.*", "debt.opened"]}, status=201)
    assert made["secret"].startswith("whsec_")
    assert {name: made[name] for name in ("operator", "lot", "url", "kinds", "state", "created_by")} == {
        "operator": "op-1", "lot": None, "url": receiver.url, "kinds": ["debt.opened", "payment.*"], "state": "active",
        "created_by": "operator-client",
    }  # fmt: skip
    [listed] = operator.ask("GET")
    assert "secret" not in listed
    assert listed == operator.ask("GET", f"/{made['id']}") == {name: made[name] for name in made if name != "secret"}


def test_what_is_pushed_verifies_with_the_secret_and_is_listed(
    operator: Owner, receiver: Receiver, product: Wiring, two_lots: City
) -> None:
    made = operator.ask("POST", body={"url": receiver.url}, status=201)
    event_id = event(product, two_lots.ours)
    assert delivery.run_due(product.post()).delivered == 1
    [got] = receiver.got
    assert got.event_id == event_id
    page = operator.ask("GET", f"/{made['id']}/deliveries")
    [told] = page["deliveries"]
    assert (told["event_id"], told["state"], told["last_status"], told["attempts"]) == (event_id, "delivered", 204, 1)
    [tried] = operator.ask("GET", f"/{made['id']}/deliveries/{told['delivery_id']}")
    assert (tried["number"], tried["status"], tried["failure"]) == (1, 204, None)
    assert operator.ask("GET", f"/{made['id']}/deliveries?state=parked")["deliveries"] == []


def test_not_yours_looks_like_not_there(
    api: Client, product: Wiring, two_lots: City, operator: Owner, receiver: Receiver
) -> None:  # fmt: skip
    made = operator.ask("POST", body={"url": receiver.url}, status=201)
    for stranger in (bearer(product, "operator", two_lots.theirs), bearer(product, "lot", two_lots.ours)):
        other = Owner(api, stranger)
        assert other.ask("GET") == []
        answers = [
            other.ask("GET", f"/{made['id']}", status=404),
            other.ask("PATCH", f"/{made['id']}", {"state": "paused"}, status=404),
            other.ask("DELETE", f"/{made['id']}", status=404),
            other.ask("POST", f"/{made['id']}/rotate", {}, status=404),
            other.ask("POST", f"/{made['id']}/replay", {"parked": True}, status=404),
            other.ask("GET", f"/{made['id']}/deliveries", status=404),
            other.ask("GET", f"/{made['id']}/deliveries/1", status=404),
        ]
        assert {answer["code"] for answer in answers} == {"webhook_not_found"}
    assert operator.ask("GET", f"/{made['id']}")["state"] == "active"


def test_a_lots_client_manages_its_lots_and_the_operator_sees_them(
    api: Client, product: Wiring, two_lots: City, operator: Owner, receiver: Receiver
) -> None:
    lot = Owner(api, bearer(product, "lot", two_lots.ours))
    made = lot.ask("POST", body={"url": receiver.url}, status=201)
    assert (made["lot"], lot.ask("GET")) == ("lot-1", operator.ask("GET"))
    assert operator.ask("POST", body={"url": receiver.url, "lot": "lot-2"}, status=404)["code"] == "lot_not_found"
    assert operator.ask("POST", body={"url": receiver.url, "lot": "lot-1"}, status=409)["code"] == "webhook_taken"


@pytest.mark.parametrize("scope", ["city", "district"])
def test_supervisors_have_no_webhooks(scope: Any, api: Client, product: Wiring, two_lots: City) -> None:
    supervisor = Owner(api, bearer(product, scope, two_lots.ours))
    assert supervisor.ask("GET", status=403)["code"] == "read_only"
    assert supervisor.ask("POST", body={"url": "https://lot.example/"}, status=403)["code"] == "read_only"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"url": "https://10.0.0.1/"}, 422, "webhook_url_refused"),
        ({"url": "http://169.254.169.254/latest"}, 422, "webhook_url_refused"),
        ({"url": "https://no-such-host.invalid/"}, 422, "webhook_url_refused"),
        ({"url": "ftp://127.0.0.1/"}, 422, "webhook_url_refused"),
        ({"url": "http://127.0.0.1/", "kinds": ["payment.stolen"]}, 422, "webhook_kinds_refused"),
        ({"url": "http://127.0.0.1/", "kinds": []}, 422, "malformed"),
        ({"url": "http://127.0.0.1/", "kind": "*"}, 422, "malformed"),
        ({}, 422, "malformed"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(operator: Owner, body: object, status: int, code: str) -> None:
    assert operator.ask("POST", body=body, status=status)["code"] == code
    assert operator.ask("GET") == []


def test_an_address_is_checked_when_it_is_changed_too(operator: Owner, receiver: Receiver) -> None:
    made = operator.ask("POST", body={"url": receiver.url}, status=201)
    refused = operator.ask("PATCH", f"/{made['id']}", {"url": "http://[::1]/"}, status=422)
    assert refused["code"] == "webhook_url_refused"
    assert operator.ask("PATCH", f"/{made['id']}", {"url": receiver.url + "/2"})["url"] == receiver.url + "/2"


def test_a_disabled_webhook_shows_why_and_is_switched_on_and_replayed(
    operator: Owner, receiver: Receiver, product: Wiring, two_lots: City
) -> None:
    made = operator.ask("POST", body={"url": receiver.url}, status=201)
    receiver.answer = lambda _: Says(410)
    event_id = event(product, two_lots.ours)
    delivery.run_due(product.post())
    found = operator.ask("GET", f"/{made['id']}")
    assert (found["state"], found["reason"], found["parked"]) == ("disabled", "the address answered 410 Gone", 1)
    assert operator.ask("PATCH", f"/{made['id']}", {"state": "paused"}, status=409)["code"] == "webhook_disabled"
    assert operator.ask("PATCH", f"/{made['id']}", {"state": "active"})["state"] == "active"
    receiver.answer = lambda _: Says()
    assert operator.ask("POST", f"/{made['id']}/replay", {"parked": True}, status=202) == {"events": 1, "next": None}
    assert operator.ask("POST", f"/{made['id']}/replay", {}, status=422)["code"] == "replay_refused"
    assert operator.ask("POST", f"/{made['id']}/replay", {"from": "2026-03-02T12:00:00+08:00"}, status=202)["events"] == 1
    assert operator.ask("POST", f"/{made['id']}/replay", {"from": "2026-03-02T12:00:00"}, status=422)["code"] == "malformed"
    delivery.run_due(product.post())
    assert [got.event_id for got in receiver.got] == [event_id] * 3


def test_a_secret_is_rotated(operator: Owner, receiver: Receiver, product: Wiring, two_lots: City) -> None:
    made = operator.ask("POST", body={"url": receiver.url}, status=201)
    new = operator.ask("POST", f"/{made['id']}/rotate", {"overlap_hours": 0})
    assert new["secret"] != made["secret"]
    assert new["overlap_until"] is None
    assert operator.ask("POST", f"/{made['id']}/rotate")["overlap_until"] == "2026-03-03T04:00:00Z"
    assert operator.ask("POST", f"/{made['id']}/rotate", {"overlap_hours": 169}, status=422)["code"] == "malformed"


def test_an_ended_webhook_stays_ended(operator: Owner, receiver: Receiver) -> None:
    made = operator.ask("POST", body={"url": receiver.url}, status=201)
    assert operator.ask("DELETE", f"/{made['id']}")["state"] == "ended"
    assert operator.ask("DELETE", f"/{made['id']}")["state"] == "ended"
    assert operator.ask("PATCH", f"/{made['id']}", {"state": "active"}, status=409)["code"] == "webhook_ended"
    assert operator.ask("GET") == []
    assert [one["id"] for one in operator.ask("GET", "?ended=true")] == [made["id"]]
    assert operator.ask("POST", body={"url": receiver.url}, status=201)["id"] != made["id"]


def test_the_worker_pushes_within_its_process(
    operator: Owner, receiver: Receiver, product: Wiring, two_lots: City
) -> None:  # fmt: skip
    made = operator.ask("POST", body={"url": receiver.url}, status=201)
    product = msgspec.structs.replace(product, clock=SystemClock())
    stop = threading.Event()
    pushing = threading.Thread(target=push_until, args=(product, stop))
    pushing.start()
    try:
        event(product, two_lots.ours)
        for _ in range(1000):
            if receiver.got:
                break
            time.sleep(0.01)
    finally:
        stop.set()
        pushing.join()
    [got] = receiver.got
    assert Verifier(made["secret"]).verify(got.body, got.headers)["data"]["lot_code"] == "lot-1"
    with product.db.connect() as tx:
        assert [one for one in violations(tx) if one.invariant == "I13"] == []


@pytest.fixture
def said(product: Wiring, two_lots: City) -> Callable[..., str]:
    def say(*words: str) -> str:
        parser = argparse.ArgumentParser()
        webhooks_cli.arguments(parser)
        return webhooks_cli.run(product, parser.parse_args(words))

    return say


def test_a_person_enters_lists_replays_and_ends_a_webhook(
    said: Callable[..., str], receiver: Receiver, product: Wiring, two_lots: City
) -> None:
    assert said("list") == "There is no webhook."
    line, secret = said("add", "op-1", receiver.url, "--lot", "lot-1", "--kinds", "payment.*").splitlines()
    webhook_id = line.split()[0]
    assert "op-1/lot-1  active" in line
    assert secret.startswith("secret, shown this once: whsec_")
    assert said("list", "--operator", "op-1") == line
    assert said("list", "--operator", "op-2") == "There is no webhook."
    receiver.answer = lambda _: Says(410)
    event_id = event(product, two_lots.ours)
    delivery.run_due(product.post())
    assert "disabled (the address answered 410 Gone)" in said("list")
    assert "  active  " in said("enable", webhook_id)
    receiver.answer = lambda _: Says()
    assert said("replay", webhook_id, "--parked") == f"1 events are in line again for webhook {webhook_id}"
    assert said("replay", webhook_id, "--from", "2026-03-01T00:00:00").startswith("0 events")
    assert said("replay", webhook_id, "--from", "2026-03-01T00:00:00", "--until", "2026-03-03T00:00:00").startswith("1 events")
    assert said("replay", webhook_id, "--event", event_id).startswith("1 events")
    delivery.run_due(product.post())
    assert [got.event_id for got in receiver.got] == [event_id] * 4
    assert "  ended  " in said("end", webhook_id)
    assert webhook_id in said("list", "--ended")


def test_a_person_is_told_what_is_wrong(said: Callable[..., str], receiver: Receiver) -> None:
    with pytest.raises(Refused, match="not a lot of"):
        said("add", "op-1", receiver.url, "--lot", "lot-2")
    with pytest.raises(Refused, match="not a public address"):
        said("add", "op-1", "https://192.168.0.1/")
    with pytest.raises(NotFound):
        said("end", "00000000-0000-7000-8000-000000000000")


def test_networks_that_are_none_are_refused_in_the_settings(product: Wiring) -> None:
    with pytest.raises(SettingsError, match="webhook_allowed_networks"):
        changed(product.settings, webhook_allowed_networks="127.0.0.1/8")
