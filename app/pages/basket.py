"""Baskets: everything that a plate owes, paid together where the wallet can, else one act after another.

Knows baskets and how a wallet is opened; must not know any channel's wire. Mounted by ``app.pages``.

Of stays at other car parks the page shows payee and amount, never place or time: whoever types a plate need not be its owner.
"""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, URLEncodedBody
from msgspec import Struct

from app.pages import facts, patience, pay, payer, scan, seals
from app.pages.codes import AnyRequest, page_of
from app.pages.payer import Paying
from app.pages.render import RETURN_BYTES_MAX, Page
from app.pages.wallets import Offer
from app.wiring import Wired, Wiring
from gateways.contract import Way
from ledger.money import fen, yuan
from payments import baskets, lots, paycode
from payments.baskets import LegStatus, Started, Status
from payments.errors import PartRefused
from payments.lots import Lot
from payments.orders import LAST_MINUTE
from payments.owed import disputes
from payments.quoting.asked_quote_store import QuoteOver
from payments.records import Attempt

_YUAN: Final = re.compile(r"\d{1,7}\.\d\d", re.ASCII)


class BasketForm(Struct, frozen=True):
    """What the button "pay all together" sends: the charges, and the token of the basket to be."""

    charges: str = ""
    basket: str = ""
    amount: str = ""
    """Yuan to be paid of them, the oldest first; empty: all."""
    of: str = ""
    """``chosen``: of the charges only those that are ``chosen`` are meant."""
    chosen: str | list[str] = ""
    """The boxes that were ticked; each names the charges of one stay."""


class WalletForm(Struct, frozen=True):
    """The wallet that was tapped on a basket's page, and what the page said is to be paid."""

    channel: str = ""
    open: str = ""


class Row(Struct, frozen=True):
    """A charge of a basket as its page shows it."""

    payee: str
    place: str | None
    amount: str
    stage: str
    mark: str
    receipt: str | None
    channel: str
    """Name of the channel that took it."""


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
    page = page_of(request, wiring)
    with wiring.db.begin() as tx:
        lot = scan.lot_of(tx, wiring, token)
        ids, basket_token = _meant(wiring, lot, data)
        if not ids:
            return page.answer(
                "message.html", status=422, switch=f"/p/{token}", lot=lot, title=page.w.sorry_title, text=page.w.choose_none,
                mark="warn", more=None, way=f"/p/{token}{page.query}", way_text=page.w.scan_again,
            )  # fmt: skip
        baskets.open_basket(
            tx, till=wiring.till(), lot_id=lot.lot_id, charge_ids=ids, token=basket_token, at=wiring.clock.now(),
            amount_fen=_amount(data.amount),
        )  # fmt: skip
    return pay.see(wiring, f"/b/{basket_token}{page.query}")


def _meant(wiring: Wiring, lot: Lot, data: BasketForm) -> tuple[list[UUID], str]:
    """Return the charges that are meant and the token of their basket: another choice of the same page is another basket."""
    token = pay.token_of(data.basket)
    offered = seals.charges(wiring, lot.lot_id, data.charges)
    if data.of != "chosen":
        return offered, token
    boxes = [data.chosen] if isinstance(data.chosen, str) else data.chosen
    chosen = {part for box in boxes for part in box.split(",")}
    ids = [one for one in offered if str(one) in chosen]
    if len(ids) == len(offered):
        return ids, token
    return ids, f"{token[:40]}-{sha256(' '.join(map(str, ids)).encode()).hexdigest()[:16]}"


def _amount(yuan_text: str) -> int | None:
    """Return the fen of a typed amount, None for none. Raises PartRefused."""
    typed = yuan_text.strip().replace("，", ".").replace("。", ".").removeprefix("¥").strip()
    if not typed:
        return None
    try:
        return fen(typed)
    except ValueError:
        raise PartRefused("this is not an amount in yuan") from None


@get("/b/{basket_token:str}", sync_to_thread=True, include_in_schema=False)
def show(request: AnyRequest, wiring: Wired, basket_token: FromPath[str]) -> Response[bytes]:
    """Show what became of a basket, and how the rest can be paid."""
    status = baskets.status(wiring.till(), token=pay.token_of(basket_token))
    with wiring.db.connect() as tx:
        lot = lots.lot_by_id(tx, lot_id=status.basket.lot_id)
        payees = {one.operator_id: one.legal_name for one in lots.operators(tx)}
        paid_here = [leg.charge.charge_id for leg in status.legs if leg.stage == "paid" and leg.charge.lot_id == lot.lot_id]
        is_disputed = bool(disputes.open_among(tx, lane=wiring.lane, charge_ids=paid_here))
    page, now = page_of(request, wiring), wiring.clock.now()
    is_over = status.basket.expires_at - now < LAST_MINUTE
    choices = [] if is_over else _choices(request, wiring, status)
    priced_anew = [leg for leg in status.legs if leg.stage == "price_over"]
    undecided = status.undecided
    age = now - (status.basket.created_at if undecided is None else undecided.created_at)
    was, still_open = request.query_params.get("was", ""), yuan(status.open_fen)
    is_changed = _YUAN.fullmatch(was) is not None and was != still_open and status.open_fen > 0
    first = status.legs[0].charge
    return page.answer(
        "basket.html", lot=lot, token=basket_token, plate=facts.plate(first.plate),
        chip=facts.chip(first.plate, first.plate_color),
        rows=[_row(page, lot, payees, leg) for leg in status.legs], choices=choices,
        done=status.open_fen == 0 and not priced_anew, over=is_over, has_prices=status.open_fen > 0,
        priced_here=not is_over and any(leg.charge.lot_id == lot.lot_id for leg in priced_anew),
        priced_elsewhere=any(leg.charge.lot_id != lot.lot_id for leg in priced_anew),
        objection=page.w.objections[0] if is_disputed else None, payable=any(cut.acts for cut in status.cuts.values()),
        open=still_open, changed=page.w.price_changed.format(old=was, new=still_open) if is_changed else None,
        paid=yuan(status.paid_fen) if status.paid_fen else None,
        waiting=None if undecided is None else patience.waiting(page, channel=undecided.channel, age=age),
        continue_at=_continued(request, wiring, basket_token, undecided),
        refresh_seconds=None if undecided is None else patience.refresh_seconds(age), refresh_at=f"/b/{basket_token}{page.query}",
        back_at=f"/p/{paycode.token(lot.lot_id, keys=wiring.pay_codes)}{page.query}",
    )  # fmt: skip


@post("/b/{basket_token:str}", sync_to_thread=False, include_in_schema=False, request_max_body_size=RETURN_BYTES_MAX)
def come_back(request: AnyRequest, wiring: Wired, basket_token: FromPath[str]) -> Response[Any]:
    """Take a payer back whose wallet returns by a form. What the form says proves nothing: the channel is asked."""
    return pay.see(wiring, page_of(request, wiring).link(f"/b/{pay.token_of(basket_token)}"))


@post("/b/{basket_token:str}/pay", sync_to_thread=True, include_in_schema=False)
def pay_next(request: AnyRequest, wiring: Wired, basket_token: FromPath[str], data: URLEncodedBody[WalletForm]) -> Response[Any]:
    """Start the next act over the wallet that was tapped."""
    offer = _offer(request, wiring, basket_token, data.channel)
    if (anew := _at_another_price(request, wiring, basket_token, data.open)) is not None:
        return anew
    who = pay.payer_id(request, offer)
    if who is None:
        asking = Paying("", offer.channel, "", basket_token, shown=data.open)
        return pay.ask_wallet(request, wiring, f"/b/{basket_token}/payer", asking)
    return _started_or_changed(request, wiring, basket_token, data.open, offer, who)


@post("/b/{basket_token:str}/price", sync_to_thread=True, include_in_schema=False, status_code=200)
def look_up_again(request: AnyRequest, wiring: Wired, basket_token: FromPath[str]) -> Response[Any]:
    """Show anew what is due where a price of the basket has ended, while the basket's page can be used to pay."""
    status = baskets.status(wiring.till(), token=pay.token_of(basket_token))
    return _looked_up_again(request, wiring, status) or pay.see(wiring, page_of(request, wiring).link(f"/b/{basket_token}"))


@get("/b/{basket_token:str}/payer", sync_to_thread=True, include_in_schema=False)
def came_back(request: AnyRequest, wiring: Wired, basket_token: FromPath[str]) -> Response[Any]:
    """Take the payer back from the wallet's login and go on with the act that was about to be paid."""
    was_paying = payer.paying(wiring, request.cookies, state=request.query_params.get("state", ""))
    if was_paying is None or was_paying.charge_id or was_paying.token != basket_token:
        return pay.see(wiring, page_of(request, wiring).link(f"/b/{pay.token_of(basket_token)}"))
    told = pay.told_by_wallet(request, wiring, was_paying)
    if told is None:
        return pay.ask_wallet(request, wiring, f"/b/{basket_token}/payer", msgspec.structs.replace(was_paying, again=True))
    if (anew := _at_another_price(request, wiring, basket_token, was_paying.shown)) is not None:
        return pay.remembered(anew, wiring, *told)
    return _started_or_changed(request, wiring, basket_token, was_paying.shown, *told)


@get("/b/{basket_token:str}/go", sync_to_thread=True, include_in_schema=False)
def open_wallet(request: AnyRequest, wiring: Wired, basket_token: FromPath[str]) -> Response[Any]:
    """Call up the wallet for the act that was started; the same payer finds the same act, however often this is opened."""
    offer, who = pay.opened(request, _offer(request, wiring, basket_token, request.query_params.get("via", "")))
    try:
        offer, started = pay.named_or_not(offer, who, _starter(request, wiring, basket_token))
    except QuoteOver:
        return pay.see(wiring, page_of(request, wiring).link(f"/b/{basket_token}"))
    with wiring.db.connect() as tx:
        lot = lots.lot_by_id(tx, lot_id=started.basket.lot_id)
    amount = yuan(sum(attempt.amount_fen for attempt in started.attempts))
    result = page_of(request, wiring).link(f"/b/{basket_token}")
    return pay.handed_off(request, wiring, offer, started.hand_off, lot=lot, amount=amount, result=result)


def _starter(request: AnyRequest, wiring: Wiring, basket_token: str) -> Callable[[Offer, str], Started]:
    result = page_of(request, wiring).link(f"/b/{basket_token}")

    def start(offer: Offer, who: str) -> Started:
        whose = pay.payer_of(request, wiring, offer, who, result=result)
        return baskets.start(wiring.till(), token=basket_token, channel=offer.channel, payer=whose)

    return start


def _started_or_changed(
    request: AnyRequest, wiring: Wiring, basket_token: str, shown: str, offer: Offer, who: str
) -> Response[Any]:  # fmt: skip
    """Start the next act, or show what has changed where a price has ended this moment."""
    try:
        offer, _ = pay.named_or_not(offer, who, _starter(request, wiring, basket_token))
    except QuoteOver:
        ended = pay.see(wiring, page_of(request, wiring).link(f"/b/{basket_token}", was=shown))
        return _at_another_price(request, wiring, basket_token, shown) or ended
    return pay.lead_on(request, wiring, f"/b/{basket_token}/go", offer, who)


def _at_another_price(request: AnyRequest, wiring: Wiring, basket_token: str, shown: str) -> Response[Any] | None:
    """Return what is to be confirmed anew when another amount is open than the page said; None when it is the same.

    Where nothing of the basket was paid yet and a price here has ended, that is the page of what is due; else the basket's own.
    """
    status = baskets.status(wiring.till(), token=pay.token_of(basket_token))
    if not _YUAN.fullmatch(shown) or shown == yuan(status.open_fen):
        return None
    anew = _looked_up_again(request, wiring, status) if not status.paid_fen else None
    return anew or pay.see(wiring, page_of(request, wiring).link(f"/b/{basket_token}", was=shown))


def _looked_up_again(request: AnyRequest, wiring: Wiring, status: Status) -> Response[Any] | None:
    """Return the page of what the plate owes at the basket's lot now, with what has changed; None where no price here has ended."""
    basket = status.basket
    here = [leg.charge for leg in status.legs if leg.stage == "price_over" and leg.charge.lot_id == basket.lot_id]
    if not here or basket.expires_at - wiring.clock.now() < LAST_MINUTE:
        return None
    token = paycode.token(basket.lot_id, keys=wiring.pay_codes)
    return scan.changed(request, wiring, token, here[0], shown_fen=here[0].amount_fen - here[0].paid_fen)


def _continued(request: AnyRequest, wiring: Wiring, basket_token: str, undecided: Attempt | None) -> str | None:
    """Return where the payer goes on with the act that was begun, while it can be paid and this browser opens its wallet."""
    if undecided is None or undecided.expires_at - wiring.clock.now() < LAST_MINUTE:
        return None
    if undecided.channel not in {offer.channel for offer in scan.offers_everywhere(request, wiring)}:
        return None
    by = pay.UNNAMED if undecided.way is Way.BROWSER else None
    return page_of(request, wiring).link(f"/b/{basket_token}/go", via=undecided.channel, by=by)


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
        "paid_elsewhere": (page.w.leg_elsewhere, "done"), "price_over": (page.w.leg_price, "warn"),
        "refund_due": (page.w.leg_refund_due, "warn"), "refunded": (page.w.leg_refunded, "warn"),
    }  # fmt: skip
    words, mark = stages[leg.stage]
    channel = page.w.channel_name(leg.channel)
    place = f"{lot.name} {facts.instant(leg.charge.entered_at, page.w)}" if here else None
    return Row(payees.get(leg.charge.operator_id, ""), place, yuan(leg.charge.amount_fen), words, mark, leg.receipt, channel)
