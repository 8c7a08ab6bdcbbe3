"""The questions that planning asks of PostgreSQL. Private to this package; rows come in chunks of plates, never all at once."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row
from sqlalchemy import Connection, text

from ledger.db import raw


class Run(Struct, frozen=True):
    """One night's planning and how far it is."""

    run_id: UUID
    planned_on: date
    plate_cursor: int
    plates: int
    reminders: int
    debts: int
    finished_at: datetime | None


class Chunk(Struct, frozen=True):
    """The plates behind ``after`` up to ``until``."""

    lane: int
    after: int
    until: int
    today: date
    days_min: int


class OpenDebt(Struct, frozen=True, gc=False):
    """A debt that may be demanded tonight, with the last step taken for it."""

    charge_id: UUID
    plate_id: int
    operator_id: int
    owed_fen: int
    due_on: date
    step: int | None
    stepped_on: date | None


class Contact(Struct, frozen=True):
    """A contact that may be used for reminders."""

    contact_id: UUID
    language: Literal["zh", "en"]


class PlannedDebt(Struct, frozen=True, gc=False):
    """A debt of a reminder. ``step`` 0: it is only named."""

    charge_id: UUID
    owed_fen: int
    step: int


class Planned(Struct, frozen=True, kw_only=True):
    """A reminder to be inserted."""

    reminder_id: UUID
    plate_id: int
    rule_id: int
    step: int
    channel: str
    contact_id: UUID | None
    language: Literal["zh", "en"]
    template_code: str
    owed_fen: int
    debts: tuple[PlannedDebt, ...]


_RUN: Final = "run_id, planned_on, plate_cursor, plates, reminders, debts, finished_at"


def begin_run(tx: Connection, *, lane: int, planned_on: date, run_id: UUID, at: datetime) -> Run:
    """Return the run of a day, made when there is none yet."""
    tx.execute(
        text("""
        insert into payments.dunning_run (run_id, lane, planned_on, started_at) values (:id, :lane, :day, :at)
        on conflict (planned_on, lane) do nothing
        """),
        {"id": run_id, "lane": lane, "day": planned_on, "at": at},
    )
    query = text(f"select {_RUN} from payments.dunning_run where lane = :lane and planned_on = :day")
    return Run(*tx.execute(query, {"lane": lane, "day": planned_on}).one())


def hold_run(tx: Connection, *, lane: int, run_id: UUID) -> Run:
    """Return a run, holding its row: one caller plans a chunk at a time."""
    query = text(f"select {_RUN} from payments.dunning_run where lane = :lane and run_id = :id for update")
    return Run(*tx.execute(query, {"lane": lane, "id": run_id}).one())


def finish(tx: Connection, *, lane: int, run_id: UUID, at: datetime) -> Run:
    query = text(f"update payments.dunning_run set finished_at = :at where lane = :lane and run_id = :id returning {_RUN}")
    return Run(*tx.execute(query, {"lane": lane, "id": run_id, "at": at}).one())


def advance(
    tx: Connection, *, lane: int, run_id: UUID, until: int, looked_at: Sequence[OpenDebt], planned: Sequence[Planned]
) -> Run:  # fmt: skip
    """Move a run's cursor behind a chunk."""
    query = text(f"""
        update payments.dunning_run set plate_cursor = :until, plates = plates + :plates, reminders = reminders + :reminders,
               debts = debts + :debts
        where lane = :lane and run_id = :id returning {_RUN}
        """)
    given = {
        "lane": lane, "id": run_id, "until": until, "plates": len({debt.plate_id for debt in looked_at}),
        "reminders": len(planned), "debts": sum(len(one.debts) for one in planned),
    }  # fmt: skip
    return Run(*tx.execute(query, given).one())


def chunk_end(tx: Connection, *, lane: int, after: int, debts: int) -> int | None:
    """Return the last plate of the next chunk: that of so many open debts behind a plate; None: there is none behind it."""
    query = text("""
        select max(plate_id) from (
            select plate_id from payments.debt where lane = :lane and owed_fen > 0 and plate_id > :after
            order by plate_id limit :debts) d
        """)
    found = tx.execute(query, {"lane": lane, "after": after, "debts": debts}).scalar_one()
    return None if found is None else int(found)


def open_debts(tx: Connection, chunk: Chunk) -> list[OpenDebt]:
    """Return the debts of a chunk that may be demanded, by plate.

    Left out: what is disputed, paused, being paid, not due for any step, and what an earlier holder of the plate owes.
    """
    with raw(tx).cursor(row_factory=class_row(OpenDebt)) as cursor:
        return cursor.execute(
            b"""
            select d.charge_id, d.plate_id, d.operator_id, d.owed_fen, d.due_on, s.step, s.stepped_on
            from payments.debt d
            join payments.plate p on p.plate_id = d.plate_id
            left join payments.debt_step s on s.charge_id = d.charge_id and s.lane = d.lane
            where d.lane = %(lane)s and d.owed_fen > 0 and d.plate_id > %(after)s and d.plate_id <= %(until)s
              and d.due_on <= %(today)s::date - %(days_min)s::integer
              and d.disputed_at is null and (d.paused_until is null or d.paused_until <= %(today)s)
              and (p.held_since is null or exists (
                  select from payments.charge h
                  where h.lane = d.lane and h.charge_id = d.charge_id and h.entered_at >= p.held_since))
              and not exists (select from payments.payment y where y.charge_id = d.charge_id and y.lane = d.lane
                              and y.state in ('created', 'pending', 'unknown'))
            order by d.plate_id, d.due_on, d.charge_id
            """,
            _given(chunk),
        ).fetchall()


def contacts(tx: Connection, chunk: Chunk) -> dict[int, dict[str, Contact]]:
    """Return the newest usable contact of each medium, by plate; none that an earlier holder of the plate gave."""
    rows = raw(tx).execute(
        b"""
        select distinct on (c.plate_id, c.medium) c.plate_id, c.medium, c.contact_id, c.language
        from payments.plate_contact c join payments.plate p on p.plate_id = c.plate_id
        where c.plate_id > %(after)s and c.plate_id <= %(until)s and c.ends_at is null and c.value is not null
          and c.purpose in ('reminder', 'all') and c.erase_on > %(today)s
          and (p.held_since is null or c.consented_at >= p.held_since)
        order by c.plate_id, c.medium, c.consented_at desc, c.contact_id desc
        """,
        _given(chunk),
    )
    found: dict[int, dict[str, Contact]] = {}
    for plate_id, medium, contact_id, language in rows:
        found.setdefault(plate_id, {})[medium] = Contact(contact_id, language)
    return found


def last_planned(tx: Connection, chunk: Chunk) -> dict[tuple[int, int | None], date]:
    """Return when each plate was reminded last by the rules of each operator (None: the city's), sent or still to be sent."""
    rows = raw(tx).execute(
        b"""
        select r.plate_id, u.operator_id, (max(r.planned_at) at time zone 'Asia/Shanghai')::date
        from payments.reminder r join payments.dunning_rule u on u.rule_id = r.rule_id
        where r.plate_id > %(after)s and r.plate_id <= %(until)s and r.lane = %(lane)s and r.state in ('planned', 'sending', 'sent')
        group by r.plate_id, u.operator_id
        """,
        _given(chunk),
    )
    return {(plate_id, operator_id): day for plate_id, operator_id, day in rows}


def insert(
    tx: Connection, *, lane: int, run_id: UUID, planned: Sequence[Planned], at: datetime, today: date
) -> None:  # fmt: skip
    """Insert reminders with their debts and take the debts' steps."""
    if not planned:
        return
    debts = [(one.reminder_id, debt) for one in planned for debt in one.debts]
    steps = [(one, debt) for one in planned for debt in one.debts if debt.step]
    with raw(tx).cursor() as cursor:
        cursor.execute(
            b"""
            insert into payments.reminder (reminder_id, lane, plate_id, run_id, rule_id, step, channel, contact_id, state, owed_fen,
                                           debts, template_code, language, planned_at)
            select reminder_id, %(lane)s, plate_id, %(run)s, rule_id, step, channel, contact_id, 'planned', owed_fen, debts,
                   template_code, language, %(at)s
            from unnest(%(ids)s::uuid[], %(plates)s::bigint[], %(rules)s::integer[], %(steps)s::smallint[], %(channels)s::text[],
                        %(contacts)s::uuid[], %(fens)s::bigint[], %(debts)s::integer[], %(texts)s::text[], %(languages)s::text[])
                 as r (reminder_id, plate_id, rule_id, step, channel, contact_id, owed_fen, debts, template_code, language)
            """,
            {
                "lane": lane, "run": run_id, "at": at, "ids": [x.reminder_id for x in planned],
                "plates": [x.plate_id for x in planned], "rules": [x.rule_id for x in planned],
                "steps": [x.step for x in planned], "channels": [x.channel for x in planned],
                "contacts": [x.contact_id for x in planned], "fens": [x.owed_fen for x in planned],
                "debts": [len(x.debts) for x in planned], "texts": [x.template_code for x in planned],
                "languages": [x.language for x in planned],
            },
        )  # fmt: skip
        cursor.execute(
            b"""
            insert into payments.reminder_debt (reminder_id, lane, charge_id, owed_fen, is_step)
            select reminder_id, %(lane)s, charge_id, owed_fen, is_step
            from unnest(%(ids)s::uuid[], %(charges)s::uuid[], %(fens)s::bigint[], %(steps)s::boolean[])
                 as d (reminder_id, charge_id, owed_fen, is_step)
            """,
            {
                "lane": lane, "ids": [one for one, _ in debts], "charges": [debt.charge_id for _, debt in debts],
                "fens": [debt.owed_fen for _, debt in debts], "steps": [debt.step > 0 for _, debt in debts],
            },
        )  # fmt: skip
        cursor.execute(
            b"""
            insert into payments.debt_step (charge_id, lane, rule_id, step, reminder_id, stepped_on)
            select charge_id, %(lane)s, rule_id, step, reminder_id, %(today)s
            from unnest(%(charges)s::uuid[], %(rules)s::integer[], %(steps)s::smallint[], %(ids)s::uuid[])
                 as s (charge_id, rule_id, step, reminder_id)
            on conflict (charge_id, lane) do update set rule_id = excluded.rule_id, step = excluded.step,
                reminder_id = excluded.reminder_id, stepped_on = excluded.stepped_on, stepped_before = debt_step.stepped_on
            """,
            {
                "lane": lane, "today": today, "charges": [debt.charge_id for _, debt in steps],
                "rules": [one.rule_id for one, _ in steps], "steps": [debt.step for _, debt in steps],
                "ids": [one.reminder_id for one, _ in steps],
            },
        )  # fmt: skip


def _given(chunk: Chunk) -> dict[str, object]:
    return {name: getattr(chunk, name) for name in Chunk.__struct_fields__}
