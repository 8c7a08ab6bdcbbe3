"""A webhook's secret: made from a token, shown once as ``whsec_...``, kept encrypted, used to sign.

Knows the form and the encryption; must not know tables or messages. Called by the subscriptions and the delivery.
Source: Standard Webhooks (symmetric secrets: whsec_ and base64 of 24-64 bytes); RFC 5297 (AES-SIV).
"""

from base64 import b64decode, b64encode, urlsafe_b64decode
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from msgspec import Struct

from payments.orders import Tokens

PREFIX: Final = "whsec_"
TOKENS: Final = 2
"""So many link tokens give the 36 bytes of a secret."""


class Vault(Struct, frozen=True):
    """Keeps secrets: encrypts with the installation's key (32 bytes), bound to the webhook. The same gives the same: no nonce."""

    key: bytes

    def __repr__(self) -> str:
        return "Vault()"  # a log must never show a key

    def lock(self, secret: str, *, webhook_id: UUID) -> bytes:
        """Return what is stored of a secret."""
        return AESSIV(self.key).encrypt(key_of(secret), [webhook_id.bytes])

    def open(self, stored: bytes, *, webhook_id: UUID) -> bytes:
        """Return the key that messages are signed with. Raises cryptography's InvalidTag when it is another installation's."""
        return AESSIV(self.key).decrypt(stored, [webhook_id.bytes])


def new_secret(tokens: Tokens, *, webhook_id: UUID) -> str:
    """Return a new secret, to be shown once. In a simulated day the same webhook's turn gives the same."""
    drawn = b"".join(urlsafe_b64decode(tokens.new(f"webhook {webhook_id}")) for _ in range(TOKENS))
    return PREFIX + b64encode(drawn).decode()


def key_of(secret: str) -> bytes:
    """Return the bytes behind a secret as it is shown."""
    return b64decode(secret.removeprefix(PREFIX), validate=True)
