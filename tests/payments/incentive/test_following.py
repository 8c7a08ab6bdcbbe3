"""Who recovered a payment, what it gives, and what is left of that when money goes back."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, event, text

from gateways.contract import RefundState
from payments.incentive import following, parties
from payments.incentive.following import Done
from payments.incentive.rules import NewShare
from payments.results import apply
from tests.payments.conftest import AT, IDS, make_attempt, make_charge, make_city
from tests.payments.incentive.conftest import LONG_AGO, City

PAYABLE, RECEIVABLE, COST, INCOME = 224103, 122101, 660202, 605102


def test_what_is_paid_at_another_operators_code_is_recovered_by_the_city(town: City) -> None:
    town.rule()
    town.paid(1200, scanned=1)
    assert town.follow() == Done(read=3, recovered=1, shares=1)  # the rule, the debt, its payment
    assert town.bases() == [("city_window", "city")]
    assert town.lines() == [("op-1", "city", 60)]
    owner = town.party("op-1")
    assert (town.balance(owner, PAYABLE), town.balance(owner, COST)) == (-60, 60)
    assert (town.balance(town.platform, RECEIVABLE), town.balance(town.platform, INCOME)) == (60, -60)


@pytest.mark.parametrize("how", [{}, {"in_basket": True}])
def test_what_is_paid_at_the_operators_own_code_is_its_own(town: City, how: dict[str, bool]) -> None:
    town.rule()
    town.rule(recovered_by="operator")
    town.paid(**how)
    town.follow()
    assert (town.bases(), town.lines()) == ([("own", "op-1")], [])


@pytest.mark.parametrize("in_basket", [False, True])
def test_a_reference_says_who_recovered_whatever_was_scanned_or_assigned(town: City, in_basket: bool) -> None:
    town.rule(recovered_by="district", share=(NewShare(bps=1000),))
    town.assign()
    town.paid(by=town.bureau, in_basket=in_basket, scanned=1 if in_basket else None)
    town.follow()
    assert (town.bases(), town.lines()) == ([("reference", "liangxi")], [("op-1", "liangxi", 120)])


def test_an_assigned_debt_is_recovered_by_who_has_it_once_it_is_old_enough(town: City) -> None:
    town.rule(recovered_by="company", share=(NewShare(bps=2000),))
    assignment = town.assign(owner="op-1", days_min=90)
    town.paid(days=89)
    town.paid(days=90, scanned=1)
    town.paid(days=200, lot=1)
    town.follow()
    assert town.bases() == [("own", "op-1"), ("assignment", "recover-1"), ("own", "op-2")]
    assert town.lines() == [("op-1", "recover-1", 240)]
    assert town.rows("select assignment_id from payments.recovery where basis = 'assignment'") == [(assignment.assignment_id,)]


def test_the_most_exact_assignment_counts_and_one_without_recoverer_ends_it(town: City) -> None:
    town.assign(recoverer="liangxi", district="梁溪区")
    town.assign(owner="op-1")
    town.paid()
    town.paid(lot=1)
    town.follow()
    assert town.bases() == [("assignment", "recover-1"), ("assignment", "liangxi")]
    town.assign(owner="op-1", recoverer=None, valid_from=AT - timedelta(days=1))
    town.paid()
    town.follow()
    assert town.bases()[2] == ("own", "op-1")


def test_what_a_cards_issuer_pays_as_agreed_is_nobodys_recovery_even_of_an_assigned_debt(town: City) -> None:
    town.assign()
    town.rule(recovered_by="company")
    charge_id = town.owe()
    town.pay(charge_id, way="card")
    town.follow()
    assert (town.bases(), town.lines()) == ([("card", "op-1")], [])


def test_a_charge_paid_at_once_is_no_recovery(town: City) -> None:
    town.rule()
    with town.db.begin() as tx:
        charge_id = make_charge(tx, town.lots[0], "now")
    town.pay(charge_id, scanned=1)
    assert town.follow().recovered == 0
    assert town.bases() == []


def test_each_payment_is_attributed_once_however_often_and_by_how_many_the_book_is_followed(town: City) -> None:
    town.rule()
    for _ in range(3):
        town.paid(scanned=1)
    first = town.follow()
    assert (first.recovered, first.shares) == (3, 3)
    assert (town.follow().recovered, town.follow().shares, len(town.lines())) == (0, 0, 3)
    with town.db.begin() as tx:
        tx.execute(text("update payments.incentive_cursor set leaf_index = 0"))  # as after a restore: reading again changes nothing
    assert (town.follow().recovered, len(town.lines())) == (0, 3)


def test_small_steps_come_to_the_same_end_and_say_how_much_is_left(town: City) -> None:
    town.rule()
    for _ in range(4):
        town.paid(scanned=1)
    town.seal()
    left: list[int] = []
    while not left or left[-1]:
        with town.db.begin() as tx:
            left.append(following.step(tx, lane=0, at=AT, ids=IDS, leaves_max=1).left)
    assert left == sorted(left, reverse=True)
    assert len(left) > 4
    assert len(town.lines()) == 4


def test_a_step_that_is_killed_leaves_nothing_and_is_done_again(town: City) -> None:
    town.rule()
    town.paid(scanned=1)
    town.seal()
    with town.db.connect() as tx:
        tx.begin()
        assert following.step(tx, lane=0, at=AT, ids=IDS).shares == 1
        tx.rollback()
    assert town.lines() == []
    assert town.follow().shares == 1


def test_what_is_not_sealed_yet_is_not_followed(town: City) -> None:
    town.rule()
    town.paid(scanned=1)
    done = following.follow(town.db, lane=0, at=lambda: AT, ids=IDS)
    assert (done.recovered, town.bases()) == (0, [])
    assert town.follow().recovered == 1


def test_parts_of_a_debt_are_recovered_one_by_one_by_whoever_did(town: City) -> None:
    town.rule(share=(NewShare(bps=1000),))
    charge_id = town.owe(1200)
    town.pay(charge_id, amount_fen=500, scanned=1)
    town.pay(charge_id, amount_fen=700)
    town.follow()
    assert town.bases() == [("city_window", "city"), ("own", "op-1")]
    assert town.lines() == [("op-1", "city", 50)]


def test_a_refund_takes_back_its_part_of_the_share_and_never_more_than_was_given(town: City) -> None:
    town.rule(share=(NewShare(bps=500), NewShare(to="liangxi", bps=300)))
    due = town.paid(1200, scanned=1)
    town.follow()
    town.refund(due, 400)
    assert town.follow().shares == 2
    assert town.lines()[2:] == [("op-1", "city", -20), ("op-1", "liangxi", -12)]
    town.refund(due, 800, "r-2")
    town.follow()
    assert town.lines()[4:] == [("op-1", "city", -40), ("op-1", "liangxi", -24)]
    assert (town.balance(town.party("op-1"), PAYABLE), town.balance(town.platform, RECEIVABLE)) == (0, 0)
    assert town.follow().shares == 0


def test_a_refund_that_failed_after_it_was_made_restores_the_share(town: City) -> None:
    town.rule()
    due = town.paid(1200, scanned=1)
    refund = town.refund(due, 1200)
    town.follow()
    assert town.lines() == [("op-1", "city", 60), ("op-1", "city", -60)]
    town.refund_told(due, refund, RefundState.STUCK)
    town.follow()
    assert town.lines()[2:] == [("op-1", "city", 60)]


def test_a_payment_that_the_channel_took_back_gives_nothing_and_the_next_one_gives_anew(town: City) -> None:
    town.rule()
    charge_id = town.owe(1200)
    town.take_back(town.pay(charge_id, scanned=1))
    town.follow()
    town.pay(charge_id, scanned=1)
    town.follow()
    assert town.lines() == [("op-1", "city", 60), ("op-1", "city", -60), ("op-1", "city", 60)]


def test_a_refund_of_what_lay_in_suspense_changes_no_share(town: City) -> None:
    town.rule()
    charge_id = town.owe(1200)
    with town.db.begin() as tx:
        second = make_attempt(tx, town.lots[0], charge_id)
    town.pay(charge_id, scanned=1)
    with town.db.begin() as tx:
        apply(tx, lane=0, notices=[second.callback()], at=AT, ids=IDS)
    town.refund(second, 1200)
    town.follow()
    assert town.lines() == [("op-1", "city", 60)]


def test_the_rule_of_the_day_of_payment_counts_and_one_without_shares_ends_it(town: City) -> None:
    town.rule(valid_from=AT + timedelta(seconds=1))
    town.paid(scanned=1)
    town.follow()
    assert town.lines() == []
    town.rule(valid_from=AT - timedelta(days=2), share=(NewShare(bps=700),))
    town.rule(valid_from=AT - timedelta(days=1), share=())
    town.paid(scanned=1)
    town.follow()
    assert town.lines() == []


def test_a_rule_entered_late_gives_the_shares_of_payments_that_had_none_less_what_went_back(town: City) -> None:
    due = town.paid(1200, scanned=1)
    town.paid(1200)
    town.refund(due, 600)
    town.follow()
    assert town.lines() == []
    town.rule()
    said: list[str] = []
    written = [following.catch_up(town.db, lane=0, since=LONG_AGO, at=lambda: AT, ids=IDS, say=said.append) for _ in range(2)]
    assert (written, len(said)) == ([2, 0], 1)
    assert town.lines() == [("op-1", "city", 60), ("op-1", "city", -30)]


def test_without_a_platform_nothing_is_followed_and_then_everything_is(db: Engine) -> None:
    with db.begin() as tx:
        make_city(tx)
    assert following.follow(db, lane=0, at=lambda: AT, ids=IDS) == Done(0, 0, 0, waits=True)


def test_another_operator_that_recovers_earns_in_its_own_book(town: City) -> None:
    town.rule(recovered_by="operator", share=(NewShare(bps=1000),))
    town.follow()
    town.paid(1200, by=town.party("op-2"))
    town.paid(1200, by=town.party("op-1"))
    town.follow()
    assert town.bases() == [("reference", "op-2"), ("reference", "op-1")]
    assert town.lines() == [("op-1", "op-2", 120)]
    assert town.balance(town.party("op-2"), RECEIVABLE) == 120


def test_a_first_reference_stays(town: City) -> None:
    with town.db.begin() as tx:
        due = make_attempt(tx, town.lots[0], town.owe())
        assert parties.refer(tx, lane=0, recoverer=town.bureau, order_ids=[due.order.order_id]) == 1
        assert parties.refer(tx, lane=0, recoverer=town.company, order_ids=[due.order.order_id]) == 0


def test_many_payments_ask_the_database_as_often_as_one(town: City) -> None:
    town.rule()
    asked: list[str] = []
    event.listen(town.db, "before_cursor_execute", lambda *given: asked.append(given[2]))
    counted = []
    for payments in (1, 25):
        for _ in range(payments):
            town.paid(scanned=1)
        town.seal()
        asked.clear()
        with town.db.begin() as tx:
            assert following.step(tx, lane=0, at=AT, ids=IDS).shares == payments
        counted.append(len(asked))
    assert counted[1] <= counted[0]
