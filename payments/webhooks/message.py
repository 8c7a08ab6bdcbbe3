"""A message as it leaves: its body and its headers.

Knows the Standard Webhooks convention and our events; must not know tables or HTTP clients. Called by the delivery.
Source: Standard Webhooks 1.0: headers webhook-id, webhook-timestamp, webhook-signature; payload type, timestamp, data.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct, UnsetType

from payments.events import Told


class Data(Told, frozen=True, kw_only=True):
    """The event as it is pulled, with the code of its lot."""

    lot_code: str = ""


class Message(Struct, frozen=True):
    """The body of a message. ``timestamp`` is when what it tells of happened."""

    type: str
    timestamp: datetime
    data: Data


_data: Final = msgspec.json.Decoder(Data).decode
_encode: Final = msgspec.json.Encoder().encode


def body(event: bytes, *, lot_code: str) -> bytes:
    """Return the body for an event of the outbox: byte for byte the same at each try."""
    data = msgspec.structs.replace(_data(event), lot_code=lot_code)
    happened = data.paid_at if isinstance(data.at, UnsetType) else data.at
    assert not isinstance(happened, UnsetType), "each kind of event has its time"
    return _encode(Message(data.kind, happened, data))


def headers(content: bytes, *, event_id: UUID, at: datetime, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of a message sent at ``at``: signed with each of ``keys``, the newest first.

    The id is the event's: the same at each try and replay, and the same as in the events that are pulled.
    """
    moment = str(int(at.timestamp()))
    signed = f"{event_id}.{moment}.".encode() + content
    signatures = [b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {
        "content-type": "application/json",
        "webhook-id": str(event_id),
        "webhook-timestamp": moment,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
