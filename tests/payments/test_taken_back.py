"""Money that a channel takes back after it was booked: the charge is due again as a debt, and everything happens once."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, text

from gateways.contract import ChannelState, RefundResult, RefundState
from ledger.errors import Conflict
from ledger.ids import payment_number
from ledger.journal import EntryKind
from payments import events
from payments.decisions import Finding
from payments.events import PaymentEvent
from payments.invariants import check
from payments.refunding import refunds
from payments.refunding.refund_store import Refund
from payments.results import Notice, Outcome
from tests.payments.conftest import AT, IDS, Due, books, charge_state, message, payment_state
from tests.payments.test_results import CLEARING, INCOME, SUSPENSE, applied, findings

RECEIVABLE = 112201
PAID, BACK = (CLEARING, INCOME, 1200), (RECEIVABLE, CLEARING, 1200)


def back(due: Due, **other: object) -> Notice:
    """The channel's word that it took the payment back."""
    return due.answer(**({"state": ChannelState.REVERSED, "happened_at": None} | other))


def sound(db: Engine) -> bool:
    with db.connect() as tx:
        return check(tx) == []


def charge(db: Engine, due: Due) -> tuple[Any, ...]:
    query = text("select state, settled_by, settled_at, is_receivable from payments.charge where charge_id = :id")
    with db.connect() as tx:
        return tuple(tx.execute(query, {"id": due.attempt.charge_id}).one())


def taken_back_at(db: Engine, due: Due) -> object:
    with db.connect() as tx:
        query = text("select taken_back_at from payments.payment where payment_id = :id")
        return tx.execute(query, {"id": due.attempt.payment_id}).scalar_one()


def told(db: Engine, due: Due) -> list[PaymentEvent]:
    with db.connect() as tx:
        page = events.read(tx, lane=0, lot_id=due.lot.lot_id)
    return [msgspec.json.decode(events.encode(one.event), type=PaymentEvent) for one in page.events]


def promised(db: Engine, due: Due, ref: str = "1", amount_fen: int = 1200) -> Refund:
    with db.begin() as tx:
        return refunds.promise(
            tx, lane=0, payment_id=due.attempt.payment_id, amount_fen=amount_fen, source="operator", source_ref=ref, reason="退款",
            evidence_id=due.attempt.payment_id, at=AT, ids=IDS,
        )  # fmt: skip


def refund_told(db: Engine, due: Due, refund: Refund, state: RefundState, **other: object) -> None:
    said: dict[str, object] = {
        "channel": "wechat", "state": state, "refund_no": refunds.number(refund), "provider_no": due.attempt.provider_no,
        "merchant_no": due.attempt.merchant_no, "refund_fen": refund.amount_fen, "happened_at": AT,
    } | other  # fmt: skip
    applied(db, Notice(message("refund"), None, "query", RefundResult(**said)))  # type: ignore[arg-type]


@pytest.fixture
def paid(db: Engine, due: Callable[..., Due]) -> Due:
    one = due()
    applied(db, one.callback())
    return one


def test_a_payment_taken_back_makes_its_charge_due_again_as_a_debt_and_stays_succeeded(db: Engine, paid: Due) -> None:
    [outcome] = applied(db, back(paid))
    assert outcome == Outcome(Finding.TAKEN_BACK, True, None, paid.attempt.payment_id)
    assert books(db).entries == [PAID, BACK]
    assert books(db).cases == []
    assert (payment_state(db, paid), charge(db, paid)) == ("succeeded", ("open", None, None, True))
    assert taken_back_at(db, paid) == AT
    assert sound(db)


def test_the_lot_is_told_that_the_charge_is_due_again(db: Engine, paid: Due) -> None:
    applied(db, back(paid))
    assert told(db, paid)[-1] == PaymentEvent(
        kind="payment.taken_back", charge_serial="S1", receipt=paid.order_no, channel="wechat", amount_fen=1200, paid_at=AT
    )


def test_taken_back_again_and_success_again_change_nothing(db: Engine, paid: Due) -> None:
    applied(db, back(paid))
    once = (books(db).entries, books(db).events)
    assert findings(applied(db, back(paid), back(paid), paid.callback(), paid.answer())) == ["already"] * 4
    assert (books(db).entries, books(db).events, charge_state(db, paid)) == (*once, "open")
    assert sound(db)


def test_a_debt_that_a_new_payment_pays_is_booked_against_the_receivable(db: Engine, paid: Due, due: Callable[..., Due]) -> None:
    applied(db, back(paid))
    again = due(same_charge_as=paid)
    assert findings(applied(db, again.callback())) == ["settled"]
    assert books(db).entries == sorted([PAID, BACK, (CLEARING, RECEIVABLE, 1200)])
    assert charge(db, paid)[:2] == ("settled", again.attempt.payment_id)
    assert sound(db)
    assert findings(applied(db, back(again))) == ["taken_back"]
    assert charge(db, paid)[:2] == ("open", None)
    assert sound(db)


def test_everything_may_come_in_one_batch(db: Engine, due: Callable[..., Due]) -> None:
    one = due()
    two = due(same_charge_as=one)
    batch = [one.callback(), back(one), two.callback(), back(one), one.callback()]
    assert findings(applied(db, *batch)) == ["settled", "taken_back", "settled", "already", "already"]
    assert books(db).entries == sorted([PAID, BACK, (CLEARING, RECEIVABLE, 1200)])
    assert charge(db, one) == ("settled", two.attempt.payment_id, AT, True)
    assert sound(db)


def test_a_payment_and_its_end_in_one_batch_leave_the_charge_open(db: Engine, due: Callable[..., Due]) -> None:
    one = due()
    assert findings(applied(db, one.callback(), back(one))) == ["settled", "taken_back"]
    assert charge(db, one) == ("open", None, None, True)
    assert sound(db)


def test_a_debt_paid_in_the_batch_that_takes_its_payment_back_stands(db: Engine, due: Callable[..., Due]) -> None:
    paid = due()
    again = due(same_charge_as=paid)
    applied(db, paid.callback())
    assert findings(applied(db, back(paid), again.callback())) == ["taken_back", "settled"]
    assert charge(db, paid) == ("settled", again.attempt.payment_id, AT, True)
    assert sound(db)


def test_a_second_payment_taken_back_leaves_the_charge_alone(db: Engine, due: Callable[..., Due]) -> None:
    paid = due()
    second = due(same_charge_as=paid)
    applied(db, paid.callback(), second.callback())
    assert findings(applied(db, back(second))) == ["taken_back"]
    assert books(db).entries == sorted([PAID, (CLEARING, SUSPENSE, 1200), (SUSPENSE, CLEARING, 1200)])
    assert charge(db, paid) == ("settled", paid.attempt.payment_id, AT, False)
    assert told(db, second)[-1].reason == "second_payment"
    with db.connect() as tx:
        kinds = tx.execute(text("select kind from ledger.v_posting order by kind")).scalars().all()
        assert tx.execute(text("select state from payments.payment_case")).scalars().all() == ["closed"]
    assert kinds == [EntryKind.PAYMENT, EntryKind.PAYMENT, EntryKind.PAYMENT + 128]
    assert sound(db)


def test_another_amount_in_suspense_is_taken_back_in_full(db: Engine, due: Callable[..., Due]) -> None:
    one = due()
    applied(db, one.answer(amount_fen=1100))
    assert findings(applied(db, back(one, amount_fen=1100))) == ["taken_back"]
    assert books(db).entries == [(CLEARING, SUSPENSE, 1100), (SUSPENSE, CLEARING, 1100)]
    assert (charge(db, one)[0], charge(db, one)[3]) == ("open", False)
    assert told(db, one)[-1].reason == "amount_differs"
    assert sound(db)


@pytest.mark.parametrize(
    ("other", "finding"),
    [
        ({"amount_fen": 1199}, "notice_amount_differs"),
        ({"trade_no": "4200009"}, "trade_differs"),
        ({"merchant_no": "1620000099"}, "merchant_differs"),
        ({"provider_no": "1900000099"}, "merchant_differs"),
        ({"currency": "USD"}, "notice_amount_differs"),
    ],
)
def test_another_amount_merchant_or_number_is_a_case_and_nothing_is_booked(
    db: Engine, paid: Due, other: dict[str, Any], finding: str
) -> None:
    [outcome] = applied(db, back(paid, **other))
    assert (outcome.finding.value, outcome.accepted) == (finding, False)
    assert (books(db).entries, books(db).cases) == ([PAID], [finding])
    assert (payment_state(db, paid), charge_state(db, paid), taken_back_at(db, paid)) == ("succeeded", "settled", None)


def test_a_word_without_amount_and_number_is_about_the_whole_payment(db: Engine, paid: Due) -> None:
    assert findings(applied(db, back(paid, amount_fen=None, trade_no=None, currency=None))) == ["taken_back"]
    assert books(db).entries == [PAID, BACK]


@pytest.mark.parametrize("state", [RefundState.PENDING, RefundState.DONE])
def test_a_payment_of_which_a_refund_exists_is_a_case_for_a_person(db: Engine, paid: Due, state: RefundState) -> None:
    refund = promised(db, paid, amount_fen=300)
    refund_told(db, paid, refund, state)
    before = books(db).entries
    for _ in range(2):
        [outcome] = applied(db, back(paid))
        assert (outcome.finding.value, outcome.accepted) == ("taken_back_after_refund", True)
    assert (books(db).entries, books(db).cases) == (before, ["taken_back_after_refund"])
    assert (charge_state(db, paid), taken_back_at(db, paid)) == ("settled", None)
    assert sound(db)


def test_a_refund_that_was_never_made_does_not_stand_in_the_way(db: Engine, paid: Due) -> None:
    refund_told(db, paid, promised(db, paid), RefundState.CLOSED)
    assert findings(applied(db, back(paid))) == ["taken_back"]
    assert sound(db)


def test_what_was_taken_back_is_not_refunded(db: Engine, paid: Due) -> None:
    applied(db, back(paid))
    with pytest.raises(Conflict) as refused:
        promised(db, paid)
    assert refused.value.code == "payment_taken_back"
    done = RefundResult(
        channel="wechat", state=RefundState.DONE, refund_no="C1", provider_no=paid.attempt.provider_no,
        merchant_no=paid.attempt.merchant_no, trade_no=paid.result().trade_no, refund_fen=100, happened_at=AT,
    )  # fmt: skip
    with db.begin() as tx:
        assert not refunds.adopt(
            tx, lane=0, payment_id=paid.attempt.payment_id, told=done, evidence_id=paid.attempt.payment_id, at=AT, ids=IDS
        )
    assert books(db).entries == [PAID, BACK]


@pytest.mark.parametrize("state", [None, ChannelState.PENDING, ChannelState.UNKNOWN])
def test_of_a_payment_that_has_not_succeeded_the_word_means_that_it_failed(
    db: Engine, due: Callable[..., Due], state: ChannelState | None
) -> None:
    one = due()
    if state is not None:
        applied(db, one.answer(state=state))
    assert findings(applied(db, back(one), back(one))) == ["moved", "already"]
    assert (payment_state(db, one), charge_state(db, one), books(db).entries) == ("failed", "open", [])
    assert findings(applied(db, one.callback())) == ["settled"]
    assert books(db).entries == [PAID]


@pytest.mark.parametrize("state", [ChannelState.CLOSED, ChannelState.FAILED])
def test_of_a_payment_that_is_over_it_says_nothing_new(db: Engine, due: Callable[..., Due], state: ChannelState) -> None:
    one = due()
    applied(db, one.answer(state=state))
    assert findings(applied(db, back(one))) == ["already"]
    assert payment_state(db, one) == state.value


def test_the_time_of_the_entry_is_the_channels_own_where_it_tells_one(db: Engine, paid: Due) -> None:
    later = AT.replace(hour=9)
    applied(db, back(paid, happened_at=later))
    with db.connect() as tx:
        query = text("select happened_at, evidence_id from ledger.v_posting where kind = 6")
        happened_at, evidence_id = tx.execute(query).one()
        assert tx.execute(text("select subject from gateways.raw_message where message_id = :id"), {"id": evidence_id}).scalar_one()
    assert (happened_at, taken_back_at(db, paid)) == (later, later)
    assert payment_number(0, paid.attempt.payment_id) == paid.order_no
