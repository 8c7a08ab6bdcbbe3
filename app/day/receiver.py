"""A lot operator's own system in a simulated city: a real HTTP server on this machine that takes events and checks who sent them.

Knows the signature of Standard Webhooks and the fields of an event that put it in order; must not know the product's insides.
Called by ``app.day.command``. It takes the first of some messages for lost, by their ids: so events are sent again.
"""

import hashlib
import hmac
import threading
from base64 import b64decode, b64encode
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

import msgspec
from msgspec import Struct

_SECRET_PREFIX: Final = "whsec_"
_LOST_ONE_IN: Final = 6


class _Data(Struct):
    kind: str
    lot_code: str
    charge_serial: str = ""


class _Message(Struct):
    data: _Data


class Heard(Struct, frozen=True):
    """What came, each event counted once: by kind, and in the order of the first times for each charge (lot and serial)."""

    kinds: dict[str, int]
    by_charge: dict[tuple[str, str], list[str]]
    lost: int
    """Messages that were taken for lost once."""
    wrong: int
    """Messages whose signature was not right."""


class Receiver:
    """The server. Used as a context; then ``url`` is its address."""

    url: str

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secret: bytes | None = None
        self._told: dict[str, _Data] = {}
        self._lost: set[str] = set()
        self._wrong = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self._handler = Handler

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/tongting"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="receiver")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def knows(self, secret: str) -> None:
        """Take the secret that messages are signed with."""
        self._secret = b64decode(secret.removeprefix(_SECRET_PREFIX))

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Take a message; returns the status that answers it."""
        with self._lock:
            number = headers.get("webhook-id", "")
            if not self._is_signed(headers, body):
                self._wrong += 1
                return 401
            if number not in self._told and number not in self._lost and is_lost(number):
                self._lost.add(number)
                return 503
            self._told.setdefault(number, msgspec.json.decode(body, type=_Message).data)
            return 204

    def heard(self) -> Heard:
        """Return what has come so far."""
        with self._lock:
            by_charge: dict[tuple[str, str], list[str]] = {}
            for one in self._told.values():
                by_charge.setdefault((one.lot_code, one.charge_serial), []).append(one.kind)
            kinds = Counter(one.kind for one in self._told.values())
            return Heard(dict(sorted(kinds.items())), by_charge, len(self._lost), self._wrong)

    def _is_signed(self, headers: dict[str, str], body: bytes) -> bool:
        if self._secret is None:
            return False
        signed = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
        expected = f"v1,{b64encode(hmac.digest(self._secret, signed, hashlib.sha256)).decode()}"
        return any(hmac.compare_digest(expected, one) for one in headers.get("webhook-signature", "").split())


def is_lost(number: str) -> bool:
    """Say whether the first message with this id is taken for lost: a share of all, by the id alone."""
    return hashlib.sha256(number.encode()).digest()[0] % _LOST_ONE_IN == 0
