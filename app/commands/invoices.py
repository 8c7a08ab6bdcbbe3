"""``tongting invoice``: which document payers get of which lots, single invoices, and handing over by hand.

Knows the words of the command and of its answers; must not know how anything is issued. Called by the command line.
"""

import argparse
from datetime import date
from typing import Final, get_args
from uuid import UUID

from sqlalchemy import Connection

from app.commands.routes import instant
from app.wiring import Wiring
from app.worker import issue_invoices
from ledger.clock import CHINA
from ledger.errors import Refused
from ledger.ids import payment_number
from payments import lots
from payments.invoices import handing_over, invoice_store, rules
from payments.invoices.invoice_store import Listed, ListedState
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
    added.add_argument("--correct-days", type=int, default=30, help="days in which it may be made out anew (default: 30)")
    added.add_argument("--red-days", type=int, default=365, help="days after paying in which refunds are followed (default: 365)")
    listed = acts.add_parser("list", help="print invoices and red invoices, the newest first")
    listed.add_argument("--state", choices=get_args(ListedState), help="only those in this state; stuck ones wait for a person")
    _where(listed)
    listed.add_argument("--limit", type=int, default=200, help="at most so many (default: 200)")
    again = acts.add_parser("retry", help="ask anew for red invoices that were refused, without waiting for their time")
    again.add_argument("request", nargs="*", type=UUID, help="ids as the list prints them (default: all that were refused)")
    _where(again)
    acts.add_parser("run", help="hand over what waits and take the issuer's answers now; the worker does it by itself")


def _where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lot", help="only of this lot, by its code")
    parser.add_argument("--day", type=date.fromisoformat, help="only those asked for on this day in China")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        Refused: what ``rules.enter`` refuses.
        NotFound: an operator or a lot that is not here.
    """
    return {"rules": _rules, "rule": _rule, "run": _run, "list": _list, "retry": _retry}[given.act](wiring, given)


def _rules(wiring: Wiring, given: argparse.Namespace) -> str:  # noqa: ARG001  # all acts have one shape
    with wiring.db.connect() as tx:
        found = rules.listed(tx)
    rows = [
        f"{one.rule_id:>6}  {one.kind:14}  {one.place:<14} from {one.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M}  "
        f"made out anew {one.correct_days} days, refunds {one.red_days} days  [{one.document}]"
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
            lot_id=None if lot is None else lot.lot_id, correct_days=given.correct_days, red_days=given.red_days,
        )  # fmt: skip
        number = rules.enter(tx, rule=rule, at=at)
    return f"rule {number} counts for payments from {rule.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M} on"


def _list(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        found = invoice_store.listed(
            tx, lane=wiring.lane, state=given.state, lot_id=_lot_id(tx, given.lot), asked_on=given.day, limit=given.limit
        )  # fmt: skip
    return "\n".join(_line(wiring.lane, one) for one in found) or "none"


def _line(lane: int, one: Listed) -> str:
    amount = "" if one.amount_fen is None else f"{one.amount_fen / 100:.2f}"
    asked = f"{one.asked_at.astimezone(CHINA):%Y-%m-%d %H:%M}"
    then = "" if one.retry_at is None else f"  again from {one.retry_at.astimezone(CHINA):%Y-%m-%d %H:%M}"
    tries = f"  try {one.tries}" if one.tries > 1 else ""
    words = f"  {one.words}" if one.words else ""
    return (
        f"{one.request}  {one.color:4}  {one.state:11}  {one.lot_code:<14} {amount:>9}  {asked}  "
        f"{payment_number(lane, one.payment_id)}  {one.number or '-'}{tries}{then}{words}"
    )


def _retry(wiring: Wiring, given: argparse.Namespace) -> str:
    asked = 0
    while True:
        with wiring.db.begin() as tx:
            made = handing_over.retry(
                tx, lane=wiring.lane, requests=given.request, lot_id=_lot_id(tx, given.lot), asked_on=given.day,
                at=wiring.clock.now(), ids=wiring.ids,
            )  # fmt: skip
        asked += made
        if not made:
            break
    return f"{asked} red invoices are asked for anew" + ("" if asked else "; only those that were refused are (invoice list)")


def _lot_id(tx: Connection, code: str | None) -> int | None:
    return None if code is None else lots.lot_by_code(tx, code=code).lot_id


def _run(wiring: Wiring, given: argparse.Namespace) -> str:  # noqa: ARG001
    ran = issue_invoices(wiring)
    told = f"{ran.handed_over} requests handed over, {ran.answered} answered, {ran.reds} red ones asked for"
    told += f", {ran.again} asked for anew" if ran.again else ""
    told += f"; {ran.stuck} RED ONES WAIT FOR A PERSON: tongting invoice list --state stuck" if ran.stuck else ""
    aside = f"; {ran.aside} files of answers set aside" if ran.aside else ""
    return f"{told}{aside}" + (f"; whoever issues is away: {ran.trouble}" if ran.trouble else "")
