"""Packages of charges and what comes back for them: booking, disputes, clearing, and the rules that join the three.

Knows the counts and sums that must agree; must not know a wire or the book. Read from both wires; called by the adapter.
Source: docs/ETC.md, sections 6 to 8. The names on the wire are those of WXETC-1; the XML names them alike.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Annotated, Final, TypeVar

from msgspec import Meta, Struct

from gateways.etc.codes import BookingReason, DisputeOutcome, Receipt, Rejection
from gateways.etc.record import CAP_FEN_DEFAULT, TransactionRecord, form_faults

PACKAGE_CHARGES_MAX: Final = 10_000
"""Charges in one package of the XML; under WXETC-1 an upload has at most ``UPLOAD_CHARGES_MAX``."""
UPLOAD_CHARGES_MAX: Final = 1_000
FEN_MAX: Final = 1_000_000_000_000
DISPUTE_AMOUNT_IS_RELEASED: Final = True
"""Whether the amount of a dispute result sums only what is released [?]; False: bad debts as well. Its count names every charge."""
BOOKING_COUNT_IS_WHOLE: Final = True
"""Whether the count of a booking result is that of the whole package [?]; False: that of the confirmed charges."""

_T = TypeVar("_T")

MessageNo = Annotated[str, Meta(pattern=r"^[0-9]{20}\Z")]
"""A message's number, always 20 digits here."""
PartyNo = Annotated[str, Meta(pattern=r"^(?:[0-9]{6}|[0-9A-F]{16})\Z")]
"""National id of a party, or its 16 hex; which of them the bodies carry is not fixed [?]."""
FileNo = Annotated[str, Meta(pattern=r"^[0-9]{8,9}\Z")]
"""Number of a dispute file: the clearing date, and a digit more when there are several a day."""
MerchantNo = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-]{1,32}\Z")]
Fen = Annotated[int, Meta(ge=0, le=FEN_MAX)]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
TransNo = Annotated[int, Meta(ge=1, le=PACKAGE_CHARGES_MAX)]
Instant = Annotated[datetime, Meta(tz=True)]


class Package(Struct, frozen=True, kw_only=True):
    """Original transactions 原始交易 of one issuer. A charge is named by the package's number and its place in it, from 1."""

    message_no: MessageNo
    clear_on: date
    """Clearing date that we aim at; the answer states the real one."""
    service_provider_no: PartyNo
    issuer_no: PartyNo
    records: tuple[TransactionRecord, ...]

    @property
    def amount_fen(self) -> int:
        """Sum of the charges' fees."""
        return sum(record.fee_fen for record in self.records)


class Totals(Struct, frozen=True):
    """A number of charges and what they sum to."""

    count: int
    amount_fen: int


class DisputedCharge(Struct, frozen=True, rename={"trans_no": "transId", "reason": "result"}):
    """A charge that the issuer does not pay for now, and why."""

    trans_no: TransNo
    reason: BookingReason


class BookingResult(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "service_provider_no": "serviceProviderId",
        "issuer_no": "issuerId",
        "message_no": "messageId",
        "processed_at": "processTime",
        "amount_fen": "amount",
        "confirmed_count": "accountCount",
        "disputed_count": "disputedCount",
        "disputed": "disputedRecord",
    },
):
    """What the issuer made of one package 记账结果. Charges not named as disputed are confirmed as payable."""

    service_provider_no: PartyNo
    issuer_no: PartyNo
    message_no: MessageNo
    processed_at: Instant
    count: Count
    amount_fen: Fen
    """Sum of the confirmed charges."""
    confirmed_count: Count
    disputed_count: Count
    disputed: tuple[DisputedCharge, ...] = ()


class SettledCharge(Struct, frozen=True, rename={"trans_no": "transId", "outcome": "result"}):
    """How the dispute of one charge ended."""

    trans_no: TransNo
    outcome: DisputeOutcome


class SettledPackage(Struct, frozen=True, rename={"message_no": "messageId", "amount_fen": "amount", "charges": "transactions"}):
    """The settled charges of one package within a dispute file."""

    message_no: MessageNo
    count: Count
    amount_fen: Fen
    charges: tuple[SettledCharge, ...]


class DisputeResult(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "file_no": "fileId",
        "processed_at": "processTime",
        "amount_fen": "amount",
        "packages": "messageList",
        "clearing_operator_no": "clearingOperatorId",
        "service_provider_no": "serviceProviderId",
        "issuer_no": "issuerId",
    },
):
    """A dispute file 争议处理结果. Never a part payment; a package's disputes may come in several files."""

    file_no: FileNo
    processed_at: Instant
    count: Count
    amount_fen: Fen
    packages: tuple[SettledPackage, ...] = ()
    clearing_operator_no: PartyNo | None = None
    service_provider_no: PartyNo | None = None
    issuer_no: PartyNo | None = None


class MerchantShare(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "merchant_no": "merchantNo",
        "amount_fen": "amount",
        "fee_fen": "fee",
        "net_fen": "net",
        "pay_on": "payDate",
        "bank_ref": "bankRef",
    },
):
    """What one operator is paid for a clearing date, into its own account."""

    merchant_no: MerchantNo
    count: Count
    amount_fen: Fen
    fee_fen: Fen
    net_fen: int
    pay_on: date
    bank_ref: Annotated[str, Meta(max_length=64)] = ""


class ClearingStatistics(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "clear_on": "clearTargetDate",
        "amount_fen": "amount",
        "message_nos": "messageIds",
        "file_nos": "fileIds",
        "processed_at": "processTime",
        "service_provider_no": "serviceProviderId",
        "fee_fen": "channelFee",
        "net_fen": "netAmount",
        "shares": "perMerchant",
    },
):
    """Clearing statistics 清分统计 of one date: final, money follows them. Fees and shares come with WXETC-1 only."""

    clear_on: date
    count: Count
    amount_fen: Fen
    message_nos: tuple[MessageNo, ...]
    file_nos: tuple[FileNo, ...]
    processed_at: Instant | None = None
    service_provider_no: PartyNo | None = None
    fee_fen: Fen | None = None
    net_fen: int | None = None
    shares: tuple[MerchantShare, ...] = ()


def package_objection(package: Package, *, charges_max: int, cap_fen: int = CAP_FEN_DEFAULT) -> str | None:
    """Return why a package cannot be taken, or None: empty or too many, other issuers, repeats, forms, fees, balances."""
    if not 0 < len(package.records) <= charges_max:
        return f"a package has 1 to {charges_max} charges, not {len(package.records)}"
    if twice := _repeated(record.charge_id for record in package.records):
        return f"charge {twice} stands twice"
    for trans_no, record in enumerate(package.records, 1):
        if faults := form_faults(record):
            return f"charge {trans_no}: {', '.join(faults)}"
        if record.issuer_no != package.issuer_no:
            return f"charge {trans_no} is issuer {record.issuer_no}'s, not {package.issuer_no}'s"
        if not 0 <= record.fee_fen <= cap_fen:
            return f"charge {trans_no}: a fee of {record.fee_fen} fen is not between 0 and {cap_fen}"
        if record.pre_balance_fen - record.post_balance_fen != record.fee_fen:
            return f"charge {trans_no}: the balances do not differ by the fee"
    return None


def totals_objection(package: Package, *, count: int, amount_fen: int) -> str | None:
    """Return how the stated totals of a package differ from its charges, or None."""
    if (count, amount_fen) == (len(package.records), package.amount_fen):
        return None
    return f"stated are {count} charges of {amount_fen} fen, there are {len(package.records)} of {package.amount_fen}"


def booking_form_objection(result: BookingResult) -> str | None:
    """Return why a booking result contradicts itself, or None."""
    if twice := _repeated(charge.trans_no for charge in result.disputed):
        return f"charge {twice} is disputed twice"
    if result.disputed_count != len(result.disputed):
        return f"stated are {result.disputed_count} disputes, there are {len(result.disputed)}"
    whole = result.confirmed_count + (result.disputed_count if BOOKING_COUNT_IS_WHOLE else 0)
    if result.count != whole:
        return f"{result.confirmed_count} confirmed and {result.disputed_count} disputed charges are not {result.count}"
    return None


def booked(package: Package, result: BookingResult) -> Totals:
    """Return the confirmed charges of a package: all that are not named as disputed."""
    disputed = {charge.trans_no for charge in result.disputed}
    fees = [record.fee_fen for trans_no, record in enumerate(package.records, 1) if trans_no not in disputed]
    return Totals(count=len(fees), amount_fen=sum(fees))


def booking_objection(package: Package, result: BookingResult) -> Rejection | None:
    """Return why a booking result does not fit its package, or None. Each package has exactly one; the caller refuses a second."""
    if result.message_no != package.message_no or result.issuer_no != package.issuer_no:
        return Rejection(Receipt.CONTENT_WRONG, f"the result is of package {result.message_no}, not {package.message_no}")
    if wrong := booking_form_objection(result):
        return Rejection(Receipt.CONTENT_WRONG, wrong)
    if any(charge.trans_no > len(package.records) for charge in result.disputed):
        return Rejection(Receipt.CONTENT_WRONG, f"package {package.message_no} has only {len(package.records)} charges")
    ours = booked(package, result)
    if ours != Totals(count=result.confirmed_count, amount_fen=result.amount_fen):
        stated = f"{result.confirmed_count} charges of {result.amount_fen} fen"
        return Rejection(Receipt.CONTENT_WRONG, f"confirmed are {ours.count} charges of {ours.amount_fen} fen, stated {stated}")
    return None


def dispute_form_objection(result: DisputeResult) -> str | None:
    """Return why a dispute result contradicts itself, or None."""
    if twice := _repeated((package.message_no, charge.trans_no) for package in result.packages for charge in package.charges):
        return f"charge {twice[1]} of package {twice[0]} is settled twice"
    for package in result.packages:
        if package.count != len(package.charges):
            return f"package {package.message_no} states {package.count} charges and has {len(package.charges)}"
    if result.count != sum(package.count for package in result.packages):
        return f"the file states {result.count} charges, its packages another number"
    if result.amount_fen != sum(package.amount_fen for package in result.packages):
        return f"the file states {result.amount_fen} fen, its packages another sum"
    return None


def released(result: DisputeResult, open_disputes: Mapping[tuple[str, int], int]) -> Totals:
    """Return what the issuer pays after all; ``open_disputes`` gives the fee in fen of each (package, place) still disputed."""
    fees = [
        open_disputes[package.message_no, charge.trans_no]
        for package in result.packages
        for charge in package.charges
        if charge.outcome is DisputeOutcome.RELEASED
    ]
    return Totals(count=len(fees), amount_fen=sum(fees))


def dispute_objection(result: DisputeResult, open_disputes: Mapping[tuple[str, int], int]) -> Rejection | None:
    """Return why a dispute result does not fit the disputes still open, or None. A settled one is never settled again."""
    if wrong := dispute_form_objection(result):
        return Rejection(Receipt.CONTENT_WRONG, wrong)
    for package in result.packages:
        for charge in package.charges:
            if (package.message_no, charge.trans_no) not in open_disputes:
                return Rejection(
                    Receipt.CONTENT_WRONG, f"charge {charge.trans_no} of package {package.message_no} is not in dispute"
                )
        settled = sum(
            open_disputes[package.message_no, charge.trans_no]
            for charge in package.charges
            if charge.outcome is DisputeOutcome.RELEASED or not DISPUTE_AMOUNT_IS_RELEASED
        )
        if package.amount_fen != settled:
            return Rejection(
                Receipt.CONTENT_WRONG, f"package {package.message_no} states {package.amount_fen} fen, settled are {settled}"
            )
    return None


def clearing_form_objection(statistics: ClearingStatistics) -> str | None:
    """Return why clearing statistics contradict themselves, or None."""
    if twice := _repeated((*statistics.message_nos, *statistics.file_nos)):
        return f"{twice} is listed twice"
    if twice := _repeated(share.merchant_no for share in statistics.shares):
        return f"merchant {twice} has two shares"
    for share in statistics.shares:
        if share.net_fen != share.amount_fen - share.fee_fen:
            return f"the net amount of merchant {share.merchant_no} is not its amount less its fee"
    if statistics.fee_fen is None or statistics.net_fen is None:
        return None
    if statistics.net_fen != statistics.amount_fen - statistics.fee_fen:
        return "the net amount is not the amount less the fee"
    shares = statistics.shares
    summed = (sum(s.count for s in shares), sum(s.amount_fen for s in shares), sum(s.fee_fen for s in shares))
    if summed != (statistics.count, statistics.amount_fen, statistics.fee_fen):
        return "the merchants' shares do not sum to the whole"
    return None


def clearing_objection(
    statistics: ClearingStatistics, *, booked_packages: Mapping[str, Totals], released_files: Mapping[str, Totals]
) -> Rejection | None:
    """Return why clearing statistics do not agree with what was booked and released (answer 8), or None.

    Both mappings are by number and hold all we know; a listed number that we do not know cannot be agreed to.
    Source: docs/ETC.md, section 7, check.
    """
    if wrong := clearing_form_objection(statistics):
        return Rejection(Receipt.CLEARING_DISAGREES, wrong)
    unknown = [no for no in statistics.message_nos if no not in booked_packages]
    unknown += [no for no in statistics.file_nos if no not in released_files]
    if unknown:
        return Rejection(Receipt.CLEARING_DISAGREES, f"nothing is known of {unknown[0]}")
    parts = [booked_packages[no] for no in statistics.message_nos] + [released_files[no] for no in statistics.file_nos]
    ours = Totals(count=sum(part.count for part in parts), amount_fen=sum(part.amount_fen for part in parts))
    if ours != Totals(count=statistics.count, amount_fen=statistics.amount_fen):
        stated = f"{statistics.count} charges of {statistics.amount_fen} fen"
        return Rejection(Receipt.CLEARING_DISAGREES, f"we have {ours.count} charges of {ours.amount_fen} fen, cleared are {stated}")
    return None


def _repeated(names: Iterable[_T]) -> _T | None:
    """Return the first that comes twice, or None."""
    seen: set[_T] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
