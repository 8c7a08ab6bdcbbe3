"""UnionPay's signatures: published values hold, only the channel's own certificate counts, messages are taken apart exactly."""

import hashlib
import json
import string
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import BasicConstraints, Certificate, CertificateBuilder, Name, NameAttribute, load_pem_x509_certificate
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from gateways.keys import VerificationKey, certificate_serial, from_certificate
from gateways.unionpay import answers, sign, wire
from gateways.unionpay.sign import Objection, SignerCertificates, SignMethodUnavailable
from ledger.errors import Refused

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "unionpay.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)
CHANNEL_NAME = "041@8310000000083040@中国银联股份有限公司@00016493"
MERCHANT_NAME = "041@Z2026-03-01@700000000000001:SIGN@00000002"


def has_sm3() -> bool:
    try:
        sign.sm3(b"")
    except SignMethodUnavailable:
        return False
    return True


with_sm3 = pytest.mark.skipif(not has_sm3(), reason="this OpenSSL has no SM3")


def named(text: str) -> Name:
    return Name([NameAttribute(NameOID.COUNTRY_NAME, "CN"), NameAttribute(NameOID.COMMON_NAME, text)])


def issue(
    subject: Name | str,
    key: Any,
    *,
    issuer: Name,
    issuer_key: RSAPrivateKey,
    ca: bool = False,
    valid_from: datetime = NOW - 100 * DAY,
    valid_until: datetime = NOW + 100 * DAY,
    serial: int = 68759663125,
) -> Certificate:
    builder = CertificateBuilder(
        issuer_name=issuer,
        subject_name=named(subject) if isinstance(subject, str) else subject,
        public_key=key.public_key(),
        serial_number=serial,
        not_valid_before=valid_from,
        not_valid_after=valid_until,
    )
    return builder.add_extension(BasicConstraints(ca=ca, path_length=None), critical=True).sign(issuer_key, hashes.SHA256())


def pem(certificate: Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


class Authority(Struct, frozen=True):
    """An authority of the tests, in the form of the real one: root, middle, and keys for those who sign."""

    root: Certificate
    middle: Certificate
    middle_key: RSAPrivateKey
    root_key: RSAPrivateKey
    key: RSAPrivateKey
    other_key: RSAPrivateKey

    def leaf(self, name: Name | str = CHANNEL_NAME, *, key: Any = None, **changes: Any) -> Certificate:
        key = key or self.key
        issuer: dict[str, Any] = {"issuer": self.middle.subject, "issuer_key": self.middle_key}
        return issue(name, key, **issuer | changes)

    def signers(self, **changes: Any) -> SignerCertificates:
        return SignerCertificates(roots=[self.root], middles=[self.middle], **changes)

    def message(self, certificate: Certificate | str, *, key: RSAPrivateKey | None = None, **fields: str) -> dict[str, str]:
        text = certificate if isinstance(certificate, str) else pem(certificate)
        whole = {"version": "5.1.0", "encoding": "UTF-8", "respCode": "00", "merId": "777290058110097"} | fields
        whole |= {"signPubKeyCert": text, "signMethod": "01"}
        return whole | {"signature": signer(key or self.key)(sign.digest_text(whole))}


def signer(key: RSAPrivateKey) -> Callable[[bytes], str]:
    return lambda message: b64encode(key.sign(message, PKCS1v15(), hashes.SHA256())).decode()


@pytest.fixture(scope="module")
def authority() -> Authority:
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(4)]
    root = issue("TEST ROOT", keys[0], issuer=named("TEST ROOT"), issuer_key=keys[0], ca=True, serial=1)
    middle = issue("TEST OCA1", keys[1], issuer=root.subject, issuer_key=keys[0], ca=True, serial=2)
    return Authority(root, middle, keys[1], keys[0], keys[2], keys[3])


def objected(authority: Authority, fields: Mapping[str, str], *, now: datetime = NOW, **changes: Any) -> Objection | None:
    return sign.objection(fields, certificates=authority.signers(**changes), now=now)


# The published values


def published(group: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[group], ids=lambda vector: str(vector.get("name", "")))


@published("signing")
def test_the_published_digest_and_signature_hold(vector: dict[str, Any]) -> None:
    assert sign.digest_text(vector["fields"]).decode() == vector["digest_hex"]
    certificate = load_pem_x509_certificate(vector["certificate"].encode())
    assert sign.cert_id(certificate) == str(int(certificate_serial(certificate), 16)) == vector["fields"]["certId"]
    key = from_certificate(vector["certificate"].encode())
    if vector["name"] == "5.1.0":
        assert key.verifies(sign.digest_text(vector["fields"]), vector["signature"])
        assert not key.verifies(sign.digest_text(vector["fields"] | {"merId": "888888888888889"}), vector["signature"])
    else:
        signed = vector["fields"] | {"signature": vector["signature"]}
        at = datetime(2016, 4, 17, tzinfo=UTC)
        keys = {"68759663125": key}
        assert sign.objection_old(signed, keys=keys, now=at) is None
        assert sign.objection_old(signed | {"merId": "888888888888889"}, keys=keys, now=at) is Objection.SIGNATURE


@published("sorting")
def test_the_published_sign_string_is_built(vector: dict[str, Any]) -> None:
    assert sign.sign_string(vector["fields"]) == vector["string"]


def test_the_check_value_of_the_documents_is_met() -> None:
    text = "certId=68759663125&merId=888888888888888&signMethod=01&sysReserved={aaa=a&bbb=b}&transType=01&version=5.1.0"
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest == "5b9536c5babc539ddcaf1672972b196c510b6397e6f5820eee37c8c69e85741d"
    fields = sign.answer_fields(text.encode())
    assert fields is not None
    assert fields["sysReserved"] == "{aaa=a&bbb=b}"
    assert sign.digest_text(fields).decode() == digest


@published("parsing")
def test_a_published_answer_is_taken_apart(vector: dict[str, Any]) -> None:
    fields = sign.answer_fields(vector["text"].encode())
    assert fields is not None
    assert {name: fields[name] for name in vector["expect"]} == vector["expect"]
    assert "&".join(f"{name}={fields[name]}" for name in sorted(fields)) == vector["text"]


@published("sm3")
@with_sm3
def test_the_published_sm3_digest_is_met(vector: dict[str, str]) -> None:
    assert sign.sm3(vector["text"].encode()) == vector["hex"]


def test_the_published_merchant_certificate_is_not_the_channels() -> None:
    certificate = VECTORS["signing"][0]["certificate"]
    name = load_pem_x509_certificate(certificate.encode()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert str(name).split("@")[2] == "700000000000001:SIGN"


# What we sign


def test_fields_without_a_value_and_the_signature_are_not_signed_and_upper_case_sorts_first() -> None:
    fields = {"b": "2", "a": "1", "B": "3", "empty": "", "signature": "old"}
    assert sign.sign_string(fields) == "B=3&a=1&b=2"


def test_a_signed_request_carries_method_and_decimal_certificate_number_and_verifies(authority: Authority) -> None:
    request = sign.signed(
        {"version": "5.1.0", "encoding": "UTF-8", "txnType": "00", "empty": "", "signature": "old"},
        certificate_id="68759663125",
        sign=signer(authority.key),
    )
    assert (request["signMethod"], request["certId"], "empty" in request) == ("01", "68759663125", False)
    key = VerificationKey(serial="1", public_key=authority.key.public_key())
    assert key.verifies(sign.digest_text(request), request["signature"])
    digest = hashlib.sha256(b"certId=68759663125&encoding=UTF-8&signMethod=01&txnType=00&version=5.1.0").hexdigest()
    assert key.verifies(digest.encode(), request["signature"])


def test_a_request_of_the_old_version_is_signed_with_sha1(authority: Authority) -> None:
    request = sign.signed({"version": "5.0.0", "txnType": "00"}, certificate_id="7", sign=sign.sha1_signer(authority.key))
    assert len(sign.digest_text(request)) == 40
    keys = {"7": from_certificate(pem(authority.leaf()).encode())}
    assert sign.objection_old(request, keys=keys, now=NOW) is None


def test_gbk_messages_are_signed_in_gbk() -> None:
    fields = {"version": "5.1.0", "encoding": "GBK", "respMsg": "成功[0000000]"}
    expected = hashlib.sha256("encoding=GBK&respMsg=成功[0000000]&version=5.1.0".encode("gbk")).hexdigest()
    assert sign.digest_text(fields).decode() == expected


@pytest.mark.parametrize("fields", [{}, {"version": "6.0.0"}, {"version": "5.1.0", "encoding": "UTF-16"}])
def test_a_message_of_an_unknown_version_or_encoding_has_no_digest(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"there is no version|is not an encoding"):
        sign.digest_text(fields)


@pytest.mark.parametrize("method", [wire.SHA256_KEY, pytest.param(wire.SM3_KEY, marks=with_sm3)])
def test_a_shared_key_signs_and_verifies_and_has_no_certificate_number(method: str) -> None:
    request = sign.signed_with_shared_key(
        {"version": "5.1.0", "encoding": "UTF-8", "certId": "1", "txnType": "00"}, key="secret", method=method
    )
    assert "certId" not in request
    assert sign.objection_shared(request, key="secret", method=method) is None
    upper = request | {"signature": request["signature"].upper()}
    assert sign.objection_shared(upper, key="secret", method=method) is None
    assert sign.objection_shared(request, key="other", method=method) is Objection.SIGNATURE
    assert sign.objection_shared(request | {"txnType": "01"}, key="secret", method=method) is Objection.SIGNATURE
    assert sign.objection_shared(request | {"signature": "\udc80签"}, key="secret", method=method) is Objection.SIGNATURE
    assert sign.objection_shared(request | {"signature": ""}, key="secret", method=method) is Objection.SIGNATURE_MISSING
    assert sign.objection_shared(request | {"signMethod": "01"}, key="secret", method=method) is Objection.METHOD
    assert sign.objection_shared(request | {"txnType": "\ud800"}, key="secret", method=method) is Objection.SIGNATURE


def test_the_shared_key_signature_has_the_documents_shape() -> None:
    request = sign.signed_with_shared_key({"version": "5.1.0", "b": "2", "a": "1"}, key="secret")
    inner = hashlib.sha256(b"secret").hexdigest()
    assert request["signature"] == hashlib.sha256(f"a=1&b=2&signMethod=11&version=5.1.0&{inner}".encode()).hexdigest()
    with pytest.raises(ValueError, match="no shared key"):
        sign.signed_with_shared_key({}, key="secret", method="01")


def test_a_machine_without_sm3_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> None:
        raise UnsupportedAlgorithm("SM3")

    monkeypatch.setattr("gateways.unionpay.sign.hashes.Hash", missing)
    with pytest.raises(Refused, match="no SM3") as refused:
        sign.signed_with_shared_key({"version": "5.1.0"}, key="secret", method="12")
    assert refused.value.code == "sign_method_unavailable"


# Whose certificate counts


def test_a_message_of_the_channel_verifies_with_the_certificate_in_it(authority: Authority) -> None:
    message = authority.message(authority.leaf(), respMsg="成功[0000000]", unknownField="kept={x=1&y=2}")
    assert objected(authority, message) is None
    assert objected(authority, message | {"empty": ""}) is None


@pytest.mark.parametrize("field", ["respCode", "unknownField", "merId", "signPubKeyCert"])
def test_any_field_that_is_altered_or_added_or_left_out_breaks_the_signature(authority: Authority, field: str) -> None:
    leaf = authority.leaf()
    message = authority.message(leaf, unknownField="x")
    altered = pem(leaf).replace("\n", "\r\n") if field == "signPubKeyCert" else "y"
    assert objected(authority, message | {field: altered}) is Objection.SIGNATURE
    assert objected(authority, message | {"added": "1"}) is Objection.SIGNATURE
    if field != "signPubKeyCert":
        assert objected(authority, {name: value for name, value in message.items() if name != field}) is Objection.SIGNATURE


def test_a_certificate_with_crlf_is_kept_as_it_came(authority: Authority) -> None:
    message = authority.message(pem(authority.leaf()).replace("\n", "\r\n"))
    assert objected(authority, message) is None


@pytest.mark.parametrize("missing", ["signature", "signPubKeyCert"])
def test_a_message_without_signature_or_certificate_proves_nothing(authority: Authority, missing: str) -> None:
    message = authority.message(authority.leaf())
    assert objected(authority, message | {missing: ""}) is Objection.SIGNATURE_MISSING
    del message[missing]
    assert objected(authority, message) is Objection.SIGNATURE_MISSING


@pytest.mark.parametrize("change", [{"version": "5.0.0"}, {"signMethod": "11"}, {"signMethod": ""}, {"encoding": "UTF-16"}])
def test_a_message_does_not_choose_how_it_is_checked(authority: Authority, change: dict[str, str]) -> None:
    assert objected(authority, authority.message(authority.leaf()) | change) is Objection.METHOD


@pytest.mark.parametrize("signature", ["AAAA", "not base64", "签", "\ud800", "=", "AA=="])
def test_a_signature_that_is_none_is_refused(authority: Authority, signature: str) -> None:
    assert objected(authority, authority.message(authority.leaf()) | {"signature": signature}) is Objection.SIGNATURE


def test_a_text_that_has_no_bytes_in_its_encoding_is_refused(authority: Authority) -> None:
    message = authority.message(authority.leaf())
    assert objected(authority, message | {"respMsg": "\ud800"}) is Objection.SIGNATURE


def test_another_key_than_the_certificates_does_not_sign(authority: Authority) -> None:
    assert objected(authority, authority.message(authority.leaf(), key=authority.other_key)) is Objection.SIGNATURE


@pytest.mark.parametrize(
    "name",
    [
        MERCHANT_NAME,
        "中国银联股份有限公司",
        "041@中国银联股份有限公司",
        "041@x@中国银联股份有限公司 @1",
        "041@x@00040000:SIGN@1",
        "041@x@y@中国银联股份有限公司@1",
        "@@@",
        "x",
    ],
)
def test_a_certificate_of_the_same_authority_in_another_name_is_refused(authority: Authority, name: str) -> None:
    assert objected(authority, authority.message(authority.leaf(name))) is Objection.CERTIFICATE_NAME


@pytest.mark.parametrize("name", ["041@x@中国银联股份有限公司", "041@x@中国银联股份有限公司@1@2"])
def test_the_third_part_of_the_name_decides(authority: Authority, name: str) -> None:
    assert objected(authority, authority.message(authority.leaf(name))) is None


def test_a_certificate_with_two_names_or_none_is_refused(authority: Authority) -> None:
    names = [NameAttribute(NameOID.COMMON_NAME, MERCHANT_NAME), NameAttribute(NameOID.COMMON_NAME, CHANNEL_NAME)]
    none = Name([NameAttribute(NameOID.COUNTRY_NAME, "CN")])
    for name in (Name(names), Name(names[::-1]), none):
        assert objected(authority, authority.message(authority.leaf(name))) is Objection.CERTIFICATE_NAME


def test_the_test_environments_signer_counts_only_where_it_is_configured(authority: Authority) -> None:
    message = authority.message(authority.leaf("041@8310000000083040@00040000:SIGN@00016493"))
    assert objected(authority, message) is Objection.CERTIFICATE_NAME
    assert objected(authority, message, signers=sign.SIGNERS_TEST) is None


def test_a_certificate_issued_by_anybody_else_is_refused(authority: Authority) -> None:
    by_itself = issue(CHANNEL_NAME, authority.key, issuer=named(CHANNEL_NAME), issuer_key=authority.key)
    same_name = authority.leaf(issuer_key=authority.other_key)
    by_root = authority.leaf(issuer=authority.root.subject, issuer_key=authority.root_key)
    for certificate in (by_itself, same_name, by_root):
        assert objected(authority, authority.message(certificate)) is Objection.CERTIFICATE_CHAIN


def test_a_certificate_sent_along_by_the_message_is_not_trusted(authority: Authority) -> None:
    own = issue("OWN", authority.other_key, issuer=named("OWN"), issuer_key=authority.other_key, ca=True)
    leaf = authority.leaf(issuer=own.subject, issuer_key=authority.other_key)
    assert objected(authority, authority.message(pem(leaf) + pem(own))) is Objection.CERTIFICATE_CHAIN


@pytest.mark.parametrize(
    ("valid_from", "valid_until", "expected"),
    [
        (NOW, NOW + DAY, None),
        (NOW + timedelta(seconds=1), NOW + DAY, Objection.CERTIFICATE_EXPIRED),
        (NOW - DAY, NOW, Objection.CERTIFICATE_EXPIRED),
        (NOW - DAY, NOW + timedelta(seconds=1), None),
    ],
)
def test_a_certificate_counts_only_while_it_is_valid(
    authority: Authority, valid_from: datetime, valid_until: datetime, expected: Objection | None
) -> None:
    assert objected(authority, authority.message(authority.leaf(valid_from=valid_from, valid_until=valid_until))) is expected


def test_a_certificate_expires_with_those_above_it(authority: Authority) -> None:
    leaf = authority.leaf(valid_from=NOW - 150 * DAY, valid_until=NOW + 150 * DAY)
    message = authority.message(leaf)
    assert objected(authority, message, now=NOW + 99 * DAY) is None
    assert objected(authority, message, now=NOW + 100 * DAY) is Objection.CERTIFICATE_EXPIRED
    assert objected(authority, message, now=NOW - 101 * DAY) is Objection.CERTIFICATE_EXPIRED


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "签",
        "\ud800",
        "A" * 8_193,
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_a_text_that_is_no_certificate_is_refused(authority: Authority, text: str) -> None:
    assert authority.signers().judge(text, now=NOW) is Objection.CERTIFICATE_UNREADABLE
    assert objected(authority, authority.message(authority.leaf()) | {"signPubKeyCert": text}) is Objection.CERTIFICATE_UNREADABLE


def test_a_certificate_whose_plus_became_a_space_is_refused(authority: Authority) -> None:
    text = next(one for serial in range(1, 99) if "+" in (one := pem(authority.leaf(serial=serial))))
    assert isinstance(authority.signers().judge(text, now=NOW), VerificationKey)
    assert isinstance(authority.signers().judge(text.replace("+", " "), now=NOW), Objection)


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 1024)], ids=["ec", "rsa1024"]
)
def test_only_rsa_keys_of_2048_bits_and_more_count(authority: Authority, key: Any) -> None:
    assert authority.signers().judge(pem(authority.leaf(key=key)), now=NOW) is Objection.CERTIFICATE_UNREADABLE


def test_an_accepted_certificate_is_kept_and_expires_all_the_same(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    text = pem(authority.leaf(valid_until=NOW + DAY))
    signers = authority.signers()
    first = signers.judge(text, now=NOW)
    monkeypatch.setattr(sign, "_readable", lambda _: pytest.fail("it was read again"))
    assert signers.judge(text, now=NOW) is first
    assert signers.judge(text, now=NOW + DAY) is Objection.CERTIFICATE_EXPIRED


def test_no_more_certificates_are_kept_than_allowed_and_refused_ones_never(authority: Authority) -> None:
    signers = authority.signers(kept_max=2)
    texts = [pem(authority.leaf(serial=serial)) for serial in (11, 12, 13)]
    for text in texts:
        signers.judge(text, now=NOW)
    signers.judge(pem(authority.leaf(MERCHANT_NAME)), now=NOW)
    assert list(signers._kept) == texts[1:]


def test_old_and_new_middle_certificates_of_one_name_overlap(authority: Authority) -> None:
    expired = issue(
        authority.middle.subject, authority.middle_key, issuer=authority.root.subject, issuer_key=authority.root_key, ca=True,
        valid_until=NOW - DAY,
    )  # fmt: skip
    signers = SignerCertificates(roots=[authority.root], middles=[expired, authority.middle])
    assert sign.objection(authority.message(authority.leaf()), certificates=signers, now=NOW) is None


def test_a_chain_that_does_not_hold_is_refused_when_it_is_configured(authority: Authority) -> None:
    with pytest.raises(ValueError, match="not issued by a configured root"):
        SignerCertificates(roots=[authority.middle], middles=[authority.root])
    with pytest.raises(ValueError, match="may not issue"):
        SignerCertificates(roots=[authority.root], middles=[authority.leaf()])
    with pytest.raises(ValueError, match="needs a root and a middle"):
        SignerCertificates(roots=[authority.root], middles=[])


def test_the_old_version_knows_its_certificates_by_number_and_while_they_are_valid(authority: Authority) -> None:
    request = sign.signed({"version": "5.0.0"}, certificate_id="7", sign=sign.sha1_signer(authority.key))
    keys = {"7": from_certificate(pem(authority.leaf()).encode())}
    assert sign.objection_old(request, keys={}, now=NOW) is Objection.SERIAL_UNKNOWN
    assert sign.objection_old(request, keys=keys, now=NOW + 100 * DAY) is Objection.SERIAL_UNKNOWN
    assert sign.objection_old(request | {"version": "5.1.0"}, keys=keys, now=NOW) is Objection.METHOD
    assert sign.objection_old(request | {"signature": ""}, keys=keys, now=NOW) is Objection.SIGNATURE_MISSING
    assert sign.objection_old(request | {"signature": "签"}, keys=keys, now=NOW) is Objection.SIGNATURE
    assert sign.objection_old(request | {"a": "1"}, keys=keys, now=NOW) is Objection.SIGNATURE


# Messages as they come


def test_an_answer_keeps_equals_plus_percent_and_line_ends_as_they_are(authority: Authority) -> None:
    message = authority.message(authority.leaf(), reserved="{a=1&b=[2&3]}", list="[x&y]", percent="%2B+ ")
    body = "&".join(f"{name}={value}" for name, value in message.items()).encode()
    fields = sign.answer_fields(body)
    assert fields == message
    assert objected(authority, fields) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", {"a": "1"}),
        ("a=", {"a": ""}),
        ("a==&b=c=d", {"a": "=", "b": "c=d"}),
        ("a={x=1&y=2}&b=3", {"a": "{x=1&y=2}", "b": "3"}),
        ("a={x={y&z}&w}&b=3", {"a": "{x={y&z}&w}", "b": "3"}),
        ("a=[{]&b=3", {"a": "[{]", "b": "3"}),
        ("a=1}&b=]2", {"a": "1}", "b": "]2"}),
        ("a={1}{2&3}&b=4", {"a": "{1}{2&3}", "b": "4"}),
        ("a=1&encoding=gbk", {"a": "1", "encoding": "gbk"}),
        ("", None),
        ("a", None),
        ("a=1&", None),
        ("&a=1", None),
        ("a=1&&b=2", None),
        ("=1", None),
        ("a b=1", None),
        ("停=1", None),
        ("a=1&a=1", None),
        ("a={1&b=2", None),
        ("a=1&b=[2", None),
        ("a=1&encoding=UTF-16", None),
        ("a={x&encoding=GBK&y}&encoding=UTF-8", None),
    ],
)
def test_an_answer_is_taken_apart_by_the_documents_rule(text: str, expected: dict[str, str] | None) -> None:
    assert sign.answer_fields(text.encode()) == expected


def test_an_answer_in_gbk_is_read_even_where_a_character_ends_in_a_bracket() -> None:
    letter = b"\x81\x7b".decode("gbk")
    text = f"a={letter}&encoding=GBK&respMsg=成功[0000000]"
    assert sign.answer_fields(text.encode("gbk")) == {"a": letter, "encoding": "GBK", "respMsg": "成功[0000000]"}
    assert sign.answer_fields(b"a=\xff\xff") is None


def test_an_answer_with_too_many_fields_is_none() -> None:
    assert sign.answer_fields("&".join(f"a{n}=1" for n in range(256)).encode()) is not None
    assert sign.answer_fields("&".join(f"a{n}=1" for n in range(257)).encode()) is None
    assert sign.form_fields("&".join(f"a{n}=1" for n in range(256)).encode()) is not None
    assert sign.form_fields("&".join(f"a{n}=1" for n in range(257)).encode()) is None


def test_an_answer_with_a_large_file_is_taken_apart() -> None:
    content = b64encode(bytes(3_000_000)).decode()
    fields = sign.answer_fields(f"fileContent={content}&fileName=x.zip&respCode=00".encode())
    assert fields == {"fileContent": content, "fileName": "x.zip", "respCode": "00"}


@pytest.mark.parametrize("encoding", ["UTF-8", "GBK"])
def test_a_notice_is_decoded_once_in_its_encoding(authority: Authority, encoding: str) -> None:
    message = authority.message(authority.leaf(), encoding=encoding, respMsg="成功[0000000]", reserved="%2B a+b&c={d}")
    body = urlencode(message, encoding=wire.codec(encoding)).encode()
    fields = sign.form_fields(body)
    assert fields == message
    assert objected(authority, fields) is None
    assert wire.form_body(message) == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a",
        b"a=1&a=2",
        b"a=1&a=1",
        b"a=1&",
        b"=1",
        b"a+b=1",
        b"%3d=1",
        b"a=%ff%ff",
        b"a=1&encoding=UTF-16",
        b"a=1&encoding=%e7%ad%be",
        b"%ff=1",
    ],
)
def test_a_form_that_is_none_or_names_a_field_twice_is_none(body: bytes) -> None:
    assert sign.form_fields(body) is None


def test_a_field_that_comes_twice_under_two_spellings_is_refused() -> None:
    assert sign.form_fields(b"txnAmt=1&txn%41mt=100") is None


@given(st.binary(max_size=400))
def test_nothing_that_comes_from_outside_raises(body: bytes) -> None:
    for fields in (sign.answer_fields(body), sign.form_fields(body)):
        if fields is not None:
            assert sign.objection_old(fields | {"version": "5.0.0", "signMethod": "01"}, keys={}, now=NOW) is not None
            answers.transaction(fields)


names = st.text(string.ascii_letters + string.digits, min_size=1, max_size=12).filter(lambda name: name != "encoding")
values = st.text(max_size=40)


@given(st.dictionaries(names, values, min_size=1))
def test_a_form_is_read_back_as_it_was_written(fields: dict[str, str]) -> None:
    fields = {name: value.encode("utf-8", "ignore").decode() for name, value in fields.items()}
    assert (
        sign.form_fields("&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in fields.items()).encode()) == fields
    )


@given(st.dictionaries(names, values.filter(lambda value: not set(value) & set("&{}[]")), min_size=1))
def test_an_answer_is_read_back_as_it_was_written(fields: dict[str, str]) -> None:
    fields = {name: value.encode("utf-8", "ignore").decode() for name, value in fields.items()}
    assert sign.answer_fields("&".join(f"{name}={value}" for name, value in fields.items()).encode()) == fields
