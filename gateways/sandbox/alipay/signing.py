"""The channel's side of Alipay's signatures: who may call, and how answers, notices and return addresses are signed.

Knows keys and signed bytes; must not know orders. Called by the stand-in's routes and notices.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from msgspec import Struct

from gateways.alipay import sign
from gateways.contract import Answer
from gateways.keys import VerificationKey

ANSWER_TYPE = "text/html;charset=utf-8"
"""What the gateway says of its JSON."""


class Signer(Struct, frozen=True):
    """What the channel signs with."""

    key: RSAPrivateKey
    cert_sn: str

    def sign(self, message: bytes) -> str:
        return sign.rsa2(message, key=self.key)


class AppSide(Struct, frozen=True):
    """An application as the channel knows it. With ``cert_sn`` it is in certificate mode."""

    app_id: str
    public_key: RSAPublicKey
    merchant_no: str
    """Whose account it is of."""
    cert_sn: str | None = None
    root_cert_sn: str | None = None

    def verifies(self, message: bytes, signature: str) -> bool:
        """Tell whether the application itself signed ``message``."""
        return VerificationKey(serial="", public_key=self.public_key).verifies(message, signature)


class Leave(Struct, frozen=True):
    """For whom an ``app_auth_token`` lets an application act."""

    merchant_no: str
    auth_app_id: str


class AlipayConfig(Struct, frozen=True, kw_only=True):
    """Everything that Alipay's stand-in is given besides its surroundings."""

    apps: Mapping[str, AppSide]
    """By application number."""
    leaves: Mapping[str, Leave]
    """By token."""
    signers: tuple[Signer, ...]
    """The first signs until the key is rotated, then the next, and the first again after the last."""
    refund_days: int = 365
    """How long a payment can be refunded; then it is TRADE_FINISHED."""
    bill_ready_hour: int = 9
    """On the next day, in China."""
    check_balance: bool = False
    """Refuse refunds beyond what the merchant has taken, less commission and refunds."""


def answer(node: str, content: Mapping[str, object], *, app: AppSide | None, signer: Signer) -> Answer:
    """Return an answer of the gateway, signed over the node's text exactly as it goes out."""
    text = msgspec.json.encode(content)
    parts = [b'"' + node.encode() + b'":' + text]
    if app is not None and app.cert_sn is not None:
        parts.append(b'"alipay_cert_sn":' + msgspec.json.encode(signer.cert_sn))
    parts.append(b'"sign":' + msgspec.json.encode(signer.sign(text)))
    return Answer(status=200, headers={"content-type": ANSWER_TYPE}, body=b"{" + b",".join(parts) + b"}")


def notice_body(fields: Mapping[str, str], *, app: AppSide, signer: Signer, spoilt: bool = False) -> bytes:
    """Return a notice as a form; ``spoilt``: its signature does not fit."""
    told = {**fields, "charset": "utf-8", "sign_type": sign.RSA2, "version": "1.0"}
    if app.cert_sn is not None:
        told["alipay_cert_sn"] = signer.cert_sn
    message = sign.notice_message({name.encode(): value.encode() for name, value in told.items()})
    signature = signer.sign(message + b" " if spoilt else message)
    return urlencode({**told, "sign": signature}).encode()


def return_query(fields: Mapping[str, str], *, app: AppSide, signer: Signer) -> str:
    """Return the signed parameters with which a browser comes back from the cashier; they prove nothing about money."""
    return notice_body(fields, app=app, signer=signer).decode()


def request_holds(form: sign.Form, app: AppSide) -> bool:
    """Tell whether ``app`` signed exactly this call."""
    return app.verifies(sign.request_message(form.raw), form.text.get(sign.SIGN, ""))
