"""The signed pay code 统一支付码: what stands on a wall or a screen, and whether it is ours.

    1  a lot     version 1 | key id 1 | lot id 4                                      | signature 64 = 70 bytes = 112 letters
    2  a wall    version 1 | key id 1 | number in the registry 4                      | signature 64 = 70 bytes = 112 letters
    3  a stay    version 1 | key id 1 | lot id 4 | charge 16 | good until, minutes 4  | signature 64 = 90 bytes = 144 letters
    4  a basket  version 1 | key id 1 | lot id 4 | set 16    | good until, minutes 4  | signature 64 = 90 bytes = 144 letters

Pure: knows keys and bytes; must not know the database, settings or pages. Called by ``payments.codes``, the pages and the command
line. Each version is signed with a purpose of its own, so that no signature of one is a signature of another.
Source: docs/adr/0006-signed-pay-code.md (why Ed25519, and why Base32), docs/adr/0014-pay-codes-are-registered.md (versions 2 to 4).
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from ledger.errors import Refused

TOKEN_LETTERS: Final = 112
SHOWN_LETTERS: Final = 144
NUMBER_MAX: Final = 2**31 - 1
LOT_ID_MAX: Final = NUMBER_MAX
_SIGNATURE_BYTES: Final = 64
_BYTES: Final = {TOKEN_LETTERS: 70, SHOWN_LETTERS: 90}
_PURPOSES: Final = {
    1: b"tongting pay code\n",
    2: b"tongting pay code on a wall\n",
    3: b"tongting pay code of a stay\n",
    4: b"tongting pay code of a basket\n",
}
_MINUTE: Final = timedelta(minutes=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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


class LotCode(Struct, frozen=True):
    """Version 1: the lot's own code, without an entry in the registry."""

    lot_id: int


class WallCode(Struct, frozen=True):
    """Version 2: a code of the registry, which knows its lot and place and whether it still counts."""

    code_no: int


class StayCode(Struct, frozen=True):
    """Version 3: one charge of a lot, to be paid by whoever reads the screen. Good until a whole minute."""

    lot_id: int
    charge_id: UUID
    good_until: datetime


class BasketCode(Struct, frozen=True):
    """Version 4: a set of charges of a lot. Good until a whole minute."""

    lot_id: int
    set_id: UUID
    good_until: datetime


Content = LotCode | WallCode | StayCode | BasketCode


def token(lot_id: int, *, keys: PayCodeKeys) -> str:
    """Return the token of a lot's own code: 112 letters A–Z and 2–7. The same lot and key give the same token."""
    return signed(LotCode(lot_id), keys=keys)


def signed(content: Content, *, keys: PayCodeKeys) -> str:
    """Return the token that says this, signed with the present key. The same content and key give the same token.

    A moment within a minute is cut to the minute: a code is never good for longer than was asked for.
    """
    version, body = _body(content)
    if not 0 <= keys.signing_id < 256:
        raise ValueError(f"key {keys.signing_id} does not fit into a pay code")
    raw = bytes([version, keys.signing_id]) + body
    return base64.b32encode(raw + keys.signing_key.sign(_PURPOSES[version] + raw)).decode()


def read(text: str, *, public_keys: Mapping[int, Ed25519PublicKey]) -> Content:
    """Return what a scanned token says. Small and capital letters are the same. Whether it still counts is not judged here.

    Raises:
        PayCodeUnreadable, PayCodeVersionUnknown, PayCodeKeyUnknown, PayCodeForged: see there; none says what was meant.
    """
    raw = _decoded(text)
    if raw[0] not in _PURPOSES:
        raise PayCodeVersionUnknown(f"version {raw[0]} is not known")
    if (raw[0] > 2) != (len(text) == SHOWN_LETTERS):
        raise PayCodeUnreadable(f"a pay code of version {raw[0]} has another length")
    key = public_keys.get(raw[1])
    if key is None:
        raise PayCodeKeyUnknown(f"key {raw[1]} is not known")
    said, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    try:
        key.verify(signature, _PURPOSES[raw[0]] + said)
    except InvalidSignature:
        raise PayCodeForged(f"the signature is not that of key {raw[1]}") from None
    return _content(raw[0], said[2:])


def link(public_url: str, lot_id: int, *, keys: PayCodeKeys) -> str:
    """Return the address inside the QR code of a lot."""
    return address(public_url, LotCode(lot_id), keys=keys)


def address(public_url: str, content: Content, *, keys: PayCodeKeys) -> str:
    """Return the address inside a QR code."""
    return f"{public_url.rstrip('/')}/p/{signed(content, keys=keys)}"


def _body(content: Content) -> tuple[int, bytes]:
    match content:
        case LotCode(lot_id):
            return 1, _number(lot_id)
        case WallCode(code_no):
            return 2, _number(code_no)
        case StayCode(lot_id, charge_id, good_until):
            return 3, _number(lot_id) + charge_id.bytes + _minute(good_until)
        case BasketCode(lot_id, set_id, good_until):
            return 4, _number(lot_id) + set_id.bytes + _minute(good_until)


def _content(version: int, body: bytes) -> Content:
    number = int.from_bytes(body[:4], "big")
    if version == 1:
        return LotCode(number)
    if version == 2:
        return WallCode(number)
    subject, good_until = UUID(bytes=body[4:20]), _EPOCH + int.from_bytes(body[20:], "big") * _MINUTE
    return StayCode(number, subject, good_until) if version == 3 else BasketCode(number, subject, good_until)


def _number(number: int) -> bytes:
    if not 0 < number <= NUMBER_MAX:
        raise ValueError(f"number {number} does not fit into a pay code")
    return number.to_bytes(4, "big")


def _minute(at: datetime) -> bytes:
    return ((at - _EPOCH) // _MINUTE).to_bytes(4, "big")


def _decoded(text: str) -> bytes:
    if len(text) not in _BYTES or not text.isascii():
        raise PayCodeUnreadable("a pay code has 112 or 144 letters")
    try:
        raw = base64.b32decode(text.upper())
    except binascii.Error:
        raise PayCodeUnreadable("a pay code has only the letters A–Z and 2–7") from None
    if len(raw) != _BYTES[len(text)]:  # padding signs inside the letters
        raise PayCodeUnreadable("a pay code has no padding")
    return raw
