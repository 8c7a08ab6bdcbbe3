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


def credited(
    *, note_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:  # fmt: skip
    """A charge that is owed was wrong: a credit note takes it off the plate (1122) and out of the income (6001 contra)."""
    line = Line(debit=Account.INCOME_CORRECTED, credit=Account.RECEIVABLE, amount_fen=amount_fen)
    return Entry(EntryKind.CREDITED, note_id, book_id, happened_at, booked_on, evidence_id, (line,))


def waived(
    *, decision_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:  # fmt: skip
    """A debt is let off by a decision of two persons: the plate owes it no more (1122), the income is less (6001 contra)."""
    line = Line(debit=Account.INCOME_WAIVED, credit=Account.RECEIVABLE, amount_fen=amount_fen)
    return Entry(EntryKind.WAIVED, decision_id, book_id, happened_at, booked_on, evidence_id, (line,))


def written_off(
    *, decision_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:  # fmt: skip
    """A debt that will not come is written off by a decision of two persons: a loss (6701), no receivable any more (1122)."""
    line = Line(debit=Account.WRITTEN_OFF, credit=Account.RECEIVABLE, amount_fen=amount_fen)
    return Entry(EntryKind.WRITTEN_OFF, decision_id, book_id, happened_at, booked_on, evidence_id, (line,))


def taken_elsewhere(
    *, taking_id: UUID, book_id: int, channel: str, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:  # fmt: skip
    """Takings without a charge of ours, in cash (1001) or over an old code (1012-09): the operator has earned them (6001)."""
    line = Line(debit=clearing(channel), credit=Account.INCOME, amount_fen=amount_fen)
    return Entry(EntryKind.TAKEN_ELSEWHERE, taking_id, book_id, happened_at, booked_on, evidence_id, (line,))


def cash_banked(
    *, slip_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:  # fmt: skip
    """Cash was brought to the bank (1002): the till of the lot is empty by as much (1001)."""
    line = Line(debit=Account.BANK, credit=Account.CASH, amount_fen=amount_fen)
    return Entry(EntryKind.CASH_BANKED, slip_id, book_id, happened_at, booked_on, evidence_id, (line,))


def incentive_owed(
    *, line_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID,
    returned: bool = False,
) -> Entry:  # fmt: skip
    """A debt was recovered by somebody else: its owner owes a share (6602 to 2241); ``returned``: it was refunded, less is owed."""
    debit, credit = Account.INCENTIVE_COST, Account.INCENTIVE_PAYABLE
    line = Line(debit=credit, credit=debit, amount_fen=amount_fen) if returned else Line(debit, credit, amount_fen)
    return Entry(EntryKind.INCENTIVE_OWED, line_id, book_id, happened_at, booked_on, evidence_id, (line,))


def incentive_earned(
    *, line_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID,
    returned: bool = False,
) -> Entry:  # fmt: skip
    """The same on the side of whoever recovered it: a claim on the owner (1221), earned (6051); ``returned``: less of both."""
    debit, credit = Account.INCENTIVE_RECEIVABLE, Account.INCENTIVE_INCOME
    line = Line(debit=credit, credit=debit, amount_fen=amount_fen) if returned else Line(debit, credit, amount_fen)
    return Entry(EntryKind.INCENTIVE_EARNED, line_id, book_id, happened_at, booked_on, evidence_id, (line,))


def incentive_paid(
    *, settlement_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:  # fmt: skip
    """An owner of debts paid out what it owed to a recoverer (2241), from its bank account (1002)."""
    line = Line(debit=Account.INCENTIVE_PAYABLE, credit=Account.BANK, amount_fen=amount_fen)
    return Entry(EntryKind.INCENTIVE_PAID, settlement_id, book_id, happened_at, booked_on, evidence_id, (line,))


def incentive_received(
    *, settlement_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:  # fmt: skip
    """The recoverer's side of the same: the money is in its bank account (1002), the claim is met (1221)."""
    line = Line(debit=Account.BANK, credit=Account.INCENTIVE_RECEIVABLE, amount_fen=amount_fen)
    return Entry(EntryKind.INCENTIVE_RECEIVED, settlement_id, book_id, happened_at, booked_on, evidence_id, (line,))


def bearer_claimed(
    *, part_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:  # fmt: skip
    """A part of a stay is borne in place of the driver: a claim on the bearer (1221), earned as parking income (6001)."""
    line = Line(debit=Account.BEARER_RECEIVABLE, credit=Account.INCOME, amount_fen=amount_fen)
    return Entry(EntryKind.BEARER_CLAIMED, part_id, book_id, happened_at, booked_on, evidence_id, (line,))


def bearer_owed(
    *, part_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:  # fmt: skip
    """The same in the book of a bearer that keeps one: a discount granted to drivers (6601), owed to the operator (2241)."""
    line = Line(debit=Account.BEARER_COST, credit=Account.BEARER_PAYABLE, amount_fen=amount_fen)
    return Entry(EntryKind.BEARER_OWED, part_id, book_id, happened_at, booked_on, evidence_id, (line,))


def bearer_paid(
    *, settlement_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:  # fmt: skip
    """A bearer paid what it bore: the money is in the operator's bank account (1002), the claim is met (1221)."""
    line = Line(debit=Account.BANK, credit=Account.BEARER_RECEIVABLE, amount_fen=amount_fen)
    return Entry(EntryKind.BEARER_PAID, settlement_id, book_id, happened_at, booked_on, evidence_id, (line,))


def bearer_paid_out(
    *, settlement_id: UUID, book_id: int, amount_fen: int, happened_at: datetime, booked_on: date, evidence_id: UUID
) -> Entry:  # fmt: skip
    """The same in the bearer's own book: it owes no more (2241), the money left its bank account (1002)."""
    line = Line(debit=Account.BEARER_PAYABLE, credit=Account.BANK, amount_fen=amount_fen)
    return Entry(EntryKind.BEARER_PAID_OUT, settlement_id, book_id, happened_at, booked_on, evidence_id, (line,))
