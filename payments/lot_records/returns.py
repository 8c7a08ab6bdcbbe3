"""Hand-backs 退还现金及原支付码款: a lot reports what it gave back by hand of what it took in cash or over an old code.

Knows refunds that were promised, tills and the applier; must not know HTTP or files. Called by the API and the command line.

No channel can be asked, so the lot's word is the evidence, and the one applier books it like a channel's word about a refund.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways import messages
from gateways.contract import RawMessage, RefundResult, RefundState
from ledger.errors import Refused
from ledger.ids import Ids, read_refund_number, refund_number
from payments import results
from payments.lot_records import intake, numbers, return_store, taking_store
from payments.lot_records.intake import Answer, Rejected, differs
from payments.lot_records.return_store import Owing, Promised, ReturnRow
from payments.lots import Lot
from payments.refunding.refund_decisions import BY_HAND, Finding
from payments.results import Notice

RECEIPT_LETTERS_MAX: Final = 64
OWING_MAX: Final = 1_000
"""Most hand-backs that are listed at once."""


class NewReturn(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Money handed back, as a lot posts it. ``serial`` is the lot's own number of the hand-back and the idempotency key."""

    serial: str
    number: int | None = None
    """The lot's own dense number of the hand-back."""
    refund: str | None = None
    """Number of the refund that was promised; needed where several are promised for one charge."""
    charge_serial: str | None = None
    """The charge of which something was promised back; it or ``refund`` is needed."""
    amount_fen: int
    """All that was promised: a refund goes back whole."""
    returned_at: datetime
    operator_person_digest: str
    """SHA-256 of who handed it out, as the operator knows the person, 64 hexadecimal digits."""
    receipt_no: str
    """Number of the receipt that the driver signed, or of the record in the old code's console."""


class ReturnAnswer(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one hand-back. ``refund`` is the refund that it carried out, of the charge ``charge_serial``."""

    refund: str | None = None
    charge_serial: str | None = None


class _Good(Struct, frozen=True):
    """A hand-back that can be true, in the form in which it is kept."""

    place: int
    posted: NewReturn
    refund_id: UUID | None
    person_digest: bytes


def post(
    tx: Connection, *, lane: int, lot: Lot, returns: Sequence[NewReturn], body: bytes, at: datetime, ids: Ids
) -> list[ReturnAnswer]:  # fmt: skip
    """Take and book what a lot handed back; a wrong record is refused by itself and the others stand.

    The call is kept, and the applier carries the refunds out: nothing is owed to the driver any more (2241), the till or the old
    code's account has less, the lot is told by ``refund.done``. May be called again with the same records: they are ``already``.
    Holds the intake of the lot, then the refunds as the applier does.

    Args:
        returns: At most ``intake.RECORDS_MAX``.
        body: The call as it came, kept as the evidence of what is booked.
        at: When it is booked (UTC); the business date follows from it.

    Raises:
        Refused: ``too_many_records``.
    """
    intake.check_count(returns)
    answers: list[ReturnAnswer | None] = [None] * len(returns)
    good: list[_Good] = []
    for place, posted in enumerate(returns):
        try:
            good.append(_checked(place, posted, lane, at))
        except Rejected as wrong:
            answers[place] = _refused(posted.serial, wrong)
    if good:
        message = messages.from_lot(operation="returns", body=body, at=at, ids=ids, occasion=lot.code)
        _Work(tx, lane=lane, lot=lot, good=good, message=message, at=at, ids=ids).carry_out(answers)
    return [answer for answer in answers if answer is not None]


def owing(
    tx: Connection, *, lane: int, lot: Lot | None = None, promised_before: datetime | None = None, limit: int = OWING_MAX
) -> list[Owing]:  # fmt: skip
    """Return what lots owe drivers by hand and have not reported as handed back, the oldest first; of one lot, or of all.

    Raises:
        Refused: ``limit_invalid``.
    """
    if not 0 < limit <= OWING_MAX:
        raise Refused(f"limit is 1 to {OWING_MAX}", code="limit_invalid")
    lot_id = None if lot is None else lot.lot_id
    return return_store.owing(tx, lane=lane, lot_id=lot_id, promised_before=promised_before, limit=limit)


def _refused(serial: str, wrong: Rejected) -> ReturnAnswer:
    return ReturnAnswer(serial=serial, outcome="refused", reason=wrong.code, field=wrong.field, detail=str(wrong))


def _checked(place: int, posted: NewReturn, lane: int, at: datetime) -> _Good:
    """Return a hand-back in the form in which it is kept. Raises Rejected for one that cannot be true."""
    intake.check_name(posted.serial, posted.number)
    intake.check_time("returned_at", posted.returned_at, at)
    intake.check_words("receipt_no", posted.receipt_no, RECEIPT_LETTERS_MAX)
    if posted.amount_fen <= 0:
        raise Rejected("amount_fen", "amount_invalid", f"1 fen or more is handed back, not {posted.amount_fen}")
    person = intake.digest("operator_person_digest", posted.operator_person_digest)
    assert person is not None
    if posted.refund is None:
        if posted.charge_serial is None:
            raise Rejected("refund", "return_unknown", "name the refund, or the charge of which it was promised back")
        return _Good(place, posted, None, person)
    named = read_refund_number(posted.refund)
    if named is None or named[0] != lane:
        raise _unknown("refund", posted.refund)
    return _Good(place, posted, named[1], person)


def _unknown(field: str, named: str) -> Rejected:
    return Rejected(
        field, "return_unknown",
        f"the lot owes nothing back for {named[:64]!r}; correct the charge or refund the payment first, then post this again",
    )  # fmt: skip


class _Work:
    """One call: what is there read set by set, decided about record by record, written and applied set by set."""

    def __init__(
        self, tx: Connection, *, lane: int, lot: Lot, good: list[_Good], message: RawMessage, at: datetime, ids: Ids
    ) -> None:
        self._tx, self._lane, self._lot, self._good = tx, lane, lot, good
        self._message, self._at, self._ids = message, at, ids
        intake.hold(tx, lot_id=lot.lot_id)
        serials = sorted({one.posted.serial for one in good})
        self._known = return_store.by_serial(tx, lane=lane, lot_id=lot.lot_id, serials=serials)
        named = sorted({one.refund_id for one in good if one.refund_id is not None})
        self._refunds = return_store.by_refund(tx, lane=lane, lot_id=lot.lot_id, refund_ids=named) if named else {}
        charges = sorted({one.posted.charge_serial for one in good if one.refund_id is None and one.posted.charge_serial})
        self._of_charges = return_store.by_charge(tx, lane=lane, lot_id=lot.lot_id, serials=charges) if charges else {}
        self._numbers = numbers.claimed(
            tx, lot_id=lot.lot_id, series=return_store.SERIES, numbers=[one.posted.number for one in good]
        )
        self._in_till = taking_store.in_till(tx, lane=lane, lot_id=lot.lot_id)
        self._made: list[tuple[ReturnRow, Promised]] = []
        self._returned: set[UUID] = set()

    def carry_out(self, answers: list[ReturnAnswer | None]) -> None:
        """Decide about each hand-back in order, write and apply what follows, and put the answers into their places."""
        for one in self._good:
            try:
                outcome = self._decide(one)
            except Rejected as wrong:
                answers[one.place] = _refused(one.posted.serial, wrong)
                continue
            row = self._known[one.posted.serial]
            answers[one.place] = ReturnAnswer(
                serial=one.posted.serial, outcome=outcome, refund=refund_number(self._lane, row.refund_id),
                charge_serial=row.charge_serial,
            )  # fmt: skip
        self._write()

    def _decide(self, one: _Good) -> Literal["created", "already"]:
        posted = one.posted
        if (known := self._known.get(posted.serial)) is not None:
            _check_same(one, known)
            self._numbers.check(posted.number, known.return_id)
            return "already"
        self._numbers.check(posted.number, None)
        refund = self._refund_of(one)
        self._check_fits(posted, refund)
        if refund.channel == "cash":
            self._in_till -= refund.amount_fen
        row = ReturnRow(
            return_id=self._ids.new(self._at, f"return {self._lot.lot_id} {posted.serial}"), lot_serial=posted.serial,
            refund_id=refund.refund_id, channel=refund.channel, amount_fen=posted.amount_fen, returned_at=posted.returned_at,
            person_digest=one.person_digest, receipt_no=posted.receipt_no, charge_serial=refund.charge_serial,
        )  # fmt: skip
        self._numbers.take(posted.number, row.return_id)
        self._known[posted.serial] = row
        self._returned.add(refund.refund_id)
        self._made.append((row, refund))
        return "created"

    def _refund_of(self, one: _Good) -> Promised:
        """Return the refund that a hand-back carries out: the one it names, or the only one that its charge waits for."""
        posted = one.posted
        if one.refund_id is not None:
            found = self._refunds.get(one.refund_id)
            if found is None or posted.charge_serial not in (None, found.charge_serial):
                raise _unknown("refund", str(posted.refund))
            return found
        assert posted.charge_serial is not None
        all_of = self._of_charges.get(posted.charge_serial, [])
        waiting = [refund for refund in all_of if not self._is_returned(refund)]
        if len(waiting) > 1:
            named = ", ".join(f"{refund_number(self._lane, refund.refund_id)} ({refund.amount_fen} fen)" for refund in waiting)
            raise Rejected("refund", "return_unclear", f"several refunds of the charge wait: name one of {named}")
        if waiting:
            return waiting[0]
        if all_of:
            return all_of[-1]
        raise _unknown("charge_serial", posted.charge_serial)

    def _is_returned(self, refund: Promised) -> bool:
        return refund.state != "promised" or refund.refund_id in self._returned

    def _check_fits(self, posted: NewReturn, refund: Promised) -> None:
        """Raise Rejected for a hand-back that its refund, or the till, does not allow."""
        name = refund_number(self._lane, refund.refund_id)
        if refund.channel not in BY_HAND:
            raise Rejected("refund", "return_not_by_hand", f"{refund.channel} sends refund {name} back; hand nothing out for it")
        if self._is_returned(refund):
            raise Rejected("refund", "already_returned", f"refund {name} was handed back before, under another serial")
        if posted.amount_fen > refund.amount_fen:
            raise Rejected(
                "amount_fen", "amount_exceeds", f"{refund.amount_fen} fen were promised by refund {name}, not {posted.amount_fen}"
            )
        if posted.amount_fen < refund.amount_fen:
            raise Rejected(
                "amount_fen", "return_in_part", f"refund {name} is handed back whole: {refund.amount_fen} fen; then post it"
            )
        if posted.returned_at < refund.paid_at:
            raise Rejected("returned_at", "returned_before_taken", "the money was taken later than it was handed back")
        if refund.channel == "cash" and refund.amount_fen > self._in_till:
            raise Rejected(
                "amount_fen", "till_exceeded",
                f"the till of {self._lot.code} holds {self._in_till} fen, not {refund.amount_fen}; post the cash takings first",
            )  # fmt: skip

    def _write(self) -> None:
        if not self._made:
            return
        rows = [row for row, _ in self._made]
        evidence_id = self._message.message_id
        return_store.insert(self._tx, lane=self._lane, lot=self._lot, rows=rows, evidence_id=evidence_id, at=self._at)
        intake.write(
            self._tx,
            numbers.registering(lot_id=self._lot.lot_id, series=return_store.SERIES, taken=self._numbers.taken, at=self._at),
        )
        notices = [
            Notice(self._message, None, "query", self._result(row, refund), again=bool(place))
            for place, (row, refund) in enumerate(self._made)
        ]
        told = results.apply(self._tx, lane=self._lane, notices=notices, at=self._at, ids=self._ids)
        assert all(one.finding is Finding.DONE for one in told), "a refund by hand moves only while its lot's intake is held"

    def _result(self, row: ReturnRow, refund: Promised) -> RefundResult:
        """Return what the lot says of a refund, as a channel's answer would: nobody else could be asked."""
        return RefundResult(
            channel=refund.channel, state=RefundState.DONE, refund_no=refund_number(self._lane, refund.refund_id),
            provider_no=refund.provider_no, merchant_no=refund.merchant_no, trade_no=refund.trade_no,
            channel_refund_no=f"{self._lot.code}/{row.lot_serial}", refund_fen=row.amount_fen, happened_at=row.returned_at,
        )  # fmt: skip


def _check_same(one: _Good, known: ReturnRow) -> None:
    """Raise Rejected when a serial comes with other content."""
    posted = one.posted
    same = {
        "refund": one.refund_id in (None, known.refund_id),
        "charge_serial": posted.charge_serial in (None, known.charge_serial),
        "amount_fen": posted.amount_fen == known.amount_fen,
        "returned_at": posted.returned_at == known.returned_at,
        "operator_person_digest": one.person_digest == known.person_digest,
        "receipt_no": posted.receipt_no == known.receipt_no,
    }
    for field, is_same in same.items():
        if not is_same:
            raise differs(posted.serial, field)
