"""A whole simulated day over real HTTP, with every channel: the books come out right, and the same seed gives the same bytes."""

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
PAYMENTS = 50
SEED = 11
WALLETS = ("alipay", "unionpay", "wechat")
CHANNELS = (*WALLETS, "etc")
DEDUCTING = {"alipay deduction", "etc deduction", "wechat deduction"}


def environment_of(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TONGTING_")}
    return kept | {f"TONGTING_{name.upper()}": value for name, value in more.items()}


def start_day(out: Path, *, seed: int = SEED, settings: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    command = [
        sys.executable, "-m", "tests.seeded_keys", "day",
        "--seed", str(seed), "--payments", str(PAYMENTS), "--out", str(out),
    ]  # fmt: skip
    return subprocess.Popen(
        command, env=environment_of(**settings or {}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def one_day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A day in a city of its own."""
    out = tmp_path_factory.mktemp("day") / "out"
    day = start_day(out)
    said = day.communicate(timeout=SECONDS_MAX)
    assert day.returncode == 0, said
    return out, said[0]


@pytest.fixture(scope="module")
def summary(one_day: tuple[Path, str]) -> Summary:
    return msgspec.json.decode((one_day[0] / "summary.json").read_bytes(), type=Summary)


def of_channel(counts: dict[str, int], channel: str, *, ends: str = "") -> int:
    """Sum the counts whose name begins with the channel and ends so."""
    return sum(times for name, times in counts.items() if name.startswith(f"{channel} ") and name.endswith(ends))


def test_every_wallet_takes_money_inside_its_app_and_from_an_ordinary_browser(summary: Summary) -> None:
    assert summary.seen.taken == summary.payments == sum(summary.treatments.values()) == PAYMENTS
    assert {name.split()[0] for name in summary.seen.wallets} == set(WALLETS)
    by_hand = {"wechat in_wallet", "wechat browser", "alipay in_wallet", "alipay browser", "unionpay browser"}
    assert set(summary.ways) == by_hand | DEDUCTING | {"etc card"}
    assert summary.seen.turned_away == {}
    for channel in WALLETS:
        deducted = summary.ways.get(f"{channel} deduction", 0)
        alone = of_channel(summary.seen.wallets, channel) + deducted
        assert (alone < of_channel(summary.ways, channel)) == (of_channel(summary.seen.acts, channel) > 0)
    by_itself = sum(map(summary.ways.__getitem__, DEDUCTING)) + summary.cards.booked + summary.cards.released
    assert sum(summary.seen.wallets.values()) + summary.seen.together + by_itself == PAYMENTS
    for channel in CHANNELS:
        assert of_channel(summary.evidence, channel) == of_channel(summary.states, channel, ends="succeeded")


def test_mandates_take_charges_at_the_barrier_or_a_little_later_and_refusals_are_paid_by_hand(summary: Summary) -> None:
    told = summary.seen.deductions
    assert told == {
        "alipay succeeded": 1, "etc failed": 1, "etc pending": 1, "etc mandate_none": 1, "etc succeeded": 1, "wechat pending": 1,
    }  # fmt: skip
    assert {name: times for name, times in summary.ways.items() if name in DEDUCTING} == {
        "alipay deduction": 1, "etc deduction": 2, "wechat deduction": 1,
    }  # fmt: skip
    assert summary.states["etc failed"] == 1 + summary.cards.bad
    assert summary.seen.entrances == sum(told.values())


def test_cards_are_booked_or_disputed_released_or_bad_and_a_bad_debt_is_paid_by_hand(summary: Summary) -> None:
    cards, seen = summary.cards, summary.seen.cards
    assert (cards.records, cards.free) == (seen.records, 1)
    assert seen.records == 4
    assert (cards.booked, cards.disputed, cards.released, cards.bad) == (1, 2, 1, 1)
    assert (cards.waiting, cards.owed) == (0, 0)
    assert (seen.released, seen.bad, seen.bad_paid) == (1, 1, 1)
    assert summary.ways["etc card"] == cards.booked + cards.released


def test_statistics_of_the_clearing_party_cover_every_card_that_was_paid(summary: Summary) -> None:
    cards = summary.cards
    assert (cards.share_fen, cards.cleared) == (cards.cleared_fen, cards.booked + cards.released)
    assert cards.share_records == cards.records - cards.bad
    assert cards.packages == {"booked": summary.seen.cards.packages}
    assert {name for name in summary.cases if name.startswith("etc ")} == set()


def test_plates_that_owe_several_operators_pay_together_in_one_act_at_wechat_and_in_turn_elsewhere(summary: Summary) -> None:
    seen = summary.seen
    assert seen.baskets == 2
    assert set(seen.acts) == {"alipay browser", "wechat inside"}
    assert seen.acts["wechat inside"] == 1
    assert seen.acts["alipay browser"] in (2, 3)
    assert 2 <= seen.together - seen.acts["alipay browser"] <= 3


def test_each_channels_bills_agree_with_the_book_to_the_last_line(summary: Summary) -> None:
    cards = summary.cards
    for channel in CHANNELS:
        matching, refunds = summary.matching[channel], of_channel(summary.refunds, channel)
        refunds -= summary.refunds.get("etc case done", 0) if channel == "etc" else 0  # the next day has its own bill
        assert matching.matched == of_channel(summary.treatments, channel) + refunds
        assert matching.bill_lines == matching.matched + (cards.free + cards.bad if channel == "etc" else 0)
        assert matching.differences == {}
        assert matching.refused == 1, "the first file that is fetched is cut, and is taken at the next round"


def test_second_payments_go_back_over_the_channel_that_took_them(summary: Summary) -> None:
    second = {channel: of_channel(summary.treatments, channel, ends=" second_payment") for channel in CHANNELS}
    assert second["etc"] == 1, "who paid by card and by hand"
    assert sum(second.values()) > second["etc"]
    assert {channel: summary.refunds.get(f"{channel} case done", 0) for channel in CHANNELS} == second
    assert all(name.endswith(" done") for name in summary.refunds)


def test_refunds_made_in_consoles_are_taken_over_from_the_bills(summary: Summary) -> None:
    made = summary.seen.refunded_by_hand
    assert set(made) == set(WALLETS)
    assert {channel: of_channel(summary.refunds, channel, ends=" console done") for channel in WALLETS} == made


def test_every_fen_is_booked_and_stated(one_day: tuple[Path, str], summary: Summary) -> None:
    out, table = one_day
    refunds = sum(summary.refunds.values())
    assert summary.invariants_broken == []
    statements = [msgspec.json.decode(path.read_bytes()) for path in (out / "statements").iterdir()]
    lines = [(line["kind"], line["amount_fen"]) for statement in statements for line in statement["lines"]]
    taken_fen = sum(matching.matched_fen for matching in summary.matching.values())
    assert sum(fen for kind, fen in lines if kind in ("payment", "suspense")) == taken_fen
    assert sum(fen for _, fen in lines) == summary.books.debit_fen == summary.books.credit_fen
    kinds = [kind for kind, _ in lines]
    assert kinds.count("refund_accepted") == refunds
    assert kinds.count("left_unpaid") >= summary.cards.booked + summary.cards.bad
    assert summary.books.entries == PAYMENTS + 2 * refunds + kinds.count("left_unpaid")
    assert {statement["checkpoint"] for statement in statements} == {(out / "checkpoint.txt").read_text(encoding="utf-8")}
    assert "every one holds" in table


def test_a_day_has_all_its_files(one_day: tuple[Path, str], summary: Summary) -> None:
    out, _ = one_day
    assert {path.name for path in out.iterdir()} == {"summary.json", "trial-balance.csv", "checkpoint.txt", "statements", "bills"}
    names = [path.name for path in (out / "bills").iterdir()]
    assert "wechat-all-2026-03-02.csv" in names
    assert [name.startswith("alipay-20880000") and name.endswith("-2026-03-02.zip") for name in names].count(True) == 9
    assert 0 < sum(name.startswith("unionpay-89832000") for name in names) <= summary.matching["unionpay"].bills
    dates = [path.name.removesuffix(".json")[-10:] for path in (out / "statements").iterdir()]
    assert (dates.count("2026-03-02"), dates.count("2026-03-03")) == (9, 9)


@pytest.fixture
def running_city() -> Iterator[dict[str, str]]:
    """A simulated city under ``tongting run``; yields the settings it runs with."""
    home = Path(tempfile.mkdtemp(prefix="tongting-test-"))
    home.chmod(0o711)
    settings = {"home": str(home), "simulated": "true", "simulated_seed": str(SEED)} | free_ports()
    with (home / "out").open("wb") as out:
        command = [sys.executable, "-m", "tests.seeded_keys", "run"]
        run = subprocess.Popen(command, env=environment_of(**settings), stdout=out, stderr=out)
    deadline = time.monotonic() + SECONDS_MAX
    while "Ctrl-C stops" not in (home / "out").read_text(encoding="utf-8"):
        assert run.poll() is None, (home / "out").read_text(encoding="utf-8")
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield settings
    run.send_signal(signal.SIGINT)
    assert run.wait(SECONDS_MAX) == 0
    shutil.rmtree(home)


def test_a_city_that_runs_is_used_once_and_the_same_seed_gives_the_same_books_there_byte_for_byte(
    one_day: tuple[Path, str], running_city: dict[str, str], tmp_path: Path
) -> None:
    other_seed = start_day(tmp_path / "other", seed=SEED + 1, settings=running_city)
    assert f"has seed {SEED}, not {SEED + 1}" in other_seed.communicate(timeout=SECONDS_MAX)[1]
    assert other_seed.returncode == 3
    day = start_day(tmp_path / "out", settings=running_city)
    said = day.communicate(timeout=SECONDS_MAX)
    assert day.returncode == 0, said
    assert contents(tmp_path / "out") == contents(one_day[0])
    again = start_day(tmp_path / "again", settings=running_city)
    assert "has been used" in again.communicate(timeout=SECONDS_MAX)[1]
    assert again.returncode == 3
