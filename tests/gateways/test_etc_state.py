"""A charge goes only where the table says; its money comes at most once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.etc.codes import Receipt
from gateways.etc.state import ANSWERS, STEPS, ChargeState, Event, Step, Task, step

S, E = ChargeState, Event


def walked(*events: Event | Receipt) -> list[ChargeState]:
    state, way = S.NEW, []
    for event in events:
        taken = step(state, E.ANSWER, answer=event) if isinstance(event, Receipt) else step(state, event)
        assert taken is not None, f"{event!r} cannot happen in {state}"
        state = taken.state
        way.append(state)
    return way


def test_a_charge_that_is_booked_is_cleared_and_paid_out() -> None:
    way = walked(E.PACK, E.SEND, Receipt.ACCEPTED, E.BOOK, E.CLEAR, E.PAY_OUT)
    assert way == [S.PACKED, S.SENT, S.ACKED, S.BOOKED, S.CLEARED, S.PAID_OUT]


def test_a_dispute_ends_in_payment_or_in_a_bad_debt() -> None:
    begin = (E.PACK, E.SEND, Receipt.ACCEPTED, E.DISPUTE)
    assert walked(*begin, E.RELEASE, E.CLEAR)[-1] is S.CLEARED
    assert walked(*begin, E.WRITE_BAD)[-1] is S.BAD


def test_without_an_answer_the_same_package_goes_again() -> None:
    assert step(S.SENT, E.NO_ANSWER) == Step(S.SENT, Task.SEND_SAME)
    assert walked(E.PACK, E.SEND, E.NO_ANSWER, E.SEND, Receipt.ACCEPTED)[-1] is S.ACKED


@pytest.mark.parametrize("answer", [Receipt.HEADER_WRONG, Receipt.SCHEMA_INVALID, Receipt.CONTENT_WRONG, Receipt.VERSION_WRONG])
def test_a_package_turned_away_is_repaired_and_gets_a_new_number(answer: Receipt) -> None:
    assert step(S.SENT, E.ANSWER, answer=answer) == Step(S.REJECTED, Task.REPAIR)
    assert walked(E.PACK, E.SEND, answer, E.REPAIR, E.PACK)[-1] is S.PACKED


def test_a_repeated_package_is_looked_up_and_not_sent_again() -> None:
    assert step(S.SENT, E.ANSWER, answer=Receipt.REPEATED) == Step(S.SENT, Task.LOOK_UP)


@pytest.mark.parametrize("answer", [Receipt.SIGNATURE_WRONG, Receipt.CLOCK_WRONG, Receipt.KEY_UNKNOWN])
def test_a_line_out_of_order_is_mended_before_the_same_goes_again(answer: Receipt) -> None:
    assert step(S.SENT, E.ANSWER, answer=answer) == Step(S.SENT, Task.MEND_LINE)


def test_every_answer_but_that_about_clearing_has_a_step() -> None:
    assert set(Receipt) - set(ANSWERS) == {Receipt.CLEARING_DISAGREES}
    assert step(S.SENT, E.ANSWER, answer=Receipt.CLEARING_DISAGREES) is None


@pytest.mark.parametrize("state", [state for state in S if state is not S.SENT])
def test_an_answer_counts_only_while_it_is_awaited(state: ChargeState) -> None:
    assert step(state, E.ANSWER, answer=Receipt.ACCEPTED) is None


def test_a_refund_comes_after_clearing_in_parts_or_in_full() -> None:
    assert step(S.BOOKED, E.REFUND_FULL) is None
    cleared = (E.PACK, E.SEND, Receipt.ACCEPTED, E.BOOK, E.CLEAR)
    assert walked(*cleared, E.REFUND_PART, E.REFUND_PART, E.REFUND_FULL)[-1] is S.REFUNDED
    assert walked(*cleared, E.PAY_OUT, E.REFUND_FULL)[-1] is S.REFUNDED


@pytest.mark.parametrize("state", [S.BAD, S.REFUNDED])
def test_an_end_is_an_end(state: ChargeState) -> None:
    assert not [event for begin, event in STEPS if begin is state]


def test_every_state_but_new_is_reached_and_every_event_is_used() -> None:
    reached = {taken.state for taken in (*STEPS.values(), *ANSWERS.values())}
    assert reached == set(S)
    assert {event for _, event in STEPS} | {E.ANSWER} == set(E)


@given(st.lists(st.sampled_from([event for event in E if event is not E.ANSWER] + list(Receipt)), max_size=40))
def test_in_no_story_is_a_charge_both_paid_and_bad_or_cleared_twice(story: list[Event | Receipt]) -> None:
    state, taken_events = S.NEW, []
    for event in story:
        taken = step(state, E.ANSWER, answer=event) if isinstance(event, Receipt) else step(state, event)
        if taken is not None:
            state = taken.state
            taken_events.append(event)
    assert taken_events.count(E.CLEAR) <= 1
    assert taken_events.count(E.PAY_OUT) <= 1
    assert not (E.WRITE_BAD in taken_events and E.CLEAR in taken_events)
    assert taken_events.count(E.REFUND_FULL) <= 1


def test_an_answer_without_its_result_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError):
        step(S.SENT, E.ANSWER)
    with pytest.raises(AssertionError):
        step(S.SENT, E.SEND, answer=Receipt.ACCEPTED)
