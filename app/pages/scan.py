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

from app.pages import covered, facts, seals, shown
from app.pages.codes import AnyRequest, page_of
from app.pages.limits import Misses, address_of
from app.pages.looking import Details, Owed, Seen, look
from app.pages.render import Page
from app.pages.wallets import Offer, offers
from app.wiring import Wired, Wiring
from gateways import routing
from gateways.parking import addresses
from gateways.parking.quotes import Network
from ledger.money import yuan
from payments import baskets, plates
from payments.codes import reading
from payments.codes.records import Scanned
from payments.discounts.effects import Shown
from payments.errors import PlateRefused
from payments.lots import Lot
from payments.owed.dispute_store import Dispute, Reason
from payments.owed.disputes import PAID_STANDINGS
from payments.plates import PlateColor
from payments.quoting import asking as lot_asking
from payments.quoting import quotes
from payments.quoting.asking import Asking, LotAway
from payments.quoting.endpoint_store import Endpoint
from payments.quoting.quotes import Quote
from payments.quoting.turns import Turns
from payments.records import Charge
from payments.rollout.visits import SCANS
from payments.splitting import wording
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
    sealed: str = ""
    """The charge as forms send it; see ``seals``."""
    charges: str | None = None
    """Of a stay that owes several payees: all its charges, which are paid together."""
    shared: str | None = None
    """Who gets what of it, in words."""
    is_disputed: bool = False
    """Its driver has objected, and that is not decided."""
    discounts: Sequence[str] = ()
    """What is taken off it, line by line."""
    by_mandate: str | None = None
    """Who will deduct it without the driver doing anything, in words."""


class Choosable(Struct, frozen=True):
    """One thing that a plate owes, to be chosen or not. Of another car park no more than payee and amount is known here."""

    charges: str
    amount: str
    fen: int
    label: str
    detail: str
    is_chosen: bool
    """Chosen before the driver says anything: what is owed here; where nothing is, all of it."""


class Together(Struct, frozen=True):
    """All that a plate owes, to be paid together or in part."""

    charges: str
    token: str
    count: int
    amount: str
    elsewhere: bool
    """All of it is owed at other car parks."""
    part_token: str | None
    """None: no part of it can be paid, for a car may still stand at a gate."""
    rows: Sequence[Choosable]
    chosen: str
    """Sum of what is chosen beforehand."""


class Car(Struct, frozen=True):
    """One of several cars with the same number."""

    color: str
    name: str


class Objection(Struct, frozen=True):
    """What became of an objection to a debt that is paid."""

    entered: str
    text: str


def _together(wiring: Wiring, lot: Lot, found: Sequence[Charge], rows: Sequence[Choosable], *, elsewhere: bool) -> Together:
    ids = ",".join(str(charge.charge_id) for charge in found)
    token = wiring.link_tokens.new(f"basket {ids} {wiring.clock.now().isoformat()}")
    divisible = elsewhere and all(charge.is_receivable for charge in found)
    return Together(
        seals.of(wiring, lot.lot_id, ids), token, len(found), yuan(sum(charge.owed_fen for charge in found)), elsewhere,
        f"{token[:56]}-p" if divisible else None, rows, yuan(sum(row.fen for row in rows if row.is_chosen)),
    )  # fmt: skip


def scanned_of(tx: Connection, wiring: Wiring, token: str, *, begun: bool = False, and_commit: bool = False) -> Scanned:
    """Return what a scanned code stands for; ``begun`` when its page was opened before. As ``reading.scanned``."""
    keys, at = wiring.pay_codes.public_keys, wiring.clock.now()
    return reading.scanned(tx, token=token, public_keys=keys, at=at, begun=begun, and_commit=and_commit)


def lot_of(tx: Connection, wiring: Wiring, token: str) -> Lot:
    """Return the lot of a code whose page was opened before.

    Raises:
        PayCodeRefused: not a code of ours, or one that is not to be paid with any more.
        NotFound: the lot is gone.
    """
    return scanned_of(tx, wiring, token, begun=True).lot


def channels_of(wiring: Wiring, lot: Lot) -> tuple[str, ...]:
    """Return the channels at which the lot's operator has a merchant account now."""
    with wiring.keyed_db.begin() as tx:
        return routing.open_channels(tx, operator_id=lot.operator_id, at=wiring.clock.now())


def offers_of(request: AnyRequest, wiring: Wiring, lot: Lot, *, routed: Collection[str] | None = None) -> list[Offer]:
    """Return the wallets that this browser can pay this lot's operator with. ``routed``: its channels, where they are known."""
    return _offers(request, wiring, channels_of(wiring, lot) if routed is None else routed)


def offers_everywhere(request: AnyRequest, wiring: Wiring) -> list[Offer]:
    """Return the wallets that this browser can open, whoever is paid."""
    return _offers(request, wiring, wiring.channels.names())


def _offers(request: AnyRequest, wiring: Wiring, routed: Collection[str]) -> list[Offer]:
    channels = [connected.channel for connected in wiring.channels]
    return offers(channels, routed=routed, user_agent=request.headers.get("user-agent", ""))


@get("/p/{token:str}", sync_to_thread=True, include_in_schema=False)
def scan(request: AnyRequest, wiring: Wired, token: FromPath[str]) -> Response[bytes]:
    """Show lot and payee, and ask for the plate; a code that was made for one stay or set of debts shows exactly that."""
    with wiring.keyed_db.begin() as tx:
        found = scanned_of(tx, wiring, token, and_commit=True)
    SCANS.count(found.lot.lot_id, wiring.clock.now())
    if found.shown is not None:
        return shown.answer(request, wiring, found, token, offered=offers_of(request, wiring, found.lot))
    page = page_of(request, wiring)
    caution = page.w.report_caution if found.is_reported else ""
    return ask_plate(page, found.lot, token, PlateForm(province=HOME_PROVINCE), spot=_spot(page, found), caution=caution)


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
    page, is_over, plate = page_of(request, wiring), MISSES.is_over(_address(request)), _checked(data)
    color = next((one for one in quotes.COLORS if one == data.color), None)
    with wiring.keyed_db.begin() as tx:
        lot = lot_of(tx, wiring, token)
        seen = None if is_over or plate is None else look(tx, wiring, lot, plate, color)
    if is_over:
        return ask_plate(page, lot, token, data, sorry=page.w.sorry_often, status=429)
    if plate is None or seen is None:
        return ask_plate(page, lot, token, data, sorry=page.w.sorry_plate, status=422)
    return _due(request, wiring, lot, token, plate, color, seen)


def changed(
    request: AnyRequest, wiring: Wiring, token: str, charge: Charge, *, shown_fen: int, sorry: str | None = None
) -> Response[bytes]:  # fmt: skip
    """Show anew what a charge's plate owes here, and say how the price that was shown has changed: it is to be confirmed again.

    The charge is of the lot of ``token``: whoever names it has seen this page before. ``sorry`` is said instead where nothing has
    changed because what was asked for could not be done.
    """
    color = None if charge.plate_color == "unknown" else charge.plate_color
    with wiring.keyed_db.begin() as tx:
        found = scanned_of(tx, wiring, token, begun=True)
        seen = None if found.shown is not None else look(tx, wiring, found.lot, charge.plate, color)
    if seen is None:
        return shown.answer(
            request, wiring, found, token, offered=offers_of(request, wiring, found.lot), was_fen=shown_fen, sorry=sorry
        )
    return _due(request, wiring, found.lot, token, charge.plate, color, seen, was=charge, shown_fen=shown_fen, sorry=sorry)


def _address(request: AnyRequest) -> str:
    peer = request.client.host if request.client else ""
    return address_of(peer, request.headers.get("x-forwarded-for", ""))


def _due(
    request: AnyRequest, wiring: Wiring, lot: Lot, token: str, plate: str, color: PlateColor | None, seen: Seen, *,
    was: Charge | None = None, shown_fen: int = 0, sorry: str | None = None,
) -> Response[bytes]:  # fmt: skip
    """Return the page of what a plate owes here, after its lot's own system was asked where there is one."""
    page, is_away = page_of(request, wiring), False
    if seen.endpoint is not None:
        is_away = not _asked(wiring, lot, seen.endpoint, plate)
        with wiring.keyed_db.begin() as tx:
            seen = look(tx, wiring, lot, plate, color, asked=True)
    owed, details, routes = seen.owed, seen.details, seen.routes
    if details is None:
        return _which(page, lot, token, plate, owed.colors)
    if not owed.here:
        MISSES.count(_address(request))
    objections = [_objection(page, one) for one in owed.disputes]
    if not (owed.everywhere or is_away or owed.here):
        free = None if objections else covered.of_plate(wiring, page, lot=lot, token=token, plate=plate, color=color)
        return free or _nothing(page, lot, token, plate, color, objections)
    rows = _rows(page, lot, owed, details)
    together = _together(wiring, lot, owed.everywhere, rows, elsewhere=not owed.here) if details.is_more else None
    offered = _offers(request, wiring, routes)
    combines = bool(offered) and baskets.limits(wiring.till(), offered[0].channel).legs_max > 1
    cards = [
        msgspec.structs.replace(
            one,
            sealed=seals.of(wiring, lot.lot_id, one.charges or one.charge_id),
            is_disputed=UUID(one.charge_id) in details.disputed,
            by_mandate=_by_mandate(page, details.mandates.get(UUID(one.charge_id), [])),
            discounts=_discounts(page, one, details.taken_off),
        )
        for one in _cards(page, owed.here, details.groups, details.due_days, combines=combines)
    ]
    status = 409 if sorry else 200
    return page.answer(
        "due.html", status=status if cards or together else 503, keep=True, switch=f"/p/{token}", lot=lot, token=token,
        plate=facts.plate(plate), chip=facts.chip(plate, color or next(iter(owed.colors), "unknown")), charges=cards,
        offers=offered, together=together, routed=bool(routes), away=is_away,
        reasons=list(zip(REASONS, page.w.dispute_reasons, strict=True)), typed=plate, color=color or "", objections=objections,
        changed=sorry or _change(page, owed.here, was, shown_fen), coupons=seen.coupons and bool(cards),
    )  # fmt: skip


def _change(page: Page, here: Sequence[Quote], was: Charge | None, shown_fen: int) -> str | None:
    """Say how the price of a stay changed, where it is known which of the prices now is that stay's."""
    now = [one for one in here if was is not None and one.charge.entered_at == was.entered_at]
    amount_fen = sum(one.amount_fen for one in now)
    return page.w.price_changed.format(old=yuan(shown_fen), new=yuan(amount_fen)) if now and amount_fen != shown_fen else None


def _by_mandate(page: Page, channels: Sequence[str]) -> str | None:
    names = page.w.app_or.join(page.w.channel_name(channel) for channel in channels)
    return page.w.by_mandate.format(channels=names) if names else None


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


def _checked(data: PlateForm) -> str | None:
    """Return the plate that was typed; None: it is none."""
    try:
        return plates.checked(_typed(data))
    except PlateRefused:
        return None


def _typed(data: PlateForm) -> str:
    rest = plates.normalised(data.rest)
    return rest if rest[:1] in PROVINCES or not data.province else data.province + rest


def ask_plate(
    page: Page, lot: Lot, token: str, typed: PlateForm, *, sorry: str | None = None, status: int = 200, spot: str = "",
    caution: str = "",
) -> Response[bytes]:  # fmt: skip
    """Return the page that asks for the plate, with what was typed before. ``spot`` is the berth or lane of the code."""
    return page.answer(
        "scan.html", status=status, switch=f"/p/{token}", lot=lot, token=token, provinces=PROVINCES, province=typed.province[:1],
        rest=typed.rest[:10], sorry=sorry, spot=spot, caution=caution,
    )  # fmt: skip


def _spot(page: Page, found: Scanned) -> str:
    """Return the berth or lane that a code stands for, in words; nothing for the whole lot."""
    words = {"lot": "", "lane": page.w.place_lane, "berth": page.w.place_berth}[found.place.place]
    return words.format(name=found.place.name)


def _nothing(
    page: Page, lot: Lot, token: str, plate: str, color: PlateColor | None, objections: Sequence[Objection]
) -> Response[bytes]:  # fmt: skip
    w = page.w
    return page.answer(
        "message.html", keep=True, switch=f"/p/{token}", lot=lot, title=w.nothing_title, text=w.nothing_text, mark="done",
        more=w.nothing_next, plate=facts.plate(plate), chip=facts.chip(plate, color or "unknown"), way=f"/p/{token}{page.query}",
        way_text=w.change_plate, objections=objections,
    )  # fmt: skip


def _rows(page: Page, lot: Lot, owed: Owed, details: Details) -> list[Choosable]:
    """Return all that is owed, stay by stay: here with times, elsewhere by payee and amount only."""
    here = {one.charge.charge_id for one in owed.here}
    group_of = {charge_id: group.charge_ids for group in details.groups for charge_id in group.charge_ids}
    rows, listed = [], set[UUID]()
    for charge in sorted(owed.everywhere, key=lambda one: one.charge_id not in here):
        stay = [one for one in owed.everywhere if one.charge_id in group_of.get(charge.charge_id, (charge.charge_id,))]
        if charge.charge_id not in listed:
            listed |= {one.charge_id for one in stay}
            is_here = charge.charge_id in here
            rows.append(_row(page, lot, stay, details.payees, is_here=is_here, is_chosen=is_here or not here))
    return rows


def _row(
    page: Page, lot: Lot, stay: Sequence[Charge], payees: Mapping[int, str], *, is_here: bool, is_chosen: bool
) -> Choosable:  # fmt: skip
    amount_fen = sum(one.owed_fen for one in stay)
    when = f"{page.w.entered} {facts.instant(stay[0].entered_at, page.w)}"
    return Choosable(
        ",".join(str(one.charge_id) for one in stay), yuan(amount_fen), amount_fen,
        lot.name if is_here else payees.get(stay[0].operator_id, ""), when if is_here else page.w.choose_elsewhere, is_chosen,
    )  # fmt: skip


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


def _discounts(page: Page, card: Due, taken_off: Sequence[Shown]) -> list[str]:
    """Return what is taken off a card in words, such as 商家优惠 −5.00 元, the same words together.

    Whose discount it is stays untold: whoever typed the plate would learn where its driver was.
    """
    fen: dict[str, int] = {}
    for one in taken_off:
        if str(one.charge_id) in (card.charges or card.charge_id):
            words = one.words_en if page.w.html_lang == "en" else one.words
            fen[words] = fen.get(words, 0) + one.fen
    return [page.w.discount.format(words=words, yuan=yuan(taken)) for words, taken in fen.items()]


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
