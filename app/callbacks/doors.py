"""The listening side of a gate: opens a port, makes an exchange for each connection, closes in order.

Knows the event loop; must not know what is exchanged. Opened by ``tongting callbacks``, and by the web process of a simulated city.
"""

import asyncio
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from app.callbacks.exchange import Exchange
from app.callbacks.gate import Gate
from gateways.contract import Answer

BACKLOG: Final = 2_048
SWEEP_SECONDS: Final = 1.0
DRAIN_SECONDS: Final = 5.0
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class Doors:
    """The open port of one gate in one event loop. Several processes may open the same port: the kernel shares connections out."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._exchanges: set[Exchange] = set()
        self._server: asyncio.Server | None = None
        self._date = b""

    async def open(self, host: str, port: int) -> None:
        """Listen, from now until ``close``. Raises OSError when the address cannot be listened on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._exchange, host, port, reuse_port=True, backlog=BACKLOG)
        self._sweep()

    async def close(self) -> None:
        """Let nobody in, let those inside finish: what was read is committed and answered. Takes at most ``DRAIN_SECONDS``."""
        if self._server is None:
            return
        self._server.close()
        deadline = time.monotonic() + DRAIN_SECONDS
        for exchange in list(self._exchanges):
            exchange.finish()
        while self._exchanges and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        self._timer.cancel()
        self.gate.settle()

    def _exchange(self) -> Exchange:
        return Exchange(self.gate, self._exchanges, self._render)

    def _sweep(self) -> None:
        self._date = formatdate(usegmt=True).encode()
        for exchange in list(self._exchanges):
            exchange.sweep()
        self._timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _render(self, answer: Answer, *, keep_alive: bool) -> bytes:
        """Return an answer as the bytes of its HTTP response."""
        lines = [f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines.append(f"content-length: {len(answer.body)}")
        if not keep_alive:
            lines.append("connection: close")
        return "\r\n".join(lines).encode("latin-1") + b"\r\ndate: " + self._date + b"\r\n\r\n" + answer.body
