"""What a channel brings to the contract suite: itself, keys, one order of each kind, and genuine messages of the channel.

One module per channel beside this one has ``case() -> Case``; the suite runs over all of them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from gateways.contract import (
    Answer,
    AnyChannel,
    BillLink,
    BillRequest,
    CombinedOrder,
    CombinedRef,
    Deduction,
    Entrance,
    FundBillRequest,
    MandateRef,
    Operation,
    OrderRef,
    PrepayOrder,
    RefundOrder,
    RefundRef,
    RefundResult,
    Result,
    Way,
)

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
"""Monday, 10:00 in China."""
NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"


class Genuine(Struct, frozen=True):
    """A genuine notice, signed as the channel signs it, and what must be read in it. ``headers`` are lower case."""

    body: bytes
    headers: Mapping[str, str] = {}
    results: tuple[Result, ...] = ()
    refund: RefundResult | None = None


class Case(Struct, frozen=True, kw_only=True):
    """One channel. What an operation needs may be None exactly when ``channel.supports`` does not name that operation."""

    channel: AnyChannel
    keys: Any
    """Keys whose signatures repeat: built requests are compared byte for byte with golden files."""
    orders: Mapping[Way, PrepayOrder]
    """One order for each of ``channel.ways``."""
    ref: OrderRef
    combined: CombinedOrder | None = None
    combined_ref: CombinedRef | None = None
    deduction: Deduction | None = None
    entrance: Entrance | None = None
    mandate: MandateRef | None = None
    refund: RefundOrder | None = None
    refund_ref: RefundRef | None = None
    bill: BillRequest | None = None
    link: BillLink | None = None
    bill_file: bytes | None = None
    """A genuine bill that ``parse_bill(bill_file, bill=bill)`` takes."""
    fund_bill: FundBillRequest | None = None
    notices: tuple[Genuine, ...] = ()
    """At least a payment's notice, and a refund's where the channel tells of refunds by notice."""
    genuine: Mapping[Operation, Answer] = {}
    """For each supported operation with a signed answer: a genuine positive answer to the order (ref, refund …) above."""
    golden_repeats: bool = True
    """False where the channel's signature has chance in it (SM2): golden bytes are then compared without it by its own tests."""
