"""Uploads of charges by card: packages of transaction records under WXETC-1, which no operation of the contract covers.

Knows ``etc.trans.upload`` and its reply; must not know network, clock or the book. Called by whoever collects lane records; the
readers of the other side by the stand-in. ``outcome`` names the event that ``gateways.etc.state`` goes on with.
Source: docs/ETC.md, sections 7 and 8.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateways.contract import Answer, Request, Unanswered, Verdict
from gateways.etc import clearing, line
from gateways.etc.clearing import UPLOAD_CHARGES_MAX, MessageNo, Package, PartyNo
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.keys import EtcKeys
from gateways.etc.line import Provider
from gateways.etc.record import CAP_FEN_DEFAULT, TransactionRecord, china_time, read_china_time
from gateways.etc.services import IssuerNo, Service, builtins_of, read

ANSWERED: Final = frozenset(Receipt) - {Receipt.CLEARING_DISAGREES}
AWAITED: Final = "awaited"
"""Reason of an upload that arrived on a wire where the receipt comes later, in a message of its own."""
NOT_ARRIVED: Final = frozenset({"line_not_received", "line_silent", "line_down", "line_unreadable"})
"""Reasons of an upload on such a wire of which nobody knows that it arrived."""


class UploadOutcome(Struct, frozen=True):
    """What an upload led to. ``receipt`` is the event ``ANSWER`` of the charges' state; without it the event is ``NO_ANSWER``.

    ``clear_on`` is the clearing date that the other side states with an acceptance.
    """

    verdict: Verdict
    receipt: Receipt | None = None
    reason: str | None = None
    clear_on: date | None = None


class _Accepted(Struct, frozen=True, rename={"clear_on": "clearTargetDate"}):
    clear_on: date


class _Upload(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "message_no": "messageId",
        "clear_on": "clearTargetDate",
        "service_provider_no": "serviceProviderId",
        "issuer_no": "issuerId",
        "amount_fen": "amount",
    },
):
    message_no: MessageNo
    clear_on: date
    service_provider_no: PartyNo
    issuer_no: IssuerNo
    count: int
    amount_fen: int
    transactions: tuple[dict[str, Any], ...]


def build(package: Package, *, provider: Provider, keys: EtcKeys, now: datetime) -> Request:
    """Return the call that uploads a package. Its number is the message's number, so a repeat is one upload.

    Raises ValueError for a package that must not be sent; ``SigningFailed``.
    """
    body = upload_body(package, cap_fen=provider.cap_fen)
    return line.request(provider, Service.TRANS_UPLOAD, body, msg_id=package.message_no, key=keys.own(None), now=now)


def outcome(answer: Answer | Unanswered, *, package: Package, provider: Provider, keys: EtcKeys, now: datetime) -> UploadOutcome:
    """Read the answer to an upload. Only a signed reply to this very package has a receipt."""
    told = line.told(
        provider, answer, Service.TRANS_UPLOAD, keys=keys, now=now, is_ours=lambda number: number == package.message_no
    )
    if told.receipt is None or told.receipt not in ANSWERED:
        return UploadOutcome(told.verdict, reason=told.reason)
    if told.receipt is not Receipt.ACCEPTED:
        return UploadOutcome(told.verdict, told.receipt, told.words)
    accepted = read(_Accepted, told.data)
    if isinstance(accepted, Rejection):
        return UploadOutcome("unreadable", reason="field_missing")
    return UploadOutcome("verified", Receipt.ACCEPTED, clear_on=accepted.clear_on)


def upload_body(package: Package, *, cap_fen: int = CAP_FEN_DEFAULT) -> dict[str, Any]:
    """Return the body of ``etc.trans.upload``. Raises ValueError for a package that must not be sent."""
    if objection := clearing.package_objection(package, charges_max=UPLOAD_CHARGES_MAX, cap_fen=cap_fen):
        raise ValueError(f"package {package.message_no} must not be sent: {objection}")
    return builtins_of(
        _Upload(
            message_no=package.message_no,
            clear_on=package.clear_on,
            service_provider_no=package.service_provider_no,
            issuer_no=package.issuer_no,
            count=len(package.records),
            amount_fen=package.amount_fen,
            transactions=tuple(transaction_body(record, trans_no) for trans_no, record in enumerate(package.records, 1)),
        )
    )


def read_upload(body: Mapping[str, Any], *, cap_fen: int = CAP_FEN_DEFAULT) -> Package | Rejection:
    """Return the package that an upload brings, or what to answer."""
    upload = read(_Upload, body)
    if isinstance(upload, Rejection):
        return upload
    if len(upload.transactions) > UPLOAD_CHARGES_MAX:
        return Rejection(Receipt.CONTENT_WRONG, f"an upload has at most {UPLOAD_CHARGES_MAX} charges")
    records: list[TransactionRecord] = []
    for trans_no, transaction in enumerate(upload.transactions, 1):
        record = read_transaction(transaction, trans_no=trans_no)
        if isinstance(record, Rejection):
            return record
        records.append(record)
    package = Package(
        message_no=upload.message_no,
        clear_on=upload.clear_on,
        service_provider_no=upload.service_provider_no,
        issuer_no=upload.issuer_no,
        records=tuple(records),
    )
    objection = clearing.totals_objection(package, count=upload.count, amount_fen=upload.amount_fen)
    objection = objection or clearing.package_objection(package, charges_max=UPLOAD_CHARGES_MAX, cap_fen=cap_fen)
    return package if objection is None else Rejection(Receipt.CONTENT_WRONG, objection)


def transaction_body(record: TransactionRecord, trans_no: int) -> dict[str, Any]:
    """Return one charge of an upload: its place from 1 and the record."""
    return {"transId": trans_no} | record_body(record)


def record_body(record: TransactionRecord) -> dict[str, Any]:
    """Return a record in the fields of section 4, those without a value left out; ``read_record`` reads it back."""
    told: dict[str, Any] = msgspec.to_builtins(record, builtin_types=(datetime,))
    told["transTime"] = china_time(record.happened_at)
    told["enterTime"] = None if record.entered_at is None else china_time(record.entered_at)
    return {name: value for name, value in told.items() if value not in (None, "")}


def read_record(body: Mapping[str, Any]) -> TransactionRecord | str:
    """Return a record from the fields of section 4, or what is wrong with it in words. Its form is for ``record.form_faults``."""
    at, entered_at = _china_time_of(body, "transTime"), _china_time_of(body, "enterTime")
    if at is None or (entered_at is None and "enterTime" in body):
        return "a time is missing or has another form than yyyy-MM-dd HH:mm:ss"
    try:
        return msgspec.convert({**body, "transTime": at, "enterTime": entered_at}, TransactionRecord)
    except (msgspec.ValidationError, OverflowError) as wrong:
        return str(wrong)


def read_transaction(body: Mapping[str, Any], *, trans_no: int) -> TransactionRecord | Rejection:
    """Return one charge of an upload, or what to answer; ``trans_no`` is the place it must have."""
    if body.get("transId") != trans_no or body["transId"] is True:
        return Rejection(Receipt.CONTENT_WRONG, f"charge {trans_no} says it is {body.get('transId')!r}")
    record = read_record(body)
    return Rejection(Receipt.SCHEMA_INVALID, f"charge {trans_no}: {record}") if isinstance(record, str) else record


def _china_time_of(body: Mapping[str, Any], name: str) -> Any:
    text = body.get(name)
    return read_china_time(text) if isinstance(text, str) else None
