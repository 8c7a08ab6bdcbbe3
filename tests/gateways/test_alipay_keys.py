"""Alipay's key files: each layout is read, each mistake is named with its file, and no secret is ever shown."""

import json
from collections.abc import Mapping
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateways.alipay.keys import inspect, load
from gateways.keys import FileKey
from tests.contract.alipay import (
    APP_ID,
    CERT_SN,
    CHANNEL_KEY,
    DIRECT_APP,
    DIRECT_NO,
    FILES,
    MERCHANT_NO,
    OPERATOR_APP,
    OUR_KEY,
    TOKEN,
    certificate,
    pem,
    private_pem,
    public_pem,
)
from tests.contract.case import NOW

OTHER_KEY = rsa.generate_private_key(65537, 2048)
TOKEN_FILE = f"tokens/{MERCHANT_NO}.json"


class Token:
    """A signing key outside this process."""

    def sign(self, message: bytes) -> bytes:
        return b"signed " + message


def without(*paths: str) -> dict[str, bytes]:
    return {path: content for path, content in FILES.items() if path not in paths}


def test_both_modes_and_a_leave_are_read() -> None:
    keys = load(FILES)
    platform, lake = keys.app(None), keys.app("lake")
    assert (platform.app_id, platform.merchant_no, [key.serial for key in platform.channel_keys]) == (APP_ID, None, [CERT_SN])
    assert (lake.app_id, lake.merchant_no, lake.app_cert_sn) == (DIRECT_APP, DIRECT_NO, None)
    assert (keys.grants[MERCHANT_NO].app_auth_token, keys.grants[MERCHANT_NO].auth_app_id) == (TOKEN, OPERATOR_APP)
    assert keys.named(DIRECT_APP) == ("lake", lake)
    assert keys.named("2021000000000009") is None


def test_several_keys_of_the_channel_overlap_and_a_named_certificate_is_the_only_candidate() -> None:
    second = certificate("Alipay", OTHER_KEY, serial=22)
    keys = load(FILES | {"platform/alipay-2.crt": pem(second), "platform/alipay-old.pem": public_pem(CHANNEL_KEY)})
    app = keys.app(None)
    assert len(app.channel_keys) == 3
    assert [key.serial for key in app.candidates(CERT_SN, at=NOW)] == [CERT_SN]
    assert len(app.candidates(None, at=NOW)) == 3
    assert len(app.candidates(None, at=NOW + timedelta(days=366))) == 1, "a public key does not end"


def test_a_signer_takes_the_place_of_a_private_key_file() -> None:
    keys = load(without("platform/app.key"), signers={"platform/app.key": Token()})
    assert keys.app(None).sign(b"x") == "c2lnbmVkIHg="
    assert isinstance(keys.app("lake").key, FileKey)


def test_nothing_secret_is_shown() -> None:
    shown = f"{load(FILES)!r} {load(FILES).app(None)!r} {load(FILES).grants[MERCHANT_NO]!r} {inspect(FILES)!r}"
    assert TOKEN not in shown
    assert "PRIVATE" not in shown
    assert str(OUR_KEY.private_numbers().d)[:20] not in shown


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "platform/app_id is missing"),
        (without("platform/app_id"), "platform/app_id is missing"),
        (without("platform/app.key"), "platform/app.key is missing"),
        (without("platform/alipay-1.crt"), "platform/alipay-….crt is missing"),
        (without("platform/root.crt"), "platform/root.crt is missing"),
        (without("operators/lake/alipay-1.pem"), "operators/lake/alipay-….pem is missing"),
        (without("operators/lake/merchant_no"), "operators/lake/merchant_no is missing"),
        (FILES | {"platform/app_id": b"wx8888888888888888"}, "platform/app_id must hold"),
        (FILES | {"operators/lake/merchant_no": b"1900000001"}, "operators/lake/merchant_no must hold"),
        (FILES | {"platform/app.key": b"x"}, "platform/app.key: "),
        (FILES | {"platform/app.key": private_pem(OTHER_KEY)}, "platform/app.crt is not of the private key"),
        (FILES | {"platform/app.crt": b"x"}, "platform/app.crt: "),
        (FILES | {"platform/root.crt": b"x"}, "platform/root.crt: "),
        (FILES | {"platform/alipay-1.crt": b"x"}, "platform/alipay-1.crt: "),
        (FILES | {"operators/lake/alipay-1.pem": b"x"}, "operators/lake/alipay-1.pem: "),
        (FILES | {TOKEN_FILE: b"x"}, TOKEN_FILE),
        (FILES | {TOKEN_FILE: json.dumps({"app_auth_token": " ", "auth_app_id": OPERATOR_APP}).encode()}, TOKEN_FILE),
        (FILES | {"tokens/1900000001.json": FILES[TOKEN_FILE]}, "tokens/1900000001.json must be named"),
        (FILES | {"operators/lake/app_id": APP_ID.encode()}, "stands in two folders"),
    ],
)
def test_a_mistake_is_named_with_its_file(files: Mapping[str, bytes], said: str) -> None:
    with pytest.raises(ValueError, match=r".") as wrong:
        load(files)
    assert said in str(wrong.value)


def test_the_check_says_what_each_file_is_and_what_is_wrong() -> None:
    notes = {note.file: note for note in inspect(FILES)}
    assert [note for note in notes.values() if note.fault is not None] == []
    assert notes["platform/alipay-1.crt"].expires_at == NOW + timedelta(days=365)
    foreign = {"platform/root.crt": pem(certificate("Alipay Root", OTHER_KEY, serial=1, issuer="Other", ca=True))}
    broken = FILES | foreign | {"platform/app.pem": b"x", "notes.txt": b"x", TOKEN_FILE: b"x", "operators/lake/app.key": b"x"}
    faults = {note.file for note in inspect(broken) if note.fault is not None}
    assert faults == {"platform/alipay-1.crt", "platform/app.pem", "notes.txt", TOKEN_FILE, "operators/lake/app.key"}
