"""Invoices 数电发票 and fiscal receipts 财政票据: asked for behind the payer's link, one of a payment, of its operator.

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
from payments.invoices.invoice_store import File, Invoice
from payments.invoices.rules import RuleKind
from payments.invoices.titles import Title
from payments.refunding import refund_store

TRIES_MAX: Final = 5
"""Most requests of one payment, each after the one before was refused."""


def request(tx: Connection, *, lane: int, payment_id: UUID, title: Title, at: datetime, ids: Ids) -> Invoice:
    """Keep a payer's request; while one is not refused, asking again returns it as it is. Holds the payment.

    The amount is not settled here but when it is handed over: paid less refunded.

    Raises:
        NotFound: ``payment_not_found``.
        Conflict: ``refund_comes_by_itself``, nothing was owed for this payment.
        Refused: ``invoice_not_offered``, no rule gives one. ``nothing_to_invoice``, nothing is left of the payment.
            ``invoice_limit``, too many were refused.
    """
    refund_store.hold_payment(tx, lane=lane, payment_id=payment_id)
    of = invoice_store.payable(tx, lane=lane, payment_ids=[payment_id]).get(payment_id)
    if of is None:
        raise NotFound(f"no payment {payment_number(lane, payment_id)} has taken money", code="payment_not_found")
    known = invoice_store.of_payments(tx, lane=lane, payment_ids=[payment_id])
    if known and known[-1].state != "refused":
        return known[-1]
    if not of.counts:
        raise Conflict("nothing was owed for this payment: it goes back without an invoice", code="refund_comes_by_itself")
    if of.kind is None or of.kind == "none":
        raise Refused("no invoice of this lot is to be had here; ask the operator", code="invoice_not_offered")
    if of.left_fen <= 0:
        raise Refused("nothing is left of this payment that an invoice could be for", code="nothing_to_invoice")
    if len(known) >= TRIES_MAX:
        raise Refused("too many requests of this payment were refused; call the operator", code="invoice_limit")
    invoice_id = ids.new(at, f"invoice {payment_id} {len(known)}")
    invoice_store.insert(tx, lane=lane, invoice_id=invoice_id, of=of, title=title, at=at)
    return invoice_store.of_payments(tx, lane=lane, payment_ids=[payment_id])[-1]


def offered(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> dict[UUID, RuleKind]:
    """Return what may be had of payments by the rules in force when they were made; ``none`` where no rule says."""
    if not payment_ids:
        return {}
    return {one.payment_id: one.kind or "none" for one in invoice_store.payable(tx, lane=lane, payment_ids=payment_ids).values()}


def latest(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> dict[UUID, Invoice]:
    """Return the latest request of each payment that has one, with its red ones."""
    if not payment_ids:
        return {}
    return {one.payment_id: one for one in invoice_store.of_payments(tx, lane=lane, payment_ids=payment_ids)}


def original(tx: Connection, *, lane: int, payment_ids: Sequence[UUID], subject_id: UUID) -> File:
    """Return the structured original of an invoice of one of these payments. Raises NotFound (``invoice_not_found``)."""
    found = invoice_store.file_of(tx, lane=lane, payment_ids=payment_ids, subject_id=subject_id)
    if found is None:
        raise NotFound("there is no such invoice", code="invoice_not_found")
    return found


def forget_emails(tx: Connection, *, lane: int, before: datetime) -> int:
    """Erase the e-mail addresses of what was issued or refused before a moment. Returns how many; may be repeated."""
    return invoice_store.forget_emails(tx, lane=lane, before=before)
