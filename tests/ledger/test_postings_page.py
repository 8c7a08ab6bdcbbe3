"""The auditors' table and the recipes say the same."""

import re
from datetime import date
from pathlib import Path

import pytest

from ledger import recipes
from ledger.accounts import clearing
from ledger.ids import SeededIds
from ledger.journal import Entry
from tests.ledger.conftest import EVIDENCE, NOON

PAGE = (Path(__file__).parents[2] / "docs" / "POSTINGS.md").read_text(encoding="utf-8")
SOURCE = SeededIds(3).new(NOON, "source")
COMMON = {"book_id": 1, "happened_at": NOON, "booked_on": date(2026, 3, 2), "evidence_id": EVIDENCE}


def entries(channel: str) -> list[tuple[str, Entry]]:
    paid = {**COMMON, "payment_id": SOURCE, "channel": channel, "amount_fen": 5}
    return [
        ("charge_paid", recipes.charge_paid(**paid)),  # type: ignore[arg-type]
        ("second_payment", recipes.second_payment(**paid)),  # type: ignore[arg-type]
        ("debt_paid", recipes.debt_paid(**paid)),  # type: ignore[arg-type]
        ("bad_debt", recipes.bad_debt(**paid)),  # type: ignore[arg-type]
        ("left_unpaid", recipes.left_unpaid(**COMMON, charge_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("refund_accepted", recipes.refund_accepted(**COMMON, refund_id=SOURCE, from_suspense=True, amount_fen=5)),  # type: ignore[arg-type]
        ("refund_accepted", recipes.refund_accepted(**COMMON, refund_id=SOURCE, from_suspense=False, amount_fen=5)),  # type: ignore[arg-type]
        ("refund_done", recipes.refund_done(**COMMON, refund_id=SOURCE, channel=channel, amount_fen=5)),  # type: ignore[arg-type]
        (
            "settled_to_bank",
            recipes.settled_to_bank(**COMMON, settlement_id=SOURCE, channel=channel, net_fen=5, fee_fen=1),  # type: ignore[arg-type]
        ),
        ("credited", recipes.credited(**COMMON, note_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("waived", recipes.waived(**COMMON, decision_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("written_off", recipes.written_off(**COMMON, decision_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("taken_elsewhere", recipes.taken_elsewhere(**COMMON, taking_id=SOURCE, channel=channel, amount_fen=5)),  # type: ignore[arg-type]
        ("cash_banked", recipes.cash_banked(**COMMON, slip_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("incentive_owed", recipes.incentive_owed(**COMMON, line_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("incentive_owed", recipes.incentive_owed(**COMMON, line_id=SOURCE, amount_fen=5, returned=True)),  # type: ignore[arg-type]
        ("incentive_earned", recipes.incentive_earned(**COMMON, line_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("incentive_earned", recipes.incentive_earned(**COMMON, line_id=SOURCE, amount_fen=5, returned=True)),  # type: ignore[arg-type]
        ("incentive_paid", recipes.incentive_paid(**COMMON, settlement_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("incentive_received", recipes.incentive_received(**COMMON, settlement_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("bearer_claimed", recipes.bearer_claimed(**COMMON, part_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("bearer_owed", recipes.bearer_owed(**COMMON, part_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("bearer_paid", recipes.bearer_paid(**COMMON, settlement_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
        ("bearer_paid_out", recipes.bearer_paid_out(**COMMON, settlement_id=SOURCE, amount_fen=5)),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("channel", ["wechat", "alipay", "unionpay", "etc"])
def test_the_page_lists_exactly_the_rows_that_the_recipes_make(channel: str) -> None:
    made = {
        (name, str(line.debit), str(line.credit), str(entry.kind)) for name, entry in entries(channel) for line in entry.lines
    }  # fmt: skip
    code = str(int(clearing(channel)))
    row = re.compile(r"^\| .+? \| `(\w+)` \| (\S+) \| (\S+) \| (?:operator|recoverer|bearer) \| (\d+) ", re.MULTILINE)
    listed = {(name, a.replace("{channel}", code), b.replace("{channel}", code), kind) for name, a, b, kind in row.findall(PAGE)}
    assert made == listed


def test_every_recipe_is_on_the_page() -> None:
    names = {name for name, made in vars(recipes).items() if callable(made) and getattr(made, "__module__", "") == "ledger.recipes"}
    assert names == {name for name, _ in entries("wechat")}


def test_a_settlement_without_fee_has_one_row() -> None:
    entry = recipes.settled_to_bank(**COMMON, settlement_id=SOURCE, channel="wechat", net_fen=5, fee_fen=0)  # type: ignore[arg-type]
    assert [line.amount_fen for line in entry.lines] == [5]
