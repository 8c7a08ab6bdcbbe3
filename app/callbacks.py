"""Where channels' notices arrive: verify, queue, commit in groups, and only then acknowledge.

Knows ASGI, the applier and one queue; must not know any channel's wire or what a notice means. Mounted by ``app.main``.

A committer thread takes everything that queued while the last transactions committed. An idle system commits at once; under
load the group grows by itself, and no timer is needed. Source: docs/ARCHITECTURE.md, group commit.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

import msgspec
import psycopg
from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive as AnyReceive
from litestar.types import Scope as AnyScope
from litestar.types import Send as AnySend
from msgspec import Struct
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from gateways.contract import Answer, Channel, Operation, Reading
from gateways.messages import received
from gateways.registry import Connected, Registry
from ledger.clock import Clock
from ledger.errors import NotFound
from ledger.ids import Ids
from payments import results
from payments.results import Notice

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_SECONDS_MAX: Final = 5.0
"""A channel gives up after this long, so a body that trickles in for longer helps nobody."""
QUEUE_MAX: Final = 20_000
"""Most notices waiting for their commit; above it the channel is told to come again."""

log: Final = logging.getLogger("tongting.callbacks")


class Limits(Struct, frozen=True):
    """Bounds of the gate: notices per commit, bytes per body, refused messages kept per minute."""

    batch_max: int = 1_000
    body_bytes_max: int = 65_536
    refused_per_minute: int = 600


class Waiting(Struct, eq=False):
    """A notice in the queue and who waits for its answer; nobody waits for a refused message."""

    notice: Notice
    channel: Channel
    future: asyncio.Future[Answer] | None = None
    answer: Answer | None = None


class Counts(Struct):
    """What the gate has done since it opened."""

    received: int = 0
    committed: int = 0
    batches: int = 0
    largest: int = 0
    failed: int = 0
    refused_kept: int = 0
    refused_not_kept: int = 0
    overflowed: int = 0


class Bucket:
    """A token bucket: so many per minute, saved up for at most a minute."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left = float(per_minute)
        self._at: datetime | None = None

    def take(self, at: datetime) -> bool:
        """Take one if there is one."""
        if self._at is not None:
            minutes = (at - self._at) / timedelta(minutes=1)
            self._left = min(float(self._per_minute), self._left + minutes * self._per_minute)
        self._at = at
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Committer:
    """The thread that commits notices, a group at a time. ``put`` may be called from any thread.

    One thread on purpose: two halve the groups, and a group's fixed cost is larger than what the second gains while the first waits
    for the disk. Several processes are right all the same: groups that meet the same payments wait for each other in the database,
    always in the same order.
    """

    def __init__(self, *, db: Engine, lane: int, clock: Clock, ids: Ids, batch_max: int) -> None:
        self._db, self._lane, self._clock, self._ids, self._batch_max = db, lane, clock, ids, batch_max
        self._queue: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._running = False
        self._thread: threading.Thread | None = None
        self.counts = Counts()

    def start(self) -> None:
        self._running = True
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more, commit what is queued, then end the thread."""
        with self._changed:
            self._running = False
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def put(self, waiting: Waiting) -> bool:
        """Queue a notice. Returns False when the queue is full or the committer is not running."""
        with self._changed:
            if len(self._queue) >= QUEUE_MAX or not self._running:
                return False
            self._queue.append(waiting)
            self._changed.notify()
            return True

    def _run(self) -> None:
        while group := self._drain():
            self._settle(group)

    def _drain(self) -> list[Waiting]:
        """Wait for notices and take all there are; nothing when the committer has stopped and the queue is empty."""
        with self._changed:
            while self._running and not self._queue:
                self._changed.wait()
            return [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_max))]

    def _settle(self, group: Sequence[Waiting]) -> None:
        self.commit(group)
        _resolve(group)

    def commit(self, group: Sequence[Waiting]) -> None:
        """Carry out a group in one transaction and give each its answer; when it fails, find out which one it is."""
        try:
            self._apply(group)
        except Exception as broken:
            if _is_down(broken):
                log.error("the database is not there; %d notices are refused and will come again: %s", len(group), broken)
                self._refuse(group, "unavailable")
            elif len(group) == 1:
                self._once_more(group[0])
            else:
                half = len(group) // 2
                self.commit(group[:half])
                self.commit(group[half:])

    def _apply(self, group: Sequence[Waiting]) -> None:
        with self._db.begin() as tx:
            notices = [waiting.notice for waiting in group]
            outcomes = results.apply(tx, lane=self._lane, notices=notices, at=self._clock.now(), ids=self._ids)
        for waiting, outcome in zip(group, outcomes, strict=True):
            waiting.answer = waiting.channel.ack(accepted=outcome.accepted, reason=outcome.reason)
        counts = self.counts
        counts.batches += 1
        counts.committed += len(group)
        counts.largest = max(counts.largest, len(group))

    def _once_more(self, waiting: Waiting) -> None:
        """Try a notice again by itself: another process may have booked the same fact at the same moment."""
        try:
            self._apply([waiting])
        except Exception as broken:
            self._give_up(waiting, broken)

    def _give_up(self, waiting: Waiting, broken: Exception) -> None:
        """Refuse one notice that cannot be carried out, so that it comes again, and keep it as evidence if that works."""
        message = waiting.notice.message
        log.error("notice %s cannot be carried out: %r", message.message_id, broken)
        self._refuse([waiting], "not_applied")
        kept = Notice(msgspec.structs.replace(message, reason="not_applied"), None)
        try:
            with self._db.begin() as tx:
                results.apply(tx, lane=self._lane, notices=[kept], at=self._clock.now(), ids=self._ids)
        except Exception as again:
            log.error("notice %s cannot be kept either: %r", message.message_id, again)

    def _refuse(self, group: Sequence[Waiting], reason: str) -> None:
        self.counts.failed += len(group)
        for waiting in group:
            waiting.answer = waiting.channel.ack(accepted=False, reason=reason)


def _is_down(error: Exception) -> bool:
    """Tell whether the database itself is away, so that trying the parts of a group would be in vain."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(origin, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return origin.sqlstate is None or origin.sqlstate[:2] in ("08", "57", "53")


def _resolve(group: Sequence[Waiting]) -> None:
    """Wake all who wait, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Waiting]] = {}
    for waiting in group:
        if waiting.future is not None:
            by_loop.setdefault(waiting.future.get_loop(), []).append(waiting)
    for loop, those in by_loop.items():
        try:
            loop.call_soon_threadsafe(_wake, those)
        except RuntimeError:
            log.warning("%d answers have nobody left to go to; the channel will ask again", len(those))


def _wake(those: Sequence[Waiting]) -> None:
    for waiting in those:
        assert waiting.future is not None
        assert waiting.answer is not None
        if not waiting.future.done():
            waiting.future.set_result(waiting.answer)


class Gate:
    """The ASGI application of all channels' notices: the last part of the path names the channel."""

    def __init__(self, *, db: Engine, lane: int, channels: Registry, clock: Clock, ids: Ids, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.committer = Committer(db=db, lane=lane, clock=clock, ids=ids, batch_max=self.limits.batch_max)
        self._channels, self._clock, self._ids = channels, clock, ids
        self._bucket = Bucket(self.limits.refused_per_minute)
        self._instant: datetime | None = None
        self._same_instant: dict[bytes, int] = {}

    @property
    def counts(self) -> Counts:
        return self.committer.counts

    def start(self) -> None:
        """Open the gate: from now on notices are committed."""
        self.committer.start()

    def stop(self) -> None:
        """Close the gate; what is queued is committed and answered first."""
        self.committer.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = await self._answer(scope, receive)
        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        headers.append((b"content-length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            connected = self._channels.find(scope["path"].rstrip("/").rpartition("/")[2])
        except NotFound:
            return _plain(404, "there is no such channel")
        if scope["method"] != "POST":
            return _plain(405, "a notice is posted")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = await self._body(receive, _announced(headers))
        if body is None:
            return _with_status(413, connected.channel.ack(accepted=False, reason="too_large"))
        return await self.take(connected, headers, body)

    async def take(self, connected: Connected, headers: Mapping[str, str], body: bytes) -> Answer:
        """Judge one notice and return the channel's exact answer; a positive one only after its transaction has committed."""
        channel, now = connected.channel, self._clock.now()
        self.counts.received += 1
        reading = channel.parse_callback(headers, body, keys=connected.keys, now=now)
        if reading.verdict != "verified":
            self._keep_refused(channel, reading, headers, body, now)
            return channel.ack(accepted=False, reason=reading.reason)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if not self.committer.put(Waiting(self._notice(channel, reading, headers, body, now), channel, future)):
            self.counts.overflowed += 1
            return channel.ack(accepted=False, reason="busy")
        return await future

    def _keep_refused(self, channel: Channel, reading: Reading, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Keep a message that is not genuine, as evidence of an attack or of a wrong key; a flood of them is only counted."""
        if self._bucket.take(now) and self.committer.put(Waiting(self._notice(channel, reading, headers, body, now), channel)):
            self.counts.refused_kept += 1
        else:
            self.counts.refused_not_kept += 1

    def _notice(self, channel: Channel, reading: Reading, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        message = received(
            channel,
            operation=Operation.CALLBACK.value,
            direction="in",
            verdict=reading.verdict,
            reason=reading.reason,
            headers=headers,
            body=body,
            at=now,
            ids=self._ids,
            occasion=self._occasion(body, now),
        )
        return Notice(message, reading.result)

    def _occasion(self, body: bytes, now: datetime) -> str:
        """Tell equal messages of one instant apart: a simulated clock stands still while notices come twice."""
        if now != self._instant:
            self._instant = now
            self._same_instant.clear()
        times = self._same_instant[body] = self._same_instant.get(body, 0) + 1
        return "" if times == 1 else str(times)

    async def _body(self, receive: Receive, announced: int | None) -> bytes | None:
        """Return the body, or None when it is larger than a notice can be, or comes too slowly."""
        if announced is not None and announced > self.limits.body_bytes_max:
            return None
        message = await receive()
        body: bytes = message.get("body", b"")
        if len(body) == announced or not message.get("more_body"):
            return body if len(body) <= self.limits.body_bytes_max else None
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                return await self._rest(receive, body)
        except TimeoutError:
            return None

    async def _rest(self, receive: Receive, begin: bytes) -> bytes | None:
        parts, size = [begin], len(begin)
        while size <= self.limits.body_bytes_max:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if not message.get("more_body"):
                return b"".join(parts) if size <= self.limits.body_bytes_max else None
        return None


def _announced(headers: Mapping[str, str]) -> int | None:
    """Return the body's length as the sender announced it."""
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() and len(length) < 19 else None


def _with_status(status: int, answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, status=status)


def _plain(status: int, text: str) -> Answer:
    return Answer(status=status, headers={"content-type": "text/plain; charset=utf-8"}, body=text.encode())


def mounted(gate: Gate) -> ASGIRouteHandler:
    """Return the route under which the web application serves the gate: ``/callbacks/{channel}``."""

    @asgi("/callbacks", is_mount=True, copy_scope=False)
    async def callbacks(scope: AnyScope, receive: AnyReceive, send: AnySend) -> None:
        await gate(cast(Scope, scope), cast(Receive, receive), cast(Send, send))

    return callbacks


def in_front(gate: Gate, app: Application) -> Application:
    """Return ``app`` with the gate's paths taken out before it: a notice then costs no routing of the web framework.

    Saves about a quarter of what a notice costs outside the commit; everything else goes to ``app`` untouched.
    """

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/callbacks/"):
            await gate(scope, receive, send)
        else:
            await app(scope, receive, send)

    return either
