"""A whole simulated day over real HTTP: the books come out right, and the same seed gives the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from app.day.closing import Summary

SECONDS_MAX = 240.0
PAYMENTS = 40


def run_day(out: Path, *, seed: int, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TONGTING_")}
    environment |= {f"TONGTING_{name.upper()}": value for name, value in more.items()}
    command = [sys.executable, "-m", "app.cli", "day", "--seed", str(seed), "--payments", str(PAYMENTS), "--out", str(out)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The same day twice, each in a city of its own."""
    outs = [tmp_path_factory.mktemp("day") / "out" for _ in range(2)]
    done = [run_day(out, seed=5) for out in outs]
    assert [one.returncode for one in done] == [0, 0], done[0].stderr[-3000:] + done[1].stderr[-3000:]
    return outs[0], outs[1], done[0].stdout


def test_the_same_seed_gives_the_same_books_byte_for_byte(two_days: tuple[Path, Path, str]) -> None:
    first, second, _ = two_days
    assert contents(first) == contents(second)


def test_every_fen_is_booked_matched_and_stated(two_days: tuple[Path, Path, str]) -> None:
    out, _, table = two_days
    summary = msgspec.json.decode((out / "summary.json").read_bytes(), type=Summary)
    assert summary.invariants_broken == []
    assert summary.seen.taken == summary.payments == PAYMENTS
    assert sum(summary.treatments.values()) == summary.books.entries == summary.matching.matched == PAYMENTS
    assert summary.matching.differences == {}
    assert summary.books.debit_fen == summary.books.credit_fen == summary.matching.matched_fen
    statements = [msgspec.json.decode(path.read_bytes()) for path in (out / "statements").iterdir()]
    assert sum(line["amount_fen"] for statement in statements for line in statement["lines"]) == summary.matching.matched_fen
    assert {statement["checkpoint"] for statement in statements} == {(out / "checkpoint.txt").read_text(encoding="utf-8")}
    assert "every one holds" in table


def test_a_day_has_all_its_files(two_days: tuple[Path, Path, str]) -> None:
    out, _, _ = two_days
    assert {path.name for path in out.iterdir()} == {"summary.json", "trial-balance.csv", "checkpoint.txt", "statements", "bills"}
    assert [path.name for path in (out / "bills").iterdir()] == ["2026-03-02.csv"]
    assert len(list((out / "statements").iterdir())) == 9
