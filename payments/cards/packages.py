"""A package as it is kept and as it is sent. Pure. Called by packing and hearing."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from gateways.etc import uploads
from gateways.etc.clearing import Package
from gateways.etc.record import TransactionRecord
from payments.cards.records import CardRow, PackageRow


def number_of(package_id: UUID) -> str:
    """Return a package's number: 0, thirteen digits of its millisecond, six that follow from its id. Never used again.

    It must not come from a counter in the database: one that is restored from a backup would count the same numbers again.
    """
    return f"0{package_id.int >> 80:013d}{(package_id.int >> 8) % 1_000_000:06d}"


def record_of(row: CardRow) -> TransactionRecord:
    """Return the record of a row, as it was taken."""
    record = uploads.read_record(msgspec.json.decode(row.body))
    assert isinstance(record, TransactionRecord), "what is kept was read before"
    return record


def package_of(row: PackageRow, members: Sequence[CardRow]) -> Package:
    """Return a package as it is sent; the same rows give the same package."""
    return Package(
        message_no=row.number, clear_on=row.clear_on, service_provider_no=row.service_no, issuer_no=row.issuer_no,
        records=tuple(record_of(member) for member in members),
    )  # fmt: skip
