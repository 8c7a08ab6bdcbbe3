"""``tongting rollout``: rules of where the one code counts, who is where, old codes from a file, and codes reported as wrong.

Knows the words of the command and of its answers; must not know how anything is kept. Called by the command line.
"""

import argparse
import csv
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from app.commands import record_files
from app.commands.record_files import Form, Rows
from app.wiring import Wiring
from ledger.clock import CHINA, business_date
from ledger.errors import Refused
from payments import lots
from payments.lot_records.intake import Answer
from payments.rollout import code_reports, legacy_codes, legacy_endings, policy, progress, words_keeping
from payments.rollout.legacy_codes import NewLegacyCode
from payments.rollout.progress import Progress

CODES: Final = Form(
    what="codes",
    code="codes_file_invalid",
    columns=("serial", "payload", "kind", "first_day", "document"),
    more_columns=("last_day",),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting rollout``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    told = acts.add_parser("report", help="who is where: per district and kind of operator")
    behind = acts.add_parser("overdue", help="list the lots that are behind what is required of them")
    for one in (told, behind):
        one.add_argument("--day", type=date.fromisoformat, help="as 2026-12-31 (default: today in China)")
        one.add_argument("--district", help="only this district")
        one.add_argument("--csv", action="store_true", help="as CSV")
    acts.add_parser("rules", help="list the rules, as they begin")
    acts.add_parser("enter", help="enter rules of TOML files; the same file again enters nothing twice").add_argument(
        "files", type=Path, nargs="+", help="such as config/rollout/wuxi-2025.toml"
    )
    ruled = acts.add_parser("rule", help="enter a rule of one lot")
    ruled.add_argument("lot", help="the lot's code")
    ruled.add_argument("requires", choices=["invited", "parallel", "city_code_required", "city_code_only"])
    ruled.add_argument("--from", dest="since", type=date.fromisoformat, required=True, help="first day, as 2026-03-01")
    ruled.add_argument("--document", required=True, help="the document that says so")
    file = acts.add_parser("codes", help="register old codes of a CSV file; the same file again registers nothing twice")
    file.add_argument("file", type=Path, help=CODES.header)
    ended = acts.add_parser("end", help="end the old codes of all lots at which only the city's may hang on the day behind")
    ended.add_argument("last_day", type=date.fromisoformat, help="their last day, as 2026-12-31")
    ended.add_argument("--district", help="only this district")
    ended.add_argument("--document", required=True, help="the document that orders it")
    ended.add_argument("--person", required=True, help="code of the person who carries it out")
    asked = acts.add_parser("whose", help="say whose a scanned code is, and whether it may hang there today")
    asked.add_argument("payload", help="what the scanner reads")
    asked.add_argument("--lot", help="the code of the lot where it hangs")
    asked.add_argument("--day", type=date.fromisoformat, help="another day than today")
    acts.add_parser("cases", help="list codes that were reported as wrong").add_argument(
        "--all", action="store_true", help="closed ones, too"
    )
    decided = acts.add_parser("decide", help="close cases of reported codes: confirmed takes the code out of use")
    decided.add_argument("outcome", choices=code_reports.OUTCOMES, help="wrong and refused, put right, or nothing was wrong")
    decided.add_argument("numbers", nargs="+", metavar="number", help="number of a case")
    decided.add_argument("--words", required=True, help="what was found and done")
    decided.add_argument("--document", required=True, help="the report of whoever looked at the place")
    decided.add_argument("--person", required=True, help="code of the person who decides")
    kept = acts.add_parser("keep-words", help="enter how long drivers' words of closed cases are kept, or list the rules")
    kept.add_argument("days", nargs="?", type=int, help="so many days after the case was closed")
    kept.add_argument("--document", help="the document that says so")
    kept.add_argument("--from", dest="since", type=datetime.fromisoformat, help="from when on, with its offset (default: now)")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked and return what to print.

    Raises:
        Refused: ``rollout_rule_invalid``, ``codes_file_invalid``, ``payload_invalid``, ``closing_invalid``,
            ``report_keeping_invalid``, ``legacy_ending_invalid``; what is not here.
    """
    acts: Mapping[str, Callable[[Wiring, argparse.Namespace], str]] = {
        "report": _report, "overdue": _overdue, "rules": _rules, "enter": _enter, "rule": _rule, "codes": _codes,
        "whose": _whose, "cases": _cases,
        "decide": _decide, "keep-words": _keep_words, "end": _end,
    }  # fmt: skip
    return acts[given.act](wiring, given)


# Who is where.

_HEADS: Final = (
    "district", "kind", "lots", "berths", "on the code", "their berths", "on old codes", "old codes registered", "overdue",
    "their berths",
)  # fmt: skip


def _report(wiring: Wiring, given: argparse.Namespace) -> str:
    day = given.day or business_date(wiring.clock.now())
    with wiring.db.connect() as tx:
        found = progress.report(tx, day=day, district=given.district)
    if given.csv:
        names = Progress.__struct_fields__
        return _csv(("day", *names), [(day, *(getattr(one, name) for name in names)) for one in found])
    rows = [msgspec.structs.astuple(one) for one in found]
    total = ("all", "", *(sum(row[place] for row in rows) for place in range(2, len(_HEADS))))
    return _table(_HEADS, [*rows, total]) if rows else "no lots"


def _overdue(wiring: Wiring, given: argparse.Namespace) -> str:
    day = given.day or business_date(wiring.clock.now())
    with wiring.db.connect() as tx:
        found = progress.overdue(tx, day=day, district=given.district)
    if given.csv:
        names = progress.Behind.__struct_fields__
        return _csv(names, [msgspec.structs.astuple(one) for one in found])
    rows = [
        f"{one.lot_code}  {one.district}  {one.lot_name}  {one.requires} since {one.since} by {one.document}: "
        + ", ".join(_why(one))
        for one in found
    ]
    return "\n".join(rows) or f"no lot is behind on {day}"


def _why(one: progress.Behind) -> Iterator[str]:
    if not one.on_code:
        yield "no city code"
    if one.requires == "city_code_only" and one.on_legacy:
        yield "money on an old code"
    if one.requires == "city_code_only" and one.registered:
        yield "an old code is registered"


def _csv(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return written.getvalue().rstrip("\n")


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(_wide(line[place]) for line in lines) for place in range(len(heads))]
    return "\n".join(
        "  ".join(cell + " " * (width - _wide(cell)) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _wide(cell: str) -> int:
    """Return how many columns of a terminal a cell takes: Chinese letters take two."""
    return sum(2 if letter >= "⺀" else 1 for letter in cell)


# Rules.


def _rules(wiring: Wiring, _given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        found = policy.rules(tx)
        codes = {one.lot_id: one.code for one in lots.lots(tx, limit=1_000_000)} if any(rule.lot_id for rule in found) else {}
    rows = [f"{one.valid_from}  {one.requires:18}  {_place(one, codes)}  by {one.document}" for one in found]
    return "\n".join(rows) or "no rules; enter some with: tongting rollout enter FILE"


def _place(rule: policy.Rule, codes: Mapping[int, str]) -> str:
    if rule.lot_id is not None:
        return codes[rule.lot_id]
    return f"{rule.district or 'the city'}, {rule.regime or 'every kind'}"


def _enter(wiring: Wiring, given: argparse.Namespace) -> str:
    read = [(path, policy.read(_bytes(path, "rollout_rule_invalid"))) for path in given.files]
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        made = [f"{path.name}: {policy.enter(tx, rules=rules, at=at)} of {len(rules)} rules are new" for path, rules in read]
    return "\n".join(made)


def _rule(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        lot = lots.lot_by_code(tx, code=given.lot)
        rule = policy.NewRule(requires=given.requires, valid_from=given.since, document=given.document, lot_id=lot.lot_id)
        made = policy.enter(tx, rules=[rule], at=wiring.clock.now())
    return f"the rule of {lot.code} is {'entered' if made else 'there already'}"


# Old codes.


def _whose(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        lot = None if given.lot is None else lots.lot_by_code(tx, code=given.lot)
        day = given.day or business_date(wiring.clock.now())
        found = legacy_codes.whose(tx, payload=given.payload, day=day, lot=lot)
    rows = [
        f"{one.standing}: {one.operator_name} ({one.operator_code}), {one.lot_code} {one.lot_name}, {one.kind}, from "
        f"{one.first_day} to {one.last_day or 'no end'} by {one.document}; required there: {one.requires or 'nothing yet'}"
        for one in found.registered
    ]
    words = {"unknown": "nobody has registered this code", "city_code": "this has the form of the city's own code: scan it"}
    return "\n".join(rows) or words[found.found]


def _codes(wiring: Wiring, given: argparse.Namespace) -> str:
    return record_files.carry_out(given.file, CODES, partial(_registered, wiring))


def _end(wiring: Wiring, given: argparse.Namespace) -> str:
    done = legacy_endings.end_all(
        wiring.db, last_day=given.last_day, district=given.district, document=given.document, person_code=given.person,
        at=wiring.clock.now, say=_progress,
    )  # fmt: skip
    return f"{done.codes} old codes end on {given.last_day}; {done.lots} lots were looked at"


def _progress(said: str) -> None:
    print(f"  {said}", file=sys.stderr, flush=True)


def _registered(wiring: Wiring, code: str, part: Rows, body: bytes) -> list[Answer]:
    """Register a part, with its own lines as the evidence; a line that cannot be read is refused by itself."""
    read = [_code(row) for _, row in part]
    good = [one for one in read if isinstance(one, NewLegacyCode)]
    with wiring.db.begin() as tx:
        found = lots.lots_by_code(tx, codes=[code]).get(code)
        if found is None:
            return [_not_here(row, code) for _, row in part]
        posted = legacy_codes.post(
            tx, lane=wiring.lane, lot=found, codes=good, body=body, at=wiring.clock.now(), ids=wiring.ids
        )  # fmt: skip
    answers = iter(posted)
    return [one if isinstance(one, Answer) else next(answers) for one in read]


def _not_here(row: dict[str, str], code: str) -> Answer:
    return Answer(serial=row["serial"], outcome="refused", reason="lot_not_found", field="lot", detail=f"there is no lot {code}")


def _code(row: dict[str, str]) -> NewLegacyCode | Answer:
    said = {name: value.strip() for name, value in row.items() if name != "lot" and value.strip()}
    try:
        return msgspec.convert(said, NewLegacyCode, strict=False)
    except msgspec.ValidationError as wrong:
        field = str(wrong).partition("`$.")[2].rstrip("`") or None
        return Answer(serial=said.get("serial", ""), outcome="refused", reason="malformed", field=field, detail=str(wrong))


def _bytes(path: Path, code: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as broken:
        raise Refused(f"{path}: cannot be read: {broken}", code=code) from None


# Codes reported as wrong.


def _cases(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        found = code_reports.listed(tx, is_open=None if given.all else True)
    return "\n".join(_case(one) for one in found) or "no case is open"


def _case(one: code_reports.Report) -> str:
    place = "no code of ours" if one.lot_code is None else f"{one.lot_code} {one.lot_name}"
    code = "" if one.code_no is None else f" code {one.code_no}"
    words = one.words or ("(words erased)" if one.words_erased_at else "")
    line = f"{one.number}  {_told(one.reported_at)}  {one.kind:10}  {place}{code}  {words}".rstrip()
    if one.closed_at is None:
        return line
    found = f"{one.outcome or 'closed'} {_told(one.closed_at)} by {one.closed_by}"
    return f"{line}  {found}{f' with {one.document}' if one.document else ''}: {one.closing}"


def _decide(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        refused = code_reports.decide(
            tx, lane=wiring.lane, numbers=given.numbers, outcome=given.outcome, person_code=given.person, document=given.document,
            words=given.words, at=wiring.clock.now(), ids=wiring.ids,
        )  # fmt: skip
    closed = f"{', '.join(given.numbers)}: {given.outcome}"
    if refused:
        return f"{closed}; refused from now on: code {', '.join(map(str, refused))}; tongting code replace issues new ones"
    return f"{closed}; no code of the registry was taken out of use" if given.outcome == "confirmed" else closed


def _keep_words(wiring: Wiring, given: argparse.Namespace) -> str:
    at = wiring.clock.now()
    if given.days is None:
        with wiring.db.connect() as tx:
            found = words_keeping.rules(tx)
        return "\n".join(f"{one.days} days from {_told(one.valid_from)} on, by {one.document}" for one in found)
    since = given.since or at
    if not given.document or since.tzinfo is None:
        raise Refused("a rule needs --document, and --from its offset", code="report_keeping_invalid")
    with wiring.db.begin() as tx:
        number = words_keeping.enter(tx, days=given.days, valid_from=since, document=given.document, at=at)
    return f"rule {number} is entered"


def _told(at: datetime) -> str:
    return f"{at.astimezone(CHINA):%Y-%m-%d %H:%M}"
