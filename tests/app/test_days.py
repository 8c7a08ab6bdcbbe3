"""Two simulated days over real HTTP with cars that leave first: what becomes of debts, and the same seed gives the same bytes."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from app.day.closing import Summary
from app.day.reckoning import DebtsAtEnd, Sum
from tests.app.test_day import contents, environment_of

SECONDS_MAX = 400.0
SEED, DAYS, PAYMENTS = 37, 2, 12


def start_days(out: Path) -> "subprocess.Popen[str]":
    asked = ["--seed", str(SEED), "--days", str(DAYS), "--payments", str(PAYMENTS), "--out", str(out)]
    command = [sys.executable, "-m", "tests.seeded_keys", "day", *asked]
    return subprocess.Popen(command, env=environment_of(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same days twice at the same time, each in a city of its own."""
    outs = [tmp_path_factory.mktemp("days") / "out" for _ in range(2)]
    runs = [start_days(out) for out in outs]
    said = [run.communicate(timeout=SECONDS_MAX) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    return outs[0], outs[1]


@pytest.fixture(scope="module")
def summary(twice: tuple[Path, Path]) -> Summary:
    return msgspec.json.decode((twice[0] / "summary.json").read_bytes(), type=Summary)


def debts_of(summary: Summary) -> DebtsAtEnd:
    assert summary.debts is not None
    return summary.debts


def total(sums: dict[str, Sum]) -> Sum:
    return Sum(sum(one.count for one in sums.values()), sum(one.amount_fen for one in sums.values()))


def test_the_same_seed_gives_the_same_days_byte_for_byte(twice: tuple[Path, Path]) -> None:
    first, second = twice
    assert contents(first) == contents(second)


def test_every_debt_is_paid_let_off_corrected_or_owed_and_the_books_carry_what_is_owed(summary: Summary) -> None:
    debts = debts_of(summary)
    assert summary.wrong() == []
    assert (debts.owed.owed_fen, debts.owed.owed_fen) == (debts.receivable_fen, total(debts.states).amount_fen)
    assert total(debts.opened).count == total(debts.states).count
    assert set(debts.states) == {"credited", "open", "settled", "waived", "written_off"}
    assert (debts.states["waived"].count, debts.states["written_off"].count, debts.states["credited"].count) == (2, 1, 1)
    assert debts.credit_notes.count == 1
    assert summary.days[-1].owed == debts.owed
    assert total(debts.ageing) == Sum(debts.owed.debts, debts.owed.owed_fen)


def test_barriers_open_for_mandates_and_payers_and_streets_make_debts(summary: Summary) -> None:
    assert summary.leaving is not None
    told = summary.leaving.told
    assert {"open deducted", "open debt", "open escaped", "open paid", "closed no_mandate"} <= set(told)
    assert set(debts_of(summary).opened) == {"escaped", "mandate", "policy"}
    assert summary.leaving.lists > summary.leaving.told_again > 0


def test_a_refused_deduction_is_tried_again_by_the_plan_and_a_mandate_takes_what_has_gone(summary: Summary) -> None:
    debts = debts_of(summary)
    reasons = {name.split()[1] for name in debts.deductions}
    assert {"failed", "none", "pending"} <= reasons
    assert {"etc deduction", "wechat deduction"} <= set(debts.paid)


def test_a_part_is_paid_and_recoveries_at_other_lots_and_by_a_company_earn_shares(summary: Summary) -> None:
    debts = debts_of(summary)
    assert summary.leaving is not None
    assert summary.leaving.parts == sum(times for name, times in summary.treatments.items() if name.endswith(" part")) == 1
    assert {"assignment", "city_window", "own"} <= set(debts.recoveries)
    assert {name.split(" to ")[1] for name in debts.shares} == {"platform platform", "company recover"}
    assert 0 < total(debts.shares).amount_fen < total(debts.recoveries).amount_fen


def test_reminders_go_out_and_letters_lie_in_the_days_folder(twice: tuple[Path, Path], summary: Summary) -> None:
    letters = [path.read_text(encoding="utf-8") for path in (twice[0] / "reminders").rglob("*.json")]
    assert len(letters) == debts_of(summary).letters > 0
    assert summary.leaving is not None
    assert summary.leaving.reminders > 0
    assert all("https://pay.example.invalid" in letter for letter in letters)


def test_an_operators_system_hears_every_event_in_order(summary: Summary) -> None:
    heard = debts_of(summary).events
    assert heard is not None
    assert {"debt.opened", "debt.settled", "debt.disputed", "debt.waived", "payment.succeeded"} <= set(heard.kinds)
    assert sum(heard.kinds.values()) > heard.charges > 0
    assert heard.sent_again > 0


def test_each_day_has_its_section_bills_and_statements(twice: tuple[Path, Path], summary: Summary) -> None:
    assert [str(section.day) for section in summary.days] == ["2026-03-02", "2026-03-03"]
    for section in summary.days:
        assert {name: matching.differences for name, matching in section.matching.items()} == {
            "alipay": {}, "etc": {}, "unionpay": {}, "wechat": {},
        }  # fmt: skip
        assert (twice[0] / "bills" / f"wechat-all-{section.day}.csv").is_file()
        assert (twice[0] / "statements" / f"liangxi-{section.day}.json").is_file()
    assert summary.payments == sum(section.payments for section in summary.days) == summary.seen.taken
