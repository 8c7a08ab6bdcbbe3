"""What a signer's own mandates paid, or failed to pay, and the link that leads from there to a receipt.

Knows agreements, charges, payments and tries; must not know HTTP or channels. Called by the pages of mandates and receipts.

A deduction is a signer's own when the channel had said, of this payer and this plate, that the mandate was open: from that word on
until it said otherwise, the driver ended it, the plate came to another owner, or another payer's mandate for it opened. What comes
after the channel's last word is not shown before the channel has confirmed it. A lot that knows no colours posts stays of a number:
such a stay is shown once money was asked for it over this channel.
"""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments import orders
from payments.errors import OrderUnknown
from payments.mandates.agreements import payer_digest
from payments.plates import PlateColor

LISTED_MAX: Final = 20
"""Most stays that a signer is shown."""
SEEN_MAX: Final = 200
"""Newest stays of a plate that are looked through for them."""

Outcome = Literal["taken", "waiting", "refused", "otherwise"]
"""taken: it has a receipt. waiting: the channel decides, or a payer is at it. refused: not taken, and still due. otherwise: it was
not taken, and is paid or dropped by now."""


class Own(Struct, frozen=True, kw_only=True):
    """A stay that was deducted, or was to be. ``plate`` is the full number: mask it before it is shown. Amounts in fen."""

    charge_id: UUID
    agreement_id: UUID
    lot_id: int
    lot_name: str
    plate: str
    plate_color: PlateColor
    left_at: datetime
    amount_fen: int
    happened_at: datetime
    outcome: Outcome
    payment_id: UUID | None
    """Taken: the payment."""
    reason: str | None
    """Refused: why, in our word or the channel's."""
    again_at: datetime | None
    """Refused: when it is tried again by itself."""


class Linked(Struct, frozen=True):
    """What a link to a deduction leads to."""

    payment_id: UUID
    lot_id: int


def of_signer(tx: Connection, *, lane: int, channel: str, payer_id: str, limit: int = LISTED_MAX) -> list[Own]:
    """Return the last stays that mandates of a payer, whom the channel has just named, paid or were to pay; the newest first."""
    payer = payer_digest(tx, channel=channel, payer_id=payer_id)
    given = {"lane": lane, "channel": channel, "payer": payer, "payment": None, "seen": SEEN_MAX, "limit": limit}
    return [Own(**row._mapping) for row in tx.execute(_OWN, given)]


def give_link(
    tx: Connection, *, lane: int, channel: str, payer_id: str, payment_id: UUID, token: str, at: datetime
) -> None:  # fmt: skip
    """Let ``token`` lead to the receipt of a deduction of the payer's own. Raises OrderUnknown for any other one."""
    payer = payer_digest(tx, channel=channel, payer_id=payer_id)
    given = {"lane": lane, "channel": channel, "payer": payer, "payment": payment_id, "seen": None, "limit": 1}
    found = tx.execute(_OWN, given).first()
    if found is None or found.payment_id != payment_id:
        raise OrderUnknown("this payer has no such deduction")
    tx.execute(
        text("""
        insert into payments.receipt_link (token_digest, lane, payment_id, agreement_id, made_at)
        values (:digest, :lane, :payment, :agreement, :at) on conflict (token_digest, lane) do nothing
        """),
        {
            "digest": orders.digest_of(token), "lane": lane, "payment": payment_id, "agreement": found.agreement_id, "at": at,
        },
    )  # fmt: skip


def by_link(tx: Connection, *, lane: int, token: str) -> Linked:
    """Return what a link leads to. Raises OrderUnknown."""
    query = text("""
        select p.payment_id, c.lot_id
        from payments.receipt_link l
        join payments.payment p on p.lane = l.lane and p.payment_id = l.payment_id
        join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
        where l.lane = :lane and l.token_digest = :digest
        """)
    row = tx.execute(query, {"lane": lane, "digest": orders.digest_of(token)}).first()
    if row is None:
        raise OrderUnknown("there is no such link")
    return Linked(*row)


_OWN: Final = text("""
with open as (
    select a.agreement_id, n.number as plate, n.color as plate_color, a.channel, e.happened_at as since,
           least(
               coalesce((select coalesce(x.confirmed_at, x.happened_at) from payments.agreement_event x
                         where x.lane = a.lane and x.agreement_id = a.agreement_id and x.number > e.number and x.kind <> 'open'
                         order by x.number limit 1),
                        (select w.confirmed_at from payments.agreement_watch w
                         where w.lane = a.lane and w.agreement_id = a.agreement_id)),
               (select min(o.happened_at) from payments.plate m
                join payments.agreement b on b.plate_id = m.plate_id and b.lane = a.lane and b.channel = a.channel
                join payments.agreement_event o on o.lane = b.lane and o.agreement_id = b.agreement_id and o.kind = 'open'
                where m.number = n.number
                  and b.payer_digest is distinct from a.payer_digest and o.happened_at > e.happened_at),
               case when n.held_since > a.confirmed_at then n.held_since end) as until
    from payments.agreement a
    join payments.agreement_event e on e.lane = a.lane and e.agreement_id = a.agreement_id and e.kind = 'open'
    join payments.plate n on n.plate_id = a.plate_id and n.erased_at is null
    where a.lane = :lane and a.channel = :channel and a.payer_digest = :payer
), stay as (
    select c.*, o.agreement_id, o.plate, o.plate_color, o.channel, o.since, o.until, m.color = o.plate_color as is_same
    from open o
    join payments.plate m on m.number = o.plate and m.color in (o.plate_color, 'unknown')
    cross join lateral (
        select c.charge_id, c.lane, c.lot_id, c.state, c.amount_fen, c.paid_fen, c.reduced_fen, c.left_at
        from payments.charge c
        where c.lane = :lane and c.plate_id = m.plate_id and c.entered_at <= o.until
          and (cast(:payment as uuid) is null
               or c.charge_id = (select p.charge_id from payments.payment p where p.lane = :lane and p.payment_id = :payment))
        order by c.charge_id desc limit :seen
    ) c
), told as (
    select distinct on (s.charge_id) s.*, p.payment_id, p.state as payment_state, p.taken_fen, p.succeeded_at, p.created_at,
           t.state as try_state, t.tried_at, t.reason
    from stay s
    left join lateral (
        select p.payment_id, p.state, p.taken_fen, p.succeeded_at, p.created_at
        from payments.payment p
        join payments.deduction d on d.lane = p.lane and d.payment_id = p.payment_id and d.plate_color in (s.plate_color, 'unknown')
        where p.lane = s.lane and p.charge_id = s.charge_id and p.way = 'deduction' and p.channel = s.channel
          and p.created_at between s.since and s.until
        order by p.state = 'succeeded' desc, p.payment_id desc limit 1
    ) p on true
    left join lateral (
        select t.state, t.tried_at, t.reason from payments.deduction_try t
        where t.lane = s.lane and t.charge_id = s.charge_id and t.channel in (s.channel, '')
          and t.tried_at between s.since and s.until
        order by t.tried_at desc, t.channel desc limit 1
    ) t on true
    where p.payment_id is not null or (t.state is not null and s.is_same)
    order by s.charge_id, p.payment_id is null, s.since desc
)
select t.charge_id, t.agreement_id, t.lot_id, l.name as lot_name, t.plate, t.plate_color,
       coalesce(t.left_at, t.created_at, t.tried_at) as left_at,
       case when t.payment_state = 'succeeded' then t.taken_fen when t.state = 'open' then t.amount_fen - t.paid_fen - t.reduced_fen
            else t.amount_fen end as amount_fen,
       coalesce(t.succeeded_at, greatest(t.created_at, t.tried_at)) as happened_at,
       case when t.payment_state = 'succeeded' then 'taken' when t.state <> 'open' then 'otherwise'
            when t.payment_state in ('created', 'pending', 'unknown') or t.try_state = 'waits' then 'waiting'
            else 'refused' end as outcome,
       case when t.payment_state = 'succeeded' then t.payment_id end as payment_id,
       case when t.payment_state is distinct from 'succeeded' then t.reason end as reason,
       case when t.state = 'open' then n.due_at end as again_at
from told t
join payments.lot l on l.lot_id = t.lot_id
left join payments.deduction_plan n on n.lane = t.lane and n.charge_id = t.charge_id
order by happened_at desc, t.charge_id desc limit :limit
""")
