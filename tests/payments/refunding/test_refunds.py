"""Refunds in the database: promised under the payment's lock, booked once, never more than was taken."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from gateways.calls import Line
from gateways.contract import RefundResult, RefundState
from ledger.clock import SetClock
from ledger.errors import Conflict, NotFound, Refused
from payments import checkout, results
from payments.checkout import Till
from payments.invariants import check
from payments.orders import RandomTokens
from payments.refunding import refund_jobs, refund_store, refunds
from payments.refunding.refund_store import Refund
from payments.results import Notice
from tests.payments.conftest import AT, IDS, PROVIDER, Due, books, message

CLEARING, INCOME, CONTRA, SUSPENSE, PAYABLE = 101201, 600101, 600103, 224101, 224102
EVIDENCE = IDS.new(AT, "request")
PAID, PROMISED, DONE = (CLEARING, INCOME), (CONTRA, PAYABLE), (PAYABLE, CLEARING)


@pytest.fixture
def paid(db: Engine, due: Callable[..., Due]) -> Due:
    return taken(db, due())


@pytest.fixture
def till(db: Engine) -> Till:
    def nobody(_: str) -> Line:
        raise AssertionError("the channel is not called here")

    return Till(db=db, lane=0, clock=SetClock(AT), ids=IDS, tokens=RandomTokens(), line=nobody)


def taken(db: Engine, due: Due) -> Due:
    with db.begin() as tx:
        results.apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
    return due


def promised(db: Engine, of: Due, fen: int = 500, number: str = "r-1") -> Refund:
    with db.begin() as tx:
        return refunds.promise(
            tx, lane=0, payment_id=of.attempt.payment_id, amount_fen=fen, source="operator", source_ref=number, reason="退款",
            evidence_id=EVIDENCE, at=AT, ids=IDS,
        )  # fmt: skip


def word(refund: Refund, state: RefundState, **other: object) -> RefundResult:
    said: dict[str, object] = {
        "channel": "wechat", "state": state, "refund_no": refunds.number(refund), "provider_no": PROVIDER,
        "merchant_no": refund.merchant_no, "trade_no": refund.trade_no, "refund_fen": refund.amount_fen,
        "happened_at": AT + timedelta(minutes=1), "channel_refund_no": "5030",
    } | other  # fmt: skip
    return RefundResult(**said)  # type: ignore[arg-type]


def say(db: Engine, *told: RefundResult, verdict: str = "verified") -> list[tuple[str, bool]]:
    notices = [Notice(message(verdict=verdict), None, refund=one) for one in told]
    with db.begin() as tx:
        return [(x.finding.value, x.accepted) for x in results.apply(tx, lane=0, notices=notices, at=AT, ids=IDS, and_commit=True)]


def state(db: Engine, refund: Refund) -> tuple[str, bool]:
    """The refund's state, and whether a call is still planned."""
    with db.connect() as tx:
        row = tx.execute(
            text("""
            select state, exists (select from payments.next_refund n where n.refund_id = r.refund_id)
            from payments.refund r where refund_id = :id
            """),
            {"id": refund.refund_id},
        ).one()
    return row[0], row[1]


def moved(db: Engine) -> list[tuple[int, int]]:
    return [(debit, credit) for debit, credit, _ in books(db).entries]


def sound(db: Engine) -> bool:
    with db.connect() as tx:
        return check(tx) == []


def test_a_refund_is_promised_then_done(db: Engine, paid: Due) -> None:
    refund = promised(db, paid)
    assert sorted(moved(db)) == sorted([PAID, PROMISED])
    assert state(db, refund) == ("promised", True)
    assert say(db, word(refund, RefundState.PENDING)) == [("taken_on", True)]
    assert state(db, refund) == ("pending", True)
    assert say(db, word(refund, RefundState.DONE)) == [("done", True)]
    assert state(db, refund) == ("done", False)
    assert sorted(moved(db)) == sorted([PAID, PROMISED, DONE])
    assert books(db).events == ["payment.succeeded", "refund.done"]
    assert sound(db)


def test_the_same_word_again_books_nothing_more(db: Engine, paid: Due) -> None:
    refund = promised(db, paid)
    done = word(refund, RefundState.DONE)
    assert say(db, done, done) == [("done", True), ("already", True)]
    assert say(db, done, word(refund, RefundState.PENDING)) == [("already", True), ("already", True)]
    assert len(moved(db)) == 3
    assert books(db).messages == 5
    assert sound(db)


def test_the_same_number_again_is_the_same_refund_and_another_amount_is_refused(db: Engine, paid: Due) -> None:
    first = promised(db, paid)
    assert promised(db, paid).refund_id == first.refund_id
    with pytest.raises(Conflict, match=r"asked for with 5\.00 yuan"):
        promised(db, paid, 501)
    assert len(moved(db)) == 2


@pytest.mark.parametrize("fen", [0, -1, 1201])
def test_no_more_than_was_taken(db: Engine, paid: Due, fen: int) -> None:
    with pytest.raises(Refused, match=r"12\.00 of 12\.00 are left"):
        promised(db, paid, fen)
    assert len(moved(db)) == 1


def test_an_unpaid_payment_has_nothing_to_refund(db: Engine, due: Callable[..., Due]) -> None:
    with pytest.raises(NotFound):
        promised(db, due())


def test_a_hundred_at_once_never_promise_more_than_was_taken(db: Engine, paid: Due) -> None:
    def ask(number: int) -> bool:
        try:
            promised(db, paid, 100, f"r-{number}")
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(10) as pool:
        granted = list(pool.map(ask, range(100)))
    assert sum(granted) == 12
    assert moved(db).count(PROMISED) == 12
    assert sound(db)


def test_a_refund_that_was_not_made_frees_its_amount(db: Engine, paid: Due) -> None:
    first = promised(db, paid, 1200)
    assert say(db, word(first, RefundState.CLOSED)) == [("closed", True)]
    assert state(db, first) == ("closed", False)
    assert sorted(moved(db)) == sorted([PAID, PROMISED, PROMISED[::-1]])
    second = promised(db, paid, 1200, "r-2")
    assert say(db, word(second, RefundState.DONE)) == [("done", True)]
    assert books(db).events == ["payment.succeeded", "refund.done", "refund.failed"]
    assert sound(db)


def test_without_a_signature_nothing_is_freed(db: Engine, paid: Due) -> None:
    refund = promised(db, paid, 1200)
    assert say(db, word(refund, RefundState.REFUSED), verdict="unverified") == [("nothing", False)]
    assert state(db, refund) == ("promised", True)
    with pytest.raises(Refused):
        promised(db, paid, 1, "r-2")


def test_a_failure_after_success_makes_it_owed_again(db: Engine, paid: Due) -> None:
    refund = promised(db, paid)
    say(db, word(refund, RefundState.DONE))
    assert say(db, word(refund, RefundState.STUCK)) == [("refund_reopened", True)]
    assert state(db, refund) == ("stuck", False)
    assert sorted(moved(db)) == sorted([PAID, PROMISED, DONE, DONE[::-1]])
    assert books(db).cases == ["refund_reopened"]
    assert say(db, word(refund, RefundState.DONE)) == [("refund_late", True)]
    assert len(moved(db)) == 4
    assert sound(db)


def test_a_second_payment_goes_back_out_of_suspense_and_its_case_is_closed(
    db: Engine, due: Callable[..., Due], till: Till
) -> None:  # fmt: skip
    first = due()
    second = due(same_charge_as=first)
    taken(db, first)
    taken(db, second)
    assert books(db).cases == ["refund_second_payment"]
    assert refund_jobs.promise_second_payments(till, fen_max=1199) == 0
    assert refund_jobs.promise_second_payments(till, fen_max=1200) == 1
    assert refund_jobs.promise_second_payments(till, fen_max=1200) == 0
    with db.connect() as tx:
        [refund] = refund_store.of_payment(tx, lane=0, payment_id=second.attempt.payment_id)
    assert say(db, word(refund, RefundState.DONE)) == [("done", True)]
    assert (SUSPENSE, PAYABLE) in moved(db)
    with db.connect() as tx:
        assert tx.execute(text("select state from payments.payment_case")).scalar_one() == "closed"
    assert sound(db)


def test_a_second_payment_that_the_operator_refunds_itself_is_left_to_it(
    db: Engine, due: Callable[..., Due], till: Till
) -> None:  # fmt: skip
    first = due()
    second, third = due(same_charge_as=first), due(same_charge_as=first)
    for one in (first, second, third):
        taken(db, one)
    promised(db, second, 1)
    assert refund_jobs.promise_second_payments(till, fen_max=1200) == 1
    with db.connect() as tx:
        assert [one.source for one in refund_store.of_payment(tx, lane=0, payment_id=second.attempt.payment_id)] == ["operator"]
        assert [one.source for one in refund_store.of_payment(tx, lane=0, payment_id=third.attempt.payment_id)] == ["case"]
    assert refund_jobs.promise_second_payments(till, fen_max=1200) == 0


def test_a_word_about_nobodys_refund_is_kept_refused_and_made_a_case(db: Engine, paid: Due) -> None:
    refund = promised(db, paid)
    stranger = word(refund, RefundState.DONE, refund_no="R0" + "0" * 26)
    foreign = word(refund, RefundState.DONE, refund_no="CONSOLE-1")
    differs = word(refund, RefundState.DONE, refund_fen=501)
    assert say(db, stranger, foreign, differs) == [
        ("refund_unknown", False), ("refund_unknown", False), ("refund_differs", False)
    ]  # fmt: skip
    assert books(db).cases == ["refund_differs", "refund_unknown", "refund_unknown"]
    assert state(db, refund) == ("promised", True)
    assert sound(db)


def test_payments_and_refunds_of_one_group_are_all_carried_out(db: Engine, paid: Due, due: Callable[..., Due]) -> None:
    refund, other = promised(db, paid), due()
    notices = [
        Notice(message(), None, refund=word(refund, RefundState.DONE)), other.callback(),
        Notice(message(), None, refund=word(refund, RefundState.DONE)),
    ]  # fmt: skip
    with db.begin() as tx:
        found = results.apply(tx, lane=0, notices=notices, at=AT, ids=IDS, and_commit=True)
    assert [x.finding.value for x in found] == ["done", "settled", "already"]
    assert sound(db)


_counter = itertools.count()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(st.tuples(st.integers(1, 700), st.lists(st.sampled_from(list(RefundState)), max_size=5)), max_size=6),
    data=st.data(),
)
def test_whatever_the_channel_says_the_book_is_right(
    db: Engine, due: Callable[..., Due], asked: list[tuple[int, list[RefundState]]], data: st.DataObject
) -> None:
    of = taken(db, due())
    words = []
    for fen, states in asked:
        try:
            refund = promised(db, of, fen, f"h-{next(_counter)}")
        except Refused:
            continue
        words += [word(refund, one) for one in states]
    for one in data.draw(st.permutations(words)):
        say(db, one)
    assert sound(db)


def test_the_same_claim_is_given_to_one_worker(db: Engine, paid: Due) -> None:
    refund = promised(db, paid)

    def claim(_: int) -> list[UUID]:
        with db.begin() as tx:
            claimed = refund_store.claim_due(
                tx, lane=0, at=AT, until=AT + refund_jobs.CLAIM, after=refund_jobs.AFTER, limit=10
            )  # fmt: skip
        return [one.refund_id for one in claimed]

    with ThreadPoolExecutor(4) as pool:
        found = [one for many in pool.map(claim, range(8)) for one in many]
    assert found == [refund.refund_id]


def stage(till: Till, of: Due) -> tuple[str, int]:
    shown = checkout.status(till, token=of.token)
    return shown.stage, shown.refunded_fen


def test_the_payer_sees_what_went_back(db: Engine, due: Callable[..., Due], till: Till) -> None:
    first = due()
    second = due(same_charge_as=first)
    taken(db, first)
    taken(db, second)
    assert (stage(till, first), stage(till, second)) == (("paid", 0), ("refund_due", 0))
    say(db, word(promised(db, second, 1200), RefundState.DONE))
    assert stage(till, second) == ("refunded", 1200)
    say(db, word(promised(db, first, 500), RefundState.DONE))
    assert stage(till, first) == ("paid", 500)
    say(db, word(promised(db, first, 700, "r-2"), RefundState.DONE))
    assert stage(till, first) == ("refunded", 1200)
