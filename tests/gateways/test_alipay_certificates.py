"""Alipay's certificates and keys: published names are computed, and only a chain to the root makes a download believed."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from gateways.alipay import certificates

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "alipay.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
ALIPAY = "支付宝(中国)网络技术有限公司-2088001122334455"
ROOT_KEY, MIDDLE_KEY, LEAF_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(3))
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def issued(
    name: str,
    key: Key,
    *,
    by: str,
    with_key: Key,
    ca: bool | None,
    serial: int = 7,
    starts: datetime = NOW - timedelta(days=30),
    days: int = 365,
) -> x509.Certificate:
    def named(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"), x509.NameAttribute(NameOID.COMMON_NAME, common)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(by))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(starts)
        .not_valid_after(starts + timedelta(days=days))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return builder.sign(with_key, hashes.SHA256())


ROOT = issued("Root", ROOT_KEY, by="Root", with_key=ROOT_KEY, ca=True, days=3650)
MIDDLE = issued("Middle", MIDDLE_KEY, by="Root", with_key=ROOT_KEY, ca=True, days=3650)
LEAF = issued(ALIPAY, LEAF_KEY, by="Middle", with_key=MIDDLE_KEY, ca=None, serial=9)
HELD = issued(ALIPAY, MIDDLE_KEY, by="Middle", with_key=MIDDLE_KEY, ca=None, serial=8)


def pem(*chain: x509.Certificate) -> bytes:
    return b"\n".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)


def fetched(*chain: x509.Certificate, sn: str | None = None, at: datetime = NOW) -> object:
    return certificates.downloaded(
        b64encode(pem(*chain)).decode(), sn=sn or certificates.certificate_sn(chain[0]), held=HELD, roots=(ROOT,), at=at
    )


@pytest.mark.parametrize("vector", VECTORS["cert_sn"], ids=lambda vector: str(vector["source"]))
def test_a_published_certificate_has_the_published_sn(vector: dict[str, str]) -> None:
    content = vector["pem"].encode()
    assert certificates.first_sn(content) == vector["sn"]
    assert certificates.verification_key(content).serial == vector["sn"]
    assert certificates.first_sn(content + pem(MIDDLE)) == vector["sn"]
    assert certificates.first_sn(b"Bag Attributes\r\n" + content.replace(b"\n", b"\r\n")) == vector["sn"]


@pytest.mark.parametrize("vector", VECTORS["root_sn"], ids=lambda vector: str(vector["source"]))
def test_the_production_root_bundle_has_the_published_sn_although_not_all_of_it_can_be_read(vector: dict[str, str]) -> None:
    content = vector["bundle"].encode()
    assert content.count(b"BEGIN CERTIFICATE") == 4
    assert certificates.root_sn(content) == vector["sn"]
    assert certificates.root_sn(content.replace(b"\n", b"\r\n")) == vector["sn"]


def test_certificates_that_are_not_signed_with_rsa_do_not_count_in_the_root_sn() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    other = issued("EC", curve, by="EC", with_key=curve, ca=True)
    assert certificates.root_sn(pem(other, ROOT, other)) == certificates.certificate_sn(ROOT)
    with pytest.raises(ValueError, match="no RSA certificate"):
        certificates.root_sn(pem(other))


@pytest.mark.parametrize("content", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_a_file_without_a_certificate_has_no_sn(content: bytes) -> None:
    assert certificates.certificates(content) == ()
    for named in (certificates.first_sn, certificates.root_sn):
        with pytest.raises(ValueError, match=r"."):
            named(content)


def test_a_broken_first_certificate_is_not_passed_over_for_the_next() -> None:
    with pytest.raises(ValueError, match=r"."):
        certificates.first_sn(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + pem(ROOT))


# A certificate that the channel hands out


def test_a_downloaded_certificate_that_leads_to_the_root_is_believed() -> None:
    key = certificates.downloaded(
        b64encode(pem(LEAF, MIDDLE)).decode(), sn=certificates.certificate_sn(LEAF), held=HELD, roots=(ROOT,), at=NOW
    )
    assert key is not None
    assert key.serial == certificates.certificate_sn(LEAF)
    assert key.public_key == LEAF_KEY.public_key()
    assert key.valid_at(NOW)


def test_a_certificate_that_the_root_itself_issued_is_believed() -> None:
    assert fetched(issued(ALIPAY, LEAF_KEY, by="Root", with_key=ROOT_KEY, ca=None)) is not None


def test_the_order_of_the_certificates_above_does_not_matter() -> None:
    lower = issued("Lower", LEAF_KEY, by="Middle", with_key=MIDDLE_KEY, ca=True)
    leaf = issued(ALIPAY, LEAF_KEY, by="Lower", with_key=LEAF_KEY, ca=None)
    assert fetched(leaf, MIDDLE, lower) is not None
    assert fetched(leaf, lower, MIDDLE) is not None
    assert fetched(leaf, MIDDLE) is None


def test_a_certificate_with_another_sn_than_asked_for_is_not_believed() -> None:
    assert fetched(LEAF, MIDDLE, sn=certificates.certificate_sn(HELD)) is None


def test_a_chain_that_does_not_reach_the_root_is_not_believed() -> None:
    assert fetched(LEAF) is None
    stranger = issued("Root", LEAF_KEY, by="Root", with_key=LEAF_KEY, ca=True)
    forged = issued("Middle", LEAF_KEY, by="Root", with_key=LEAF_KEY, ca=True)
    leaf = issued(ALIPAY, LEAF_KEY, by="Middle", with_key=LEAF_KEY, ca=None)
    assert fetched(leaf, forged, stranger) is None
    assert fetched(leaf, MIDDLE) is None


def test_a_certificate_that_names_itself_as_its_issuer_goes_round_no_further() -> None:
    loop = issued("Loop", LEAF_KEY, by="Loop", with_key=LEAF_KEY, ca=True)
    first = issued("A", LEAF_KEY, by="B", with_key=LEAF_KEY, ca=True)
    second = issued("B", LEAF_KEY, by="A", with_key=LEAF_KEY, ca=True)
    assert not certificates.chain_holds((loop, loop), roots=(ROOT,), at=NOW)
    assert not certificates.chain_holds((first, second, first), roots=(ROOT,), at=NOW)
    assert not certificates.chain_holds((), roots=(ROOT,), at=NOW)


def test_a_certificate_issued_by_one_that_may_not_issue_is_not_believed() -> None:
    for ca in (False, None):
        merchant = issued("2088999999999999-app", MIDDLE_KEY, by="Root", with_key=ROOT_KEY, ca=ca)
        leaf = issued(ALIPAY, LEAF_KEY, by="2088999999999999-app", with_key=MIDDLE_KEY, ca=None)
        assert fetched(leaf, merchant) is None


def test_a_merchants_own_certificate_is_not_taken_for_the_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    merchant = issued("2088999999999999-2021000000000009", LEAF_KEY, by="Middle", with_key=MIDDLE_KEY, ca=None)
    assert fetched(merchant, MIDDLE) is None
    monkeypatch.setattr(certificates, "SAME_HOLDER_NEEDED", False)
    assert fetched(merchant, MIDDLE) is not None


def test_every_certificate_on_the_way_must_be_valid_at_the_moment() -> None:
    assert fetched(LEAF, MIDDLE, at=NOW - timedelta(days=31)) is None
    assert fetched(LEAF, MIDDLE, at=NOW + timedelta(days=340)) is None
    old = issued("Middle", MIDDLE_KEY, by="Root", with_key=ROOT_KEY, ca=True, days=10)
    assert fetched(LEAF, old) is None
    root = issued("Root", ROOT_KEY, by="Root", with_key=ROOT_KEY, ca=True, days=10)
    assert not certificates.chain_holds((LEAF, MIDDLE), roots=(root,), at=NOW)
    assert certificates.chain_holds((LEAF, MIDDLE), roots=(root, ROOT), at=NOW)


def test_a_weak_or_foreign_key_is_not_believed_whoever_issued_it() -> None:
    for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256R1())):
        assert fetched(issued(ALIPAY, key, by="Root", with_key=ROOT_KEY, ca=None)) is None


@pytest.mark.parametrize("content", ["", "!", "AAAA", "证", b64encode(b"-----BEGIN CERTIFICATE-----").decode()])
def test_content_that_is_no_certificate_is_not_believed(content: str) -> None:
    assert certificates.downloaded(content, sn="", held=HELD, roots=(ROOT,), at=NOW) is None


# Key files


def bare(der: bytes, *, width: int) -> bytes:
    text = b64encode(der)
    return b"\r\n".join(text[at : at + width] for at in range(0, len(text), width)) + b"\n"


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_our_key_is_read_with_and_without_pem_lines_in_both_forms(form: serialization.PrivateFormat) -> None:
    der = LEAF_KEY.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())
    text = LEAF_KEY.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    for content in (bare(der, width=64), bare(der, width=100_000), text, b"\n" + text):
        assert certificates.private_key(content).private_numbers() == LEAF_KEY.private_numbers()


def test_the_channels_key_is_read_with_and_without_pem_lines_and_named_by_the_application() -> None:
    for encoding in (serialization.Encoding.DER, serialization.Encoding.PEM):
        content = LEAF_KEY.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        key = certificates.public_key(
            bare(content, width=76) if encoding is serialization.Encoding.DER else content, app_id="2021000000000001"
        )
        assert key.public_key == LEAF_KEY.public_key()
        assert key.serial == certificates.key_name("2021000000000001")
        assert key.valid_at(NOW)


def test_weak_foreign_or_encrypted_keys_are_not_taken() -> None:
    encoding, form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8
    for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256R1())):
        with pytest.raises(ValueError, match="RSA key of at least 2048 bits"):
            certificates.private_key(bare(key.private_bytes(encoding, form, serialization.NoEncryption()), width=64))
        public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(ValueError, match="RSA key of at least 2048 bits"):
            certificates.public_key(bare(public, width=64), app_id="1")
    locked = LEAF_KEY.private_bytes(encoding, form, serialization.BestAvailableEncryption(b"x"))
    with pytest.raises(ValueError, match="cannot be used"):
        certificates.private_key(bare(locked, width=64))


def test_a_key_of_an_unknown_kind_is_refused() -> None:
    kind = bytes.fromhex("06082a811ccf5501822d")
    der = b"\x30\x12\x30" + bytes([len(kind)]) + kind + bytes.fromhex("030400010203")
    with pytest.raises(ValueError, match="cannot be used"):
        certificates.public_key(b64encode(der), app_id="1")


@pytest.mark.parametrize("content", [b"", b"!!", b"AAAA", b"-----BEGIN X-----", "钥".encode()])
def test_a_file_that_is_no_key_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        certificates.private_key(content)
    with pytest.raises(ValueError, match=r"."):
        certificates.public_key(content, app_id="1")
