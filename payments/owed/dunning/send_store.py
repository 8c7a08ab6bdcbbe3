"""The questions that sending asks of PostgreSQL. Private to this package; a batch is claimed, written, sent, and then closed."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.owed.dunning.channels import Outcome
from payments.owed.dunning.contacts import Medium


class Claimed(Struct, frozen=True, kw_only=True):
    """A reminder that a sender holds, with its contact as it is now. ``subject`` and ``body`` are there once its text is fixed."""

    reminder_id: UUID
    plate_id: int
    plate: str
    rule_id: int
    step: int
    channel: str
    contact_id: UUID | None
    medium: Medium | None
    to: str | None
    to_digest: bytes | None
    is_proven_holder: bool
    template_code: str
    language: Literal["zh", "en"]
    attempts: int
    subject: str | None
    body: str | None


class DueDebt(Struct, frozen=True, kw_only=True):
    """A debt of a reminder as it is now. ``may`` tells whether it may be demanded."""

    reminder_id: UUID
    charge_id: UUID
    owed_fen: int
    due_on: date
    left_on: date
    lot_name: str
    is_step: bool
    may: bool


class Text(Struct, frozen=True, kw_only=True):
    """The text of a reminder, fixed before it is sent."""

    reminder_id: UUID
    owed_fen: int
    debts: int
    text_from: datetime
    subject: str
    body: str
    body_digest: bytes
    to_masked: str
    to_digest: bytes | None


class Closed(Struct, frozen=True, kw_only=True):
    """What became of a reminder."""

    reminder_id: UUID
    outcome: Outcome
    words: str
    is_proven: bool


def rules_waiting(tx: Connection, *, lane: int) -> list[int]:
    """Return the rules of reminders that wait to be sent."""
    query = text("""
        with recursive found as (
            (select min(rule_id) as rule_id from payments.reminder where lane = :lane and state in ('planned', 'sending'))
            union all
            select (select min(r.rule_id) from payments.reminder r
                    where r.lane = :lane and r.state in ('planned', 'sending') and r.rule_id > f.rule_id)
            from found f where f.rule_id is not null
        )
        select rule_id from found where rule_id is not null
        """)
    return list(tx.execute(query, {"lane": lane}).scalars())


def claim(
    tx: Connection, *, lane: int, rule_ids: Sequence[int], at: datetime, until: datetime, limit: int
) -> list[Claimed]:  # fmt: skip
    """Claim reminders that wait, rule by rule, the oldest first; those that another sender holds are left out. Waits for nobody."""
    rows = tx.execute(
        text("""
        with mine as materialized (
            select w.reminder_id from unnest(cast(:rules as integer[])) as r (rule_id)
            cross join lateral (
                select x.reminder_id from payments.reminder x
                where x.lane = :lane and x.state in ('planned', 'sending') and x.rule_id = r.rule_id
                  and (x.claimed_until is null or x.claimed_until <= :at)
                order by x.reminder_id limit :limit for update skip locked) w
            limit :limit
        ), held as (
            update payments.reminder r set claimed_until = :until, attempts = r.attempts + 1
            from mine m where r.lane = :lane and r.reminder_id = m.reminder_id
            returning r.*
        )
        select h.reminder_id, h.plate_id, p.number as plate, h.rule_id, h.step, h.channel, h.contact_id, c.medium, c.value as to,
               c.digest as to_digest, coalesce(c.is_proven_holder, false) as is_proven_holder, h.template_code, h.language,
               h.attempts, h.subject, h.body
        from held h join payments.plate p on p.plate_id = h.plate_id
        left join payments.plate_contact c on c.contact_id = h.contact_id and c.ends_at is null and c.value is not null
             and c.erase_on > (cast(:at as timestamptz) at time zone 'Asia/Shanghai')::date
        order by h.reminder_id
        """),
        {"lane": lane, "rules": list(rule_ids), "at": at, "until": until, "limit": limit},
    )
    return [Claimed(**row._mapping) for row in rows]


def debts(tx: Connection, *, lane: int, reminder_ids: Sequence[UUID], today: date) -> dict[UUID, list[DueDebt]]:
    """Return the debts of reminders as they are now, by reminder."""
    rows = tx.execute(
        text("""
        select r.reminder_id, r.charge_id, d.owed_fen, d.due_on, (d.opened_at at time zone 'Asia/Shanghai')::date as left_on,
               l.name as lot_name, r.is_step,
               d.owed_fen > 0 and d.disputed_at is null and (d.paused_until is null or d.paused_until <= :today)
               and not exists (select from payments.payment y where y.charge_id = d.charge_id and y.lane = d.lane
                               and y.state in ('created', 'pending', 'unknown')) as may
        from payments.reminder_debt r
        join payments.debt d on d.lane = r.lane and d.charge_id = r.charge_id
        join payments.lot l on l.lot_id = d.lot_id
        where r.lane = :lane and r.reminder_id = any(cast(:ids as uuid[]))
        order by r.reminder_id, d.due_on, r.charge_id
        """),
        {"lane": lane, "ids": list(reminder_ids), "today": today},
    )
    found: dict[UUID, list[DueDebt]] = {}
    for row in rows:
        found.setdefault(row.reminder_id, []).append(DueDebt(**row._mapping))
    return found


def fix(tx: Connection, *, lane: int, texts: Sequence[Text], debts: Sequence[DueDebt]) -> None:
    """Write texts down, with the debts that they speak of: from now on a reminder may have been sent."""
    if not texts:
        return
    tx.execute(
        text("""
        with fixed as (
            update payments.reminder r set state = 'sending', owed_fen = u.owed_fen, debts = u.debts, text_from = u.text_from,
                subject = u.subject, body = u.body, body_digest = u.body_digest, to_masked = u.to_masked, to_digest = u.to_digest
            from unnest(cast(:reminder_id as uuid[]), cast(:owed_fen as bigint[]), cast(:debts as integer[]),
                        cast(:text_from as timestamptz[]), cast(:subject as text[]), cast(:body as text[]),
                        cast(:body_digest as bytea[]), cast(:to_masked as text[]), cast(:to_digest as bytea[]))
                 as u (reminder_id, owed_fen, debts, text_from, subject, body, body_digest, to_masked, to_digest)
            where r.lane = :lane and r.reminder_id = u.reminder_id
        )
        update payments.reminder_debt d set owed_fen = u.fen
        from unnest(cast(:of as uuid[]), cast(:charges as uuid[]), cast(:fens as bigint[])) as u (reminder_id, charge_id, fen)
        where d.lane = :lane and d.reminder_id = u.reminder_id and d.charge_id = u.charge_id and d.owed_fen <> u.fen
        """),
        {"lane": lane} | {name: [getattr(one, name) for one in texts] for name in Text.__struct_fields__}
        | {"of": [x.reminder_id for x in debts], "charges": [x.charge_id for x in debts], "fens": [x.owed_fen for x in debts]},
    )  # fmt: skip


def leave_out(tx: Connection, *, lane: int, debts: Sequence[DueDebt]) -> None:
    """Take debts out of reminders that are not written yet; they come again when they may be demanded."""
    if not debts:
        return
    of, charges = [x.reminder_id for x in debts], [x.charge_id for x in debts]
    step_back(tx, lane=lane, reminder_ids=of, charge_ids=charges)
    tx.execute(
        text("""
        delete from payments.reminder_debt d
        using unnest(cast(:of as uuid[]), cast(:charges as uuid[])) as u (reminder_id, charge_id)
        where d.lane = :lane and d.reminder_id = u.reminder_id and d.charge_id = u.charge_id
        """),
        {"lane": lane, "of": of, "charges": charges},
    )


def drop(tx: Connection, *, lane: int, reminder_ids: Sequence[UUID], reason: str) -> None:
    """Give reminders up of which nothing may be demanded, or whose contact is gone; their steps are taken again later."""
    if not reminder_ids:
        return
    step_back(tx, lane=lane, reminder_ids=reminder_ids)
    tx.execute(
        text("""
        update payments.reminder set state = 'dropped', reason = :reason, claimed_until = null
        where lane = :lane and reminder_id = any(cast(:ids as uuid[]))
        """),
        {"lane": lane, "ids": list(reminder_ids), "reason": reason},
    )


def step_back(
    tx: Connection, *, lane: int, reminder_ids: Sequence[UUID], charge_ids: Sequence[UUID] | None = None
) -> None:  # fmt: skip
    """Undo the steps that reminders had taken: of all their debts, or of these."""
    tx.execute(
        text("""
        update payments.debt_step s set step = s.step - 1, reminder_id = null, stepped_on = s.stepped_before, stepped_before = null
        where s.lane = :lane and s.step > 0 and s.charge_id in (
                  select d.charge_id from payments.reminder_debt d
                  where d.lane = :lane and d.is_step and d.reminder_id = any(cast(:ids as uuid[]))
                    and (cast(:charges as uuid[]) is null or d.charge_id = any(cast(:charges as uuid[]))))
          and s.reminder_id = any(cast(:ids as uuid[]))
        """),
        {"lane": lane, "ids": list(reminder_ids), "charges": None if charge_ids is None else list(charge_ids)},
    )


def close(tx: Connection, *, lane: int, closed: Sequence[Closed], at: datetime) -> None:
    """Write down what the carriers said of a batch."""
    tx.execute(
        text("""
        update payments.reminder r
        set state = u.outcome, claimed_until = null, receipt = u.words,
            sent_at = case when u.outcome = 'sent' then cast(:at as timestamptz) end,
            proven_at = case when u.proven then cast(:at as timestamptz) end,
            proof = case when u.proven then u.words end, reason = case when u.outcome <> 'sent' then u.words end
        from unnest(cast(:ids as uuid[]), cast(:outcomes as text[]), cast(:words as text[]), cast(:proven as boolean[]))
             as u (reminder_id, outcome, words, proven)
        where r.lane = :lane and r.reminder_id = u.reminder_id
        """),
        {
            "lane": lane, "at": at, "ids": [x.reminder_id for x in closed], "outcomes": [x.outcome for x in closed],
            "words": [x.words for x in closed], "proven": [x.is_proven for x in closed],
        },
    )  # fmt: skip


def try_again(tx: Connection, *, lane: int, reminder_ids: Sequence[UUID], words: Sequence[str], at: datetime) -> None:
    """Let reminders be tried again from ``at`` on."""
    tx.execute(
        text("""
        update payments.reminder r set claimed_until = :at, receipt = u.words
        from unnest(cast(:ids as uuid[]), cast(:words as text[])) as u (reminder_id, words)
        where r.lane = :lane and r.reminder_id = u.reminder_id
        """),
        {"lane": lane, "ids": list(reminder_ids), "words": list(words), "at": at},
    )


def end_contacts(tx: Connection, *, lane: int, reminder_ids: Sequence[UUID], at: datetime) -> None:
    """End the contacts of reminders that bounced."""
    tx.execute(
        text("""
        update payments.plate_contact set ends_at = :at, ended_because = 'bounced'
        where ends_at is null and contact_id in (
            select contact_id from payments.reminder where lane = :lane and reminder_id = any(cast(:ids as uuid[])))
        """),
        {"lane": lane, "ids": list(reminder_ids), "at": at},
    )


def demanded(tx: Connection, *, lane: int, reminder_ids: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
    """Return reminder and debt of what reminders demand."""
    rows = tx.execute(
        text("""
        select reminder_id, charge_id from payments.reminder_debt
        where lane = :lane and reminder_id = any(cast(:ids as uuid[])) order by 1, 2
        """),
        {"lane": lane, "ids": list(reminder_ids)},
    )
    return [(row.reminder_id, row.charge_id) for row in rows]


def state(tx: Connection, *, lane: int, reminder_id: UUID) -> tuple[str, str, datetime | None] | None:
    """Return state, channel and time of sending of a reminder, holding its row."""
    row = tx.execute(
        text("select state, channel, sent_at from payments.reminder where lane = :lane and reminder_id = :id for update"),
        {"lane": lane, "id": reminder_id},
    ).first()
    return None if row is None else (row.state, row.channel, row.sent_at)


def prove(tx: Connection, *, lane: int, reminder_id: UUID, proven_at: datetime, proof: str) -> None:
    tx.execute(
        text("update payments.reminder set proven_at = :at, proof = :proof where lane = :lane and reminder_id = :id"),
        {"lane": lane, "id": reminder_id, "at": proven_at, "proof": proof},
    )


def bounce(tx: Connection, *, lane: int, reminder_id: UUID, reason: str) -> None:
    tx.execute(
        text("""
        update payments.reminder set state = 'bounced', proven_at = null, proof = null, reason = :reason
        where lane = :lane and reminder_id = :id
        """),
        {"lane": lane, "id": reminder_id, "reason": reason},
    )


class Notice(Struct, frozen=True, kw_only=True):
    """A reminder that the pay page shows to whoever enters the plate: amounts and a number, no places."""

    reminder_id: UUID
    subject: str
    body: str
    sent_at: datetime


_NOTICES: Final = """
select reminder_id, subject, body, sent_at from payments.reminder
where lane = :lane and plate_id = :plate and channel = 'page' and state = 'sent' and sent_at > :since
order by reminder_id desc limit 1
"""


def notice(tx: Connection, *, lane: int, plate_id: int, since: datetime) -> Notice | None:
    row = tx.execute(text(_NOTICES), {"lane": lane, "plate": plate_id, "since": since}).first()
    return None if row is None else Notice(**row._mapping)


def parts_paid(tx: Connection, *, lane: int, since: datetime) -> list[tuple[date, UUID, UUID]]:
    """Return the parts of debts that were paid since then and began no years anew yet: day, debt, payment."""
    rows = tx.execute(
        text("""
        select (f.happened_at at time zone 'Asia/Shanghai')::date as paid_on, p.charge_id, p.payment_id
        from payments.payment_fact f
        join payments.payment p on p.lane = f.lane and p.payment_id = f.payment_id
        join payments.debt d on d.lane = p.lane and d.charge_id = p.charge_id
        where f.lane = :lane and f.treatment = 'part' and f.happened_at > :since and p.taken_back_at is null and d.owed_fen > 0
          and not exists (select from payments.limitation_act a where a.lane = p.lane and a.charge_id = p.charge_id
                          and a.kind = 'part_paid' and a.source_id = p.payment_id)
        order by p.charge_id, p.payment_id limit 10000
        """),
        {"lane": lane, "since": since},
    )
    return [(row.paid_on, row.charge_id, row.payment_id) for row in rows]
