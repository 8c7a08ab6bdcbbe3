"""A clearing party that says of status lists what a test wants, over real HTTP and signed with the stand-in's own key."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from gateways.calls import Line
from gateways.etc import channel as etc_channel
from gateways.etc import envelope, services
from gateways.etc import keys as etc_keys
from gateways.etc import line as etc_line
from gateways.etc.codes import Receipt
from gateways.etc.list_line import ListLine
from gateways.etc.services import StatusList, StatusListAsk
from gateways.registry import Connected
from gateways.sandbox.etc import demo
from tests.payments.mandates.deducting import City, demo_keys

Answered = Callable[[StatusListAsk], StatusList]


class Party:
    """What is asked, and how it is answered. ``spoil`` changes the bytes of each answer."""

    def __init__(self, city: City, answered: Answered) -> None:
        self.city, self.answered = city, answered
        self.asked: list[StatusListAsk] = []
        self.spoil: Callable[[bytes], bytes] = lambda sealed: sealed
        self._config = demo.config(demo_keys()[1].theirs, notify_url="http://127.0.0.1:9")
        self._lock = threading.Lock()

    def since(self) -> list[str]:
        """Versions that were asked since, in order."""
        return [ask.since_version for ask in self.asked]

    def reply(self, content: bytes) -> bytes:
        config, now = self._config, self.city.clock.now()
        opened = envelope.open_envelope(
            content, service="etc.status.list", receiver=config.party, keys=config.provider_keys, now=now
        )  # fmt: skip
        assert isinstance(opened, envelope.Opened), opened
        ask = services.read(StatusListAsk, opened.body)
        assert isinstance(ask, StatusListAsk), ask
        with self._lock:
            self.asked.append(ask)
        body = envelope.reply_body(opened.head, Receipt.ACCEPTED, data=msgspec.to_builtins(self.answered(ask)))
        head = envelope.head_for(
            "etc.status.list", msg_id="8" + opened.head.msg_id[1:], sender=config.party, receiver=config.provider,
            key=config.keys[0], now=self.city.clock.now(),
        )  # fmt: skip
        return self.spoil(envelope.seal(body, head=head, key=config.keys[0]))


@contextmanager
def party(city: City, answered: Answered) -> Iterator[tuple[Party, ListLine]]:
    """Serve a clearing party; yields it and our line of lists to it."""
    told = Party(city, answered)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sealed = told.reply(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", str(len(sealed)))
            self.end_headers()
            self.wfile.write(sealed)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        provider = etc_line.Provider(sender_id=demo.PROVIDER, receiver_id=demo.PARTY, api_url=url)
        connected = Connected(channel=etc_channel.Etc(provider), keys=etc_keys.load(demo_keys()[1].ours))
        try:
            yield told, ListLine(Line(connected, city.transport, city.clock, city.ids))
        finally:
            server.shutdown()
            thread.join()
