"""Pay codes for machines: a lot's registry, new codes for its places, and codes for screens.

Knows the form of requests and answers; must not know how codes are kept, signed or printed. Mounted by ``app.api``.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final, TypeVar

import msgspec
from litestar import Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter, RawBody
from msgspec import Meta, Struct
from sqlalchemy import Connection

from app import auth
from app.api.charges import Malformed
from app.auth import Called, Caller
from app.wiring import Wired, Wiring
from ledger.errors import NotAllowed
from payments import paycode
from payments.codes import registry, shown
from payments.codes.records import GOOD, Code, CodeState, Place, PlaceKind
from payments.lots import Lot
from payments.paycode import BasketCode, StayCode, WallCode

LIMIT_MAX: Final = 1_000
T = TypeVar("T")


class CodesIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Codes to be issued: one for each place. ``name`` is the lane's name or the berth's number, and left out for the whole lot."""

    batch: Annotated[str, Meta(min_length=1, max_length=200)]
    places: Annotated[list[Place], Meta(min_length=1, max_length=registry.CODES_MAX)]


class CodeView(Struct, frozen=True, kw_only=True):
    """A pay code. ``link`` is what its QR code says; null once it is not paid with any more. ``reports``: open cases."""

    number: int
    place: PlaceKind
    name: str
    state: CodeState
    successor: int | None
    batch: str
    changed_at: datetime
    link: str | None
    reports: int = 0


class CodePage(Struct, frozen=True):
    """Codes in the order of their numbers. ``next_after`` asks for those that follow; null: there are none."""

    codes: list[CodeView]
    next_after: int | None


class StayIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A charge that a screen lets its driver pay, by the lot's own serial."""

    serial: Annotated[str, Meta(min_length=1, max_length=64)]
    minutes: int = shown.MINUTES


class BasketIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Charges of this lot that a clerk's screen lets somebody pay together, by the lot's own serials."""

    serials: Annotated[list[str], Meta(min_length=1, max_length=shown.CHARGES_MAX)]
    minutes: int = shown.MINUTES


class ScreenCode(Struct, frozen=True):
    """What the screen draws as a QR code, with error correction Q, and until when it is good."""

    link: str
    good_until: datetime


_codes_of: Final = msgspec.json.Decoder(CodesIn).decode
_stay_of: Final = msgspec.json.Decoder(StayIn).decode
_basket_of: Final = msgspec.json.Decoder(BasketIn).decode


@get("/v1/lots/{lot_code:str}/codes", sync_to_thread=True, tags=["codes"], summary="Ask for the lot's pay codes")
def get_codes(
    wiring: Wired, caller: Called, lot_code: FromPath[str],
    after: Annotated[int, QueryParameter(ge=0)] = 0, limit: Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX)] = LIMIT_MAX,
) -> CodePage:  # fmt: skip
    """Return the lot's pay codes of the registry, those with a number above ``after``."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        found = registry.listed(tx, lot=lot, after=after, limit=limit)
    return CodePage([_view(wiring, code) for code in found], found[-1].code_no if len(found) == limit else None)


@post(
    "/v1/lots/{lot_code:str}/codes",
    sync_to_thread=True,
    status_code=200,
    tags=["codes"],
    summary="Issue pay codes for places of the lot",
    responses={200: ResponseSpec(list[CodeView], description="The codes in the order of the places")},
)
def post_codes(wiring: Wired, caller: Called, lot_code: FromPath[str], body: RawBody) -> Response[bytes]:
    """Make a code for each place, all or none. The same batch with the same places gives the same codes again.

    For clients of the city or of the lot's operator: a lot's own system does not print codes.
    """
    asked = _decoded(body, _codes_of)
    if caller.scope not in ("operator", "city"):
        raise NotAllowed("codes are issued by the city or the lot's operator", code="scope_refused")
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        made = registry.issue(
            tx, lot=lot, batch=asked.batch, places=asked.places, by=caller.client_id, at=wiring.clock.now()
        )  # fmt: skip
    return _json([_view(wiring, code) for code in made])


@post(
    "/v1/lots/{lot_code:str}/codes/stay",
    sync_to_thread=True,
    status_code=200,
    tags=["codes"],
    summary="Ask for a code that opens one charge",
    responses={200: ResponseSpec(ScreenCode, description="The link to be drawn, and until when it is good")},
)
def post_stay(wiring: Wired, caller: Called, lot_code: FromPath[str], body: RawBody) -> Response[bytes]:
    """Return the link of a code for the exit's screen: whoever scans it sees exactly this charge, without typing a plate.

    A charge of another lot is not found. Whoever sees the screen can pay, and sees no more than this charge.
    """
    asked = _decoded(body, _stay_of)
    with wiring.db.connect() as tx:
        lot = _written(tx, caller, lot_code)
        made = shown.stay(tx, lane=wiring.lane, lot=lot, serial=asked.serial, minutes=asked.minutes, at=wiring.clock.now())
    return _screen(wiring, made)


@post(
    "/v1/lots/{lot_code:str}/codes/basket",
    sync_to_thread=True,
    status_code=200,
    tags=["codes"],
    summary="Ask for a code that opens several charges",
    responses={200: ResponseSpec(ScreenCode, description="The link to be drawn, and until when it is good")},
)
def post_basket(wiring: Wired, caller: Called, lot_code: FromPath[str], body: RawBody) -> Response[bytes]:
    """Return the link of a code for a clerk's screen: whoever scans it pays these charges of the lot together."""
    asked = _decoded(body, _basket_of)
    with wiring.db.begin() as tx:
        lot = _written(tx, caller, lot_code)
        made = shown.basket(
            tx, lane=wiring.lane, lot=lot, serials=asked.serials, minutes=asked.minutes, by=caller.client_id,
            at=wiring.clock.now(), ids=wiring.ids,
        )  # fmt: skip
    return _screen(wiring, made)


def _written(tx: Connection, caller: Caller, lot_code: str) -> Lot:
    """Return the caller's lot, for those who may write."""
    if not caller.may_write:
        raise NotAllowed("this client may read, not ask for codes", code="read_only")
    return auth.own_lot(tx, caller=caller, code=lot_code)


def _decoded(body: bytes, decode: Callable[[bytes], T]) -> T:
    """Return a request's content. Raises Malformed."""
    try:
        return decode(body)
    except msgspec.ValidationError as wrong:
        raise Malformed(str(wrong)) from None
    except msgspec.DecodeError as broken:
        raise Malformed(f"the body is not JSON: {broken}") from None


def _view(wiring: Wiring, code: Code) -> CodeView:
    content = WallCode(code.code_no)
    link = paycode.address(wiring.settings.public_url, content, keys=wiring.pay_codes) if code.state in GOOD else None
    return CodeView(
        number=code.code_no, place=code.place, name=code.place_name, state=code.state, successor=code.successor_no,
        batch=code.batch, changed_at=code.changed_at, link=link, reports=code.reports,
    )  # fmt: skip


def _screen(wiring: Wiring, made: StayCode | BasketCode) -> Response[bytes]:
    link = paycode.address(wiring.settings.public_url, made, keys=wiring.pay_codes)
    return _json(ScreenCode(link, made.good_until))


def _json(value: object) -> Response[bytes]:
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(value), status_code=200, media_type="application/json", headers=headers)
