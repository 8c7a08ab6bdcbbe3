"""Commit notices a group at a time, and find the one that cannot be carried out.

Knows the applier and the database's troubles; must not know HTTP. Called by the gate.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import psycopg
from msgspec import Struct
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from gateways.contract import KEPT, Answer, Reading
from gateways.registry import Connected
from ledger.clock import Clock
from ledger.ids import Ids
from payments import results
from payments.results import Notice

log: Final = logging.getLogger("tongting.callbacks")


class Waiting(Struct, eq=False):
    """A channel's message that waits for its commit, and who is to be told its answer; nobody waits for a refused message.

    ``notices`` are what it says, one for each payment.
    """

    notices: tuple[Notice, ...]
    connected: Connected
    reading: Reading
    tell: Callable[[Answer], None] | None = None
    answer: Answer | None = None


class Counts(Struct):
    """What a gate has done since it opened."""

    received: int = 0
    committed: int = 0
    batches: int = 0
    largest: int = 0
    failed: int = 0
    refused_kept: int = 0
    refused_not_kept: int = 0


class Committer:
    """Carries out groups in the thread that calls it.

    Groups of several processes that meet the same payments wait for each other in the database, always in the same order.
    """

    def __init__(self, *, db: Engine, lane: int, clock: Clock, ids: Ids) -> None:
        self._db, self._lane, self._clock, self._ids = db, lane, clock, ids
        self.counts = Counts()

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
            notices = [notice for waiting in group for notice in waiting.notices]
            outcomes = results.apply(
                tx, lane=self._lane, notices=notices, at=self._clock.now(), ids=self._ids, and_commit=True
            )  # fmt: skip
        told = iter(outcomes)
        for waiting in group:
            own = [next(told) for _ in waiting.notices]
            refused = next((outcome for outcome in own if not outcome.accepted), None)
            if refused is not None and waiting.reading.reason == KEPT:
                refused = None
            waiting.answer = self._ack(waiting, accepted=refused is None, reason=None if refused is None else refused.reason)
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
        message = waiting.notices[0].message
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
            waiting.answer = self._ack(waiting, accepted=False, reason=reason)

    def _ack(self, waiting: Waiting, *, accepted: bool, reason: str | None) -> Answer:
        connected = waiting.connected
        return connected.channel.ack(
            accepted=accepted, reason=reason, reading=waiting.reading, keys=connected.keys, now=self._clock.now()
        )  # fmt: skip


def _is_down(error: Exception) -> bool:
    """Tell whether the database itself is away, so that trying the parts of a group would be in vain."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(origin, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return origin.sqlstate is None or origin.sqlstate[:2] in ("08", "57", "53")
