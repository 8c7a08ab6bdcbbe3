"""Baskets: everything that a plate owes, paid together where the wallet can, else one act after another.

Knows baskets and how a wallet is opened; must not know any channel's wire. Mounted by ``app.pages``.

Of stays at other car parks the page shows payee and amount, never place or time: whoever types a plate need not be its owner.
"""

from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect
from msgspec import Struct

from app.pages import facts, pay, payer, scan
from app.pages.codes import AnyRequest, page_of
from app.pages.payer import Paying
from app.pages.render import Page
from app.pages.wallets import Offer
from app.wiring import Wired, Wiring
from gateways.contract import Way
from ledger.money import yuan
from payments import baskets, lots, paycode
from payments.baskets import LegStatus, Status
from payments.lots import Lot

REFRESH_SECONDS: Final = 4
CHARGE_LETTERS_MAX: Final = 40 * baskets.CHARGES_MAX


class BasketForm(Struct, frozen=True):
    """What the button "pay all together" sends: the charges, and the token of the basket to be."""

    charges: str = ""
    basket: str = ""


class WalletForm(Struct, frozen=True):
    """The wallet that was tapped on a basket's page."""

    channel: str = ""


class Row(Struct, frozen=True):
    """A charge of a basket as its page shows it."""

    payee: str
    place: str | None
    amount: str
    stage: str
    mark: str
    receipt: str | None


class Choice(Struct, frozen=True):
    """A wallet's button: what its next act pays, and what is left for other wallets afterwards."""

    channel: str
    amount: str
    charges: int
    acts: int
    left: int


@post("/p/{token:str}/basket", sync_to_thread=True, include_in_schema=False)
def fill(request: AnyRequest, wiring: Wired, token: FromPath[str], data: URLEncodedBody[BasketForm]) -> Response[Any]:
    """Put the shown charges into a basket and lead to its page."""
    with wiring.db.begin() as tx:
        lot = scan.lot_of(tx, wiring, token)
        basket_token = pay.token_of(data.basket)
        ids = [pay.charge_of(part) for part in data.charges[:CHARGE_LETTERS_MAX].split(",")]
        baskets.open_basket(
            tx, till=wiring.till(), lot_id=lot.lot_id, charge_ids=ids, token=basket_token, at=wiring.clock.now()
        )  # fmt: skip
    return pay.see(wiring, f"/b/{basket_token}{page_of(request, wiring).query}")


@get("/b/{basket_token:str}", sync_to_thread=True, include_in_schema=False)
def show(request: AnyRequest, wiring: Wired, basket_token: FromPath[str]) -> Response[bytes]:
    """Show what became of a basket, and how the rest can be paid."""
    status = baskets.status(wiring.till(), token=pay.token_of(basket_token))
    with wiring.db.connect() as tx:
        lot = lots.lot_by_id(tx, lot_id=status.basket.lot_id)
        payees = {one.operator_id: one.legal_name for one in lots.operators(tx)}
    page = page_of(request, wiring)
    choices = _choices(request, wiring, status) if wiring.clock.now() < status.basket.expires_at else []
    first = status.legs[0].charge
    return page.answer(
        "basket.html", lot=lot, token=basket_token, plate=facts.plate(first.plate),
        green=facts.is_green(first.plate, first.plate_color),
        rows=[_row(page, lot, payees, leg) for leg in status.legs], choices=choices, done=status.open_fen == 0,
        open=yuan(status.open_fen), paid=yuan(status.paid_fen) if status.paid_fen else None, waiting=status.waiting,
        refresh_seconds=REFRESH_SECONDS if status.waiting else None, refresh_at=f"/b/{basket_token}{page.query}",
        back_at=f"/p/{paycode.token(lot.lot_id, keys=wiring.pay_codes)}{page.query}",
    )  # fmt: skip


@post("/b/{basket_token:str}", sync_to_thread=False, include_in_schema=False)
def come_back(request: AnyRequest, wiring: Wired, basket_token: FromPath[str]) -> Response[Any]:
    """Take a payer back whose wallet returns by a form. What the form says proves nothing: the channel is asked."""
    return Redirect(f"/b/{basket_token}{page_of(request, wiring).query}", status_code=303)


@post("/b/{basket_token:str}/pay", sync_to_thread=True, include_in_schema=False)
def pay_next(request: AnyRequest, wiring: Wired, basket_token: FromPath[str], data: URLEncodedBody[WalletForm]) -> Response[Any]:
    """Start the next act over the wallet that was tapped."""
    offer = _offer(request, wiring, basket_token, data.channel)
    who = pay.payer_id(request, offer)
    if who is None:
        return _ask_wechat(request, wiring, basket_token)
    return _started(request, wiring, basket_token, offer, who)


@get("/b/{basket_token:str}/payer", sync_to_thread=True, include_in_schema=False)
def came_back(request: AnyRequest, wiring: Wired, basket_token: FromPath[str]) -> Response[Any]:
    """Take the payer back from WeChat's authorisation and go on with the act that was about to be paid."""
    was_paying = payer.paying(request.cookies, state=request.query_params.get("state", "")[: pay.STATE_LETTERS_MAX])
    if was_paying is None or was_paying.order_token != basket_token:
        return pay.see(wiring, f"/b/{pay.token_of(basket_token)}{page_of(request, wiring).query}")
    openid = pay.openid_of(request, wiring)
    if openid is None:
        return _ask_wechat(request, wiring, basket_token)
    return _started(request, wiring, basket_token, Offer(pay.WECHAT, Way.IN_WALLET), openid)


@get("/b/{basket_token:str}/go", sync_to_thread=True, include_in_schema=False)
def open_wallet(request: AnyRequest, wiring: Wired, basket_token: FromPath[str]) -> Response[Any]:
    """Call up the wallet for the act that was started; the same payer finds the same act, however often this is opened."""
    offer = _offer(request, wiring, basket_token, request.query_params.get("via", ""))
    who = pay.payer_id(request, offer)
    if who is None:
        raise pay.NoWallet("the act was started in another browser")
    result = f"/b/{basket_token}{page_of(request, wiring).query}"
    started = baskets.start(
        wiring.till(), token=basket_token, channel=offer.channel, payer=pay.payer_of(request, wiring, offer, who, result=result)
    )
    with wiring.db.connect() as tx:
        lot = lots.lot_by_id(tx, lot_id=started.basket.lot_id)
    amount = yuan(sum(attempt.amount_fen for attempt in started.attempts))
    return pay.handed_off(request, wiring, started.hand_off, lot=lot, amount=amount, result=result)


def _started(request: AnyRequest, wiring: Wiring, basket_token: str, offer: Offer, who: str) -> Redirect:
    query = page_of(request, wiring).query
    result = f"/b/{basket_token}{query}"
    baskets.start(
        wiring.till(), token=basket_token, channel=offer.channel, payer=pay.payer_of(request, wiring, offer, who, result=result)
    )
    answer = pay.see(wiring, f"/b/{basket_token}/go{query}{'&' if query else '?'}via={offer.channel}")
    if offer.channel == pay.WECHAT and who:
        answer.cookies.append(payer.payer_cookie(wiring.settings, who))
    return answer


def _ask_wechat(request: AnyRequest, wiring: Wiring, basket_token: str) -> Response[Any]:
    paying = Paying(payer.new_state(), str(UUID(int=0)), pay.token_of(basket_token))
    back = f"{wiring.settings.public_url}/b/{basket_token}/payer{page_of(request, wiring).query}"
    answer = pay.see(wiring, payer.authorize_url(wiring.settings, back=back, state=paying.state))
    answer.cookies.append(payer.paying_cookie(wiring.settings, paying))
    return answer


def _offer(request: AnyRequest, wiring: Wiring, basket_token: str, channel: str) -> Offer:
    """Return the wallet that was tapped. Raises NoWallet when this browser cannot open it."""
    with wiring.db.connect() as tx:
        baskets.by_token(tx, till=wiring.till(), token=pay.token_of(basket_token))
    chosen = [offer for offer in scan.offers_everywhere(request, wiring) if offer.channel == channel]
    if not chosen:
        raise pay.NoWallet("this browser does not open that wallet")
    return chosen[0]


def _choices(request: AnyRequest, wiring: Wiring, status: Status) -> list[Choice]:
    """Return a button per wallet that can pay something of what is open; first the one that leaves least in fewest acts."""
    found = []
    for offer in scan.offers_everywhere(request, wiring):
        cut = status.cuts.get(offer.channel)
        if cut is not None and cut.acts:
            act = cut.acts[0]
            found.append(Choice(offer.channel, yuan(act.amount_fen), len(act.charge_ids), len(cut.acts), len(cut.left)))
    return sorted(found, key=lambda choice: (choice.left, choice.acts))


def _row(page: Page, lot: Lot, payees: dict[int, str], leg: LegStatus) -> Row:
    here = leg.charge.lot_id == lot.lot_id
    stages = {
        "unpaid": (page.w.leg_unpaid, "wait"), "waiting": (page.w.leg_waiting, "wait"), "paid": (page.w.leg_paid, "done"),
        "paid_elsewhere": (page.w.leg_elsewhere, "done"), "refund_due": (page.w.leg_refund_due, "warn"),
        "refunded": (page.w.leg_refunded, "warn"),
    }  # fmt: skip
    words, mark = stages[leg.stage]
    place = f"{lot.name} {facts.instant(leg.charge.entered_at, page.w)}" if here else None
    return Row(payees.get(leg.charge.operator_id, ""), place, yuan(leg.charge.amount_fen), words, mark, leg.receipt)
