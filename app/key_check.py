"""Look at every key file and say in words what is wrong, or will soon be.

Knows files, formats, validity and permissions; must not know what the keys are used for, and never shows a key. What a file of a
channel with a layout of its own is, the channel says. Called by ``tongting keys check`` and, once a day, by the worker.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct

from app import keys
from app.channels import notes
from app.signers import SUFFIX, signers
from config.settings import Settings, SettingsError
from gateways.keys import RSA_BITS_MIN, KeyNote

_SECRET: Final = re.compile(
    r"alipay/(?:(?:platform|operators/[^/]+)/app\.key|tokens/.*)|unionpay/.*/key\.pem|etc/(?:own|merchants/[^/]+)/.*"
)
"""Files of the channels that nobody else may read: private keys, and leaves to act for an operator."""
_THEIRS: Final = re.compile(
    r"alipay/(?:platform|operators/[^/]+)/alipay(?=[^/]*\.crt$)|unionpay/verify/(?:root|middle)|etc/channel/[^/]+/(?=.*\.(?:pem|sm2)$)"
)
"""What the channels sign with, up to where the names of an old and a new one part."""

DAYS_NOTED: Final = 30
DAYS_URGENT: Final = 10
DAYS_LAST: Final = 3

Level = Literal["ok", "noted", "urgent", "wrong"]
"""noted: expires within 30 days. urgent: within 10. wrong: cannot be used, may be read by others, or expires within 3 days."""


class Finding(Struct, frozen=True):
    """What there is to say about one file."""

    level: Level
    file: str
    words: str


def findings(settings: Settings, *, at: datetime) -> list[Finding]:
    """Return what there is to say about each key file: ours and WeChat's as in ``app.keys``, then other channels'. Reads only."""
    folder = settings.keys_dir
    said = [*_own(folder), *_merchant(folder / "wechat", at), *_verifying(folder / "wechat" / "verify", at)]
    said += [*_of_channels(settings, at), *_signing_elsewhere(folder)]
    return [Finding(one.level, str(Path(one.file).relative_to(folder)), one.words) for one in said]


def _of_channels(settings: Settings, at: datetime) -> Iterator[Finding]:
    """What the channels with a layout of their own say of their files, and how long each is still good for."""
    said = [(path, path.relative_to(settings.keys_dir).as_posix(), note) for path, note in notes(settings)]
    lasting = {_replaceable(name) for _, name, note in said if note.fault is None and _outlasts(note, at)}
    for path, name, note in said:
        replaced = _replaceable(name) is not None and _replaceable(name) in lasting
        yield _noted(path, note, at, replaced=replaced, secret=_SECRET.fullmatch(name) is not None)


def _noted(path: Path, note: KeyNote, at: datetime, *, replaced: bool, secret: bool) -> Finding:
    if note.fault is not None:
        return Finding("wrong", str(path), f"{note.words}: {note.fault}")
    if secret and _others_may_read(path):
        return Finding("wrong", str(path), f"others may read it; make it private: chmod 600 {path}")
    if note.expires_at is None:
        return Finding("ok", str(path), note.words)
    level, words = _until(note.expires_at, at)
    if level in ("urgent", "wrong") and replaced:
        return Finding("noted", str(path), f"{note.words}: {words}; another one beside it lasts longer")
    return Finding(level, str(path), f"{note.words}: {words}")


def _replaceable(name: str) -> str | None:
    """Return what a file of the channel's side has in common with those that stand in for it; None for a file of ours."""
    found = _THEIRS.match(name)
    return None if found is None else found[0]


def _outlasts(note: KeyNote, at: datetime) -> bool:
    return note.expires_at is None or (note.expires_at - at).days > DAYS_NOTED


def _signing_elsewhere(folder: Path) -> Iterator[Finding]:
    """Keys that do not lie in a file: whether the file that names them can be used. Nothing is signed to find out."""

    def read(path: Path) -> None:
        try:
            signers({path.name: path.read_bytes()})
        except (ValueError, OSError) as wrong:
            raise SettingsError(str(wrong)) from None

    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        yield _private(path, read, f"says what signs in place of {path.stem}")


def _own(folder: Path) -> Iterator[Finding]:
    yield _private(folder / "seal.pem", keys.ed25519_private, "signs checkpoints")
    yield _private(folder / "webhook.key", keys.webhook_key, "encrypts the secrets of webhooks")
    for name, read, words in (
        ("pay-code", keys.ed25519_private, "signs pay codes"),
        ("token", keys.p256_private, "signs access tokens"),
    ):
        found = sorted((folder / name).glob("*.pem"))
        if not found:
            yield Finding("wrong", str(folder / name), "there is no key here; 'tongting migrate' makes one")
        for path in found:
            yield _private(path, read, words)


def _merchant(folder: Path, at: datetime) -> Iterator[Finding]:
    """The merchant's key, its certificate, and the two secrets of the channel."""
    key_file, certificate_file = folder / "merchant.pem", folder / "merchant-certificate.pem"
    if not key_file.with_name(key_file.name + SUFFIX).exists():
        yield _private(key_file, keys.rsa_private, "signs our requests to WeChat Pay")
    try:
        certificate = keys.certificate(certificate_file)
    except SettingsError as wrong:
        yield Finding("wrong", str(certificate_file), str(wrong))
    else:
        yield _belongs(certificate_file, certificate, key_file) or _valid(certificate_file, certificate, at)
    yield _secret(folder / "apiv3.key", characters=32)
    yield _secret(folder / "app-secret.key", characters=None)


def _verifying(folder: Path, at: datetime) -> Iterator[Finding]:
    """What the channel signs with. An old certificate beside a newer key is no trouble, so it is only told of."""
    found = sorted(folder.glob("*.pem"))
    if not found:
        yield Finding("wrong", str(folder), "there is no key of the channel: no notice can be verified; download one from its site")
    lasting = any(path.stem.startswith("PUB_KEY_ID_") or _lasts(path, at) for path in found)
    for path in found:
        if path.stem.startswith("PUB_KEY_ID_"):
            yield _readable(path, keys.rsa_public, "verifies what the channel signs; a public key does not expire")
        else:
            yield _platform(path, at, replaced=lasting)


def _platform(path: Path, at: datetime, *, replaced: bool) -> Finding:
    try:
        said = _valid(path, keys.certificate(path), at)
    except SettingsError as wrong:
        return Finding("wrong", str(path), str(wrong))
    if said.level in ("urgent", "wrong") and replaced:
        return Finding("noted", said.file, f"{said.words}; another key of the channel is there and lasts longer")
    return said


def _lasts(path: Path, at: datetime) -> bool:
    try:
        return (keys.certificate(path).not_valid_after_utc - at).days > DAYS_NOTED
    except SettingsError:
        return False


def _private(path: Path, read: Callable[[Path], object], words: str) -> Finding:
    said = _readable(path, read, words)
    if said.level == "ok" and _others_may_read(path):
        return Finding("wrong", str(path), f"others may read it; make it private: chmod 600 {path}")
    return said


def _others_may_read(path: Path) -> bool:
    return path.stat().st_mode & 0o077 != 0


def _secret(path: Path, *, characters: int | None) -> Finding:
    def read(path: Path) -> None:
        try:
            content = path.read_bytes().strip()
        except OSError as broken:
            raise SettingsError(f"{path} cannot be read: {broken.strerror}") from None
        if not content or (characters is not None and len(content) != characters):
            raise SettingsError(f"{path} must hold {characters or 'some'} characters, not {len(content)}")

    return _private(path, read, "a secret shared with WeChat Pay")


def _readable(path: Path, read: Callable[[Path], object], words: str) -> Finding:
    try:
        key = read(path)
    except SettingsError as wrong:
        return Finding("wrong", str(path), str(wrong))
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        return Finding("wrong", str(path), f"has {key.key_size} bits; the channel wants at least {RSA_BITS_MIN}")
    return Finding("ok", str(path), words)


def _belongs(path: Path, certificate: x509.Certificate, key_file: Path) -> Finding | None:
    try:
        key = keys.rsa_private(key_file)
    except SettingsError:
        return None
    if certificate.public_key() == key.public_key():
        return None
    return Finding(
        "wrong", str(path), f"is the certificate of another key than {key_file.name}; the channel will refuse every request"
    )


def _valid(path: Path, certificate: x509.Certificate, at: datetime) -> Finding:
    """Say how long a certificate is still good for."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if at < begins:
        return Finding("wrong", str(path), f"is valid from {begins:%Y-%m-%d} on; is the clock right?")
    level, words = _until(ends, at)
    return Finding(level, str(path), words)


def _until(ends: datetime, at: datetime) -> tuple[Level, str]:
    """Return how urgent an end is, and the words for it."""
    if at >= ends:
        return "wrong", f"expired on {ends:%Y-%m-%d}; put a new one beside it"
    days = (ends - at).days
    words = f"valid until {ends:%Y-%m-%d}, {days} days"
    if days > DAYS_NOTED:
        return "ok", words
    level: Level = "wrong" if days <= DAYS_LAST else "urgent" if days <= DAYS_URGENT else "noted"
    return level, f"{words}; get a new one and put it beside this one"
