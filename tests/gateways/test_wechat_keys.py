"""Keys of the channel: from files, for sensitive fields, and through the week in which the channel changes to its public key."""

from base64 import b64decode, b64encode
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateways.contract import ChannelState
from gateways.keys import FileKey, KeyRing, canonical_serial
from gateways.sandbox.wechat.signing import Pair
from gateways.wechat import sensitive, sign
from gateways.wechat.channel import WeChat
from gateways.wechat.keys import WeChatKeys, inspect, load
from tests.gateways.conftest import NOW, Play
from tests.gateways.playing import control, inbox, order, pay, prepay, query, read


def pem_of(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def certificate_of(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "merchant")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(0xABC)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=365))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def files(pair: Pair) -> dict[str, bytes]:
    public = pair.public_key.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    return {
        "merchant.pem": pem_of(pair.merchant_key),
        "merchant-certificate.pem": certificate_of(pair.merchant_key),
        "apiv3.key": pair.api_key + b"\n",
        "app-secret.key": b"secret",
        f"verify/{pair.public_key.serial}.pem": public,
        "verify/platform.pem": pair.issued.certificate,
    }


# Key files


def test_the_ring_knows_both_kinds_and_prefers_the_public_key(files: dict[str, bytes], pair: Pair) -> None:
    keys = load(files)
    assert {key.serial for key in keys.known()} == {pair.public_key.serial, pair.certificate.serial}
    assert keys.preferred_serial == pair.public_key.serial
    assert load(files, preferred="certificate").preferred_serial == canonical_serial(pair.certificate.serial)
    assert keys.merchant_serial == "ABC".rjust(40, "0")
    assert "BEGIN" not in repr(keys)


def test_a_kind_that_is_not_there_is_not_preferred(files: dict[str, bytes], pair: Pair) -> None:
    fewer = {path: content for path, content in files.items() if "PUB_KEY" not in path}
    assert load(fewer).preferred_serial == canonical_serial(pair.certificate.serial)


def test_a_key_outside_of_files_signs_in_place_of_its_file(files: dict[str, bytes], pair: Pair) -> None:
    fewer = {path: content for path, content in files.items() if path != "merchant.pem"}
    keys = load(fewer, signers={"merchant.pem": FileKey(pair.merchant_key)})
    assert keys.sign(b"message") == load(files).sign(b"message")


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("merchant.pem", None, "merchant.pem is missing"),
        ("merchant.pem", b"x", "merchant.pem:"),
        ("merchant-certificate.pem", None, "merchant-certificate.pem is missing"),
        ("merchant-certificate.pem", b"x", "merchant-certificate.pem:"),
        ("apiv3.key", None, "apiv3.key is missing"),
        ("apiv3.key", b"short", "exactly 32 characters"),
        ("verify/platform.pem", b"x", "verify/platform.pem:"),
    ],
)
def test_a_wrong_file_is_named(files: dict[str, bytes], path: str, content: bytes | None, words: str) -> None:
    changed = {name: known for name, known in files.items() if name != path} | ({} if content is None else {path: content})
    with pytest.raises(ValueError, match=words):
        load(changed)
    if content is not None:
        assert [note.file for note in inspect(changed) if note.fault] == [path]


def test_a_certificate_of_another_key_and_no_key_of_the_channel_are_refused(files: dict[str, bytes], pair: Pair) -> None:
    with pytest.raises(ValueError, match="not of the private key"):
        load(files | {"merchant-certificate.pem": certificate_of(pair.public_key.key)})
    with pytest.raises(ValueError, match="verify/ is empty"):
        load({path: content for path, content in files.items() if not path.startswith("verify/")})


def test_each_file_is_said_what_it_is_and_when_it_ends(files: dict[str, bytes], pair: Pair) -> None:
    notes = {note.file: note for note in inspect(files | {"stray.txt": b""})}
    assert notes["merchant-certificate.pem"].expires_at == NOW + timedelta(days=365)
    assert notes["verify/platform.pem"].expires_at is not None
    assert notes[f"verify/{pair.public_key.serial}.pem"].expires_at is None
    assert "not a file" in notes["stray.txt"].words
    assert not any(note.fault for note in notes.values())


# Sensitive fields


def test_a_field_comes_out_as_it_went_in_and_is_encrypted_anew_each_time(pair: Pair) -> None:
    public = pair.public_key.key.public_key()
    first, second = (sensitive.sealed("张三".encode(), key=public) for _ in range(2))
    assert first != second
    assert sensitive.unsealed(first, key=pair.public_key.key) == "张三".encode()
    assert sensitive.unsealed(first, key=pair.merchant_key) is None
    assert len(b64decode(sensitive.sealed(b"x" * sensitive.PLAIN_BYTES_MAX, key=public))) == 256
    with pytest.raises(ValueError, match="ncryption"):
        sensitive.sealed(b"x" * (sensitive.PLAIN_BYTES_MAX + 1), key=public)


@pytest.mark.parametrize("box", ["", "x", "签名", b64encode(b"x" * 256).decode(), b64encode(b"short").decode()])
def test_what_is_no_box_is_not_opened(pair: Pair, box: str) -> None:
    assert sensitive.unsealed(box, key=pair.merchant_key) is None


def test_the_ring_opens_what_is_encrypted_for_our_certificate(files: dict[str, bytes], pair: Pair) -> None:
    box = sensitive.sealed(b"k" * 32, key=pair.merchant_key.public_key())
    assert load(files).unwrap(box) == b"k" * 32
    assert load(files).beside(()).unwrap(box) == b"k" * 32


@pytest.mark.parametrize("preferred", ["public_key", "certificate"])
def test_fields_are_encrypted_with_the_preferred_key_and_the_request_names_it(
    files: dict[str, bytes], pair: Pair, wechat: WeChat, preferred: str
) -> None:
    keys = load(files, preferred="public_key" if preferred == "public_key" else "certificate")
    key = sensitive.sealing_key(keys, at=NOW)
    assert key is not None
    request = wechat.request("POST", "/v3/x", b"{}", keys=keys, now=NOW, nonce="n", serial=key.serial)
    assert request.headers[sign.SERIAL] == getattr(pair, preferred).serial
    assert sensitive.unsealed(sensitive.sealed(b"x", key=key.public_key), key=getattr(pair, preferred).key) == b"x"


def test_without_a_preference_the_newest_key_in_force_is_taken_and_none_when_all_ended(pair: Pair) -> None:
    keys = WeChatKeys(merchant_key=pair.merchant_key, merchant_serial="AB", api_key=pair.api_key, channel_keys=pair.ring.known())
    found = sensitive.sealing_key(keys, at=NOW)
    assert found is not None
    assert found.serial == pair.certificate.serial
    only = KeyRing(merchant_key=pair.merchant_key, merchant_serial="AB", api_key=pair.api_key, channel_keys=())
    assert sensitive.sealing_key(only, at=NOW) is None


# The week of the change


def test_every_notice_and_answer_holds_on_every_day_of_the_change_to_the_public_key(play: Play, pair: Pair) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url, signing_mode="switching", switch_began_at=NOW + timedelta(days=1))
        asks_for_public = played.line.connected.keys.preferred_serial == pair.public_key.serial
        by_day: list[int] = []
        for day in range(9):
            played.clock.set(NOW + timedelta(days=day))
            for number in range(12):
                wanted = order(day * 100 + number, created_at=played.clock.now(), expires_at=NOW + timedelta(days=day, minutes=15))
                assert prepay(played, wanted).verdict == "verified"
                pay(played, wanted)
                found = query(played, wanted)
                assert found.verdict == "verified"
                assert found.result is not None
                assert found.result.state is ChannelState.SUCCEEDED
            control(played, "deliver")
            assert {read(played, message).verdict for message in came} == {"verified"}
            by_day.append(sum(headers[sign.SERIAL] == pair.public_key.serial for headers, _ in came))
            came.clear()
    assert asks_for_public
    assert by_day[0] == 0
    assert by_day[7:] == [12, 12]
    assert 0 < by_day[6] < 12


def test_before_the_change_answers_come_by_certificate_whatever_is_asked_and_then_as_asked(play: Play, pair: Pair) -> None:
    played = play(signing_mode="switching", switch_began_at=NOW + timedelta(days=1))
    desk = played.sandbox.desk
    public, certificate = pair.public_key.serial, pair.certificate.serial
    assert [desk.answer_signer(asked).serial for asked in (public, certificate, None)] == [certificate] * 3
    played.clock.set(NOW + timedelta(days=1))
    assert [desk.answer_signer(asked).serial for asked in (public, certificate, None)] == [public, certificate, certificate]


def test_a_ring_that_lacks_the_new_kind_says_so_and_proves_nothing(play: Play, pair: Pair) -> None:
    played = play(signing_mode="public_key")
    keys = played.line.connected.keys
    keys.replace([key for key in keys.known() if key.valid_until is not None])
    outcome = prepay(played, order())
    assert (outcome.verdict, outcome.state, outcome.reason) == ("refused", ChannelState.UNKNOWN, "serial_unknown")
    assert keys.missed.is_set()
