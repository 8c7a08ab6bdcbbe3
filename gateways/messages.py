"""Evidence 凭据: outside messages kept verbatim before they are acted on.

Knows the raw_message table; must not know what a message means. Called by the applier and by whoever refuses a message.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from gateways.contract import Channel, RawMessage, Verdict
from ledger.clock import microseconds
from ledger.db import copy_rows
from ledger.ids import Ids

COPY: Final = """
copy gateways.raw_message
    (received_at, message_id, lane, channel, operation, direction, verdict, reason, subject, headers, body, request)
from stdin (format binary)
"""
_COLUMNS: Final = 12
_SINCE_2000: Final = microseconds(datetime(2000, 1, 1, tzinfo=UTC))
_START: Final = struct.Struct("!hiqi16sih").pack
_LENGTH: Final = struct.Struct("!i").pack
_NULL: Final = _LENGTH(-1)
_headers_json: Final = msgspec.json.Encoder(order="sorted").encode


def received(
    channel: Channel,
    *,
    operation: str,
    direction: Literal["in", "out"],
    verdict: Verdict,
    reason: str | None,
    headers: Mapping[str, str],
    body: bytes,
    at: datetime,
    ids: Ids,
    subject: UUID | None = None,
    request: bytes | None = None,
    occasion: str = "",
) -> RawMessage:
    """Make the record of a message that is to be kept; its id is the evidence id of what follows from it.

    Only the headers that verify it again are kept. The id's name covers those headers, the body and ``occasion`` (what tells two
    equal answers apart, such as the number of the query), so that a simulated day gives each message the same id again.
    """
    kept = {name: headers[name] for name in channel.evidence_headers if name in headers}
    digest = hashlib.sha256(_headers_json(kept) + body).hexdigest()
    return RawMessage(
        message_id=ids.new(at, f"message {channel.name} {operation} {occasion} {digest}"),
        channel=channel.name,
        operation=operation,
        direction=direction,
        verdict=verdict,
        reason=reason,
        received_at=at,
        headers=kept,
        body=body,
        subject=subject,
        request=request,
    )


def keep(tx: Connection, *, lane: int, messages: Sequence[RawMessage]) -> None:
    """Store messages as evidence, verbatim, in one COPY. Append only; a message id may be stored once.

    Raises:
        sqlalchemy.exc.IntegrityError, psycopg.errors.UniqueViolation: a message id is there already.
    """
    if messages:
        copy_rows(tx, COPY, [_row(lane, message) for message in messages])


def _row(lane: int, message: RawMessage) -> bytes:
    start = _START(
        _COLUMNS, 8, microseconds(message.received_at) - _SINCE_2000, 16, message.message_id.bytes, 2, lane
    )  # fmt: skip
    return b"".join((
        start,
        _text(message.channel),
        _text(message.operation),
        _text(message.direction),
        _text(message.verdict),
        _field(None if message.reason is None else message.reason.encode()),
        _field(None if message.subject is None else message.subject.bytes),
        _field(_headers_json(message.headers)),
        _field(message.body),
        _field(message.request),
    ))  # fmt: skip


def _text(value: str) -> bytes:
    return _field(value.encode())


def _field(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH(len(value)) + value
