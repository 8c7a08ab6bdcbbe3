"""Following the book for bearers: the sealed entry by which a driver's charge is booked makes the claim on the bearer beside it.

Knows sealed entries, charges and borne parts; must not know how claims are settled. Called by the worker and the command line.

Entries are read in sealed order, which never has anything inserted behind: a cursor over it misses nothing and reads nothing twice,
however writers commit, and the one that books payments does nothing for it. A step is one transaction.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, Engine, text

from ledger.accounts import Account
from ledger.journal import EntryKind
from payments.bearers import claims
from payments.bearers.claims import Earned
from payments.incentive import parties

LEAVES_MAX: Final = 5_000
"""Leaves read in one step, but at least one batch."""


class Step(Struct, frozen=True):
    """What one step did: leaves and parts due at once that were read, claims made, claims returned, and whether more is there."""

    read: int
    claimed: int
    returned: int
    more: bool


class Done(Struct, frozen=True):
    """What a run did."""

    read: int
    claimed: int
    returned: int


def follow(
    db: Engine, *, lane: int, at: Callable[[], datetime], say: Callable[[str], None] = lambda _: None
) -> Done:  # fmt: skip
    """Read on in the sealed book until its end, step by step; killed at any moment it goes on where it stood.

    Two runs at once take turns. ``say`` gets one line per step that made or returned a claim.
    """
    read = claimed = returned = 0
    while True:
        with db.begin() as tx:
            done = step(tx, lane=lane, at=at())
        read, claimed, returned = read + done.read, claimed + done.claimed, returned + done.returned
        if done.claimed or done.returned:
            say(f"{done.read} leaves read for bearers, {done.claimed} claims made, {done.returned} returned")
        if not done.more:
            return Done(read, claimed, returned)


def step(tx: Connection, *, lane: int, at: datetime, leaves_max: int = LEAVES_MAX) -> Step:
    """Read the next stretch of sealed entries, and parts that are earned at once. Holds the lane's cursor until ``tx`` ends."""
    start = _cursor(tx, lane=lane)
    due, claimed, back, returned = 0, 0, 0, 0
    if _is_any_due(tx, lane=lane):
        parties.take_in_operators(tx, at=at)
        due, claimed = claims.claim_due(tx, lane=lane, parts_max=leaves_max, at=at)
        back, returned = claims.give_back_due(tx, lane=lane, parts_max=leaves_max, at=at)
    bounds = tx.execute(_BOUNDS, {"lane": lane, "start": start, "max": leaves_max}).one()
    if bounds.until_index is None:
        return Step(due + back, claimed, returned, more=leaves_max in (due, back))
    moved = tx.execute(_MOVED, {"lane": lane, "start": start, "until": bounds.until_index}).all()
    if moved:
        parties.take_in_operators(tx, at=at)
        earned = [Earned(row.charge_id, row.happened_at, row.evidence_id) for row in moved if row.is_booked]
        claimed += claims.claim(tx, lane=lane, earned=_first(earned), at=at)
        returned += claims.give_back(tx, lane=lane, charge_ids=sorted({row.charge_id for row in moved}), at=at)
    tx.execute(
        text("update payments.bearer_cursor set leaf_index = :until where lane = :lane"),
        {"lane": lane, "until": bounds.until_index},
    )
    more = bounds.last_index > bounds.until_index or leaves_max in (due, back)
    return Step(due + back + bounds.until_index - start, claimed, returned, more)


def _first(earned: Sequence[Earned]) -> list[Earned]:
    """Return the first booking of each charge; they come in sealed order."""
    first: dict[UUID, Earned] = {}
    for one in earned:
        first.setdefault(one.charge_id, one)
    return list(first.values())


def _is_any_due(tx: Connection, *, lane: int) -> bool:
    query = text("""
        select exists (select from payments.borne_due where lane = :lane)
            or exists (select from payments.borne_return_due where lane = :lane)
        """)
    return bool(tx.execute(query, {"lane": lane}).scalar_one())


def _cursor(tx: Connection, *, lane: int) -> int:
    """Return where reading goes on, and hold it."""
    tx.execute(
        text("insert into payments.bearer_cursor (lane, leaf_index) values (:lane, 0) on conflict (lane) do nothing"),
        {"lane": lane},
    )
    query = text("select leaf_index from payments.bearer_cursor where lane = :lane for update")
    return int(tx.execute(query, {"lane": lane}).scalar_one())


_BOUNDS: Final = text("""
    with ahead as materialized (
        select first_index + entries as end_index, row_number() over (order by first_index) as n
        from ledger.v_sealed_batch where lane = :lane and first_index >= :start order by first_index limit :max
    )
    select max(end_index) filter (where n = 1 or end_index <= :start + :max) as until_index,
           (select first_index + entries from ledger.v_sealed_batch where lane = :lane order by first_index desc limit 1)
               as last_index
    from ahead
    """)

BOOKED: Final = f"""
    (e.kind = {EntryKind.LEFT_UNPAID:d} or e.kind = {EntryKind.PAYMENT:d}
     and e.credit_account in ({Account.INCOME:d}, {Account.RECEIVABLE:d}))
"""
"""Of an entry e: it books a charge, paid or left unpaid. What lies in suspense books none."""

CHARGE_OF: Final = f"""
    cross join lateral (select cast(left(e.entry_id::text, 34) || '00' as uuid) as source_id) s
    cross join lateral (
        select s.source_id as charge_id where e.kind = {EntryKind.LEFT_UNPAID:d}
        union all
        select p.charge_id from payments.payment p
        where e.kind = {EntryKind.PAYMENT:d} and p.lane = e.lane and p.payment_id = s.source_id
        union all
        select n.charge_id from payments.credit_note n
        where e.kind = {EntryKind.CREDITED:d} and n.lane = e.lane and n.note_id = s.source_id
        union all
        select p.charge_id from payments.refund r
        join payments.payment p on p.lane = r.lane and p.payment_id = r.payment_id
        where e.kind = {EntryKind.REFUND_ACCEPTED:d} and r.lane = e.lane and r.refund_id = s.source_id
    ) c
"""
"""The charge c of an entry e that books a charge, credits it, or promises money of it back."""

_MOVED: Final = text(f"""
    with entry as materialized (
        select e.lane, e.entry_id, e.kind, e.leaf_index, e.happened_at, e.evidence_id, {BOOKED} as is_booked
        from ledger.v_sealed_posting e
        where e.lane = :lane and e.first_index >= :start and e.first_index < :until and e.line = 0
          and exists (select from payments.borne_part b where b.lane = :lane and b.charge_id is not null)
          and ({BOOKED} or e.kind in ({EntryKind.CREDITED:d}, {EntryKind.REFUND_ACCEPTED:d}))
    )
    select c.charge_id, e.is_booked, e.happened_at, e.evidence_id
    from entry e {CHARGE_OF}
    where exists (select from payments.borne_part b where b.lane = e.lane and b.charge_id = c.charge_id)
    order by e.leaf_index
    """)
