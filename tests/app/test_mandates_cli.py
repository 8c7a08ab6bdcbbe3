"""The words of mandates on the command line."""

import argparse
from datetime import timedelta
from pathlib import Path

import pytest

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
