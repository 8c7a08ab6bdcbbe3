"""The signed pay code 统一支付码 of a lot: what the sticker at the gate says, and whether it is ours.

    version 1 byte | key id 1 byte | lot id 4 bytes | Ed25519 signature 64 bytes   = 70 bytes = 112 letters of Base32

Pure: knows keys and bytes; must not know the database, settings or pages. Called by the pages and the command line.
Source: docs/adr/0006-signed-pay-code.md (why Ed25519, and why Base32).
"""

import base64
import binascii
from collections.abc import Mapping
from typing import ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from ledger.errors import Refused

VERSION: Final = 1
TOKEN_LETTERS: Final = 112
LOT_ID_MAX: Final = 2**31 - 1
_BYTES: Final = 70
_SIGNED_BYTES: Final = 6
_PURPOSE: Final = b"tongting pay code\n"


class PayCodeRefused(Refused):
    """A scanned code that is not ours. The code tells the log why; the citizen sees one sentence whatever it is."""

    code = "paycode_refused"


class PayCodeUnreadable(PayCodeRefused):
    """Not the form of a pay code at all: cut, mistyped, or a link of somebody else."""

    code: ClassVar[str] = "paycode_unreadable"


class PayCodeVersionUnknown(PayCodeRefused):
    """A version that this release does not know."""

    code: ClassVar[str] = "paycode_version_unknown"


class PayCodeKeyUnknown(PayCodeRefused):
    """Signed with a key that is not, or no longer, in the ring."""

    code: ClassVar[str] = "paycode_key_unknown"


class PayCodeForged(PayCodeRefused):
    """The signature does not fit the content: edited, or made by somebody else."""

    code: ClassVar[str] = "paycode_forged"


class PayCodeKeys(Struct, frozen=True):
    """The key that signs new codes, and every public key whose codes are still on the walls, by key id (0–255)."""

    signing_id: int
    signing_key: Ed25519PrivateKey
    verifying: Mapping[int, Ed25519PublicKey] = {}

    @property
    def public_keys(self) -> Mapping[int, Ed25519PublicKey]:
        """Return all keys that verify, the present signing key among them."""
        return {**self.verifying, self.signing_id: self.signing_key.public_key()}


def token(lot_id: int, *, keys: PayCodeKeys) -> str:
    """Return the token printed on a lot's sticker: 112 letters A–Z and 2–7. The same lot and key give the same token."""
    if not 0 < lot_id <= LOT_ID_MAX or not 0 <= keys.signing_id < 256:
        raise ValueError(f"lot {lot_id} or key {keys.signing_id} does not fit into a pay code")
    content = bytes([VERSION, keys.signing_id]) + lot_id.to_bytes(4, "big")
    return base64.b32encode(content + keys.signing_key.sign(_PURPOSE + content)).decode()


def read(text: str, *, public_keys: Mapping[int, Ed25519PublicKey]) -> int:
    """Return the lot id a scanned token stands for. Small and capital letters are the same.

    Raises:
        PayCodeUnreadable, PayCodeVersionUnknown, PayCodeKeyUnknown, PayCodeForged: see there; none says which lot was meant.
    """
    raw = _decoded(text)
    if raw[0] != VERSION:
        raise PayCodeVersionUnknown(f"version {raw[0]} is not known")
    key = public_keys.get(raw[1])
    if key is None:
        raise PayCodeKeyUnknown(f"key {raw[1]} is not known")
    try:
        key.verify(raw[_SIGNED_BYTES:], _PURPOSE + raw[:_SIGNED_BYTES])
    except InvalidSignature:
        raise PayCodeForged(f"the signature is not that of key {raw[1]}") from None
    return int.from_bytes(raw[2:_SIGNED_BYTES], "big")


def _decoded(text: str) -> bytes:
    if len(text) != TOKEN_LETTERS or not text.isascii():
        raise PayCodeUnreadable("a pay code has 112 letters")
    try:
        raw = base64.b32decode(text.upper())
    except binascii.Error:
        raise PayCodeUnreadable("a pay code has only the letters A–Z and 2–7") from None
    if len(raw) != _BYTES:  # padding signs inside the 112 letters
        raise PayCodeUnreadable("a pay code has no padding")
    return raw


def link(public_url: str, lot_id: int, *, keys: PayCodeKeys) -> str:
    """Return the address inside the QR code of a lot."""
    return f"{public_url.rstrip('/')}/p/{token(lot_id, keys=keys)}"
