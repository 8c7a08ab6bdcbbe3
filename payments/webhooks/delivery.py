"""Send events to webhooks: claim what is due, send it, record what came of it; once, or for as long as a worker runs.

Knows the order of the steps and their limits; must not know SQL or what an answer means. Called by the worker, the simulated day
and the tests. Several workers may run: each claims its own.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from threading import Event
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from msgspec import Struct
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from gateways.parking.addresses import Guard
from gateways.parking.sender import TIMEOUT_SECONDS, Reply, Sender
from ledger.clock import Clock
from payments.webhooks import delivery_store, fan_out, message
from payments.webhooks.delivery_store import Parked
from payments.webhooks.records import Claimed, Outcome
from payments.webhooks.schedule import decide
from payments.webhooks.secret import Vault

LOG: Final = logging.getLogger("tongting.webhooks")
CLAIM: Final = timedelta(minutes=2)
"""How long a worker may hold a delivery; longer than a call may take."""
PER_WEBHOOK: Final = 8
"""Calls under way to one webhook at a time, in one worker."""
IN_ALL: Final = 256
REST_AFTER_BREAK_SECONDS: Final = 2.0
SWEEP: Final = timedelta(minutes=1)
RUN_MAX: Final = 10_000
"""Most deliveries of one ``run_due``."""


class Post(Struct, frozen=True):
    """What the delivery works with."""

    db: Engine
    lane: int
    clock: Clock
    guard: Guard
    vault: Vault
    timeout_seconds: float = TIMEOUT_SECONDS
    per_webhook: int = PER_WEBHOOK
    in_all: int = IN_ALL

    def sender(self) -> Sender:
        return Sender(self.guard, timeout_seconds=self.timeout_seconds)


class Ran(Struct, frozen=True):
    """What one run did: events put in line, calls made, and how they ended."""

    events: int
    delivered: int
    failed: int
    parked: int


def run_due(post: Post, *, limit: int = RUN_MAX) -> Ran:
    """Push everything that is due now: put new events in line, send, record, until nothing is due or ``limit`` calls are made.

    Results are recorded in the order of the deliveries, so with a clock that stands the same day gives the same rows. For the
    simulated day, the tests and a person; a worker runs ``run_until``.
    """
    return asyncio.run(_run_due(post, limit))


def run_until(post: Post, *, stop: Event, poll_seconds: float) -> None:
    """Push events until ``stop`` is set, then let the calls under way end. Blocks; a message leaves within ``poll_seconds`` of its
    commit, unless its webhook has ``per_webhook`` calls under way.

    A broken database is logged and tried again; what was sent and not recorded meanwhile is recorded later, or sent again.
    """
    asyncio.run(_Round(post).run(stop, poll_seconds))


def line_up(post: Post) -> int:
    """Put all final events in line for those who want them. Returns how many events there were."""
    events = 0
    while True:
        with post.db.connect() as tx:
            if not fan_out.is_waiting(tx, lane=post.lane):
                return events
        with post.db.begin() as tx:
            found = fan_out.fan_out(tx, lane=post.lane, at=post.clock.now())
        events += found
        if found < fan_out.BATCH:
            return events


async def _run_due(post: Post, limit: int) -> Ran:
    outcomes: list[Outcome] = []
    events = parked = 0
    _sweep(post)
    async with post.sender() as sender:
        while len(outcomes) < limit:
            events += line_up(post)
            claimed = _claim(post, {}, min(post.in_all, limit - len(outcomes)))
            if not claimed:
                break
            came = list(await asyncio.gather(*(_send(post, sender, one) for one in claimed)))
            parked += sum(one.count for one in _record(post, came))
            outcomes += came
    delivered = sum(one.delivered for one in outcomes)
    return Ran(events, delivered, len(outcomes) - delivered, parked)


class _Round:
    """The endless run: calls are under way while others are claimed and recorded, so a slow webhook keeps nobody waiting."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._sending: dict[asyncio.Task[Outcome], UUID] = {}
        self._ended: list[Outcome] = []
        self._swept: datetime | None = None

    async def run(self, stop: Event, poll_seconds: float) -> None:
        async with self._post.sender() as sender:
            while not stop.is_set():
                rest = poll_seconds
                try:
                    for one in await asyncio.to_thread(self._turn):
                        self._sending[asyncio.create_task(_send(self._post, sender, one))] = one.webhook_id
                except DBAPIError as broken:
                    LOG.warning("webhooks lost the database and try again: %s", str(broken.orig).splitlines()[0])
                    rest = REST_AFTER_BREAK_SECONDS
                except Exception:
                    LOG.exception("a turn of the webhooks failed")
                    rest = REST_AFTER_BREAK_SECONDS
                await self._wait(rest)
            if self._sending:
                await asyncio.wait(self._sending)
                self._collect()
        if self._ended:
            await asyncio.to_thread(_record, self._post, self._ended)

    def _turn(self) -> list[Claimed]:
        """Record what has ended, put new events in line, and claim as much as there is room for."""
        if self._ended:
            _record(self._post, self._ended)
            self._ended = []
        now = self._post.clock.now()
        if self._swept is None or now - self._swept >= SWEEP:
            _sweep(self._post)
            self._swept = now
        line_up(self._post)
        room = self._post.in_all - len(self._sending)
        return _claim(self._post, Counter(self._sending.values()), room) if room > 0 else []

    async def _wait(self, seconds: float) -> None:
        """Wait until a call ends, at most so long."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(seconds)
        self._collect()

    def _collect(self) -> None:
        for task in [task for task in self._sending if task.done()]:
            del self._sending[task]
            self._ended.append(task.result())


async def _send(post: Post, sender: Sender, claimed: Claimed) -> Outcome:
    """Send a delivery. What cannot be written or sent is a failure of this delivery alone: the others go on."""
    at = post.clock.now()
    try:
        keys = _keys(post.vault, claimed, at=at)
        content = message.body(claimed.body, lot_code=claimed.lot_code)
        headers = message.headers(content, event_id=claimed.event_id, at=at, keys=keys)
    except InvalidTag:
        words = "the secret was encrypted with another key (keys/webhook.key); rotate it"
        return decide(claimed, Reply(None, "broken", words), at=at, ms=0)
    except Exception as broken:
        LOG.exception("event %s cannot be written as a message", claimed.event_id)
        return decide(claimed, Reply(None, "broken", f"a defect of ours: {type(broken).__name__}"), at=at, ms=0)
    reply = await sender.post(claimed.url, headers=headers, body=content)
    ended = post.clock.now()
    return decide(claimed, reply, at=ended, ms=max(0, (ended - at) // timedelta(milliseconds=1)))


def _keys(vault: Vault, claimed: Claimed, *, at: datetime) -> list[bytes]:
    """Return what the message is signed with, the newest first."""
    stored = [claimed.secret]
    if claimed.old_secret is not None and claimed.old_until is not None and at < claimed.old_until:
        stored.append(claimed.old_secret)
    return [vault.open(one, webhook_id=claimed.webhook_id) for one in stored]


def _claim(post: Post, busy: Counter[UUID] | dict[UUID, int], limit: int) -> list[Claimed]:
    at = post.clock.now()
    with post.db.begin() as tx:
        return delivery_store.claim(
            tx, lane=post.lane, at=at, until=at + CLAIM, busy=busy, per_webhook=post.per_webhook, limit=limit
        )  # fmt: skip


def _record(post: Post, outcomes: Sequence[Outcome]) -> list[Parked]:
    with post.db.begin() as tx:
        parked = delivery_store.record(tx, outcomes=outcomes, at=post.clock.now())
    for one in parked:
        LOG.critical("webhook %s: %d events are parked: %s", one.webhook_id, one.count, one.reason)
    return parked


def _sweep(post: Post) -> None:
    with post.db.begin() as tx:
        delivery_store.sweep(tx, lane=post.lane, at=post.clock.now())
