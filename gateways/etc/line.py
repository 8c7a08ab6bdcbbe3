"""The line to the clearing party: who we are, how a service is called, what a reply proves.

Knows envelopes and receipts; must not know what a service means. Called by the adapter and by the uploads.
Source: docs/ETC.md, section 8.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from gateways.contract import Answer, Request, Unanswered, Verdict
from gateways.etc import envelope
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.keys import EtcKeys
from gateways.etc.record import CAP_FEN_DEFAULT
from gateways.etc.services import Service
from gateways.etc.sign import OurKey

USER_AGENT: Final = "tongting/0.1 (WXETC-1)"
JSON: Final = {"content-type": "application/json"}

REFUSALS: Final[dict[Receipt, str]] = {
    Receipt.HEADER_WRONG: "header_refused",
    Receipt.SCHEMA_INVALID: "form_refused",
    Receipt.CONTENT_WRONG: "content_refused",
    Receipt.REPEATED: "number_repeated",
    Receipt.ADVICE_REFUSED: "advice_refused",
    Receipt.VERSION_WRONG: "version_refused",
    Receipt.CLEARING_DISAGREES: "clearing_disagrees",
    Receipt.SIGNATURE_WRONG: "signature_refused",
    Receipt.CLOCK_WRONG: "clock_refused",
    Receipt.KEY_UNKNOWN: "key_refused",
    Receipt.NOT_OUR_LOT: "not_our_lot",
    Receipt.BUSY: "unavailable",
}
"""What the other side's refusals of our messages are called in readings."""
OBJECTIONS: Final[dict[Receipt, str]] = {
    Receipt.HEADER_WRONG: "header_missing",
    Receipt.SCHEMA_INVALID: "not_json",
    Receipt.VERSION_WRONG: "version",
    Receipt.SIGNATURE_WRONG: "signature",
    Receipt.CLOCK_WRONG: "stale",
    Receipt.KEY_UNKNOWN: "serial_unknown",
}
"""What our own doubts about a message of theirs are called."""

_PREFIX_DIGITS: Final = 10


class Provider(Struct, frozen=True, kw_only=True):
    """Who we are at the clearing party, and where it is."""

    sender_id: str
    """Our party id, 16 hex in upper case."""
    receiver_id: str
    """The clearing party's. Nobody else's messages are read."""
    api_url: str
    """Address without the path, such as ``https://etc.example``."""
    notify_no: str = "1"
    """Names the address that the clearing party sends notices to, as agreed with it (``notifyId``)."""
    cap_fen: int = CAP_FEN_DEFAULT
    """Largest single charge in fen. A wrong entry time must not empty an account."""


class Told(Struct, frozen=True):
    """A reply after everything about it was doubted. Only one that is proven to be a reply to our message has a ``receipt``."""

    verdict: Verdict
    reason: str | None = None
    receipt: Receipt | None = None
    words: str = ""
    """The other side's own sentence, for a person."""
    data: Mapping[str, Any] = {}


def message_no(service: Service, subject: str, occasion: str) -> str:
    """Return the number of a message: 9, nine digits of service and subject, ten of the occasion as well.

    The same arguments give the same number, so that a repeat is known as one; ``is_about`` recognises a reply's subject by it.
    Numbers of uploads begin with 0, see ``gateways.etc.uploads``.
    """
    return _about(service, subject) + _digits(20 - _PREFIX_DIGITS, service, subject, occasion)


def is_about(number: str, service: Service, subject: str) -> bool:
    """Tell whether a message number was made by ``message_no`` for this service and subject."""
    return number.startswith(_about(service, subject))


def request(provider: Provider, service: Service, body: Mapping[str, Any], *, msg_id: str, key: OurKey, now: datetime) -> Request:
    """Return the signed call of a service. Raises ValueError for a body without a canonical form, SigningFailed."""
    head = envelope.head_for(
        service, msg_id=msg_id, sender=provider.sender_id, receiver=provider.receiver_id, key=key, now=now
    )  # fmt: skip
    return Request(
        method="POST",
        url=f"{provider.api_url}{envelope.PATH}{service}",
        headers={"accept": "application/json", "user-agent": USER_AGENT, **JSON},
        body=envelope.seal(body, head=head, key=key),
    )


def told(
    provider: Provider,
    answer: Answer | Unanswered,
    service: Service,
    *,
    keys: EtcKeys,
    now: datetime,
    is_ours: Callable[[str], bool],
) -> Told:
    """Return what a reply says. ``is_ours`` judges the number that it answers; a reply to another message proves nothing here."""
    if isinstance(answer, Unanswered):
        return Told("unanswered", answer.reason)
    opened = envelope.open_envelope(answer.body, service=service, receiver=provider.sender_id, keys=keys.theirs, now=now)
    if isinstance(opened, Rejection):
        return Told("refused", "unavailable" if answer.status >= 500 else OBJECTIONS[opened.result])
    if opened.head.sender_id != provider.receiver_id:
        return Told("refused", "other_sender")
    ack_no = opened.body.get("ackMsgId")
    if not isinstance(ack_no, str) or not is_ours(ack_no):
        return Told("unreadable", "other_order")
    reply = envelope.read_reply(opened, to=ack_no)
    if isinstance(reply, Rejection):
        return Told("unreadable", "field_missing")
    reason = None if reply.result is Receipt.ACCEPTED else REFUSALS[reply.result]
    return Told("verified", reason, reply.result, reply.reason, reply.data or {})


def _about(service: Service, subject: str) -> str:
    return "9" + _digits(_PREFIX_DIGITS - 1, service, subject)


def _digits(length: int, *parts: str) -> str:
    value = int.from_bytes(hashlib.sha256("\n".join(parts).encode()).digest(), "big")
    return str(value % 10**length).zfill(length)
