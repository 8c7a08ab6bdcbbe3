"""Matching: every row is used up once, nothing is guessed, every difference has its name."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from gateways.contract import BillLine, ChannelState
from ledger.errors import NotFound
from payments import results
from reconciliation import invariants, matching
from tests.payments.conftest import AT, Due
from tests.reconciliation.conftest import DAY, IDS, City, billed, line_of


def found(city: City, run: matching.MatchRun) -> list[tuple[str, int | None, int | None]]:
    with city.db.begin() as tx:
        assert invariants.check(tx) == []
        return [(x.code, x.book_fen, x.bill_fen) for x in matching.differences(tx, run_id=run.run_id)]


def test_lines_and_facts_that_agree_to_the_fen_are_matched(city: City) -> None:
    paid = [city.pay(amount_fen=500), city.pay(lot=1, amount_fen=700), city.pay(amount_fen=1)]
    city.seal()
    run = city.match(city.keep([billed(due) for due in reversed(paid)]))
    assert (run.matched, run.matched_fen, run.differences, run.tree_size) == (3, 1201, 0, 3)
    assert found(city, run) == []


def test_an_empty_day_matches_with_an_empty_bill(city: City) -> None:
    run = city.match(city.keep([]))
    assert (run.matched, run.differences, run.tree_size) == (0, 0, 0)


def test_money_at_the_channel_that_the_book_lacks_is_d01(city: City) -> None:
    missed = city.order()
    city.seal()
    assert found(city, city.match(city.keep([billed(missed)]))) == [("D01", None, 1200)]


def test_a_late_success_after_the_order_was_closed_is_d05(city: City) -> None:
    closed = city.order()
    with city.db.begin() as tx:
        notice = closed.answer(state=ChannelState.CLOSED, trade_no=None, amount_fen=None, currency=None, happened_at=None)
        results.apply(tx, lane=0, notices=[notice], at=AT, ids=IDS)
    assert found(city, city.match(city.keep([billed(closed)]))) == [("D05", None, 1200)]


@pytest.mark.parametrize("order_no", ["somebody-else-0001", "P0" + "Z" * 26, "P0" + "0" * 26])
def test_money_for_an_order_that_is_not_ours_is_d02_and_never_guessed(city: City, order_no: str) -> None:
    due = city.order()
    assert found(city, city.match(city.keep([billed(due, order_no=order_no)]))) == [("D02", None, 1200)]


def test_money_in_the_book_that_the_bill_does_not_show_is_d03(city: City) -> None:
    city.pay(amount_fen=900)
    city.seal()
    assert found(city, city.match(city.keep([]))) == [("D03", 900, None)]


def test_a_fact_of_another_day_is_no_difference_of_this_one(city: City) -> None:
    due = city.order()
    city.take(due, happened_at=AT + timedelta(days=1), at=AT + timedelta(days=1))
    city.seal()
    assert found(city, city.match(city.keep([]))) == []


def test_an_amount_that_differs_is_d04_and_shows_both(city: City) -> None:
    due = city.pay(amount_fen=900)
    city.seal()
    assert found(city, city.match(city.keep([billed(due, amount_fen=901)]))) == [("D04", 900, 901)]


def test_another_amount_for_an_order_without_a_fact_is_d04(city: City) -> None:
    due = city.order(amount_fen=900)
    assert found(city, city.match(city.keep([billed(due, amount_fen=1)]))) == [("D04", None, 1)]


def test_another_order_number_under_the_same_trade_number_never_matches(city: City) -> None:
    due, other = city.pay(), city.order()
    city.seal()
    assert found(city, city.match(city.keep([billed(due, order_no=other.order_no)]))) == [("D02", 1200, 1200)]


def test_a_revoked_payment_and_a_refund_that_the_book_lacks_are_named(city: City) -> None:
    due = city.pay()
    city.seal()
    lines = [billed(due), billed(due, kind="refund", amount_fen=400, refund_no="R1"), billed(due, kind="revoked")]
    assert found(city, city.match(city.keep(lines))) == [("D06", 1200, 1200), ("D07", None, 400)]


def test_an_entry_that_is_not_sealed_yet_is_d10_and_matches_at_the_next_seal(city: City) -> None:
    due = city.pay()
    kept = city.keep([billed(due)])
    assert found(city, city.match(kept)) == [("D10", 1200, 1200)]
    city.seal()
    again = city.match(kept)
    assert (again.matched, found(city, again)) == (1, [])


def test_a_row_that_comes_twice_is_matched_once_and_d11(city: City) -> None:
    due = city.pay()
    city.seal()
    run = city.match(city.keep([billed(due), billed(due)]))
    assert (run.matched, found(city, run)) == (1, [("D11", 1200, 1200)])


def test_a_row_that_another_day_has_used_up_is_d11(city: City) -> None:
    due = city.pay()
    city.seal()
    city.match(city.keep([billed(due)]))
    run = city.match(city.keep([billed(due)], bill_on=DAY + timedelta(days=1)))
    assert (run.matched, found(city, run)) == (0, [("D11", 1200, 1200)])


def test_money_on_another_operators_merchant_account_is_d22(city: City) -> None:
    paid, ordered, other = city.pay(), city.order(), city.order(lot=1)
    city.seal()
    elsewhere = other.attempt.merchant_no
    lines = [billed(paid, merchant_no=elsewhere), billed(ordered, merchant_no=elsewhere)]
    cases = found(city, city.match(city.keep(lines)))
    assert sorted(cases, key=str) == [("D22", 1200, 1200), ("D22", None, 1200)]


def test_a_second_payment_in_suspense_is_matched_like_any_other_money(city: City) -> None:
    first = city.order()
    second = city.again(first)
    city.take(first, second)
    city.seal()
    run = city.match(city.keep([billed(first), billed(second)]))
    assert (run.matched, run.matched_fen, run.differences) == (2, 2400, 0)


def test_matching_again_at_the_same_seal_returns_the_same_run(city: City) -> None:
    due = city.pay()
    city.seal()
    kept = city.keep([billed(due)])
    assert city.match(kept) == city.match(kept, at=AT + timedelta(days=9))


def test_the_list_of_differences_does_not_depend_on_the_order_of_the_file(city: City) -> None:
    lines = [billed(city.order(lot=n % 2, amount_fen=100 + n)) for n in range(12)]
    city.pay()
    city.seal()
    one = city.match(city.keep(lines))
    two = city.match(city.keep([*lines[6:], *reversed(lines[:6])]))
    with city.db.begin() as tx:
        first, second = (matching.differences(tx, run_id=run.run_id) for run in (one, two))
    assert [(x.code, x.merchant_no, x.trade_no) for x in first] == [(x.code, x.merchant_no, x.trade_no) for x in second]
    assert [x.number for x in first] == list(range(1, 14))


def test_only_what_changed_in_a_reissued_bill_is_new(city: City) -> None:
    missed, paid = city.order(amount_fen=300), city.pay()
    city.seal()
    city.match(city.keep([billed(missed), billed(paid)]))
    run = city.match(city.keep([billed(missed), billed(paid, amount_fen=1300)]))
    with city.db.begin() as tx:
        differences = matching.differences(tx, run_id=run.run_id)
        assert matching.counts(tx, run_id=run.run_id) == {"D01": 1, "D04": 1}
    assert [(x.code, x.is_new) for x in differences] == [("D01", False), ("D04", True)]


def test_the_cases_name_the_operator_and_the_payment(city: City) -> None:
    missed = city.order(lot=1)
    run = city.match(city.keep([billed(missed)]))
    with city.db.begin() as tx:
        (case,) = matching.differences(tx, run_id=run.run_id)
    assert (case.operator_id, case.payment_id) == (city.lots[1].operator_id, missed.attempt.payment_id)
    assert case.code in matching.DIFFERENCES


def test_a_bill_that_is_not_there_is_not_found(city: City) -> None:
    with city.db.begin() as tx, pytest.raises(NotFound):
        matching.match(tx, lane=0, bill_id=IDS.new(AT, "none"), at=AT, ids=IDS)


_CHANGES: dict[str, Callable[[Due], list[BillLine]]] = {
    "same": lambda due: [billed(due)],
    "missing": lambda _: [],
    "twice": lambda due: [billed(due), billed(due)],
    "amount": lambda due: [billed(due, amount_fen=due.attempt.amount_fen + 1)],
    "foreign": lambda due: [billed(due, trade_no="9" + (due.result().trade_no or ""), order_no="elsewhere")],
}
_EXPECTED = {
    "same": {}, "missing": {"D03": 1}, "twice": {"D11": 1}, "amount": {"D04": 1}, "foreign": {"D02": 1, "D03": 1},
}  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.sampled_from(sorted(_CHANGES)), min_size=1, max_size=12), day=st.integers(1, 300))
def test_whatever_happens_to_the_rows_each_is_in_one_pair_or_one_difference(city: City, changes: list[str], day: int) -> None:
    at = AT + timedelta(days=day)
    with city.db.begin() as tx:
        if tx.execute(text("select 1 from reconciliation.bill where bill_on = :on"), {"on": DAY + timedelta(days=day)}).first():
            return
    lines, expected = [], dict.fromkeys(("D02", "D03", "D04", "D11"), 0)
    for change in changes:
        due = city.order(at=at)
        city.take(due, happened_at=at, at=at)
        lines += [line_of(line, happened_at=at) for line in _CHANGES[change](due)]
        for code, count in _EXPECTED[change].items():
            expected[code] += count
    city.seal()
    bill_on: date = DAY + timedelta(days=day)
    run = city.match(city.keep(lines, bill_on=bill_on))
    with city.db.begin() as tx:
        assert invariants.check(tx) == []
        assert matching.counts(tx, run_id=run.run_id) == {code: count for code, count in expected.items() if count}
    assert run.matched == sum(change in ("same", "twice") for change in changes)
