"""The questions that discounts ask of PostgreSQL: stays, grants and effects, set by set. Private to this room.

Whoever changes what is taken off holds the charges in the order of their ids, then the grants in the order of theirs.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.plates import PlateColor

Why = Literal["cancelled", "not_paid", "superseded", "reckoned_anew", "corrected"]
ReckonedBy = Literal["tariff", "pro_rata"]
"""Of free minutes: whether the lot's tariff gave the amount, or a share of it by minutes."""


class HeldCharge(Struct, frozen=True, kw_only=True):
    """A charge that is held."""

    charge_id: UUID
    operator_id: int
    lot_id: int
    lot_serial: str
    plate_id: int
    plate: str
    plate_color: PlateColor
    scene: str
    entered_at: datetime
    minutes: int
    left_at: datetime | None
    amount_fen: int
    paid_fen: int
    reduced_fen: int
    state: str
    is_receivable: bool
    is_busy: bool
    """Somebody is paying it: the price is locked."""

    @property
    def is_free(self) -> bool:
        """Its price may change: it is due, nothing of it is paid, its car has not left, and nobody is paying it."""
        return self.state == "open" and not (self.paid_fen or self.is_receivable or self.is_busy)


class Grant(Struct, frozen=True, kw_only=True):
    """A grant that is held."""

    grant_id: UUID
    offer_id: UUID
    valid_until: datetime
    uses_max: int
    used: int
    cancelled_at: datetime | None


class Effect(Struct, frozen=True, kw_only=True):
    """What a grant takes off a charge."""

    effect_id: UUID
    use_id: UUID
    grant_id: UUID
    charge_id: UUID
    amount_fen: int
    is_final: bool
    hold_until: datetime | None
    reckoned_by: ReckonedBy | None = None


_WAITING: Final = text("""
    select g.grant_id, c.charge_id
    from payments.discount_grant g
    join payments.plate gp on gp.plate_id = g.plate_id
    join payments.plate cp on cp.number = gp.number and (cp.color = gp.color or 'unknown' in (cp.color, gp.color))
    join payments.charge c on c.lane = g.lane and c.lot_id = g.lot_id and c.plate_id = cp.plate_id and c.state = 'open'
         and not c.is_receivable and c.paid_fen = 0 and c.entered_at <= g.created_at + interval '10 minutes'
         and (g.entered_at is null or g.entered_at = c.entered_at)
    where g.lane = :lane and g.lot_id = :lot and g.used = 0 and g.cancelled_at is null and g.withdrawn_at is null
      and g.valid_until > :at
      and (cast(:numbers as text[]) is null or gp.number = any(cast(:numbers as text[])))
      and (:quotes or not exists (select from payments.charge_quote q where q.lane = c.lane and q.charge_id = c.charge_id))
      and not exists (select from payments.discount_unpriced u
                      where u.lane = g.lane and u.grant_id = g.grant_id and u.charge_id = c.charge_id)
    order by c.entered_at, c.charge_id
    """)


def waiting(
    tx: Connection, *, lane: int, lot_id: int, numbers: Sequence[str] | None, quotes: bool, at: datetime
) -> list[tuple[UUID, UUID]]:  # fmt: skip
    """Return validations of a lot that wait for a charge, with the open charges they could count for, the oldest stay first."""
    given = {"lane": lane, "lot": lot_id, "numbers": None if numbers is None else list(numbers), "quotes": quotes, "at": at}
    return [(row.grant_id, row.charge_id) for row in tx.execute(_WAITING, given)]


def waiting_lots(tx: Connection, *, lane: int, at: datetime) -> list[int]:
    """Return the lots with validations that wait for a charge."""
    query = text("""
        select distinct lot_id from payments.discount_grant
        where lane = :lane and lot_id is not null and used = 0 and cancelled_at is null and withdrawn_at is null
          and valid_until > :at
        order by lot_id
        """)
    return list(tx.execute(query, {"lane": lane, "at": at}).scalars())


def hold(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, HeldCharge]:
    """Hold charges in the order of their ids; returns them. Who pays one begins by holding it, so ``is_busy`` is certain."""
    ids = {"lane": lane, "ids": list(charge_ids)}
    held = text("""
        select c.charge_id, c.operator_id, c.lot_id, c.lot_serial, c.plate_id, p.number as plate, p.color as plate_color, c.scene,
               c.entered_at, c.minutes, c.left_at, c.amount_fen, c.paid_fen, c.reduced_fen, c.state, c.is_receivable
        from payments.charge c join payments.plate p on p.plate_id = c.plate_id
        where c.lane = :lane and c.charge_id = any(cast(:ids as uuid[])) order by c.charge_id for update of c
        """)
    rows = tx.execute(held, ids).all()
    busy = set(tx.execute(_BUSY, ids).scalars())
    return {row.charge_id: HeldCharge(**row._mapping, is_busy=row.charge_id in busy) for row in rows}


_BUSY: Final = text("""
    select charge_id from payments.payment
    where lane = :lane and charge_id = any(cast(:ids as uuid[])) and state in ('created', 'pending', 'unknown')
    """)


def grants(tx: Connection, *, lane: int, grant_ids: Sequence[UUID]) -> dict[UUID, Grant]:
    """Hold grants in the order of their ids; returns them."""
    query = text("""
        select grant_id, offer_id, valid_until, uses_max, used, cancelled_at from payments.discount_grant
        where lane = :lane and grant_id = any(cast(:ids as uuid[])) order by grant_id for update
        """)
    rows = tx.execute(query, {"lane": lane, "ids": sorted(set(grant_ids))})
    return {row.grant_id: Grant(**row._mapping) for row in rows}


_EFFECT: Final = """
select effect_id, use_id, grant_id, charge_id, amount_fen, is_final, hold_until, reckoned_by from payments.discount_effect
where lane = :lane and taken_off_at is null
"""


def in_effect(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> list[Effect]:
    """Return what is taken off charges now, in the order in which it was put on."""
    query = text(f"{_EFFECT} and charge_id = any(cast(:ids as uuid[])) order by effect_id")
    return [Effect(**row._mapping) for row in tx.execute(query, {"lane": lane, "ids": list(charge_ids)})]


def of_grant(tx: Connection, *, lane: int, grant_id: UUID) -> list[Effect]:
    """Return what a grant takes off now."""
    query = text(f"{_EFFECT} and grant_id = :id order by effect_id")
    return [Effect(**row._mapping) for row in tx.execute(query, {"lane": lane, "id": grant_id})]


_SETTLED: Final = text("""
    update payments.discount_effect e set hold_until = null
    from payments.charge c
    where e.lane = :lane and e.taken_off_at is null and e.hold_until <= :at and c.lane = e.lane and c.charge_id = e.charge_id
      and (c.state <> 'open' or c.paid_fen > 0 or c.is_receivable)
    """)
_OVERDUE: Final = text(f"{_EFFECT} and hold_until <= :at and not is_final order by hold_until, effect_id limit :limit")


def overdue(tx: Connection, *, lane: int, at: datetime, limit: int) -> list[Effect]:
    """Return effects that were held for a payer until ``at`` and not paid for; those that were are held no more."""
    tx.execute(_SETTLED, {"lane": lane, "at": at})
    return [Effect(**row._mapping) for row in tx.execute(_OVERDUE, {"lane": lane, "at": at, "limit": limit})]


_WITHDRAWN: Final = text("""
    select e.effect_id, e.use_id, e.grant_id, e.charge_id, e.amount_fen, e.is_final, e.hold_until, e.reckoned_by
    from payments.discount_grant g
    join payments.discount_effect e on e.lane = g.lane and e.grant_id = g.grant_id and e.taken_off_at is null and not e.is_final
    join payments.charge c on c.lane = e.lane and c.charge_id = e.charge_id and c.state = 'open' and c.paid_fen = 0
         and not c.is_receivable
    where g.lane = :lane and g.withdrawn_at is not null and g.cancelled_at is null order by e.effect_id limit :limit
    """)


def withdrawn(tx: Connection, *, lane: int, limit: int) -> list[Effect]:
    """Return effects of validations that were withdrawn while somebody was paying, and whose charges are still to be paid."""
    return [Effect(**row._mapping) for row in tx.execute(_WITHDRAWN, {"lane": lane, "limit": limit})]


def cancel(tx: Connection, *, lane: int, grant_ids: Sequence[UUID], at: datetime) -> None:
    """Let grants that count for nothing never count again. They are held."""
    if grant_ids:
        query = text("""
            update payments.discount_grant set cancelled_at = coalesce(cancelled_at, :at)
            where lane = :lane and grant_id = any(cast(:ids as uuid[]))
            """)
        tx.execute(query, {"lane": lane, "ids": list(grant_ids), "at": at})


def hold_longer(tx: Connection, *, lane: int, effect_ids: Sequence[UUID], until: datetime) -> None:
    """Look at effects again later: somebody is paying just now."""
    if effect_ids:
        query = text("""
            update payments.discount_effect set hold_until = :until where lane = :lane and effect_id = any(cast(:ids as uuid[]))
            """)
        tx.execute(query, {"lane": lane, "ids": list(effect_ids), "until": until})


class Used(Struct, frozen=True):
    """How often an offer counts now: in all, and for a plate's number."""

    uses: int
    plate_uses: int


def uses(tx: Connection, *, lane: int, pairs: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], Used]:
    """Return how often offers with a limit count now, by offer and plate. Orders those who ask until their transactions end."""
    offers = sorted({offer_id for offer_id, _ in pairs})
    for_each = text("""
        select pg_advisory_xact_lock(hashtextextended(id::text, 33)) from (
            select id from unnest(cast(:ids as uuid[])) as x (id) order by id) o
        """)
    tx.execute(for_each, {"ids": offers}).all()
    query = text("""
        select w.offer_id, w.plate_id, count(distinct e.use_id) as uses,
               count(distinct e.use_id) filter (where cp.number = wp.number) as plate_uses
        from unnest(cast(:offers as uuid[]), cast(:plates as bigint[])) as w (offer_id, plate_id)
        join payments.plate wp on wp.plate_id = w.plate_id
        join payments.discount_grant g on g.lane = :lane and g.offer_id = w.offer_id
        join payments.discount_effect e on e.lane = g.lane and e.grant_id = g.grant_id and e.taken_off_at is null
        join payments.charge c on c.lane = e.lane and c.charge_id = e.charge_id
        join payments.plate cp on cp.plate_id = c.plate_id
        group by w.offer_id, w.plate_id
        """)
    given = {"lane": lane, "offers": [one for one, _ in pairs], "plates": [one for _, one in pairs]}
    return {(row.offer_id, row.plate_id): Used(row.uses, row.plate_uses) for row in tx.execute(query, given)}


def insert_effects(tx: Connection, *, lane: int, effects: Sequence[Effect], at: datetime) -> None:
    """Write what is put on."""
    columns = {name: [getattr(one, name) for one in effects] for name in Effect.__struct_fields__}
    tx.execute(
        text("""
        insert into payments.discount_effect (effect_id, lane, use_id, grant_id, charge_id, amount_fen, is_final, put_on_at,
                                              hold_until, reckoned_by)
        select effect_id, :lane, use_id, grant_id, charge_id, amount_fen, is_final, :at, hold_until, reckoned_by
        from unnest(cast(:effect_id as uuid[]), cast(:use_id as uuid[]), cast(:grant_id as uuid[]), cast(:charge_id as uuid[]),
                    cast(:amount_fen as bigint[]), cast(:is_final as boolean[]), cast(:hold_until as timestamptz[]),
                    cast(:reckoned_by as text[]))
             as n (effect_id, use_id, grant_id, charge_id, amount_fen, is_final, hold_until, reckoned_by)
        """),
        columns | {"lane": lane, "at": at},
    )


def end_effects(tx: Connection, *, lane: int, effects: Sequence[Effect], why: Sequence[Why], at: datetime) -> None:
    """Write what is taken off again, and why."""
    tx.execute(
        text("""
        update payments.discount_effect e set taken_off_at = :at, taken_off_why = n.why
        from unnest(cast(:ids as uuid[]), cast(:why as text[])) as n (effect_id, why)
        where e.lane = :lane and e.effect_id = n.effect_id
        """),
        {"lane": lane, "ids": [one.effect_id for one in effects], "why": list(why), "at": at},
    )


def move_charges(tx: Connection, *, lane: int, by: dict[UUID, int]) -> None:
    """Take amounts off charges, or with a negative amount put them back; one of which nothing is left is let off. They are held."""
    tx.execute(
        text("""
        update payments.charge c set reduced_fen = c.reduced_fen + g.fen,
            state = case when c.paid_fen + c.reduced_fen + g.fen = c.amount_fen then 'waived' else 'open' end
        from unnest(cast(:ids as uuid[]), cast(:fen as bigint[])) as g (charge_id, fen)
        where c.lane = :lane and c.charge_id = g.charge_id
        """),
        {"lane": lane, "ids": list(by), "fen": list(by.values())},
    )


def recount_uses(tx: Connection, *, lane: int, grant_ids: Sequence[UUID]) -> None:
    """Count anew for how many stays grants count. They are held."""
    tx.execute(
        text("""
        update payments.discount_grant g set used = (
            select count(distinct e.use_id) from payments.discount_effect e
            where e.lane = g.lane and e.grant_id = g.grant_id and e.taken_off_at is null)
        where g.lane = :lane and g.grant_id = any(cast(:ids as uuid[]))
        """),
        {"lane": lane, "ids": list(grant_ids)},
    )


def move_uses(tx: Connection, *, lane: int, by: dict[UUID, int]) -> None:
    """Count uses of grants, or take them back. They are held."""
    tx.execute(
        text("""
        update payments.discount_grant g set used = g.used + n.uses
        from unnest(cast(:ids as uuid[]), cast(:uses as integer[])) as n (grant_id, uses)
        where g.lane = :lane and g.grant_id = n.grant_id
        """),
        {"lane": lane, "ids": list(by), "uses": list(by.values())},
    )


def keep_unpriced(tx: Connection, *, lane: int, found: Mapping[tuple[UUID, UUID], str], at: datetime) -> None:
    """Keep that free minutes took nothing off charges, by grant and charge, and why; said once."""
    if found:
        tx.execute(
            text("""
            insert into payments.discount_unpriced (grant_id, lane, charge_id, why, found_at)
            select grant_id, :lane, charge_id, why, :at
            from unnest(cast(:grants as uuid[]), cast(:charges as uuid[]), cast(:why as text[])) as n (grant_id, charge_id, why)
            on conflict (grant_id, charge_id, lane) do nothing
            """),
            {
                "lane": lane, "at": at, "grants": [grant_id for grant_id, _ in found], "why": list(found.values()),
                "charges": [charge_id for _, charge_id in found],
            },
        )  # fmt: skip
