"""Quotes of stays for lots' systems: what a stay costs at a lot that charges by a tariff of ours, and why.

Knows the form of requests and answers; must not know how anything is priced. Mounted by ``app.api``.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec
from litestar import Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RawBody
from msgspec import Struct

from app import auth, problems
from app.api.charges import Malformed
from app.auth import Called
from app.wiring import Wired
from payments.lots import Lot
from payments.plates import PlateColor
from payments.tariffs import quotes
from payments.tariffs.priced import Basis, Line, Priced
from payments.tariffs.quotes import AskedStay, Refusal
from payments.tariffs.tariff import Names

QUOTES_MAX: Final = 1_000
"""Most stays in one call."""


class StayAsked(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stay whose price is asked for. Times carry their offset; without ``left_at`` the car leaves now.

    ``plate`` is needed for passes only. ``ref`` is the caller's own word and comes back as it is.
    """

    entered_at: datetime
    left_at: datetime | None = None
    plate_color: PlateColor = "unknown"
    plate: str | None = None
    ref: str | None = None


class Quoted(Struct, frozen=True, kw_only=True):
    """What became of one stay. ``quoted``: all fields but the last two are set; ``refused``: a stable code and what to do.

    ``lines`` sum to ``amount_fen``; ``words.zh`` may be posted as a charge's ``tariff_text``. Leaving before ``same_until`` costs
    the same; null: no change was found within 40 days. ``tariffs``: what it was priced by; two when a stay reaches over a change.
    """

    outcome: Literal["quoted", "refused"]
    ref: str | None = None
    amount_fen: int | None = None
    minutes: int | None = None
    left_at: datetime | None = None
    lines: tuple[Line, ...] = ()
    words: Names | None = None
    tariffs: tuple[Basis, ...] = ()
    same_until: datetime | None = None
    reason: str | None = None
    detail: str | None = None


_decode: Final = msgspec.json.Decoder(StayAsked).decode


@post(
    "/v1/lots/{lot_code:str}/quotes",
    sync_to_thread=True,
    status_code=207,
    tags=["lots"],
    summary="Ask what one stay or many cost",
    responses={
        200: ResponseSpec(Quoted, description="One stay: its price and why"),
        207: ResponseSpec(list[Quoted], description="A list of stays: one result for each, in order; good ones stand"),
    },
)
def post_quotes(wiring: Wired, caller: Called, lot_code: FromPath[str], body: RawBody) -> Response[bytes]:
    """Price a stay object, or a list of up to 1,000, by the tariffs, calendars and passes that count for the lot. Keeps nothing.

    One stay refused is a problem: 422 with the code of docs/ERRORS.md. In a list each has its own result.
    """
    many, given = _read(body)
    at = wiring.clock.now()
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        good = [_stay(asked, lot, at) for asked in given if isinstance(asked, StayAsked)]
        priced = iter(quotes.quote_many(tx, lane=wiring.lane, stays=good, looks_ahead=True))
    results = [
        _answer(asked, next(priced), asked.left_at or at) if isinstance(asked, StayAsked) else asked for asked in given
    ]  # fmt: skip
    return _json(207, results) if many else _one(results[0])


def _read(body: bytes) -> tuple[bool, list[StayAsked | Quoted]]:
    """Return whether a list came, and each stay, or its refusal when it has not the form of one."""
    many = body.lstrip()[:1] == b"["
    try:
        parts = msgspec.json.decode(body, type=list[msgspec.Raw]) if many else [msgspec.Raw(body)]
    except msgspec.DecodeError as broken:
        raise Malformed(f"the body is not JSON: {broken}") from None
    if len(parts) > QUOTES_MAX:
        raise Malformed(f"at most {QUOTES_MAX} stays fit into one call")
    return many, [_stay_of(part) for part in parts]


def _stay_of(part: msgspec.Raw) -> StayAsked | Quoted:
    try:
        return _decode(part)
    except msgspec.ValidationError as wrong:
        return Quoted(outcome="refused", ref=_ref(part), reason="malformed", detail=str(wrong))
    except msgspec.DecodeError as broken:
        raise Malformed(f"the body is not JSON: {broken}") from None


class _Named(Struct):
    ref: str | None = None


def _ref(part: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(part, type=_Named).ref
    except msgspec.DecodeError:
        return None


def _stay(asked: StayAsked, lot: Lot, at: datetime) -> AskedStay:
    return AskedStay(
        lot_id=lot.lot_id, plate_color=asked.plate_color, entered_at=asked.entered_at, left_at=asked.left_at or at,
        plate=asked.plate,
    )  # fmt: skip


def _answer(asked: StayAsked, found: Priced | Refusal, left_at: datetime) -> Quoted:
    if isinstance(found, Refusal):
        return Quoted(outcome="refused", ref=asked.ref, reason=found.code, detail=found.detail)
    return Quoted(
        outcome="quoted", ref=asked.ref, amount_fen=found.amount_fen, minutes=found.minutes, left_at=left_at, lines=found.lines,
        words=found.words, tariffs=found.tariffs, same_until=found.same_until,
    )  # fmt: skip


def _one(result: Quoted) -> Response[bytes]:
    if result.outcome == "quoted":
        return _json(200, result)
    status = 400 if result.reason == "malformed" else 422
    return problems.answer(problems.problem(status, result.reason or "refused", result.detail))


def _json(status: int, value: object) -> Response[bytes]:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")
