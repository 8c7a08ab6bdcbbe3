"""UnionPay's signatures and the texts they cover: what is signed, whose certificate counts, how messages are taken apart.

Knows the exact bytes; must not know what a message means. Called by the adapter and by a stand-in, each on its side.
Source: UnionPay ACP 5.1.0, 签名机制 and 报文格式.
"""

import hashlib
import hmac
import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from threading import Lock
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import BasicConstraints, Certificate, ExtensionNotFound, InvalidVersion, load_pem_x509_certificate
from cryptography.x509.oid import NameOID
from msgspec import Struct

from gateways.keys import VerificationKey, from_certificate
from gateways.unionpay.wire import ENCODING, RSA, SHA256_KEY, SM3_KEY, VERSION, VERSION_OLD, codec
from ledger.errors import Refused

SIGNATURE: Final = "signature"
CERTIFICATE: Final = "signPubKeyCert"
SIGNERS: Final = frozenset({"中国银联股份有限公司"})
"""Whom the third part of a signing certificate's name must name. Without this rule any merchant's certificate would do."""
SIGNERS_TEST: Final = SIGNERS | {"00040000:SIGN"}
"""The same in the channel's test environment; never in production."""
CERTIFICATES_KEPT_MAX: Final = 16
"""The channel signs with one certificate at a time, and with two while it changes them."""
CERTIFICATE_CHARACTERS_MAX: Final = 8_192
FIELDS_MAX: Final = 256
"""A genuine message has about 30 fields."""

_PADDING: Final = PKCS1v15()
_DIGESTS: Final = {VERSION: hashlib.sha256, VERSION_OLD: hashlib.sha1}
_FIELD_NAME: Final = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_STOPS: Final = re.compile(r"[&{\[]")
_CLOSERS: Final = {"{": re.compile(r"[{}]"), "[": re.compile(r"[\[\]]")}
_ENCODING_STATED: Final = re.compile(rb"(?:^|&)encoding=([0-9A-Za-z-]{1,16})(?:&|$)")


class Objection(StrEnum):
    """Why a message is not proven to be the channel's."""

    SIGNATURE_MISSING = "signature_missing"
    """No signature, or no certificate with it."""
    METHOD = "method_unknown"
    """Version, signMethod or encoding is not the agreed one: a message does not choose how it is checked."""
    CERTIFICATE_UNREADABLE = "certificate_unreadable"
    CERTIFICATE_EXPIRED = "certificate_expired"
    """Not valid yet, or not any more; or the certificates above it are not."""
    CERTIFICATE_NAME = "certificate_name"
    """Of the same authority, but not the channel's: a merchant's, for example."""
    CERTIFICATE_CHAIN = "certificate_chain"
    """Not issued under the configured certificates."""
    SERIAL_UNKNOWN = "serial_unknown"
    """Version 5.0.0: certId names no certificate that we have, or one that is not valid."""
    SIGNATURE = "signature"


class SignMethodUnavailable(Refused):
    """This machine's OpenSSL has no SM3: signMethod 12 cannot be used here."""

    code = "sign_method_unavailable"


# The text that is signed


def sign_string(fields: Mapping[str, str]) -> str:
    """Return ``name=value`` of all fields with a value, but ``signature``, by name (upper case first), joined with ``&``."""
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields) if name != SIGNATURE and fields[name])


def digest_text(fields: Mapping[str, str]) -> bytes:
    """Return the digest of the sign string as lower-case hex text: these 64 characters (5.0.0: 40) are what RSA signs.

    Raises ValueError when the message states a version or encoding that the channel does not have.
    """
    digest = _DIGESTS.get(fields.get("version", ""))
    if digest is None:
        raise ValueError(f"there is no version {fields.get('version', '')!r}")
    return digest(_sign_bytes(fields)).hexdigest().encode()


def _sign_bytes(fields: Mapping[str, str]) -> bytes:
    name = codec(fields.get("encoding", ENCODING))
    if name is None:
        raise ValueError(f"{fields['encoding']!r} is not an encoding of the channel")
    return sign_string(fields).encode(name)


# Ours


def cert_id(certificate: Certificate) -> str:
    """Return a certificate's serial as the channel writes it: decimal."""
    return str(certificate.serial_number)


def signed(fields: Mapping[str, str], *, certificate_id: str, sign: Callable[[bytes], str]) -> dict[str, str]:
    """Return the message with signMethod 01, certId and signature; fields without a value are left out.

    ``sign`` is ``KeyRing.sign`` of the merchant's key, or ``sha1_signer`` for a message whose version is 5.0.0.
    """
    message = {name: value for name, value in fields.items() if value and name != SIGNATURE}
    message |= {"signMethod": RSA, "certId": certificate_id}
    return message | {SIGNATURE: sign(digest_text(message))}


def sha1_signer(key: RSAPrivateKey) -> Callable[[bytes], str]:
    """Return what signs messages of version 5.0.0: RSA-SHA1 as base64."""
    return lambda message: b64encode(key.sign(message, _PADDING, hashes.SHA1())).decode()


def signed_with_shared_key(fields: Mapping[str, str], *, key: str, method: str = SHA256_KEY) -> dict[str, str]:
    """Return the message with signMethod 11 or 12 and its signature; there is no certId.

    Raises SignMethodUnavailable for 12 where SM3 is missing, ValueError for any other method.
    """
    message = {name: value for name, value in fields.items() if value and name not in (SIGNATURE, "certId")}
    message["signMethod"] = method
    return message | {SIGNATURE: _shared_signature(message, key=key, method=method)}


def _shared_signature(fields: Mapping[str, str], *, key: str, method: str) -> str:
    hexadecimal = _SHARED.get(method)
    if hexadecimal is None:
        raise ValueError(f"signMethod {method!r} has no shared key")
    return hexadecimal(_sign_bytes(fields) + b"&" + hexadecimal(key.encode()).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sm3(content: bytes) -> str:
    """Return the SM3 digest as lower-case hex. Raises SignMethodUnavailable where OpenSSL was built without it."""
    try:
        machine = hashes.Hash(hashes.SM3())
    except UnsupportedAlgorithm:
        raise SignMethodUnavailable("this machine's OpenSSL has no SM3: use signMethod 01 or 11") from None
    machine.update(content)
    return machine.finalize().hex()


_SHARED: Final[dict[str, Callable[[bytes], str]]] = {SHA256_KEY: _sha256, SM3_KEY: sm3}


# Theirs


class _Chain(Struct, frozen=True):
    middle: Certificate
    valid_from: datetime
    valid_until: datetime


class SignerCertificates:
    """Decides which of the certificates that arrive inside messages are the channel's.

    Trusts the roots and middle certificates it is given, and nothing that a message carries. Accepted certificates are kept by
    their text until they expire, at most ``kept_max``; refused ones are not kept. Safe to use from many threads.
    """

    def __init__(
        self,
        *,
        roots: Iterable[Certificate],
        middles: Iterable[Certificate],
        signers: frozenset[str] = SIGNERS,
        kept_max: int = CERTIFICATES_KEPT_MAX,
    ) -> None:
        """Raises ValueError when a middle certificate may not issue, was not issued by one of the roots, or none is given."""
        trusted = tuple(roots)
        self._chains = tuple(_chain(middle, trusted) for middle in middles)
        if not self._chains:
            raise ValueError("a chain needs a root and a middle certificate")
        self._signers = signers
        self._kept_max = kept_max
        self._kept: dict[str, VerificationKey] = {}
        self._lock = Lock()

    def judge(self, pem: str, *, now: datetime) -> VerificationKey | Objection:
        """Return the key of a certificate that is the channel's at ``now``, or why it is not."""
        with self._lock:
            kept = self._kept.get(pem)
        if kept is None:
            judged = self._judge(pem, now)
            if isinstance(judged, VerificationKey):
                self._keep(pem, judged)
            return judged
        if kept.valid_at(now):
            return kept
        with self._lock:
            self._kept.pop(pem, None)
        return Objection.CERTIFICATE_EXPIRED

    def _judge(self, pem: str, now: datetime) -> VerificationKey | Objection:
        certificate = _readable(pem)
        if certificate is None:
            return Objection.CERTIFICATE_UNREADABLE
        if _organisation(certificate) not in self._signers:
            return Objection.CERTIFICATE_NAME
        issued = [chain for chain in self._chains if _issued_by(certificate, chain.middle)]
        if not issued:
            return Objection.CERTIFICATE_CHAIN
        try:
            key = from_certificate(pem.encode())
        except ValueError:
            return Objection.CERTIFICATE_UNREADABLE
        narrowed = (_narrowed(key, chain) for chain in issued)
        return next((key for key in narrowed if key.valid_at(now)), Objection.CERTIFICATE_EXPIRED)

    def _keep(self, pem: str, key: VerificationKey) -> None:
        with self._lock:
            while len(self._kept) >= self._kept_max:
                del self._kept[next(iter(self._kept))]
            self._kept[pem] = key


def _chain(middle: Certificate, roots: tuple[Certificate, ...]) -> _Chain:
    if not _may_issue(middle):
        raise ValueError(f"{middle.subject.rfc4514_string()} may not issue certificates")
    root = next((root for root in roots if _issued_by(middle, root)), None)
    if root is None:
        raise ValueError(f"{middle.subject.rfc4514_string()} was not issued by a configured root")
    return _Chain(
        middle=middle,
        valid_from=max(middle.not_valid_before_utc, root.not_valid_before_utc).astimezone(UTC),
        valid_until=min(middle.not_valid_after_utc, root.not_valid_after_utc).astimezone(UTC),
    )


def _may_issue(certificate: Certificate) -> bool:
    """Tell whether the certificate is an authority's; the oldest kinds say nothing about it."""
    try:
        return certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    except ExtensionNotFound:
        return True


def _issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _narrowed(key: VerificationKey, chain: _Chain) -> VerificationKey:
    """Return the key with the time in which its certificate and those above it are valid."""
    assert key.valid_from is not None
    assert key.valid_until is not None
    return msgspec.structs.replace(
        key, valid_from=max(key.valid_from, chain.valid_from), valid_until=min(key.valid_until, chain.valid_until)
    )


def _readable(pem: str) -> Certificate | None:
    if len(pem) > CERTIFICATE_CHARACTERS_MAX or not pem.isascii():
        return None
    try:
        return load_pem_x509_certificate(pem.encode())
    except (ValueError, InvalidVersion, UnsupportedAlgorithm):
        return None


def _organisation(certificate: Certificate) -> str | None:
    """Return the third part of the name ``041@…@…@…``."""
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return None
    parts = str(names[0].value).split("@") if len(names) == 1 else []
    return parts[2] if len(parts) > 2 else None


def objection(fields: Mapping[str, str], *, certificates: SignerCertificates, now: datetime) -> Objection | None:
    """Return why a message of version 5.1.0 is not proven to be the channel's, or None when it is.

    ``fields`` are all that came, unknown ones too, with values exactly as received; the certificate in them is part of what is
    signed. Checked in this order: signature there, method, certificate, signature.
    """
    signature, pem = fields.get(SIGNATURE), fields.get(CERTIFICATE)
    if not signature or not pem:
        return Objection.SIGNATURE_MISSING
    if not _agreed(fields, VERSION, RSA):
        return Objection.METHOD
    judged = certificates.judge(pem, now=now)
    if isinstance(judged, Objection):
        return judged
    try:
        holds = judged.verifies(digest_text(fields), signature)
    except ValueError:
        return Objection.SIGNATURE
    return None if holds else Objection.SIGNATURE


def objection_old(fields: Mapping[str, str], *, keys: Mapping[str, VerificationKey], now: datetime) -> Objection | None:
    """The same for version 5.0.0, which signs with SHA-1. ``keys`` are the channel's by decimal serial, from our own files."""
    signature = fields.get(SIGNATURE)
    if not signature:
        return Objection.SIGNATURE_MISSING
    if not _agreed(fields, VERSION_OLD, RSA):
        return Objection.METHOD
    key = keys.get(fields.get("certId", ""))
    if key is None or not key.valid_at(now):
        return Objection.SERIAL_UNKNOWN
    try:
        key.public_key.verify(a2b_base64(signature, strict_mode=True), digest_text(fields), _PADDING, hashes.SHA1())
    except (InvalidSignature, Base64Error, ValueError):
        return Objection.SIGNATURE
    return None


def objection_shared(fields: Mapping[str, str], *, key: str, method: str = SHA256_KEY) -> Objection | None:
    """The same for signMethod 11 or 12. Raises SignMethodUnavailable for 12 where SM3 is missing: our set-up, not their fault."""
    signature = fields.get(SIGNATURE)
    if not signature:
        return Objection.SIGNATURE_MISSING
    if not _agreed(fields, VERSION, method):
        return Objection.METHOD
    try:
        ours = _shared_signature(fields, key=key, method=method)
    except UnicodeEncodeError:
        return Objection.SIGNATURE
    same = hmac.compare_digest(ours.encode(), signature.lower().encode(errors="replace"))
    return None if same else Objection.SIGNATURE


def _agreed(fields: Mapping[str, str], version: str, method: str) -> bool:
    known = codec(fields.get("encoding", ENCODING)) is not None
    return known and fields.get("version") == version and fields.get("signMethod") == method


# Messages as they come


def answer_fields(body: bytes) -> dict[str, str] | None:
    """Take an answer apart: ``k=v&k=v`` with raw values, or None when it cannot be an answer.

    A key ends at the first ``=``, a value at the next ``&`` outside ``{…}`` and ``[…]``. Nothing is percent-decoded, and a plus
    stays a plus: signatures and certificates are in there as they are. A key that comes twice, a group without its end, bytes
    that are not of the stated encoding: None.
    """
    stated = _ENCODING_STATED.search(body)
    text = _decoded(body, ENCODING if stated is None else stated[1].decode())
    fields = None if text is None else _split(text)
    if fields is None or (stated is not None and fields.get("encoding") != stated[1].decode()):
        return None
    return fields


def _decoded(raw: bytes, encoding: str) -> str | None:
    name = codec(encoding)
    if name is None:
        return None
    try:
        return raw.decode(name)
    except UnicodeDecodeError:
        return None


def _split(text: str) -> dict[str, str] | None:
    fields: dict[str, str] = {}
    start = 0
    while True:
        equals = text.find("=", start)
        end = -1 if equals < 0 else _value_end(text, equals + 1)
        key = text[start:equals]
        if end < 0 or _FIELD_NAME.fullmatch(key) is None or key in fields or len(fields) >= FIELDS_MAX:
            return None
        fields[key] = text[equals + 1 : end]
        if end == len(text):
            return fields
        start = end + 1


def _value_end(text: str, start: int) -> int:
    """Return where a value ends: at the next ``&`` outside groups or at the end of the text; -1 when a group has no end."""
    while (found := _STOPS.search(text, start)) is not None:
        if found[0] == "&":
            return found.start()
        start = _group_end(text, found.end(), found[0])
        if start < 0:
            return -1
    return len(text)


def _group_end(text: str, start: int, opener: str) -> int:
    """Return the place after the group that ``opener`` began; groups of the other kind inside are plain text."""
    depth = 1
    for found in _CLOSERS[opener].finditer(text, start):
        depth += 1 if found[0] == opener else -1
        if depth == 0:
            return found.end()
    return -1


def form_fields(body: bytes) -> dict[str, str] | None:
    """Take a notice apart: an URL-encoded form, decoded once, in the encoding that it states (UTF-8 when it states none).

    None when a field comes twice, a pair has no ``=``, there are too many, or bytes are not of that encoding.
    """
    pairs = body.split(b"&", FIELDS_MAX)
    if len(pairs) > FIELDS_MAX or not all(b"=" in pair for pair in pairs):
        return None
    raw = [tuple(unquote_to_bytes(part.replace(b"+", b" ")) for part in pair.split(b"=", 1)) for pair in pairs]
    encoding = next((value for name, value in raw if name == b"encoding"), ENCODING.encode())
    if not encoding.isascii():
        return None
    fields: dict[str, str] = {}
    for name, value in ((_decoded(part, encoding.decode()) for part in pair) for pair in raw):
        if name is None or value is None or _FIELD_NAME.fullmatch(name) is None or name in fields:
            return None
        fields[name] = value
    return fields
