"""An envelope is taken only when every signed word of it holds; its body has exactly one form."""

import json
from base64 import b64decode, b64encode
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from unicodedata import normalize

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateways.etc import sm2
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.envelope import (
    BODY_BYTES_MAX,
    DEPTH_MAX,
    INTEGER_MAX,
    NO_MESSAGE,
    Head,
    Opened,
    canonical,
    claimed_head,
    head_for,
    http_status,
    open_envelope,
    plain,
    read_reply,
    reply_body,
    seal,
    signed_bytes,
)
from gateways.etc.sign import Algorithm, OurKey, TheirKey, digest_hex
from tests.gateways.etc_cases import MESSAGE_NO, NOW, OUR_SM2, THEIR_SM2, THEM, US, told

SERVICE = "etc.plate.pay"
BODY = {"b": 1, "a": "停"}
KEYS = {THEIR_SM2.key_id: told(THEIR_SM2, THEM)}


@pytest.fixture(scope="module")
def rsa_key() -> OurKey:
    return OurKey("rsa-1", rsa.generate_private_key(public_exponent=65537, key_size=2048))


def head(key: OurKey = THEIR_SM2, **fields: Any) -> Head:
    return replace(head_for(SERVICE, msg_id=MESSAGE_NO, sender=THEM, receiver=US, key=key, now=NOW), **fields)


def sealed(body: dict[str, Any] = BODY, key: OurKey = THEIR_SM2, **fields: Any) -> bytes:
    return seal(body, head=head(key, **fields), key=key)


def opened(content: bytes, **changes: Any) -> Opened | Rejection:
    expected: dict[str, Any] = {"service": SERVICE, "receiver": US, "keys": KEYS, "now": NOW}
    return open_envelope(content, **(expected | changes))


def result(content: bytes, **changes: Any) -> Receipt:
    refused = opened(content, **changes)
    assert isinstance(refused, Rejection)
    assert refused.reason
    return refused.result


def test_the_known_canonical_body_and_its_digest() -> None:
    assert canonical(BODY) == '{"a":"停","b":1}'.encode()
    assert digest_hex(Algorithm.SM2, canonical(BODY)) == "d51ded5f4a7d8f44100b1c85dfcfedaba45027989c65cbf8a1b1ddf5caeac94b"


def test_keys_are_sorted_by_code_point_at_every_level() -> None:
    # in UTF-16 the emoji would come before the private-use character
    body = {"\U0001f697": {"z": 1, "a": [{"y": 1, "x": 2}]}, "\ue000": 1, "B": 1, "a": 1}
    assert canonical(body).decode() == '{"B":1,"a":1,"\ue000":1,"\U0001f697":{"a":[{"x":2,"y":1}],"z":1}}'


def test_only_what_json_must_escape_is_escaped() -> None:
    assert canonical({"a": '"\\/\b\f\n\r\t\x1f\x7f\u2028'}) == b'{"a":"\\"\\\\/\\b\\f\\n\\r\\t\\u001f\x7f\xe2\x80\xa8"}'


def test_the_signed_bytes_are_the_head_in_order_and_the_digest() -> None:
    assert signed_bytes(head(), "ab") == (
        b"1.0|etc.plate.pay|00000000000000000042|00000000000000FD|00000000000000FE|2025-06-18T15:00:00+08:00|SM2SM3|their-1|ab"
    )


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
BODIES = st.recursive(
    st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, BODIES, max_size=4))
def test_a_canonical_body_is_read_back_and_is_its_own_canonical_form(body: dict[str, Any]) -> None:
    sent = plain(body)
    assert json.loads(canonical(sent)) == sent
    assert canonical(json.loads(canonical(sent))) == canonical(sent)
    assert canonical(dict(reversed(list(sent.items())))) == canonical(sent)


@given(TEXT)
def test_text_is_sent_in_nfc_and_only_so_taken(text: str) -> None:
    assert plain(text) == normalize("NFC", text)
    decomposed = normalize("NFD", text)
    if decomposed != normalize("NFC", text):
        with pytest.raises(ValueError, match="NFC"):
            canonical({"a": decomposed})


def test_instants_go_as_beijing_time_and_absent_fields_not_at_all() -> None:
    at = datetime(2025, 6, 18, 8, 0, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    assert plain({"at": at, "on": date(2025, 6, 18), "none": None, "list": (1,)}) == {
        "at": "2025-06-18T15:00:00+08:00",
        "on": "2025-06-18",
        "list": [1],
    }


@pytest.mark.parametrize(
    "value", [1.5, None, [None], {"a": None}, {1: 2}, b"x", "\ud800", INTEGER_MAX + 1, "e\u0301", {"e\u0301": 1}]
)
def test_what_has_no_canonical_form_is_not_signed(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical({"a": value})


@pytest.mark.parametrize("value", [1.5, [None], b"x", datetime(2025, 1, 1)])  # noqa: DTZ001 - a naive time is the fault
def test_what_has_no_place_in_a_body_is_not_sent(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        plain({"a": value})


def test_a_genuine_message_is_taken() -> None:
    told_us = opened(sealed())
    assert isinstance(told_us, Opened)
    assert (told_us.body, told_us.head) == (BODY, head())


def test_the_same_message_signed_again_is_the_same_bytes() -> None:
    assert sealed() == sealed()


def test_rsa_is_taken_as_well_and_means_the_same(rsa_key: OurKey) -> None:
    content = sealed(key=rsa_key)
    with_rsa = opened(content, keys={rsa_key.key_id: told(rsa_key, THEM)})
    with_sm2 = opened(sealed())
    assert isinstance(with_rsa, Opened)
    assert isinstance(with_sm2, Opened)
    assert with_rsa.fingerprint == with_sm2.fingerprint
    assert len(b64decode(json.loads(content)["sign"])) == 256
    assert result(content.replace(b'"b":1', b'"b":2'), keys={rsa_key.key_id: told(rsa_key, THEM)}) is Receipt.SIGNATURE_WRONG


def test_the_fingerprint_differs_by_content_and_by_service() -> None:
    one, other = opened(sealed()), opened(sealed({"b": 2}))
    elsewhere = opened(sealed(msg_type="etc.refund.result"), service="etc.refund.result")
    assert isinstance(one, Opened)
    assert isinstance(other, Opened)
    assert isinstance(elsewhere, Opened)
    assert len({one.fingerprint, other.fingerprint, elsewhere.fingerprint}) == 3


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_clock_off_by_up_to_300_seconds_is_taken(seconds: int) -> None:
    assert isinstance(opened(sealed(), now=NOW + timedelta(seconds=seconds)), Opened)


@pytest.mark.parametrize("seconds", [-301, 301, 86_400])
def test_a_clock_off_by_more_is_refused(seconds: int) -> None:
    assert result(sealed(), now=NOW + timedelta(seconds=seconds)) is Receipt.CLOCK_WRONG


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"msgId":"00000000000000000042"', b'"msgId":"00000000000000000043"'),
        (b"15:00:00+08:00", b"15:00:01+08:00"),
        ("停".encode(), "亭".encode()),
        (b'"b":1', b'"b":1,"c":1'),
    ],
)
def test_any_signed_word_that_is_changed_breaks_the_signature(old: bytes, new: bytes) -> None:
    assert old in sealed()
    assert result(sealed().replace(old, new)) is Receipt.SIGNATURE_WRONG


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"version": "2.0"}, Receipt.VERSION_WRONG),
        ({"msg_type": "etc.clear.stat"}, Receipt.HEADER_WRONG),
        ({"receiver_id": THEM}, Receipt.HEADER_WRONG),
        ({"msg_id": "42"}, Receipt.HEADER_WRONG),
        ({"sender_id": "FD"}, Receipt.HEADER_WRONG),
        ({"send_time": "2025-06-18T07:00:00+00:00"}, Receipt.HEADER_WRONG),
        ({"send_time": "2025-06-31T07:00:00+08:00"}, Receipt.HEADER_WRONG),
        ({"send_time": "2025-06-18T15:00:00+08:00\n"}, Receipt.HEADER_WRONG),
        ({"sign_alg": "MD5"}, Receipt.HEADER_WRONG),
        ({"sign_alg": Algorithm.RSA}, Receipt.KEY_UNKNOWN),
        ({"key_id": ""}, Receipt.HEADER_WRONG),
        ({"key_id": "their-2"}, Receipt.KEY_UNKNOWN),
        ({"sender_id": "00000000000000FF"}, Receipt.KEY_UNKNOWN),
    ],
)
def test_a_head_is_refused_for_its_reason(fields: dict[str, Any], expected: Receipt) -> None:
    assert result(sealed(**fields)) is expected


def test_a_key_counts_only_in_its_time() -> None:
    for bounds in ({"valid_from": NOW + timedelta(seconds=1)}, {"valid_until": NOW}):
        assert result(sealed(), keys={THEIR_SM2.key_id: replace(KEYS[THEIR_SM2.key_id], **bounds)}) is Receipt.KEY_UNKNOWN


def test_anothers_key_under_the_same_id_does_not_hold() -> None:
    keys = {THEIR_SM2.key_id: TheirKey(THEIR_SM2.key_id, THEM, sm2.PrivateKey(7).public)}
    assert result(sealed(), keys=keys) is Receipt.SIGNATURE_WRONG


def test_an_unsigned_word_in_the_head_is_refused() -> None:
    assert result(sealed().replace(b'{"head":{', b'{"head":{"extra":"1",')) is Receipt.HEADER_WRONG


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'"text"',
        b"\xff",
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"head":{},"body":{}}',
        b'{"head":{},"body":[],"sign":""}',
        b'{"head":{},"body":{},"sign":1}',
        b'{"head":{},"body":{},"sign":"***"}',
        b'{"head":{},"body":{},"sign":"","more":1}',
        b'{"head":{},"body":{"a":1.0},"sign":""}',
        b'{"head":{},"body":{"a":1e3},"sign":""}',
        b'{"head":{},"body":{"a":NaN},"sign":""}',
        b'{"head":{},"body":{"a":null},"sign":""}',
        b'{"head":{},"body":{"a":1,"a":2},"sign":""}',
        b'{"head":{},"body":{"a":"\\ud800"},"sign":""}',
        b'{"head":{},"body":{"a":"e\xcc\x81"},"sign":""}',
        b'{"head":{},"body":{"a":' + b"9" * 5000 + b'},"sign":""}',
        b'{"head":{},"body":{"a":9223372036854775808},"sign":""}',
        b'{"head":{},"body":{"a":' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b'},"sign":""}',
        b" " * (BODY_BYTES_MAX + 1),
    ],
)
def test_what_is_no_envelope_is_refused_without_a_fall(content: bytes) -> None:
    assert result(content) is Receipt.SCHEMA_INVALID
    assert claimed_head(content) is None


@given(st.binary(max_size=200))
def test_noise_is_never_taken(noise: bytes) -> None:
    assert isinstance(opened(noise), Rejection)


def test_blanks_and_order_in_what_comes_do_not_matter() -> None:
    spread = json.dumps(json.loads(sealed()), indent=2, sort_keys=True).encode()
    assert isinstance(opened(spread), Opened)


def test_a_reply_has_the_same_envelope_and_names_the_message() -> None:
    body = reply_body(head(), Receipt.ACCEPTED, data={"state": "PAID"})
    assert body == {"ackMsgId": MESSAGE_NO, "result": 1, "reason": "", "data": {"state": "PAID"}}
    back = open_envelope(
        seal(body, head=head_for(SERVICE, msg_id="1".zfill(20), sender=US, receiver=THEM, key=OUR_SM2, now=NOW), key=OUR_SM2),
        service=SERVICE,
        receiver=THEM,
        keys={OUR_SM2.key_id: told(OUR_SM2, US)},
        now=NOW,
    )
    assert isinstance(back, Opened)
    reply = read_reply(back, to=MESSAGE_NO)
    assert not isinstance(reply, Rejection)
    assert (reply.result, reply.data) == (Receipt.ACCEPTED, {"state": "PAID"})
    other = read_reply(back, to=NO_MESSAGE)
    assert isinstance(other, Rejection)
    assert other.result is Receipt.CONTENT_WRONG


@pytest.mark.parametrize(
    "body", [{}, {"ackMsgId": MESSAGE_NO, "result": 99}, {"ackMsgId": "1", "result": 1}, {"ackMsgId": MESSAGE_NO, "result": "1"}]
)
def test_a_reply_of_another_form_is_refused(body: dict[str, Any]) -> None:
    refused = read_reply(Opened(head(), body, ""), to=MESSAGE_NO)
    assert isinstance(refused, Rejection)
    assert refused.result is Receipt.SCHEMA_INVALID


def test_a_message_that_is_refused_is_answered_by_its_own_number_when_it_has_one() -> None:
    content = sealed().replace(b'"b":1', b'"b":2')
    assert claimed_head(content) == head()
    assert reply_body(claimed_head(content), Receipt.SIGNATURE_WRONG)["ackMsgId"] == MESSAGE_NO
    assert reply_body(claimed_head(b"?"), Receipt.SCHEMA_INVALID)["ackMsgId"] == NO_MESSAGE


def test_a_wrong_signature_is_answered_401_and_a_refused_content_200() -> None:
    assert [http_status(code) for code in (Receipt.SIGNATURE_WRONG, Receipt.BUSY, Receipt.CONTENT_WRONG)] == [401, 503, 200]


def test_a_signature_is_raw_and_strictly_base64() -> None:
    content = json.loads(sealed())
    assert len(b64decode(content["sign"])) == 64
    content["sign"] = content["sign"].rstrip("=")
    assert result(json.dumps(content).encode()) is Receipt.SCHEMA_INVALID
    content["sign"] = b64encode(b"0" * 63).decode()
    assert result(json.dumps(content).encode()) is Receipt.SIGNATURE_WRONG


def test_a_naive_time_is_never_sent() -> None:
    with pytest.raises(ValueError, match="time zone"):
        head_for(SERVICE, msg_id=MESSAGE_NO, sender=US, receiver=THEM, key=OUR_SM2, now=NOW.replace(tzinfo=None))
    assert NOW.tzinfo is UTC
