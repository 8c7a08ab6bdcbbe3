"""The ground of a measurement: one embedded server with fsync on, pgbench's tables, and books to post into.

Knows the embedded server and pgbench. Called by the benchmark's parts.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy import Engine, text

from app.database import prepare
from app.embedded import SUPERUSER, EmbeddedPostgres
from ledger.db import engine

BOOKS: Final = 1_000
SCALE: Final = 50
LOG_FILES: Final = 200
SERVER_SETTINGS: Final = {"shared_buffers": "1GB", "max_wal_size": "8GB", "min_wal_size": "4GB", "max_connections": "120"}


class Ground:
    """A running server with an empty prepared database per name."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server

    def folder(self, name: str) -> Path:
        """Return a fresh folder that goes away with the ground."""
        made = self.server.home / name
        made.mkdir()
        return made

    def pgbench(self, *arguments: str, database: str = "postgres") -> str:
        """Run pgbench on a database and return what it prints."""
        environment = {"PGHOST": str(self.server.socket_dir), "PGUSER": SUPERUSER, "PATH": os.environ["PATH"]}
        command = [str(self.server.bin / "pgbench"), *arguments, database]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def tpcb(self, seconds: int) -> float:
        """Return transactions per second of TPC-B: scale 50, 8 clients, prepared. This is the unit of every ratio."""
        found = re.search(r"tps = ([\d.]+)", self.pgbench("-n", "-c", "8", "-j", "2", "-M", "prepared", "-T", str(seconds)))
        assert found is not None
        return float(found[1])

    def books(self, database: str) -> Engine:
        """Return an engine on a database that has lane 0 and ``BOOKS`` operators' books; made when missing."""
        prepare(self.server.url(database), today=datetime.now(UTC).date())
        opened = engine(self.server.url(database))
        with opened.begin() as tx:
            tx.execute(text("insert into ledger.lane (lane, origin) values (0, 'bench.invalid/lane/0') on conflict do nothing"))
            tx.execute(
                text("""
                insert into ledger.book (book_id, lane, owner_kind, owner_name, opened_at)
                select n, 0, 'operator', 'operator ' || n, now() from generate_series(1, :books) as n on conflict do nothing
                """),
                {"books": BOOKS},
            )
        return opened


@contextmanager
def ground() -> Iterator[Ground]:
    """Start a server on a directory of its own, fill pgbench's tables, and remove all of it at the end."""
    home = Path(tempfile.mkdtemp(prefix="tongting-bench-", dir="/var/tmp"))
    home.chmod(0o755)
    server = EmbeddedPostgres(home, settings=SERVER_SETTINGS)
    try:
        server.start()
        made = Ground(server)
        made.pgbench("-i", "-q", "-s", str(SCALE))
        _run_in(server)
        yield made
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def _run_in(server: EmbeddedPostgres) -> None:
    """Bring the server to where it is after some hours: its log files exist and are used again.

    Until then every 16 MB of log begin with filling a new file with zeros, while all commits wait, TPC-B's and ours.
    """
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        for _ in range(LOG_FILES):
            admin.execute("select pg_logical_emit_message(true, 'run in', '')")
            admin.execute("select pg_switch_wal()")
        admin.execute("checkpoint")
