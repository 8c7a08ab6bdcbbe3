"""One payment from the lot's charge to the lot's event, every step over real HTTP: API, stand-in, notice, feed."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.checks import violations
from app.day.command import free_ports
from app.main import create_app
from app.stand_in import sandbox_config
from app.wiring import Wiring, build
from gateways.sandbox.server import running
from ledger.clock import SetClock
from payments import checkout, jobs
from payments.lots import Lot
from payments.records import Order
from tests.app.conftest import bearer
from tests.app.test_callbacks import kept, served
from tests.flows.conftest import simulated
from tests.payments.conftest import books, make_city

CLEARING, INCOME, SUSPENSE = 101201, 600101, 224101
CHARGE: dict[str, Any] = {
    "lot_serial": "1", "plate": "苏B12345", "plate_color": "blue", "entered_at": "2026-03-02T10:00:00+08:00", "minutes": 90,
    "amount_fen": 900, "tariff_text": "每小时6元",
}  # fmt: skip


class Stage:
    """The product and the stand-in, both served, their clocks set together."""

    def __init__(self, wiring: Wiring, lot: Lot, web: str, channel: str) -> None:
        self.wiring, self.lot, self.web, self.channel = wiring, lot, web, channel
        self.http = httpx.Client(trust_env=False, headers=bearer(wiring, "lot", lot))

    def ordered(self, serial: str, token: str, payer: str) -> Order:
        """The lot posts a charge and a payer orders its payment."""
        posted = self.http.post(f"{self.web}/v1/lots/lot-1/charges", json=CHARGE | {"lot_serial": serial}).json()
        started = checkout.start(
            self.wiring.till(),
            lot_id=self.lot.lot_id,
            charge_id=UUID(posted["charge_id"]),
            token=token,
            channel="wechat",
            payer=checkout.Payer(payer_id=payer),
        )
        package = started.hand_off.fields["package"].removeprefix("prepay_id=")
        self.http.post(f"{self.channel}/_control/pay", json={"prepay_id": package}).raise_for_status()
        return started.order

    def fault(self, **fault: object) -> None:
        self.http.post(f"{self.channel}/_control/faults", json={"faults": [fault]}).raise_for_status()

    def later(self, **span: float) -> None:
        assert isinstance(self.wiring.clock, SetClock)
        self.wiring.clock.set(self.wiring.clock.now() + timedelta(**span))
        self.http.post(f"{self.channel}/_control/clock", json={"at": self.wiring.clock.now().isoformat()}).raise_for_status()

    def deliver(self) -> None:
        self.http.post(f"{self.channel}/_control/deliver", timeout=30).raise_for_status()

    def events(self) -> list[tuple[str, str]]:
        page = self.http.get(f"{self.web}/v1/lots/lot-1/events").json()
        return [(one["event"]["charge_serial"], one["event"]["kind"]) for one in page["events"]]


@pytest.fixture
def stage(simulated_home: Path, database: str, tmp_path: Path) -> Iterator[Stage]:
    shutil.copytree(simulated_home, tmp_path / "product")
    ports = free_ports()
    settings = simulated(tmp_path / "product", database_url=database, **ports)
    wiring = build(settings)
    with wiring.db.begin() as tx:
        lot = make_city(tx)
    with (
        running(sandbox_config(settings), host="127.0.0.1", port=settings.sandbox_port),
        served(create_app(wiring), port=settings.web_port),
    ):
        acting = Stage(wiring, lot, settings.public_url, settings.sandbox_url)
        yield acting
        acting.http.close()
    with wiring.db.connect() as tx:
        assert violations(tx) == []
    wiring.close()


def test_a_charge_is_posted_paid_notified_booked_and_told_to_the_lot(stage: Stage) -> None:
    stage.ordered("1", "token-1", "o-1")
    stage.later(seconds=10)
    stage.deliver()
    assert books(stage.wiring.db).entries == [(CLEARING, INCOME, 900)]
    assert stage.events() == [("1", "payment.succeeded")]
    assert checkout.status(stage.wiring.till(), token="token-1").stage == "paid"


def test_a_notice_that_never_comes_is_found_by_the_query(stage: Stage) -> None:
    stage.fault(kind="never")
    stage.ordered("1", "token-1", "o-1")
    stage.later(minutes=1)
    stage.deliver()
    assert stage.events() == []
    assert jobs.run_due(stage.wiring.till()).found_paid == 1
    assert stage.events() == [("1", "payment.succeeded")]


@pytest.mark.parametrize("kind", ["wrong_amount", "other_merchant", "wrong_signature", "signtest"])
def test_a_notice_that_is_wrong_once_is_refused_and_the_money_is_booked_all_the_same(stage: Stage, kind: str) -> None:
    stage.fault(kind=kind)
    stage.ordered("1", "token-1", "o-1")
    stage.later(seconds=10)
    stage.deliver()
    assert kept(stage.wiring.db, 3).messages == 3, "the charge, the order, and the notice that was refused"
    assert books(stage.wiring.db).entries == []
    stage.later(minutes=1)
    stage.deliver()
    jobs.run_due(stage.wiring.till())
    assert books(stage.wiring.db).entries == [(CLEARING, INCOME, 900)]
    assert stage.events() == [("1", "payment.succeeded")]


def test_two_phones_paying_one_charge_leave_one_settled_and_one_in_suspense(stage: Stage) -> None:
    stage.fault(kind="twice")
    stage.ordered("1", "token-1", "o-1")
    stage.ordered("1", "token-2", "o-2")
    for _ in range(3):
        stage.deliver()
        stage.later(minutes=1)
    assert books(stage.wiring.db).entries == [(CLEARING, SUSPENSE, 900), (CLEARING, INCOME, 900)]
    assert sorted(stage.events()) == [("1", "payment.succeeded"), ("1", "payment.suspended")]
    assert books(stage.wiring.db).cases == ["refund_second_payment"]
