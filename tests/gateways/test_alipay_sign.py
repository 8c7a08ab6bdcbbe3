"""Alipay's signatures: the published answer verifies, and only the characters that were signed are ever read."""

import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.alipay import certificates, sign
from gateways.keys import VerificationKey

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "alipay.json").read_text(encoding="utf-8"))
OURS = rsa.generate_private_key(65537, 2048)
THEIRS = rsa.generate_private_key(65537, 2048)
KEY = VerificationKey(serial=certificates.key_name("2021000000000001"), public_key=THEIRS.public_key())
OTHER_KEY = VerificationKey(serial="other", public_key=OURS.public_key())
METHOD = "alipay.trade.query"
NODE = '{"code":"10000","msg":"Success","trade_no":"2026030122001400001000000001"}'


def answered(node: str, *, name: str = "alipay_trade_query_response", signed: str | None = None, more: str = "") -> bytes:
    signature = sign.rsa2((node if signed is None else signed).encode(), key=THEIRS)
    return f'{{"{name}":{node},{more}"sign":"{signature}"}}'.encode()


def reason(body: bytes, *, key: VerificationKey | None = KEY) -> str | None:
    return sign.opened(sign.envelope(body, method=METHOD), key=key).reason


# Answers


@pytest.mark.parametrize("vector", VECTORS["response_signature"], ids=lambda vector: str(vector["source"]))
def test_a_published_answer_verifies_and_an_altered_one_does_not(vector: dict[str, str]) -> None:
    key = certificates.public_key(vector["alipay_public_key"].encode(), app_id="2019000000000001")
    for signature_first in (True, False):
        pair = (f'"sign":"{vector["sign"]}"', f'"alipay_trade_pay_response":{vector["signed_text"]}')
        body = ("{" + ",".join(pair if signature_first else reversed(pair)) + "}").encode()
        answer = sign.envelope(body, method="alipay.trade.pay")
        assert sign.opened(answer, key=key) == sign.Opened(text=vector["signed_text"])
        altered = sign.envelope(body.replace(b'"total_amount":"0.01"', b'"total_amount":"0.02"'), method="alipay.trade.pay")
        assert sign.opened(altered, key=key) == sign.Opened(reason="signature")


def test_an_answer_is_proven_in_the_characters_that_came() -> None:
    spaced = '{ "code" : "10000",\n "msg":"\\u6210功" }'
    assert sign.opened(sign.envelope(answered(spaced), method=METHOD), key=KEY).text == spaced
    assert reason(answered('{"code":"10000"}', signed='{"code": "10000"}')) == "signature"


@pytest.mark.parametrize(
    "value",
    [
        '"}"',
        '"{"',
        '"\\\\"',
        '"\\""',
        '"\\"}"',
        '"}\\\\\\"{"',
        '",\\"sign\\":\\"x\\""',
        "[{},[[]]]",
        '{"a":{"b":"]"}}',
        "1.50",
        "null",
    ],
)
def test_brackets_and_escapes_inside_values_do_not_end_the_node(value: str) -> None:
    node = f'{{"code":"10000","note":{value}}}'
    for more in ("", '"alipay_cert_sn":"ab}","x":[1,{"y":"\\"{"}],'):
        answer = sign.envelope(answered(node, more=more), method=METHOD)
        assert sign.opened(answer, key=KEY).text == node


@given(value=st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
@settings(deadline=None)
def test_whatever_the_node_holds_it_is_cut_out_whole(value: object) -> None:
    for ascii_only in (True, False):
        node = json.dumps({"code": "10000", "value": value}, ensure_ascii=ascii_only).encode("utf-8", "replace").decode()
        body = f'{{"sign":"AAAA" , "alipay_trade_query_response" : {node} }}'.encode()
        answer = sign.envelope(body, method=METHOD)
        assert answer is not None
        assert (answer.text, answer.signature) == (node, "AAAA")


@given(body=st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ sign\n0a', max_size=60).map(str.encode))
def test_no_body_makes_the_scanner_raise(body: bytes) -> None:
    for charset in ("utf-8", "gbk"):
        answer = sign.envelope(body, method=METHOD, charset=charset)
        assert answer is None or answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"<html>",
        b"{}",
        b"[]",
        b'{"sign":"x"}',
        b'{"alipay_trade_close_response":{},"sign":"x"}',
        b'{"alipay_trade_query_response":{},"sign":"x"',
        b'{"alipay_trade_query_response":{},"sign":"x"} x',
        b'{"alipay_trade_query_response":{"a":"},"sign":"x"}',
        b'{"alipay_trade_query_response":{"a":1,"sign":"x"}',
        b'{"alipay_trade_query_response":{"a":[1,"sign":"x"',
        b'{"alipay_trade_query_response":{},,"sign":"x"}',
        b'{"alipay_trade_query_response":{},"sign":"x",}',
        b'{"alipay_trade_query_response" {},"sign":"x"}',
        b'{"alipay_trade_query_response":,"sign":"x"}',
        b'{alipay_trade_query_response:{},"sign":"x"}',
        b'{"alipay_trade_query_response":{},"alipay_trade_query_response":{},"sign":"x"}',
        b'{"alipay_trade_query_response":{},"error_response":{},"sign":"x"}',
        b'{"alipay_trade_query_response":{},"sign":"x","sign":"y"}',
        b'{"alipay_trade_query_response":{},"\\ud800":1,"sign":"x"}',
        '{"alipay_trade_query_response":{"msg":"成功"},"sign":"x"}'.encode("gbk"),
    ],
)
def test_what_is_not_one_clear_answer_is_not_read(body: bytes) -> None:
    assert sign.envelope(body, method=METHOD) is None
    assert reason(body) == "not_json"


def test_an_answer_that_nobody_signed_proves_nothing() -> None:
    for body in (f'{{"alipay_trade_query_response":{NODE}}}', f'{{"alipay_trade_query_response":{NODE},"sign":1}}'):
        assert reason(body.encode()) == "signature_missing"


def test_an_answer_signed_by_another_key_or_over_other_text_proves_nothing() -> None:
    assert reason(answered(NODE)) is None
    assert reason(answered(NODE), key=OTHER_KEY) == "signature"
    assert reason(answered(NODE), key=None) == "serial_unknown"
    assert reason(answered(NODE, signed=NODE.replace("10000", "40004"))) == "signature"
    assert reason(answered(NODE).replace(b'"sign":"', b'"sign":"!')) == "signature"


def test_an_error_of_the_gateway_is_told_from_the_methods_own_and_proven_like_it() -> None:
    node = '{"code":"40002","msg":"Invalid Arguments","sub_code":"isv.invalid-timestamp"}'
    answer = sign.envelope(answered(node, name="error_response"), method=METHOD)
    assert answer is not None
    assert answer.failed
    assert sign.opened(answer, key=KEY).text == node
    own = sign.envelope(answered(node), method=METHOD)
    assert own is not None
    assert not own.failed


def test_an_answer_in_certificate_mode_names_the_certificate() -> None:
    for sn, named in (('"b09baa7d1d5b198c713b230c5a6ec8e7"', "b09baa7d1d5b198c713b230c5a6ec8e7"), ("7", None)):
        answer = sign.envelope(answered(NODE, more=f'"alipay_cert_sn":{sn},'), method=METHOD)
        assert answer is not None
        assert answer.cert_sn == named


def test_an_answer_signed_before_its_slashes_were_escaped_holds_and_is_read_as_signed() -> None:
    wired, plain = '{"qr_code":"https:\\/\\/qr.alipay.com\\/bax1"}', '{"qr_code":"https://qr.alipay.com/bax1"}'
    assert sign.opened(sign.envelope(answered(wired, signed=plain), method=METHOD), key=KEY).text == plain
    assert sign.opened(sign.envelope(answered(wired), method=METHOD), key=KEY).text == wired
    assert reason(answered(plain, signed=wired)) == "signature"


def test_slashes_are_not_tried_when_the_switch_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign, "SLASHES_OPTIONAL", False)
    assert reason(answered('{"a":"\\/"}', signed='{"a":"/"}')) == "signature"


def test_an_encrypted_answer_is_signed_with_its_quotes() -> None:
    assert sign.opened(sign.envelope(answered('"c2VjcmV0"'), method=METHOD), key=KEY).text == '"c2VjcmV0"'


@pytest.mark.parametrize("charset", ["GBK", "gb2312", "gb18030", "utf-8", "UTF-8"])
def test_an_answer_is_verified_in_its_charset(charset: str) -> None:
    node = '{"msg":"业务处理失败 \\\\ 囧","sub_msg":"誠"}' if charset != "gb2312" else '{"msg":"业务处理失败"}'
    signature = sign.rsa2(node.encode(charset), key=THEIRS)
    body = f'{{"alipay_trade_query_response":{node},"sign":"{signature}"}}'.encode(charset)
    assert sign.opened(sign.envelope(body, method=METHOD, charset=charset), key=KEY).text == node


def test_a_character_whose_second_byte_is_a_backslash_or_a_bracket_does_not_mislead_the_scanner() -> None:
    node = '{"msg":"' + b"\x81\x5c\x81\x7b\x81\x7d\x81\x5b".decode("gbk") + '"}'
    body = f'{{"alipay_trade_query_response":{node},"sign":"x"}}'.encode("gbk")
    answer = sign.envelope(body, method=METHOD, charset="gbk")
    assert answer is not None
    assert answer.text.encode("gbk") == node.encode("gbk")


def test_reading_two_bytes_and_writing_them_again_gives_the_same_two_bytes() -> None:
    for lead in range(0x81, 0xFF):
        for trail in range(0x40, 0xFF):
            pair = bytes((lead, trail))
            try:
                letters = pair.decode("gb18030")
            except UnicodeDecodeError:
                continue
            assert letters.encode("gb18030") == pair


def test_a_charset_that_the_channel_does_not_use_is_not_read() -> None:
    assert sign.envelope(answered(NODE), method=METHOD, charset="utf-16") is None


# Requests


def test_a_request_is_signed_over_the_text_in_the_channels_document() -> None:
    fields = {
        "version": "1.0",
        "app_id": "2021000000000001",
        "method": "alipay.trade.query",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-03-01 09:00:00",
        "biz_content": '{"out_trade_no":"PK1"}',
        "notify_url": "",
        "sign": "left over",
    }
    messages: list[bytes] = []

    def signing(message: bytes) -> str:
        messages.append(message)
        return sign.rsa2(message, key=OURS)

    sent = sign.signed(fields, sign=signing)
    assert messages == [
        (
            b'app_id=2021000000000001&biz_content={"out_trade_no":"PK1"}&charset=utf-8&method=alipay.trade.query'
            b"&sign_type=RSA2&timestamp=2026-03-01 09:00:00&version=1.0"
        )
    ]
    assert len(sent["sign"]) == 344
    assert "notify_url" not in sent
    assert OTHER_KEY.verifies(messages[0], sent["sign"])


def test_names_are_sorted_by_their_bytes() -> None:
    assert sign.request_message({b"b": b"1", b"B": b"2", b"a_c": b"3", b"ab": b"4", b"a": b"5"}) == b"B=2&a=5&a_c=3&ab=4&b=1"


names = st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12)


@given(fields=st.dictionaries(names.filter(lambda name: name not in {"sign", "charset"}), st.text(max_size=40), max_size=12))
@settings(deadline=None, max_examples=40)
def test_a_verifier_of_requests_finds_our_signature_good(fields: Mapping[str, str]) -> None:
    sent = sign.signed(fields, sign=lambda message: sign.rsa2(message, key=OURS))
    came = sign.read_form(urlencode(sent).encode())
    assert came.text == sent
    assert OTHER_KEY.verifies(sign.request_message(came.raw), came.text["sign"])


# Notices


FIELDS = {
    "app_id": "2021000000000001",
    "charset": "utf-8",
    "notify_id": "2026030100222090006000011400000001",
    "out_trade_no": "P0000000000000000000000000001",
    "seller_id": "2088001122334455",
    "subject": "停车费 A+B=100%&x",
    "total_amount": "12.00",
    "trade_no": "2026030122001400001000000001",
    "trade_status": "TRADE_SUCCESS",
    "a_field_of_next_year": "1",
}


def notice(fields: Mapping[str, str] = FIELDS, *, charset: str = "utf-8", more: str = "&sign_type=RSA2") -> bytes:
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    signature = sign.rsa2(text.encode(charset), key=THEIRS)
    return (urlencode(fields, encoding=charset) + more + "&sign=" + quote_plus(signature)).encode()


def objection(body: bytes, *, key: VerificationKey | None = KEY) -> str | None:
    return sign.notice_objection(sign.read_form(body), key=key)


def test_a_notice_is_signed_over_every_field_that_came_but_the_two_about_the_signature() -> None:
    form = sign.read_form(notice())
    assert sign.notice_objection(form, key=KEY) is None
    assert form.text["subject"] == FIELDS["subject"]


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"12.00", b"12.01"), (b"TRADE_SUCCESS", b"TRADE_CLOSED"), (b"next_year=1", b"next_year=2"), (b"&notify_id=", b"&notify_ID=")],
)
def test_a_notice_altered_anywhere_is_refused(old: bytes, new: bytes) -> None:
    assert objection(notice().replace(old, new)) == "signature"


def test_a_field_added_to_or_taken_from_a_notice_makes_it_refused() -> None:
    assert objection(notice() + b"&gmt_refund=2026-03-01+09%3A00%3A00") == "signature"
    assert objection(notice().replace(b"&a_field_of_next_year=1", b"")) == "signature"


def test_the_name_of_the_certificate_is_not_signed() -> None:
    assert objection(notice(more="&sign_type=RSA2&alipay_cert_sn=b09baa7d1d5b198c713b230c5a6ec8e7")) is None


def test_an_empty_field_is_absent_whether_or_not_it_was_signed() -> None:
    signed_empty = notice(FIELDS | {"body": ""})
    assert objection(signed_empty) is None
    assert "body" not in sign.read_form(signed_empty).text
    assert objection(notice() + b"&body=") is None
    assert objection(notice() + b"&body") is None


def test_an_empty_field_that_was_not_signed_is_refused_when_the_switch_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign, "EMPTY_NOTICE_FIELDS_OPTIONAL", False)
    assert objection(notice() + b"&body=") == "signature"
    assert objection(notice(FIELDS | {"body": ""})) is None


def test_an_emptied_field_is_not_taken_for_an_absent_one() -> None:
    assert objection(notice().replace(b"total_amount=12.00", b"total_amount=")) == "signature"


def test_a_field_given_twice_is_refused_before_anything_else_is_looked_at() -> None:
    assert objection(notice() + b"&total_amount=12.00") == "field_twice"
    assert objection(notice() + b"&total%5Famount=12.00") == "field_twice"
    assert sign.read_form(notice() + b"&total_amount=12.00").text == {}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "signature_missing"),
        (b"sign=", "signature_missing"),
        (b"a=%", "not_form"),
        (b"a=%4", "not_form"),
        (b"a=%zz", "not_form"),
        (b"&".join(b"f%d=1" % number for number in range(sign.FORM_FIELDS_MAX + 1)), "not_form"),
        (b"charset=latin-1&sign=x&sign_type=RSA2", "charset_unknown"),
        (b"charset=%ff&sign=x", "charset_unknown"),
        (b"a=%ff&sign=x&sign_type=RSA2", "not_text"),
        (b"%ff=a&sign=x&sign_type=RSA2", "not_text"),
        (b"a=1&sign=x", "sign_type"),
        (b"a=1&sign=x&sign_type=RSA", "sign_type"),
        (b"a=1&sign=x&sign_type=RSA2", "signature"),
        ("a=1&sign=签&sign_type=RSA2".encode(), "signature"),
        (b"a=1&sign=" + b64encode(bytes(256)).replace(b"+", b"%2B") + b"&sign_type=RSA2", "signature"),
    ],
)
def test_a_notice_that_is_not_proven_is_refused_with_the_reason(body: bytes, why: str) -> None:
    assert objection(body) == why


def test_a_notice_of_an_application_without_a_key_is_refused() -> None:
    assert objection(notice(), key=None) == "serial_unknown"
    assert objection(notice(), key=OTHER_KEY) == "signature"


@pytest.mark.parametrize("charset", ["gbk", "GBK", "gb2312", "gb18030"])
def test_a_notice_is_verified_and_read_in_its_charset(charset: str) -> None:
    form = sign.read_form(notice(FIELDS | {"charset": charset}, charset=charset))
    assert sign.notice_objection(form, key=KEY) is None
    assert form.text["subject"] == FIELDS["subject"]


def test_a_plus_that_was_escaped_stays_a_plus_and_one_that_was_not_is_a_space() -> None:
    assert sign.read_form(b"a=1%2B1&b=1+1&&c=a%3Db=c").text == {"a": "1+1", "b": "1 1", "c": "a=b=c"}


@given(body=st.binary(max_size=80) | st.text(alphabet="a=&%+sign_type2F\n", max_size=80).map(str.encode))
def test_no_form_makes_the_reader_raise(body: bytes) -> None:
    assert objection(body) is not None
