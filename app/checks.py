"""All standing checks of the product in one list.

Knows that each room has its own ``invariants``; must not know what they check. Called by ``tongting verify``, the worker and
the simulated day.
"""

from sqlalchemy import Connection

from ledger import invariants as ledger_invariants
from ledger.invariants import Violation
from payments import invariants as payments_invariants
from payments.webhooks import invariants as webhook_invariants
from reconciliation import invariants as reconciliation_invariants

CHECKS = (ledger_invariants.check, payments_invariants.check, webhook_invariants.check, reconciliation_invariants.check)


def violations(tx: Connection) -> list[Violation]:
    """Run every check, read only; nothing in the list means that every invariant holds."""
    return [violation for check in CHECKS for violation in check(tx)]
