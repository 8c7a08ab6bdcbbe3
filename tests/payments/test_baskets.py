"""Baskets against the real stand-in: several operators in one act, partial success, limits, refunds per leg."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.checks import violations
from gateways import routing
from gateways.contract import Way
from ledger.errors import Conflict, Refused
from ledger.ids import RandomIds, payment_number
from payments import baskets, charges, checkout, jobs, results
from payments.baskets import Started, Status
from payments.checkout import Payer, Till
from payments.errors import AlreadyPaid, ChannelBusy, ChargeUnknown, NoRoute, OrderExpired, OrderUnknown
from payments.lots import Lot
from payments.orders import RandomTokens
from payments.quoting.asked_quote_store import QuoteOver
from payments.refunding import refund_jobs, refunds
from tests.gateways.conftest import HTTP, Play, Played, fresh_pair, pair, play  # noqa: F401  # fixtures
from tests.payments.conftest import AT, IDS, books, make_charge, make_city
from tests.payments.quoting.test_asked_quotes import quote, take

CLEARING, INCOME, SUSPENSE = 101201, 600101, 224101


class World:
    """Three operators with a lot and an open charge each, and a till that talks to WeChat's stand-in."""

    def __init__(self, db: Engine, played: Played, *, operators: int = 3) -> None:
        self.db, self.played, self.clock = db, played, played.clock
        self.till = Till(
            db=db, lane=0, clock=self.clock, ids=RandomIds(), tokens=RandomTokens(), line=lambda _: played.line,
            query_after=(timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5)), channels=lambda: ("wechat",),
        )  # fmt: skip
        self.clock.set(AT)
        with db.begin() as tx:
            self.lots: list[Lot] = [make_city(tx, number=number) for number in range(1, operators + 1)]
            self.charges: list[UUID] = [
                make_charge(tx, lot, f"S{lot.lot_id}", amount_fen=1000 + lot.lot_id) for lot in self.lots
            ]  # fmt: skip

    def open(self, token: str = "basket-1", charges: list[UUID] | None = None) -> None:
        with self.db.begin() as tx:
            baskets.open_basket(
                tx, till=self.till, lot_id=self.lots[0].lot_id, charge_ids=charges or self.charges, token=token, at=self.clock.now()
            )

    def start(self, token: str = "basket-1", payer: str = "o-payer-1", **other: Any) -> Started:
        return baskets.start(self.till, token=token, channel="wechat", payer=Payer(payer_id=payer, **other))

    def pay(self, started: Started) -> None:
        order_no = payment_number(0, started.attempts[0].payment_id)
        HTTP.post(f"{self.played.url}/_control/pay", json={"order_no": order_no}).raise_for_status()

    def fault(self, kind: str, **other: object) -> None:
        HTTP.post(f"{self.played.url}/_control/faults", json={"faults": [{"kind": kind, **other}]}).raise_for_status()

    def status(self, token: str = "basket-1") -> Status:
        return baskets.status(self.till, token=token)

    def stages(self, token: str = "basket-1") -> list[str]:
        return [leg.stage for leg in self.status(token).legs]

    def later(self, **span: float) -> None:
        self.clock.set(self.clock.now() + timedelta(**span))

    def sound(self) -> bool:
        with self.db.connect() as tx:
            return violations(tx) == []


@pytest.fixture
def world(db: Engine, play: Play) -> World:  # noqa: F811  # a fixture
    return World(db, play())


def test_three_operators_are_paid_in_one_act_and_each_in_its_own_book(world: World) -> None:
    world.open()
    started = world.start()
    assert len({one.act_id for one in started.attempts}) == 1
    assert [one.operator_id for one in started.attempts] == [lot.operator_id for lot in world.lots]
    assert started.hand_off.kind == "jsapi"
    assert world.stages() == ["waiting"] * 3
    world.pay(started)
    world.later(seconds=5)
    assert world.stages() == ["paid"] * 3
    assert (world.status().open_fen, world.status().paid_fen) == (0, sum(1000 + lot.lot_id for lot in world.lots))
    kept = books(world.db)
    assert kept.entries == sorted((CLEARING, INCOME, 1000 + lot.lot_id) for lot in world.lots)
    assert kept.events == ["payment.succeeded"] * 3
    with world.db.connect() as tx:
        owners = tx.execute(text("select count(distinct book_id), count(*) from ledger.posting")).one()
    assert tuple(owners) == (3, 3)
    assert world.sound()


def test_a_second_tap_is_the_same_act_and_asks_the_channel_nothing(world: World) -> None:
    world.open()
    first = world.start()
    messages = books(world.db).messages
    assert world.start() == first
    assert books(world.db).messages == messages


def test_four_taps_at_once_are_one_act(world: World) -> None:
    world.open()
    with ThreadPoolExecutor(4) as pool:
        started = [one.result() for one in [pool.submit(world.start) for _ in range(4)]]
    assert len({one.attempts[0].act_id for one in started}) == 1
    with world.db.connect() as tx:
        assert tx.execute(text("select count(*) from payments.payment")).scalar_one() == 3


def test_the_combined_notice_settles_all_legs_or_none(world: World) -> None:
    world.open()
    started = world.start()
    world.pay(started)
    channel, keys = world.played.line.connected.channel, world.played.line.connected.keys
    call = checkout.ask_together(world.till, started.attempts)
    with world.db.begin() as tx:
        outcomes = results.apply(tx, lane=0, notices=call, at=world.clock.now(), ids=IDS)
    assert [outcome.accepted for outcome in outcomes] == [True] * 3
    assert (channel.name, bool(keys)) == ("wechat", True)
    with world.db.begin() as tx:
        again = results.apply(
            tx, lane=0, notices=checkout.ask_together(world.till, started.attempts), at=world.clock.now(), ids=IDS
        )  # fmt: skip
    assert [outcome.finding.value for outcome in again] == ["already"] * 3
    assert len(books(world.db).entries) == 3
    assert world.sound()


def test_the_query_job_asks_about_an_act_in_one_call(world: World) -> None:
    world.open()
    world.pay(world.start())
    world.later(seconds=6)
    before = books(world.db).messages
    assert jobs.run_due(world.till) == jobs.Ran(asked=3, closed=0, found_paid=3)
    assert books(world.db).messages == before + 1
    assert world.stages() == ["paid"] * 3
    assert world.sound()


def test_an_act_whose_time_is_over_is_closed_as_a_whole(world: World) -> None:
    world.open()
    world.start()
    world.later(minutes=17)
    assert jobs.run_due(world.till) == jobs.Ran(asked=3, closed=3, found_paid=0)
    assert world.stages() == ["unpaid"] * 3
    with world.db.connect() as tx:
        assert set(tx.execute(text("select state from payments.payment")).scalars()) == {"closed"}


def test_a_closed_act_is_followed_by_a_new_one(world: World) -> None:
    world.open()
    first = world.start()
    world.later(minutes=17)
    jobs.run_due(world.till)
    second = world.start()
    assert second.attempts[0].act_id != first.attempts[0].act_id
    world.pay(second)
    world.later(seconds=5)
    assert world.stages() == ["paid"] * 3


def test_a_charge_that_somebody_paid_meanwhile_is_left_out_of_the_next_act(world: World) -> None:
    world.open()
    alone = checkout.start(
        world.till, lot_id=world.lots[1].lot_id, charge_id=world.charges[1], token="single", channel="wechat",
        payer=Payer(payer_id="o-other"),
    )  # fmt: skip
    HTTP.post(f"{world.played.url}/_control/pay", json={"order_no": payment_number(0, alone.attempt.payment_id)}).raise_for_status()
    world.later(seconds=5)
    assert checkout.status(world.till, token="single").stage == "paid"
    started = world.start()
    assert [one.charge_id for one in started.attempts] == [world.charges[0], world.charges[2]]
    world.pay(started)
    world.later(seconds=5)
    assert world.stages() == ["paid", "paid_elsewhere", "paid"]
    assert world.sound()


def test_a_price_that_ended_is_left_out_and_the_rest_is_paid(world: World) -> None:
    lot = world.lots[0]
    assert take(world.db, lot, quote(valid_until=AT + timedelta(minutes=15))) == []
    with world.db.connect() as tx:
        ended = charges.by_serial(tx, lane=0, lot_id=lot.lot_id, lot_serial="Q1").charge_id
    world.open(charges=[ended, world.charges[1]])
    assert world.stages() == ["unpaid", "unpaid"]
    world.later(minutes=14, seconds=1)
    assert world.stages() == ["price_over", "unpaid"]
    assert world.status().open_fen == 1000 + world.lots[1].lot_id
    started = world.start()
    assert [one.charge_id for one in started.attempts] == [world.charges[1]]
    undecided = world.status().undecided
    assert undecided is not None
    assert undecided.charge_id == world.charges[1]
    world.pay(started)
    world.later(seconds=5)
    assert world.stages() == ["price_over", "paid"]
    assert (world.status().open_fen, world.status().undecided) == (0, None)
    with pytest.raises(QuoteOver):
        world.start()
    at = world.clock.now()
    assert take(world.db, lot, quote("Q2", minutes=135, valid_until=at + timedelta(minutes=15)), at=at) == []
    assert world.stages() == ["price_over", "paid"]
    assert world.sound()


def test_a_charge_paid_twice_across_basket_and_single_goes_back_and_the_rest_stands(world: World) -> None:
    world.open()
    started = world.start()
    alone = checkout.start(
        world.till, lot_id=world.lots[0].lot_id, charge_id=world.charges[0], token="single", channel="wechat",
        payer=Payer(payer_id="o-other"),
    )  # fmt: skip
    HTTP.post(f"{world.played.url}/_control/pay", json={"order_no": payment_number(0, alone.attempt.payment_id)}).raise_for_status()
    world.later(seconds=5)
    assert checkout.status(world.till, token="single").stage == "paid"
    world.pay(started)
    world.later(seconds=5)
    assert world.stages() == ["refund_due", "paid", "paid"]
    assert (CLEARING, SUSPENSE, 1000 + world.lots[0].lot_id) in books(world.db).entries
    assert refund_jobs.promise_second_payments(world.till, fen_max=50_000) == 1
    refund_jobs.run_due(world.till)
    world.later(minutes=3)
    refund_jobs.run_due(world.till)
    assert world.stages() == ["refunded", "paid", "paid"]
    assert world.sound()


def test_one_leg_is_refunded_and_the_others_stand(world: World) -> None:
    world.open()
    started = world.start()
    world.pay(started)
    world.later(seconds=5)
    world.status()
    leg = started.attempts[2]
    with world.db.begin() as tx:
        refunds.promise(
            tx, lane=0, payment_id=leg.payment_id, amount_fen=300, source="operator", source_ref="r-1", reason="多收",
            at=world.clock.now(), ids=IDS, evidence_id=leg.payment_id,
        )  # fmt: skip
    refund_jobs.run_due(world.till)
    world.later(minutes=3)
    refund_jobs.run_due(world.till)
    assert [leg.refunded_fen for leg in world.status().legs] == [0, 0, 300]
    assert world.sound()


def test_partial_success_is_shown_and_gone_on_with(world: World) -> None:
    """One operator has keys of its own: it cannot be a leg, so the basket takes two acts."""
    with world.db.begin() as tx:
        tx.execute(text("update gateways.merchant_account set valid = tstzrange(lower(valid), :at) where operator_id = :op"), {
            "at": AT, "op": world.lots[2].operator_id,
        })  # fmt: skip
        account = routing.NewAccount(
            operator_id=world.lots[2].operator_id, channel="wechat", merchant_no="1620009999",
            payee_name=world.lots[2].operator_name, evidence="own agreement", valid_from=AT, mode="direct", key_ref="own",
        )  # fmt: skip
        routing.register(tx, account=account, operator_name=world.lots[2].operator_name, provider_no="1900000001", at=AT)
    world.open()
    first = world.start()
    assert [one.charge_id for one in first.attempts] == world.charges[:2]
    assert [len(act.charge_ids) for act in world.status().cuts["wechat"].acts] == [2, 1]
    world.pay(first)
    world.later(seconds=5)
    status = world.status()
    assert [leg.stage for leg in status.legs] == ["paid", "paid", "unpaid"]
    assert (status.paid_fen, status.open_fen) == (2003, 1003)
    second = world.start()
    assert [(one.charge_id, one.act_id, one.key_ref) for one in second.attempts] == [(world.charges[2], None, "own")]
    world.pay(second)
    world.later(seconds=5)
    assert world.stages() == ["paid"] * 3
    assert world.sound()


def test_a_single_charge_is_an_ordinary_order(world: World) -> None:
    world.open(charges=world.charges[:1])
    started = world.start()
    assert [one.act_id for one in started.attempts] == [None]
    world.pay(started)
    world.later(seconds=5)
    assert world.stages() == ["paid"]


def test_an_act_that_timed_out_at_the_channel_is_found_by_the_query(world: World) -> None:
    world.open()
    world.fault("unknown", next=1)
    with pytest.raises(ChannelBusy):
        world.start()
    assert world.stages() == ["waiting"] * 3
    again = world.start()
    world.pay(again)
    world.later(seconds=5)
    assert world.stages() == ["paid"] * 3
    with world.db.connect() as tx:
        assert tx.execute(text("select count(*) from payments.payment")).scalar_one() == 3
    assert world.sound()


def test_a_payer_in_an_ordinary_browser_pays_the_act_over_h5(world: World) -> None:
    world.open()
    started = world.start(payer="", way=Way.BROWSER, ip="127.0.0.1", return_url="http://pay.test/b/x")
    assert started.hand_off.kind == "redirect"
    assert started.hand_off.url is not None
    world.pay(started)
    world.later(seconds=5)
    assert world.stages() == ["paid"] * 3


def test_a_link_to_the_wallet_that_has_died_is_followed_by_a_fresh_one_of_the_same_act(world: World) -> None:
    world.open()
    browser = {"payer": "", "way": Way.BROWSER, "ip": "127.0.0.1", "return_url": "http://pay.test/b/x"}
    first = world.start(**browser)
    assert world.start(**browser).hand_off == first.hand_off
    world.later(minutes=6)
    second = world.start(**browser)
    assert [one.payment_id for one in second.attempts] == [one.payment_id for one in first.attempts]
    assert second.hand_off.url != first.hand_off.url
    world.pay(second)
    world.later(seconds=5)
    assert world.stages() == ["paid"] * 3


def test_sixty_charges_do_not_fit_and_fifty_are_one_act(db: Engine, play: Play) -> None:  # noqa: F811  # a fixture
    world = World(db, play(), operators=2)
    with world.db.begin() as tx:
        many = [make_charge(tx, world.lots[number % 2], f"M{number}", amount_fen=100 + number) for number in range(60)]
    with pytest.raises(Refused, match="1 to 50"):
        world.open(charges=many)
    world.open(charges=many[:50])
    started = world.start()
    assert len(started.attempts) == 50
    world.pay(started)
    world.later(seconds=5)
    assert world.stages() == ["paid"] * 50
    assert world.sound()


def test_what_cannot_be_a_basket_is_refused(world: World) -> None:
    world.open()
    with world.db.begin() as tx, pytest.raises(Refused, match="1 to 50"):
        baskets.open_basket(tx, till=world.till, lot_id=1, charge_ids=[], token="t", at=AT)
    with pytest.raises(ChargeUnknown):
        world.open("basket-2", [world.charges[0], UUID(int=7)])
    with pytest.raises(Conflict):
        world.open("basket-1", world.charges[:2])
    with pytest.raises(OrderUnknown):
        world.start("nobody's")
    with pytest.raises(OrderUnknown):
        world.status("nobody's")


def test_a_basket_is_over_after_its_time_and_when_everything_is_paid(world: World) -> None:
    world.open()
    world.pay(world.start())
    world.later(seconds=5)
    world.status()
    with pytest.raises(AlreadyPaid):
        world.start()
    with pytest.raises(AlreadyPaid):
        world.open("basket-2")
    with world.db.begin() as tx:
        late = make_charge(tx, world.lots[0], "late")
    world.open("basket-3", [late])
    world.later(hours=2)
    with pytest.raises(OrderExpired):
        world.start("basket-3")


def test_without_a_route_nothing_is_ordered(world: World) -> None:
    with world.db.begin() as tx:
        tx.execute(text("update gateways.merchant_account set valid = tstzrange(lower(valid), :at)"), {"at": AT})
    world.open()
    with pytest.raises(NoRoute):
        world.start()
    assert world.status().cuts["wechat"].acts == ()
    assert books(world.db).messages == 0
