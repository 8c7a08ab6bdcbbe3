"""Serve the stand-ins: one process, one thread, on its own port.

Knows the server; must not know the channels. Called by the command line, and by tests in a thread of their own.
"""

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Final

from granian.constants import Interfaces
from granian.server.embed import Server

from gateways.sandbox.application import Sandbox, create_sandbox
from gateways.sandbox.stand_in import StandIn
from gateways.sandbox.wechat.desk import SandboxConfig

_START_SECONDS_MAX: Final = 20.0
_TRY_SECONDS: Final = 0.02


def serve(config: SandboxConfig, *, host: str, port: int, others: Sequence[StandIn] = ()) -> None:
    """Serve until SIGINT or SIGTERM; what has begun is finished and the state is closed."""
    asyncio.run(_until_told(create_sandbox(config, others), host, port))


async def _until_told(sandbox: Sandbox, host: str, port: int) -> None:
    server, told, loop = _server(sandbox, host, port), asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(told.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.stop()
    await serving


@contextmanager
def running(config: SandboxConfig, *, host: str, port: int, others: Sequence[StandIn] = ()) -> Iterator[Sandbox]:
    """Serve in a thread while the block runs; the port answers when the block begins. The caller may have a loop of its own."""
    sandbox, started = create_sandbox(config, others), Future[tuple[asyncio.AbstractEventLoop, Any]]()

    async def served() -> None:
        server = _server(sandbox, host, port)
        started.set_result((asyncio.get_running_loop(), server))
        await server.serve()

    thread = threading.Thread(target=asyncio.run, args=(served(),), daemon=True)
    thread.start()
    loop, server = started.result(_START_SECONDS_MAX)
    try:
        _wait_until_it_answers(host, port)
        yield sandbox
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join(_START_SECONDS_MAX)


def _server(sandbox: Sandbox, host: str, port: int) -> Any:
    return Server(sandbox, address=host, port=port, interface=Interfaces.ASGI, log_enabled=False)


def _wait_until_it_answers(host: str, port: int) -> None:
    """Wait until the port takes connections. Raises TimeoutError."""
    deadline = time.monotonic() + _START_SECONDS_MAX
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(_TRY_SECONDS)
    raise TimeoutError(f"the stand-in does not answer on port {port}")
