"""Demo keys of both sides: a root, the channel's certificates, the platform's application and operators' own ones, and leaves.

Knows certificates and the names of key files; must not know messages. Called by the composition root and by tests.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import BasicConstraints, Certificate, CertificateBuilder, Name, NameAttribute
from cryptography.x509.oid import NameOID

from gateways.alipay import certificates
from gateways.alipay.keys import Grant
from gateways.keys import from_certificate, private_key
from gateways.sandbox.alipay.signing import AlipayConfig, AppSide, Leave, Signer
from gateways.sandbox.stand_in import DemoKeys, KeySource

APP_ID: Final = "2021003100000001"
"""The demo platform's application."""
PARTNER_NO: Final = "2088310000000001"
"""The demo platform's merchant number."""
SIGNERS: Final = 2
"""Certificates of the channel; it moves on to the next when its key is rotated."""
_YEARS: Final = 5
_HOLDER: Final = "支付宝(中国)网络技术有限公司"


class _App(msgspec.Struct, frozen=True):
    app_id: str
    merchant_no: str
    root_cert_sn: str | None = None


def make(
    source: KeySource,
    *,
    merchants: Sequence[str] = (),
    own: Mapping[str, str] | None = None,
    app_id: str = APP_ID,
    partner_no: str = PARTNER_NO,
) -> DemoKeys:
    """Make all key files of both sides. The same source gives the same bytes.

    ``merchants`` are the numbers of the operators that let the platform act for them; ``own`` names operators with an application
    of their own: merchant number by ``key_ref``. The platform's application is in certificate mode, operators' own ones in key
    mode. Our side's layout is that of ``gateways.alipay.keys``; the channel's side has ``signer-{n}.key`` with ``signer-{n}.crt``,
    a folder ``apps/{application}`` each, and the leaves in ``tokens/``.
    """
    root_key = private_key(source.rsa("alipay root"))
    root = _issued(source, "root", "Tongting demo Alipay ROOT", root_key, None, root_key)
    ours: dict[str, bytes] = {"platform/app_id": app_id.encode(), "platform/root.crt": _pem(root)}
    theirs: dict[str, bytes] = {}
    for number in range(1, SIGNERS + 1):
        key = source.rsa(f"alipay signer {number}")
        signer = _issued(source, f"signer {number}", f"{_HOLDER}-{partner_no}", private_key(key), root, root_key)
        theirs |= {f"signer-{number}.key": key, f"signer-{number}.crt": _pem(signer)}
        ours[f"platform/alipay-{number}.crt"] = _pem(signer)
        for key_ref in own or {}:
            ours[f"operators/{key_ref}/alipay-{number}.pem"] = _public(private_key(key))
    key = source.rsa("alipay platform")
    certificate = _issued(source, "platform", f"{app_id}-{partner_no}", private_key(key), root, root_key)
    ours |= {"platform/app.key": key, "platform/app.crt": _pem(certificate)}
    theirs |= {
        f"apps/{app_id}/app.crt": _pem(certificate),
        f"apps/{app_id}/app.json": msgspec.json.encode(_App(app_id, partner_no, certificates.root_sn(_pem(root)))),
    }
    for key_ref, merchant_no in (own or {}).items():
        operator_app, key = application_of(merchant_no), source.rsa(f"alipay operator {key_ref}")
        ours |= {
            f"operators/{key_ref}/app_id": operator_app.encode(),
            f"operators/{key_ref}/merchant_no": merchant_no.encode(),
            f"operators/{key_ref}/app.key": key,
        }
        theirs |= {
            f"apps/{operator_app}/app.pem": _public(private_key(key)),
            f"apps/{operator_app}/app.json": msgspec.json.encode(_App(operator_app, merchant_no)),
        }
    leaves = {f"tokens/{merchant_no}.json": msgspec.json.encode(_leave(source, merchant_no)) for merchant_no in merchants}
    return DemoKeys(ours=ours | leaves, theirs=theirs | leaves)


def application_of(merchant_no: str) -> str:
    """Return the number of an operator's own application in the demo."""
    return "2021" + merchant_no[-12:]


def config(theirs: Mapping[str, bytes], **changes: object) -> AlipayConfig:
    """Return the stand-in's configuration from its side's key files; ``changes`` are fields of it. Raises KeyError, ValueError."""
    numbers = sorted(path for path in theirs if path.startswith("signer-") and path.endswith(".crt"))
    signers = tuple(
        Signer(key=private_key(theirs[path.removesuffix(".crt") + ".key"]), cert_sn=certificates.first_sn(theirs[path]))
        for path in numbers
    )
    apps = [_app(theirs, path) for path in sorted(theirs) if path.startswith("apps/") and path.endswith("/app.json")]
    leaves = {}
    for path in sorted(theirs):
        if path.startswith("tokens/"):
            grant = msgspec.json.decode(theirs[path], type=Grant)
            merchant_no = path.removeprefix("tokens/").removesuffix(".json")
            leaves[grant.app_auth_token] = Leave(merchant_no=merchant_no, auth_app_id=grant.auth_app_id)
    made = AlipayConfig(apps={app.app_id: app for app in apps}, leaves=leaves, signers=signers)
    return msgspec.structs.replace(made, **changes)


def _app(theirs: Mapping[str, bytes], path: str) -> AppSide:
    folder, told = path.rpartition("/")[0], msgspec.json.decode(theirs[path], type=_App)
    if (pem := theirs.get(f"{folder}/app.crt")) is not None:
        return AppSide(
            app_id=told.app_id, public_key=from_certificate(pem).public_key, merchant_no=told.merchant_no,
            cert_sn=certificates.first_sn(pem), root_cert_sn=told.root_cert_sn,
        )  # fmt: skip
    key = certificates.public_key(theirs[f"{folder}/app.pem"], app_id=told.app_id)
    return AppSide(app_id=told.app_id, public_key=key.public_key, merchant_no=told.merchant_no)


def _leave(source: KeySource, merchant_no: str) -> Grant:
    token = source.secret(f"alipay token {merchant_no}").hex()[:40]
    return Grant(app_auth_token=token, auth_app_id=application_of(merchant_no))


def _issued(
    source: KeySource, name: str, title: str, key: RSAPrivateKey, issuer: Certificate | None, issuer_key: RSAPrivateKey
) -> Certificate:
    """Issue a certificate; without an issuer it signs itself and may issue others."""
    subject = Name([NameAttribute(NameOID.COUNTRY_NAME, "CN"), NameAttribute(NameOID.COMMON_NAME, title)])
    builder = CertificateBuilder(
        subject_name=subject,
        issuer_name=subject if issuer is None else issuer.subject,
        public_key=key.public_key(),
        serial_number=source.serial(f"alipay {name}"),
        not_valid_before=source.at,
        not_valid_after=source.at + timedelta(days=365 * _YEARS),
    )
    builder = builder.add_extension(BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _pem(certificate: Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _public(key: RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
