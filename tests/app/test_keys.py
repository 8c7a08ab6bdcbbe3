"""Key files: made once, private, never shown, and in a simulation a matter of the seed."""

import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from app import seeded
from app.keys import make_missing, read, sandbox_keys_dir
from config.settings import Settings, SettingsError, load
from tests.seeded_keys import made_afresh


def settings_of(home: Path, **more: str) -> Settings:
    return load({"TONGTING_HOME": str(home)} | {f"TONGTING_{name.upper()}": value for name, value in more.items()})


def contents(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A home whose keys were made, which takes seconds, and their names. Nobody changes it."""
    home = tmp_path_factory.mktemp("keys")
    return home, make_missing(settings_of(home))


@pytest.fixture
def home(made: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy, to be changed."""
    shutil.copytree(made[0], tmp_path / "home")
    return tmp_path / "home"


def test_keys_are_made_once_and_never_touched_again(made: tuple[Path, list[str]]) -> None:
    home, names = made
    assert names
    before = contents(home)
    assert make_missing(settings_of(home)) == []
    assert contents(home) == before


def test_keys_are_readable_by_their_owner_only(made: tuple[Path, list[str]]) -> None:
    modes = {path.stat().st_mode & 0o077 for path in (made[0] / "keys").rglob("*")}
    assert modes == {0}


def test_what_the_sandbox_signs_with_is_what_we_verify_with(made: tuple[Path, list[str]]) -> None:
    settings = settings_of(made[0])
    keys = read(settings).wechat
    assert len(keys.certificates) == len(keys.public_keys) == 1
    assert {path.stem for path in sandbox_keys_dir(settings).glob("PUB_KEY_ID_*")} == set(keys.public_keys)


def test_a_newer_key_beside_the_old_one_is_read_too(home: Path) -> None:
    settings = settings_of(home)
    old = home / "keys" / "pay-code" / "1.pem"
    (home / "keys" / "pay-code" / "2.pem").write_bytes(old.read_bytes())
    assert make_missing(settings) == []
    assert sorted(read(settings).pay_code) == [1, 2]


def test_no_secret_shows_when_keys_are_printed(made: tuple[Path, list[str]]) -> None:
    keys = read(settings_of(made[0]))
    assert keys.wechat.apiv3_key.decode() not in repr(keys)
    assert keys.wechat.app_secret not in repr(keys)


def test_a_simulation_of_the_same_seed_has_the_same_keys_and_another_seed_has_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_missing(settings_of(tmp_path / "a", simulated="true", simulated_seed="11"))
    make_missing(settings_of(tmp_path / "c", simulated="true", simulated_seed="1"))
    monkeypatch.setattr(seeded, "rsa_key", made_afresh)
    make_missing(settings_of(tmp_path / "b", simulated="true", simulated_seed="11"))
    assert len(contents(tmp_path / "a")) > 40
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")["keys/seal.pem"] != contents(tmp_path / "c")["keys/seal.pem"]


def test_a_seeds_keys_stay_what_they_are() -> None:
    of_seed = made_afresh(1, "merchant").private_numbers()
    drawn = sha256(f"{of_seed.p} {of_seed.q}".encode()).hexdigest()
    assert drawn == "f66cf71d09c605409a0e6d99e1706eca1d28a4545e396be75b37f77f0dcd9b41"


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
def test_an_unusable_key_file_is_named_and_its_content_is_not_shown(home: Path, name: str, content: bytes, message: str) -> None:
    settings = settings_of(home)
    (home / "keys" / name).write_bytes(content)
    with pytest.raises(SettingsError, match=message) as refused:
        read(settings)
    assert name in str(refused.value)
    assert content.decode() not in str(refused.value)
