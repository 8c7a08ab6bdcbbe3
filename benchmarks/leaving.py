"""The question at the gate: may this plate leave first? By 64 clients, with millions of debts on file.

Knows the debts' tables, pgbench, the product's web process and the load generator. Called by ``make bench`` (``ONLY=leaving``).

Two measurements, each beside its own unit in the same run: the one statement beside a read of one row by its primary key (pgbench,
64 clients, prepared), and the question over HTTP beside an answer that reads nothing (64 connections, the product's processes).
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

import psycopg
from msgspec import Struct

from app import auth
from app.auth import Caller
from app.database import prepare
from app.keys import make_missing, read
from app.wiring import LANE, origin
from benchmarks.figures import Notebook
from benchmarks.ground import Ground
from benchmarks.load import written
from config.settings import Settings, as_environment, load
from ledger.books import open_lane
from ledger.db import engine
from payments.lots import Lot, NewLot, NewOperator, register_lots, register_operators
from payments.owed import leaving

PLATES: Final = 2_000_000
CLIENTS: Final = 64
QUESTIONS: Final = 12_000
DATABASE: Final = "leaving"

_FILL: Final = (
    """
    insert into payments.plate (number, color, salt)
    select case when n < 100000 then '苏B' || lpad(n::text, 5, '0') else '苏C' || n end, 'blue', ''
    from generate_series(1, {plates}) n
    """,
    """
    insert into payments.debt (charge_id, lane, operator_id, lot_id, plate_id, owed_fen, basis, opened_at, due_on, limitation_on)
    select cast(lpad(to_hex(n), 32, '0') as uuid), 0, 1, 1, 1 + n % {plates}, 500 + n % 3000, 'policy',
           now() - n % 300 * interval '1 day', current_date - n % 300 + 30, current_date + 1000
    from generate_series(1, {debts}) n
    """,
    "insert into payments.mandate select n, 'etc', 'open', now() from generate_series(1, {plates}, 5) n",
    "vacuum analyze payments.plate",
    "vacuum analyze payments.debt",
    "vacuum analyze payments.mandate",
    "checkpoint",
)


class Figures(Struct):
    """What one round measured."""

    per_second: float
    p50_ms: float
    p99_ms: float


def measure(on: Ground, notes: Notebook, *, rounds: int, seconds: int, debts: int) -> None:
    """Note ``leaving.statement`` and ``leaving.http``, each in alternating rounds with its own unit."""
    lot = filled(on, debts)
    for _ in range(rounds):
        _note(notes, "statement", _statement(on, lot, seconds), _key_read(on, seconds))
    with served(on, lot) as ask:
        for _ in range(rounds):
            _note(notes, "http", ask("leave"), ask("empty"))


def _note(notes: Notebook, name: str, ours: Figures, unit: Figures) -> None:
    notes.write(f"leaving.{name}", ours.per_second, unit="1/s", baseline=unit.per_second)
    notes.write(f"leaving.{name}.p99_ms", ours.p99_ms, unit="ms", baseline=unit.p99_ms)
    notes.write(f"leaving.{name}.unit.p99_ms", unit.p99_ms, unit="ms")


def filled(on: Ground, debts: int) -> Lot:
    url = on.server.url(DATABASE)
    prepare(url, today=datetime.now(UTC).date())
    at, opened = datetime.now(UTC), engine(url)
    settings = load({"TONGTING_HOME": str(on.server.home)})
    with opened.begin() as tx:
        open_lane(tx, lane=LANE, origin=origin(settings))
        register_operators(tx, operators=[NewOperator("bench", "示例公司", "91320200MA1000001X", "梁溪区", "social")], at=at)
        [lot] = register_lots(
            tx, lots=[NewLot("bench", "bench", "示例", "梁溪区", "示例路", 9, "gate", "每小时6元")], at=at
        )  # fmt: skip
    opened.dispose()
    with psycopg.connect(on.server.url(DATABASE).replace("postgresql+psycopg", "postgresql"), autocommit=True) as admin:
        for statement in _FILL:
            admin.execute(statement.format(plates=PLATES, debts=debts).encode())
    return lot


def _statement(on: Ground, lot: Lot, seconds: int) -> Figures:
    """Let pgbench ask the product's own statement about random plates."""
    plate = f"array['苏C' || (100000 + :n::integer % {PLATES - 100_000})]"
    given = {
        "operators": f"array[{lot.operator_id}]", "lots": f"array[{lot.lot_id}]", "at": "now()", "plates": plate,
        "colors": "array['blue']", "entries": plate,
    }  # fmt: skip
    statement = leaving.STANDING_SQL
    for name, value in given.items():
        statement = statement.replace(f"%({name})s", value)
    return _pgbench(on, " ".join(statement.split()), seconds)


def _key_read(on: Ground, seconds: int) -> Figures:
    return _pgbench(on, "select number from payments.plate where plate_id = :n", seconds)


def _pgbench(on: Ground, statement: str, seconds: int) -> Figures:
    """Run a statement with a random number of a plate from all clients, and read the latency of each from pgbench's log."""
    folder = Path(tempfile.mkdtemp(dir=on.server.home))
    script = folder / "script.sql"
    script.write_text(f"\\set n random(1, {PLATES})\n{statement};\n", encoding="utf-8")
    options = ["-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds), "-l", f"--log-prefix={folder / 'log'}"]
    on.pgbench(*options, "-f", str(script), database=DATABASE)
    times = sorted(int(line.split()[2]) / 1000 for log in folder.glob("log.*") for line in log.read_text().splitlines())
    return Figures(len(times) / seconds, times[len(times) // 2], times[len(times) * 99 // 100])


@contextmanager
def served(on: Ground, lot: Lot) -> Iterator[Callable[[str], Figures]]:
    """Serve the product's pages and API on the filled database; gives what asks one kind of question and measures the answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = on.folder("leaving-home")
    settings = load({"TONGTING_HOME": str(home), "TONGTING_DATABASE_URL": on.server.url(DATABASE), "TONGTING_WEB_PORT": str(port)})
    make_missing(settings)
    with (home / "web.log").open("wb") as log:
        web = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "web"], env=os.environ | as_environment(settings), stdout=log, stderr=log
        )  # fmt: skip
    try:
        _await(port, home / "web.log")
        files = {kind: home / f"{kind}.bin" for kind in ("leave", "empty")}
        written(files["leave"], [_question(settings, lot, number) for number in range(QUESTIONS)])
        written(files["empty"], [b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"] * QUESTIONS)
        yield lambda kind: _asked(port, files[kind])
    finally:
        web.terminate()
        web.wait(30)


def _question(settings: Settings, lot: Lot, number: int) -> bytes:
    asked = {"plate": f"苏B{number * 7919 % 100_000:05d}", "plate_color": "blue", "amount_fen": 1200}
    body = json.dumps(asked, ensure_ascii=False).encode()
    return (
        f"POST /v1/lots/{lot.code}/leave-first HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {_token(settings, lot)}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


@cache
def _token(settings: Settings, lot: Lot) -> str:
    caller = Caller(client_id="bench", scope="lot", lot_id=lot.lot_id, operator_id=lot.operator_id)
    return auth.signed(
        caller, keys=read(settings).tokens, issuer=settings.public_url, at=datetime.now(UTC), lifetime=timedelta(hours=1)
    )


def _asked(port: int, requests: Path) -> Figures:
    run = [sys.executable, "-m", "benchmarks.load", str(port), str(CLIENTS), str(requests)]
    told = json.loads(subprocess.run(run, check=True, capture_output=True).stdout)
    assert told["positive"] == told["answered"] == QUESTIONS, told
    return Figures(told["rate"], told["p50_ms"], told["p99_ms"])


def _await(port: int, log: Path) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the web process did not come up:\n{log.read_text()}")
