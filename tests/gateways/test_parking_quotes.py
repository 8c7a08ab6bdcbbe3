"""A lot's system is asked over real HTTP; whatever it does, the question ends in time and means a price or that it is away."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from gateways.parking.addresses import Guard, guard
from gateways.parking.quotes import ANSWER_BYTES_MAX, QUOTES_MAX, Answer, Network, question, read
from tests.payments.webhooks.receiver import Receiver, Says, receiving

AT = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
BODY = question(lot="lot-1", plate="苏B12345", plate_color="unknown", at=AT)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network(guard(["127.0.0.0/8"]))
    yield made
    made.close()


def quote(**other: object) -> dict[str, object]:
    return {
        "serial": "Q1", "stay_serial": "P1", "plate": "苏B12345", "entered_at": "2026-03-02T10:00:00+08:00", "minutes": 120,
        "amount_fen": 1200, "tariff_text": "每小时6元", "valid_until": "2026-03-02T12:15:00+08:00",
    } | other  # fmt: skip


def answer(*quotes: dict[str, object], status: int = 200) -> Says:
    return Says(status, {"content-type": "application/json"}, msgspec.json.encode({"quotes": quotes}))


def ask(network: Network, url: str, *, seconds: float = 5.0) -> Answer:
    return network.ask(url, headers={"content-type": "application/json", "webhook-id": "1"}, body=BODY, seconds=seconds)


def test_a_question_names_lot_plate_colour_and_time_and_nothing_else() -> None:
    assert msgspec.json.decode(BODY) == {
        "type": "quote.asked",
        "data": {"lot": "lot-1", "plate": "苏B12345", "plate_color": "unknown", "at": "2026-03-02T04:00:00Z"},
    }


def test_a_well_formed_answer_is_read_whole(network: Network, receiver: Receiver) -> None:
    receiver.answer = lambda _: answer(quote(), quote(serial="Q2", stay_serial="P2", scene="hospital"))
    heard = read(ask(network, receiver.url), secure=True)
    assert heard.quotes is not None
    assert (heard.verdict, [one.serial for one in heard.quotes]) == ("verified", ["Q1", "Q2"])
    assert receiver.got[0].body == BODY


def test_an_answer_without_encryption_proves_nothing(network: Network, receiver: Receiver) -> None:
    receiver.answer = lambda _: answer()
    heard = read(ask(network, receiver.url), secure=False)
    assert (heard.verdict, heard.quotes) == ("unverified", ())


def test_nothing_due_is_an_answer(network: Network, receiver: Receiver) -> None:
    receiver.answer = lambda _: answer()
    assert read(ask(network, receiver.url), secure=True).quotes == ()


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 400, 404, 500, 503])
def test_every_other_status_means_that_the_lot_is_away(network: Network, receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _: Says(status, {"location": receiver.url}, b"")
    heard = read(ask(network, receiver.url), secure=True)
    assert (heard.verdict, heard.reason, heard.quotes) == ("refused", "status", None)
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", b"<html>busy</html>", b'{"quotes": null}', b'{"quotes": [{}]}', b"\xff\xfe", b"[" * 60_000,
        b'{"quotes": [{"serial": 1}]}', msgspec.json.encode({"quotes": [quote(amount_fen="12.00")]}),
        msgspec.json.encode({"quotes": [quote(amount_fen=12.5)]}),
        msgspec.json.encode({"quotes": [quote(valid_until="2026-03-02T12:15:00")]}),
        msgspec.json.encode({"quotes": [quote(serial=f"Q{number}") for number in range(QUOTES_MAX + 1)]}),
    ],
)  # fmt: skip
def test_garbage_means_that_the_lot_is_away(network: Network, receiver: Receiver, body: bytes) -> None:
    receiver.answer = lambda _: Says(200, {}, body)
    heard = read(ask(network, receiver.url), secure=True)
    assert (heard.verdict, heard.reason, heard.quotes) == ("unreadable", "malformed", None)


def test_fields_that_a_later_lot_adds_do_no_harm(network: Network, receiver: Receiver) -> None:
    receiver.answer = lambda _: answer(quote(discount="none"))
    found = read(ask(network, receiver.url), secure=True).quotes
    assert found is not None
    assert found[0].amount_fen == 1200


def test_an_answer_that_is_too_long_is_no_answer_and_its_beginning_is_kept(network: Network, receiver: Receiver) -> None:
    receiver.answer = lambda _: Says(200, {}, b" " * 1024, times=ANSWER_BYTES_MAX // 1024 + 1)
    came = ask(network, receiver.url)
    assert (came.failure, len(came.body)) == ("too_large", ANSWER_BYTES_MAX)
    assert read(came, secure=True).quotes is None


def test_a_lot_that_takes_too_long_is_away(network: Network, receiver: Receiver) -> None:
    receiver.answer = lambda _: Says(200, after_seconds=1.5)
    heard = read(ask(network, receiver.url, seconds=0.2), secure=True)
    assert (heard.verdict, heard.reason) == ("unanswered", "timeout")


def test_a_lot_that_trickles_is_cut_off_at_the_same_moment(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def trickle() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                    for _ in range(100):
                        connection.sendall(b" ")
                        time.sleep(0.05)
                except OSError:
                    ended.set()

        thread = threading.Thread(target=trickle)
        thread.start()
        came = ask(network, f"http://127.0.0.1:{listening.getsockname()[1]}/", seconds=0.5)
        thread.join(10)
    assert (came.status, came.failure) == (None, "timeout")
    assert ended.is_set()


def test_a_lot_that_is_down_is_away(network: Network, receiver: Receiver) -> None:
    url = receiver.url.replace(str(receiver.port), "1")
    heard = read(ask(network, url), secure=True)
    assert (heard.verdict, heard.reason) == ("unanswered", "connect")


def test_an_internal_address_is_never_asked(receiver: Receiver) -> None:
    strict = Network(Guard())
    try:
        came = ask(strict, receiver.url)
    finally:
        strict.close()
    assert (came.failure, receiver.got) == ("address_refused", [])


def test_many_ask_at_once_and_each_gets_its_own_answer(network: Network, receiver: Receiver) -> None:
    receiver.answer = lambda got: answer(quote(serial=got.headers["webhook-id"]))
    found: dict[int, Any] = {}

    def one(number: int) -> None:
        came = network.ask(receiver.url, headers={"webhook-id": f"Q{number}"}, body=BODY, seconds=5.0)
        found[number] = read(came, secure=True).quotes

    run_all([lambda number=number: one(number) for number in range(8)])  # type: ignore[misc]
    assert {number: quotes[0].serial for number, quotes in found.items()} == {number: f"Q{number}" for number in range(8)}


def test_a_network_that_was_closed_begins_again(network: Network, receiver: Receiver) -> None:
    receiver.answer = lambda _: answer()
    ask(network, receiver.url)
    network.close()
    assert ask(network, receiver.url).status == 200


def run_all(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
