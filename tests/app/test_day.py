"""A whole simulated day over real HTTP: the books come out right, and the same seed gives the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from app.day.closing import Summary
from app.day.command import free_ports

SECONDS_MAX = 300.0
PAYMENTS = 40
SEED = 5


def environment_of(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TONGTING_")}
    return kept | {f"TONGTING_{name.upper()}": value for name, value in more.items()}


def start_day(out: Path, *, seed: int = SEED, settings: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "app.cli", "day", "--seed", str(seed), "--payments", str(PAYMENTS), "--out", str(out)]
    return subprocess.Popen(
        command, env=environment_of(**settings or {}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The same day twice at the same time, each in a city of its own."""
    outs = [tmp_path_factory.mktemp("day") / "out" for _ in range(2)]
    days = [start_day(out) for out in outs]
    said = [day.communicate(timeout=SECONDS_MAX) for day in days]
    assert [day.returncode for day in days] == [0, 0], said
    return outs[0], outs[1], said[0][0]


def test_the_same_seed_gives_the_same_books_byte_for_byte(two_days: tuple[Path, Path, str]) -> None:
    first, second, _ = two_days
    assert contents(first) == contents(second)


def test_every_fen_is_booked_matched_and_stated(two_days: tuple[Path, Path, str]) -> None:
    out, _, table = two_days
    summary = msgspec.json.decode((out / "summary.json").read_bytes(), type=Summary)
    assert summary.invariants_broken == []
    assert summary.seen.taken == summary.payments == PAYMENTS
    refunds = sum(summary.refunds.values())
    assert sum(summary.treatments.values()) == PAYMENTS
    assert summary.matching.matched == PAYMENTS + refunds
    assert summary.books.entries == PAYMENTS + refunds + summary.refunds.get("done", 0)
    assert refunds == summary.treatments["second_payment"] > 0
    assert summary.matching.differences == {}
    statements = [msgspec.json.decode(path.read_bytes()) for path in (out / "statements").iterdir()]
    lines = [(line["kind"], line["amount_fen"]) for statement in statements for line in statement["lines"]]
    assert sum(fen for kind, fen in lines if kind in ("payment", "suspense")) == summary.matching.matched_fen
    assert sum(fen for _, fen in lines) == summary.books.debit_fen == summary.books.credit_fen
    assert [kind for kind, _ in lines].count("refund_accepted") == refunds
    assert {statement["checkpoint"] for statement in statements} == {(out / "checkpoint.txt").read_text(encoding="utf-8")}
    assert "every one holds" in table


def test_a_day_has_all_its_files(two_days: tuple[Path, Path, str]) -> None:
    out, _, _ = two_days
    assert {path.name for path in out.iterdir()} == {"summary.json", "trial-balance.csv", "checkpoint.txt", "statements", "bills"}
    assert [path.name for path in (out / "bills").iterdir()] == ["2026-03-02.csv"]
    assert len(list((out / "statements").iterdir())) == 9


@pytest.fixture
def running_city() -> Iterator[dict[str, str]]:
    """A simulated city under ``tongting run``; yields the settings it runs with."""
    home = Path(tempfile.mkdtemp(prefix="tongting-test-"))
    home.chmod(0o711)
    settings = {"home": str(home), "simulated": "true", "simulated_seed": str(SEED)} | free_ports()
    with (home / "out").open("wb") as out:
        run = subprocess.Popen([sys.executable, "-m", "app.cli", "run"], env=environment_of(**settings), stdout=out, stderr=out)
    deadline = time.monotonic() + SECONDS_MAX
    while "Ctrl-C stops" not in (home / "out").read_text(encoding="utf-8"):
        assert run.poll() is None, (home / "out").read_text(encoding="utf-8")
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield settings
    run.send_signal(signal.SIGINT)
    assert run.wait(SECONDS_MAX) == 0
    shutil.rmtree(home)


def test_a_city_that_runs_is_used_once_and_has_the_same_day(
    two_days: tuple[Path, Path, str], running_city: dict[str, str], tmp_path: Path
) -> None:
    other_seed = start_day(tmp_path / "other", seed=SEED + 1, settings=running_city)
    assert f"has seed {SEED}, not {SEED + 1}" in other_seed.communicate(timeout=SECONDS_MAX)[1]
    assert other_seed.returncode == 3
    day = start_day(tmp_path / "out", settings=running_city)
    said = day.communicate(timeout=SECONDS_MAX)
    assert day.returncode == 0, said
    assert contents(tmp_path / "out") == contents(two_days[0])
    again = start_day(tmp_path / "again", settings=running_city)
    assert "has been used" in again.communicate(timeout=SECONDS_MAX)[1]
    assert again.returncode == 3
