"""Settings: one frozen struct, read from default.toml, then a file, then the environment.

Knows names, types and defaults; must not know what is done with them. Read by ``app`` and the migrations alone.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

PREFIX: Final = "TONGTING_"
FILE_VARIABLE: Final = "TONGTING_CONFIG"
DEFAULTS: Final = Path(__file__).with_name("default.toml")
CHART: Final = Path(__file__).with_name("chart_of_accounts.toml")
TARIFFS: Final = Path(__file__).parent / "tariffs"
"""Published tariffs as files, to be entered with ``tongting tariff add``."""
ROLLOUT: Final = Path(__file__).parent / "rollout"
"""Published plans of the one code as files, to be entered with ``tongting rollout enter``."""
"""The chart of accounts, see ``ledger.accounts.read_chart``."""


class SettingsError(Exception):
    """A setting cannot be used; the message names it, where it stands and what is allowed."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that may differ between installations. Meanings and units stand beside the values in default.toml.

    Facts that an auditor asks about (merchant accounts, rates, tariffs) are dated rows in the database, never settings.
    """

    home: Path
    database_url: str | None
    database_pool_size: int
    web_host: str
    web_port: int
    web_workers: int
    public_url: str
    sandbox: bool
    sandbox_host: str
    sandbox_port: int
    sandbox_time_factor: float
    sandbox_fee_bps: int
    channels: tuple[str, ...]
    wechat_provider_no: str
    wechat_app_id: str
    wechat_api_url: str
    wechat_fallback_url: str | None
    wechat_authorize_url: str
    wechat_openid_url: str
    wechat_cashier_url: str | None
    wechat_sign_url: str | None
    wechat_notify_url: str
    wechat_key_mode: Literal["public_key", "certificate"]
    alipay_app_id: str
    alipay_merchant_no: str | None
    alipay_api_url: str
    alipay_login_url: str
    alipay_sign_url: str | None
    alipay_notify_url: str
    unionpay_provider_no: str
    unionpay_acquirer_no: str | None
    unionpay_gateway_url: str
    unionpay_file_url: str
    unionpay_notify_url: str
    etc_sender_id: str
    etc_receiver_id: str
    etc_api_url: str
    etc_notify_no: str
    etc_charge_fen_max: int
    etc_own_network: str
    etc_record_days_max: int
    etc_pack_minutes: int
    etc_list_provinces: tuple[str, ...]
    etc_list_kinds: tuple[Literal["CARD", "OBU", "PLATE"], ...]
    etc_dialect: Literal["https", "jiangsu"]
    etc_centre_id: str
    etc_centre_host: str | None
    etc_centre_port: int
    etc_line_host: str
    etc_line_port: int
    etc_line_peers: tuple[str, ...]
    etc_party_ids: tuple[str, ...]
    channel_timeout_seconds: float
    keys_dir: Path
    simulated: bool
    simulated_seed: int
    simulated_start_at: datetime
    seal_seconds: float
    seal_origin: str
    callback_host: str
    callback_port: int
    callback_processes: int
    callback_batch_max: int
    callback_body_bytes_max: int
    callback_refused_per_minute: int
    price_lock_minutes: int
    query_after_seconds: tuple[int, ...]
    jobs_seconds: float
    refund_second_payment_fen_max: int
    webhook_poll_seconds: float
    webhook_allowed_networks: tuple[str, ...]
    webhook_kept_days: int
    quote_timeout_seconds: float
    dunning_outbox: Path
    dunning_file_channels: tuple[Literal["post", "sms", "wallet"], ...]
    dunning_link: str
    dunning_smtp_host: str | None
    dunning_smtp_port: int
    dunning_smtp_sender: str
    dunning_smtp_starttls: bool
    dunning_smtp_user: str | None
    dunning_smtp_password_file: Path | None
    dunning_smtp_ca_file: Path | None
    debt_file_font: Path | None
    invoice_outbox: Path
    invoice_inbox: Path
    invoice_email_days: int
    mandate_ask_days: int
    refund_answer_days: int
    refund_remind_days: int
    token_minutes: int
    help_line: str

    @property
    def sandbox_url(self) -> str:
        """Address of the channel stand-in, without a slash at its end."""
        return f"http://{self.sandbox_host}:{self.sandbox_port}"


SANDBOX_ACQUIRER_NO: Final = "48020000"
"""What the stand-in for UnionPay knows this installation by."""
_LISTS: Final = frozenset(
    {"query_after_seconds", "channels", "etc_line_peers", "etc_party_ids", "etc_list_provinces", "etc_list_kinds"}
    | {"webhook_allowed_networks", "dunning_file_channels"}
)
_PARTY_ID: Final = re.compile(r"[0-9A-Fa-f]{16}")
_NUMBERED_PARTY: Final = re.compile(r"[0-9]{6}=[0-9A-Fa-f]{16}")
_KINDS: Final = {field.name: field for field in msgspec.structs.fields(Settings)}


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of this installation. Later sources win: default.toml, the file of TONGTING_CONFIG, TONGTING_*.

    Raises:
        SettingsError: a name is unknown or a value does not fit; nothing is guessed.
    """
    given = os.environ if environment is None else environment
    values = _from_file(DEFAULTS)
    if path := given.get(FILE_VARIABLE):
        values |= _from_file(Path(path))
    values |= _from_environment(given)
    return _settings(_derived({name: None if value == "" else value for name, value in values.items()}))


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the environment under which another process reads exactly these settings."""
    return {PREFIX + name.upper(): _text(value) for name, value in msgspec.structs.asdict(settings).items()}


def changed(settings: Settings, **changes: str) -> Settings:
    """Return these settings with some changed, given as text like in the environment; "" sets back what follows from others.

    Raises:
        SettingsError: as ``load``.
    """
    return load(as_environment(settings) | {PREFIX + name.upper(): value for name, value in changes.items()})


def default_home() -> Path:
    """Return the directory that holds the user's data: below ``/var/lib`` for root, else XDG's data home."""
    if os.geteuid() == 0:
        return Path("/var/lib/tongting")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "tongting"


def _from_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as broken:
        raise SettingsError(f"the settings file {path} cannot be read: {broken.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise SettingsError(f"the settings file {path} is not TOML: {broken}") from None
    for name in values:
        _known(name, f"in {path}")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, value in environment.items():
        if variable.startswith(PREFIX) and variable != FILE_VARIABLE:
            name = variable.removeprefix(PREFIX).lower()
            _known(name, f"in the environment ({variable})")
            values[name] = _parts(value) if name in _LISTS else value
    return values


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _known(name: str, where: str) -> None:
    if name not in _KINDS:
        raise SettingsError(f"unknown setting {name!r} {where}; the known ones stand in {DEFAULTS}")


def _derived(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in what follows from other settings where it was not set."""
    home = Path(values["home"] or default_home()).expanduser().absolute()
    public = (values["public_url"] or f"http://{values['web_host']}:{values['web_port']}").rstrip("/")
    values |= {"home": home, "public_url": public}
    notices = public
    values["dunning_outbox"] = Path(values["dunning_outbox"] or home / "dunning").expanduser().absolute()
    for name in ("outbox", "inbox"):
        values[f"invoice_{name}"] = Path(values[f"invoice_{name}"] or home / "invoices" / name).expanduser().absolute()
    values["dunning_link"] = values["dunning_link"] or public
    values["keys_dir"] = Path(values["keys_dir"] or home / "keys").expanduser().absolute()
    if values["sandbox"] in (True, "true", "True", "1"):
        values["unionpay_acquirer_no"] = values["unionpay_acquirer_no"] or SANDBOX_ACQUIRER_NO
        values |= _sandbox_addresses(f"http://{values['sandbox_host']}:{values['sandbox_port']}")
        values |= {"etc_centre_host": "127.0.0.1", "etc_line_peers": ["127.0.0.1"]}
        notices = _beside(values["callback_host"], values["callback_port"])
    for channel in ("wechat", "alipay", "unionpay"):
        values[f"{channel}_notify_url"] = values[f"{channel}_notify_url"] or f"{notices}/callbacks/{channel}"
    for name in ("channels", "etc_line_peers", "etc_party_ids", "webhook_allowed_networks", "dunning_file_channels"):
        values[name] = values[name] or []
    return values


def _beside(host: str, port: object) -> str:
    """Return where the stand-in, which runs on this machine, finds the callbacks' own port."""
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"


def _sandbox_addresses(sandbox: str) -> dict[str, str | None]:
    """With the stand-in, every address of the channel is its own: a half-real channel would be a trap."""
    return {
        "wechat_api_url": sandbox,
        "wechat_fallback_url": None,
        "wechat_authorize_url": f"{sandbox}/connect/oauth2/authorize",
        "wechat_openid_url": f"{sandbox}/sns/oauth2/access_token",
        "wechat_cashier_url": f"{sandbox}/cashier",
        "wechat_sign_url": f"{sandbox}{{path}}",
        "alipay_api_url": f"{sandbox}/alipay/gateway.do",
        "alipay_sign_url": f"{sandbox}/alipay/agreements?plate={{plate}}&plate_color={{color}}&return_url={{return_url}}",
        "alipay_login_url": f"{sandbox}/alipay/oauth2/publicAppAuthorize.htm",
        "unionpay_gateway_url": sandbox,
        "unionpay_file_url": f"{sandbox}/unionpay/file",
        "etc_api_url": sandbox,
    }


def _settings(values: dict[str, Any]) -> Settings:
    for name, field in _KINDS.items():
        try:
            values[name] = msgspec.convert(values[name], field.type, strict=False, dec_hook=_path)
        except msgspec.ValidationError as broken:
            raise SettingsError(f"setting {name!r} has an unusable value: {broken}") from None
    settings = Settings(**values)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    ports = {name: getattr(settings, name) for name in ("web_port", "sandbox_port", "callback_port")}
    if settings.etc_dialect == "jiangsu":
        ports |= {name: getattr(settings, name) for name in ("etc_centre_port", "etc_line_port")}
        _check_line(settings)
    positive = {"callback_batch_max", "database_pool_size", "price_lock_minutes", "token_minutes", "seal_seconds", "jobs_seconds"}
    positive |= {"webhook_poll_seconds", "quote_timeout_seconds"}
    positive |= {"invoice_email_days", "mandate_ask_days", "refund_answer_days", "refund_remind_days"}
    for name, port in ports.items():
        if not 0 < port < 65536:
            raise SettingsError(f"setting {name!r} must be a port from 1 to 65535, not {port}")
    for name in sorted(positive):
        if getattr(settings, name) <= 0:
            raise SettingsError(f"setting {name!r} must be above zero")
    if settings.webhook_kept_days < 7:
        raise SettingsError("setting 'webhook_kept_days' must be 7 at least: a delivery is tried for three days")
    for network in settings.webhook_allowed_networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise SettingsError(f"setting 'webhook_allowed_networks' has networks such as 127.0.0.0/8, not {network!r}") from None
    for province in settings.etc_list_provinces:
        if not (len(province) == 2 and province.isascii() and province.isdecimal()):
            raise SettingsError(f"setting 'etc_list_provinces' has provinces of two digits, such as 32, not {province!r}")
    if settings.simulated_start_at.tzinfo is None:
        raise SettingsError("setting 'simulated_start_at' needs an offset such as +08:00")
    if settings.simulated and not settings.sandbox:
        raise SettingsError("setting 'simulated' needs the sandbox: a set clock must never meet real money")


def _check_line(settings: Settings) -> None:
    """Nothing is signed on the province's line: without the centre's id and addresses nothing could be told from a stranger's."""
    for name in ("etc_sender_id", "etc_centre_id"):
        if _PARTY_ID.fullmatch(getattr(settings, name)) is None:
            raise SettingsError(f"setting {name!r} must be 16 hex digits")
    if not (settings.etc_centre_host and settings.etc_line_peers):
        raise SettingsError(
            "with etc_dialect 'jiangsu' the settings 'etc_centre_host' and 'etc_line_peers' name the network centre"
        )
    for peer in settings.etc_line_peers:
        try:
            ipaddress.ip_address(peer)
        except ValueError:
            raise SettingsError(f"setting 'etc_line_peers' has addresses, not {peer!r}") from None
    if any(_NUMBERED_PARTY.fullmatch(entry) is None for entry in settings.etc_party_ids):
        raise SettingsError("setting 'etc_party_ids' has entries such as 320201=00000000000000FD")


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise NotImplementedError(kind)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
