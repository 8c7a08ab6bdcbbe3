"""Old codes of lots, whose a scanned code is, and how far the city is on the way to one code.

Knows the form of requests and answers; must not know how codes are kept. Mounted by ``app.api``.
"""

from datetime import date
from typing import Annotated, Any, Final

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
from ledger.clock import business_date
from ledger.errors import NotAllowed
from payments.lot_records import intake
from payments.lot_records.intake import Answer
from payments.rollout import legacy_codes, progress
from payments.rollout.legacy_codes import NewLegacyCode, Whose
from payments.rollout.progress import Behind, Progress

_codes: Final = bulk.Reader(NewLegacyCode, most=intake.RECORDS_MAX, words="codes")


class Lookup(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A scanned code, as a scanner reads it. With ``lot`` (a lot's code) it is asked whether it may hang there."""

    payload: str
    lot: str | None = None
    day: date | None = None
    """None: today in China."""


class Rollout(Struct, frozen=True, kw_only=True):
    """Who is where on a day: per district and kind of operator, and the lots that are behind."""

    day: date
    rows: list[Progress]
    overdue: list[Behind]


_lookup: Final = msgspec.json.Decoder(Lookup)


@post(
    "/v1/lots/{lot_code:str}/legacy-codes",
    sync_to_thread=True,
    status_code=207,
    tags=["lots"],
    summary="Register codes that hung at a lot before the city's",
    request_max_body_size=bulk.BYTES_MAX,
    responses={
        200: ResponseSpec(Answer, description="One: it was posted before, or it has its last day now"),
        201: ResponseSpec(Answer, description="One: it is registered now"),
        207: ResponseSpec(list[Answer], description="A list: one answer for each, in order; good ones stand"),
    },
)
def post_legacy_codes(
    wiring: Wired, caller: Called, request: Request[Any, Any, Any], lot_code: FromPath[str], body: RawBody
) -> Response[bytes]:
    """Take a code, a list of them, or a line for each; posting it again is harmless. With a ``last_day`` it ends.

    A code that another operator has registered is refused: one code is never two operators'.
    """
    if not caller.may_write:
        raise NotAllowed("this client may read, not post", code="read_only")
    given = _codes.read(request, body)
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        answers = legacy_codes.post(
            tx, lane=wiring.lane, lot=lot, codes=given.good, body=body, at=wiring.clock.now(), ids=wiring.ids
        )
    return given.answer(answers, _refused)


@post("/v1/codes/lookup", sync_to_thread=True, status_code=200, tags=["city"], summary="Ask whose a scanned code is")
def look_up_code(wiring: Wired, caller: Called, body: RawBody) -> Whose:
    """Return whose a code is and whether it may hang at a lot, or anywhere, on a day (today in China). For the city's clients."""
    _check_city(caller)
    asked = bulk.whole(body, _lookup)
    with wiring.db.connect() as tx:
        lot = None if asked.lot is None else auth.own_lot(tx, caller=caller, code=asked.lot)
        return legacy_codes.whose(tx, payload=asked.payload, day=asked.day or business_date(wiring.clock.now()), lot=lot)


@get("/v1/rollout", sync_to_thread=True, tags=["city"], summary="Ask how far the city is on the way to one code")
def get_rollout(wiring: Wired, caller: Called, day: Annotated[date | None, QueryParameter()] = None) -> Rollout:
    """Return per district and kind of operator how many lots have the city's code, take money on old ones, and are behind.

    The city's clients see all districts, a district's its own. ``day`` is today in China unless it is given.
    """
    if caller.scope not in ("city", "district"):
        raise NotAllowed("the rollout is read by clients of the city or of a district", code="scope_refused")
    on = day or business_date(wiring.clock.now())
    with wiring.db.connect() as tx:
        rows = progress.report(tx, day=on, district=caller.district)
        behind = progress.overdue(tx, day=on, district=caller.district)
    return Rollout(day=on, rows=rows, overdue=behind)


def _check_city(caller: Caller) -> None:
    if caller.scope != "city":
        raise NotAllowed("codes are looked up by clients of the city", code="scope_refused")


def _refused(wrong: Wrong) -> Answer:
    return Answer(serial=wrong.serial, outcome="refused", reason=Malformed.code, field=wrong.field, detail=wrong.detail)
