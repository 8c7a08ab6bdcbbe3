"""The envelope of our profile WXETC-1 [P]: canonical body, head, signature, clock, replies.

Knows what is signed and in which order a message is doubted; must not know what a service means. Called by the adapter and the
stand-in, each on its side. Source: docs/ETC.md, section 8.
"""

import json
import re
import unicodedata
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from gateways.etc import sign
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.sign import Algorithm, OurKey, TheirKey
from ledger.clock import CHINA

VERSION: Final = "1.0"
PATH: Final = "/etc/v1/"
"""A service is called by POST to this path and its name [P]."""
CLOCK_SECONDS_MAX: Final = 300
"""A message more than this old or ahead is refused; exactly this is taken."""
BODY_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest envelope [P]: a full upload of 1000 charges has about 1 MB."""
DEPTH_MAX: Final = 12
INTEGER_MAX: Final = 2**63 - 1
NO_MESSAGE: Final = "0" * 20
"""``ackMsgId`` of a reply to a message whose own number cannot be read [P]."""

HTTP_STATUS: Final[dict[Receipt, int]] = {
    Receipt.SIGNATURE_WRONG: 401,
    Receipt.CLOCK_WRONG: 401,
    Receipt.KEY_UNKNOWN: 401,
    Receipt.BUSY: 503,
}
"""HTTP status of a reply, 200 where not listed. The profile fixes 401 for a wrong signature only; the others follow it [P]."""

_SEND_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+08:00", re.ASCII)


class Head(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Who says what to whom and when. Every field is signed, and nothing else may stand in a head."""

    version: str
    msg_type: Annotated[str, Meta(pattern=r"^[a-z.]{1,64}\Z")]
    """Name of the service; of a reply, that of the request."""
    msg_id: Annotated[str, Meta(pattern=r"^[0-9]{20}\Z")]
    """The sender's counter, never used again."""
    sender_id: Annotated[str, Meta(pattern=r"^[0-9A-F]{16}\Z")]
    receiver_id: Annotated[str, Meta(pattern=r"^[0-9A-F]{16}\Z")]
    send_time: Annotated[str, Meta(pattern=r"^[0-9T:+\-]{25}\Z")]
    sign_alg: Algorithm
    key_id: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_.\-]{1,32}\Z")]


class Opened(Struct, frozen=True):
    """A message that is proven to be the sender's and meant for us."""

    head: Head
    body: Mapping[str, Any]
    fingerprint: str
    """Stands for service and content, whatever the signature: a repeat under the same ``msg_id`` must have the same."""


class Reply(Struct, frozen=True, rename={"ack_id": "ackMsgId"}):
    """Body of a reply. What a service answers beyond the result lies in ``data`` [P]."""

    ack_id: Annotated[str, Meta(pattern=r"^[0-9]{20}\Z")]
    result: Receipt
    reason: Annotated[str, Meta(max_length=256)] = ""
    data: dict[str, Any] | None = None


def plain(value: Any) -> Any:
    """Return a value ready to be sent: text in NFC, instants as Beijing time to the second, dates ISO, absent fields left out.

    Raises ValueError for what has no place in a body (floats, a null in a list, bytes, a naive time).
    """
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, bool | int):
        return value
    if isinstance(value, datetime):
        return china_iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise ValueError(f"a body cannot hold {type(value).__name__}")


def canonical(body: Any) -> bytes:
    """Return the bytes that are digested: keys by code point at every level, no blanks, non-ASCII as it is.

    Raises ValueError for floats, nulls, text that is not NFC or not Unicode, integers over 64 bits, deep nesting.
    """
    _check(body, DEPTH_MAX)
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def signed_bytes(head: Head, digest: str) -> bytes:
    """Return the bytes a signature covers; ``digest`` is that of the canonical body in lower-case hex."""
    parts = (head.version, head.msg_type, head.msg_id, head.sender_id, head.receiver_id, head.send_time, head.sign_alg, head.key_id)
    return "|".join((*parts, digest)).encode()


def head_for(service: str, *, msg_id: str, sender: str, receiver: str, key: OurKey, now: datetime) -> Head:
    """Return the head of a message that is signed with ``key`` and sent now."""
    return Head(
        version=VERSION,
        msg_type=service,
        msg_id=msg_id,
        sender_id=sender,
        receiver_id=receiver,
        send_time=china_iso(now),
        sign_alg=key.algorithm,
        key_id=key.key_id,
    )


def seal(body: Mapping[str, Any], *, head: Head, key: OurKey) -> bytes:
    """Return the signed envelope, to be sent as it is. The same arguments give the same bytes.

    Raises ValueError when the body has no canonical form (see ``plain``).
    """
    content = canonical(body)
    signature = b64encode(key.sign(signed_bytes(head, sign.digest_hex(head.sign_alg, content))))
    return b'{"head":' + canonical(msgspec.to_builtins(head)) + b',"body":' + content + b',"sign":"' + signature + b'"}'


def open_envelope(
    content: bytes, *, service: str, receiver: str, keys: Mapping[str, TheirKey], now: datetime
) -> Opened | Rejection:
    """Return the message when it is proven, or what to answer instead.

    Doubted in this order: JSON and its limits (3), head (2), version (7), service and receiver (2), clock (31), key (32),
    signature (30). ``receiver`` is our own party id, ``keys`` the other side's keys by id.
    """
    envelope = _envelope(content)
    if isinstance(envelope, Rejection):
        return envelope
    head, body, signature, canonical_body = envelope
    if head.version != VERSION:
        return Rejection(Receipt.VERSION_WRONG, f"version {head.version} is not {VERSION}")
    if (head.msg_type, head.receiver_id) != (service, receiver):
        return Rejection(Receipt.HEADER_WRONG, f"{head.msg_type} for {head.receiver_id} does not belong here")
    sent_at = _sent_at(head.send_time)
    if sent_at is None:
        return Rejection(Receipt.HEADER_WRONG, f"{head.send_time} is not a time")
    if abs((now - sent_at).total_seconds()) > CLOCK_SECONDS_MAX:
        return Rejection(Receipt.CLOCK_WRONG, f"sent at {head.send_time}, more than {CLOCK_SECONDS_MAX} seconds off")
    key = sign.found(keys, key_id=head.key_id, party=head.sender_id, algorithm=head.sign_alg, at=now)
    if key is None:
        return Rejection(Receipt.KEY_UNKNOWN, f"no valid {head.sign_alg} key {head.key_id} of {head.sender_id}")
    if not key.verifies(signed_bytes(head, sign.digest_hex(head.sign_alg, canonical_body)), signature):
        return Rejection(Receipt.SIGNATURE_WRONG, "the signature does not hold")
    fingerprint = f"{head.msg_type}|{sign.digest_hex(Algorithm.SM2, canonical_body)}"
    return Opened(head=head, body=body, fingerprint=fingerprint)


def claimed_head(content: bytes) -> Head | None:
    """Return the head of a message that was not taken, to address the reply; it proves nothing. None when it has none."""
    envelope = _envelope(content)
    return None if isinstance(envelope, Rejection) else envelope[0]


def reply_body(to: Head | None, result: Receipt, *, reason: str = "", data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the body of a reply to a message, or to one whose head cannot be read."""
    body = {"ackMsgId": NO_MESSAGE if to is None else to.msg_id, "result": int(result), "reason": reason[:256], "data": data}
    answer: dict[str, Any] = plain(body)
    return answer


def read_reply(opened: Opened, *, to: str) -> Reply | Rejection:
    """Return the reply to our message ``to``. A reply to another message proves nothing about this one."""
    try:
        reply = msgspec.convert(opened.body, Reply)
    except msgspec.ValidationError as wrong:
        return Rejection(Receipt.SCHEMA_INVALID, str(wrong))
    if reply.ack_id != to:
        return Rejection(Receipt.CONTENT_WRONG, f"the reply is to {reply.ack_id}, not to {to}")
    return reply


def http_status(result: Receipt) -> int:
    """Return the HTTP status that carries a result."""
    return HTTP_STATUS.get(result, 200)


def china_iso(at: datetime) -> str:
    """Return an instant as ``yyyy-MM-ddTHH:mm:ss+08:00``. Raises ValueError for a naive time."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone")
    return at.astimezone(CHINA).replace(microsecond=0).isoformat()


def _envelope(content: bytes) -> tuple[Head, dict[str, Any], bytes, bytes] | Rejection:
    """Return head, body, signature and canonical body, as far as form goes."""
    if len(content) > BODY_BYTES_MAX:
        return Rejection(Receipt.SCHEMA_INVALID, f"more than {BODY_BYTES_MAX} bytes")
    try:
        told = _strict_json(content)
        head, body, signature = told["head"], told["body"], told["sign"]
        if len(told) != 3 or not isinstance(body, dict) or not isinstance(signature, str):
            return Rejection(Receipt.SCHEMA_INVALID, "an envelope has head, body and sign")
        canonical_body, signed = canonical(body), a2b_base64(signature, strict_mode=True)
    except (ValueError, KeyError, TypeError, RecursionError, Base64Error) as wrong:
        return Rejection(Receipt.SCHEMA_INVALID, f"not an envelope: {wrong}"[:200])
    try:
        return msgspec.convert(head, Head), body, signed, canonical_body
    except msgspec.ValidationError as wrong:
        return Rejection(Receipt.HEADER_WRONG, str(wrong))


def _strict_json(content: bytes) -> Any:
    """Decode JSON in which no key stands twice and no number has a fraction. Raises ValueError or RecursionError."""
    return json.loads(content.decode(), object_pairs_hook=_once, parse_float=_no_float, parse_constant=_no_float)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_float(text: str) -> Any:
    raise ValueError(f"{text[:40]} is not an integer")


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        if not unicodedata.is_normalized("NFC", value):
            raise ValueError("a text is not in NFC")
    elif isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise ValueError("an integer has more than 64 bits")
    elif not depth:
        raise ValueError(f"more than {DEPTH_MAX} levels")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError("a key is not text")
            _check(key, depth)
            _check(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)
    else:
        raise ValueError(f"a body cannot hold {'null' if value is None else type(value).__name__}")


def _sent_at(text: str) -> datetime | None:
    if _SEND_TIME.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
