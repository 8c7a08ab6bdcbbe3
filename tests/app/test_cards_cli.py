"""``tongting cards`` and ``tongting lot``: what a person looks at and mends when cards' packages do not go."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from app.commands import cards as cards_cli
from app.commands import lots as lots_cli
from app.wiring import Wiring
from app.worker import send_cards
from gateways.etc.channel import Etc
from gateways.registry import Connected, Registry
from gateways.sandbox.wechat.signing import Pair
from ledger.errors import Refused
from payments.cards import intake
from payments.cards.intake import Rules
from payments.cards.records import NewCardCharge
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.mandates.deducting import city
from tests.payments.test_cards import Lane

Said = Callable[..., str]


@pytest.fixture
def lane(product: Wiring, fresh_pair: Pair, tmp_path: Path) -> Iterator[Lane]:  # noqa: F811  # a fixture
    with city(product.db, fresh_pair, tmp_path) as around:
        yield Lane(around)


@pytest.fixture
def wired(product: Wiring, lane: Lane) -> Wiring:
    around = lane.city
    return msgspec.structs.replace(product, channels=around.registry, transport=around.transport, clock=around.clock)


@pytest.fixture
def said(wired: Wiring) -> Said:
    def say(*words: str) -> str:
        parser = argparse.ArgumentParser()
        kinds = {"cards": cards_cli, "lot": lots_cli}
        kind = kinds[words[0]]
        kind.arguments(parser)
        return str(kind.run(wired, parser.parse_args(words[1:])))

    return say


def test_the_worker_sends_what_waited_and_a_person_sees_it(lane: Lane, wired: Wiring, said: Said) -> None:
    lane.bring(2)
    assert send_cards(wired) == 0
    assert said("cards", "list") == "There is no package."
    lane.city.later(minutes=16)
    assert send_cards(wired) == 1
    assert "2 records         24.00 yuan  acked" in said("cards", "list")
    lane.book()
    lane.clear()
    assert said("cards", "list", "--state", "booked").endswith("booked, cleared 2026-03-02")
    assert said("cards", "list", "--state", "rejected") == "There is no package."


def test_a_rejected_package_is_packed_anew_under_another_number(lane: Lane, wired: Wiring, said: Said) -> None:
    generous = Etc(msgspec.structs.replace(lane.uplink.provider, cap_fen=60_000))
    registry = Registry([Connected(channel=generous, keys=wired.channels.find("etc").keys)])
    ours = msgspec.structs.replace(wired, channels=registry)
    lane.city.charge("S2", amount_fen=40_000)
    record = lane.record(2, fee_fen=40_000, pre_balance_fen=50_000, post_balance_fen=10_000)
    [taken] = intake.take(ours.till(), lot=lane.city.lot, charges=[NewCardCharge(record, "S2")], body=b"[lane]", rules=Rules())
    assert taken.outcome == "created"
    lane.city.later(minutes=16)
    assert send_cards(wired) == 1  # here the cap of one charge is 300 yuan: the package must not go
    assert (lane.package(), lane.cards(), lane.cases()) == ("rejected", ["rejected"], ["package_refused"])
    assert lane.packages() == []
    [number] = lane.city.column("select number from payments.card_package")
    assert number in said("cards", "list", "--state", "rejected")
    assert said("cards", "repack", number) == f"1 records of package {number} wait for a new one"
    with pytest.raises(Refused) as again:
        said("cards", "repack", number)
    assert again.value.code == "package_not_rejected"
    assert send_cards(ours) == 1
    assert [one["count"] for one in lane.packages()] == [1]
    numbers = lane.city.column("select number from payments.card_package")
    assert number in numbers
    assert len(set(numbers)) == 2


def test_a_lot_s_number_is_entered(lane: Lane, said: Said) -> None:
    assert said("lot", "number", "lot-1", "etc", "3202010007") == "lot-1 (示例停车场) is 3202010007 at etc"
    for words, code in [(("lot-1", "cash", "1"), "channel_not_found"), (("lot-9", "etc", "1"), "lot_not_found"),
                        (("lot-1", "etc", "x" * 65), "lot_number_invalid")]:  # fmt: skip
        with pytest.raises(Refused) as refused:
            said("lot", "number", *words)
        assert refused.value.code == code
