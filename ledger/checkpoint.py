"""Checkpoints: a lane's size and root as a signed note. Pure.

Knows Ed25519 and the text form; must not know the database. Called by the sealer, proofs and anyone who verifies.
Source: C2SP tlog-checkpoint and signed-note.
"""

import base64
import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

_ED25519: Final = b"\x01"


class Checkpoint(Struct, frozen=True):
    """What a signed note says: the first ``size`` leaves of ``origin`` have the tree hash ``root``."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class Signer:
    """Signs checkpoints of one origin with one key; the key's name is the origin."""

    def __init__(self, origin: str, key: Ed25519PrivateKey) -> None:
        self.origin = origin
        self._key = key
        self._public = key.public_key().public_bytes_raw()

    def sign(self, *, size: int, root: bytes) -> str:
        """Return the signed note. The same size and root always give the same bytes."""
        body = Checkpoint(self.origin, size, root).body()
        signature = base64.b64encode(_key_hash(self.origin, self._public) + self._key.sign(body.encode())).decode()
        return f"{body}\n— {self.origin} {signature}\n"

    def verifier_key(self) -> str:
        """Return the public key in note form: ``name+hash+key``."""
        tagged = base64.b64encode(_ED25519 + self._public).decode()
        return f"{self.origin}+{_key_hash(self.origin, self._public).hex()}+{tagged}"


def read(note: str, *, verifier_key: str) -> Checkpoint:
    """Return what a signed note says, after checking its signature by the key in note form.

    Raises:
        ValueError: not a checkpoint, another origin, no signature by this key, or a wrong one.
    """
    name, _, rest = verifier_key.partition("+")
    key_hash, _, tagged = rest.partition("+")
    body, _, signatures = note.partition("\n\n")
    lines = body.split("\n")
    if len(lines) < 3 or lines[0] != name or not lines[1].isdecimal():
        raise ValueError("the note is not a checkpoint of this origin")
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(tagged)[1:])
    for line in signatures.splitlines():
        signed = base64.b64decode(line.rpartition(" ")[2]) if line.startswith(f"— {name} ") else b""
        if signed[:4].hex() == key_hash:
            try:
                public.verify(signed[4:], f"{body}\n".encode())
            except InvalidSignature:
                raise ValueError("the signature of the checkpoint is wrong") from None
            return Checkpoint(name, int(lines[1]), base64.b64decode(lines[2]))
    raise ValueError("the checkpoint carries no signature by this key")


def _key_hash(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]
