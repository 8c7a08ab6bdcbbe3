"""The records of charges by card that others see: what a lot brings, what became of it, packages, what was heard.

Knows words and types only. Read by every module of this room and by the API.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from gateways.contract import Result
from gateways.etc.record import TransactionRecord

CHANNEL: Final = "etc"
"""The channel whose cards these are."""


class NewCardCharge(Struct, frozen=True):
    """A charge that a card paid at a lane. ``lot_serial`` is the charge it pays; empty for a stay that cost nothing."""

    record: TransactionRecord
    lot_serial: str = ""


class TakenCard(Struct, frozen=True, kw_only=True):
    """What became of one record; the results stand in the order of the records.

    ``created``: it is kept and goes to the clearing party. ``already``: it was brought before with the same content. ``refused``:
    ``reason`` is a stable word, ``field`` names what is wrong in the record's own names and ``detail`` says how.
    """

    number: str
    outcome: Literal["created", "already", "refused"]
    receipt: str | None = None
    """Number of the payment; None for a stay that cost nothing."""
    reason: str | None = None
    field: str | None = None
    detail: str | None = None


class CardRow(Struct, frozen=True, kw_only=True):
    """A record as it is kept. ``body`` is the record as JSON, see ``gateways.etc.uploads.record_body``."""

    record_id: UUID
    number: str
    operator_id: int
    lot_id: int
    charge_id: UUID | None
    provider_no: str
    merchant_no: str
    service_no: str
    issuer_no: str
    fee_fen: int
    happened_at: datetime
    body: bytes
    evidence_id: UUID
    state: str
    package_id: UUID | None = None
    place: int | None = None
    reason: int | None = None
    file_no: str | None = None


class PackageRow(Struct, frozen=True, kw_only=True):
    """A package as it is kept."""

    package_id: UUID
    number: str
    service_no: str
    issuer_no: str
    clear_on: date
    count: int
    amount_fen: int
    state: str
    created_at: datetime
    tries: int = 0
    booked_count: int | None = None
    booked_fen: int | None = None
    cleared_on: date | None = None


class LetterRow(Struct, frozen=True, kw_only=True):
    """A message of ours to the network centre as it is kept, see ``letters``."""

    letter_id: UUID
    number: str
    kind: str
    content: bytes
    answers_no: str | None = None
    evidence_id: UUID | None = None
    asked_on: date | None = None
    tries: int = 0


class Finding(StrEnum):
    """What a word of the clearing party about packages turned out to be."""

    BOOKED = "booked"
    """The issuer's decision about a package: what it does not dispute is paid."""
    SETTLED_DISPUTES = "settled_disputes"
    """The end of disputes: released ones are paid, bad ones go back to the plates."""
    CLEARED = "cleared"
    """Clearing statistics that agree with what was booked and released."""
    CLEARING_ALREADY = "clearing_already"
    """It was said before in the same words."""
    PACKAGE_UNKNOWN = "package_unknown"
    """It names a package that was never sent."""
    BOOKING_REFUSED = "booking_refused"
    """It does not fit its package, or the package was booked otherwise before."""
    DISPUTE_REFUSED = "dispute_refused"
    """It settles what is not in dispute, or its sums do not agree."""
    CLEARING_DISAGREES = "clearing_disagrees"
    """The statistics do not agree with what we know, or the date was cleared otherwise."""


HEARD: Final = frozenset({Finding.BOOKED, Finding.SETTLED_DISPUTES, Finding.CLEARED, Finding.CLEARING_ALREADY})
"""Findings that are acknowledged."""


class Heard(Struct, frozen=True):
    """What follows from a word of the clearing party: a result for each payment that it decides."""

    finding: Finding
    results: tuple[Result, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.finding in HEARD
