"""Keys of one channel: what the channel signs with, by serial, and what we sign and decrypt with.

Knows certificates and RSA; must not know messages, network or files' places. Built by the composition root from key files;
adapters read it. A ring is replaced as a whole, so a rotation needs no restart and no reader ever sees half of it.
"""

import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from threading import Event
from types import MappingProxyType
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509 import Certificate, load_pem_x509_certificate
from msgspec import Struct

PUBLIC_KEY_PREFIX: Final = "PUB_KEY_ID_"
RSA_BITS_MIN: Final = 2048
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
_PADDING: Final = PKCS1v15()
_SHA256: Final = hashes.SHA256()


class SigningKey(Protocol):
    """A private key of ours, wherever it lies: in a file, a PKCS#11 token or a key service."""

    def sign(self, message: bytes) -> bytes:
        """Return our RSA signature (PKCS#1 v1.5 over SHA-256) over ``message``. Raises SigningFailed when it is out of reach."""
        ...


class SigningFailed(Exception):
    """A key outside this process did not sign; nothing was sent. Trying again is safe."""


class FileKey(Struct, frozen=True):
    """A private key that was read from a file."""

    key: RSAPrivateKey

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message, _PADDING, _SHA256)


class KeyNote(Struct, frozen=True, kw_only=True):
    """What is to be said of one key file. ``fault`` tells what is wrong and what to do; without it the file is in order."""

    file: str
    words: str
    """What the file is, such as "certificate of app 2021…"."""
    expires_at: datetime | None = None
    fault: str | None = None


class VerificationKey(Struct, frozen=True):
    """A key that the channel signs with. ``valid_from`` and ``valid_until`` are None for a public key: it does not expire."""

    serial: str
    """Certificate serial in upper-case hex, or ``PUB_KEY_ID_…`` as it is."""
    public_key: RSAPublicKey
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def valid_at(self, at: datetime) -> bool:
        """Tell whether the key may be relied on at ``at``."""
        return (self.valid_from is None or self.valid_from <= at) and (self.valid_until is None or at < self.valid_until)

    def verifies(self, message: bytes, signature: str) -> bool:
        """Tell whether ``signature`` (base64) is this key's RSA-SHA256 (PKCS #1 v1.5) signature over ``message``."""
        try:
            self.public_key.verify(a2b_base64(signature, strict_mode=True), message, _PADDING, _SHA256)
        except (InvalidSignature, Base64Error, ValueError):
            return False
        return True


class KeyRing:
    """The keys of one provider at one channel. Safe to read from many threads while another replaces the channel's keys."""

    def __init__(
        self,
        *,
        merchant_key: RSAPrivateKey | SigningKey,
        merchant_serial: str,
        api_key: bytes,
        channel_keys: Iterable[VerificationKey],
        preferred_serial: str | None = None,
    ) -> None:
        """``preferred_serial`` names the key we ask the channel to answer with (WeChat: the request's Wechatpay-Serial)."""
        self.merchant_serial = merchant_serial.upper()
        self.preferred_serial = None if preferred_serial is None else canonical_serial(preferred_serial)
        self.missed = Event()
        """Set when a message named a key that is not known, or not valid any more: time to ask the channel for its keys."""
        self._merchant_key = FileKey(merchant_key) if isinstance(merchant_key, RSAPrivateKey) else merchant_key
        self._api_key = api_key
        self._aead = AESGCM(api_key)
        self._keys: Mapping[str, VerificationKey] = MappingProxyType({})
        self.replace(channel_keys)

    def find(self, serial: str, *, at: datetime) -> VerificationKey | None:
        """Return the channel's key named ``serial`` if it is valid at ``at``; a miss is noted in ``missed``."""
        keys = self._keys
        key = keys.get(serial) or keys.get(canonical_serial(serial))
        if key is None or not key.valid_at(at):
            self.missed.set()
            return None
        return key

    def sign(self, message: bytes) -> str:
        """Return our RSA-SHA256 signature over ``message`` as base64. Takes about a millisecond. Raises SigningFailed."""
        return b64encode(self._merchant_key.sign(message)).decode()

    def decrypt(self, *, nonce: str, ciphertext: str, associated: str) -> bytes | None:
        """Return the plaintext of an AES-256-GCM box, or None when it is not a genuine box of ours."""
        try:
            return self._aead.decrypt(nonce.encode(), a2b_base64(ciphertext, strict_mode=True), associated.encode() or None)
        except (InvalidTag, Base64Error, ValueError):
            return None

    def known(self) -> tuple[VerificationKey, ...]:
        """Return the channel's keys, by serial."""
        keys = self._keys
        return tuple(keys[serial] for serial in sorted(keys))

    def replace(self, channel_keys: Iterable[VerificationKey]) -> None:
        """Take ``channel_keys`` as the whole set, at once for all readers."""
        self._keys = MappingProxyType({canonical_serial(key.serial): key for key in channel_keys})

    def add(self, channel_keys: Iterable[VerificationKey], *, at: datetime) -> None:
        """Take ``channel_keys`` beside the present ones and let go of what has expired at ``at``: old and new overlap."""
        kept = [key for key in self._keys.values() if key.valid_until is None or at < key.valid_until]
        self.replace([*kept, *channel_keys])

    def beside(self, channel_keys: Iterable[VerificationKey]) -> "KeyRing":
        """Return a new ring that also knows ``channel_keys``; this one is unchanged."""
        return KeyRing(
            merchant_key=self._merchant_key,
            merchant_serial=self.merchant_serial,
            api_key=self._api_key,
            channel_keys=[*self._keys.values(), *channel_keys],
            preferred_serial=self.preferred_serial,
        )

    def renewing(self, before: "KeyRing") -> "KeyRing":
        """Return this ring as the successor of ``before``: it also knows the keys fetched meanwhile, and notes misses there."""
        fresh = self.beside(key for key in before.known() if key.serial not in self._keys)
        fresh.missed = before.missed
        return fresh


def canonical_serial(serial: str) -> str:
    """Return a serial in the form it is compared in: hex in upper case without leading zeros, ``PUB_KEY_ID_…`` unchanged."""
    return serial.upper().lstrip("0") if _HEX.fullmatch(serial) else serial


def from_certificate(pem: bytes) -> VerificationKey:
    """Return the key of a platform certificate. Raises ValueError for anything that is not an RSA certificate."""
    certificate = load_pem_x509_certificate(pem)
    return VerificationKey(
        serial=certificate_serial(certificate),
        public_key=_rsa_public(certificate.public_key()),
        valid_from=certificate.not_valid_before_utc.astimezone(UTC),
        valid_until=certificate.not_valid_after_utc.astimezone(UTC),
    )


def certificate_serial(certificate: Certificate) -> str:
    """Return a certificate's serial as the channel writes it: hex, upper case."""
    return f"{certificate.serial_number:X}"


def from_public_key(pem: bytes, *, serial: str) -> VerificationKey:
    """Return a channel's bare public key under its id. Raises ValueError when it is not an RSA key or the id has another form."""
    if not serial.startswith(PUBLIC_KEY_PREFIX):
        raise ValueError(f"{serial!r} does not begin with {PUBLIC_KEY_PREFIX}")
    return VerificationKey(serial=serial, public_key=_rsa_public(serialization.load_pem_public_key(pem)))


def private_key(pem: bytes) -> RSAPrivateKey:
    """Return our private key from PEM. Raises ValueError for anything that is not RSA of at least 2048 bits."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, RSAPrivateKey) or key.key_size < RSA_BITS_MIN:
        raise ValueError(f"the merchant key must be an RSA key of at least {RSA_BITS_MIN} bits")
    return key


def _rsa_public(key: object) -> RSAPublicKey:
    if not isinstance(key, RSAPublicKey) or key.key_size < RSA_BITS_MIN:
        raise ValueError(f"the channel's key must be an RSA key of at least {RSA_BITS_MIN} bits")
    return key
