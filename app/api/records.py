"""Lots' records that are no money: stays, openings by hand, heartbeats, missing numbers, alarms.

Knows the form of requests and answers; must not know how records are kept. Mounted by ``app.api``.
"""

from collections.abc import Sequence
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
from payments.lot_records import alarms, heartbeats, intake, numbers, openings, stays
from payments.lot_records.alarms import LIMIT_MAX, Alarm, AlarmKind
from payments.lot_records.heartbeats import Heard, Heartbeat
from payments.lot_records.intake import Answer
from payments.lot_records.numbers import GAPS_MAX, Gap, Series
from payments.lot_records.openings import NewOpening, OpeningDay
from payments.lot_records.stays import NewStay, StayAnswer

_stays: Final = bulk.Reader(NewStay, most=intake.RECORDS_MAX, words="stays")
_openings: Final = bulk.Reader(NewOpening, most=intake.RECORDS_MAX, words="openings")
_heartbeat: Final = msgspec.json.Decoder(Heartbeat)


class SeriesView(Struct, frozen=True):
    """Where a lot's count of one kind stands; ``missing`` numbers are in its gaps."""

    series: Series
    last_number: int
    missing: int
    heard_at: datetime


class GapsView(Struct, frozen=True):
    """A lot's counts, and what is missing of them."""

    series: Sequence[SeriesView]
    gaps: Sequence[Gap]


def _single_and_many(kind: type[Struct], words: str) -> dict[int, ResponseSpec]:
    return {
        200: ResponseSpec(kind, description=f"One: it was posted before, or it is completed now. {words}"),
        201: ResponseSpec(kind, description="One: it is kept now"),
        207: ResponseSpec(list[kind], description="A list: one answer for each, in order; good ones stand"),  # type: ignore[valid-type]
    }


@post(
    "/v1/lots/{lot_code:str}/stays",
    sync_to_thread=True,
    status_code=207,
    tags=["lots"],
    summary="Post cars that came and went",
    request_max_body_size=bulk.BYTES_MAX,
    responses=_single_and_many(StayAnswer, "Nothing was edited."),
)
def post_stays(
    wiring: Wired, caller: Called, request: Request[Any, Any, Any], lot_code: FromPath[str], body: RawBody
) -> Response[bytes]:
    """Take a stay, a list of them, or a line for each (``application/x-ndjson``): once when the car comes, once when it goes.

    The second post has the same ``serial`` and adds ``left_at``. Posting the same again is harmless: a client that lost an answer
    posts the call again. ``exit_unknown`` names older stays of the plate that nobody ended.
    """
    _check_writer(caller)
    given = _stays.read(request, body)
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        answers = stays.post(tx, lane=wiring.lane, lot=lot, stays=given.good, at=wiring.clock.now(), ids=wiring.ids)
    return given.answer(answers, _refused_stay)


@post(
    "/v1/lots/{lot_code:str}/openings",
    sync_to_thread=True,
    status_code=207,
    tags=["lots"],
    summary="Post barriers that were opened by hand",
    request_max_body_size=bulk.BYTES_MAX,
    responses=_single_and_many(Answer, "Nothing was edited."),
)
def post_openings(
    wiring: Wired, caller: Called, request: Request[Any, Any, Any], lot_code: FromPath[str], body: RawBody
) -> Response[bytes]:
    """Take an opening, a list of them, or a line for each. Each has its reason; posting the same again is harmless."""
    _check_writer(caller)
    given = _openings.read(request, body)
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        answers = openings.post(tx, lane=wiring.lane, lot=lot, openings=given.good, at=wiring.clock.now(), ids=wiring.ids)
    return given.answer(answers, refused)


@get("/v1/lots/{lot_code:str}/openings", sync_to_thread=True, tags=["lots"], summary="Ask for the openings of days")
def get_openings(
    wiring: Wired, caller: Called, lot_code: FromPath[str], first: Annotated[date, QueryParameter()],
    last: Annotated[date, QueryParameter()],
) -> list[OpeningDay]:  # fmt: skip
    """Return openings by hand beside the cars that left, for each day from ``first`` to ``last`` (China)."""
    with wiring.db.connect() as tx:
        return openings.days(tx, lot=auth.own_lot(tx, caller=caller, code=lot_code), first=first, last=last)


@post(
    "/v1/lots/{lot_code:str}/heartbeats",
    sync_to_thread=True,
    status_code=200,
    tags=["lots"],
    summary="Say that the lot's system lives",
)
def post_heartbeat(wiring: Wired, caller: Called, lot_code: FromPath[str], body: RawBody) -> Heard:
    """Take a sign of life with the state of the lanes; the answer says how far the clock is off, and when the next is expected."""
    _check_writer(caller)
    heartbeat = bulk.whole(body, _heartbeat)
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        return heartbeats.hear(tx, lot=lot, heartbeat=heartbeat, at=wiring.clock.now())


@get("/v1/lots/{lot_code:str}/record-gaps", sync_to_thread=True, tags=["lots"], summary="Ask which numbers are missing")
def get_gaps(
    wiring: Wired, caller: Called, lot_code: FromPath[str],
    limit: Annotated[int, QueryParameter(ge=1, le=GAPS_MAX)] = GAPS_MAX,
) -> GapsView:  # fmt: skip
    """Return where the lot's counts stand, and what is missing of them, the smallest numbers first."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        counts = numbers.counts(tx, lot_id=lot.lot_id)
        gaps = numbers.gaps(tx, lot_id=lot.lot_id, limit=limit)
    return GapsView([SeriesView(one.series, one.last_number, one.missing, one.heard_at) for one in counts], gaps)


@get("/v1/alarms", sync_to_thread=True, tags=["supervision"], summary="Ask for alarms of lots")
def get_alarms(
    wiring: Wired, caller: Called, kind: Annotated[AlarmKind | None, QueryParameter()] = None,
    which: Annotated[Literal["open", "closed", "all"], QueryParameter(name="state")] = "open",
    limit: Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX)] = 100,
) -> list[Alarm]:  # fmt: skip
    """Return alarms of the caller's lots, the latest first: silence, missing numbers, lanes offline, too many openings by hand."""
    is_open = None if which == "all" else which == "open"
    with wiring.db.connect() as tx:
        return alarms.alarms(tx, **_scope(caller), kind=kind, is_open=is_open, limit=limit)


def _scope(caller: Caller) -> dict[str, Any]:
    """Return what a caller sees: its lot, its operator's lots, those of its district, or all."""
    match caller.scope:
        case "lot":
            return {"lot_id": caller.lot_id}
        case "operator":
            return {"operator_id": caller.operator_id}
        case "district":
            return {"district": caller.district}
        case "city":
            return {}


def _check_writer(caller: Caller) -> None:
    """Raise NotAllowed (``read_only``) for supervisors."""
    if not caller.may_write:
        raise NotAllowed("this client may read, not post", code="read_only")


def refused(wrong: Wrong) -> Answer:
    """Return the answer to a record that has not the form of one."""
    return Answer(serial=wrong.serial, outcome="refused", reason=Malformed.code, field=wrong.field, detail=wrong.detail)


def _refused_stay(wrong: Wrong) -> StayAnswer:
    return StayAnswer(serial=wrong.serial, outcome="refused", reason=Malformed.code, field=wrong.field, detail=wrong.detail)
