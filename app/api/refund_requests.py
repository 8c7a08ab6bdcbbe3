"""What drivers ask back: lots list the requests and answer them.

Knows the form of requests and answers; must not know how money goes back. Mounted by ``app.api``.
"""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromPath, QueryParameter, RawBody
from msgspec import Meta, Struct

from app import auth
from app.api.charges import Malformed
from app.auth import Called
from app.wiring import Wired
from gateways import messages
from ledger.errors import NotAllowed
from ledger.ids import payment_number, refund_number
from payments.refunding import requests
from payments.refunding.request_store import Reason, Request, State
from payments.refunding.requests import ANSWER_LETTERS_MAX

LIMIT_MAX: Final = 500


class RequestView(Struct, frozen=True, kw_only=True):
    """A driver's request. ``left_fen`` is what of the payment could still go back, ``refund`` the number of what was promised."""

    request: str
    charge_serial: str
    receipt: str
    channel: str
    paid_at: datetime
    taken_fen: int
    left_fen: int
    reason: Reason
    words: str
    asked_at: datetime
    answer_until: datetime
    state: State
    amount_fen: int | None
    refund: str | None
    answer: str | None
    answered_at: datetime | None


class RequestAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """The lot's answer. ``amount_fen``: accepted for a part; without it all that is left. ``words`` are read by the driver."""

    decision: Literal["accept", "decline"]
    words: Annotated[str, Meta(max_length=ANSWER_LETTERS_MAX)] = ""
    amount_fen: Annotated[int, Meta(ge=1, le=1_000_000_000_000)] | None = None


_answer: Final = msgspec.json.Decoder(RequestAnswer).decode
_PATH: Final = "/v1/lots/{lot_code:str}/refund-requests"


@get(_PATH, sync_to_thread=True, tags=["lots"], summary="What drivers ask back")
def get_refund_requests(
    wiring: Wired,
    caller: Called,
    lot_code: FromPath[str],
    wanted: Annotated[State | None, QueryParameter(name="state", description="Only these")] = None,
    after: Annotated[UUID | None, QueryParameter(description="`request` of the last one read")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX)] = 100,
) -> list[RequestView]:
    """Return the lot's requests in the order in which drivers made them."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        found = requests.of_lot(tx, lane=wiring.lane, lot_id=lot.lot_id, state=wanted, after=after, limit=limit)
    return [_view(one) for one in found]


@post(_PATH + "/{request_id:uuid}", sync_to_thread=True, status_code=200, tags=["lots"], summary="Answer a driver's refund request")
def post_refund_answer(
    wiring: Wired, caller: Called, lot_code: FromPath[str], request_id: FromPath[UUID], body: RawBody
) -> RequestView:  # fmt: skip
    """Accept a request, so that the refund is promised out of the operator's own merchant account, or decline it in words.

    The same answer again is harmless. 409 ``refund_request_over`` when it was answered otherwise, 422 ``refund_exceeds`` when less
    is left of the payment.
    """
    try:
        said = _answer(body)
    except msgspec.DecodeError as wrong:
        raise Malformed(f"the body is no answer: {wrong}") from None
    if not caller.may_write:
        raise NotAllowed("this client may read, not answer", code="read_only")
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        occasion = f"{caller.client_id} {request_id}"
        evidence = messages.from_lot(operation="refund_answer", body=body, at=at, ids=wiring.ids, occasion=occasion)
        messages.keep(tx, lane=wiring.lane, messages=[evidence])
        if said.decision == "accept":
            answered = requests.accept(
                tx, lane=wiring.lane, lot_id=lot.lot_id, request_id=request_id, amount_fen=said.amount_fen, words=said.words,
                by=caller.client_id, evidence_id=evidence.message_id, at=at, ids=wiring.ids,
            )  # fmt: skip
        else:
            answered = requests.decline(
                tx, lane=wiring.lane, lot_id=lot.lot_id, request_id=request_id, words=said.words, by=caller.client_id,
                evidence_id=evidence.message_id, at=at,
            )  # fmt: skip
    return _view(answered)


def _view(one: Request) -> RequestView:
    return RequestView(
        request=one.request_id.hex, charge_serial=one.lot_serial, receipt=payment_number(one.lane, one.payment_id),
        channel=one.channel, paid_at=one.paid_at, taken_fen=one.taken_fen, left_fen=one.left_fen, reason=one.reason,
        words=one.words, asked_at=one.asked_at, answer_until=one.answer_until, state=one.state, amount_fen=one.amount_fen,
        refund=None if one.refund_id is None else refund_number(one.lane, one.refund_id), answer=one.answer,
        answered_at=one.answered_at,
    )  # fmt: skip
