"""``tongting run``: the whole product on one machine, under one supervisor.

Knows processes, ports, logs and their order; must not know what the processes do. Called by the command line.

    tongting run ── PostgreSQL (embedded, unless an external one is set)
                 ├─ tongting sandbox   the channels' stand-ins, unless switched off
                 ├─ tongting web       pages, API
                 ├─ tongting callbacks the channels' notices, several processes on one port
                 └─ tongting worker    sealer and timed jobs
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Event
from types import FrameType
from typing import Final

import msgspec
from msgspec import Struct

from app import demo
from app.callbacks.serve import processes
from app.database import prepare
from app.embedded import TUNED, EmbeddedPostgres, HomeInUse, HomeLock, roll, signal_when_parent_dies
from app.keys import make_missing
from app.wiring import LANE, Wiring, build, database_url, origin
from config.settings import Settings, as_environment
from gateways import routing
from ledger.books import open_lane
from ledger.clock import SystemClock, business_date
from payments import lots

LOG: Final = logging.getLogger("tongting.run")
READY_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 20.0
WATCH_SECONDS: Final = 0.5
REST_SECONDS_MAX: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""A process that lived this long before it died is started again at once."""


class RunError(Exception):
    """The product cannot be run; the message says what to do."""


class Part(Struct, frozen=True):
    """One process under the supervisor, a command of our own, and the address that answers when it is ready."""

    name: str
    port: int | None = None
    health: str | None = None
    number: int = 1
    """Which one, where several processes run the same command."""


def parts(settings: Settings) -> list[Part]:
    """Return the processes of an installation in the order of their start; they are stopped the other way round.

    In a simulation one clock stands in the web process: it takes the notices itself, and runs sealer and jobs when it is told to.
    """
    found = [Part("web", settings.web_port, f"http://{settings.web_host}:{settings.web_port}/health")]
    if settings.sandbox:
        found.insert(0, Part("sandbox", settings.sandbox_port, f"{settings.sandbox_url}/health"))
    if not settings.simulated:
        health = f"http://{settings.callback_host}:{settings.callback_port}/health"
        several = range(1, processes(settings.callback_processes) + 1)
        found += [Part("callbacks", settings.callback_port, health, number) for number in several]
        found.append(Part("worker"))
    return found


class Child:
    """A part's process: started, watched, started again when it dies, stopped."""

    def __init__(self, part: Part, settings: Settings) -> None:
        self.part = part
        self.log = settings.home / "logs" / (f"{part.name}.log" if part.number == 1 else f"{part.name}-{part.number}.log")
        self._environment = {**os.environ, **as_environment(settings)}
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._deaths = 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process. Its output goes to its log; it is told to stop when the supervisor dies."""
        self.log.parent.mkdir(exist_ok=True)
        roll(self.log)
        parent = os.getpid()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", self.part.name], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=self._environment, start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops all in order
                # It calls one C function that was loaded before the fork, and no lock of another thread can be in its way.
                preexec_fn=lambda: signal_when_parent_dies(parent, signal.SIGTERM),  # noqa: PLW1509
            )  # fmt: skip
        self._started = time.monotonic()

    def wait_until_ready(self) -> None:
        """Wait until the part answers. Raises RunError with the end of its log when it does not."""
        if self.part.health is None:
            return
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not answers(self.part.health):
            if not self.alive or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-3000:]
                raise RunError(f"tongting {self.part.name} did not start; the end of {self.log}:\n{tail}")
            time.sleep(0.05)

    def revive(self) -> None:
        """Start the process again if it died and has rested long enough: longer each time it dies young."""
        if self.alive:
            return
        lived = time.monotonic() - self._started
        rest = 0.0 if lived > STEADY_SECONDS else min(REST_SECONDS_MAX, 2.0**self._deaths)
        if lived > rest:
            self._deaths = 0 if lived > STEADY_SECONDS else self._deaths + 1
            LOG.warning("tongting %s ended unexpectedly and is started again; see %s", self.part.name, self.log)
            self.start()

    def stop(self) -> None:
        """Ask the process to finish, then insist. May be called twice."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                LOG.warning("tongting %s did not stop in time and is killed", self.part.name)
                self._process.kill()
                self._process.wait()
        self._process = None


@contextmanager
def served_database(settings: Settings, *, tuned: Mapping[str, str] = TUNED) -> Iterator[EmbeddedPostgres | None]:
    """Serve the database while the block runs: the embedded server is started, an external one is only used.

    ``tuned`` are settings of the embedded server.

    Raises:
        HomeInUse: another process serves this home.
    """
    if settings.database_url is not None:
        lock = HomeLock(settings.home)
        lock.take()
        try:
            yield None
        finally:
            lock.release()
        return
    server = EmbeddedPostgres(settings.home, settings=tuned)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def available_database(settings: Settings) -> Iterator[list[str]]:
    """Have a prepared database while the block runs: the one that is being served already, else serve it.

    Yields the names of the keys that were made.
    """
    with ExitStack() as held:
        try:
            held.enter_context(served_database(settings))
        except HomeInUse:
            yield []
        else:
            yield prepare_home(settings)


def prepare_home(settings: Settings) -> list[str]:
    """Bring keys, schema and the lane to what this release needs. May be called at every start. Returns the keys made.

    Raises:
        RunError: the home belongs to a simulation and these settings do not, or the other way round.
    """
    _keep_apart(settings)
    made = make_missing(settings)
    today = business_date(settings.simulated_start_at if settings.simulated else SystemClock().now())
    prepare(database_url(settings), today=today)
    wiring = build(settings)
    try:
        with wiring.db.begin() as tx:
            open_lane(tx, lane=LANE, origin=origin(settings))
    finally:
        wiring.close()
    return made


def _keep_apart(settings: Settings) -> None:
    """Never let a simulation's keys and books meet real ones: a simulated home is marked with its seed for ever."""
    mark = settings.home / "simulated"
    if not mark.exists() and settings.simulated and not settings.keys_dir.exists():
        mark.write_text(f"{settings.simulated_seed}\n")
    found = mark.read_text().strip() if mark.exists() else None
    wanted = str(settings.simulated_seed) if settings.simulated else None
    if found != wanted:
        was, now = (f"a simulation with seed {one}" if one else "no simulation" for one in (found, wanted))
        raise RunError(f"{settings.home} belongs to {was}, but the settings say {now}; set TONGTING_HOME to another directory")


def fill_demo(wiring: Wiring) -> None:
    """Make the demo city at the first start with the stand-in; a city that has operators is left alone."""
    if wiring.settings.sandbox and not wiring.settings.simulated:
        at = wiring.clock.now()
        with wiring.db.begin() as tx:
            demo.fill(tx, lane=wiring.lane, providers=wiring.providers(), at=at, ids=wiring.ids)


def name_merchants(wiring: Wiring) -> None:
    """Tell the stand-in the payees' names, which its cashier page shows."""
    if not wiring.settings.sandbox:
        return
    from gateways.sandbox.shapes import MerchantIn, MerchantsIn  # a process that handles real money never loads the stand-in

    with wiring.db.connect() as tx:
        accounts = [one for operator in lots.operators(tx) for one in routing.listed(tx, operator_id=operator.operator_id)]
    for channel in wiring.channels.names():
        named = MerchantsIn(tuple(MerchantIn(one.merchant_no, one.payee_name) for one in accounts if one.channel == channel))
        folder = "/_control" if channel == "wechat" else f"/_control/{channel}"
        address = f"{wiring.settings.sandbox_url}{folder}/merchants"
        asked = urllib.request.Request(address, data=msgspec.json.encode(named), headers={"content-type": "application/json"})
        _direct().open(asked, timeout=10).close()


@contextmanager
def running(settings: Settings) -> Iterator[list[Child]]:
    """Run every part while the block runs; when it ends, however, all are stopped, the last started first."""
    children = [Child(part, settings) for part in parts(settings)]
    refuse_taken_ports(settings)
    try:
        for child in children:
            child.start()
            if child.part.name == "sandbox":
                child.wait_until_ready()  # the others ask it for its keys as soon as they start
        for child in children:
            child.wait_until_ready()
        yield children
    finally:
        for child in reversed(children):
            child.stop()


def watch(children: list[Child], server: EmbeddedPostgres | None, stop: Event) -> None:
    """Keep all parts alive until ``stop`` is set."""
    while not stop.wait(WATCH_SECONDS):
        if server is not None and not server.running:
            LOG.warning("PostgreSQL ended unexpectedly and is started again; see %s", server.log)
            server.restart()
        for child in children:
            child.revive()


def refuse_taken_ports(settings: Settings) -> None:
    """Raise RunError when another program listens where a part will."""
    hosts: Mapping[str, tuple[str, str]] = {
        "web": (settings.web_host, "TONGTING_WEB_PORT"),
        "sandbox": (settings.sandbox_host, "TONGTING_SANDBOX_PORT"),
        "callbacks": (settings.callback_host, "TONGTING_CALLBACK_PORT"),
    }
    for part in parts(settings):
        if part.port is not None and taken(hosts[part.name][0], part.port):
            raise RunError(f"port {part.port} is taken by another program; stop it or set {hosts[part.name][1]}")


def taken(host: str, port: int) -> bool:
    """Tell whether an address cannot be listened on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def answers(address: str) -> bool:
    """Tell whether an address of ours answers with success."""
    try:
        with _direct().open(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _direct() -> urllib.request.OpenerDirector:
    """Return an opener that follows no proxy of the machine: the addresses are our own."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def stop_on_signals() -> Event:
    """Return an event that Ctrl-C and the usual ending signals set."""
    stop = Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    return stop
