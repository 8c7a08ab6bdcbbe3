"""The city of the incentive's tests: two operators, debts, payments, refunds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.checks import violations
from tests.payments.incentive.conftest import City


@pytest.fixture
def town(db: Engine, tmp_path: Path) -> Iterator[City]:
    """At its end every invariant holds."""
    acting = City(db, tmp_path)
    yield acting
    with db.connect() as tx:
        assert violations(tx) == []
