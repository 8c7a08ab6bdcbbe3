"""Refunds in bills: paired with ours by number, taken over when the operator's console made them, named when they differ."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from gateways.contract import BillLine, RefundResult, RefundState
from payments import results
from payments.invariants import check as check_payments
from payments.refunding import refund_store, refunds
from payments.refunding.refund_store import Refund
from payments.results import Notice
from reconciliation import matching, statements
from reconciliation.invariants import check
from reconciliation.matching import MatchRun
from tests.payments.conftest import AT, PROVIDER, Due, message
from tests.reconciliation.conftest import DAY, IDS, City, billed, line_of


def refunded(city: City, due: Due, fen: int = 500, number: str = "r-1", *, done: bool = True) -> Refund:
    """Let the operator refund a payment, and the channel do it."""
    with city.db.begin() as tx:
        refund = refunds.promise(
            tx, lane=0, payment_id=due.attempt.payment_id, amount_fen=fen, source="operator", source_ref=number, reason="退款",
            evidence_id=IDS.new(AT, "request"), at=AT, ids=IDS,
        )  # fmt: skip
    if done:
        told = RefundResult(
            channel="wechat", state=RefundState.DONE, refund_no=refunds.number(refund), provider_no=PROVIDER,
            merchant_no=refund.merchant_no, trade_no=refund.trade_no, refund_fen=fen, happened_at=AT,
        )  # fmt: skip
        with city.db.begin() as tx:
            results.apply(tx, lane=0, notices=[Notice(message(), None, refund=told)], at=AT, ids=IDS)
    return refund


def back(due: Due, refund: Refund, **other: object) -> BillLine:
    """The channel's bill line of a refund."""
    said: dict[str, object] = {
        "kind": "refund", "refund_no": refunds.number(refund), "amount_fen": refund.amount_fen, "fee_fen": -3
    } | other  # fmt: skip
    return line_of(billed(due), **said)


def codes(city: City, run: MatchRun) -> list[str]:
    with city.db.connect() as tx:
        return [difference.code for difference in matching.differences(tx, run_id=run.run_id)]


@pytest.fixture
def paid(city: City) -> Due:
    return city.pay()


def test_refunds_are_paired_with_ours_also_several_of_one_payment(city: City, paid: Due) -> None:
    first, second = refunded(city, paid), refunded(city, paid, 300, "r-2", done=False)
    city.seal()
    run = city.match(city.keep([billed(paid), back(paid, first), back(paid, second)]))
    assert (run.matched, run.matched_fen, run.differences) == (3, 1200, 0)
    with city.db.connect() as tx:
        assert check(tx) == []


def test_the_statement_says_which_payment_was_refunded_and_under_which_number(city: City, paid: Due) -> None:
    refund = refunded(city, paid)
    city.seal()
    with city.db.connect() as tx:
        lines = statements.read(tx, of=statements.party(tx, operator_code="op-1"), booked_on=DAY).lines
    assert [(line.kind, line.amount_fen, line.refund) for line in lines] == [
        ("payment", 1200, None),
        ("refund_accepted", 500, refunds.number(refund)),
        ("refund_done", 500, refunds.number(refund)),
    ]
    assert {(line.receipt, line.lot_code, line.charge_serial) for line in lines} == {(paid.order_no, "lot-1", "S1")}


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"amount_fen": 499}, "D09"),
        ({"refund_no": "R0" + "0" * 26}, "D07"),
        ({"refund_no": "CONSOLE1"}, "D07"),
        ({"merchant_no": "1620000008"}, "D22"),
        ({"refund_state": RefundState.CLOSED}, "D08"),
    ],
)
def test_a_refund_that_differs_is_named(city: City, paid: Due, other: dict[str, object], code: str) -> None:
    refund = refunded(city, paid)
    city.seal()
    run = city.match(city.keep([billed(paid), back(paid, refund, **other)]))
    assert (run.matched, codes(city, run)) == (1, [code])
    with city.db.connect() as tx:
        assert check(tx) == []


def test_a_refund_that_is_not_sealed_yet_waits(city: City, paid: Due) -> None:
    city.seal()
    refund = refunded(city, paid)
    kept = city.keep([billed(paid), back(paid, refund)])
    assert codes(city, city.match(kept)) == ["D10"]
    city.seal()
    assert city.match(kept).matched == 2


def test_a_refund_is_used_up_once(city: City, paid: Due) -> None:
    refund = refunded(city, paid)
    city.seal()
    twice = city.match(city.keep([billed(paid), back(paid, refund), back(paid, refund)]))
    assert (twice.matched, codes(city, twice)) == (2, ["D11"])
    other_day = city.match(city.keep([back(paid, refund)], bill_on=DAY + timedelta(days=1)))
    assert codes(city, other_day) == ["D11"]
    with city.db.connect() as tx:
        assert check(tx) == []


def test_money_that_went_back_although_the_promise_was_cancelled_is_d07(city: City, paid: Due) -> None:
    refund = refunded(city, paid, done=False)
    with city.db.begin() as tx:
        tx.execute(text("update payments.refund set state = 'closed'"))
    city.seal()
    assert codes(city, city.match(city.keep([billed(paid), back(paid, refund)]))) == ["D07"]


def test_a_refund_that_failed_on_both_sides_is_no_difference(city: City, paid: Due) -> None:
    refund = refunded(city, paid, done=False)
    told = RefundResult(
        channel="wechat", state=RefundState.CLOSED, refund_no=refunds.number(refund), provider_no=PROVIDER,
        merchant_no=refund.merchant_no, trade_no=refund.trade_no, refund_fen=refund.amount_fen,
    )  # fmt: skip
    with city.db.begin() as tx:
        results.apply(tx, lane=0, notices=[Notice(message(), None, refund=told)], at=AT, ids=IDS)
    city.seal()
    run = city.match(city.keep([billed(paid), back(paid, refund, refund_state=RefundState.CLOSED)]))
    assert (run.matched, run.differences) == (2, 0)


def console(due: Due, fen: int = 500, **other: object) -> RefundResult:
    said: dict[str, object] = {
        "channel": "wechat", "state": RefundState.DONE, "refund_no": "CONSOLE1", "provider_no": PROVIDER,
        "merchant_no": due.attempt.merchant_no, "trade_no": due.result().trade_no, "refund_fen": fen, "happened_at": AT,
    } | other  # fmt: skip
    return RefundResult(**said)  # type: ignore[arg-type]


def adopted(city: City, due: Due, told: RefundResult) -> bool:
    with city.db.begin() as tx:
        return refunds.adopt(
            tx, lane=0, payment_id=due.attempt.payment_id, told=told, evidence_id=IDS.new(AT, "answer"), at=AT, ids=IDS
        )  # fmt: skip


def test_a_refund_of_the_operators_console_is_taken_over_and_paired(city: City, paid: Due) -> None:
    assert adopted(city, paid, console(paid))
    assert adopted(city, paid, console(paid))
    with city.db.connect() as tx:
        [refund] = refund_store.of_payment(tx, lane=0, payment_id=paid.attempt.payment_id)
        assert (refund.state, refund.amount_fen, refund.source) == ("done", 500, "console")
        assert check_payments(tx) == []
        assert tx.execute(text("select count(*) from payments.next_refund")).scalar_one() == 0
    city.seal()
    run = city.match(city.keep([billed(paid), back(paid, refund, refund_no="CONSOLE1")]))
    assert (run.matched, run.differences) == (2, 0)
    with city.db.connect() as tx:
        assert check(tx) == []


@pytest.mark.parametrize(
    "other",
    [
        {"state": RefundState.PENDING},
        {"refund_fen": 1201},
        {"merchant_no": "1620000008"},
        {"trade_no": "T9"},
        {"happened_at": None},
    ],
)
def test_a_console_refund_that_does_not_fit_stays_a_difference(city: City, paid: Due, other: dict[str, object]) -> None:
    assert not adopted(city, paid, console(paid, **other))  # type: ignore[arg-type]
    with city.db.connect() as tx:
        assert refund_store.of_payment(tx, lane=0, payment_id=paid.attempt.payment_id) == []


def test_a_console_refund_counts_against_what_is_left(city: City, paid: Due) -> None:
    refunded(city, paid, 900)
    assert not adopted(city, paid, console(paid, 301))
    assert adopted(city, paid, console(paid, 300))
