"""The services of WXETC-1 over HTTP: envelopes in, signed replies out; and the reconciliation files.

Knows envelopes, repeats and faults of answers; must not know rules. Mounted by the stand-in. Source: docs/ETC.md, section 8.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from gateways.contract import Answer
from gateways.etc import envelope, line, services, uploads
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.envelope import Head, Opened
from gateways.etc.record import FEE_FEN_MAX
from gateways.etc.services import CALLED_BY_US, Arrival, Service
from gateways.sandbox.chance import digits
from gateways.sandbox.etc.clearing import Packages
from gateways.sandbox.etc.desk import Desk, Told, taken
from gateways.sandbox.etc.files import Files
from gateways.sandbox.etc.refunds import Refunds
from gateways.sandbox.etc.signer import Signer
from gateways.sandbox.faults import seconds_of
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.shapes import FaultKind

_ERROR: Final = Reply(answer=Answer(status=500, headers={"content-type": "text/plain"}, body=b"error"))
_FORGOTTEN: Final = frozenset({Receipt.BUSY, Receipt.SIGNATURE_WRONG, Receipt.CLOCK_WRONG, Receipt.KEY_UNKNOWN})
"""Results after which the same message may come again and is looked at anew."""
_DELAYS: Final = frozenset({FaultKind.UNKNOWN, FaultKind.REFUND_UNKNOWN})

T = TypeVar("T", bound=Struct)


class _Fails(Exception):
    """The call is answered 500 and nothing is made."""


class Api:
    """The services over the counters."""

    def __init__(self, desk: Desk, packages: Packages, refunds: Refunds, files: Files, signer: Signer) -> None:
        self._desk, self._packages, self._refunds, self._files, self._signer = desk, packages, refunds, files, signer
        self._services: dict[str, Callable[[Mapping[str, Any]], Told]] = {
            Service.TRANS_UPLOAD: self._upload,
            Service.PLATE_PAY: lambda body: self._read(services.PlatePay, body, lambda pay: desk.charge(pay, _content(body))),
            Service.PLATE_PAY_QUERY: lambda body: self._read(services.PlatePayQuery, body, desk.query),
            Service.PLATE_SIGN_QUERY: lambda body: self._read(services.PlateSignQuery, body, desk.signed),
            Service.REFUND_APPLY: lambda body: self._read(services.RefundApply, body, lambda one: self._refund(one, body)),
            Service.REFUND_QUERY: lambda body: self._read(services.RefundQuery, body, refunds.query),
            Service.STATUS_LIST: lambda body: self._read(services.StatusListAsk, body, desk.status_list),
            Service.RECON_FILE: lambda body: self._read(services.ReconFileAsk, body, self._file),
        }
        assert set(self._services) == CALLED_BY_US, "every service is answered"

    def routes(self) -> list[Route]:
        """Return the routes of ``/etc/v1`` and of the files."""
        return [
            route("POST", envelope.PATH + "{service}", self._call),
            route("GET", "/etc/files/{name}", self._fetch),
        ]

    def _call(self, incoming: Incoming, found: re.Match[str]) -> Reply:
        late = self._desk.store.behaviour().answer_late_seconds / self._desk.around.time_factor
        reply = self._answered(incoming.body, found["service"])
        return msgspec.structs.replace(reply, wait_seconds=reply.wait_seconds + late)

    def _answered(self, body: bytes, service: str) -> Reply:
        config = self._desk.config
        opened = envelope.open_envelope(
            body, service=service, receiver=config.party, keys=config.provider_keys, now=self._desk.around.clock.now()
        )
        if isinstance(opened, Rejection):
            return self._reply(envelope.claimed_head(body), service, Told(opened.result, opened.reason))
        if opened.head.sender_id != config.provider or service not in self._services:
            return self._reply(opened.head, service, Told(Receipt.HEADER_WRONG, "this does not belong here"))
        with self._desk.store.together():  # a fault that makes it fail is used up all the same
            try:
                told = self._once(opened)
            except _Fails:
                return _ERROR
        late = [fault for fault in told.faults if fault.kind in _DELAYS]
        if late and not any(fault.seconds for fault in late):
            return _ERROR
        reply = self._reply(opened.head, service, told)
        return msgspec.structs.replace(reply, wait_seconds=sum(seconds_of(kind, late) for kind in _DELAYS))

    def _once(self, opened: Opened) -> Told:
        """Carry out a message, or tell again what was told when it came first."""
        store, head = self._desk.store, opened.head
        behaviour = store.behaviour()
        if behaviour.busy:
            store.set_behaviour(msgspec.structs.replace(behaviour, busy=behaviour.busy - 1))
            return Told(Receipt.BUSY, "busy, try again")
        before = store.seen(head.sender_id, head.msg_id)
        arrival = services.arrival(opened.fingerprint, first=None if before is None else before[0])
        if arrival is Arrival.OTHER_CONTENT:
            return Told(Receipt.REPEATED, "the number came before with other content")
        if arrival is Arrival.AGAIN and before is not None:
            return msgspec.json.decode(before[1], type=Told)
        told = self._services[head.msg_type](opened.body)
        if told.receipt not in _FORGOTTEN:
            kept = msgspec.structs.replace(told, faults=())
            store.set_seen(head.sender_id, head.msg_id, opened.fingerprint, msgspec.json.encode(kept))
        return told

    def _reply(self, to: Head | None, service: str, told: Told) -> Reply:
        """Return the signed reply; to a message without a head that can be read it says 3 to nobody."""
        body = envelope.reply_body(to, told.receipt, reason=told.reason, data=told.data)
        msg_type = to.msg_type if to is not None else service if re.fullmatch(r"[a-z.]{1,64}", service) else "etc"
        number = "8" + digits(19, self._desk.store.seed, "reply", self._desk.store.next_number("reply"))
        sealed = self._signer.seal(body, msg_type, msg_id=number)
        return Reply(answer=Answer(status=envelope.http_status(told.receipt), headers=line.JSON, body=sealed))

    # Services

    def _read(self, kind: type[T], body: Mapping[str, Any], then: Callable[[T], Told]) -> Told:
        message = services.read(kind, body)
        return Told(message.result, message.reason) if isinstance(message, Rejection) else then(message)

    def _refund(self, wanted: services.RefundApply, body: Mapping[str, Any]) -> Told:
        told = self._refunds.apply(wanted, _content(body))
        if told is None:
            raise _Fails
        return told

    def _upload(self, body: Mapping[str, Any]) -> Told:
        package = uploads.read_upload(body, cap_fen=FEE_FEN_MAX)
        if isinstance(package, Rejection):
            return Told(package.result, package.reason)
        receipt, clear_on = self._packages.receive(package, wire="https")
        data = None if clear_on is None else {"clearTargetDate": clear_on.isoformat()}
        return Told(receipt, data=data)

    def _file(self, asked: services.ReconFileAsk) -> Told:
        if not self._files.ready(asked.clear_on):
            return Told(Receipt.BUSY, "the file is there from 09:00 on the next day")
        issued = self._files.issue(asked.merchant_no, asked.clear_on)
        return taken(services.ReconFileLink(issued.name, f"/etc/files/{issued.name}", issued.sm3))

    def _fetch(self, _incoming: Incoming, found: re.Match[str]) -> Reply:
        content = self._files.fetch(found["name"])
        if content is None:
            return Reply(answer=Answer(status=404, headers={"content-type": "text/plain"}, body=b"not found"))
        return Reply(answer=Answer(status=200, headers={"content-type": "text/plain; charset=utf-8"}, body=content))


def _content(body: Mapping[str, Any]) -> bytes:
    return envelope.canonical(body)
