"""The questions that subscriptions and replays ask of PostgreSQL. Private to this package.

The fan-out's and the delivery's own stand beside them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row
from sqlalchemy import Connection, text

from ledger.db import raw
from payments.webhooks.records import Delivery, Owner, Try, Webhook

START: Final = UUID(int=0)
_OWNED: Final = " and w.operator_id = %(operator)s and (%(lot)s::integer is null or w.lot_id = %(lot)s)"
"""An operator's are all of its webhooks, a lot's only those of the lot."""

_WEBHOOKS: Final = """
    select w.webhook_id, w.operator_id, w.lot_id, w.operator_code, w.lot_code, w.url, w.kinds, w.state, w.reason, w.old_until,
           w.failing_since, w.created_at, w.created_by, w.changed_at, w.ended_at,
           (select count(*) from payments.webhook_due d where d.webhook_id = w.webhook_id) as waiting,
           (select count(*) from payments.webhook_delivery d
            where d.webhook_id = w.webhook_id and d.parked_at is not null) as parked
    from payments.v_webhook w
    where w.lane = %(lane)s
"""


def hold_cursor(tx: Connection, *, lane: int, wait: bool) -> tuple[str, UUID] | None:
    """Lock the lane's cursor and return it; None when another holds it and one does not wait.

    Whoever fans out holds it, and so does whoever changes which events a webhook gets.
    """
    tx.execute(
        text("""
        insert into payments.webhook_cursor (lane, transaction_id, event_id)
        select :lane, '0'::xid8, :start where not exists (select from payments.webhook_cursor where lane = :lane)
        on conflict (lane) do nothing
        """),
        {"lane": lane, "start": START},
    )
    ask = "select transaction_id::text, event_id from payments.webhook_cursor where lane = :lane for update"
    row = tx.execute(text(ask if wait else ask + " skip locked"), {"lane": lane}).first()
    return None if row is None else (row.transaction_id, row.event_id)


def webhooks(tx: Connection, *, lane: int, owner: Owner, ended: bool) -> list[Webhook]:
    """Return an owner's webhooks, the oldest first; those that have ended only when asked for."""
    with raw(tx).cursor(row_factory=class_row(Webhook)) as cursor:
        return cursor.execute(
            f"{_WEBHOOKS}{_OWNED} and (%(ended)s or w.state <> 'ended') order by w.webhook_id".encode(),
            _owned(lane, owner) | {"ended": ended},
        ).fetchall()


def all_webhooks(tx: Connection, *, lane: int, operator_id: int | None, ended: bool) -> list[Webhook]:
    """Return the webhooks of an operator, or of all, for a person of this installation."""
    with raw(tx).cursor(row_factory=class_row(Webhook)) as cursor:
        return cursor.execute(
            (
                f"{_WEBHOOKS} and (%(operator)s::integer is null or w.operator_id = %(operator)s)"
                " and (%(ended)s or w.state <> 'ended') order by w.operator_id, w.webhook_id"
            ).encode(),
            {"lane": lane, "operator": operator_id, "ended": ended},
        ).fetchall()


def owner_of(tx: Connection, *, lane: int, webhook_id: UUID) -> Owner | None:
    """Return whose a webhook is, for a person of this installation."""
    row = tx.execute(
        text("select operator_id, lot_id from payments.webhook where lane = :lane and webhook_id = :id"),
        {"lane": lane, "id": webhook_id},
    ).first()
    return None if row is None else Owner(row.operator_id, row.lot_id)


def webhook(tx: Connection, *, lane: int, owner: Owner, webhook_id: UUID) -> Webhook | None:
    """Return one webhook of an owner."""
    with raw(tx).cursor(row_factory=class_row(Webhook)) as cursor:
        return cursor.execute(
            f"{_WEBHOOKS}{_OWNED} and w.webhook_id = %(webhook)s".encode(), _owned(lane, owner) | {"webhook": webhook_id}
        ).fetchone()


def hold(tx: Connection, *, webhook_id: UUID) -> None:
    """Lock a webhook against other changes."""
    tx.execute(text("select from payments.webhook where webhook_id = :id for update"), {"id": webhook_id})


def insert(tx: Connection, *, columns: dict[str, Any]) -> bool:
    """Enter a webhook; False when its owner has one with the same address."""
    names = ", ".join(columns)
    values = ", ".join(f":{name}" for name in columns)
    added = tx.execute(text(f"insert into payments.webhook ({names}) values ({values}) on conflict do nothing"), columns)
    return added.rowcount == 1


def update(tx: Connection, *, webhook_id: UUID, columns: dict[str, Any]) -> None:
    """Set columns of a webhook."""
    sets = ", ".join(f"{name} = :{name}" for name in columns)
    tx.execute(text(f"update payments.webhook set {sets} where webhook_id = :id"), columns | {"id": webhook_id})


def keep_old_secret(tx: Connection, *, webhook_id: UUID, until: datetime | None) -> None:
    """Let the present secret be the old one until then; without a time there is no old one."""
    tx.execute(
        text("""
        update payments.webhook
        set old_secret = case when cast(:until as timestamptz) is not null then secret end, old_until = :until
        where webhook_id = :id
        """),
        {"id": webhook_id, "until": until},
    )


def begin_here(tx: Connection, *, webhook_id: UUID, pushed: bool) -> None:
    """Let the standing checks look at events from now on only; with ``pushed`` earlier ones are not pushed either.

    The caller holds the cursor.
    """
    tx.execute(
        text("""
        update payments.webhook
        set checked_from = pg_snapshot_xmin(pg_current_snapshot()),
            from_transaction = case when :pushed then pg_snapshot_xmin(pg_current_snapshot()) else from_transaction end
        where webhook_id = :id
        """),
        {"id": webhook_id, "pushed": pushed},
    )


def park_all(tx: Connection, *, webhook_ids: Sequence[UUID], at: datetime) -> dict[UUID, int]:
    """Park everything that waits for webhooks that were ended or disabled; returns how much of each."""
    rows = tx.execute(
        text("""
        with gone as (delete from payments.webhook_due where webhook_id = any(:ids) returning delivery_id), parked as (
            update payments.webhook_delivery d
            set parked_at = :at,
                last_error = concat_ws('; ', d.last_error,
                                       coalesce('the webhook is disabled: ' || w.reason, 'the webhook has ended'))
            from gone, payments.webhook w
            where d.delivery_id = gone.delivery_id and d.delivered_at is null and w.webhook_id = d.webhook_id
            returning d.webhook_id
        )
        select webhook_id, count(*) as parked from parked group by webhook_id
        """),
        {"ids": list(webhook_ids), "at": at},
    )
    return {row.webhook_id: row.parked for row in rows}


def deliveries(
    tx: Connection, *, webhook_id: UUID, state: str | None, before: int | None, limit: int
) -> list[Delivery]:  # fmt: skip
    """Return a webhook's deliveries, the newest first, below the number ``before``."""
    wanted = {
        None: "true",
        "waiting": "u.delivery_id is not null",
        "delivered": "d.delivered_at is not null",
        "parked": "d.parked_at is not null",
    }
    with raw(tx).cursor(row_factory=class_row(Delivery)) as cursor:
        return cursor.execute(
            f"""
            select d.delivery_id, d.event_id, d.kind, l.code as lot_code, d.is_replay, d.created_at, d.attempts, u.next_at,
                   case when d.delivered_at is not null then 'delivered' when d.parked_at is not null then 'parked'
                        else 'waiting' end as state,
                   d.last_status, d.last_ms, d.last_error, coalesce(d.delivered_at, d.parked_at) as done_at
            from payments.webhook_delivery d
            join payments.lot l on l.lot_id = d.lot_id
            left join payments.webhook_due u on u.delivery_id = d.delivery_id
            where d.webhook_id = %(webhook)s and (%(before)s::bigint is null or d.delivery_id < %(before)s) and {wanted[state]}
            order by d.delivery_id desc limit %(limit)s
            """.encode(),
            {"webhook": webhook_id, "before": before, "limit": limit},
        ).fetchall()


def tries(tx: Connection, *, webhook_id: UUID, delivery_id: int) -> list[Try] | None:
    """Return the calls of a delivery, the first one first; None when the webhook has no such delivery."""
    of = text("select from payments.webhook_delivery where delivery_id = :delivery and webhook_id = :webhook")
    if tx.execute(of, {"delivery": delivery_id, "webhook": webhook_id}).first() is None:
        return None
    with raw(tx).cursor(row_factory=class_row(Try)) as cursor:
        return cursor.execute(
            b"""
            select number, tried_at, status, failure, excerpt, ms from payments.webhook_try
            where delivery_id = %(delivery)s order by number
            """,
            {"delivery": delivery_id},
        ).fetchall()


def _owned(lane: int, owner: Owner) -> dict[str, object]:
    return {"lane": lane, "operator": owner.operator_id, "lot": owner.lot_id}
