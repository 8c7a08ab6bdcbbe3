"""The clearing party's counter for packages of card charges: booking, disputes, bad debts, clearing days.

Knows the rules and the state; must not know a wire: what it tells goes out as notices of the package's own wire.
Called by the stand-in's services, its TCP side and control routes. Source: docs/ETC.md, sections 6 to 8.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Final, Literal, cast

import msgspec
from msgspec import Struct

from gateways.etc import clearing, services, tac
from gateways.etc.clearing import (
    BookingResult,
    ClearingStatistics,
    DisputedCharge,
    DisputeResult,
    MerchantShare,
    Package,
    SettledCharge,
    SettledPackage,
    Totals,
)
from gateways.etc.codes import BookingReason, DisputeOutcome, Receipt
from gateways.etc.recon import channel_fee_fen
from gateways.etc.record import TransactionRecord
from gateways.etc.services import Service
from gateways.sandbox.chance import digits
from gateways.sandbox.etc.desk import Desk, Going, instant
from gateways.sandbox.etc.shapes import ClearedOut, PackageOut, SettledOut, SettleIn
from gateways.sandbox.etc.state import Dispute, DisputeFile, Kept
from gateways.sandbox.stand_in import HandRefused
from ledger.clock import business_date

Wire = Literal["https", "tcp"]
FILES_A_DAY_MAX: Final = 10
_WIRES: Final[tuple[Wire, ...]] = ("https", "tcp")


class CardCharge(Struct, frozen=True):
    """A booked charge by card. ``cleared``: its clearing day is over, or its dispute was released and cleared."""

    charge_id: str
    lot_no: str
    fee_fen: int
    cleared: bool


class Packages:
    """The counter beside a desk. One thread at a time."""

    def __init__(self, desk: Desk, *, tac_key: bytes | None = None) -> None:
        """``tac_key``: every card's key, so that TACs can be checked; None: every TAC holds."""
        self._desk, self._store, self._tac_key = desk, desk.store, tac_key

    # Receipt and booking

    def receive(self, package: Package, *, wire: Wire) -> tuple[Receipt, date | None]:
        """Take a package and decide what is disputed; its booking result is put on the way. Returns the true clearing date."""
        if self._store.package(package.message_no) is not None:
            return Receipt.REPEATED, None
        behaviour = self._store.behaviour()
        clear_on = self._open_day(package.clear_on + timedelta(days=1 if behaviour.move_clear_date else 0))
        for dispute in self._disputed(package, behaviour.dispute):
            self._store.add_dispute(dispute)
        self._store.add_package(Kept(package, clear_on, wire, self._desk.now(), None))
        if behaviour.dispute:
            self._store.set_behaviour(msgspec.structs.replace(behaviour, dispute=()))
        if not behaviour.hold_booking:
            self._put_booking(package.message_no, wire, "")
            if behaviour.booking_twice:
                self._put_booking(package.message_no, wire, "again")
        return Receipt.ACCEPTED, clear_on

    def _disputed(self, package: Package, wanted: Sequence[BookingReason]) -> Iterable[Dispute]:
        seen = {record.charge_id for kept in self._store.packages() for record in kept.package.records}
        for trans_no, record in enumerate(package.records, 1):
            reason = wanted[trans_no - 1] if trans_no <= len(wanted) else self._objection(record, seen)
            if reason is not None:
                yield Dispute(package.message_no, trans_no, record.fee_fen, int(reason))

    def _objection(self, record: TransactionRecord, seen: set[str]) -> BookingReason | None:
        if record.charge_id in seen:
            return BookingReason.REPEATED
        if record.fee_fen > self._desk.config.cap_fen:
            return BookingReason.OVER_LIMIT
        if self._tac_key is not None and record.fee_fen and tac.tac_of(record, self._tac_key) != record.tac.upper():
            return BookingReason.VERIFICATION_FAILED
        return None

    def book(self, message_no: str) -> None:
        """Tell a package's booking result (again), at once. Raises HandRefused."""
        kept = self._store.package(message_no)
        if kept is None:
            raise HandRefused(f"there is no package {message_no}")
        self._put_booking(message_no, cast("Wire", kept.wire), f"asked {self._store.next_number('asked')}", at_once=True)

    def book_all(self, wire: Wire) -> None:
        """Tell the booking results of all packages of a wire that are not cleared, at once: somebody asked to have them again."""
        for kept in self._store.packages(uncleared=True):
            if kept.wire == wire:
                self.book(kept.package.message_no)

    def _put_booking(self, message_no: str, wire: Wire, mark: str, *, at_once: bool = False) -> None:
        result = self.booking(message_no)
        if mark == "again":
            result = msgspec.structs.replace(result, amount_fen=result.amount_fen + 1)
        due_at = self._desk.now() if at_once else self._desk.after(self._desk.config.booking_seconds)
        going = Going(Service.ACCOUNT_RESULT, body=services.builtins_of(result), wire=wire)
        self._desk.put_notice(going, f"booking {message_no} {mark}", message_no, due_at)

    def booking(self, message_no: str) -> BookingResult:
        """Return the booking result of a package that is here."""
        kept = self._store.package(message_no)
        assert kept is not None, "asked for packages that are here"
        package, disputes = kept.package, self._store.disputes(message_no)
        disputed_fen = sum(one.fee_fen for one in disputes)
        return BookingResult(
            service_provider_no=package.service_provider_no,
            issuer_no=package.issuer_no,
            message_no=message_no,
            processed_at=instant(self._desk.now() // 1_000_000 * 1_000_000),
            count=len(package.records),
            amount_fen=package.amount_fen - disputed_fen,
            confirmed_count=len(package.records) - len(disputes),
            disputed_count=len(disputes),
            disputed=tuple(DisputedCharge(one.trans_no, BookingReason(one.reason)) for one in disputes),
        )

    # Disputes

    def settle(self, wanted: SettleIn) -> SettledOut:
        """Settle disputes into one file and put it on the way; nothing open: no file. Raises HandRefused."""
        chosen = [one for one in self._store.all_disputes() if _chosen(one, wanted)]
        if not chosen:
            return SettledOut(None, 0, 0)
        file_no = self._file_no()
        result = self._file(file_no, chosen, wanted.outcome)
        released = [one for one in chosen if wanted.outcome is DisputeOutcome.RELEASED]
        self._store.add_dispute_file(
            DisputeFile(file_no, msgspec.msgpack.encode(result), len(released), sum(one.fee_fen for one in released))
        )
        for one in chosen:
            if one.outcome is None:
                self._store.settle(one.message_no, one.trans_no, outcome=int(wanted.outcome), file_no=file_no)
        going = Going(Service.DISPUTE_RESULT, body=services.builtins_of(result), wire=self._wire(chosen[0].message_no))
        self._desk.put_notice(going, f"dispute {file_no}", file_no, self._desk.now())
        return SettledOut(file_no, result.count, result.amount_fen)

    def _wire(self, message_no: str) -> Wire:
        kept = self._store.package(message_no)
        return "https" if kept is None else cast("Wire", kept.wire)

    def _file_no(self) -> str:
        day = f"{business_date(self._desk.around.clock.now()):%Y%m%d}"
        for suffix in ("", *map(str, range(1, FILES_A_DAY_MAX))):
            if self._store.dispute_file(day + suffix) is None:
                return day + suffix
        raise HandRefused("a day has ten dispute files at most")

    def _file(self, file_no: str, chosen: Sequence[Dispute], outcome: DisputeOutcome) -> DisputeResult:
        parts = []
        for message_no in sorted({one.message_no for one in chosen}):
            charges = [one for one in chosen if one.message_no == message_no]
            amount_fen = sum(one.fee_fen for one in charges) if outcome is DisputeOutcome.RELEASED else 0
            settled = tuple(SettledCharge(one.trans_no, outcome) for one in charges)
            parts.append(SettledPackage(message_no, len(charges), amount_fen, settled))
        kept = self._store.package(chosen[0].message_no)
        assert kept is not None, "a dispute belongs to a package"
        return DisputeResult(
            file_no=file_no,
            processed_at=instant(self._desk.now() // 1_000_000 * 1_000_000),
            count=len(chosen),
            amount_fen=sum(part.amount_fen for part in parts),
            packages=tuple(parts),
            clearing_operator_no=kept.package.service_provider_no,
            service_provider_no=kept.package.service_provider_no,
            issuer_no=kept.package.issuer_no,
        )

    # Clearing

    def clear_due(self) -> None:
        """Clear the days that are over."""
        today = business_date(self._desk.around.clock.now())
        days = {kept.clear_on for kept in self._store.packages(uncleared=True)}
        days |= {self._open_day(date.fromisoformat(file.file_no[:8])) for file in self._store.uncleared_files()}
        for clear_on in sorted(day for day in days if day < today):
            self.clear(clear_on)

    def _open_day(self, wanted: date) -> date:
        """Return the first day from ``wanted`` on that was not cleared: what was, is final."""
        while self._store.clearing_day(wanted) is not None:
            wanted += timedelta(days=1)
        return wanted

    def clear(self, clear_on: date) -> ClearedOut:
        """Make a day's clearing statistics: the packages of that date, and the dispute files not yet cleared. Final.

        Raises HandRefused: the day is cleared already, or there is nothing.
        """
        if self._store.clearing_day(clear_on) is not None:
            raise HandRefused(f"{clear_on} is cleared already: statistics are final")
        told = [out for wire in _WIRES if (out := self._clear(clear_on, wire)) is not None]
        if not told:
            raise HandRefused(f"there is nothing to clear on {clear_on}")
        cleared = ClearedOut(
            clear_on=clear_on,
            count=sum(one.count for one in told),
            amount_fen=sum(one.amount_fen for one in told),
            message_nos=tuple(no for one in told for no in one.message_nos),
            file_nos=tuple(no for one in told for no in one.file_nos),
        )
        self._store.add_clearing_day(clear_on, msgspec.json.encode(cleared))
        return cleared

    def _clear(self, clear_on: date, wire: Wire) -> ClearingStatistics | None:
        kept = [one for one in self._store.packages(clear_on=clear_on, uncleared=True) if one.wire == wire]
        files = [file for file in self._store.uncleared_files() if self._wire(_first_package(file)) == wire]
        if not kept and not files:
            return None
        for one in kept:
            self._store.set_cleared(one.package.message_no, clear_on)
        for file in files:
            self._store.set_file_cleared(file.file_no, clear_on)
        statistics = self._statistics(clear_on, kept, files)
        going = Going(Service.CLEAR_STAT, body=services.builtins_of(statistics), wire=wire)
        self._desk.put_notice(going, f"clear {clear_on} {wire}", f"clear {clear_on}", self._desk.now())
        return statistics

    def _statistics(self, clear_on: date, kept: Sequence[Kept], files: Sequence[DisputeFile]) -> ClearingStatistics:
        behaviour, parts = self._store.behaviour(), [self._booked(one) for one in kept]
        count = sum(part.count for part in parts) + sum(file.count for file in files) + behaviour.clearing_off_count
        amount_fen = sum(part.amount_fen for part in parts) + sum(file.amount_fen for file in files) + behaviour.clearing_off_fen
        shares = self._shares(clear_on, kept, files)
        if shares:
            first = shares[0]
            shares[0] = msgspec.structs.replace(
                first,
                count=first.count + behaviour.clearing_off_count,
                amount_fen=first.amount_fen + behaviour.clearing_off_fen,
                net_fen=first.net_fen + behaviour.clearing_off_fen,
            )
        fee_fen = sum(share.fee_fen for share in shares)
        return ClearingStatistics(
            clear_on=clear_on,
            count=count,
            amount_fen=amount_fen,
            message_nos=tuple(one.package.message_no for one in kept),
            file_nos=tuple(file.file_no for file in files),
            processed_at=instant(self._desk.now() // 1_000_000 * 1_000_000),
            service_provider_no=self._provider_no(kept, files),
            fee_fen=fee_fen,
            net_fen=amount_fen - fee_fen,
            shares=tuple(shares),
        )

    def _provider_no(self, kept: Sequence[Kept], files: Sequence[DisputeFile]) -> str | None:
        if kept:
            return kept[0].package.service_provider_no
        return _result(files[0]).service_provider_no

    def _booked(self, kept: Kept) -> Totals:
        return clearing.booked(kept.package, self.booking(kept.package.message_no))

    def _shares(self, clear_on: date, kept: Sequence[Kept], files: Sequence[DisputeFile]) -> list[MerchantShare]:
        fees: dict[str, list[int]] = {}
        for record in [*self._confirmed(kept), *self.released(files)]:
            fees.setdefault(self._store.merchant_of(record.lot_no), []).append(record.fee_fen)
        shares = []
        for merchant_no, amounts in sorted(fees.items()):
            fee_fen = sum(channel_fee_fen(amount, self._desk.around.fee_bps) for amount in amounts)
            shares.append(
                MerchantShare(
                    merchant_no=merchant_no,
                    count=len(amounts),
                    amount_fen=sum(amounts),
                    fee_fen=fee_fen,
                    net_fen=sum(amounts) - fee_fen,
                    pay_on=clear_on + timedelta(days=2),
                    bank_ref="B" + digits(16, self._store.seed, "bank", clear_on, merchant_no),
                )
            )
        return shares

    def _confirmed(self, kept: Sequence[Kept]) -> list[TransactionRecord]:
        found = []
        for one in kept:
            disputed = {dispute.trans_no for dispute in self._store.disputes(one.package.message_no)}
            found += [record for trans_no, record in enumerate(one.package.records, 1) if trans_no not in disputed]
        return found

    def released(self, files: Sequence[DisputeFile]) -> list[TransactionRecord]:
        """Return the charges that dispute files released."""
        found = []
        for file in files:
            for part in _result(file).packages:
                kept = self._store.package(part.message_no)
                assert kept is not None, "a dispute belongs to a package"
                found += [
                    kept.package.records[charge.trans_no - 1]
                    for charge in part.charges
                    if charge.outcome is DisputeOutcome.RELEASED
                ]
        return found

    # Looking

    def listed(self) -> list[PackageOut]:
        """Return all packages as the control routes show them."""
        found = []
        for kept in self._store.packages():
            disputes = self._store.disputes(kept.package.message_no)
            found.append(
                PackageOut(
                    message_no=kept.package.message_no,
                    clear_on=kept.clear_on,
                    count=len(kept.package.records),
                    amount_fen=kept.package.amount_fen,
                    disputed=len(disputes),
                    settled=sum(one.outcome is not None for one in disputes),
                    cleared=kept.cleared_on is not None,
                )
            )
        return found

    def charge(self, charge_id: str) -> CardCharge | None:
        """Return a charge by card that the issuer pays, or None."""
        for kept in self._store.packages():
            disputes = {one.trans_no: one for one in self._store.disputes(kept.package.message_no)}
            for trans_no, record in enumerate(kept.package.records, 1):
                dispute = disputes.get(trans_no)
                if record.charge_id == charge_id and (dispute is None or dispute.outcome == DisputeOutcome.RELEASED):
                    return CardCharge(charge_id, record.lot_no, record.fee_fen, kept.cleared_on is not None)
        return None


def _chosen(dispute: Dispute, wanted: SettleIn) -> bool:
    if wanted.message_no not in (None, dispute.message_no) or wanted.trans_no not in (None, dispute.trans_no):
        return False
    return wanted.again or dispute.outcome is None


def _result(file: DisputeFile) -> DisputeResult:
    return msgspec.msgpack.decode(file.content, type=DisputeResult)


def _first_package(file: DisputeFile) -> str:
    return _result(file).packages[0].message_no
