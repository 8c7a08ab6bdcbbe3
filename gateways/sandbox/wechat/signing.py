"""The channel's hand: signs answers and notices, encrypts their content, issues certificates.

Knows RSA, AES-GCM and the notice's form; must not know state or HTTP. Used by the sandbox, and directly by tests and benchmarks
that need genuine signed notices without a server.
"""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID
from msgspec import UNSET, Struct

from gateways.keys import KeyRing, VerificationKey, certificate_serial, from_certificate
from gateways.sandbox.chance import hex_text
from gateways.sandbox.wechat.shapes import (
    AmountOut,
    NoticeOut,
    RefundNoticeAmountOut,
    RefundNoticeOut,
    RefundWord,
    ResourceOut,
    TransactionOut,
)
from gateways.wechat import sign, wire
from ledger.clock import CHINA

CERTIFICATE_YEARS: Final = 5
DEMO_API_KEY: Final = b"0123456789abcdef0123456789abcdef"
DEMO_PUBLIC_KEY_ID: Final = "PUB_KEY_ID_0119000000012026030100000000"
RECEIVED_ACCOUNT: Final = "支付用户零钱"
_REFUND_SUMMARIES: Final = {"SUCCESS": "退款成功", "CLOSED": "退款关闭", "ABNORMAL": "退款异常"}
_PADDING: Final = PKCS1v15()
_SHA256: Final = hashes.SHA256()


class Signer(Struct, frozen=True):
    """A key that the channel signs with, and the name under which it is known."""

    serial: str
    key: rsa.RSAPrivateKey

    def sign(self, message: bytes) -> str:
        return b64encode(self.key.sign(message, _PADDING, _SHA256)).decode()


class IssuedCertificate(Struct, frozen=True):
    """A platform certificate with its private key, both as PEM."""

    certificate: bytes
    key: bytes

    def signer(self) -> Signer:
        key = serialization.load_pem_private_key(self.key, password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return Signer(serial=from_certificate(self.certificate).serial, key=key)

    def valid_from(self) -> datetime:
        return x509.load_pem_x509_certificate(self.certificate).not_valid_before_utc

    def valid_until(self) -> datetime:
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc


class PaidOrder(Struct, frozen=True, kw_only=True):
    """A paid order as a notice tells of it."""

    order_no: str
    trade_no: str
    provider_no: str
    merchant_no: str
    amount_fen: int
    paid_at: datetime
    app_id: str = "wx8888888888888888"
    openid: str = "oSandbox0000000000000000payer"
    sub_app_id: str | None = None
    attach: str | None = None
    trade_type: str = "JSAPI"


class RefundTold(Struct, frozen=True, kw_only=True):
    """A refund as a notice tells of it. ``happened_at`` is when it became what ``word`` says."""

    refund_no: str
    channel_refund_no: str
    order_no: str
    trade_no: str
    provider_no: str
    merchant_no: str
    refund_fen: int
    total_fen: int
    happened_at: datetime
    word: RefundWord = "SUCCESS"


class Pair(Struct, frozen=True):
    """Both sides of a channel for a test: our key ring, and what the channel signs and encrypts with."""

    ring: KeyRing
    certificate: Signer
    public_key: Signer
    api_key: bytes
    issued: IssuedCertificate
    merchant_key: rsa.RSAPrivateKey
    merchant_serial: str


def rfc3339(at: datetime) -> str:
    """Return an instant as the channel writes it: China time, whole seconds."""
    return at.astimezone(CHINA).isoformat(timespec="seconds")


def answer_headers(signer: Signer, *, body: bytes, at: datetime, nonce: str) -> dict[str, str]:
    """Return the headers that prove ``body`` at ``at``. A fresh signature takes about a millisecond."""
    timestamp = str(sign.seconds(at))
    return {
        "content-type": "application/json",
        "request-id": nonce.upper() + "-0",
        sign.TIMESTAMP: timestamp,
        sign.NONCE: nonce,
        sign.SIGNATURE: signer.sign(sign.answer_message(timestamp=timestamp, nonce=nonce, body=body)),
        sign.SERIAL: signer.serial,
        sign.SIGNATURE_TYPE: wire.SCHEME,
    }


def transaction(paid: PaidOrder) -> TransactionOut:
    """Return what the channel tells of a paid order."""
    payer = wire.Payer(sub_openid=paid.openid) if paid.sub_app_id else wire.Payer(sp_openid=paid.openid)
    return TransactionOut(
        sp_appid=paid.app_id,
        sp_mchid=paid.provider_no,
        sub_appid=paid.sub_app_id,
        sub_mchid=paid.merchant_no,
        out_trade_no=paid.order_no,
        transaction_id=paid.trade_no,
        trade_type=paid.trade_type,
        trade_state="SUCCESS",
        trade_state_desc="支付成功",
        bank_type="OTHERS",
        attach=paid.attach,
        success_time=rfc3339(paid.paid_at),
        payer=payer,
        amount=AmountOut(total=paid.amount_fen, payer_total=paid.amount_fen),
    )


def box(plain: bytes, *, api_key: bytes, nonce: str, associated: str) -> str:
    """Return ``plain`` encrypted for the holder of the APIv3 key, as base64."""
    return b64encode(AESGCM(api_key).encrypt(nonce.encode(), plain, associated.encode())).decode()


def payment_notice(paid: PaidOrder, *, api_key: bytes, notice_id: str, nonce: str) -> bytes:
    """Return the body of a payment notice. ``nonce`` has 12 characters and must not come twice under one key."""
    return notice(
        wire.encode(transaction(paid)), kind="transaction", event="TRANSACTION.SUCCESS", summary="支付成功", at=paid.paid_at,
        api_key=api_key, notice_id=notice_id, nonce=nonce,
    )  # fmt: skip


def refund_notice(told: RefundTold, *, api_key: bytes, notice_id: str, nonce: str) -> bytes:
    """Return the body of a refund notice. ``nonce`` has 12 characters and must not come twice under one key."""
    return notice(
        wire.encode(_refund_plain(told)), kind="refund", event=f"REFUND.{told.word}", summary=_REFUND_SUMMARIES[told.word],
        at=told.happened_at, api_key=api_key, notice_id=notice_id, nonce=nonce,
    )  # fmt: skip


def notice(plain: bytes, *, kind: str, event: str, summary: str, at: datetime, api_key: bytes, notice_id: str, nonce: str) -> bytes:
    """Return the body of a notice; ``kind`` names what it is about and is the associated data of its encrypted part."""
    sealed = box(plain, api_key=api_key, nonce=nonce, associated=kind)
    return wire.encode(
        NoticeOut(
            id=notice_id,
            create_time=rfc3339(at),
            resource_type="encrypt-resource",
            event_type=event,
            summary=summary,
            resource=ResourceOut(original_type=kind, algorithm=wire.BOX, ciphertext=sealed, associated_data=kind, nonce=nonce),
        )
    )


def _refund_plain(told: RefundTold) -> RefundNoticeOut:
    return RefundNoticeOut(
        sp_mchid=told.provider_no,
        sub_mchid=told.merchant_no,
        transaction_id=told.trade_no,
        out_trade_no=told.order_no,
        refund_id=told.channel_refund_no,
        out_refund_no=told.refund_no,
        refund_status=told.word,
        success_time=rfc3339(told.happened_at) if told.word == "SUCCESS" else UNSET,
        user_received_account=RECEIVED_ACCOUNT,
        amount=RefundNoticeAmountOut(
            total=told.total_fen, refund=told.refund_fen, payer_total=told.total_fen, payer_refund=told.refund_fen
        ),
    )


def signed_callback(
    signer: Signer, paid: PaidOrder, *, api_key: bytes, at: datetime, copy: int = 0
) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a genuine payment notice sent at ``at``; ``copy`` numbers equal notices of one payment."""
    name = hex_text(32, paid.provider_no, paid.order_no, paid.trade_no, copy)
    body = payment_notice(paid, api_key=api_key, notice_id=f"EV-{name[:20]}", nonce=name[:12])
    return answer_headers(signer, body=body, at=at, nonce=name), body


def signed_refund_callback(
    signer: Signer, told: RefundTold, *, api_key: bytes, at: datetime, copy: int = 0
) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a genuine refund notice sent at ``at``; ``copy`` numbers equal notices of one refund."""
    name = hex_text(32, told.provider_no, told.refund_no, told.word, copy)
    body = refund_notice(told, api_key=api_key, notice_id=f"EV-{name[:20]}", nonce=name[:12])
    return answer_headers(signer, body=body, at=at, nonce=name), body


def issue_certificate(*, at: datetime) -> IssuedCertificate:
    """Issue a new platform certificate, valid from a day before ``at``. Makes a new RSA key."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tongting sandbox platform")])
    begin = at.astimezone(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=365 * CERTIFICATE_YEARS))
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return IssuedCertificate(certificate=certificate.public_bytes(serialization.Encoding.PEM), key=pem)


def make_pair(*, at: datetime, preferred_serial: str | None = DEMO_PUBLIC_KEY_ID) -> Pair:
    """Make both sides of a channel afresh: certificate and public key, our merchant key, the APIv3 key."""
    issued, merchant = issue_certificate(at=at), rsa.generate_private_key(65537, 2048)
    public = rsa.generate_private_key(65537, 2048)
    serial = certificate_serial(x509.load_pem_x509_certificate(issued.certificate))
    known = [from_certificate(issued.certificate), VerificationKey(serial=DEMO_PUBLIC_KEY_ID, public_key=public.public_key())]
    merchant_serial = f"{x509.random_serial_number():040X}"
    ring = KeyRing(
        merchant_key=merchant,
        merchant_serial=merchant_serial,
        api_key=DEMO_API_KEY,
        channel_keys=known,
        preferred_serial=preferred_serial,
    )
    return Pair(
        ring=ring,
        certificate=Signer(serial=serial, key=issued.signer().key),
        public_key=Signer(serial=DEMO_PUBLIC_KEY_ID, key=public),
        api_key=DEMO_API_KEY,
        issued=issued,
        merchant_key=merchant,
        merchant_serial=merchant_serial,
    )
