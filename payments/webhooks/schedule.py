"""What follows from an answer: delivered, tried again and when, parked, or the whole webhook disabled. Pure.

Knows statuses, the schedule and chance that repeats; must not know tables or HTTP clients. Called by the delivery.
Source: Standard Webhooks 1.0, "Deliverability and reliability" (schedule, jitter, 410 Gone, disabling).
"""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from gateways.parking.sender import Reply
from payments.webhooks.records import Claimed, Outcome

PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Between one try and the next; after the last one follows one more try, then the delivery is parked."""
JITTER: Final = 0.1
"""A pause is longer by up to this part of it, so that what failed together does not come back together."""
FAILING_MAX: Final = timedelta(days=5)
"""A webhook that has failed for so long without one success is disabled."""
GONE: Final = 410


def decide(claimed: Claimed, reply: Reply, *, at: datetime, ms: int) -> Outcome:
    """Return what follows from the answer to a call made at ``at`` (UTC). Only 2xx is success; a redirect is not followed."""
    delivered = reply.status is not None and 200 <= reply.status < 300
    return Outcome(
        claimed=claimed,
        reply=reply,
        at=at,
        ms=ms,
        delivered=delivered,
        next_at=None if delivered else next_try(claimed, at=at),
        error=None if delivered else _words(reply),
        disables=None if delivered else _disabling(claimed, reply, at=at),
    )


def next_try(claimed: Claimed, *, at: datetime) -> datetime | None:
    """Return when a delivery is tried again after a failure, or None when it is to be parked."""
    if claimed.attempts >= len(PAUSES):
        return None
    pause = PAUSES[claimed.attempts]
    return at + pause + pause * (JITTER * _chance(claimed))


def _chance(claimed: Claimed) -> float:
    """Return a number from 0 to 1 that follows from the delivery and its try."""
    digest = hashlib.sha256(f"{claimed.webhook_id} {claimed.delivery_id} {claimed.attempts}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def _words(reply: Reply) -> str:
    if reply.status is None:
        return f"{reply.failure}: {reply.excerpt}"
    if 300 <= reply.status < 400:
        return f"the answer was {reply.status}, a redirect; redirects are not followed, enter the final address"
    return f"the answer was {reply.status}: {reply.excerpt}"


def _disabling(claimed: Claimed, reply: Reply, *, at: datetime) -> str | None:
    if reply.status == GONE:
        return "the address answered 410 Gone"
    if claimed.failing_since is not None and at - claimed.failing_since >= FAILING_MAX:
        return f"no call has succeeded for {FAILING_MAX.days} days; last: {_words(reply)}"
    return None
