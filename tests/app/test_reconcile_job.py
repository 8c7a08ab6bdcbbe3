"""The worker's morning: yesterday's bill is fetched and compared until nothing waits, and then left alone."""

import logging

import msgspec
import pytest
from sqlalchemy import text

from app.wiring import Wiring
from app.worker import reconcile_yesterday
from gateways.registry import Registry
from tests.gateways.conftest import Played, fresh_pair, pair, play, wechat
from tests.reconciliation.conftest import City, city
from tests.reconciliation.test_fetch import MORNING, pay, played

__all__ = ["city", "fresh_pair", "pair", "play", "played", "wechat"]


def runs(city: City) -> int:
    with city.db.begin() as tx:
        return int(tx.execute(text("select count(*) from reconciliation.match_run")).scalar_one())


def test_yesterdays_bill_is_compared_once_and_a_closed_day_is_left_alone(product: Wiring, played: Played, city: City) -> None:
    connected = msgspec.structs.replace(
        product, channels=Registry([played.line.connected]), transport=played.transport, clock=played.clock
    )  # fmt: skip
    pay(played, city)
    city.seal()
    played.clock.set(MORNING)
    reconcile_yesterday(connected)
    pay(played, city)
    city.seal()
    reconcile_yesterday(connected)
    assert runs(city) == 1


def test_a_bill_that_does_not_come_is_a_warning_with_its_reason(
    product: Wiring, city: City, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tongting.worker"):
        reconcile_yesterday(product)
    assert "the bill of wechat for 2026-03-01 is absent: connect" in caplog.text
    assert runs(city) == 0
