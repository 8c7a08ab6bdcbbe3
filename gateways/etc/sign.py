"""Keys of WXETC-1: what we sign with and what the other side signs with, SM2 or RSA.

Knows digests and signatures; must not know envelopes or where keys lie. Called by the envelope; keys are handed in from outside.
Source: docs/ETC.md, section 8.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from msgspec import Struct

from gateways.etc import sm2
from gateways.keys import SigningKey

_PADDING: Final = PKCS1v15()
_SHA256: Final = hashes.SHA256()


class Algorithm(StrEnum):
    """The two ways to sign; the head names one."""

    SM2 = "SM2SM3"
    """SM2 with the default user id, 64 raw bytes r‖s."""
    RSA = "RSA2048SHA256"
    """RSA of at least 2048 bits, PKCS #1 v1.5, SHA-256."""


class OurKey(Struct, frozen=True):
    """A key that we sign with. ``key_id`` is the name under which the other side knows it, 1–32 characters.

    A key outside this process is a ``SigningKey``; ``outside`` says how it signs: RSA as the protocol there says, SM2 as r‖s.
    """

    key_id: str
    key: sm2.PrivateKey | RSAPrivateKey | SigningKey
    outside: Algorithm | None = None

    @property
    def algorithm(self) -> Algorithm:
        """How this key signs."""
        if self.outside is not None:
            return self.outside
        return Algorithm.SM2 if isinstance(self.key, sm2.PrivateKey) else Algorithm.RSA

    def sign(self, message: bytes) -> bytes:
        """Return the signature over ``message``. Takes some tenths of a millisecond; a key in memory signs the same way every time.

        Raises SigningFailed when a key outside is out of reach.
        """
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(message, _PADDING, _SHA256)
        return self.key.sign(message)

    def __repr__(self) -> str:
        return f"OurKey({self.key_id!r}, {self.algorithm.value})"


class TheirKey(Struct, frozen=True):
    """A key that one party signs with, from ``valid_from`` until before ``valid_until`` (None: no bound)."""

    key_id: str
    party: str
    """The party whose key it is, 16 hex in upper case. It proves nothing about others' messages."""
    key: sm2.PublicKey | RSAPublicKey
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @property
    def algorithm(self) -> Algorithm:
        """How this key's owner signs."""
        return Algorithm.SM2 if isinstance(self.key, sm2.PublicKey) else Algorithm.RSA

    def valid_at(self, at: datetime) -> bool:
        """Tell whether the key may be relied on at ``at``."""
        return (self.valid_from is None or self.valid_from <= at) and (self.valid_until is None or at < self.valid_until)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether ``signature`` is this key's over ``message``. Takes some tenths of a millisecond."""
        if isinstance(self.key, sm2.PublicKey):
            return self.key.verifies(message, signature)
        try:
            self.key.verify(signature, message, _PADDING, _SHA256)
        except (InvalidSignature, ValueError):
            return False
        return True


def found(keys: Mapping[str, TheirKey], *, key_id: str, party: str, algorithm: str, at: datetime) -> TheirKey | None:
    """Return the party's key of that id when it is valid at ``at`` and signs in the way the head says, else None."""
    key = keys.get(key_id)
    if key is None or key.party != party or key.algorithm != algorithm or not key.valid_at(at):
        return None
    return key


def digest_hex(algorithm: str, canonical: bytes) -> str:
    """Return the lower-case hex digest that the signed bytes end in: SM3, or SHA-256 for RSA."""
    return sm2.sm3(canonical).hex() if algorithm == Algorithm.SM2 else hashlib.sha256(canonical).hexdigest()
