"""HTTP as the stand-in sees it: what came in, what goes out, and the ASGI rim around both.

Knows ASGI; must not know the channel. Used by the sandbox's routes.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, quote

from msgspec import Struct

from gateways.contract import Answer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

_TOO_LARGE: Final = Answer(status=413, headers={"content-type": "text/plain"}, body=b"the body is too large")
_NOT_FOUND: Final = Answer(status=404, headers={"content-type": "text/plain"}, body=b"not found")
_METHOD: Final = Answer(status=405, headers={"content-type": "text/plain"}, body=b"method not allowed")


BODY_BYTES_MAX: Final = 8 * 1024 * 1024
"""Largest body taken: the widest wire here uploads some megabytes."""


class Incoming(Struct, frozen=True):
    """A request. ``target`` is path and query byte for byte as they came; header names are lower case."""

    method: str
    path: str
    target: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Reply(Struct, frozen=True):
    """An answer, sent after ``wait_seconds``."""

    answer: Answer
    wait_seconds: float = 0


Handler = Callable[[Incoming, re.Match[str]], Reply | Awaitable[Reply]]


class Route(Struct, frozen=True):
    """A method, a pattern of the whole path, and who answers."""

    method: str
    path: re.Pattern[str]
    handler: Handler


def route(method: str, path: str, handler: Handler) -> Route:
    """Return a route; ``{name}`` in ``path`` stands for one path segment."""
    return Route(method=method, path=re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path))), handler=handler)


async def respond(routes: Sequence[Route], scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one HTTP request by the first route that fits."""
    body = await _body(receive)
    reply = Reply(answer=_TOO_LARGE)
    if body is not None:
        reply = await _routed(routes, _incoming(scope, body))
    if reply.wait_seconds:
        await asyncio.sleep(reply.wait_seconds)
    await _send(reply.answer, send)


async def _routed(routes: Sequence[Route], incoming: Incoming) -> Reply:
    fitting = [(one, found) for one in routes if (found := one.path.fullmatch(incoming.path))]
    for one, found in fitting:
        if one.method == incoming.method:
            reply = one.handler(incoming, found)
            return reply if isinstance(reply, Reply) else await reply
    return Reply(answer=_METHOD if fitting else _NOT_FOUND)


async def _body(receive: Receive) -> bytes | None:
    """Return the whole body, or None when it is too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > BODY_BYTES_MAX:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _incoming(scope: Scope, body: bytes) -> Incoming:
    query = bytes(scope.get("query_string", b"")).decode("latin-1")
    raw_path = scope.get("raw_path") or quote(scope["path"], safe="/:@!$&'()*+,;=~").encode()
    path = bytes(raw_path).decode("latin-1").split("?", 1)[0]
    return Incoming(
        method=scope["method"],
        path=scope["path"],
        target=path + (f"?{query}" if query else ""),
        query={name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()},
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
