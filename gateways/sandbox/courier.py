"""Takes notices to where the orders said, with a channel's own retry schedule. The same for every channel.

Knows HTTP out and time; must not know what a notice says: the stand-in composes each attempt and judges each answer.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import httpx
import msgspec

from gateways.contract import Answer, Request
from gateways.sandbox.faults import on_attempt
from gateways.sandbox.shapes import Delivered, Fault, FaultKind
from gateways.sandbox.stand_in import Surroundings
from gateways.sandbox.store import Notice, Store
from ledger.clock import microseconds

ANSWER_SECONDS_MAX: Final = 5.0
AT_ONCE_MAX: Final = 16
LOG: Final = logging.getLogger("tongting.sandbox")
_REST_SECONDS: Final = 0.5
_MICRO: Final = 1_000_000

Compose = Callable[[Notice, int, frozenset[FaultKind]], Request]
"""Returns the request of a notice's attempt number (from 1), touched by the faults given."""
Taken = Callable[[Answer], bool]
"""Says whether an answer means that the notice was taken."""


class Courier:
    """Sends what is due. One attempt per notice at a time."""

    def __init__(
        self, store: Store, around: Surroundings, *, schedule_seconds: Sequence[float], compose: Compose, taken: Taken
    ) -> None:  # fmt: skip
        """Prepare; ``schedule_seconds`` are the pauses between attempts, so there is one attempt more than pauses."""
        self._store, self._around = store, around
        self._schedule, self._compose, self._taken = tuple(schedule_seconds), compose, taken
        self._client = httpx.AsyncClient(timeout=ANSWER_SECONDS_MAX, follow_redirects=False, trust_env=False)
        self._news = asyncio.Event()

    async def close(self) -> None:
        await self._client.aclose()

    def wake(self) -> None:
        """Say that a notice may be due."""
        self._news.set()

    async def run(self) -> None:
        """Send what is due, for ever; several at once."""
        while True:
            try:
                due = self._store.due_notices(self._now(), AT_ONCE_MAX)
                await asyncio.gather(*(self._attempt(notice) for notice in due))
            except Exception:
                LOG.exception("sending notices failed; it goes on after a rest")
                due = []
            if not due:
                await self._rest()

    async def deliver(self, limit: int) -> Delivered:
        """Send what is due, one after another in the order (due, subject), until nothing is due or ``limit`` is reached."""
        attempts = accepted = 0
        while attempts < limit:
            due = self._store.due_notices(self._now(), 1)
            if not due:
                break
            accepted += await self._attempt(due[0])
            attempts += 1
        waiting = self._store.waiting_notices()
        return Delivered(attempts=attempts, accepted=accepted, failed=attempts - accepted, waiting=waiting)

    async def _attempt(self, notice: Notice) -> bool:
        attempt = notice.attempts + 1
        touched = on_attempt(msgspec.json.decode(notice.faults, type=tuple[Fault, ...]), attempt)
        taken = await self._sent(self._compose(notice, attempt, touched))
        state, due_at = "waiting", notice.due_at
        if taken:
            state = "accepted"
        elif attempt > len(self._schedule):
            state = "given_up"
        else:
            due_at = self._now() + int(self._schedule[attempt - 1] / self._around.time_factor * _MICRO)
        self._store.set_notice(notice.notice_id, attempts=attempt, state=state, due_at=due_at)
        return taken

    async def _sent(self, request: Request) -> bool:
        sending = self._client.request(request.method, request.url, headers=dict(request.headers), content=request.body)
        try:
            answer = await asyncio.wait_for(sending, ANSWER_SECONDS_MAX)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
            return False
        return self._taken(Answer(status=answer.status_code, headers=dict(answer.headers), body=answer.content))

    async def _rest(self) -> None:
        next_due = self._store.next_due()
        seconds = _REST_SECONDS if next_due is None else max((next_due - self._now()) / _MICRO, 0.005)
        self._news.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), min(seconds, _REST_SECONDS))

    def _now(self) -> int:
        return microseconds(self._around.clock.now())
