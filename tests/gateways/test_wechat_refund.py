"""A refund's answers and notices are believed only when everything about them holds, and each says exactly one thing."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.contract import Answer, Reading, RefundOrder, RefundRef, RefundState, Unanswered
from gateways.sandbox.wechat.signing import Pair, RefundTold, answer_headers, box, signed_refund_callback
from gateways.wechat.channel import WeChat
from tests.gateways.bare import NONCE, wechat_case
from tests.gateways.conftest import MERCHANT_NO, NOW, PROVIDER_NO

BARE = wechat_case()
REFUND = RefundOrder(
    refund_no="R0000000000000000000000000B2",
    order_no="P0000000000000000000000000A1",
    trade_no="4200000000202603020000000001",
    merchant_no=MERCHANT_NO,
    refund_fen=400,
    total_fen=1200,
    reason="重复缴费",
    asked_at=NOW,
    paid_at=NOW,
)
REF = RefundRef(
    refund_no=REFUND.refund_no, order_no=REFUND.order_no, trade_no=REFUND.trade_no, merchant_no=REFUND.merchant_no, asked_at=NOW
)
CHANNEL_REFUND_NO = "50300000002026030200000000001"
TOLD = RefundTold(
    refund_no=REFUND.refund_no,
    channel_refund_no=CHANNEL_REFUND_NO,
    order_no=REFUND.order_no,
    trade_no=REFUND.trade_no,
    provider_no=PROVIDER_NO,
    merchant_no=MERCHANT_NO,
    refund_fen=400,
    total_fen=1200,
    happened_at=NOW,
)


def told(**changes: Any) -> bytes:
    """A refund as an answer tells of it; None takes a field out."""
    fields = {
        "refund_id": CHANNEL_REFUND_NO,
        "out_refund_no": REFUND.refund_no,
        "transaction_id": REFUND.trade_no,
        "out_trade_no": REFUND.order_no,
        "status": "SUCCESS",
        "success_time": "2026-03-02T10:00:00+08:00",
        "amount": {"refund": 400, "total": 1200, "currency": "CNY"},
    } | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def signed(pair: Pair, body: bytes, status: int = 200) -> Answer:
    return Answer(status=status, headers=answer_headers(pair.public_key, body=body, at=NOW, nonce="n" * 32), body=body)


def failed(code: str) -> bytes:
    return json.dumps({"code": code, "message": "x"}).encode()


def read(wechat: WeChat, pair: Pair, answer: Answer | Unanswered) -> Reading:
    return wechat.parse_refund(answer, refund=REFUND, keys=pair.ring, now=NOW)


def asked(wechat: WeChat, pair: Pair, answer: Answer | Unanswered) -> Reading:
    return wechat.parse_refund_query(answer, refund=REF, keys=pair.ring, now=NOW)


# Calls


def body_of(wechat: WeChat, **changes: Any) -> dict[str, Any]:
    refund = msgspec.structs.replace(REFUND, **changes)
    body = wechat.build_refund(refund, keys=BARE.golden_keys, now=NOW, nonce=NONCE).body
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_refund_names_the_payment_by_the_channels_number_and_both_amounts(wechat: WeChat) -> None:
    assert body_of(wechat) == {
        "sub_mchid": MERCHANT_NO,
        "transaction_id": REFUND.trade_no,
        "out_refund_no": REFUND.refund_no,
        "reason": "重复缴费",
        "notify_url": "https://pay.example/callbacks/wechat",
        "amount": {"refund": 400, "total": 1200, "currency": "CNY"},
    }


def test_a_repeated_refund_differs_in_nothing_but_its_signature(wechat: WeChat) -> None:
    first = wechat.build_refund(REFUND, keys=BARE.golden_keys, now=NOW, nonce=NONCE)
    later = wechat.build_refund(REFUND, keys=BARE.golden_keys, now=NOW + timedelta(days=1), nonce="B" * 32)
    assert (first.body, first.url) == (later.body, later.url)
    assert first.headers["authorization"] != later.headers["authorization"]


@pytest.mark.parametrize(
    ("reason", "sent"),
    [("退款🚗\n", "退款"), ("退" * 40, "退" * 26), ("ab" * 50, "ab" * 40), ("🚗", None), ("", None), (None, None)],
)
def test_a_reason_is_made_fit_and_left_out_when_nothing_of_it_remains(wechat: WeChat, reason: str | None, sent: str | None) -> None:
    assert body_of(wechat, reason=reason).get("reason") == sent


def test_a_refund_query_names_refund_and_merchant(wechat: WeChat) -> None:
    ref = msgspec.structs.replace(REF, refund_no="A|B*C@D")
    url = wechat.build_refund_query(ref, keys=BARE.golden_keys, now=NOW, nonce=NONCE).url
    assert url.endswith(f"/v3/refund/domestic/refunds/A%7CB%2AC%40D?sub_mchid={MERCHANT_NO}")


# Answers


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("SUCCESS", RefundState.DONE),
        ("PROCESSING", RefundState.PENDING),
        ("CLOSED", RefundState.CLOSED),
        ("ABNORMAL", RefundState.STUCK),
        ("SOMETHING_NEW", RefundState.UNKNOWN),
    ],
)
def test_each_word_has_one_meaning_and_a_new_one_is_unknown(wechat: WeChat, pair: Pair, word: str, state: RefundState) -> None:
    for reading in (read(wechat, pair, signed(pair, told(status=word))), asked(wechat, pair, signed(pair, told(status=word)))):
        assert (reading.verdict, reading.reason, reading.result) == ("verified", None, None)
        assert reading.refund is not None
        assert (reading.refund.state, reading.refund.word) == (state, word)
        assert (reading.refund.provider_no, reading.refund.merchant_no) == (PROVIDER_NO, MERCHANT_NO)
        assert (reading.refund.order_no, reading.refund.trade_no) == (REFUND.order_no, REFUND.trade_no)
        assert (reading.refund.refund_fen, reading.refund.happened_at) == (400, NOW)
        assert reading.refund.channel_refund_no == CHANNEL_REFUND_NO


def test_a_refund_on_its_way_has_no_time_yet(wechat: WeChat, pair: Pair) -> None:
    reading = read(wechat, pair, signed(pair, told(status="PROCESSING", success_time=None)))
    assert reading.refund is not None
    assert (reading.refund.state, reading.refund.happened_at) == (RefundState.PENDING, None)


def test_an_answer_about_another_refund_proves_nothing_about_this_one(wechat: WeChat, pair: Pair) -> None:
    answer = signed(pair, told(out_refund_no="R0000000000000000000000000B3"))
    for reading in (read(wechat, pair, answer), asked(wechat, pair, answer)):
        assert (reading.verdict, reading.reason, reading.refund) == ("unreadable", "other_refund", None)


@pytest.mark.parametrize(
    "change",
    [
        {"out_refund_no": None},
        {"status": None},
        {"amount": None},
        {"success_time": None},
        {"amount": {"total": 1200}},
        {"amount": {"refund": 0}},
        {"amount": {"refund": 4.5}},
        {"amount": {"refund": "400"}},
        {"out_refund_no": "R1\u0000"},
        {"refund_id": ""},
        {"success_time": "2026-03-02T10:00:00"},
        {"success_time": "yesterday"},
    ],
)
def test_a_success_without_a_needed_field_or_with_a_senseless_one_is_unreadable(
    wechat: WeChat, pair: Pair, change: dict[str, Any]
) -> None:
    for reading in (read(wechat, pair, signed(pair, told(**change))), asked(wechat, pair, signed(pair, told(**change)))):
        assert (reading.verdict, reading.reason, reading.refund) == ("unreadable", "field_missing", None)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[]", b"<html>", b"\xff\xfe"])
def test_a_signed_answer_of_another_form_is_unreadable(wechat: WeChat, pair: Pair, body: bytes) -> None:
    reading = read(wechat, pair, signed(pair, body))
    assert (reading.verdict, reading.reason, reading.refund) == ("unreadable", "field_missing", None)


@pytest.mark.parametrize(
    ("status", "code", "reason", "state"),
    [
        (400, "PARAM_ERROR", "call_refused", RefundState.REFUSED),
        (404, "MCH_NOT_EXISTS", "call_refused", RefundState.REFUSED),
        (403, "NOT_ENOUGH", "balance_low", RefundState.LATER),
        (403, "NOTENOUGH", "balance_low", RefundState.LATER),
        (403, "USER_ACCOUNT_ABNORMAL", "payer_gone", RefundState.STUCK),
        (429, "FREQUENCY_LIMITED", "rate_limited", RefundState.LATER),
        (429, "RATELIMIT_EXCEEDED", "rate_limited", RefundState.LATER),
    ],
)
def test_an_error_that_says_what_became_of_the_refund_is_a_result(
    wechat: WeChat, pair: Pair, status: int, code: str, reason: str, state: RefundState
) -> None:
    reading = read(wechat, pair, signed(pair, failed(code), status))
    assert (reading.verdict, reading.reason) == ("verified", reason)
    assert reading.refund is not None
    assert (reading.refund.state, reading.refund.refund_no, reading.refund.merchant_no) == (state, REFUND.refund_no, MERCHANT_NO)
    assert (reading.refund.refund_fen, reading.refund.channel_refund_no) == (None, None)


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "INVALID_REQUEST", "order_number_taken"),
        (401, "SIGN_ERROR", "not_allowed"),
        (403, "NO_AUTH", "not_allowed"),
        (403, "RULE_LIMIT", "not_allowed"),
        (404, "RESOURCE_NOT_EXISTS", "not_found"),
        (400, "SOMETHING_NEW", "error_unlisted"),
        (500, "SYSTEM_ERROR", "unavailable"),
        (502, "BANK_ERROR", "unavailable"),
        (503, "SOMETHING_NEW", "unavailable"),
    ],
)
def test_every_other_error_says_nothing_about_the_refund(wechat: WeChat, pair: Pair, status: int, code: str, reason: str) -> None:
    reading = read(wechat, pair, signed(pair, failed(code), status))
    assert (reading.verdict, reading.reason, reading.refund) == ("verified", reason, None)


def test_a_query_is_told_that_there_is_no_such_refund_and_by_no_other_error_anything(wechat: WeChat, pair: Pair) -> None:
    absent = asked(wechat, pair, signed(pair, failed("RESOURCE_NOT_EXISTS"), 404))
    assert absent.refund is not None
    assert (absent.verdict, absent.refund.state, absent.refund.refund_no) == ("verified", RefundState.NOT_FOUND, REFUND.refund_no)
    for code in ("PARAM_ERROR", "NOT_ENOUGH", "USER_ACCOUNT_ABNORMAL", "FREQUENCY_LIMITED", "SYSTEM_ERROR"):
        assert asked(wechat, pair, signed(pair, failed(code), 400)).refund is None


def test_an_unsigned_error_counts_and_a_wrongly_signed_one_does_not(wechat: WeChat, pair: Pair) -> None:
    body = failed("NOT_ENOUGH")
    unsigned = read(wechat, pair, Answer(status=403, headers={}, body=body))
    assert unsigned.refund is not None
    assert (unsigned.verdict, unsigned.refund.state) == ("unverified", RefundState.LATER)
    other = signed(pair, failed("PARAM_ERROR"), 403)
    wrong = read(wechat, pair, Answer(status=403, headers=other.headers, body=body))
    assert (wrong.verdict, wrong.reason, wrong.refund) == ("refused", "signature", None)


def test_a_success_that_is_not_signed_or_altered_or_old_proves_nothing(wechat: WeChat, pair: Pair) -> None:
    genuine = signed(pair, told())
    altered = msgspec.structs.replace(genuine, body=genuine.body.replace(b"400", b"401"))
    for answer, reason in ((Answer(status=200, headers={}, body=told()), "header_missing"), (altered, "signature")):
        for reading in (read(wechat, pair, answer), asked(wechat, pair, answer)):
            assert (reading.verdict, reading.reason, reading.refund) == ("refused", reason, None)
    old = wechat.parse_refund(genuine, refund=REFUND, keys=pair.ring, now=NOW + timedelta(seconds=300))
    assert (old.verdict, old.reason, old.refund) == ("refused", "stale", None)


def test_accepted_and_still_working_is_not_decided(wechat: WeChat, pair: Pair) -> None:
    reading = read(wechat, pair, signed(pair, told(), 202))
    assert (reading.verdict, reading.reason, reading.refund) == ("verified", "unavailable", None)


@pytest.mark.parametrize("reason", ["timeout", "dns", "connect", "tls", "broken", "too_large"])
def test_no_answer_says_nothing(wechat: WeChat, pair: Pair, reason: str) -> None:
    for reading in (read(wechat, pair, Unanswered(reason=reason)), asked(wechat, pair, Unanswered(reason=reason))):
        assert (reading.verdict, reading.reason, reading.refund) == ("unanswered", reason, None)


@given(status=st.integers(100, 599), body=st.binary(max_size=200))
def test_no_answer_from_outside_raises(status: int, body: bytes) -> None:
    answer, keys = Answer(status=status, headers={}, body=body), BARE.golden_keys
    assert BARE.channel.parse_refund(answer, refund=REFUND, keys=keys, now=NOW).refund is None
    assert BARE.channel.parse_refund_query(answer, refund=REF, keys=keys, now=NOW).refund is None


# Notices


def notice(pair: Pair, **changes: Any) -> tuple[dict[str, str], bytes]:
    """A validly signed refund notice with fields of its plaintext replaced; None takes a field out."""
    fields: dict[str, Any] = {
        "sp_mchid": PROVIDER_NO,
        "sub_mchid": MERCHANT_NO,
        "transaction_id": REFUND.trade_no,
        "out_trade_no": REFUND.order_no,
        "refund_id": CHANNEL_REFUND_NO,
        "out_refund_no": REFUND.refund_no,
        "refund_status": "SUCCESS",
        "success_time": "2026-03-02T10:00:00+08:00",
        "user_received_account": "支付用户零钱",
        "amount": {"total": 1200, "refund": 400, "payer_total": 1200, "payer_refund": 400},
    } | changes
    plain = json.dumps({name: value for name, value in fields.items() if value is not None}).encode()
    resource = {
        "original_type": "refund",
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": box(plain, api_key=pair.api_key, nonce="0123456789ab", associated="refund"),
        "associated_data": "refund",
        "nonce": "0123456789ab",
    }
    body = json.dumps({"id": "EV-1", "event_type": "REFUND.SUCCESS", "resource": resource}).encode()
    return answer_headers(pair.public_key, body=body, at=NOW, nonce="n" * 32), body


@pytest.mark.parametrize(
    ("word", "state"), [("SUCCESS", RefundState.DONE), ("CLOSED", RefundState.CLOSED), ("ABNORMAL", RefundState.STUCK)]
)
@pytest.mark.parametrize("kind", ["certificate", "public_key"])
def test_a_genuine_notice_tells_how_a_refund_ended(wechat: WeChat, pair: Pair, kind: str, word: Any, state: RefundState) -> None:
    ended = msgspec.structs.replace(TOLD, word=word)
    headers, body = signed_refund_callback(getattr(pair, kind), ended, api_key=pair.api_key, at=NOW)
    reading = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.reason, reading.result) == ("verified", None, None)
    assert reading.refund is not None
    assert (reading.refund.state, reading.refund.word, reading.refund.refund_fen) == (state, word, 400)
    assert reading.refund.happened_at == (NOW if word == "SUCCESS" else None)
    assert (reading.refund.provider_no, reading.refund.merchant_no) == (PROVIDER_NO, MERCHANT_NO)


def test_the_notices_own_form_is_read(wechat: WeChat, pair: Pair) -> None:
    headers, body = notice(pair)
    assert wechat.parse_callback(headers, body, keys=pair.ring, now=NOW).refund is not None


@pytest.mark.parametrize("field", ["sp_mchid", "sub_mchid", "out_refund_no", "refund_status", "success_time", "amount"])
def test_a_notice_without_a_needed_field_is_unreadable(wechat: WeChat, pair: Pair, field: str) -> None:
    headers, body = notice(pair, **{field: None})
    reading = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.reason, reading.refund) == ("unreadable", "field_missing", None)


def test_a_notice_of_a_new_word_is_unknown(wechat: WeChat, pair: Pair) -> None:
    headers, body = notice(pair, refund_status="RETURNED")
    reading = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert reading.refund is not None
    assert (reading.refund.state, reading.refund.word) == (RefundState.UNKNOWN, "RETURNED")


def test_a_refund_notice_sealed_with_another_key_is_not_opened(wechat: WeChat, pair: Pair) -> None:
    headers, body = signed_refund_callback(pair.public_key, TOLD, api_key=b"x" * 32, at=NOW)
    reading = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.reason, reading.refund) == ("unreadable", "decrypt", None)
