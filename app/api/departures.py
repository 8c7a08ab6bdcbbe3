"""Departures: a lot asks whether a barrier may open, and tells of cars that have gone.

Knows the form of requests and answers; must not know how anything is decided. Mounted by ``app.api``.
"""

from datetime import datetime
from typing import Annotated, Any, Final

from litestar import Request, Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RawBody
from msgspec import Meta, Struct

from app import auth
from app.api import bulk
from app.auth import Called, Caller
from app.wiring import Wired, Wiring
from ledger.errors import NotAllowed
from payments.lots import Lot, Scene
from payments.owed import departures
from payments.owed.departures import Departed, Departure, Stay
from payments.plates import PlateColor
from payments.records import NewCharge


class DepartureIn(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A car that wants to leave, or has left (``gone``). ``serial`` is the lot's own number of the charge.

    Nothing more: the charge was posted before. With ``amount_fen`` the charge comes with it, as it would be posted. With ``plate``
    and ``entered_at`` but without ``amount_fen`` the stay is priced here, by the tariff that counts for the lot.
    """

    serial: Annotated[str, Meta(min_length=1, max_length=64)]
    left_at: datetime
    gone: bool = False
    plate: str | None = None
    plate_color: PlateColor = "unknown"
    entered_at: datetime | None = None
    minutes: int | None = None
    amount_fen: Annotated[int, Meta(ge=0)] | None = None
    tariff_text: str = ""
    scene: Scene | None = None


_reader: Final = bulk.Reader(DepartureIn, most=departures.DEPARTURES_MAX, words="cars")


@post(
    "/v1/lots/{lot_code:str}/departures",
    sync_to_thread=True,
    status_code=207,
    tags=["lots"],
    request_max_body_size=bulk.BYTES_MAX,
    summary="Ask whether a barrier may open, or tell of cars that have gone",
    responses={
        200: ResponseSpec(Departed, description="One car: whether the barrier may open"),
        207: ResponseSpec(list[Departed], description="Cars that have gone: one result for each, in order; good ones stand"),
    },
)
def post_departures(
    wiring: Wired, caller: Called, request: Request[Any, Any, Any], lot_code: FromPath[str], body: RawBody
) -> Response[bytes]:
    """Take a departure object, or a list (or lines) of up to 10,000 of cars that have gone. Telling the same again is harmless.

    One car: its charge is deducted where a mandate allows that, else the rule of leaving first decides. A list: what is due becomes
    a debt of each plate; a mandate is used within moments.
    """
    given = _reader.read(request, body)
    lot, till = _lot(wiring, caller, lot_code), wiring.till()
    read = [_departure_of(one) for one in given.good]
    cars = [one for one in read if isinstance(one, Departure)]
    if given.many:
        told = iter(departures.depart_many(till, lot=lot, departures=cars, body=body))
    else:
        told = iter([departures.depart(till, lot=lot, departure=one, body=body) for one in cars])
    return given.answer([next(told) if isinstance(one, Departure) else one for one in read], _wrong)


def _departure_of(given: DepartureIn) -> Departure | Departed:
    """Return a departure, or its refusal when the charge that comes with it is not a whole one."""
    if given.amount_fen is None:
        return Departure(charge_serial=given.serial, left_at=given.left_at, gone=given.gone, stay=_stay(given))
    if given.plate is None or given.entered_at is None:
        missing = "plate" if given.plate is None else "entered_at"
        detail = "a charge that comes with a departure needs plate and entered_at"
        return Departed(serial=given.serial, outcome="refused", reason="malformed", field=missing, detail=detail)
    charge = NewCharge(
        lot_serial=given.serial, plate=given.plate, plate_color=given.plate_color, entered_at=given.entered_at,
        left_at=given.left_at, minutes=_minutes(given, given.entered_at), amount_fen=given.amount_fen,
        tariff_text=given.tariff_text, scene=given.scene,
    )  # fmt: skip
    return Departure(charge_serial=given.serial, left_at=given.left_at, gone=given.gone, charge=charge)


def _stay(given: DepartureIn) -> Stay | None:
    if given.plate is None or given.entered_at is None:
        return None
    return Stay(plate=given.plate, plate_color=given.plate_color, entered_at=given.entered_at)


def _minutes(given: DepartureIn, entered_at: datetime) -> int:
    """Return the minutes charged for; the whole stay where the lot does not say. Times without offset are refused further down."""
    if given.minutes is not None or (given.left_at.tzinfo is None) != (entered_at.tzinfo is None):
        return given.minutes or 0
    return max(0, int((given.left_at - entered_at).total_seconds()) // 60)


def _wrong(one: bulk.Wrong) -> Departed:
    return Departed(serial=one.serial, outcome="refused", reason="malformed", field=one.field, detail=one.detail)


def _lot(wiring: Wiring, caller: Caller, code: str) -> Lot:
    """Return the caller's lot, for those who may write."""
    if not caller.may_write:
        raise NotAllowed("this client may read, not let cars leave", code="read_only")
    with wiring.db.connect() as tx:
        return auth.own_lot(tx, caller=caller, code=code)
