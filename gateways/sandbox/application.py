"""The stand-in as one ASGI application: API, cashier, console and control routes, and the courier beside them.

Joins the parts; must not know rules. Served by ``gateways.sandbox.server``, or called in a test without a server.
"""

import asyncio
from contextlib import suppress

from gateways.sandbox.api import Api
from gateways.sandbox.cashier import Cashier
from gateways.sandbox.console import Console
from gateways.sandbox.control import Control
from gateways.sandbox.desk import Desk, SandboxConfig
from gateways.sandbox.http import Receive, Scope, Send, respond
from gateways.sandbox.notify import Courier
from gateways.sandbox.refunds import Refunds


class Sandbox:
    """The application. ``start`` and ``stop`` are called by the ASGI lifespan; a second call does nothing."""

    def __init__(self, config: SandboxConfig) -> None:
        self.desk = Desk(config)
        self.refunds = Refunds(self.desk)
        self.courier = Courier(self.desk)
        self._sending: asyncio.Task[None] | None = None
        self._routes = [
            *Api(self.desk, self.refunds).routes(),
            *Cashier(self.desk, self.courier).routes(),
            *Console(self.desk, self.refunds).routes(),
            *Control(self.desk, self.refunds, self.courier).routes(),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await respond(self._routes, scope, receive, send)

    async def start(self) -> None:
        """Begin to send notices, unless they are sent by hand."""
        if self._sending is None and not self.desk.config.manual:
            self._sending = asyncio.create_task(self.courier.run())

    async def stop(self) -> None:
        """Stop sending and close the state; what waits is sent after the next start."""
        if self._sending is not None:
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending
            self._sending = None
        await self.courier.close()
        self.desk.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def create_sandbox(config: SandboxConfig) -> Sandbox:
    """Return the stand-in over its state file; what an earlier run left is taken up again."""
    return Sandbox(config)
