"""The example of a lot's system, run against the real application over HTTP."""

import importlib.util
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import HTTPError, URLError

import msgspec
import pytest
from sqlalchemy import text

from app import auth
from app.auth import Caller
from app.main import create_app
from app.wiring import Wiring
from ledger.clock import SystemClock
from payments.invariants import check
from tests.app.conftest import SECRET, City
from tests.app.test_callbacks import served
from tests.payments.conftest import AT

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "lot_client.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lot_client", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def url(product: Wiring, two_lots: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with product.db.begin() as tx:
        caller = Caller(client_id="gate-1", scope="lot", lot_id=two_lots.ours.lot_id, operator_id=two_lots.ours.operator_id)
        auth.register_client(tx, client=caller, at=AT, secret=SECRET)
    monkeypatch.chdir(tmp_path)
    with served(create_app(msgspec.structs.replace(product, clock=SystemClock()))) as address:
        yield address


def counted(product: Wiring, table: str) -> int:
    with product.db.connect() as tx:
        return int(tx.execute(text(f"select count(*) from payments.{table}")).scalar_one())


def test_the_example_posts_a_stay_its_charge_its_cash_and_an_opening(
    example: ModuleType, product: Wiring, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    example.main(url, "gate-1", SECRET, "lot-1")
    told = capsys.readouterr().out
    assert "refused" not in told
    assert "'gaps': []" in told
    with product.db.connect() as tx:
        assert tx.execute(text("select state from payments.stay")).scalars().all() == ["out"]
        assert tx.execute(text("select state from payments.charge")).scalars().all() == ["settled"]
        assert check(tx) == []
    assert [counted(product, table) for table in ("taking", "barrier_opening", "lot_heartbeat")] == [1, 1, 1]


def test_the_example_hands_cash_back_that_a_correction_promised(
    example: ModuleType, product: Wiring, url: str, tmp_path: Path
) -> None:
    api = example.Api(url, "gate-1", SECRET)
    system = example.LotSystem(api, "lot-1", example.Outbox(tmp_path / "outbox.sqlite"))
    now = datetime.now(example.CHINA)
    stay = system.comes("S1", "苏B12345", now - timedelta(hours=1), "A")
    charge = system.owes(stay, now, 60, 600, "每小时6元")
    system.takes_cash(charge, now, "收据 1")
    assert system.post_all() == []
    correction = {"serial": "K1", "charge_serial": charge["lot_serial"], "kind": "cancel", "reason": "wrong_time"}
    api.post("/v1/lots/lot-1/corrections", correction)
    system.hands_back(charge["lot_serial"], 600, now, "退 1", "ab" * 32)
    assert system.post_all() == []
    assert counted(product, "taking_return") == 1
    assert api.get("/v1/lots/lot-1/returns/owed") == []


def test_what_was_not_answered_is_posted_again_and_kept_once(
    example: ModuleType, product: Wiring, url: str, tmp_path: Path
) -> None:
    outbox = example.Outbox(tmp_path / "outbox.sqlite")
    down = example.LotSystem(example.Api("http://127.0.0.1:9", "gate-1", SECRET), "lot-1", outbox)
    now = datetime.now(example.CHINA)
    down.goes(down.comes("S1", "苏B12345", now - timedelta(hours=1), "A"), now, "B")
    with pytest.raises(URLError):
        down.post_all()
    assert len(outbox) == 2
    api = example.Api(url, "gate-1", SECRET)
    [waiting] = outbox.waiting("stays")
    api.post("/v1/lots/lot-1/stays", [record for _, record in waiting])  # and the answer is lost
    assert example.LotSystem(api, "lot-1", outbox).post_all() == []
    assert (len(outbox), counted(product, "stay")) == (0, 1)


def test_ten_thousand_stays_go_over_the_wire_in_one_call(example: ModuleType, product: Wiring, url: str) -> None:
    api = example.Api(url, "gate-1", SECRET)
    now = datetime.now(example.CHINA)
    given: list[dict[str, Any]] = [
        {
            "serial": f"20260302-000000-{n:010d}", "number": n + 1, "plate": f"苏B{n:05d}", "plate_color": "blue",
            "entered_at": (now - timedelta(hours=2)).isoformat(), "left_at": now.isoformat(), "lane_in": "A1", "lane_out": "B1",
            "berth": "地下一层-0001", "scene": "gate", "entry_photo_digest": "ab" * 32, "exit_photo_digest": "cd" * 32,
        }
        for n in range(10_000)
    ]  # fmt: skip
    assert {answer["outcome"] for answer in api.post("/v1/lots/lot-1/stays", given)} == {"created"}
    assert counted(product, "stay") == 10_000


def test_a_problem_reaches_the_client(example: ModuleType, url: str) -> None:
    api = example.Api(url, "gate-1", SECRET)
    with pytest.raises(HTTPError) as wrong:
        api.post("/v1/lots/lot-2/stays", [])
    assert wrong.value.code == 404
    wrong.value.close()
