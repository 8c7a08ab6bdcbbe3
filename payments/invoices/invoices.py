"""Invoices 数电发票 and fiscal receipts 财政票据: asked for behind the payer's link, one of a payment, by its seller.

Knows requests and the rules of what is to be had; must not know HTTP or issuers. Called by the pages and the worker.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids, payment_number
from payments.invoices import invoice_store
from payments.invoices.invoice_store import File, Invoice, Payable
from payments.invoices.rules import RuleKind
from payments.invoices.titles import Title

TRIES_MAX: Final = 5
"""Most requests of one payment, each after the one before was refused or made out anew."""


def request(tx: Connection, *, lane: int, payment_id: UUID, title: Title, at: datetime, ids: Ids) -> Invoice:
    """Keep a payer's request; while one stands, asking again returns it as it is. Holds the payment.

    The amount is not settled here but when it is handed over: paid less refunded.

    Raises:
        NotFound: ``payment_not_found``.
        Conflict: ``refund_comes_by_itself``, nothing was owed for this payment.
        Refused: ``invoice_not_offered``, no rule gives one. ``nothing_to_invoice``, nothing is left of the payment.
            ``invoice_limit``, too many were refused.
    """
    invoice_store.hold_payments(tx, lane=lane, payment_ids=[payment_id])
    of = _payable(tx, lane, payment_id)
    known = invoice_store.of_payments(tx, lane=lane, payment_ids=[payment_id])
    if (living := _living(known)) is not None:
        return living
    if (wrong := _objection(of, len(known))) is not None:
        raise wrong
    _insert(tx, lane, [of], [len(known)], title, at, ids)
    return _there(invoice_store.of_payments(tx, lane=lane, payment_ids=[payment_id]))


def request_all(tx: Connection, *, lane: int, payment_ids: Sequence[UUID], title: Title, at: datetime, ids: Ids) -> int:
    """Keep the same request for several payments, an invoice of each one's own seller; returns how many are new. Holds them.

    Those that have one, or can have none, are left as they are. As many questions for fifty as for one.
    """
    invoice_store.hold_payments(tx, lane=lane, payment_ids=payment_ids)
    payable = invoice_store.payable(tx, lane=lane, payment_ids=payment_ids)
    known = of_payments(tx, lane=lane, payment_ids=payment_ids)
    before = {one: known.get(one, []) for one in payable}
    fit = [
        one for key, one in sorted(payable.items())
        if _living(before[key]) is None and _objection(one, len(before[key])) is None
    ]  # fmt: skip
    if fit:
        _insert(tx, lane, fit, [len(before[one.payment_id]) for one in fit], title, at, ids)
    return len(fit)


def correct(
    tx: Connection, *, lane: int, payment_id: UUID, invoice_id: UUID, title: Title, at: datetime, ids: Ids
) -> Invoice:  # fmt: skip
    """Have an issued invoice made out to another name or tax number: a red one takes it off, then a new one comes.

    Holds the payment. Asked twice it is the same correction; with the same name and number nothing happens. The new one waits for
    the red one.
    Source: 国家税务总局公告2024年第11号, a wrong invoice is put right by a red one and a new one; docs/RECEIPTS.md.

    Raises:
        NotFound: ``payment_not_found``; ``invoice_not_found``, the payment has no such invoice that stands.
        Conflict: ``invoice_not_issued``, there is nothing to put right yet.
        Refused: ``invoice_correction_over``, the days of the rule are over. ``nothing_to_invoice``; ``invoice_limit``.
    """
    invoice_store.hold_payments(tx, lane=lane, payment_ids=[payment_id])
    of = _payable(tx, lane, payment_id)
    known = invoice_store.of_payments(tx, lane=lane, payment_ids=[payment_id])
    living = _living(known)
    if living is not None and living.corrects == invoice_id:
        return living
    if living is None or living.invoice_id != invoice_id:
        raise NotFound("this payment has no such invoice that stands", code="invoice_not_found")
    if living.state != "issued" or living.correct_until is None:
        raise Conflict("it is not issued yet; it can be put right after that", code="invoice_not_issued")
    if (living.buyer_kind, living.title, living.tax_no) == (title.buyer_kind, title.title, title.tax_no):
        return living
    if at > living.correct_until:
        raise Refused("the days in which it can be made out anew are over; ask the operator", code="invoice_correction_over")
    if (wrong := _objection(of, len(known))) is not None:
        raise wrong
    red_id = ids.new(at, f"red invoice {invoice_id} correction")
    invoice_store.replace(tx, lane=lane, invoice_id=invoice_id, red_id=red_id, at=at)
    _insert(tx, lane, [of], [len(known)], title, at, ids, corrects=invoice_id)
    return _there(invoice_store.of_payments(tx, lane=lane, payment_ids=[payment_id]))


def _payable(tx: Connection, lane: int, payment_id: UUID) -> Payable:
    of = invoice_store.payable(tx, lane=lane, payment_ids=[payment_id]).get(payment_id)
    if of is None:
        raise NotFound(f"no payment {payment_number(lane, payment_id)} has taken money", code="payment_not_found")
    return of


def _living(known: Sequence[Invoice]) -> Invoice | None:
    return next((one for one in known if one.is_living), None)


def _there(known: Sequence[Invoice]) -> Invoice:
    living = _living(known)
    assert living is not None, "it was inserted while the payment was held"
    return living


def _objection(of: Payable, asked: int) -> Conflict | Refused | None:
    """Say why a payment can have no invoice, after ``asked`` requests before."""
    if not of.counts:
        return Conflict("nothing was owed for this payment: it goes back without an invoice", code="refund_comes_by_itself")
    if of.kind is None or of.kind == "none":
        return Refused("no invoice of this lot is to be had here; ask the operator", code="invoice_not_offered")
    if of.left_fen <= 0:
        return Refused("nothing is left of this payment that an invoice could be for", code="nothing_to_invoice")
    if asked >= TRIES_MAX:
        return Refused("too many requests of this payment were refused; call the operator", code="invoice_limit")
    return None


def _insert(
    tx: Connection, lane: int, of: Sequence[Payable], asked: Sequence[int], title: Title, at: datetime, ids: Ids,
    corrects: UUID | None = None,
) -> None:  # fmt: skip
    invoice_ids = [ids.new(at, f"invoice {one.payment_id} {before}") for one, before in zip(of, asked, strict=True)]
    invoice_store.insert(tx, lane=lane, invoice_ids=invoice_ids, of=of, title=title, at=at, corrects=corrects)


def offered(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> dict[UUID, RuleKind]:
    """Return what may be had of payments by the rules in force when they were made; ``none`` where no rule says."""
    if not payment_ids:
        return {}
    return {one.payment_id: one.kind or "none" for one in invoice_store.payable(tx, lane=lane, payment_ids=payment_ids).values()}


def of_payments(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> dict[UUID, list[Invoice]]:
    """Return all requests of payments that have some, with their red ones, in the order in which they were asked for."""
    found: dict[UUID, list[Invoice]] = {}
    for one in invoice_store.of_payments(tx, lane=lane, payment_ids=payment_ids) if payment_ids else ():
        found.setdefault(one.payment_id, []).append(one)
    return found


def standing(known: Sequence[Invoice]) -> Invoice | None:
    """Return the one of a payment's requests that counts: which stands, else the last one that was refused; None without any."""
    refused = [one for one in known if one.state == "refused"]
    return _living(known) or (refused[-1] if refused else None)


def latest(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> dict[UUID, Invoice]:
    """Return the request that counts of each payment that has one, with its red ones."""
    found = of_payments(tx, lane=lane, payment_ids=payment_ids)
    return {key: one for key, known in found.items() if (one := standing(known)) is not None}


def original(tx: Connection, *, lane: int, payment_ids: Sequence[UUID], subject_id: UUID) -> File:
    """Return the structured original of an invoice of one of these payments. Raises NotFound (``invoice_not_found``)."""
    found = invoice_store.file_of(tx, lane=lane, payment_ids=payment_ids, subject_id=subject_id)
    if found is None:
        raise NotFound("there is no such invoice", code="invoice_not_found")
    return found


def forget_emails(tx: Connection, *, lane: int, before: datetime) -> int:
    """Erase the e-mail addresses of what was issued or refused before a moment. Returns how many; may be repeated."""
    return invoice_store.forget_emails(tx, lane=lane, before=before)
