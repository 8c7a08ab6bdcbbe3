"""``tongting incentive``: from parties and rules by file to the slip, as people do it."""

import argparse
import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app.commands import incentive as incentive_cli
from app.commands.incentive import as_csv
from app.wiring import Wiring
from app.worker import share_incentives
from ledger.clock import SetClock
from ledger.errors import Conflict, Refused
from ledger.ids import RandomIds
from payments.incentive.reports import Row
from tests.payments.conftest import AT
from tests.payments.incentive.conftest import City
from tests.payments.incentive.test_rules import files
from tests.payments.owed.owing import CHECKER, MAKER

Said = Callable[..., str]


@pytest.fixture
def town(product: Wiring, tmp_path: Path) -> City:
    return City(product.db, tmp_path)


@pytest.fixture
def said(product: Wiring, town: City) -> Said:
    parser = argparse.ArgumentParser()
    incentive_cli.arguments(parser)
    return lambda *words: incentive_cli.run(product, parser.parse_args(words))


@pytest.fixture
def papers(tmp_path: Path) -> tuple[str, str]:
    """The files of the page: an assignment and a rule."""
    names = []
    for number, content in enumerate(files()):
        (tmp_path / f"{number}.toml").write_text(content, encoding="utf-8")
        names.append(str(tmp_path / f"{number}.toml"))
    return names[0], names[1]


def tomorrow(product: Wiring) -> None:
    assert isinstance(product.clock, SetClock)
    product.clock.set(max(product.clock.now(), AT) + timedelta(days=1))


def test_from_the_rule_to_the_slip(product: Wiring, said: Said, town: City, papers: tuple[str, str]) -> None:
    assert "5.00 %  from 0 days on" in said("rule", papers[1])
    assert said("rules") + "\n    0 lines for payments since then" == said("rule", papers[1])
    assert "to recover-1  [recovery mandate 3]" in said("assign", papers[0])
    assert said("assignments") == said("assign", papers[0])
    town.paid(1200, scanned=1)
    town.seal()
    assert said("run") == "1 payments of debts attributed, 2 shares"
    assert said("run") == "0 payments of debts attributed, 0 shares"
    tomorrow(product)
    day = (product.clock.now() - timedelta(days=1)).date().isoformat()
    proposed = said("settle", "--until", day, "--by", MAKER, "--recoverer", "city")
    assert "proposed op-1 to city  0.60 yuan  1 lines" in proposed
    number, digest = proposed.split()[0], re.findall(r"digest ([0-9a-f]{64})", proposed)[0]
    with pytest.raises(Refused):
        said("approve", number, "--digest", digest[:8], "--by", CHECKER)
    with pytest.raises(Conflict):
        said("approve", number, "--digest", "0" * 16, "--by", CHECKER)
    assert "approved" in said("approve", number, "--digest", digest[:16], "--by", CHECKER, "--note", "核对无误")
    with pytest.raises(Refused):
        said("paid", number, "--slip", "SLIP-1", "--on", day, "--yuan", "0.6o", "--by", MAKER)
    assert "slip SLIP-1 of" in said("paid", number, "--slip", "SLIP-1", "--on", day, "--yuan", "0.60", "--by", MAKER)
    rest = said("settle", "--until", day, "--by", MAKER)
    assert "op-1 to liangxi  0.36 yuan" in rest
    assert "rejected" in said("reject", rest.split()[0], "--note", "账期有误", "--by", CHECKER)
    assert len(said("settlements").splitlines()) == 2
    assert said("settlements", "--state", "paid").split()[0] == number
    report = list(csv.DictReader(io.StringIO(said("report", "--since", "2026-03-01", "--until", "2027-03-31"))))
    assert [(row["recoverer"], row["given_fen"], row["settled_fen"], row["open_fen"]) for row in report] == [
        ("liangxi", "36", "0", "36"), ("city", "60", "60", "0"),
    ]  # fmt: skip


def test_a_rule_that_is_entered_late_gives_what_was_missed(said: Said, town: City, papers: tuple[str, str]) -> None:
    town.paid(1200, scanned=1)
    town.follow()
    assert said("rule", papers[1]).endswith("2 lines for payments since then")


def test_the_worker_follows_the_book(product: Wiring, town: City) -> None:
    town.rule()
    town.paid(1200, scanned=1)
    town.seal()
    assert [share_incentives(product) for _ in range(2)] == [1, 0]


def test_without_a_platform_the_command_says_so(product: Wiring) -> None:
    parser = argparse.ArgumentParser()
    incentive_cli.arguments(parser)

    def say(*words: str) -> str:
        return incentive_cli.run(product, parser.parse_args(words))

    assert say("parties") == "There is no party."
    assert say("run").startswith("Nothing is followed before a platform is registered")
    assert say("rules") == "There is no rule."
    assert say("assignments") == "There is no assignment."
    assert say("settlements") == "There is no settlement."


def test_parties_are_registered_and_listed(said: Said) -> None:
    line = said("party", "company", "recover-2", "--name", "示例催收有限公司")
    assert line in said("parties").splitlines()
    assert "op-2" in said("parties")
    with pytest.raises(Conflict):
        said("party", "platform", "city-2", "--name", "另一平台")


def test_a_file_that_cannot_be_read_is_refused(said: Said, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text('recovered_by = "nobody"', encoding="utf-8")
    for file in ("missing.toml", "wrong.toml"):
        for act in ("rule", "assign"):
            with pytest.raises(Refused, match="cannot be read"):
                said(act, str(tmp_path / file))


def test_a_report_is_safe_in_a_spreadsheet() -> None:
    row = Row(
        month="2026-03", owner="op-1", owner_name="=cmd()", recoverer="@x", recoverer_kind="company", recoverer_name="-1",
        document="+1",
        rule_id=RandomIds().new(AT, "rule"), payments=1, recovered_fen=1, given_fen=1, returned_fen=0, settled_fen=0, open_fen=1,
    )  # fmt: skip
    [line] = list(csv.DictReader(io.StringIO(as_csv([row]))))
    assert [line[name] for name in ("owner_name", "recoverer", "recoverer_name", "document")] == ["'=cmd()", "'@x", "'-1", "'+1"]
