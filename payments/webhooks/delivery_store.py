"""The questions that the delivery asks of PostgreSQL: claim what is due, record what came of it. Private to this package.

A delivery is claimed before it is sent, and sent outside of any transaction; a claim that nobody records runs out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row
from sqlalchemy import Connection, text

from ledger.db import raw
from payments.webhooks import store
from payments.webhooks.records import Claimed, Outcome

_CLAIM: Final = b"""
with room as (
    select w.webhook_id, %(per_webhook)s - coalesce(b.busy, 0) as places
    from payments.webhook w
    left join unnest(%(busy_ids)s::uuid[], %(busy_counts)s::integer[]) as b (webhook_id, busy) on b.webhook_id = w.webhook_id
    where w.lane = %(lane)s and w.state = 'active' and coalesce(b.busy, 0) < %(per_webhook)s
), due as (
    select d.delivery_id, d.next_at, row_number() over (partition by r.webhook_id order by d.next_at, d.delivery_id) as turn
    from room r
    cross join lateral (
        select d.delivery_id, d.next_at from payments.webhook_due d
        where d.webhook_id = r.webhook_id and d.next_at <= %(at)s and (d.claimed_until is null or d.claimed_until <= %(at)s)
          and (select true from payments.webhook_due e
               where e.webhook_id = d.webhook_id and e.order_key = d.order_key and e.delivery_id < d.delivery_id limit 1) is null
        order by d.next_at, d.delivery_id limit r.places
        for update skip locked
    ) d
), chosen as (
    select delivery_id from due order by turn, next_at, delivery_id limit %(limit)s
), held as (
    update payments.webhook_due d set claimed_until = %(until)s from chosen c where d.delivery_id = c.delivery_id
    returning d.delivery_id
)
select d.delivery_id, d.webhook_id, d.order_key, d.attempts, d.event_id, o.body, l.code as lot_code, w.url, w.secret, w.old_secret,
       w.old_until, w.failing_since
from held h
join payments.webhook_delivery d on d.delivery_id = h.delivery_id
join payments.webhook w on w.webhook_id = d.webhook_id
join payments.outbox o
  on o.lot_id = d.lot_id and o.transaction_id = d.transaction_id and o.event_id = d.event_id and o.lane = d.lane
join payments.lot l on l.lot_id = d.lot_id
order by d.delivery_id
"""
"""Whether a delivery is its charge's first is asked by key, for each: a ``not exists`` is planned as a join over the backlog."""


def claim(
    tx: Connection, *, lane: int, at: datetime, until: datetime, busy: Mapping[UUID, int], per_webhook: int, limit: int
) -> list[Claimed]:  # fmt: skip
    """Hold deliveries that are due until ``until`` and return them, at most ``limit``.

    Each webhook gives one in turn and has at most ``per_webhook`` under way, those in ``busy`` among them; of a charge only the
    first that waits. Skips what another worker is claiming.
    """
    with raw(tx).cursor(row_factory=class_row(Claimed)) as cursor:
        return cursor.execute(
            _CLAIM,
            {
                "lane": lane,
                "at": at,
                "until": until,
                "busy_ids": list(busy),
                "busy_counts": list(busy.values()),
                "per_webhook": per_webhook,
                "limit": limit,
            },
        ).fetchall()


_TOLD: Final = """
    unnest(cast(:deliveries as bigint[]), cast(:delivered as boolean[]), cast(:next_at as timestamptz[]),
           cast(:at as timestamptz[]), cast(:statuses as smallint[]), cast(:failures as text[]), cast(:excerpts as text[]),
           cast(:ms as integer[]), cast(:errors as text[]))
    as u (delivery_id, delivered, next_at, at, status, failure, excerpt, ms, error)
"""

_TRIED: Final = text(f"""
    with told as (select * from {_TOLD}), done as (
        update payments.webhook_delivery d
        set attempts = d.attempts + 1, last_status = t.status, last_ms = t.ms, last_error = t.error,
            delivered_at = case when t.delivered then t.at else d.delivered_at end,
            parked_at = case when t.delivered then null
                             when t.next_at is null and d.delivered_at is null then coalesce(d.parked_at, t.at)
                             else d.parked_at end
        from told t where d.delivery_id = t.delivery_id
        returning d.delivery_id, d.attempts
    )
    insert into payments.webhook_try (delivery_id, number, tried_at, status, failure, excerpt, ms)
    select t.delivery_id, d.attempts, t.at, t.status, t.failure, t.excerpt, t.ms
    from told t join done d on d.delivery_id = t.delivery_id
    """)

_OUT_OF_LINE: Final = text(f"""
    delete from payments.webhook_due d using {_TOLD} where d.delivery_id = u.delivery_id and (u.delivered or u.next_at is null)
    """)

_LATER: Final = text(f"""
    update payments.webhook_due d set next_at = u.next_at, claimed_until = null
    from {_TOLD} where d.delivery_id = u.delivery_id and not u.delivered and u.next_at is not null
    """)

_BEHIND: Final = text("""
    update payments.webhook_due d set next_at = coalesce(u.next_at, :now)
    from unnest(cast(:deliveries as bigint[]), cast(:webhooks as uuid[]), cast(:keys as uuid[]), cast(:next_at as timestamptz[]))
         as u (delivery_id, webhook_id, order_key, next_at)
    where d.webhook_id = u.webhook_id and d.order_key = u.order_key and d.delivery_id > u.delivery_id
    """)

_HEALTH: Final = text("""
    update payments.webhook w set failing_since = case when u.succeeded then null else u.at end
    from unnest(cast(:webhooks as uuid[]), cast(:succeeded as boolean[]), cast(:at as timestamptz[]))
         as u (webhook_id, succeeded, at)
    where w.webhook_id = u.webhook_id and (w.failing_since is null) <> u.succeeded
    """)


class Parked(Struct, frozen=True):
    """How many deliveries of a webhook were given up, and why: each is an alarm."""

    webhook_id: UUID
    count: int
    reason: str


def record(tx: Connection, *, outcomes: Sequence[Outcome], at: datetime) -> list[Parked]:
    """Write what came of calls: each try, final deliveries, next times, the webhooks' health. Returns what was parked.

    What waits behind a delivery goes with it: it is due at once when that is over, and later when that is tried later. The caller
    commits. Recording again what is delivered changes nothing but the number of tries.
    """
    outcomes = sorted(outcomes, key=lambda one: one.claimed.delivery_id)
    told = {
        "deliveries": [one.claimed.delivery_id for one in outcomes],
        "delivered": [one.delivered for one in outcomes],
        "next_at": [one.next_at for one in outcomes],
        "at": [one.at for one in outcomes],
        "statuses": [one.reply.status for one in outcomes],
        "failures": [one.reply.failure for one in outcomes],
        "excerpts": [one.reply.excerpt for one in outcomes],
        "ms": [one.ms for one in outcomes],
        "errors": [one.error for one in outcomes],
    }
    webhooks = [one.claimed.webhook_id for one in outcomes]
    tx.execute(_TRIED, told)
    tx.execute(_OUT_OF_LINE, told)
    tx.execute(_LATER, told)
    tx.execute(
        _BEHIND,
        {
            "deliveries": told["deliveries"],
            "webhooks": webhooks,
            "keys": [one.claimed.order_key for one in outcomes],
            "next_at": told["next_at"],
            "now": at,
        },
    )
    health = _health(outcomes)
    tx.execute(
        _HEALTH, {"webhooks": list(health), "succeeded": [at is None for at in health.values()], "at": list(health.values())}
    )
    return [*_parked(outcomes), *_disable(tx, outcomes, at=at)]


def sweep(tx: Connection, *, lane: int, at: datetime) -> int:
    """Park what came into line for a webhook at the moment in which it was disabled or ended. Returns how much."""
    late = tx.execute(
        text("""
        select w.webhook_id from payments.webhook w
        where w.lane = :lane and w.state in ('disabled', 'ended')
          and exists (select from payments.webhook_due d where d.webhook_id = w.webhook_id)
        """),
        {"lane": lane},
    ).scalars()
    ids = list(late)
    return sum(store.park_all(tx, webhook_ids=ids, at=at).values()) if ids else 0


def _health(outcomes: Sequence[Outcome]) -> dict[UUID, datetime | None]:
    """Return for each webhook when it first failed, or None when one of its calls succeeded."""
    found: dict[UUID, datetime | None] = {}
    for one in outcomes:
        if one.delivered:
            found[one.claimed.webhook_id] = None
        else:
            found.setdefault(one.claimed.webhook_id, one.at)
    return dict(sorted(found.items()))


def _parked(outcomes: Sequence[Outcome]) -> list[Parked]:
    counted: dict[UUID, list[str]] = {}
    for one in outcomes:
        if not one.delivered and one.next_at is None:
            counted.setdefault(one.claimed.webhook_id, []).append(one.error or "")
    return [Parked(webhook_id, len(errors), errors[-1]) for webhook_id, errors in counted.items()]


def _disable(tx: Connection, outcomes: Sequence[Outcome], *, at: datetime) -> list[Parked]:
    """Disable the webhooks that have to be, and park what waits for them."""
    reasons = {one.claimed.webhook_id: one.disables for one in outcomes if one.disables is not None}
    if not reasons:
        return []
    disabled = tx.execute(
        text("""
        update payments.webhook w set state = 'disabled', reason = u.reason, changed_at = :at
        from unnest(cast(:ids as uuid[]), cast(:reasons as text[])) as u (webhook_id, reason)
        where w.webhook_id = u.webhook_id and w.state in ('active', 'paused')
        returning w.webhook_id
        """),
        {"ids": list(reasons), "reasons": list(reasons.values()), "at": at},
    ).scalars()
    ids = sorted(disabled)
    counts = store.park_all(tx, webhook_ids=ids, at=at)
    return [Parked(one, counts.get(one, 0), f"the webhook is disabled: {reasons[one]}") for one in ids]
