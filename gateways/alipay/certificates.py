"""Alipay's certificates and key files: names of certificates, a downloaded one's chain, keys with and without PEM lines.

Knows X.509 and the channel's way of naming; must not know messages, network or files' places. Called by the composition root for
our own files, and by the adapter for a certificate that the channel hands out.
Source: Alipay OpenAPI "公钥证书", certificate mode.
"""

import hashlib
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509 import BasicConstraints, Certificate, ExtensionNotFound, load_pem_x509_certificate
from cryptography.x509.oid import NameOID

from gateways.keys import RSA_BITS_MIN, VerificationKey, from_certificate

CHAIN_LENGTH_MAX: Final = 5
"""Certificates from the leaf to the root, both counted; the channel's own chain has three."""
SAME_HOLDER_NEEDED: Final = True
"""No document says that the channel's certificate keeps its holder's name when it is renewed. True: a downloaded certificate must
have the common name of the one held before. Every merchant's own certificate leads to the same root, so without this any merchant
could sign answers; where the name does change, a person installs the new file."""

_RSA_SIGNED: Final = "1.2.840.113549.1.1."
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_KEY_NAME: Final = "ALIPAY_APP_"


def key_name(app_id: str) -> str:
    """Return the name in a ring of the channel's public key for an application: in key mode nothing on the wire names it."""
    return f"{_KEY_NAME}{app_id}"


def certificate_sn(certificate: Certificate) -> str:
    """Return a certificate's SN: MD5, in hex, of its issuer (RFC 2253 order) followed by its serial in decimal."""
    named = f"{certificate.issuer.rfc4514_string()}{certificate.serial_number}"
    return hashlib.md5(named.encode(), usedforsecurity=False).hexdigest()


def first_sn(content: bytes) -> str:
    """Return the SN of a certificate file, which is that of its first certificate: ``app_cert_sn``, ``alipay_cert_sn``.

    Raises ValueError when the file does not begin with a certificate that can be read.
    """
    return certificate_sn(first_certificate(content))


def root_sn(content: bytes) -> str:
    """Return ``alipay_root_cert_sn`` of the root bundle: the SNs of its RSA certificates in the file's order, joined by ``_``.

    Certificates of other kinds (SM2, EC) and those that cannot be read do not count. Raises ValueError when none is left.
    """
    names = [certificate_sn(one) for one in certificates(content) if _rsa_signed(one)]
    if not names:
        raise ValueError("the root bundle holds no RSA certificate")
    return "_".join(names)


def first_certificate(content: bytes) -> Certificate:
    """Return the first certificate of a file; the intermediate after it has its use only in a chain. Raises ValueError."""
    block = _PEM.search(content)
    if block is None:
        raise ValueError("the file holds no certificate")
    return load_pem_x509_certificate(block.group())


def certificates(content: bytes) -> tuple[Certificate, ...]:
    """Return every certificate of a bundle that can be read, in the file's order; the others are passed over."""
    found: list[Certificate] = []
    for block in _PEM.findall(content):
        try:
            found.append(load_pem_x509_certificate(block))
        except ValueError:
            continue
    return tuple(found)


def verification_key(content: bytes) -> VerificationKey:
    """Return the channel's key of a certificate file (leaf first), named by its SN. Raises ValueError for anything but RSA."""
    return _named_by_sn(first_certificate(content))


def public_key(content: bytes, *, app_id: str) -> VerificationKey:
    """Return the channel's public key for one of our applications, from PEM or from bare base64.

    Raises ValueError for anything that is not an RSA key of at least 2048 bits.
    """
    try:
        if content.lstrip().startswith(b"-----"):
            key = serialization.load_pem_public_key(content.strip())
        else:
            key = serialization.load_der_public_key(_bare(content))
    except UnsupportedAlgorithm as unusable:
        raise ValueError(f"the key file cannot be used: {unusable}") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < RSA_BITS_MIN:
        raise ValueError(f"the channel's key must be an RSA key of at least {RSA_BITS_MIN} bits")
    return VerificationKey(serial=key_name(app_id), public_key=key)


def private_key(content: bytes) -> RSAPrivateKey:
    """Return our private key from PEM or from bare base64, PKCS #8 or PKCS #1 alike.

    Raises ValueError for anything that is not an unencrypted RSA key of at least 2048 bits.
    """
    try:
        if content.lstrip().startswith(b"-----"):
            key = serialization.load_pem_private_key(content.strip(), password=None)
        else:
            key = serialization.load_der_private_key(_bare(content), password=None)
    except (TypeError, UnsupportedAlgorithm) as unusable:
        raise ValueError(f"the key file cannot be used: {unusable}") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < RSA_BITS_MIN:
        raise ValueError(f"the application's key must be an RSA key of at least {RSA_BITS_MIN} bits")
    return key


def downloaded(content: str, *, sn: str, held: Certificate, roots: Sequence[Certificate], at: datetime) -> VerificationKey | None:
    """Return the key of a certificate that the channel handed out (base64 of PEM), or None when it is not to be believed.

    The answer that carries it is not signed, so everything hangs on the certificate: it must have the SN that was asked for, lead
    to one of our root certificates, hold at ``at``, and belong to the holder of the certificate we have (``SAME_HOLDER_NEEDED``).
    """
    try:
        chain = certificates(a2b_base64(content))
        leaf = chain[0]
        key = _named_by_sn(leaf)
    except (Base64Error, IndexError, ValueError, UnsupportedAlgorithm):
        return None
    if key.serial != sn or not chain_holds(chain, roots=roots, at=at):
        return None
    if SAME_HOLDER_NEEDED and (not _holder(leaf) or _holder(leaf) != _holder(held)):
        return None
    return key


def chain_holds(chain: Sequence[Certificate], *, roots: Sequence[Certificate], at: datetime) -> bool:
    """Tell whether the first certificate is issued, directly or through the others, by one of ``roots``.

    Each certificate on the way must be valid at ``at`` (aware), and each issuer must be allowed to issue.
    """
    if not chain:
        return False
    one = chain[0]
    for _ in range(CHAIN_LENGTH_MAX - 1):
        if not _valid_at(one, at):
            return False
        if any(_valid_at(root, at) and _issued(one, root) for root in roots):
            return True
        above = next((other for other in chain[1:] if other != one and _issued(one, other)), None)
        if above is None:
            return False
        one = above
    return False


def _named_by_sn(certificate: Certificate) -> VerificationKey:
    key = from_certificate(certificate.public_bytes(serialization.Encoding.PEM))
    return msgspec.structs.replace(key, serial=certificate_sn(certificate))


def _rsa_signed(certificate: Certificate) -> bool:
    return certificate.signature_algorithm_oid.dotted_string.startswith(_RSA_SIGNED)


def _bare(content: bytes) -> bytes:
    """Return the DER of a key file without PEM lines, whatever its line breaks."""
    try:
        return a2b_base64(b"".join(content.split()), strict_mode=True)
    except Base64Error as broken:
        raise ValueError(f"the key file is neither PEM nor base64: {broken}") from None


def _issued(one: Certificate, issuer: Certificate) -> bool:
    try:
        constraints = issuer.extensions.get_extension_for_class(BasicConstraints).value
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, ExtensionNotFound):
        return False
    return constraints.ca


def _valid_at(certificate: Certificate, at: datetime) -> bool:
    return certificate.not_valid_before_utc <= at < certificate.not_valid_after_utc


def _holder(certificate: Certificate) -> list[str | bytes]:
    return [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
