"""The worker's morning: yesterday's bill is fetched and compared until nothing waits, and then left alone."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import text

from app.wiring import Wiring
from app.worker import reconcile_yesterday
from gateways.contract import Answer, Request, Unanswered
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


def test_of_three_workers_one_compares_each_bill(
    product: Wiring, played: Played, city: City, caplog: pytest.LogCaptureFixture
) -> None:
    connected = msgspec.structs.replace(
        product, channels=Registry([played.line.connected]), transport=played.transport, clock=played.clock
    )  # fmt: skip
    pay(played, city)
    city.seal()
    played.clock.set(MORNING)
    with ThreadPoolExecutor(3) as pool, caplog.at_level(logging.INFO, "tongting.worker"):
        list(pool.map(reconcile_yesterday, [connected] * 3))
    with city.db.begin() as tx:
        asked = "select count(*) from gateways.raw_message where operation = 'bill'"
        assert tx.execute(text(asked)).scalar_one() == 1
    assert runs(city) == 1


def test_a_bill_that_cannot_be_compared_is_tried_again_at_the_next_look(
    product: Wiring, played: Played, city: City, caplog: pytest.LogCaptureFixture
) -> None:
    pay(played, city)
    city.seal()
    played.clock.set(MORNING)
    broken = msgspec.structs.replace(
        product, channels=Registry([played.line.connected]), transport=Broken(), clock=played.clock
    )  # fmt: skip
    reconcile_yesterday(broken)
    assert "cannot be compared" in caplog.text
    assert runs(city) == 0
    played.clock.set(MORNING + timedelta(minutes=30))
    reconcile_yesterday(msgspec.structs.replace(broken, transport=played.transport))
    assert runs(city) == 1


class Broken:
    """A transport that does what none does: it raises."""

    def send(self, request: Request, *, bytes_max: int = 0) -> Answer | Unanswered:
        raise RuntimeError(f"{request.url} {bytes_max}")

    def fetch(self, request: Request, *, write: Callable[[bytes], object], bytes_max: int) -> Answer | Unanswered:
        raise RuntimeError(f"{request.url} {write} {bytes_max}")
