"""The product and the channel stand-in as real processes, a real database, and Chromium in the size of a phone."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from app import keys
from app.day.command import free_ports
from app.embedded import EmbeddedPostgres
from app.run import name_merchants
from app.wiring import build
from config.settings import load
from tests.browser.city import City
from tests.conftest import TEMPLATE

PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
SECONDS_MAX: Final = 60.0
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


def _process(command: str, environment: dict[str, str], home: Path) -> "subprocess.Popen[bytes]":
    with (home / f"{command}.log").open("wb") as out:
        return subprocess.Popen([sys.executable, "-m", "app.cli", command], env=environment, stdout=out, stderr=out)


def _answers(url: str, process: "subprocess.Popen[bytes]", home: Path) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < deadline:
            assert process.poll() is None, _logs(home)
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
    pytest.fail(f"{url} does not answer: {_logs(home)}")


def _logs(home: Path) -> str:
    return "\n".join(log.read_text() for log in sorted(home.glob("*.log")))


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
    processes = {command: _process(command, environment, home) for command in ("sandbox", "web")}
    wiring = build(settings)
    _answers(f"{settings.sandbox_url}/health", processes["sandbox"], home)
    processes["callbacks"] = _process("callbacks", environment, home)  # it asks the stand-ins for their keys
    _answers(f"{settings.public_url}/health", processes["web"], home)
    _answers(f"http://{settings.callback_host}:{settings.callback_port}/health", processes["callbacks"], home)
    made = City(wiring)
    name_merchants(wiring)
    yield made
    wiring.close()
    for process in processes.values():
        process.terminate()
    for process in processes.values():
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
