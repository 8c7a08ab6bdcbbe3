"""Charges in, events out: what a lot's parking system posts and pulls.

Knows the form of requests and answers; must not know how charges are kept. Mounted by ``app.api``.
"""

from datetime import datetime
from typing import Annotated, Any, Final

from litestar import Request, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, Parameter, RawBody
from msgspec import Struct

from app import auth
from app.api import bulk
from app.api.bulk import Malformed
from app.auth import Called
from app.wiring import Wired
from ledger.errors import NotAllowed
from ledger.ids import payment_number
from payments import charges, events, plates
from payments.discounts import effects as discounts
from payments.events import EVENTS_MAX, START, EventPage
from payments.records import ChargeState, NewCharge, Posted

__all__ = ["Malformed"]

_reader: Final = bulk.Reader(NewCharge, most=charges.CHARGES_MAX, serial="lot_serial", words="charges")


class ChargeView(Struct, frozen=True, kw_only=True):
    """A charge as its lot may ask for it again; the plate is masked. ``receipt`` is the number of the payment that settled it."""

    lot_serial: str
    state: ChargeState
    plate: str
    entered_at: datetime
    left_at: datetime | None
    minutes: int
    amount_fen: int
    settled_at: datetime | None
    receipt: str | None


@post(
    "/v1/lots/{lot_code:str}/charges",
    sync_to_thread=True,
    status_code=207,
    tags=["lots"],
    summary="Post one charge or many",
    request_max_body_size=bulk.BYTES_MAX,
    responses={
        200: ResponseSpec(Posted, description="One charge: it was posted before with the same content"),
        201: ResponseSpec(Posted, description="One charge: it is due now"),
        207: ResponseSpec(list[Posted], description="A list of charges: one result for each, in order; good ones stand"),
    },
)
def post_charges(
    wiring: Wired, caller: Called, request: Request[Any, Any, Any], lot_code: FromPath[str], body: RawBody
) -> Response[bytes]:
    """Take a charge object, or a list of them, or a line for each (``application/x-ndjson``), of one lot.

    Posting the same charge again is harmless. One charge refused is a problem with its ``field``: 409 ``content_differs`` when
    the serial is taken by other content, else 422. In a list each has its own result and the good ones stand.
    """
    given = _reader.read(request, body)
    if not caller.may_write:
        raise NotAllowed("this client may read, not post", code="read_only")
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        posted = charges.post(
            tx, lane=wiring.lane, lot=lot, charges=given.good, at=wiring.clock.now(), ids=wiring.ids, body=body
        )  # fmt: skip
        numbers = [plates.normalised(one.plate) for one, told in zip(given.good, posted, strict=True) if told.outcome == "created"]
        if numbers:
            discounts.meet(tx, lane=wiring.lane, lot_id=lot.lot_id, numbers=numbers, at=wiring.clock.now(), ids=wiring.ids)
    return given.answer(posted, _refused)


@get("/v1/lots/{lot_code:str}/charges/{serial:str}", sync_to_thread=True, tags=["lots"], summary="Ask for a charge")
def get_charge(wiring: Wired, caller: Called, lot_code: FromPath[str], serial: FromPath[str]) -> ChargeView:
    """Return a charge of the lot and whether it is paid."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        charge = charges.by_serial(tx, lane=wiring.lane, lot_id=lot.lot_id, lot_serial=serial)
    return ChargeView(
        lot_serial=charge.lot_serial, state=charge.state, plate=plates.masked(charge.plate), entered_at=charge.entered_at,
        left_at=charge.left_at, minutes=charge.minutes, amount_fen=charge.amount_fen, settled_at=charge.settled_at,
        receipt=None if charge.settled_by is None else payment_number(charge.lane, charge.settled_by),
    )  # fmt: skip


@get("/v1/lots/{lot_code:str}/events", sync_to_thread=True, tags=["lots"], summary="Pull events")
def get_events(
    wiring: Wired,
    caller: Called,
    lot_code: FromPath[str],
    after: Annotated[str, Parameter(description="Cursor of the last event read; leave it out to begin")] = START,
    limit: Annotated[int, Parameter(ge=1, le=EVENTS_MAX)] = 100,
) -> EventPage:
    """Return the lot's events after a cursor, oldest first. No event is ever skipped; asking again is harmless."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        return events.read(tx, lane=wiring.lane, lot_id=lot.lot_id, after=after, limit=limit)


def _refused(wrong: bulk.Wrong) -> Posted:
    return Posted(lot_serial=wrong.serial, outcome="refused", reason=Malformed.code, field=wrong.field, detail=wrong.detail)
