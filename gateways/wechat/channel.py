"""The WeChat Pay adapter in service-provider mode, put together from its parts: orders, refunds, bills, certificates, notices.

Knows which part answers for what, and reads notices; must not know network, clock, database or settings.
Called through the contract by payments, reconciliation and the application.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from gateways.contract import Answer, Operation, Reading, Way
from gateways.keys import KeyRing
from gateways.wechat import sign, wire
from gateways.wechat.bills import Bills
from gateways.wechat.certificates import Certificates
from gateways.wechat.combined import Combined
from gateways.wechat.parking import Parking
from gateways.wechat.parking_wire import SCENE
from gateways.wechat.refunds import Refunds
from gateways.wechat.results import CHANNEL, combined_results, transaction_result
from gateways.wechat.speaker import Provider, read, unreadable

__all__ = ["Provider", "WeChat"]

NOTICE_BYTES_MAX: Final = 262_144
"""Largest notice: one of fifty legs with their promotions has up to 100 KB once it is encrypted."""
_JSON_HEADERS: Final = {"content-type": "application/json"}
_ACCEPTED: Final = Answer(status=200, headers=_JSON_HEADERS, body='{"code":"SUCCESS","message":"成功"}'.encode())
_REFUSED_STATUS: Final = {"header_missing": 401, "stale": 401, "serial_unknown": 401, "signature": 401, "not_json": 400}
_REFUSED_STATUS_ELSE: Final = 500
_DEDUCTION_EVENTS: Final = frozenset({"TRANSACTION.FAIL", "TRANSACTION.PAY_BACK"})
"""Only of deductions. PAY_BACK says that the payer has given back what the channel had advanced: the payment was
made before, under the same trade number, and is not booked again."""


class WeChat(Combined, Parking, Refunds, Bills, Certificates):
    """The adapter. It holds who we are and nothing that changes; see ``gateways.contract.Channel`` for each method's effect."""

    name: str = CHANNEL
    supports: frozenset[Operation] = frozenset({
        Operation.CALLBACK, Operation.PREPAY, Operation.COMBINE, Operation.QUERY, Operation.CLOSE, Operation.MANDATE_QUERY,
        Operation.MANDATE_SIGN, Operation.ENTRY, Operation.DEDUCT, Operation.REFUND, Operation.REFUND_QUERY, Operation.BILL,
        Operation.BILL_FILE, Operation.FUND_BILL, Operation.CERTIFICATES,
    })  # fmt: skip
    ways: frozenset[Way] = frozenset({Way.IN_WALLET, Way.BROWSER, Way.CODE})
    evidence_headers: frozenset[str] = frozenset(
        {sign.TIMESTAMP, sign.NONCE, sign.SIGNATURE, sign.SERIAL, sign.SIGNATURE_TYPE, "request-id"}
    )

    legs_max: int = wire.LEGS_MAX
    mandates_by_payer: bool = True
    body_bytes_max: int = NOTICE_BYTES_MAX

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.provider_no = provider.provider_no

    # Notices

    def parse_callback(self, headers: Mapping[str, str], body: bytes, *, keys: KeyRing, now: datetime) -> Reading:
        """Read a notice: verify the raw bytes, decrypt, decode.

        Whatever is genuine but not handled here is ``event_unknown``: the caller keeps it and refuses it, so that it comes again.
        Source: docs/CHANNELS.md, notices.
        """
        if (reason := sign.objection(headers, body, keys=keys, now=now)) is not None:
            return Reading(verdict="refused", reason=reason)
        try:
            notice = wire.decode_notice(body)
        except msgspec.ValidationError:
            return unreadable("field_missing")
        except wire.UNREADABLE:
            return unreadable("not_json")
        return self._open_notice(notice, keys)

    def _open_notice(self, notice: wire.Notice, keys: KeyRing) -> Reading:
        if notice.event_type == "TRANSACTION.SUCCESS":
            opens = self._read_transaction
        elif notice.event_type in _DEDUCTION_EVENTS:
            opens = self._read_deduction
        elif notice.event_type == "VEHICLE.ENTRANCE_STATE_CHANGE":
            opens = self.read_entry_notice
        elif notice.event_type.startswith("REFUND."):
            opens = self.read_refund_notice
        else:
            return Reading(verdict="verified", reason="event_unknown")
        box = notice.resource
        plain = keys.decrypt(nonce=box.nonce, ciphertext=box.ciphertext, associated=box.associated_data or "")
        return unreadable("decrypt") if plain is None else opens(plain)

    def _read_transaction(self, body: bytes) -> Reading:
        told = read(wire.decode_transaction, body)
        if told is None:
            return unreadable("field_missing")
        if told.combine_out_trade_no is not None:
            return self._read_combined(body)
        if told.trade_scene not in (None, SCENE):  # another product's
            return Reading(verdict="verified", reason="event_unknown")
        result = transaction_result(told, provider_no=self.provider_no)
        return unreadable(result) if isinstance(result, str) else Reading(verdict="verified", results=(result,))

    def _read_deduction(self, body: bytes) -> Reading:
        told = read(wire.decode_transaction, body)
        if told is not None and told.trade_scene != SCENE:
            return Reading(verdict="verified", reason="event_unknown")
        return self._read_transaction(body)

    def _read_combined(self, body: bytes) -> Reading:
        told = read(wire.decode_combined, body)
        if told is None:
            return unreadable("field_missing")
        results = combined_results(told, provider_no=self.provider_no)
        return unreadable(results) if isinstance(results, str) else Reading(verdict="verified", results=results)

    def ack(
        self,
        *,
        accepted: bool,
        reason: str | None = None,
        reading: Reading | None = None,
        keys: KeyRing | None = None,
        now: datetime | None = None,
    ) -> Answer:
        """Return 200 SUCCESS, or FAIL so that it comes again: 401 (not proven genuine), 400 (not JSON), 500 (not taken)."""
        if accepted:
            return _ACCEPTED
        body = wire.encode({"code": "FAIL", "message": reason or "not accepted"})
        return Answer(status=_REFUSED_STATUS.get(reason or "", _REFUSED_STATUS_ELSE), headers=_JSON_HEADERS, body=body)
