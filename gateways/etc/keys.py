"""Keys of this installation at the clearing party: what we sign with, and what each party there signs with.

Knows the files below the channel's key directory; must not know envelopes. Built by the composition root, read by the adapter.

    own/{key id}.pem | .sm2                     our key: RSA (PKCS #8, PEM) or SM2 (PEM, or 64 hex digits); exactly one
    merchants/{key_ref}/{key id}.pem | .sm2     an operator's own key, where one signs itself; exactly one each
    channel/{party id}/{key id}.pem | .sm2      a key that a party signs with: RSA (public key or certificate, PEM) or SM2 (PEM, or
                                                128 or 130 hex digits); any number, old and new overlap
    channel/{party id}/{key id}.valid           optional: from when until when it counts, ``{from}/{until}`` in ISO 8601; either
                                                side may be empty

A party id has 16 hex digits in upper case. The key id is the name under which the other side knows the key.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate
from msgspec import Struct

from gateways.etc import sm2
from gateways.etc.sign import Algorithm, OurKey, TheirKey
from gateways.keys import RSA_BITS_MIN, KeyNote, SigningFailed, SigningKey, private_key

_OURS: Final = re.compile(r"(?:own|merchants/(?P<ref>[^/]+))/(?P<id>[0-9A-Za-z_.\-]{1,32})\.(?P<kind>pem|sm2)")
_THEIRS: Final = re.compile(r"channel/(?P<party>[0-9A-F]{16})/(?P<id>[0-9A-Za-z_.\-]{1,32})\.(?P<kind>pem|sm2)")
_VALID: Final = re.compile(r"channel/[0-9A-F]{16}/[0-9A-Za-z_.\-]{1,32}\.valid")
_ALGORITHMS: Final = {"pem": Algorithm.RSA, "sm2": Algorithm.SM2}
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z ]+)-----\s+([A-Za-z0-9+/=\s]+?)-----END \1-----")
_SCALAR: Final = re.compile(rb"\x02\x01\x01\x04\x20(.{32})", re.DOTALL)
"""Where the number lies in a private key of the curve, SEC 1 or PKCS #8: version 1, then 32 bytes."""


class EtcKeys(Struct, frozen=True):
    """All keys at ETC. ``ours`` is by ``key_ref`` (None: the platform's own), ``theirs`` by key id, several of a party."""

    ours: Mapping[str | None, OurKey]
    theirs: Mapping[str, TheirKey]

    def own(self, key_ref: str | None) -> OurKey:
        """Return the key that signs for a merchant account. Raises SigningFailed when it has none: nothing is sent then."""
        if (key := self.ours.get(key_ref)) is None:
            raise SigningFailed(f"there is no ETC key for {'the platform' if key_ref is None else key_ref}")
        return key

    def __repr__(self) -> str:
        refs = ", ".join("platform" if ref is None else ref for ref in self.ours)
        return f"EtcKeys(ours of {refs}; theirs {', '.join(self.theirs)})"


class Span(NamedTuple):
    """From when until before when a key counts; None: no bound."""

    begins: datetime | None
    ends: datetime | None


_ALWAYS: Final = Span(None, None)


def load(files: Mapping[str, bytes], *, signers: Mapping[str, SigningKey] | None = None) -> EtcKeys:
    """Return the keys of the files below the channel's key directory. ``signers`` stand in place of private key files.

    An SM2 signer returns r‖s over the message with the standard's default id.

    Raises:
        ValueError: a file cannot be read or is not expected; the text names the file and what to do.
    """
    outside = signers or {}
    ours: dict[str | None, OurKey] = {}
    theirs: dict[str, TheirKey] = {}
    for path in sorted({*files, *outside}):
        if found := _OURS.fullmatch(path):
            if found["ref"] in ours:
                raise ValueError(f"{path}: there is another key of the same owner; keep exactly one, theirs overlap, ours does not")
            ours[found["ref"]] = _our_key(path, found, files.get(path, b""), outside.get(path))
        elif found := _THEIRS.fullmatch(path):
            if found["id"] in theirs:
                raise ValueError(f"{path}: two keys are named {found['id']}; ask the clearing party for another key id")
            theirs[found["id"]] = _their_key(path, found, files)
        elif _VALID.fullmatch(path) is None:
            raise ValueError(f"{path}: not expected here; keys lie in own/, merchants/{{key_ref}}/ and channel/{{party id}}/")
    if None not in ours:
        raise ValueError("own/: there is no key of ours; put {key id}.pem (RSA) or {key id}.sm2 there")
    if not theirs:
        raise ValueError("channel/: there is no key of the clearing party; put {party id}/{key id}.pem or .sm2 there")
    return EtcKeys(ours=MappingProxyType(ours), theirs=MappingProxyType(theirs))


def inspect(files: Mapping[str, bytes]) -> tuple[KeyNote, ...]:
    """Say of each file what it is, until when it counts, and what is wrong with it."""
    return tuple(_note(path, files) for path in sorted(files))


def _note(path: str, files: Mapping[str, bytes]) -> KeyNote:
    try:
        if found := _OURS.fullmatch(path):
            key = _our_key(path, found, files[path], None)
            owner = "us" if found["ref"] is None else f"operator {found['ref']}"
            return KeyNote(file=path, words=f"{key.algorithm.value} key {key.key_id} of {owner}")
        if found := _THEIRS.fullmatch(path):
            told = _their_key(path, found, files)
            return KeyNote(
                file=path, words=f"{told.algorithm.value} key {told.key_id} of party {told.party}", expires_at=told.valid_until
            )
        if _VALID.fullmatch(path):
            span = _span(path, files[path])
            return KeyNote(file=path, words="from when until when a key counts", expires_at=span.ends)
    except ValueError as wrong:
        return KeyNote(file=path, words="not usable", fault=str(wrong))
    return KeyNote(file=path, words="unknown", fault="no key is expected here; remove the file or correct its name")


def _our_key(path: str, found: re.Match[str], content: bytes, signer: SigningKey | None) -> OurKey:
    if signer is not None:
        return OurKey(found["id"], signer, _ALGORITHMS[found["kind"]])
    read: Callable[[bytes], Any] = private_key if found["kind"] == "pem" else sm2_private
    return OurKey(found["id"], _read(path, read, content))


def _their_key(path: str, found: re.Match[str], files: Mapping[str, bytes]) -> TheirKey:
    content = files[path]
    key, span = (_read(path, _rsa_public, content)) if found["kind"] == "pem" else (_read(path, sm2_public, content), _ALWAYS)
    valid_path = f"{path.rpartition('.')[0]}.valid"
    if valid_path in files:
        span = _span(valid_path, files[valid_path])
    return TheirKey(found["id"], found["party"], key, valid_from=span.begins, valid_until=span.ends)


def _read(path: str, read: Callable[[bytes], Any], content: bytes) -> Any:
    try:
        return read(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as wrong:
        raise ValueError(f"{path}: {wrong}; ask its owner for the file again") from None


def _rsa_public(pem: bytes) -> tuple[RSAPublicKey, Span]:
    key: object
    span = _ALWAYS
    if _CERTIFICATE in pem:
        certificate = load_pem_x509_certificate(pem)
        key = certificate.public_key()
        span = Span(certificate.not_valid_before_utc.astimezone(UTC), certificate.not_valid_after_utc.astimezone(UTC))
    else:
        key = serialization.load_pem_public_key(pem)
    if not isinstance(key, RSAPublicKey) or key.key_size < RSA_BITS_MIN:
        raise ValueError(f"this is not an RSA public key of at least {RSA_BITS_MIN} bits")
    return key, span


def sm2_private(content: bytes) -> sm2.PrivateKey:
    """Return an SM2 private key from 64 hex digits or a PEM without a password. Raises ValueError."""
    if (found := _PEM.search(content)) is None:
        return sm2.private_key(_text(content))
    number = _SCALAR.search(_der(found[2]))
    if b"ENCRYPTED" in found[1] or number is None:
        raise ValueError("this is not an SM2 private key without a password")
    return sm2.PrivateKey(int.from_bytes(number[1], "big"))


def sm2_public(content: bytes) -> sm2.PublicKey:
    """Return an SM2 public key from 128 or 130 hex digits or a PEM. Raises ValueError."""
    found = _PEM.search(content)
    return sm2.public_key(bytes.fromhex(_text(content)) if found is None else _der(found[2]))


def _der(text: bytes) -> bytes:
    return b64decode(text)


def _text(content: bytes) -> str:
    return content.decode("ascii").strip()


def _span(path: str, content: bytes) -> Span:
    try:
        begins, ends = (datetime.fromisoformat(part) if part else None for part in _text(content).split("/"))
        if any(at is not None and at.tzinfo is None for at in (begins, ends)):
            raise ValueError("a time has no time zone")
    except ValueError as wrong:
        raise ValueError(
            f"{path}: {wrong}; write {{from}}/{{until}} as 2026-01-01T00:00:00+08:00/2027-01-01T00:00:00+08:00"
        ) from None
    return Span(begins, ends)
