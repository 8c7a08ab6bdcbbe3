"""The channels of this installation, each with its adapter and its keys; and the watch that takes up changed key files.

Knows every adapter and the settings; must not know payments. Called by the wiring. A channel is there when the settings name it,
or, where they name none, when its folder lies below the key directory.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from app.keys import WeChatKeys as WeChatFiles
from app.keys import wechat_keys
from app.signers import SUFFIX, signers
from config.settings import Settings, SettingsError
from gateways.alipay import keys as alipay_keys
from gateways.alipay.channel import Alipay
from gateways.alipay.channel import Provider as AlipayProvider
from gateways.contract import AnyChannel
from gateways.etc import keys as etc_keys
from gateways.etc.channel import Etc
from gateways.etc.line import Provider as EtcProvider
from gateways.keys import KeyNote, KeyRing, SigningKey, VerificationKey, from_certificate
from gateways.registry import Connected, Registry
from gateways.unionpay import keys as unionpay_keys
from gateways.unionpay.channel import Provider as UnionPayProvider
from gateways.unionpay.channel import UnionPay
from gateways.wechat.channel import Provider as WeChatProvider
from gateways.wechat.channel import WeChat
from gateways.wechat.keys import WeChatKeys

ALL: Final = ("wechat", "alipay", "unionpay", "etc")
SITE_NAME: Final = "通停通付"
"""What WeChat shows as the name of the site that a browser comes from."""
WATCH_SECONDS: Final = 20.0
LOG: Final = logging.getLogger("tongting.keys")

Files = Mapping[str, bytes]


class _Kind(Struct, frozen=True):
    """How a channel's parts are made: its keys from files, its adapter from settings and keys, and what is said of its files."""

    load: Callable[[Settings, Files, Mapping[str, SigningKey]], Any]
    adapter: Callable[[Settings, Any], AnyChannel]
    inspect: Callable[[Files], tuple[KeyNote, ...]] | None = None


def present(settings: Settings) -> tuple[str, ...]:
    """Return the names of the channels of this installation, in the order in which pages offer them."""
    if settings.channels:
        return tuple(name for name in ALL if name in settings.channels)
    return tuple(name for name in ALL if (settings.keys_dir / name).is_dir()) or ALL[:1]


def connect(settings: Settings) -> Registry:
    """Return the channels with their keys.

    Raises:
        SettingsError: a key file is missing or cannot be used; the message names it and says what to do.
    """
    return Registry(_connected(settings, name) for name in present(settings))


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the files below a channel's key folder by their paths in it; names that begin with a dot are left out.

    Raises:
        SettingsError: one of them cannot be read.
    """
    found = {}
    for path in _paths(folder):
        try:
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
        except OSError as broken:
            raise SettingsError(f"the key file {path} cannot be read: {broken.strerror}") from None
    return found


def notes(settings: Settings) -> Iterator[tuple[Path, KeyNote]]:
    """Yield what is to be said of each key file of the channels that have a layout of their own, with the file's path.

    Files that are in order one by one and cannot be used together, or of which one is missing, are told of under their folder.
    """
    for name in present(settings):
        inspect, folder = _KINDS[name].inspect, settings.keys_dir / name
        if inspect is None:
            continue
        files = read_files(folder)
        held = {path.removesuffix(SUFFIX) for path in files if path.endswith(SUFFIX)}
        said = [note for note in inspect(_without_signers(files)) if note.file not in held]
        yield from ((folder / note.file, note) for note in said)
        if all(note.fault is None for note in said):
            try:
                _keys(settings, name)
            except SettingsError as wrong:
                yield folder, KeyNote(file="", words="the keys of this channel", fault=str(wrong))


class FileWatch:
    """One thread that takes up changed key files of all channels, so that a rotation needs no restart.

    Files that cannot be used change nothing: the keys from before stay, and the log says what is wrong.
    """

    def __init__(self, settings: Settings, channels: Registry, *, seconds: float = WATCH_SECONDS) -> None:
        self._settings, self._channels, self._seconds = settings, channels, seconds
        self._seen = {name: _print_of(settings.keys_dir / name) for name in channels.names()}
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="key files", daemon=True)

    def start(self) -> None:
        """Watch from now on. Call once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> list[str]:
        """Look once; returns the channels whose keys were taken up anew."""
        renewed = []
        for connected in self._channels:
            name = connected.channel.name
            print_now = _print_of(self._settings.keys_dir / name)
            if print_now != self._seen[name]:
                self._seen[name] = print_now
                if self._renew(connected, name):
                    renewed.append(name)
        return renewed

    def _renew(self, connected: Connected, name: str) -> bool:
        try:
            fresh = _keys(self._settings, name)
        except SettingsError as wrong:
            LOG.critical("the key files of %s changed and cannot be used; the keys from before stay: %s", name, wrong)
            return False
        before = connected.keys
        connected.keys = fresh.renewing(before) if isinstance(fresh, KeyRing) else fresh
        LOG.info("the changed key files of %s were taken up", name)
        return True

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self.look()
            except Exception:
                LOG.exception("looking at key files failed; it goes on")


def key_ring(settings: Settings, files: WeChatFiles) -> WeChatKeys:
    """Return the ring of the WeChat channel: public keys and certificates together, the preferred kind as set."""
    public = [VerificationKey(serial=name, public_key=key) for name, key in sorted(files.public_keys.items())]
    certificates = [from_certificate(certificate.public_bytes(Encoding.PEM)) for certificate in files.certificates]
    preferred = public if settings.wechat_key_mode == "public_key" else certificates
    return WeChatKeys(
        merchant_key=files.merchant_key,
        merchant_serial=files.merchant_serial,
        api_key=files.apiv3_key,
        channel_keys=[*public, *certificates],
        preferred_serial=preferred[-1].serial if preferred else None,
    )


def _connected(settings: Settings, name: str) -> Connected:
    keys = _keys(settings, name)
    return Connected(channel=_KINDS[name].adapter(settings, keys), keys=keys)


def _keys(settings: Settings, name: str) -> Any:
    folder = settings.keys_dir / name
    files = read_files(folder)
    try:
        held = signers(files)
        return _KINDS[name].load(settings, _without_signers(files), held)
    except ValueError as wrong:
        raise SettingsError(f"{folder}: {wrong}") from None


def _without_signers(files: Files) -> Files:
    return {path: content for path, content in files.items() if not path.endswith(SUFFIX)}


def _paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _print_of(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what tells whether a folder's files have changed: names, sizes and times."""
    found = []
    for path in _paths(folder):
        try:
            about = path.stat()
        except OSError:
            continue  # it went away while we looked: that is a change as well
        found.append((str(path), about.st_size, about.st_mtime_ns))
    return tuple(found)


def _wechat_keys(settings: Settings, _files: Files, held: Mapping[str, SigningKey]) -> WeChatKeys:
    return key_ring(settings, wechat_keys(settings, merchant_key=held.get("merchant.pem")))


def _wechat(settings: Settings, _keys: Any) -> AnyChannel:
    provider = WeChatProvider(
        provider_no=settings.wechat_provider_no,
        app_id=settings.wechat_app_id,
        notify_url=settings.wechat_notify_url,
        api_url=settings.wechat_api_url,
        site_name=SITE_NAME,
        site_url=settings.public_url,
        sign_url=settings.wechat_sign_url,
    )
    return WeChat(provider)


def _alipay(settings: Settings, keys: alipay_keys.AlipayKeys) -> AnyChannel:
    platform = keys.apps.get(None)
    provider = AlipayProvider(
        app_id=settings.alipay_app_id if platform is None else platform.app_id,
        merchant_no=settings.alipay_merchant_no,
        notify_url=settings.alipay_notify_url,
        api_url=settings.alipay_api_url,
        login_url=settings.alipay_login_url,
        sign_url=settings.alipay_sign_url,
    )
    return Alipay(provider)


def _unionpay(settings: Settings, _keys: Any) -> AnyChannel:
    provider = UnionPayProvider(
        provider_no=settings.unionpay_acquirer_no or settings.unionpay_provider_no,
        acquirer_no=settings.unionpay_acquirer_no,
        notify_url=settings.unionpay_notify_url,
        gateway_url=settings.unionpay_gateway_url,
        file_url=settings.unionpay_file_url,
    )
    return UnionPay(provider)


def _etc(settings: Settings, _keys: Any) -> AnyChannel:
    provider = EtcProvider(
        sender_id=settings.etc_sender_id,
        receiver_id=settings.etc_receiver_id,
        api_url=settings.etc_api_url,
        notify_no=settings.etc_notify_no,
        cap_fen=settings.etc_charge_fen_max,
    )
    return Etc(provider)


_KINDS: Final[Mapping[str, _Kind]] = {
    "wechat": _Kind(load=_wechat_keys, adapter=_wechat),
    "alipay": _Kind(lambda _, files, held: alipay_keys.load(files, signers=held), _alipay, alipay_keys.inspect),
    "unionpay": _Kind(lambda _, files, held: unionpay_keys.load(files, signers=held), _unionpay, unionpay_keys.inspect),
    "etc": _Kind(lambda _, files, held: etc_keys.load(files, signers=held), _etc, etc_keys.inspect),
}
