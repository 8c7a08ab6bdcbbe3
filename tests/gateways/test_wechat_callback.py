"""A payment notice is believed only when everything about it holds; what is genuine but not ours is told apart."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.contract import ChannelState
from gateways.sandbox.wechat.signing import PaidOrder, Pair, Signer, answer_headers, box, signed_callback, transaction
from gateways.wechat.channel import WeChat
from tests.gateways.bare import wechat_case
from tests.gateways.conftest import MERCHANT_NO, NOW, PROVIDER_NO

BARE = wechat_case()
PAID = PaidOrder(
    order_no="P0000000000000000000000000A1",
    trade_no="4200000000202603020000000001",
    provider_no=PROVIDER_NO,
    merchant_no=MERCHANT_NO,
    amount_fen=1200,
    paid_at=NOW,
)


def notice(pair: Pair, plain: bytes, **changes: Any) -> tuple[dict[str, str], bytes]:
    """A validly signed notice around any plaintext; ``changes`` replace fields of its body."""
    resource = {
        "original_type": "transaction",
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": box(plain, api_key=pair.api_key, nonce="0123456789ab", associated="transaction"),
        "associated_data": "transaction",
        "nonce": "0123456789ab",
    }
    told = {"id": "EV-1", "event_type": "TRANSACTION.SUCCESS", "resource": resource} | changes
    body = json.dumps(told, ensure_ascii=False).encode()
    return answer_headers(pair.public_key, body=body, at=NOW, nonce="n" * 32), body


def plain(**changes: Any) -> bytes:
    """A paid order's plaintext with fields replaced; None takes a field out."""
    told = json.loads(msgspec.json.encode(transaction(PAID))) | changes
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


@pytest.mark.parametrize("kind", ["certificate", "public_key"])
def test_either_kind_of_key_is_found_by_the_serial_in_the_header(pair: Pair, wechat: WeChat, kind: str) -> None:
    signer: Signer = getattr(pair, kind)
    headers, body = signed_callback(signer, PAID, api_key=pair.api_key, at=NOW)
    assert wechat.parse_callback(headers, body, keys=pair.ring, now=NOW).verdict == "verified"


def test_a_hex_serial_is_compared_without_case_and_leading_zeros(pair: Pair, wechat: WeChat) -> None:
    headers, body = signed_callback(pair.certificate, PAID, api_key=pair.api_key, at=NOW)
    headers["wechatpay-serial"] = "0" + headers["wechatpay-serial"].lower()
    assert wechat.parse_callback(headers, body, keys=pair.ring, now=NOW).verdict == "verified"


def test_a_public_key_id_is_compared_as_it_is(pair: Pair, wechat: WeChat) -> None:
    headers, body = signed_callback(pair.public_key, PAID, api_key=pair.api_key, at=NOW)
    headers["wechatpay-serial"] = headers["wechatpay-serial"].lower()
    assert wechat.parse_callback(headers, body, keys=pair.ring, now=NOW).reason == "serial_unknown"


@pytest.mark.parametrize(("seconds", "reason"), [(299, None), (-299, None), (300, "stale"), (-300, "stale"), (86_400, "stale")])
def test_a_notice_is_fresh_for_less_than_five_minutes_both_ways(
    pair: Pair, wechat: WeChat, seconds: int, reason: str | None
) -> None:
    headers, body = signed_callback(pair.public_key, PAID, api_key=pair.api_key, at=NOW)
    assert wechat.parse_callback(headers, body, keys=pair.ring, now=NOW + timedelta(seconds=seconds)).reason == reason


@pytest.mark.parametrize("timestamp", ["", "-1", "1e9", "١٧٧٢٤١٦٨٠٠", "9" * 40, " 1772416800"])
def test_a_timestamp_that_is_no_number_is_stale(pair: Pair, wechat: WeChat, timestamp: str) -> None:
    headers, body = signed_callback(pair.public_key, PAID, api_key=pair.api_key, at=NOW)
    assert wechat.parse_callback(headers | {"wechatpay-timestamp": timestamp}, body, keys=pair.ring, now=NOW).reason == "stale"


@pytest.mark.parametrize("signature", ["", "WECHATPAY/SIGNTEST/abcdef", "not base64 ;", "AAAA", "A" * 344, "签名"])
def test_a_wrong_signature_is_refused_and_the_channels_probe_is_nothing_else(pair: Pair, wechat: WeChat, signature: str) -> None:
    headers, body = signed_callback(pair.public_key, PAID, api_key=pair.api_key, at=NOW)
    reading = wechat.parse_callback(headers | {"wechatpay-signature": signature}, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.reason, reading.result) == ("refused", "signature", None)


def test_a_signature_of_another_key_is_refused(pair: Pair, wechat: WeChat) -> None:
    headers, body = signed_callback(
        Signer(serial=pair.public_key.serial, key=pair.merchant_key), PAID, api_key=pair.api_key, at=NOW
    )
    assert wechat.parse_callback(headers, body, keys=pair.ring, now=NOW).reason == "signature"


def test_an_expired_certificate_proves_nothing_any_more(pair: Pair, wechat: WeChat) -> None:
    late = NOW + timedelta(days=365 * 5)
    headers, body = signed_callback(pair.certificate, PAID, api_key=pair.api_key, at=late)
    assert wechat.parse_callback(headers, body, keys=pair.ring, now=late).reason == "serial_unknown"


@pytest.mark.parametrize("body", [b"", b"not json", b"\xff", b'{"event_type":'])
def test_signed_garbage_is_unreadable(pair: Pair, wechat: WeChat, body: bytes) -> None:
    headers = answer_headers(pair.public_key, body=body, at=NOW, nonce="n" * 32)
    reading = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.reason) == ("unreadable", "not_json")


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b'{"event_type":"TRANSACTION.SUCCESS"}', b'{"event_type":1,"resource":{}}']
)
def test_a_signed_body_of_another_form_is_unreadable(pair: Pair, wechat: WeChat, body: bytes) -> None:
    headers = answer_headers(pair.public_key, body=body, at=NOW, nonce="n" * 32)
    assert wechat.parse_callback(headers, body, keys=pair.ring, now=NOW).reason == "field_missing"


def test_a_box_sealed_with_another_key_is_not_opened(pair: Pair, wechat: WeChat) -> None:
    headers, body = signed_callback(pair.public_key, PAID, api_key=b"x" * 32, at=NOW)
    reading = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.reason) == ("unreadable", "decrypt")


@pytest.mark.parametrize("associated", ["", None])
def test_empty_or_absent_associated_data_is_taken_as_received(pair: Pair, wechat: WeChat, associated: str | None) -> None:
    resource = {
        "ciphertext": box(plain(), api_key=pair.api_key, nonce="0123456789ab", associated=""),
        "nonce": "0123456789ab",
        "algorithm": "AEAD_AES_256_GCM",
    }
    if associated is not None:
        resource["associated_data"] = associated
    headers, body = notice(pair, b"", resource=resource)
    assert wechat.parse_callback(headers, body, keys=pair.ring, now=NOW).result is not None


@pytest.mark.parametrize("event", ["TRANSACTION.FAIL", "TRANSACTION.PAY_BACK", "REFUND", "X"])
def test_a_genuine_notice_of_another_kind_is_verified_without_a_result(pair: Pair, wechat: WeChat, event: str) -> None:
    headers, body = notice(pair, plain(), event_type=event)
    reading = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.reason, reading.result) == ("verified", "event_unknown", None)


def test_a_scene_that_is_not_handled_here_is_not_taken_for_a_payment(pair: Pair, wechat: WeChat) -> None:
    headers, body = notice(pair, plain(trade_scene="GAS"))
    reading = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.reason, reading.result) == ("verified", "event_unknown", None)


def test_a_notice_of_a_combined_order_without_its_legs_says_nothing(pair: Pair, wechat: WeChat) -> None:
    headers, body = notice(pair, plain(combine_out_trade_no="C1"))
    reading = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.reason, reading.results) == ("unreadable", "field_missing", ())


def test_a_notice_for_another_provider_says_nothing(pair: Pair, wechat: WeChat) -> None:
    headers, body = notice(pair, plain(sp_mchid="1900009999"))
    reading = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.reason, reading.results) == ("unreadable", "other_provider", ())


@pytest.mark.parametrize(
    "field", ["out_trade_no", "trade_state", "sp_mchid", "sub_mchid", "transaction_id", "amount", "success_time"]
)
def test_a_success_without_a_needed_field_is_unreadable(pair: Pair, wechat: WeChat, field: str) -> None:
    headers, body = notice(pair, plain(**{field: None}))
    reading = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.reason, reading.result) == ("unreadable", "field_missing", None)


@pytest.mark.parametrize(
    "field",
    [
        {"amount": {"total": 12.5}},
        {"amount": {"total": "1200"}},
        {"amount": {"total": True}},
        {"amount": {"total": 0}},
        {"amount": {"total": -5}},
        {"out_trade_no": "P1\u0000"},
        {"transaction_id": "x" * 65},
        {"success_time": "2026-03-02T10:00:00"},
        {"success_time": "yesterday"},
        {"sub_mchid": ""},
    ],
)
def test_a_success_with_a_senseless_field_is_unreadable(pair: Pair, wechat: WeChat, field: dict[str, Any]) -> None:
    headers, body = notice(pair, plain(**field))
    assert wechat.parse_callback(headers, body, keys=pair.ring, now=NOW).reason == "field_missing"


def test_new_fields_do_not_disturb(pair: Pair, wechat: WeChat) -> None:
    headers, body = notice(pair, plain(promotion_detail=[{"coupon_id": "1"}], something_new={"a": [1, 2]}), another="x")
    assert wechat.parse_callback(headers, body, keys=pair.ring, now=NOW).result is not None


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("SUCCESS", ChannelState.SUCCEEDED),
        ("REFUND", ChannelState.SUCCEEDED),
        ("NOTPAY", ChannelState.PENDING),
        ("USERPAYING", ChannelState.PENDING),
        ("CLOSED", ChannelState.CLOSED),
        ("REVOKED", ChannelState.CLOSED),
        ("PAYERROR", ChannelState.FAILED),
        ("SOMETHING_NEW", ChannelState.UNKNOWN),
    ],
)
def test_each_state_word_has_one_meaning_and_a_new_one_is_unknown(
    pair: Pair, wechat: WeChat, word: str, state: ChannelState
) -> None:
    headers, body = notice(pair, plain(trade_state=word))
    result = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW).result
    assert result is not None
    assert result.state is state


def test_the_time_of_payment_is_read_with_its_offset_and_milliseconds(pair: Pair, wechat: WeChat) -> None:
    headers, body = notice(pair, plain(success_time="2026-03-01T10:34:56.120+08:00"))
    result = wechat.parse_callback(headers, body, keys=pair.ring, now=NOW).result
    assert result is not None
    assert result.happened_at == datetime(2026, 3, 1, 2, 34, 56, 120_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("reason", "status"),
    [("header_missing", 401), ("stale", 401), ("serial_unknown", 401), ("signature", 401), ("not_json", 400),
     ("decrypt", 500), ("field_missing", 500), ("event_unknown", 500), ("amount_differs", 500), (None, 500)],
)  # fmt: skip
def test_whatever_is_not_taken_is_answered_fail_so_that_it_comes_again(wechat: WeChat, reason: str | None, status: int) -> None:
    answer = wechat.ack(accepted=False, reason=reason)
    assert answer.status == status
    assert json.loads(answer.body)["code"] == "FAIL"


@given(body=st.binary(max_size=300), headers=st.dictionaries(st.sampled_from(
    ["wechatpay-timestamp", "wechatpay-nonce", "wechatpay-signature", "wechatpay-serial"]), st.text(max_size=40)))  # fmt: skip
def test_no_message_from_outside_raises(body: bytes, headers: dict[str, str]) -> None:
    reading = BARE.channel.parse_callback(headers, body, keys=BARE.golden_keys, now=NOW)
    assert reading.result is None
    assert reading.verdict == "refused"
