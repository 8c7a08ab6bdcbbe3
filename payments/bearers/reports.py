"""What bearers owe: sums for each bearer and operator, and the lines behind them, which a bearer can check against its own records.

Knows lines, parts and settlements; no plate is in any of it. Called by the command line.
"""

from datetime import date, datetime
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, text

LINES_MAX: Final = 1_000_000


class Sum(Struct, frozen=True, kw_only=True):
    """What a bearer owes an operator, in fen: ``borne = settled + open``. ``returned`` is taken off already."""

    bearer: str
    name: str
    operator: str
    parts: int
    borne_fen: int
    settled_fen: int
    open_fen: int


class BorneLine(Struct, frozen=True, kw_only=True):
    """One claim, or less than nothing: its return."""

    lot: str
    serial: str
    source: str
    happened_at: datetime
    booked_on: date
    operator: str
    fen: int
    settlement: str
    """Where it stands: open, or the state of its settlement."""


_NET: Final = "case when l.returned then -l.amount_fen else l.amount_fen end"


def sums(tx: Connection, *, lane: int, bearer_id: int | None = None) -> list[Sum]:
    """Return what each bearer owes each operator, by bearer and operator; with ``bearer_id`` of one bearer."""
    query = text(f"""
        select b.code as bearer, b.name, o.code as operator, count(*) filter (where not l.returned) as parts,
               sum({_NET})::bigint as borne_fen,
               coalesce(sum({_NET}) filter (where l.settlement_state = 'paid'), 0)::bigint as settled_fen,
               coalesce(sum({_NET}) filter (where l.settlement_state is distinct from 'paid'), 0)::bigint as open_fen
        from payments.v_bearer_line l
        join payments.bearer b on b.bearer_id = l.bearer_id
        join payments.operator o on o.operator_id = l.operator_id
        where l.lane = :lane and (l.bearer_id = :bearer or cast(:bearer as integer) is null)
        group by b.code, b.name, o.code order by b.code, o.code
        """)
    return [Sum(**row._mapping) for row in tx.execute(query, {"lane": lane, "bearer": bearer_id})]


def lines(tx: Connection, *, lane: int, bearer_id: int, since: date, until: date) -> list[BorneLine]:
    """Return the lines of a bearer booked on business days from ``since`` to ``until``, both included, in the order of time.

    At most ``LINES_MAX``.
    """
    query = text(f"""
        select t.code as lot, l.lot_serial as serial, p.source, l.happened_at, l.booked_on, o.code as operator, {_NET} as fen,
               coalesce(l.settlement_state, 'open') as settlement
        from payments.v_bearer_line l
        join payments.borne_part p on p.lane = l.lane and p.part_id = l.part_id
        join payments.lot t on t.lot_id = l.lot_id
        join payments.operator o on o.operator_id = l.operator_id
        where l.lane = :lane and l.bearer_id = :bearer and l.booked_on between :since and :until
        order by l.happened_at, t.code, l.lot_serial, l.part_id, l.returned limit :max
        """)
    given = {"lane": lane, "bearer": bearer_id, "since": since, "until": until, "max": LINES_MAX}
    return [BorneLine(**row._mapping) for row in tx.execute(query, given)]
