"""The debt desk 减免与核销: debts are let off, written off and written back by two persons, the second approving the exact lines.

Knows debts, decisions and the book; must not know HTTP, files or how debts are dunned. Called by the command line and by disputes.
Source: docs/DUNNING.md; docs/POSTINGS.md (waived, written_off, reversal).
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from ledger import book, documents, recipes
from ledger.clock import business_date
from ledger.documents import DocumentKind
from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from ledger.ids import Ids
from ledger.journal import Entry, reversal_of
from payments import events, people
from payments.owed import debt_desk_store as store
from payments.owed.debt_desk_store import DebtRow, Decision, Kind, LineRow

LINES_MAX: Final = 10_000
"""Most debts in one decision: as many as one batch of the book holds."""
REASON_LETTERS_MAX: Final = 500
DOCUMENT_BYTES_MAX: Final = 20 * 1024 * 1024
NAMED_MAX: Final = 5
"""How many debts a refusal names."""


class Paper(Struct, frozen=True):
    """The document of a decision: its name or number and its bytes, or only their SHA-256 where the bytes are kept elsewhere."""

    name: str
    digest: bytes
    body: bytes | None = None


class Ask(Struct, frozen=True):
    """A debt that a decision shall be about. ``amount_fen`` None: all that is owed; only a waiver may be for less."""

    charge_id: UUID
    amount_fen: int | None = None


def paper(name: str, body: bytes) -> Paper:
    """Return a document with its bytes.

    Raises:
        Refused: ``document_invalid``, without bytes or larger than 20 MiB.
    """
    if not 0 < len(body) <= DOCUMENT_BYTES_MAX:
        raise Refused(f"a document has 1 to {DOCUMENT_BYTES_MAX} bytes; keep a larger one elsewhere", code="document_invalid")
    return Paper(name, hashlib.sha256(body).digest(), body)


def propose(
    tx: Connection, *, lane: int, kind: Kind, asked: Sequence[Ask], reason: str, document: Paper, by: str, at: datetime, ids: Ids,
    dispute_id: UUID | None = None,
) -> Decision:  # fmt: skip
    """Propose a decision about debts; nothing changes until another person approves it. Locks nothing.

    Raises:
        NotAllowed: ``person_unknown``, ``person_may_not``.
        NotFound: ``debt_not_found``.
        Conflict: ``payment_under_way``, ``decision_waiting`` (another one waits about the same debt).
        Refused: ``decision_invalid`` (no reason, no or too many debts, one twice), ``debt_not_open``, ``amount_invalid``,
            ``not_written_off``, ``document_invalid``.
    """
    people.maker(tx, person_code=by, at=at)
    _check_form(asked, reason, document)
    chosen = sorted(asked, key=lambda one: one.charge_id)
    charge_ids = [one.charge_id for one in chosen]
    known = store.debts(tx, lane=lane, charge_ids=charge_ids)
    _check_there(charge_ids, known)
    if waiting := store.proposed_already(tx, lane=lane, charge_ids=charge_ids):
        raise Conflict(
            f"a decision waits already about {_named(waiting)}; approve or reject it first", code="decision_waiting"
        )  # fmt: skip
    if kind == "write_back":
        lines = _lines_back(tx, lane=lane, charge_ids=charge_ids, at=at, ids=ids)
    else:
        _check_free(list(known.values()))
        lines = [_line(kind, one, known[one.charge_id], at, ids) for one in chosen]
    made = Decision(
        decision_id=ids.new(at, f"decision {kind} {charge_ids[0]} {len(lines)}"), kind=kind, state="proposed",
        reason=reason.strip(), document_name=document.name.strip(),
        document_digest=document.digest, dispute_id=dispute_id, lines=len(lines),
        amount_fen=sum(line.amount_fen for line in lines), lines_digest=digest_of(kind, lines), proposed_by=by, proposed_at=at,
        decided_by=None, decided_at=None, decided_note=None,
    )  # fmt: skip
    store.insert_decision(tx, lane=lane, decision=made, document_bytes=document.body)
    store.insert_lines(tx, lane=lane, decision_id=made.decision_id, lines=lines)
    return made


def propose_over_limitation(
    tx: Connection, *, lane: int, limitation_before: date, operator_id: int | None, reason: str, document: Paper, by: str,
    at: datetime, ids: Ids, limit: int = LINES_MAX,
) -> Decision | None:  # fmt: skip
    """Propose one write-off of the open debts whose limitation ended before a day, the oldest first; None: there is none.

    Disputed debts, those being paid and those that another decision waits about are left out. Raises as ``propose``.
    """
    found = store.over_limitation(
        tx, lane=lane, limitation_before=limitation_before, operator_id=operator_id, limit=min(limit, LINES_MAX)
    )
    if not found:
        return None
    asked = [Ask(charge_id) for charge_id in found]
    return propose(tx, lane=lane, kind="write_off", asked=asked, reason=reason, document=document, by=by, at=at, ids=ids)


def approve(
    tx: Connection, *, lane: int, decision_id: UUID, lines_digest: bytes, by: str, at: datetime, ids: Ids, note: str | None = None
) -> Decision:  # fmt: skip
    """Approve the exact lines that were proposed and carry them out: entries, charges, debts, events and the sealed decision.

    All lines or none. Holds the decision, then its charges in the order of their ids. Approving again is ``decision_made``.

    Args:
        lines_digest: The digest that the second person was shown.

    Raises:
        NotFound: ``decision_not_found``.
        NotAllowed: ``person_unknown``, ``person_may_not``, ``same_person``.
        Conflict: ``decision_made``, ``decision_changed`` (the lines are not those that were shown), ``debt_changed`` (something
            was paid, reduced or decided since), ``payment_under_way``.
    """
    made, lines = _for_decision(tx, lane=lane, decision_id=decision_id, by=by, at=at)
    if not made.lines_digest == lines_digest == digest_of(made.kind, lines):
        raise Conflict("the lines are not those that were shown; look at the decision again", code="decision_changed")
    held = store.debts(tx, lane=lane, charge_ids=[line.charge_id for line in lines], hold=True)
    _check_unchanged(made.kind, lines, held)
    store.decide(tx, lane=lane, decision_id=decision_id, state="approved", by=by, note=note, at=at)
    if made.kind == "write_back":
        _write_back(tx, lane=lane, decision_id=decision_id, lines=lines, at=at)
    else:
        entries = [_entry(made, line, at) for line in lines]
        book.post(tx, lane=lane, entries=entries, at=at)
        over = "waived" if made.kind == "waiver" else "written_off"
        store.lower(tx, lane=lane, amounts=[(line.charge_id, line.amount_fen) for line in lines], over=over)
    events.write(tx, lane=lane, rows=[_told(made, line, held[line.charge_id], at, ids) for line in lines])
    _end_dispute(tx, made, lines, lane=lane, by=by, note=note, at=at, ids=ids)
    return _sealed(tx, lane=lane, decision_id=decision_id, at=at)


def reject(tx: Connection, *, lane: int, decision_id: UUID, by: str, note: str, at: datetime) -> Decision:
    """Reject a proposal, with the second person's words; nothing is booked. A dispute that it was about is open again.

    Raises:
        As ``approve``, without those about lines; Refused: ``decision_invalid`` without words.
    """
    if not 0 < len(note.strip()) <= REASON_LETTERS_MAX:
        raise Refused(f"say why, in 1 to {REASON_LETTERS_MAX} characters", code="decision_invalid")
    made, _ = _for_decision(tx, lane=lane, decision_id=decision_id, by=by, at=at)
    store.decide(tx, lane=lane, decision_id=decision_id, state="rejected", by=by, note=note.strip(), at=at)
    if made.dispute_id is not None:
        store.reopen_dispute(tx, lane=lane, dispute_id=made.dispute_id)
    return _sealed(tx, lane=lane, decision_id=decision_id, at=at)


def shown(tx: Connection, *, lane: int, decision_id: UUID) -> tuple[Decision, list[LineRow]]:
    """Return a decision with its lines in the order of their charges. Raises NotFound (``decision_not_found``)."""
    found = store.decision(tx, lane=lane, decision_id=decision_id)
    if found is None:
        raise NotFound(f"there is no decision {decision_id}", code="decision_not_found")
    return found, store.lines(tx, lane=lane, decision_id=decision_id)


def listed(tx: Connection, *, lane: int, state: str | None = "proposed", limit: int = 100) -> list[Decision]:
    """Return decisions, the newest first."""
    return store.decisions(tx, lane=lane, state=state, limit=limit)


def digest_of(kind: Kind, lines: Sequence[LineRow]) -> bytes:
    """Return the SHA-256 over a decision's kind and lines in the order of their charges: charge, amount, owed, reversed line."""
    ordered = sorted(lines, key=lambda line: line.charge_id)
    content = {"kind": kind, "lines": [[x.charge_id, x.amount_fen, x.owed_fen, x.reverses] for x in ordered]}
    return hashlib.sha256(documents.canonical(content)).digest()


def sealed_content(made: Decision) -> dict[str, object]:
    """Return what of a decision is sealed beside the entries; the reason may name a car, so only its digest stands in it."""
    return {
        "decision_id": made.decision_id, "kind": made.kind, "state": made.state, "document_digest": made.document_digest,
        "lines": made.lines, "amount_fen": made.amount_fen, "lines_digest": made.lines_digest, "proposed_by": made.proposed_by,
        "proposed_at": made.proposed_at, "decided_by": made.decided_by, "decided_at": made.decided_at,
    }  # fmt: skip


def _check_form(asked: Sequence[Ask], reason: str, document: Paper) -> None:
    if not 0 < len(asked) <= LINES_MAX:
        raise Refused(f"a decision is about 1 to {LINES_MAX} debts, not {len(asked)}", code="decision_invalid")
    if len({one.charge_id for one in asked}) < len(asked):
        raise Refused("a debt stands in a decision once", code="decision_invalid")
    if not 0 < len(reason.strip()) <= REASON_LETTERS_MAX:
        raise Refused(f"say why, in 1 to {REASON_LETTERS_MAX} characters", code="decision_invalid")
    if not 0 < len(document.name.strip()) <= 200 or len(document.digest) != 32:
        raise Refused("name the document in 1 to 200 characters, with its SHA-256", code="document_invalid")


def _check_there(charge_ids: Sequence[UUID], known: Mapping[UUID, DebtRow]) -> None:
    if missing := [one for one in charge_ids if one not in known]:
        raise NotFound(f"there is no debt {_named(missing)}", code="debt_not_found")


def _check_free(debts: Sequence[DebtRow]) -> None:
    if closed := [one.charge_id for one in debts if one.state != "open" or one.owed_fen == 0]:
        raise Refused(f"nothing is owed any more of {_named(closed)}", code="debt_not_open")
    _check_not_paid(debts)


def _check_not_paid(debts: Sequence[DebtRow]) -> None:
    if paying := [one.charge_id for one in debts if one.is_being_paid]:
        raise Conflict(f"somebody is paying {_named(paying)}; wait until that is decided", code="payment_under_way")


def _line(kind: Kind, one: Ask, debt: DebtRow, at: datetime, ids: Ids) -> LineRow:
    amount_fen = debt.owed_fen if one.amount_fen is None else one.amount_fen
    if not 0 < amount_fen <= debt.owed_fen or (kind == "write_off" and amount_fen != debt.owed_fen):
        what = "exactly" if kind == "write_off" else "at most"
        raise Refused(f"of {one.charge_id} {what} {debt.owed_fen} fen can be taken, not {amount_fen}", code="amount_invalid")
    return LineRow(
        line_id=ids.new(at, f"{kind} {one.charge_id}"), charge_id=one.charge_id, book_id=debt.book_id, amount_fen=amount_fen,
        owed_fen=debt.owed_fen,
    )  # fmt: skip


def _lines_back(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], at: datetime, ids: Ids) -> list[LineRow]:
    off = store.written_off_lines(tx, lane=lane, charge_ids=charge_ids)
    if missing := [one for one in charge_ids if one not in off]:
        raise Refused(f"not written off: {_named(missing)}", code="not_written_off")
    return [
        LineRow(
            line_id=ids.new(at, f"write_back {charge_id}"), charge_id=charge_id, book_id=off[charge_id].book_id,
            amount_fen=off[charge_id].amount_fen, owed_fen=0, reverses=off[charge_id].line_id,
        )
        for charge_id in charge_ids
    ]  # fmt: skip


def _for_decision(
    tx: Connection, *, lane: int, decision_id: UUID, by: str, at: datetime
) -> tuple[Decision, list[LineRow]]:  # fmt: skip
    """Return a proposal that this person may decide, holding it."""
    people.checker(tx, person_code=by, at=at)
    made = store.decision(tx, lane=lane, decision_id=decision_id, hold=True)
    if made is None:
        raise NotFound(f"there is no decision {decision_id}", code="decision_not_found")
    if made.state != "proposed":
        raise Conflict(f"the decision is {made.state} already, by {made.decided_by}", code="decision_made")
    if made.proposed_by == by:
        raise NotAllowed("whoever proposed it does not decide it; another person has to", code="same_person")
    return made, store.lines(tx, lane=lane, decision_id=decision_id)


def _check_unchanged(kind: Kind, lines: Sequence[LineRow], held: Mapping[UUID, DebtRow]) -> None:
    _check_not_paid(list(held.values()))
    wanted = "written_off" if kind == "write_back" else "open"
    changed = [
        line.charge_id for line in lines if held[line.charge_id].owed_fen != line.owed_fen or held[line.charge_id].state != wanted
    ]
    if changed:
        raise Conflict(
            f"since the proposal something was paid or decided about {_named(changed)}; reject it and propose anew",
            code="debt_changed",
        )


def _entry(made: Decision, line: LineRow, at: datetime) -> Entry:
    recipe = recipes.waived if made.kind == "waiver" else recipes.written_off
    return recipe(
        decision_id=line.line_id, book_id=line.book_id, amount_fen=line.amount_fen, happened_at=at, booked_on=business_date(at),
        evidence_id=made.decision_id,
    )  # fmt: skip


def _write_back(tx: Connection, *, lane: int, decision_id: UUID, lines: Sequence[LineRow], at: datetime) -> None:
    """Reverse the entries of write-offs and make their debts due again, with their old due dates."""
    entries = [_reversal(line, decision_id, at) for line in lines]
    book.post(tx, lane=lane, entries=entries, at=at)
    store.raise_again(tx, lane=lane, amounts=[(line.charge_id, line.amount_fen) for line in lines])


def _reversal(line: LineRow, decision_id: UUID, at: datetime) -> Entry:
    assert line.reverses is not None, "a write-back names what it reverses"
    off = recipes.written_off(
        decision_id=line.reverses, book_id=line.book_id, amount_fen=line.amount_fen, happened_at=at, booked_on=business_date(at),
        evidence_id=decision_id,
    )  # fmt: skip
    return reversal_of(off, happened_at=at, booked_on=business_date(at), evidence_id=decision_id)


def _told(made: Decision, line: LineRow, debt: DebtRow, at: datetime, ids: Ids) -> events.NewEvent:
    owed_fen = line.amount_fen if made.kind == "write_back" else debt.owed_fen - line.amount_fen
    kind: events.DebtKind = "debt.opened"
    reason: str = "written_back"
    if made.kind == "write_off":
        kind, reason = "debt.written_off", "written_off"
    elif made.kind == "waiver":
        kind, reason = ("debt.reduced" if owed_fen else "debt.waived"), "waived"
    told = events.DebtEvent(
        kind=kind, charge_serial=debt.lot_serial, amount_fen=line.amount_fen, owed_fen=owed_fen, at=at, reason=reason
    )  # fmt: skip
    return events.NewEvent(
        ids.new(at, f"{kind} {line.line_id}"), debt.operator_id, debt.lot_id, debt.charge_id, debt.charge_id, kind,
        events.encode(told),
    )  # fmt: skip


def _end_dispute(
    tx: Connection, made: Decision, lines: Sequence[LineRow], *, lane: int, by: str, note: str | None, at: datetime, ids: Ids
) -> None:  # fmt: skip
    if made.dispute_id is None:
        return
    [line] = lines
    state = "upheld" if line.amount_fen == line.owed_fen else "partly"
    ended = store.end_dispute(tx, lane=lane, dispute_id=made.dispute_id, state=state, by=by, note=note, at=at)
    if ended is not None:
        told = events.DebtEvent(
            kind="debt.disputed", charge_serial=ended.lot_serial, amount_fen=line.amount_fen, owed_fen=ended.owed_fen, at=at,
            reason=state,
        )  # fmt: skip
        event_id = ids.new(at, f"debt.disputed {made.dispute_id} {state}")
        row = events.NewEvent(
            event_id, ended.operator_id, ended.lot_id, ended.charge_id, ended.charge_id, told.kind, events.encode(told)
        )  # fmt: skip
        events.write(tx, lane=lane, rows=[row])


def _sealed(tx: Connection, *, lane: int, decision_id: UUID, at: datetime) -> Decision:
    """Seal a decision as it stands and return it."""
    made = store.decision(tx, lane=lane, decision_id=decision_id)
    assert made is not None
    document = documents.of(
        kind=DocumentKind.DECISION, document_id=decision_id, content=sealed_content(made), happened_at=at
    )  # fmt: skip
    documents.record(tx, lane=lane, documents=[document], at=at)
    return made


def _named(charge_ids: Sequence[UUID]) -> str:
    more = f" and {len(charge_ids) - NAMED_MAX} more" if len(charge_ids) > NAMED_MAX else ""
    return ", ".join(str(one) for one in charge_ids[:NAMED_MAX]) + more
