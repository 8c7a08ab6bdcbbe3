"""Key files: make the missing ones at first start, read them all into one struct.

Knows files and key formats; must not know what the keys are used for beyond their names. Called by the wiring and ``tongting run``.

    keys/
      seal.pem                      Ed25519   signs checkpoints
      pay-code/<number>.pem         Ed25519   signs pay codes; the highest number signs, all verify
      token/<name>.pem              P-256     signs access tokens; the last name in order signs, all verify
      webhook.key                   32 bytes  encrypts the secrets of webhooks in the database
      wechat/merchant.pem           RSA       our requests to the channel
      wechat/merchant-certificate.pem         its certificate: the serial goes into each request
      wechat/apiv3.key              32 ASCII  decrypts notifications
      wechat/app-secret.key         text      exchanges the code of the authorisation page for an openid
      wechat/verify/*.pem           certificates, and public keys in files named PUB_KEY_ID_....pem: what the channel signs with
    sandbox-keys/  (beside keys/)   the stand-in's private halves; only with the sandbox
      certificate.pem  certificate-key.pem  PUB_KEY_ID_....pem
"""

import os
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from msgspec import Struct

from app import seeded, signers
from config.settings import Settings, SettingsError
from gateways.keys import SigningKey

SANDBOX_PUBLIC_KEY_ID: Final = "PUB_KEY_ID_0119000000012026010100000001"
"""Name of the stand-in's first public key; the real channel gives such a name with each key."""

_PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class WeChatKeys(Struct, frozen=True):
    """Everything secret that the WeChat adapter needs, and what it verifies answers with."""

    merchant_key: rsa.RSAPrivateKey | SigningKey
    merchant_serial: str
    """Serial of the merchant certificate: hex, upper case."""
    apiv3_key: bytes
    app_secret: str
    certificates: tuple[x509.Certificate, ...]
    """Platform certificates of the channel; old and new may overlap."""
    public_keys: Mapping[str, rsa.RSAPublicKey]
    """Public keys of the channel by their name ``PUB_KEY_ID_...``."""

    def __repr__(self) -> str:
        return f"WeChatKeys(merchant_serial={self.merchant_serial!r})"  # a log must never show a secret


class Keys(Struct, frozen=True):
    """All keys of an installation."""

    seal: ed25519.Ed25519PrivateKey
    pay_code: Mapping[int, ed25519.Ed25519PrivateKey]
    """By key number; the highest number signs, all verify."""
    tokens: Mapping[str, ec.EllipticCurvePrivateKey]
    """By key name (``kid``); the last name in alphabetical order signs, all verify."""
    wechat: WeChatKeys
    webhook: bytes
    """Encrypts the secrets of webhooks where they are stored."""


def sandbox_keys_dir(settings: Settings) -> Path:
    """Directory of the stand-in's own private keys."""
    return settings.keys_dir.parent / "sandbox-keys"


def make_missing(settings: Settings) -> list[str]:
    """Make the keys that are not there yet; the channel's only with the sandbox. Returns the names of those made.

    May be called at every start: a key that exists is never touched, a directory that holds one counts as made.
    """
    made: list[str] = []
    keys, source = settings.keys_dir, _source(settings)
    _make(keys / "seal.pem", lambda: source.ed25519("seal"), made)
    if not list((keys / "pay-code").glob("*.pem")):
        _make(keys / "pay-code" / "1.pem", lambda: source.ed25519("pay code"), made)
    if not list((keys / "token").glob("*.pem")):
        _make(keys / "token" / "1.pem", lambda: source.p256("token"), made)
    _make(keys / "webhook.key", lambda: source.secret("webhook"), made)
    if settings.sandbox:
        _make_channel(source, keys / "wechat", sandbox_keys_dir(settings), made)
        _make_others(source, keys, sandbox_keys_dir(settings), made)
    return made


class _Source(Struct, frozen=True):
    """Where new keys come from: chance, or in a simulation the seed."""

    seed: int | None
    at: datetime
    """When certificates begin to be valid."""

    def ed25519(self, name: str) -> bytes:
        return _pem(ed25519.Ed25519PrivateKey.generate() if self.seed is None else seeded.ed25519_key(self.seed, name))

    def p256(self, name: str) -> bytes:
        return _pem(ec.generate_private_key(ec.SECP256R1()) if self.seed is None else seeded.p256_key(self.seed, name))

    def rsa(self, name: str) -> bytes:
        return _pem(rsa.generate_private_key(65537, 2048) if self.seed is None else seeded.rsa_key(self.seed, name))

    def characters(self, name: str) -> bytes:
        """Return 32 hexadecimal characters."""
        return (secrets.token_bytes(16) if self.seed is None else seeded.secret(self.seed, name)[:16]).hex().encode()

    def secret(self, name: str) -> bytes:
        """Return 32 secret bytes."""
        return secrets.token_bytes(32) if self.seed is None else seeded.secret(self.seed, name)

    def serial(self, name: str) -> int:
        """Return a certificate serial of 40 hex characters, like the channel's own."""
        drawn = secrets.token_bytes(32) if self.seed is None else seeded.secret(self.seed, name)
        return int.from_bytes(drawn, "big") >> 98 | 1 << 158


def _source(settings: Settings) -> _Source:
    if settings.simulated:
        return _Source(settings.simulated_seed, settings.simulated_start_at - timedelta(days=1))
    return _Source(None, datetime.now(UTC) - timedelta(days=1))


def read(settings: Settings) -> Keys:
    """Read all keys.

    Raises:
        SettingsError: a file is missing or unreadable; the message names it and never shows its content.
    """
    keys = settings.keys_dir
    return Keys(
        seal=ed25519_private(keys / "seal.pem"),
        pay_code={int(path.stem): ed25519_private(path) for path in _several(keys / "pay-code")},
        tokens={path.stem: p256_private(path) for path in _several(keys / "token")},
        wechat=wechat_keys(settings, merchant_key=_outside(keys / "wechat" / "merchant.pem")),
        webhook=webhook_key(keys / "webhook.key"),
    )


def webhook_key(path: Path) -> bytes:
    """Return the key that encrypts the secrets of webhooks. Raises SettingsError."""
    key = _bytes(path)
    if len(key) != 32:
        raise SettingsError(f"{path} must hold exactly 32 bytes; 'tongting migrate' makes one where there is none")
    return key


def wechat_keys(settings: Settings, *, merchant_key: SigningKey | None = None) -> WeChatKeys:
    """Read the keys of the WeChat channel; ``merchant_key`` takes the place of its file ``merchant.pem``.

    Raises:
        SettingsError: a file is missing or unreadable.
    """
    keys = settings.keys_dir / "wechat"
    verifying = _several(keys / "verify")
    named = {path.stem: path for path in verifying if path.stem.startswith("PUB_KEY_ID_")}
    apiv3 = _bytes(keys / "apiv3.key").strip()
    if len(apiv3) != 32:
        raise SettingsError(f"{keys / 'apiv3.key'} must hold exactly 32 characters")
    merchant = certificate(keys / "merchant-certificate.pem")
    return WeChatKeys(
        merchant_key=rsa_private(keys / "merchant.pem") if merchant_key is None else merchant_key,
        merchant_serial=serial(merchant),
        apiv3_key=apiv3,
        app_secret=_bytes(keys / "app-secret.key").decode().strip(),
        certificates=tuple(certificate(path) for path in verifying if path.stem not in named),
        public_keys={name: rsa_public(path) for name, path in named.items()},
    )


def _outside(path: Path) -> SigningKey | None:
    """Return what signs in place of a private key's file, if its ``.signer`` file lies there. Raises SettingsError."""
    beside = path.with_name(path.name + signers.SUFFIX)
    if not beside.exists():
        return None
    try:
        return signers.signers({path.name + signers.SUFFIX: _bytes(beside)})[path.name]
    except ValueError as wrong:
        raise SettingsError(f"{path.parent}: {wrong}") from None


def serial(of: x509.Certificate) -> str:
    """Return a certificate's serial as the channel writes it: hex, upper case, 40 characters."""
    return f"{of.serial_number:040X}"


def _make_channel(source: _Source, wechat: Path, sandbox: Path, made: list[str]) -> None:
    """Make both sides of the channel: our merchant key, and what the stand-in signs with."""
    _make_certified(source, wechat / "merchant.pem", wechat / "merchant-certificate.pem", "merchant", made)
    _make(wechat / "apiv3.key", lambda: source.characters("apiv3"), made)
    _make(wechat / "app-secret.key", lambda: source.characters("app secret"), made)
    _make_certified(source, sandbox / "certificate-key.pem", sandbox / "certificate.pem", "sandbox platform", made)
    private = sandbox / f"{SANDBOX_PUBLIC_KEY_ID}.pem"
    _make(private, lambda: source.rsa("sandbox public key"), made)
    platform = certificate(sandbox / "certificate.pem")
    _make(wechat / "verify" / f"{serial(platform)}.pem", (sandbox / "certificate.pem").read_bytes, made)
    _make(wechat / "verify" / private.name, lambda: _public_pem(rsa_private(private)), made)


def _make_others(source: _Source, keys: Path, sandbox: Path, made: list[str]) -> None:
    """Make both sides of the other channels, each at once: a folder that is there counts as made."""
    from app.stand_in import demo_keys  # a process that handles real money never loads the stand-ins

    if all((keys / name).is_dir() for name in ("alipay", "unionpay", "etc")):
        return
    for name, files in demo_keys(source).items():
        if not (keys / name).is_dir():
            for folder, side in ((sandbox / name, files.theirs), (keys / name, files.ours)):
                for path, content in side.items():
                    _make(folder / path, lambda content=content: content, made)  # type: ignore[misc]


def _make_certified(source: _Source, key_path: Path, certificate_path: Path, name: str, made: list[str]) -> None:
    _make(key_path, lambda: source.rsa(name), made)
    _make(certificate_path, lambda: _self_signed(rsa_private(key_path), name, source), made)


def _make(path: Path, content: Callable[[], bytes], made: list[str]) -> None:
    """Write a new file readable by its owner only; complete or not at all, also when two processes start at once."""
    if path.exists():
        return
    for folder in reversed(path.parents):
        folder.mkdir(mode=0o700, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(staging, path)
        made.append(f"{path.parent.name}/{path.name}")
    except FileExistsError:
        pass  # another process was first, and its key counts
    finally:
        staging.unlink()


def _self_signed(key: rsa.RSAPrivateKey, name: str, source: _Source) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Tongting demo {name}")])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(source.serial(name)).not_valid_before(source.at)
    builder = builder.not_valid_after(source.at + timedelta(days=5 * 365))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _pem(key: _PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip


def _public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as broken:
        raise SettingsError(f"the key file {path} cannot be read: {broken.strerror}") from None


def _several(directory: Path) -> list[Path]:
    found = sorted(directory.glob("*.pem"))
    if not found:
        raise SettingsError(f"there is no key file in {directory}; 'tongting run' makes those that may be made")
    return found


def ed25519_private(path: Path) -> ed25519.Ed25519PrivateKey:
    """Return the Ed25519 private key of a file. Raises SettingsError."""
    key = _private(path)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise SettingsError(f"{path} does not hold an unencrypted Ed25519 private key in PEM form")
    return key


def p256_private(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the P-256 private key of a file. Raises SettingsError."""
    key = _private(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SettingsError(f"{path} does not hold an unencrypted P-256 private key in PEM form")
    return key


def rsa_private(path: Path) -> rsa.RSAPrivateKey:
    """Return the RSA private key of a file. Raises SettingsError."""
    key = _private(path)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError(f"{path} does not hold an unencrypted RSA private key in PEM form")
    return key


def _private(path: Path) -> object:
    """Return whatever private key the file holds, or None."""
    try:
        return serialization.load_pem_private_key(_bytes(path), password=None)
    except (ValueError, TypeError):
        return None


def rsa_public(path: Path) -> rsa.RSAPublicKey:
    """Return the RSA public key of a file. Raises SettingsError."""
    try:
        key = serialization.load_pem_public_key(_bytes(path))
    except ValueError:
        key = None
    if not isinstance(key, rsa.RSAPublicKey):
        raise SettingsError(f"{path} does not hold an RSA public key in PEM form")
    return key


def certificate(path: Path) -> x509.Certificate:
    """Return the certificate of a file. Raises SettingsError."""
    try:
        return x509.load_pem_x509_certificate(_bytes(path))
    except ValueError:
        raise SettingsError(f"{path} does not hold a certificate in PEM form") from None
