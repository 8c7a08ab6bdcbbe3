"""The worker: what is committed gets sealed, by one worker at a time, through broken connections and past refusals."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import psycopg
import pytest
from sqlalchemy import text

from app.wiring import Wiring, build, origin
from app.worker import check, prepare_months, schedule, seal_all, work
from config.settings import load
from ledger import book
from ledger.books import NewBook, open_books, open_lane
from ledger.db import engine
from ledger.ids import SeededIds
from ledger.recipes import charge_paid

AT = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
IDS = SeededIds(1)


@pytest.fixture
def wiring(home_with_keys: Path, database: str, tmp_path: Path) -> Iterator[Wiring]:
    shutil.copytree(home_with_keys, tmp_path, dirs_exist_ok=True)
    settings = load({"TONGTING_HOME": str(tmp_path), "TONGTING_DATABASE_URL": database, "TONGTING_SEAL_SECONDS": "0.02"})
    built = build(settings)
    with built.db.begin() as tx:
        open_lane(tx, lane=0, origin=origin(settings))
        open_books(tx, books=[NewBook(0, "operator", "无锡示范停车有限公司")], at=AT)
    yield built
    built.close()


def post(wiring: Wiring, number: int) -> None:
    entry = charge_paid(
        payment_id=IDS.new(AT, f"payment {number}"), book_id=1, channel="wechat", amount_fen=500, happened_at=AT,
        booked_on=date(2026, 3, 2), evidence_id=IDS.new(AT, f"message {number}"),
    )  # fmt: skip
    with wiring.db.begin() as tx:
        book.post(tx, lane=0, entries=[entry], at=AT)


def sealed(wiring: Wiring) -> int:
    with wiring.db.connect() as tx:
        return int(tx.execute(text("select coalesce(max(tree_size), 0) from ledger.seal")).scalar_one())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


@contextmanager
def working(wiring: Wiring) -> Iterator[None]:
    stop = threading.Event()
    worker = threading.Thread(target=work, args=(wiring,), kwargs={"stop": stop})
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


def test_what_is_committed_gets_sealed(wiring: Wiring) -> None:
    with working(wiring):
        post(wiring, 1)
        wait_for(lambda: sealed(wiring) == 1)
        post(wiring, 2)
        wait_for(lambda: sealed(wiring) == 2)


def test_a_second_worker_waits_and_takes_over(wiring: Wiring) -> None:
    with working(wiring):
        post(wiring, 1)
        wait_for(lambda: sealed(wiring) == 1)
        assert seal_all(wiring) is None  # the lane is held
    post(wiring, 2)
    assert seal_all(wiring) == 1


def test_a_lost_connection_is_opened_again(wiring: Wiring, database: str) -> None:
    with working(wiring):
        post(wiring, 1)
        wait_for(lambda: sealed(wiring) == 1)
        with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as admin:
            others = "pid <> pg_backend_pid() and datname = current_database()"
            admin.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {others}".encode())
        wiring.db.dispose()
        post(wiring, 2)
        wait_for(lambda: sealed(wiring) == 2)


def test_an_older_backup_is_refused_in_the_log_and_nothing_is_signed(wiring: Wiring, caplog: pytest.LogCaptureFixture) -> None:
    ahead = wiring.signer().sign(size=7, root=bytes(32))
    wiring.witness().write(ahead)
    post(wiring, 1)
    with caplog.at_level(logging.CRITICAL), working(wiring):
        wait_for(lambda: "sealing has stopped" in caplog.text)
    assert "older backup" in caplog.text
    assert sealed(wiring) == 0
    assert wiring.witness().last() == ahead


def test_a_broken_invariant_raises_an_alarm(wiring: Wiring, database: str, caplog: pytest.LogCaptureFixture) -> None:
    post(wiring, 1)
    assert seal_all(wiring) == 1
    check(wiring)
    assert "I12" not in caplog.text
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as burglar:
        burglar.execute("alter table ledger.posting disable trigger all")
        burglar.execute("update ledger.posting set amount_fen = 1")
    check(wiring)
    assert "invariant I12 is broken" in caplog.text


def test_months_are_made_ahead_by_the_application_role(wiring: Wiring) -> None:
    far = msgspec.structs.replace(wiring, clock=_At(datetime(2027, 8, 1, tzinfo=UTC)))
    prepare_months(far)
    with wiring.db.connect() as tx:
        assert tx.execute(text("select to_regclass('ledger.posting_202809')")).scalar_one() is not None


def test_a_job_that_fails_is_one_entry_in_the_log(wiring: Wiring, caplog: pytest.LogCaptureFixture) -> None:
    wiring.db.dispose()
    gone = msgspec.structs.replace(wiring, db=engine("postgresql+psycopg://nobody@127.0.0.1:9/nowhere"))
    for job in schedule(gone).get_jobs():
        job.func()
    assert "job prepare_months failed" in caplog.text
    assert "job check failed" in caplog.text


class _At:
    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at
