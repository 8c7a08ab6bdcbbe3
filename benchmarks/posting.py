"""How fast one Python process posts entries, alone and with the sealer on the same cores, and in a large book.

Knows the book and the sealer. Called by ``benchmarks.__main__``.
"""

import multiprocessing
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, text

from app.collector import settle
from benchmarks.ground import BOOKS
from ledger import recipes
from ledger.book import post
from ledger.checkpoint import Signer
from ledger.clock import business_date
from ledger.db import engine
from ledger.ids import RandomIds
from ledger.journal import Entry
from ledger.seal import Sealer, Witness

BATCH: Final = 1_000
WRITERS: Final = 4
"""Connections of the one process: while some wait for the server or their commit, another encodes."""

_IDS: Final = RandomIds()
_EVIDENCE: Final = _IDS.new(datetime.now(UTC), "evidence")
_BOOK_OF: Final = [random.Random(1).randrange(1, BOOKS + 1) for _ in range(20_000)]


def entries(count: int, *, hot: bool) -> list[Entry]:
    """Return new payments: ids, recipe and all, as the applier makes them; over all books, or all in one."""
    now = datetime.now(UTC)
    today = business_date(now)
    start = random.randrange(len(_BOOK_OF) - count)
    return [
        recipes.charge_paid(
            payment_id=_IDS.new(now, ""), book_id=1 if hot else _BOOK_OF[start + n], channel="wechat", amount_fen=100 + n,
            happened_at=now, booked_on=today, evidence_id=_EVIDENCE,
        )
        for n in range(count)
    ]  # fmt: skip


def rate(book: Engine, *, seconds: float, hot: bool = False, writers: int = WRITERS) -> float:
    """Return entries posted per second by one process in batches of ``BATCH``, making the entries included."""
    done = [0] * writers
    settle()
    start = time.perf_counter()

    def write(number: int) -> None:
        while time.perf_counter() - start < seconds:
            batch = entries(BATCH, hot=hot)
            with book.begin() as tx:
                post(tx, lane=0, entries=batch, at=datetime.now(UTC))
            done[number] += BATCH

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - start)


def fill(book: Engine, *, until: int, progress: str) -> None:
    """Post until the book holds ``until`` entries."""
    with book.connect() as tx:
        have = tx.execute(text("select coalesce(sum(entries), 0)::bigint from ledger.batch")).scalar_one()
    while have < until:
        size = min(10_000, until - have)
        batch = entries(size, hot=False)
        with book.begin() as tx:
            post(tx, lane=0, entries=batch, at=datetime.now(UTC))
        have += size
        if have % 1_000_000 < size:
            print(f"  {progress}: {have:,} of {until:,}", flush=True)


@contextmanager
def sealing(url: str, *, interval_seconds: float) -> Iterator[None]:
    """Run the sealer in a process of its own, as the worker does."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_seal, args=(url, folder, interval_seconds, stop))
        process.start()
        try:
            yield
        finally:
            stop.set()
            process.join()


def _seal(url: str, folder: str, interval_seconds: float, stop: Event) -> None:
    signer = Signer("bench.invalid/lane/0", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    sealer = Sealer(lane=0, signer=signer, witness=Witness(Path(folder) / "lane-0"))
    with engine(url).connect() as connection:
        _forget_key(url)
        sealer.wait_for_turn(connection)
        while not stop.is_set():
            started = time.perf_counter()
            sealed = sealer.seal_once(connection, at=datetime.now(UTC))
            if sealed is None or not sealed.more:
                stop.wait(max(0.0, interval_seconds - (time.perf_counter() - started)))


def _forget_key(url: str) -> None:
    """The witness of a measurement starts empty, so its lane must be fresh too."""
    with engine(url).connect() as tx:
        if tx.execute(text("select count(*) from ledger.seal")).scalar_one():
            raise SystemExit("measure sealing in a database of its own")


def unsealed(book: Engine) -> int:
    """Return how many committed entries have no place yet."""
    with book.connect() as tx:
        count = tx.execute(
            text("""
            select coalesce(sum(entries), 0)::bigint - (select coalesce(max(tree_size), 0) from ledger.seal) from ledger.batch
            """)
        ).scalar_one()
    return int(count)


def seal_lag_seconds(book: Engine) -> float:
    """Wait until everything committed now is sealed; return how long that took."""
    start = time.perf_counter()
    while unsealed(book):
        time.sleep(0.005)
    return time.perf_counter() - start
