"""Gather what a debt file says, and the raw evidence beside it.

Knows the tables of this room and the published views of the others; must not know PDF or ZIP. Called by ``files``.
A message that speaks of others too (a lot's list, a package of cards) is named with its digest and its bytes are kept back.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row

from ledger import extracts, proofs
from ledger.errors import NotFound, Refused
from ledger.ids import entry_id
from ledger.journal import REVERSAL, EntryKind
from payments.lots import Operator
from payments.owed import dispute_store, instalments
from payments.owed.debt_file import store
from payments.owed.debt_file.case import (
    Booked,
    Case,
    Decided,
    Disputed,
    Evidence,
    Instalments,
    LimitationAct,
    Owed,
    Payment,
    Proof,
    Reminded,
)
from payments.owed.dunning import limitation, texts
from payments.owed.dunning.limitation import BY_DEBTOR, Act, years_later

DEBTS_MAX: Final = 500
_KINDS: Final = tuple(
    kind + reversal
    for kind in (
        EntryKind.PAYMENT, EntryKind.LEFT_UNPAID, EntryKind.REFUND_ACCEPTED, EntryKind.REFUND_DONE, EntryKind.BAD_DEBT,
        EntryKind.CREDITED, EntryKind.WAIVED, EntryKind.WRITTEN_OFF,
    )
    for reversal in (0, REVERSAL)
)  # fmt: skip


class Request(Struct, frozen=True, kw_only=True):
    """What is asked for; ``file_id`` is the id of the look-up that was written down."""

    file_id: UUID
    plate_id: int
    plate: str
    plate_color: str
    operator: Operator
    by: str
    purpose: str


class Raw(Struct, frozen=True):
    """Bytes that go into the ZIP as they are."""

    name: str
    body: bytes


def gather(tx: Connection, *, lane: int, asked: Request, at: datetime) -> tuple[Case, list[Raw]]:
    """Return the case and the raw evidence, read in one transaction; give it one that sees one moment (repeatable read).

    Raises:
        NotFound: ``debt_not_found``, the plate has no debt to the operator. Refused: ``file_too_large``.
    """
    found = store.debts(
        tx, lane=lane, plate_id=asked.plate_id, operator_id=asked.operator.operator_id, limit=DEBTS_MAX + 1
    )  # fmt: skip
    if not found:
        raise NotFound("the plate has no debt to this operator", code="debt_not_found")
    if len(found) > DEBTS_MAX:
        raise Refused(f"a file holds at most {DEBTS_MAX} debts", code="file_too_large")
    charge_ids = [row.charge_id for row in found]
    acts = limitation.acts_of(tx, lane=lane, charge_ids=charge_ids)
    payments = tuple(Payment(**row._mapping) for row in store.payments(tx, lane=lane, charge_ids=charge_ids))
    decided = store.decisions(tx, lane=lane, charge_ids=charge_ids)
    sources = _sources(tx, lane=lane, charge_ids=charge_ids, payments=payments, decided=decided)
    entries = _entries(tx, lane=lane, sources=sources)
    last = extracts.seal(tx, lane=lane)
    evidence, raw = _evidence(tx, lane=lane, entries=entries, payments=payments, sources=sources)
    disputes, exhibits = _disputes(tx, lane=lane, charge_ids=charge_ids)
    case = Case(
        file_id=asked.file_id,
        made_at=at,
        made_by=asked.by,
        purpose=asked.purpose,
        plate=asked.plate,
        plate_color=asked.plate_color,
        operator_code=asked.operator.code,
        operator_name=asked.operator.legal_name,
        operator_credit_code=asked.operator.credit_code,
        debts=tuple(_owed(row, acts.get(row.charge_id, [])) for row in found),
        payments=payments,
        entries=entries,
        proofs=() if last is None else _proofs(tx, lane=lane, entries=entries, size=last.tree_size),
        checkpoint=None if last is None else last.checkpoint,
        evidence=evidence,
        reminders=_reminders(tx, lane=lane, plate_id=asked.plate_id, charge_ids=charge_ids),
        disputes=disputes,
        decisions=_decisions(decided),
        plans=_plans(tx, lane=lane, asked=asked),
    )
    return case, [*raw, *exhibits]


def _owed(row: Row[Any], acts: Sequence[Act]) -> Owed:
    return Owed(**row._mapping, limitation_from=years_later(row.due_on), acts=_computed(row.due_on, acts))


def _computed(due_on: date, acts: Sequence[Act]) -> tuple[LimitationAct, ...]:
    """Return the acts in order with the end of the years after each: the computation as the file shows it."""
    end, shown = years_later(due_on), []
    for act in sorted(acts):
        counts = act.act_on <= end or act.kind in BY_DEBTOR
        end = max(end, years_later(act.act_on)) if counts else end
        shown.append(LimitationAct(act.act_on, act.kind, act.source_id, counts, end))
    return tuple(shown)


def _sources(
    tx: Connection, *, lane: int, charge_ids: Sequence[UUID], payments: Sequence[Payment], decided: store.Rows
) -> set[UUID]:  # fmt: skip
    """Return what entries about these debts have as their source."""
    payment_ids = [payment.payment_id for payment in payments]
    return {
        *charge_ids, *payment_ids, *(row.line_id for row in decided),
        *store.refund_ids(tx, lane=lane, payment_ids=payment_ids), *store.credit_note_ids(tx, lane=lane, charge_ids=charge_ids),
    }  # fmt: skip


def _entries(tx: Connection, *, lane: int, sources: Iterable[UUID]) -> tuple[Booked, ...]:
    wanted = [entry_id(source, kind) for source in sorted(sources) for kind in _KINDS]
    return tuple(
        Booked(**row._mapping, kind_name=_kind_name(row.kind)) for row in store.entries(tx, lane=lane, entry_ids=wanted)
    )  # fmt: skip


def _kind_name(kind: int) -> str:
    name = EntryKind(kind % REVERSAL).name
    return f"{name} reversed" if kind >= REVERSAL else name


def _proofs(tx: Connection, *, lane: int, entries: Sequence[Booked], size: int) -> tuple[Proof, ...]:
    """Return a proof for each sealed entry; each needs its own path through the tree."""
    made: list[Proof] = []
    for entry in entries:
        if entry.line == 0 and entry.leaf_index is not None and entry.leaf_index < size:
            proof = proofs.inclusion(tx, lane=lane, entry_id=entry.entry_id, size=size)
            path = tuple(node.hex() for node in proof.path)
            made.append(
                Proof(
                    entry_id=entry.entry_id, record=proof.record.hex(), leaf=proof.leaf.hex(), leaf_index=proof.index,
                    tree_size=proof.size, path=path,
                )
            )  # fmt: skip
    return tuple(made)


def _evidence(
    tx: Connection, *, lane: int, entries: Sequence[Booked], payments: Sequence[Payment], sources: set[UUID]
) -> tuple[tuple[Evidence, ...], list[Raw]]:  # fmt: skip
    wanted = sorted({entry.evidence_id for entry in entries} | {payment.evidence_id for payment in payments})
    told: list[Evidence] = []
    raw: list[Raw] = []
    for row in store.evidence(tx, lane=lane, message_ids=wanted):
        name = f"evidence/{row.message_id}.body" if _is_of_this_case(row, sources) else None
        told.append(
            Evidence(
                message_id=row.message_id, channel=row.channel, operation=row.operation, direction=row.direction,
                verdict=row.verdict, received_at=row.received_at, body_digest=bytes(row.body_digest).hex(), file=name,
            )
        )  # fmt: skip
        if name is not None:
            raw.append(Raw(name, bytes(row.body)))
            raw.append(Raw(f"evidence/{row.message_id}.headers.json", row.headers.encode()))
    return tuple(told), raw


def _is_of_this_case(row: Row[Any], sources: set[UUID]) -> bool:
    """Tell whether a message speaks of these debts alone."""
    if row.subject is not None:
        return row.subject in sources
    if row.channel != "lot":
        return False
    try:
        said = msgspec.json.decode(row.body)
    except msgspec.DecodeError:
        return False
    return isinstance(said, Mapping) and not any(isinstance(part, list) for part in said.values())


def _reminders(tx: Connection, *, lane: int, plate_id: int, charge_ids: Sequence[UUID]) -> tuple[Reminded, ...]:
    return tuple(
        Reminded(
            **{**row._mapping, "debts": tuple(row.debts), "body_digest": bytes(row.body_digest).hex()},
            number=texts.number(row.reminder_id),
        )
        for row in store.reminders(tx, lane=lane, plate_id=plate_id, charge_ids=charge_ids)
    )


def _disputes(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> tuple[tuple[Disputed, ...], list[Raw]]:
    found = dispute_store.of_charges(tx, lane=lane, charge_ids=charge_ids)
    shown = dispute_store.exhibits(tx, lane=lane, dispute_ids=[one.dispute_id for one in found])
    names = [field for field in Disputed.__struct_fields__ if field != "exhibits"]
    told = tuple(
        Disputed(
            **{name: getattr(one, name) for name in names},
            exhibits=tuple((x.shown_by, x.name, x.digest.hex()) for x in shown.get(one.dispute_id, ())),
        )
        for one in found
    )
    return told, [Raw(f"exhibits/{x.exhibit_id}", x.body) for one in found for x in shown.get(one.dispute_id, ())]


def _decisions(decided: store.Rows) -> tuple[Decided, ...]:
    names = [field for field in Decided.__struct_fields__ if field != "document_digest"]
    return tuple(
        Decided(**{name: getattr(row, name) for name in names}, document_digest=bytes(row.document_digest).hex()) for row in decided
    )


def _plans(tx: Connection, *, lane: int, asked: Request) -> tuple[Instalments, ...]:
    return tuple(
        Instalments(
            plan_id=plan.plan_id, state=plan.state, agreed_at=plan.agreed_at, owed_fen=plan.owed_fen,
            parts=tuple((part.part, part.due_on, part.amount_fen) for part in plan.parts),
        )
        for plan in instalments.of_plate(tx, lane=lane, plate_id=asked.plate_id)
        if plan.operator_id == asked.operator.operator_id
    )  # fmt: skip
