"""Standing checks of asked quotes: of a stay at most one price can be paid, and what was superseded is credited.

Knows the tables of this room; changes nothing. Called by ``payments.invariants``.
"""

from typing import Final

from sqlalchemy import Connection, text

from ledger.invariants import Violation

FOUND_MAX: Final = 100
"""Most violations named per check."""

_CHECKS: Final = (
    """
    select format('quote %s of lot %s was superseded by %s, and its charge is %s with %s fen paid', q.serial, q.lot_id,
                  q.superseded_by, c.state, c.paid_fen)
    from payments.charge_quote q
    left join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane
    where q.superseded_at is not null
      and (c.state, c.paid_fen, c.reduced_fen, c.is_receivable) is distinct from ('credited', 0::bigint, c.amount_fen, false)
    """,
    """
    select format('quote %s of lot %s was superseded by %s, which is no price of its stay', q.serial, q.lot_id, q.superseded_by)
    from payments.charge_quote q
    where q.superseded_at is not null and not exists (
        select from payments.charge_quote n
        where n.lane = q.lane and n.lot_id = q.lot_id and n.serial = q.superseded_by and n.stay_serial = q.stay_serial)
      and not exists ( -- a charge that the lot had pushed under that serial
        select from payments.charge c
        where c.lane = q.lane and c.lot_id = q.lot_id and c.lot_serial = q.superseded_by
          and not exists (select from payments.charge_quote n where n.lane = c.lane and n.charge_id = c.charge_id))
    """,
    """
    select format('stay %s of lot %s has several prices that can be paid: %s', q.stay_serial, q.lot_id,
                  string_agg(distinct q.serial, ', '))
    from payments.charge_quote q
    join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane and c.state = 'open' and not c.is_receivable
    where q.ended_at is null
    group by q.lane, q.lot_id, q.stay_serial having count(distinct q.serial) > 1
    """,
    """
    select format('quote %s of lot %s is no charge of that lot', q.serial, q.lot_id)
    from payments.charge_quote q
    left join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane
    where c.lot_id is distinct from q.lot_id
    """,
)


def check(tx: Connection) -> list[Violation]:
    """Check that of one stay at most one price can be paid, and that those whose place was taken are credited in full."""
    return [
        Violation("quotes", str(words)) for query in _CHECKS for words in tx.execute(text(f"{query} limit {FOUND_MAX}")).scalars()
    ]
