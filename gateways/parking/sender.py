"""Send messages to the systems of lots and operators, and bring back what they said in short.

Knows HTTP and which addresses may be called; must not know what a message means, nor sign or repeat it. Called by
``payments.webhooks``, always outside a transaction, from one event loop.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Literal, Self

import httpcore
import httpx
from msgspec import Struct

from gateways.parking.addresses import AddressRefused, Guard, NameUnknown, resolved

TIMEOUT_SECONDS: Final = 15.0
"""For the whole call, from the name service to the answer's end."""
ANSWER_BYTES_MAX: Final = 16 * 1024
"""So much of an answer is read; what is longer costs the connection, not the success."""
EXCERPT_LETTERS: Final = 300
CONNECTIONS: Final = 256
RESOLVING_THREADS: Final = 32

Failure = Literal["timeout", "address_refused", "dns", "connect", "tls", "broken"]


class Reply(Struct, frozen=True):
    """What became of a call: a status and the beginning of the answer, or why there is none."""

    status: int | None
    failure: Failure | None
    excerpt: str


class Sender:
    """A pool of connections. Redirects are answers like others; proxies of the environment are not followed; no cookies are kept.

    A name is looked up for each new connection, what it leads to is checked, and the connection goes to exactly that address; TLS
    and the Host header keep the name. So a name that leads elsewhere later leads nowhere.
    """

    def __init__(self, guard: Guard, *, timeout_seconds: float = TIMEOUT_SECONDS, trusted: ssl.SSLContext | None = None) -> None:
        self._seconds = timeout_seconds
        self._names = ThreadPoolExecutor(RESOLVING_THREADS, thread_name_prefix="names")
        context = trusted or ssl.create_default_context()
        self._client = httpx.AsyncClient(
            verify=context,
            mounts={
                "https://": _Transport(_Backend(guard, self._names, secure=True), context),
                "http://": _Transport(_Backend(guard, self._names, secure=False), context),
            },
            timeout=timeout_seconds,
            headers={"accept-encoding": "identity", "user-agent": "Tongting-Webhooks/1"},
            follow_redirects=False,
            trust_env=False,
        )

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send a message and return what came. Never raises for what the outside does."""
        reply: Reply | None = None
        try:
            async with asyncio.timeout(self._seconds):
                async with self._client.stream("POST", url, headers=dict(headers), content=body) as response:
                    reply = Reply(response.status_code, None, "")
                    came = await _beginning(response)
                    reply = Reply(response.status_code, None, _excerpt(came))
        except (TimeoutError, httpx.TimeoutException):
            return reply or Reply(None, "timeout", f"no answer within {self._seconds:g} seconds")
        except Exception as broken:  # whatever a stranger's server does to the client is this call's failure and nobody else's
            return reply or Reply(None, _failure(broken), _excerpt(str(broken).encode("utf-8", "replace")))
        finally:
            self._client.cookies.clear()
        return reply

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
        self._names.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


class _Refusal(httpcore.ConnectError):
    """The address must not be called."""


class _NoName(httpcore.ConnectError):
    """The name has no address."""


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, guard: Guard, names: ThreadPoolExecutor, *, secure: bool) -> None:
        self._guard = guard
        self._names = names
        self._secure = secure
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._names, resolved, host, port)
            addresses = self._guard.checked(found, secure=self._secure)
        except AddressRefused as refused:
            raise _Refusal(str(refused)) from None
        except NameUnknown as unknown:
            raise _NoName(str(unknown)) from None
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._inner.connect_tcp(address, port, min(timeout or 3.0, 3.0), local_address, socket_options)
        return await self._inner.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's own transport over a pool that connects as ``_Backend`` says; httpx takes no backend, so the pool is put in place."""

    def __init__(self, backend: _Backend, context: ssl.SSLContext) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=30.0,
            network_backend=backend,
        )  # fmt: skip


async def _beginning(response: httpx.Response) -> bytes:
    """Return the answer's body, or its beginning when it is longer than what is read; the connection is then given up."""
    parts, size = [], 0
    async for part in response.aiter_raw():
        parts.append(part)
        size += len(part)
        if size >= ANSWER_BYTES_MAX:
            break
    return b"".join(parts)


def _excerpt(body: bytes) -> str:
    text = body[: EXCERPT_LETTERS * 4].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text)[:EXCERPT_LETTERS].strip()


def _failure(error: BaseException) -> Failure:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for kind, failure in _KINDS:
        if any(isinstance(one, kind) for one in causes):
            return failure
    return "broken"


_KINDS: Final[tuple[tuple[type[BaseException], Failure], ...]] = (
    (_Refusal, "address_refused"),
    (_NoName, "dns"),
    (ssl.SSLError, "tls"),
    (httpx.ConnectError, "connect"),
)
