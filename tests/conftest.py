"""One real PostgreSQL for the whole test run; each test gets a database of its own, cloned from a migrated template."""

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from app.database import prepare
from app.embedded import EmbeddedPostgres
from ledger.db import engine
from tests import connections, seeded_keys

TEMPLATE = "tongting_template"
THROWN_AWAY = {
    "max_connections": "200",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "1h",
}
"""Hundreds of databases that live for one test each: nothing of them needs to survive or to be tidied up."""
MEMORY = Path("/dev/shm")
ROOM_BYTES = 6 * 1024**3
_numbers = itertools.count(1)
serialization.load_pem_private_key = cache(serialization.load_pem_private_key)  # type: ignore[assignment]
"""Reading an RSA key proves its primes, and every test reads the same dozen: each is proven once in a process."""
_own_keys: str | None = None
BYTECODE = Path(__file__).parents[1] / ".pytest_cache" / "bytecode"
if sys.dont_write_bytecode:  # else every process of a run would compile every module and rewrite every assertion again
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(BYTECODE)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(BYTECODE)


def pytest_configure() -> None:
    global _own_keys  # noqa: PLW0603  # hooks of a run have no other place
    _own_keys = seeded_keys.share()


def pytest_unconfigure() -> None:
    if _own_keys is not None:
        seeded_keys.forget(_own_keys)


def _quick_place() -> Path | None:
    """Return a file system in memory, where a database is cloned six times faster, when it has plenty of room; else None."""
    is_roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    return MEMORY if is_roomy else None


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    home = Path(tempfile.mkdtemp(prefix="tongting-test-", dir=_quick_place()))
    home.chmod(0o755)
    running = EmbeddedPostgres(home, settings=THROWN_AWAY)
    running.start()
    try:
        prepare(running.url(TEMPLATE), today=date(2026, 3, 2))
        yield running
    finally:
        running.stop()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(running.socket_dir, ignore_errors=True)


class _Databases:
    """Databases cloned from the template, each with a name that no other process of this run takes."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self._shared: str | None = None

    def made(self) -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self._execute(f'create database "{name}" template {TEMPLATE} strategy file_copy')
        return name

    def dropped(self, name: str) -> None:
        self._execute(f'drop database "{name}" with (force)')

    @property
    def shared(self) -> str:
        """The one of all tests that commit nothing."""
        if self._shared is None:
            self._shared = self.made()
        return self._shared

    def spoil(self) -> None:
        """Somebody committed: the next one gets another."""
        if self._shared is not None:
            self.dropped(self._shared)
        self._shared = None

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.server.dsn(), autocommit=True) as admin:
            admin.execute(statement.encode())


@pytest.fixture(scope="session")
def databases(server: EmbeddedPostgres) -> _Databases:
    return _Databases(server)


@pytest.fixture
def database(databases: _Databases) -> Iterator[str]:
    """Address of a fresh, migrated database, as superuser. Fails when the test leaves a connection to it open."""
    name = databases.made()
    yield databases.server.url(name)
    left = connections.left_open(name)
    databases.dropped(name)
    assert left == [], "an engine was not disposed of, or something still ran when it was; the connections come from there"


@pytest.fixture
def db(database: str) -> Iterator[Engine]:
    """Engine in the application role on a fresh database."""
    opened = engine(database)
    yield opened
    opened.dispose()


@pytest.fixture
def tx(request: pytest.FixtureRequest, databases: _Databases) -> Iterator[Connection]:
    """An open transaction in the application role; rolled back at the end.

    It is in the test's own database when anything of the test has one, else in one that such tests share.
    """
    if "database" in request.fixturenames:
        with request.getfixturevalue("db").connect() as connection:
            connection.begin()
            yield connection
        return
    opened = engine(databases.server.url(databases.shared))
    commits: list[object] = []
    event.listen(opened, "commit", commits.append)
    with opened.connect() as connection:
        connection.begin()
        begun = _begun(connection)
        yield connection
        is_untouched = not commits and _begun(connection) == begun
    opened.dispose()
    if not is_untouched:
        databases.spoil()


def _begun(connection: Connection) -> object:
    """Return what only this transaction has, or None when it failed or is over: then nobody knows what was committed."""
    try:
        return connection.execute(text("select pg_backend_pid(), transaction_timestamp()")).one()
    except SQLAlchemyError:
        return None
