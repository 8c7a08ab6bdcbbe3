"""One connection of a channel: HTTP/1.1 requests in, answers out in their order.

Knows HTTP framing (parsed by httptools) and the gate; must not know what a notice means. Made by the doors for each connection.
A proxy in front ends TLS; a connection is kept alive between notices.
"""

import asyncio
from collections import deque
from functools import partial
from typing import Final, Protocol, cast

import httptools
from msgspec import Struct

from app.callbacks.gate import Gate
from gateways.contract import BODY_BYTES_MAX, Answer
from gateways.registry import Connected
from ledger.errors import NotFound

PATH: Final = b"/callbacks/"
CONNECTIONS_MAX: Final = 4_096
HEAD_BYTES_MAX: Final = 16_384
READ_BYTES_MAX: Final = 262_144
"""What the event loop hands over at a time: the end of one request and the beginning of the next may come together."""
FRAMING_FACTOR: Final = 8
"""A body in very small chunks takes so many times its size on the wire."""
PIPELINED_MAX: Final = 16
"""Requests of one connection that wait for their answers; above it nothing more is read from it."""
REQUEST_SWEEPS_MAX: Final = 5
"""A channel gives up after so many seconds, so a request that trickles in for longer helps nobody."""
IDLE_SWEEPS_MAX: Final = 75


class Owed(Struct, eq=False):
    """One request of a connection, and its answer once there is one."""

    keep_alive: bool
    answer: Answer | None = None


class Render(Protocol):
    """Turns an answer into the bytes of its HTTP response."""

    def __call__(self, answer: Answer, *, keep_alive: bool) -> bytes: ...


class Exchange(asyncio.Protocol):
    """One connection. The event loop calls the first group of methods, the parser the ``on_*`` while bytes are fed to it."""

    def __init__(self, gate: Gate, members: set["Exchange"], render: Render) -> None:
        self._gate, self._members, self._render = gate, members, render
        self._parser = httptools.HttpRequestParser(self)
        self._owed: deque[Owed] = deque()
        self._sweeps = 0
        self._reading = False
        self._deaf = False
        self.last_request = False
        """Set when the process is about to stop: the next answer is the last on this connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._members) >= CONNECTIONS_MAX:
            self._transport.abort()
        else:
            self._members.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._members.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self._deaf:
                self._refuse(plain(400, "this is not an HTTP/1.1 request of the form POST /callbacks/{channel}"))

        else:
            self._bound(len(data))

    def sweep(self) -> None:
        """Called once a second: close a connection that is silent for too long, or too long in the middle of a request."""
        self._sweeps += 1
        waits = REQUEST_SWEEPS_MAX if self._reading or self._deaf else IDLE_SWEEPS_MAX
        if self._sweeps > waits and not self._owed:
            self._transport.close()

    def finish(self) -> None:
        """Close as soon as nothing is owed and no request is half read."""
        self.last_request = True
        if not self._owed and not self._reading:
            self._transport.close()

    # The parser's calls.

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body = b""
        self._head_bytes = self._fed = 0
        self._body_bytes_max = self._gate.limits.body_bytes_max
        self._in_head, self._reading, self._sweeps = True, True, 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        announced = self._headers.get("content-length", "0")
        self._body_bytes_max = self._allowed()
        if not self._deaf and announced.isdecimal() and int(announced[:19]) > self._body_bytes_max:
            self._refuse(self._too_large())
        elif self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._deaf:
            return
        self._body += body
        if len(self._body) > self._body_bytes_max:
            self._refuse(self._too_large())

    def on_message_complete(self) -> None:
        if self._deaf:
            return
        self._reading, self._sweeps = False, 0
        owed = Owed(self._parser.should_keep_alive() and not self.last_request)
        self._owed.append(owed)
        if len(self._owed) == PIPELINED_MAX:
            self._transport.pause_reading()
        self._handle(partial(self._tell, owed))

    # Inside.

    def _handle(self, tell: partial[None]) -> None:
        if self._target == b"/health":
            tell(plain(200, "ok") if self._gate.healthy() else plain(503, "the database does not answer"))
        elif (connected := self._channel()) is None:
            tell(plain(404, "there is no such channel; notices are posted to /callbacks/{channel}"))
        elif self._parser.get_method() != b"POST":
            tell(plain(405, "a notice is posted"))
        else:
            self._gate.take(connected, self._headers, self._body, tell)

    def _channel(self) -> Connected | None:
        path = self._target.partition(b"?")[0]
        if not path.startswith(PATH):
            return None
        try:
            return self._gate.channels.find(path[len(PATH) :].partition(b"/")[0].decode("latin-1"))
        except NotFound:
            return None

    def _allowed(self) -> int:
        """Return how large a body may be: as the settings say, or more where the channel's own notices are larger."""
        connected = self._channel()
        own = 0 if connected is None or connected.channel.body_bytes_max <= BODY_BYTES_MAX else connected.channel.body_bytes_max
        return max(self._gate.limits.body_bytes_max, own)

    def _tell(self, owed: Owed, answer: Answer) -> None:
        """Note the answer to a request, and send all that are due in the order of the requests."""
        owed.answer = answer
        was_full = len(self._owed) >= PIPELINED_MAX
        while self._owed and (due := self._owed[0].answer) is not None:
            self._send(due, keep_alive=self._owed.popleft().keep_alive)
        if was_full and len(self._owed) < PIPELINED_MAX and not self._transport.is_closing():
            self._transport.resume_reading()

    def _send(self, answer: Answer, *, keep_alive: bool) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(self._render(answer, keep_alive=keep_alive))
        if self._deaf and not self._owed:
            self._transport.write_eof()  # the sender may still be sending: a close would take the answer away from it
        elif not keep_alive:
            self._transport.close()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX and not self._deaf:
            self._refuse(_head_too_large())

    def _bound(self, size: int) -> None:
        """Refuse a request that goes on and on: the parser keeps a line that does not end, and tells nobody."""
        if not self._reading or self._deaf:
            return
        self._fed += size
        if self._in_head and self._fed > HEAD_BYTES_MAX + READ_BYTES_MAX:
            self._refuse(_head_too_large())
        elif self._fed > HEAD_BYTES_MAX + READ_BYTES_MAX + FRAMING_FACTOR * self._body_bytes_max:
            self._refuse(self._too_large())

    def _too_large(self) -> Answer:
        """Return the refusal of a body that no notice has, in the channel's own form where there is one."""
        if (connected := self._channel()) is None:
            return plain(413, "the body is too large")
        own = connected.channel.ack(accepted=False, reason="too_large")
        return Answer(status=413, headers=own.headers, body=own.body)

    def _refuse(self, answer: Answer) -> None:
        """Answer a request that is not read to its end; nothing more is read from this connection."""
        self._deaf, self._reading, self._sweeps = True, False, 0
        owed = Owed(keep_alive=False)
        self._owed.append(owed)
        self._tell(owed, answer)


def _head_too_large() -> Answer:
    return plain(431, f"the head of a request has at most {HEAD_BYTES_MAX} bytes")


def plain(status: int, text: str) -> Answer:
    """Return an answer of our own in plain text."""
    return Answer(status=status, headers={"content-type": "text/plain; charset=utf-8"}, body=f"{text}\n".encode())
