"""How long a night's planning over a city's open debts takes, and how much memory: ``python -m benchmarks.dunning``.

Knows the schema as a test does: it makes debts by SQL. Prints figures for docs/DUNNING.md; not part of ``make bench``.
"""

import argparse
import resource
import shutil
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, create_engine, text

from app.database import prepare
from app.embedded import EmbeddedPostgres
from gateways.calls import Line
from ledger.clock import SetClock
from ledger.db import engine
from ledger.ids import RandomIds
from payments import people
from payments.checkout import Till
from payments.mandates import deduction_plan
from payments.orders import RandomTokens
from payments.owed import debt_desk
from payments.owed.dunning import planning, sending
from payments.owed.dunning.channels import PageChannel, Registry
from payments.owed.dunning.plan_store import Run
from payments.owed.dunning.sending import Ways
from payments.people import Person

AT: Final = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
_CITY: Final = (
    "insert into ledger.lane (lane, origin) values (0, 'bench/lane0')",
    "insert into ledger.book values (1, 0, 'operator', 'bench', now())",
    "insert into payments.operator values (1, 0, 1, 'op-1', 'bench', '91320200MA1BENCH1X', '梁溪区', 'government', now())",
    "insert into payments.lot values (1, 1, 'lot-1', '示例停车场', '梁溪区', '示例路1号', 100, 'gate', '每小时6元', now())",
)
_PLATES: Final = """
insert into payments.plate (number, color, salt)
select '苏B' || lpad(to_hex(n), 5, '0'), 'blue', '\\x00' from generate_series(1, :plates) n
"""
_DEBTS: Final = """
with made as materialized (
    select (lpad(to_hex(1770000000000 + n), 12, '0') || '7000800000000000' || '0000')::uuid as charge_id, n,
           1 + mod(n * 7919, :plates) as plate_id, 100 + mod(n * 31, 5000) as fen, 5 + cast(mod(n, 200) as integer) as days
    from generate_series(1, cast(:debts as bigint)) n
), charge as (
    insert into payments.charge (charge_id, lane, operator_id, lot_id, lot_serial, content_digest, plate_id, scene, entered_at,
                                 left_at, minutes, amount_fen, tariff_text, state, created_at, is_receivable)
    select charge_id, 0, 1, 1, n::text, '', plate_id, 'gate', now(), now(), 60, fen, 'x', 'open', now(), true from made
)
insert into payments.debt (charge_id, lane, operator_id, lot_id, plate_id, owed_fen, basis, opened_at, due_on, limitation_on)
select charge_id, 0, 1, 1, plate_id, fen, 'policy', timestamptz '2026-03-02' - make_interval(days => days + 30),
       date '2026-03-02' - days, date '2029-03-02' - days from made
"""


def main() -> None:
    """Make the debts, plan them, send some, and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--debts", type=int, default=1_000_000)
    parser.add_argument("--plates", type=int, default=600_000)
    parser.add_argument("--batches", type=int, default=50, help="batches of notices to send afterwards")
    parser.add_argument("--tries", type=int, default=10_000, help="debts to be tried by mandate afterwards")
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="tongting-dunning-"))
    home.chmod(0o755)
    server = EmbeddedPostgres(home)
    server.start()
    try:
        prepare(server.url("bench"), today=AT.date())
        _fill(server.url("bench"), debts=given.debts, plates=given.plates)
        db = engine(server.url("bench"))
        _plan(db, debts=given.debts)
        _send(db, batches=given.batches)
        _deduct(server.url("bench"), db, tries=given.tries)
        _write_off(db)
        db.dispose()
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(server.socket_dir, ignore_errors=True)


def _fill(url: str, *, debts: int, plates: int) -> None:
    began = time.perf_counter()
    owner = create_engine(url)
    with owner.begin() as tx:
        for statement in _CITY:
            tx.execute(text(statement))
        tx.execute(text(_PLATES), {"plates": plates})
        tx.execute(text(_DEBTS.replace("::", "\\:\\:")), {"plates": plates, "debts": debts})
    with owner.execution_options(isolation_level="AUTOCOMMIT").connect() as tx:
        tx.execute(text("analyze"))
    owner.dispose()
    print(f"{debts} open debts of {plates} plates made in {time.perf_counter() - began:.0f} s", flush=True)


def _plan(db: Engine, *, debts: int) -> None:
    at_start, seen = _rss_mib(), [0]
    began = time.perf_counter()

    def progress(run: Run) -> None:
        if run.debts >= seen[0] + debts // 10:
            seen[0] = run.debts
            print(f"  {run.debts:>9} debts  {time.perf_counter() - began:6.1f} s  peak {_rss_mib():.0f} MiB", flush=True)

    channels = Registry([PageChannel()])
    run = planning.plan(db, lane=0, at=AT, ids=RandomIds(), channels=channels, progress=progress)
    took = time.perf_counter() - began
    print(
        f"planned: {run.debts} debts of {run.plates} plates in {run.reminders} reminders, {took:.0f} s, "
        f"{run.debts / took:,.0f} debts/s; memory {at_start:.0f} MiB before, peak {_rss_mib():.0f} MiB"
    )


def _send(db: Engine, *, batches: int) -> None:
    channels, sent, began = Registry([PageChannel()]), 0, time.perf_counter()
    for _ in range(batches):
        sent += sending.send_due(db, lane=0, at=AT, channels=channels, ways=Ways("https://pay.example", "0510-12345")).sent
    took = time.perf_counter() - began
    print(f"notices laid out: {sent} in {took:.1f} s, {sent / took:,.0f}/s; peak {_rss_mib():.0f} MiB")


def _write_off(db: Engine) -> None:
    """Write off as many debts as one decision holds."""
    paper, ids = debt_desk.paper("bench", b"bench"), RandomIds()
    with db.begin() as tx:
        people.enter(tx, person=Person("maker", may_propose=True, may_approve=False, document="bench"), at=AT)
        people.enter(tx, person=Person("checker", may_propose=False, may_approve=True, document="bench"), at=AT)
    began = time.perf_counter()
    with db.begin() as tx:
        made = debt_desk.propose_over_limitation(
            tx, lane=0, limitation_before=date(2030, 1, 1), operator_id=None, reason="bench", document=paper, by="maker", at=AT,
            ids=ids,
        )  # fmt: skip
    assert made is not None
    proposed = time.perf_counter()
    with db.begin() as tx:
        debt_desk.approve(
            tx, lane=0, decision_id=made.decision_id, lines_digest=made.lines_digest, by="checker", at=AT, ids=ids
        )  # fmt: skip
    done = time.perf_counter()
    print(
        f"one decision of {made.lines} debts: proposed in {proposed - began:.1f} s, approved and booked in {done - proposed:.1f} s"
    )


def _deduct(url: str, db: Engine, *, tries: int) -> None:
    """Plan the deductions of all debts whose plates have a mandate, every fifth, and try some; no channel is called."""
    with create_engine(url).begin() as owner:
        owner.execute(
            text("insert into payments.mandate select plate_id, 'etc', 'open', now() from payments.plate where plate_id % 5 = 0")
        )
    clock = SetClock(AT)
    till = Till(db=db, lane=0, clock=clock, ids=RandomIds(), tokens=RandomTokens(), line=_no_channel)
    began, planned, behind = time.perf_counter(), 0, None
    while True:
        made, behind = deduction_plan.plan(till, behind=behind)
        planned += made
        if behind is None:
            break
    took = time.perf_counter() - began
    print(f"deductions planned: {planned} in {took:.1f} s; peak {_rss_mib():.0f} MiB")
    with db.begin() as tx:
        tx.execute(text("update payments.deduction_plan set due_at = :at"), {"at": AT})
    began, done = time.perf_counter(), 0
    while done < tries:
        done += deduction_plan.run_due(till, limit=500, threads=4).tried
    took = time.perf_counter() - began
    print(f"debts tried, without the channels' own time: {done} in {took:.1f} s, {done / took:,.0f}/s; peak {_rss_mib():.0f} MiB")


def _no_channel(name: str) -> Line:
    raise AssertionError(f"no channel is called, also not {name}")


def _rss_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
