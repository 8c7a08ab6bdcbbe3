"""The product's wiring for tests of API and callbacks: a real database, keys made once, a clock that is set, one small city."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from litestar import Litestar
from litestar.datastructures import State
from litestar.testing import TestClient
from msgspec import Struct

from app import auth, keys
from app.auth import Caller, Scope
from app.main import create_app
from app.wiring import Wiring, build
from config.settings import load
from ledger.clock import SetClock
from payments.lots import Lot
from tests.payments.conftest import AT, make_city

Client = TestClient[Litestar]
SECRET = "correct horse battery staple"
_made: dict[bool, Litestar] = {}


@pytest.fixture(scope="session")
def home_with_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("keys")
    keys.make_missing(load({"TONGTING_HOME": str(home)}))
    return home


@pytest.fixture
def product(home_with_keys: Path, database: str, tmp_path: Path) -> Iterator[Wiring]:
    """The wiring of an installation whose clock stands at noon of the test day."""
    shutil.copytree(home_with_keys, tmp_path / "product")
    settings = load(
        {
            "TONGTING_HOME": str(tmp_path / "product"),
            "TONGTING_DATABASE_URL": database,
            "TONGTING_PUBLIC_URL": "http://pay.test",
            "TONGTING_CHANNEL_TIMEOUT_SECONDS": "2",
        }
    )
    built = msgspec.structs.replace(build(settings), clock=SetClock(AT))
    yield built
    built.close()


class City(Struct, frozen=True):
    """Two operators, one lot each."""

    ours: Lot
    theirs: Lot


@pytest.fixture
def two_lots(product: Wiring) -> City:
    with product.db.begin() as tx:
        return City(make_city(tx, number=1), make_city(tx, number=2))


def app_of(wiring: Wiring) -> Litestar:
    """The application around this wiring. Its routes are made once for each kind of city: they are the same for all of a kind."""
    app = _made.get(wiring.settings.simulated) or _made.setdefault(wiring.settings.simulated, create_app(wiring))
    app.state = State({"wiring": wiring})
    return app


@pytest.fixture
def api(product: Wiring) -> Iterator[Client]:
    with TestClient(app_of(product)) as client:
        yield client


def bearer(product: Wiring, scope: Scope, lot: Lot, **other: object) -> dict[str, str]:
    """Headers of a caller of that scope around a lot, with a genuine token."""
    where = {
        "lot": {"lot_id": lot.lot_id, "operator_id": lot.operator_id},
        "operator": {"operator_id": lot.operator_id},
        "district": {"district": lot.district},
        "city": {},
    }[scope]
    caller = Caller(client_id=f"{scope}-client", scope=scope, **where)  # type: ignore[arg-type]
    said: dict[str, object] = {
        "keys": product.keys.tokens, "issuer": product.settings.public_url, "at": AT, "lifetime": timedelta(minutes=30),
    } | other  # fmt: skip
    return {"authorization": "Bearer " + auth.signed(caller, **said)}  # type: ignore[arg-type]


def later(minutes: float) -> datetime:
    return (AT + timedelta(minutes=minutes)).astimezone(UTC)
