"""A discounted charge at the till: the order locks the lower price, and a price that changed since is looked up again."""

# ruff: noqa: F811  # fixtures of another module are asked for by name

from datetime import timedelta

import pytest
from sqlalchemy import text

from payments.discounts import effects, grants, offers
from payments.discounts.offers import NewOffer
from payments.invariants import check
from payments.orders import RandomTokens
from payments.quoting.asked_quote_store import QuoteOver
from tests.gateways.conftest import fresh_pair, pair, play  # noqa: F401  # fixtures
from tests.payments.conftest import AT, IDS
from tests.payments.test_checkout import World, world  # noqa: F401  # fixtures


@pytest.fixture
def code(world: World) -> str:
    """A coupon of 8 yuan off."""
    offer = NewOffer(
        code="C8", kind="coupon", words="优惠券", words_en="Coupon", document="decision 1", valid_from=AT - timedelta(days=1),
        valid_until=AT + timedelta(days=9), off_fen=800,
    )  # fmt: skip
    with world.db.begin() as tx:
        offers.add(tx, lane=0, offer=offer, at=AT, ids=IDS)
        [made] = grants.issue(tx, lane=0, offer="C8", count=1, at=AT, ids=IDS, tokens=RandomTokens())
    return made.code


def use(world: World, code: str) -> int:
    with world.db.begin() as tx:
        return grants.use_coupon(
            tx, lane=0, lot_id=world.lot.lot_id, charge_id=world.charge_id, code=code, at=world.clock.now(), ids=IDS
        ).owed_fen


def broken(world: World) -> list[str]:
    with world.db.connect() as tx:
        return [one.detail for one in check(tx)]


def test_the_driver_pays_what_the_coupon_leaves(world: World, code: str) -> None:
    assert use(world, code) == 400
    started = world.start()
    assert started.attempt.amount_fen == 400
    world.pay(started)
    world.later(seconds=10)
    status = world.status()
    assert (status.stage, status.taken_fen, status.charge.state) == ("paid", 400, "settled")
    assert broken(world) == []


def test_an_order_of_the_price_before_is_looked_up_again_and_a_new_one_has_the_lower_price(world: World, code: str) -> None:
    world.start()
    with world.db.begin() as tx:
        tx.execute(text("update payments.payment set state = 'closed'"))
    use(world, code)
    with pytest.raises(QuoteOver):
        world.start()
    assert world.start("token-2").attempt.amount_fen == 400


def test_when_the_coupon_goes_off_the_lower_price_cannot_be_ordered_any_more(world: World, code: str) -> None:
    use(world, code)
    world.later(minutes=29)
    world.start()
    with world.db.begin() as tx:
        tx.execute(text("update payments.payment set state = 'closed'"))
    world.later(minutes=2)
    assert effects.end_due(world.db, lane=0, at=world.clock.now(), ids=IDS) == 1
    with pytest.raises(QuoteOver):
        world.start()
    assert world.start("token-2").attempt.amount_fen == 1200
    assert broken(world) == []
