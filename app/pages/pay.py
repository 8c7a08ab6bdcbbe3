"""Pay: from the tapped button to the wallet, and back to the result.

Knows checkout, who the payer is, and where wallets are; must not know any channel's wire. Mounted by ``app.pages``.

The button names the channel. Inside WeChat and Alipay the payer is asked for once (nothing is shown), then the wallet is called up
by the page; from other browsers the channel's own page is reached by a link or a prepared form. With the channel stand-in its
cashier can take the wallet's place. Every step ends in a redirect or can be repeated, so that reload, back and a second tap do no
harm.
"""

import re
from collections.abc import Callable, Collection
from typing import Any, Final, TypeVar
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect
from msgspec import Struct
from sqlalchemy import Connection

from app.pages import payer, scan, seals
from app.pages.codes import AnyRequest, page_of
from app.pages.limits import address_of
from app.pages.payer import Paying
from app.pages.render import Page, headers
from app.pages.wallets import Offer, without_payer
from app.wiring import Wired, Wiring
from gateways import routing
from gateways.contract import HandOff, Way
from ledger.errors import Refused
from ledger.money import fen, yuan
from ledger.volley import fire
from payments import charges, checkout, lots, orders
from payments.checkout import Payer, Started
from payments.errors import ChannelBusy, ChannelRefused, ChargeUnknown, NoRoute
from payments.lots import Lot
from payments.quoting import asked_quote_store
from payments.quoting.asked_quote_store import QuoteOver
from payments.records import Charge

UNNAMED: Final = "browser"
"""In the query of our addresses: the wallet is reached without naming its payer."""
_TOKEN: Final = re.compile(r"[0-9A-Za-z_-]{20,64}")
_YUAN: Final = re.compile(r"\d{1,7}\.\d\d", re.ASCII)
_CHANNEL: Final = re.compile(r"[a-z]{2,16}")
T = TypeVar("T")
R = TypeVar("R", bound=Response[Any])


class PayForm(Struct, frozen=True):
    """What the button of the due page sends: the charge, the token of the quote that was shown, and the wallet."""

    charge: str = ""
    order: str = ""
    channel: str = ""
    shown: str = ""
    """Yuan that the page said are due; empty: it is not compared."""


class NoWallet(Refused):
    """This browser cannot pay with any channel that the operator has."""

    code = "wallet_missing"


@post("/p/{token:str}/pay", sync_to_thread=True, include_in_schema=False)
def pay(request: AnyRequest, wiring: Wired, token: FromPath[str], data: URLEncodedBody[PayForm]) -> Response[Any]:
    """Start a payment of a shown charge and lead the payer to the wallet."""
    with wiring.keyed_db.begin() as tx:
        lot = scan.lot_of(tx, wiring, token)
        charge_id, order_token = seals.charge(wiring, lot.lot_id, data.charge), token_of(data.order)
        charge, routed = _looked(tx, wiring, lot, charge_id, order_token, data.shown)
    if charge is not None:
        return scan.changed(request, wiring, token, charge, shown_fen=fen(data.shown))
    offer = offer_of(request, wiring, lot, data.channel, routed=routed)
    who = payer_id(request, offer)
    if who is None:
        asking = Paying("", offer.channel, str(charge_id), order_token, shown=data.shown)
        return ask_wallet(request, wiring, f"/p/{token}/payer", asking)
    return _started_or_changed(request, wiring, lot, token, charge_id, order_token, offer, who)


@get("/p/{token:str}/payer", sync_to_thread=True, include_in_schema=False)
def came_back(request: AnyRequest, wiring: Wired, token: FromPath[str]) -> Response[Any]:
    """Take the payer back from the wallet's login and go on with what was about to be paid.

    A reload brings a used code: the payer is in the cookie by then. Without a state of this browser nothing is started.
    """
    with wiring.keyed_db.begin() as tx:
        lot = scan.lot_of(tx, wiring, token)
    was_paying = payer.paying(wiring, request.cookies, state=request.query_params.get("state", ""))
    if was_paying is None or not was_paying.charge_id:
        return see(wiring, page_of(request, wiring).link(f"/p/{token}"))
    told = told_by_wallet(request, wiring, was_paying)
    if told is None:
        return ask_wallet(request, wiring, f"/p/{token}/payer", msgspec.structs.replace(was_paying, again=True))
    charge_id, order_token = charge_of(was_paying.charge_id), token_of(was_paying.token)
    with wiring.keyed_db.begin() as tx:
        charge, _ = _looked(tx, wiring, lot, charge_id, order_token, was_paying.shown)
    if charge is not None:
        return remembered(scan.changed(request, wiring, token, charge, shown_fen=fen(was_paying.shown)), wiring, *told)
    return _started_or_changed(request, wiring, lot, token, charge_id, order_token, *told)


@get("/r/{order_token:str}/pay", sync_to_thread=True, include_in_schema=False)
def open_wallet(request: AnyRequest, wiring: Wired, order_token: FromPath[str]) -> Response[Any]:
    """Call up the wallet for a started order; the same payer finds the same payment, however often this is opened.

    ``via`` in the query names the channel; without it, it is the one that this browser is offered first.
    """
    with wiring.keyed_db.begin() as tx:
        order = orders.by_token(tx, lane=wiring.lane, token=token_of(order_token))
        lot = lots.lot_by_id(tx, lot_id=order.lot_id)
        routed = routing.open_channels(tx, operator_id=lot.operator_id, at=wiring.clock.now())
    offer, who = opened(request, offer_of(request, wiring, lot, request.query_params.get("via", ""), routed=routed))
    offer, started = named_or_not(offer, who, _starter(request, wiring, order.lot_id, order.charge_id, order_token))
    result = _result(page_of(request, wiring), order_token, offer)
    return handed_off(request, wiring, offer, started.hand_off, lot=lot, amount=yuan(order.amount_fen), result=result)


def _looked(
    tx: Connection, wiring: Wiring, lot: Lot, charge_id: UUID, order_token: str, shown: str
) -> tuple[Charge | None, tuple[str, ...]]:  # fmt: skip
    """Return a charge that is to be confirmed at another price first, and the channels over which the lot's operator is paid.

    Raises ChargeUnknown.
    """
    lane = wiring.lane
    named = charges.which_charge(lane=lane, charge_id=charge_id)
    ended = asked_quote_store.which_superseded(lane=lane, charge_ids=[charge_id])
    ordered = orders.which_order(lane=lane, token=order_token)
    channels = routing.which_channels(operator_id=lot.operator_id, at=wiring.clock.now())
    told = fire(tx, [named.shot, ended.shot, ordered.shot, channels.shot], and_commit=True)
    if (charge := named.read(told[0])) is None:
        raise ChargeUnknown(f"there is no charge {charge_id}")
    is_ordered, is_superseded = ordered.read(told[2]) is not None, bool(ended.read(told[1]))
    changed = _at_another_price(lot, charge, shown, is_ordered=is_ordered, is_superseded=is_superseded)
    return changed, channels.read(told[3])


def _at_another_price(lot: Lot, charge: Charge, shown: str, *, is_ordered: bool, is_superseded: bool) -> Charge | None:
    """Return a charge of this lot of which another amount is due than the page said; None where the price is locked already.

    So is a charge whose price the lot's system replaced by another one since.
    """
    if not _YUAN.fullmatch(shown) or charge.lot_id != lot.lot_id or is_ordered:
        return None
    is_same = charge.owed_fen == fen(shown) if charge.state == "open" else not is_superseded
    return None if is_same else charge


def charge_of(text: str) -> UUID:
    """Return the charge that was about to be paid before the wallet's login. Raises ChargeUnknown."""
    try:
        return UUID(text)
    except ValueError:
        raise ChargeUnknown("nothing was about to be paid") from None


def token_of(token: str) -> str:
    """Return a link token that may be one of ours. Raises ChargeUnknown."""
    if not _TOKEN.fullmatch(token):
        raise ChargeUnknown("the form carries no token of ours")
    return token


def offer_of(
    request: AnyRequest, wiring: Wiring, lot: Lot, channel: str, *, routed: Collection[str] | None = None
) -> Offer:  # fmt: skip
    """Return the wallet that was tapped, or the first that is offered here. ``routed``: the operator's channels, where known.

    Raises:
        NoRoute: the operator has no merchant account at any channel.
        NoWallet: this browser can open none of them.
    """
    routed = scan.channels_of(wiring, lot) if routed is None else routed
    offered = scan.offers_of(request, wiring, lot, routed=routed)
    chosen = [offer for offer in offered if offer.channel == channel] if _CHANNEL.fullmatch(channel) else offered
    if chosen:
        return chosen[0]
    if not routed:
        raise NoRoute(f"operator {lot.operator_id} takes no payments online now")
    raise NoWallet("this browser opens none of the operator's channels")


# Who pays


def payer_id(request: AnyRequest, offer: Offer) -> str | None:
    """Return the payer of this browser as the way needs it; None when the wallet must be asked first."""
    return payer.known(request.cookies, offer.channel) if payer.is_needed(offer) else ""


def opened(request: AnyRequest, offer: Offer) -> tuple[Offer, str]:
    """Return how a started wallet is opened, and for whom. Raises NoWallet when it was started in another browser."""
    who = payer_id(request, offer)
    if who is not None and request.query_params.get("by") != UNNAMED:
        return offer, who
    other = without_payer(offer)
    if other is not None:
        return other, ""
    if who is None:
        raise NoWallet("it was started in another browser")
    return offer, who


def ask_wallet(request: AnyRequest, wiring: Wiring, path: str, paying: Paying) -> Response[Any]:
    """Send the browser to the wallet's login, from which it comes back to ``path``."""
    asking = msgspec.structs.replace(paying, state=payer.new_state())
    back = f"{wiring.settings.public_url}{page_of(request, wiring).link(path)}"
    answer = see(wiring, payer.login_url(wiring, asking, back=back))
    answer.cookies.append(payer.paying_cookie(wiring, asking))
    return answer


def told_by_wallet(request: AnyRequest, wiring: Wiring, was_paying: Paying) -> tuple[Offer, str] | None:
    """Return the wallet and its payer for a browser that comes back from the login; None when it must be asked once more.

    A wallet that can be reached without naming its payer is, when it does not say who pays. Raises ChannelBusy where it cannot.
    """
    offer = Offer(was_paying.channel, Way.IN_WALLET)
    if (known := payer.known(request.cookies, offer.channel)) is not None:
        return offer, known
    told = payer.exchanged(wiring, offer.channel, request.query_params)
    if told.payer_id is not None:
        return offer, told.payer_id
    if told.reason == "ask_again" and not was_paying.again:
        return None
    if (other := without_payer(offer)) is not None:
        return other, ""
    raise ChannelBusy(f"{offer.channel} does not say who pays")


def named_or_not(offer: Offer, who: str, start: Callable[[Offer, str], T]) -> tuple[Offer, T]:
    """Start over a wallet; where it refuses an order that names its payer, once more without, if there is such a way.

    A refused order can never be paid, so a second one beside it does no harm. Raises what ``start`` raises.
    """
    try:
        return offer, start(offer, who)
    except ChannelRefused:
        other = without_payer(offer) if payer.is_needed(offer) else None
        if other is None:
            raise
        return other, start(other, "")


def payer_of(request: AnyRequest, wiring: Wiring, offer: Offer, who: str, *, result: str) -> Payer:
    """Return what a channel needs to know of this browser's payer; ``result`` is the page that the wallet leads back to."""
    peer = request.client.host if request.client else ""
    return Payer(
        payer_id=who,
        way=offer.way,
        ip=address_of(peer, request.headers.get("x-forwarded-for", "")) or None,
        return_url=f"{wiring.settings.public_url}{result}",
    )


# Starting, and leaving


def via(offer: Offer) -> dict[str, str | None]:
    """Return what our addresses say of a wallet, so that the payer can go on with the same one."""
    return {"via": offer.channel, "by": UNNAMED if offer.unnamed else None}


def _result(page: Page, order_token: str, offer: Offer) -> str:
    return page.link(f"/r/{order_token}", **via(offer))


def _starter(
    request: AnyRequest, wiring: Wiring, lot_id: int, charge_id: UUID, order_token: str
) -> Callable[[Offer, str], Started]:  # fmt: skip
    def start(offer: Offer, who: str) -> Started:
        result = _result(page_of(request, wiring), order_token, offer)
        return checkout.start(
            wiring.till(), lot_id=lot_id, charge_id=charge_id, token=order_token, channel=offer.channel,
            payer=payer_of(request, wiring, offer, who, result=result),
        )  # fmt: skip

    return start


def _started(
    request: AnyRequest, wiring: Wiring, lot_id: int, charge_id: UUID, order_token: str, offer: Offer, who: str
) -> Response[Any]:
    offer, _ = named_or_not(offer, who, _starter(request, wiring, lot_id, charge_id, order_token))
    return lead_on(request, wiring, f"/r/{order_token}/pay", offer, who)


def _started_or_changed(
    request: AnyRequest, wiring: Wiring, lot: Lot, token: str, charge_id: UUID, order_token: str, offer: Offer, who: str
) -> Response[Any]:  # fmt: skip
    """Start, or show the new price where the lot's price has ended meanwhile."""
    try:
        return _started(request, wiring, lot.lot_id, charge_id, order_token, offer, who)
    except QuoteOver:
        with wiring.db.connect() as tx:
            charge = charges.by_id(tx, lane=wiring.lane, charge_id=charge_id)
        if charge.lot_id != lot.lot_id:
            raise
        return scan.changed(request, wiring, token, charge, shown_fen=charge.amount_fen - charge.paid_fen)


def lead_on(request: AnyRequest, wiring: Wiring, path: str, offer: Offer, who: str) -> Redirect:
    """Lead the browser to the page that opens the wallet, and let it remember its payer."""
    return remembered(see(wiring, page_of(request, wiring).link(path, **via(offer))), wiring, offer, who)


def remembered(answer: R, wiring: Wiring, offer: Offer, who: str) -> R:
    """Let the browser remember its payer, so that the wallet is not asked again."""
    if payer.is_needed(offer):
        answer.cookies.append(payer.payer_cookie(wiring.settings, offer.channel, who))
    return answer


def handed_off(
    request: AnyRequest, wiring: Wiring, offer: Offer, hand_off: HandOff, *, lot: Lot, amount: str, result: str
) -> Response[Any]:  # fmt: skip
    """Return the page that opens the wallet: by its own script call, or by leading to the channel's page."""
    page = page_of(request, wiring)
    if hand_off.kind != "jsapi":
        return _leave(page, hand_off, lot, amount, result)
    return page.answer(
        "opening.html", lot=lot, amount=amount, result=result, channel=offer.channel,
        request_json=msgspec.json.encode(dict(hand_off.fields)).decode(), cashier=_cashier(wiring, offer, hand_off, result),
    )  # fmt: skip


def _leave(page: Page, hand_off: HandOff, lot: Lot, amount: str, result: str) -> Response[Any]:
    """Return the page that leads to the channel's own: by itself, and by a button where it does not."""
    go_to = hand_off.url if hand_off.kind == "redirect" else None
    return page.answer(
        "leaving.html", lot=lot, amount=amount, result=result, go_to=go_to, post_to=hand_off.url, leads_to=hand_off.url,
        fields=list(hand_off.fields.items()),
    )  # fmt: skip


def _cashier(wiring: Wiring, offer: Offer, hand_off: HandOff, result: str) -> str | None:
    """Return the stand-in's cashier for an order in a wallet, from where it leads to the result; None with the real channel."""
    cashiers = {
        "wechat": (wiring.settings.wechat_cashier_url, hand_off.fields.get("package", "").removeprefix("prepay_id=")),
        "alipay": (f"{wiring.settings.sandbox_url}/alipay/cashier", hand_off.fields.get("tradeNO", "")),
    }
    cashier, number = cashiers.get(offer.channel, (None, ""))
    if not wiring.settings.sandbox or cashier is None:
        return None
    back = quote(f"{wiring.settings.public_url}{result}", safe="")
    return f"{cashier}/{quote(number, safe='')}?return_url={back}"


def see(wiring: Wiring, address: str) -> Redirect:
    """Lead the browser on."""
    return Redirect(address, status_code=303, headers=headers(wiring.settings))
