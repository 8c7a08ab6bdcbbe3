"""Credit notes 更正红单: what a note says of a correction, its number, its signature, and the form in which it is sealed.

Knows held charges, what is taken away of them and the lot; must not know how a correction is decided or HTTP. Called by
``corrections`` and the API. Source: docs/CORRECTIONS.md.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from ledger import documents
from ledger.clock import business_date
from ledger.clock import checked as in_utc
from ledger.documents import Document, DocumentKind
from ledger.errors import NotFound
from ledger.ids import Ids, payment_number, refund_number
from payments.amends import correction_store, promising
from payments.amends.correction_store import Held, Kind, Note, NoteRefund, NoteSeen, Reason
from payments.amends.promising import Effect
from payments.lots import Lot

NOTE_TYPE: Final = "tongting credit note 1"


class Signer(Struct, frozen=True):
    """What signs credit notes: Ed25519, and the 32 bytes of its public key."""

    sign: Callable[[bytes], bytes]
    public_key: bytes


class RefundLine(Struct, frozen=True, kw_only=True):
    """A refund as a credit note names it."""

    refund: str
    receipt: str
    amount_fen: int


class CreditNote(Struct, frozen=True, kw_only=True):
    """What a credit note says: the content of the document that is signed and sealed. It holds no plate in clear."""

    type: str
    number: str
    note_id: UUID
    lot: str
    lot_name: str
    operator: str
    credit_code: str
    serial: str
    charge_serial: str
    charge_fen: int
    kind: Kind
    reason: Reason
    amount_fen: int
    credited_fen: int
    refunded_fen: int
    refunds: tuple[RefundLine, ...]
    was_debt: bool
    """The car had left: the book carried the charge as a receivable."""
    new_serial: str | None
    plate_digest: str
    """SHA-256 of the plate's salt and number, in hexadecimal digits."""
    entered_at: datetime
    made_at: datetime
    made_on: str
    """Business date."""


class Draft(Struct, frozen=True, kw_only=True):
    """A correction that is decided, as its note needs it. ``content_digest`` tells a repeat from a change."""

    serial: str
    kind: Kind
    reason: Reason
    new_serial: str | None
    content_digest: bytes
    charge: Held
    effect: Effect


def number(lot: Lot, sequence: int) -> str:
    """Return the number of a lot's credit note. Its point keeps it apart from operators' own numbers of refunds."""
    return f"{lot.code}.{sequence:06d}"


def signed(
    draft: Draft, *, lane: int, lot: Lot, sequence: int, evidence_id: UUID, signer: Signer, at: datetime, ids: Ids
) -> tuple[Note, list[NoteRefund]]:  # fmt: skip
    """Return the signed note of a correction under the lot's next count, and what goes back by it."""
    charge, effect = draft.charge, draft.effect
    note_id = ids.new(at, f"credit note {lot.lot_id} {draft.serial}")
    name = number(lot, sequence)
    backs = promising.refunds_of(effect, charge, note_id=note_id, number=name, at=at, ids=ids)
    document = documents.canonical(_content(draft, note_id, name, backs, lane=lane, lot=lot, at=at))
    note = Note(
        note_id=note_id, operator_id=charge.operator_id, lot_id=lot.lot_id, sequence=sequence, number=name, serial=draft.serial,
        content_digest=draft.content_digest, charge_id=charge.charge_id, kind=draft.kind, reason=draft.reason,
        amount_fen=effect.amount_fen, credited_fen=effect.credited_fen, refunded_fen=effect.refunded_fen,
        was_debt=charge.is_receivable, new_serial=draft.new_serial, evidence_id=evidence_id, document=document,
        signature=signer.sign(document), public_key=signer.public_key, made_on=business_date(at), created_at=at,
    )  # fmt: skip
    return note, backs


def _content(
    draft: Draft, note_id: UUID, name: str, backs: Sequence[NoteRefund], *, lane: int, lot: Lot, at: datetime
) -> CreditNote:  # fmt: skip
    charge, effect = draft.charge, draft.effect
    refunds = tuple(
        RefundLine(
            refund=refund_number(lane, back.refund_id), receipt=payment_number(lane, back.payment_id), amount_fen=back.amount_fen
        )
        for back in backs
    )
    return CreditNote(
        type=NOTE_TYPE, number=name, note_id=note_id, lot=lot.code, lot_name=lot.name, operator=charge.operator_name,
        credit_code=charge.credit_code, serial=draft.serial, charge_serial=charge.lot_serial, charge_fen=charge.amount_fen,
        kind=draft.kind, reason=draft.reason, amount_fen=effect.amount_fen, credited_fen=effect.credited_fen,
        refunded_fen=effect.refunded_fen, refunds=refunds, was_debt=charge.is_receivable, new_serial=draft.new_serial,
        plate_digest=hashlib.sha256(charge.salt + charge.plate.encode()).hexdigest(), entered_at=in_utc(charge.entered_at),
        made_at=in_utc(at), made_on=business_date(at).isoformat(),
    )  # fmt: skip


def sealed(note: Note) -> Document:
    """Return a note as it is sealed in the tree."""
    return Document(DocumentKind.CREDIT_NOTE, note.note_id, hashlib.sha256(note.document).digest(), note.created_at)


def by_number(tx: Connection, *, lane: int, lot_id: int, note: str) -> NoteSeen:
    """Return a lot's credit note. Raises NotFound (``credit_note_not_found``)."""
    found = correction_store.by_number(tx, lane=lane, lot_id=lot_id, number=note)
    if found is None:
        raise NotFound(f"the lot has no credit note {note[:64]!r}", code="credit_note_not_found")
    return found
