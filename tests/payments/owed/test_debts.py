"""Debts: a car leaves, its charge is a receivable; parts of it count, and it is reserved while somebody pays."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import Engine, text

from app.checks import violations
from gateways.contract import Answer, ChannelState, Request, Unanswered, Way
from ledger.errors import Refused
from ledger.ids import payment_number
from payments import baskets, checkout, events, orders, results, store
from payments.basket_plan import allocated
from payments.checkout import Payer
from payments.errors import AlreadyPaid, DebtReserved
from payments.lots import Lot
from payments.owed.debt_store import OpenDebt
from payments.owed.debts import Left, open_debts
from tests.gateways.conftest import HTTP, Play, fresh_pair, pair, play  # noqa: F401  # fixtures
from tests.payments.conftest import AT, IDS, Due, books, make_charge, message, route_of
from tests.payments.test_checkout import World as CheckoutWorld
from tests.payments.test_results import applied, findings

CLEARING, RECEIVABLE, INCOME, SUSPENSE = 101201, 112201, 600101, 224101
EVIDENCE = UUID(int=0x019CACB3F2007DD39711_2B7289CD0F00)


def leave(db: Engine, *charge_ids: UUID, basis: str = "policy") -> list[OpenDebt]:
    with db.begin() as tx:
        left = [Left(one, basis, AT) for one in charge_ids]  # type: ignore[arg-type]
        return open_debts(tx, lane=0, left=left, evidence_id=EVIDENCE, at=AT, ids=IDS)


def part_of(db: Engine, lot: Lot, charge_id: UUID, fen: int | None) -> Due:
    """An attempt to pay a part of a debt, or all that is due."""
    with db.begin() as tx:
        token = orders.RandomTokens().new("part")
        order = orders.open_order(
            tx, lane=0, lot_id=lot.lot_id, charge_id=charge_id, token=token, at=AT, ids=IDS, price_lock=timedelta(minutes=15),
            part_fen=fen,
        )  # fmt: skip
        attempt = orders.attempt(
            tx, order=order, route=route_of(tx, lot), provider_no="1900000001", payer_id=token, way=Way.IN_WALLET, at=AT,
            ids=IDS, first_query=timedelta(seconds=5),
        )  # fmt: skip
    return Due(lot, order, attempt, token)


def debt(db: Engine, charge_id: UUID) -> dict[str, Any]:
    query = text(
        "select state, amount_fen, paid_fen, owed_fen, basis, due_on, limitation_on from payments.v_debt where charge_id = :id"
    )
    with db.connect() as tx:
        return dict(tx.execute(query, {"id": charge_id}).one()._mapping)


def told(db: Engine, lot: Lot) -> list[tuple[str, object, object]]:
    with db.connect() as tx:
        page = events.read(tx, lane=0, lot_id=lot.lot_id)
    return [(one.event.kind, one.event.amount_fen, one.event.owed_fen) for one in page.events if one.event.kind.startswith("debt.")]


def sound(db: Engine) -> bool:
    with db.connect() as tx:
        return violations(tx) == []


@pytest.fixture
def owed(db: Engine, city: Lot) -> UUID:
    """A debt of 12 yuan."""
    with db.begin() as tx:
        charge_id = make_charge(tx, city, "S1")
    leave(db, charge_id)
    return charge_id


def test_a_car_that_left_owes_its_charge_and_the_book_carries_it_as_a_receivable(db: Engine, city: Lot, owed: UUID) -> None:
    assert books(db).entries == [(RECEIVABLE, INCOME, 1200)]
    assert debt(db, owed) == {
        "state": "open", "amount_fen": 1200, "paid_fen": 0, "owed_fen": 1200, "basis": "policy",
        "due_on": date(2026, 4, 1), "limitation_on": date(2029, 4, 1),
    }  # fmt: skip
    assert told(db, city) == [("debt.opened", 1200, 1200)]
    assert sound(db)


def test_a_debt_is_opened_once_however_often_it_is_told(db: Engine, city: Lot, owed: UUID) -> None:
    assert leave(db, owed, owed) == []
    assert books(db).entries == [(RECEIVABLE, INCOME, 1200)]


def test_a_charge_that_is_paid_is_no_debt(db: Engine, due: Callable[..., Due]) -> None:
    one = due()
    applied(db, one.callback())
    assert leave(db, one.attempt.charge_id) == []
    assert books(db).entries == [(CLEARING, INCOME, 1200)]


def test_days_until_it_is_due_follow_the_rule_of_the_lot_before_the_operators_before_the_citys(db: Engine, city: Lot) -> None:
    rule = text("""
        insert into payments.leave_rule (operator_id, lot_id, valid_from, document, admits, debts_max, owed_fen_max,
                                         overdue_days_max, checks_lists, due_days, entered_at)
        values (:operator, :lot, '2026-01-01', 'doc', 'everyone', 3, 10000, 30, false, :days, '2026-01-01')
        """)
    with db.begin() as tx:
        first, second = make_charge(tx, city, "S1"), make_charge(tx, city, "S2", plate="苏B22222")
        tx.execute(rule, {"operator": city.operator_id, "lot": None, "days": 7})
    assert [one.due_on for one in leave(db, first)] == [date(2026, 3, 9)]
    with db.begin() as tx:
        tx.execute(rule, {"operator": city.operator_id, "lot": city.lot_id, "days": 0})
    assert [one.due_on for one in leave(db, second)] == [date(2026, 3, 2)]


def test_a_part_counts_and_the_rest_stays_due(db: Engine, city: Lot, owed: UUID) -> None:
    assert findings(applied(db, part_of(db, city, owed, 500).callback())) == ["part"]
    assert books(db).entries == [(CLEARING, RECEIVABLE, 500), (RECEIVABLE, INCOME, 1200)]
    assert (debt(db, owed)["state"], debt(db, owed)["owed_fen"]) == ("open", 700)
    assert findings(applied(db, part_of(db, city, owed, None).callback())) == ["settled"]
    assert (debt(db, owed)["state"], debt(db, owed)["owed_fen"]) == ("settled", 0)
    assert told(db, city) == [("debt.opened", 1200, 1200), ("debt.reduced", 500, 700), ("debt.settled", 700, 0)]
    assert books(db).facts == ["part", "settled"]
    assert sound(db)


def test_parts_in_one_batch_count_together(db: Engine, city: Lot, owed: UUID) -> None:
    parts = [part_of(db, city, owed, fen) for fen in (300, 400, 500)]
    assert findings(applied(db, *[one.callback() for one in parts])) == ["part", "part", "settled"]
    assert debt(db, owed)["owed_fen"] == 0
    assert sound(db)


def test_a_part_that_is_more_than_what_is_left_goes_to_suspense_in_full(db: Engine, city: Lot, owed: UUID) -> None:
    all_of_it, part = part_of(db, city, owed, None), part_of(db, city, owed, 500)
    assert findings(applied(db, part.callback(), all_of_it.callback())) == ["part", "second_payment"]
    assert books(db).entries == [(CLEARING, RECEIVABLE, 500), (CLEARING, SUSPENSE, 1200), (RECEIVABLE, INCOME, 1200)]
    assert books(db).cases == ["refund_second_payment"]
    assert debt(db, owed)["owed_fen"] == 700
    assert sound(db)


@pytest.mark.parametrize("fen", [0, -1, 1201])
def test_what_is_no_part_of_a_debt_is_refused(db: Engine, city: Lot, owed: UUID, fen: int) -> None:
    with pytest.raises(Refused) as refused:
        part_of(db, city, owed, fen)
    assert refused.value.code == "part_invalid"


def test_at_the_gate_nothing_is_paid_in_parts(db: Engine, city: Lot) -> None:
    with db.begin() as tx:
        charge_id = make_charge(tx, city, "S1")
    with pytest.raises(Refused) as refused:
        part_of(db, city, charge_id, 500)
    assert refused.value.code == "part_invalid"


@pytest.mark.parametrize("taken_first", [True, False])
def test_a_part_or_the_rest_that_is_taken_back_is_due_again(db: Engine, city: Lot, owed: UUID, taken_first: bool) -> None:
    part, rest = part_of(db, city, owed, 500), part_of(db, city, owed, 700)
    applied(db, part.callback(), rest.callback())
    gone = part if taken_first else rest
    taken_back = gone.callback(state=ChannelState.REVERSED)
    assert findings(applied(db, taken_back)) == ["taken_back"]
    assert (debt(db, owed)["state"], debt(db, owed)["owed_fen"]) == ("open", gone.attempt.amount_fen)
    assert sound(db)
    assert findings(applied(db, part_of(db, city, owed, None).callback())) == ["settled"]
    assert sound(db)


def test_a_part_taken_and_taken_back_in_one_batch_leaves_the_debt_as_it_was(db: Engine, city: Lot, owed: UUID) -> None:
    part = part_of(db, city, owed, 500)
    assert findings(applied(db, part.callback(), part.callback(state=ChannelState.REVERSED))) == ["part", "taken_back"]
    assert debt(db, owed)["owed_fen"] == 1200
    assert sound(db)


def test_nothing_is_paid_of_a_debt_that_was_let_off(db: Engine, city: Lot, owed: UUID) -> None:
    late = part_of(db, city, owed, None)
    with db.begin() as tx:
        tx.execute(text("update payments.charge set state = 'waived', reduced_fen = amount_fen"))
        tx.execute(text("update payments.debt set owed_fen = 0"))
    with pytest.raises(AlreadyPaid):
        part_of(db, city, owed, None)
    assert findings(applied(db, late.callback())) == ["second_payment"]


def test_the_new_owner_of_a_plate_sees_nothing_of_the_stays_before(db: Engine, city: Lot, owed: UUID) -> None:
    with db.begin() as tx:
        make_charge(tx, city, "S2", entered_at=AT - timedelta(minutes=30), minutes=30)
        tx.execute(text("update payments.plate set held_since = :at"), {"at": AT - timedelta(hours=1)})
        here = store.open_charges(tx, lane=0, lot_id=city.lot_id, number="苏B12345")
        everywhere = store.open_charges_anywhere(tx, lane=0, number="苏B12345", limit=10)
    assert [[one.lot_serial for one in found] for found in (here, everywhere)] == [["S2"], ["S2"]]


# Somebody is paying


class Silent:
    """A network without the channel."""

    def send(self, request: Request, *, bytes_max: int = 0) -> Answer | Unanswered:  # noqa: ARG002  # the protocol's form
        return Unanswered("connect")


class World(CheckoutWorld):
    """As at the checkout; the car has left."""

    def leave(self) -> None:
        leave(self.db, self.charge_id)


@pytest.fixture
def world(db: Engine, play: Play) -> World:  # noqa: F811  # a fixture
    made = World(db, play())
    made.leave()
    return made


def test_a_debt_is_kept_for_the_phone_that_began(world: World) -> None:
    first = world.start()
    with pytest.raises(DebtReserved):
        world.start("token-2", "o-payer-2")
    assert world.start().attempt.payment_id == first.attempt.payment_id
    assert debt(world.db, world.charge_id)["state"] == "reserved"


def test_a_debt_left_lying_is_closed_at_its_channel_before_another_phone_has_it(world: World) -> None:
    world.start()
    world.later(minutes=3)
    second = world.start("token-2", "o-payer-2")
    assert world.states() == ["closed", "pending"]
    world.pay(second)
    world.later(seconds=10)
    assert world.status("token-2").stage == "paid"
    assert books(world.db).facts == ["settled"]


def test_a_debt_paid_on_the_first_phone_is_not_paid_on_the_second(world: World) -> None:
    first = world.start()
    world.pay(first)
    world.later(minutes=3)
    with pytest.raises(AlreadyPaid):
        world.start("token-2", "o-payer-2")
    assert books(world.db).facts == ["settled"]


def test_while_the_channel_is_silent_the_debt_stays_with_the_first_phone(world: World) -> None:
    world.start()
    world.later(minutes=3)
    line = msgspec.structs.replace(world.played.line, transport=Silent())
    till = msgspec.structs.replace(world.till, line=lambda _: line)
    with pytest.raises(DebtReserved):
        checkout.start(
            till, lot_id=world.lot.lot_id, charge_id=world.charge_id, token="token-2", channel="wechat", payer=Payer(payer_id="o-2")
        )  # fmt: skip
    assert world.states() == ["unknown"]


def test_a_payer_pays_a_part_and_the_page_says_paid(world: World) -> None:
    started = world.start(part_fen=500)
    world.pay(started)
    world.later(seconds=10)
    status = world.status()
    assert (status.stage, status.taken_fen, status.charge.owed_fen) == ("paid", 500, 700)


def test_an_amount_pays_the_oldest_debts_first(world: World) -> None:
    with world.db.begin() as tx:
        newer = make_charge(tx, world.lot, "S2", amount_fen=900, entered_at=AT - timedelta(hours=1))
    leave(world.db, newer)
    with world.db.begin() as tx:
        baskets.open_basket(
            tx,
            till=world.till,
            lot_id=world.lot.lot_id,
            charge_ids=[world.charge_id, newer],
            token="basket",
            at=AT,
            amount_fen=1500,
        )
    started = baskets.start(world.till, token="basket", channel="wechat", payer=Payer(payer_id="o-payer-1"))
    assert [one.amount_fen for one in started.attempts] == [1200, 300]
    HTTP.post(
        f"{world.played.url}/_control/pay", json={"order_no": payment_number(0, started.attempts[0].payment_id)}
    ).raise_for_status()
    world.later(seconds=10)
    status = baskets.status(world.till, token="basket")
    assert ([leg.stage for leg in status.legs], status.paid_fen, status.open_fen) == (["paid", "paid"], 1500, 0)
    assert (debt(world.db, world.charge_id)["owed_fen"], debt(world.db, newer)["owed_fen"]) == (0, 600)
    assert sound(world.db)


def test_amounts_are_allocated_in_order() -> None:
    one, two, three = UUID(int=1), UUID(int=2), UUID(int=3)
    assert allocated([(one, 5), (two, 7), (three, 9)], 8) == {one: 5, two: 3}
    assert allocated([(one, 5), (two, 7)], 5) == {one: 5}


def test_a_word_without_a_message_of_ours_moves_no_debt(db: Engine, city: Lot, owed: UUID) -> None:
    with db.begin() as tx:
        results.apply(tx, lane=0, notices=[results.Notice(message(verdict="refused"), None)], at=AT, ids=IDS)
    assert debt(db, owed)["owed_fen"] == 1200
