"""Takings 现金及原支付码收入: what a lot took by hand, in cash or over a code older than the city's, and cash brought to the bank.

Knows charges, takings, tills and the applier; must not know HTTP or files. Called by the API and the command line.

A taking that names a charge becomes a payment of it, and the one applier books that like any other: what is paid a second time lies
in suspense with a case. Nobody can be asked to send cash back: the lot hands it back and reports it (``returns``).
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways import messages
from gateways.contract import ChannelState, RawMessage, Result
from ledger import book, recipes
from ledger.clock import business_date
from ledger.errors import Conflict, Refused
from ledger.ids import Ids, payment_number
from payments import orders, results
from payments.decisions import CURRENCY
from payments.lot_records import intake, numbers, taking_store
from payments.lot_records.intake import REMARK_LETTERS_MAX, Answer, Rejected, differs
from payments.lot_records.taking_store import Owed, Paying, SlipRow, TakingRow, TillDay
from payments.lots import Lot
from payments.orders import Tokens
from payments.plates import PlateColor
from payments.results import Notice

Channel = Literal["cash", "legacy"]
TAKING_FEN_MAX: Final = 5_000_000
SLIP_FEN_MAX: Final = 10_000_000_000
DAYS_MAX: Final = 400


class NewTaking(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Money taken by hand, as a lot posts it. ``serial`` is the lot's own number of the taking and the idempotency key."""

    serial: str
    number: int | None = None
    """The lot's own dense number of the taking."""
    channel: Channel
    charge_serial: str | None = None
    """The charge that it pays; None: it pays none that was posted."""
    amount_fen: int
    taken_at: datetime
    evidence_text: str | None = None
    """Number of the slip, of the old code's trade, or the like."""
    evidence_digest: str | None = None
    """SHA-256 of a picture or file that the lot keeps, 64 hexadecimal digits."""
    plate: str | None = None
    plate_color: PlateColor = "unknown"


class TakingAnswer(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one taking.

    ``receipt`` is the number of the payment that it became; ``treatment`` says how that was booked: ``settled`` or ``part`` of the
    charge, or in suspense as ``second_payment`` or ``amount_differs``: then a person decides; ``taken_elsewhere``: it pays none.
    """

    receipt: str | None = None
    treatment: str | None = None


class NewSlip(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cash brought to the bank. ``slip_no`` is the bank's number of the slip and the idempotency key, once per operator."""

    slip_no: str
    amount_fen: int
    banked_at: datetime
    bank: str | None = None
    """Bank and branch."""


class SlipAnswer(Struct, frozen=True):
    """What became of a slip, and what the till holds now, in fen."""

    slip_no: str
    outcome: Literal["created", "already"]
    in_till_fen: int


class Till(Struct, frozen=True):
    """A lot's till: what it holds now, and the days on which something moved."""

    in_till_fen: int
    days: list[TillDay]


class _Good(Struct):
    """A taking that can be true, in the form in which it is kept."""

    place: int
    posted: NewTaking
    plate: tuple[str, str] | None
    evidence_digest: bytes | None


def post(
    tx: Connection, *, lane: int, lot: Lot, takings: Sequence[NewTaking], body: bytes, at: datetime, ids: Ids, tokens: Tokens
) -> list[TakingAnswer]:
    """Take and book what a lot took by hand; a wrong one is refused by itself and the others stand.

    May be called again with the same takings: they are ``already``, and nothing is booked twice. Holds the intake of the lot, then
    the payments and charges as the applier does.

    Args:
        takings: At most ``intake.RECORDS_MAX``.
        body: The call as it came, kept as the evidence of what is booked.
        at: When it is booked (UTC); the business date follows from it.

    Raises:
        Refused: ``too_many_records``.
    """
    intake.check_count(takings)
    answers: list[TakingAnswer | None] = [None] * len(takings)
    good: list[_Good] = []
    for place, posted in enumerate(takings):
        try:
            good.append(_checked(place, posted, at))
        except Rejected as wrong:
            answers[place] = _refused(posted.serial, wrong)
    if good:
        message = messages.from_lot(operation="takings", body=body, at=at, ids=ids, occasion=lot.code)
        _Work(tx, lane=lane, lot=lot, good=good, message=message, at=at, ids=ids, tokens=tokens).carry_out(answers)
    return [answer for answer in answers if answer is not None]


def bring_to_bank(tx: Connection, *, lane: int, lot: Lot, slip: NewSlip, body: bytes, at: datetime, ids: Ids) -> SlipAnswer:
    """Book cash that was brought to the bank: the till is empty by as much. The same slip again is the same slip.

    Holds the intake of the lot, then the slips of its operator.

    Raises:
        Refused: ``slip_invalid``; ``till_exceeded``, the till does not hold as much.
        Conflict: ``slip_conflict``, the number was used with other content, or by another lot.
    """
    _check_slip(slip, at)
    intake.hold(tx, lot_id=lot.lot_id)
    taking_store.hold_slip_numbers(tx, operator_id=lot.operator_id)
    held = taking_store.in_till(tx, lane=lane, lot_id=lot.lot_id)
    known = taking_store.slip(tx, lane=lane, operator_id=lot.operator_id, slip_no=slip.slip_no)
    if known is not None:
        if (known.lot_id, known.amount_fen, known.banked_at, known.bank) != (
            lot.lot_id,
            slip.amount_fen,
            slip.banked_at,
            slip.bank,
        ):
            raise Conflict(
                f"slip {slip.slip_no} was posted before with other content; a slip is counted once", code="slip_conflict"
            )
        return SlipAnswer(slip.slip_no, "already", held)
    if slip.amount_fen > held:
        raise Refused(
            f"the till of {lot.code} holds {held} fen, not {slip.amount_fen}; post the cash takings first, then the slip",
            code="till_exceeded",
        )
    message = messages.from_lot(operation="cash_slip", body=body, at=at, ids=ids, occasion=f"{lot.code} {slip.slip_no}")
    messages.keep(tx, lane=lane, messages=[message])
    row = SlipRow(
        slip_id=ids.new(at, f"slip {lot.operator_id} {slip.slip_no}"), lot_id=lot.lot_id, amount_fen=slip.amount_fen,
        banked_at=slip.banked_at, bank=slip.bank,
    )  # fmt: skip
    taking_store.insert_slip(tx, lane=lane, lot=lot, slip_no=slip.slip_no, row=row, evidence_id=message.message_id, at=at)
    entry = recipes.cash_banked(
        slip_id=row.slip_id, book_id=taking_store.book_of(tx, operator_id=lot.operator_id), amount_fen=slip.amount_fen,
        happened_at=slip.banked_at, booked_on=business_date(at), evidence_id=message.message_id,
    )  # fmt: skip
    book.post(tx, lane=lane, entries=[entry], at=at)
    return SlipAnswer(slip.slip_no, "created", held - slip.amount_fen)


def till(tx: Connection, *, lane: int, lot: Lot, first: date, last: date) -> Till:
    """Return what a lot's till holds now, and its days from first to last (China) on which something moved.

    Raises:
        Refused: ``date_invalid``.
    """
    if not 0 <= (last - first).days < DAYS_MAX:
        raise Refused(f"first comes before last, and at most {DAYS_MAX} days are read at once", code="date_invalid")
    return Till(
        taking_store.in_till(tx, lane=lane, lot_id=lot.lot_id),
        taking_store.till_days(tx, lane=lane, lot_id=lot.lot_id, first=first, last=last),
    )


def _refused(serial: str, wrong: Rejected) -> TakingAnswer:
    return TakingAnswer(serial=serial, outcome="refused", reason=wrong.code, field=wrong.field, detail=str(wrong))


def _checked(place: int, posted: NewTaking, at: datetime) -> _Good:
    """Return a taking in the form in which it is kept. Raises Rejected for one that cannot be true."""
    intake.check_name(posted.serial, posted.number)
    intake.check_time("taken_at", posted.taken_at, at)
    if not 0 < posted.amount_fen <= TAKING_FEN_MAX:
        raise Rejected("amount_fen", "amount_invalid", f"a taking is 1 to {TAKING_FEN_MAX} fen, not {posted.amount_fen}")
    intake.check_words("evidence_text", posted.evidence_text, REMARK_LETTERS_MAX)
    digest = intake.digest("evidence_digest", posted.evidence_digest)
    if posted.evidence_text is None and digest is None:
        raise Rejected(
            "evidence_text", "evidence_missing", "say what proves it: the number of its slip, or the digest of a picture"
        )
    plate = None if posted.plate is None else (intake.plate(posted.plate, posted.plate_color), posted.plate_color)
    return _Good(place, posted, plate, digest)


def _check_slip(slip: NewSlip, at: datetime) -> None:
    """Raise Refused (``slip_invalid``) for a slip that cannot be."""
    try:
        intake.check_name(slip.slip_no, None)
        intake.check_time("banked_at", slip.banked_at, at)
        intake.check_words("bank", slip.bank, REMARK_LETTERS_MAX)
    except Rejected as wrong:
        raise Refused(str(wrong), code="slip_invalid") from None
    if not 0 < slip.amount_fen <= SLIP_FEN_MAX:
        raise Refused(f"a slip is 1 to {SLIP_FEN_MAX} fen, not {slip.amount_fen}", code="slip_invalid")


class _Work:
    """One call: what is kept read set by set, decided about taking by taking, written and applied set by set."""

    def __init__(
        self, tx: Connection, *, lane: int, lot: Lot, good: list[_Good], message: RawMessage, at: datetime, ids: Ids, tokens: Tokens
    ) -> None:
        self._tx, self._lane, self._lot, self._good = tx, lane, lot, good
        self._message, self._at, self._ids, self._tokens = message, at, ids, tokens
        intake.hold(tx, lot_id=lot.lot_id)
        serials = sorted({one.posted.serial for one in good})
        self._known = taking_store.by_serial(tx, lane=lane, lot_id=lot.lot_id, serials=serials)
        charges = sorted({one.posted.charge_serial for one in good if one.posted.charge_serial is not None})
        self._owed: dict[str, Owed] = taking_store.owed(tx, lane=lane, lot_id=lot.lot_id, serials=charges) if charges else {}
        self._plates = intake.plate_keys(tx, sorted({one.plate for one in good if one.plate is not None}))
        self._numbers = numbers.claimed(
            tx, lot_id=lot.lot_id, series=taking_store.SERIES, numbers=[one.posted.number for one in good]
        )
        self._made: list[TakingRow] = []
        self._paying: list[tuple[Paying, NewTaking]] = []

    def carry_out(self, answers: list[TakingAnswer | None]) -> None:
        """Decide about each taking in order, write and apply what follows, and put the answers into their places."""
        decided: list[tuple[_Good, Literal["created", "already"]]] = []
        for one in self._good:
            try:
                decided.append((one, self._decide(one)))
            except Rejected as wrong:
                answers[one.place] = _refused(one.posted.serial, wrong)
        self._write()
        serials = sorted({one.posted.serial for one, _ in decided})
        treated = taking_store.treatments(self._tx, lane=self._lane, lot_id=self._lot.lot_id, serials=serials) if serials else {}
        for one, outcome in decided:
            serial = one.posted.serial
            payment_id = self._known[serial].payment_id
            answers[one.place] = TakingAnswer(
                serial=serial, outcome=outcome, receipt=None if payment_id is None else payment_number(self._lane, payment_id),
                treatment="taken_elsewhere" if payment_id is None else treated.get(serial),
            )  # fmt: skip

    def _decide(self, one: _Good) -> Literal["created", "already"]:
        posted = one.posted
        plate_id = None if one.plate is None else self._plates[one.plate][0]
        if (known := self._known.get(posted.serial)) is not None:
            self._check_same(one, known, plate_id)
            self._numbers.check(posted.number, known.taking_id)
            return "already"
        self._numbers.check(posted.number, None)
        owed = None if posted.charge_serial is None else self._owed.get(posted.charge_serial)
        if posted.charge_serial is not None and owed is None:
            raise Rejected(
                "charge_serial", "charge_unknown", "post the charge first; or leave its serial out if no charge was ever posted"
            )
        taking_id = self._ids.new(self._at, f"taking {self._lot.lot_id} {posted.serial}")
        payment_id = None if owed is None else self._pay(one, owed)
        row = TakingRow(
            taking_id=taking_id, lot_serial=posted.serial, channel=posted.channel, amount_fen=posted.amount_fen,
            taken_at=posted.taken_at, charge_id=None if owed is None else owed.charge_id, payment_id=payment_id, plate_id=plate_id,
            evidence_text=posted.evidence_text, evidence_digest=one.evidence_digest, charge_serial=posted.charge_serial,
        )  # fmt: skip
        self._numbers.take(posted.number, taking_id)
        self._known[posted.serial] = row
        self._made.append(row)
        return "created"

    def _pay(self, one: _Good, owed: Owed) -> UUID:
        """Make the payment of a taking.

        It was ordered for what was taken, unless the car is still to leave and something else is due of it: then it was ordered for
        that, so that the money lies in suspense and a person decides. Of a debt a part can be paid.
        """
        posted = one.posted
        name = f"{self._lot.lot_id} {posted.serial}"
        fits = owed.is_receivable or owed.owed_fen in (0, posted.amount_fen)
        order_id = self._ids.new(self._at, f"order of taking {name}")
        paying = Paying(
            payment_id=self._ids.new(self._at, f"payment of taking {name}"), order_id=order_id, charge_id=owed.charge_id,
            channel=posted.channel, ordered_fen=posted.amount_fen if fits else owed.owed_fen,
            token_digest=orders.digest_of(self._tokens.new(f"taking {name}")), payer_digest=orders.payer_digest(order_id, name),
        )  # fmt: skip
        self._paying.append((paying, posted))
        return paying.payment_id

    def _check_same(self, one: _Good, known: TakingRow, plate_id: int | None) -> None:
        """Raise Rejected when a serial comes with other content."""
        posted = one.posted
        said = (
            posted.channel,
            posted.charge_serial,
            posted.amount_fen,
            posted.taken_at,
            posted.evidence_text,
            one.evidence_digest,
            plate_id,
        )
        kept = (
            known.channel, known.charge_serial, known.amount_fen, known.taken_at, known.evidence_text, known.evidence_digest,
            known.plate_id,
        )  # fmt: skip
        for field, new, old in zip(_CONTENT, said, kept, strict=True):
            if new != old:
                raise differs(posted.serial, field)

    def _write(self) -> None:
        if not self._made:
            return
        taking_store.insert(
            self._tx, lane=self._lane, lot=self._lot, rows=self._made, evidence_id=self._message.message_id, at=self._at
        )
        intake.write(
            self._tx,
            numbers.registering(lot_id=self._lot.lot_id, series=taking_store.SERIES, taken=self._numbers.taken, at=self._at),
        )
        if self._paying:
            taking_store.insert_payments(
                self._tx, lane=self._lane, lot=self._lot, rows=[one for one, _ in self._paying], at=self._at
            )
            notices = [
                Notice(self._message, self._result(paying, posted), "query", again=bool(place))
                for place, (paying, posted) in enumerate(self._paying)
            ]
            results.apply(self._tx, lane=self._lane, notices=notices, at=self._at, ids=self._ids)
        else:
            messages.keep(self._tx, lane=self._lane, messages=[self._message])
        self._book_others()

    def _result(self, paying: Paying, posted: NewTaking) -> Result:
        """Return what the lot says of a payment, as a channel's answer would: nobody else could be asked."""
        return Result(
            channel=posted.channel, state=ChannelState.SUCCEEDED, order_no=payment_number(self._lane, paying.payment_id),
            provider_no="", merchant_no=self._lot.operator_code, trade_no=f"{self._lot.code}/{posted.serial}",
            amount_fen=posted.amount_fen, currency=CURRENCY, happened_at=posted.taken_at,
        )  # fmt: skip

    def _book_others(self) -> None:
        """Book what pays no charge: earned as it is taken."""
        others = [row for row in self._made if row.payment_id is None]
        if not others:
            return
        book_id = taking_store.book_of(self._tx, operator_id=self._lot.operator_id)
        entries = [
            recipes.taken_elsewhere(
                taking_id=row.taking_id, book_id=book_id, channel=row.channel, amount_fen=row.amount_fen, happened_at=row.taken_at,
                booked_on=business_date(self._at), evidence_id=self._message.message_id,
            )
            for row in others
        ]  # fmt: skip
        book.post(self._tx, lane=self._lane, entries=entries, at=self._at)


_CONTENT: Final = ("channel", "charge_serial", "amount_fen", "taken_at", "evidence_text", "evidence_digest", "plate")
