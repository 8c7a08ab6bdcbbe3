"""A small city with webhooks: events are written as rooms write them, and a real server receives what is pushed."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec import Struct
from sqlalchemy import Engine, text

from gateways.parking.addresses import guard
from ledger.clock import SetClock
from payments import events
from payments.lots import Lot
from payments.orders import RandomTokens
from payments.webhooks import delivery, subscriptions
from payments.webhooks.delivery import Post, Ran
from payments.webhooks.records import Owner, Webhook
from payments.webhooks.secret import Vault
from tests.payments.conftest import AT, IDS, make_city
from tests.payments.webhooks.receiver import Receiver, receiving

VAULT = Vault(bytes(range(32)))
TOKENS = RandomTokens()


class Town(Struct):
    """Everything that a test of webhooks needs."""

    db: Engine
    lot: Lot
    other: Lot
    post: Post
    clock: SetClock
    receiver: Receiver
    written: int = 0

    def add(self, *kinds: str, url: str | None = None, lot: bool = False, owner: Owner | None = None) -> subscriptions.Shown:
        whose = owner or Owner(self.lot.operator_id, self.lot.lot_id if lot else None)
        with self.db.begin() as tx:
            return subscriptions.add(
                tx, lane=0, owner=whose, url=url or self.receiver.url, kinds=kinds or ("*",), by="test", at=self.clock.now(),
                ids=IDS, tokens=TOKENS, vault=VAULT,
            )  # fmt: skip

    def webhook(self, shown: subscriptions.Shown) -> Webhook:
        with self.db.connect() as tx:
            return subscriptions.one(
                tx, lane=0, owner=Owner(shown.webhook.operator_id), webhook_id=shown.webhook.webhook_id
            )  # fmt: skip

    def event(self, serial: str = "S1", *, kind: events.EventKind = "payment.succeeded", lot: Lot | None = None) -> UUID:
        with self.db.begin() as tx:
            made = self.new(serial, kind=kind, lot=lot)
            events.write(tx, lane=0, rows=[made])
        return made.event_id

    def new(self, serial: str = "S1", *, kind: events.EventKind = "payment.succeeded", lot: Lot | None = None) -> events.NewEvent:
        self.written += 1
        where = lot or self.lot
        told = events.PaymentEvent(
            kind=kind, charge_serial=serial, receipt=f"P{self.written}", channel="wechat", amount_fen=1200, paid_at=AT,
        )  # fmt: skip
        charge = UUID(int=int.from_bytes(serial.encode().rjust(16, b"\0")))
        event_id = IDS.new(self.clock.now(), f"event {self.written}")
        return events.NewEvent(event_id, where.operator_id, where.lot_id, event_id, charge, kind, events.encode(told))

    def push(self) -> Ran:
        return delivery.run_due(self.post)

    def later(self, **spans: float) -> None:
        self.clock.set(self.clock.now() + timedelta(**spans))

    def received(self) -> list[UUID]:
        return [UUID(got.event_id) for got in self.receiver.got]

    def column(self, query: str) -> list[Any]:
        with self.db.connect() as tx:
            return list(tx.execute(text(query)).scalars())

    def replaced(self, **other: object) -> Post:
        return msgspec.structs.replace(self.post, **other)


@pytest.fixture
def town(db: Engine) -> Iterator[Town]:
    clock = SetClock(AT)
    with db.begin() as tx:
        lot, other = make_city(tx, number=1), make_city(tx, number=2)
    post = Post(db=db, lane=0, clock=clock, guard=guard(["127.0.0.0/8"]), vault=VAULT, timeout_seconds=5)
    with receiving() as receiver:
        yield Town(db, lot, other, post, clock, receiver)


@pytest.fixture
def running(town: Town) -> Iterator[Callable[..., Callable[[], None]]]:
    """Start workers that push until told to stop; what is returned stops one and waits for it."""
    stops: list[Callable[[], None]] = []

    def start(post: Post | None = None) -> Callable[[], None]:
        stop = threading.Event()
        thread = threading.Thread(
            target=delivery.run_until, args=(post or town.post,), kwargs={"stop": stop, "poll_seconds": 0.05}
        )  # fmt: skip
        thread.start()

        def end() -> None:
            stop.set()
            thread.join()

        stops.append(end)
        return end

    yield start
    for one in stops:
        one()


def kinds_of(town: Town) -> Sequence[str]:
    return [got.content["type"] for got in town.receiver.got]
