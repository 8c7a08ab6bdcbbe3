"""The contract of a channel: neutral requests, answers and results, the same for every adapter.

Adapters are sans-IO: ``build_*`` returns a Request, ``parse_*`` turns bytes into a typed result. Keys, merchant account, now and
nonce are arguments. Knows no channel; must not know network, clock, database or settings.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from msgspec import Struct


class ChannelState(StrEnum):
    """What a channel says about a payment. Everything not listed by the channel's document is ``unknown``."""

    SUCCEEDED = "succeeded"
    """The money was taken (also when part of it was refunded since)."""
    FAILED = "failed"
    """Explicitly failed; it can never succeed."""
    CLOSED = "closed"
    """Closed at the channel; nobody can pay it any more."""
    PENDING = "pending"
    """The channel knows it and it is not decided."""
    NOT_FOUND = "not_found"
    """The channel says it never had this order."""
    UNKNOWN = "unknown"
    """Time-out, bad signature, unreadable or unlisted: nothing is known."""


class Request(Struct, frozen=True):
    """A request to be sent exactly as it is: the bytes are signed."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class Answer(Struct, frozen=True):
    """An HTTP answer, ours or theirs. Header names in ``headers`` are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Result(Struct, frozen=True):
    """What a verified message of a channel says about one payment."""

    channel: str
    state: ChannelState
    order_no: str
    """Our payment number as the channel has it."""
    provider_no: str
    """Service provider's number (WeChat: sp_mchid)."""
    merchant_no: str
    """Operator's own merchant number (WeChat: sub_mchid)."""
    trade_no: str | None = None
    amount_fen: int | None = None
    """Amount of the order in fen (not what the payer paid after coupons)."""
    currency: str | None = None
    happened_at: datetime | None = None
    """When the money was taken, UTC."""


class RawMessage(Struct, frozen=True):
    """An outside message to be kept verbatim. ``message_id`` is the evidence id."""

    message_id: UUID
    channel: str
    operation: str
    direction: Literal["in", "out"]
    verdict: Literal["verified", "refused", "unreadable", "unverified"]
    reason: str | None
    received_at: datetime
    headers: Mapping[str, str]
    body: bytes
    subject: UUID | None = None
    request: bytes | None = None


class Reading(Struct, frozen=True):
    """What an adapter makes of an incoming message: ``result`` is present only when the verdict is ``verified``.

    ``reason`` is a stable word for a refusal: ``header_missing``, ``stale``, ``serial_unknown``, ``signature``, ``not_json``,
    ``decrypt``, ``field_missing``, ``event_unknown``.
    """

    verdict: Literal["verified", "refused", "unreadable"]
    reason: str | None = None
    result: Result | None = None


class HandOff(Struct, frozen=True):
    """What the payer's page needs to call up the wallet."""

    kind: Literal["jsapi", "redirect", "code"]
    fields: Mapping[str, str]


class BillLine(Struct, frozen=True):
    """One neutral line of a trade bill. Amounts in fen; a refund's amount and fee are as the channel's document signs them."""

    line: int
    kind: Literal["payment", "refund", "revoked"]
    merchant_no: str
    trade_no: str
    order_no: str
    amount_fen: int
    fee_fen: int
    happened_at: datetime


class Bill(Struct, frozen=True):
    """A parsed trade bill whose totals agree with its lines."""

    lines: tuple[BillLine, ...]
    total_fen: int
    fee_fen: int
