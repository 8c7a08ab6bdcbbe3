"""Sensitive fields: what we encrypt for the channel's eyes, and what it encrypts for ours.

Knows RSA-OAEP and which of the channel's keys to take; must not know which fields are sensitive. Called by the adapter's parts
and by the sandbox, each on its side. Source: docs/CHANNELS.md, WeChat Pay, keys.
"""

from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1

from gateways.keys import KeyRing, VerificationKey

PLAIN_BYTES_MAX: Final = 214
"""Longest text of one field, under a key of 2048 bits."""
_PADDING: Final = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)
_BEFORE_ALL: Final = datetime(1970, 1, 1, tzinfo=UTC)


def sealing_key(keys: KeyRing, *, at: datetime) -> VerificationKey | None:
    """Return the channel's key to encrypt for: the preferred one, else the newest in force; None when there is none.

    The request's ``Wechatpay-Serial`` must name it (``Speaker.request``, ``serial``): by that the channel knows which to open with.
    """
    if keys.preferred_serial is not None:
        return keys.find(keys.preferred_serial, at=at)
    inforce = [key for key in keys.known() if key.valid_at(at)]
    return max(inforce, key=newest, default=None)


def newest(key: VerificationKey) -> tuple[datetime, str]:
    """Order the channel's keys by age: a certificate by its beginning, public keys by their names."""
    return key.valid_from or _BEFORE_ALL, key.serial


def sealed(plain: bytes, *, key: RSAPublicKey) -> str:
    """Return what is encrypted for the holder of ``key``, as base64; each time another. Raises ValueError above 214 bytes."""
    return b64encode(key.encrypt(plain, _PADDING)).decode()


def unsealed(box: str, *, key: RSAPrivateKey) -> bytes | None:
    """Return what was encrypted for ``key``, or None when it is no genuine box of its."""
    try:
        return key.decrypt(a2b_base64(box, strict_mode=True), _PADDING)
    except (Base64Error, ValueError):
        return None
