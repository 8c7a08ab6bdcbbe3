"""Key files become keys, or a text that names the file and says what to do."""

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateways.etc import keys, sm2
from gateways.etc.sign import Algorithm
from gateways.keys import SigningFailed

PARTY = "00000000000000FD"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_PEM = RSA.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)  # fmt: skip
RSA_PUBLIC = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
SM2_HEX = f"{0x1234567890ABCDEF:064x}\n".encode()
SM2_PUBLIC = sm2.PrivateKey(0xFEDCBA).public
# made by `openssl genpkey` 3 for the curve SM2 and `openssl pkey -pubout`
OPENSSL_PRIVATE = b"""-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqBHM9VAYItBG0wawIBAQQgwTvOJISdvhRCqvHa
7wYr4pOKSNwJWWQSCBfGR6WTrjuhRANCAARD2AS19wp7OREmoksYIXjzvPVOj5mK
3x9/kBuGQuEkxVxZ6ss3fnj2O9beL3gObLLR053np5GKVu1/ekKXDkPH
-----END PRIVATE KEY-----
"""
OPENSSL_PUBLIC = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoEcz1UBgi0DQgAEQ9gEtfcKezkRJqJLGCF487z1To+Z
it8ff5AbhkLhJMVcWerLN3549jvW3i94Dmyy0dOd56eRilbtf3pClw5Dxw==
-----END PUBLIC KEY-----
"""
FILES = {"own/our-1.sm2": SM2_HEX, f"channel/{PARTY}/their-1.sm2": SM2_PUBLIC.raw.hex().encode()}


class Outside:
    def sign(self, message: bytes) -> bytes:
        return b"signed " + message


def test_sm2_and_rsa_stand_side_by_side() -> None:
    files = FILES | {"merchants/taihu/t-1.pem": RSA_PEM, f"channel/{PARTY}/their-2.pem": RSA_PUBLIC}
    loaded = keys.load(files)
    assert [loaded.own(ref).algorithm for ref in (None, "taihu")] == [Algorithm.SM2, Algorithm.RSA]
    assert {name: key.algorithm for name, key in loaded.theirs.items()} == {"their-1": Algorithm.SM2, "their-2": Algorithm.RSA}
    assert {key.party for key in loaded.theirs.values()} == {PARTY}
    signature = loaded.own("taihu").sign(b"x")
    assert loaded.theirs["their-2"].verifies(b"x", signature)


def test_keys_in_pem_as_openssl_makes_them() -> None:
    private = keys.sm2_private(OPENSSL_PRIVATE)
    assert private.public == keys.sm2_public(OPENSSL_PUBLIC)


def test_a_key_counts_in_its_span() -> None:
    span = {f"channel/{PARTY}/their-1.valid": b"2026-01-01T00:00:00+08:00/\n"}
    key = keys.load(FILES | span).theirs["their-1"]
    assert (key.valid_from, key.valid_until) == (datetime(2025, 12, 31, 16, tzinfo=UTC), None)


def test_a_signer_outside_stands_in_place_of_a_file() -> None:
    theirs = {f"channel/{PARTY}/their-1.sm2": FILES[f"channel/{PARTY}/their-1.sm2"]}
    key = keys.load(theirs, signers={"own/hsm-1.sm2": Outside()}).own(None)
    assert (key.key_id, key.algorithm, key.sign(b"x")) == ("hsm-1", Algorithm.SM2, b"signed x")


def test_nothing_shown_is_secret() -> None:
    loaded = keys.load(FILES)
    shown = f"{loaded} {loaded.own(None)} {loaded.ours}"
    assert "our-1" in shown
    assert "1234567890abcdef" not in shown.lower()


def test_a_missing_key_sends_nothing() -> None:
    with pytest.raises(SigningFailed):
        keys.load(FILES).own("nobody")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "own/: there is no key of ours"),
        ({"own/our-1.sm2": SM2_HEX}, "channel/: there is no key"),
        (FILES | {"own/our-2.pem": RSA_PEM}, "own/our-2.pem: there is another key"),
        (FILES | {"own/our-1.txt": b""}, "own/our-1.txt: not expected"),
        (FILES | {"own/our-1.sm2": b"x"}, "own/our-1.sm2: .* 64 hex digits; ask"),
        (FILES | {"own/our-1.sm2": b"\xff"}, "own/our-1.sm2"),
        ({"own/our-1.pem": b"x", f"channel/{PARTY}/t.sm2": b""}, "channel/0{14}FD/t.sm2"),
        ({"own/our-1.pem": RSA_PUBLIC}, "own/our-1.pem"),
        (FILES | {f"channel/{PARTY}/t.sm2": b"00" * 64}, "not a point"),
        (FILES | {f"channel/{PARTY}/t.pem": RSA_PEM}, "t.pem"),
        (FILES | {"channel/0000000000000020/their-1.pem": RSA_PUBLIC}, "two keys are named their-1"),
        (FILES | {f"channel/{PARTY}/their-1.valid": b"2026-01-01"}, "their-1.valid: .*write"),
        (FILES | {f"channel/{PARTY}/their-1.valid": b"2026-01-01T00:00:00/"}, "time zone"),
    ],
)
def test_a_wrong_file_is_named(files: dict[str, bytes], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        keys.load(files)


def test_each_file_is_told_of() -> None:
    files: dict[str, Any] = FILES | {
        f"channel/{PARTY}/their-1.valid": b"/2027-01-01T00:00:00+08:00",
        "merchants/taihu/t.pem": b"broken",
        "notes.txt": b"",
    }
    notes = {note.file: note for note in keys.inspect(files)}
    assert notes["own/our-1.sm2"].words == "SM2SM3 key our-1 of us"
    assert notes[f"channel/{PARTY}/their-1.sm2"].expires_at == datetime(2026, 12, 31, 16, tzinfo=UTC)
    assert "t.pem" in (notes["merchants/taihu/t.pem"].fault or "")
    assert notes["notes.txt"].fault
    assert notes["own/our-1.sm2"].fault is None
