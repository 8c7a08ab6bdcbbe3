"""Evidence 凭据: outside messages kept verbatim before they are acted on.

Knows the raw_message table; must not know what a message means. Called by the applier and by whoever refuses a message.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from gateways.contract import AnyChannel, RawMessage, Verdict
from ledger.arrays import blobs, instants, smallint, texts, uuids
from ledger.ids import Ids
from ledger.volley import Shot, Statement, fire

_headers_json: Final = msgspec.json.Encoder(order="sorted").encode


def received(
    channel: AnyChannel,
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
    kept = _headers_json({name: headers[name] for name in channel.evidence_headers if name in headers})
    return RawMessage(
        message_id=ids.new(at, f"message {channel.name} {operation} {occasion}", kept, body),
        channel=channel.name,
        operation=operation,
        direction=direction,
        verdict=verdict,
        reason=reason,
        received_at=at,
        headers=kept.decode(),
        body=body,
        subject=subject,
        request=request,
    )


def from_lot(*, operation: str, body: bytes, at: datetime, ids: Ids, occasion: str) -> RawMessage:
    """Make the record of a lot's call that is to be kept, verbatim: who called was proven by its token, so it is verified.

    ``occasion`` names the lot and what tells two equal calls apart; the id follows from it and the body.
    """
    return RawMessage(
        message_id=ids.new(at, f"message lot {operation} {occasion}", body),
        channel="lot",
        operation=operation,
        direction="in",
        verdict="verified",
        reason=None,
        received_at=at,
        headers="{}",
        body=body,
    )


_KEEP: Final = Statement(
    """
    insert into gateways.raw_message
        (received_at, message_id, lane, channel, operation, direction, verdict, reason, subject, headers, body, request)
    select received_at, message_id, %(lane)s::smallint, channel, operation, direction, verdict, reason, subject, headers, body,
           request
    from unnest(%(received)s::timestamptz[], %(ids)s::uuid[], %(channels)s::text[], %(operations)s::text[],
                %(directions)s::text[], %(verdicts)s::text[], %(reasons)s::text[], %(subjects)s::uuid[], %(headers)s::text[],
                %(bodies)s::bytea[], %(requests)s::bytea[])
         as m (received_at, message_id, channel, operation, direction, verdict, reason, subject, headers, body, request)
    """,
)


def keep(tx: Connection, *, lane: int, messages: Sequence[RawMessage]) -> None:
    """Store messages as evidence, verbatim, in one statement. Append only; a message id may be stored once.

    Raises:
        psycopg.errors.UniqueViolation: a message id is there already.
    """
    if messages:
        fire(tx, [keeping(lane=lane, messages=messages)])


def keeping(*, lane: int, messages: Sequence[RawMessage]) -> Shot:
    """Return what ``keep`` sends, for a caller that sends more with it."""
    return _KEEP.shot(
        lane=smallint(lane),
        received=instants([x.received_at for x in messages]),
        ids=uuids([x.message_id for x in messages]),
        channels=texts([x.channel for x in messages]),
        operations=texts([x.operation for x in messages]),
        directions=texts([x.direction for x in messages]),
        verdicts=texts([x.verdict for x in messages]),
        reasons=texts([x.reason for x in messages]),
        subjects=uuids([x.subject for x in messages]),
        headers=texts([x.headers for x in messages]),
        bodies=blobs([x.body for x in messages]),
        requests=blobs([x.request for x in messages]),
    )
