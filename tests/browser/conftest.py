"""The product and the channel stand-in as real processes, a real database, and Chromium in the size of a phone."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright
from sqlalchemy import Connection, text

from app import demo, keys
from app.day.command import free_ports
from app.embedded import EmbeddedPostgres
from app.run import name_merchants
from app.wiring import Wiring, build
from config.settings import load
from gateways import routing
from ledger.books import open_lane
from payments import charges, lots, paycode
from payments.lots import Lot, NewLot, NewOperator
from payments.plates import PlateColor
from payments.records import NewCharge
from tests.conftest import TEMPLATE

PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
SECONDS_MAX: Final = 30.0
WAIT_MS: Final = 8_000
"""Longest wait for anything of a page but the channel's word."""
FLAGS: Final = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def find_chromium() -> str:
    """Return the browser's program; without one the tests are skipped, in continuous integration they fail."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if os.environ.get("CI") == "true":
        pytest.fail("no chromium in PATH: the pages cannot be tested; install the package 'chromium'")
    pytest.skip("no chromium in PATH: install the package 'chromium' to test the pages in a browser")


ROUTES: Final = {"liangxi": ("wechat", "alipay", "unionpay"), "binhu": ("wechat", "alipay")}
"""Where each operator has a merchant account; the second lot's has none at UnionPay."""


class City:
    """Two lots of two operators with routes to their merchant accounts, served by real processes."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.url = wiring.settings.public_url
        self._serial = 0
        with wiring.db.begin() as tx:
            self.lot, self.other_lot = self._register(wiring, tx)
        self.code = paycode.token(self.lot.lot_id, keys=wiring.pay_codes)

    def _register(self, wiring: Wiring, tx: Connection) -> list[Lot]:
        now = wiring.clock.now()
        open_lane(tx, lane=wiring.lane, origin="tongting.example/lane0")
        operators = [
            NewOperator("liangxi", "无锡梁溪示范停车管理有限公司", "91320213MA0DEM0011", "梁溪区", "government"),
            NewOperator("binhu", "无锡滨湖示范城市停车有限公司", "91320211MA0DEM0027", "滨湖区", "government"),
        ]
        registered = lots.register_operators(tx, operators=operators, at=now)
        tariff = "30分钟内免费，超过后每小时5元，不足1小时按1小时计，24小时最高60元。"
        wanted = [
            NewLot("LX-01", "liangxi", "中山路地面停车场", "梁溪区", "中山路 100 号", 80, "gate", tariff),
            NewLot("BH-01", "binhu", "湖滨公园停车场", "滨湖区", "环湖路 6 号", 520, "gate", tariff),
        ]
        providers = wiring.providers()
        for number, operator in enumerate(registered, 1):
            for channel in ROUTES[operator.code]:
                account = routing.NewAccount(
                    operator_id=operator.operator_id, channel=channel, payee_name=operator.legal_name, evidence="agreement 1",
                    merchant_no=f"162000000{number}" if channel == "wechat" else demo.numbered(channel, number),
                    valid_from=now - timedelta(days=1),
                )  # fmt: skip
                routing.register(
                    tx, account=account, operator_name=operator.legal_name, provider_no=providers[channel], at=now
                )  # fmt: skip
        return lots.register_lots(tx, lots=wanted, at=now)

    def owe(
        self, *, amount_fen: int = 1500, minutes: int = 161, plate: str | None = None, lot: Lot | None = None,
        color: PlateColor = "unknown",
    ) -> str:  # fmt: skip
        """Let a car that was never here before owe a fee, or one that was another; returns its plate."""
        self._serial += 1
        plate = plate or f"苏B{10_000 + self._serial}"
        now = datetime.now(UTC).replace(microsecond=0)
        charge = NewCharge(
            lot_serial=f"S{self._serial}", plate=plate, plate_color=color, entered_at=now - timedelta(minutes=minutes),
            minutes=minutes,
            amount_fen=amount_fen, tariff_text="首30分钟免费，3小时 × 5元",
        )  # fmt: skip
        with self.wiring.db.begin() as tx:
            (posted,) = charges.post(tx, lane=self.wiring.lane, lot=lot or self.lot, charges=[charge], at=now, ids=self.wiring.ids)
        assert posted.outcome == "created", posted
        return plate

    def books(self) -> list[tuple[str, int]]:
        """Return treatment and fen of the money taken for the car that was made to owe last."""
        query = text("""
            select f.treatment, f.amount_fen from payments.v_payment_fact f
            join payments.charge c on c.charge_id = f.charge_id where c.lot_serial = :serial order by 1
            """)
        with self.wiring.db.begin() as tx:
            return [(row[0], row[1]) for row in tx.execute(query, {"serial": f"S{self._serial}"})]

    def paid_over(self, plate: str) -> list[tuple[str, int]]:
        """Return channel and fen of the payments that settled a car's charges, in the order of its charges."""
        query = text("""
            select p.channel, p.taken_fen from payments.charge c join payments.payment p on p.payment_id = c.settled_by
            join payments.plate n on n.plate_id = c.plate_id where n.number = :plate order by c.lot_id, c.amount_fen
            """)
        with self.wiring.db.begin() as tx:
            return [(row[0], row[1]) for row in tx.execute(query, {"plate": plate})]

    def attempts(self) -> int:
        """Return how many payments were ordered for that car."""
        query = text("select count(*) from payments.v_payment where lot_serial = :serial")
        with self.wiring.db.begin() as tx:
            return int(tx.execute(query, {"serial": f"S{self._serial}"}).scalar_one())


def _answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
    pytest.fail(f"{url} does not answer: {log.read_text()}")


@pytest.fixture(scope="package")
def city(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """Web and stand-in as processes of their own for all tests of this folder; each test has cars of its own."""
    find_chromium()
    home, database = tmp_path_factory.mktemp("city"), f"browser_{os.getpid()}"
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f'create database "{database}" template {TEMPLATE}')
    chosen = {
        "TONGTING_HOME": str(home), "TONGTING_DATABASE_URL": server.url(database), "TONGTING_SANDBOX_TIME_FACTOR": "50",
    } | {f"TONGTING_{name.upper()}": port for name, port in free_ports().items()}  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TONGTING_")} | chosen
    settings = load(chosen)
    keys.make_missing(settings)
    processes = []
    callbacks = f"http://{settings.callback_host}:{settings.callback_port}"
    for command, address in (("sandbox", settings.sandbox_url), ("web", settings.public_url), ("callbacks", callbacks)):
        log = home / f"{command}.log"
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-m", "app.cli", command], env=environment, stdout=out, stderr=out)
        processes.append(process)
        _answers(f"{address}/health", process, log)
    wiring = build(settings)
    made = City(wiring)
    name_merchants(wiring)
    yield made
    wiring.close()
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(SECONDS_MAX)
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f'drop database "{database}" with (force)')


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The browser, for this folder only: as long as it lives, its event loop runs in the tests' own thread."""
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def phone(chromium: Browser) -> Iterator[BrowserContext]:
    """A phone that has never been here; a page that complains in its console fails the test."""
    context = chromium.new_context(viewport=PHONE, device_scale_factor=2, has_touch=True, is_mobile=True, locale="zh-CN")
    context.set_default_timeout(WAIT_MS)
    complaints: list[str] = []
    context.on("page", lambda page: _listen(page, complaints))
    yield context
    context.close()
    assert complaints == []


def _listen(page: Page, complaints: list[str]) -> None:
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if "Content Security Policy" in message.text else None)
