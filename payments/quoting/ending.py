"""Notice the prices of quotes that have ended, so that lists and look-ups leave them behind.

Knows quotes; must not know pages or lots' systems. Called by the worker.
Source: docs/QUOTES.md, section 4.

Nothing becomes of the charge: a payment that comes late still pays it, a car that leaves without paying still owes it, and the lot
may name the price again. So an end is a mark on the quote; while it bears the mark nobody owes the charge.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine, text

BATCH: Final = 2_000
"""Quotes marked in one transaction."""

_ENDED: Final = text("""
    with over as materialized (
        select q.charge_id from payments.charge_quote q
        where q.ended_at is null and q.lane = :lane and q.valid_until <= :at
          and not exists (
            select from payments.payment y
            where y.charge_id = q.charge_id and y.lane = q.lane and y.state in ('created', 'pending', 'unknown'))
        order by q.valid_until limit :limit for update of q skip locked
    )
    update payments.charge_quote q set ended_at = q.valid_until from over o where q.lane = :lane and q.charge_id = o.charge_id
    """)


def end_due(tx: Connection, *, lane: int, at: datetime, limit: int = BATCH) -> int:
    """Mark the quotes whose price ended by ``at`` and that nobody is paying; returns how many. May be repeated.

    Holds the quotes, and skips those that an answer is just being taken for.
    """
    return tx.execute(_ENDED, {"lane": lane, "at": at, "limit": limit}).rowcount


def end_all(db: Engine, *, lane: int, at: datetime) -> int:
    """Mark all of them, batch by batch, each in a transaction of its own; returns how many. Broken off, the next call goes on."""
    ended = 0
    while True:
        with db.begin() as tx:
            found = end_due(tx, lane=lane, at=at)
        ended += found
        if found < BATCH:
            return ended
