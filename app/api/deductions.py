"""Deductions: a lot tells of a car that came, and lets its charge be taken by the plate's mandate.

Knows the form of requests and answers; must not know how channels are asked. Mounted by ``app.api``. Nothing about a payer leaves
here but whether a plate may be deducted.
"""

from datetime import datetime
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from litestar import Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RawBody
from msgspec import Meta, Struct

from app import auth
from app.api.charges import Malformed
from app.auth import Called, Caller
from app.wiring import Wired, Wiring
from ledger.errors import NotAllowed
from payments.lots import Lot
from payments.mandates import deductions, entrances
from payments.mandates.deductions import State
from payments.mandates.entrances import NewEntrance
from payments.plates import PlateColor


class EntranceIn(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A car that came. ``serial`` is the lot's own number of the entrance: the same again is the same entrance."""

    serial: Annotated[str, Meta(min_length=1, max_length=64)]
    plate: Annotated[str, Meta(min_length=1, max_length=32)]
    plate_color: PlateColor = "unknown"
    entered_at: datetime
    free_minutes: Annotated[int, Meta(ge=0, le=entrances.FREE_MINUTES_MAX)] = 0


class ChannelTold(Struct, frozen=True):
    """Whether a channel may deduct from the plate when the car leaves; ``unknown``: post the entrance again."""

    channel: str
    state: Literal["open", "none", "unknown"]


class EntranceView(Struct, frozen=True):
    """An entrance that is kept, with the channels that were told of it."""

    serial: str
    channels: tuple[ChannelTold, ...]


class DeductIn(Struct, frozen=True, forbid_unknown_fields=True):
    """How to deduct. Without a channel those are tried that may, the next only after a proven refusal."""

    channel: Annotated[str, Meta(min_length=1, max_length=32)] | None = None


class TriedView(Struct, frozen=True, kw_only=True):
    """What became of one channel, with the reason when it took no money."""

    channel: str
    state: State
    receipt: str | None
    reason: str | None


class DeductedView(Struct, frozen=True, kw_only=True):
    """What became of a charge.

    ``succeeded``: paid, ``receipt`` is the payment's number. ``pending``: the channel has taken the charge on, which is when a
    barrier may open where the lot accepts that. ``failed``: refused. ``unknown``: it may have been made, ask again. ``none``: no
    channel could be asked.
    """

    charge_serial: str
    state: State
    channel: str | None
    receipt: str | None
    tried: tuple[TriedView, ...]


T = TypeVar("T")
_entrance: Final = msgspec.json.Decoder(EntranceIn)
_deduct: Final = msgspec.json.Decoder(DeductIn)


@post(
    "/v1/lots/{lot_code:str}/entrances",
    sync_to_thread=True,
    status_code=201,
    tags=["lots"],
    summary="Tell of a car that came",
    responses={
        200: ResponseSpec(EntranceView, description="It was told before; channels that had not answered were told again"),
        201: ResponseSpec(EntranceView, description="Kept, and told to the channels that want to know"),
    },
)
def post_entrance(wiring: Wired, caller: Called, lot_code: FromPath[str], body: RawBody) -> Response[bytes]:
    """Keep a car that came and tell the channels that deduct by plate. Posting the same again is harmless.

    409 ``entrance_conflict`` when the serial is taken by another car or time.
    """
    told = _read(_entrance, body, "an entrance")
    lot = _lot(wiring, caller, lot_code)
    entrance = NewEntrance(
        lot_serial=told.serial, plate=told.plate, plate_color=told.plate_color, entered_at=told.entered_at,
        free_minutes=told.free_minutes,
    )  # fmt: skip
    made = entrances.record(wiring.till(), lot=lot, entrance=entrance)
    view = EntranceView(made.lot_serial, tuple(ChannelTold(one.channel, one.state) for one in made.channels))
    return _json(201 if made.created else 200, view)


@post(
    "/v1/lots/{lot_code:str}/charges/{serial:str}/deduct",
    sync_to_thread=True,
    status_code=200,
    tags=["lots"],
    summary="Take a charge by the plate's mandate",
    responses={200: ResponseSpec(DeductedView, description="What became of it, for each channel that was tried")},
)
def post_deduct(
    wiring: Wired, caller: Called, lot_code: FromPath[str], serial: FromPath[str], body: RawBody
) -> Response[bytes]:  # fmt: skip
    """Take a charge that was posted before from the plate's account, out of the lot's hands. The body may be empty.

    Asking again is harmless: it tells where the same deduction stands. 409 ``payment_under_way`` while a payer is paying by hand,
    ``deduction_under_way`` while another channel is at it, ``charge_settled`` when it was paid otherwise.
    """
    wanted = _read(_deduct, body, "a deduction") if body.strip() else DeductIn()
    lot = _lot(wiring, caller, lot_code)
    made = deductions.deduct(wiring.till(), lot_id=lot.lot_id, lot_serial=serial, channel=wanted.channel)
    tried = tuple(
        TriedView(channel=one.channel, state=one.state, receipt=one.receipt, reason=one.reason) for one in made.tried
    )  # fmt: skip
    view = DeductedView(charge_serial=made.lot_serial, state=made.state, channel=made.channel, receipt=made.receipt, tried=tried)
    return _json(200, view)


def _read(decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as wrong:
        raise Malformed(f"the body is not {what}: {wrong}") from None


def _lot(wiring: Wiring, caller: Caller, code: str) -> Lot:
    """Return the caller's lot, for those who may write."""
    if not caller.may_write:
        raise NotAllowed("this client may read, not deduct", code="read_only")
    with wiring.db.connect() as tx:
        return auth.own_lot(tx, caller=caller, code=code)


def _json(status: int, value: object) -> Response[bytes]:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")
