"""What a channel's word about a refund means: the whole table."""

from uuid import UUID

import pytest

from gateways.contract import RefundResult, RefundState
from payments.refunding.refund_decisions import ACCEPTED, Finding, HeldRefund, State, decide

REFUND = UUID("019cacb3-f200-7dd3-9711-2b7289cd0f00")
S = RefundState


def held(state: State = "pending", *, was_done: bool = False) -> HeldRefund:
    return HeldRefund(
        REFUND, REFUND, 1, 2, 3, REFUND, "S1", "wechat", "1900000001", "1620000007", "T1", 500, False, "operator", "r-1", state,
        was_done,
    )  # fmt: skip


def told(state: RefundState, **other: object) -> RefundResult:
    said: dict[str, object] = {
        "channel": "wechat", "state": state, "refund_no": "R0", "provider_no": "1900000001", "merchant_no": "1620000007",
        "trade_no": "T1", "refund_fen": 500,
    } | other  # fmt: skip
    return RefundResult(**said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "word", "finding"),
    [
        ("promised", S.PENDING, Finding.TAKEN_ON),
        ("promised", S.DONE, Finding.DONE),
        ("promised", S.CLOSED, Finding.CLOSED),
        ("promised", S.REFUSED, Finding.CLOSED),
        ("promised", S.STUCK, Finding.STUCK),
        ("promised", S.LATER, Finding.NOTHING),
        ("promised", S.NOT_FOUND, Finding.ANEW),
        ("promised", S.UNKNOWN, Finding.NOTHING),
        ("pending", S.PENDING, Finding.ALREADY),
        ("pending", S.DONE, Finding.DONE),
        ("pending", S.CLOSED, Finding.CLOSED),
        ("pending", S.STUCK, Finding.STUCK),
        ("pending", S.NOT_FOUND, Finding.ANEW),
        ("stuck", S.DONE, Finding.DONE),
        ("stuck", S.STUCK, Finding.ALREADY),
        ("stuck", S.CLOSED, Finding.CLOSED),
        ("stuck", S.NOT_FOUND, Finding.NOTHING),
        ("done", S.DONE, Finding.ALREADY),
        ("done", S.PENDING, Finding.ALREADY),
        ("done", S.CLOSED, Finding.REOPENED),
        ("done", S.STUCK, Finding.REOPENED),
        ("done", S.NOT_FOUND, Finding.NOTHING),
        ("closed", S.CLOSED, Finding.ALREADY),
        ("closed", S.DONE, Finding.LATE),
        ("closed", S.PENDING, Finding.ALREADY),
    ],
)
def test_each_word_in_each_state(state: State, word: RefundState, finding: Finding) -> None:
    assert decide(held(state, was_done=state == "done"), told(word), proven=True) is finding


@pytest.mark.parametrize("word", [S.CLOSED, S.REFUSED, S.STUCK])
@pytest.mark.parametrize("state", ["promised", "pending", "stuck", "done"])
def test_without_a_signature_nothing_is_given_up(state: State, word: RefundState) -> None:
    assert decide(held(state), told(word), proven=False) is Finding.NOTHING


def test_done_again_after_it_was_reopened_is_for_a_person() -> None:
    assert decide(held("stuck", was_done=True), told(S.DONE), proven=True) is Finding.LATE


def test_a_refund_that_nobody_asked_for_is_refused() -> None:
    assert decide(None, told(S.DONE), proven=True) is Finding.UNKNOWN
    assert Finding.UNKNOWN not in ACCEPTED


@pytest.mark.parametrize(
    "other",
    [{"merchant_no": "1620000008"}, {"provider_no": "1900000002"}, {"trade_no": "T2"}, {"refund_fen": 501}],
)
def test_a_refund_that_differs_is_never_booked(other: dict[str, object]) -> None:
    assert decide(held(), told(S.DONE, **other), proven=True) is Finding.DIFFERS


def test_what_a_message_does_not_name_cannot_differ() -> None:
    assert decide(held(), told(S.DONE, trade_no=None, refund_fen=None), proven=True) is Finding.DONE
