"""``tongting route``: merchant accounts are entered, listed and ended by a person; what is not legal is refused in one sentence."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from app import cli
from app.commands import routes as routes_cli
from app.wiring import Wiring, origin
from gateways import routing
from ledger.books import open_lane
from ledger.errors import Refused
from payments import lots
from payments.lots import NewOperator
from tests.payments.conftest import AT

NAME = "示例停车有限公司"
Said = Callable[..., str]


@pytest.fixture
def said(product: Wiring) -> Said:
    """Run ``tongting route`` with words, in an installation that has an operator ``lake`` without any account."""
    with product.db.begin() as tx:
        open_lane(tx, lane=product.lane, origin=origin(product.settings))
        lots.register_operators(tx, operators=[NewOperator("lake", NAME, "91320200MA1LAKE01X", "滨湖区", "social")], at=AT)
    parser = argparse.ArgumentParser()
    routes_cli.arguments(parser)
    return lambda *words: routes_cli.run(product, parser.parse_args(words))


def add(said: Said, channel: str, number: str, *more: str, payee: str = NAME) -> str:
    return said("add", "lake", channel, number, "--payee", payee, "--evidence", "进件 0001", *more)


def chosen(product: Wiring, channel: str, at: datetime) -> str | None:
    with product.db.connect() as tx:
        operator = lots.operator_by_code(tx, code="lake")
        found = routing.choose(tx, operator_id=operator.operator_id, channel=channel, at=at)
    return None if found is None else found.merchant_no


@pytest.mark.parametrize(
    ("channel", "number"),
    [("wechat", "1600000077"), ("alipay", "2088000000000077"), ("unionpay", "898320000000077"), ("etc", "320200000077")],
)
def test_an_added_route_takes_the_operators_money_from_now_on(product: Wiring, said: Said, channel: str, number: str) -> None:
    assert said("list", "--operator", "lake") == "There is no route."
    line = add(said, channel, number)
    assert number in line
    assert said("list", "--operator", "lake") == line
    assert chosen(product, channel, AT) == number
    assert chosen(product, channel, AT - timedelta(seconds=1)) is None


def test_an_account_under_the_operators_own_keys_names_them(product: Wiring, said: Said) -> None:
    assert "direct lake" in add(said, "unionpay", "898320000000077", "--mode", "direct", "--key-ref", "lake")
    with pytest.raises(Refused, match="name them"):
        add(said, "alipay", "2088000000000077", "--mode", "direct")


def test_times_without_an_offset_are_chinese(product: Wiring, said: Said) -> None:
    assert routes_cli.instant("2026-03-01T00:00:00") == datetime(2026, 2, 28, 16, 0, tzinfo=UTC)
    assert routes_cli.instant("2026-03-01T00:00:00+00:00") == datetime(2026, 3, 1, tzinfo=UTC)
    assert "2030-01-01 00:00 to 2031-01-01 00:00" in add(
        said, "etc", "320200000077", "--from", "2030-01-01", "--until", "2031-01-01"
    )
    assert chosen(product, "etc", AT) is None
    assert chosen(product, "etc", datetime(2030, 6, 1, tzinfo=UTC)) == "320200000077"


def test_an_ended_route_takes_no_more_money_and_another_may_follow(product: Wiring, said: Said) -> None:
    route_id = add(said, "wechat", "1600000077").split()[0]
    with pytest.raises(Refused, match="has a route"):
        add(said, "wechat", "1600000078")
    end = AT + timedelta(hours=1)
    assert f"route {route_id} ends" in said("end", route_id, "--at", end.isoformat())
    add(said, "wechat", "1600000078", "--from", end.isoformat())
    assert chosen(product, "wechat", AT) == "1600000077"
    assert chosen(product, "wechat", end) == "1600000078"


@pytest.mark.parametrize(
    ("channel", "number", "payee", "words"),
    [
        ("wechat", "1600000077", "别的公司", "is not the operator"),
        ("wechat", "1900000001", NAME, "service provider's account"),
        ("paypal", "1", NAME, "there is no channel 'paypal'"),
    ],
)
def test_what_is_not_legal_is_refused_and_nothing_is_entered(
    said: Said, channel: str, number: str, payee: str, words: str
) -> None:  # fmt: skip
    with pytest.raises(Refused, match=words):
        add(said, channel, number, payee=payee)
    assert said("list", "--operator", "lake") == "There is no route."


def test_an_operator_or_a_route_that_is_not_there_is_said(said: Said) -> None:
    with pytest.raises(Refused, match="no operator nobody"):
        said("list", "--operator", "nobody")
    with pytest.raises(Refused, match="route 4711 is not open"):
        said("end", "4711")


def test_the_command_line_ends_with_one_sentence(
    product: Wiring, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TONGTING_HOME", str(product.settings.home))
    assert product.settings.database_url is not None
    monkeypatch.setenv("TONGTING_DATABASE_URL", product.settings.database_url)
    assert cli.main(["route", "list"]) == cli.DONE
    assert "There is no route." in capsys.readouterr().out
    assert cli.main(["route", "end", "4711"]) == cli.WRONG
    assert capsys.readouterr().err.startswith("tongting: route 4711 is not open")
