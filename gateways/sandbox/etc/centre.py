"""The Jiangsu dialect over TCP: a network centre that takes packages and tells of booking, disputes and clearing.

Knows sockets and connections; must not know rules. Run by the stand-in, or by a test with ``serving``.
Source: docs/ETC.md, sections 5 and 6.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import date
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateways.etc.clearing import BookingResult, ClearingStatistics, DisputeResult, Package
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.jiangsu import frame, messages
from gateways.etc.jiangsu.frame import READ_BYTES
from gateways.etc.jiangsu.messages import Answer, Head, Kind, Message
from gateways.etc.jiangsu.session import Arrived, Inbound, Next, Outbound
from gateways.etc.services import Service
from gateways.sandbox.etc.clearing import Packages
from gateways.sandbox.etc.desk import SECOND, Desk, Going, instant
from gateways.sandbox.etc.state import Outgoing

LOG: Final = logging.getLogger("tongting.sandbox")
_REST_SECONDS: Final = 0.05
_PORT_REST_SECONDS: Final = 5.0
_SILENCE_SECONDS_MAX: Final = 60.0
_ANSWER: Final = "answer"
_KINDS: Final[dict[str, tuple[Kind, type[Any]]]] = {
    Service.ACCOUNT_RESULT: (messages.BOOKING, BookingResult),
    Service.DISPUTE_RESULT: (messages.DISPUTES, DisputeResult),
    Service.CLEAR_STAT: (messages.CLEARING, ClearingStatistics),
}


class _AnswerTo(Struct, frozen=True):
    """What an answer over TCP is made of when it goes out."""

    head: Head
    receipt: Receipt
    processed_at: int
    clear_on: str | None = None


class Centre:
    """The network centre. Without a configuration it does nothing."""

    def __init__(self, desk: Desk, packages: Packages) -> None:
        self._desk, self._packages, self._config = desk, packages, desk.config.tcp
        self._server: asyncio.Server | None = None
        self.answers: list[Answer] = []
        """Answers that came to our own messages, the latest last."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Where connections are taken; None as long as none are."""
        return None if self._server is None else self._server.sockets[0].getsockname()[:2]

    @property
    def port(self) -> int:
        """The port that takes connections, once ``serve`` was called."""
        assert self.address is not None, "the centre serves"
        return self.address[1]

    async def serve(self) -> None:
        """Begin to take connections; without a configuration nothing happens."""
        if self._config is not None and self._server is None:
            self._server = await asyncio.start_server(self._connected, self._config.host, self._config.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Take connections while the block runs; gives the port."""
        await self.serve()
        try:
            yield self.port
        finally:
            await self.close()

    async def run(self) -> None:
        """Take connections and send what is due, for ever; a port that another program holds is tried again."""
        while self._config is not None:
            try:
                await self.serve()
                await self.send_due(limit=16)
            except OSError as taken:
                LOG.error("the network centre cannot listen on port %d: %s", self._config.port, taken)
                await asyncio.sleep(_PORT_REST_SECONDS)
            except Exception:
                LOG.exception("sending over TCP failed; it goes on after a rest")
            await asyncio.sleep(_REST_SECONDS)

    # What comes in

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._config is not None, "only a configured centre serves"
        inbound = Inbound(us=self._config.centre, parties=self._config.parties)
        with suppress(ConnectionError, TimeoutError):
            arrived = await _arrived(reader, inbound)
            behaviour = self._desk.store.behaviour()
            reply = arrived.reply
            if behaviour.reply_not_received and reply:
                self._desk.store.set_behaviour(
                    msgspec.structs.replace(behaviour, reply_not_received=behaviour.reply_not_received - 1)
                )
                reply, arrived = reply[:-1] + b"0", Arrived(reply)
            await asyncio.sleep(behaviour.answer_late_seconds / self._desk.around.time_factor)
            writer.write(reply)
            await writer.drain()
            self.take(arrived)
        writer.close()

    def take(self, arrived: Arrived) -> None:
        """Act on a message: packages and requests to send again are answered in a message of ours, answers are noted."""
        if arrived.frame is None or arrived.message is None:
            return
        with self._desk.store.together():
            told = arrived.message
            if isinstance(told, Rejection):
                head = messages.claimed_head(arrived.frame.xml)
                if head is not None and head.kind.message_class == messages.NOTIFICATION:
                    self._answer(head, told.result)
            elif isinstance(told.body, Package):
                receipt, clear_on = self._packages.receive(told.body, wire="tcp")
                self._answer(told.head, receipt, None if clear_on is None else clear_on.isoformat())
            elif isinstance(told.body, Answer):
                self.answers.append(told.body)
            elif told.head.kind.message_class == messages.REQUEST and told.head.kind[1:] == messages.BOOKING[1:]:
                self._packages.book_all("tcp")
            elif told.head.kind.message_class == messages.NOTIFICATION:
                self._answer(told.head, Receipt.ACCEPTED)

    def _answer(self, head: Head, receipt: Receipt, clear_on: str | None = None) -> None:
        behaviour, store = self._desk.store.behaviour(), self._desk.store
        due_at = self._desk.after(behaviour.answer_late_seconds)
        answer = _AnswerTo(head, receipt, self._desk.now() // SECOND * SECOND, clear_on)
        for _ in range(2 if behaviour.answer_twice else 1):
            number = store.next_number("tcp")
            going = Going(_ANSWER, body=msgspec.to_builtins(answer), wire="tcp")
            store.add_outgoing(
                Outgoing(
                    name=f"answer {number}", message_no=str(number).zfill(20), due_at=due_at, details=msgspec.json.encode(going)
                )
            )

    # What goes out

    async def send_due(self, limit: int) -> int:
        """Send what is due, one after another; returns how many messages were tried."""
        if self._config is None or self._config.peer_port is None:
            return 0
        due = self._desk.store.due_outgoing(self._desk.now(), limit)
        for outgoing in due:
            await self._send(outgoing)
        return len(due)

    async def _send(self, outgoing: Outgoing) -> None:
        assert self._config is not None, "only a configured centre sends"
        outbound = Outbound(self._message(outgoing), parties=self._config.parties)
        outbound.tries = outgoing.attempts
        told = await self._tried(outbound)
        due_at = self._desk.after(self._config.pause_seconds)
        state = {Next.DONE: "sent", Next.AGAIN: "waiting", Next.PERSON: "given_up"}[told]
        self._desk.store.set_outgoing(outgoing.name, attempts=outbound.tries, state=state, due_at=due_at)

    async def _tried(self, outbound: Outbound) -> Next:
        assert self._config is not None, "only a configured centre sends"
        content, behaviour = outbound.start(), self._desk.store.behaviour()
        if behaviour.wrong_digest:
            content = content[:26] + b"0" * 32 + content[frame.HEADER_BYTES :]
            self._desk.store.set_behaviour(msgspec.structs.replace(behaviour, wrong_digest=behaviour.wrong_digest - 1))
        try:
            async with asyncio.timeout(self._config.reply_seconds_max):
                reader, writer = await asyncio.open_connection(self._config.peer_host, self._config.peer_port)
                try:
                    writer.write(content)
                    await writer.drain()
                    while data := await reader.read(READ_BYTES):
                        if (told := outbound.feed(data)) is not None:
                            return told
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return outbound.failed()
        return outbound.failed()

    def _message(self, outgoing: Outgoing) -> Message:
        assert self._config is not None, "only a configured centre sends"
        going = msgspec.json.decode(outgoing.details, type=Going)
        assert going.body is not None, "a message says something"
        if going.service == _ANSWER:
            to = msgspec.convert(going.body, _AnswerTo, strict=False)
            clear_on = None if to.clear_on is None else date.fromisoformat(to.clear_on)
            return messages.answer_to(
                to.head, message_no=outgoing.message_no, at=instant(to.processed_at), result=to.receipt, clear_on=clear_on
            )
        kind, body_type = _KINDS[going.service]
        head = Head(kind=kind, sender=self._config.centre, receiver=self._config.peer, message_no=outgoing.message_no)
        return Message(head, msgspec.convert(going.body, body_type))


async def _arrived(reader: asyncio.StreamReader, inbound: Inbound) -> Arrived:
    """Read one connection until it says something, ends or keeps silent."""
    while True:
        try:
            data = await asyncio.wait_for(reader.read(READ_BYTES), _SILENCE_SECONDS_MAX)
        except TimeoutError:
            return inbound.end()
        if not data:
            return inbound.end()
        if (arrived := inbound.feed(data)) is not None:
            return arrived
