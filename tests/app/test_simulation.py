"""The control routes of a simulated city: there only when simulated, and time never goes back."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from app.keys import make_missing
from app.run import RunError, _keep_apart
from app.wiring import Wiring, build, origin
from config.settings import Settings, load
from ledger import book
from ledger.books import NewBook, open_books, open_lane
from ledger.clock import business_date
from ledger.recipes import charge_paid
from tests.app.conftest import app_of

Client = TestClient[Litestar]


def settings_of(home: Path, database: str = "", **more: str) -> Settings:
    given = {"TONGTING_HOME": str(home), "TONGTING_DATABASE_URL": database}
    return load(given | {f"TONGTING_{name.upper()}": value for name, value in more.items()})


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of the seed, made once: that takes seconds."""
    home = tmp_path_factory.mktemp("simulated")
    make_missing(settings_of(home, simulated="true", simulated_seed="11"))
    return home


@pytest.fixture
def wiring(made_home: Path, tmp_path: Path, database: str) -> Iterator[Wiring]:
    home = tmp_path / "home"
    shutil.copytree(made_home, home)
    built = build(settings_of(home, database, simulated="true", simulated_seed="11"))
    with built.db.begin() as tx:
        open_lane(tx, lane=0, origin=origin(built.settings))
    yield built
    built.close()


@pytest.fixture
def client(wiring: Wiring) -> Iterator[Client]:
    with TestClient(app_of(wiring)) as opened:
        yield opened


def test_the_clock_stands_until_it_is_set_and_never_goes_back(client: Client) -> None:
    assert client.get("/_simulation/state").json() == {"seed": 11, "now": "2026-03-01T22:00:00Z", "payments": 0}
    assert client.post("/_simulation/clock", json={"at": "2026-03-02T07:00:00+08:00"}).json()["at"] == "2026-03-01T23:00:00Z"
    assert client.post("/_simulation/clock", json={"at": "2026-03-02T06:59:00+08:00"}).status_code == 409
    assert client.post("/_simulation/clock", json={"at": "2026-03-02T08:00:00"}).status_code == 400
    assert client.get("/_simulation/state").json()["now"] == "2026-03-01T23:00:00Z"


def test_what_is_committed_is_sealed_on_demand(client: Client, wiring: Wiring) -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    entry = charge_paid(
        payment_id=wiring.ids.new(at, "payment"), book_id=1, channel="wechat", amount_fen=1, happened_at=at,
        booked_on=business_date(at), evidence_id=wiring.ids.new(at, "message"),
    )  # fmt: skip
    with wiring.db.begin() as tx:
        open_books(tx, books=[NewBook(0, "operator", "无锡示范停车有限公司")], at=at)
        book.post(tx, lane=0, entries=[entry], at=at)
    assert client.post("/_simulation/seal").json() == {"entries": 1}
    assert client.post("/_simulation/seal").json() == {"entries": 0}


def test_with_nothing_due_no_channel_is_asked_about_money(client: Client) -> None:
    told = client.post("/_simulation/jobs").json()
    assert {name: told[name] for name in ("asked", "refunds", "packages")} == {"asked": 0, "refunds": 0, "packages": 0}


def test_a_real_city_has_none_of_these_routes(home_with_keys: Path, tmp_path: Path, database: str) -> None:
    shutil.copytree(home_with_keys, tmp_path / "home")
    built = build(settings_of(tmp_path / "home", database))
    with TestClient(app_of(built)) as real:
        assert real.get("/_simulation/state").status_code == 404
        assert real.post("/_simulation/clock", json={"at": "2026-03-02T07:00:00+08:00"}).status_code == 404
    built.close()


def test_a_simulated_home_is_never_used_for_anything_else(tmp_path: Path) -> None:
    simulated = settings_of(tmp_path, simulated="true", simulated_seed="11")
    _keep_apart(simulated)
    _keep_apart(simulated)
    with pytest.raises(RunError, match="belongs to a simulation with seed 11, but the settings say no simulation"):
        _keep_apart(settings_of(tmp_path))
    with pytest.raises(RunError, match="seed 11, but the settings say a simulation with seed 8"):
        _keep_apart(settings_of(tmp_path, simulated="true", simulated_seed="8"))


def test_a_real_home_never_becomes_a_simulated_one(home_with_keys: Path) -> None:
    before = sorted(home_with_keys.rglob("*"))
    with pytest.raises(RunError, match="belongs to no simulation"):
        _keep_apart(settings_of(home_with_keys, simulated="true"))
    assert sorted(home_with_keys.rglob("*")) == before
