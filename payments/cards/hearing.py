"""What the clearing party says of packages: booking results, ends of disputes, clearing statistics. Checked whole, then written.

Knows packages, records and their rules; must not know a wire, nor how payments are booked: it returns a result for each payment,
and the applier carries those out in the same transaction. Called by the applier alone. Source: docs/ETC.md, sections 6, 7 and 9.

Each word is taken whole or not at all, and once: the same again is acknowledged and changes nothing, another one is refused.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from gateways.contract import ChannelState, RawMessage, Result
from gateways.etc import clearing
from gateways.etc.clearing import BookingResult, ClearingStatistics, DisputeResult, Totals
from gateways.etc.codes import DisputeOutcome
from ledger.ids import Ids, payment_number
from payments import events, store
from payments.cards import store as cards
from payments.cards.packages import package_of
from payments.cards.records import CHANNEL, CardRow, Finding, Heard, PackageRow
from payments.owed import debt_store
from payments.store import NewCase

_CASES: Final = {
    Finding.PACKAGE_UNKNOWN: "booking_refused",
    Finding.BOOKING_REFUSED: "booking_refused",
    Finding.DISPUTE_REFUSED: "dispute_refused",
    Finding.CLEARING_DISAGREES: "clearing_disagrees",
}


def hear(
    tx: Connection, *, lane: int, told: Struct, message: RawMessage, at: datetime, ids: Ids
) -> Heard:  # fmt: skip
    """Take one word of the clearing party; the caller carries out the results and acknowledges, or refuses with the finding.

    Locks the packages that it names, in the order of their ids, before the caller locks payments. A word that does not fit opens a
    case.
    """
    work = _Hearing(tx, lane, message, at, ids)
    if isinstance(told, BookingResult):
        return work.booking(told)
    if isinstance(told, DisputeResult):
        return work.disputes(told)
    assert isinstance(told, ClearingStatistics), "an adapter tells one of these three"
    return work.clearing(told)


class _Hearing:
    """One word, within the applier's transaction."""

    def __init__(self, tx: Connection, lane: int, message: RawMessage, at: datetime, ids: Ids) -> None:
        self._tx, self._lane, self._message = tx, lane, message
        self._at, self._ids = at, ids

    def booking(self, told: BookingResult) -> Heard:
        """A package's one booking result: what it does not dispute is paid by the issuer."""
        row = cards.lock_packages(self._tx, lane=self._lane, numbers=[told.message_no]).get(told.message_no)
        if row is None or row.state in ("packed", "rejected"):
            return self._refused(Finding.PACKAGE_UNKNOWN, told.message_no, f"package {told.message_no} was not sent")
        members = cards.cards_of(self._tx, lane=self._lane, package_id=row.package_id)
        if row.state == "booked":
            if _is_same(told, row, members):
                return Heard(Finding.CLEARING_ALREADY)
            return self._refused(
                Finding.BOOKING_REFUSED, told.message_no, f"package {told.message_no} was booked otherwise before"
            )  # fmt: skip
        if objection := clearing.booking_objection(package_of(row, members), told):
            return self._refused(Finding.BOOKING_REFUSED, told.message_no, objection.reason)
        reasons = {one.trans_no: int(one.reason) for one in told.disputed}
        cards.book_package(
            self._tx, lane=self._lane, package_id=row.package_id, booked=Totals(told.confirmed_count, told.amount_fen),
            reasons=reasons, evidence=self._message.message_id,
        )  # fmt: skip
        paid = [member for member in members if member.place not in reasons]
        return Heard(Finding.BOOKED, self._results(paid, ChannelState.SUCCEEDED))

    def disputes(self, told: DisputeResult) -> Heard:
        """A dispute file: each dispute ends once, in full or not at all."""
        digest = _digest(told)
        known = cards.file_digest(self._tx, lane=self._lane, file_no=told.file_no)
        if known is not None:
            same = known == digest
            words = f"dispute file {told.file_no} came before with other content"
            return Heard(Finding.CLEARING_ALREADY) if same else self._refused(Finding.DISPUTE_REFUSED, told.file_no, words)
        numbers = [part.message_no for part in told.packages]
        cards.lock_packages(self._tx, lane=self._lane, numbers=numbers)
        waiting = cards.disputed(self._tx, lane=self._lane, numbers=numbers)
        if objection := clearing.dispute_objection(told, {place: card.fee_fen for place, card in waiting.items()}):
            return self._refused(Finding.DISPUTE_REFUSED, told.file_no, objection.reason)
        ended = [(waiting[part.message_no, one.trans_no], one.outcome) for part in told.packages for one in part.charges]
        released = [card for card, outcome in ended if outcome is DisputeOutcome.RELEASED]
        bad = [card for card, outcome in ended if outcome is not DisputeOutcome.RELEASED]
        states = {card.record_id: "released" for card in released} | {card.record_id: "bad" for card in bad}
        cards.insert_file(
            self._tx, lane=self._lane, file_no=told.file_no, digest=digest, released=_totals(released), bad=_totals(bad),
            evidence=self._message.message_id, at=self._at,
        )  # fmt: skip
        cards.settle_disputes(self._tx, lane=self._lane, states=states, file_no=told.file_no)
        self._tell_lots(bad)
        debt_store.begin_anew(self._tx, lane=self._lane, charge_ids=[one.charge_id for one in bad if one.charge_id], at=self._at)
        results = self._results(released, ChannelState.SUCCEEDED) + self._results(bad, ChannelState.FAILED)
        return Heard(Finding.SETTLED_DISPUTES, results)

    def clearing(self, told: ClearingStatistics) -> Heard:
        """A date's statistics: final, and only taken when they agree with what was booked and released, for each merchant."""
        digest, name = _digest(told), f"clearing {told.clear_on}"
        known = cards.clearing_digest(self._tx, lane=self._lane, clear_on=told.clear_on)
        if known is not None:
            words = f"{told.clear_on} was cleared before with other content: statistics are final"
            return (
                Heard(Finding.CLEARING_ALREADY) if known == digest else self._refused(Finding.CLEARING_DISAGREES, name, words)
            )  # fmt: skip
        packages = cards.lock_packages(self._tx, lane=self._lane, numbers=told.message_nos)
        files = cards.released_files(self._tx, lane=self._lane, file_nos=told.file_nos)
        objection = clearing.clearing_objection(told, booked_packages=_booked(packages.values()), released_files=files)
        differs = objection.reason if objection is not None else self._share_objection(told)
        if differs is not None:
            return self._refused(Finding.CLEARING_DISAGREES, name, differs)
        cards.clear(
            self._tx, lane=self._lane, clear_on=told.clear_on, digest=digest, totals=Totals(told.count, told.amount_fen),
            fee_fen=told.fee_fen, numbers=told.message_nos, file_nos=told.file_nos, shares=told.shares,
            evidence=self._message.message_id, at=self._at,
        )  # fmt: skip
        return Heard(Finding.CLEARED)

    def _share_objection(self, told: ClearingStatistics) -> str | None:
        """Say which merchant is paid for other records than its own, or None; a dialect without shares says nothing of it."""
        if not told.shares:
            return None
        ours = cards.merchants_of(self._tx, lane=self._lane, numbers=told.message_nos, file_nos=told.file_nos)
        theirs = {share.merchant_no: Totals(share.count, share.amount_fen) for share in told.shares}
        wrong = next((no for no in sorted(ours.keys() | theirs.keys()) if ours.get(no) != theirs.get(no)), None)
        return None if wrong is None else f"merchant {wrong} earned {ours.get(wrong)}, its share is {theirs.get(wrong)}"

    def _results(self, members: Iterable[CardRow], state: ChannelState) -> tuple[Result, ...]:
        """Return the channel's word about each payment; a stay that cost nothing has none."""
        return tuple(
            Result(
                channel=CHANNEL,
                state=state,
                order_no=payment_number(self._lane, member.record_id),
                provider_no=member.provider_no,
                merchant_no=member.merchant_no,
                trade_no=member.number,
                amount_fen=member.fee_fen,
                currency="CNY",
                happened_at=member.happened_at,
            )
            for member in members
            if member.charge_id is not None
        )

    def _tell_lots(self, bad: Sequence[CardRow]) -> None:
        """Tell lots which charges are due again, because an issuer will never pay them."""
        owed = [card for card in bad if card.charge_id is not None]
        found = store.charges_by_ids(self._tx, lane=self._lane, charge_ids=[card.charge_id for card in owed if card.charge_id])
        serials = {charge.charge_id: charge.lot_serial for charge in found}
        rows = []
        for card in owed:
            assert card.charge_id is not None, "only such are owed"
            event = events.PaymentEvent(
                kind="payment.failed", charge_serial=serials[card.charge_id], receipt=payment_number(self._lane, card.record_id),
                channel=CHANNEL, amount_fen=card.fee_fen, paid_at=card.happened_at, reason="bad_debt",
            )  # fmt: skip
            event_id = self._ids.new(self._at, f"payment.failed {card.number}")
            rows.append(
                events.NewEvent(
                    event_id, card.operator_id, card.lot_id, card.record_id, card.charge_id, event.kind, events.encode(event)
                )
            )  # fmt: skip
        events.write(self._tx, lane=self._lane, rows=rows)

    def _refused(self, finding: Finding, subject: str, words: str) -> Heard:
        case = NewCase(
            self._ids.new(self._at, f"case {_CASES[finding]} {subject}"), _CASES[finding], CHANNEL, subject, None, None, None,
            self._message.message_id, words,
        )  # fmt: skip
        store.open_cases(self._tx, lane=self._lane, cases=[case], at=self._at)
        return Heard(finding)


def _is_same(told: BookingResult, row: PackageRow, members: Sequence[CardRow]) -> bool:
    """Tell whether a booking result repeats the one that was taken; disputes may have ended since."""
    disputes = {one.trans_no: int(one.reason) for one in told.disputed}
    kept = {member.place: member.reason for member in members if member.reason is not None}
    return disputes == kept and (told.confirmed_count, told.amount_fen) == (row.booked_count, row.booked_fen)


def _booked(rows: Iterable[PackageRow]) -> dict[str, Totals]:
    """Return what was booked in packages that no statistics have listed."""
    return {
        row.number: Totals(row.booked_count, row.booked_fen)
        for row in rows
        if row.state == "booked" and row.cleared_on is None and row.booked_count is not None and row.booked_fen is not None
    }


def _totals(members: Sequence[CardRow]) -> Totals:
    return Totals(count=len(members), amount_fen=sum(member.fee_fen for member in members))


def _digest(told: DisputeResult | ClearingStatistics) -> bytes:
    """Return what tells a repeat from a change: all that is said but when it was written."""
    said = msgspec.to_builtins(told)
    del said["processTime"]
    return hashlib.sha256(msgspec.json.encode(said)).digest()
