"""One payment over each channel over real HTTP: order, cashier, notice, refund, bill; and what comes in that is not genuine."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app import demo
from app.checks import violations
from app.day.command import free_ports
from app.main import create_app
from app.stand_in import other_stand_ins, sandbox_config
from app.wiring import Wiring, build
from gateways import routing
from gateways.contract import Way
from gateways.sandbox.server import running
from ledger.clock import SetClock
from ledger.ids import payment_number
from payments import checkout, jobs
from payments.checkout import Payer, Started
from payments.lots import Lot
from payments.refunding import refund_jobs, refunds
from reconciliation import daily, matching
from tests.app.conftest import bearer
from tests.app.test_callbacks import served
from tests.flows.conftest import simulated
from tests.flows.test_one_payment import CHARGE
from tests.payments.conftest import AT, IDS, books, make_city

WALLETS: Final = ("wechat", "alipay", "unionpay")
INCOME: Final = 600101


class Stage:
    """The product and all stand-ins, served; an operator with a merchant account at each channel."""

    def __init__(self, wiring: Wiring, lot: Lot) -> None:
        self.wiring, self.lot, settings = wiring, lot, wiring.settings
        self.web, self.channel = settings.public_url, settings.sandbox_url
        self.notices = f"http://{settings.callback_host}:{settings.callback_port}"
        self.http = httpx.Client(trust_env=False, headers=bearer(wiring, "lot", lot), timeout=30)

    def control(self, channel: str, path: str, **body: Any) -> httpx.Response:
        folder = "/_control" if channel == "wechat" else f"/_control/{channel}"
        return self.http.post(f"{self.channel}{folder}/{path}", json=body).raise_for_status()

    def ordered(self, channel: str, serial: str = "1", token: str = "token") -> Started:
        posted = self.http.post(f"{self.web}/v1/lots/lot-1/charges", json=CHARGE | {"lot_serial": serial}).json()
        payer = Payer(payer_id="", way=Way.BROWSER, ip="127.0.0.1", return_url=f"{self.web}/r/{token}")
        return checkout.start(
            self.wiring.till(), lot_id=self.lot.lot_id, charge_id=UUID(posted["charge_id"]), token=f"{token}-{channel}",
            channel=channel, payer=payer,
        )  # fmt: skip

    def arrive(self, started: Started) -> None:
        """Let the payer's browser go where the hand-off leads."""
        hand_off = started.hand_off
        assert hand_off.url is not None
        headers = {"referer": f"{self.web}/"}
        with httpx.Client(trust_env=False, follow_redirects=True, headers=headers) as browser:
            if hand_off.kind == "form":
                browser.post(hand_off.url, data=dict(hand_off.fields)).raise_for_status()
            else:
                browser.get(hand_off.url).raise_for_status()

    def paid(self, channel: str, **other: Any) -> Started:
        started = self.ordered(channel, **other)
        self.arrive(started)
        self.control(channel, "pay", order_no=payment_number(0, started.attempt.payment_id))
        return started

    def later(self, **span: float) -> None:
        assert isinstance(self.wiring.clock, SetClock)
        self.wiring.clock.set(self.wiring.clock.now() + timedelta(**span))
        self.control("wechat", "clock", at=self.wiring.clock.now().isoformat())

    def deliver(self, channel: str) -> dict[str, int]:
        found: dict[str, int] = self.http.post(
            f"{self.channel}{'/_control' if channel == 'wechat' else f'/_control/{channel}'}/deliver"
        ).raise_for_status().json()  # fmt: skip
        return found

    def stage(self, channel: str, token: str = "token") -> str:
        return checkout.status(self.wiring.till(), token=f"{token}-{channel}").stage

    def refund(self, started: Started, fen: int, ref: str = "r1") -> None:
        payment_id = started.attempt.payment_id
        with self.wiring.db.begin() as tx:
            refunds.promise(
                tx, lane=0, payment_id=payment_id, amount_fen=fen, source="operator", source_ref=ref, reason="多收停车费",
                at=self.wiring.clock.now(), ids=IDS, evidence_id=payment_id,
            )  # fmt: skip

    def refund_states(self) -> list[str]:
        with self.wiring.db.connect() as tx:
            return list(tx.execute(text("select state from payments.v_refund order by refund_id")).scalars())


@pytest.fixture
def stage(simulated_home: Path, database: str, tmp_path: Path) -> Iterator[Stage]:
    shutil.copytree(simulated_home, tmp_path / "product")
    settings = simulated(tmp_path / "product", database_url=database, **free_ports())
    wiring = build(settings)
    with wiring.db.begin() as tx:
        lot = make_city(tx)
        for channel in ("alipay", "unionpay", "etc"):
            account = routing.NewAccount(
                operator_id=lot.operator_id, channel=channel, merchant_no=demo.numbered(channel, 1), payee_name=lot.operator_name,
                evidence="agreement", valid_from=AT - timedelta(days=60),
            )  # fmt: skip
            provider_no = wiring.providers()[channel]
            routing.register(tx, account=account, operator_name=lot.operator_name, provider_no=provider_no, at=AT)
    config = sandbox_config(settings)
    others = other_stand_ins(settings, config)
    with (
        running(config, host="127.0.0.1", port=settings.sandbox_port, others=others),
        served(create_app(wiring), port=settings.web_port),
    ):
        acting = Stage(wiring, lot)
        yield acting
        acting.http.close()
    with wiring.db.connect() as tx:
        assert violations(tx) == []
    wiring.close()


@pytest.mark.parametrize("channel", WALLETS)
def test_a_payment_is_ordered_paid_notified_and_booked(stage: Stage, channel: str) -> None:
    stage.paid(channel)
    stage.later(seconds=2)
    assert stage.deliver(channel)["accepted"] == 1
    assert [(credit, fen) for _, credit, fen in books(stage.wiring.db).entries] == [(INCOME, 900)]
    assert stage.stage(channel) == "paid"


@pytest.mark.parametrize("channel", WALLETS)
def test_a_notice_that_never_comes_is_found_by_the_query(stage: Stage, channel: str) -> None:
    stage.control(channel, "faults", faults=[{"kind": "never"}])
    stage.paid(channel)
    stage.later(minutes=6)
    assert jobs.run_due(stage.wiring.till()).found_paid == 1
    assert stage.stage(channel) == "paid"


@pytest.mark.parametrize("kind", ["wrong_amount", "other_merchant", "wrong_signature"])
@pytest.mark.parametrize("channel", WALLETS)
def test_a_notice_that_is_wrong_once_is_refused_and_the_money_is_booked_all_the_same(
    stage: Stage, channel: str, kind: str
) -> None:  # fmt: skip
    stage.control(channel, "faults", faults=[{"kind": kind}])
    stage.paid(channel)
    stage.later(seconds=2)
    assert stage.deliver(channel)["failed"] >= 1
    assert books(stage.wiring.db).entries == []
    for _ in range(3):
        stage.later(minutes=6)
        stage.deliver(channel)
        jobs.run_due(stage.wiring.till())
    assert [fen for _, _, fen in books(stage.wiring.db).entries] == [900]


@pytest.mark.parametrize("channel", WALLETS)
def test_an_order_that_nobody_pays_is_over_in_the_end(stage: Stage, channel: str) -> None:
    stage.ordered(channel)
    for _ in range(4):
        stage.later(minutes=16)
        jobs.run_due(stage.wiring.till())
    assert stage.stage(channel) == "over"
    assert books(stage.wiring.db).entries == []


@pytest.mark.parametrize("channel", WALLETS)
def test_a_payment_is_refunded_in_parts_over_its_own_channel(stage: Stage, channel: str) -> None:
    started = stage.paid(channel)
    stage.later(seconds=2)
    stage.deliver(channel)
    stage.refund(started, 300)
    stage.refund(started, 600, "r2")
    for _ in range(6):
        refund_jobs.run_due(stage.wiring.till())
        stage.deliver(channel)
        stage.later(minutes=3)
    assert stage.refund_states() == ["done", "done"]
    assert stage.stage(channel) == "refunded"


@pytest.mark.parametrize("channel", WALLETS)
def test_the_bill_of_the_day_is_matched_and_a_refund_made_in_the_console_is_adopted(stage: Stage, channel: str) -> None:
    first, _ = stage.paid(channel), stage.paid(channel, serial="2", token="second")
    stage.later(seconds=2)
    stage.deliver(channel)
    number = payment_number(0, first.attempt.payment_id)
    stage.control(channel, "refund", order_no=number, amount_fen=100)
    bill_on = AT.date()
    stage.later(hours=30)
    line = stage.wiring.line(channel)
    with stage.wiring.db.connect() as tx:
        accounts = daily.accounts(tx, channel=line.connected.channel, bill_on=bill_on)
    assert len(accounts) == 1
    _seal(stage.wiring)
    daily.reconcile(stage.wiring.db, lane=0, line=line, bill_on=bill_on, account=accounts[0])
    _seal(stage.wiring)
    stage.later(minutes=10)
    day = daily.reconcile(stage.wiring.db, lane=0, line=line, bill_on=bill_on, account=accounts[0])
    assert day.run is not None, day.bill
    with stage.wiring.db.connect() as tx:
        differences = matching.differences(tx, run_id=day.run.run_id)
    assert differences == []
    assert day.run.matched == 3
    assert stage.refund_states() == ["done"]


def _seal(wiring: Wiring) -> None:
    with wiring.db.connect() as connection:
        while wiring.sealer().seal_once(connection, at=wiring.clock.now()):
            pass


@pytest.mark.parametrize("channel", [*WALLETS, "etc"])
def test_what_is_not_genuine_is_refused_in_the_channels_form_and_never_a_defect(stage: Stage, channel: str) -> None:
    kinds = {"wechat": "application/json", "etc": "application/json"}
    headers = {"content-type": kinds.get(channel, "application/x-www-form-urlencoded")}
    url = f"{stage.notices}/callbacks/{channel}"
    for body in (b"", b"{}", b"a=1&a=2", "订单=支付".encode("gb18030"), b"\xff" * 500, b"x" * 60_000, b"[" * 60_000, b"%zz=1"):
        answer = httpx.post(url, content=body, headers=headers, trust_env=False)
        assert 200 <= answer.status_code < 500, (body[:20], answer.status_code, answer.text)
        assert answer.content.strip() not in (b"success", b"ok") or channel != "alipay"
    assert books(stage.wiring.db).entries == []
    huge = httpx.post(url, content=iter([b"y" * 1_000_000] * 100), headers=headers, trust_env=False, timeout=30)
    assert huge.status_code == 413


def test_a_charge_is_offered_the_channels_that_have_a_route(stage: Stage) -> None:
    with stage.wiring.db.connect() as tx:
        assert routing.open_channels(tx, operator_id=stage.lot.operator_id, at=AT) == ("alipay", "etc", "unionpay", "wechat")
