"""Messages to lots' systems go to public addresses, or allowed ones, and nowhere else, whatever names and answers say."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest

from gateways.parking.addresses import AddressRefused, Guard, NameUnknown, guard
from gateways.parking.sender import ANSWER_BYTES_MAX, Reply, Sender
from tests.payments.webhooks.receiver import Got, Receiver, Says, receiving

HERE = guard(["127.0.0.0/8"])
NOWHERE = Guard()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A name service of the test's own, for names that it knows; the machine's for all others."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: object, **more: object) -> object:
        if host not in known:
            return real(host, port, *rest, **more)  # type: ignore[arg-type]
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def sent(url: str, *, by: Guard = HERE, seconds: float = 5.0, trusted: ssl.SSLContext | None = None) -> Reply:
    async def post() -> Reply:
        async with Sender(by, timeout_seconds=seconds, trusted=trusted) as sender:
            return await sender.post(url, headers={"webhook-id": "1"}, body=b"{}")

    return asyncio.run(post())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1",
        "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fec0::1]",
        "[ff0e::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:a9fe:a9fe]", "[::7f00:1]", "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2002:a00:1::1]", "[2001::1]", "[2001:db8::1]", "[100::1]",
    ],
)  # fmt: skip
def test_an_internal_address_is_refused_in_every_form(host: str) -> None:
    with pytest.raises(AddressRefused, match="not a public address"):
        NOWHERE.examine(f"https://{host}/hook")


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "017700000001", "0x7f.0x0.0x0.0x1", "127.0.1"]
)
def test_a_number_that_is_not_four_decimals_is_refused_though_resolvers_would_read_it(host: str) -> None:
    with pytest.raises(AddressRefused):
        NOWHERE.examine(f"https://{host}/hook")
    with pytest.raises(AddressRefused):
        HERE.examine(f"http://{host}/hook")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/", "example.com", "", "https://",
        "https://user:secret@example.com/", "https://example.com/#part", "https://[fe80::1%25eth0]/", "https://exa mple.com/",
        "https://example.com\\@127.0.0.1/", "https://пример.рф/", "https://example.com/" + "a" * 2000, "https://example.com:99999/",
        "https://exam\nple.com/",
    ],
)  # fmt: skip
def test_what_is_not_a_plain_address_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        NOWHERE.examine(url)


def test_a_public_address_needs_https(names: dict[str, list[str]]) -> None:
    names["lot.example"] = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]
    NOWHERE.examine("https://lot.example/hook")
    with pytest.raises(AddressRefused, match="https is needed"):
        NOWHERE.examine("http://lot.example/hook")


def test_a_name_that_also_leads_inside_is_refused(names: dict[str, list[str]]) -> None:
    names["lot.example"] = ["93.184.216.34", "10.0.0.7"]
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.7"):
        NOWHERE.examine("https://lot.example/hook")


def test_a_name_that_leads_nowhere_is_said_so() -> None:
    with pytest.raises(NameUnknown, match="no-such-host"):
        NOWHERE.examine("https://no-such-host.invalid/hook")


def test_an_allowed_network_may_be_called_also_without_encryption(receiver: Receiver) -> None:
    HERE.examine(receiver.url)
    assert sent(receiver.url) == Reply(204, None, "")
    assert [(got.path, got.body) for got in receiver.got] == [("/hook", b"{}")]


def test_the_same_address_in_an_ipv6_form_is_not_the_allowed_one(receiver: Receiver) -> None:
    reply = sent(f"http://[::ffff:127.0.0.1]:{receiver.port}/hook")
    assert (reply.status, reply.failure, receiver.got) == (None, "address_refused", [])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"])
def test_nothing_is_sent_inside_even_when_the_address_was_entered_before(host: str, receiver: Receiver) -> None:
    reply = sent(f"http://{host}:{receiver.port}/hook", by=NOWHERE)
    assert (reply.status, reply.failure, receiver.got) == (None, "address_refused", [])


def test_a_name_that_leads_inside_after_it_was_entered_leads_nowhere(names: dict[str, list[str]], receiver: Receiver) -> None:
    names["lot.example"] = ["93.184.216.34"]
    NOWHERE.examine(f"https://lot.example:{receiver.port}/hook")
    names["lot.example"] = ["127.0.0.1"]
    reply = sent(f"https://lot.example:{receiver.port}/hook", by=NOWHERE)
    assert (reply.failure, receiver.got) == ("address_refused", [])


def test_a_name_is_looked_up_once_per_connection_and_the_connection_goes_to_what_was_checked(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    answers = iter(["127.0.0.1", "10.0.0.1"])
    asked: list[str] = []

    def look_up(host: str, port: int, *rest: object, **more: object) -> object:
        if host != "lot.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert sent(f"http://lot.example:{receiver.port}/hook").status == 204
    assert asked == ["lot.example"]
    assert receiver.got[0].headers["host"] == f"lot.example:{receiver.port}"


def test_a_redirect_is_an_answer_and_is_not_followed(receiver: Receiver) -> None:
    with receiving() as other:
        receiver.answer = lambda _: Says(307, {"location": other.url})
        assert sent(receiver.url).status == 307
        assert other.got == []


def test_a_slow_answer_ends_with_the_time(receiver: Receiver) -> None:
    receiver.answer = lambda _: Says(after_seconds=1.0)
    reply = sent(receiver.url, seconds=0.2)
    assert (reply.status, reply.failure) == (None, "timeout")


def test_of_megabytes_only_the_beginning_is_read(receiver: Receiver) -> None:
    receiver.answer = lambda _: Says(200, body=b"x" * 65536, times=1024)
    reply = sent(receiver.url)
    assert reply.status == 200
    assert len(reply.excerpt) < ANSWER_BYTES_MAX


def test_an_answer_that_cannot_be_stored_as_it_is_is_made_plain(receiver: Receiver) -> None:
    receiver.answer = lambda _: Says(500, body=b"bad\x00\xff\r\nthing")
    assert sent(receiver.url).excerpt == "bad \N{REPLACEMENT CHARACTER}  thing"


def test_a_closed_port_and_a_broken_answer_have_their_reasons() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert sent(f"http://127.0.0.1:{port}/").failure == "connect"


def test_an_unencrypted_server_behind_https_is_a_failure_of_encryption(receiver: Receiver) -> None:
    assert sent(f"https://127.0.0.1:{receiver.port}/hook").failure == "tls"


def test_a_certificate_that_nobody_trusts_is_refused(pair_of_tls: Callable[[], ssl.SSLContext]) -> None:
    async def serve_and_post() -> Reply:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=pair_of_tls())
        port = server.sockets[0].getsockname()[1]
        async with server, Sender(HERE, timeout_seconds=5) as sender:
            return await sender.post(f"https://127.0.0.1:{port}/", headers={}, body=b"{}")

    assert asyncio.run(serve_and_post()).failure == "tls"


def test_proxies_of_the_environment_are_not_followed(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert sent(receiver.url).status == 204
        assert proxy.got == []


def test_connections_are_used_again_and_cookies_are_not(receiver: Receiver) -> None:
    def answer(got: Got) -> Says:
        return Says(200, {"set-cookie": "a=1"}, b"ok")

    receiver.answer = answer

    async def post_twice() -> list[Reply]:
        async with Sender(HERE, timeout_seconds=5) as sender:
            return [await sender.post(receiver.url, headers={}, body=b"{}") for _ in range(2)]

    assert [reply.excerpt for reply in asyncio.run(post_twice())] == ["ok", "ok"]
    assert len(receiver.connections) == 1
    assert all("cookie" not in got.headers for got in receiver.got)


@pytest.fixture
def pair_of_tls(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], ssl.SSLContext]:
    """A server's side of TLS with a certificate that it made itself."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tls")
    pem = serialization.Encoding.PEM
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )  # fmt: skip
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))

    def context() -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        return made

    return context
