"""What the clearing party signs with, and what it makes of the engine's replies to its notices.

Knows keys and envelopes; must not know rules. Used by services and courier.
"""

from collections.abc import Mapping
from typing import Any

from gateways.contract import Answer, Request
from gateways.etc import envelope, line
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.sign import OurKey
from gateways.sandbox.etc.desk import Desk
from gateways.sandbox.shapes import FaultKind

_TAKEN = frozenset({Receipt.ACCEPTED, Receipt.REPEATED})


class Signer:
    """The clearing party's keys in turn. One thread at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._awaited: set[str] = set()

    def key(self) -> OurKey:
        """Return the key that signs now."""
        keys = self._desk.config.keys
        return keys[int(self._desk.store.remark("signing") or b"0") % len(keys)]

    def rotate(self) -> str:
        """Sign with the next key from now on, of either algorithm. Returns its id."""
        self._desk.store.set_remark("signing", str(int(self._desk.store.remark("signing") or b"0") + 1).encode())
        return self.key().key_id

    def seal(self, body: Mapping[str, Any], service: str, *, msg_id: str) -> bytes:
        """Return a signed envelope for the engine."""
        key, config = self.key(), self._desk.config
        head = envelope.head_for(
            service, msg_id=msg_id, sender=config.party, receiver=config.provider, key=key, now=self._desk.around.clock.now()
        )
        return envelope.seal(body, head=head, key=key)

    def notice(self, body: Mapping[str, Any], service: str, *, msg_id: str, touched: frozenset[FaultKind]) -> Request:
        """Return the call that brings a notice, its signature spoilt where the faults say so."""
        sealed = self.seal(body, service, msg_id=msg_id)
        if FaultKind.WRONG_SIGNATURE in touched:
            place = sealed.rindex(b'"sign":"') + len(b'"sign":"')
            sealed = sealed[:place] + (b"B" if sealed[place : place + 1] == b"A" else b"A") + sealed[place + 1 :]
        self._awaited.add(msg_id)
        return Request(method="POST", url=self._desk.config.notify_url, headers=line.JSON, body=sealed)

    def taken(self, answer: Answer) -> bool:
        """Tell whether an answer to a notice is the engine's own signed reply that it was taken (1, or 5: it had it before)."""
        claimed = envelope.claimed_head(answer.body)
        if claimed is None:
            return False
        config = self._desk.config
        opened = envelope.open_envelope(
            answer.body,
            service=claimed.msg_type,
            receiver=config.party,
            keys=config.provider_keys,
            now=self._desk.around.clock.now(),
        )
        if isinstance(opened, Rejection) or opened.head.sender_id != config.provider:
            return False
        ack_no = opened.body.get("ackMsgId")
        if ack_no not in self._awaited:
            return False
        reply = envelope.read_reply(opened, to=str(ack_no))
        if isinstance(reply, Rejection) or reply.result not in _TAKEN:
            return False
        self._awaited.discard(str(ack_no))
        return True
