"""``tongting keys check``: every trouble of a key file in words, and none of their content."""

import logging
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from app import keys
from app.cli import main
from app.key_check import Finding, findings
from app.wiring import Wiring
from app.worker import check_keys
from config.settings import Settings, load

NOW = datetime.now(UTC)


@pytest.fixture
def settings(home_with_keys: Path, tmp_path: Path) -> Settings:
    shutil.copytree(home_with_keys, tmp_path, dirs_exist_ok=True)
    return load({"TONGTING_HOME": str(tmp_path)})


def certificate(path: Path, *, days: float, key: rsa.RSAPrivateKey | None = None) -> None:
    """Write a certificate that ends in so many days."""
    key = key or rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(NOW - timedelta(days=400)).not_valid_after(NOW + timedelta(days=days))
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def said(settings: Settings, file: str) -> Finding:
    [found] = [one for one in findings(settings, at=NOW) if one.file == file]
    return found


def test_fresh_keys_are_all_fine(settings: Settings) -> None:
    assert {one.level for one in findings(settings, at=NOW)} == {"ok"}
    told = [one.file for one in findings(settings, at=NOW)]
    assert len([file for file in told if not file.startswith(("alipay/", "unionpay/", "etc/"))]) == 10
    for name in ("alipay", "unionpay", "etc"):
        folder = settings.keys_dir / name
        files = {f"{name}/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*") if path.is_file()}
        assert files == {file for file in told if file.startswith(f"{name}/")}


@pytest.mark.parametrize(("days", "level"), [(-1, "wrong"), (2.5, "wrong"), (9.5, "urgent"), (29.5, "noted"), (31.5, "ok")])
def test_the_merchant_certificate_is_watched_30_10_and_3_days_ahead(settings: Settings, days: float, level: str) -> None:
    folder = settings.keys_dir / "wechat"
    certificate(folder / "merchant-certificate.pem", days=days, key=keys.rsa_private(folder / "merchant.pem"))
    assert said(settings, "wechat/merchant-certificate.pem").level == level


def test_a_certificate_of_another_key_is_found(settings: Settings) -> None:
    certificate(settings.keys_dir / "wechat" / "merchant-certificate.pem", days=100)
    found = said(settings, "wechat/merchant-certificate.pem")
    assert found.level == "wrong"
    assert "another key than merchant.pem" in found.words


def test_an_old_platform_certificate_beside_a_newer_key_is_only_noted(settings: Settings) -> None:
    verify = settings.keys_dir / "wechat" / "verify"
    certificate(verify / "OLD.pem", days=2)
    assert said(settings, "wechat/verify/OLD.pem").level == "noted"
    for path in verify.glob("*.pem"):
        if path.name != "OLD.pem":
            path.unlink()
    assert said(settings, "wechat/verify/OLD.pem").level == "wrong"


def test_without_any_key_of_the_channel_nothing_can_be_verified(settings: Settings) -> None:
    for path in (settings.keys_dir / "wechat" / "verify").glob("*.pem"):
        path.unlink()
    assert "no notice can be verified" in said(settings, "wechat/verify").words


@pytest.mark.parametrize("file", ["seal.pem", "wechat/merchant.pem", "wechat/apiv3.key"])
def test_a_secret_that_others_may_read_is_wrong(settings: Settings, file: str) -> None:
    (settings.keys_dir / file).chmod(0o640)
    assert "chmod 600" in said(settings, file).words


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("seal.pem", b"hello", "does not hold an unencrypted Ed25519 private key"),
        ("wechat/apiv3.key", b"short", "must hold 32 characters, not 5"),
        ("wechat/app-secret.key", b"", "must hold some characters, not 0"),
        ("wechat/merchant-certificate.pem", b"-----", "does not hold a certificate"),
    ],
)
def test_an_unusable_file_is_named_and_its_content_is_not_shown(settings: Settings, file: str, content: bytes, words: str) -> None:
    (settings.keys_dir / file).write_bytes(content)
    found = said(settings, file)
    assert found.level == "wrong"
    assert words in found.words


def test_a_missing_file_is_wrong(settings: Settings) -> None:
    (settings.keys_dir / "seal.pem").unlink()
    (settings.keys_dir / "token" / "1.pem").unlink()
    assert "cannot be read" in said(settings, "seal.pem").words
    assert "there is no key here" in said(settings, "token").words


def test_a_short_key_is_wrong(settings: Settings) -> None:
    short = rsa.generate_private_key(65537, 1024)
    path = settings.keys_dir / "wechat" / "merchant.pem"
    path.write_bytes(
        short.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    assert "has 1024 bits" in said(settings, "wechat/merchant.pem").words


def test_the_command_prints_a_line_per_file_and_fails_when_one_is_wrong(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("TONGTING_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TONGTING_HOME", str(settings.home))
    assert main(["keys", "check"]) == 0
    assert capsys.readouterr().out.count("\nok ") == len(findings(settings, at=NOW)) - 1
    (settings.keys_dir / "seal.pem").chmod(0o644)
    assert main(["keys", "check"]) == 1
    assert "wrong   seal.pem" in capsys.readouterr().out


@pytest.mark.parametrize(("days", "level"), [(-1, "wrong"), (2.5, "wrong"), (9.5, "urgent"), (29.5, "noted"), (31.5, "ok")])
def test_certificates_of_all_channels_are_watched_30_10_and_3_days_ahead(settings: Settings, days: float, level: str) -> None:
    folder = settings.keys_dir / "unionpay" / "merchants" / "lake"
    folder.mkdir(parents=True)
    key = rsa.generate_private_key(65537, 2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").touch(mode=0o600)
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    certificate(folder / "certificate.pem", days=days, key=key)
    assert said(settings, "unionpay/merchants/lake/certificate.pem").level == level
    assert said(settings, "unionpay/merchants/lake/key.pem").level == "ok"


def test_an_old_certificate_of_a_channel_beside_a_newer_one_is_only_noted(settings: Settings) -> None:
    folder = settings.keys_dir / "etc" / "channel" / "00000000000000FD"
    certificate(folder / "old.pem", days=2)
    assert said(settings, "etc/channel/00000000000000FD/old.pem").level == "noted"
    for path in folder.iterdir():
        if path.name != "old.pem":
            path.unlink()
    assert said(settings, "etc/channel/00000000000000FD/old.pem").level == "wrong"


def test_a_certificate_of_ours_is_no_less_urgent_for_what_lies_beside_it(settings: Settings) -> None:
    folder = settings.keys_dir / "alipay" / "platform"
    certificate(folder / "app.crt", days=2, key=keys.rsa_private(folder / "app.key"))
    assert said(settings, "alipay/platform/app.crt").level == "wrong"


@pytest.mark.parametrize("file", ["alipay/platform/app.key", "unionpay/platform/key.pem", "etc/own/tongting-1.sm2"])
def test_a_private_key_of_any_channel_that_others_may_read_is_wrong(settings: Settings, file: str) -> None:
    (settings.keys_dir / file).chmod(0o640)
    assert "chmod 600" in said(settings, file).words


def test_a_leave_to_act_for_an_operator_that_others_may_read_is_wrong(settings: Settings) -> None:
    leave = sorted((settings.keys_dir / "alipay" / "tokens").iterdir())[0]
    leave.chmod(0o604)
    assert "chmod 600" in said(settings, f"alipay/tokens/{leave.name}").words


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("alipay/platform/alipay-3.crt", b"hello", ""),
        ("alipay/notes.txt", b"hello", "nothing reads"),
        ("unionpay/platform/key.pem", b"hello", "no unencrypted RSA private key"),
        ("etc/own/tongting-1.sm2", b"hello", "ask its owner for the file again"),
    ],
)
def test_an_unusable_file_of_any_channel_is_wrong(settings: Settings, file: str, content: bytes, words: str) -> None:
    (settings.keys_dir / file).write_bytes(content)
    found = said(settings, file)
    assert found.level == "wrong"
    assert words in found.words


@pytest.mark.parametrize(("file", "channel"), [("alipay/platform/app.key", "alipay"), ("etc/own/tongting-1.sm2", "etc")])
def test_a_missing_file_of_a_channel_is_told_of_under_its_folder(settings: Settings, file: str, channel: str) -> None:
    (settings.keys_dir / file).unlink()
    assert "put" in said(settings, channel).words


def test_a_key_that_signs_elsewhere_is_no_missing_file(settings: Settings) -> None:
    for file in ("wechat/merchant.pem", "alipay/platform/app.key", "unionpay/platform/key.pem"):
        path = settings.keys_dir / file
        path.unlink()
        signer = path.with_name(f"{path.name}.signer")
        signer.touch(mode=0o600)
        signer.write_text('command = ["/bin/false"]')
    found = findings(settings, at=NOW)
    assert {one.level for one in found} == {"ok"}
    assert [one.words for one in found if one.file == "alipay/platform/app.key.signer"] == ["says what signs in place of app.key"]


def test_a_file_that_names_no_usable_signer_is_wrong(settings: Settings) -> None:
    path = settings.keys_dir / "unionpay" / "platform" / "key.pem.signer"
    path.write_text("comand = 1")
    assert "command = " in said(settings, "unionpay/platform/key.pem.signer").words


def test_the_worker_raises_an_alarm(product: Wiring, caplog: pytest.LogCaptureFixture) -> None:
    (product.settings.keys_dir / "seal.pem").chmod(0o644)
    check_keys(product)
    assert ("tongting.worker", logging.CRITICAL) in [(name, level) for name, level, _ in caplog.record_tuples]
