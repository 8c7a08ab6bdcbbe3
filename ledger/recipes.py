"""Recipes: from a business fact to its entry. Pure, and the only place that names accounts.

``docs/POSTINGS.md`` holds the same table for auditors. Called by the appliers in the rooms above.
"""

from datetime import date, datetime
from uuid import UUID

from ledger.accounts import Account, clearing
from ledger.journal import Entry, EntryKind, Line


def charge_paid(
    *,
    payment_id: UUID,
    book_id: int,
    channel: str,
    amount_fen: int,
    happened_at: datetime,
    booked_on: date,
    evidence_id: UUID,
    route_id: int = 0,
) -> Entry:
    """A charge paid at once: the channel holds the operator's money (1012), the operator has earned it (6001)."""
    line = Line(debit=clearing(channel), credit=Account.INCOME, amount_fen=amount_fen)
    return Entry(EntryKind.PAYMENT, payment_id, book_id, happened_at, booked_on, evidence_id, (line,), route_id)


def second_payment(
    *,
    payment_id: UUID,
    book_id: int,
    channel: str,
    amount_fen: int,
    happened_at: datetime,
    booked_on: date,
    evidence_id: UUID,
    route_id: int = 0,
) -> Entry:
    """Money nothing is owed for (a second payment, an amount that differs): kept in suspense (2241) until it is refunded."""
    line = Line(debit=clearing(channel), credit=Account.SUSPENSE_OVER, amount_fen=amount_fen)
    return Entry(EntryKind.PAYMENT, payment_id, book_id, happened_at, booked_on, evidence_id, (line,), route_id)


def left_unpaid(
    *, charge_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:
    """A car left first: the operator has earned the fee (6001) and the plate owes it (1122)."""
    line = Line(debit=Account.RECEIVABLE, credit=Account.INCOME, amount_fen=amount_fen)
    return Entry(EntryKind.LEFT_UNPAID, charge_id, book_id, happened_at, booked_on, evidence_id, (line,))


def debt_paid(
    *,
    payment_id: UUID,
    book_id: int,
    channel: str,
    amount_fen: int,
    happened_at: datetime,
    booked_on: date,
    evidence_id: UUID,
    route_id: int = 0,
) -> Entry:
    """A debt paid: the channel holds the money (1012), the plate owes it no more (1122)."""
    line = Line(debit=clearing(channel), credit=Account.RECEIVABLE, amount_fen=amount_fen)
    return Entry(EntryKind.PAYMENT, payment_id, book_id, happened_at, booked_on, evidence_id, (line,), route_id)


def bad_debt(
    *, payment_id: UUID, book_id: int, channel: str, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID,
    route_id: int = 0,
) -> Entry:  # fmt: skip
    """A channel took back what it had paid (1012): the plate owes the fee again (1122). The income stays."""
    line = Line(debit=Account.RECEIVABLE, credit=clearing(channel), amount_fen=amount_fen)
    return Entry(EntryKind.BAD_DEBT, payment_id, book_id, happened_at, booked_on, evidence_id, (line,), route_id)


def refund_accepted(
    *,
    refund_id: UUID,
    book_id: int,
    from_suspense: bool,
    amount_fen: int,
    happened_at: datetime,
    booked_on: date,
    evidence_id: UUID,
) -> Entry:
    """A refund promised: out of suspense (2241) or out of income (6001 contra), now payable to the payer (2241)."""
    debit = Account.SUSPENSE_OVER if from_suspense else Account.INCOME_REFUNDED
    line = Line(debit=debit, credit=Account.REFUNDS_PAYABLE, amount_fen=amount_fen)
    return Entry(EntryKind.REFUND_ACCEPTED, refund_id, book_id, happened_at, booked_on, evidence_id, (line,))


def refund_done(
    *, refund_id: UUID, book_id: int, channel: str, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:
    """A refund made: the channel gave the money back (1012), nothing is payable any more (2241)."""
    line = Line(debit=Account.REFUNDS_PAYABLE, credit=clearing(channel), amount_fen=amount_fen)
    return Entry(EntryKind.REFUND_DONE, refund_id, book_id, happened_at, booked_on, evidence_id, (line,))


def settled_to_bank(
    *, settlement_id: UUID, book_id: int, channel: str, net_fen: int, fee_fen: int,
    happened_at: datetime, booked_on: date, evidence_id: UUID,
) -> Entry:  # fmt: skip
    """A channel paid out: the bank has the net (1002), the channel kept its fee (6603), the clearing is empty (1012).

    ``net_fen`` and ``fee_fen`` are not negative and not both 0; a row of 0 fen is left out.
    """
    rows = ((Account.BANK, net_fen), (Account.CHANNEL_FEE, fee_fen))
    lines = tuple(Line(debit=account, credit=clearing(channel), amount_fen=amount) for account, amount in rows if amount)
    return Entry(EntryKind.SETTLEMENT, settlement_id, book_id, happened_at, booked_on, evidence_id, lines)
