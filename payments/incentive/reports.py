"""Reports of the incentive: who gave whom how much by which rule, month by month, and what of it is open.

Knows lines and parties; must not know who asks beyond what they may see. Called by the API and the command line.
"""

from datetime import date
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

ROWS_MAX: Final = 10_000


class Viewer(Struct, frozen=True, kw_only=True):
    """Whose figures may be seen; without both everybody's."""

    operator_id: int | None = None
    """Those in which this operator owes or earns."""
    district: str | None = None
    """Those in which an operator of this district, or its bureau, owes or earns."""


class Row(Struct, frozen=True, kw_only=True):
    """Lines of one month, pair and rule, in fen. ``net = given - returned``; ``settled`` of it is paid, ``open`` is not."""

    month: str
    owner: str
    owner_name: str
    recoverer: str
    recoverer_kind: str
    recoverer_name: str
    rule_id: UUID
    document: str
    payments: int
    recovered_fen: int
    given_fen: int
    returned_fen: int
    settled_fen: int
    open_fen: int


_REPORT: Final = text("""
    with seen as materialized (
        select i.*, s.state as settlement_state
        from payments.incentive_line i
        join payments.party o on o.party_id = i.owner_id
        join payments.party r on r.party_id = i.recoverer_id
        left join payments.operator oo on oo.operator_id = o.operator_id
        left join payments.operator ro on ro.operator_id = r.operator_id
        left join payments.incentive_settlement_line x on x.lane = i.lane and x.line_id = i.line_id and x.is_live
        left join payments.incentive_settlement s on s.lane = x.lane and s.settlement_id = x.settlement_id
        where i.lane = :lane and i.booked_on between :since and :until
          and (cast(:operator as integer) is null or :operator in (o.operator_id, r.operator_id))
          and (cast(:district as text) is null or :district in (oo.district, ro.district, r.district))
    )
    select to_char(i.booked_on, 'YYYY-MM') as month, o.code as owner, o.name as owner_name, r.code as recoverer,
           r.kind as recoverer_kind, r.name as recoverer_name, i.rule_id, u.document,
           count(*) filter (where i.turn = 0) as payments,
           coalesce(sum(v.recovered_fen) filter (where i.turn = 0), 0)::bigint as recovered_fen,
           coalesce(sum(i.amount_fen) filter (where not i.returned), 0)::bigint as given_fen,
           coalesce(sum(i.amount_fen) filter (where i.returned), 0)::bigint as returned_fen,
           coalesce(sum(case when i.returned then -i.amount_fen else i.amount_fen end)
                    filter (where i.settlement_state = 'paid'), 0)::bigint as settled_fen,
           coalesce(sum(case when i.returned then -i.amount_fen else i.amount_fen end)
                    filter (where i.settlement_state is distinct from 'paid'), 0)::bigint as open_fen
    from seen i
    join payments.party o on o.party_id = i.owner_id
    join payments.party r on r.party_id = i.recoverer_id
    join payments.incentive_rule u on u.lane = i.lane and u.rule_id = i.rule_id
    join payments.recovery v on v.lane = i.lane and v.payment_id = i.payment_id
    group by month, o.code, o.name, r.code, r.kind, r.name, i.rule_id, u.document
    order by month, o.code, r.kind, r.code, u.document, i.rule_id
    limit :max
    """)


def read(tx: Connection, *, lane: int, since: date, until: date, viewer: Viewer) -> list[Row]:
    """Return what was booked on business days from ``since`` to ``until``, both included, at most ``ROWS_MAX`` rows."""
    asked = {
        "lane": lane, "since": since, "until": until, "operator": viewer.operator_id, "district": viewer.district, "max": ROWS_MAX,
    }  # fmt: skip
    return [Row(**row._mapping) for row in tx.execute(_REPORT, asked)]
