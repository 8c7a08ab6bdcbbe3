"""The only network input and output towards channels: sends a request exactly as it is and brings back what came.

Knows HTTP; must not know what a request means, nor sign or repeat it. Called by ``gateways.calls``, always outside a transaction.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import TracebackType
from typing import Final, Protocol, Self

import httpx
from msgspec.structs import replace

from gateways.contract import BODY_BYTES_MAX, Answer, Request, Unanswered

BYTES_PER_SECOND_MIN: Final = 256 * 1024
"""A long answer may take this much longer than the time-out: one second for each such piece of it that has come."""

_NOT_SENT: Final = frozenset({"dns", "connect", "tls"})
"""Reasons under which the other side has certainly not seen the request."""


@cache
def trust() -> ssl.SSLContext:
    """Return whom this process believes over TLS: the authorities that httpx comes with, read once."""
    return httpx.create_ssl_context(trust_env=False)


class Transport(Protocol):
    """Sends one request. Never raises for what the outside does."""

    def send(self, request: Request, *, bytes_max: int = BODY_BYTES_MAX) -> Answer | Unanswered: ...

    def fetch(self, request: Request, *, write: Callable[[bytes], object], bytes_max: int) -> Answer | Unanswered: ...


class HttpTransport:
    """A pool of connections, safe to use from many threads.

    ``fallbacks`` maps an address's start to another one of the same channel; it is tried only when the request has certainly not
    been sent. The machine's proxy variables are not followed: a payment goes where the settings say, and nowhere else.
    """

    def __init__(self, *, timeout_seconds: float, fallbacks: Mapping[str, str] | None = None, connections: int = 32) -> None:
        self._seconds = timeout_seconds
        self._fallbacks = dict(fallbacks or {})
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, 3.0)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"accept-encoding": "identity"},  # signatures and digests cover the bytes as they are sent
            follow_redirects=False,
            trust_env=False,
            verify=trust(),
        )

    def send(self, request: Request, *, bytes_max: int = BODY_BYTES_MAX) -> Answer | Unanswered:
        """Send ``request`` and return the whole answer, or why there is none.

        An answer longer than ``bytes_max`` is ``too_large``; one that is not complete after the time-out, however it trickles, is
        ``timeout``. A long one gets more time as it comes, see BYTES_PER_SECOND_MIN.
        """
        parts: list[bytes] = []
        answer = self.fetch(request, write=parts.append, bytes_max=bytes_max)
        return answer if isinstance(answer, Unanswered) else replace(answer, body=b"".join(parts))

    def fetch(self, request: Request, *, write: Callable[[bytes], object], bytes_max: int) -> Answer | Unanswered:
        """Send ``request`` and hand the answer's body to ``write`` as it comes; the answer returned has none.

        When there is no answer, what was written is a piece at most and worth nothing. Otherwise as ``send``.
        """
        answer = self._send(request, request.url, write, bytes_max)
        if isinstance(answer, Unanswered) and answer.reason in _NOT_SENT:
            for start, other in self._fallbacks.items():
                if request.url.startswith(start):
                    return self._send(request, other + request.url.removeprefix(start), write, bytes_max)
        return answer

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _send(self, request: Request, url: str, write: Callable[[bytes], object], bytes_max: int) -> Answer | Unanswered:
        deadline, answered = time.monotonic() + self._seconds, False
        try:
            with self._client.stream(request.method, url, headers=request.headers, content=request.body or None) as response:
                answered = True
                return _taken(response, write, bytes_max=bytes_max, deadline=deadline)
        except httpx.TimeoutException as late:
            return Unanswered(reason="timeout", detail=type(late).__name__)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as broken:
            return Unanswered(reason="broken" if answered else _reason(broken), detail=str(broken)[:200])


def _taken(
    response: httpx.Response, write: Callable[[bytes], object], *, bytes_max: int, deadline: float
) -> Answer | Unanswered:  # fmt: skip
    size = 0
    for part in response.iter_raw():
        size += len(part)
        if size > bytes_max:
            return Unanswered(reason="too_large", detail=f"more than {bytes_max} bytes")
        if time.monotonic() > deadline + size / BYTES_PER_SECOND_MIN:
            return Unanswered(reason="timeout", detail="the answer trickles")
        write(part)
    return Answer(status=response.status_code, headers=dict(response.headers), body=b"")


def _reason(error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return "dns"
        if isinstance(cause, ssl.SSLError):
            return "tls"
    return "connect" if isinstance(error, httpx.ConnectError) else "broken"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
