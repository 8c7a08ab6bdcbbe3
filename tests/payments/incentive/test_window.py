"""Debts of two operators paid at a third one's code, over the real stand-in: each gets its money, the city its shares."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.checks import violations
from payments.incentive import following, parties, rules
from payments.incentive.parties import NewParty
from payments.incentive.rules import NewRule, NewShare
from payments.owed import debts
from payments.owed.debts import Left
from tests.gateways.conftest import Play, fresh_pair, pair, play  # noqa: F401  # fixtures
from tests.payments.conftest import AT, IDS
from tests.payments.incentive.conftest import sealer
from tests.payments.test_baskets import World


@pytest.fixture
def world(db: Engine, play: Play) -> World:  # noqa: F811  # a fixture
    return World(db, play())


def test_a_basket_of_debts_at_a_third_lots_code_is_recovered_by_the_city(world: World, tmp_path: Path) -> None:
    with world.db.begin() as tx:
        city = parties.register(tx, party=NewParty(kind="platform", code="city", name="示例市停车平台"), at=AT)
        rule = NewRule(valid_from=AT, document="incentive notice 1", recovered_by="platform", share=(NewShare(bps=1000),))
        rules.add_rule(tx, lane=0, rule=rule, at=AT, ids=IDS)
        left = [Left(charge_id, "policy", AT - timedelta(days=3)) for charge_id in world.charges]
        debts.open_debts(tx, lane=0, left=left, evidence_id=world.charges[0], at=AT, ids=IDS)
    world.open()  # at the code of the first operator's lot
    world.pay(world.start())
    world.later(seconds=5)
    assert world.stages() == ["paid"] * 3
    sealing = sealer(tmp_path)
    with world.db.connect() as connection:
        while sealing.seal_once(connection, at=AT) is not None:
            pass
    done = following.follow(world.db, lane=0, at=world.clock.now, ids=IDS)
    assert (done.recovered, done.shares) == (3, 2)
    with world.db.connect() as tx:
        found = tx.exec_driver_sql(
            "select r.basis, r.recovered_fen, r.days, i.amount_fen, i.recoverer_id from payments.recovery r "
            "left join payments.incentive_line i using (payment_id, lane) order by r.recovered_fen"
        ).all()
        assert [tuple(row) for row in found] == [
            ("own", 1001, 3, None, None),
            ("city_window", 1002, 3, 100, city.party_id),
            ("city_window", 1003, 3, 100, city.party_id),
        ]
        assert violations(tx) == []
