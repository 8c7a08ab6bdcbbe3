"""The gate of all channels' notices: judge each, let those that came together be committed together, then answer.

Knows channels, clock and the committer; must not know HTTP. Called by the exchanges of the process's event loop.

The natural group commit: everything that arrived while the last transaction committed is read, judged and committed as the next
group. An idle gate commits at once; under load the groups grow by themselves, and no timer is needed.
Source: docs/ARCHITECTURE.md, group commit.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from app.callbacks.committer import Committer, Counts, Waiting
from gateways.contract import Answer, AnyChannel, Operation, Reading
from gateways.messages import received
from gateways.registry import Connected, Registry
from ledger.clock import Clock
from ledger.ids import Ids
from payments.results import Notice

Tell = Callable[[Answer], None]

GATHERED_MAX: Final = 128
"""Beyond this many the fixed cost of a commit hardly counts any more, and nobody shall wait longer."""


class Limits(Struct, frozen=True):
    """Bounds of a gate: notices per commit, bytes per body, refused messages kept per minute."""

    batch_max: int = 1_000
    body_bytes_max: int = 65_536
    refused_per_minute: int = 600


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


class Gate:
    """Judges notices and commits them in the thread of one event loop, which waits for nothing else.

    While a group commits the loop stands still on purpose: what arrives meanwhile waits in the sockets and is the next group, and
    no two threads hand Python's lock to each other. Another process uses the core.
    """

    def __init__(self, *, db: Engine, lane: int, channels: Registry, clock: Clock, ids: Ids, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.channels = channels
        self._db, self._clock, self._ids = db, clock, ids
        self._committer = Committer(db=db, lane=lane, clock=clock, ids=ids)
        self._queue: deque[Waiting] = deque()
        self._gathering = False
        self._bucket = Bucket(self.limits.refused_per_minute)
        self._instant: datetime | None = None
        self._same_instant: dict[bytes, int] = {}

    @property
    def counts(self) -> Counts:
        return self._committer.counts

    def take(self, connected: Connected, headers: Mapping[str, str], body: bytes, tell: Tell) -> None:
        """Judge one notice; ``tell`` gets the channel's exact answer, a positive one only after its transaction has committed."""
        channel, now = connected.channel, self._clock.now()
        self.counts.received += 1
        reading = channel.parse_callback(headers, body, keys=connected.keys, now=now)
        if reading.verdict == "verified":
            self._put(Waiting(self._notices(channel, reading, headers, body, now), connected, reading, tell))
        else:
            self._keep_refused(connected, reading, headers, body, now)
            tell(channel.ack(accepted=False, reason=reading.reason, reading=reading, keys=connected.keys, now=now))

    def settle(self) -> None:
        """Commit what waits, a group at a time, and tell everyone."""
        while self._queue:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), self.limits.batch_max))]
            self._committer.commit(group)
            for waiting in group:
                if waiting.tell is not None:
                    assert waiting.answer is not None
                    waiting.tell(waiting.answer)

    def healthy(self) -> bool:
        """Tell whether the database answers."""
        try:
            with self._db.connect() as tx:
                tx.execute(text("select 1"))
        except DBAPIError:
            return False
        return True

    def _put(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        if not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_soon(self._gather, 0)

    def _gather(self, before: int) -> None:
        """Commit once a round of the event loop has brought nothing more: then everything that has arrived is in the queue."""
        if before < len(self._queue) < GATHERED_MAX:
            asyncio.get_running_loop().call_soon(self._gather, len(self._queue))
        else:
            self._gathering = False
            self.settle()

    def _keep_refused(self, connected: Connected, reading: Reading, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Keep a message that is not genuine, as evidence of an attack or of a wrong key; a flood of them is only counted."""
        if self._bucket.take(now):
            self._put(Waiting(self._notices(connected.channel, reading, headers, body, now), connected, reading))
            self.counts.refused_kept += 1
        else:
            self.counts.refused_not_kept += 1

    def _notices(
        self, channel: AnyChannel, reading: Reading, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> tuple[Notice, ...]:
        """Return what a message says, one notice for each payment that it speaks of; at least one, because it is kept."""
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
        if len(reading.results) > 1:
            return tuple(Notice(message, result, again=number > 0) for number, result in enumerate(reading.results))
        return (Notice(message, reading.result, refund=reading.refund, entry=reading.entry, clearing=reading.clearing),)

    def _occasion(self, body: bytes, now: datetime) -> str:
        """Tell equal messages of one instant apart: a simulated clock stands still while notices come twice."""
        if now != self._instant:
            self._instant = now
            self._same_instant.clear()
        times = self._same_instant[body] = self._same_instant.get(body, 0) + 1
        return "" if times == 1 else str(times)
