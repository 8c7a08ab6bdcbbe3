"""Refunds in: what a lot's or an operator's system asks to be given back, and what became of it.

Knows the form of requests and answers; must not know how refunds are made. Mounted by ``app.api``.
"""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RawBody
from msgspec import Meta, Struct
from sqlalchemy import Connection

from app import auth
from app.api.charges import Malformed
from app.auth import Called, Caller
from app.wiring import Wired, Wiring
from gateways import messages
from gateways.contract import RawMessage
from ledger.errors import NotAllowed
from payments.lots import Lot
from payments.refunding import refund_store, refunds
from payments.refunding.refund_store import Refund

REASON_LETTERS_MAX: Final = 26
"""What every channel shows to the payer: 80 bytes of Chinese."""


class RefundIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A refund as it is asked for. ``number`` is the asker's own: the same number again is the same refund."""

    number: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_\-]+$")]
    amount_fen: Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_LETTERS_MAX)] = "停车费退款"


class RefundView(Struct, frozen=True, kw_only=True):
    """A refund and where it stands.

    ``promised``: accepted, on its way to the channel. ``pending``: the channel works on it. ``done``: the money went back.
    ``closed``: not made; ask again under a new number. ``stuck``: the payer's account takes it no more, a person must decide.
    """

    refund: str
    number: str
    receipt: str
    state: Literal["promised", "pending", "stuck", "done", "closed"]
    amount_fen: int
    reason: str
    asked_at: datetime
    done_at: datetime | None


_asked: Final = msgspec.json.Decoder(RefundIn).decode
_PATH: Final = "/v1/lots/{lot_code:str}/payments/{receipt:str}/refunds"


@post(
    _PATH,
    sync_to_thread=True,
    status_code=201,
    tags=["lots"],
    summary="Refund a payment, in full or in part",
    responses={201: ResponseSpec(RefundView, description="Promised; the event refund.done tells when the money went back")},
)
def post_refund(
    wiring: Wired, caller: Called, lot_code: FromPath[str], receipt: FromPath[str], body: RawBody
) -> Response[bytes]:  # fmt: skip
    """Promise a refund out of the operator's own merchant account. Asking again with the same number is harmless.

    All refunds of a payment together never exceed what it took: 422 ``refund_exceeds`` says what is left. 409 ``refund_conflict``
    when the number was used with another amount.
    """
    try:
        asked = _asked(body)
    except msgspec.DecodeError as wrong:
        raise Malformed(f"the body is not a refund: {wrong}") from None
    if not caller.may_write:
        raise NotAllowed("this client may read, not refund", code="read_only")
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        payment_id = _payment(tx, wiring, lot, receipt)
        evidence = _request(wiring, caller, payment_id, body)
        messages.keep(tx, lane=wiring.lane, messages=[evidence])
        made = refunds.promise(
            tx, lane=wiring.lane, payment_id=payment_id, amount_fen=asked.amount_fen, source="operator", source_ref=asked.number,
            reason=asked.reason, evidence_id=evidence.message_id, at=at, ids=wiring.ids,
        )  # fmt: skip
    return Response(msgspec.json.encode(_view(made, receipt)), status_code=201, media_type="application/json")


@get(_PATH, sync_to_thread=True, tags=["lots"], summary="List a payment's refunds")
def get_refunds(wiring: Wired, caller: Called, lot_code: FromPath[str], receipt: FromPath[str]) -> list[RefundView]:
    """Return the refunds of a payment, the oldest first."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        payment_id = _payment(tx, wiring, lot, receipt)
        return [_view(one, receipt) for one in refund_store.of_payment(tx, lane=wiring.lane, payment_id=payment_id)]


def _payment(tx: Connection, wiring: Wiring, lot: Lot, receipt: str) -> UUID:
    return refunds.payment_of(tx, lane=wiring.lane, lot_id=lot.lot_id, receipt=receipt)


def _request(wiring: Wiring, caller: Caller, payment_id: UUID, body: bytes) -> RawMessage:
    """Make the record of the request: it is the evidence of the promise."""
    at = wiring.clock.now()
    return RawMessage(
        message_id=wiring.ids.new(at, f"message api refund {caller.client_id} {payment_id}", body),
        channel="api",
        operation="refund",
        direction="in",
        verdict="verified",
        reason=None,
        received_at=at,
        headers=msgspec.json.encode({"client": caller.client_id}).decode(),
        body=body,
        subject=payment_id,
    )


def _view(refund: Refund, receipt: str) -> RefundView:
    return RefundView(
        refund=refunds.number(refund), number=refund.source_ref, receipt=receipt, state=refund.state, amount_fen=refund.amount_fen,
        reason=refund.reason, asked_at=refund.created_at, done_at=refund.done_at,
    )  # fmt: skip
