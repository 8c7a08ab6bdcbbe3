"""Jiangsu's frame in TCP: number, length, MD5, packed XML; and the reply of 21 characters.

Knows bytes; must not know messages or sockets. Called by whoever holds the connection. There is no signature: the MD5 protects
against faults, not against people; the line is private. Source: docs/ETC.md, section 5.
"""

import hashlib
import re
from enum import StrEnum
from typing import Final

from msgspec import Struct

from gateways.etc.codes import CARDS_CREDIT
from gateways.etc.jiangsu import lz77

HEADER_BYTES: Final = 58
PACKED_BYTES_MAX: Final = 999_999
REPLY_BYTES: Final = 21
READ_BYTES: Final = 16 * 1024
"""Read this much at a time until the frame's length is reached."""
REPLY_SECONDS_MAX: Final = 60
"""Without a reply after this time the same frame goes again."""
TRIES_MAX: Final = 3
PAUSE_SECONDS: Final = 5
"""Three tries, five seconds apart, were seen; then it is a person's task."""
DAMAGED_IS_NOT_RECEIVED: Final = True
"""Whether a frame with a wrong MD5 is replied to with ``0``, so that it comes again [?]; the texts name length and time only."""

_HEADER: Final = re.compile(rb"([0-9]{20})([0-9]{6})([0-9A-Fa-f]{32})")
_REPLY: Final = re.compile(rb"([0-9]{20})([01])")


class Frame(Struct, frozen=True):
    """A frame whose length and MD5 hold."""

    message_no: str
    xml: bytes


class FrameFault(StrEnum):
    """Why a frame is not taken."""

    HEADER = "header"
    LENGTH = "length"
    PACKING = "packing"
    DIGEST = "digest"


class Reply(StrEnum):
    """What the other side says of a frame. It says nothing of the content."""

    RECEIVED = "received"
    NOT_RECEIVED = "not_received"
    """Send the same again, under the same number."""
    UNREADABLE = "unreadable"
    """Not a reply to this frame: as if none had come."""


def frame(message_no: str, xml: bytes) -> bytes:
    """Return the frame to be sent as it is; ``xml`` includes its XML declaration.

    Raises ValueError for a number that is not 20 digits, or a text that is too large when packed: make smaller packages.
    """
    body = lz77.packed(xml)
    header = f"{message_no}{len(body):06d}{_md5(xml)}".encode()
    if _HEADER.fullmatch(header) is None:
        raise ValueError(f"message {message_no!r} with {len(body)} packed bytes cannot be framed")
    return header + body


def frame_bytes(received: bytes) -> int | None:
    """Return how many bytes the whole frame has, as soon as its header is there; None before that or when it is no header."""
    found = _HEADER.match(received)
    return None if found is None else HEADER_BYTES + int(found[2])


def read_frame(content: bytes) -> Frame | FrameFault:
    """Return a frame's number and text, or what is wrong with it."""
    found = _HEADER.match(content)
    if found is None:
        return FrameFault.HEADER
    if len(content) != HEADER_BYTES + int(found[2]):
        return FrameFault.LENGTH
    xml = lz77.unpacked(content[HEADER_BYTES:])
    if xml is None:
        return FrameFault.PACKING
    return Frame(found[1].decode(), xml) if _md5(xml) == found[3].decode().lower() else FrameFault.DIGEST


def reply(message_no: str, *, received: bool) -> bytes:
    """Return the 21 characters that answer a frame."""
    return f"{message_no}{'1' if received else '0'}".encode()


def reply_to(content: bytes) -> bytes | None:
    """Return the reply to whatever came in one connection; None when not even a number can be read: close without a word."""
    found = _HEADER.match(content)
    if found is None:
        return None
    told = read_frame(content)
    damaged = told is FrameFault.LENGTH or (DAMAGED_IS_NOT_RECEIVED and isinstance(told, FrameFault))
    return reply(found[1].decode(), received=not damaged)


def read_reply(content: bytes, *, message_no: str) -> Reply:
    """Return what a reply says of the frame ``message_no``."""
    found = _REPLY.fullmatch(content)
    if found is None or found[1].decode() != message_no:
        return Reply.UNREADABLE
    return Reply.RECEIVED if found[2] == b"1" else Reply.NOT_RECEIVED


def file_name(*, card_net: str, card_type: int, message_no: str) -> str:
    """Return the name of a package's file: one package per card network and card type."""
    return f"{'JZ' if card_type in CARDS_CREDIT else 'CZ'}_{card_net}_{message_no}.xml.lz77"


def _md5(xml: bytes) -> str:
    return hashlib.md5(xml, usedforsecurity=False).hexdigest()
