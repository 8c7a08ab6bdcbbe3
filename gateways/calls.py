"""Calls to a channel: build, send, parse, and the record of it that is to be kept.

Joins an adapter to the transport; must not touch the database. Called outside any transaction by checkout, jobs and reconciliation,
who then store ``Call.message`` together with what follows from ``Call.outcome``.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec import Struct

from gateways.contract import (
    BODY_BYTES_MAX,
    Answer,
    BillAbsent,
    BillInline,
    BillLink,
    BillRequest,
    ChannelState,
    CloseOutcome,
    CombinedOrder,
    CombinedRef,
    Deduction,
    Entrance,
    EntryOutcome,
    HandOff,
    MandateOutcome,
    MandateRef,
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
from gateways.keys import SigningFailed
from gateways.messages import received
from gateways.registry import Connected
from gateways.spool import Spool
from gateways.transport import Transport
from ledger.clock import Clock
from ledger.ids import Ids

BILL_FILE_BYTES_MAX: Final = 512 * 1024 * 1024

T = TypeVar("T")
Told = TypeVar("Told", PrepayOutcome, CloseOutcome, Reading, MandateOutcome, EntryOutcome)
B = TypeVar("B")

BY_PAYER: Final = "by_payer"
"""Why there is no answer: the payer's own browser takes the order to the channel."""


class Call(Struct, Generic[T], frozen=True):
    """What a call led to, and the message that proves it."""

    outcome: T
    message: RawMessage


class BillFile(Struct, frozen=True):
    """A bill file whose digest is the announced one, as it is kept, on disk."""

    file: Spool
    link: BillLink | None = None
    """Where it was; None when it came with the signed answer."""

    @property
    def content(self) -> bytes:
        """Return the whole file at once: for small ones."""
        return self.file.content()


class Line(Struct, frozen=True):
    """What every call needs: the channel with its keys, the way out, the clock, ids."""

    connected: Connected
    transport: Transport
    clock: Clock
    ids: Ids


def prepay(line: Line, order: PrepayOrder, *, subject: UUID, occasion: str) -> Call[PrepayOutcome]:
    """Order a payment at the channel. May be repeated with the same order; ``occasion`` numbers the attempts.

    Takes up to the transport's time-out. Never raises for what the outside does: the outcome is then ``unknown``. Where the payer's
    own browser takes the order to the channel, nothing is sent here: the message is what the browser was given.
    """
    channel, keys, nonce = line.connected.channel, line.connected.keys, nonce_of(line, occasion)
    built = _built(line, partial(channel.build_prepay, order), nonce)
    if isinstance(built, HandOff):
        handed = PrepayOutcome("unanswered", ChannelState.PENDING, built, BY_PAYER)
        given = Request("GIVE", built.url or "", {}, msgspec.json.encode(built))
        return _call(line, Operation.PREPAY, given, Unanswered(BY_PAYER), handed, subject, occasion)
    request, answer = _sent(line, built)
    outcome = channel.parse_prepay(answer, order=order, keys=keys, now=line.clock.now(), nonce=nonce)
    return _call(line, Operation.PREPAY, request, answer, outcome, subject, occasion)


def combine(line: Line, order: CombinedOrder, *, subject: UUID, occasion: str) -> Call[PrepayOutcome]:
    """Order several payments that the payer makes in one act. As ``prepay``; ``subject`` is the basket."""
    channel, keys, nonce = line.connected.channel, line.connected.keys, nonce_of(line, occasion)
    request, answer = _asked(line, partial(channel.build_combined, order), nonce)
    outcome = channel.parse_combined(answer, order=order, keys=keys, now=line.clock.now(), nonce=nonce)
    return _call(line, Operation.COMBINE, request, answer, outcome, subject, occasion)


def combined_query(line: Line, order: CombinedRef, *, subject: UUID, occasion: str) -> Call[Reading]:
    """Ask the channel about a combined order: the reading has one result per leg."""
    channel = line.connected.channel
    build, parse = partial(channel.build_combined_query, order), partial(channel.parse_combined_query, order=order)
    return _told(line, Operation.COMBINE, build, parse, subject, occasion)


def combined_close(line: Line, order: CombinedRef, *, subject: UUID, occasion: str) -> Call[CloseOutcome]:
    """Close a combined order with all its legs. Query afterwards, because a payment can land between."""
    channel = line.connected.channel
    build, parse = partial(channel.build_combined_close, order), partial(channel.parse_combined_close, order=order)
    return _told(line, Operation.COMBINE, build, parse, subject, occasion)


def query(line: Line, order: OrderRef, *, subject: UUID, occasion: str) -> Call[Reading]:
    """Ask the channel about an order. ``occasion`` numbers the queries, so that two equal answers are two messages."""
    channel = line.connected.channel
    build, parse = partial(channel.build_query, order), partial(channel.parse_query, order=order)
    return _told(line, Operation.QUERY, build, parse, subject, occasion)


def close(line: Line, order: OrderRef, *, subject: UUID, occasion: str) -> Call[CloseOutcome]:
    """Close an order at the channel. Repeatable; query afterwards, because a payment can land between."""
    channel = line.connected.channel
    build, parse = partial(channel.build_close, order), partial(channel.parse_close, order=order)
    return _told(line, Operation.CLOSE, build, parse, subject, occasion)


def deduct(line: Line, deduction: Deduction, *, subject: UUID, occasion: str) -> Call[Reading]:
    """Take a charge by a plate's mandate. May be repeated with the same deduction: the order number makes it one."""
    channel = line.connected.channel
    build, parse = partial(channel.build_deduct, deduction), partial(channel.parse_deduct, deduction=deduction)
    return _told(line, Operation.DEDUCT, build, parse, subject, occasion)


def mandate(line: Line, asked: MandateRef, *, subject: UUID, occasion: str) -> Call[MandateOutcome]:
    """Ask the channel whether a plate may be deducted. ``subject`` is what is to be paid by it."""
    channel = line.connected.channel
    build, parse = partial(channel.build_mandate_query, asked), partial(channel.parse_mandate_query, mandate=asked)
    return _told(line, Operation.MANDATE_QUERY, build, parse, subject, occasion)


def entry(line: Line, entrance: Entrance, *, subject: UUID, occasion: str) -> Call[EntryOutcome]:
    """Tell the channel that a car has come, where a deduction needs it. Repeatable under the same entrance number."""
    channel = line.connected.channel
    build, parse = partial(channel.build_entry, entrance), partial(channel.parse_entry, entrance=entrance)
    return _told(line, Operation.ENTRY, build, parse, subject, occasion)


def refund(line: Line, order: RefundOrder, *, subject: UUID, occasion: str) -> Call[Reading]:
    """Ask the channel for a refund. May be repeated with the same order: the refund number makes it one refund.

    ``occasion`` numbers the calls. Never raises for what the outside does: the reading then has no refund, and nothing is known.
    """
    channel = line.connected.channel
    build, parse = partial(channel.build_refund, order), partial(channel.parse_refund, refund=order)
    return _told(line, Operation.REFUND, build, parse, subject, occasion)


def refund_query(line: Line, ref: RefundRef, *, subject: UUID, occasion: str) -> Call[Reading]:
    """Ask the channel what became of a refund. ``occasion`` numbers the calls, so that two equal answers are two messages."""
    channel = line.connected.channel
    build, parse = partial(channel.build_refund_query, ref), partial(channel.parse_refund_query, refund=ref)
    return _told(line, Operation.REFUND_QUERY, build, parse, subject, occasion)


def bill(line: Line, wanted: BillRequest, *, occasion: str) -> Call[BillFile | BillAbsent]:
    """Fetch a day's trade bill: ask where it is, then get it and check its digest.

    The message is the answer to the first step (it is signed and names the digest, or holds the file); the file itself is the
    caller's to keep. It goes to disk as it comes: memory does not grow with it, except where it is inside the signed answer.

    Raises:
        BillRefused: the file that came is not the announced one.
    """
    channel, keys = line.connected.channel, line.connected.keys
    request, answer = _asked(line, partial(channel.build_bill, wanted), nonce_of(line, occasion), bytes_max=BILL_FILE_BYTES_MAX)
    link = channel.parse_bill_link(answer, bill=wanted, keys=keys, now=line.clock.now())
    if isinstance(link, BillAbsent):
        return Call(link, record(line, Operation.BILL, request, answer, _absent_verdict(answer), link.reason, occasion))
    if isinstance(link, BillInline):
        return Call(BillFile(Spool.of([link.content])), record(line, Operation.BILL, request, answer, "verified", None, occasion))
    message = record(line, Operation.BILL, request, answer, "verified", None, occasion)
    came = Spool()
    file = _fetched(line, _built(line, partial(channel.build_bill_download, link), nonce_of(line, f"file {occasion}")), came)
    if isinstance(file, Unanswered):
        return Call(BillAbsent(reason=file.reason), message)
    return Call(BillFile(Spool.of(channel.open_bill_parts(file.status, came.parts(), link=link)), link), message)


def refresh_keys(line: Line) -> int | None:
    """Fetch the keys that the channel signs with and add them to the ring; old and new overlap.

    Returns how many the channel listed, or None when its answer proves nothing (the ring is then unchanged).
    """
    channel, keys = line.connected.channel, line.connected.keys
    _, answer = _asked(line, channel.build_certificates, nonce_of(line, "certificates"))
    found = channel.parse_certificates(answer, keys=keys, now=line.clock.now())
    if found is None:
        return None
    keys.add(found, at=line.clock.now())
    return len(found)


def _told(
    line: Line, operation: Operation, build: Callable[..., Request], parse: Callable[..., Told], subject: UUID, occasion: str
) -> Call[Told]:  # fmt: skip
    """Build a request, send it, and return what its answer comes to with the record of it."""
    request, answer = _asked(line, build, nonce_of(line, f"{operation} {occasion}"))
    outcome = parse(answer, keys=line.connected.keys, now=line.clock.now())
    return _call(line, operation, request, answer, outcome, subject, occasion)


def _built(line: Line, build: Callable[..., B], nonce: str) -> B | Unanswered:
    """Build a request; one that our own key did not sign is never sent."""
    try:
        return build(keys=line.connected.keys, now=line.clock.now(), nonce=nonce)
    except SigningFailed as failed:
        return Unanswered(reason="signing", detail=str(failed)[:200])


def _sent(line: Line, built: Request | Unanswered, *, bytes_max: int = BODY_BYTES_MAX) -> tuple[Request, Answer | Unanswered]:
    if isinstance(built, Unanswered):
        return Request("NONE", "", {}), built
    return built, line.transport.send(built, bytes_max=bytes_max)


def _fetched(line: Line, built: Request | Unanswered, into: Spool) -> Answer | Unanswered:
    if isinstance(built, Unanswered):
        return built
    return line.transport.fetch(built, write=into.write, bytes_max=BILL_FILE_BYTES_MAX)


def _asked(
    line: Line, build: Callable[..., Request], nonce: str, *, bytes_max: int = BODY_BYTES_MAX
) -> tuple[Request, Answer | Unanswered]:
    return _sent(line, _built(line, build, nonce), bytes_max=bytes_max)


def _call(
    line: Line, operation: Operation, request: Request, answer: Answer | Unanswered, outcome: Told, subject: UUID, occasion: str
) -> Call[Told]:  # fmt: skip
    """Return an outcome with the record of the message that proves it."""
    return Call(outcome, record(line, operation, request, answer, outcome.verdict, outcome.reason, occasion, subject))


def nonce_of(line: Line, name: str) -> str:
    """Return 32 hex digits that no other call has; in a simulated day the same call has the same again."""
    return line.ids.new(line.clock.now(), f"nonce {line.connected.channel.name} {name}").hex


def _absent_verdict(answer: Answer | Unanswered) -> Verdict:
    return "unanswered" if isinstance(answer, Unanswered) else "unverified"


def _target(request: Request) -> str:
    """Return path and query: what was asked, on whatever host and port the channel is reached."""
    parts = urlsplit(request.url)
    return f"{parts.path}?{parts.query}"


def record(
    line: Line,
    operation: str,
    request: Request,
    answer: Answer | Unanswered,
    verdict: Verdict,
    reason: str | None,
    occasion: str,
    subject: UUID | None = None,
) -> RawMessage:
    """Return the record of a call that is to be kept; for calls that no operation of the contract covers as well."""
    came = answer if isinstance(answer, Answer) else Answer(status=0, headers={}, body=b"")
    return received(
        line.connected.channel,
        operation=str(operation),
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
