"""Split stays paid for over real stand-ins: each part in its payee's book."""

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from app import demo, keys
from app.checks import violations
from app.day.command import free_ports
from app.main import create_app
from app.stand_in import other_stand_ins, sandbox_config
from app.wiring import build
from gateways import routing
from gateways.contract import Way
from gateways.sandbox.server import running
from ledger.ids import payment_number
from payments import baskets
from payments.baskets import Status
from payments.checkout import Payer
from payments.lots import Lot
from payments.refunding import refund_jobs, refunds
from payments.splitting import splits, wording
from payments.splitting.split_store import Group
from tests.app.test_callbacks import served
from tests.flows.conftest import simulated
from tests.flows.test_four_channels import Stage
from tests.payments.conftest import AT, IDS, make_city, new_charge
from tests.payments.splitting.test_splits import add, group, post, rule

INCOME = 600101


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose keys are valid on the day of these tests: the same as of the flows."""
    made = tmp_path_factory.mktemp("simulated")
    keys.make_missing(simulated(made))
    return made


class Scene:
    """A lot with a shared berth, both payees with accounts at WeChat Pay and Alipay, and a split charge."""

    def __init__(self, stage: Stage, lot: Lot) -> None:
        self.stage, self.lot, self.till = stage, lot, stage.wiring.till()
        with stage.wiring.db.begin() as tx:
            add(tx, rule())
            post(tx, lot, new_charge("S1", amount_fen=1001))

    def group(self) -> Group:
        with self.stage.wiring.db.connect() as tx:
            return group(tx, self.lot)

    def open(self) -> None:
        with self.stage.wiring.db.begin() as tx:
            baskets.open_basket(
                tx, till=self.till, lot_id=self.lot.lot_id, charge_ids=self.group().charge_ids, token="stay-1",
                at=self.stage.wiring.clock.now(),
            )  # fmt: skip

    def status(self) -> Status:
        return baskets.status(self.till, token="stay-1")

    def pay_an_act(self, channel: str) -> baskets.Started:
        payer = Payer(payer_id="", way=Way.BROWSER, ip="127.0.0.1", return_url=f"{self.stage.web}/b/stay-1")
        started = baskets.start(self.till, token="stay-1", channel=channel, payer=payer)
        self.stage.arrive(_as_single(started))
        self.stage.control(channel, "pay", order_no=payment_number(0, started.attempts[0].payment_id))
        self.stage.later(seconds=5)
        self.status()
        return started

    def incomes(self) -> dict[int, int]:
        """Income of each book."""
        with self.stage.wiring.db.connect() as tx:
            rows = tx.execute(
                text("select book_id, sum(amount_fen) from ledger.v_posting where credit_account = :income group by 1"),
                {"income": INCOME},
            )
            return {int(row[0]): int(row[1]) for row in rows}


class _Single(msgspec.Struct, frozen=True):
    hand_off: Any


def _as_single(started: baskets.Started) -> Any:
    return _Single(started.hand_off)


@pytest.fixture
def scene(home: Path, database: str, tmp_path: Path) -> Iterator[Callable[[], Scene]]:
    shutil.copytree(home, tmp_path / "product")
    wiring = build(simulated(tmp_path / "product", database_url=database, **free_ports()))
    settings = wiring.settings
    with wiring.db.begin() as tx:
        lots = [make_city(tx, number=number) for number in (1, 2)]
        for number, lot in enumerate(lots, 1):
            account = routing.NewAccount(
                operator_id=lot.operator_id, channel="alipay", merchant_no=demo.numbered("alipay", number),
                payee_name=lot.operator_name, evidence="agreement", valid_from=AT - timedelta(days=60),
            )  # fmt: skip
            routing.register(tx, account=account, operator_name=lot.operator_name, provider_no=wiring.providers()["alipay"], at=AT)
    config = sandbox_config(settings)
    with (
        running(config, host="127.0.0.1", port=settings.sandbox_port, others=other_stand_ins(settings, config)),
        served(create_app(wiring), port=settings.web_port),
    ):
        stage = Stage(wiring, lots[0])
        yield lambda: Scene(stage, lots[0])
        stage.http.close()
    with wiring.db.connect() as tx:
        assert violations(tx) + splits.check(tx) == []
    wiring.close()


def books_of(scene: Scene) -> list[int]:
    with scene.stage.wiring.db.connect() as tx:
        operators = [part.operator_id for part in scene.group().parts]
        known = {row[0]: row[1] for row in tx.execute(text("select operator_id, book_id from payments.v_operator"))}
        return [int(known[operator]) for operator in operators]


def test_wechat_pays_all_parts_at_once_and_each_lands_in_its_payees_book(scene: Callable[[], Scene]) -> None:
    acting = scene()
    acting.open()
    assert [len(act.charge_ids) for act in acting.status().cuts["wechat"].acts] == [2]
    started = acting.pay_an_act("wechat")
    assert len({one.act_id for one in started.attempts}) == 1
    berth, operation = books_of(acting)
    assert acting.incomes() == {berth: 701, operation: 300}
    assert acting.group().is_complete
    assert wording.words(acting.group(), acts=0).zh.endswith("已全部付清。")


def test_alipay_leads_through_two_payments_and_says_after_the_first_what_is_still_due(scene: Callable[[], Scene]) -> None:
    acting = scene()
    acting.open()
    acts = len(acting.status().cuts["alipay"].acts)
    assert acts == 2
    assert "需要付款 2 次" in wording.words(acting.group(), acts=acts).zh
    acting.pay_an_act("alipay")
    berth, operation = books_of(acting)
    assert acting.incomes() == {berth: 701}
    halfway = acting.group()
    assert (halfway.owed_fen, halfway.is_complete) == (300, False)
    with acting.stage.wiring.db.connect() as tx:
        assert splits.complete(tx, lane=0, charge_ids=halfway.charge_ids) == []
    said = wording.words(halfway, acts=len(acting.status().cuts["alipay"].acts))
    assert "已付清 7.01 元，还差 3.00 元" in said.zh
    assert "3.00 yuan is still due" in said.en
    acting.pay_an_act("alipay")
    assert acting.incomes() == {berth: 701, operation: 300}
    with acting.stage.wiring.db.connect() as tx:
        [done] = splits.complete(tx, lane=0, charge_ids=halfway.charge_ids[:1])
    assert done.lot_serial == "S1"


def test_one_part_is_refunded_by_its_payee_and_the_other_stands(scene: Callable[[], Scene]) -> None:
    acting = scene()
    acting.open()
    leg = acting.pay_an_act("wechat").attempts[0]
    db, clock = acting.stage.wiring.db, acting.stage.wiring.clock
    with db.begin() as tx:
        refunds.promise(
            tx, lane=0, payment_id=leg.payment_id, amount_fen=701, source="operator", source_ref="r-1", reason="多收",
            at=clock.now(), ids=IDS, evidence_id=leg.payment_id,
        )  # fmt: skip
    refund_jobs.run_due(acting.till)
    acting.stage.later(minutes=3)
    refund_jobs.run_due(acting.till)
    with db.connect() as tx:
        rows = tx.execute(text("select operator_id, amount_fen, state from payments.v_refund")).all()
    assert [tuple(row) for row in rows] == [(leg.operator_id, 701, "done")]
    assert [one.stage for one in acting.status().legs] == ["refunded", "paid"]
