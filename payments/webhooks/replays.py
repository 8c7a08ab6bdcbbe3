"""Replays: events that a webhook's owner asks for again, by time, by id, or those that were parked.

Knows the outbox and the line of deliveries; must not know HTTP. Called by the API and the command line.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.clock import checked, milliseconds
from ledger.errors import Conflict, Refused
from payments.webhooks import fan_out, store, subscriptions
from payments.webhooks.records import Owner

REPLAYED_MAX: Final = 5_000
"""Events that one call puts in line; the next one goes on behind them."""
EVENT_IDS_MAX: Final = 1_000

_REPLAY: Final = text("""
    with batch as materialized (
        select o.transaction_id, o.event_id, o.lane, o.lot_id, coalesce(o.charge_id, o.subject) as order_key, o.kind
        from payments.outbox o
        join payments.lot l on l.lot_id = o.lot_id
        where l.operator_id = :operator and (cast(:lot as integer) is null or l.lot_id = :lot) and o.lane = :lane
          and o.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
          and o.event_id >= :first and o.event_id < :last and o.event_id > :after
          and (cast(:event_ids as uuid[]) is null or o.event_id = any(cast(:event_ids as uuid[])))
          and (not :parked or exists (select from payments.webhook_delivery d
                                      where d.webhook_id = :webhook and d.event_id = o.event_id and d.parked_at is not null))
          and cast(:kinds as text[]) && array[o.kind, split_part(o.kind, '.', 1) || '.*', '*']
        order by o.event_id limit :limit
    ), line as (
        insert into payments.webhook_delivery
            (webhook_id, lane, lot_id, transaction_id, event_id, order_key, kind, is_replay, created_at)
        select :webhook, lane, lot_id, transaction_id, event_id, order_key, kind, true, :at
        from batch order by transaction_id, event_id
        returning delivery_id, webhook_id, order_key, event_id
    ), due as (
        insert into payments.webhook_due (delivery_id, webhook_id, order_key, next_at)
        select delivery_id, webhook_id, order_key, :at from line
    )
    select count(*) as events, min(delivery_id) as first,
           (select event_id from line order by event_id desc limit 1) as last
    from line
    """)


class Replayed(Struct, frozen=True):
    """How many events were put in line again, and after which one to go on; ``next`` is None when there are no more."""

    events: int
    next: UUID | None


def replay(
    tx: Connection,
    *,
    lane: int,
    owner: Owner,
    webhook_id: UUID,
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    event_ids: Sequence[UUID] | None = None,
    kinds: Sequence[str] | None = None,
    parked: bool = False,
    after: UUID | None = None,
) -> Replayed:
    """Put events in line again for a webhook, as new deliveries with the same ids: those written from ``since`` to before ``until``
    (UTC), or with these ids, or that were parked; of its own kinds, or of ``kinds``.

    Behind what waits of the same charge. At most ``REPLAYED_MAX``; ask again with ``after`` set to what ``next`` says. Asking twice
    sends twice: the receiver knows the ids.

    Raises:
        NotFound: ``webhook_not_found``.
        Conflict: ``webhook_ended``; ``webhook_disabled``.
        Refused: ``replay_refused``, nothing says what to send, or too many ids; ``webhook_kinds_refused``.
    """
    webhook = subscriptions.one(tx, lane=lane, owner=owner, webhook_id=webhook_id)
    if webhook.state in ("ended", "disabled"):
        words = "the webhook has ended" if webhook.state == "ended" else "the webhook is disabled; set it to active first"
        raise Conflict(words, code=f"webhook_{webhook.state}")
    _check(since, until, event_ids, parked=parked)
    found = tx.execute(
        _REPLAY,
        {
            "operator": webhook.operator_id, "lot": webhook.lot_id, "lane": lane, "webhook": webhook_id, "at": at,
            "first": store.START if since is None else _begin(since), "last": _END if until is None else _begin(until),
            "after": after or store.START, "event_ids": None if event_ids is None else list(event_ids), "parked": parked,
            "kinds": webhook.kinds if kinds is None else subscriptions.checked_kinds(kinds), "limit": REPLAYED_MAX,
        },
    ).one()  # fmt: skip
    if found.events:
        fan_out.wait_behind(tx, first=found.first, at=at)
    return Replayed(found.events, found.last if found.events == REPLAYED_MAX else None)


_END: Final = UUID(int=(1 << 128) - 1)


def _begin(at: datetime) -> UUID:
    """Return the smallest id that an event of this moment can have: ids begin with their milliseconds."""
    return UUID(int=milliseconds(checked(at)) << 80)


def _check(since: datetime | None, until: datetime | None, event_ids: Sequence[UUID] | None, *, parked: bool) -> None:
    if since is None and not event_ids and not parked:
        raise Refused("say what to send again: since when, which event ids, or what was parked", code="replay_refused")
    if event_ids is not None and len(event_ids) > EVENT_IDS_MAX:
        raise Refused(f"at most {EVENT_IDS_MAX} event ids in one call", code="replay_refused")
    if since is not None and until is not None and until <= since:
        raise Refused("the end must lie behind the beginning", code="replay_refused")
