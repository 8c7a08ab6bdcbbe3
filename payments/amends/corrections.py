"""Corrections 更正: a charge that was wrong is taken away by a signed credit note, with a new bill where one is due.

Knows charges, debts, refunds and the book; must not know HTTP or channels' wire. Called by the API. Source: docs/CORRECTIONS.md.

A posted charge is never edited: what is still owed is credited, what was paid goes back the way it came, all in one transaction.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from ledger import book, documents, recipes
from ledger.clock import business_date
from ledger.clock import checked as in_utc
from ledger.errors import NotFound, Refused
from ledger.ids import Ids
from ledger.invariants import Violation
from ledger.journal import Entry
from payments import events, plates
from payments.amends import correction_store, credit_notes, new_bills, promising
from payments.amends.correction_store import Held, Kind, Known, Note, NoteSeen, Reason, RefundSeen
from payments.amends.credit_notes import Draft, Signer
from payments.amends.new_bills import Replacing
from payments.amends.promising import Effect
from payments.discounts import effects as discounts
from payments.lot_records import intake
from payments.lot_records.intake import Answer, Rejected, differs
from payments.lots import Lot
from payments.records import NewCharge

CORRECTIONS_MAX: Final = 1_000
"""Most corrections in one call."""
WORDS_LETTERS_MAX: Final = 500


class NewCorrection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A correction as a lot posts it. ``serial`` is the lot's own number of the correction and the idempotency key."""

    serial: str
    charge_serial: str
    kind: Kind
    reason: Reason
    text: str | None = None
    """Why, in the lot's words; other than the note itself it may name a car."""
    amount_fen: int | None = None
    """Reduce: by how much. Else left out."""
    new: NewCharge | None = None
    """Replace: the whole new charge, under a serial of its own. Else left out."""


class Corrected(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one correction.

    ``note`` is the number of the credit note, ``amount_fen`` what it takes away: ``credited_fen`` of what was owed,
    ``refunded_fen`` of what was paid, on its way back to the payers.
    """

    note: str | None = None
    amount_fen: int | None = None
    credited_fen: int | None = None
    refunded_fen: int | None = None


def post(
    tx: Connection, *, lane: int, lot: Lot, corrections: Sequence[NewCorrection], evidence_id: UUID, signer: Signer, at: datetime,
    ids: Ids,
) -> list[Corrected]:  # fmt: skip
    """Correct charges of one lot, set by set; a correction that cannot be is refused by itself and the others stand.

    What is still owed of a charge is credited; what was paid beyond the corrected amount is promised back, the newest payment
    first; the new bill of a debt is a debt at once. Lots are told, notes are signed and sealed. May be called again with the same
    corrections: they are ``already``. Holds the lot's intake, then the charges' payments in the order of their ids, then the
    charges in theirs.

    Args:
        corrections: At most ``CORRECTIONS_MAX``; one for each charge.
        evidence_id: The lot's call, which the caller keeps.
        at: When they are booked (UTC): today, whenever the stay was.

    Raises:
        Refused: ``too_many_records``.
    """
    if len(corrections) > CORRECTIONS_MAX:
        raise Refused(f"at most {CORRECTIONS_MAX} corrections fit into one call, not {len(corrections)}", code="too_many_records")
    intake.hold(tx, lot_id=lot.lot_id)
    work = _Work(tx, lane=lane, lot=lot, evidence_id=evidence_id, signer=signer, at=at, ids=ids)
    return work.carry_out(corrections)


def digest_of(correction: NewCorrection) -> bytes:
    """Return the SHA-256 of what a correction says; the same moment in another time zone is the same."""
    new = correction.new
    if new is not None:
        left_at = None if new.left_at is None else _moment(new.left_at)
        new = msgspec.structs.replace(
            new, plate=plates.normalised(new.plate), entered_at=_moment(new.entered_at), left_at=left_at
        )  # fmt: skip
    said = _said(correction) | ({} if new is None else {"new": _said(new)})
    return hashlib.sha256(documents.canonical(said)).digest()


def _said(record: Struct) -> dict[str, object]:
    """Return the fields of a record that say something; those that a later release adds say nothing in an earlier record."""
    return {name: value for name, value in msgspec.structs.asdict(record).items() if value is not None}


def _moment(value: datetime) -> datetime:
    return value if value.tzinfo is None else in_utc(value)


def by_serial(tx: Connection, *, lane: int, lot_id: int, serial: str) -> tuple[NoteSeen, list[RefundSeen]]:
    """Return a lot's correction with its refunds. Raises NotFound (``correction_not_found``)."""
    found = correction_store.by_serial(tx, lane=lane, lot_id=lot_id, serial=serial)
    if found is None:
        raise NotFound(f"the lot has no correction {serial[:64]!r}", code="correction_not_found")
    return found, correction_store.refunds_of(tx, lane=lane, note_id=found.note_id)


def check(tx: Connection) -> list[Violation]:
    """Check that each credit note is in the book, in the tree and in refunds as it says, and that a lot's notes have no gap."""
    return [Violation("corrections", words) for words in correction_store.wrong(tx)]


def _check_form(correction: NewCorrection) -> None:
    """Raise Rejected for a correction whose parts cannot stand together."""
    intake.check_name(correction.serial, None)
    intake.check_words("text", correction.text, WORDS_LETTERS_MAX)
    if (correction.kind == "reduce") != (correction.amount_fen is not None):
        raise Rejected("amount_fen", "correction_invalid", "a reduction says by how many fen (amount_fen); no other kind does")
    if correction.amount_fen is not None and correction.amount_fen <= 0:
        raise Rejected("amount_fen", "correction_invalid", f"a charge is reduced by 1 fen or more, not by {correction.amount_fen}")
    if (correction.kind == "replace") != (correction.new is not None):
        raise Rejected("new", "correction_invalid", "a replacement brings the whole new charge (new); no other kind does")
    if correction.new is not None and correction.new.lot_serial == correction.charge_serial:
        raise Rejected("new.lot_serial", "correction_invalid", "the new charge has a serial of its own")


class _Good(Struct):
    """A correction on its way: what it is about, what it takes away."""

    place: int
    posted: NewCorrection
    draft: Draft


class _Work:
    """One call: what is there read set by set, decided in memory, written set by set."""

    def __init__(self, tx: Connection, *, lane: int, lot: Lot, evidence_id: UUID, signer: Signer, at: datetime, ids: Ids) -> None:
        self._tx, self._lane, self._lot, self._evidence_id = tx, lane, lot, evidence_id
        self._signer, self._at, self._ids = signer, at, ids
        self._on = business_date(at)

    def carry_out(self, corrections: Sequence[NewCorrection]) -> list[Corrected]:
        """Decide about each correction in order and write what follows; answers stand in the order of the corrections."""
        answers: list[Corrected | None] = [None] * len(corrections)
        fresh = self._fresh(corrections, answers)
        good = self._decided(fresh, answers)
        good = self._billed(good, answers)
        notes = self._noted(good)
        for one, note in zip(good, notes, strict=True):
            answers[one.place] = _answer("created", note)
        return self._with_repeats(corrections, answers)

    def _fresh(
        self, corrections: Sequence[NewCorrection], answers: list[Corrected | None]
    ) -> list[tuple[int, NewCorrection, bytes]]:  # fmt: skip
        """Return those that were not made before and have the form of one; of a serial that comes twice the first."""
        serials = sorted({one.serial for one in corrections})
        before = correction_store.known(self._tx, lane=self._lane, lot_id=self._lot.lot_id, serials=serials)
        seen: set[str] = set()
        fresh = []
        for place, posted in enumerate(corrections):
            digest = digest_of(posted)
            if (known := before.get(posted.serial)) is not None:
                answers[place] = _repeated(posted.serial, known, digest)
            elif posted.serial not in seen:
                seen.add(posted.serial)
                try:
                    _check_form(posted)
                except Rejected as wrong:
                    answers[place] = _refused(posted.serial, wrong)
                else:
                    fresh.append((place, posted, digest))
        return fresh

    def _decided(
        self, fresh: Sequence[tuple[int, NewCorrection, bytes]], answers: list[Corrected | None]
    ) -> list[_Good]:  # fmt: skip
        """Hold the charges and say what each correction takes away."""
        serials = sorted({posted.charge_serial for _, posted, _ in fresh})
        by_serial = correction_store.charge_ids(self._tx, lane=self._lane, lot_id=self._lot.lot_id, serials=serials)
        charge_ids = list(by_serial.values())
        if not charge_ids:
            held, paid, live = {}, {}, {}
        else:
            payments = correction_store.hold(self._tx, lane=self._lane, charge_ids=charge_ids)
            held = correction_store.held(self._tx, lane=self._lane, charge_ids=charge_ids)
            paid = correction_store.paid(self._tx, lane=self._lane, charge_ids=charge_ids)
            live = correction_store.live(self._tx, lane=self._lane, charge_ids=charge_ids, of=payments)
        good: list[_Good] = []
        taken: set[UUID] = set()
        for place, posted, digest in fresh:
            try:
                charge_id = _found(by_serial, posted.charge_serial, taken)
                effect = promising.decide(
                    held[charge_id], paid.get(charge_id, []), wanted_fen=posted.amount_fen, live_way=live.get(charge_id)
                )
            except Rejected as wrong:
                answers[place] = _refused(posted.serial, wrong)
            else:
                taken.add(charge_id)
                good.append(_Good(place, posted, _draft(posted, digest, held[charge_id], effect)))
        return good

    def _billed(self, good: Sequence[_Good], answers: list[Corrected | None]) -> list[_Good]:
        """Post the new bills, those of debts as debts; a correction whose new bill is refused is refused with it."""
        replacing = [(one, Replacing(one.posted.new, one.draft.charge)) for one in good if one.posted.new is not None]
        wrong = new_bills.bill(
            self._tx, lane=self._lane, lot=self._lot, replacing=[pair for _, pair in replacing], evidence_id=self._evidence_id,
            at=self._at, ids=self._ids,
        )  # fmt: skip
        refused: set[int] = set()
        for (one, _), why in zip(replacing, wrong, strict=True):
            if why is not None:
                refused.add(one.place)
                answers[one.place] = _refused(one.posted.serial, why)
        return [one for one in good if one.place not in refused]

    def _noted(self, good: Sequence[_Good]) -> list[Note]:
        """Write notes, entries, refunds, charges, debts and events; returns the notes in the order of the corrections."""
        if not good:
            return []
        first = correction_store.last_sequence(self._tx, lane=self._lane, lot_id=self._lot.lot_id) + 1
        pairs = [
            credit_notes.signed(
                one.draft, lane=self._lane, lot=self._lot, sequence=first + count, evidence_id=self._evidence_id,
                signer=self._signer, at=self._at, ids=self._ids,
            )
            for count, one in enumerate(good)
        ]  # fmt: skip
        notes = [note for note, _ in pairs]
        backs = [refund for _, refunds in pairs for refund in refunds]
        words = {note.note_id: one.posted.text for one, note in zip(good, notes, strict=True) if one.posted.text is not None}
        correction_store.insert_notes(self._tx, lane=self._lane, notes=notes, words=words)
        promised = promising.promise(self._tx, lane=self._lane, refunds=backs, evidence_id=self._evidence_id, at=self._at)
        credited = [entry for one, note in zip(good, notes, strict=True) if (entry := self._credited(one, note)) is not None]
        if entries := [*credited, *promised]:
            book.post(self._tx, lane=self._lane, entries=entries, at=self._at)
        covered = [one.draft.charge.charge_id for one in good if one.draft.charge.covered_fen]
        discounts.uncover(self._tx, lane=self._lane, charge_ids=covered, evidence_id=self._evidence_id, at=self._at)
        ended = self._take_off(notes)
        sealed = [credit_notes.sealed(note) for note in notes]
        documents.record(self._tx, lane=self._lane, documents=sealed, at=self._at)
        told = [event for one, note in zip(good, notes, strict=True) for event in self._told(one, note)]
        events.write(self._tx, lane=self._lane, rows=[*told, *(self._dispute_over(one) for one in ended)])
        return notes

    def _credited(self, one: _Good, note: Note) -> Entry | None:
        """Return the entry of what is credited of a debt; a charge at the gate is not in the book yet."""
        if not note.was_debt or note.credited_fen == 0:
            return None
        return recipes.credited(
            note_id=note.note_id, book_id=one.draft.charge.book_id, amount_fen=note.credited_fen, happened_at=self._at,
            booked_on=self._on, evidence_id=self._evidence_id,
        )  # fmt: skip

    def _take_off(self, notes: Sequence[Note]) -> list[correction_store.Ended]:
        amounts = {note.charge_id: note.credited_fen for note in notes if note.credited_fen}
        if not amounts:
            return []
        words = {note.charge_id: f"停车费已由更正单 {note.number} 更正" for note in notes}
        return correction_store.take_off(self._tx, lane=self._lane, amounts=amounts, words=words, at=self._at)

    def _told(self, one: _Good, note: Note) -> list[events.NewEvent]:
        charge = one.draft.charge
        corrected = events.CorrectionEvent(
            charge_serial=charge.lot_serial, note=note.number, amount_fen=note.amount_fen, at=self._at, reason=note.reason
        )  # fmt: skip
        told = [self._event(charge, note.note_id, corrected.kind, events.encode(corrected))]
        if note.was_debt and note.credited_fen:
            reduced = events.DebtEvent(
                kind="debt.reduced", charge_serial=charge.lot_serial, amount_fen=note.credited_fen,
                owed_fen=charge.owed_fen - note.credited_fen, at=self._at, reason="corrected",
            )  # fmt: skip
            told.append(self._event(charge, charge.charge_id, reduced.kind, events.encode(reduced), f" {note.number}"))
        return told

    def _event(self, charge: Held, subject: UUID, kind: events.EventKind, body: bytes, more: str = "") -> events.NewEvent:
        event_id = self._ids.new(self._at, f"{kind} {subject}{more}")
        return events.NewEvent(event_id, charge.operator_id, self._lot.lot_id, subject, charge.charge_id, kind, body)

    def _dispute_over(self, ended: correction_store.Ended) -> events.NewEvent:
        told = events.DebtEvent(
            kind="debt.disputed", charge_serial=ended.lot_serial, amount_fen=0, owed_fen=0, at=self._at, reason="upheld"
        )  # fmt: skip
        event_id = self._ids.new(self._at, f"debt.disputed {ended.dispute_id} upheld")
        return events.NewEvent(
            event_id, ended.operator_id, ended.lot_id, ended.charge_id, ended.charge_id, told.kind, events.encode(told)
        )  # fmt: skip

    def _with_repeats(
        self, corrections: Sequence[NewCorrection], answers: Sequence[Corrected | None]
    ) -> list[Corrected]:  # fmt: skip
        """Answer the corrections whose serial came twice in the call like the first of them."""
        first: dict[str, tuple[NewCorrection, Corrected]] = {}
        complete: list[Corrected] = []
        for posted, answer in zip(corrections, answers, strict=True):
            if answer is None:
                said, of_first = first[posted.serial]
                same = digest_of(said) == digest_of(posted)
                answer = of_first if same else _refused(posted.serial, differs(posted.serial, "content"))
                if same and of_first.outcome == "created":
                    answer = msgspec.structs.replace(of_first, outcome="already")
            else:
                first.setdefault(posted.serial, (posted, answer))
            complete.append(answer)
        return complete


def _found(by_serial: Mapping[str, UUID], serial: str, taken: set[UUID]) -> UUID:
    charge_id = by_serial.get(serial)
    if charge_id is None:
        raise Rejected(
            "charge_serial", "charge_unknown",
            f"the lot has no charge {serial[:64]!r}; of one that was cut for several payees correct the parts: {serial[:60]}#1 ...",
        )  # fmt: skip
    if charge_id in taken:
        raise Rejected(
            "charge_serial", "charge_twice", "another correction of this call is about it; send this one in another call"
        )
    return charge_id


def _draft(posted: NewCorrection, digest: bytes, charge: Held, effect: Effect) -> Draft:
    return Draft(
        serial=posted.serial, kind=posted.kind, reason=posted.reason,
        new_serial=None if posted.new is None else posted.new.lot_serial, content_digest=digest, charge=charge, effect=effect,
    )  # fmt: skip


def _refused(serial: str, wrong: Rejected) -> Corrected:
    return Corrected(serial=serial, outcome="refused", reason=wrong.code, field=wrong.field, detail=str(wrong))


def _repeated(serial: str, known: Known, digest: bytes) -> Corrected:
    return _answer("already", known) if known.content_digest == digest else _refused(serial, differs(serial, "content"))


def _answer(outcome: Literal["created", "already"], note: Note | Known) -> Corrected:
    return Corrected(
        serial=note.serial, outcome=outcome, note=note.number, amount_fen=note.amount_fen, credited_fen=note.credited_fen,
        refunded_fen=note.refunded_fen,
    )  # fmt: skip
