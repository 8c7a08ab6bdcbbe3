"""The words of mandates on the command line."""

import argparse
from datetime import timedelta
from pathlib import Path

import pytest

from app import worker
from app.commands import mandates
from app.wiring import Wiring
from ledger.errors import Refused
from payments.mandates import agreement_texts
from tests.app.conftest import City, product, two_lots  # noqa: F401  # fixtures

FILE = """
valid_from = {day}T00:00:00+08:00
document = "order 7"
short_zh = "要点"
long_zh = "全文"
short_en = "points"
long_en = "whole"
"""


def run(wiring: Wiring, *words: str) -> str:
    parser = argparse.ArgumentParser()
    mandates.arguments(parser)
    return mandates.run(wiring, parser.parse_args(words))


def test_words_are_entered_from_a_file_once_and_listed(product: Wiring, two_lots: City, tmp_path: Path) -> None:  # noqa: F811
    assert "product's own" in run(product, "texts")
    file = tmp_path / "words.toml"
    file.write_text(FILE.format(day=(product.clock.now() + timedelta(days=2)).date()))
    entered = run(product, "text", str(file))
    assert run(product, "text", str(file)) == entered == run(product, "texts")
    assert "[order 7]" in entered
    assert run(product, "count") == "None yet."
    with product.db.connect() as tx:
        assert agreement_texts.check(tx) == []


@pytest.mark.parametrize("content", ["", "short_zh = 1", FILE.format(day="2020-01-01")])
def test_a_file_that_is_none_or_of_the_past_is_refused(
    product: Wiring, two_lots: City, tmp_path: Path, content: str  # noqa: F811
) -> None:  # fmt: skip
    file = tmp_path / "words.toml"
    file.write_text(content)
    with pytest.raises(Refused):
        run(product, "text", str(file))
    with pytest.raises(Refused, match="missing"):
        run(product, "text", str(tmp_path / "missing.toml"))


def test_how_long_it_is_kept_who_signed_is_entered_and_a_round_of_questions_is_made(
    product: Wiring, two_lots: City  # noqa: F811
) -> None:  # fmt: skip
    assert "3 years  [电子商务法" in run(product, "keepings")
    told = run(product, "keep", "5", "--document", "order 9", "--from", "2027-01-01T00:00")
    assert told.startswith("from 2027-01-01 00:00 on it is kept for 5 years")
    assert "5 years  [order 9]" in run(product, "keepings")
    with pytest.raises(Refused):
        run(product, "keep", "1", "--document", "order 9")
    assert run(product, "renew") == "0 asked about, 0 answers proved nothing, 0 are open no more"
    assert worker.forget_signers(product) == 0
