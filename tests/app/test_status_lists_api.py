"""Status lists over the API: a lane pulls all, then what changed, and knows when the list is stale; and the worker's alarm."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from app.wiring import Wiring
from app.worker import pull_status_lists
from config.settings import SettingsError, changed
from gateways.registry import Registry
from gateways.sandbox.wechat.signing import Pair
from tests.app.conftest import Client, app_of, bearer
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.mandates.deducting import PLATE, City, city

ENTRY = PLATE + "蓝"


class Lanes:
    """A lot's own client, the worker that pulls, and the clearing party behind."""

    def __init__(self, product: Wiring, around: City, api: Client) -> None:
        self.product, self.city, self.api = product, around, api

    def pull(self) -> int:
        return pull_status_lists(self.product)

    def get(self, path: str = "PLATE/32", *, scope: str = "lot", **query: str) -> Any:
        headers = bearer(self.product, scope, self.city.lot, at=self.city.clock.now())  # type: ignore[arg-type]
        return self.api.get(f"/v1/etc/status-lists/{path}", params=query, headers=headers)


@pytest.fixture
def lanes(product: Wiring, fresh_pair: Pair, tmp_path: Path) -> Iterator[Lanes]:  # noqa: F811  # a fixture
    with city(product.db, fresh_pair, tmp_path) as around:
        wired = msgspec.structs.replace(product, channels=around.registry, transport=around.transport, clock=around.clock)
        with TestClient(app_of(wired)) as api:
            yield Lanes(wired, around, api)


def test_a_lane_pulls_all_and_then_what_changed(lanes: Lanes) -> None:
    lanes.city.etc_plate(listed=True)
    assert (lanes.pull(), lanes.pull()) == (3, 0)
    answer = lanes.get()
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "kind": "PLATE", "province": "32", "version": "1", "pulled_at": "2026-03-02T04:00:00Z", "stale": False, "full": True,
            "add": [ENTRY], "remove": [],
        },
    )  # fmt: skip
    lanes.city.etc_plate(listed=False)
    lanes.city.etc_plate(plate="苏B99999", listed=True)
    lanes.city.later(hours=1)
    assert lanes.pull() == 3
    news = lanes.get(since="1").json()
    assert (news["full"], news["version"], news["add"], news["remove"]) == (False, "3", ["苏B99999蓝"], [ENTRY])
    assert lanes.get(since="3").json() == news | {"add": [], "remove": []}


@pytest.mark.parametrize("version", ["", "2", "99", "%", "一", "1\x00"])
def test_a_version_that_the_list_never_had_gets_all(lanes: Lanes, version: str) -> None:
    lanes.city.etc_plate(listed=True)
    lanes.pull()
    assert (lanes.get(since=version).json()["full"], lanes.get(since=version).json()["add"]) == (True, [ENTRY])


@pytest.mark.parametrize("path", ["PLATE/33", "plate/32", "CARD/3", "CARD/３２", "X/32", "CARD/32%00", "%00/32"])
def test_a_list_that_is_not_kept_is_not_there(lanes: Lanes, path: str) -> None:
    lanes.pull()
    assert (lanes.get(path).status_code, lanes.get(path).json()["code"]) == (404, "status_list_not_found")


def test_a_list_that_never_came_is_not_told_as_empty(lanes: Lanes) -> None:
    lanes.city.posted("etc-sandbox/behaviour", {"busy": 3})
    lanes.pull()
    assert (lanes.get().status_code, lanes.get().json()["code"]) == (503, "status_list_missing")


def test_a_stale_list_says_so_and_the_worker_raises_an_alarm_without_naming_anybody(
    lanes: Lanes, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    lanes.city.etc_plate(listed=True)
    with caplog.at_level(logging.INFO):
        lanes.pull()
        assert [record.name for record in caplog.records if record.name == "tongting.worker"] == []
        lanes.city.posted("etc-sandbox/behaviour", {"busy": 100})
        lanes.city.later(hours=2, minutes=1)
        lanes.pull()
        lanes.pull()
    alarms = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(alarms) == 6
    assert "status list PLATE of province 32 was not renewed since 2026-03-02T04:00:00+00:00: unavailable" in alarms
    assert PLATE not in caplog.text
    assert (lanes.get().json()["stale"], lanes.get().json()["add"]) == (True, [ENTRY])


@pytest.mark.parametrize(("scope", "status"), [("lot", 200), ("operator", 200), ("city", 200), ("district", 403)])
def test_lists_are_for_lanes_and_the_city(lanes: Lanes, scope: str, status: int) -> None:
    lanes.pull()
    answer = lanes.get(scope=scope)
    assert answer.status_code == status
    assert status == 200 or answer.json()["code"] == "scope_refused"
    assert lanes.api.get("/v1/etc/status-lists/PLATE/32").status_code == 401


def test_without_etc_nothing_is_pulled(product: Wiring) -> None:
    without = msgspec.structs.replace(product, channels=Registry([product.channels.find("wechat")]))
    assert without.list_line() is None
    assert pull_status_lists(without) == 0


def test_which_lists_are_pulled_is_set(lanes: Lanes) -> None:
    wanted = changed(lanes.product.settings, etc_list_provinces="31,32", etc_list_kinds="PLATE")
    assert pull_status_lists(msgspec.structs.replace(lanes.product, settings=wanted)) == 2
    for wrong in ({"etc_list_kinds": "PLATES"}, {"etc_list_provinces": "3"}, {"etc_list_provinces": "江苏"}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            changed(lanes.product.settings, **wrong)


def test_the_call_stands_on_the_page_of_the_api(lanes: Lanes) -> None:
    page = lanes.api.get("/schema").text
    assert "/v1/etc/status-lists/{kind}/{province}" in page
    assert "Pull a status list of ETC" in page
