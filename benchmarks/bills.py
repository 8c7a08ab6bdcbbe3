"""How fast a large bill of each channel is read and kept, and how much memory that takes: each in a fresh process.

Knows readers and the keeping of bills. Called by ``benchmarks.__main__``; itself the program of the fresh processes.
"""

import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.bill_files import DAY, FORMS
from gateways.parts import PART_BYTES
from gateways.spool import Spool
from ledger.db import engine
from ledger.ids import RandomIds
from reconciliation import bills
from reconciliation.bill_lines import BillLines
from reconciliation.bills import Fetched


class Run(Struct, frozen=True):
    """What one process did. ``peak_mb`` is all its resident memory at the worst moment, the interpreter included."""

    rows: int
    seconds: float
    peak_mb: float

    @property
    def rate(self) -> float:
        """Return rows per second."""
        return self.rows / self.seconds


def read(form: str, path: Path) -> Run:
    """Read a bill to its end in a fresh process."""
    return _fresh("read", form, path)


def keep(form: str, path: Path, *, url: str) -> Run:
    """Read a bill and keep it with all its lines in one transaction, in a fresh process."""
    return _fresh("keep", form, path, url)


def _fresh(*arguments: str | Path) -> Run:
    command = [sys.executable, "-m", "benchmarks.bills", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Run)


def _read(form: str, path: Path) -> int:
    count = 0
    with path.open("rb") as file:
        for _ in FORMS[form].read(file):
            count += 1
    return count


def _keep(form: str, path: Path, url: str) -> int:
    with path.open("rb") as file:
        spool = Spool.of(iter(lambda: file.read(PART_BYTES), b""))
    lines = BillLines.of(FORMS[form].read(spool.open()))
    fetched = Fetched(form, "bench", DAY, None, file=spool, lines=lines)
    book = engine(url)
    with book.begin() as tx:
        kept = bills.keep(tx, lane=0, fetched=fetched, at=datetime.now(UTC), ids=RandomIds())
    assert kept.outcome == "new", kept
    return lines.sums.lines


def main() -> None:
    """Do what the arguments say and print the Run as JSON."""
    task, form, path, *more = sys.argv[1:]
    started = time.perf_counter()
    count = _read(form, Path(path)) if task == "read" else _keep(form, Path(path), *more)
    seconds = time.perf_counter() - started
    sys.stdout.buffer.write(msgspec.json.encode(Run(rows=count, seconds=seconds, peak_mb=_peak_mb())))


def _peak_mb() -> float:
    """Return the most resident memory of this program so far; ``ru_maxrss`` would be at least its starter's."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
