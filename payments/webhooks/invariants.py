"""Standing checks of webhooks: every event is delivered, parked, or on its way.

Knows the tables of this package; changes nothing. Called by ``app.checks``, and before old deliveries are forgotten.
Source: docs/ARCHITECTURE.md, invariant I13.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from ledger.invariants import Violation
from payments.webhooks.schedule import PAUSES
from payments.webhooks.store import START

FOUND_MAX: Final = 100

_NOT_IN_LINE: Final = """
    select format('event %s was not put in line for webhook %s', o.event_id, w.webhook_id)
    from payments.webhook w
    join payments.webhook_cursor c on c.lane = w.lane
    join payments.outbox o on o.lane = w.lane and o.operator_id = w.operator_id and (w.lot_id is null or o.lot_id = w.lot_id)
    where w.state in ('active', 'paused') and o.transaction_id >= w.from_transaction and o.transaction_id >= w.checked_from
      and (o.transaction_id, o.event_id) <= (c.transaction_id, c.event_id)
      and w.kinds && array[o.kind, split_part(o.kind, '.', 1) || '.*', '*']
      and not exists (select from payments.webhook_delivery d where d.webhook_id = w.webhook_id and d.event_id = o.event_id)
"""
_KEPT: Final = """
      and o.event_id >= coalesce((select k.events_from from payments.webhook_keeping k where k.lane = w.lane
                                  order by k.events_from desc limit 1), cast(:start as uuid))
"""
"""Deliveries of earlier events may be forgotten, as the run that forgot them has put on record."""
_KEPT_BEFORE: Final = """
      and w.lane = :lane and o.event_id < :until
      and o.event_id >= coalesce((
          select k.events_from from payments.webhook_keeping k where k.lane = w.lane and k.events_from < :until
          order by k.events_from desc limit 1), cast(:start as uuid))
"""

_CHECKS: Final = (
    _NOT_IN_LINE + _KEPT,
    """
    select format('delivery %s is neither delivered nor parked, and not in line', d.delivery_id)
    from payments.webhook_delivery d
    left join payments.webhook_due u on u.delivery_id = d.delivery_id
    where d.delivered_at is null and d.parked_at is null and u.delivery_id is null
    """,
    """
    select format('delivery %s is over and still in line', d.delivery_id)
    from payments.webhook_due u
    join payments.webhook_delivery d on d.delivery_id = u.delivery_id
    where d.delivered_at is not null or d.parked_at is not null
    """,
    """
    select format('delivery %s is in line and is not there', u.delivery_id)
    from payments.webhook_due u
    where not exists (select from payments.webhook_delivery d where d.delivery_id = u.delivery_id)
    """,
    """
    select format('delivery %s is delivered, but no call of it was accepted', d.delivery_id)
    from payments.webhook_delivery d
    where d.delivered_at is not null
      and not exists (select from payments.webhook_try t where t.delivery_id = d.delivery_id and t.status between 200 and 299)
    """,
    """
    select format('delivery %s is parked without a reason', d.delivery_id)
    from payments.webhook_delivery d where d.parked_at is not null and d.last_error is null
    """,
    """
    select format('delivery %s was tried %s times and is still in line', d.delivery_id, d.attempts)
    from payments.webhook_due u
    join payments.webhook_delivery d on d.delivery_id = u.delivery_id
    where d.attempts > :tries
    """,
)


def check(tx: Connection) -> list[Violation]:
    """Return what is broken, at most ``FOUND_MAX`` of each kind. What was parked is no violation: it had its alarm."""
    return [
        Violation("I13", detail)
        for statement in _CHECKS
        for detail in tx.execute(text(f"{statement} limit {FOUND_MAX}"), {"tries": len(PAUSES), "start": START}).scalars()
    ]


def not_in_line(tx: Connection, *, lane: int, until: UUID) -> list[str]:
    """Return which events below ``until`` are in nobody's line although somebody wants them; those whose deliveries were forgotten
    before are left out."""
    given = {"tries": len(PAUSES), "start": START, "lane": lane, "until": until}
    return list(tx.execute(text(f"{_NOT_IN_LINE} {_KEPT_BEFORE} limit {FOUND_MAX}"), given).scalars())
