"""Following the book: every sealed payment of a debt is attributed once, and its shares are given or taken back.

Knows sealed entries, payments, debts, orders and assignments; must not know how shares are settled. Called by the worker and the
command line.

Entries are read in sealed order, which never has anything inserted behind: a cursor over it misses nothing and reads nothing twice,
however writers commit. A step is one transaction: it reads on from the cursor, writes what follows and moves the cursor.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, Engine, text

from ledger.accounts import Account
from ledger.ids import Ids
from ledger.journal import REVERSAL, EntryKind
from payments.incentive import lines, parties

LEAVES_MAX: Final = 5_000
"""Leaves read in one step, but at least one batch."""
CATCH_UP_MAX: Final = 2_000


class Step(Struct, frozen=True):
    """What one step did: leaves read, payments of debts among them, lines written, and leaves that are left."""

    read: int
    recovered: int
    shares: int
    left: int


class Done(Struct, frozen=True):
    """What a run did. Without a registered platform nothing is followed yet: ``waits`` is true."""

    read: int
    recovered: int
    shares: int
    waits: bool = False


def follow(
    db: Engine, *, lane: int, at: Callable[[], datetime], ids: Ids, say: Callable[[str], None] = lambda _: None
) -> Done:  # fmt: skip
    """Read on in the sealed book until its end, step by step; killed at any moment it goes on where it stood.

    Two runs at once take turns. ``say`` gets one line per step.
    """
    read = recovered = shares = 0
    while True:
        with db.begin() as tx:
            if parties.platform(tx) is None:
                return Done(read, recovered, shares, waits=True)
            done = step(tx, lane=lane, at=at(), ids=ids)
        read, recovered, shares = read + done.read, recovered + done.recovered, shares + done.shares
        if done.read:
            say(f"{done.read} leaves read, {done.recovered} payments of debts, {done.shares} shares; {done.left} leaves left")
        if not done.left:
            return Done(read, recovered, shares)


def step(tx: Connection, *, lane: int, at: datetime, ids: Ids, leaves_max: int = LEAVES_MAX) -> Step:
    """Read the next stretch of sealed entries. Holds the lane's cursor until ``tx`` ends."""
    parties.take_in_operators(tx, at=at)
    start = _cursor(tx, lane=lane)
    bounds = tx.execute(
        text("""
        with ahead as materialized (
            select first_index + entries as end_index, row_number() over (order by first_index) as n
            from ledger.v_sealed_batch where lane = :lane and first_index >= :start order by first_index limit :max
        )
        select max(end_index) filter (where n = 1 or end_index <= :start + :max) as until_index,
               (select first_index + entries from ledger.v_sealed_batch where lane = :lane order by first_index desc limit 1)
                   as last_index
        from ahead
        """),
        {"lane": lane, "start": start, "max": leaves_max},
    ).one()
    if bounds.until_index is None:
        return Step(0, 0, 0, 0)
    where = {"lane": lane, "start": start, "until": bounds.until_index}
    found = [lines.Recovery(**row._mapping) for row in tx.execute(_ATTRIBUTE, where | {"at": at})]
    given = lines.give(tx, lane=lane, recoveries=found, at=at, ids=ids)
    gone = list(tx.execute(_GONE_BACK, where).scalars())
    corrected = lines.correct(tx, lane=lane, payment_ids=gone, at=at, ids=ids)
    tx.execute(
        text("update payments.incentive_cursor set leaf_index = :until where lane = :lane"), {"lane": lane, "until": where["until"]}
    )
    return Step(bounds.until_index - start, len(found), given + corrected, bounds.last_index - bounds.until_index)


def catch_up(
    db: Engine, *, lane: int, since: datetime, at: Callable[[], datetime], ids: Ids, say: Callable[[str], None] = lambda _: None
) -> int:
    """Give shares for payments since a moment that had no rule when they were read: after a rule was entered whose date has passed.

    Returns how many lines were written. May be repeated and stopped at any moment.
    """
    written, after = 0, UUID(int=0)
    while True:
        with db.begin() as tx:
            _cursor(tx, lane=lane)
            rows = tx.execute(_WITHOUT, {"lane": lane, "since": since, "after": after, "max": CATCH_UP_MAX})
            found = [lines.Recovery(**row._mapping) for row in rows]
            now = at()
            written += lines.give(tx, lane=lane, recoveries=found, at=now, ids=ids)
            written += lines.correct(tx, lane=lane, payment_ids=[one.payment_id for one in found], at=now, ids=ids)
        if not found:
            return written
        after = found[-1].payment_id
        say(f"{len(found)} earlier payments looked at, {written} shares so far")


def _cursor(tx: Connection, *, lane: int) -> int:
    """Return where reading goes on, and hold it."""
    tx.execute(
        text("insert into payments.incentive_cursor (lane, leaf_index) values (:lane, 0) on conflict (lane) do nothing"),
        {"lane": lane},
    )
    query = text("select leaf_index from payments.incentive_cursor where lane = :lane for update")
    return int(tx.execute(query, {"lane": lane}).scalar_one())


_SOURCE: Final = "cast(left(e.entry_id::text, 34) || '00' as uuid)"
"""The source of an entry: its id without the kind."""
_DAY: Final = "at time zone 'Asia/Shanghai')::date"

_ATTRIBUTE: Final = text(f"""
with paid as materialized (
    select {_SOURCE} as payment_id, e.amount_fen, e.happened_at, e.evidence_id
    from ledger.v_sealed_posting e
    where e.lane = :lane and e.first_index >= :start and e.first_index < :until
      and e.kind = {EntryKind.PAYMENT:d} and e.credit_account = {Account.RECEIVABLE:d}
), facts as materialized (
    select f.*, p.charge_id, p.operator_id, p.way, own.party_id as owner_id, l.district,
           greatest(0, (f.happened_at {_DAY} - (d.opened_at {_DAY}) as days,
           coalesce(o.recoverer_id, b.recoverer_id) as referred_id, coalesce(b.lot_id, o.lot_id) as scanned_lot_id
    from paid f
    join payments.payment p on p.lane = :lane and p.payment_id = f.payment_id
    join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
    join payments.debt d on d.lane = c.lane and d.charge_id = c.charge_id
    join payments.lot l on l.lot_id = c.lot_id
    join payments.party own on own.operator_id = p.operator_id
    left join payments.pay_order o on o.lane = p.lane and o.order_id = p.order_id
    left join payments.basket_order x on x.lane = p.lane and x.order_id = p.order_id
    left join payments.basket b on b.lane = x.lane and b.basket_id = x.basket_id
), judged as (
    select f.*, a.assignment_id, a.recoverer_id as assigned_id,
           case when f.way = 'card' then 'card' when f.referred_id is not null then 'reference'
                when a.recoverer_id is not null then 'assignment'
                when s.operator_id <> f.operator_id then 'city_window' else 'own' end as basis
    from facts f
    left join payments.lot s on s.lot_id = f.scanned_lot_id
    left join lateral (
        select y.assignment_id, y.recoverer_id from payments.recovery_assignment y
        where y.valid_from <= f.happened_at and y.days_min <= f.days
          and (y.operator_id = f.operator_id or y.operator_id is null) and (y.district = f.district or y.district is null)
        order by y.operator_id is not null desc, y.district is not null desc, y.days_min desc, y.valid_from desc limit 1
    ) a on true
), written as (
    insert into payments.recovery (payment_id, lane, charge_id, owner_id, recoverer_id, basis, assignment_id, scanned_lot_id,
                                   district, days, recovered_fen, happened_at, evidence_id, attributed_at)
    select payment_id, :lane, charge_id, owner_id,
           case basis when 'reference' then referred_id when 'assignment' then assigned_id
                when 'city_window' then (select party_id from payments.party where kind = 'platform') else owner_id end,
           basis, case basis when 'assignment' then assignment_id end, scanned_lot_id, district, days, amount_fen, happened_at,
           evidence_id, :at
    from judged order by payment_id
    on conflict (payment_id, lane) do nothing
    returning payment_id, owner_id, recoverer_id, district, days, recovered_fen, happened_at, evidence_id
)
select * from written order by payment_id
""")

_WITHOUT: Final = text("""
    select r.payment_id, r.owner_id, r.recoverer_id, r.district, r.days, r.recovered_fen, r.happened_at, r.evidence_id
    from payments.recovery r
    where r.lane = :lane and r.happened_at >= :since and r.recoverer_id <> r.owner_id and r.payment_id > :after
      and not exists (select from payments.incentive_line i where i.lane = r.lane and i.payment_id = r.payment_id)
    order by r.payment_id limit :max
    """)

_GONE_BACK: Final = text(f"""
    with moved as materialized (
        select {_SOURCE} as source_id, e.kind from ledger.v_sealed_posting e
        where e.lane = :lane and e.first_index >= :start and e.first_index < :until and e.line = 0
          and e.kind in ({EntryKind.REFUND_DONE:d}, {EntryKind.REFUND_DONE + REVERSAL}, {EntryKind.BAD_DEBT:d})
    )
    select source_id from moved where kind = {EntryKind.BAD_DEBT:d}
    union
    select r.payment_id from moved m join payments.refund r on r.lane = :lane and r.refund_id = m.source_id
    where m.kind <> {EntryKind.BAD_DEBT:d}
    """)
