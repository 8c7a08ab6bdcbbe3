"""Refund jobs against the channel's stand-in, over its real wire: whatever the channel does, one refund moves one amount."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from payments.invariants import check
from payments.refunding import refund_jobs, refund_store, refunds
from payments.refunding.refund_store import Refund
from tests.gateways.conftest import HTTP, Play, fresh_pair, pair, play  # noqa: F401  # fixtures
from tests.payments.conftest import AT, IDS, books
from tests.payments.test_checkout import World

DONE = (224102, 101201, 500)


@pytest.fixture
def world(db: Engine, play: Play) -> World:  # noqa: F811
    """A charge that was paid and found by query."""
    made = World(db, play())
    made.fault("never")
    made.pay(made.start())
    made.later(seconds=10)
    made.status()
    assert len(books(db).entries) == 1
    return made


def refund(world: World, fen: int = 500) -> Refund:
    with world.db.begin() as tx:
        [paid] = tx.execute(text("select payment_id from payments.payment where state = 'succeeded'")).scalars()
        return refunds.promise(
            tx, lane=0, payment_id=paid, amount_fen=fen, source="operator", source_ref="r-1", reason="多收退款",
            evidence_id=IDS.new(AT, "request"), at=world.clock.now(), ids=IDS,
        )  # fmt: skip


def fault(world: World, *faults: dict[str, Any]) -> None:
    HTTP.post(f"{world.played.url}/_control/faults", json={"faults": list(faults)}).raise_for_status()


def state(world: World, asked_for: Refund) -> str:
    with world.db.connect() as tx:
        [found] = refund_store.of_payment(tx, lane=0, payment_id=asked_for.payment_id)
        assert check(tx) == []
    return found.state


def at_the_channel(world: World) -> int:
    """What the channel has paid back, in fen."""
    listed = HTTP.get(f"{world.played.url}/_control/merchants").json()
    rows = listed["merchants"] if isinstance(listed, dict) else listed
    return sum(row["refunded_fen"] for row in rows)


def test_a_refund_is_asked_for_then_asked_about_until_it_is_done(world: World) -> None:
    asked_for = refund(world)
    assert refund_jobs.run_due(world.till) == 1
    assert state(world, asked_for) == "pending"
    assert refund_jobs.run_due(world.till) == 0
    world.later(minutes=2)
    assert refund_jobs.run_due(world.till) == 1
    assert state(world, asked_for) == "done"
    assert DONE in books(world.db).entries
    world.later(days=2)
    assert refund_jobs.run_due(world.till) == 0


@pytest.mark.parametrize("kind", ["refund_unknown", "refund_error", "refund_not_enough"])
def test_an_answer_that_proves_nothing_is_followed_by_the_same_number(world: World, kind: str) -> None:
    asked_for = refund(world)
    fault(world, {"kind": kind, "next": 2})
    for _ in range(6):
        refund_jobs.run_due(world.till)
        world.later(minutes=11)
    assert state(world, asked_for) == "done"
    assert at_the_channel(world) == 500
    assert books(world.db).entries.count(DONE) == 1


def test_a_refund_that_the_channel_closes_is_free_again(world: World) -> None:
    asked_for = refund(world, 1200)
    fault(world, {"kind": "refund_closed"})
    for _ in range(3):
        refund_jobs.run_due(world.till)
        world.later(minutes=2)
    assert state(world, asked_for) == "closed"
    assert books(world.db).events[-1] == "refund.failed"


def test_a_refund_that_cannot_go_back_is_for_a_person(world: World) -> None:
    asked_for = refund(world)
    fault(world, {"kind": "refund_abnormal"})
    for _ in range(3):
        refund_jobs.run_due(world.till)
        world.later(minutes=2)
    assert state(world, asked_for) == "stuck"
    assert "refund_stuck" in books(world.db).cases


def test_after_ten_calls_a_person_is_told_and_the_calls_go_on(world: World) -> None:
    asked_for = refund(world)
    fault(world, {"kind": "refund_error"})
    for _ in range(12):
        refund_jobs.run_due(world.till)
        world.later(days=1, minutes=1)
    assert state(world, asked_for) == "promised"
    assert books(world.db).cases.count("refund_late") == 1
    fault(world)
    for _ in range(2):
        refund_jobs.run_due(world.till)
        world.later(days=1, minutes=1)
    assert state(world, asked_for) == "done"


def test_workers_that_run_at_once_ask_once(world: World) -> None:
    refund(world)
    assert sum([refund_jobs.run_due(world.till, threads=4), refund_jobs.run_due(world.till)]) == 1
    with world.db.connect() as tx:
        assert tx.execute(text("select asked from payments.refund")).scalar_one() == 1
