"""After paying: the receipt with its place in the sealed book, refund requests and invoices, behind the payer's link.

Knows what is shown and asked for; must not know channels, issuers or how money goes back. Mounted by ``app.pages``.

Whoever has the link paid or stood beside: plates stay masked, and of stays at other lots a basket shows neither place nor time, as
its own page does.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import RawBody
from msgspec import Struct
from sqlalchemy import Connection

from app.pages import after_words, facts, pay
from app.pages.after_words import AfterWords
from app.pages.codes import AnyRequest, page_of
from app.pages.render import Page, headers
from app.wiring import Wired, Wiring
from gateways import messages
from gateways.contract import RawMessage
from ledger import places
from ledger.clock import business_date
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import entry_id, payment_number, read_payment_number
from ledger.journal import EntryKind
from ledger.money import yuan
from payments import baskets, checkout, lots
from payments.errors import ChargeUnknown
from payments.invoices import invoices, receipts
from payments.invoices.invoice_store import Invoice, Red
from payments.invoices.receipts import Receipt
from payments.invoices.rules import RuleKind
from payments.invoices.titles import TitleRefused, checked
from payments.lots import Lot
from payments.mandates import own_deductions
from payments.refunding import requests
from payments.refunding.request_store import Request
from payments.refunding.requests import REASONS, WORDS_LETTERS_MAX

ROOT_LETTERS: Final = 12
FIELDS_MAX: Final = 20
_PATHS: Final = ("/r/{order_token:str}", "/b/{basket_token:str}", "/d/{deduction_token:str}")
"""Links of an order, of a basket, and of what a mandate took."""


class Link(Struct, frozen=True):
    """What a payer's link leads to: an order, a basket or a deduction, and the payments of it that took money."""

    at: str
    lot: Lot
    payment_ids: list[UUID]


class Download(Struct, frozen=True):
    """An invoice, or a red one, that can be fetched."""

    words: str
    number: str | None
    href: str | None


class Leg(Struct, frozen=True, kw_only=True):
    """A payment as its receipt shows it, and what can be asked for."""

    receipt: str
    operator: str
    credit_code: str
    place: str | None
    """Name of the lot; None: it is another one."""
    plate: str
    chip: str
    entered: str | None
    left: str | None
    stay: str | None
    tariff: str | None
    charge: str
    reduced: str | None
    amount: str
    channel: str
    trade_no: str
    paid_at: str
    backs: list[str]
    seal: str | None
    proof: str | None
    said: list[str]
    """What became of the last refund request, and what is to be known of refunds."""
    can_refund: bool
    refund_again: bool
    document: RuleKind
    can_invoice: bool
    correct_of: str | None
    """Issued, and it may be made out anew: the invoice's id."""
    correct_text: str | None
    invoice_said: str | None
    downloads: list[Download]


class Typed(Struct, frozen=True):
    """A form that could not be taken: what was typed, and one sentence."""

    receipt: str
    form: str
    wrong: str
    values: dict[str, str]


def show(request: AnyRequest, wiring: Wired) -> Response[Any]:
    """Show the receipts of an order or a basket, to read, keep and print; nothing paid leads back to the result."""
    link = _link(request, wiring)
    if not link.payment_ids:
        return pay.see(wiring, page_of(request, wiring).link(link.at))
    return _shown(request, wiring, link)


def ask_refund(request: AnyRequest, wiring: Wired, body: RawBody) -> Response[Any]:
    """Keep a driver's refund request with the form as its evidence; a second tap is the same request."""
    link, form = _link(request, wiring), _form(body)
    payment_id, page = _meant(link, form), page_of(request, wiring)
    reason = next((one for one in REASONS if one == form.get("reason")), None)
    words = form.get("words", "").replace("\r\n", "\n").strip()
    if reason is None or len(words) > WORDS_LETTERS_MAX:
        wrong = after_words.words(is_english=page.is_english).refund_wrong
        return _shown(request, wiring, link, Typed(payment_number(wiring.lane, payment_id), "refund", wrong, form))
    at, settings = wiring.clock.now(), wiring.settings
    try:
        with wiring.db.begin() as tx:
            known = requests.latest(tx, lane=wiring.lane, payment_ids=[payment_id]).get(payment_id)
            if known is None or known.state != "open":
                evidence = _evidence(wiring, payment_id, body)
                messages.keep(tx, lane=wiring.lane, messages=[evidence])
                requests.ask(
                    tx, lane=wiring.lane, payment_id=payment_id, reason=reason, words=words, evidence_id=evidence.message_id,
                    answer_within=timedelta(days=settings.refund_answer_days),
                    remind_after=timedelta(days=settings.refund_remind_days), at=at, ids=wiring.ids,
                )  # fmt: skip
    except (Conflict, Refused):
        return _changed(request, wiring, link, payment_id, "refund", form)
    return pay.see(wiring, page.link(f"{link.at}/receipt") + f"#{payment_number(wiring.lane, payment_id)}")


def ask_invoice(request: AnyRequest, wiring: Wired, body: RawBody) -> Response[Any]:
    """Keep a request of an invoice or fiscal receipt, of all legs when asked so, or of one made out anew; twice it is the same."""
    link, form = _link(request, wiring), _form(body)
    payment_id, page = _meant(link, form), page_of(request, wiring)
    receipt, at = payment_number(wiring.lane, payment_id), wiring.clock.now()
    try:
        title = checked(
            buyer_kind=form.get("buyer", ""),
            title=form.get("title", ""),
            tax_no=form.get("tax_no", ""),
            email=form.get("email", ""),
        )
        with wiring.db.begin() as tx:
            if corrects := form.get("corrects"):
                invoices.correct(
                    tx, lane=wiring.lane, payment_id=payment_id, invoice_id=_uuid(corrects), title=title, at=at, ids=wiring.ids
                )
            else:
                invoices.request(tx, lane=wiring.lane, payment_id=payment_id, title=title, at=at, ids=wiring.ids)
            if form.get("all") and not corrects:
                invoices.request_all(tx, lane=wiring.lane, payment_ids=link.payment_ids, title=title, at=at, ids=wiring.ids)
    except TitleRefused as refused:
        sentences = after_words.words(is_english=page.is_english).invoice_wrong
        wrong = sentences[("title", "tax_no", "email").index(refused.field)]
        return _shown(request, wiring, link, Typed(receipt, "invoice", wrong, form))
    except (Conflict, NotFound, Refused):
        return _changed(request, wiring, link, payment_id, "invoice", form)
    return pay.see(wiring, page.link(f"{link.at}/receipt") + f"#{receipt}")


def _uuid(typed: str) -> UUID:
    try:
        return UUID(typed)
    except ValueError:
        raise ChargeUnknown("this is no form of ours") from None


def fetch(request: AnyRequest, wiring: Wired) -> Response[bytes]:
    """Return the structured original of an invoice that belongs to this link, as a file to save."""
    link = _link(request, wiring)
    with wiring.db.connect() as tx:
        found = invoices.original(
            tx, lane=wiring.lane, payment_ids=link.payment_ids, subject_id=UUID(str(request.path_params["document"]))
        )
    name = f"invoice-{found.subject_id.hex[-12:]}.{found.name.rpartition('.')[2].lower()}"
    more = {"content-disposition": f'attachment; filename="{name}"', "content-security-policy": "default-src 'none'; sandbox"}
    return Response(found.body, media_type=found.media_type, headers=headers(wiring.settings) | more)


# What a link leads to


def _link(request: AnyRequest, wiring: Wiring) -> Link:
    """Return what a payer's link leads to. Raises OrderUnknown, ChargeUnknown: no such link."""
    params, till = request.path_params, wiring.till()
    if "deduction_token" in params:
        with wiring.db.connect() as tx:
            linked = own_deductions.by_link(tx, lane=wiring.lane, token=str(params["deduction_token"]))
            lot = lots.lot_by_id(tx, lot_id=linked.lot_id)
        return Link(f"/d/{pay.token_of(str(params['deduction_token']))}", lot, [linked.payment_id])
    if "order_token" in params:
        at = f"/r/{pay.token_of(str(params['order_token']))}"
        status = checkout.status(till, token=str(params["order_token"]))
        lot_id, numbers = status.order.lot_id, [status.receipt]
    else:
        at = f"/b/{pay.token_of(str(params['basket_token']))}"
        told = baskets.status(till, token=str(params["basket_token"]))
        lot_id, numbers = told.basket.lot_id, [leg.receipt for leg in told.legs]
    with wiring.db.connect() as tx:
        lot = lots.lot_by_id(tx, lot_id=lot_id)
    found = [read_payment_number(number) for number in numbers if number is not None]
    return Link(at, lot, [one[1] for one in found if one is not None])


def _meant(link: Link, form: dict[str, str]) -> UUID:
    """Return the payment that a form is about; it must belong to the link. Raises ChargeUnknown."""
    read = read_payment_number(form.get("receipt", ""))
    if read is None or read[1] not in link.payment_ids:
        raise ChargeUnknown("the form names no payment of this link")
    return read[1]


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError:
        raise ChargeUnknown("this is no form of ours") from None


def _evidence(wiring: Wiring, payment_id: UUID, body: bytes) -> RawMessage:
    """Make the record of a form: whoever has the link sent it, nobody proved more."""
    at = wiring.clock.now()
    return RawMessage(
        message_id=wiring.ids.new(at, f"message page refund_request {payment_id}", body), channel="page",
        operation="refund_request", direction="in", verdict="unverified", reason=None, received_at=at,
        headers=msgspec.json.encode({}).decode(), body=body, subject=payment_id,
    )  # fmt: skip


# What is shown


def _changed(
    request: AnyRequest, wiring: Wiring, link: Link, payment_id: UUID, form: str, values: dict[str, str]
) -> Response[bytes]:  # fmt: skip
    wrong = after_words.words(is_english=page_of(request, wiring).is_english).gone
    typed = Typed(payment_number(wiring.lane, payment_id), form, wrong, values)
    return _shown(request, wiring, link, typed, status=409)


def _shown(
    request: AnyRequest, wiring: Wiring, link: Link, typed: Typed | None = None, *, status: int | None = None
) -> Response[bytes]:  # fmt: skip
    page = page_of(request, wiring)
    with wiring.db.connect() as tx:
        found = receipts.of_payments(tx, lane=wiring.lane, payment_ids=link.payment_ids)
        legs = legs_of(tx, wiring, page, link.lot, found)
    answer = 200 if typed is None else 422
    return page.answer(
        "receipt.html", status=status or answer, switch=f"{link.at}/receipt", lot=link.lot, legs=legs, typed=typed,
        others=sum(one.can_invoice for one in legs) - 1, of_mandate=link.at.startswith("/d/"),
        together=yuan(sum(one.taken_fen for one in found)) if len(found) > 1 else None, **shared(wiring, page, link.at),
    )  # fmt: skip


def shared(wiring: Wiring, page: Page, at: str) -> dict[str, Any]:
    """Return what the templates of results and receipts share."""
    return {
        "r": after_words.words(is_english=page.is_english), "at": at, "reasons": REASONS, "origin": wiring.settings.public_url,
        "address": f"{wiring.settings.public_url}{page.link(at)}", "answer_days": wiring.settings.refund_answer_days,
    }  # fmt: skip


def legs_of(tx: Connection, wiring: Wiring, page: Page, lot: Lot, found: list[Receipt]) -> list[Leg]:
    """Return payments as their receipts show them, in as many questions for fifty as for one."""
    lane, ids = wiring.lane, [one.payment_id for one in found]
    entries = {one: entry_id(one, EntryKind.PAYMENT) for one in ids}
    sealed = places.sealed(tx, lane=lane, entry_ids=list(entries.values()))
    asked = requests.latest(tx, lane=lane, payment_ids=ids)
    offered = invoices.offered(tx, lane=lane, payment_ids=ids)
    made, at = invoices.of_payments(tx, lane=lane, payment_ids=ids), wiring.clock.now()
    return [
        _leg(page, lot, one, sealed.get(entries[one.payment_id]), asked.get(one.payment_id), offered.get(one.payment_id, "none"),
             made.get(one.payment_id, []), at)
        for one in found
    ]  # fmt: skip


def _leg(
    page: Page, lot: Lot, one: Receipt, place: places.Place | None, asked: Request | None, document: RuleKind,
    known: Sequence[Invoice], at: datetime,
) -> Leg:  # fmt: skip
    w, r, here = page.w, after_words.words(is_english=page.is_english), one.lot_id == lot.lot_id
    number = payment_number(one.lane, one.payment_id)
    is_open = asked is not None and asked.state == "open"
    size, made = None if place is None else place.tree_size, invoices.standing(known)
    until = None if made is None or not one.counts or one.left_fen <= 0 else made.correct_until
    can_correct = made is not None and made.is_living and until is not None and at <= until and len(known) < invoices.TRIES_MAX
    return Leg(
        receipt=number, operator=one.operator_name, credit_code=one.credit_code, place=one.lot_name if here else None,
        plate=facts.plate(one.plate), chip=facts.chip(one.plate, one.plate_color),
        entered=facts.precise(one.entered_at) if here else None,
        left=facts.precise(one.left_at) if here and one.left_at else None, stay=facts.stay(one.minutes, w) if here else None,
        tariff=one.tariff_text if here else None, charge=yuan(one.charge_fen),
        reduced=yuan(one.reduced_fen) if one.reduced_fen else None, amount=yuan(one.taken_fen), channel=w.channel_name(one.channel),
        trade_no=one.trade_no, paid_at=facts.precise(one.paid_at), backs=_backs(page, one),
        seal=None if place is None else r.sealed.format(number=place.number, size=size, root=place.root[:ROOT_LETTERS]),
        proof=None if place is None else f"/v1/receipts/{number}/proof?tree_size={size}", said=_said(page, one, asked),
        can_refund=one.counts and one.left_fen > 0 and not is_open, refund_again=asked is not None, document=document,
        can_invoice=one.counts and one.left_fen > 0 and document != "none" and (made is None or not made.is_living)
        and len(known) < invoices.TRIES_MAX,
        correct_of=str(made.invoice_id) if can_correct and made is not None else None,
        correct_text=None if until is None else r.invoice_correct_text.format(day=facts.day(business_date(until), w)),
        invoice_said=_invoice_said(page, made), downloads=[file for each in known for file in _downloads(page, each)],
    )  # fmt: skip


def _backs(page: Page, one: Receipt) -> list[str]:
    r = after_words.words(is_english=page.is_english)
    told = [
        r.back_done.format(amount=yuan(back.amount_fen), day=facts.day(business_date(back.done_at), page.w))
        if back.state == "done" and back.done_at is not None
        else r.back_way.format(amount=yuan(back.amount_fen))
        for back in one.backs
    ]
    return [*told, r.taken_back] if one.is_taken_back else told


def _said(page: Page, one: Receipt, asked: Request | None) -> list[str]:
    """Say where the last refund request stands, in the lot's words where there are any."""
    r = after_words.words(is_english=page.is_english)
    if not one.counts:
        return [] if one.is_taken_back else [r.refund_itself]
    if asked is None:
        return []
    words = [f"{r.refund_says}{asked.answer}"] if asked.answer else []
    match asked.state:
        case "open":
            return [r.refund_open.format(day=facts.day(business_date(asked.answer_until), page.w))]
        case "accepted":
            return [r.refund_accepted.format(amount=yuan(asked.amount_fen or 0)), *words]
        case "declined":
            return [r.refund_declined, *words]


def _invoice_said(page: Page, made: Invoice | None) -> str | None:
    r = after_words.words(is_english=page.is_english)
    if made is None:
        return None
    if made.state == "refused":
        return r.invoice_refused.format(words=(made.refused_words or "").rstrip("。."))
    if made.state == "issued":
        return None
    return r.invoice_waiting if made.corrects is None else r.invoice_correct_waiting


def _downloads(page: Page, made: Invoice) -> list[Download]:
    r = after_words.words(is_english=page.is_english)
    if made.state != "issued":
        return []
    says = r.invoice_issued if made.replaced_at is None else r.invoice_replaced
    blue = Download(says.format(amount=yuan(made.amount_fen or 0)), made.number, made.invoice_id.hex if made.has_file else None)
    reds = [
        Download(_red_words(r, red).format(amount=yuan(red.amount_fen)), red.number, red.red_id.hex if red.has_file else None)
        for red in made.reds
    ]  # fmt: skip
    return [blue, *reds]


def _red_words(r: AfterWords, red: Red) -> str:
    if red.cause == "correction":
        return r.invoice_red_correct if red.state == "issued" else r.invoice_red_correct_waiting
    return r.invoice_red if red.state == "issued" else r.invoice_red_waiting


def _both(method: type[get] | type[post], suffix: str, handler: Callable[..., Response[Any]]) -> list[HTTPRouteHandler]:
    """Return a handler below each kind of link."""
    return [method(f"{path}{suffix}", sync_to_thread=True, include_in_schema=False)(handler) for path in _PATHS]


@get("/d/{deduction_token:str}", sync_to_thread=True, include_in_schema=False)
def kept(request: AnyRequest, wiring: Wired) -> Response[Any]:
    """Lead from the address that a driver kept to the receipt of a deduction."""
    return pay.see(wiring, page_of(request, wiring).link(f"{_link(request, wiring).at}/receipt"))


routes: Final[list[HTTPRouteHandler]] = [
    kept,
    *_both(get, "/receipt", show),
    *_both(post, "/refund", ask_refund),
    *_both(post, "/invoice", ask_invoice),
    *_both(get, "/invoice/{document:uuid}", fetch),
]
