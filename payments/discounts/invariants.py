"""Standing checks of discounts: effects against their charges, uses against their limits, offers against what was sealed.

Knows the tables of this room, charges and borne parts; changes nothing. Called by ``payments.invariants``.
"""

from typing import Final

from sqlalchemy import Connection, text

from ledger.invariants import Violation
from payments.discounts import merchants, offers

FOUND_MAX: Final = 100

_CHECKS: Final = (
    """
    select format('discounts take %s fen off charge %s, and it is reduced by %s', sum(e.amount_fen), c.charge_id, c.reduced_fen)
    from payments.discount_effect e
    join payments.charge c on c.lane = e.lane and c.charge_id = e.charge_id
    where e.taken_off_at is null
    group by c.lane, c.charge_id, c.reduced_fen having sum(e.amount_fen) > c.reduced_fen
    """,
    """
    select format('effect %s is of charge %s, which is not there', e.effect_id, e.charge_id)
    from payments.discount_effect e
    left join payments.charge c on c.lane = e.lane and c.charge_id = e.charge_id where c.charge_id is null
    """,
    """
    select format('effect %s stands for good, and its charge is %s', e.effect_id, c.state)
    from payments.discount_effect e
    join payments.charge c on c.lane = e.lane and c.charge_id = e.charge_id
    where e.is_final and e.taken_off_at is null and c.state <> 'waived'
    """,
    """
    select format('grant %s counts for %s stays, and its effects are of %s', g.grant_id, g.used, count(distinct e.use_id))
    from payments.discount_grant g
    left join payments.discount_effect e on e.lane = g.lane and e.grant_id = g.grant_id and e.taken_off_at is null
    group by g.lane, g.grant_id, g.used having count(distinct e.use_id) <> g.used
    """,
    """
    select format('offer %s counts for %s stays, and may for %s', o.code, sum(g.used), o.uses_max)
    from payments.discount_offer o
    join payments.discount_grant g on g.lane = o.lane and g.offer_id = o.offer_id
    where o.uses_max is not null group by o.lane, o.code, o.uses_max having sum(g.used) > o.uses_max
    """,
    """
    select format('offer %s counts for %s stays of one plate, and may for %s', o.code, count(distinct e.use_id), o.plate_uses_max)
    from payments.discount_offer o
    join payments.discount_grant g on g.lane = o.lane and g.offer_id = o.offer_id
    join payments.discount_effect e on e.lane = g.lane and e.grant_id = g.grant_id and e.taken_off_at is null
    join payments.charge c on c.lane = e.lane and c.charge_id = e.charge_id
    join payments.plate p on p.plate_id = c.plate_id
    where o.plate_uses_max is not null
    group by o.lane, o.code, o.plate_uses_max, p.number having count(distinct e.use_id) > o.plate_uses_max
    """,
    """
    select format('effect %s of %s fen, borne by %s, has not exactly one part that says the same', e.effect_id, e.amount_fen,
                  o.bearer_id)
    from payments.discount_effect e
    join payments.discount_grant g on g.lane = e.lane and g.grant_id = e.grant_id
    join payments.discount_offer o on o.lane = g.lane and o.offer_id = g.offer_id
    left join payments.borne_part b on b.lane = e.lane and b.source = 'discount' and b.source_id = e.effect_id and b.number = 1
    left join payments.borne_part_fallen f on f.lane = b.lane and f.part_id = b.part_id
    where (b.bearer_id, b.amount_fen, b.charge_id, f.part_id is not null) is distinct from
          (o.bearer_id, case when o.bearer_id is not null then e.amount_fen end,
           case when o.bearer_id is not null and not e.is_final then e.charge_id end,
           o.bearer_id is not null and e.taken_off_at is not null and not e.is_final)
    """,
    """
    select format('effect %s of a stay that was covered was corrected, and the claim on its bearer stands', e.effect_id)
    from payments.discount_effect e
    join payments.borne_part b on b.lane = e.lane and b.source = 'discount' and b.source_id = e.effect_id
    join payments.bearer_line l on l.lane = b.lane and l.part_id = b.part_id and not l.returned
    where e.is_final and e.taken_off_at is not null
      and not exists (select from payments.bearer_line x where x.lane = l.lane and x.part_id = l.part_id and x.returned)
      and not exists (select from payments.borne_return_due r where r.lane = b.lane and r.part_id = b.part_id)
    """,
    """
    select format('grant %s of a merchant takes off %s fen, and may take off %s', g.grant_id, sum(e.amount_fen), g.most_fen)
    from payments.discount_grant g
    join payments.discount_effect e on e.lane = g.lane and e.grant_id = g.grant_id and e.taken_off_at is null
    where g.most_fen is not null group by g.lane, g.grant_id, g.most_fen having sum(e.amount_fen) > g.most_fen
    """,
    """
    select format('part %s of source %s is no discount''s', b.part_id, b.source_id)
    from payments.borne_part b
    left join payments.discount_effect e on e.lane = b.lane and e.effect_id = b.source_id
    where b.source = 'discount' and e.effect_id is null
    """,
)


def check(tx: Connection) -> list[Violation]:
    """Run every check of discounts, read only; nothing in the list means that they all hold."""
    return (
        [
            Violation("discounts", str(detail))
            for query in _CHECKS
            for detail in tx.execute(text(f"{query} limit {FOUND_MAX}")).scalars()
        ]
        + offers.check(tx)
        + merchants.check(tx)
    )
