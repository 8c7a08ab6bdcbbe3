"""The embedded server: what was committed survives, nothing is left behind, nobody is harmed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app import embedded
from app.embedded import EmbeddedPostgres, EmbeddedServerError, HomeInUse

SUPERVISOR = """
import sys, time
from pathlib import Path
from app.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tongting-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def gone(pid: int) -> bool:
    """Wait until a process that is not our child has ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def write_row(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("create table kept (n integer)")
        connection.execute("insert into kept values (42)")


def read_row(server: EmbeddedPostgres) -> object:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("select n from kept").fetchone()
    return row[0] if row else None


def test_committed_rows_survive_a_killed_server_and_the_supervisor_starts_it_again(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    try:
        write_row(server)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert gone(server.pid)
        assert not server.running
        server.restart()
        assert read_row(server) == 42
    finally:
        server.stop()


def test_durability_and_checksums_are_on_and_no_network_port_is_open(home: Path) -> None:
    server = EmbeddedPostgres(home, settings=embedded.TUNED)
    server.start()
    try:
        names = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums", "listen_addresses")
        with psycopg.connect(server.dsn()) as connection:
            rows = [connection.execute(f"show {name}").fetchone() for name in names]
        assert rows == [("on",), ("on",), ("on",), ("on",), ("",)]
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()


@pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel's parent-death signal is Linux's; elsewhere the next start cleans up"
)
def test_a_supervisor_killed_with_9_leaves_no_server_and_its_rows_are_there_at_the_next_start(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(home)], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        server = EmbeddedPostgres(home)
        write_row(server)
        supervisor.kill()
    assert gone(pid)
    server.start()
    try:
        assert read_row(server) == 42
    finally:
        server.stop()


def test_a_second_start_on_the_same_home_names_the_first_and_harms_nothing(home: Path) -> None:
    first, second = EmbeddedPostgres(home), EmbeddedPostgres(home)
    first.start()
    try:
        write_row(first)
        with pytest.raises(HomeInUse, match=f"already being served by process {os.getpid()}"):
            second.start()
        second.stop()
        assert read_row(first) == 42
    finally:
        first.stop()


def test_an_orphaned_server_is_stopped_before_its_directory_is_served_again(home: Path) -> None:
    first, second = EmbeddedPostgres(home), EmbeddedPostgres(home)
    first.start()
    write_row(first)
    orphan = first.pid
    assert orphan is not None
    first._lock.release()  # as if its supervisor had died without the kernel telling the server
    second.start()
    try:
        assert gone(orphan)
        assert second.pid != orphan
        assert read_row(second) == 42
    finally:
        second.stop()
        first.stop()


def test_a_pid_file_that_names_another_program_kills_nobody(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n")
    assert embedded._postmaster_pid(server.data) == os.getpid()
    server._stop_orphan()  # we are still here to see it
    (server.data / "postmaster.pid").write_text("rubbish\n")
    server._stop_orphan()
    (server.data / "postmaster.pid").unlink()
    server.start()
    assert server.running
    server.stop()


def test_data_of_another_major_version_is_refused_in_words(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    (server.data / "PG_VERSION").write_text("13\n")
    with pytest.raises(EmbeddedServerError, match="written by PostgreSQL 13"):
        server.start()
    assert (server.data / "global").exists()


def test_an_initialisation_that_was_cut_off_begins_anew(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.data.mkdir()
    (server.data / "half").write_text("left over")
    server.start()
    assert server.running
    server.stop()


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    server = EmbeddedPostgres(home, settings={"shared_buffers": "nonsense"})
    with pytest.raises(EmbeddedServerError, match="shared_buffers"):
        server.start()
    assert not server.running


def test_a_long_home_gets_a_short_private_socket_directory(home: Path) -> None:
    server = EmbeddedPostgres(home / ("x" * 120))
    assert str(server.socket_dir).startswith("/tmp/tongting-")
    assert EmbeddedPostgres(home / ("y" * 120)).socket_dir != server.socket_dir


def test_a_socket_directory_that_is_a_link_is_refused(home: Path) -> None:
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    (home / "socket").symlink_to(elsewhere)
    with pytest.raises(EmbeddedServerError, match="belongs to somebody else"):
        EmbeddedPostgres(home).start()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another account")


@needs_root
def test_as_root_the_programs_are_copied_when_the_service_account_cannot_reach_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_reachable_by", lambda path, _user: path == home)
    programs = embedded.binaries(home)
    assert programs.is_relative_to(home)
    assert (programs / "postgres").exists()
    assert embedded.binaries(home) == programs
    server = EmbeddedPostgres(home)
    server.start()
    assert server.running
    server.stop()


@needs_root
def test_as_root_a_home_that_the_service_account_cannot_reach_is_refused_and_not_widened(home: Path) -> None:
    home.chmod(0o700)
    with pytest.raises(EmbeddedServerError, match="cannot reach"):
        EmbeddedPostgres(home / "inner").start()
    assert home.stat().st_mode & 0o777 == 0o700
