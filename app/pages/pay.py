"""Pay: from the tapped button to the wallet, and back to the result.

Knows checkout, who the payer is, and where wallets are; must not know any channel's wire. Mounted by ``app.pages``.

The button names the channel. Inside WeChat the openid is asked for once (nothing is shown), then the wallet is called up by the
page; other channels' pages are reached by a link or a prepared form. With the channel stand-in its cashier takes WeChat's place.
Every step ends in a redirect or can be repeated, so that reload, back and a second tap do no harm.
"""

import re
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect
from msgspec import Struct

from app.pages import payer, scan
from app.pages.codes import AnyRequest, page_of
from app.pages.limits import address_of
from app.pages.payer import Paying
from app.pages.render import Page, headers
from app.pages.wallets import Offer
from app.wiring import Wired, Wiring
from gateways.contract import HandOff, Way
from ledger.errors import Refused
from ledger.money import yuan
from payments import checkout, lots, orders
from payments.checkout import Payer, Started
from payments.errors import ChargeUnknown, NoRoute
from payments.lots import Lot

WECHAT: Final = "wechat"
STATE_LETTERS_MAX: Final = 128
_TOKEN: Final = re.compile(r"[0-9A-Za-z_-]{20,64}")
_CHANNEL: Final = re.compile(r"[a-z]{2,16}")


class PayForm(Struct, frozen=True):
    """What the button of the due page sends: the charge, the token of the quote that was shown, and the wallet."""

    charge: str = ""
    order: str = ""
    channel: str = ""


class NoWallet(Refused):
    """This browser cannot pay with any channel that the operator has."""

    code = "wallet_missing"


@post("/p/{token:str}/pay", sync_to_thread=True, include_in_schema=False)
def pay(request: AnyRequest, wiring: Wired, token: FromPath[str], data: URLEncodedBody[PayForm]) -> Response[Any]:
    """Start a payment of a shown charge and lead the payer to the wallet."""
    with wiring.db.connect() as tx:
        lot = scan.lot_of(tx, wiring, token)
    charge_id, order_token = charge_of(data.charge), token_of(data.order)
    offer = offer_of(request, wiring, lot, data.channel)
    openid = payer_id(request, offer)
    if openid is None:
        return _ask_wechat(request, wiring, token, Paying(payer.new_state(), str(charge_id), order_token))
    return _started(request, wiring, lot.lot_id, charge_id, order_token, offer, openid)


@get("/p/{token:str}/payer", sync_to_thread=True, include_in_schema=False)
def came_back(request: AnyRequest, wiring: Wired, token: FromPath[str]) -> Response[Any]:
    """Take the payer back from WeChat's authorisation and go on with what was about to be paid.

    A reload brings a used code: the openid is in the cookie by then. Without a state of this browser nothing is started.
    """
    with wiring.db.connect() as tx:
        lot = scan.lot_of(tx, wiring, token)
    query = request.query_params
    was_paying = payer.paying(request.cookies, state=query.get("state", "")[:STATE_LETTERS_MAX])
    if was_paying is None:
        return see(wiring, f"/p/{token}{page_of(request, wiring).query}")
    openid = openid_of(request, wiring)
    if openid is None:
        return _ask_wechat(request, wiring, token, msgspec.structs.replace(was_paying, state=payer.new_state()))
    offer = Offer(WECHAT, Way.IN_WALLET)
    return _started(request, wiring, lot.lot_id, charge_of(was_paying.charge_id), token_of(was_paying.order_token), offer, openid)


@get("/r/{order_token:str}/pay", sync_to_thread=True, include_in_schema=False)
def open_wallet(request: AnyRequest, wiring: Wired, order_token: FromPath[str]) -> Response[Any]:
    """Call up the wallet for a started order; the same payer finds the same payment, however often this is opened.

    ``via`` in the query names the channel; without it, it is the one that this browser is offered first.
    """
    page = page_of(request, wiring)
    with wiring.db.connect() as tx:
        order = orders.by_token(tx, lane=wiring.lane, token=token_of(order_token))
        lot = lots.lot_by_id(tx, lot_id=order.lot_id)
    offer = offer_of(request, wiring, lot, request.query_params.get("via", ""))
    who = payer_id(request, offer)
    if who is None:
        raise NoWallet("the order was made in another browser")
    started = _start(request, wiring, order.lot_id, order.charge_id, order_token, offer, who)
    result, amount = f"/r/{order_token}{page.query}", yuan(order.amount_fen)
    return handed_off(request, wiring, started.hand_off, lot=lot, amount=amount, result=result)


def charge_of(text: str) -> UUID:
    """Return the charge that a form names. Raises ChargeUnknown."""
    try:
        return UUID(text)
    except ValueError:
        raise ChargeUnknown("the form names no charge") from None


def token_of(token: str) -> str:
    """Return a link token that may be one of ours. Raises ChargeUnknown."""
    if not _TOKEN.fullmatch(token):
        raise ChargeUnknown("the form carries no token of ours")
    return token


def _agent(request: AnyRequest) -> str:
    return request.headers.get("user-agent", "")


def offer_of(request: AnyRequest, wiring: Wiring, lot: Lot, channel: str) -> Offer:
    """Return the wallet that was tapped, or the first that is offered here.

    Raises:
        NoRoute: the operator has no merchant account at any channel.
        NoWallet: this browser can open none of them.
    """
    offered = scan.offers_of(request, wiring, lot)
    chosen = [offer for offer in offered if offer.channel == channel] if _CHANNEL.fullmatch(channel) else offered
    if chosen:
        return chosen[0]
    if not scan.routed(wiring, lot):
        raise NoRoute(f"operator {lot.operator_id} takes no payments online now")
    raise NoWallet("this browser opens none of the operator's channels")


def payer_id(request: AnyRequest, offer: Offer) -> str | None:
    """Return the payer of this browser as the way needs it; None when WeChat must be asked first."""
    if offer.way is not Way.IN_WALLET or offer.channel != WECHAT:
        return ""
    known = payer.known(request.cookies)
    if known is not None or payer.is_wechat(_agent(request)):
        return known
    return payer.at_stand_in()


def _ask_wechat(request: AnyRequest, wiring: Wiring, token: str, paying: Paying) -> Response[Any]:
    back = f"{wiring.settings.public_url}/p/{token}/payer{page_of(request, wiring).query}"
    answer = see(wiring, payer.authorize_url(wiring.settings, back=back, state=paying.state))
    answer.cookies.append(payer.paying_cookie(wiring.settings, paying))
    return answer


def openid_of(request: AnyRequest, wiring: Wiring) -> str | None:
    """Return the openid of a browser that comes back from WeChat's authorisation, or None when WeChat must be asked again."""
    return payer.known(request.cookies) or payer.exchange(
        wiring.settings,
        code=request.query_params.get("code", "")[:STATE_LETTERS_MAX],
        secret=wiring.keys.wechat.app_secret,
        transport=wiring.transport,
    )


def payer_of(request: AnyRequest, wiring: Wiring, offer: Offer, who: str, *, result: str) -> Payer:
    """Return what a channel needs to know of this browser's payer; ``result`` is the page that the wallet leads back to."""
    peer = request.client.host if request.client else ""
    return Payer(
        payer_id=who,
        way=offer.way,
        ip=address_of(peer, request.headers.get("x-forwarded-for", "")) or None,
        return_url=f"{wiring.settings.public_url}{result}",
    )


def _start(request: AnyRequest, wiring: Wiring, lot_id: int, charge_id: UUID, order_token: str, offer: Offer, who: str) -> Started:
    result = f"/r/{order_token}{page_of(request, wiring).query}"
    return checkout.start(
        wiring.till(), lot_id=lot_id, charge_id=charge_id, token=order_token, channel=offer.channel,
        payer=payer_of(request, wiring, offer, who, result=result),
    )  # fmt: skip


def handed_off(request: AnyRequest, wiring: Wiring, hand_off: HandOff, *, lot: Lot, amount: str, result: str) -> Response[Any]:
    """Return what opens the wallet: its own script call, the channel's page, or the stand-in's cashier in WeChat's place."""
    page = page_of(request, wiring)
    if hand_off.kind != "jsapi":
        return _leave(page, hand_off, lot, amount, result)
    if not payer.is_wechat(_agent(request)):
        return see(wiring, _cashier(wiring, hand_off, result))
    return page.answer(
        "opening.html", lot=lot, amount=amount, result=result, request_json=msgspec.json.encode(dict(hand_off.fields)).decode(),
        cashier=_cashier(wiring, hand_off, result) if wiring.settings.wechat_cashier_url else None,
    )  # fmt: skip


def _started(
    request: AnyRequest, wiring: Wiring, lot_id: int, charge_id: UUID, order_token: str, offer: Offer, who: str
) -> Response[Any]:
    started = _start(request, wiring, lot_id, charge_id, order_token, offer, who)
    query = page_of(request, wiring).query
    if started.hand_off.kind == "jsapi" and not payer.is_wechat(_agent(request)):
        answer = see(wiring, _cashier(wiring, started.hand_off, f"/r/{order_token}{query}"))
    else:
        answer = see(wiring, f"/r/{order_token}/pay{query}{'&' if query else '?'}via={offer.channel}")
    if offer.channel == WECHAT and who:
        answer.cookies.append(payer.payer_cookie(wiring.settings, who))
    return answer


def _leave(page: Page, hand_off: HandOff, lot: Lot, amount: str, result: str) -> Response[Any]:
    """Return the page that leads to the channel's own: by itself, and by a button where it does not."""
    go_to = hand_off.url if hand_off.kind == "redirect" else None
    return page.answer(
        "leaving.html", lot=lot, amount=amount, result=result, go_to=go_to, post_to=hand_off.url, leads_to=hand_off.url,
        fields=list(hand_off.fields.items()),
    )  # fmt: skip


def _cashier(wiring: Wiring, hand_off: HandOff, result: str) -> str:
    """Return the stand-in's cashier for an order; afterwards it leads to the result."""
    if wiring.settings.wechat_cashier_url is None:
        raise NoWallet("not inside WeChat")
    prepay_id = hand_off.fields["package"].removeprefix("prepay_id=")
    back = quote(f"{wiring.settings.public_url}{result}", safe="")
    return f"{wiring.settings.wechat_cashier_url}/{quote(prepay_id, safe='')}?return_url={back}"


def see(wiring: Wiring, address: str) -> Redirect:
    """Lead the browser on."""
    return Redirect(address, status_code=303, headers=headers(wiring.settings))
