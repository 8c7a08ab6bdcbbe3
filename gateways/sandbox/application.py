"""The stand-ins as one ASGI application: each channel's wire, pages and control routes, and the couriers beside them.

Joins the parts; must not know rules. Served by ``gateways.sandbox.server``, or called in a test without a server.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from gateways.sandbox.hands import Hands
from gateways.sandbox.http import Receive, Scope, Send, respond
from gateways.sandbox.stand_in import StandIn
from gateways.sandbox.wechat.api import Api
from gateways.sandbox.wechat.cashier import Cashier
from gateways.sandbox.wechat.console import Console
from gateways.sandbox.wechat.control import Control
from gateways.sandbox.wechat.desk import Desk, SandboxConfig
from gateways.sandbox.wechat.notify import Courier
from gateways.sandbox.wechat.refunds import Refunds


class Sandbox:
    """The application. ``start`` and ``stop`` are called by the ASGI lifespan; a second call does nothing."""

    def __init__(self, config: SandboxConfig, others: Sequence[StandIn] = ()) -> None:
        self.desk = Desk(config)
        self.refunds = Refunds(self.desk)
        self.courier = Courier(self.desk)
        self.others = tuple(others)
        self._sending: list[asyncio.Task[None]] = []
        self._routes = [
            *Api(self.desk, self.refunds).routes(),
            *Cashier(self.desk, self.courier).routes(),
            *Console(self.desk, self.refunds).routes(),
            *Control(self.desk, self.refunds, self.courier, self.wake).routes(),
            *(one for other in self.others for one in other.routes()),
            *(one for other in self.others for one in Hands(other, manual=config.manual).routes()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await respond(self._routes, scope, receive, send)

    def wake(self) -> None:
        """Tell all couriers that the clock was set."""
        self.courier.wake()
        for other in self.others:
            other.wake()

    async def start(self) -> None:
        """Begin to send notices, unless they are sent by hand."""
        if not self._sending and not self.desk.config.manual:
            self._sending = [asyncio.create_task(run()) for run in (self.courier.run, *(other.run for other in self.others))]

    async def stop(self) -> None:
        """Stop sending and close the state; what waits is sent after the next start."""
        for sending in self._sending:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
        self._sending = []
        for other in self.others:
            await other.close()
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


def create_sandbox(config: SandboxConfig, others: Sequence[StandIn] = ()) -> Sandbox:
    """Return the stand-ins over their state files; what an earlier run left is taken up again."""
    return Sandbox(config, others)
