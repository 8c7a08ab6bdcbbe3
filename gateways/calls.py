"""Calls to a channel: build, send, parse, and the record of it that is to be kept.

Joins an adapter to the transport; must not touch the database. Called outside any transaction by checkout, jobs and reconciliation,
who then store ``Call.message`` together with what follows from ``Call.outcome``.
"""

import secrets
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Struct

from gateways.contract import (
    Answer,
    BillAbsent,
    BillLink,
    BillRequest,
    CloseOutcome,
    Operation,
    OrderRef,
    PrepayOrder,
    PrepayOutcome,
    RawMessage,
    Reading,
    RefundOrder,
    RefundRef,
    Request,
    Unanswered,
    Verdict,
)
from gateways.messages import received
from gateways.registry import Connected
from gateways.transport import Transport
from ledger.clock import Clock
from ledger.ids import Ids

BILL_FILE_BYTES_MAX: Final = 512 * 1024 * 1024

T = TypeVar("T")
Told = TypeVar("Told", PrepayOutcome, CloseOutcome, Reading)


class Call(Struct, Generic[T], frozen=True):
    """What a call led to, and the message that proves it."""

    outcome: T
    message: RawMessage


class BillFile(Struct, frozen=True):
    """A bill file whose digest is the announced one; ``content`` is uncompressed."""

    link: BillLink
    content: bytes


class Line(Struct, frozen=True):
    """What every call needs: the channel with its keys, the way out, the clock, ids."""

    connected: Connected
    transport: Transport
    clock: Clock
    ids: Ids


def prepay(line: Line, order: PrepayOrder, *, subject: UUID, occasion: str) -> Call[PrepayOutcome]:
    """Order a payment at the channel. May be repeated with the same order; ``occasion`` numbers the attempts.

    Takes up to the transport's time-out. Never raises for what the outside does: the outcome is then ``unknown``.
    """
    channel, keys, nonce = line.connected.channel, line.connected.keys, _nonce()
    request = channel.build_prepay(order, keys=keys, now=line.clock.now(), nonce=nonce)
    answer = line.transport.send(request)
    outcome = channel.parse_prepay(answer, order=order, keys=keys, now=line.clock.now(), nonce=nonce)
    return _call(line, Operation.PREPAY, request, answer, outcome, subject, occasion)


def query(line: Line, order: OrderRef, *, subject: UUID, occasion: str) -> Call[Reading]:
    """Ask the channel about an order. ``occasion`` numbers the queries, so that two equal answers are two messages."""
    channel, keys = line.connected.channel, line.connected.keys
    request = channel.build_query(order, keys=keys, now=line.clock.now(), nonce=_nonce())
    answer = line.transport.send(request)
    reading = channel.parse_query(answer, order=order, keys=keys, now=line.clock.now())
    return _call(line, Operation.QUERY, request, answer, reading, subject, occasion)


def close(line: Line, order: OrderRef, *, subject: UUID, occasion: str) -> Call[CloseOutcome]:
    """Close an order at the channel. Repeatable; query afterwards, because a payment can land between."""
    channel, keys = line.connected.channel, line.connected.keys
    request = channel.build_close(order, keys=keys, now=line.clock.now(), nonce=_nonce())
    answer = line.transport.send(request)
    outcome = channel.parse_close(answer, keys=keys, now=line.clock.now())
    return _call(line, Operation.CLOSE, request, answer, outcome, subject, occasion)


def refund(line: Line, order: RefundOrder, *, subject: UUID, occasion: str) -> Call[Reading]:
    """Ask the channel for a refund. May be repeated with the same order: the refund number makes it one refund.

    ``occasion`` numbers the calls. Never raises for what the outside does: the reading then has no refund, and nothing is known.
    """
    channel, keys = line.connected.channel, line.connected.keys
    request = channel.build_refund(order, keys=keys, now=line.clock.now(), nonce=_nonce())
    answer = line.transport.send(request)
    reading = channel.parse_refund(answer, refund=order, keys=keys, now=line.clock.now())
    return _call(line, Operation.REFUND, request, answer, reading, subject, occasion)


def refund_query(line: Line, ref: RefundRef, *, subject: UUID, occasion: str) -> Call[Reading]:
    """Ask the channel what became of a refund. ``occasion`` numbers the calls, so that two equal answers are two messages."""
    channel, keys = line.connected.channel, line.connected.keys
    request = channel.build_refund_query(ref, keys=keys, now=line.clock.now(), nonce=_nonce())
    answer = line.transport.send(request)
    reading = channel.parse_refund_query(answer, refund=ref, keys=keys, now=line.clock.now())
    return _call(line, Operation.REFUND_QUERY, request, answer, reading, subject, occasion)


def bill(line: Line, wanted: BillRequest, *, occasion: str) -> Call[BillFile | BillAbsent]:
    """Fetch a day's trade bill: ask where it is, then get it and check its digest.

    The message is the answer to the first step (it is signed and names the digest); the file itself is the caller's to keep.

    Raises:
        BillRefused: the file that came is not the announced one.
    """
    channel, keys = line.connected.channel, line.connected.keys
    request = channel.build_bill(wanted, keys=keys, now=line.clock.now(), nonce=_nonce())
    answer = line.transport.send(request)
    link = channel.parse_bill_link(answer, bill=wanted, keys=keys, now=line.clock.now())
    if isinstance(link, BillAbsent):
        return Call(link, _record(line, Operation.BILL, request, answer, _absent_verdict(answer), link.reason, occasion))
    message = _record(line, Operation.BILL, request, answer, "verified", None, occasion)
    download = channel.build_bill_download(link, keys=keys, now=line.clock.now(), nonce=_nonce())
    file = line.transport.send(download, bytes_max=BILL_FILE_BYTES_MAX)
    if isinstance(file, Unanswered):
        return Call(BillAbsent(reason=file.reason), message)
    return Call(BillFile(link=link, content=channel.open_bill(file, link=link)), message)


def refresh_keys(line: Line) -> int | None:
    """Fetch the keys that the channel signs with and add them to the ring; old and new overlap.

    Returns how many the channel listed, or None when its answer proves nothing (the ring is then unchanged).
    """
    channel, keys = line.connected.channel, line.connected.keys
    request = channel.build_certificates(keys=keys, now=line.clock.now(), nonce=_nonce())
    found = channel.parse_certificates(line.transport.send(request), keys=keys, now=line.clock.now())
    if found is None:
        return None
    keys.add(found, at=line.clock.now())
    return len(found)


def _call(
    line: Line, operation: Operation, request: Request, answer: Answer | Unanswered, outcome: Told, subject: UUID, occasion: str
) -> Call[Told]:  # fmt: skip
    """Return an outcome with the record of the message that proves it."""
    return Call(outcome, _record(line, operation, request, answer, outcome.verdict, outcome.reason, occasion, subject))


def _nonce() -> str:
    return secrets.token_hex(16)


def _absent_verdict(answer: Answer | Unanswered) -> Verdict:
    return "unanswered" if isinstance(answer, Unanswered) else "unverified"


def _target(request: Request) -> str:
    """Return path and query: what was asked, on whatever host and port the channel is reached."""
    parts = urlsplit(request.url)
    return f"{parts.path}?{parts.query}"


def _record(
    line: Line,
    operation: Operation,
    request: Request,
    answer: Answer | Unanswered,
    verdict: Verdict,
    reason: str | None,
    occasion: str,
    subject: UUID | None = None,
) -> RawMessage:
    came = answer if isinstance(answer, Answer) else Answer(status=0, headers={}, body=b"")
    return received(
        line.connected.channel,
        operation=operation.value,
        direction="out",
        verdict=verdict,
        reason=reason,
        headers=came.headers,
        body=came.body,
        at=line.clock.now(),
        ids=line.ids,
        subject=subject,
        request=f"{request.method} {request.url}\n\n".encode() + request.body,
        occasion=f"{occasion} {request.method} {_target(request)}",
    )
