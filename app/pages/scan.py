"""Scan, plate, amount due: the pages before money moves.

Knows lots, pay codes and quotes; must not know channels. Mounted by ``app.pages``. A plate travels in request bodies only.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, Final, get_args
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect
from msgspec import Struct
from sqlalchemy import Connection

from app.pages import facts, shown
from app.pages.codes import AnyRequest, page_of
from app.pages.limits import Misses, address_of
from app.pages.render import Page
from app.pages.wallets import Offer, offers
from app.wiring import Wired, Wiring
from gateways import routing
from gateways.parking import addresses
from gateways.parking.quotes import Network
from ledger.money import yuan
from payments import baskets, lots, plates
from payments.codes import reading
from payments.codes.records import Scanned
from payments.errors import PlateRefused
from payments.lots import Lot
from payments.owed import debts, disputes
from payments.owed.dispute_store import Dispute, Reason
from payments.owed.disputes import PAID_STANDINGS
from payments.plates import PlateColor
from payments.quoting import asking as lot_asking
from payments.quoting import endpoint_store, quotes
from payments.quoting.asking import Asking, LotAway
from payments.quoting.endpoint_store import Endpoint
from payments.quoting.quotes import Quote
from payments.quoting.turns import Turns
from payments.records import Charge
from payments.splitting import splits, wording
from payments.splitting.split_store import Group
from payments.webhooks.secret import Vault

PROVINCES: Final = "苏京津冀晋蒙辽吉黑沪浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"
HOME_PROVINCE: Final = PROVINCES[0]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
"""Why a debt may be disputed, in the order of the pages' words."""
MISSES: Final = Misses()
"""Of this process; a restart forgives."""
TURNS: Final = Turns()
"""Of this process: which lots were asked about which plates just now."""


class PlateForm(Struct, frozen=True):
    """The plate as it was typed: a province from the list and the rest, or all of it in the second field."""

    province: str = ""
    rest: str = ""
    color: str = ""
    """The car that was chosen where several have the number; else empty."""


class Due(Struct, frozen=True):
    """A charge as the page shows it."""

    charge_id: str
    token: str
    amount: str
    entered: str
    left: str | None
    stay: str
    tariff_text: str
    debt_due: str | None
    """Until when a debt is to be paid; None while the car stands at the gate."""
    paid: str | None
    """What of it is paid already."""
    part_token: str
    charges: str | None = None
    """Of a stay that owes several payees: all its charges, which are paid together."""
    shared: str | None = None
    """Who gets what of it, in words."""
    is_disputed: bool = False
    """Its driver has objected, and that is not decided."""


class Together(Struct, frozen=True):
    """All that a plate owes, to be paid together. Of other car parks only the sum is shown."""

    charges: str
    token: str
    count: int
    amount: str
    elsewhere: bool
    """All of it is owed at other car parks."""
    part_token: str | None
    """None: no part of it can be paid, for a car may still stand at a gate."""


class Car(Struct, frozen=True):
    """One of several cars with the same number."""

    color: str
    name: str


class Objection(Struct, frozen=True):
    """What became of an objection to a debt that is paid."""

    entered: str
    text: str


def _together(wiring: Wiring, found: Sequence[Charge], *, elsewhere: bool) -> Together:
    ids = ",".join(str(charge.charge_id) for charge in found)
    token = wiring.link_tokens.new(f"basket {ids} {wiring.clock.now().isoformat()}")
    divisible = elsewhere and all(charge.is_receivable for charge in found)
    amount = yuan(sum(charge.owed_fen for charge in found))
    return Together(ids, token, len(found), amount, elsewhere, f"{token[:56]}-p" if divisible else None)


def scanned_of(tx: Connection, wiring: Wiring, token: str, *, begun: bool = False) -> Scanned:
    """Return what a scanned code stands for; ``begun`` when its page was opened before. Raises as ``reading.scanned`` does."""
    return reading.scanned(tx, token=token, public_keys=wiring.pay_codes.public_keys, at=wiring.clock.now(), begun=begun)


def lot_of(tx: Connection, wiring: Wiring, token: str) -> Lot:
    """Return the lot of a code whose page was opened before.

    Raises:
        PayCodeRefused: not a code of ours, or one that is not to be paid with any more.
        NotFound: the lot is gone.
    """
    return scanned_of(tx, wiring, token, begun=True).lot


def routed(wiring: Wiring, lot: Lot) -> tuple[str, ...]:
    """Return the channels at which the lot's operator has a merchant account now."""
    with wiring.db.connect() as tx:
        return routing.open_channels(tx, operator_id=lot.operator_id, at=wiring.clock.now())


def offers_of(request: AnyRequest, wiring: Wiring, lot: Lot) -> list[Offer]:
    """Return the wallets that this browser can pay this lot's operator with."""
    return _offers(request, wiring, routed(wiring, lot))


def offers_everywhere(request: AnyRequest, wiring: Wiring) -> list[Offer]:
    """Return the wallets that this browser can open, whoever is paid."""
    return _offers(request, wiring, wiring.channels.names())


def _offers(request: AnyRequest, wiring: Wiring, routed: Collection[str]) -> list[Offer]:
    channels = [connected.channel for connected in wiring.channels]
    return offers(channels, routed=routed, user_agent=request.headers.get("user-agent", ""))


@get("/p/{token:str}", sync_to_thread=True, include_in_schema=False)
def scan(request: AnyRequest, wiring: Wired, token: FromPath[str]) -> Response[bytes]:
    """Show lot and payee, and ask for the plate; a code that was made for one stay or set of debts shows exactly that."""
    with wiring.db.connect() as tx:
        found = scanned_of(tx, wiring, token)
    if found.shown is not None:
        return shown.answer(request, wiring, found, token, offered=offers_of(request, wiring, found.lot))
    return ask_plate(page_of(request, wiring), found.lot, token, PlateForm(province=HOME_PROVINCE))


@post("/p/{token:str}/due", sync_to_thread=True, include_in_schema=False, status_code=200)
def due(
    request: AnyRequest,
    wiring: Wired,
    token: FromPath[str],
    data: URLEncodedBody[PlateForm],
) -> Response[bytes]:
    """Show what the plate owes at this lot, and of all others the sum. A lot with a system of its own to ask is asked first.

    Where several cars with this number owe something the driver is asked which one it is before anything of either is shown.
    """
    page, peer = page_of(request, wiring), request.client.host if request.client else ""
    address = address_of(peer, request.headers.get("x-forwarded-for", ""))
    with wiring.db.connect() as tx:
        lot = lot_of(tx, wiring, token)
        endpoint = endpoint_store.endpoint(tx, lane=wiring.lane, lot_id=lot.lot_id)
    if MISSES.is_over(address):
        return ask_plate(page, lot, token, data, sorry=page.w.sorry_often, status=429)
    try:
        plate = plates.checked(_typed(data))
    except PlateRefused:
        return ask_plate(page, lot, token, data, sorry=page.w.sorry_plate, status=422)
    is_away = endpoint is not None and not _asked(wiring, lot, endpoint, plate)
    color: PlateColor | None = next((one for one in quotes.COLORS if one == data.color), None)
    with wiring.db.connect() as tx:
        owed = _owed(tx, wiring, lot, plate)
        if color is None and len(owed.colors) > 1:
            return _which(page, lot, token, plate, owed.colors)
        owed = _only(owed, color)
        ids = [one.charge.charge_id for one in owed.here]
        due_days = debts.due_days(tx, lane=wiring.lane, charge_ids=ids)
        groups = splits.groups_of(tx, lane=wiring.lane, charge_ids=ids) if len(ids) > 1 else []
        disputed = disputes.open_among(tx, lane=wiring.lane, charge_ids=list(due_days))
    if not owed.here:
        MISSES.count(address)
    objections = [_objection(page, one) for one in owed.disputes]
    if not (owed.everywhere or is_away or owed.here):
        return _nothing(page, lot, token, plate, color, objections)
    together = None if owed.here and _is_one_stay(owed.everywhere, groups) else _everything(wiring, owed)
    routes = routed(wiring, lot)
    offered = _offers(request, wiring, routes)
    combines = bool(offered) and baskets.limits(wiring.till(), offered[0].channel).legs_max > 1
    cards = _cards(page, owed.here, groups, due_days, combines=combines)
    shown = [msgspec.structs.replace(one, is_disputed=UUID(one.charge_id) in disputed) for one in cards]
    chip = facts.chip(plate, color or next(iter(owed.colors), "unknown"))
    return page.answer(
        "due.html", status=200 if shown or together else 503, keep=True, switch=f"/p/{token}", lot=lot, token=token,
        plate=facts.plate(plate), chip=chip, charges=shown, offers=offered, together=together, routed=bool(routes),
        reasons=list(zip(REASONS, page.w.dispute_reasons, strict=True)), away=is_away, typed=plate, color=color or "",
        objections=objections,
    )  # fmt: skip


class _Owed(Struct, frozen=True):
    here: Sequence[Quote]
    everywhere: Sequence[Charge]
    disputes: Sequence[Dispute]
    """Objections to debts at this lot that are paid."""
    colors: Sequence[PlateColor]


def _owed(tx: Connection, wiring: Wiring, lot: Lot, plate: str) -> _Owed:
    """Return what a number owes here and everywhere, whatever the colour."""
    at = wiring.clock.now()
    here = quotes.ask(tx, lane=wiring.lane, lot_id=lot.lot_id, plate=plate, at=at, tokens=wiring.link_tokens)
    everywhere = quotes.anywhere(tx, lane=wiring.lane, plate=plate, limit=quotes.READ_MAX, at=at)
    objected = disputes.paid_of_plate(tx, lane=wiring.lane, lot_id=lot.lot_id, number=plate, at=at)
    charged = [*(one.charge for one in here), *everywhere]
    seen: list[str] = [*(one.plate_color for one in charged), *(one.plate_color for one in objected)]
    return _Owed(here, everywhere, objected, quotes.colors(seen))


def _only(owed: _Owed, color: PlateColor | None) -> _Owed:
    """Return what of it is the chosen car's, and of other lots no more than a basket holds."""
    return _Owed(
        [one for one in owed.here if quotes.fits(one.charge.plate_color, color)],
        [one for one in owed.everywhere if quotes.fits(one.plate_color, color)][: baskets.CHARGES_MAX],
        [one for one in owed.disputes if quotes.fits(one.plate_color, color)],
        owed.colors,
    )


def _everything(wiring: Wiring, owed: _Owed) -> Together | None:
    return _together(wiring, owed.everywhere, elsewhere=not owed.here) if owed.everywhere else None


def _which(page: Page, lot: Lot, token: str, plate: str, colors: Sequence[PlateColor]) -> Response[bytes]:
    """Return the page that asks which car it is, and shows nothing of any."""
    names = dict(zip(quotes.COLORS, page.w.plate_colors, strict=True))
    cars = [Car(color, names[color]) for color in colors]
    return page.answer(
        "which.html", keep=True, switch=f"/p/{token}", lot=lot, token=token, plate=facts.plate(plate), typed=plate, cars=cars
    )  # fmt: skip


def _objection(page: Page, dispute: Dispute) -> Objection:
    words = page.w.objections[PAID_STANDINGS.index(dispute.standing)]
    return Objection(facts.instant(dispute.entered_at, page.w), words)


def _asked(wiring: Wiring, lot: Lot, endpoint: Endpoint, plate: str) -> bool:
    """Ask the lot's system what the plate owes now; False: it is away."""
    asking = Asking(
        db=wiring.db, lane=wiring.lane, clock=wiring.clock, ids=wiring.ids, vault=Vault(wiring.keys.webhook), turns=TURNS,
        network=_network(wiring.settings.webhook_allowed_networks), seconds_max=wiring.settings.quote_timeout_seconds,
    )  # fmt: skip
    try:
        lot_asking.ask(asking, lot=lot, endpoint=endpoint, plate=plate)
    except LotAway:
        return False
    return True


@cache
def _network(networks: tuple[str, ...]) -> Network:
    """Return this process's connections to lots' systems."""
    return Network(addresses.guard(networks))


@get(["/p/{token:str}/due", "/p/{token:str}/pay"], sync_to_thread=False, include_in_schema=False)
def begin_again(request: AnyRequest, wiring: Wired, token: FromPath[str]) -> Response[Any]:
    """Lead whoever opens the address of a form without its content back to the first page."""
    return Redirect(f"/p/{token}{page_of(request, wiring).query}", status_code=303)


def _typed(data: PlateForm) -> str:
    rest = plates.normalised(data.rest)
    return rest if rest[:1] in PROVINCES or not data.province else data.province + rest


def ask_plate(
    page: Page, lot: Lot, token: str, typed: PlateForm, *, sorry: str | None = None, status: int = 200
) -> Response[bytes]:
    """Return the page that asks for the plate, with what was typed before."""
    return page.answer(
        "scan.html", status=status, switch=f"/p/{token}", lot=lot, token=token, provinces=PROVINCES, province=typed.province[:1],
        rest=typed.rest[:10], sorry=sorry,
    )  # fmt: skip


def _nothing(
    page: Page, lot: Lot, token: str, plate: str, color: PlateColor | None, objections: Sequence[Objection]
) -> Response[bytes]:  # fmt: skip
    w = page.w
    return page.answer(
        "message.html", keep=True, switch=f"/p/{token}", lot=lot, title=w.nothing_title, text=w.nothing_text, mark="done",
        more=w.nothing_next, plate=facts.plate(plate), chip=facts.chip(plate, color or "unknown"), way=f"/p/{token}{page.query}",
        way_text=w.change_plate, objections=objections,
    )  # fmt: skip


def _is_one_stay(everything: Sequence[Charge], groups: Sequence[Group]) -> bool:
    """Say whether all that a plate owes is one card: nothing is to be paid together with it."""
    ids = {charge.charge_id for charge in everything}
    return len(ids) < 2 or any(ids <= set(group.charge_ids) for group in groups)


def _cards(
    page: Page, found: Sequence[Quote], groups: Sequence[Group], due: Mapping[UUID, date], *, combines: bool
) -> list[Due]:  # fmt: skip
    """Return what is due, stay by stay: the charges of one stay that owes several payees are one card."""
    group_of = {charge_id: group for group in groups for charge_id in group.charge_ids}
    cards: list[Due] = []
    for quote in found:
        group = group_of.get(quote.charge.charge_id)
        mine = [one for one in found if group is not None and one.charge.charge_id in group.charge_ids]
        if len(mine) < 2 or group is None:
            cards.append(_shown(page, quote, due.get(quote.charge.charge_id)))
        elif quote is mine[0]:
            cards.append(_shared(page, mine, group, due.get(quote.charge.charge_id), acts=1 if combines else len(mine)))
    return cards


def _shared(page: Page, mine: Sequence[Quote], group: Group, due_on: date | None, *, acts: int) -> Due:
    """Return the card of a stay that owes several payees, with who gets what."""
    words = wording.words(group, acts=acts)
    return msgspec.structs.replace(
        _shown(page, mine[0], due_on),
        amount=yuan(sum(one.amount_fen for one in mine)),
        charges=",".join(str(one.charge.charge_id) for one in mine),
        shared=words.en if page.w.html_lang == "en" else words.zh,
    )


def _shown(page: Page, quote: Quote, due_on: date | None) -> Due:
    charge = quote.charge
    return Due(
        charge_id=str(charge.charge_id),
        token=quote.token,
        amount=yuan(quote.amount_fen),
        entered=facts.instant(charge.entered_at, page.w),
        left=facts.instant(charge.left_at, page.w) if charge.left_at else None,
        stay=facts.stay(charge.minutes, page.w),
        tariff_text=charge.tariff_text,
        debt_due=None if due_on is None else page.w.debt_due.format(day=facts.day(due_on, page.w)),
        paid=yuan(charge.paid_fen) if charge.paid_fen else None,
        part_token=f"{quote.token[:56]}-p",
    )
