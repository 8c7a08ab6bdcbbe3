"""The questions that the debt desk asks of PostgreSQL: proposals, their lines, and carrying them out. Private to this room.

Whoever changes debts holds their charges in the order of their ids, as payers and the applier do.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

Kind = Literal["waiver", "write_off", "write_back"]
"""waiver: let off 减免, in full or in part. write_off: not expected any more 核销. write_back: a write-off undone."""


class DebtRow(Struct, frozen=True, kw_only=True):
    """A debt as a decision needs it."""

    charge_id: UUID
    operator_id: int
    lot_id: int
    book_id: int
    lot_serial: str
    amount_fen: int
    paid_fen: int
    reduced_fen: int
    owed_fen: int
    state: str
    is_being_paid: bool


class LineRow(Struct, frozen=True, kw_only=True):
    """One line of a decision."""

    line_id: UUID
    charge_id: UUID
    book_id: int
    amount_fen: int
    owed_fen: int
    reverses: UUID | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """A proposal and what became of it. ``lines_digest`` is what the second person approves."""

    decision_id: UUID
    kind: Kind
    state: Literal["proposed", "approved", "rejected"]
    reason: str
    document_name: str
    document_digest: bytes
    dispute_id: UUID | None
    lines: int
    amount_fen: int
    lines_digest: bytes
    proposed_by: str
    proposed_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decided_note: str | None


_DECISION: Final = """
select decision_id, kind, state, reason, document_name, document_digest, dispute_id, lines, amount_fen, lines_digest, proposed_by,
       proposed_at, decided_by, decided_at, decided_note
from payments.debt_decision
"""


def debts(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], hold: bool = False) -> dict[UUID, DebtRow]:
    """Return debts by charge; with ``hold`` their charges are locked first, in the order of their ids."""
    given = {"lane": lane, "ids": list(charge_ids)}
    if hold:
        tx.execute(
            text("""
            select 1 from payments.charge where lane = :lane and charge_id = any(cast(:ids as uuid[])) order by charge_id for update
            """),
            given,
        ).all()
    rows = tx.execute(
        text("""
        select d.charge_id, d.operator_id, d.lot_id, o.book_id, c.lot_serial, c.amount_fen, c.paid_fen, c.reduced_fen, d.owed_fen,
               c.state,
               exists (select from payments.payment p where p.lane = d.lane and p.charge_id = d.charge_id
                       and p.state in ('created', 'pending', 'unknown')) as is_being_paid
        from payments.debt d
        join payments.charge c on c.lane = d.lane and c.charge_id = d.charge_id
        join payments.operator o on o.operator_id = d.operator_id
        where d.lane = :lane and d.charge_id = any(cast(:ids as uuid[]))
        order by d.charge_id
        """),
        given,
    )
    return {row.charge_id: DebtRow(**row._mapping) for row in rows}


def over_limitation(
    tx: Connection, *, lane: int, limitation_before: date, operator_id: int | None, limit: int
) -> list[UUID]:  # fmt: skip
    """Return open debts whose limitation ended before a day, that nobody pays, disputes or has proposed anything about."""
    rows = tx.execute(
        text("""
        select d.charge_id from payments.debt d
        where d.lane = :lane and d.owed_fen > 0 and d.limitation_on < :before and d.disputed_at is null
          and (cast(:operator as integer) is null or d.operator_id = :operator)
          and not exists (select from payments.payment p where p.lane = d.lane and p.charge_id = d.charge_id
                          and p.state in ('created', 'pending', 'unknown'))
          and not exists (select from payments.debt_decision_line l
                          join payments.debt_decision x on x.lane = l.lane and x.decision_id = l.decision_id
                          where l.lane = d.lane and l.charge_id = d.charge_id and x.state = 'proposed')
        order by d.limitation_on, d.charge_id limit :limit
        """),
        {"lane": lane, "before": limitation_before, "operator": operator_id, "limit": limit},
    )
    return list(rows.scalars())


def proposed_already(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> list[UUID]:
    """Return those of these debts that a decision waits for which is not made yet."""
    rows = tx.execute(
        text("""
        select distinct l.charge_id from payments.debt_decision_line l
        join payments.debt_decision d on d.lane = l.lane and d.decision_id = l.decision_id
        where l.lane = :lane and l.charge_id = any(cast(:ids as uuid[])) and d.state = 'proposed' order by 1
        """),
        {"lane": lane, "ids": list(charge_ids)},
    )
    return list(rows.scalars())


def written_off_lines(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, LineRow]:
    """Return, by charge, the line of the approved write-off that is not written back yet."""
    rows = tx.execute(
        text("""
        select l.line_id, l.charge_id, l.book_id, l.amount_fen, l.owed_fen
        from payments.debt_decision_line l
        join payments.debt_decision d on d.lane = l.lane and d.decision_id = l.decision_id
        where l.lane = :lane and l.charge_id = any(cast(:ids as uuid[])) and d.kind = 'write_off' and d.state = 'approved'
          and not exists (
              select from payments.debt_decision_line b
              join payments.debt_decision x on x.lane = b.lane and x.decision_id = b.decision_id
              where b.lane = l.lane and b.charge_id = l.charge_id and b.reverses = l.line_id and x.state = 'approved')
        """),
        {"lane": lane, "ids": list(charge_ids)},
    )
    return {row.charge_id: LineRow(**row._mapping) for row in rows}


def insert_decision(tx: Connection, *, lane: int, decision: Decision, document_bytes: bytes | None) -> None:
    """Insert a proposal without its lines."""
    tx.execute(
        text("""
        insert into payments.debt_decision (decision_id, lane, kind, state, reason, document_name, document_digest, document_bytes,
                                            dispute_id, lines, amount_fen, lines_digest, proposed_by, proposed_at)
        values (:decision_id, :lane, :kind, 'proposed', :reason, :document_name, :document_digest, :document_bytes, :dispute_id,
                :lines, :amount_fen, :lines_digest, :proposed_by, :proposed_at)
        """),
        {"lane": lane, "document_bytes": document_bytes}
        | {name: getattr(decision, name) for name in Decision.__struct_fields__},
    )  # fmt: skip


def insert_lines(tx: Connection, *, lane: int, decision_id: UUID, lines: Sequence[LineRow]) -> None:
    tx.execute(
        text("""
        insert into payments.debt_decision_line (line_id, lane, decision_id, charge_id, book_id, amount_fen, owed_fen, reverses)
        select line_id, :lane, :decision, charge_id, book_id, amount_fen, owed_fen, reverses
        from unnest(cast(:line_id as uuid[]), cast(:charge_id as uuid[]), cast(:book_id as integer[]),
                    cast(:amount_fen as bigint[]), cast(:owed_fen as bigint[]), cast(:reverses as uuid[]))
             as l (line_id, charge_id, book_id, amount_fen, owed_fen, reverses)
        """),
        {"lane": lane, "decision": decision_id} | {name: [getattr(x, name) for x in lines] for name in LineRow.__struct_fields__},
    )


def decision(tx: Connection, *, lane: int, decision_id: UUID, hold: bool = False) -> Decision | None:
    """Return a decision, holding its row when ``hold``."""
    query = text(_DECISION + "where lane = :lane and decision_id = :id" + (" for update" if hold else ""))
    row = tx.execute(query, {"lane": lane, "id": decision_id}).first()
    return None if row is None else Decision(**row._mapping)


def decisions(tx: Connection, *, lane: int, state: str | None, limit: int) -> list[Decision]:
    """Return decisions, the newest first."""
    query = text(
        _DECISION + "where lane = :lane and (cast(:state as text) is null or state = :state) order by decision_id desc limit :limit"
    )
    return [Decision(**row._mapping) for row in tx.execute(query, {"lane": lane, "state": state, "limit": limit})]


def lines(tx: Connection, *, lane: int, decision_id: UUID) -> list[LineRow]:
    """Return the lines of a decision in the order of their charges."""
    rows = tx.execute(
        text("""
        select line_id, charge_id, book_id, amount_fen, owed_fen, reverses from payments.debt_decision_line
        where lane = :lane and decision_id = :id order by charge_id
        """),
        {"lane": lane, "id": decision_id},
    )
    return [LineRow(**row._mapping) for row in rows]


def decide(
    tx: Connection, *, lane: int, decision_id: UUID, state: str, by: str, note: str | None, at: datetime
) -> None:  # fmt: skip
    tx.execute(
        text("""
        update payments.debt_decision set state = :state, decided_by = :by, decided_at = :at, decided_note = :note
        where lane = :lane and decision_id = :id
        """),
        {"lane": lane, "id": decision_id, "state": state, "by": by, "note": note, "at": at},
    )


def lower(tx: Connection, *, lane: int, amounts: Sequence[tuple[UUID, int]], over: str) -> None:
    """Take amounts off charges and their debts; one of which nothing is left gets the state ``over``. Their rows are held."""
    tx.execute(
        text("""
        with given as materialized (
            select * from unnest(cast(:ids as uuid[]), cast(:fen as bigint[])) as g (charge_id, fen)
        ), lowered as (
            update payments.charge c set reduced_fen = c.reduced_fen + g.fen,
                state = case when c.paid_fen + c.reduced_fen + g.fen = c.amount_fen then :over else c.state end
            from given g where c.lane = :lane and c.charge_id = g.charge_id
        )
        update payments.debt d set owed_fen = d.owed_fen - g.fen,
            disputed_at = case when d.owed_fen = g.fen then null else d.disputed_at end
        from given g where d.lane = :lane and d.charge_id = g.charge_id
        """),
        {"lane": lane, "ids": [one for one, _ in amounts], "fen": [fen for _, fen in amounts], "over": over},
    )


def raise_again(tx: Connection, *, lane: int, amounts: Sequence[tuple[UUID, int]]) -> None:
    """Make charges that were written off due again, by as much as was written off. Their rows are held."""
    tx.execute(
        text("""
        with given as materialized (
            select * from unnest(cast(:ids as uuid[]), cast(:fen as bigint[])) as g (charge_id, fen)
        ), raised as (
            update payments.charge c set reduced_fen = c.reduced_fen - g.fen, state = 'open'
            from given g where c.lane = :lane and c.charge_id = g.charge_id
        )
        update payments.debt d set owed_fen = d.owed_fen + g.fen
        from given g where d.lane = :lane and d.charge_id = g.charge_id
        """),
        {"lane": lane, "ids": [one for one, _ in amounts], "fen": [fen for _, fen in amounts]},
    )


def document(tx: Connection, *, lane: int, decision_id: UUID) -> bytes | None:
    """Return the bytes of a decision's document, where they are kept here."""
    query = text("select document_bytes from payments.debt_decision where lane = :lane and decision_id = :id")
    found = tx.execute(query, {"lane": lane, "id": decision_id}).scalar_one_or_none()
    return None if found is None else bytes(found)


class DisputeRow(Struct, frozen=True, kw_only=True):
    """What the end of a dispute has to tell its lot."""

    charge_id: UUID
    operator_id: int
    lot_id: int
    lot_serial: str
    owed_fen: int
    state: str


def end_dispute(
    tx: Connection, *, lane: int, dispute_id: UUID, state: str, by: str, note: str | None, at: datetime
) -> DisputeRow | None:  # fmt: skip
    """End a dispute that waits for a waiver: its debt may be demanded again. The charge is held by the caller."""
    row = tx.execute(
        text("""
        with ended as (
            update payments.debt_dispute set state = :state, decided_by = coalesce(decided_by, :by), decided_at = :at,
                   decided_note = coalesce(decided_note, :note)
            where lane = :lane and dispute_id = :id and state = 'deciding'
            returning charge_id, operator_id, lot_id, state
        ), freed as (
            update payments.debt d set disputed_at = null from ended e where d.lane = :lane and d.charge_id = e.charge_id
            returning d.charge_id, d.owed_fen
        )
        select e.charge_id, e.operator_id, e.lot_id, c.lot_serial, f.owed_fen, e.state
        from ended e join freed f on f.charge_id = e.charge_id
        join payments.charge c on c.lane = :lane and c.charge_id = e.charge_id
        """),
        {"lane": lane, "id": dispute_id, "state": state, "by": by, "note": note, "at": at},
    ).first()
    return None if row is None else DisputeRow(**row._mapping)


def reopen_dispute(tx: Connection, *, lane: int, dispute_id: UUID) -> None:
    """Let a dispute wait for another decision: its waiver was rejected by the second person."""
    tx.execute(
        text("""
        update payments.debt_dispute set state = 'open', waiver_id = null, decided_by = null, decided_at = null, decided_note = null
        where lane = :lane and dispute_id = :id and state = 'deciding'
        """),
        {"lane": lane, "id": dispute_id},
    )
