"""Pay: from the tapped button to the wallet, and back to the result.

Knows checkout, who the payer is, and where wallets are; must not know any channel's wire. Mounted by ``app.pages``.

Inside WeChat the openid is asked for once (nothing is shown), then the wallet is called up by the page. With the channel stand-in
its cashier takes the wallet's place. Every step ends in a redirect, so that reload, back and a second tap do no harm.
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
from app.pages.payer import Paying
from app.pages.render import headers
from app.wiring import Wired, Wiring
from ledger.errors import Refused
from ledger.money import yuan
from payments import checkout, lots, orders
from payments.checkout import Started
from payments.errors import ChargeUnknown

CHANNEL: Final = "wechat"
STATE_LETTERS_MAX: Final = 128
_TOKEN: Final = re.compile(r"[0-9A-Za-z_-]{20,64}")


class PayForm(Struct, frozen=True):
    """What the button of the due page sends: the charge, and the token of the quote that was shown."""

    charge: str = ""
    order: str = ""


class NoWallet(Refused):
    """The browser cannot pay: not inside WeChat, and there is no stand-in."""

    code = "wallet_missing"


@post("/p/{token:str}/pay", sync_to_thread=True, include_in_schema=False)
def pay(request: AnyRequest, wiring: Wired, token: FromPath[str], data: URLEncodedBody[PayForm]) -> Response[Any]:
    """Start a payment of a shown charge and lead the payer to the wallet."""
    with wiring.db.connect() as tx:
        lot = scan.lot_of(tx, wiring, token)
    charge_id, order_token = _charge(data.charge), _order(data.order)
    openid = _payer(request, wiring)
    if openid is None:
        return _ask_wechat(request, wiring, token, Paying(payer.new_state(), str(charge_id), order_token))
    return _started(request, wiring, lot.lot_id, charge_id, order_token, openid)


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
        return _see(wiring, f"/p/{token}{page_of(request, wiring).query}")
    openid = payer.known(request.cookies) or payer.exchange(
        wiring.settings,
        code=query.get("code", "")[:STATE_LETTERS_MAX],
        secret=wiring.keys.wechat.app_secret,
        transport=wiring.transport,
    )
    if openid is None:
        return _ask_wechat(request, wiring, token, msgspec.structs.replace(was_paying, state=payer.new_state()))
    return _started(request, wiring, lot.lot_id, _charge(was_paying.charge_id), _order(was_paying.order_token), openid)


@get("/r/{order_token:str}/pay", sync_to_thread=True, include_in_schema=False)
def open_wallet(request: AnyRequest, wiring: Wired, order_token: FromPath[str]) -> Response[Any]:
    """Call up the wallet for a started order; the same payer finds the same payment, however often this is opened."""
    page, openid = page_of(request, wiring), _payer(request, wiring)
    with wiring.db.connect() as tx:
        order = orders.by_token(tx, lane=wiring.lane, token=_order(order_token))
        lot = lots.lot_by_id(tx, lot_id=order.lot_id)
    if openid is None:
        raise NoWallet("the order was made in another browser")
    started = checkout.start(
        wiring.till(), lot_id=order.lot_id, charge_id=order.charge_id, token=order_token, channel=CHANNEL, payer_id=openid
    )
    if not payer.is_wechat(_agent(request)):
        return _see(wiring, _cashier(wiring, started, order_token, page.query))
    return page.answer(
        "opening.html", lot=lot, amount=yuan(order.amount_fen), result=f"/r/{order_token}{page.query}",
        request_json=msgspec.json.encode(dict(started.hand_off.fields)).decode(),
        cashier=_cashier(wiring, started, order_token, page.query) if wiring.settings.wechat_cashier_url else None,
    )  # fmt: skip


def _charge(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ChargeUnknown("the form names no charge") from None


def _order(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ChargeUnknown("the form carries no token of ours")
    return token


def _agent(request: AnyRequest) -> str:
    return request.headers.get("user-agent", "")


def _payer(request: AnyRequest, wiring: Wiring) -> str | None:
    """Return the payer of this browser; None when WeChat must be asked first.

    Raises:
        NoWallet: this browser cannot pay.
    """
    openid = payer.known(request.cookies)
    if openid is not None or payer.is_wechat(_agent(request)):
        return openid
    if wiring.settings.wechat_cashier_url is None:
        raise NoWallet("not inside WeChat")
    return payer.at_stand_in()


def _ask_wechat(request: AnyRequest, wiring: Wiring, token: str, paying: Paying) -> Response[Any]:
    back = f"{wiring.settings.public_url}/p/{token}/payer{page_of(request, wiring).query}"
    answer = _see(wiring, payer.authorize_url(wiring.settings, back=back, state=paying.state))
    answer.cookies.append(payer.paying_cookie(wiring.settings, paying))
    return answer


def _started(
    request: AnyRequest, wiring: Wiring, lot_id: int, charge_id: UUID, order_token: str, openid: str
) -> Response[Any]:  # fmt: skip
    started = checkout.start(
        wiring.till(), lot_id=lot_id, charge_id=charge_id, token=order_token, channel=CHANNEL, payer_id=openid
    )  # fmt: skip
    query = page_of(request, wiring).query
    if payer.is_wechat(_agent(request)):
        answer = _see(wiring, f"/r/{order_token}/pay{query}")
    else:
        answer = _see(wiring, _cashier(wiring, started, order_token, query))
    answer.cookies.append(payer.payer_cookie(wiring.settings, openid))
    return answer


def _cashier(wiring: Wiring, started: Started, order_token: str, query: str) -> str:
    """Return the stand-in's cashier for an order; afterwards it leads to the result."""
    if wiring.settings.wechat_cashier_url is None:
        raise NoWallet("not inside WeChat")
    prepay_id = started.hand_off.fields["package"].removeprefix("prepay_id=")
    back = quote(f"{wiring.settings.public_url}/r/{order_token}{query}", safe="")
    return f"{wiring.settings.wechat_cashier_url}/{quote(prepay_id, safe='')}?return_url={back}"


def _see(wiring: Wiring, address: str) -> Redirect:
    return Redirect(address, status_code=303, headers=headers(wiring.settings))
