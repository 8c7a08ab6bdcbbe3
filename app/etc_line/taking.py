"""One message of the network centre: who says it, what it says, what follows, and what is replied.

Knows Jiangsu's messages and who carries out what; must not know sockets. Called by the server for each frame.

Nothing on this line is signed. What proves a message is the line itself: it came from an address that is the centre's, on a private
line, and names the centre as its sender. Whatever else comes is kept and nothing follows from it.

A message is kept, carried out and its answer put on the way in one transaction, and only then replied to as received: what was
replied to cannot be lost, and what was not comes again under the same number.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final
from uuid import UUID

import msgspec
import psycopg
from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.callbacks.gate import Bucket
from gateways import messages as evidence
from gateways.calls import Call, Line
from gateways.contract import Operation, RawMessage, Verdict
from gateways.etc.clearing import BookingResult, ClearingStatistics, DisputeResult, Package
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.jiangsu import frame, messages
from gateways.etc.jiangsu.frame import Frame
from gateways.etc.jiangsu.messages import Answer, Head, Message
from gateways.etc.jiangsu.session import Arrived, Inbound
from gateways.etc.jiangsu.uplink import Centre
from gateways.etc.uploads import ANSWERED, UploadOutcome
from payments import results
from payments.cards import letters, packing
from payments.cards.records import Finding
from payments.checkout import Till
from payments.results import Notice

LOG: Final = logging.getLogger("tongting.etc_line")
TRIES: Final = 3
"""So often a message is carried out anew when the database turned it down, as when two callers booked one fact at once."""
NO_REPLY: Final = b""
"""Close without a word."""

_RESULTS: Final = {
    Finding.BOOKED: Receipt.ACCEPTED,
    Finding.SETTLED_DISPUTES: Receipt.ACCEPTED,
    Finding.CLEARED: Receipt.ACCEPTED,
    Finding.CLEARING_ALREADY: Receipt.REPEATED,
    Finding.PACKAGE_UNKNOWN: Receipt.CONTENT_WRONG,
    Finding.BOOKING_REFUSED: Receipt.CONTENT_WRONG,
    Finding.DISPUTE_REFUSED: Receipt.CONTENT_WRONG,
    Finding.CLEARING_DISAGREES: Receipt.CLEARING_DISAGREES,
}
"""What is answered to a booking result, a dispute result, clearing statistics."""


class Said(Struct, frozen=True):
    """A frame from a peer, and what it says: a message, or what to answer to one that is not taken."""

    peer: str
    frame: Frame
    head: Head
    told: Message | Rejection


class Taker:
    """Takes messages one at a time: in the order in which they came, and so that no two wait for each other's locks."""

    def __init__(self, till: Till, line: Line, centre: Centre, *, refused_per_minute: int) -> None:
        """``line`` gives the channel's name, clock and ids; nothing is called over it."""
        self._till, self._line, self._centre = till, line, centre
        self._refused = Bucket(refused_per_minute)
        self._one_at_a_time = threading.Lock()

    def inbound(self) -> Inbound:
        """Return what judges the bytes of one connection."""
        return Inbound(us=self._centre.us, parties=self._centre.parties)

    def take(self, peer: str, arrived: Arrived) -> bytes:
        """Act on what came in a connection from the centre's address and return the reply. Never raises."""
        if arrived.frame is None:
            LOG.warning("a frame from %s is not taken: %s", peer, arrived.fault)
            return arrived.reply
        with self._one_at_a_time:
            try:
                return self._taken(peer, arrived, arrived.frame)
            except Exception:
                LOG.exception("message %s from %s could not be taken; it comes again", arrived.frame.message_no, peer)
                return frame.reply(arrived.frame.message_no, received=False)

    def refuse(self, peer: str, arrived: Arrived) -> None:
        """Keep what came from an address that is not the centre's; a flood of it is only counted in the log. Never raises."""
        if arrived.frame is None:
            return
        try:
            with self._one_at_a_time:
                self._keep_refused(peer, arrived.frame, "unverified", "peer_unknown")
        except Exception:
            LOG.exception("a message from the unknown address %s could not be kept", peer)

    def _taken(self, peer: str, arrived: Arrived, came: Frame) -> bytes:
        told = arrived.message
        assert told is not None, "a frame that holds says something"
        head = told.head if isinstance(told, Message) else messages.claimed_head(came.xml)
        if head is None:
            self._keep_refused(peer, came, "unreadable", "header")
            return arrived.reply  # it has arrived; there is nobody to answer
        if head.sender != self._centre.party.upper():
            self._keep_refused(peer, came, "unverified", "sender_unknown")
            return NO_REPLY
        self._carry_out(Said(peer, came, head, told))
        return arrived.reply

    def _keep_refused(self, peer: str, came: Frame, verdict: Verdict, reason: str) -> None:
        LOG.warning("message %s from %s is not taken: %s", came.message_no, peer, reason)
        if self._refused.take(self._till.clock.now()):
            self._keep(self._message(peer, came, verdict, reason))

    def _carry_out(self, said: Said) -> None:
        """Do what a message of the centre asks for, in one transaction; one that the database does not take is kept at least."""
        if isinstance(said.told, Rejection):
            message = self._message(said.peer, said.frame, "unreadable", said.told.result.name.lower())
        else:
            message = self._message(said.peer, said.frame, "verified", None)
        for attempt in range(1, TRIES + 1):
            try:
                with self._till.db.begin() as tx:
                    receipt = self._deed(said.told)(tx, said, message)
                    if receipt is not None:
                        self._answer(tx, said.head, receipt, message.message_id)
                return
            except Exception as failed:
                if attempt < TRIES and isinstance(failed, psycopg.Error | DBAPIError):
                    continue
                self._keep(msgspec.structs.replace(message, reason="not_applied"))
                raise

    def _deed(self, told: Message | Rejection) -> Callable[[Connection, Said, RawMessage], Receipt | None]:
        if isinstance(told, Rejection):
            return self._reject
        if isinstance(told.body, Answer):
            return self._answered
        if isinstance(told.body, BookingResult | DisputeResult | ClearingStatistics):
            return self._hear
        return self._only_keep

    # What follows. Each keeps the message and returns what to answer, None for nothing.

    def _reject(self, tx: Connection, said: Said, message: RawMessage) -> Receipt | None:
        """A message that cannot be taken: its own code goes back; to an answer nothing is answered."""
        assert isinstance(said.told, Rejection), "chosen by its kind"
        LOG.error("message %s of the centre is not taken: %s", said.head.message_no, said.told.reason)
        evidence.keep(tx, lane=self._till.lane, messages=[message])
        return said.told.result if said.head.kind.message_class == messages.NOTIFICATION else None

    def _answered(self, tx: Connection, said: Said, message: RawMessage) -> None:
        """The receipt of a package, or an answer to something else of ours."""
        assert isinstance(said.told, Message), "chosen by its kind"
        answer = said.told.body
        assert isinstance(answer, Answer), "chosen by its kind"
        if said.head.kind != messages.ORIGINAL_ANSWER or answer.result not in ANSWERED:
            LOG.error("answer %s to message %s of ours means nothing to us", int(answer.result), answer.message_no)
            evidence.keep(tx, lane=self._till.lane, messages=[message])
            return
        reason = None if answer.result is Receipt.ACCEPTED else answer.result.name.lower()
        outcome = UploadOutcome("verified", answer.result, reason, answer.clear_on)
        packing.answered(tx, self._till, number=answer.message_no, call=Call(outcome, message))

    def _hear(self, tx: Connection, said: Said, message: RawMessage) -> Receipt:
        """What issuers booked, how disputes ended, what is cleared."""
        assert isinstance(said.told, Message), "chosen by its kind"
        notice = Notice(message, None, clearing=said.told.body)
        [outcome] = results.apply(tx, lane=self._till.lane, notices=[notice], at=self._till.clock.now(), ids=self._till.ids)
        assert isinstance(outcome.finding, Finding), "the word of a clearing party has a finding of its own"
        if not outcome.accepted:
            LOG.error("message %s of the centre is refused: %s", said.head.message_no, outcome.reason)
        return _RESULTS[outcome.finding]

    def _only_keep(self, tx: Connection, said: Said, message: RawMessage) -> Receipt | None:
        """Refunds, adjustments, settlements, whose bodies nobody has published; a package or a request, which are not for us."""
        assert isinstance(said.told, Message), "chosen by its kind"
        evidence.keep(tx, lane=self._till.lane, messages=[message])
        LOG.critical(
            "message %s of the centre, of class, type and content %s, is kept and nothing else: a person must read it",
            said.head.message_no, tuple(said.head.kind),
        )  # fmt: skip
        if said.head.kind.message_class != messages.NOTIFICATION:
            return None
        return Receipt.ADVICE_REFUSED if isinstance(said.told.body, Package) else Receipt.ACCEPTED

    # Evidence and answers

    def _answer(self, tx: Connection, head: Head, receipt: Receipt, evidence_id: UUID) -> None:
        """Put our answer on the way. Processing times have whole seconds on this wire."""
        at = self._till.clock.now().replace(microsecond=0)

        def write(number: str) -> bytes:
            answer = messages.answer_to(head, message_no=number, at=at, result=receipt)
            return messages.write(answer, parties=self._centre.parties)

        letters.answer(tx, self._till, answers_no=head.message_no, evidence=evidence_id, write=write)

    def _message(self, peer: str, came: Frame, verdict: Verdict, reason: str | None) -> RawMessage:
        """Return the record of a message: the XML as it came, and beside it who sent it and the frame's number."""
        now = self._till.clock.now()
        kept = evidence.received(
            self._line.connected.channel, operation=Operation.CALLBACK.value, direction="in", verdict=verdict, reason=reason,
            headers={}, body=came.xml, at=now, ids=self._line.ids, occasion=f"tcp {peer} {came.message_no}",
        )  # fmt: skip
        where = msgspec.json.encode({"frame": came.message_no, "peer": peer}).decode()
        return msgspec.structs.replace(kept, headers=where)

    def _keep(self, message: RawMessage) -> None:
        with self._till.db.begin() as tx:
            evidence.keep(tx, lane=self._till.lane, messages=[message])
