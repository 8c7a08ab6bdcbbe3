"""What the channel signs with and whom it believes: its own certificates, the merchants' certificates, messages on the wire.

Knows the bytes of messages; must not know orders. Used by the stand-in's modules and, for genuine messages, by tests.
"""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import Certificate, load_pem_x509_certificate
from cryptography.x509.oid import NameOID
from msgspec import Struct

from gateways.keys import VerificationKey, from_certificate, private_key
from gateways.unionpay import sign, wire

_PADDING: Final = PKCS1v15()
_SHA256: Final = hashes.SHA256()
CODE_URL: Final = "https://qr.95516.com/00010000"


class IssuedCertificate(Struct, frozen=True):
    """A certificate of the channel with its private key, both as PEM."""

    certificate: bytes
    key: bytes

    def signer(self) -> "Signer":
        return Signer(certificate=self.certificate.decode(), key=private_key(self.key))

    def __repr__(self) -> str:
        return "IssuedCertificate()"


class UnionPayConfig(Struct, frozen=True, kw_only=True):
    """What the stand-in is given beside its surroundings."""

    signers: tuple[IssuedCertificate, ...]
    """The channel's certificates; it signs with the first, and moves on when its key is rotated."""
    middle: bytes
    """Certificate of the authority that merchants' certificates must come from."""
    merchants: tuple[bytes, ...]
    """Certificates of those who may sign: of the institution, and of merchants with keys of their own."""
    institution_no: str
    file_ready_hour: int = 9
    """In China, on the day after a clearing day."""
    refund_seconds: float = 60.0
    """How long a refund is in process."""
    check_balance: bool = False
    """Refuse refunds beyond what the merchant has taken since the cut-over, less commission and refunds."""
    code_url: str = CODE_URL
    """What the text of a code 主扫 begins with."""


class Signer(Struct, frozen=True):
    """A certificate that the channel signs with."""

    certificate: str
    key: RSAPrivateKey

    def sealed(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Return a message with certificate and signature; fields without a value are left out."""
        said = {"version": wire.VERSION, "encoding": wire.ENCODING, **fields}
        message = {name: value for name, value in said.items() if value and name != sign.SIGNATURE}
        message |= {"signMethod": wire.RSA, sign.CERTIFICATE: self.certificate}
        message.pop("certId", None)
        signature = b64encode(self.key.sign(sign.digest_text(message), _PADDING, _SHA256)).decode()
        return message | {sign.SIGNATURE: signature}


def answer_body(fields: Mapping[str, str]) -> bytes:
    """Return an answer's body: raw values, not URL-encoded."""
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    return text.encode(wire.codec(fields.get("encoding", wire.ENCODING)) or "utf-8")


def notice_body(fields: Mapping[str, str]) -> bytes:
    """Return a notice's body: a form, URL-encoded."""
    return urlencode(fields, encoding=wire.codec(fields.get("encoding", wire.ENCODING)) or "utf-8").encode("ascii")


class Member(Struct, frozen=True):
    """Who holds a certificate: a merchant (by its number), or the institution, which asks for all of its merchants."""

    key: VerificationKey
    number: str


class Members:
    """The certificates that merchants sign with, by their decimal serial."""

    def __init__(self, config: UnionPayConfig) -> None:
        """Raises ValueError for a certificate that the authority did not issue."""
        middle = load_pem_x509_certificate(config.middle)
        self._institution_no = config.institution_no
        self._known: dict[str, Member] = {}
        for pem in config.merchants:
            certificate = load_pem_x509_certificate(pem)
            _check_issued(certificate, middle)
            self._known[sign.cert_id(certificate)] = Member(key=from_certificate(pem), number=_number(certificate))

    def objection(self, fields: Mapping[str, str], *, now: datetime) -> str | None:
        """Return why a request is not proven to be its merchant's, or None: certificate known and valid, signature, whose it is."""
        if fields.get("version") != wire.VERSION or fields.get("signMethod") != wire.RSA:
            return "版本或签名方法不支持"
        member = self._known.get(fields.get("certId", ""))
        if member is None or not member.key.valid_at(now):
            return "证书不存在或不在有效期内"
        try:
            holds = member.key.verifies(sign.digest_text(fields), fields.get(sign.SIGNATURE, ""))
        except ValueError:
            holds = False
        if not holds:
            return "验证签名失败"
        return None if self._may_ask(member, fields) else "证书与商户号不匹配"

    def _may_ask(self, member: Member, fields: Mapping[str, str]) -> bool:
        if member.number != self._institution_no:
            return fields.get("accessType") == "0" and fields.get("merId") == member.number
        return fields.get("accessType") == "0" or (
            fields.get("accessType") == "1" and fields.get("acqInsCode") == self._institution_no
        )


def _check_issued(certificate: Certificate, middle: Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(middle)
    except (InvalidSignature, ValueError, TypeError):
        raise ValueError(f"{certificate.subject.rfc4514_string()} was not issued by the demo's authority") from None


def _number(certificate: Certificate) -> str:
    """Return the holder's number, the third part of ``041@…@{number}:SIGN@…``."""
    name = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    return name.split("@")[2].partition(":")[0]
