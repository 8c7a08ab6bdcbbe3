"""Takings by hand, bank slips and tills, as lots post them and ask for them.

Knows the form of requests and answers; must not know how money is booked. Mounted by ``app.api``.
"""

from datetime import date
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter, RawBody

from app import auth
from app.api import bulk
from app.api.bulk import Malformed, Wrong
from app.auth import Called, Caller
from app.wiring import Wired
from ledger.errors import NotAllowed
from payments.lot_records import intake, takings
from payments.lot_records.takings import NewSlip, NewTaking, SlipAnswer, TakingAnswer, Till

_takings: Final = bulk.Reader(NewTaking, most=intake.RECORDS_MAX, words="takings")
_slip: Final = msgspec.json.Decoder(NewSlip)


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


def _check_writer(caller: Caller) -> None:
    """Raise NotAllowed (``read_only``) for supervisors."""
    if not caller.may_write:
        raise NotAllowed("this client may read, not post", code="read_only")


def _refused(wrong: Wrong) -> TakingAnswer:
    return TakingAnswer(serial=wrong.serial, outcome="refused", reason=Malformed.code, field=wrong.field, detail=wrong.detail)
