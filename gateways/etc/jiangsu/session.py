"""Jiangsu's short connections without sockets: what to send, what came, what to reply, when to try again.

Knows frames and messages; must not know sockets or clocks. Called by whoever holds the connections, on either side: one ``Inbound``
per connection that was accepted, one ``Outbound`` per message to be sent. Source: docs/ETC.md, section 5.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from gateways.etc.codes import Rejection
from gateways.etc.jiangsu import frame, messages
from gateways.etc.jiangsu.frame import HEADER_BYTES, PAUSE_SECONDS, REPLY_BYTES, TRIES_MAX, Frame, FrameFault, Reply
from gateways.etc.jiangsu.messages import Message

_NOTHING: Final = b""


class Arrived(Struct, frozen=True):
    """What came in one connection: the reply to write before closing (empty: close without a word), and the frame when it holds.

    ``message`` is what the frame says, or what to answer to it in a message of its own; None with a frame that does not hold.
    """

    reply: bytes
    frame: Frame | None = None
    message: Message | Rejection | None = None
    fault: FrameFault | None = None


class Inbound:
    """One connection from the other side. ``us`` is our party id; ``parties`` as in ``messages.read``."""

    def __init__(self, *, us: str, parties: Mapping[str, str] | None = None) -> None:
        self._us, self._parties = us, parties
        self._came = bytearray()

    def feed(self, data: bytes) -> Arrived | None:
        """Take bytes as they come. None: read on. Once it says something the connection is over."""
        self._came += data
        wanted = frame.frame_bytes(bytes(self._came[:HEADER_BYTES]))
        if wanted is None:
            return None if len(self._came) < HEADER_BYTES else self._judged()
        return None if len(self._came) < wanted else self._judged()

    def end(self) -> Arrived:
        """Judge what came when the other side closed, or kept silent for too long."""
        return self._judged()

    def _judged(self) -> Arrived:
        content = bytes(self._came)
        told = frame.read_frame(content)
        reply = frame.reply_to(content) or _NOTHING
        if isinstance(told, FrameFault):
            return Arrived(reply, fault=told)
        return Arrived(reply, told, messages.read(told.xml, receiver=self._us, parties=self._parties))


class Next(StrEnum):
    """What is to be done with a message after a try."""

    DONE = "done"
    """The other side has it."""
    AGAIN = "again"
    """Send the same bytes again after ``PAUSE_SECONDS``."""
    PERSON = "person"
    """It was tried often enough: a person looks."""


class Letter(Struct, frozen=True):
    """A message as it is written, under its number of 20 digits: what is kept until the other side has it."""

    message_no: str
    xml: bytes


def letter(message: Message, *, parties: Mapping[str, str] | None = None) -> Letter:
    """Return a message as it is written. Raises ValueError for one that must not be sent."""
    return Letter(message.head.message_no.zfill(20), messages.write(message, parties=parties))


class Outbound:
    """One message on its way. The same bytes go in every try, under the same number.

    ``told`` is what the last try's reply said; None as long as none came.
    """

    def __init__(self, message: Message | Letter, *, parties: Mapping[str, str] | None = None) -> None:
        """Raises ValueError for a message that must not be sent or is too large when packed."""
        self.letter = message if isinstance(message, Letter) else letter(message, parties=parties)
        self.message_no = self.letter.message_no
        self.content = frame.frame(self.message_no, self.letter.xml)
        self.tries = 0
        self.pause_seconds = PAUSE_SECONDS
        self.told: Reply | None = None
        self._came = b""

    def start(self) -> bytes:
        """Begin a try and return the bytes to send."""
        self.tries += 1
        self.told, self._came = None, b""
        return self.content

    def feed(self, data: bytes) -> Next | None:
        """Take bytes of the reply. None: read on."""
        self._came += data
        if len(self._came) < REPLY_BYTES:
            return None
        self.told = frame.read_reply(self._came[:REPLY_BYTES], message_no=self.message_no)
        return Next.DONE if self.told is Reply.RECEIVED else self.failed()

    def failed(self) -> Next:
        """Say that no reply came in ``frame.REPLY_SECONDS_MAX``, or no connection."""
        return Next.AGAIN if self.tries < TRIES_MAX else Next.PERSON
