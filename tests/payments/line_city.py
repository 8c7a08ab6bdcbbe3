"""A lot with cards on the province's line: the network centre's stand-in on one port, our own listening side on another."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Engine, text

from app.etc_line.server import Limits, LineServer
from app.etc_line.taking import Taker
from gateways import tcp
from gateways.etc import channel as etc_channel
from gateways.etc import keys as etc_keys
from gateways.etc import line as https
from gateways.etc.codes import Receipt
from gateways.etc.jiangsu import messages
from gateways.etc.jiangsu.frame import REPLY_BYTES
from gateways.etc.jiangsu.messages import Head, Message
from gateways.etc.jiangsu.session import Outbound
from gateways.etc.jiangsu.uplink import Centre, JiangsuUplink
from gateways.registry import Connected, Registry
from gateways.sandbox.etc import demo
from gateways.sandbox.etc.desk import TcpConfig
from gateways.sandbox.etc.shapes import Behaviour, SettleIn
from gateways.sandbox.etc.stand_in import EtcStandIn
from gateways.sandbox.stand_in import Surroundings
from gateways.transport import HttpTransport
from ledger.clock import SetClock
from payments.cards import letters, packing
from payments.cards.packing import Sent
from tests.gateways.conftest import free_port
from tests.payments.conftest import AT
from tests.payments.mandates.deducting import City, demo_keys
from tests.payments.test_cards import Lane

T = TypeVar("T")
US, CENTRE = messages.TONGXINGBAO, messages.NETWORK_CENTRE
TODAY = date(2026, 3, 2)
FACTOR = 1000
"""How many times faster the stand-in's own waiting is; what it counts by the clock is given as so many times more."""
_SECONDS_MAX = 30


class CentreStandIn:
    """The stand-in in a thread with a loop of its own; everything that touches it happens there."""

    def __init__(self, path: Path, clock: SetClock, tcp_config: TcpConfig, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        around = Surroundings(
            state_dir=path, base_url="http://127.0.0.1:9", clock=clock, manual=True, seed="test", time_factor=FACTOR
        )
        given: dict[str, Any] = {"booking_seconds": 60 * FACTOR, "tcp": tcp_config} | settings
        config = demo.config(demo_keys()[1].theirs, notify_url="http://127.0.0.1:9/", **given)
        self.stand_in = self.do(lambda: EtcStandIn(around, config))
        self.wait(lambda: self.stand_in.centre.serve())

    def do(self, act: Callable[[], T]) -> T:
        """Do something with the stand-in in its own thread."""

        async def done() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(_SECONDS_MAX)

    def wait(self, act: Callable[[], Awaitable[T]]) -> T:
        async def done() -> T:
            return await act()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(120)

    def close(self) -> None:
        self.wait(self.stand_in.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class LineLane(Lane):
    """As the lane over HTTPS; what the clearing party did there the network centre does here."""

    def __init__(self, city: City, centre: CentreStandIn, uplink: JiangsuUplink, port: int) -> None:
        self.city, self.centre, self.line, self.port = city, centre, uplink, port
        self.uplink = uplink  # type: ignore[assignment]  # the other wire's

    def send(self) -> Sent:
        """Let the packing time pass and send what is due; what the centre answers is still with it."""
        self.city.later(minutes=16)
        return packing.run_due(self.city.till, self.line)

    def again(self, **span: float) -> Sent:
        self.city.later(**span)
        return packing.run_due(self.city.till, self.line)

    def deliver(self, **span: float) -> None:
        """Let the centre say what it has to say by now."""
        if span:
            self.city.later(**span)
        self.centre.wait(lambda: self.centre.stand_in.deliver(1000))

    def post(self) -> letters.Posted:
        """Send what we have to say."""
        return letters.run_due(self.city.till, self.line)

    def ask(self) -> letters.Posted:
        """Do one round of the sender: ask for what is overdue, send what is due."""

        def write(number: str) -> bytes:
            return messages.write(messages.resend(messages.BOOKING, sender=US, receiver=CENTRE, message_no=number))

        letters.ask_for_bookings(self.city.till, write=write)
        return self.post()

    def answers(self) -> list[Receipt]:
        """What our answers said, as the centre has them, the lowest first: those of one instant go in any order."""
        self.post()
        return self.centre.do(lambda: sorted(one.result for one in self.centre.stand_in.centre.answers))

    def behave(self, **how: Any) -> None:
        behaviour = msgspec.convert(how, Behaviour)
        self.centre.do(lambda: self.centre.stand_in.store.set_behaviour(behaviour))

    def book(self) -> None:
        self.deliver()
        self.deliver(seconds=61)

    def settle(self, outcome: int, **which: Any) -> None:
        wanted = msgspec.convert({"outcome": outcome, **which}, SettleIn)
        self.centre.do(lambda: self.centre.stand_in.packages.settle(wanted))
        self.deliver()

    def clear(self, day: date = TODAY) -> None:
        self.centre.do(lambda: self.centre.stand_in.packages.clear(day))
        self.deliver()

    def lose_answers(self) -> None:
        """As if the centre had given up what it has to say."""
        store = self.centre.stand_in.store

        def given_up() -> None:
            for one in store.due_outgoing(2**62, 100):
                store.set_outgoing(one.name, attempts=3, state="given_up", due_at=one.due_at)

        self.centre.do(given_up)

    def packages(self) -> list[dict[str, Any]]:
        listed = self.centre.do(lambda: self.centre.stand_in.packages.listed())
        return [msgspec.structs.asdict(one) for one in listed]

    # The other end of our listening side

    def say(self, message: Message) -> bytes:
        """Say something in the centre's place, from this machine; returns the reply."""
        return self.throw(Outbound(message).start())

    def throw(self, content: bytes, *, seconds_max: float = 20) -> bytes:
        return tcp.exchange("127.0.0.1", self.port, content, reply_bytes=REPLY_BYTES, seconds_max=seconds_max).content

    def came(self) -> list[tuple[str, str | None]]:
        """Verdict and reason of everything that was kept of what came, in order."""
        with self.city.db.connect() as tx:
            query = text(
                "select verdict, reason from gateways.raw_message where direction = 'in' and headers <> '{}' order by message_id"
            )
            return [(row.verdict, row.reason) for row in tx.execute(query)]

    def letters(self) -> list[str]:
        return self.city.column("select convert_from(content, 'UTF8') from payments.card_letter order by number")


def said(kind: messages.Kind, body: Any, *, number: int = 7_000, sender: str = CENTRE, receiver: str = US) -> Message:
    return Message(Head(kind, sender=sender, receiver=receiver, message_no=f"{number:020d}"), body)


@contextmanager
def listening(taker: Taker, *, port: int = 0, peers: frozenset[str] = frozenset({"127.0.0.1"}), **limits: Any) -> Iterator[int]:
    """Our listening side while the block runs; gives its port."""
    server, stop = LineServer(taker, peers=peers, limits=Limits(**limits)), Event()
    server.bind("127.0.0.1", port)
    thread = threading.Thread(target=server.serve, args=(stop,))
    thread.start()
    try:
        yield server.port
    finally:
        stop.set()
        thread.join()


@contextmanager
def lane_on_the_line(db: Engine, path: Path, *, settings: dict[str, Any] | None = None, **listening_as: Any) -> Iterator[LineLane]:
    """A city whose cards go over the line. ``settings`` are the stand-in's, the rest our listening side's."""
    clock, port = SetClock(AT), free_port()
    with ExitStack() as over:
        transport = HttpTransport(timeout_seconds=1)
        over.callback(transport.close)
        party = https.Provider(sender_id=demo.PROVIDER, receiver_id=demo.PARTY, api_url="http://127.0.0.1:9")
        registry = Registry([Connected(channel=etc_channel.Etc(party), keys=etc_keys.load(demo_keys()[1].ours))])
        city = City(db, registry, transport, clock, "http://127.0.0.1:9")
        centre = Centre(us=US, party=CENTRE, host="127.0.0.1", port=port, reply_seconds_max=20)
        uplink = JiangsuUplink(city.line("etc"), centre)
        taker = Taker(city.till, city.line("etc"), centre, refused_per_minute=100)
        ours = over.enter_context(listening(taker, **listening_as))
        config = TcpConfig(port=port, peer_port=ours, reply_seconds_max=20)
        stand_in = CentreStandIn(path, clock, config, **(settings or {}))
        over.callback(stand_in.close)
        yield LineLane(city, stand_in, uplink, ours)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
