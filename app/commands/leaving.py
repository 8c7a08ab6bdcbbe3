"""``tongting leave``: who may leave first, and when debts are deducted, entered by a person and looked at.

Knows the words of the command and of its answers; must not know how a car is judged. Called by the command line.
"""

import argparse
from datetime import time
from typing import Any

from app.commands.routes import instant
from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.money import yuan
from payments import lots
from payments.mandates import deduction_plan
from payments.mandates.deduction_plan import NewDeductRule
from payments.owed import debt_store, leaving
from payments.owed.leaving import NewRule

_TIME = "as 2026-03-01T00:00; without an offset it is Chinese time (default: now)"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting leave``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    acts.add_parser("list", help="print the rules, past and future")
    added = acts.add_parser("add", help="enter a rule: who may leave first, and until when a debt is to be paid")
    _place(added)
    added.add_argument("--lot", help="the lot's code; without it all lots of the operator")
    added.add_argument("--admits", choices=["nobody", "mandate", "everyone"], required=True, help="who may leave first")
    added.add_argument("--debts-max", type=int, required=True, help="so many open debts a plate has at most then")
    added.add_argument("--owed-max", type=int, required=True, help="so much it owes at most then, with the new debt, in fen")
    added.add_argument("--overdue-days-max", type=int, required=True, help="no debt is overdue by more days")
    added.add_argument("--lists", action="store_true", help="a plate on a status list does not leave first")
    added.add_argument("--due-days", type=int, required=True, help="days after leaving until which a debt is to be paid")
    tried = acts.add_parser("deduct", help="enter on which days after leaving, and when, a debt is tried to be deducted by mandate")
    _place(tried)
    tried.add_argument("--days", type=int, nargs="+", required=True, help="days after leaving, rising; 0 is the day itself")
    tried.add_argument(
        "--times", type=time.fromisoformat, nargs="+", required=True, help="times of these days, such as 10:00 20:00"
    )


def _place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--operator", help="the operator's code; without it the whole city")
    parser.add_argument("--from", dest="valid_from", type=instant, help=f"from when on it counts, {_TIME}")
    parser.add_argument("--document", required=True, help="the approving document")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for, in one transaction, and return what to print.

    Raises:
        Refused: what ``leaving.enter_rule`` and ``deduction_plan.enter_rule`` refuse; an operator or a lot that is not here.
    """
    if given.act == "list":
        return _list(wiring)
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        operator_id = None if given.operator is None else lots.operator_by_code(tx, code=given.operator).operator_id
        begin = given.valid_from or at
        if given.act == "deduct":
            deduct = NewDeductRule(
                operator_id=operator_id, valid_from=begin, document=given.document, after_days=given.days, at_times=given.times
            )
            return f"rule {deduction_plan.enter_rule(tx, rule=deduct, at=at)} of deductions counts from {_moment(begin)} on"
        lot = None if given.lot is None else lots.lot_by_code(tx, code=given.lot)
        rule = NewRule(
            operator_id=operator_id if lot is None else lot.operator_id, lot_id=None if lot is None else lot.lot_id,
            valid_from=begin,
            document=given.document, admits=given.admits, debts_max=given.debts_max, owed_fen_max=given.owed_max,
            overdue_days_max=given.overdue_days_max, checks_lists=given.lists, due_days=given.due_days,
        )  # fmt: skip
        return f"rule {leaving.enter_rule(tx, rule=rule, at=at)} counts from {_moment(begin)} on"


def _list(wiring: Wiring) -> str:
    with wiring.db.connect() as tx:
        operators = {one.operator_id: one.code for one in lots.operators(tx)}
        codes = {one.lot_id: one.code for one in lots.lots(tx, limit=100_000)}
        leave, deduct = debt_store.leave_rules(tx), deduction_plan.rules(tx)
    lines = [_leave_line(one, operators, codes) for one in leave]
    return "\n".join([*lines, *(_deduct_line(one, operators) for one in deduct)])


def _leave_line(one: dict[str, Any], operators: dict[int, str], codes: dict[int, str]) -> str:
    where = codes.get(one["lot_id"]) or operators.get(one["operator_id"]) or "city"
    lists = ", not on a status list" if one["checks_lists"] else ""
    return (
        f"{one['rule_id']:>6}  leave   {where:<14} from {_moment(one['valid_from'])}: admits {one['admits']}, at most "
        f"{one['debts_max']} debts and {yuan(one['owed_fen_max'])} yuan, none overdue by more than {one['overdue_days_max']} days"
        f"{lists}; due within {one['due_days']} days  [{one['document']}]"
    )


def _deduct_line(one: dict[str, Any], operators: dict[int, str]) -> str:
    where = operators.get(one["operator_id"], "city")
    days, times = ", ".join(map(str, one["after_days"])), ", ".join(f"{at:%H:%M}" for at in one["at_times"])
    return (
        f"{one['rule_id']:>6}  deduct  {where:<14} from {_moment(one['valid_from'])}: {days} days after leaving, at {times}  "
        f"[{one['document']}]"
    )


def _moment(at: Any) -> str:
    return f"{at.astimezone(CHINA):%Y-%m-%d %H:%M}"
