"""Which event goes to whom: from the outbox into the line of deliveries, in the order in which events became final.

Knows the outbox, the lane's cursor and webhooks; must not know HTTP. Called by the delivery, before it looks what is due.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

from payments.webhooks import store

BATCH: Final = 2_000

_WAITING: Final = text("""
    select event_id from payments.outbox
    where transaction_id < pg_snapshot_xmin(pg_current_snapshot()) and lane = :lane
      and (transaction_id, event_id) > (
          coalesce((select transaction_id from payments.webhook_cursor where lane = :lane), '0'),
          coalesce((select event_id from payments.webhook_cursor where lane = :lane), :start))
    order by transaction_id, event_id limit 1
    """)
"""In order, so that the index answers: an ``exists`` would be planned as a walk over the table that finds something soon."""

_FAN_OUT: Final = text("""
    with batch as materialized (
        select transaction_id, event_id, lane, operator_id, lot_id, coalesce(charge_id, subject) as order_key, kind
        from payments.outbox
        where transaction_id < pg_snapshot_xmin(pg_current_snapshot()) and lane = :lane
          and (transaction_id, event_id) > (cast(:transaction as text)::xid8, :event)
        order by transaction_id, event_id limit :limit
    ), line as (
        insert into payments.webhook_delivery
            (webhook_id, lane, lot_id, transaction_id, event_id, order_key, kind, is_replay, created_at)
        select w.webhook_id, b.lane, b.lot_id, b.transaction_id, b.event_id, b.order_key, b.kind, false, :at
        from batch b
        join payments.webhook w on w.lane = b.lane and w.operator_id = b.operator_id and (w.lot_id is null or w.lot_id = b.lot_id)
        where w.state in ('active', 'paused') and b.transaction_id >= w.from_transaction
          and w.kinds && array[b.kind, split_part(b.kind, '.', 1) || '.*', '*']
        order by b.transaction_id, b.event_id, w.webhook_id
        returning delivery_id, webhook_id, order_key
    ), due as (
        insert into payments.webhook_due (delivery_id, webhook_id, order_key, next_at)
        select delivery_id, webhook_id, order_key, :at from line
    ), moved as (
        update payments.webhook_cursor c set transaction_id = l.transaction_id, event_id = l.event_id
        from (select transaction_id, event_id from batch order by transaction_id desc, event_id desc limit 1) l
        where c.lane = :lane
    )
    select (select count(*) from batch) as events, count(*) as deliveries, min(delivery_id) as first from line
    """)

_WAIT_BEHIND: Final = text("""
    with head as (
        select e.webhook_id, e.order_key, e.delivery_id, e.next_at
        from payments.webhook_due n
        join payments.webhook_due e on e.webhook_id = n.webhook_id and e.order_key = n.order_key and e.delivery_id < n.delivery_id
        where n.delivery_id >= :first and e.next_at > :at
        for update of e skip locked
    )
    update payments.webhook_due d set next_at = h.next_at
    from head h
    where d.webhook_id = h.webhook_id and d.order_key = h.order_key and d.delivery_id >= :first and d.delivery_id > h.delivery_id
    """)


def fan_out(tx: Connection, *, lane: int, at: datetime, limit: int = BATCH) -> int:
    """Put the next events of a lane in line for those who want them; returns how many events there were.

    No event is skipped: only transactions below the oldest one still running are read, as in ``events.read``. Holds the lane's
    cursor; when another worker holds it there is nothing to do here, and 0 is returned. The caller commits.
    """
    cursor = store.hold_cursor(tx, lane=lane, wait=False)
    if cursor is None:
        return 0
    found = tx.execute(
        _FAN_OUT, {"lane": lane, "transaction": cursor[0], "event": cursor[1], "limit": limit, "at": at}
    ).one()  # fmt: skip
    if found.deliveries:
        wait_behind(tx, first=found.first, at=at)
    return int(found.events)


def wait_behind(tx: Connection, *, first: int, at: datetime) -> None:
    """Let new deliveries, numbered from ``first`` on, wait as long as the earlier ones of their charges do.

    This saves looking at them; the order itself is kept when deliveries are claimed. One whose earlier one is being finished at
    this moment is left alone, for its end would not be noticed.
    """
    tx.execute(_WAIT_BEHIND, {"first": first, "at": at})


def is_waiting(tx: Connection, *, lane: int) -> bool:
    """Tell whether there are final events behind the cursor. Locks nothing, so it may be asked often."""
    return tx.execute(_WAITING, {"lane": lane, "start": store.START}).first() is not None
