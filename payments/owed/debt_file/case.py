"""What a debt file says: a plate's debts to one operator with everything that proves them. Records only.

Knows words and types; must not know where they come from. Made by ``gather``, read by ``pdf`` and ``bundle``. Digests
and hashes are hexadecimal, amounts fen, times UTC.
"""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from payments.owed.dunning.limitation import ActKind


class LimitationAct(Struct, frozen=True):
    """An act that begins the years anew, and the end of the years after it; ``counts`` False: it came after their end."""

    act_on: date
    kind: ActKind
    source_id: UUID
    counts: bool
    ends_on: date


class Owed(Struct, frozen=True, kw_only=True):
    """One debt with its stay."""

    charge_id: UUID
    lot_serial: str
    lot_name: str
    lot_address: str
    entered_at: datetime
    left_at: datetime | None
    minutes: int
    tariff_text: str
    amount_fen: int
    paid_fen: int
    reduced_fen: int
    owed_fen: int
    state: str
    basis: str
    opened_at: datetime
    due_on: date
    limitation_from: date
    """End of the three years without any act."""
    limitation_on: date
    acts: tuple[LimitationAct, ...] = ()


class Payment(Struct, frozen=True, kw_only=True):
    """Money that was taken for a debt."""

    payment_id: UUID
    charge_id: UUID
    channel: str
    trade_no: str
    amount_fen: int
    happened_at: datetime
    treatment: str
    taken_back_at: datetime | None
    evidence_id: UUID


class Booked(Struct, frozen=True, kw_only=True):
    """A row of an entry. Number, seal, leaf and proof are None while it is not sealed."""

    entry_id: UUID
    line: int
    kind: int
    kind_name: str
    debit: int
    credit: int
    amount_fen: int
    happened_at: datetime
    booked_on: date
    evidence_id: UUID
    number: int | None
    seal_id: int | None
    leaf_index: int | None


class Proof(Struct, frozen=True, kw_only=True):
    """Inclusion of an entry under the checkpoint of the file (RFC 6962)."""

    entry_id: UUID
    record: str
    leaf: str
    leaf_index: int
    tree_size: int
    path: tuple[str, ...]


class Evidence(Struct, frozen=True, kw_only=True):
    """A stored outside message. ``file`` names its bytes inside the ZIP; None: it speaks of others too and is kept back."""

    message_id: UUID
    channel: str
    operation: str
    direction: str
    verdict: str
    received_at: datetime
    body_digest: str
    file: str | None


class Reminded(Struct, frozen=True, kw_only=True):
    """A reminder with its proof of sending. ``number`` stands in its text."""

    reminder_id: UUID
    number: str
    step: int
    channel: str
    to_masked: str | None
    state: str
    owed_fen: int
    debts: tuple[UUID, ...]
    subject: str
    body: str
    body_digest: str
    sent_at: datetime | None
    receipt: str | None
    proven_at: datetime | None
    proof: str | None
    reason: str | None


class Disputed(Struct, frozen=True, kw_only=True):
    """A dispute with its exhibits: who showed it, name, SHA-256."""

    dispute_id: UUID
    charge_id: UUID
    reason: str
    statement: str
    opened_at: datetime
    answer: str | None
    answered_at: datetime | None
    state: str
    decided_at: datetime | None
    decided_note: str | None
    exhibits: tuple[tuple[str, str, str], ...]


class Decided(Struct, frozen=True, kw_only=True):
    """A decision of two persons about a debt."""

    decision_id: UUID
    charge_id: UUID
    kind: str
    amount_fen: int
    reason: str
    document_name: str
    document_digest: str
    proposed_by: str
    decided_by: str
    decided_at: datetime


class Instalments(Struct, frozen=True, kw_only=True):
    """A plan of instalments: number, day and amount of each part."""

    plan_id: UUID
    state: str
    agreed_at: datetime
    owed_fen: int
    parts: tuple[tuple[int, date, int], ...]


class Case(Struct, frozen=True, kw_only=True):
    """The whole file. ``made_at`` and ``file_id`` are those of the look-up that is written down."""

    form: Literal[1] = 1
    file_id: UUID
    made_at: datetime
    made_by: str
    purpose: str
    plate: str
    plate_color: str
    operator_code: str
    operator_name: str
    operator_credit_code: str
    debts: tuple[Owed, ...]
    payments: tuple[Payment, ...]
    entries: tuple[Booked, ...]
    proofs: tuple[Proof, ...]
    checkpoint: str | None
    evidence: tuple[Evidence, ...]
    reminders: tuple[Reminded, ...]
    disputes: tuple[Disputed, ...]
    decisions: tuple[Decided, ...]
    plans: tuple[Instalments, ...]

    @property
    def owed_fen(self) -> int:
        return sum(debt.owed_fen for debt in self.debts)
