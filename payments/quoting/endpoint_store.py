"""The questions that endpoints of quotes put to PostgreSQL: where a lot is asked, how its answers fare. Private to this room.

Knows endpoints and their failures; must not know quotes or HTTP. Called by ``endpoints`` and ``asking``, and by the page that asks.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.arrays import integer, smallint
from ledger.volley import Question, Statement, ask, structs

FAILURES_MAX: Final = 5
"""After so many questions in a row without a usable answer a lot's system is asked seldom."""
REST: Final = timedelta(seconds=30)
"""So seldom."""


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where a lot's system is asked. Secrets are encrypted."""

    endpoint_id: UUID
    lot_id: int
    url: str
    timeout_ms: int
    secret: bytes
    old_secret: bytes | None
    old_until: datetime | None
    failures: int
    tried_at: datetime | None
    last_error: str | None
    created_at: datetime
    created_by: str
    changed_at: datetime


_ENDPOINT: Final = f"select {', '.join(Endpoint.__struct_fields__)} from payments.quote_endpoint"
_OF_LOT: Final = Statement(_ENDPOINT + " where lane = %(lane)s::smallint and lot_id = %(lot)s::integer and ended_at is null")
_HOLD: Final = Statement(
    _ENDPOINT + " where lane = %(lane)s::smallint and lot_id = %(lot)s::integer and ended_at is null for update"
)
_endpoints: Final = structs(Endpoint)


def endpoint(tx: Connection, *, lane: int, lot_id: int, lock: bool = False) -> Endpoint | None:
    """Return where a lot is asked, holding the row when ``lock``; None: it is not asked."""
    return ask(tx, where_asked(lane=lane, lot_id=lot_id, lock=lock))


def where_asked(*, lane: int, lot_id: int, lock: bool = False) -> Question[Endpoint | None]:
    """As ``endpoint``."""
    shot = (_HOLD if lock else _OF_LOT).shot(lane=smallint(lane), lot=integer(lot_id))
    return Question(shot, lambda rows: next(iter(_endpoints(rows)), None))


def insert_endpoint(tx: Connection, *, lane: int, made: Endpoint) -> bool:
    """Enter where a lot is asked; False: somebody did at the same moment."""
    rows = tx.execute(
        text("""
        insert into payments.quote_endpoint (endpoint_id, lane, lot_id, url, timeout_ms, secret, created_at, created_by, changed_at)
        values (:endpoint_id, :lane, :lot_id, :url, :timeout_ms, :secret, :created_at, :created_by, :changed_at)
        on conflict (lot_id, lane) where ended_at is null do nothing
        """),
        {"lane": lane} | {name: getattr(made, name) for name in Endpoint.__struct_fields__},
    )
    return rows.rowcount == 1


def change_endpoint(tx: Connection, *, changed: Endpoint) -> None:
    """Keep an endpoint as its owner changed it; what it failed at before counts no more."""
    tx.execute(
        text("""
        update payments.quote_endpoint
        set url = :url, timeout_ms = :timeout_ms, secret = :secret, old_secret = :old_secret, old_until = :old_until,
            changed_at = :changed_at, failures = 0, tried_at = null, last_error = null
        where endpoint_id = :endpoint_id
        """),
        {name: getattr(changed, name) for name in Endpoint.__struct_fields__},
    )


def end_endpoint(tx: Connection, *, endpoint_id: UUID, at: datetime) -> None:
    tx.execute(text("update payments.quote_endpoint set ended_at = :at where endpoint_id = :id"), {"id": endpoint_id, "at": at})


def may_ask(tx: Connection, *, endpoint_id: UUID, at: datetime) -> bool:
    """Say whether a lot's system that failed too often may be asked once more, and take the turn: one asker every ``REST``."""
    rows = tx.execute(
        text("""
        update payments.quote_endpoint set tried_at = :at
        where endpoint_id = :id and (failures < :most or tried_at is null or tried_at <= :before)
        """),
        {"id": endpoint_id, "at": at, "most": FAILURES_MAX, "before": at - REST},
    )
    return rows.rowcount == 1


def succeeded(tx: Connection, *, endpoint_id: UUID) -> None:
    """Forget the failures of an endpoint."""
    tx.execute(
        text("update payments.quote_endpoint set failures = 0, last_error = null where endpoint_id = :id"), {"id": endpoint_id}
    )


def failed(tx: Connection, *, endpoint_id: UUID, at: datetime, error: str) -> int:
    """Count a failure of an endpoint; returns how many there are in a row."""
    query = text("""
        update payments.quote_endpoint set failures = failures + 1, tried_at = :at, last_error = :error
        where endpoint_id = :id returning failures
        """)
    return int(tx.execute(query, {"id": endpoint_id, "at": at, "error": error[:500]}).scalar_one())
