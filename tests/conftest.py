"""One real PostgreSQL for the whole test run; each test gets a database of its own, cloned from a migrated template."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from sqlalchemy import Connection, Engine

from app.database import prepare
from app.embedded import EmbeddedPostgres
from ledger.db import engine
from tests import seeded_keys

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


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[str]:
    """Address of a fresh, migrated database, as superuser."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f'create database "{name}" template {TEMPLATE} strategy file_copy')
    yield server.url(name)
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def db(database: str) -> Iterator[Engine]:
    """Engine in the application role on a fresh database."""
    opened = engine(database)
    yield opened
    opened.dispose()


@pytest.fixture
def tx(db: Engine) -> Iterator[Connection]:
    """An open transaction in the application role; rolled back at the end."""
    with db.connect() as connection:
        connection.begin()
        yield connection
