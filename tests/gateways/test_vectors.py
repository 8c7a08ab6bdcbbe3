"""Every published vector of the channel's cryptography passes."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import load_pem_x509_certificate

from gateways.contract import Answer
from gateways.keys import (
    KeyRing,
    VerificationKey,
    canonical_serial,
    certificate_serial,
    from_certificate,
    from_public_key,
    private_key,
)
from gateways.sandbox.wechat.signing import box
from gateways.wechat import bill, sign
from gateways.wechat.channel import Provider, WeChat

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "wechat.json").read_text(encoding="utf-8"))
SAMPLE_KEY = private_key(VECTORS["keys"]["docs_sample"].replace("TESTING KEY", "PRIVATE KEY").encode())


def ring(*keys: VerificationKey, api_key: str = "0" * 32) -> KeyRing:
    return KeyRing(merchant_key=SAMPLE_KEY, merchant_serial="AB", api_key=api_key.encode(), channel_keys=keys)


def named(group: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[group], ids=lambda vector: str(vector["name"]))


@named("request_sign")
def test_a_request_is_signed_as_published(vector: dict[str, str]) -> None:
    message = sign.request_message(
        method=vector["method"],
        target=vector["url"],
        timestamp=vector["timestamp"],
        nonce=vector["nonce_str"],
        body=vector["body"].encode(),
    )
    assert ring().sign(message) == vector["signature"]


@pytest.mark.parametrize("vector", VECTORS["pay_sign"][:1], ids=lambda vector: str(vector["name"]))
def test_the_call_up_parameters_are_signed_as_published(vector: dict[str, str]) -> None:
    channel = WeChat(Provider(provider_no="1900007291", app_id=vector["appId"], notify_url="https://pay.example/n"))
    hand_off = channel.call_up(
        vector["line4"].removeprefix("prepay_id="),
        app_id=vector["appId"],
        keys=ring(),
        now=datetime.fromtimestamp(int(vector["timeStamp"]), UTC),
        nonce=vector["nonceStr"],
    )
    assert hand_off.fields["paySign"] == vector["paySign"]
    assert hand_off.fields["package"] == vector["line4"]


@pytest.mark.parametrize("vector", VECTORS["pay_sign"], ids=lambda vector: str(vector["name"]))
def test_four_lines_are_signed_as_published(vector: dict[str, str]) -> None:
    message = sign.call_up_message(
        app_id=vector["appId"], timestamp=vector["timeStamp"], nonce=vector["nonceStr"], package=vector["line4"]
    )
    assert ring().sign(message) == vector["paySign"]


@named("raw_sign_verify")
def test_a_published_signature_verifies_and_an_altered_message_does_not(vector: dict[str, str]) -> None:
    key = from_certificate(vector["certificate"].encode())
    assert key.verifies(vector["message"].encode(), vector["signature"])
    assert not key.verifies(vector["message"].encode() + b".", vector["signature"])
    assert key.serial == vector["serial"]


@named("response_verify")
def test_a_published_answer_verifies_at_its_time_and_is_stale_five_minutes_later(vector: dict[str, Any]) -> None:
    serial = "PUB_KEY_ID_0114232134912410000000000000"
    keys = ring(from_public_key(vector["public_key"].encode(), serial=serial))
    headers = {name.lower(): value for name, value in vector["headers"].items()} | {"wechatpay-serial": serial}
    at = int(headers["wechatpay-timestamp"])
    body = vector["body"].encode()
    assert sign.objection(headers, body, keys=keys, now=datetime.fromtimestamp(at, UTC)) is None
    assert sign.objection(headers, body, keys=keys, now=datetime.fromtimestamp(at + 299, UTC)) is None
    assert sign.objection(headers, body, keys=keys, now=datetime.fromtimestamp(at + 300, UTC)) == "stale"
    assert sign.objection(headers, body, keys=keys, now=datetime.fromtimestamp(at - 300, UTC)) == "stale"


@named("callback")
def test_a_published_notice_verifies_and_opens_and_is_not_of_our_kind(vector: dict[str, Any]) -> None:
    keys = ring(from_certificate(vector["certificate"].encode()), api_key=vector["apiv3_key"])
    headers = {name.lower(): value for name, value in vector["headers"].items()}
    body = vector["body"].encode()
    now = datetime.fromtimestamp(int(headers["wechatpay-timestamp"]), UTC)
    channel = WeChat(Provider(provider_no="1900000001", app_id="wx1", notify_url="https://pay.example/n"))
    reading = channel.parse_callback(headers, body, keys=keys, now=now)
    assert (reading.verdict, reading.reason, reading.result) == ("verified", "event_unknown", None)
    resource = json.loads(body)["resource"]
    opened = keys.decrypt(
        nonce=resource["nonce"], ciphertext=resource["ciphertext"], associated=resource["associated_data"]
    )  # fmt: skip
    assert opened == vector["plaintext"].encode()
    altered = body.replace("签约成功".encode(), "签约失败".encode())
    assert channel.parse_callback(headers, altered, keys=keys, now=now).reason == "signature"


@named("aes_gcm")
def test_a_published_box_opens_and_seals_to_the_same_text(vector: dict[str, str]) -> None:
    keys = ring(api_key=vector["key"])
    plain = keys.decrypt(nonce=vector["nonce"], ciphertext=vector["ciphertext"], associated=vector["associated_data"])
    assert plain == vector["plaintext"].encode()
    assert keys.decrypt(nonce=vector["nonce"], ciphertext=vector["ciphertext"], associated="other") is None
    sealed = box(
        vector["plaintext"].encode(), api_key=vector["key"].encode(), nonce=vector["nonce"], associated=vector["associated_data"]
    )
    assert sealed == vector["ciphertext"]


@named("platform_certificates")
def test_published_certificates_decrypt_to_the_serial_they_state(vector: dict[str, str]) -> None:
    keys = ring(api_key=vector["apiv3_key"])
    row = json.loads(vector["response"])["data"][0]["encrypt_certificate"]
    pem = keys.decrypt(nonce=row["nonce"], ciphertext=row["ciphertext"], associated=row["associated_data"])
    assert pem is not None
    key = from_certificate(pem)
    assert key.serial == vector["serial"]
    if "not_before" in vector:
        assert key.valid_from == datetime.fromisoformat(vector["not_before"])
        assert key.valid_until == datetime.fromisoformat(vector["not_after"])


@named("platform_certificates")
def test_published_certificates_without_a_signature_are_not_taken(vector: dict[str, str]) -> None:
    channel = WeChat(Provider(provider_no="1900000001", app_id="wx1", notify_url="https://pay.example/n"))
    answer = Answer(status=200, headers={}, body=vector["response"].encode())
    assert channel.parse_certificates(answer, keys=ring(api_key=vector["apiv3_key"]), now=datetime(2024, 1, 1, tzinfo=UTC)) is None


@named("certificate_serials")
def test_a_published_certificate_has_the_serial_the_channel_writes(vector: dict[str, str]) -> None:
    certificate = load_pem_x509_certificate(vector["certificate"].encode())
    assert certificate_serial(certificate) == canonical_serial(vector["serial"].lower())


def test_the_published_bill_rows_are_read_and_its_summary_form_too() -> None:
    excerpt = VECTORS["trade_bill_all"]["excerpt"]
    summary = "`2.0,`0.03,`0.01,`0.0,`0.01,`0.03,`0.01"
    lines = [excerpt["header"], excerpt["payment_row"], excerpt["refund_row"], excerpt["summary_header"], summary]
    read = bill.parse(b"\xef\xbb\xbf" + "\r\n".join(lines).encode(), provider_no="1921000401")
    payment, refund = read.lines
    assert (payment.kind, payment.amount_fen, payment.fee_fen) == ("payment", 3, 1)
    assert (refund.kind, refund.amount_fen, refund.fee_fen) == ("refund", 1, 0)
    assert payment.order_no == "autotest_20190219015232_89201"
    assert refund.refund_no == "REF4200000263201902167700963919"
    assert payment.happened_at == datetime(2019, 2, 18, 17, 52, 32, tzinfo=UTC)
    assert (read.total_fen, read.refund_fen, read.fee_fen) == (3, 1, 1)
