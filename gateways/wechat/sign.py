"""WeChat Pay's signatures: what we sign, what we verify.

Knows the exact bytes that are signed; must not know what a message means. Called by the adapter and the sandbox, each on its side.
Source: WeChat Pay APIv3 "签名生成", "签名验证"; docs/CHANNELS.md.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from gateways.keys import KeyRing
from gateways.wechat.wire import CLOCK_SECONDS_MAX, SCHEME

TIMESTAMP: Final = "wechatpay-timestamp"
NONCE: Final = "wechatpay-nonce"
SIGNATURE: Final = "wechatpay-signature"
SERIAL: Final = "wechatpay-serial"
SIGNATURE_TYPE: Final = "wechatpay-signature-type"
_TIMESTAMP_DIGITS_MAX: Final = 12


def seconds(at: datetime) -> int:
    """Return whole seconds since 1970, as the channel counts time."""
    return int(at.timestamp())


def request_message(*, method: str, target: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    """Return the bytes a request's signature covers. ``target`` is path and query exactly as on the request line."""
    return f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"


def answer_message(*, timestamp: str, nonce: str, body: bytes) -> bytes:
    """Return the bytes that the signature of an answer or notice covers."""
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def call_up_message(*, app_id: str, timestamp: str, nonce: str, package: str) -> bytes:
    """Return the bytes that ``paySign`` covers; ``package`` carries its prefix ``prepay_id=``."""
    return f"{app_id}\n{timestamp}\n{nonce}\n{package}\n".encode()


def target_of(url: str) -> str:
    """Return path and query of an address, byte for byte as they go onto the request line."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def authorization(*, provider_no: str, method: str, url: str, body: bytes, keys: KeyRing, now: datetime, nonce: str) -> str:
    """Return the Authorization header of a request: always in the provider's name, whichever operator the body speaks of."""
    timestamp = str(seconds(now))
    message = request_message(method=method, target=target_of(url), timestamp=timestamp, nonce=nonce, body=body)
    return (
        f'{SCHEME} mchid="{provider_no}",nonce_str="{nonce}",timestamp="{timestamp}",'
        f'serial_no="{keys.merchant_serial}",signature="{keys.sign(message)}"'
    )


def objection(headers: Mapping[str, str], body: bytes, *, keys: KeyRing, now: datetime) -> str | None:
    """Return why a message is not proven to be the channel's, or None when it is.

    Checked in this order: headers there (``header_missing``), time within 300 s (``stale``), key known and valid
    (``serial_unknown``), signature over the raw bytes (``signature``). The channel's deliberately wrong probes
    (``WECHATPAY/SIGNTEST/…``) need no case of their own: they fail as any wrong signature does.
    """
    try:
        timestamp, nonce, signature, serial = headers[TIMESTAMP], headers[NONCE], headers[SIGNATURE], headers[SERIAL]
    except KeyError:
        return "header_missing"
    if not _fresh(timestamp, now):
        return "stale"
    key = keys.find(serial, at=now)
    if key is None:
        return "serial_unknown"
    if not key.verifies(answer_message(timestamp=timestamp, nonce=nonce, body=body), signature):
        return "signature"
    return None


def _fresh(timestamp: str, now: datetime) -> bool:
    if len(timestamp) > _TIMESTAMP_DIGITS_MAX or not (timestamp.isascii() and timestamp.isdigit()):
        return False
    return abs(seconds(now) - int(timestamp)) < CLOCK_SECONDS_MAX
