"""``tongting run``: one command serves everything, ends cleanly, goes on with its data and never harms a running one."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.embedded import EmbeddedPostgres
from app.run import answers
from tests.ports import free_port as free_port

SECONDS_MAX = 90.0


class City:
    """An installation under test: its home, its ports, its supervisor."""

    def __init__(self, home: Path) -> None:
        self.home, self.web_port, self.sandbox_port, self.callback_port = home, free_port(), free_port(), free_port()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TONGTING_")} | {
            "TONGTING_HOME": str(home),
            "TONGTING_WEB_PORT": str(self.web_port),
            "TONGTING_SANDBOX_PORT": str(self.sandbox_port),
            "TONGTING_CALLBACK_PORT": str(self.callback_port),
        }
        self.out = home.with_suffix(".out")

    @property
    def said(self) -> str:
        return self.out.read_text(encoding="utf-8")

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        arguments = [sys.executable, "-m", "app.cli", *words]
        return subprocess.run(arguments, env=self.environment, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)

    def start(self) -> "subprocess.Popen[bytes]":
        with self.out.open("wb") as out:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "run"], env=self.environment, stdout=out, stderr=out, start_new_session=True
            )
        wait_for(lambda: "Ctrl-C stops" in self.said or supervisor.poll() is not None)
        assert supervisor.poll() is None, self.said
        return supervisor

    def get(self, path: str) -> httpx.Response:
        with httpx.Client(trust_env=False) as client:
            return client.get(f"http://127.0.0.1:{self.web_port}{path}")

    def healthy(self) -> bool:
        try:
            return self.get("/health").status_code == 200
        except httpx.HTTPError:
            return False

    def processes(self) -> list[int]:
        """Return every process that carries this home in its command line or environment."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                except OSError:
                    continue
                if str(self.home).encode() in words:
                    found.append(int(entry.name))
        return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def end(supervisor: "subprocess.Popen[bytes]", number: signal.Signals = signal.SIGINT) -> int:
    supervisor.send_signal(number)
    return supervisor.wait(timeout=SECONDS_MAX)


def new_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="tongting-test-"))
    home.chmod(0o711)
    return home


@contextmanager
def lived_in(home: Path) -> Iterator[City]:
    made = City(home)
    yield made
    wait_for(lambda: not made.processes())
    made.out.unlink(missing_ok=True)
    shutil.rmtree(home)


@pytest.fixture
def city() -> Iterator[City]:
    """An installation that was never started."""
    with lived_in(new_home()) as made:
        yield made


@pytest.fixture(scope="module")
def set_up() -> Iterator[Path]:
    """The home of an installation with keys and an empty database, at rest."""
    with lived_in(new_home()) as made:
        done = made.command("migrate")
        assert done.returncode == 0, done.stderr
        yield made.home


@pytest.fixture
def old_city(set_up: Path) -> Iterator[City]:
    """An installation that was set up before."""
    home = new_home()
    subprocess.run(["cp", "-a", f"{set_up}/.", str(home)], check=True)
    with lived_in(home) as made:
        yield made


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


@linux_only
def test_it_serves_a_city_ends_without_a_trace_and_goes_on_with_its_data(city: City) -> None:
    supervisor = city.start()
    first = city.said
    assert city.healthy()
    assert "/p/A" in first
    assert "苏B12345" in first
    assert city.get("/schema").status_code == 200
    assert end(supervisor) == 0
    assert city.processes() == []
    assert not city.healthy()

    supervisor = city.start()
    link = next(line for line in first.splitlines() if "/p/A" in line)
    assert link in city.said  # the same keys, the same lot
    assert end(supervisor, signal.SIGTERM) == 0


@linux_only
def test_a_second_run_on_the_same_data_says_so_and_harms_nothing(old_city: City) -> None:
    supervisor = old_city.start()
    second = old_city.command("run")
    assert second.returncode == 3
    assert f"already being served by process {supervisor.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert old_city.healthy()
    assert old_city.command("verify").stdout.endswith("every invariant holds.\n")
    assert end(supervisor) == 0


@linux_only
def test_parts_that_die_are_started_again(old_city: City) -> None:
    supervisor = old_city.start()
    server = EmbeddedPostgres(old_city.home)
    postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    wait_for(
        lambda: (server.data / "postmaster.pid").exists() and str(postmaster) not in (server.data / "postmaster.pid").read_text()
    )
    wait_for(old_city.healthy)
    for part, port in (("web", old_city.web_port), ("callbacks", old_city.callback_port)):
        for pid in [pid for pid in old_city.processes() if f"\0{part}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: f"tongting {part} ended unexpectedly" in old_city.said)  # noqa: B023  # waited for within the round
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"))  # noqa: B023
    assert end(supervisor) == 0


@linux_only
def test_a_killed_supervisor_takes_everything_with_it(old_city: City) -> None:
    supervisor = old_city.start()
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: not old_city.processes())
    assert not old_city.healthy()


@linux_only
@pytest.mark.parametrize("part", ["web", "callback"])
def test_a_taken_port_is_named_and_nothing_is_left_running(old_city: City, part: str) -> None:
    port = getattr(old_city, f"{part}_port")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        refused = old_city.command("run")
    assert refused.returncode == 3
    assert f"port {port} is taken by another program; stop it or set TONGTING_{part.upper()}_PORT" in refused.stderr
    assert old_city.processes() == []
