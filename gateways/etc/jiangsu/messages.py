"""Jiangsu's XML messages: header and body to and from the neutral records.

Knows headers, and which body belongs to which message; must not know frames or the book.
Called by the adapter and the stand-in, each on its side. A writer raises ValueError for what must not be sent; the reader never
raises: it returns what to answer. Source: docs/ETC.md, section 6.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Final, NamedTuple

from msgspec import Struct

from gateways.etc.clearing import BookingResult, ClearingStatistics, DisputeResult, Package
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.jiangsu import originals, results
from gateways.etc.jiangsu.fields import Wrong, compact_date, date_time, fields, instant, integer, message_number, texts
from gateways.etc.jiangsu.tree import Element, leaf, node, parsed, written

VERSIONS: Final = ("00010000", "00020000")
"""The first is written; booking messages were seen with the second."""
NETWORK_CENTRE: Final = "0000000000000020"
TONGXINGBAO: Final = "00000000000000FD"
COMMERCIAL_ROADS: Final = "00000000000000FE"
ORDINARY_ROADS: Final = "00000000000000FF"

REQUEST: Final = 1
NOTIFICATION: Final = 5
NOTIFICATION_ANSWER: Final = 6

NO_DATE: Final = "00000000"
"""Clearing date of an answer that refuses."""


class Kind(NamedTuple):
    """What a message is: its class, its type and the content type of its body."""

    message_class: int
    message_type: int
    content: int


ORIGINAL: Final = Kind(5, 7, 1)
ORIGINAL_ANSWER: Final = Kind(6, 7, 1)
BOOKING: Final = Kind(5, 5, 1)
DISPUTES: Final = Kind(5, 7, 2)
CLEARING: Final = Kind(5, 5, 2)
REFUND: Final = Kind(5, 7, 3)
ADJUSTMENT: Final = Kind(5, 7, 9)
SETTLEMENT: Final = Kind(5, 5, 3)
"""The last three exist; their bodies are not public, so they are read without one."""

_RESULTS: Final = range(1, 9)
"""The results that Jiangsu knows."""
_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_PARTY: Final = re.compile(r"[0-9A-Fa-f]{16}")


class Head(Struct, frozen=True):
    """Who says what; ``sender`` and ``receiver`` are party ids of 16 hex, ``message_no`` has 20 digits."""

    kind: Kind
    sender: str
    receiver: str
    message_no: str
    version: str = VERSIONS[0]


class Answer(Struct, frozen=True, kw_only=True):
    """Body of every answer. ``clear_on`` comes with the answer to original transactions, unless they are refused."""

    message_no: str
    """Number of the message that is answered."""
    processed_at: datetime
    result: Receipt
    clear_on: date | None = None


Body = Package | Answer | BookingResult | DisputeResult | ClearingStatistics


class Message(Struct, frozen=True):
    """A message that was read. ``body`` is None for a request to send again, and for kinds whose body is not public."""

    head: Head
    body: Body | None


def write(message: Message, *, parties: Mapping[str, str] | None = None) -> bytes:
    """Return a message's XML. ``parties`` gives the wire's id of a national number where it is not the number zero-filled.

    Raises ValueError for a body that does not belong to its kind or must not be sent.
    """
    head = message.head
    return written(
        node("Message", _head_element(head), node("Body", *_body(message, parties or {}), ContentType=head.kind.content))
    )


def read(content: bytes, *, receiver: str, parties: Mapping[str, str] | None = None) -> Message | Rejection:
    """Return the message, or what to answer: schema 3, header 2, version 7, counts, sums and contradictions 4.

    ``receiver`` is our own party id.
    """
    national = {wire: number for number, wire in (parties or {}).items()}
    try:
        head, body = _parts(content)
        if head.version not in VERSIONS:
            raise Wrong(f"version {head.version} is not known", Receipt.VERSION_WRONG)
        if head.receiver != receiver:
            raise Wrong(f"the message is for {head.receiver}", Receipt.HEADER_WRONG)
        return Message(head, _read_body(body, head, national))
    except Wrong as wrong:
        return Rejection(wrong.result, str(wrong))


def claimed_head(content: bytes) -> Head | None:
    """Return the header of a message that was not taken, to address the answer; None when it has none."""
    try:
        return _parts(content)[0]
    except Wrong:
        return None


def answer_to(head: Head, *, message_no: str, at: datetime, result: Receipt, clear_on: date | None = None) -> Message:
    """Return our answer to a notification: the next class, sender and receiver exchanged, ``message_no`` our own.

    ``clear_on`` is told only with original transactions that are accepted.
    """
    kind = head.kind._replace(message_class=head.kind.message_class + 1)
    told = clear_on if kind == ORIGINAL_ANSWER and result is Receipt.ACCEPTED else None
    return Message(
        Head(kind=kind, sender=head.receiver, receiver=head.sender, message_no=message_no),
        Answer(message_no=head.message_no, processed_at=at, result=result, clear_on=told),
    )


def resend(kind: Kind, *, sender: str, receiver: str, message_no: str) -> Message:
    """Return the request to send messages of a kind again: class 1, the type wanted, an empty body."""
    return Message(Head(kind=kind._replace(message_class=REQUEST), sender=sender, receiver=receiver, message_no=message_no), None)


# Header


def _head_element(head: Head) -> Element:
    valid = _PARTY.fullmatch(head.sender) and _PARTY.fullmatch(head.receiver)
    if not valid or _NUMBER.fullmatch(head.message_no) is None or head.version not in VERSIONS:
        raise ValueError("a header has parties of 16 hex, a number and a known version")
    return node(
        "Header",
        leaf("Version", head.version),
        leaf("MessageClass", head.kind.message_class),
        leaf("MessageType", head.kind.message_type),
        leaf("SenderId", head.sender),
        leaf("ReceiverId", head.receiver),
        leaf("MessageId", int(head.message_no)),
    )


def _parts(content: bytes) -> tuple[Head, Element]:
    root = parsed(content)
    if root is None or root.name != "Message":
        raise Wrong("not a message in plain XML")
    header, body = fields(root, "Header", "Body")
    try:
        version, message_class, message_type, sender, receiver, number = texts(
            header, "Version", "MessageClass", "MessageType", "SenderId", "ReceiverId", "MessageId"
        )
        if not (_PARTY.fullmatch(sender) and _PARTY.fullmatch(receiver)):
            raise Wrong("a party id is not 16 hex")
        kind = Kind(integer(message_class), integer(message_type), integer(body.attributes.get("ContentType", "")))
        head = Head(kind, sender.upper(), receiver.upper(), message_number(number), version)
    except Wrong as wrong:
        raise Wrong(f"header: {wrong}", Receipt.HEADER_WRONG) from None
    return head, body


def _body(message: Message, parties: Mapping[str, str]) -> tuple[Element, ...]:
    head, body = message.head, message.body
    match body:
        case None if head.kind.message_class == REQUEST:
            return ()
        case Answer() if head.kind.message_class == NOTIFICATION_ANSWER:
            return _write_answer(body, head.kind)
        case Package() if head.kind == ORIGINAL:
            return originals.write(body, head.message_no, parties)
        case BookingResult() if head.kind == BOOKING:
            return results.write_booking(body, parties)
        case DisputeResult() if head.kind == DISPUTES:
            return results.write_disputes(body, parties)
        case ClearingStatistics() if head.kind == CLEARING:
            return results.write_clearing(body, parties)
    raise ValueError(f"a {type(body).__name__} does not belong into a message {tuple(head.kind)}")


def _read_body(body: Element, head: Head, national: Mapping[str, str]) -> Body | None:
    if head.kind.message_class == NOTIFICATION_ANSWER:
        return _read_answer(body, head.kind)
    if head.kind == ORIGINAL:
        return originals.read(body, head.message_no, national)
    if head.kind == BOOKING:
        return results.read_booking(body, national)
    if head.kind == DISPUTES:
        return results.read_disputes(body, national)
    if head.kind == CLEARING:
        return results.read_clearing(body, national)
    return None


# Answers


def _write_answer(answer: Answer, kind: Kind) -> tuple[Element, ...]:
    common = (
        leaf("MessageId", int(answer.message_no)),
        leaf("ProcessTime", date_time(answer.processed_at)),
        leaf("Result", int(answer.result)),
    )
    if kind != ORIGINAL_ANSWER:
        return common
    return (*common, leaf("ClearTargetDate", NO_DATE if answer.clear_on is None else f"{answer.clear_on:%Y%m%d}"))


def _read_answer(body: Element, kind: Kind) -> Answer:
    clear_on = None
    if kind == ORIGINAL_ANSWER:
        number, processed, result, clear_text = texts(body, "MessageId", "ProcessTime", "Result", "ClearTargetDate")
        clear_on = None if clear_text == NO_DATE else compact_date(clear_text)
    else:
        number, processed, result = texts(body, "MessageId", "ProcessTime", "Result")
    if integer(result) not in _RESULTS:
        raise Wrong(f"result {result} is not known", Receipt.CONTENT_WRONG)
    told = Receipt(integer(result))
    if kind == ORIGINAL_ANSWER and (told is Receipt.ACCEPTED) is (clear_on is None):
        raise Wrong("a clearing date comes with an acceptance and only then", Receipt.CONTENT_WRONG)
    return Answer(message_no=message_number(number), processed_at=instant(processed), result=told, clear_on=clear_on)
