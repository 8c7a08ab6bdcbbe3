"""How long ten thousand berth codes take to print, and in how much memory: as stickers in PDFs, and as SVG pages.

Knows labels and print files, no database: each run is a process of its own, whose peak is its own. Called by ``benchmarks``; one
run by hand: ``python -m benchmarks.codes pdf 1000``, with one process ``… pdf 1000 1``.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from app.pages.words import ZH
from app.printing import sheets
from app.printing.drawing import Form
from app.printing.labels import Label
from app.printing.processes import cores
from app.printing.sheets import Order
from benchmarks.figures import Notebook
from ledger.clock import SystemClock
from payments import fonts, paycode
from payments.codes.records import Place
from payments.lots import Lot
from payments.paycode import PayCodeKeys, WallCode

_LOT = Lot(
    code="WX-0017", operator_code="WX", name="中山路路边停车场", district="梁溪区", address="中山路 100 号", berths=10_000,
    scene="on_street", tariff_text="每小时6元", lot_id=17, operator_id=1, operator_name="示例停车管理有限公司",
)  # fmt: skip


class Run(Struct, frozen=True):
    """One printing. The memory is that of the process and of the largest that drew for it."""

    seconds: float
    cpu_seconds: float
    """Of all processes together: it says more than ``seconds`` where others work beside."""
    peak_mb: float
    files: int
    written_mb: float


def measure(notes: Notebook, *, rounds: int, codes: int) -> None:
    """Print ``codes`` stickers of 60 × 60 mm in both forms, alternating, by one process and by one for each processor."""
    for _ in range(rounds):
        for form in ("pdf", "svg"):
            alone, together = _apart(form, codes, 1), _apart(form, codes, cores())
            notes.write(f"codes.{form}", together.seconds, unit="s")
            notes.write(f"codes.{form}.alone", alone.seconds, unit="s")
            notes.write(f"codes.{form}.cpu", alone.cpu_seconds, unit="s")
            notes.write(f"codes.{form}.rss", together.peak_mb, unit="MB")
            notes.write(f"codes.{form}.alone.rss", alone.peak_mb, unit="MB")
            notes.write(f"codes.{form}.size", together.written_mb, unit="MB")


def printed(form: Form, codes: int, processes: int) -> Run:
    """Sign, lay out, draw and write codes, in this process or in several."""
    keys = PayCodeKeys(signing_id=1, signing_key=Ed25519PrivateKey.generate())
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="tongting-codes-") as folder:
        order = Order(
            size="60x60", form=form, folder=Path(folder), stem="codes", font=fonts.found(None), processes=processes
        )  # fmt: skip
        done = sheets.write(
            _labels(codes, keys), order, at=SystemClock().now(),
            progress=lambda said: print(said, file=sys.stderr, flush=True),
        )  # fmt: skip
        took = time.perf_counter() - began
        written = sum(path.stat().st_size for path in done.files)
    return Run(took, _cpu_seconds(), _peak_mb(), len(done.files), written / 1e6)


def _cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _peak_mb() -> float:
    """Return the peak memory of this process and of the largest that drew for it."""
    both = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(both) / 1024


def _labels(codes: int, keys: PayCodeKeys) -> Iterator[Label]:
    for number in range(1, codes + 1):
        link = paycode.address("https://pay.wuxi-parking.example", WallCode(number), keys=keys)
        yield sheets.label(
            _LOT, Place("berth", f"A-{number:05}"), link=link, code_no=number, words=ZH, help_line="0510-12345",
            wallets="微信、支付宝、云闪付",
        )  # fmt: skip


def _apart(form: str, codes: int, processes: int) -> Run:
    command = [sys.executable, "-m", "benchmarks.codes", form, str(codes), str(processes)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return msgspec.json.decode(said, type=Run)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("form", choices=["pdf", "svg"])
    parser.add_argument("codes", type=int)
    parser.add_argument("processes", type=int, nargs="?", default=cores())
    given = parser.parse_args()
    print(msgspec.json.encode(printed(given.form, given.codes, given.processes)).decode())


if __name__ == "__main__":
    main()
