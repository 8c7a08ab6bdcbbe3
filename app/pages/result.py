"""The result of a payment, behind a link that only the payer has. It survives reload, back and five open tabs.

Knows what checkout says about an order; must not know how it is found out. Mounted by ``app.pages``.
A browser's return never makes anything paid: the page shows what the channel has proven.
"""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from app.pages import after_words, facts, patience, pay, receipt
from app.pages.codes import AnyRequest, page_of
from app.pages.render import RETURN_BYTES_MAX, Page
from app.wiring import Wired, Wiring
from ledger.ids import read_payment_number
from ledger.money import yuan
from payments import checkout, lots, paycode
from payments.checkout import Status
from payments.invoices import receipts
from payments.lots import Lot
from payments.orders import LAST_MINUTE
from payments.owed import disputes

VIA_LETTERS_MAX: Final = 16


@get("/r/{order_token:str}", sync_to_thread=True, include_in_schema=False)
def result(request: AnyRequest, wiring: Wired, order_token: FromPath[str]) -> Response[bytes]:
    """Show what became of an order."""
    status = checkout.status(wiring.till(), token=order_token)
    with wiring.db.connect() as tx:
        lot = lots.lot_by_id(tx, lot_id=status.order.lot_id)
        is_disputed = bool(disputes.open_among(tx, lane=wiring.lane, charge_ids=[status.charge.charge_id]))
        page = page_of(request, wiring)
        legs = receipt.legs_of(tx, wiring, page, lot, receipts.of_payments(tx, lane=wiring.lane, payment_ids=_paid(status)))
    return _shown(page, wiring, order_token, status, lot, legs, _via(request), is_disputed=is_disputed)


def _paid(status: Status) -> list[UUID]:
    """Return the payment that the page is about, once it took money."""
    read = None if status.receipt is None else read_payment_number(status.receipt)
    return [] if read is None else [read[1]]


@post("/r/{order_token:str}", sync_to_thread=False, include_in_schema=False, request_max_body_size=RETURN_BYTES_MAX)
def come_back(request: AnyRequest, wiring: Wired, order_token: FromPath[str]) -> Response[Any]:
    """Take a payer back whose wallet returns by a form. What the form says proves nothing: the channel is asked."""
    return pay.see(wiring, page_of(request, wiring).link(f"/r/{pay.token_of(order_token)}", **_via(request)))


def _via(request: AnyRequest) -> dict[str, str | None]:
    """Return what the address says of the wallet that the payer was led to; "go on" leads to the same one."""
    return {name: request.query_params.get(name, "")[:VIA_LETTERS_MAX] or None for name in ("via", "by")}


def _shown(
    page: Page, wiring: Wiring, order_token: str, status: Status, lot: Lot, legs: list[receipt.Leg], via: dict[str, str | None], *,
    is_disputed: bool,
) -> Response[bytes]:  # fmt: skip
    w, open_still = page.w, status.stage in ("unpaid", "waiting")
    can_go_on = open_still and status.order.expires_at - wiring.clock.now() >= LAST_MINUTE
    mark, title, text = _words(page, status)
    age = wiring.clock.now() - status.order.created_at
    text = _patience(page, status, channel=via["via"], age=age) or text
    amount_fen = status.order.amount_fen if status.taken_fen is None else status.taken_fen
    scan_at = f"/p/{paycode.token(lot.lot_id, keys=wiring.pay_codes)}{page.query}"
    return page.answer(
        "result.html", lot=lot, mark=mark, title=title, text=text, amount=yuan(amount_fen), receipt=status.receipt, legs=legs,
        typed=None, changed=_changed(page, status),
        plate=facts.plate(status.charge.plate), chip=facts.chip(status.charge.plate, status.charge.plate_color),
        refunded=yuan(status.refunded_fen) if status.refunded_fen else None,
        paid_at=facts.precise(status.paid_at) if status.paid_at else None, channel=w.channel_name(status.channel),
        refresh_seconds=patience.refresh_seconds(age) if open_still else None,
        refresh_at=page.link(f"/r/{order_token}", **via) if open_still else None,
        continue_at=page.link(f"/r/{order_token}/pay", **via) if can_go_on else None,
        objection=w.objections[0] if is_disputed and status.stage == "paid" else None,
        back_at=None if open_still else scan_at, back_text=w.scan_again if _is_due_anew(status) else w.back_to_lot,
        **receipt.shared(wiring, page, f"/r/{order_token}"),
    )  # fmt: skip


def _patience(page: Page, status: Status, *, channel: str | None, age: timedelta) -> str | None:
    """Return what is said to a payer who waits; None where nobody does."""
    if status.stage == "unpaid":
        return patience.unpaid(page, age=age)
    return patience.waiting(page, channel=channel, age=age) if status.stage == "waiting" else None


def _changed(page: Page, status: Status) -> str | None:
    """Say that another amount is due of the charge by now; less than all of a debt may be meant as a part."""
    charge, asked_fen = status.charge, status.order.amount_fen
    if status.stage not in ("unpaid", "over") or charge.state != "open":
        return None
    is_other = asked_fen > charge.owed_fen or (asked_fen < charge.owed_fen and not charge.is_receivable)
    return after_words.words(is_english=page.is_english).changed.format(amount=yuan(charge.owed_fen)) if is_other else None


def _is_due_anew(status: Status) -> bool:
    """Say whether the way to the lot's page is the way to pay."""
    return status.stage == "over" or (status.stage == "taken_back" and status.charge.state == "open")


def _words(page: Page, status: Status) -> tuple[str, str, str]:
    """Return mark, title and sentence of a stage."""
    w = page.w
    match status.stage:
        case "paid":
            return "done", w.paid_title, w.paid_text
        case "refund_due" if status.taken_fen is not None and status.taken_fen != status.order.amount_fen:
            return "warn", w.check_title, w.check_text
        case "refund_due":
            return "warn", w.twice_title, w.twice_text
        case "refunded":
            return "done", w.refunded_title, w.refunded_text
        case "taken_back" if status.charge.state == "settled":
            return "warn", w.taken_back_title, w.taken_back_settled
        case "taken_back":
            return "warn", w.taken_back_title, w.taken_back_text
        case "waiting":
            return "wait", w.waiting_title, w.waiting_text
        case "unpaid":
            return "wait", w.unpaid_title, w.unpaid_text
        case "over":
            return "stop", w.closed_title, w.closed_text
