"""How many statements a deduction costs: the agreement of its driver adds none, whatever the size of the batch."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from gateways.sandbox.wechat.signing import Pair
from payments.mandates import deduction_plan
from payments.owed import departures
from payments.owed.departures import Departure
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import AT
from tests.payments.mandates.deducting import City, city
from tests.payments.mandates.test_agreements import BUYER, opened


@pytest.fixture
def at(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[City]:  # noqa: F811  # a fixture
    with city(db, fresh_pair, tmp_path) as made:
        yield made


def owe(at: City, *serials: str) -> None:
    for serial in serials:
        at.charge(serial, plate_color="blue")
    left = [Departure(charge_serial=serial, left_at=AT) for serial in serials]
    departures.depart_many(at.till, lot=at.lot, departures=left, body=b"{}")


def cost(at: City, said: list[str], name: str, debts: int) -> int:
    """Return how many statements a batch of deductions takes."""
    owe(at, *[f"{name}{number}" for number in range(debts)])
    said.clear()
    assert deduction_plan.run_due(at.till, limit=10).taken == debts
    return len(said)


def test_the_agreement_of_its_driver_costs_a_batch_of_deductions_no_statement(at: City) -> None:
    at.alipay_plate(buyer_id=BUYER)
    at.enter()
    said: list[str] = []
    event.listen(at.db, "before_cursor_execute", lambda *given: said.append(given[2]))
    without = [cost(at, said, f"A{debts}-", debts) for debts in (1, 4)]
    opened(at)
    at.later(minutes=1)
    having = [cost(at, said, f"B{debts}-", debts) for debts in (1, 4)]
    assert having == without
    each = (having[1] - having[0]) / 3
    assert each <= 22  # three channels are tried, the third is called
    assert having[0] - each <= 3  # the batch: what is due, what became of it, what comes next
