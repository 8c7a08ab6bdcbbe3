"""The Jiangsu dialect over real TCP: packages go to the network centre, its messages come to our own server."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gateways.etc import clearing
from gateways.etc.clearing import BookingResult, ClearingStatistics, DisputeResult, Package, Totals
from gateways.etc.codes import BookingReason, DisputeOutcome, Receipt
from gateways.etc.jiangsu import messages
from gateways.etc.jiangsu.frame import FrameFault
from gateways.etc.jiangsu.messages import Answer, Head, Message
from gateways.etc.jiangsu.session import Arrived, Inbound, Next, Outbound
from gateways.sandbox.etc import demo
from gateways.sandbox.etc.desk import TcpConfig
from gateways.sandbox.etc.shapes import Behaviour, SettleIn
from gateways.sandbox.etc.stand_in import EtcStandIn
from gateways.sandbox.server import running
from gateways.sandbox.stand_in import Surroundings
from gateways.sandbox.wechat.signing import Pair
from ledger.clock import SetClock
from tests.gateways.conftest import NOW, config_of, free_port
from tests.gateways.etc_cases import package
from tests.gateways.test_sandbox_etc import SOURCE

CENTRE = messages.NETWORK_CENTRE
US = messages.TONGXINGBAO
TODAY = date(2026, 3, 2)
PACKAGE = replace(package(100, 200, 300), clear_on=TODAY)


class Peer:
    """Our side: a server for what the centre sends, and a way to send to the centre."""

    def __init__(self) -> None:
        self.came: list[Arrived] = []
        self.port = 0
        self.numbers = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        try:
            yield
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inbound, arrived = Inbound(us=US), None
        while arrived is None:
            data = await reader.read(1024)
            arrived = inbound.feed(data) if data else inbound.end()
        self.came.append(arrived)
        writer.write(arrived.reply)
        await writer.drain()
        writer.close()

    def told(self, kind: type[Any]) -> list[Any]:
        bodies = [one.message.body for one in self.came if isinstance(one.message, Message)]
        return [body for body in bodies if isinstance(body, kind)]

    async def tried(self, port: int, outbound: Outbound) -> Next:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(outbound.start())
        told = None
        while told is None and (data := await reader.read(1024)):
            told = outbound.feed(data)
        writer.close()
        return told or outbound.failed()

    async def send(self, port: int, message: Message) -> Next:
        return await self.tried(port, Outbound(message))

    def number(self) -> str:
        self.numbers += 1
        return f"{900 + self.numbers:020d}"


def original(sent: Package) -> Message:
    return Message(Head(messages.ORIGINAL, sender=US, receiver=CENTRE, message_no=sent.message_no), sent)


class Line:
    """Both sides, joined by two ports."""

    def __init__(self, stand_in: EtcStandIn, peer: Peer, port: int, clock: SetClock) -> None:
        self.stand_in, self.peer, self.port, self.clock = stand_in, peer, port, clock

    async def deliver(self, seconds: float = 0) -> None:
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))
        await self.stand_in.deliver(1000)


def play(path: Path, story: Callable[[Line], Awaitable[None]], *, behaviour: Behaviour | None = None, **settings: Any) -> None:
    async def played() -> None:
        peer, clock = Peer(), SetClock(NOW)
        async with peer.serving():
            tcp = TcpConfig(peer_port=peer.port, reply_seconds_max=5)
            around = Surroundings(
                state_dir=path, base_url="http://127.0.0.1:9", clock=clock, manual=True, seed="test", time_factor=1000
            )
            given: dict[str, Any] = {"booking_seconds": 0, "tcp": tcp} | settings
            stand_in = EtcStandIn(around, demo.config(demo.make(SOURCE).theirs, notify_url="http://127.0.0.1:9/", **given))
            if behaviour is not None:
                stand_in.store.set_behaviour(behaviour)
            async with stand_in.centre.serving() as port:
                await story(Line(stand_in, peer, port, clock))
            await stand_in.close()

    asyncio.run(played())


def test_a_package_goes_all_the_way(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        assert await line.peer.send(line.port, original(PACKAGE)) is Next.DONE
        await line.deliver()
        (answer,) = line.peer.told(Answer)
        assert (answer.message_no, answer.result, answer.clear_on) == (PACKAGE.message_no, Receipt.ACCEPTED, TODAY)
        (booking,) = line.peer.told(BookingResult)
        assert clearing.booking_objection(PACKAGE, booking) is None
        assert [one.reason for one in booking.disputed] == [BookingReason.VERIFICATION_FAILED, BookingReason.NO_SUCH_OBU]

        line.stand_in.packages.settle(SettleIn(outcome=DisputeOutcome.RELEASED, trans_no=1))
        line.stand_in.packages.settle(SettleIn(outcome=DisputeOutcome.BAD_DEBT, trans_no=2))
        await line.deliver()
        released, bad = line.peer.told(DisputeResult)
        open_disputes = {(PACKAGE.message_no, 1): 100, (PACKAGE.message_no, 2): 200}
        assert clearing.dispute_objection(released, open_disputes) is None
        assert clearing.dispute_objection(bad, open_disputes) is None

        await line.deliver(86_400)
        (statistics,) = line.peer.told(ClearingStatistics)
        objection = clearing.clearing_objection(
            statistics,
            booked_packages={PACKAGE.message_no: Totals(1, 300)},
            released_files={released.file_no: Totals(1, 100), bad.file_no: Totals(0, 0)},
        )
        assert objection is None
        (asked,) = [one.message for one in line.peer.came if isinstance(one.message, Message) and one.message.body is statistics]
        reply = messages.answer_to(asked.head, message_no=line.peer.number(), at=NOW, result=Receipt.ACCEPTED)
        assert await line.peer.send(line.port, reply) is Next.DONE
        assert [one.result for one in line.stand_in.centre.answers] == [Receipt.ACCEPTED]

    play(tmp_path, story, behaviour=Behaviour(dispute=(BookingReason.VERIFICATION_FAILED, BookingReason.NO_SUCH_OBU)))


@pytest.mark.parametrize("reason", list(BookingReason))
def test_a_booking_result_names_each_reason(tmp_path: Path, reason: BookingReason) -> None:
    async def story(line: Line) -> None:
        await line.peer.send(line.port, original(PACKAGE))
        await line.deliver()
        (booking,) = line.peer.told(BookingResult)
        assert [(one.trans_no, one.reason) for one in booking.disputed] == [(1, reason)]

    play(tmp_path, story, behaviour=Behaviour(dispute=(reason,)))


def test_a_reply_of_0_means_the_same_again(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        outbound = Outbound(original(PACKAGE))
        assert [await line.peer.tried(line.port, outbound) for _ in range(2)] == [Next.AGAIN, Next.AGAIN]
        assert line.stand_in.packages.listed() == []
        assert await line.peer.tried(line.port, outbound) is Next.DONE
        assert len(line.stand_in.packages.listed()) == 1

    play(tmp_path, story, behaviour=Behaviour(reply_not_received=2))


def test_three_tries_and_then_a_person(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        outbound = Outbound(original(PACKAGE))
        assert [await line.peer.tried(line.port, outbound) for _ in range(3)] == [Next.AGAIN, Next.AGAIN, Next.PERSON]

    play(tmp_path, story, behaviour=Behaviour(reply_not_received=3))


def test_a_wrong_digest_is_replied_to_with_0_and_comes_again(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        await line.peer.send(line.port, original(PACKAGE))
        await line.deliver()
        first = line.peer.came[0]
        assert (first.fault, first.reply[-1:]) == (FrameFault.DIGEST, b"0")
        assert line.peer.told(Answer) == []
        await line.deliver(5)
        assert len(line.peer.told(Answer)) == 1

    play(tmp_path, story, behaviour=Behaviour(wrong_digest=1))


def test_the_centre_gives_up_after_three_tries(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        await line.peer.send(line.port, original(PACKAGE))
        for _ in range(5):
            await line.deliver(5)
        assert [one.fault for one in line.peer.came] == [FrameFault.DIGEST] * 6, "two messages, three tries each"

    play(tmp_path, story, behaviour=Behaviour(wrong_digest=100))


def test_an_answer_comes_late_and_twice(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        await line.peer.send(line.port, original(PACKAGE))
        await line.deliver()
        assert line.peer.told(Answer) == []
        await line.deliver(1)
        answers = line.peer.told(Answer)
        assert (len(answers), {one.message_no for one in answers}) == (2, {PACKAGE.message_no})

    play(tmp_path, story, behaviour=Behaviour(answer_late_seconds=61, answer_twice=True))


def test_no_booking_result_until_somebody_asks(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        await line.peer.send(line.port, original(PACKAGE))
        await line.deliver(3600)
        assert line.peer.told(BookingResult) == []
        ask = messages.resend(messages.BOOKING, sender=US, receiver=CENTRE, message_no=line.peer.number())
        assert await line.peer.send(line.port, ask) is Next.DONE
        await line.deliver()
        assert len(line.peer.told(BookingResult)) == 1

    play(tmp_path, story, behaviour=Behaviour(hold_booking=True))


def test_a_package_that_comes_again_is_answered_5(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        for sent in (PACKAGE, replace(PACKAGE, records=PACKAGE.records[:2])):
            assert await line.peer.send(line.port, original(sent)) is Next.DONE
        await line.deliver()
        assert [one.result for one in line.peer.told(Answer)] == [Receipt.ACCEPTED, Receipt.REPEATED]
        assert len(line.peer.told(BookingResult)) == 1

    play(tmp_path, story)


def test_a_message_for_somebody_else_is_answered_2(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        head = Head(messages.ORIGINAL, sender=US, receiver=messages.ORDINARY_ROADS, message_no=PACKAGE.message_no)
        assert await line.peer.send(line.port, Message(head, PACKAGE)) is Next.DONE
        assert line.stand_in.packages.listed() == []
        await line.deliver()
        assert [one.result for one in line.peer.told(Answer)] == [Receipt.HEADER_WRONG]

    play(tmp_path, story)


def test_garbage_is_closed_without_a_word(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: example\r\nuser-agent: something that is long enough\r\n\r\n")
        assert await reader.read() == b""
        writer.close()

    play(tmp_path, story)


def test_a_frame_that_ends_too_soon_is_replied_to_with_0(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        outbound = Outbound(original(PACKAGE))
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        writer.write(outbound.start()[:-1])
        writer.write_eof()
        assert await reader.read() == f"{PACKAGE.message_no}0".encode()
        writer.close()

    play(tmp_path, story)


def test_a_charge_whose_code_does_not_hold_is_disputed(tmp_path: Path) -> None:
    async def story(line: Line) -> None:
        await line.peer.send(line.port, original(PACKAGE))
        await line.deliver()
        (booking,) = line.peer.told(BookingResult)
        assert {one.reason for one in booking.disputed} == {BookingReason.VERIFICATION_FAILED}

    play(tmp_path, story, tac_key=bytes(16))


def test_a_package_of_ten_thousand(tmp_path: Path) -> None:
    full = replace(package(*[100 + number % 50 for number in range(clearing.PACKAGE_CHARGES_MAX)]), clear_on=TODAY)

    async def story(line: Line) -> None:
        assert await line.peer.send(line.port, original(full)) is Next.DONE
        await line.deliver()
        (booking,) = line.peer.told(BookingResult)
        assert clearing.booking_objection(full, booking) is None

    play(tmp_path, story)


def test_the_port_is_served_beside_http_by_the_stand_ins_own_run(tmp_path: Path, pair: Pair) -> None:
    port = free_port()
    around = Surroundings(state_dir=tmp_path, base_url=f"http://127.0.0.1:{port}", seed="test")
    config = demo.config(demo.make(SOURCE).theirs, notify_url="http://127.0.0.1:9/", tcp=TcpConfig(), booking_seconds=3600)
    stand_in = EtcStandIn(around, config)
    wechat = msgspec.structs.replace(config_of(pair, tmp_path / "sandbox.db", port), manual=False)
    with running(wechat, host="127.0.0.1", port=port, others=[stand_in]):
        deadline = time.monotonic() + 20
        while stand_in.centre.address is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stand_in.centre.address is not None
        assert asyncio.run(Peer().send(stand_in.centre.port, original(PACKAGE))) is Next.DONE
        while not stand_in.packages.listed() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [one.count for one in stand_in.packages.listed()] == [3]
