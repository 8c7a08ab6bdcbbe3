"""Both sides of a channel for the tests: keys are made once per run, the stand-in is served on a port of its own per test."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import httpx
import msgspec
import pytest

from gateways.calls import Line
from gateways.registry import Connected
from gateways.sandbox.application import Sandbox
from gateways.sandbox.server import running
from gateways.sandbox.wechat.desk import SandboxConfig
from gateways.sandbox.wechat.signing import Pair, make_pair
from gateways.transport import HttpTransport
from gateways.wechat.channel import Provider, WeChat
from ledger.clock import SetClock
from ledger.ids import RandomIds
from tests.ports import free_port as free_port

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
PROVIDER_NO = "1900000001"
APP_ID = "wx8888888888888888"
MERCHANT_NO = "1620000007"
HTTP = httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
"""A client for the tests' own requests; it keeps no connection open."""


@pytest.fixture(scope="session")
def pair() -> Pair:
    """Keys of both sides; the ring must not be changed, see ``fresh_pair``."""
    return make_pair(at=NOW)


@pytest.fixture
def fresh_pair(pair: Pair) -> Pair:
    """The same keys with a ring of its own, which may be changed."""
    return msgspec.structs.replace(pair, ring=pair.ring.beside(()))


@pytest.fixture(scope="session")
def wechat() -> WeChat:
    return WeChat(Provider(provider_no=PROVIDER_NO, app_id=APP_ID, notify_url="https://pay.example/callbacks/wechat"))


class Played:
    """A stand-in that is served, and our side of the line to it."""

    def __init__(self, sandbox: Sandbox, line: Line, clock: SetClock, transport: HttpTransport) -> None:
        self.sandbox, self.line, self.clock, self.transport = sandbox, line, clock, transport
        self.url = sandbox.desk.config.base_url


class Play(Protocol):
    def __call__(self, *, notify_url: str = ..., **changes: Any) -> Played: ...


@pytest.fixture
def play(fresh_pair: Pair, tmp_path: Path) -> Iterator[Play]:
    """Serve a stand-in; ``changes`` go into its configuration. Each keeps its state in the test's directory."""
    served: list[tuple[Any, HttpTransport]] = []

    def started(*, notify_url: str = "http://127.0.0.1:9/callbacks/wechat", **changes: Any) -> Played:
        port, clock = free_port(), SetClock(NOW)
        config = msgspec.structs.replace(config_of(fresh_pair, tmp_path / "sandbox.db", port), clock=clock, **changes)
        context = running(config, host="127.0.0.1", port=port)
        transport = HttpTransport(timeout_seconds=3)
        sandbox = context.__enter__()
        served.append((context, transport))
        provider = Provider(provider_no=PROVIDER_NO, app_id=APP_ID, notify_url=notify_url, api_url=config.base_url)
        connected = Connected(channel=WeChat(provider), keys=fresh_pair.ring)
        line = Line(connected=connected, transport=transport, clock=clock, ids=RandomIds())
        return Played(sandbox, line, clock, transport)

    yield started
    for context, transport in reversed(served):
        transport.close()
        context.__exit__(None, None, None)


def config_of(pair: Pair, state_path: Path, port: int) -> SandboxConfig:
    return SandboxConfig(
        state_path=state_path,
        base_url=f"http://127.0.0.1:{port}",
        provider_no=PROVIDER_NO,
        app_id=APP_ID,
        app_secret="app-secret",
        api_key=pair.api_key,
        merchant_key=pair.merchant_key.public_key(),
        merchant_serial=pair.merchant_serial,
        certificate=pair.issued,
        public_key=pair.public_key,
        seed="test",
        manual=True,
    )
