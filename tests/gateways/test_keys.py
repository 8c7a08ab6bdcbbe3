"""Keys by serial: old and new overlap, a ring is replaced at once, and only strong RSA keys are taken."""

import threading
from datetime import timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateways.keys import from_certificate, from_public_key, private_key
from gateways.sandbox.wechat.signing import Pair, issue_certificate
from tests.gateways.conftest import NOW


def test_old_and_new_certificates_are_both_known_during_the_overlap(fresh_pair: Pair) -> None:
    old, new = fresh_pair.certificate.serial, from_certificate(issue_certificate(at=NOW).certificate)
    fresh_pair.ring.add([new], at=NOW)
    assert fresh_pair.ring.find(old, at=NOW) is not None
    assert fresh_pair.ring.find(new.serial, at=NOW) is not None


def test_an_expired_key_is_let_go_when_a_new_one_is_added(fresh_pair: Pair) -> None:
    late = NOW + timedelta(days=365 * 5)
    new = from_certificate(issue_certificate(at=late).certificate)
    fresh_pair.ring.add([new], at=late)
    assert fresh_pair.certificate.serial not in {key.serial for key in fresh_pair.ring.known()}
    assert fresh_pair.public_key.serial in {key.serial for key in fresh_pair.ring.known()}


def test_a_certificate_counts_from_its_first_to_its_last_moment(fresh_pair: Pair) -> None:
    key = fresh_pair.ring.find(fresh_pair.certificate.serial, at=NOW)
    assert key is not None
    assert key.valid_from is not None
    assert key.valid_until is not None
    assert key.valid_at(key.valid_from)
    assert not key.valid_at(key.valid_from - timedelta(microseconds=1))
    assert not key.valid_at(key.valid_until)
    assert fresh_pair.ring.find(key.serial, at=key.valid_until) is None


def test_a_ring_beside_another_leaves_the_first_unchanged(fresh_pair: Pair) -> None:
    new = from_certificate(issue_certificate(at=NOW).certificate)
    before = fresh_pair.ring.known()
    assert fresh_pair.ring.beside([new]).find(new.serial, at=NOW) is not None
    assert fresh_pair.ring.known() == before


def test_readers_see_the_whole_old_or_the_whole_new_set_while_it_is_replaced(fresh_pair: Pair) -> None:
    certificate, public = fresh_pair.ring.known()
    sets = [(certificate, public), tuple(msgspec.structs.replace(key, serial=f"{key.serial}9") for key in (certificate, public))]
    allowed, seen, stop = {tuple(sorted(key.serial for key in one)) for one in sets}, set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(tuple(key.serial for key in fresh_pair.ring.known()))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(2000):
        fresh_pair.ring.replace(sets[number % 2])
    stop.set()
    reader.join()
    assert seen <= allowed


def test_a_public_key_needs_its_id(pair: Pair) -> None:
    pem = pair.public_key.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    assert from_public_key(pem, serial="PUB_KEY_ID_1").valid_at(NOW)
    with pytest.raises(ValueError, match="PUB_KEY_ID_"):
        from_public_key(pem, serial="3775B6A45ACD588826D15E583A95F5DD")


def test_weak_or_foreign_keys_are_not_taken() -> None:
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    weak = rsa.generate_private_key(65537, 1024)
    other = ec.generate_private_key(ec.SECP256R1())
    for key in (weak, other):
        with pytest.raises(ValueError, match="RSA key of at least 2048 bits"):
            private_key(key.private_bytes(encoding, private, serialization.NoEncryption()))
        public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(ValueError, match="RSA key of at least 2048 bits"):
            from_public_key(public, serial="PUB_KEY_ID_1")
