"""Corrections in, credit notes out: what a lot's system takes back of its charges.

Knows the form of requests and answers; must not know how charges are corrected. Mounted by ``app.api``.
"""

import base64
from datetime import datetime
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from litestar import Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RawBody
from msgspec import Struct

from app import auth, problems
from app.api.charges import Malformed
from app.auth import Called
from app.wiring import Wired, Wiring
from gateways import messages
from ledger.errors import NotAllowed
from ledger.ids import payment_number, refund_number
from payments.amends import corrections, credit_notes
from payments.amends.correction_store import Kind, NoteSeen, Reason, RefundSeen
from payments.amends.corrections import Corrected, NewCorrection
from payments.amends.credit_notes import Signer
from payments.refunding.refund_decisions import State

_correction: Final = msgspec.json.Decoder(NewCorrection).decode
_STATUS: Final = {"malformed": 400, "charge_unknown": 404, "content_differs": 409, "payment_under_way": 409, "card_under_way": 409}


class NoteRefundView(Struct, frozen=True, kw_only=True):
    """What of a credit note goes back to a payer, and where that stands.

    ``closed``: proven not made; refund it anew over the payment's own route, with the note's number in the reason.
    """

    refund: str
    receipt: str
    amount_fen: int
    state: State
    done_at: datetime | None


class CorrectionView(Struct, frozen=True, kw_only=True):
    """A correction as its lot may ask for it again. ``note`` is the number of its credit note."""

    serial: str
    charge_serial: str
    kind: Kind
    reason: Reason
    text: str | None
    note: str
    amount_fen: int
    credited_fen: int
    refunded_fen: int
    refunds: list[NoteRefundView]
    new_serial: str | None
    made_at: datetime


class CreditNoteView(Struct, frozen=True, kw_only=True):
    """A credit note as it is signed.

    ``document`` holds the exact characters that are signed and sealed: keep them as they are. ``signature`` is Ed25519 in base64,
    ``public_key`` the key that verifies it, in PEM form. ``document_id`` is the leaf in the sealed tree.
    """

    number: str
    document_id: str
    document: str
    signature: str
    public_key: str


@post(
    "/v1/lots/{lot_code:str}/corrections",
    sync_to_thread=True,
    status_code=207,
    tags=["lots"],
    summary="Correct one charge or many",
    responses={
        200: ResponseSpec(Corrected, description="One correction: it was posted before with the same content"),
        201: ResponseSpec(Corrected, description="One correction: its credit note is made"),
        207: ResponseSpec(list[Corrected], description="A list of corrections: one result for each, in order; good ones stand"),
    },
)
def post_corrections(wiring: Wired, caller: Called, lot_code: FromPath[str], body: RawBody) -> Response[bytes]:
    """Cancel, reduce or replace charges of one lot by credit notes: one object, or a list of up to 1,000.

    Posting the same correction again is harmless. What is still owed is credited, what was paid goes back the way it came. One
    correction refused is a problem with its ``field``: 409 ``content_differs`` when the serial is taken by other content,
    ``payment_under_way`` or ``card_under_way`` while somebody pays; else 422, such as ``amount_exceeds`` or ``nothing_left``.
    """
    many, given = _read(body)
    if not caller.may_write:
        raise NotAllowed("this client may read, not correct", code="read_only")
    good = [one for one in given if isinstance(one, NewCorrection)]
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        message = messages.from_lot(operation="corrections", body=body, at=at, ids=wiring.ids, occasion=lot.code)
        made = corrections.post(
            tx, lane=wiring.lane, lot=lot, corrections=good, evidence_id=message.message_id, signer=_signer(wiring), at=at,
            ids=wiring.ids,
        )  # fmt: skip
        if any(one.outcome == "created" for one in made):
            messages.keep(tx, lane=wiring.lane, messages=[message])
    answers = iter(made)
    results = [one if isinstance(one, Corrected) else next(answers) for one in given]
    return _json(207, results) if many else _one(results[0])


@get("/v1/lots/{lot_code:str}/corrections/{serial:str}", sync_to_thread=True, tags=["lots"], summary="Ask for a correction")
def get_correction(wiring: Wired, caller: Called, lot_code: FromPath[str], serial: FromPath[str]) -> CorrectionView:
    """Return a correction of the lot by its own serial, with its refunds and where they stand."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        found, refunds = corrections.by_serial(tx, lane=wiring.lane, lot_id=lot.lot_id, serial=serial)
    return _view(found, refunds, wiring.lane)


@get("/v1/lots/{lot_code:str}/credit-notes/{number:str}", sync_to_thread=True, tags=["lots"], summary="Get a credit note")
def get_credit_note(wiring: Wired, caller: Called, lot_code: FromPath[str], number: FromPath[str]) -> CreditNoteView:
    """Return a credit note as it was signed; docs/CORRECTIONS.md shows how to verify it without this product."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        found = credit_notes.by_number(tx, lane=wiring.lane, lot_id=lot.lot_id, note=number)
    key = Ed25519PublicKey.from_public_bytes(bytes(found.public_key))
    return CreditNoteView(
        number=found.number, document_id=str(found.note_id), document=bytes(found.document).decode(),
        signature=base64.b64encode(bytes(found.signature)).decode(),
        public_key=key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )  # fmt: skip


def _signer(wiring: Wiring) -> Signer:
    """Return what signs credit notes: the key that signs checkpoints."""
    return Signer(wiring.keys.seal.sign, wiring.keys.seal.public_key().public_bytes_raw())


def _view(found: NoteSeen, refunds: list[RefundSeen], lane: int) -> CorrectionView:
    back = [
        NoteRefundView(
            refund=refund_number(lane, one.refund_id), receipt=payment_number(lane, one.payment_id), amount_fen=one.amount_fen,
            state=one.state, done_at=one.done_at,
        )
        for one in refunds
    ]  # fmt: skip
    return CorrectionView(
        serial=found.serial, charge_serial=found.charge_serial, kind=found.kind, reason=found.reason, text=found.words,
        note=found.number, amount_fen=found.amount_fen, credited_fen=found.credited_fen, refunded_fen=found.refunded_fen,
        refunds=back, new_serial=found.new_serial, made_at=found.created_at,
    )  # fmt: skip


def _read(body: bytes) -> tuple[bool, list[NewCorrection | Corrected]]:
    """Return whether a list came, and each correction, or its refusal when it has not the form of one."""
    many = body.lstrip()[:1] == b"["
    try:
        parts = msgspec.json.decode(body, type=list[msgspec.Raw]) if many else [msgspec.Raw(body)]
    except msgspec.DecodeError as broken:
        raise Malformed(f"the body is not JSON: {broken}") from None
    if len(parts) > corrections.CORRECTIONS_MAX:
        raise Malformed(f"at most {corrections.CORRECTIONS_MAX} corrections fit into one call")
    return many, [_correction_of(part) for part in parts]


def _correction_of(part: msgspec.Raw) -> NewCorrection | Corrected:
    try:
        return _correction(part)
    except msgspec.ValidationError as wrong:
        path = str(wrong).partition("`$.")[2].rstrip("`")
        return Corrected(serial=_serial(part), outcome="refused", reason="malformed", field=path or None, detail=str(wrong))
    except msgspec.DecodeError as broken:
        raise Malformed(f"the body is not JSON: {broken}") from None


class _Named(Struct):
    serial: str = ""


def _serial(part: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(part, type=_Named).serial
    except msgspec.DecodeError:
        return ""


def _one(result: Corrected) -> Response[bytes]:
    """Return the answer to a single correction."""
    if result.outcome != "refused":
        return _json(201 if result.outcome == "created" else 200, result)
    status = _STATUS.get(result.reason or "", 422)
    return problems.answer(problems.problem(status, result.reason or "refused", result.detail, field=result.field))


def _json(status: int, value: object) -> Response[bytes]:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")
