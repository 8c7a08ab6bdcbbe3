"""The only applier: what each word of a channel does to payments, charges and the book."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from gateways.contract import ChannelState
from payments.decisions import Finding
from payments.results import Notice, Outcome, apply
from tests.payments.conftest import AT, IDS, Books, Due, books, charge_state, message, payment_state

CLEARING, INCOME, SUSPENSE = 101201, 600101, 224101
FIRST_QUERY = AT + timedelta(seconds=5)


def applied(db: Engine, *notices: Notice) -> list[Outcome]:
    with db.begin() as tx:
        return apply(tx, lane=0, notices=notices, at=AT, ids=IDS)


def findings(outcomes: list[Outcome]) -> list[str]:
    return [outcome.finding.value for outcome in outcomes]


@pytest.fixture
def one(due: Callable[..., Due]) -> Due:
    return due()


def test_a_success_on_an_open_charge_settles_it_and_books_income(db: Engine, one: Due) -> None:
    [outcome] = applied(db, one.callback())
    assert outcome == Outcome(Finding.SETTLED, True, None, one.attempt.payment_id)
    assert books(db) == Books([(CLEARING, INCOME, 1200)], ["settled"], [], ["payment.succeeded"], 1)
    assert (payment_state(db, one), charge_state(db, one)) == ("succeeded", "settled")


def test_a_second_callback_for_the_same_payment_posts_nothing_and_is_kept(db: Engine, one: Due) -> None:
    applied(db, one.callback())
    assert findings(applied(db, one.callback())) == ["already"]
    assert books(db) == Books([(CLEARING, INCOME, 1200)], ["settled"], [], ["payment.succeeded"], 2)


def test_repeats_inside_one_batch_post_once(db: Engine, one: Due) -> None:
    outcomes = applied(db, one.callback(), one.callback(), one.answer())
    assert findings(outcomes) == ["settled", "already", "already"]
    assert all(outcome.accepted for outcome in outcomes)
    assert books(db) == Books([(CLEARING, INCOME, 1200)], ["settled"], [], ["payment.succeeded"], 3)


def test_a_second_payment_of_a_settled_charge_goes_to_suspense_with_a_refund_case(
    db: Engine, one: Due, due: Callable[..., Due]
) -> None:
    other = due(same_charge_as=one)
    assert findings(applied(db, one.callback(), other.callback())) == ["settled", "second_payment"]
    assert books(db) == Books(
        [(CLEARING, SUSPENSE, 1200), (CLEARING, INCOME, 1200)], ["second_payment", "settled"], ["refund_second_payment"],
        ["payment.succeeded", "payment.suspended"], 2,
    )  # fmt: skip


def rewritten(tx: Connection) -> dict[str, tuple[int, int]]:
    """Rows of each table that this connection updated so far, and how many of them without touching an index."""
    rows = tx.execute(
        text("""
        select t, pg_stat_get_xact_tuples_updated(oid), pg_stat_get_xact_tuples_hot_updated(oid)
        from unnest(array['payments.payment', 'payments.charge']) t, cast(t::regclass as oid) oid
        """)
    )
    return {table: (updated, hot) for table, updated, hot in rows}


def test_settling_touches_no_index_of_payments_and_charges(db: Engine, one: Due, due: Callable[..., Due]) -> None:
    """An index over, or with a condition on, anything that a callback changes would cost an insert into every index per row."""
    other = due()
    with db.begin() as tx:
        before = rewritten(tx)
        apply(tx, lane=0, notices=[one.callback(), other.callback()], at=AT, ids=IDS)
        after = rewritten(tx)
    done = {table: tuple(b - a for a, b in zip(before[table], after[table], strict=True)) for table in after}
    assert done == {"payments.payment": (2, 2), "payments.charge": (2, 2)}


def scheduled(db: Engine) -> list[datetime]:
    with db.connect() as tx:
        return list(tx.execute(text("select due_at from payments.next_query")).scalars())


@pytest.mark.parametrize("state", [ChannelState.CLOSED, ChannelState.FAILED, ChannelState.SUCCEEDED])
def test_a_payment_that_is_over_is_not_asked_about_any_more(db: Engine, one: Due, state: ChannelState) -> None:
    assert scheduled(db) == [FIRST_QUERY]
    applied(db, one.answer(state=state))
    assert scheduled(db) == []


def test_a_payment_that_is_still_open_keeps_the_time_of_its_next_query(db: Engine, one: Due) -> None:
    applied(db, one.answer(state=ChannelState.PENDING))
    applied(db, one.answer(amount_fen=None))
    assert (payment_state(db, one), scheduled(db)) == ("unknown", [FIRST_QUERY])


def test_a_success_after_a_doubtful_message_ends_the_query_it_asked_for(db: Engine, one: Due) -> None:
    applied(db, one.answer(state=ChannelState.CLOSED))
    applied(db, one.callback(amount_fen=1))
    assert scheduled(db) == [AT]
    applied(db, one.callback(amount_fen=1), one.callback())
    assert scheduled(db) == []


@pytest.mark.parametrize("state", [ChannelState.CLOSED, ChannelState.FAILED])
def test_a_success_after_closing_is_a_normal_late_success(db: Engine, one: Due, state: ChannelState) -> None:
    assert findings(applied(db, one.answer(state=state))) == ["moved"]
    assert payment_state(db, one) == state.value
    assert findings(applied(db, one.callback())) == ["settled"]
    assert payment_state(db, one) == "succeeded"


@pytest.mark.parametrize("state", [s for s in ChannelState if s not in (ChannelState.SUCCEEDED, ChannelState.REVERSED)])
def test_nothing_but_taking_back_follows_a_success(db: Engine, one: Due, state: ChannelState) -> None:
    applied(db, one.callback())
    assert findings(applied(db, one.answer(state=state))) == ["already"]
    assert payment_state(db, one) == "succeeded"


@pytest.mark.parametrize("state", [ChannelState.PENDING, ChannelState.UNKNOWN, ChannelState.NOT_FOUND, ChannelState.FAILED])
def test_a_closed_payment_never_opens_again(db: Engine, one: Due, state: ChannelState) -> None:
    applied(db, one.answer(state=ChannelState.CLOSED))
    assert findings(applied(db, one.answer(state=state))) == ["already"]
    assert payment_state(db, one) == "closed"


def test_an_order_the_channel_never_had_is_closed_only_after_it_expired(db: Engine, one: Due) -> None:
    assert findings(applied(db, one.answer(state=ChannelState.NOT_FOUND))) == ["already"]
    with db.begin() as tx:
        late = AT + timedelta(minutes=15)
        [outcome] = apply(tx, lane=0, notices=[one.answer(state=ChannelState.NOT_FOUND)], at=late, ids=IDS)
    assert outcome.finding is Finding.MOVED
    assert payment_state(db, one) == "closed"


def test_a_callback_with_another_amount_is_refused_kept_and_asked_for(db: Engine, one: Due) -> None:
    [outcome] = applied(db, one.callback(amount_fen=1100))
    assert outcome == Outcome(Finding.NOTICE_AMOUNT_DIFFERS, False, "notice_amount_differs", one.attempt.payment_id)
    assert books(db) == Books([], [], ["notice_amount_differs"], [], 1)
    assert (payment_state(db, one), charge_state(db, one)) == ("unknown", "open")
    with db.begin() as tx:
        assert tx.execute(text("select due_at from payments.next_query")).scalar_one() == AT


def test_a_query_with_another_amount_is_the_truth_and_goes_to_suspense_in_full(db: Engine, one: Due) -> None:
    applied(db, one.callback(amount_fen=1100))
    [outcome] = applied(db, one.answer(amount_fen=1100))
    assert outcome.finding is Finding.AMOUNT_SUSPENDED
    assert books(db) == Books(
        [(CLEARING, SUSPENSE, 1100)], ["amount_differs"], ["amount_differs", "notice_amount_differs"], ["payment.suspended"], 2
    )
    assert (payment_state(db, one), charge_state(db, one)) == ("succeeded", "open")
    assert findings(applied(db, one.callback(amount_fen=1100))) == ["already"]


@pytest.mark.parametrize(
    ("other", "finding"),
    [
        ({"merchant_no": "1620000099"}, "merchant_differs"),
        ({"provider_no": "1900000099"}, "merchant_differs"),
        ({"currency": "USD"}, "currency_differs"),
        ({"currency": None}, "currency_differs"),
    ],
)
@pytest.mark.parametrize("how", ["callback", "answer"])
def test_another_merchant_or_currency_is_never_booked(
    db: Engine, one: Due, other: dict[str, Any], finding: str, how: str
) -> None:  # fmt: skip
    [outcome] = applied(db, getattr(one, how)(**other))
    assert (outcome.finding.value, outcome.accepted) == (finding, False)
    assert books(db) == Books([], [], [finding], [], 1)
    assert (payment_state(db, one), charge_state(db, one)) == ("unknown", "open")


@pytest.mark.parametrize("missing", ["amount_fen", "trade_no", "happened_at"])
def test_a_success_that_does_not_say_everything_books_nothing(db: Engine, one: Due, missing: str) -> None:
    [outcome] = applied(db, one.callback(**{missing: None}))
    assert (outcome.finding, outcome.accepted) == (Finding.INCOMPLETE, False)
    assert books(db) == Books([], [], [], [], 1)
    assert payment_state(db, one) == "unknown"


def test_a_doubtful_message_does_not_reopen_a_closed_payment_but_asks_at_once(db: Engine, one: Due) -> None:
    applied(db, one.answer(state=ChannelState.CLOSED))
    applied(db, one.callback(amount_fen=1))
    assert payment_state(db, one) == "closed"
    with db.begin() as tx:
        assert tx.execute(text("select due_at from payments.next_query")).scalar_one() == AT


@pytest.mark.parametrize("order_no", ["P0" + "0" * 26, "P1" + "0" * 26, "somebody-elses", ""])
def test_an_unknown_order_is_kept_with_one_case_however_often_it_comes(db: Engine, one: Due, order_no: str) -> None:
    for _ in range(2):
        [outcome] = applied(db, one.callback(order_no=order_no))
        assert outcome == Outcome(Finding.ORDER_UNKNOWN, False, "order_unknown", None)
    assert books(db) == Books([], [], ["order_unknown"], [], 2)


def test_a_trade_number_of_another_payment_is_never_booked_twice(db: Engine, due: Callable[..., Due]) -> None:
    first, second = due(), due()
    trade_no = first.result().trade_no
    assert findings(applied(db, first.callback(), second.callback(trade_no=trade_no))) == ["settled", "trade_differs"]
    assert findings(applied(db, second.callback(trade_no=trade_no))) == ["trade_differs"]
    assert books(db).entries == [(CLEARING, INCOME, 1200)]
    assert books(db).cases == ["trade_differs"]


def test_another_trade_number_for_a_paid_payment_is_a_case(db: Engine, one: Due) -> None:
    assert findings(applied(db, one.callback(), one.callback(trade_no="4200009"))) == ["settled", "trade_differs"]
    assert books(db).entries == [(CLEARING, INCOME, 1200)]


def test_a_message_without_a_result_is_kept_and_moves_nothing(db: Engine, one: Due) -> None:
    [outcome] = applied(db, Notice(message(verdict="refused", reason="signature"), None))
    assert outcome == Outcome(Finding.NOT_READ, False, "signature", None)
    assert books(db) == Books([], [], [], [], 1)
    assert payment_state(db, one) == "created"


def test_a_good_notice_beside_bad_ones_stands(db: Engine, one: Due) -> None:
    outcomes = applied(db, one.callback(amount_fen=1), one.callback(order_no="x"), one.callback(), one.callback(currency="USD"))
    assert findings(outcomes) == ["notice_amount_differs", "order_unknown", "settled", "currency_differs"]
    assert books(db).entries == [(CLEARING, INCOME, 1200)]


def test_the_evidence_of_an_entry_is_the_message_that_proved_it(db: Engine, one: Due) -> None:
    notice = one.callback()
    applied(db, notice)
    with db.begin() as tx:
        row = tx.execute(
            text(
                "select p.evidence_id, m.subject from ledger.posting p join gateways.raw_message m on m.message_id = p.evidence_id"
            )
        )
        assert tuple(row.one()) == (notice.message.message_id, one.attempt.payment_id)
