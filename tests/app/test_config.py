"""Settings: later sources win, nothing unknown is accepted, and another process can be given exactly the same."""

from pathlib import Path

import msgspec
import pytest

from config.settings import DEFAULTS, Settings, SettingsError, as_environment, load


def test_the_defaults_alone_make_usable_settings() -> None:
    settings = load({"TONGTING_HOME": "/srv/parking"})
    assert settings.keys_dir == Path("/srv/parking/keys")
    assert settings.database_url is None
    assert settings.wechat_notify_url == "http://127.0.0.1:8622/callbacks/wechat"


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({"SANDBOX": "false", "PUBLIC_URL": "https://pay.example/"}, "https://pay.example/callbacks/wechat"),
        ({"PUBLIC_URL": "http://192.0.2.10:8620"}, "http://127.0.0.1:8622/callbacks/wechat"),
        ({"CALLBACK_HOST": "0.0.0.0", "CALLBACK_PORT": "9000"}, "http://127.0.0.1:9000/callbacks/wechat"),
        ({"WECHAT_NOTIFY_URL": "https://other.example/n"}, "https://other.example/n"),
    ],
)
def test_the_channel_is_told_where_its_notices_are_taken(given: dict[str, str], address: str) -> None:
    settings = load({f"TONGTING_{name}": value for name, value in given.items()})
    assert settings.wechat_notify_url == address


def test_every_setting_is_explained_in_the_defaults() -> None:
    written = {
        line.split(" = ")[0] for line in DEFAULTS.read_text(encoding="utf-8").splitlines() if " = " in line and line[0] != "#"
    }
    assert written == {field.name for field in msgspec.structs.fields(Settings)}


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "city.toml"
    file.write_text("web_port = 9001\nsandbox_port = 9002\n")
    settings = load({"TONGTING_CONFIG": str(file), "TONGTING_WEB_PORT": "9003"})
    assert (settings.web_port, settings.sandbox_port) == (9003, 9002)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TONGTING_WEB_PROT": "1"}, "unknown setting 'web_prot' in the environment"),
        ({"TONGTING_WEB_PORT": "http"}, "'web_port' has an unusable value"),
        ({"TONGTING_WEB_PORT": "70000"}, "port from 1 to 65535"),
        ({"TONGTING_SEAL_SECONDS": "0"}, "must be above zero"),
        ({"TONGTING_CONFIG": "/nowhere/at/all.toml"}, "cannot be read"),
        ({"TONGTING_SIMULATED": "true", "TONGTING_SANDBOX": "false"}, "must never meet real money"),
        ({"TONGTING_SIMULATED_START_AT": "2026-03-02T06:00:00"}, "needs an offset"),
        ({"TONGTING_WECHAT_KEY_MODE": "none"}, "wechat_key_mode"),
        ({"TONGTING_QUERY_AFTER_SECONDS": "5,soon"}, "query_after_seconds"),
    ],
)
def test_a_wrong_setting_is_refused_and_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(environment)


@pytest.mark.parametrize(
    ("content", "message"), [("colour = 'blue'", "unknown setting 'colour' in"), ("web_port = [", "is not TOML")]
)
def test_a_wrong_file_is_refused_and_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "city.toml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=message):
        load({"TONGTING_CONFIG": str(file)})


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TONGTING_SANDBOX": "false", "TONGTING_WECHAT_API_URL": "https://channel.example"},
        {"TONGTING_SIMULATED": "true", "TONGTING_QUERY_AFTER_SECONDS": "1, 2,3", "TONGTING_DATABASE_URL": "postgresql://h/d"},
    ],
)
def test_another_process_reads_exactly_the_settings_it_is_given(environment: dict[str, str]) -> None:
    settings = load(environment)
    assert load(as_environment(settings)) == settings


def test_with_the_sandbox_no_address_of_the_real_channel_is_left() -> None:
    settings = load({"TONGTING_SANDBOX_PORT": "9100"})
    addresses = [getattr(settings, field.name) for field in msgspec.structs.fields(settings) if field.name.startswith("wechat_")]
    assert not [address for address in addresses if address and ("weixin" in address or "wechat.com" in address)]


def test_without_the_sandbox_the_real_addresses_stand_and_there_is_no_cashier_of_ours() -> None:
    settings = load({"TONGTING_SANDBOX": "false"})
    assert settings.wechat_api_url == "https://api.mch.weixin.qq.com"
    assert settings.wechat_cashier_url is None
