"""Which document a payer may get of a lot's payments: an invoice of the operator, a fiscal receipt, or none here. Dated.

Knows the rules alone; must not know requests or issuers. Called by ``invoices`` and the command line.
Source: 数电发票 and 财政票据 differ by whose income the fee is; an approving document says so lot by lot, operator by operator.
"""

from datetime import datetime
from typing import Final, Literal

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.errors import Conflict, Refused

RuleKind = Literal["tax_invoice", "fiscal_receipt", "none"]
KINDS: Final[tuple[RuleKind, ...]] = ("tax_invoice", "fiscal_receipt", "none")
DOCUMENT_LETTERS_MAX: Final = 200
DAYS_MAX: Final = 3_650
IN_FORCE: Final = """
    select r.rule_id, r.kind from payments.invoice_rule r
    where r.valid_from <= {at} and (r.operator_id is null or r.operator_id = {operator}) and (r.lot_id is null or r.lot_id = {lot})
    order by r.lot_id is null, r.operator_id is null, r.valid_from desc, r.rule_id desc limit 1
"""
"""The rule that counts for a payment of a lot taken at a moment: the nearest place, then the latest."""


class NewRule(Struct, frozen=True, kw_only=True):
    """A rule to be entered. Without ``operator_id`` it counts for the city, without ``lot_id`` for all lots of the operator."""

    kind: RuleKind
    document: str
    valid_from: datetime
    operator_id: int | None = None
    lot_id: int | None = None
    correct_days: int = 30
    """So many days after it was issued the buyer may have it made out to another name or tax number; 0: not here."""
    red_days: int = 365
    """What is refunded within so many days of the payment is taken off its invoice."""


class Rule(Struct, frozen=True, kw_only=True):
    """A rule as it is listed; ``place`` is the code of the lot or the operator, or ``city``."""

    rule_id: int
    kind: RuleKind
    place: str
    valid_from: datetime
    document: str
    correct_days: int
    red_days: int


def enter(tx: Connection, *, rule: NewRule, at: datetime) -> int:
    """Enter a rule; returns its number. It is never changed: a later one of the same place replaces it from its moment on.

    It counts for what is paid from ``valid_from`` on, which may lie in the past.

    Raises:
        Refused: ``invoice_rule_invalid``.
        Conflict: ``invoice_rule_conflict``, another one of the same place begins at that moment.
    """
    if rule.kind not in KINDS or not 0 < len(rule.document.strip()) <= DOCUMENT_LETTERS_MAX or rule.valid_from.tzinfo is None:
        raise Refused("a rule has a kind, a moment with its offset, and names its document", code="invoice_rule_invalid")
    if not 0 <= rule.correct_days <= DAYS_MAX or not 1 <= rule.red_days <= DAYS_MAX:
        raise Refused(f"days to correct are 0 to {DAYS_MAX}, days of refunds 1 to {DAYS_MAX}", code="invoice_rule_invalid")
    number = tx.execute(
        text("""
        insert into payments.invoice_rule (operator_id, lot_id, kind, valid_from, document, correct_days, red_days, entered_at)
        values (:operator_id, :lot_id, :kind, :valid_from, :document, :correct_days, :red_days, :at)
        on conflict (operator_id, lot_id, valid_from) do nothing returning rule_id
        """),
        {
            "operator_id": rule.operator_id, "lot_id": rule.lot_id, "kind": rule.kind, "valid_from": rule.valid_from,
            "document": rule.document.strip(), "correct_days": rule.correct_days, "red_days": rule.red_days, "at": at,
        },
    ).scalar()  # fmt: skip
    if number is None:
        raise Conflict("there is a rule of this place from that moment on; begin at another one", code="invoice_rule_conflict")
    return int(number)


def listed(tx: Connection, *, limit: int = 1_000) -> list[Rule]:
    """Return all rules, the latest entered first."""
    query = text("""
        select r.rule_id, r.kind, coalesce(l.code, o.code, 'city') as place, r.valid_from, r.document, r.correct_days,
               r.red_days
        from payments.invoice_rule r
        left join payments.operator o on o.operator_id = r.operator_id
        left join payments.lot l on l.lot_id = r.lot_id
        order by r.rule_id desc limit :limit
        """)
    return [Rule(**row._mapping) for row in tx.execute(query, {"limit": limit})]
