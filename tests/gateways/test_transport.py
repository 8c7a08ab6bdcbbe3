"""The way out never raises: whatever the other side does is an answer or a reason."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gateways.contract import Answer, Request, Unanswered
from gateways.transport import HttpTransport
from tests.gateways.conftest import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Name: Value\r\n\r\nok"


def whole(connection: socket.socket) -> bytes:
    """The request with its body; a TLS greeting is returned as it comes."""
    got = connection.recv(65_536)
    while got.startswith(b"POST") and not got.endswith(b"body"):
        got += connection.recv(65_536)
    return got


@contextlib.contextmanager
def peer(*answers: bytes | Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A listener that gives the next answer to each connection, and what it received."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        received.append(whole(connection))
                        if isinstance(answer, bytes):
                            connection.sendall(answer)
                        else:
                            answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", received
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def sent(transport: HttpTransport, url: str, **more: int) -> Answer | Unanswered:
    return transport.send(Request(method="POST", url=f"{url}/v3/x?a=%E8%8B%8FB", headers={"accept": "a/b"}, body=b"body"), **more)


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    with HttpTransport(timeout_seconds=0.3) as opened:
        yield opened


def test_the_request_goes_out_byte_for_byte_and_asks_for_no_compression(transport: HttpTransport) -> None:
    with peer(OK) as (url, received):
        answer = sent(transport, url)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, answer.headers["x-name"]) == (200, b"ok", "Value")
    head, _, body = received[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v3/x?a=%E8%8B%8FB HTTP/1.1\r\n")
    assert b"accept-encoding: identity" in head.lower()
    assert body == b"body"


def test_an_error_answer_is_an_answer_and_a_redirect_is_not_followed(transport: HttpTransport) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with peer(moved) as (url, _):
        answer = sent(transport, url)
    assert isinstance(answer, Answer)
    assert answer.status == 302


def silent(connection: socket.socket) -> None:
    time.sleep(0.8)


def trickle(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(12):
        connection.sendall(b".")
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (silent, "timeout"),
        (trickle, "timeout"),
        (b"", "broken"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "broken"),
        (b"what is this\r\n\r\n", "broken"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000, "too_large"),
    ],
)
def test_each_trouble_of_the_other_side_is_a_reason(
    transport: HttpTransport, answer: bytes | Callable[[socket.socket], None], reason: str
) -> None:
    with peer(answer) as (url, _):
        got = sent(transport, url)
    assert isinstance(got, Unanswered)
    assert got.reason == reason


def test_a_larger_answer_is_taken_when_it_is_asked_for(transport: HttpTransport) -> None:
    with peer(b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000) as (url, _):
        answer = sent(transport, url, bytes_max=70_000)
    assert isinstance(answer, Answer)
    assert len(answer.body) == 70_000


def test_a_file_is_handed_on_as_it_comes_and_is_never_held_whole(transport: HttpTransport) -> None:
    parts: list[bytes] = []
    with peer(b"HTTP/1.1 200 OK\r\nContent-Length: 700000\r\n\r\n" + b"x" * 700_000) as (url, _):
        answer = transport.fetch(Request(method="GET", url=url, headers={}), write=parts.append, bytes_max=700_000)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, sum(map(len, parts))) == (200, b"", 700_000)
    assert max(map(len, parts)) < 700_000


def test_a_file_that_breaks_off_is_no_answer_and_is_not_asked_for_elsewhere() -> None:
    parts: list[bytes] = []
    broken = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
    with (
        peer(broken) as (url, _),
        peer(OK) as (other, received),
        HttpTransport(timeout_seconds=0.3, fallbacks={url: other}) as transport,
    ):
        answer = transport.fetch(Request(method="GET", url=url, headers={}), write=parts.append, bytes_max=100)
    assert isinstance(answer, Unanswered)
    assert (answer.reason, b"".join(parts), received) == ("broken", b"half", [])


@pytest.mark.parametrize(
    ("url", "reason"), [("http://127.0.0.1:{port}", "connect"), ("http://no-such-host.invalid", "dns"), ("gopher://x", "broken")]
)
def test_a_peer_that_cannot_be_reached_is_a_reason(transport: HttpTransport, url: str, reason: str) -> None:
    got = sent(transport, url.format(port=free_port()))
    assert isinstance(got, Unanswered)
    assert got.reason == reason


def test_a_peer_without_tls_is_a_reason(transport: HttpTransport) -> None:
    with peer(OK) as (url, _):
        got = sent(transport, url.replace("http:", "https:"))
    assert isinstance(got, Unanswered)
    assert got.reason == "tls"


def test_the_other_host_is_tried_when_the_request_was_certainly_not_sent() -> None:
    with peer(OK) as (url, received):
        dead = f"http://127.0.0.1:{free_port()}"
        with HttpTransport(timeout_seconds=1, fallbacks={dead: url}) as transport:
            assert isinstance(sent(transport, dead), Answer)
    assert len(received) == 1


def test_the_other_host_is_not_tried_after_a_time_out() -> None:
    with peer(silent) as (slow, _), peer(OK) as (url, received):
        with HttpTransport(timeout_seconds=0.3, fallbacks={slow: url}) as transport:
            assert isinstance(sent(transport, slow), Unanswered)
    assert received == []


def test_the_machines_proxy_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with peer(OK) as (url, _), HttpTransport(timeout_seconds=1) as transport:
        assert isinstance(sent(transport, url), Answer)
