"""Deductions over the API: what a lot's system posts, and what it learns of the plate, the charge, and nothing of the payer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from app.wiring import Wiring
from gateways.sandbox.wechat.signing import Pair
from payments import checkout
from payments.checkout import Payer
from payments.lots import Lot
from tests.app.conftest import Client, app_of, bearer
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import books, make_city
from tests.payments.mandates.deducting import OPENID, PLATE, City, city

ENTRANCE = {"serial": "E1", "plate": PLATE, "plate_color": "blue", "entered_at": "2026-03-02T10:00:00+08:00", "free_minutes": 15}


class Lots:
    """The lot's own client, and everything around it."""

    def __init__(self, product: Wiring, around: City, api: Client) -> None:
        self.product, self.city, self.api = product, around, api
        with product.db.begin() as tx:
            self.other: Lot = make_city(tx, number=2)

    def enter(self, body: object = ENTRANCE, **more: Any) -> Any:
        return self._post("entrances", body, **more)

    def deduct(self, body: object = None, serial: str = "S1", **more: Any) -> Any:
        return self._post(f"charges/{serial}/deduct", body, **more)

    def _post(self, path: str, body: object, *, lot: str = "lot-1", scope: str = "lot", of: Lot | None = None) -> Any:
        now = self.city.clock.now()
        headers = bearer(self.product, scope, of or self.city.lot, at=now)  # type: ignore[arg-type]
        content = b"" if body is None else msgspec.json.encode(body)
        return self.api.post(f"/v1/lots/{lot}/{path}", content=content, headers=headers)


@pytest.fixture
def lots(product: Wiring, fresh_pair: Pair, tmp_path: Path) -> Iterator[Lots]:  # noqa: F811  # a fixture
    with city(product.db, fresh_pair, tmp_path) as around:
        wired = msgspec.structs.replace(product, channels=around.registry, transport=around.transport, clock=around.clock)
        with TestClient(app_of(wired)) as api:
            yield Lots(wired, around, api)


def test_an_entrance_is_told_and_the_charge_is_deducted(lots: Lots) -> None:
    lots.city.wechat_plate()
    entered = lots.enter()
    assert entered.status_code == 201
    assert entered.json() == {
        "serial": "E1", "channels": [{"channel": "alipay", "state": "none"}, {"channel": "wechat", "state": "open"}],
    }  # fmt: skip
    assert lots.enter().status_code == 200
    taken_on = lots.deduct()
    assert (taken_on.status_code, taken_on.json()) == (
        200,
        {
            "charge_serial": "S1", "state": "pending", "channel": "wechat", "receipt": None,
            "tried": [
                {"channel": "etc", "state": "none", "receipt": None, "reason": "mandate_none"},
                {"channel": "wechat", "state": "pending", "receipt": None, "reason": None},
            ],
        },
    )  # fmt: skip
    lots.city.later(seconds=5)
    lots.city.deliver()
    paid = lots.deduct().json()
    assert (paid["state"], paid["receipt"][:2]) == ("succeeded", "P0")
    page = lots.api.get("/v1/lots/lot-1/events", headers=bearer(lots.product, "lot", lots.city.lot, at=lots.city.clock.now()))
    [event] = [one["event"] for one in page.json()["events"]]
    assert (event["kind"], event["receipt"]) == ("payment.succeeded", paid["receipt"])


def test_a_channel_may_be_named(lots: Lots) -> None:
    lots.city.etc_plate(answer="paid")
    lots.city.alipay_plate()
    made = lots.deduct({"channel": "alipay"}).json()
    assert (made["state"], made["channel"]) == ("succeeded", "alipay")
    assert len(books(lots.product.db).entries) == 1
    assert lots.deduct({"channel": "paypal"}, "S1").json()["code"] == "channel_not_found"


def test_nothing_about_a_payer_leaves(lots: Lots) -> None:
    lots.city.wechat_plate(state="OVERDUE")
    answers = lots.enter().text + lots.deduct().text
    for secret in (OPENID, "OVERDUE", "5K", PLATE):
        assert secret not in answers


def test_while_a_payer_is_paying_the_lot_is_told_to_wait(lots: Lots) -> None:
    around = lots.city
    around.etc_plate()
    payer = Payer(payer_id="oPayer")
    checkout.start(around.till, lot_id=around.lot.lot_id, charge_id=around.charge_id, token="t", channel="wechat", payer=payer)
    answer = lots.deduct()
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_under_way")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (ENTRANCE | {"plate": "XYZ"}, "plate_invalid"),
        (ENTRANCE | {"entered_at": "2026-03-02T10:00:00"}, "entrance_invalid"),
        (ENTRANCE | {"entered_at": "2027-03-02T10:00:00Z"}, "entrance_invalid"),
        (ENTRANCE | {"free_minutes": -1}, "malformed"),
        (ENTRANCE | {"payer": "o"}, "malformed"),
        (ENTRANCE | {"serial": ""}, "malformed"),
        ([ENTRANCE], "malformed"),
        (None, "malformed"),
    ],
)
def test_an_entrance_that_cannot_be_is_refused_in_words(lots: Lots, body: object, code: str) -> None:
    answer = lots.enter(body)
    assert answer.json()["code"] == code
    assert answer.status_code in (400, 422)


def test_the_serial_of_an_entrance_stands_for_one_car(lots: Lots) -> None:
    lots.enter()
    answer = lots.enter(ENTRANCE | {"plate": "苏B54321"})
    assert (answer.status_code, answer.json()["code"]) == (409, "entrance_conflict")


@pytest.mark.parametrize("body", [{"channel": ""}, {"chanel": "etc"}, ["etc"], {"channel": 1}])
def test_a_deduction_that_cannot_be_read_is_refused(lots: Lots, body: object) -> None:
    answer = lots.deduct(body)
    assert answer.json()["code"] == "malformed"
    assert lots.city.states() == []


def test_only_the_lots_own_charges_and_only_by_those_who_may_write(lots: Lots) -> None:
    for post in (lots.enter, lots.deduct):
        assert post(scope="district").json()["code"] == "read_only"
        assert post(lot="lot-2").json()["code"] == "lot_not_found"
    assert lots.deduct(lot="lot-2", of=lots.other).json()["code"] == "charge_unknown"
    assert lots.api.post("/v1/lots/lot-1/entrances", json=ENTRANCE).status_code == 401
    assert lots.enter(scope="operator").status_code == 201
