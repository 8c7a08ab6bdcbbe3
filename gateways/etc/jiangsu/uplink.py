"""The way to the network centre over TCP: packages of charges by card, and our answers to what it says.

Joins messages and frames to the network; must not touch the database. Called outside any transaction by whoever sends.
Source: docs/ETC.md, sections 5 to 7.

What comes back in the same connection says only whether the frame arrived. Whether a package is taken is said later, in a message
of its own, which the listening side reads: until then a package that arrived is ``awaited``.
"""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from msgspec import Struct

from gateways import calls, tcp
from gateways.calls import Call, Line
from gateways.contract import Answer, RawMessage, Request
from gateways.etc.clearing import Package
from gateways.etc.codes import CARDS_CREDIT
from gateways.etc.jiangsu import messages, originals
from gateways.etc.jiangsu.frame import REPLY_BYTES, REPLY_SECONDS_MAX, Reply
from gateways.etc.jiangsu.messages import Head, Message
from gateways.etc.jiangsu.session import Letter, Next, Outbound
from gateways.etc.record import TransactionRecord
from gateways.etc.uploads import AWAITED, UploadOutcome

PACKAGE: Final = "upload"
LETTER: Final = "answer"
"""What the calls are named in the kept messages."""
CHARGES_MAX: Final = 1_000
"""Charges in a package. At so many a package goes at once by the rules of time; and it always fits into a frame: packed, a charge
takes about 180 bytes and, were every text in it random and as long as allowed, 520, so that the limit of 999999 bytes is met
between about 1900 and 5400 charges. The tests hold the worst of them against the limit."""

NOT_RECEIVED: Final = "line_not_received"
SILENT: Final = "line_silent"
DOWN: Final = "line_down"
UNREADABLE: Final = "line_unreadable"
"""``uploads.NOT_ARRIVED``: they said so; no reply came in time; there was no connection; the reply was to something else."""
UNFRAMED: Final = "package_form"
"""It must not be sent, or it is too large for a frame: nothing was sent."""


class Centre(Struct, frozen=True, kw_only=True):
    """Where the network centre is, and under which ids it and we are known; ``parties`` as in ``messages.write``."""

    us: str
    party: str
    host: str
    port: int
    parties: Mapping[str, str] = {}
    reply_seconds_max: float = REPLY_SECONDS_MAX


class JiangsuUplink:
    """Packages and letters over TCP: the reply to a frame is no receipt. Any number of threads."""

    charges_max: int = CHARGES_MAX

    def __init__(self, line: Line, centre: Centre) -> None:
        """``line`` gives clock, ids and the channel's name; nothing goes over its transport."""
        self._line, self.centre = line, centre

    def heap(self, record: TransactionRecord) -> str:
        """Return what, beside the issuer, must be the same in a package: the card network and the kind of card.

        A record that this wire has no words for goes alone with its like, so that it holds up no other.
        """
        kind = "credit" if record.card_type in CARDS_CREDIT else "stored"
        fault = originals.record_objection(record)
        return f"{record.card_net} {kind}" + ("" if fault is None else f" {fault}")

    def send(self, package: Package, *, subject: UUID, occasion: str) -> Call[UploadOutcome]:
        """Send a package, or the same again under its number. Takes up to the centre's ``reply_seconds_max``.

        Never raises for what the outside does, and never says that a package was taken: the verdict is ``unanswered``, the reason
        ``awaited`` when the frame arrived, ``line_…`` when nobody knows, ``package_form`` for a package that must not be sent.
        """
        head = Head(messages.ORIGINAL, sender=self.centre.us, receiver=self.centre.party, message_no=package.message_no)
        try:
            outbound = Outbound(Message(head, package), parties=self.centre.parties)
        except ValueError as wrong:
            nothing = Letter(package.message_no, str(wrong)[:200].encode())
            return Call(
                UploadOutcome("unanswered", reason=UNFRAMED), self._record(PACKAGE, nothing, b"", UNFRAMED, occasion, subject)
            )
        reason, came = self._tried(outbound)
        outcome = UploadOutcome("unanswered", reason=reason)
        return Call(outcome, self._record(PACKAGE, outbound.letter, came, reason, occasion, subject))

    def post(self, letter: Letter, *, subject: UUID, occasion: str) -> Call[bool]:
        """Send one of our answers or requests; the outcome says whether it arrived. Raises ValueError when too large."""
        reason, came = self._tried(Outbound(letter))
        return Call(reason == AWAITED, self._record(LETTER, letter, came, None if reason == AWAITED else reason, occasion, subject))

    def _tried(self, outbound: Outbound) -> tuple[str, bytes]:
        """Send a frame once; returns what came of it in a word, and the bytes of the reply."""
        came = tcp.exchange(
            self.centre.host, self.centre.port, outbound.start(), reply_bytes=REPLY_BYTES, seconds_max=self.centre.reply_seconds_max
        )
        if came.failed is not None:
            return (DOWN if came.failed == "connect" else SILENT), came.content
        if outbound.feed(came.content) is Next.DONE:
            return AWAITED, came.content
        return (NOT_RECEIVED if outbound.told is Reply.NOT_RECEIVED else UNREADABLE), came.content

    def _record(self, operation: str, letter: Letter, came: bytes, reason: str | None, occasion: str, subject: UUID) -> RawMessage:
        """Return the record of a try: the XML that was sent and the reply's bytes, which prove nothing."""
        address = f"tcp://{self.centre.host}:{self.centre.port}/{letter.message_no}"
        answer = Answer(status=0, headers={}, body=came)
        request = Request("SEND", address, {}, letter.xml)
        return calls.record(self._line, operation, request, answer, "unanswered", reason, occasion, subject)
