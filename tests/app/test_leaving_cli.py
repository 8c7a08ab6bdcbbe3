"""``tongting leave``: rules are entered with their document and printed in words."""

import argparse

import pytest

from app.commands import leaving as leaving_cli
from app.wiring import Wiring
from ledger.errors import Conflict, NotFound, Refused
from tests.app.conftest import City

RULE = ["--admits", "everyone", "--debts-max", "2", "--owed-max", "5000", "--overdue-days-max", "10", "--due-days", "7"]


def say(wiring: Wiring, *words: str) -> str:
    parser = argparse.ArgumentParser()
    leaving_cli.arguments(parser)
    return leaving_cli.run(wiring, parser.parse_args(words))


def test_rules_are_entered_and_printed(product: Wiring, two_lots: City) -> None:
    assert say(product, "add", *RULE, "--document", "doc 1", "--lot", "lot-1", "--lists").endswith(
        "counts from 2026-03-02 12:00 on"
    )
    say(product, "deduct", "--operator", "op-1", "--days", "0", "2", "--times", "10:00", "20:30", "--document", "doc 2")
    city, lot, all_debts, ours = say(product, "list").splitlines()
    assert "city" in city
    assert "admits mandate, at most 3 debts and 300.00 yuan" in city
    assert "lot-1" in lot
    assert "none overdue by more than 10 days, not on a status list; due within 7 days  [doc 1]" in lot
    assert "0, 1, 3, 7, 15, 30 days after leaving, at 10:00, 20:00" in all_debts
    assert "op-1" in ours
    assert "0, 2 days after leaving, at 10:00, 20:30  [doc 2]" in ours


def test_what_cannot_be_entered_is_said(product: Wiring, two_lots: City) -> None:
    say(product, "deduct", "--days", "0", "--times", "10:00", "--document", "doc")
    with pytest.raises(Conflict):
        say(product, "deduct", "--days", "1", "--times", "10:00", "--document", "doc")
    for words in (["--days", "2", "1", "--times", "10:00"], ["--days", "1", "--times", "10:00", "10:00"]):
        with pytest.raises(Refused) as refused:
            say(product, "deduct", *words, "--document", "doc")
        assert refused.value.code == "deduct_rule_invalid"
    with pytest.raises(Refused):
        say(product, "deduct", "--days", "1", "--times", "10:00", "--document", "doc", "--from", "2020-01-01")
    with pytest.raises(NotFound):
        say(product, "add", *RULE, "--document", "doc", "--lot", "lot-9")
