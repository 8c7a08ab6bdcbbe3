"""Checkout and the query jobs against the channel's stand-in, over its real wire."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import Connection, Engine, text

from gateways.contract import Answer, Request, Unanswered
from ledger.ids import RandomIds, payment_number
from payments import charges, checkout, jobs, results, store
from payments.checkout import Payer, Started, Status, Till
from payments.errors import AlreadyPaid, ChannelBusy, ChargeUnknown, NoRoute, OrderExpired, OrderUnknown
from payments.lots import Lot
from payments.orders import RandomTokens, SeededTokens
from payments.records import Charge
from tests.gateways.conftest import HTTP, Play, Played, fresh_pair, pair, play  # noqa: F401  # fixtures
from tests.payments.conftest import AT, Books, Due, books, make_attempt, make_charge, make_city

CLEARING, INCOME, SUSPENSE = 101201, 600101, 224101


class World:
    """A till, the stand-in it talks to, a lot and its open charge."""

    def __init__(self, db: Engine, played: Played) -> None:
        self.db, self.played, self.clock = db, played, played.clock
        self.till = Till(
            db=db, lane=0, clock=self.clock, ids=RandomIds(), tokens=RandomTokens(), line=lambda _: played.line,
            query_after=(timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5)),
        )  # fmt: skip
        self.clock.set(AT)
        with db.begin() as tx:
            self.lot: Lot = make_city(tx)
            self.charge_id: UUID = make_charge(tx, self.lot, "S1")

    def start(self, token: str = "token-1", payer: str = "o-payer-1", **other: Any) -> Started:
        said: dict[str, Any] = {
            "lot_id": self.lot.lot_id,
            "charge_id": self.charge_id,
            "token": token,
            "channel": "wechat",
            "payer": Payer(payer_id=payer),
        }
        return checkout.start(self.till, **(said | other))

    def pay(self, started: Started) -> None:
        order_no = payment_number(0, started.attempt.payment_id)
        HTTP.post(f"{self.played.url}/_control/pay", json={"order_no": order_no}).raise_for_status()

    def fault(self, kind: str, **other: object) -> None:
        HTTP.post(f"{self.played.url}/_control/faults", json={"faults": [{"kind": kind, **other}]}).raise_for_status()

    def status(self, token: str = "token-1") -> Status:
        return checkout.status(self.till, token=token)

    def later(self, **span: float) -> None:
        self.clock.set(self.clock.now() + timedelta(**span))

    def states(self) -> list[str]:
        with self.db.connect() as tx:
            return list(tx.execute(text("select state from payments.payment order by payment_id")).scalars())


@pytest.fixture
def world(db: Engine, play: Play) -> World:  # noqa: F811  # a fixture
    return World(db, play())


def test_a_payer_gets_the_hand_off_of_the_wallet(world: World) -> None:
    started = world.start()
    assert started.hand_off.kind == "jsapi"
    assert started.hand_off.fields["package"].startswith("prepay_id=")
    assert (started.attempt.state, started.attempt.amount_fen, started.attempt.queries) == ("pending", 1200, 0)
    assert world.status().stage == "waiting"


def test_a_second_tap_returns_the_same_attempt_and_asks_the_channel_nothing(world: World) -> None:
    first = world.start()
    assert world.start() == first
    assert world.states() == ["pending"]


def test_two_taps_at_once_make_one_attempt(world: World) -> None:
    with ThreadPoolExecutor(4) as pool:
        started = [one.result() for one in [pool.submit(world.start) for _ in range(4)]]
    assert {one.attempt.payment_id for one in started} == {started[0].attempt.payment_id}
    assert world.states() == ["pending"]


def test_two_phones_make_two_orders_for_one_charge_and_the_second_payment_is_refunded(world: World) -> None:
    first, second = world.start(), world.start("token-2", "o-payer-2")
    world.pay(first)
    world.pay(second)
    world.later(seconds=5)
    assert jobs.run_due(world.till) == jobs.Ran(asked=2, closed=0, found_paid=2)
    assert {world.status().stage, world.status("token-2").stage} == {"paid", "refund_due"}
    assert books(world.db).entries == [(CLEARING, SUSPENSE, 1200), (CLEARING, INCOME, 1200)]


def test_another_payer_of_the_same_link_gets_an_attempt_of_his_own(world: World) -> None:
    first, second = world.start(), world.start(payer="o-payer-2")
    assert first.attempt.payment_id != second.attempt.payment_id
    assert first.order == second.order


def test_a_paid_charge_is_refused_clearly(world: World) -> None:
    world.pay(world.start())
    world.later(seconds=5)
    jobs.run_due(world.till)
    with pytest.raises(AlreadyPaid):
        world.start("token-2")
    with pytest.raises(AlreadyPaid):
        world.start()


def test_what_is_not_there_is_refused(world: World) -> None:
    with pytest.raises(ChargeUnknown):
        world.start(charge_id=RandomIds().new(AT, "nothing"))
    with pytest.raises(ChargeUnknown):
        world.start(lot_id=world.lot.lot_id + 1)
    with pytest.raises(OrderUnknown):
        world.status("nothing")


def test_without_a_merchant_account_nobody_is_charged(world: World) -> None:
    with world.db.begin() as tx:
        tx.execute(text("update gateways.merchant_account set valid = tstzrange(lower(valid), :at)"), {"at": AT})
    with pytest.raises(NoRoute):
        world.start()
    assert world.states() == []


def test_an_expired_price_lock_asks_for_a_new_scan(world: World) -> None:
    world.start()
    world.later(minutes=14.5)
    with pytest.raises(OrderExpired):
        world.start()


def test_an_order_answered_with_an_error_is_unknown_and_the_next_tap_repeats_it(world: World) -> None:
    world.fault("unknown", next=1)
    with pytest.raises(ChannelBusy):
        world.start()
    assert world.states() == ["unknown"]
    started = world.start()
    assert started.hand_off.kind == "jsapi"
    assert world.states() == ["pending"]


def test_an_order_answered_with_an_error_is_found_by_the_query_when_it_was_paid(world: World) -> None:
    world.fault("unknown", next=1)
    with pytest.raises(ChannelBusy):
        world.start()
    with world.db.connect() as tx:
        payment_id = tx.execute(text("select payment_id from payments.payment")).scalar_one()
    HTTP.post(f"{world.played.url}/_control/pay", json={"order_no": payment_number(0, payment_id)}).raise_for_status()
    world.later(seconds=5)
    assert jobs.run_due(world.till).found_paid == 1
    assert books(world.db).entries == [(CLEARING, INCOME, 1200)]
    assert world.status().stage == "paid"


def test_a_channel_that_is_down_leaves_an_unknown_attempt_and_evidence(world: World) -> None:
    class Down:
        def send(self, request: Request, *, bytes_max: int = 0) -> Answer | Unanswered:  # noqa: ARG002  # the protocol's form
            return Unanswered("connect")

    line = msgspec.structs.replace(world.played.line, transport=Down())
    till = msgspec.structs.replace(world.till, line=lambda _: line)
    with pytest.raises(ChannelBusy):
        checkout.start(
            till, lot_id=world.lot.lot_id, charge_id=world.charge_id, token="t", channel="wechat", payer=Payer(payer_id="o")
        )  # fmt: skip
    assert world.states() == ["unknown"]
    world.later(seconds=5)
    assert jobs.run_due(till) == jobs.Ran(1, 0, 0)
    assert world.states() == ["unknown"]
    assert books(world.db) == Books([], [], [], [], 2)


def test_the_result_page_asks_the_channel_itself_but_not_at_every_reload(world: World) -> None:
    started = world.start()
    world.pay(started)
    assert world.status().stage == "waiting"
    world.later(seconds=3)
    paid = world.status()
    assert (paid.stage, paid.receipt, paid.taken_fen) == ("paid", payment_number(0, started.attempt.payment_id), 1200)
    with world.db.connect() as tx:
        assert tx.execute(text("select queries from payments.payment")).scalar_one() == 1
    for _ in range(3):
        assert world.status() == paid


def test_money_that_arrives_while_the_page_is_read_is_never_shown_as_a_second_payment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page reads attempts and charge one after the other; the notice may commit at any moment between."""
    started = world.start()
    told = Due(world.lot, started.order, started.attempt, "token-1").callback()
    read = charges.by_id

    def read_then_told(tx: Connection, *, lane: int, charge_id: UUID) -> Charge:
        found = read(tx, lane=lane, charge_id=charge_id)
        with world.db.begin() as other:
            results.apply(other, lane=0, notices=[told], at=AT, ids=RandomIds())
        return found

    monkeypatch.setattr(charges, "by_id", read_then_told)
    assert world.status().stage == "waiting"
    monkeypatch.undo()
    assert world.status().stage == "paid"


def test_waiting_pages_ask_once_per_interval(world: World) -> None:
    world.start()
    world.later(seconds=3)
    for _ in range(3):
        assert world.status().stage == "waiting"
    with world.db.connect() as tx:
        assert tx.execute(text("select queries from payments.payment")).scalar_one() == 1


def test_queries_follow_their_schedule(world: World) -> None:
    world.start()
    asked = []
    for second in range(0, 400, 5):
        if jobs.run_due(world.till).asked:
            asked.append(second)
        world.later(seconds=5)
    assert asked == [5, 35, 335]


def test_an_attempt_whose_time_is_over_is_closed_at_the_channel_and_then_here(world: World) -> None:
    started = world.start()
    world.later(minutes=16)
    assert jobs.run_due(world.till) == jobs.Ran(asked=1, closed=1, found_paid=0)
    assert world.states() == ["closed"]
    assert world.status().stage == "over"
    paid = HTTP.post(
        f"{world.played.url}/_control/pay", json={"order_no": payment_number(0, started.attempt.payment_id)}
    )  # fmt: skip
    assert paid.status_code == 409
    world.later(hours=1)
    assert jobs.run_due(world.till).asked == 0


def test_a_payment_of_the_last_second_is_found_instead_of_closed(world: World) -> None:
    world.pay(world.start())
    world.later(minutes=16)
    assert jobs.run_due(world.till) == jobs.Ran(asked=1, closed=1, found_paid=1)
    assert world.states() == ["succeeded"]


def test_an_attempt_the_channel_never_had_is_closed_once_it_is_over(world: World) -> None:
    with world.db.begin() as tx:
        make_attempt(tx, world.lot, world.charge_id)
    world.later(seconds=5)
    jobs.run_due(world.till)
    assert world.states() == ["pending"]
    world.later(minutes=16)
    jobs.run_due(world.till)
    assert world.states() == ["closed"]


def test_two_workers_ask_about_each_payment_once(world: World) -> None:
    with world.db.begin() as tx:
        charges = [make_charge(tx, world.lot, f"N{n}") for n in range(6)]
    for n, charge_id in enumerate(charges):
        world.start(f"token-n{n}", charge_id=charge_id)
    world.later(seconds=5)
    with ThreadPoolExecutor(2) as pool:
        ran = [one.result() for one in [pool.submit(jobs.run_due, world.till, threads=2) for _ in range(2)]]
    assert sum(one.asked for one in ran) == 6


def test_a_worker_leaves_out_what_an_applier_holds_and_does_not_wait_for_it(world: World) -> None:
    started = world.start()
    told = Due(world.lot, started.order, started.attempt, "token-1").callback()
    world.later(seconds=5)
    with world.db.begin() as tx:
        results.apply(tx, lane=0, notices=[told], at=AT, ids=RandomIds())
        assert jobs.run_due(world.till).asked == 0
    assert jobs.run_due(world.till).asked == 0
    assert world.states() == ["succeeded"]


def test_an_applier_and_workers_at_the_same_payments_all_come_to_an_end(world: World) -> None:
    with world.db.begin() as tx:
        dues = [make_attempt(tx, world.lot, make_charge(tx, world.lot, f"N{n}")) for n in range(30)]
    world.later(seconds=5)

    def claim() -> int:
        at, number = world.clock.now(), 0
        while True:
            with world.db.begin() as tx:
                claimed = store.claim_due(
                    tx, lane=0, at=at, until=at, after={"": [timedelta(0)]}, close_after=timedelta(0), limit=7
                )  # fmt: skip
            if not claimed:
                return number
            number += len(claimed)

    def tell(part: list[Due]) -> None:
        for one in part:
            with world.db.begin() as tx:
                results.apply(tx, lane=0, notices=[one.callback() for one in {one, *part[:3]}], at=AT, ids=RandomIds())

    with ThreadPoolExecutor(4) as pool:
        told = [pool.submit(tell, part) for part in (dues, dues[::-1])]
        claims = [pool.submit(claim) for _ in range(2)]
        assert [one.result(timeout=60) for one in told] == [None, None]
        assert all(one.result(timeout=60) >= 0 for one in claims)
    assert world.states() == ["succeeded"] * 30


def test_a_payment_that_is_asked_about_again_after_it_was_over_gets_a_number_of_its_own(world: World) -> None:
    """Its answers must be messages of their own: the number of a query is part of the message's id."""
    started = world.start()
    world.later(minutes=16)
    assert jobs.run_due(world.till).closed == 1
    doubtful = Due(world.lot, started.order, started.attempt, "token-1").callback(amount_fen=1)
    with world.db.begin() as tx:
        results.apply(tx, lane=0, notices=[doubtful], at=world.clock.now(), ids=RandomIds())
    assert jobs.run_due(world.till).asked == 1
    assert jobs.run_due(world.till).asked == 0  # it was over: asked once
    with world.db.connect() as tx:
        assert tx.execute(text("select queries from payments.payment")).scalar_one() == 2


def test_a_worker_that_died_gives_its_payments_back_after_a_while(world: World) -> None:
    world.start()
    with world.db.begin() as tx:
        tx.execute(text("update payments.next_query set due_at = :at"), {"at": AT})
        tx.execute(text("update payments.payment set claimed_until = :until"), {"until": AT + jobs.CLAIM})
    assert jobs.run_due(world.till).asked == 0
    world.later(minutes=2)
    assert jobs.run_due(world.till).asked == 1


def test_a_query_that_tells_another_amount_books_it_to_suspense(world: World) -> None:
    started = world.start()
    with world.db.begin() as tx:
        tx.execute(text("update payments.payment set amount_fen = 1300"))
    world.pay(started)
    world.later(seconds=5)
    jobs.run_due(world.till)
    assert books(world.db).entries == [(CLEARING, SUSPENSE, 1200)]
    assert world.status().stage == "refund_due"


def test_seeded_tokens_repeat_and_tell_turns_apart() -> None:
    one, two = SeededTokens(1), SeededTokens(1)
    assert [one.new("a"), one.new("a"), one.new("b")] == [two.new("a"), two.new("a"), two.new("b")]
    assert len({one.new("a"), one.new("b"), SeededTokens(2).new("a"), RandomTokens().new("a")}) == 4
