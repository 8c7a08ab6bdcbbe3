"""The only network input and output towards channels: sends a request exactly as it is and brings back what came.

Knows HTTP; must not know what a request means, nor sign or repeat it. Called by ``gateways.calls``, always outside a transaction.
"""

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, Protocol, Self

import httpx

from gateways.contract import BODY_BYTES_MAX, Answer, Request, Unanswered

_NOT_SENT: Final = frozenset({"dns", "connect", "tls"})
"""Reasons under which the other side has certainly not seen the request."""


class Transport(Protocol):
    """Sends one request. Never raises for what the outside does."""

    def send(self, request: Request, *, bytes_max: int = BODY_BYTES_MAX) -> Answer | Unanswered: ...


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
        )

    def send(self, request: Request, *, bytes_max: int = BODY_BYTES_MAX) -> Answer | Unanswered:
        """Send ``request`` and return the whole answer, or why there is none.

        An answer longer than ``bytes_max`` is ``too_large``; one that is not complete after the time-out, however it trickles, is
        ``timeout``.
        """
        answer = self._send(request, request.url, bytes_max)
        if isinstance(answer, Unanswered) and answer.reason in _NOT_SENT:
            for start, other in self._fallbacks.items():
                if request.url.startswith(start):
                    return self._send(request, other + request.url.removeprefix(start), bytes_max)
        return answer

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _send(self, request: Request, url: str, bytes_max: int) -> Answer | Unanswered:
        deadline = time.monotonic() + self._seconds
        try:
            with self._client.stream(request.method, url, headers=request.headers, content=request.body or None) as response:
                return _whole(response, bytes_max=bytes_max, deadline=deadline)
        except httpx.TimeoutException as late:
            return Unanswered(reason="timeout", detail=type(late).__name__)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as broken:
            return Unanswered(reason=_reason(broken), detail=str(broken)[:200])


def _whole(response: httpx.Response, *, bytes_max: int, deadline: float) -> Answer | Unanswered:
    parts, size = [], 0
    for part in response.iter_raw():
        size += len(part)
        if size > bytes_max:
            return Unanswered(reason="too_large", detail=f"more than {bytes_max} bytes")
        if time.monotonic() > deadline:
            return Unanswered(reason="timeout", detail="the answer trickles")
        parts.append(part)
    return Answer(status=response.status_code, headers=dict(response.headers), body=b"".join(parts))


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
