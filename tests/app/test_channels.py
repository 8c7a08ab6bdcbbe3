"""The channels put together from settings and key files: their keys, changed files, and private keys that sign elsewhere."""

import logging
import shutil
import socket
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from app import demo
from app.channels import FileWatch, connect, notes, present, read_files
from app.keys import certificate, rsa_private
from app.pages.words import ZH
from config.settings import Settings, SettingsError, load
from gateways import calls
from gateways.calls import Call, Line
from gateways.contract import Deduction, HandOff, PrepayOrder, Request, Way
from gateways.keys import from_certificate
from gateways.registry import Connected
from gateways.transport import HttpTransport
from gateways.wechat.channel import WeChat
from gateways.wechat.keys import WeChatKeys
from ledger.clock import SetClock
from ledger.ids import RandomIds
from tests.payments.conftest import AT

NONCE: Final = "593BEC0C930BF1AFEB40B4A08C8FB242"
PRIVATE: Final[Mapping[str, str]] = {
    "wechat": "merchant.pem",
    "alipay": "platform/app.key",
    "unionpay": "platform/key.pem",
    "etc": "own/tongting-rsa.pem",
}
"""The platform's private key at each channel, below the channel's folder; RSA also with ETC."""


@pytest.fixture
def settings(home_with_keys: Path, tmp_path: Path) -> Settings:
    """An installation with all channels, whose ETC key is an RSA one, so that OpenSSL signs for every channel alike."""
    shutil.copytree(home_with_keys, tmp_path / "home")
    made = load({"TONGTING_HOME": str(tmp_path / "home"), "TONGTING_CHANNEL_TIMEOUT_SECONDS": "2"})
    (made.keys_dir / "etc" / "own" / "tongting-1.sm2").unlink()
    shutil.copy(made.keys_dir / "wechat" / "merchant.pem", made.keys_dir / "etc" / PRIVATE["etc"])
    return made


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A port that nobody answers on: what was sent to it can be asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def elsewhere(settings: Settings, name: str, text: str) -> Path:
    """Take a channel's private key out of its folder and put a ``.signer`` file there; ``text`` may name the key as {key}."""
    path = settings.keys_dir / name / PRIVATE[name]
    away = settings.home / "token" / f"{name}.pem"
    away.parent.mkdir(exist_ok=True)
    shutil.move(path, away)
    path.with_name(f"{path.name}.signer").write_text(text.format(key=away))
    return away


def order(name: str, way: Way = Way.IN_WALLET) -> PrepayOrder:
    return PrepayOrder(
        order_no="P000000000000000000000000001",
        merchant_no="1600000001" if name == "wechat" else demo.numbered(name, 1),
        description="停车费",
        amount_fen=1200,
        created_at=AT,
        expires_at=AT + timedelta(minutes=15),
        way=way,
        payer_id={"wechat": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "alipay": "2088102146225135"}.get(name),
        payer_ip="192.0.2.7",
        return_url="http://pay.test/r",
    )


def deduction() -> Deduction:
    return Deduction(
        order_no="P000000000000000000000000002",
        merchant_no=demo.numbered("etc", 1),
        plate="苏BD12345",
        plate_color="green",
        amount_fen=1200,
        description="停车费",
        entered_at=AT - timedelta(hours=2),
        left_at=AT,
        minutes=120,
        lot_no="3202010001",
        lot_name="停车场",
        created_at=AT,
    )


def built(connected: Connected) -> Request | HandOff:
    """Build and sign what takes a payment over a channel, always the same."""
    channel, given = connected.channel, {"keys": connected.keys, "now": AT, "nonce": NONCE}
    if channel.name == "etc":
        return channel.build_deduct(deduction(), **given)
    return channel.build_prepay(order(channel.name), **given)


def called(settings: Settings, name: str) -> Call[Any]:
    """Ask a channel for money as the checkout does."""
    transport = HttpTransport(timeout_seconds=1)
    line = Line(connect(settings).find(name), transport, SetClock(AT), RandomIds())
    try:
        if name == "etc":
            return calls.deduct(line, deduction(), subject=UUID(int=1), occasion="1")
        return calls.prepay(line, order(name), subject=UUID(int=1), occasion="1")
    finally:
        transport.close()


# The channels of an installation


def test_without_a_setting_the_channels_are_those_with_a_key_folder(settings: Settings) -> None:
    assert present(settings) == ("wechat", "alipay", "unionpay", "etc")
    shutil.rmtree(settings.keys_dir / "unionpay")
    assert present(settings) == ("wechat", "alipay", "etc")


def test_the_setting_names_the_channels_in_the_order_of_the_pages(settings: Settings) -> None:
    assert present(msgspec.structs.replace(settings, channels=("etc", "wechat"))) == ("wechat", "etc")


@pytest.mark.parametrize("name", list(PRIVATE))
def test_a_missing_private_key_is_named_with_its_folder(settings: Settings, name: str) -> None:
    (settings.keys_dir / name / PRIVATE[name]).unlink()
    with pytest.raises(SettingsError, match=str(settings.keys_dir / name)):
        connect(settings)


def test_wechats_ring_signs_verifies_and_opens_what_is_encrypted_for_us(settings: Settings) -> None:
    ring = connect(settings).find("wechat").keys
    assert isinstance(ring, WeChatKeys)
    assert len(ring.known()) == 2
    assert ring.preferred_serial is not None
    assert ring.preferred_serial.startswith("PUB_KEY_ID_")
    public = rsa_private(settings.keys_dir / "wechat" / "merchant.pem").public_key()
    assert ring.unwrap(oaep(public, b"key of the fund bill")) == b"key of the fund bill"


def test_the_preferred_kind_of_wechats_keys_follows_the_setting(settings: Settings) -> None:
    ring = connect(msgspec.structs.replace(settings, wechat_key_mode="certificate")).find("wechat").keys
    assert not ring.preferred_serial.startswith("PUB_KEY_ID_")


def test_wechat_is_told_the_name_and_the_address_of_the_pay_page(settings: Settings) -> None:
    channel = connect(settings).find("wechat").channel
    assert isinstance(channel, WeChat)
    assert channel.provider.site_name == ZH.brand == "通停通付"
    assert channel.provider.site_url == settings.public_url


def test_files_whose_names_begin_with_a_dot_are_left_out(settings: Settings) -> None:
    folder = settings.keys_dir / "etc"
    (folder / "own" / ".tongting-2.pem.swp").write_bytes(b"half")
    assert not any("swp" in path for path in read_files(folder))
    connect(settings)


def oaep(public: rsa.RSAPublicKey, message: bytes) -> str:
    sealed = public.encrypt(message, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
    return b64encode(sealed).decode()


# Changed files


def new_certificate(path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "next")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 0x77, AT - timedelta(days=1), AT + timedelta(days=900))
    path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def test_a_watch_without_changes_takes_up_nothing(settings: Settings) -> None:
    assert FileWatch(settings, connect(settings)).look() == []


def test_a_new_key_of_the_channel_counts_without_a_restart_beside_the_old_one(settings: Settings) -> None:
    channels = connect(settings)
    watch, before = FileWatch(settings, channels), channels.find("etc").keys
    folder = settings.keys_dir / "etc" / "channel" / "00000000000000FD"
    new_certificate(folder / "next.pem")
    assert watch.look() == ["etc"]
    after = channels.find("etc").keys
    assert set(after.theirs) == {*before.theirs, "next"}
    assert watch.look() == []


def test_a_new_private_key_signs_from_the_next_call_on(settings: Settings) -> None:
    channels = connect(settings)
    watch, before = FileWatch(settings, channels), built(channels.find("etc"))
    other = rsa.generate_private_key(65537, 2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (settings.keys_dir / "etc" / PRIVATE["etc"]).write_bytes(other.private_bytes(*form))
    assert watch.look() == ["etc"]
    assert built(channels.find("etc")) != before


def test_a_changed_file_of_wechat_keeps_the_keys_that_were_fetched_meanwhile(settings: Settings) -> None:
    channels = connect(settings)
    watch, ring = FileWatch(settings, channels), channels.find("wechat").keys
    new_certificate(settings.home / "fetched.pem")
    ring.add([from_certificate((settings.home / "fetched.pem").read_bytes())], at=AT)
    new_certificate(settings.keys_dir / "wechat" / "verify" / "78.pem")
    assert watch.look() == ["wechat"]
    renewed = channels.find("wechat").keys
    assert isinstance(renewed, WeChatKeys)
    assert ring.find("77", at=AT) is not None
    assert renewed.find("77", at=AT) is not None
    assert renewed.missed is ring.missed


BROKEN: Final = [
    ("wechat", "merchant.pem"),
    ("wechat", "apiv3.key"),
    ("alipay", "platform/app.key"),
    ("alipay", "platform/alipay-1.crt"),
    ("unionpay", "platform/key.pem"),
    ("unionpay", "verify/middle.pem"),
    ("etc", "own/tongting-rsa.pem"),
    ("etc", "channel/00000000000000FD/etc-2.pem"),
]


@pytest.mark.parametrize(("name", "file"), BROKEN)
def test_a_broken_file_changes_nothing_and_is_an_alarm_that_names_it(
    settings: Settings, name: str, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    channels = connect(settings)
    watch, before = FileWatch(settings, channels), channels.find(name).keys
    path = settings.keys_dir / name / file
    whole = path.read_bytes()
    path.write_bytes(b"-----BEGIN half")
    assert watch.look() == []
    assert channels.find(name).keys is before
    [told] = [one for one in caplog.records if one.levelno == logging.CRITICAL]
    assert path.name in told.getMessage()
    assert "BEGIN half" not in told.getMessage()
    path.write_bytes(whole)
    assert watch.look() == [name]


def test_the_watch_takes_up_changes_by_itself(settings: Settings) -> None:
    channels = connect(settings)
    before, watch = channels.find("etc").keys, FileWatch(settings, channels, seconds=0.01)
    watch.start()
    try:
        new_certificate(settings.keys_dir / "etc" / "channel" / "00000000000000FD" / "next.pem")
        awaited(lambda: channels.find("etc").keys is not before)
        assert "next" in channels.find("etc").keys.theirs
    finally:
        watch.stop()


def awaited(holds: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to hold")


# Keys that sign elsewhere

OPENSSL: Final = 'command = ["openssl", "dgst", "-sha256", "-sign", "{key}"]'


@pytest.mark.parametrize("name", list(PRIVATE))
def test_a_command_signs_each_channels_calls_like_the_key_file_would(settings: Settings, name: str) -> None:
    by_file = built(connect(settings).find(name))
    elsewhere(settings, name, OPENSSL)
    assert built(connect(settings).find(name)) == by_file  # PKCS#1 v1.5 has no chance in it: the very same bytes


def test_a_callable_of_the_operators_own_signs(settings: Settings) -> None:
    by_file = built(connect(settings).find("unionpay"))
    elsewhere(settings, "unionpay", 'python = "tests.app.signing:opened"\nfile = "{key}"')
    assert built(connect(settings).find("unionpay")) == by_file


@pytest.mark.parametrize("name", list(PRIVATE))
@pytest.mark.parametrize(
    "text",
    [
        'command = ["/bin/false"]',
        'command = ["/nowhere/at/all"]',
        'command = ["/bin/true"]',
        f'command = ["{sys.executable}", "-c", "print(0); import time; time.sleep(60)"]\nseconds = 0.2',
        f'command = ["{sys.executable}", "-c", "print(chr(48) * 5000)"]',
    ],
    ids=["fails", "is not there", "says nothing", "hangs", "says too much"],
)
def test_what_a_key_elsewhere_does_not_sign_is_never_sent(
    settings: Settings, listening: socket.socket, name: str, text: str
) -> None:
    port = listening.getsockname()[1]
    there = load({"TONGTING_HOME": str(settings.home), "TONGTING_SANDBOX_PORT": str(port)})
    elsewhere(there, name, text)
    call = called(there, name)
    assert (call.outcome.verdict, call.outcome.reason) == ("unanswered", "signing")
    assert call.message.verdict == "unanswered"
    with pytest.raises(BlockingIOError):
        listening.accept()


def test_the_same_call_is_sent_when_the_key_signs(settings: Settings, listening: socket.socket) -> None:
    there = load({"TONGTING_HOME": str(settings.home), "TONGTING_SANDBOX_PORT": str(listening.getsockname()[1])})
    elsewhere(there, "wechat", OPENSSL)
    assert called(there, "wechat").outcome.reason == "timeout"
    listening.accept()[0].close()


@pytest.mark.parametrize("text", ["command = 1", "command = []", "hello", 'python = "tests.app.signing"', 'python = "no.such:key"'])
def test_a_signer_file_that_cannot_be_used_is_named(settings: Settings, text: str) -> None:
    elsewhere(settings, "alipay", text)
    with pytest.raises(SettingsError, match=r"platform/app\.key\.signer"):
        connect(settings)


# Notes


def test_every_file_of_the_channels_with_a_layout_has_a_note(settings: Settings) -> None:
    told = {path for path, _ in notes(settings)}
    files = {path for name in ("alipay", "unionpay", "etc") for path in (settings.keys_dir / name).rglob("*") if path.is_file()}
    assert told == files


def test_files_that_do_not_go_together_are_told_of(settings: Settings) -> None:
    folder = settings.keys_dir / "alipay" / "platform"
    shutil.copy(settings.keys_dir / "wechat" / "merchant.pem", folder / "app.key")
    [(path, note)] = [(path, note) for path, note in notes(settings) if note.fault is not None]
    assert path == settings.keys_dir / "alipay"
    assert "not of the private key" in str(note.fault)


def test_notes_show_no_secret(settings: Settings) -> None:
    said = " ".join(f"{note.words} {note.fault}" for _, note in notes(settings))
    for leave in (settings.keys_dir / "alipay" / "tokens").iterdir():
        assert msgspec.json.decode(leave.read_bytes())["app_auth_token"] not in said


def test_the_certificate_beside_a_key_elsewhere_still_has_its_note(settings: Settings) -> None:
    elsewhere(settings, "unionpay", OPENSSL)
    told = {path.name: note for path, note in notes(settings) if path.parent == settings.keys_dir / "unionpay" / "platform"}
    assert set(told) == {"certificate.pem"}
    ends = certificate(settings.keys_dir / "unionpay" / "platform" / "certificate.pem").not_valid_after_utc
    assert told["certificate.pem"].expires_at == ends
