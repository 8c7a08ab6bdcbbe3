"""Whatever comes from outside, signed or not, is judged and raises nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.contract import Answer, BillAbsent, BillRefused, ChannelState, PrepayOrder, Unanswered
from gateways.sandbox.wechat.signing import answer_headers
from gateways.sandbox.wechat.signing import notice as sealed_notice
from gateways.wechat import openid
from tests.contract.case import NONCE, NOW
from tests.contract.wechat import (
    API_KEY,
    BILL,
    COMBINED,
    COMBINED_REF,
    COMBINED_TRANSACTION,
    DEDUCTED,
    DEDUCTION,
    ENTRANCE,
    FUND_BILL,
    MANDATE,
    REFUND,
    REFUND_ANSWER,
    REFUND_REF,
    TRANSACTION,
    case,
    signer,
)

CASE = case()
CHANNEL = CASE.channel
TOLD: dict[str, Any] = {"keys": CASE.keys, "now": NOW}
DEEP = b'{"code":"X","data":' + b"[" * 60_000
EVENTS = ("TRANSACTION.SUCCESS", "TRANSACTION.FAIL", "TRANSACTION.PAY_BACK", "REFUND.SUCCESS", "VEHICLE.ENTRANCE_STATE_CHANGE")

Parser = Callable[[Answer | Unanswered], Any]


def prepaid(order: PrepayOrder) -> Parser:
    return lambda answer: CHANNEL.parse_prepay(answer, order=order, nonce=NONCE, **TOLD)


PARSERS: dict[str, Parser] = {
    **{f"prepay {way}": prepaid(order) for way, order in CASE.orders.items()},
    "combined": lambda answer: CHANNEL.parse_combined(answer, order=COMBINED, nonce=NONCE, **TOLD),
    "combined query": lambda answer: CHANNEL.parse_combined_query(answer, order=COMBINED_REF, **TOLD),
    "combined close": lambda answer: CHANNEL.parse_combined_close(answer, order=COMBINED_REF, **TOLD),
    "query": lambda answer: CHANNEL.parse_query(answer, order=CASE.ref, **TOLD),
    "close": lambda answer: CHANNEL.parse_close(answer, order=CASE.ref, **TOLD),
    "mandate": lambda answer: CHANNEL.parse_mandate_query(answer, mandate=MANDATE, **TOLD),
    "entry": lambda answer: CHANNEL.parse_entry(answer, entrance=ENTRANCE, **TOLD),
    "deduct": lambda answer: CHANNEL.parse_deduct(answer, deduction=DEDUCTION, **TOLD),
    "refund": lambda answer: CHANNEL.parse_refund(answer, refund=REFUND, **TOLD),
    "refund query": lambda answer: CHANNEL.parse_refund_query(answer, refund=REFUND_REF, **TOLD),
    "bill": lambda answer: CHANNEL.parse_bill_link(answer, bill=BILL, **TOLD),
    "fund bill": lambda answer: CHANNEL.parse_fund_bill_link(answer, bill=FUND_BILL, **TOLD),
    "certificates": lambda answer: CHANNEL.parse_certificates(answer, **TOLD),
}


def says_nothing(name: str, outcome: Any) -> bool:
    """Tell whether an outcome leaves everything undecided."""
    if outcome is None or isinstance(outcome, BillAbsent):
        return True
    if hasattr(outcome, "results"):
        return outcome.results == () and outcome.refund is None
    return outcome.state in (ChannelState.UNKNOWN, "unknown")


def signed(body: bytes, status: int = 200) -> Answer:
    return Answer(status=status, headers=answer_headers(signer(), body=body, at=NOW, nonce="n" * 32), body=body)


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b"<html>", b'{"code":"\xff"}', b'{"code":5}', "错误".encode("gbk"), DEEP]
)
@pytest.mark.parametrize("status", [200, 202, 302, 400, 404, 500])
def test_an_unsigned_answer_of_any_form_decides_nothing(name: str, body: bytes, status: int) -> None:
    assert says_nothing(name, PARSERS[name](Answer(status=status, headers={}, body=body)))


@pytest.mark.parametrize("name", [name for name in PARSERS if not name.endswith("close")])
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b"<html>", b'{"code":"\xff"}', b'{"code":5}', "错误".encode("gbk"), DEEP]
)
def test_a_signed_answer_of_another_form_decides_nothing(name: str, body: bytes) -> None:
    assert says_nothing(name, PARSERS[name](signed(body)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    genuine=st.sampled_from([TRANSACTION, COMBINED_TRANSACTION, DEDUCTED, REFUND_ANSWER]),
    field=st.integers(min_value=0),
    value=JSON,
    event=st.sampled_from(EVENTS),
)
def test_a_genuine_message_with_any_field_replaced_raises_nothing(
    genuine: dict[str, Any], field: int, value: Any, event: str
) -> None:
    name = sorted(genuine)[field % len(genuine)]
    plain = json.dumps(genuine | {name: value}).encode()
    body = sealed_notice(
        plain, kind="transaction", event=event, summary="", at=NOW, api_key=API_KEY, notice_id="EV", nonce="0123456789ab"
    )  # fmt: skip
    headers = answer_headers(signer(), body=body, at=NOW, nonce="n" * 32)
    reading = CHANNEL.parse_callback(headers, body, **TOLD)
    assert reading.verdict in ("verified", "unreadable")
    for parse in PARSERS.values():
        parse(signed(plain))


def test_a_signed_notice_nested_without_end_is_unreadable() -> None:
    for plain in (DEEP, b"[" * 60_000):
        body = sealed_notice(
            plain, kind="transaction", event="TRANSACTION.SUCCESS", summary="", at=NOW, api_key=API_KEY, notice_id="EV",
            nonce="0123456789ab",
        )  # fmt: skip
        for content in (body, DEEP):
            headers = answer_headers(signer(), body=content, at=NOW, nonce="n" * 32)
            assert CHANNEL.parse_callback(headers, content, **TOLD).verdict == "unreadable"


def test_an_openid_answer_nested_without_end_is_unavailable() -> None:
    for body in (DEEP, b'{"openid":"\xff"}'):
        assert openid.parse_exchange(Answer(status=200, headers={}, body=body)) == openid.OpenId(reason="unavailable")


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200))
def test_garbage_is_no_bill_of_either_kind(content: bytes) -> None:
    with pytest.raises(BillRefused):
        CHANNEL.parse_bill(content, bill=BILL)
    with pytest.raises(BillRefused):
        CHANNEL.parse_fund_bill(content, bill=FUND_BILL, keys=CASE.keys)
