"""The clerk's page: the staff of a shop's counter give discounts to plates, from a link, without an account.

Knows clerks' links, what they may give and how that is shown; must not know what a discount takes off. Mounted by ``app.pages``.
Source: docs/DISCOUNTS.md, section "The counter".

The link's secret is exchanged for a cookie by a tap: the cookie is strict, so no other site can use it, and the address that stays
open holds no secret. Nothing here says whether a car is in the lot: known and unknown plates are answered alike, and so are
withdrawals of what was used and of what was not.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect
from msgspec import Struct
from sqlalchemy import Connection

from app import clerk_links
from app.pages import facts
from app.pages.clerk_words import ClerkWords, words
from app.pages.codes import AnyRequest, page_of
from app.pages.limits import Misses, address_of
from app.pages.render import Page
from app.pages.scan import PROVINCES
from app.wiring import Wired, Wiring
from ledger.errors import NotAllowed, NotFound
from ledger.money import yuan
from payments import plates
from payments.discounts import clerks, grants, merchants, offers
from payments.discounts.clerks import Clerk, ClerkUnknown
from payments.discounts.grants import GivenOne, NewValidation
from payments.discounts.merchants import Giver
from payments.discounts.offers import WHOLE_BPS, Offer
from payments.lots import Lot

LAST: Final = 8
"""So many of the last ones given are shown."""
GIVES: Final = Misses(per_minute=30)
"""Of this process, by link: nobody at a counter is quicker."""
MISSES: Final = Misses(per_minute=10)
"""Of this process, by address: links that are none."""


class BeginForm(Struct, frozen=True):
    """The secret of the link that was opened."""

    secret: str = ""


class GiveForm(Struct, frozen=True):
    """What is given, to which plate."""

    token: str = ""
    lot: str = ""
    offer: str = ""
    province: str = ""
    rest: str = ""


class WithdrawForm(Struct, frozen=True):
    """Which of those that were given is withdrawn."""

    token: str = ""
    serial: str = ""


class Choice(Struct, frozen=True):
    """An offer or a lot to choose."""

    code: str
    name: str
    more: str = ""


class Row(Struct, frozen=True):
    """One that was given, as it is listed."""

    serial: str
    plate: str
    chip: str
    what: str
    at: str
    state: str
    can_withdraw: bool


class Counter(Struct, frozen=True):
    """Who gives, and what may be given where."""

    giver: Giver
    clerk: Clerk
    offers: Sequence[Offer]
    lots: Sequence[Lot]


@get("/clerk/{secret:str}", sync_to_thread=True, include_in_schema=False)
def open_link(request: AnyRequest, wiring: Wired, secret: FromPath[str]) -> Response[bytes]:
    """Show whose counter a link is of, with a button that begins."""
    page = page_of(request, wiring)
    c = words(is_english=page.is_english)
    counter = _of_link(request, wiring, secret)
    if counter is None:
        return _message(page, c.again_title, c.ended, status=404)
    return page.answer(
        "clerk_start.html", c=c, secret=secret, merchant=_name(page, counter), counter=counter.clerk.name,
        switch=f"{clerk_links.PATH}/{secret}",
    )  # fmt: skip


@post("/clerk/begin", sync_to_thread=True, include_in_schema=False)
def begin(request: AnyRequest, wiring: Wired, data: URLEncodedBody[BeginForm]) -> Response[bytes] | Redirect:
    """Exchange a link's secret for a cookie, and lead to the page whose address holds no secret."""
    page = page_of(request, wiring)
    c = words(is_english=page.is_english)
    counter = _of_link(request, wiring, data.secret) if _is_ours(request) else None
    if counter is None:
        return _message(page, c.again_title, c.ended, status=404)
    until = min(counter.clerk.valid_until, counter.giver.merchant.valid_until)
    cookie = clerk_links.cookie(wiring, counter.clerk.clerk_id, until=until)
    return Redirect(f"{clerk_links.PATH}{page.query}", status_code=303, cookies=[cookie])


@get("/clerk", sync_to_thread=True, include_in_schema=False)
def show(request: AnyRequest, wiring: Wired) -> Response[bytes]:
    """Show the form and what was given last."""
    page = page_of(request, wiring)
    with wiring.db.connect() as tx:
        counter = _counter(tx, request, wiring)
        return _again(page) if counter is None else _form(tx, request, wiring, page, counter, GiveForm())


@post("/clerk/give", sync_to_thread=True, include_in_schema=False, status_code=200)
def give(request: AnyRequest, wiring: Wired, data: URLEncodedBody[GiveForm]) -> Response[bytes]:
    """Give a discount to a plate; a second tap gives the same one."""
    page, at = page_of(request, wiring), wiring.clock.now()
    c = words(is_english=page.is_english)
    with wiring.db.begin() as tx:
        counter = _counter(tx, request, wiring)
        if counter is None:
            return _again(page)
        nonce = clerk_links.nonce_of(data.token, request.cookies, wiring)
        lot = next((one for one in counter.lots if one.code == data.lot), None)
        offer = next((one for one in counter.offers if one.code == data.offer), None)
        if nonce is None:
            return _form(tx, request, wiring, page, counter, data, sorry=c.sorry_form, status=409)
        if lot is None or offer is None:
            return _form(tx, request, wiring, page, counter, data, sorry=c.sorry_choose, status=422)
        if GIVES.is_over(counter.clerk.clerk_id.hex):
            return _form(tx, request, wiring, page, counter, data, sorry=c.sorry_often, status=429)
        GIVES.count(counter.clerk.clerk_id.hex)
        wanted = NewValidation(serial=f"k-{nonce}", offer=offer.code, plate=_typed(data))
        [told] = grants.validate(
            tx, lane=wiring.lane, lot=lot, client_id=counter.giver.client_id, validations=[wanted], at=at, ids=wiring.ids,
            body=msgspec.json.encode({"clerk": counter.clerk.clerk_id, "lot": lot.code, "given": wanted}), giver=counter.giver,
        )  # fmt: skip
        if told.reason is not None:
            sorry = {
                "plate_invalid": c.sorry_plate, "content_differs": c.sorry_form, "merchant_plate_limit": c.sorry_plate_limit,
                "merchant_limit": c.sorry_limit,
            }.get(told.reason, c.sorry_over)  # fmt: skip
            return _form(tx, request, wiring, page, counter, data, sorry=sorry, status=409)
        [given] = grants.listed(tx, lane=wiring.lane, giver=counter.giver, serial=wanted.serial, limit=1, at=at)
    return page.answer(
        "clerk_given.html", keep=True, c=c, switch=clerk_links.PATH, merchant=_name(page, counter), plate=facts.plate(given.plate),
        chip=facts.chip(given.plate), given=c.given.format(what=_what(page, offer), lot=lot.name),
        until=c.given_until.format(until=facts.instant(given.valid_until, page.w)),
    )  # fmt: skip


@post("/clerk/withdraw", sync_to_thread=True, include_in_schema=False, status_code=200)
def withdraw(request: AnyRequest, wiring: Wired, data: URLEncodedBody[WithdrawForm]) -> Response[bytes]:
    """Withdraw one that this link gave; whether it was used is not said."""
    page = page_of(request, wiring)
    c = words(is_english=page.is_english)
    with wiring.db.begin() as tx:
        counter = _counter(tx, request, wiring)
        if counter is None:
            return _again(page)
        if clerk_links.nonce_of(data.token, request.cookies, wiring) is None:
            return _form(tx, request, wiring, page, counter, GiveForm(), sorry=c.sorry_form, status=409)
        try:
            grants.withdraw(
                tx, lane=wiring.lane, giver=counter.giver, serial=data.serial, at=wiring.clock.now(), ids=wiring.ids
            )  # fmt: skip
        except NotFound:
            return _form(tx, request, wiring, page, counter, GiveForm(), sorry=c.sorry_form, status=409)
    return _message(page, c.withdrawn_title, c.withdrawn, mark="done", way=True)


@post("/clerk/leave", sync_to_thread=False, include_in_schema=False, status_code=200)
def leave(request: AnyRequest, wiring: Wired) -> Response[bytes]:
    """End the session on this phone."""
    page = page_of(request, wiring)
    c = words(is_english=page.is_english)
    answer = _message(page, c.left_title, c.left, mark="done")
    if _is_ours(request):
        answer.set_cookie(Cookie(clerk_links.NAME, value="", max_age=0, path=clerk_links.PATH, httponly=True, samesite="strict"))
    return answer


@get(["/clerk/begin", "/clerk/give", "/clerk/withdraw", "/clerk/leave"], sync_to_thread=False, include_in_schema=False)
def begin_again(request: AnyRequest, wiring: Wired) -> Redirect:
    """Lead whoever opens the address of a form without its content back to the form."""
    return Redirect(f"{clerk_links.PATH}{page_of(request, wiring).query}", status_code=303)


def _is_ours(request: AnyRequest) -> bool:
    """Say whether a form was sent from a page of ours; browsers that do not say are believed: the cookie is strict."""
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _of_link(request: AnyRequest, wiring: Wiring, secret: str) -> Counter | None:
    """Return whose counter a link is of; None: it counts for nothing, or too many were tried from there."""
    address = address_of(request.client.host if request.client else "", request.headers.get("x-forwarded-for", ""))
    if MISSES.is_over(address):
        return None
    try:
        clerk_id = clerks.read(secret, clerk_links.key(wiring), at=wiring.clock.now())
        with wiring.db.connect() as tx:
            giver, clerk = clerks.giver(tx, lane=wiring.lane, clerk_id=clerk_id, at=wiring.clock.now())
    except (ClerkUnknown, NotAllowed):
        MISSES.count(address)
        return None
    return Counter(giver, clerk, [], [])


def _counter(tx: Connection, request: AnyRequest, wiring: Wiring) -> Counter | None:
    """Return who gives in this session, asked anew at each request; None: nobody, or no longer."""
    clerk_id, at = clerk_links.known(request.cookies, wiring), wiring.clock.now()
    if clerk_id is None:
        return None
    try:
        giver, clerk = clerks.giver(tx, lane=wiring.lane, clerk_id=clerk_id, at=at)
    except (ClerkUnknown, NotAllowed):
        return None
    may = merchants.offers_of(tx, lane=wiring.lane, merchant=giver.merchant, at=at)
    return Counter(giver, clerk, may, merchants.lots_of(tx, merchant=giver.merchant))


def _form(
    tx: Connection, request: AnyRequest, wiring: Wiring, page: Page, counter: Counter, typed: GiveForm, *, sorry: str | None = None,
    status: int = 200,
) -> Response[bytes]:  # fmt: skip
    c = words(is_english=page.is_english)
    given = grants.listed(tx, lane=wiring.lane, giver=counter.giver, limit=LAST, at=wiring.clock.now())
    known = offers.by_ids(tx, lane=wiring.lane, offer_ids=counter.giver.merchant.offer_ids)
    if given and not typed.token:  # the counter gives mostly what it gave last
        lots = {one.lot_id: one.code for one in counter.lots}
        typed = msgspec.structs.replace(typed, offer=known[given[0].offer_id].code, lot=lots[given[0].lot_id])
    nonce = wiring.link_tokens.new(f"clerk form {counter.clerk.clerk_id}")
    return page.answer(
        "clerk.html", status=status, switch=clerk_links.PATH, c=c, sorry=sorry, merchant=_name(page, counter),
        counter=counter.clerk.name, provinces=PROVINCES, province=typed.province[:1] or PROVINCES[0], rest=typed.rest[:10],
        token=clerk_links.form_token(request.cookies, wiring, nonce),
        rows=[_row(page, c, one, known[one.offer_id]) for one in given],
        choices=[Choice(one.code, _what(page, one), one.words_en if page.is_english else one.words) for one in counter.offers],
        lots=[Choice(one.code, one.name) for one in counter.lots], offer=typed.offer, at_lot=typed.lot,
    )  # fmt: skip


def _row(page: Page, c: ClerkWords, one: GivenOne, offer: Offer) -> Row:
    states = {"given": c.state_given, "withdrawn": c.state_withdrawn}
    return Row(
        one.serial, facts.plate(one.plate), facts.chip(one.plate), _what(page, offer), facts.instant(one.given_at, page.w),
        states.get(one.state, c.state_over), one.state == "given",
    )  # fmt: skip


def _what(page: Page, offer: Offer) -> str:
    """Return what an offer gives, in a few words."""
    c = words(is_english=page.is_english)
    if offer.off_fen is not None and offer.minutes is None:
        return c.fen.format(yuan=yuan(offer.off_fen))
    if offer.off_bps == WHOLE_BPS:
        return c.free.format(yuan=yuan(offer.cap_fen or 0))
    if offer.off_bps is not None:
        return c.share.format(percent=f"{offer.off_bps / 100:g}", yuan=yuan(offer.cap_fen or 0))
    what = c.minutes.format(time=facts.stay(offer.free_minutes or offer.minutes or 0, page.w))
    most = offer.off_fen if offer.off_fen is not None else offer.cap_fen
    return what if most is None else c.free_up_to.format(what=what, yuan=yuan(most))


def _typed(data: GiveForm) -> str:
    rest = plates.normalised(data.rest)
    return rest if rest[:1] in PROVINCES or not data.province else data.province + rest


def _name(page: Page, counter: Counter) -> str:
    return counter.giver.merchant.name_en if page.is_english else counter.giver.merchant.name


def _again(page: Page) -> Response[bytes]:
    c = words(is_english=page.is_english)
    return _message(page, c.again_title, c.again, status=401)


def _message(
    page: Page, title: str, text: str, *, mark: str = "warn", status: int = 200, way: bool = False
) -> Response[bytes]:  # fmt: skip
    c = words(is_english=page.is_english)
    return page.answer(
        "message.html", status=status, switch=clerk_links.PATH, title=title, text=text, mark=mark, more=None,
        way=f"{clerk_links.PATH}{page.query}" if way else None, way_text=c.back,
    )  # fmt: skip


routes: Final[list[HTTPRouteHandler]] = [open_link, begin, show, give, withdraw, leave, begin_again]
