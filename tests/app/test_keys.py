"""Key files: made once, private, never shown, and in a simulation a matter of the seed."""

from pathlib import Path

import pytest

from app.keys import make_missing, read, sandbox_keys_dir
from config.settings import Settings, SettingsError, load


def settings_of(home: Path, **more: str) -> Settings:
    return load({"TONGTING_HOME": str(home)} | {f"TONGTING_{name.upper()}": value for name, value in more.items()})


def contents(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


def test_keys_are_made_once_and_never_touched_again(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert make_missing(settings)
    before = contents(tmp_path)
    assert make_missing(settings) == []
    assert contents(tmp_path) == before


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    make_missing(settings_of(tmp_path))
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "keys").rglob("*")}
    assert modes == {0}


def test_what_the_sandbox_signs_with_is_what_we_verify_with(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    make_missing(settings)
    keys = read(settings).wechat
    assert len(keys.certificates) == len(keys.public_keys) == 1
    assert {path.stem for path in sandbox_keys_dir(settings).glob("PUB_KEY_ID_*")} == set(keys.public_keys)


def test_a_newer_key_beside_the_old_one_is_read_too(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    make_missing(settings)
    old = tmp_path / "keys" / "pay-code" / "1.pem"
    (tmp_path / "keys" / "pay-code" / "2.pem").write_bytes(old.read_bytes())
    assert make_missing(settings) == []
    assert sorted(read(settings).pay_code) == [1, 2]


def test_no_secret_shows_when_keys_are_printed(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    make_missing(settings)
    keys = read(settings)
    assert keys.wechat.apiv3_key.decode() not in repr(keys)
    assert keys.wechat.app_secret not in repr(keys)


def test_a_simulation_of_the_same_seed_has_the_same_keys_and_another_seed_has_others(tmp_path: Path) -> None:
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        make_missing(settings_of(tmp_path / name, simulated="true", simulated_seed=seed))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")["keys/seal.pem"] != contents(tmp_path / "c")["keys/seal.pem"]


def test_without_the_sandbox_no_channel_key_is_made_up(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, sandbox="false")
    make_missing(settings)
    with pytest.raises(SettingsError, match=r"wechat/verify"):
        read(settings)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("seal.pem", b"nonsense", "Ed25519"),
        ("token/1.pem", b"nonsense", "P-256"),
        ("wechat/merchant.pem", b"nonsense", "RSA"),
        ("wechat/apiv3.key", b"short", "exactly 32 characters"),
        ("wechat/merchant-certificate.pem", b"nonsense", "certificate"),
    ],
)
def test_an_unusable_key_file_is_named_and_its_content_is_not_shown(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    settings = settings_of(tmp_path)
    make_missing(settings)
    (tmp_path / "keys" / name).write_bytes(content)
    with pytest.raises(SettingsError, match=message) as refused:
        read(settings)
    assert name in str(refused.value)
    assert content.decode() not in str(refused.value)
