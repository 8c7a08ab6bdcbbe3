"""``tongting incentive``: parties, rules, assignments, settlements and reports of the recovery incentive, for people.

Knows the words of the command and of its answers; must not know how shares come about. Called by the command line.
"""

import argparse
import csv
import io
import re
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from app.commands import settling
from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.errors import Refused
from ledger.money import yuan
from payments.incentive import following, parties, reports, rules, settlements
from payments.incentive.parties import NewParty, Party
from payments.incentive.reports import Row, Viewer
from payments.incentive.rules import Assignment, NewAssignment, NewRule, Rule
from payments.incentive.settlements import Settlement

_FORMULA: Final = re.compile(r"[=+\-@\t\r]")
_Form = TypeVar("_Form")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting incentive``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    acts.add_parser("parties", help="print all parties")
    party = acts.add_parser("party", help="register a party that is no operator, and open its book")
    party.add_argument("kind", choices=["platform", "district", "company"])
    party.add_argument("code", help="its code")
    party.add_argument("--name", required=True, help="legal name")
    party.add_argument("--district", help="the district of a bureau")
    acts.add_parser("rule", help="let shares be owed from a date on").add_argument(
        "file", type=Path, help="TOML, see docs/INCENTIVE.md"
    )
    acts.add_parser("rules", help="print all rules, past and future")
    acts.add_parser("assign", help="give debts to a party to recover").add_argument(
        "file", type=Path, help="TOML, see docs/INCENTIVE.md"
    )
    acts.add_parser("assignments", help="print all assignments, past and future")
    acts.add_parser("run", help="read on in the sealed book now, as the worker does")
    report = acts.add_parser("report", help="write what was given, returned, paid and is open as CSV")
    report.add_argument("--since", type=date.fromisoformat, required=True, help="first business date")
    report.add_argument("--until", type=date.fromisoformat, required=True, help="last business date")
    settle = acts.add_parser("settle", help="propose a settlement for each pair of parties")
    settle.add_argument("--owner", help="code of the party that pays; without it all")
    settle.add_argument("--recoverer", help="code of the party that is paid; without it all")
    settling.add_decisions(acts, settle, of="between parties")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        Refused: what the modules of ``payments.incentive`` refuse; ``file_unreadable``; ``digest_too_short``.
    """
    acts: dict[str, Callable[[Wiring, argparse.Namespace], str]] = {
        "parties": _parties, "party": _party, "rule": _rule, "rules": _rules, "assign": _assign, "assignments": _assignments,
        "run": _run, "report": _report, "settle": _settle, "settlements": _settlements, "approve": _approve, "reject": _reject,
        "paid": _paid,
    }  # fmt: skip
    return acts[given.act](wiring, given)


def as_csv(rows: list[Row]) -> str:
    """Return a report as CSV with a heading; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(Row.__struct_fields__)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in Row.__struct_fields__])
    return file.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _read(file: Path, form: type[_Form]) -> _Form:
    try:
        return msgspec.toml.decode(file.read_bytes(), type=form)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as wrong:
        raise Refused(f"{file} cannot be read: {wrong}", code="file_unreadable") from None


def _party(wiring: Wiring, given: argparse.Namespace) -> str:
    wanted = NewParty(kind=given.kind, code=given.code, name=given.name, district=given.district, lane=wiring.lane)
    with wiring.db.begin() as tx:
        return _party_line(parties.register(tx, party=wanted, at=wiring.clock.now()))


def _parties(wiring: Wiring, _given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        parties.take_in_operators(tx, at=wiring.clock.now())
        return "\n".join(_party_line(party) for party in parties.listed(tx)) or "There is no party."


def _rule(wiring: Wiring, given: argparse.Namespace) -> str:
    wanted, at = _read(given.file, NewRule), wiring.clock.now()
    with wiring.db.begin() as tx:
        kept = rules.add_rule(tx, lane=wiring.lane, rule=wanted, at=at, ids=wiring.ids)
        known = parties.listed(tx)
    said = _rule_lines(kept, known)
    if kept.valid_from < at:
        written = following.catch_up(
            wiring.db, lane=wiring.lane, since=kept.valid_from, at=wiring.clock.now, ids=wiring.ids, say=_progress
        )
        said.append(f"    {written} lines for payments since then")
    return "\n".join(said)


def _rules(wiring: Wiring, _given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        known = parties.listed(tx)
        return "\n".join(line for rule in rules.rules(tx) for line in _rule_lines(rule, known)) or "There is no rule."


def _assign(wiring: Wiring, given: argparse.Namespace) -> str:
    wanted = _read(given.file, NewAssignment)
    with wiring.db.begin() as tx:
        kept = rules.add_assignment(tx, lane=wiring.lane, assignment=wanted, at=wiring.clock.now(), ids=wiring.ids)
        return _assignment_line(kept, parties.listed(tx))


def _assignments(wiring: Wiring, _given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        known = parties.listed(tx)
        return "\n".join(_assignment_line(one, known) for one in rules.assignments(tx)) or "There is no assignment."


def _run(wiring: Wiring, _given: argparse.Namespace) -> str:
    done = following.follow(wiring.db, lane=wiring.lane, at=wiring.clock.now, ids=wiring.ids, say=_progress)
    if done.waits:
        return "Nothing is followed before a platform is registered: tongting incentive party platform CODE --name NAME"
    return f"{done.recovered} payments of debts attributed, {done.shares} shares"


def _report(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        rows = reports.read(tx, lane=wiring.lane, since=given.since, until=given.until, viewer=Viewer())
    return as_csv(rows).rstrip("\n")


def _settle(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        made = settlements.propose(
            tx, lane=wiring.lane, until_on=given.until, by=given.by, at=wiring.clock.now(), ids=wiring.ids,
            owner_id=None if given.owner is None else parties.by_code(tx, code=given.owner).party_id,
            recoverer_id=None if given.recoverer is None else parties.by_code(tx, code=given.recoverer).party_id,
        )  # fmt: skip
        return _settlement_lines(made, parties.listed(tx)) or "Nothing is to be settled."


def _settlements(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        found = settlements.listed(tx, lane=wiring.lane, state=given.state)
        return _settlement_lines(found, parties.listed(tx)) or "There is no settlement."


def _approve(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        digest = settling.digest_of(settlements.listed(tx, lane=wiring.lane), given)
        settlements.approve(
            tx, lane=wiring.lane, settlement_id=given.settlement, digest=digest, by=given.by, at=wiring.clock.now(), note=given.note
        )
        return _one(given.settlement, settlements.listed(tx, lane=wiring.lane), parties.listed(tx))


def _reject(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        settlements.reject(
            tx, lane=wiring.lane, settlement_id=given.settlement, by=given.by, note=given.note, at=wiring.clock.now()
        )
        return _one(given.settlement, settlements.listed(tx, lane=wiring.lane), parties.listed(tx))


def _paid(wiring: Wiring, given: argparse.Namespace) -> str:
    amount_fen = settling.slip_fen(given)
    with wiring.db.begin() as tx:
        settlements.pay(
            tx, lane=wiring.lane, settlement_id=given.settlement, slip=given.slip, paid_on=given.on, amount_fen=amount_fen,
            by=given.by, at=wiring.clock.now(),
        )  # fmt: skip
        return _one(given.settlement, settlements.listed(tx, lane=wiring.lane), parties.listed(tx))


def _one(settlement_id: UUID, found: list[Settlement], known: list[Party]) -> str:
    return _settlement_lines([one for one in found if one.settlement_id == settlement_id], known)


def _progress(said: str) -> None:
    print(said, file=sys.stderr, flush=True)


def _party_line(party: Party) -> str:
    of = "" if party.district is None else f"  {party.district}"
    return f"{party.party_id:>4}  {party.kind:<9} {party.code:<16} book {party.book_id:>4}  {party.name}{of}"


def _rule_lines(rule: Rule, known: list[Party]) -> list[str]:
    codes = {party.party_id: party.code for party in known}
    head = f"from {rule.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M}  {_debts(rule, known)}, recovered by {rule.recovered_by}"
    if rule.recoverer_id is not None:
        head += f" {codes[rule.recoverer_id]}"
    shares = [
        f"    {codes.get(share.party_id or 0, 'the recoverer'):<16} {share.share_bps / 100:>6.2f} %  from {share.days_min} days on"
        + ("" if share.cap_fen is None else f", at most {yuan(share.cap_fen)} yuan")
        for share in rule.shares
    ]
    return [f"{head}  [{rule.document}]  {rule.rule_id}", *(shares or ["    nothing"])]


def _assignment_line(one: Assignment, known: list[Party]) -> str:
    to = next((party.code for party in known if party.party_id == one.recoverer_id), "nobody")
    since = f"{one.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M}"
    return f"from {since}  {_debts(one, known)}, {one.days_min} days old or more, to {to}  [{one.document}]  {one.assignment_id}"


def _debts(of: Rule | Assignment, known: list[Party]) -> str:
    owner = next((party.code for party in known if party.kind == "operator" and party.operator_id == of.operator_id), None)
    return f"debts to {owner or 'any operator'}" + ("" if of.district is None else f" in {of.district}")


def _settlement_lines(found: list[Settlement], known: list[Party]) -> str:
    codes = {party.party_id: party.code for party in known}
    return "\n".join(
        f"{one.settlement_id}  {one.state:<8} {codes[one.owner_id]} to {codes[one.recoverer_id]}  {yuan(one.amount_fen)} yuan  "
        f"{one.lines} lines until {one.until_on}  digest {one.digest.hex()}  by {one.made_by}"
        + ("" if one.decided_by is None else f", {one.decided_by}")
        + ("" if one.slip is None else f"  slip {one.slip} of {one.paid_on}")
        for one in found
    )
