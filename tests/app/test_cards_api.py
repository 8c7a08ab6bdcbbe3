"""Charges by card over the API: what a lane's system brings, record by record, and who may."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from app.wiring import Wiring
from gateways.etc import uploads
from gateways.sandbox.wechat.signing import Pair
from payments.lots import Lot
from tests.app.conftest import Client, app_of, bearer
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import make_city
from tests.payments.mandates.deducting import city
from tests.payments.test_cards import Lane


class Lots:
    """The lot's own client beside its lanes."""

    def __init__(self, product: Wiring, lane: Lane, api: Client) -> None:
        self.product, self.lane, self.api = product, lane, api
        with product.db.begin() as tx:
            self.other: Lot = make_city(tx, number=2)

    def bring(self, body: Any, *, lot: str = "lot-1", scope: str = "lot", of: Lot | None = None) -> Any:
        headers = bearer(self.product, scope, of or self.lane.city.lot, at=self.lane.city.clock.now())  # type: ignore[arg-type]
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return self.api.post(f"/v1/lots/{lot}/card-charges", content=content, headers=headers)

    def record(self, number: int = 1, **other: Any) -> dict[str, Any]:
        return uploads.record_body(self.lane.record(number)) | other


@pytest.fixture
def lots(product: Wiring, fresh_pair: Pair, tmp_path: Path) -> Iterator[Lots]:  # noqa: F811  # a fixture
    with city(product.db, fresh_pair, tmp_path) as around:
        wired = msgspec.structs.replace(product, channels=around.registry, transport=around.transport, clock=around.clock)
        with TestClient(app_of(wired)) as api:
            yield Lots(wired, Lane(around), api)


def test_a_record_is_taken_and_the_call_is_the_evidence(lots: Lots) -> None:
    body = json.dumps([{"serial": "S1", "record": lots.record()}], ensure_ascii=False).encode()
    answer = lots.bring(body)
    assert answer.status_code == 207
    [taken] = answer.json()
    assert (taken["outcome"], taken["receipt"][:2]) == ("created", "P0")
    assert lots.lane.city.column("select body from gateways.raw_message where operation = 'lane_records'") == [body]
    assert lots.bring(body).json()[0]["outcome"] == "already"
    charge = lots.api.get("/v1/lots/lot-1/charges/S1", headers=bearer(lots.product, "lot", lots.lane.city.lot)).json()
    assert (charge["state"], charge["receipt"]) == ("open", None)
    assert lots.lane.send().answered == 1
    lots.lane.book()
    charge = lots.api.get("/v1/lots/lot-1/charges/S1", headers=bearer(lots.product, "lot", lots.lane.city.lot)).json()
    assert (charge["state"], charge["receipt"]) == ("settled", taken["receipt"])


def test_each_record_has_its_own_answer(lots: Lots) -> None:
    lots.lane.city.charge("S2")
    good, bad_time = lots.record(1), lots.record(2, transTime="2026-03-02T12:00:00")
    missing = {name: value for name, value in lots.record(3).items() if name != "tac"}
    answer = lots.bring([
        {"serial": "S1", "record": good}, {"serial": "S2", "record": bad_time}, {"serial": "S2", "record": missing},
        {"serial": "S2", "record": lots.record(4, fee=True)}, {"serial": "S2", "record": {}},
    ])  # fmt: skip
    assert [(one["outcome"], one["reason"]) for one in answer.json()] == [
        ("created", None), ("refused", "malformed"), ("refused", "malformed"), ("refused", "malformed"), ("refused", "malformed"),
    ]  # fmt: skip
    assert "yyyy-MM-dd HH:mm:ss" in answer.json()[1]["detail"]
    assert "tac" in answer.json()[2]["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[", b"\xff\xfe", '[{"record": 1}]'.encode("gbk"), b'[{"record": {}, "other": 1}]']
)  # fmt: skip
def test_what_is_not_a_list_of_card_charges_is_refused_whole(lots: Lots, body: bytes) -> None:
    answer = lots.bring(body)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed") or answer.status_code == 400
    assert lots.lane.city.calls("lane_records") == 0


def test_too_many_records_are_refused_whole(lots: Lots) -> None:
    assert lots.bring([{"record": {}}] * 1001).status_code in (400, 422)


def test_another_lot_is_not_there(lots: Lots) -> None:
    body = [{"serial": "S1", "record": lots.record()}]
    assert lots.bring(body, of=lots.other).status_code == 404
    assert lots.bring(body, lot="lot-9").status_code == 404
    assert lots.bring(body, scope="district").status_code in (403, 404)
    assert lots.lane.city.calls("lane_records") == 0


def test_an_operator_without_an_account_at_etc_is_told_so(lots: Lots) -> None:
    answer = lots.bring([{"serial": "S1", "record": lots.record()}], lot="lot-2", of=lots.other)
    assert (answer.status_code, answer.json()["code"]) == (503, "route_missing")
