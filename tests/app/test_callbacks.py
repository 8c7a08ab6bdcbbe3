"""Notices over real HTTP: whatever arrives, the books are right, the answer is the channel's exact one, and the message is kept."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from granian.constants import Interfaces
from granian.server.embed import Server
from sqlalchemy import Engine, text

from app.callbacks import exchange
from app.callbacks.committer import Committer, Waiting
from app.callbacks.doors import Doors
from app.callbacks.gate import Bucket, Gate, Limits
from app.callbacks.serve import gate
from app.keys import SANDBOX_PUBLIC_KEY_ID, sandbox_keys_dir
from app.wiring import Wiring
from gateways.contract import Answer, Reading
from gateways.sandbox.wechat.signing import PaidOrder, Signer, answer_headers, signed_callback
from ledger.db import engine
from payments import results
from payments.decisions import Finding
from payments.invariants import check
from payments.lots import Lot
from payments.results import Notice, Outcome
from tests.payments.conftest import (
    AT,
    IDS,
    PROVIDER,
    Books,
    Due,
    books,
    make_attempt,
    make_charge,
    make_city,
    payment_state,
)
from tests.ports import free_port as free_port

CLEARING, INCOME, SUSPENSE = 101201, 600101, 224101
SUCCESS = '{"code":"SUCCESS","message":"成功"}'.encode()
BOOKED = Books([(CLEARING, INCOME, 1200)], ["settled"], [], ["payment.succeeded"], 1)
NOTHING = Books([], [], [], [], 1)
CUT_ALL = """
select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()
"""


@contextmanager
def served(app: Any, port: int | None = None) -> Iterator[str]:
    """Serve an application in a thread, on a port of its own unless one is given; yields its address."""
    port = free_port() if port is None else port
    server: Any = None
    loop = asyncio.new_event_loop()

    async def run() -> None:
        nonlocal server
        server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
        await server.serve()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        thread = threading.Thread(target=runner.run, args=(run(),), daemon=True)
        thread.start()
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            loop.call_soon_threadsafe(server.stop)
            thread.join(20)


@contextmanager
def opened(gate: Gate) -> Iterator[int]:
    """Open a gate's doors in a thread; yields their port. When the block ends they are closed as the process closes them."""
    doors, port = Doors(gate), free_port()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(doors.open("127.0.0.1", port), loop).result(5)
        try:
            yield port
        finally:
            asyncio.run_coroutine_threadsafe(doors.close(), loop).result(20)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)


class Channel:
    """The channel's side: sends genuine notices, and others."""

    def __init__(self, product: Wiring, url: str) -> None:
        self.product, self.url = product, url
        key = sandbox_keys_dir(product.settings) / f"{SANDBOX_PUBLIC_KEY_ID}.pem"
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
        assert isinstance(private, rsa.RSAPrivateKey)
        self.signer = Signer(serial=SANDBOX_PUBLIC_KEY_ID, key=private)
        self.api_key = (product.settings.keys_dir / "wechat" / "apiv3.key").read_bytes().strip()

    def notice(self, due: Due, *, at: datetime = AT, copy: int = 0, **other: Any) -> tuple[dict[str, str], bytes]:
        said: dict[str, Any] = {
            "order_no": due.order_no, "trade_no": f"42{due.attempt.payment_id.int % 10**26:026d}", "provider_no": PROVIDER,
            "merchant_no": due.attempt.merchant_no, "amount_fen": due.attempt.amount_fen, "paid_at": AT,
        } | other  # fmt: skip
        return signed_callback(self.signer, PaidOrder(**said), api_key=self.api_key, at=at, copy=copy)

    def send(self, headers: dict[str, str], body: bytes, **other: Any) -> httpx.Response:
        with httpx.Client(trust_env=False) as client:
            return client.post(self.url, headers=headers, content=body, **other)

    def signed(self, body: bytes, *, at: datetime = AT) -> tuple[dict[str, str], bytes]:
        return answer_headers(self.signer, body=body, at=at, nonce="n" * 32), body


@pytest.fixture
def lot(product: Wiring) -> Lot:
    with product.db.begin() as tx:
        return make_city(tx)


@pytest.fixture
def channel(product: Wiring) -> Iterator[Channel]:
    with opened(gate(product)) as port:
        yield Channel(product, f"http://127.0.0.1:{port}/callbacks/wechat")


@pytest.fixture
def due(product: Wiring, lot: Lot) -> Due:
    with product.db.begin() as tx:
        return make_attempt(tx, lot, make_charge(tx, lot, "S1"))


def kept(db: Engine, count: int) -> Books:
    """The books, once so many messages are kept: a refusal does not wait for its evidence."""
    for _ in range(200):
        if books(db).messages >= count:
            break
        time.sleep(0.02)
    return books(db)


def verdicts(db: Engine) -> list[tuple[str, str | None]]:
    with db.connect() as tx:
        rows = tx.execute(text("select verdict, reason from gateways.raw_message order by message_id"))
        return [(row.verdict, row.reason) for row in rows]


def sound(db: Engine) -> bool:
    with db.connect() as tx:
        return check(tx) == []


def test_a_genuine_notice_is_booked_and_acknowledged(product: Wiring, channel: Channel, due: Due) -> None:
    answer = channel.send(*channel.notice(due))
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, SUCCESS, "application/json")
    assert books(product.db) == BOOKED
    assert payment_state(product.db, due) == "succeeded"
    assert sound(product.db)


def test_the_message_is_kept_verbatim_with_what_verifies_it_again(product: Wiring, channel: Channel, due: Due) -> None:
    headers, body = channel.notice(due)
    channel.send(headers, body)
    with product.db.connect() as tx:
        row = tx.execute(text("select body, headers, subject, verdict, direction from gateways.raw_message")).one()
    assert (row.body, row.subject, row.verdict, row.direction) == (body, due.attempt.payment_id, "verified", "in")
    again = product.channels.find("wechat")
    reading = again.channel.parse_callback(msgspec.json.decode(row.headers), row.body, keys=again.keys, now=AT)
    assert reading.result is not None
    assert reading.result.order_no == due.order_no


def test_the_same_notice_again_is_acknowledged_and_posts_nothing(product: Wiring, channel: Channel, due: Due) -> None:
    for copy in range(3):
        answer = channel.send(*channel.notice(due, copy=copy))
        assert (answer.status_code, answer.content) == (200, SUCCESS)
    assert books(product.db) == msgspec.structs.replace(BOOKED, messages=3)
    assert sound(product.db)


def test_fifty_at_once_post_one_entry_and_are_all_acknowledged(product: Wiring, channel: Channel, due: Due) -> None:
    notices = [channel.notice(due, copy=copy) for copy in range(50)]

    async def all_at_once() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=30) as client:
            return await asyncio.gather(*(client.post(channel.url, headers=h, content=b) for h, b in notices))

    answers = asyncio.run(all_at_once())
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, SUCCESS)}
    assert books(product.db) == msgspec.structs.replace(BOOKED, messages=50)
    assert sound(product.db)


def test_identical_bytes_in_one_instant_of_a_standing_clock_are_all_kept(product: Wiring, channel: Channel, due: Due) -> None:
    notice = channel.notice(due)
    assert [channel.send(*notice).status_code for _ in range(3)] == [200, 200, 200]
    assert books(product.db) == msgspec.structs.replace(BOOKED, messages=3)


def test_a_notice_before_the_answer_to_the_order_is_booked(product: Wiring, channel: Channel, due: Due) -> None:
    assert payment_state(product.db, due) == "created"
    assert channel.send(*channel.notice(due)).status_code == 200
    with product.db.begin() as tx:
        pending = due.answer(state="pending", trade_no=None, amount_fen=None)
        [late] = results.apply(tx, lane=0, notices=[pending], at=AT, ids=IDS)
    assert late.finding is Finding.ALREADY
    assert payment_state(product.db, due) == "succeeded"


def test_a_notice_for_a_closed_order_is_booked(product: Wiring, channel: Channel, due: Due) -> None:
    with product.db.begin() as tx:
        results.apply(tx, lane=0, notices=[due.answer(state="closed")], at=AT, ids=IDS)
    assert channel.send(*channel.notice(due)).content == SUCCESS
    assert books(product.db) == msgspec.structs.replace(BOOKED, messages=2)


@pytest.mark.parametrize(
    ("other", "reason", "case"),
    [
        ({"amount_fen": 1199}, "notice_amount_differs", "notice_amount_differs"),
        ({"merchant_no": "1620000099"}, "merchant_differs", "merchant_differs"),
        ({"order_no": "P0" + "0" * 26}, "order_unknown", "order_unknown"),
        ({"order_no": "SOMEBODYELSE1"}, "order_unknown", "order_unknown"),
    ],
)
def test_a_genuine_notice_that_does_not_fit_is_refused_kept_and_made_a_case(
    product: Wiring, channel: Channel, due: Due, other: dict[str, Any], reason: str, case: str
) -> None:
    answer = channel.send(*channel.notice(due, **other))
    assert (answer.status_code, answer.json()) == (500, {"code": "FAIL", "message": reason})
    assert books(product.db) == Books([], [], [case], [], 1)
    assert verdicts(product.db) == [("verified", reason)]
    assert payment_state(product.db, due) == ("created" if case == "order_unknown" else "unknown")


def test_a_genuine_notice_for_another_provider_is_refused_and_kept(product: Wiring, channel: Channel, due: Due) -> None:
    answer = channel.send(*channel.notice(due, provider_no="1900000099"))
    assert (answer.status_code, answer.json()) == (500, {"code": "FAIL", "message": "other_provider"})
    assert kept(product.db, 1) == NOTHING
    assert [reason for _, reason in verdicts(product.db)] == ["other_provider"]


def _altered(part: str, value: str) -> Callable[[dict[str, str], bytes], tuple[dict[str, str], bytes]]:
    return lambda headers, body: (headers | {part: value}, body)


@pytest.mark.parametrize(
    ("alter", "status", "reason"),
    [
        (lambda h, b: (h, b.replace(b"EV-", b"EW-")), 401, "signature"),
        (_altered("wechatpay-signature", "AAAA"), 401, "signature"),
        (_altered("wechatpay-signature", "WECHATPAY/SIGNTEST/abcdef"), 401, "signature"),
        (_altered("wechatpay-nonce", "other"), 401, "signature"),
        (_altered("wechatpay-serial", "PUB_KEY_ID_9"), 401, "serial_unknown"),
        (_altered("wechatpay-timestamp", "0"), 401, "stale"),
        (lambda h, b: ({k: v for k, v in h.items() if k != "wechatpay-serial"}, b), 401, "header_missing"),
    ],
)
def test_what_is_not_the_channels_is_refused_and_kept(
    product: Wiring, channel: Channel, due: Due, alter: Any, status: int, reason: str
) -> None:  # fmt: skip
    answer = channel.send(*alter(*channel.notice(due)))
    assert (answer.status_code, answer.json()) == (status, {"code": "FAIL", "message": reason})
    assert kept(product.db, 1) == NOTHING
    assert verdicts(product.db) == [("refused", reason)]
    assert payment_state(product.db, due) == "created"


@pytest.mark.parametrize("seconds", [-300, 300, 86_400])
def test_a_notice_signed_five_minutes_off_is_refused_and_kept(product: Wiring, channel: Channel, due: Due, seconds: int) -> None:
    answer = channel.send(*channel.notice(due, at=AT + timedelta(seconds=seconds)))
    assert (answer.status_code, answer.json()["message"]) == (401, "stale")
    assert kept(product.db, 1) == NOTHING


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [(b"not json", 400, "not_json"), (b"", 400, "not_json"), (b"{}", 500, "field_missing"), (b"\xff\xfe", 400, "not_json")],
)
def test_a_genuine_signature_over_nonsense_is_refused_and_kept(
    product: Wiring, channel: Channel, due: Due, body: bytes, status: int, reason: str
) -> None:
    answer = channel.send(*channel.signed(body))
    assert (answer.status_code, answer.json()) == (status, {"code": "FAIL", "message": reason})
    assert kept(product.db, 1) == NOTHING
    assert verdicts(product.db) == [("unreadable", reason)]


def test_an_event_of_another_kind_is_kept_and_refused_so_that_it_comes_again(product: Wiring, channel: Channel, due: Due) -> None:
    _, body = channel.notice(due)
    body = body.replace(b"TRANSACTION.SUCCESS", b"COUPON.USE")
    answer = channel.send(*channel.signed(body))
    assert (answer.status_code, answer.json()) == (500, {"code": "FAIL", "message": "event_unknown"})
    assert kept(product.db, 1) == NOTHING
    assert verdicts(product.db) == [("verified", "event_unknown")]


def test_a_huge_body_is_refused_in_the_channels_form_before_it_is_read(product: Wiring, channel: Channel, due: Due) -> None:
    headers, _ = channel.notice(due)
    for content in (b"x" * 270_000, iter([b"x" * 140_000] * 2)):
        answer = channel.send(headers, content)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (413, "FAIL")
    assert books(product.db).messages == 0


def test_a_body_that_comes_in_parts_is_taken_whole(product: Wiring, channel: Channel, due: Due) -> None:
    headers, body = channel.notice(due)
    answer = channel.send(headers, iter([body[:100], body[100:101], body[101:]]))  # type: ignore[arg-type]
    assert answer.content == SUCCESS
    assert books(product.db) == BOOKED


def test_only_posts_to_a_known_channel_are_taken(product: Wiring, channel: Channel) -> None:
    with httpx.Client(trust_env=False) as client:
        assert client.get(channel.url).status_code == 405
        assert client.post(channel.url.replace("wechat", "nobody")).status_code == 404
        assert client.post(channel.url.replace("/callbacks/wechat", "/")).status_code == 404
    assert books(product.db).messages == 0


def test_a_query_string_and_a_slash_at_the_end_change_nothing(product: Wiring, channel: Channel, due: Due) -> None:
    channel.url += "/?from=proxy"
    assert channel.send(*channel.notice(due)).content == SUCCESS


def test_health_says_whether_the_database_answers(product: Wiring, channel: Channel) -> None:
    answer = httpx.get(channel.url.replace("/callbacks/wechat", "/health"), trust_env=False)
    assert (answer.status_code, answer.text) == (200, "ok\n")
    away = Gate(
        db=engine("postgresql+psycopg:///x?host=/nowhere"), lane=0, channels=product.channels, clock=product.clock, ids=IDS
    )  # fmt: skip
    with opened(away) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 503


# Connections, byte by byte.


class Wire:
    """A bare connection."""

    def __init__(self, channel: Channel) -> None:
        self.socket = socket.create_connection(("127.0.0.1", int(channel.url.split(":")[2].split("/")[0])), timeout=10)

    def read(self, answers: int) -> bytes:
        """Read until so many answers have come, or the other side has ended."""
        got = b""
        while got.count(b"HTTP/1.1 ") < answers or not got.endswith((b"}", b"\n")):
            part = self.socket.recv(65536)
            if not part:
                break
            got += part
        return got

    def ended(self) -> bool:
        """Tell whether the other side has ended; nothing can be done with the connection afterwards."""
        with self.socket, suppress(ConnectionError):
            return self.socket.recv(1) == b""
        return True


def on_the_wire(headers: dict[str, str], body: bytes, *more: str) -> bytes:
    lines = ["POST /callbacks/wechat HTTP/1.1", "host: x", f"content-length: {len(body)}", *more]
    return "\r\n".join(lines + [f"{name}: {value}" for name, value in headers.items()]).encode() + b"\r\n\r\n" + body


@pytest.fixture
def wire(channel: Channel) -> Iterator[Wire]:
    wire = Wire(channel)
    yield wire
    wire.socket.close()


def test_requests_sent_at_once_are_answered_in_their_order(product: Wiring, channel: Channel, due: Due, wire: Wire) -> None:
    bad = on_the_wire({}, b"not genuine")
    wire.socket.sendall(on_the_wire(*channel.notice(due)) + bad + on_the_wire(*channel.notice(due, copy=1)))
    statuses = [part[:3] for part in wire.read(3).split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"401", b"200"]
    assert kept(product.db, 3) == msgspec.structs.replace(BOOKED, messages=3)


def test_more_requests_than_may_wait_are_all_answered(product: Wiring, channel: Channel, due: Due, wire: Wire) -> None:
    wire.socket.sendall(b"".join([on_the_wire(*channel.notice(due, copy=copy)) for copy in range(60)]))
    assert wire.read(60).count(b"HTTP/1.1 200 OK") == 60


def test_a_request_byte_by_byte_is_taken(product: Wiring, channel: Channel, due: Due, wire: Wire) -> None:
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in on_the_wire(*channel.notice(due)):
        wire.socket.send(bytes([byte]))
    assert SUCCESS in wire.read(1)
    assert books(product.db) == BOOKED


def test_the_connection_is_closed_when_the_sender_wants_it(channel: Channel, due: Due, wire: Wire) -> None:
    wire.socket.sendall(on_the_wire(*channel.notice(due), "connection: close"))
    assert b"\r\nconnection: close\r\n" in wire.read(1)
    assert wire.ended()


def test_a_sender_that_asks_first_is_told_to_go_on(channel: Channel, due: Due, wire: Wire) -> None:
    request = on_the_wire(*channel.notice(due), "expect: 100-continue")
    head, _, body = request.partition(b"\r\n\r\n")
    wire.socket.sendall(head + b"\r\n\r\n")
    assert wire.socket.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.socket.sendall(body)
    assert SUCCESS in wire.read(1)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello, is this a bank?\r\n\r\n", b"400"),
        (b"POST /callbacks/wechat HTTP/1.1\r\nx: " + b"y" * 20_000 + b"\r\n\r\n", b"431"),
        (b"POST /callbacks/wechat HTTP/1.1\r\nx: " + b"y" * 400_000, b"431"),
        (b"POST /callbacks/wechat HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"y" * 3_000_000, b"413"),
        (b"POST /" + b"y" * 20_000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"POST /callbacks/wechat HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n", b"413"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_the_connection_ends(wire: Wire, sent: bytes, status: bytes) -> None:
    wire.socket.sendall(sent)
    answer = wire.read(1)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nconnection: close\r\n" in answer
    assert wire.ended()


def test_a_sender_that_stops_in_the_middle_is_cut_off(
    product: Wiring, channel: Channel, due: Due, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(exchange, "REQUEST_SWEEPS_MAX", 0)
    wire.socket.sendall(on_the_wire(*channel.notice(due))[:-1])
    assert wire.ended()
    assert books(product.db).messages == 0


def test_a_silent_connection_is_closed_in_the_end(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "IDLE_SWEEPS_MAX", 0)
    assert wire.ended()


def test_a_sender_that_is_gone_before_its_answer_harms_nobody(product: Wiring, channel: Channel, due: Due, wire: Wire) -> None:
    wire.socket.sendall(on_the_wire(*channel.notice(due)))
    wire.socket.close()
    assert kept(product.db, 1) == BOOKED
    assert channel.send(*channel.notice(due, copy=1)).content == SUCCESS


def test_connections_beyond_the_limit_are_turned_away(channel: Channel, due: Due, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "CONNECTIONS_MAX", 1)
    first = Wire(channel)
    with first.socket:
        first.socket.sendall(on_the_wire({}, b""))
        assert first.read(1).startswith(b"HTTP/1.1 401")
        assert Wire(channel).ended()


def test_closing_the_doors_answers_what_was_read_and_waits_for_what_is_half_read(product: Wiring, lot: Lot, due: Due) -> None:
    sender = Channel(product, "")
    with ExitStack() as closing:
        port = closing.enter_context(opened(gate(product)))
        sender.url = f"http://127.0.0.1:{port}/callbacks/wechat"
        idle, half = Wire(sender), Wire(sender)
        idle.socket.sendall(on_the_wire({}, b""))
        idle.read(1)
        request = on_the_wire(*sender.notice(due))
        half.socket.sendall(request[:-10])
        time.sleep(0.1)
        finishing = threading.Timer(0.3, half.socket.sendall, [request[-10:]])
        finishing.start()
        closing.close()
        finishing.join()
        assert SUCCESS in half.read(1)
        assert half.ended()
        assert idle.ended()
    assert len(books(product.db).entries) == 1
    with pytest.raises(ConnectionError):
        Wire(sender)


# The committer by itself.


def waiting(product: Wiring, notice: Notice) -> Waiting:
    return Waiting((notice,), product.channels.find("wechat"), Reading("verified"))


@pytest.fixture
def committer(product: Wiring) -> Committer:
    return Committer(db=product.db, lane=0, clock=product.clock, ids=IDS)


def statuses(group: list[Waiting]) -> list[int]:
    return [one.answer.status for one in group if one.answer is not None]


def test_a_poisoned_notice_does_not_fail_its_neighbours(product: Wiring, lot: Lot, committer: Committer) -> None:
    with product.db.begin() as tx:
        dues = [make_attempt(tx, lot, make_charge(tx, lot, f"S{n}")) for n in range(7)]
    notices = [one.callback() for one in dues]
    poisoned = msgspec.structs.replace(notices[4], result=dues[4].result(trade_no="42\0"))
    group = [waiting(product, one) for one in [*notices[:4], poisoned, *notices[5:]]]
    committer.commit(group)
    assert statuses(group) == [200, 200, 200, 200, 500, 200, 200]
    assert len(books(product.db).entries) == 6
    assert ("verified", "not_applied") in verdicts(product.db)
    assert committer.counts.failed == 1
    assert sound(product.db)


def test_a_message_that_cannot_even_be_kept_is_refused(product: Wiring, lot: Lot, committer: Committer, due: Due) -> None:
    notice = due.callback()
    group = [waiting(product, notice), waiting(product, notice)]
    committer.commit(group)
    assert statuses(group) == [200, 500]
    assert books(product.db) == BOOKED


def test_without_a_database_all_are_told_to_come_again(product: Wiring, lot: Lot, due: Due, committer: Committer) -> None:
    def gone(*_: object, **__: object) -> list[Outcome]:
        raise psycopg.OperationalError("the server is away")

    real, results.apply = results.apply, gone
    try:
        group = [waiting(product, due.callback()) for _ in range(3)]
        committer.commit(group)
    finally:
        results.apply = real
    assert statuses(group) == [500, 500, 500]
    assert books(product.db).messages == 0


def test_a_payment_that_somebody_holds_does_not_stop_its_neighbours(
    product: Wiring, lot: Lot, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("ledger.db.LOCK_MS_MAX", 50)
    impatient = engine(str(product.settings.database_url), by_key=True)
    with product.db.begin() as tx:
        dues = [make_attempt(tx, lot, make_charge(tx, lot, f"S{n}")) for n in range(4)]
    group = [waiting(product, one.callback()) for one in dues]
    with product.db.begin() as holder:
        holder.execute(text("select 1 from payments.payment where payment_id = :id for update"), {"id": dues[2].attempt.payment_id})
        Committer(db=impatient, lane=0, clock=product.clock, ids=IDS).commit(group)
    assert statuses(group) == [200, 200, 500, 200]
    assert ("verified", "not_applied") in verdicts(product.db)
    Committer(db=impatient, lane=0, clock=product.clock, ids=IDS).commit(again := [waiting(product, dues[2].callback())])
    assert statuses(again) == [200]
    impatient.dispose()


def test_after_the_database_was_away_the_next_group_is_taken(product: Wiring, lot: Lot, due: Due, committer: Committer) -> None:
    committer.commit(first := [waiting(product, due.callback())])
    admin = engine(str(product.settings.database_url), role=None)
    with admin.begin() as tx:
        tx.execute(text(CUT_ALL))
    admin.dispose()
    committer.commit(cut := [waiting(product, due.callback())])
    committer.commit(then := [waiting(product, due.callback())])
    assert statuses(first + cut + then) == [200, 500, 200]


def test_a_group_is_never_larger_than_it_may_be(product: Wiring, lot: Lot, due: Due) -> None:
    small = Gate(
        db=product.db, lane=0, channels=product.channels, clock=product.clock, ids=IDS, limits=Limits(batch_max=3)
    )  # fmt: skip
    sender = Channel(product, "")
    told: list[Answer] = []

    async def all_at_once() -> None:
        for copy in range(8):
            small.take(product.channels.find("wechat"), *sender.notice(due, copy=copy), told.append)
        await asyncio.sleep(0)

    asyncio.run(all_at_once())
    assert [answer.status for answer in told] == [200] * 8
    assert (small.counts.batches, small.counts.largest, small.counts.committed) == (3, 3, 8)
    assert books(product.db) == msgspec.structs.replace(BOOKED, messages=8)


def test_a_flood_of_refused_messages_is_counted_and_not_kept(product: Wiring, lot: Lot) -> None:
    guarded = Gate(
        db=product.db, lane=0, channels=product.channels, clock=product.clock, ids=IDS, limits=Limits(refused_per_minute=3)
    )  # fmt: skip
    told: list[Answer] = []

    async def flood() -> None:
        for n in range(10):
            guarded.take(product.channels.find("wechat"), {}, b"%d" % n, told.append)
        await asyncio.sleep(0)

    asyncio.run(flood())
    assert {answer.status for answer in told} == {401}
    assert books(product.db).messages == 3
    assert (guarded.counts.refused_kept, guarded.counts.refused_not_kept) == (3, 7)


def test_a_bucket_fills_again_with_time() -> None:
    bucket = Bucket(60)
    assert sum(bucket.take(AT) for _ in range(100)) == 60
    assert sum(bucket.take(AT + timedelta(seconds=10)) for _ in range(100)) == 10
    assert sum(bucket.take(AT + timedelta(hours=1)) for _ in range(100)) == 60
