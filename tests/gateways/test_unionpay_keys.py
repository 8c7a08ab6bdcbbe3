"""UnionPay's key files: what they make together, and words that say what is wrong with each."""

import re
from base64 import b64decode
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509 import load_pem_x509_certificate

from gateways.keys import FileKey, SigningFailed, private_key
from gateways.sandbox.unionpay import demo
from gateways.unionpay.keys import UnionPayKeys, inspect, load
from gateways.unionpay.sign import Objection
from tests.contract.case import NOW
from tests.contract.unionpay import LAKE, LAKE_NO, SeededKeys, demo_keys

FILES = dict(demo_keys().ours)


def without(*paths: str, **more: bytes) -> dict[str, bytes]:
    return {path: content for path, content in FILES.items() if path not in paths} | more


def with_(path: str, content: bytes) -> dict[str, bytes]:
    return FILES | {path: content}


def other_key() -> bytes:
    return FILES[f"merchants/{LAKE}/key.pem"]


def elliptic() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def test_each_merchant_account_signs_with_its_own_key() -> None:
    keys = load(FILES)
    assert sorted(keys.signers, key=str) == [None, LAKE]
    for key_ref, folder in ((None, "platform"), (LAKE, f"merchants/{LAKE}")):
        certificate = load_pem_x509_certificate(FILES[f"{folder}/certificate.pem"])
        signer = keys.signer(key_ref)
        assert signer.certificate_id == str(certificate.serial_number)
        public = private_key(FILES[f"{folder}/key.pem"]).public_key()
        public.verify(b64decode(signer.sign(b"abc")), b"abc", PKCS1v15(), hashes.SHA256())


def test_an_operator_may_be_the_only_one_with_keys() -> None:
    keys = load(without("platform/key.pem", "platform/certificate.pem"))
    assert list(keys.signers) == [LAKE]
    with pytest.raises(SigningFailed, match="platform/"):
        keys.signer(None)


def test_a_key_elsewhere_takes_the_place_of_its_file() -> None:
    class Token:
        def sign(self, message: bytes) -> bytes:
            raise SigningFailed(len(message))

    keys = load(without("platform/key.pem"), signers={"platform/key.pem": Token()})
    with pytest.raises(SigningFailed):
        keys.signer(None).sign(b"abc")


def test_old_and_new_certificates_of_the_authority_overlap() -> None:
    class Next(SeededKeys):
        def rsa(self, name: str) -> bytes:
            return FILES["platform/key.pem"] if "signer" in name else super().rsa(name)

        def serial(self, name: str) -> int:
            return super().serial(name) - 1

    renewed = demo.make(Next())
    both = FILES | {"verify/root-2.pem": renewed.ours["verify/root.pem"], "verify/middle-2.pem": renewed.ours["verify/middle.pem"]}
    keys = load(both)
    for theirs in (demo_keys().theirs, renewed.theirs):
        assert not isinstance(keys.certificates.judge(theirs["signer-1.pem"].decode(), now=NOW), Objection)


def test_who_may_sign_can_be_named_for_the_channels_test_environment() -> None:
    judged = load(with_("verify/signers.txt", "别人\n".encode())).certificates.judge(
        demo_keys().theirs["signer-1.pem"].decode(), now=NOW
    )
    assert judged is Objection.CERTIFICATE_NAME


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({}, "platform/key.pem"),
        (without("platform/key.pem"), "platform/key.pem is missing"),
        (without("platform/certificate.pem"), "platform/certificate.pem is missing"),
        (without(f"merchants/{LAKE}/key.pem"), f"merchants/{LAKE}/key.pem is missing"),
        (with_("platform/key.pem", b"garbage"), "platform/key.pem holds no"),
        (with_("platform/key.pem", elliptic()), "platform/key.pem holds no"),
        (with_("platform/key.pem", other_key()), "not a pair"),
        (with_("platform/certificate.pem", b"garbage"), "platform/certificate.pem holds no"),
        (without("verify/root.pem"), "verify/root.pem and verify/middle.pem are needed"),
        (without("verify/middle.pem"), "verify/root.pem and verify/middle.pem are needed"),
        (with_("verify/root.pem", FILES["platform/certificate.pem"]), "verify/: "),
        (with_("verify/middle.pem", b"garbage"), "verify/middle.pem holds no"),
        (with_("verify/signers.txt", b"\n"), "verify/signers.txt must hold"),
        (with_("verify/signers.txt", b"\xff"), "verify/signers.txt must hold"),
    ],
)
def test_what_is_wrong_is_said_by_the_name_of_its_file(files: dict[str, bytes], named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        load(files)
    assert any(note.fault is not None for note in inspect(files))


def test_files_in_order_have_no_fault_and_say_when_they_end() -> None:
    notes = inspect(FILES)
    assert {note.file for note in notes} == FILES.keys()
    assert [note.fault for note in notes if note.fault] == []
    ends = {note.file: note.expires_at for note in notes}
    assert ends["platform/certificate.pem"] == SeededKeys.at + timedelta(days=5 * 365)
    assert ends["platform/key.pem"] is None


def test_no_secret_is_shown() -> None:
    keys = load(FILES)
    assert isinstance(keys, UnionPayKeys)
    shown = repr(keys) + repr(keys.signer(None)) + repr(demo.config(demo_keys().theirs))
    assert "PRIVATE" not in shown
    assert "FileKey" not in shown
    assert isinstance(keys.signer(None).key, FileKey)
    assert all("PRIVATE" not in note.words + (note.fault or "") for note in inspect(FILES | {"platform/key.pem": other_key()}))


def test_the_demo_makes_the_same_files_from_the_same_source() -> None:
    assert demo.make(SeededKeys(), own={LAKE: LAKE_NO}) == demo_keys()
