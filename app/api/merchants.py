"""A merchant's own system gives validations, sees what it gave, and withdraws it. Source: docs/DISCOUNTS.md.

Knows the form of requests and answers; must not know what a validation takes off. Mounted by ``app.api`` beside the other routes,
with tokens of another kind. No answer says whether a car is in the lot: every plate is answered alike.
"""

from collections import defaultdict
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Request, Response, delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter, RawBody
from msgspec import Struct
from sqlalchemy import Connection

from app.api import bulk
from app.api.bulk import Malformed, Wrong
from app.auth import CalledByShop, Shop
from app.wiring import Wired, Wiring
from payments import plates
from payments.discounts import grants, merchants, offers
from payments.discounts.grants import GivenOne, NewValidation, Seen
from payments.discounts.merchants import Giver
from payments.lots import Lot
from payments.plates import PlateColor

SEEN_MAX: Final = 500
"""Most validations in one answer."""


class GivenValidation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A validation as a merchant gives it. ``serial`` is its own number: posted again it is the same validation."""

    serial: str
    lot: str
    """Code of the lot."""
    offer: str
    """Code of the offer."""
    plate: str
    plate_color: PlateColor = "unknown"
    valid_until: datetime | None = None
    """None: a day from now, and never longer than the offer."""


class MerchantAnswer(Struct, frozen=True, kw_only=True):
    """What became of a validation: ``created``, ``already`` or ``refused``. It is the same whether the car is there or not."""

    serial: str
    outcome: str
    reason: str | None = None
    field: str | None = None
    detail: str | None = None


class SeenValidation(Struct, frozen=True, kw_only=True):
    """A validation as its merchant sees it.

    ``state``: ``given`` while it counts or may count; then ``used`` or ``unused``; ``withdrawn`` when it was, and what it had been
    used for until then stands. ``taken_off_fen`` is told when its time is over.
    """

    serial: str
    lot: str
    offer: str
    plate: str
    """Masked."""
    given_at: datetime
    valid_until: datetime
    state: Seen
    taken_off_fen: int | None = None


class SeenValidations(Struct, frozen=True, kw_only=True):
    """What a merchant gave, the newest first; ``next`` goes into ``before`` for what was given earlier, null: nothing was."""

    validations: list[SeenValidation]
    next: UUID | None = None


class MayGive(Struct, frozen=True):
    """A lot or an offer."""

    code: str
    name: str


class MerchantSeen(Struct, frozen=True, kw_only=True):
    """What a merchant may give, where, and its limits. A limit of null is none."""

    merchant: str
    name: str
    lots: list[MayGive]
    offers: list[MayGive]
    validation_fen_max: int | None
    plate_day_max: int | None
    day_max: int | None
    month_max: int | None
    day_fen_max: int | None
    month_fen_max: int | None
    valid_until: datetime


_given: Final = bulk.Reader(GivenValidation, most=grants.VALIDATIONS_MAX, words="validations")


@get("/v1/merchant", sync_to_thread=True, tags=["merchants"], summary="What this merchant may give")
def get_merchant(wiring: Wired, shop: CalledByShop) -> MerchantSeen:
    """Return the merchant's lots, offers and limits as they are now."""
    with wiring.db.connect() as tx:
        merchant = _giver(tx, wiring, shop).merchant
        may = merchants.offers_of(tx, lane=wiring.lane, merchant=merchant, at=wiring.clock.now())
        return MerchantSeen(
            merchant=merchant.code, name=merchant.name, offers=[MayGive(one.code, one.words) for one in may],
            lots=[MayGive(one.code, one.name) for one in merchants.lots_of(tx, merchant=merchant)],
            validation_fen_max=merchant.validation_fen_max, plate_day_max=merchant.plate_day_max, day_max=merchant.day_max,
            month_max=merchant.month_max, day_fen_max=merchant.day_fen_max, month_fen_max=merchant.month_fen_max,
            valid_until=merchant.valid_until,
        )  # fmt: skip


@post(
    "/v1/merchant/validations",
    sync_to_thread=True,
    status_code=207,
    tags=["merchants"],
    summary="Give validations to cars",
    responses={
        200: ResponseSpec(MerchantAnswer, description="One: it was posted before with the same content"),
        201: ResponseSpec(MerchantAnswer, description="One: it is given"),
        207: ResponseSpec(list[MerchantAnswer], description="A list: one answer for each, in order; good ones stand"),
    },
)
def give(wiring: Wired, shop: CalledByShop, request: Request[Any, Any, Any], body: RawBody) -> Response[bytes]:
    """Take a validation, a list of them, or a line for each, within the merchant's limits. Posting it again is harmless."""
    read = _given.read(request, body)
    with wiring.db.begin() as tx:
        giver = _giver(tx, wiring, shop)
        own = {one.code: one for one in merchants.lots_of(tx, merchant=giver.merchant)}
        by_lot: dict[str, list[int]] = defaultdict(list)
        for place, one in enumerate(read.good):
            by_lot[one.lot].append(place)
        answers: dict[int, MerchantAnswer] = {}
        for code, places in by_lot.items():
            mine = [read.good[place] for place in places]
            told = _give(tx, wiring, own[code], giver, mine, body) if code in own else [_no_lot(one) for one in mine]
            answers |= zip(places, told, strict=True)
    return read.answer([answers[place] for place in range(len(read.good))], _refused)


@get("/v1/merchant/validations", sync_to_thread=True, tags=["merchants"], summary="What this merchant gave")
def get_given(
    wiring: Wired,
    shop: CalledByShop,
    before: Annotated[UUID | None, QueryParameter(description="What `next` of the last answer said")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=SEEN_MAX)] = 100,
) -> SeenValidations:
    """Return what was given over the API and by clerks, the newest first."""
    at = wiring.clock.now()
    with wiring.db.connect() as tx:
        giver = _giver(tx, wiring, shop)
        found = grants.listed(tx, lane=wiring.lane, giver=giver, limit=limit + 1, at=at, before=before)
        seen = _seen(tx, wiring, giver, found[:limit])
    return SeenValidations(validations=seen, next=found[limit - 1].grant_id if len(found) > limit else None)


@delete(
    "/v1/merchant/validations/{serial:str}",
    sync_to_thread=True,
    status_code=200,
    tags=["merchants"],
    summary="Withdraw a validation",
)
def withdraw(wiring: Wired, shop: CalledByShop, serial: FromPath[str]) -> SeenValidation:
    """Withdraw a validation; what was paid with it stands, and the answer is the same. May be repeated."""
    with wiring.db.begin() as tx:
        giver = _giver(tx, wiring, shop)
        told = grants.withdraw(tx, lane=wiring.lane, giver=giver, serial=serial, at=wiring.clock.now(), ids=wiring.ids)
        return _seen(tx, wiring, giver, [told])[0]


def _giver(tx: Connection, wiring: Wiring, shop: Shop) -> Giver:
    return Giver(merchants.giving(tx, lane=wiring.lane, merchant_id=shop.merchant_id, at=wiring.clock.now()))


def _give(
    tx: Connection, wiring: Wiring, lot: Lot, giver: Giver, given: list[GivenValidation], body: bytes
) -> list[MerchantAnswer]:  # fmt: skip
    wanted = [
        NewValidation(
            serial=one.serial, offer=one.offer, plate=one.plate, plate_color=one.plate_color, valid_until=one.valid_until
        )
        for one in given
    ]  # fmt: skip
    answers = grants.validate(
        tx, lane=wiring.lane, lot=lot, client_id=giver.client_id, validations=wanted, at=wiring.clock.now(), ids=wiring.ids,
        body=body, giver=giver,
    )  # fmt: skip
    return [
        MerchantAnswer(serial=one.serial, outcome=one.outcome, reason=one.reason, field=one.field, detail=one.detail)
        for one in answers
    ]


def _seen(tx: Connection, wiring: Wiring, giver: Giver, found: list[GivenOne]) -> list[SeenValidation]:
    lots = {one.lot_id: one.code for one in merchants.lots_of(tx, merchant=giver.merchant)}
    codes = {one.offer_id: one.code for one in offers.by_ids(tx, lane=wiring.lane, offer_ids=giver.merchant.offer_ids).values()}
    return [
        SeenValidation(
            serial=one.serial, lot=lots[one.lot_id], offer=codes[one.offer_id], plate=plates.masked(one.plate),
            given_at=one.given_at, valid_until=one.valid_until, state=one.state, taken_off_fen=one.taken_off_fen,
        )
        for one in found
    ]  # fmt: skip


def _no_lot(one: GivenValidation) -> MerchantAnswer:
    return MerchantAnswer(
        serial=one.serial, outcome="refused", reason="discount_elsewhere", field="lot", detail="the merchant has no such lot"
    )


def _refused(wrong: Wrong) -> MerchantAnswer:
    return MerchantAnswer(serial=wrong.serial, outcome="refused", reason=Malformed.code, field=wrong.field, detail=wrong.detail)


routes: Final = [get_merchant, give, get_given, withdraw]
