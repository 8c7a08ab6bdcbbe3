"""``tongting lot``: how a channel numbers a lot, what lots tell and hide, their tills, and takings of operators without an API.

Knows the words of the command and of its answers; must not know how records are kept or booked. Called by the command line.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection

from app.commands import record_files
from app.commands.record_files import Form, Rows
from app.wiring import Wiring
from ledger.clock import CHINA, business_date
from ledger.errors import Refused
from ledger.ids import payment_number, refund_number
from ledger.money import yuan
from payments import lots
from payments.lot_records import alarm_rules, alarms, charge_caps, numbers, openings, returns, takings
from payments.lot_records.alarm_rules import NewRule
from payments.lot_records.charge_caps import NewCap
from payments.lot_records.stays import SCENES
from payments.lot_records.takings import NewTaking, TakingAnswer
from payments.lots import Lot
from payments.mandates import deductions
from payments.refunding import requests

TAKINGS: Final = Form(
    what="takings", code="takings_file_invalid",
    columns=("serial", "channel", "charge_serial", "amount_fen", "taken_at", "evidence_text"),
    more_columns=("number", "evidence_digest", "plate", "plate_color"),
)  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting lot``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    numbered = acts.add_parser("number", help="enter a lot's number at a channel; deductions and cards carry it from now on")
    numbered.add_argument("lot", help="the lot's code")
    numbered.add_argument("channel", help="etc (10 digits, parkId) or alipay (parking_id)")
    numbered.add_argument("number", help="the lot's number there")
    acts.add_parser("silence", help="list the lots that are to be heard, the longest silence first")
    acts.add_parser("alarms", help="list the open alarms of lots")
    acts.add_parser("gaps", help="list the numbers that are missing of a lot").add_argument("lot", help="the lot's code")
    owed = acts.add_parser("returns", help="list what lots have to hand back by hand and have not reported, the oldest first")
    owed.add_argument("lot", nargs="?", help="the lot's code (default: all lots)")
    owed.add_argument("--days", type=int, default=0, help="only what was promised so many days ago, or more (default: everything)")
    asked = acts.add_parser("refund-requests", help="list the refunds that drivers ask for and lots have not answered")
    asked.add_argument("lot", nargs="?", help="the lot's code (default: all lots)")
    asked.add_argument("--late", action="store_true", help="only those whose answer is late")
    for name, words in (("openings", "list barriers opened by hand, per day"), ("till", "list what moved in the till, per day")):
        told = acts.add_parser(name, help=words)
        told.add_argument("lot", help="the lot's code")
        told.add_argument("--first", type=date.fromisoformat, help="first day, as 2026-03-01 (default: 30 days before the last)")
        told.add_argument("--last", type=date.fromisoformat, help="last day (default: today)")
    _rule_arguments(
        acts.add_parser("rule", help="enter when silence, openings by hand or hand-backs are an alarm, or list the rules")
    )
    capped = acts.add_parser("cap", help="enter the most that one stay may cost; larger charges are refused")
    capped.add_argument("charge_fen", type=int, help="for a whole charge, in fen")
    capped.add_argument("--day-fen", type=int, help="for each begun 24 hours, in fen")
    capped.add_argument("--document", required=True, help="the document that says so")
    capped.add_argument("--from", dest="since", type=datetime.fromisoformat, help="from when on, with its offset (default: now)")
    capped.add_argument("--operator", help="an operator's code (default: the city)")
    capped.add_argument("--lot", help="a lot's code")
    file = acts.add_parser("takings", help="book the takings of a CSV file; the same file again books nothing twice")
    file.add_argument("file", type=Path, help=TAKINGS.header)


def _rule_arguments(rule: argparse.ArgumentParser) -> None:
    words = "silent: minutes; leak: openings per 100 exits; unreturned: days; drop, sudden: percent below its own past"
    rule.add_argument("kind", nargs="?", choices=["silent", "leak", "unreturned", "drop", "sudden"], help=words)
    rule.add_argument("most", nargs="?", type=int, help="minutes without a word, openings per 100 exits, days, or percent")
    rule.add_argument("--weeks", type=int, help="drop, sudden: how many weeks before count (2 to 12)")
    rule.add_argument("--least", type=int, help="drop: a lot with a smaller median is too quiet to ring")
    rule.add_argument("--odds", type=int, help="sudden: chance alone brings so few less than once in so many looks, as 1000000")
    rule.add_argument("--document", help="the approving document")
    rule.add_argument("--from", dest="since", type=datetime.fromisoformat, help="from when on, with its offset (default: now)")
    rule.add_argument("--operator", help="an operator's code (default: the city)")
    rule.add_argument("--lot", help="a lot's code")
    rule.add_argument("--scene", choices=sorted(SCENES), help="only lots of this kind")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked and return what to print.

    Raises:
        Refused: ``lot_number_invalid``, ``takings_file_invalid``, ``alarm_rule_invalid``; a lot or a channel that is not here.
    """
    acts: Mapping[str, Callable[[Wiring, argparse.Namespace], str]] = {
        "number": _number, "silence": _silence, "alarms": _alarms, "gaps": _gaps, "openings": _openings, "till": _till,
        "rule": _rule, "cap": _cap, "takings": _takings, "returns": _returns, "refund-requests": _refund_requests,
    }  # fmt: skip
    return acts[given.act](wiring, given)


def _number(wiring: Wiring, given: argparse.Namespace) -> str:
    wiring.line(given.channel)
    with wiring.db.begin() as tx:
        lot = lots.lot_by_code(tx, code=given.lot)
        deductions.number_lot(tx, lot_id=lot.lot_id, channel=given.channel, number=given.number, at=wiring.clock.now())
    return f"{lot.code} ({lot.name}) is {given.number} at {given.channel}"


def _cap(wiring: Wiring, given: argparse.Namespace) -> str:
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        operator_id = None if given.operator is None else lots.operator_by_code(tx, code=given.operator).operator_id
        lot = None if given.lot is None else lots.lot_by_code(tx, code=given.lot)
        cap = NewCap(
            operator_id=operator_id if lot is None else lot.operator_id, lot_id=None if lot is None else lot.lot_id,
            valid_from=given.since or at, document=given.document, charge_fen_max=given.charge_fen, day_fen_max=given.day_fen,
        )  # fmt: skip
        charge_caps.enter(tx, cap=cap, at=at)
    return f"a stay costs at most {yuan(given.charge_fen)} yuan from {_told(cap.valid_from)} on"


# Reports.


def _silence(wiring: Wiring, given: argparse.Namespace) -> str:  # noqa: ARG001  # all acts have one shape
    with wiring.db.connect() as tx:
        found = alarms.silences(tx, at=wiring.clock.now())
    rows = [
        f"{'SILENT' if one.is_silent else 'heard':6}  {one.lot_code}  {_told(one.heard_at)}  within {one.within_minutes} min"
        + (f"  offline: {', '.join(one.offline)}" if one.offline else "")
        + (f"  {one.queue} records wait there" if one.queue else "")
        for one in found
    ]
    return _lines(rows, "no rule says that a lot is to be heard; enter one with: tongting lot rule silent MINUTES --document ...")


def _alarms(wiring: Wiring, given: argparse.Namespace) -> str:  # noqa: ARG001
    with wiring.db.connect() as tx:
        found = alarms.alarms(tx)
    return _lines([f"{one.kind:12}  {one.lot_code}  since {_told(one.opened_at)}  {one.detail}" for one in found], "no alarm")


def _gaps(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        lot = lots.lot_by_code(tx, code=given.lot)
        counts = numbers.counts(tx, lot_id=lot.lot_id)
        gaps = numbers.gaps(tx, lot_id=lot.lot_id)
    rows = [f"{one.series}: last {one.last_number}, {one.missing} missing, heard {_told(one.heard_at)}" for one in counts]
    rows += [f"  {one.series} {one.first} to {one.last}, since {_told(one.since)}" for one in gaps]
    return _lines(rows, f"{lot.code} numbers no records")


def _openings(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        lot, first, last = _days(tx, wiring, given)
        found = openings.days(tx, lot=lot, first=first, last=last)
    rows = [
        f"{one.day}  {one.openings_out} openings beside {one.exits} exits ({one.per_100_exits:.1f} per 100), "
        f"{one.openings_in} inward, {one.tests} tests, {yuan(one.lost_fen)} yuan lost: "
        + ", ".join(f"{reason} {count}" for reason, count in one.by_reason.items())
        for one in found
    ]
    return _lines(rows, f"{lot.code} opened no barrier by hand from {first} to {last}")


def _till(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        lot, first, last = _days(tx, wiring, given)
        told = takings.till(tx, lane=wiring.lane, lot=lot, first=first, last=last)
    rows = [
        f"{one.day}  for charges {yuan(one.cash_for_charges_fen)}, without {yuan(one.cash_without_charge_fen)}, to the bank "
        f"{yuan(one.banked_fen)}, handed back {yuan(one.cash_returned_fen)}, in the till {yuan(one.in_till_fen)}; over old codes "
        f"{yuan(one.legacy_fen)}, handed back {yuan(one.legacy_returned_fen)}"
        for one in told.days
    ]
    return "\n".join([*rows, f"the till of {lot.code} holds {yuan(told.in_till_fen)} yuan"])


def _returns(wiring: Wiring, given: argparse.Namespace) -> str:
    at = wiring.clock.now()
    with wiring.db.connect() as tx:
        lot = None if given.lot is None else lots.lot_by_code(tx, code=given.lot)
        before = at - timedelta(days=given.days) if given.days > 0 else None
        found = returns.owing(tx, lane=wiring.lane, lot=lot, promised_before=before)
    rows = [
        f"{one.lot_code}  {refund_number(wiring.lane, one.refund_id)}  {one.channel:6}  {yuan(one.amount_fen)} yuan of "
        f"{one.charge_serial}, promised {_told(one.promised_at)} by {one.source_ref}, {(at - one.promised_at).days} days ago"
        for one in found
    ]
    return _lines(rows, "nothing waits to be handed back")


def _refund_requests(wiring: Wiring, given: argparse.Namespace) -> str:
    at = wiring.clock.now()
    with wiring.db.connect() as tx:
        lot_id = None if given.lot is None else lots.lot_by_code(tx, code=given.lot).lot_id
        found = requests.waiting(tx, lane=wiring.lane, lot_id=lot_id, due_before=at if given.late else None)
    rows = [
        f"{'LATE' if one.answer_until < at else 'open':4}  {one.lot_code}  {one.request_id.hex}  {one.reason:11}  "
        f"{yuan(one.left_fen)} of {yuan(one.taken_fen)} yuan of {one.lot_serial}, "
        f"receipt {payment_number(one.lane, one.payment_id)}, asked {_told(one.asked_at)}, answer until {_told(one.answer_until)}"
        for one in found
    ]
    return _lines(rows, "no driver waits for an answer")


def _days(tx: Connection, wiring: Wiring, given: argparse.Namespace) -> tuple[Lot, date, date]:
    last = given.last or business_date(wiring.clock.now())
    return lots.lot_by_code(tx, code=given.lot), given.first or last - timedelta(days=30), last


def _told(at: datetime | None) -> str:
    return "never" if at is None else at.astimezone(CHINA).isoformat(sep=" ", timespec="minutes")


def _lines(rows: Sequence[str], nothing: str) -> str:
    return "\n".join(rows) or nothing


# Rules.


def _rule(wiring: Wiring, given: argparse.Namespace) -> str:
    if given.kind is None:
        with wiring.db.connect() as tx:
            return _lines(alarm_rules.listed(tx), "no rules")
    if given.most is None or not given.document:
        raise Refused("a rule needs its number and --document", code="alarm_rule_invalid")
    at = wiring.clock.now()
    since = given.since or at
    if since.tzinfo is None:
        raise Refused("--from needs its offset, such as 2026-03-01T00:00+08:00", code="alarm_rule_invalid")
    with wiring.db.begin() as tx:
        lot = None if given.lot is None else lots.lot_by_code(tx, code=given.lot)
        operator = None if given.operator is None else lots.operator_by_code(tx, code=given.operator)
        if lot is not None and operator is not None and lot.operator_id != operator.operator_id:
            raise Refused(f"lot {lot.code} is not of operator {operator.code}", code="alarm_rule_invalid")
        owner = lot.operator_id if lot is not None else None if operator is None else operator.operator_id
        rule = NewRule(
            kind=given.kind, most=given.most, document=given.document, valid_from=since, operator_id=owner,
            lot_id=None if lot is None else lot.lot_id, scene=given.scene, weeks=given.weeks, least=given.least, odds=given.odds,
        )  # fmt: skip
        number = alarm_rules.enter(tx, rule=rule, at=at)
    return f"rule {number} is entered"


# Takings of a file.


def _takings(wiring: Wiring, given: argparse.Namespace) -> str:
    return record_files.carry_out(given.file, TAKINGS, partial(_booked, wiring))


def _booked(wiring: Wiring, code: str, part: Rows, body: bytes) -> list[TakingAnswer]:
    """Book a part, with its own lines as the evidence; a line that cannot be read is refused by itself."""
    read = [_taking(row) for _, row in part]
    good = [one for one in read if isinstance(one, NewTaking)]
    with wiring.db.begin() as tx:
        lot = lots.lot_by_code(tx, code=code)
        booked = iter(
            takings.post(
                tx, lane=wiring.lane, lot=lot, takings=good, body=body, at=wiring.clock.now(), ids=wiring.ids,
                tokens=wiring.link_tokens,
            )
        )  # fmt: skip
    return [one if isinstance(one, TakingAnswer) else next(booked) for one in read]


def _taking(row: dict[str, str]) -> NewTaking | TakingAnswer:
    said = {name: value.strip() for name, value in row.items() if name != "lot" and value.strip()}
    try:
        return msgspec.convert(said, NewTaking, strict=False)
    except msgspec.ValidationError as wrong:
        field = str(wrong).partition("`$.")[2].rstrip("`") or None
        return TakingAnswer(serial=said.get("serial", ""), outcome="refused", reason="malformed", field=field, detail=str(wrong))
