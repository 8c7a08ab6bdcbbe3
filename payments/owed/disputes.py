"""Disputes 争议: a driver says that a debt is wrong, the lot shows what it has, the staff decides.

Knows debts and disputes; must not know HTTP. Called by the API, the command line and the pages. While a dispute is open nothing is
demanded or deducted; what it lets off is a waiver, approved by a second person. Source: docs/DUNNING.md.

Paying a disputed debt does not withdraw the objection: it waits to be decided as before, and ``Dispute.standing`` says that it is
paid. Upheld of a paid debt, nothing is let off: the money goes back by a credit note or a refund, and until it does the dispute
stays in the list of those that wait.
"""

import hashlib
import mimetypes
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids
from ledger.volley import Question
from payments import events, people
from payments.owed import debt_desk, dispute_store
from payments.owed.debt_desk import Ask, Paper
from payments.owed.dispute_store import Disputable, Dispute, Exhibit, Reason, Standing

STATEMENT_LETTERS_MAX: Final = 2_000
ANSWER_LETTERS_MAX: Final = 4_000
EXHIBITS_MAX: Final = 10
EXHIBIT_BYTES_MAX: Final = 5 * 1024 * 1024
MEDIA: Final = frozenset({"image/jpeg", "image/png", "application/pdf", "text/plain", "application/json", "video/mp4"})
ANSWER_WITHIN: Final = timedelta(days=7)
"""How long a lot has to show what it has; after that the staff decides by what there is."""
DECISION_SHOWN_FOR: Final = timedelta(days=30)
"""How long the page tells a driver what was decided about a debt that is paid."""
PAID_STANDINGS: Final[tuple[Standing, ...]] = ("paid", "refund_due", "refunded", "rejected")
"""Where the dispute of a paid debt can stand, as drivers are told."""


class Shown(Struct, frozen=True):
    """A file that a party shows."""

    name: str
    media_type: str
    body: bytes


def open_dispute(
    tx: Connection, *, lane: int, charge_id: UUID, reason: Reason, statement: str, opened_by: Literal["page", "api", "staff"],
    opened_ref: str, shown: Sequence[Shown] = (), at: datetime, ids: Ids,
) -> Dispute:  # fmt: skip
    """Open a dispute of a debt: nothing is demanded or deducted until it is over, and its lot is told and asked.

    A dispute that is open already is returned as it is; what is shown anew is added to it. Holds the charge.

    Raises:
        NotFound: ``debt_not_found``.
        Refused: ``dispute_invalid`` (words or files), ``debt_not_open``.
    """
    _check_words(statement, STATEMENT_LETTERS_MAX)
    exhibits = _exhibits(shown, "driver" if opened_by != "staff" else "staff", str(charge_id), at, ids)
    debt = dispute_store.hold(tx, lane=lane, charge_id=charge_id)
    if debt is None:
        raise NotFound(f"there is no debt {charge_id}", code="debt_not_found")
    found = dispute_store.open_of_charge(tx, lane=lane, charge_id=charge_id)
    if found is not None:
        dispute_store.insert_exhibits(tx, lane=lane, dispute_id=found.dispute_id, exhibits=exhibits)
        return found
    if debt.state != "open" or debt.owed_fen == 0:
        raise Refused("nothing is owed any more of this debt; there is nothing to dispute", code="debt_not_open")
    dispute_id = ids.new(at, f"dispute {charge_id}")
    dispute_store.insert(
        tx, lane=lane, dispute_id=dispute_id, debt=debt, opened_by=opened_by, opened_ref=opened_ref[:100], reason=reason,
        statement=statement.strip(), at=at, answer_until=at + ANSWER_WITHIN,
    )  # fmt: skip
    dispute_store.insert_exhibits(tx, lane=lane, dispute_id=dispute_id, exhibits=exhibits)
    _tell(tx, lane=lane, dispute_id=dispute_id, debt=debt, reason="opened", at=at, ids=ids)
    return _found(tx, lane=lane, dispute_id=dispute_id)


def answer(
    tx: Connection, *, lane: int, dispute_id: UUID, words: str, shown: Sequence[Shown], by: str, at: datetime, ids: Ids
) -> Dispute:  # fmt: skip
    """Keep what a lot says and shows; it may say more until the dispute is decided. Holds the dispute.

    Raises:
        NotFound: ``dispute_not_found``.
        Conflict: ``dispute_over``.
        Refused: ``dispute_invalid``.
    """
    _check_words(words, ANSWER_LETTERS_MAX)
    _held(tx, lane=lane, dispute_id=dispute_id, states=("open", "deciding"))
    exhibits = _exhibits(shown, "lot", str(dispute_id), at, ids)
    dispute_store.insert_exhibits(tx, lane=lane, dispute_id=dispute_id, exhibits=exhibits)
    dispute_store.answer(tx, lane=lane, dispute_id=dispute_id, words=words.strip(), by=by[:100], at=at)
    return _found(tx, lane=lane, dispute_id=dispute_id)


def reject(tx: Connection, *, lane: int, dispute_id: UUID, by: str, note: str, at: datetime, ids: Ids) -> Dispute:
    """Decide that the debt stands: reminders and deductions go on. Holds the charge, then the dispute.

    Raises:
        NotAllowed: ``person_unknown``, ``person_may_not``.
        NotFound: ``dispute_not_found``; Conflict: ``dispute_over``; Refused: ``dispute_invalid`` without reasons.
    """
    people.maker(tx, person_code=by, at=at)
    _check_words(note, ANSWER_LETTERS_MAX)
    debt = _debt_of(tx, lane=lane, dispute_id=dispute_id)
    _held(tx, lane=lane, dispute_id=dispute_id, states=("open",))
    dispute_store.end(
        tx, lane=lane, dispute_id=dispute_id, charge_id=debt.charge_id, state="rejected", by=by, note=note.strip(), at=at
    )  # fmt: skip
    _tell(tx, lane=lane, dispute_id=dispute_id, debt=debt, reason="rejected", at=at, ids=ids)
    return _found(tx, lane=lane, dispute_id=dispute_id)


def withdraw(tx: Connection, *, lane: int, dispute_id: UUID, note: str, at: datetime, ids: Ids) -> Dispute:
    """End a dispute that its driver takes back. Holds the charge, then the dispute. Raises as ``reject``, without the persons."""
    debt = _debt_of(tx, lane=lane, dispute_id=dispute_id)
    _held(tx, lane=lane, dispute_id=dispute_id, states=("open",))
    dispute_store.end(
        tx, lane=lane, dispute_id=dispute_id, charge_id=debt.charge_id, state="withdrawn", by=None, note=note[:500], at=at
    )  # fmt: skip
    _tell(tx, lane=lane, dispute_id=dispute_id, debt=debt, reason="withdrawn", at=at, ids=ids)
    return _found(tx, lane=lane, dispute_id=dispute_id)


def uphold(
    tx: Connection, *, lane: int, dispute_id: UUID, by: str, note: str, document: Paper, at: datetime, ids: Ids,
    amount_fen: int | None = None,
) -> Dispute:  # fmt: skip
    """Decide that the driver is right, in full or for ``amount_fen``: a waiver is proposed and a second person approves it.

    Until then the dispute is ``deciding`` and nothing is demanded. Of a debt that was paid meanwhile nothing can be let off: the
    decision stands at once, the lot is told how much goes back, and the dispute waits (``refund_due``) until a credit note or a
    refund promises it. Holds the charge, then the dispute.

    Raises:
        As ``reject`` and ``debt_desk.propose``; Refused: ``document_invalid``, of a paid debt the document's bytes are kept.
    """
    _check_words(note, ANSWER_LETTERS_MAX)
    debt = _debt_of(tx, lane=lane, dispute_id=dispute_id)
    _held(tx, lane=lane, dispute_id=dispute_id, states=("open",))
    if debt.state == "settled":
        return _uphold_paid(
            tx, lane=lane, dispute_id=dispute_id, debt=debt, by=by, note=note, document=document, at=at, ids=ids,
            amount_fen=debt.paid_fen if amount_fen is None else amount_fen,
        )  # fmt: skip
    made = debt_desk.propose(
        tx, lane=lane, kind="waiver", asked=[Ask(debt.charge_id, amount_fen)], reason=note[: debt_desk.REASON_LETTERS_MAX],
        document=document, by=by, at=at, ids=ids, dispute_id=dispute_id,
    )  # fmt: skip
    dispute_store.wait_for_waiver(
        tx, lane=lane, dispute_id=dispute_id, waiver_id=made.decision_id, by=by, note=note.strip(), at=at
    )  # fmt: skip
    return _found(tx, lane=lane, dispute_id=dispute_id)


def waiting(tx: Connection, *, lane: int, limit: int = 100) -> list[Dispute]:
    """Return the disputes that the staff has to do something about, the oldest first: those that are not over, and those upheld of
    a paid debt whose money is not promised back yet."""
    return dispute_store.waiting(tx, lane=lane, limit=limit)


def of_lot(tx: Connection, *, lane: int, lot_id: int, limit: int = 100) -> list[Dispute]:
    """Return the disputes that a lot may answer, the oldest first."""
    return dispute_store.of_lot(tx, lane=lane, lot_id=lot_id, limit=limit)


def which_are_paid(*, lane: int, lot_id: int, number: str) -> Question[list[UUID]]:
    """The paid debts of a number at a lot, to be given to ``of_paid``: most numbers have none."""
    return dispute_store.which_are_paid(lane=lane, lot_id=lot_id, number=number)


def of_paid(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], at: datetime) -> list[Dispute]:
    """Return the disputes of debts that are paid: open ones, and what was decided lately."""
    return dispute_store.of_paid(tx, lane=lane, charge_ids=charge_ids, decided_after=at - DECISION_SHOWN_FOR)


def open_among(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these charges are disputed by their drivers and not decided yet."""
    return dispute_store.open_of_charges(tx, lane=lane, charge_ids=charge_ids) if charge_ids else set()


def which_are_disputed(*, lane: int, charge_ids: Sequence[UUID]) -> Question[set[UUID]]:
    """As ``open_among``."""
    return dispute_store.which_are_disputed(lane=lane, charge_ids=charge_ids)


def by_id(tx: Connection, *, lane: int, dispute_id: UUID) -> Dispute:
    """Return a dispute. Raises NotFound (``dispute_not_found``)."""
    return _found(tx, lane=lane, dispute_id=dispute_id)


def exhibits(tx: Connection, *, lane: int, dispute_id: UUID) -> list[Exhibit]:
    """Return what was shown in a dispute."""
    return dispute_store.exhibits(tx, lane=lane, dispute_ids=[dispute_id]).get(dispute_id, [])


def _uphold_paid(
    tx: Connection, *, lane: int, dispute_id: UUID, debt: Disputable, by: str, note: str, document: Paper, at: datetime, ids: Ids,
    amount_fen: int,
) -> Dispute:  # fmt: skip
    """End the dispute of a paid debt for the driver. What channels take back of it later is not demanded: it stays disputed."""
    people.maker(tx, person_code=by, at=at)
    if not 0 < amount_fen <= debt.paid_fen:
        raise Refused(f"{debt.paid_fen} fen were paid; of them 1 to {debt.paid_fen} can go back", code="amount_invalid")
    if document.body is None:
        raise Refused("bring the document itself; its bytes are kept with the dispute", code="document_invalid")
    is_full = amount_fen == debt.paid_fen
    media_type = mimetypes.guess_type(document.name)[0] or "application/octet-stream"
    shown = Exhibit(
        exhibit_id=ids.new(at, f"exhibit {dispute_id} staff", document.body), shown_by="staff", name=document.name.strip(),
        media_type=media_type, digest=document.digest, body=document.body, shown_at=at,
    )  # fmt: skip
    dispute_store.insert_exhibits(tx, lane=lane, dispute_id=dispute_id, exhibits=[shown])
    dispute_store.end(
        tx, lane=lane, dispute_id=dispute_id, charge_id=debt.charge_id, state="upheld" if is_full else "partly", by=by,
        note=note.strip(), at=at, frees=not is_full,
    )  # fmt: skip
    reason = "upheld" if is_full else "partly"
    _tell(tx, lane=lane, dispute_id=dispute_id, debt=debt, reason=reason, at=at, ids=ids, amount_fen=amount_fen)
    return _found(tx, lane=lane, dispute_id=dispute_id)


def _check_words(words: str, letters_max: int) -> None:
    if not 0 < len(words.strip()) <= letters_max:
        raise Refused(f"say it in 1 to {letters_max} characters", code="dispute_invalid")


def _exhibits(shown: Sequence[Shown], by: Literal["driver", "lot", "staff"], of: str, at: datetime, ids: Ids) -> list[Exhibit]:
    if len(shown) > EXHIBITS_MAX:
        raise Refused(f"at most {EXHIBITS_MAX} files at a time", code="dispute_invalid")
    for one in shown:
        if one.media_type not in MEDIA or not 0 < len(one.body) <= EXHIBIT_BYTES_MAX or not 0 < len(one.name) <= 200:
            allowed = ", ".join(sorted(MEDIA))
            raise Refused(f"a file has a name, 1 to {EXHIBIT_BYTES_MAX} bytes, and is of {allowed}", code="dispute_invalid")
    return [
        Exhibit(
            exhibit_id=ids.new(at, f"exhibit {of} {by}", one.body), shown_by=by, name=one.name, media_type=one.media_type,
            digest=hashlib.sha256(one.body).digest(), body=one.body, shown_at=at,
        )
        for one in shown
    ]  # fmt: skip


def _found(tx: Connection, *, lane: int, dispute_id: UUID) -> Dispute:
    found = dispute_store.find(tx, lane=lane, dispute_id=dispute_id)
    if found is None:
        raise NotFound(f"there is no dispute {dispute_id}", code="dispute_not_found")
    return found


def _debt_of(tx: Connection, *, lane: int, dispute_id: UUID) -> Disputable:
    """Return the debt of a dispute, holding its charge: always before the dispute's own row."""
    found = _found(tx, lane=lane, dispute_id=dispute_id)
    debt = dispute_store.hold(tx, lane=lane, charge_id=found.charge_id)
    assert debt is not None, "a dispute is about a debt"
    return debt


def _held(tx: Connection, *, lane: int, dispute_id: UUID, states: tuple[str, ...]) -> Dispute:
    found = dispute_store.find(tx, lane=lane, dispute_id=dispute_id, lock=True)
    if found is None:
        raise NotFound(f"there is no dispute {dispute_id}", code="dispute_not_found")
    if found.state not in states:
        raise Conflict(f"the dispute is {found.state}", code="dispute_over")
    return found


def _tell(
    tx: Connection, *, lane: int, dispute_id: UUID, debt: Disputable, reason: str, at: datetime, ids: Ids,
    amount_fen: int | None = None,
) -> None:  # fmt: skip
    told = events.DebtEvent(
        kind="debt.disputed", charge_serial=debt.lot_serial, amount_fen=debt.owed_fen if amount_fen is None else amount_fen,
        owed_fen=debt.owed_fen, at=at, reason=reason,
    )  # fmt: skip
    event_id = ids.new(at, f"debt.disputed {dispute_id} {reason}")
    row = events.NewEvent(event_id, debt.operator_id, debt.lot_id, debt.charge_id, debt.charge_id, told.kind, events.encode(told))
    events.write(tx, lane=lane, rows=[row])
