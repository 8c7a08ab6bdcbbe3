"""The questions that asking again about open agreements asks of PostgreSQL, and forgetting who signed. Private to this room."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text


class Keeping(Struct, frozen=True, kw_only=True):
    """How long it is kept who signed, after the mandate's end, from a date on."""

    valid_from: datetime
    years: int
    document: str


class NotOpen(Struct, frozen=True):
    """A channel's word that an agreement is not open, with the message that proves it."""

    agreement_id: UUID
    message_id: UUID | None
    word: str | None


_OVERTAKEN: Final = """
    payments.agreement_watch w
    join payments.agreement a on a.lane = w.lane and a.agreement_id = w.agreement_id
    join payments.mandate m on m.plate_id = a.plate_id and m.channel = w.channel and m.state = 'none' and m.told_at > w.confirmed_at
"""
"""Open agreements of whose plates the channel has said since that they are not: at an entrance, by a notice, at a deduction."""


def overtaken(tx: Connection, *, lane: int, channels: Sequence[str], limit: int) -> list[UUID]:
    """Return open agreements whose plates these channels, which only a payer can ask, have said since to be not open."""
    query = text(
        f"select w.agreement_id from {_OVERTAKEN} where w.lane = :lane and w.channel = any(:channels) order by 1 limit :limit"
    )
    return list(tx.execute(query, {"lane": lane, "channels": list(channels), "limit": limit}).scalars())


def ask_overtaken(tx: Connection, *, lane: int, channels: Sequence[str], at: datetime) -> None:
    """Let those whose channels can be asked about a plate alone be asked about now."""
    query = text(f"""
        update payments.agreement_watch t set due_at = :at
        from (select w.agreement_id, w.lane from {_OVERTAKEN}
              where w.lane = :lane and w.channel = any(:channels) and w.due_at is null) w
        where t.lane = w.lane and t.agreement_id = w.agreement_id
        """)
    tx.execute(query, {"lane": lane, "channels": list(channels), "at": at})


def claim(
    tx: Connection, *, lane: int, channels: Sequence[str], confirmed_before: datetime, at: datetime, until: datetime, limit: int
) -> list[UUID]:
    """Claim open agreements that are to be asked about, the longest unconfirmed first, until ``until``; then they are due again."""
    query = text("""
        with due as materialized (
            select w.agreement_id, w.lane from payments.agreement_watch w
            where w.lane = :lane and w.channel = any(:channels)
              and ((w.due_at is null and w.confirmed_at <= :before) or w.due_at <= :at)
            order by coalesce(w.due_at, w.confirmed_at), w.agreement_id limit :limit for update skip locked
        )
        update payments.agreement_watch w set due_at = :until, tries = least(w.tries + 1, 100) from due d
        where w.lane = d.lane and w.agreement_id = d.agreement_id
        returning w.agreement_id
        """)
    given = {"lane": lane, "channels": list(channels), "before": confirmed_before, "at": at, "until": until, "limit": limit}
    return sorted(tx.execute(query, given).scalars())


def hold(tx: Connection, *, consents: Sequence[tuple[str, str]]) -> None:
    """Wait for whoever writes about the consents for these channels and numbers, or acts upon them, in one order."""
    query = text("""
        select pg_advisory_xact_lock(hashtextextended(name, 0))
        from (select distinct name from unnest(cast(:names as text[])) as n (name) order by name) n
        """)
    tx.execute(query, {"names": [f"consent {channel} {plate}" for channel, plate in consents]}).all()


def not_open(tx: Connection, *, lane: int, told: Sequence[NotOpen], at: datetime) -> int:
    """Write that agreements which still stand open are not, by their channels' word. The consents are held. Returns how many."""
    query = text("""
        insert into payments.agreement_event (agreement_id, lane, number, kind, happened_at, said_by, message_id, word)
        select w.agreement_id, w.lane, max(e.number) + 1, 'none', :at, 'channel', u.message_id, u.word
        from unnest(cast(:agreement_id as uuid[]), cast(:message_id as uuid[]), cast(:word as text[]))
            as u (agreement_id, message_id, word)
        join payments.agreement_watch w on w.lane = :lane and w.agreement_id = u.agreement_id
        join payments.agreement_event e on e.lane = w.lane and e.agreement_id = w.agreement_id
        group by w.agreement_id, w.lane, u.message_id, u.word
        """)
    given = {name: [getattr(one, name) for one in told] for name in NotOpen.__struct_fields__}
    return tx.execute(query, given | {"lane": lane, "at": at}).rowcount


def put_off(tx: Connection, *, lane: int, agreement_ids: Sequence[UUID], until: Sequence[datetime], proven: Sequence[bool]) -> None:
    """Let agreements be asked about again at these times; after an answer that proved something the tries begin anew."""
    query = text("""
        update payments.agreement_watch w set due_at = u.until, tries = case when u.proven then 0 else w.tries end
        from unnest(cast(:ids as uuid[]), cast(:until as timestamptz[]), cast(:proven as boolean[]))
            as u (agreement_id, until, proven)
        where w.lane = :lane and w.agreement_id = u.agreement_id
        """)
    tx.execute(query, {"lane": lane, "ids": list(agreement_ids), "until": list(until), "proven": list(proven)})


def tries(tx: Connection, *, lane: int, agreement_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return how often in a row channels proved nothing of agreements, the try under way included."""
    query = text("select agreement_id, tries from payments.agreement_watch where lane = :lane and agreement_id = any(:ids)")
    return {row.agreement_id: row.tries for row in tx.execute(query, {"lane": lane, "ids": list(agreement_ids)})}


def unwatch(tx: Connection, *, lane: int, agreement_ids: Sequence[UUID]) -> None:
    """Ask no more about agreements: their plates came to other owners, or were forgotten."""
    query = text("delete from payments.agreement_watch where lane = :lane and agreement_id = any(:ids)")
    tx.execute(query, {"lane": lane, "ids": list(agreement_ids)})


def due_now(tx: Connection, *, lane: int, charge_id: UUID, channel: str, at: datetime) -> None:
    """Let the open agreements for the number of a charge's plate at a channel be asked about now: a deduction has failed."""
    query = text("""
        update payments.agreement_watch w set due_at = :at
        from payments.charge c
        join payments.plate s on s.plate_id = c.plate_id
        join payments.plate p on p.number = s.number
        join payments.agreement a on a.plate_id = p.plate_id
        where c.lane = :lane and c.charge_id = :charge and a.lane = c.lane and a.channel = :channel
          and w.lane = a.lane and w.agreement_id = a.agreement_id
        """)
    tx.execute(query, {"lane": lane, "charge": charge_id, "channel": channel, "at": at})


# Who signed


def insert_keeping(tx: Connection, *, keeping: Keeping, at: datetime) -> bool:
    """Insert for how long it is kept who signed; False when another one begins at that time."""
    query = text("""
        insert into payments.agreement_keeping (valid_from, years, document, entered_at) values (:from, :years, :document, :at)
        on conflict (valid_from) do nothing
        """)
    given = {"from": keeping.valid_from, "years": keeping.years, "document": keeping.document, "at": at}
    return tx.execute(query, given).rowcount == 1


def keepings(tx: Connection) -> list[Keeping]:
    """Return how long it is kept who signed, by date."""
    query = text("select valid_from, years, document from payments.agreement_keeping order by valid_from")
    return [Keeping(**row._mapping) for row in tx.execute(query)]


def forget_payers(tx: Connection, *, lane: int, at: datetime, limit: int) -> int:
    """Forget who signed agreements whose mandates ended longer ago than that is kept. Returns how many."""
    query = text("""
        with rule as (
            select years from payments.agreement_keeping where valid_from <= :at order by valid_from desc limit 1
        ), over as materialized (
            select a.agreement_id, a.lane
            from rule
            join payments.agreement a on a.payer_digest is not null and a.confirmed_at <= :at - make_interval(years => rule.years)
            join payments.plate p on p.plate_id = a.plate_id
            left join lateral (
                select e.kind, e.happened_at from payments.agreement_event e
                where e.lane = a.lane and e.agreement_id = a.agreement_id order by e.number desc limit 1
            ) e on true
            where a.lane = :lane
              and coalesce(case when e.kind <> 'open' then e.happened_at when e.kind is null then a.confirmed_at end,
                           case when p.held_since > a.confirmed_at then p.held_since end, p.erased_at)
                  <= :at - make_interval(years => rule.years)
            order by a.agreement_id limit :limit for update of a skip locked
        )
        update payments.agreement a set payer_digest = null, payer_erased_at = :at from over o
        where a.lane = o.lane and a.agreement_id = o.agreement_id
        """)
    return tx.execute(query, {"lane": lane, "at": at, "limit": limit}).rowcount
