"""Demo keys of both sides: an authority of three levels, the channel's signing certificates, merchants' certificates and keys.

Knows certificates and the names of key files; must not know messages. Called by the composition root and by tests.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import BasicConstraints, Certificate, CertificateBuilder, Name, NameAttribute
from cryptography.x509.oid import NameOID
from msgspec import Struct

from gateways.keys import private_key
from gateways.sandbox.stand_in import DemoKeys, KeySource
from gateways.sandbox.unionpay.signing import IssuedCertificate, UnionPayConfig

INSTITUTION_NO: Final = "48020000"
"""Institution number of the demo's platform."""
SIGNERS: Final = 2
"""Signing certificates of the channel; it moves on to the next when its key is rotated."""
_YEARS: Final = 5
_CHANNEL_NAME: Final = "041@8310000000083040@中国银联股份有限公司@0001649{number}"
_MERCHANT_NAME: Final = "041@Z2026-03-01@{number}:SIGN@00000001"


class _Issuer(Struct, frozen=True):
    certificate: Certificate
    key: RSAPrivateKey


def make(source: KeySource, *, own: Mapping[str, str] | None = None, institution_no: str = INSTITUTION_NO) -> DemoKeys:
    """Make all key files of both sides. ``own`` names merchants with keys of their own: merchant number by ``key_ref``.

    The same source gives the same bytes. The layout of our side is that of ``gateways.unionpay.keys``; the channel's side has
    ``middle.pem``, ``signer-{n}.pem`` with ``signer-{n}-key.pem``, and ``merchants/{name}.pem``, the certificates that it knows.
    """
    root = _authority(source, "root", "Tongting demo ROOT CA", None)
    middle = _authority(source, "middle", "Tongting demo ACS OCA1", root)
    ours = {"verify/root.pem": _pem(root.certificate), "verify/middle.pem": _pem(middle.certificate)}
    theirs = {"middle.pem": _pem(middle.certificate)}
    for number in range(1, SIGNERS + 1):
        key = source.rsa(f"unionpay signer {number}")
        signer = _issued(source, f"signer {number}", _CHANNEL_NAME.format(number=number), private_key(key), middle)
        theirs |= {f"signer-{number}.pem": _pem(signer), f"signer-{number}-key.pem": key}
    named = {"platform": institution_no, **{f"merchants/{key_ref}": number for key_ref, number in (own or {}).items()}}
    for folder, holder in named.items():
        key = source.rsa(f"unionpay {folder}")
        certificate = _issued(source, folder, _MERCHANT_NAME.format(number=holder), private_key(key), middle)
        ours |= {f"{folder}/key.pem": key, f"{folder}/certificate.pem": _pem(certificate)}
        theirs[f"merchants/{folder.rpartition('/')[2]}.pem"] = _pem(certificate)
    return DemoKeys(ours=ours, theirs=theirs)


def config(theirs: Mapping[str, bytes], *, institution_no: str = INSTITUTION_NO) -> UnionPayConfig:
    """Return the stand-in's configuration from its side's key files. Raises KeyError when one is missing."""
    signers = tuple(
        IssuedCertificate(certificate=theirs[f"signer-{number}.pem"], key=theirs[f"signer-{number}-key.pem"])
        for number in range(1, SIGNERS + 1)
    )
    merchants = tuple(theirs[path] for path in sorted(theirs) if path.startswith("merchants/"))
    return UnionPayConfig(signers=signers, middle=theirs["middle.pem"], merchants=merchants, institution_no=institution_no)


def _authority(source: KeySource, name: str, title: str, issuer: _Issuer | None) -> _Issuer:
    key = private_key(source.rsa(f"unionpay {name}"))
    certificate = _certificate(source, name, title, key, issuer, authority=True)
    return _Issuer(certificate=certificate, key=key)


def _issued(source: KeySource, name: str, title: str, key: RSAPrivateKey, issuer: _Issuer) -> Certificate:
    return _certificate(source, name, title, key, issuer, authority=False)


def _certificate(
    source: KeySource, name: str, title: str, key: RSAPrivateKey, issuer: _Issuer | None, *, authority: bool
) -> Certificate:
    """Issue a certificate; without an issuer it signs itself."""
    subject = _named(title)
    builder = CertificateBuilder(
        subject_name=subject,
        issuer_name=subject if issuer is None else issuer.certificate.subject,
        public_key=key.public_key(),
        serial_number=source.serial(f"unionpay {name}"),
        not_valid_before=source.at,
        not_valid_after=source.at + timedelta(days=365 * _YEARS),
    )
    builder = builder.add_extension(BasicConstraints(ca=authority, path_length=None), critical=True)
    return builder.sign(key if issuer is None else issuer.key, hashes.SHA256())


def _named(title: str) -> Name:
    return Name([NameAttribute(NameOID.COUNTRY_NAME, "CN"), NameAttribute(NameOID.COMMON_NAME, title)])


def _pem(certificate: Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
