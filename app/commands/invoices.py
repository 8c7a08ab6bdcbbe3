"""``tongting invoice``: which document payers get of which lots, and handing requests over by hand.

Knows the words of the command and of its answers; must not know how anything is issued. Called by the command line.
"""

import argparse
from typing import Final

from app.commands.routes import instant
from app.wiring import Wiring
from app.worker import issue_invoices
from ledger.clock import CHINA
from ledger.errors import Refused
from payments import lots
from payments.invoices import rules
from payments.invoices.rules import KINDS, NewRule

_TIME: Final = "as 2026-03-01T00:00; without an offset it is Chinese time (default: now)"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting invoice``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    acts.add_parser("rules", help="list which document is had of which lots, past and future")
    added = acts.add_parser("rule", help="enter which document is had of payments from a moment on")
    added.add_argument("kind", choices=KINDS, help="an invoice of the operator, a fiscal receipt, or none here")
    added.add_argument("--document", required=True, help="the document that says so")
    added.add_argument("--from", dest="valid_from", type=instant, help=f"payments from then on, {_TIME}")
    added.add_argument("--operator", help="an operator's code (default: the city)")
    added.add_argument("--lot", help="a lot's code")
    acts.add_parser("run", help="hand over what waits and take the issuer's answers now; the worker does it by itself")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        Refused: what ``rules.enter`` refuses; an operator or a lot that is not here.
    """
    return {"rules": _rules, "rule": _rule, "run": _run}[given.act](wiring, given)


def _rules(wiring: Wiring, given: argparse.Namespace) -> str:  # noqa: ARG001  # all acts have one shape
    with wiring.db.connect() as tx:
        found = rules.listed(tx)
    rows = [
        f"{one.rule_id:>6}  {one.kind:14}  {one.place:<14} from {one.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M}  [{one.document}]"
        for one in found
    ]
    return "\n".join(rows) or "no rule: nothing is had here; enter one with: tongting invoice rule KIND --document ..."


def _rule(wiring: Wiring, given: argparse.Namespace) -> str:
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        lot = None if given.lot is None else lots.lot_by_code(tx, code=given.lot)
        operator = None if given.operator is None else lots.operator_by_code(tx, code=given.operator)
        if lot is not None and operator is not None and lot.operator_id != operator.operator_id:
            raise Refused(f"lot {lot.code} is not of operator {operator.code}", code="invoice_rule_invalid")
        owner = lot.operator_id if lot is not None else None if operator is None else operator.operator_id
        rule = NewRule(
            kind=given.kind, document=given.document, valid_from=given.valid_from or at, operator_id=owner,
            lot_id=None if lot is None else lot.lot_id,
        )  # fmt: skip
        number = rules.enter(tx, rule=rule, at=at)
    return f"rule {number} counts for payments from {rule.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M} on"


def _run(wiring: Wiring, given: argparse.Namespace) -> str:  # noqa: ARG001
    ran = issue_invoices(wiring)
    told = f"{ran.handed_over} requests handed over, {ran.answered} answered, {ran.reds} red ones asked for"
    aside = f"; {ran.aside} files of answers set aside" if ran.aside else ""
    return f"{told}{aside}" + (f"; whoever issues is away: {ran.trouble}" if ran.trouble else "")
