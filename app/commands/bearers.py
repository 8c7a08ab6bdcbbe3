"""``tongting split`` of bearers: who pays parts of stays in place of drivers, what they owe, and how it is settled, for people.

Knows the words of the acts and of their answers; must not know how claims come about. Called by ``app.commands.splits``.
"""

import argparse
import csv
import io
import re
import sys
from collections.abc import Callable
from datetime import date
from typing import Any, Final
from uuid import UUID

from app.commands import settling
from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.money import yuan
from payments import lots
from payments.bearers import bearers, following, reports, settlements
from payments.bearers.bearers import Bearer
from payments.bearers.reports import BorneLine
from payments.bearers.settlements import Settlement

_FORMULA: Final = re.compile(r"[=+\-@\t\r]")


def add_acts(acts: Any) -> None:
    """Add what may be said of bearers after ``tongting split``."""
    bearer = acts.add_parser("bearer", help="register who pays parts of stays in place of drivers")
    bearer.add_argument("code", help="the code that rules name it by")
    bearer.add_argument("--name", required=True, help="its name, as the payer reads it")
    bearer.add_argument("--document", required=True, help="the agreement by which it pays")
    bearer.add_argument(
        "--party", help="code of the operator, platform, bureau or company that it is; its own book then shows the debt"
    )
    acts.add_parser("bearers", help="print all bearers")
    claims = acts.add_parser("claims", help="print what each bearer has borne, settled, and owes")
    claims.add_argument("--bearer", help="the bearer's code; without it all")
    acts.add_parser("follow", help="read on in the sealed book now, as the worker does")
    report = acts.add_parser("report", help="write what a bearer owes stay by stay as CSV, for the bearer to check")
    report.add_argument("--bearer", required=True, help="the bearer's code")
    report.add_argument("--since", type=date.fromisoformat, required=True, help="first business date")
    report.add_argument("--until", type=date.fromisoformat, required=True, help="last business date")
    settle = acts.add_parser("settle", help="propose a settlement for each bearer and operator")
    settle.add_argument("--bearer", help="code of the bearer that pays; without it all")
    settle.add_argument("--operator", help="code of the operator that is paid; without it all")
    settling.add_decisions(acts, settle, of="of bearers")


def as_csv(rows: list[BorneLine]) -> str:
    """Return lines as CSV with a heading: moments in China's time; a text that a spreadsheet would run gets an apostrophe."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(BorneLine.__struct_fields__)
    for row in rows:
        when = row.happened_at.astimezone(CHINA).isoformat(timespec="seconds")
        writer.writerow([
            _cell(row.lot), _cell(row.serial), row.source, when, row.booked_on, _cell(row.operator), row.fen, row.settlement
        ])  # fmt: skip
    return file.getvalue()


def _cell(value: str) -> str:
    return f"'{value}" if _FORMULA.match(value) else value


def _bearer(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        kept = bearers.register(
            tx, code=given.code, name=given.name, document=given.document, party=given.party, at=wiring.clock.now()
        )
        return _bearer_line(kept)


def _bearers(wiring: Wiring, _given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        return "\n".join(_bearer_line(one) for one in bearers.listed(tx)) or "There is no bearer."


def _claims(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        bearer_id = None if given.bearer is None else bearers.by_code(tx, code=given.bearer).bearer_id
        found = reports.sums(tx, lane=wiring.lane, bearer_id=bearer_id)
    return "\n".join(
        f"{one.bearer:<16} to {one.operator:<12} {one.parts:>7} parts  borne {yuan(one.borne_fen):>12}  settled "
        f"{yuan(one.settled_fen):>12}  open {yuan(one.open_fen):>12}  {one.name}"
        for one in found
    ) or "Nothing was claimed from a bearer."  # fmt: skip


def _follow(wiring: Wiring, _given: argparse.Namespace) -> str:
    done = following.follow(wiring.db, lane=wiring.lane, at=wiring.clock.now, say=_progress)
    return f"{done.claimed} claims made, {done.returned} returned"


def _report(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        bearer_id = bearers.by_code(tx, code=given.bearer).bearer_id
        rows = reports.lines(tx, lane=wiring.lane, bearer_id=bearer_id, since=given.since, until=given.until)
    return as_csv(rows).rstrip("\n")


def _settle(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        operator_id = None if given.operator is None else lots.operator_by_code(tx, code=given.operator).operator_id
        made = settlements.propose(
            tx, lane=wiring.lane, until_on=given.until, by=given.by, at=wiring.clock.now(), ids=wiring.ids,
            bearer_id=None if given.bearer is None else bearers.by_code(tx, code=given.bearer).bearer_id, operator_id=operator_id,
        )  # fmt: skip
    return _listed(wiring, [one.settlement_id for one in made]) or "Nothing is to be settled."


def _settlements(wiring: Wiring, given: argparse.Namespace) -> str:
    return _listed(wiring, state=given.state) or "There is no settlement."


def _approve(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        digest = settling.digest_of(settlements.listed(tx, lane=wiring.lane), given)
        settlements.approve(
            tx, lane=wiring.lane, settlement_id=given.settlement, digest=digest, by=given.by, at=wiring.clock.now(), note=given.note
        )
    return _listed(wiring, [given.settlement])


def _reject(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        settlements.reject(
            tx, lane=wiring.lane, settlement_id=given.settlement, by=given.by, note=given.note, at=wiring.clock.now()
        )
    return _listed(wiring, [given.settlement])


def _paid(wiring: Wiring, given: argparse.Namespace) -> str:
    amount_fen = settling.slip_fen(given)
    with wiring.db.begin() as tx:
        settlements.pay(
            tx, lane=wiring.lane, settlement_id=given.settlement, slip=given.slip, paid_on=given.on, amount_fen=amount_fen,
            by=given.by, at=wiring.clock.now(),
        )  # fmt: skip
    return _listed(wiring, [given.settlement])


ACTS: Final[dict[str, Callable[[Wiring, argparse.Namespace], str]]] = {
    "bearer": _bearer, "bearers": _bearers, "claims": _claims, "follow": _follow, "report": _report, "settle": _settle,
    "settlements": _settlements, "approve": _approve, "reject": _reject, "paid": _paid,
}  # fmt: skip
"""What each act does, and the words that it answers with. Each raises what the modules of ``payments.bearers`` refuse."""


def _progress(said: str) -> None:
    print(said, file=sys.stderr, flush=True)


def _bearer_line(one: Bearer) -> str:
    return f"{one.code:<16} {one.name}  [{one.document}]" + ("" if one.party_id is None else f"  party {one.party_id}")


def _listed(wiring: Wiring, wanted: list[UUID] | None = None, state: settlements.State | None = None) -> str:
    with wiring.db.connect() as tx:
        found = settlements.listed(tx, lane=wiring.lane, state=state)
        codes = {one.bearer_id: one.code for one in bearers.listed(tx)}
        operators = {one.operator_id: one.code for one in lots.operators(tx)}
    return "\n".join(
        _settlement_line(one, codes[one.bearer_id], operators[one.operator_id])
        for one in found
        if wanted is None or one.settlement_id in wanted
    )


def _settlement_line(one: Settlement, bearer: str, operator: str) -> str:
    decided = "" if one.decided_by is None else f", {one.decided_by}"
    slip = "" if one.slip is None else f"  slip {one.slip} of {one.paid_on}"
    return (
        f"{one.settlement_id}  {one.state:<8} {bearer} to {operator}  {yuan(one.amount_fen)} yuan  {one.lines} lines until "
        f"{one.until_on}  digest {one.digest.hex()}  by {one.made_by}{decided}{slip}"
    )
