"""Takings by hand, what is handed back of them, bank slips and tills, as lots post them and ask for them.

Knows the form of requests and answers; must not know how money is booked. Mounted by ``app.api``.
"""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter, RawBody
from msgspec import Struct

from app import auth
from app.api import bulk
from app.api.bulk import Malformed, Wrong
from app.auth import Called, Caller
from app.wiring import Wired
from ledger.errors import NotAllowed
from ledger.ids import payment_number, refund_number
from payments.lot_records import intake, returns, takings
from payments.lot_records.returns import OWING_MAX, NewReturn, ReturnAnswer
from payments.lot_records.takings import NewSlip, NewTaking, SlipAnswer, TakingAnswer, Till

_takings: Final = bulk.Reader(NewTaking, most=intake.RECORDS_MAX, words="takings")
_slip: Final = msgspec.json.Decoder(NewSlip)
_returns: Final = bulk.Reader(NewReturn, most=intake.RECORDS_MAX, words="hand-backs")


class ReturnOwed(Struct, frozen=True, kw_only=True):
    """What a lot owes a driver and has not reported as handed back.

    ``receipt`` is the number of the payment, ``asked_for`` the credit note, the lot's own number of the refund, or the case.
    """

    refund: str
    receipt: str
    charge_serial: str
    channel: Literal["cash", "legacy"]
    amount_fen: int
    asked_for: str
    promised_at: datetime


@post(
    "/v1/lots/{lot_code:str}/takings",
    sync_to_thread=True,
    status_code=207,
    tags=["lots"],
    summary="Post what was taken in cash or over an old code",
    request_max_body_size=bulk.BYTES_MAX,
    responses={
        200: ResponseSpec(TakingAnswer, description="One: it was posted before with the same content"),
        201: ResponseSpec(TakingAnswer, description="One: it is booked now"),
        207: ResponseSpec(list[TakingAnswer], description="A list: one answer for each, in order; good ones stand"),
    },
)
def post_takings(
    wiring: Wired, caller: Called, request: Request[Any, Any, Any], lot_code: FromPath[str], body: RawBody
) -> Response[bytes]:
    """Take a taking, a list of them, or a line for each. With ``charge_serial`` it pays that charge; posting it again is harmless.

    What is paid twice, or with another amount than is due at the gate, lies in suspense and waits for a person: see ``treatment``.
    """
    _check_writer(caller)
    given = _takings.read(request, body)
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        answers = takings.post(
            tx, lane=wiring.lane, lot=lot, takings=given.good, body=body, at=wiring.clock.now(), ids=wiring.ids,
            tokens=wiring.link_tokens,
        )  # fmt: skip
    return given.answer(answers, _refused)


@post(
    "/v1/lots/{lot_code:str}/cash-slips",
    sync_to_thread=True,
    tags=["lots"],
    summary="Post cash that was brought to the bank",
    responses={
        200: ResponseSpec(SlipAnswer, description="It was posted before with the same content"),
        201: ResponseSpec(SlipAnswer, description="It is booked now"),
    },
)
def post_cash_slip(wiring: Wired, caller: Called, lot_code: FromPath[str], body: RawBody) -> Response[bytes]:
    """Take a bank slip: the till of the lot is empty by as much. Never more than it holds; posting the same again is harmless."""
    _check_writer(caller)
    slip = bulk.whole(body, _slip)
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        told = takings.bring_to_bank(tx, lane=wiring.lane, lot=lot, slip=slip, body=body, at=wiring.clock.now(), ids=wiring.ids)
    status = 201 if told.outcome == "created" else 200
    return Response(msgspec.json.encode(told), status_code=status, media_type="application/json")


@get("/v1/lots/{lot_code:str}/till", sync_to_thread=True, tags=["lots"], summary="Ask for a lot's till")
def get_till(
    wiring: Wired, caller: Called, lot_code: FromPath[str], first: Annotated[date, QueryParameter()],
    last: Annotated[date, QueryParameter()],
) -> Till:  # fmt: skip
    """Return what the till holds now, and what moved on each day from ``first`` to ``last`` (China): the day close of cash."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        return takings.till(tx, lane=wiring.lane, lot=lot, first=first, last=last)


@post(
    "/v1/lots/{lot_code:str}/returns",
    sync_to_thread=True,
    status_code=207,
    tags=["lots"],
    summary="Post what was handed back of cash or of an old code's money",
    request_max_body_size=bulk.BYTES_MAX,
    responses={
        200: ResponseSpec(ReturnAnswer, description="One: it was posted before with the same content"),
        201: ResponseSpec(ReturnAnswer, description="One: it is booked now"),
        207: ResponseSpec(list[ReturnAnswer], description="A list: one answer for each, in order; good ones stand"),
    },
)
def post_returns(
    wiring: Wired, caller: Called, request: Request[Any, Any, Any], lot_code: FromPath[str], body: RawBody
) -> Response[bytes]:
    """Take a hand-back, a list of them, or a line for each: a refund of what was taken by hand is done. Again is harmless.

    It names the refund, or the charge. More or less than was promised, a refund that was handed back before, one that is not the
    lot's, and more cash than the till holds are refused by themselves.
    """
    _check_writer(caller)
    given = _returns.read(request, body)
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        answers = returns.post(tx, lane=wiring.lane, lot=lot, returns=given.good, body=body, at=wiring.clock.now(), ids=wiring.ids)
    return given.answer(answers, _return_refused)


@get("/v1/lots/{lot_code:str}/returns/owed", sync_to_thread=True, tags=["lots"], summary="Ask what a lot has to hand back")
def get_returns_owed(
    wiring: Wired, caller: Called, lot_code: FromPath[str], limit: Annotated[int, QueryParameter()] = OWING_MAX
) -> list[ReturnOwed]:
    """Return what was promised of money taken by hand and is not reported as handed back, the oldest first."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        found = returns.owing(tx, lane=wiring.lane, lot=lot, limit=limit)
    return [
        ReturnOwed(
            refund=refund_number(wiring.lane, one.refund_id), receipt=payment_number(wiring.lane, one.payment_id),
            charge_serial=one.charge_serial, channel=one.channel, amount_fen=one.amount_fen, asked_for=one.source_ref,
            promised_at=one.promised_at,
        )
        for one in found
    ]  # fmt: skip


def _check_writer(caller: Caller) -> None:
    """Raise NotAllowed (``read_only``) for supervisors."""
    if not caller.may_write:
        raise NotAllowed("this client may read, not post", code="read_only")


def _refused(wrong: Wrong) -> TakingAnswer:
    return TakingAnswer(serial=wrong.serial, outcome="refused", reason=Malformed.code, field=wrong.field, detail=wrong.detail)


def _return_refused(wrong: Wrong) -> ReturnAnswer:
    return ReturnAnswer(serial=wrong.serial, outcome="refused", reason=Malformed.code, field=wrong.field, detail=wrong.detail)
