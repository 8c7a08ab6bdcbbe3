"""WeChat Pay's keys of this installation: the ring that also opens what the channel encrypts for our merchant certificate.

Knows key files and their layout; must not know messages, network or where the files lie. Called by the composition root and by
``tongting keys check``. The layout below the channel's key directory::

    merchant.pem               RSA: signs our requests, opens what is encrypted for us
    merchant-certificate.pem   its certificate: the serial goes into each request
    apiv3.key                  32 ASCII characters: decrypts notices
    app-secret.key             text: exchanges the code of the authorisation page (not part of the ring)
    verify/*.pem               what the channel signs with: certificates, and public keys in files named PUB_KEY_ID_….pem

While the channel changes from certificates to its public key both lie in ``verify``; ``preferred`` says which it is asked to answer
with.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import Certificate, load_pem_x509_certificate

from gateways.keys import (
    PUBLIC_KEY_PREFIX,
    FileKey,
    KeyNote,
    KeyRing,
    SigningKey,
    VerificationKey,
    certificate_serial,
    from_certificate,
    from_public_key,
    private_key,
)
from gateways.wechat import sensitive

MERCHANT_KEY: Final = "merchant.pem"
MERCHANT_CERTIFICATE: Final = "merchant-certificate.pem"
API_KEY: Final = "apiv3.key"
APP_SECRET: Final = "app-secret.key"
VERIFY: Final = "verify/"
API_KEY_BYTES: Final = 32
Kind = Literal["certificate", "public_key"]


class WeChatKeys(KeyRing):
    """The keys of our service provider. A merchant key outside this process signs; what is encrypted for us it cannot open here."""

    def __repr__(self) -> str:
        return f"WeChatKeys({self.merchant_serial}, {len(self.known())} keys of the channel)"

    def unwrap(self, box: str) -> bytes | None:
        """Return what the channel encrypted for our certificate (base64, RSA-OAEP with SHA-1), or None when we cannot open it."""
        key = self._merchant_key
        return sensitive.unsealed(box, key=key.key) if isinstance(key, FileKey) else None

    def beside(self, channel_keys: Iterable[VerificationKey]) -> "WeChatKeys":
        """Return a new ring that also knows ``channel_keys``; this one is unchanged."""
        return WeChatKeys(
            merchant_key=self._merchant_key,
            merchant_serial=self.merchant_serial,
            api_key=self._api_key,
            channel_keys=[*self.known(), *channel_keys],
            preferred_serial=self.preferred_serial,
        )


def load(
    files: Mapping[str, bytes], *, signers: Mapping[str, SigningKey] | None = None, preferred: Kind = "public_key"
) -> WeChatKeys:
    """Return the ring from the contents of key files by path; ``signers`` stand in for private keys of the same path.

    ``preferred`` is the kind of key that the channel is asked to answer with; when there is none of it, the other kind.
    Raises ValueError naming the file and what to do.
    """
    signer = (signers or {}).get(MERCHANT_KEY)
    certificate = _certificate(files, MERCHANT_CERTIFICATE)
    key = _private(files) if signer is None else signer
    if isinstance(key, RSAPrivateKey) and key.public_key() != certificate.public_key():
        raise ValueError(f"{MERCHANT_CERTIFICATE} is not of the private key {MERCHANT_KEY}: put the files of one pair there")
    api_key = _needed(files, API_KEY, "the APIv3 key, 32 characters").strip()
    if len(api_key) != API_KEY_BYTES:
        raise ValueError(f"{API_KEY} must hold exactly 32 characters, as set on the merchant site")
    known = [_channel_key(path, files[path]) for path in sorted(files) if path.startswith(VERIFY)]
    if not known:
        raise ValueError(f"{VERIFY} is empty: put the channel's public key there as PUB_KEY_ID_….pem, or a platform certificate")
    wanted = [one for one in known if (one.valid_until is None) == (preferred == "public_key")] or known
    return WeChatKeys(
        merchant_key=key,
        merchant_serial=certificate_serial(certificate).rjust(40, "0"),
        api_key=api_key,
        channel_keys=known,
        preferred_serial=max(wanted, key=sensitive.newest).serial,
    )


def inspect(files: Mapping[str, bytes]) -> tuple[KeyNote, ...]:
    """Return what is to be said of each key file, by path: what it is, when it ends, what is wrong with it."""
    return tuple(_note(files, path) for path in sorted(files))


def _note(files: Mapping[str, bytes], path: str) -> KeyNote:
    words = {
        MERCHANT_KEY: "our merchant key",
        MERCHANT_CERTIFICATE: "our merchant certificate",
        API_KEY: "the APIv3 key",
        APP_SECRET: "the secret of the AppID",
    }.get(path, "a key of the channel" if path.startswith(VERIFY) else "not a file that is read here")
    try:
        if path == MERCHANT_KEY:
            _private(files)
        elif path == MERCHANT_CERTIFICATE:
            certificate = _certificate(files, path)
            return KeyNote(file=path, words=words, expires_at=certificate.not_valid_after_utc.astimezone(UTC))
        elif path == API_KEY and len(files[path].strip()) != API_KEY_BYTES:
            raise ValueError(f"{API_KEY} must hold exactly 32 characters, as set on the merchant site")
        elif path.startswith(VERIFY):
            key = _channel_key(path, files[path])
            kind = "public key" if key.valid_until is None else "platform certificate"
            return KeyNote(file=path, words=f"{kind} {key.serial} of the channel", expires_at=key.valid_until)
    except ValueError as wrong:
        return KeyNote(file=path, words=words, fault=str(wrong))
    return KeyNote(file=path, words=words)


def _needed(files: Mapping[str, bytes], path: str, words: str) -> bytes:
    if path not in files:
        raise ValueError(f"{path} is missing: put {words} there")
    return files[path]


def _private(files: Mapping[str, bytes]) -> RSAPrivateKey:
    try:
        return private_key(_needed(files, MERCHANT_KEY, "our merchant key, as PEM"))
    except (ValueError, TypeError) as wrong:
        raise ValueError(f"{MERCHANT_KEY}: {wrong}") from None


def _certificate(files: Mapping[str, bytes], path: str) -> Certificate:
    try:
        return load_pem_x509_certificate(_needed(files, path, "our merchant certificate, as PEM"))
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from None


def _channel_key(path: str, content: bytes) -> VerificationKey:
    name = path.removeprefix(VERIFY).removesuffix(".pem")
    try:
        if name.startswith(PUBLIC_KEY_PREFIX):
            return from_public_key(content, serial=name)
        return from_certificate(content)
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from None
