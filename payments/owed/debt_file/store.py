"""The questions that debt files ask of PostgreSQL. Private to this package."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text

Rows = Sequence[Row[Any]]


def plate(tx: Connection, *, number: str, color: str) -> int | None:
    query = text("select plate_id from payments.plate where number = :number and color = :color")
    found = tx.execute(query, {"number": number, "color": color}).scalar_one_or_none()
    return None if found is None else int(found)


def write_look_up(tx: Connection, *, lookup_id: UUID, plate_id: int, by: str, purpose: str, at: datetime) -> None:
    tx.execute(
        text("""
        insert into payments.plate_lookup (lookup_id, plate_id, person_code, purpose, looked_at)
        values (:id, :plate, :by, :purpose, :at)
        """),
        {"id": lookup_id, "plate": plate_id, "by": by, "purpose": purpose, "at": at},
    )


def debts(tx: Connection, *, lane: int, plate_id: int, operator_id: int, limit: int) -> Rows:
    """Return a plate's debts to an operator, those that are over too, by the time of leaving."""
    return tx.execute(
        text("""
        select d.charge_id, c.lot_serial, l.name as lot_name, l.address as lot_address, c.entered_at, c.left_at, c.minutes,
               c.tariff_text, c.amount_fen, c.paid_fen, c.reduced_fen, d.owed_fen, c.state, d.basis, d.opened_at, d.due_on,
               d.limitation_on
        from payments.debt d
        join payments.charge c on c.lane = d.lane and c.charge_id = d.charge_id
        join payments.lot l on l.lot_id = d.lot_id
        where d.lane = :lane and d.plate_id = :plate and d.operator_id = :operator
        order by d.opened_at, d.charge_id limit :limit
        """),
        {"lane": lane, "plate": plate_id, "operator": operator_id, "limit": limit},
    ).all()


def payments(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> Rows:
    return tx.execute(
        text("""
        select p.payment_id, p.charge_id, f.channel, f.trade_no, f.amount_fen, f.happened_at, f.treatment, p.taken_back_at,
               f.evidence_id
        from payments.payment p join payments.payment_fact f on f.lane = p.lane and f.payment_id = p.payment_id
        where p.lane = :lane and p.charge_id = any(cast(:ids as uuid[])) order by f.happened_at, p.payment_id
        """),
        {"lane": lane, "ids": list(charge_ids)},
    ).all()


def refund_ids(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> list[UUID]:
    query = text("select refund_id from payments.refund where lane = :lane and payment_id = any(cast(:ids as uuid[])) order by 1")
    return list(tx.execute(query, {"lane": lane, "ids": list(payment_ids)}).scalars())


def credit_note_ids(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> list[UUID]:
    """Return the credit notes of charges."""
    query = text("select note_id from payments.credit_note where lane = :lane and charge_id = any(cast(:ids as uuid[])) order by 1")
    return list(tx.execute(query, {"lane": lane, "ids": list(charge_ids)}).scalars())


def decisions(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> Rows:
    """Return approved decisions by debt, with the line that is the source of the entry."""
    return tx.execute(
        text("""
        select d.decision_id, l.line_id, l.charge_id, d.kind, l.amount_fen, d.reason, d.document_name, d.document_digest,
               d.proposed_by, d.decided_by, d.decided_at
        from payments.debt_decision_line l
        join payments.debt_decision d on d.lane = l.lane and d.decision_id = l.decision_id
        where l.lane = :lane and l.charge_id = any(cast(:ids as uuid[])) and d.state = 'approved' order by d.decided_at, l.line_id
        """),
        {"lane": lane, "ids": list(charge_ids)},
    ).all()


def entries(tx: Connection, *, lane: int, entry_ids: Sequence[UUID]) -> Rows:
    """Return rows of entries with their places, in the order of the book; what is not sealed stands last."""
    return tx.execute(
        text("""
        select p.entry_id, p.line, p.kind, p.debit_account as debit, p.credit_account as credit, p.amount_fen, p.happened_at,
               p.booked_on, p.evidence_id, n.number, p.seal_id, p.leaf_index
        from ledger.v_posting p
        left join ledger.v_book_number n on n.lane = p.lane and n.entry_id = p.entry_id
        where p.lane = :lane and p.entry_id = any(cast(:ids as uuid[]))
        order by p.leaf_index nulls last, p.entry_id, p.line
        """),
        {"lane": lane, "ids": list(entry_ids)},
    ).all()


def evidence(tx: Connection, *, lane: int, message_ids: Sequence[UUID]) -> Rows:
    return tx.execute(
        text("""
        select message_id, channel, operation, direction, verdict, subject, received_at, headers, body, request, body_digest
        from gateways.v_evidence where lane = :lane and message_id = any(cast(:ids as uuid[])) order by received_at, message_id
        """),
        {"lane": lane, "ids": list(message_ids)},
    ).all()


_REMINDER: Final = """
select r.reminder_id, r.step, r.channel, r.to_masked, r.state, r.owed_fen, r.subject, r.body, r.body_digest, r.sent_at, r.receipt,
       r.proven_at, r.proof, r.reason,
       array(select d.charge_id from payments.reminder_debt d where d.lane = r.lane and d.reminder_id = r.reminder_id
             and d.charge_id = any(cast(:ids as uuid[])) order by 1) as debts
from payments.reminder r
where r.lane = :lane and r.plate_id = :plate and r.body is not null
  and exists (select from payments.reminder_debt d where d.lane = r.lane and d.reminder_id = r.reminder_id
              and d.charge_id = any(cast(:ids as uuid[])))
order by r.planned_at, r.reminder_id
"""


def reminders(tx: Connection, *, lane: int, plate_id: int, charge_ids: Sequence[UUID]) -> Rows:
    """Return the reminders that were written about any of these debts."""
    return tx.execute(text(_REMINDER), {"lane": lane, "plate": plate_id, "ids": list(charge_ids)}).all()
