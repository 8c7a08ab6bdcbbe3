"""``make bench``: alternating rounds on one server; medians to ``build/bench.json`` and as a table.

1x = pgbench TPC-B, scale 50, 8 clients, prepared, on the same server in the same round, fsync on.
"""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from app.database import prepare
from benchmarks import bills, callbacks, channels, codes, intake, leaving, pages, posting
from benchmarks.bill_files import FORMS
from benchmarks.figures import Notebook, save, table
from benchmarks.ground import Ground, ground

REPORT: Final = Path("build") / "bench.json"
SEAL_INTERVAL_SECONDS: Final = 0.25
GROWTH_SMALL: Final = 100_000
GROWTH_LARGE: Final = 10_000_000


class Plan:
    """How long and how often; ``--quick`` is for trying the benchmark, not for figures."""

    def __init__(self, *, quick: bool) -> None:
        self.rounds = 1 if quick else 5
        self.seconds = 2 if quick else 6
        self.sustained_seconds = 5 if quick else 60
        self.large = GROWTH_SMALL * 5 if quick else GROWTH_LARGE
        self.debts = 100_000 if quick else 5_000_000
        self.codes = 500 if quick else 10_000
        self.bill_rows = 20_000 if quick else 1_000_000
        self.notices = {64: 3_000, 1: 300, 1000: 3_000} if quick else {64: 20_000, 1: 2_000, 1000: 20_000}


def measure_posting(on: Ground, plan: Plan, notes: Notebook) -> None:
    """``post.*``: entries per second, uniform and hot, alternating; then sustained with the sealer on the same cores."""
    for number in range(plan.rounds):
        baseline = on.tpcb(plan.seconds)
        notes.write("tpcb", baseline, unit="tx/s")
        book = on.books(f"post_{number}")
        posting.rate(book, seconds=1)
        uniform = posting.rate(book, seconds=plan.seconds)
        hot = posting.rate(book, seconds=plan.seconds, hot=True)
        single = posting.rate(book, seconds=plan.seconds, writers=1)
        notes.write("post.uniform", uniform, unit="entries/s", baseline=baseline)
        notes.write("post.hot", hot, unit="entries/s", baseline=baseline)
        notes.write("post.one_connection", single, unit="entries/s", baseline=baseline)
        notes.write("post.hot_to_uniform", hot / uniform, unit="ratio")
        book.dispose()
        sealed = on.books(f"sealed_{number}")
        with posting.sealing(on.server.url(f"sealed_{number}"), interval_seconds=SEAL_INTERVAL_SECONDS):
            posting.rate(sealed, seconds=1)
            sustained = posting.rate(sealed, seconds=plan.sustained_seconds)
            lag = posting.seal_lag_seconds(sealed)
        notes.write("post.sealed", sustained, unit="entries/s", baseline=(baseline + on.tpcb(plan.seconds)) / 2)
        notes.write("post.sealed.lag", lag, unit="s")
        sealed.dispose()


def measure_growth(on: Ground, plan: Plan, notes: Notebook) -> None:
    """``growth.10m``: the posting rate in a book of 10 million entries over that in one of 100 thousand, alternating."""
    small, large = on.books("small"), on.books("large")
    posting.fill(small, until=GROWTH_SMALL, progress="small book")
    posting.fill(large, until=plan.large, progress="large book")
    on.pgbench("-n", "-c", "1", "-t", "1")
    for _ in range(plan.rounds):
        in_small = posting.rate(small, seconds=plan.seconds)
        in_large = posting.rate(large, seconds=plan.seconds)
        notes.write("growth.small", in_small, unit="entries/s")
        notes.write("growth.large", in_large, unit="entries/s")
        notes.write("growth.10m", in_large / in_small, unit="ratio")
    small.dispose()
    large.dispose()


def measure_callbacks(on: Ground, plan: Plan, notes: Notebook) -> None:
    """``callbacks.N``: callbacks per second end to end over N connections, their p99, and the web process's memory."""
    url = on.server.url("callbacks")
    prepare(url, today=datetime.now(UTC).date())
    with callbacks.opened(url, on.folder("web")) as service:
        service.round(connections=64, notices=2_000)  # warm up
        for _ in range(plan.rounds):
            baseline = on.tpcb(plan.seconds)
            for connections, notices in plan.notices.items():
                run = service.round(connections=connections, notices=notices)
                assert run.positive == notices, "a genuine notice was not acknowledged"
                notes.write(f"callbacks.{connections}", run.rate, unit="callbacks/s", baseline=baseline)
                notes.write(f"callbacks.{connections}.p50_ms", run.p50_ms, unit="ms")
                notes.write(f"callbacks.{connections}.p99_ms", run.p99_ms, unit="ms")
                notes.write("callbacks.rss", run.rss_mb_end, unit="MB")


def measure_bills(on: Ground, plan: Plan, notes: Notebook) -> None:
    """``bills.FORM.*``: rows per second of reading a large bill, and of keeping it in the database too; memory of each."""
    url, folder = on.server.url("bills"), on.folder("bills")
    prepare(url, today=datetime.now(UTC).date())
    for name, form in FORMS.items():
        path = folder / name
        form.write(path, plan.bill_rows)
        for task, run in (("read", bills.read(name, path)), ("keep", bills.keep(name, path, url=url))):
            assert run.rows == plan.bill_rows, "not every row was read"
            notes.write(f"bills.{name}.{task}", run.rate, unit="rows/s")
            notes.write(f"bills.{name}.{task}.rss", run.peak_mb, unit="MB")
        path.unlink()


def measure_channels(on: Ground, plan: Plan, notes: Notebook) -> None:
    """``channels.*``: notices of every channel as ratios to WeChat's, and building a signed payment by channel and way."""
    url = on.server.url("channels")
    prepare(url, today=datetime.now(UTC).date())
    channels.measure(on, notes, rounds=plan.rounds, url=url)


def measure_intake(on: Ground, plan: Plan, notes: Notebook) -> None:
    """``intake.*``: bulk intake of stays and charges, as ratios to COPY of the same rows."""
    intake.measure(on, notes, rounds=plan.rounds)


def measure_leaving(on: Ground, plan: Plan, notes: Notebook) -> None:
    """``leaving.*``: the question at the gate by 64 clients with millions of debts on file, as ratios to a read by primary key
    and to an HTTP answer that reads nothing."""
    leaving.measure(on, notes, rounds=plan.rounds, seconds=plan.seconds, debts=plan.debts)


def measure_codes(_on: Ground, plan: Plan, notes: Notebook) -> None:
    """``codes.*``: printing berth codes as stickers, in PDFs and as SVG pages: seconds and peak memory."""
    codes.measure(notes, rounds=plan.rounds, codes=plan.codes)


def measure_pages(on: Ground, plan: Plan, notes: Notebook) -> None:
    """``pages.*``: scan to page and tap to hand-off by 64 phones, as ratios to a bare endpoint."""
    pages.measure(on, notes, rounds=plan.rounds)


PARTS: Final[dict[str, Callable[[Ground, Plan, Notebook], None]]] = {
    "post": measure_posting,
    "callbacks": measure_callbacks,
    "growth": measure_growth,
    "channels": measure_channels,
    "bills": measure_bills,
    "intake": measure_intake,
    "leaving": measure_leaving,
    "codes": measure_codes,
    "pages": measure_pages,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the book and the callbacks against TPC-B of the same server.")
    parser.add_argument("only", choices=list(PARTS), nargs="?", help="run one part")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it runs")
    chosen = parser.parse_args()
    notes, plan = Notebook(), Plan(quick=chosen.quick)
    started = time.perf_counter()
    with ground() as on:
        for name, part in PARTS.items():
            if chosen.only in (None, name):
                print(f"measuring {name} ...", flush=True)
                part(on, plan, notes)
                save(notes.figures(), REPORT)
    print(table(notes.figures()))
    print(f"\n{REPORT} written after {time.perf_counter() - started:.0f} s; ratios are medians of value / TPC-B within a round")


if __name__ == "__main__":
    main()
