"""``tongting debts``: what the staff does with debts: list, dispute, let off, write off, approve, dun, make files.

Knows the words of the command and of its answers; must not know how anything is decided or booked. Called by the command line.
A person is named by ``--by``, a staff code with the rights for it; what one proposes another approves.
"""

import argparse
import tomllib
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from app import dunning
from app.commands.routes import instant
from app.wiring import Wiring
from ledger.clock import CHINA, business_date
from ledger.errors import Conflict, NotFound, Refused
from ledger.money import fen, yuan
from payments import fonts, lots, people
from payments.owed import debt_desk, debt_list, disputes, instalments
from payments.owed.debt_ageing import Ageing, ageing
from payments.owed.debt_desk import Ask, Paper
from payments.owed.debt_desk_store import Decision, Kind
from payments.owed.debt_file import files
from payments.owed.debt_list import Scope
from payments.owed.dispute_store import Dispute
from payments.owed.disputes import Shown
from payments.owed.dunning import contacts, limitation, rules, sending
from payments.owed.dunning.contacts import NewContact
from payments.owed.dunning.rules import NewRule, NewText
from payments.people import Person

DIGEST_LETTERS_MIN: Final = 16
ENDING_DAYS: Final = 180
LISTED_MAX: Final = 200
_BUCKETS: Final = (
    "not_due", "days_0_30", "days_31_60", "days_61_90", "days_91_180", "days_181_365", "days_over_365", "total",
)  # fmt: skip

T = TypeVar("T")
Act = Callable[[Wiring, argparse.Namespace], str]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting debts``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    _listing(acts)
    _deciding(acts)
    _disputing(acts)
    _dunning(acts)
    made = _act(acts, "file", _file, "make the file of a plate's debts to an operator; the look-up is written down")
    _plate(made)
    made.add_argument("operator", help="the operator's code")
    made.add_argument("--purpose", required=True, help="what it is for, such as the number of a court case")
    made.add_argument("--out", type=Path, default=Path(), help="directory for the PDF and the ZIP (default: this one)")
    _by(made)


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        Refused: what the debt desk, disputes, dunning and debt files refuse; each in one sentence.
    """
    act: Act = given.debts_act
    return act(wiring, given)


def _act(acts: Any, name: str, act: Act, words: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = acts.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
    parser.set_defaults(debts_act=act)
    return parser


def _by(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", required=True, help="staff code of the person who does it")


def _plate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plate", help="number of the plate, such as 苏B12345")
    parser.add_argument("--color", default="blue", help="its colour (default: blue)")


def _document(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", required=True, help="why, in a sentence")
    parser.add_argument("--document", type=Path, required=True, help="file of the document: its bytes are kept with the decision")
    parser.add_argument("--document-name", help="its name or number (default: the file's name)")
    _by(parser)


# Lists.


def _listing(acts: Any) -> None:
    listed = _act(acts, "list", _list, "print debts with masked plates, the oldest first")
    listed.add_argument("--operator", help="only of this operator (code)")
    listed.add_argument("--plate", help="only of this plate, in full")
    listed.add_argument("--state", choices=["open", "reserved", "disputed", "settled", "waived", "written_off", "credited"])
    aged = _act(acts, "ageing", _ageing, "print what is owed by age")
    aged.add_argument("--by", dest="per", choices=["operator", "lot", "district"], default="operator")
    aged.add_argument("--operator", help="only of this operator (code)")
    ending = _act(acts, "ending", _ending, "print the debts whose limitation ends soon")
    ending.add_argument("--days", type=int, default=ENDING_DAYS, help=f"within so many days (default: {ENDING_DAYS})")
    person = _act(acts, "person", _person, "enter, end or list people of the staff")
    person.add_argument("what", choices=["add", "end", "list"])
    person.add_argument("code", nargs="?", help="staff code, 1 to 32 letters, digits, . _ -")
    person.add_argument("--maker", action="store_true", help="may propose")
    person.add_argument("--checker", action="store_true", help="may approve")
    person.add_argument("--document", default="", help="document that gives the rights")


def _list(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        operator = None if given.operator is None else lots.operator_by_code(tx, code=given.operator)
        scope = Scope(operator_id=None if operator is None else operator.operator_id, plate=given.plate)
        rows = debt_list.listed(
            tx, lane=wiring.lane, scope=scope, today=business_date(wiring.clock.now()), state=given.state,
            only_owed=given.state is None, limit=LISTED_MAX,
        )  # fmt: skip
    lines = [
        f"{x.charge_id}  {x.lot:<12} {x.lot_serial:<20} {x.plate:<10} {yuan(x.owed_fen):>10} of {yuan(x.amount_fen):<10} "
        f"{x.state:<11} due {x.due_on}  {x.overdue_days:>4} days over, step {x.step}, until {x.limitation_on}"
        for x in rows
    ]
    if len(rows) == LISTED_MAX:
        lines.append(f"Only the first {LISTED_MAX} are listed; ask the API for all of them.")
    return "\n".join(lines) or "There is no debt."


def _ageing(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        operator_id = None if given.operator is None else lots.operator_by_code(tx, code=given.operator).operator_id
        today = business_date(wiring.clock.now())
        rows = ageing(tx, lane=wiring.lane, by=given.per, today=today, operator_id=operator_id)
    head = f"{given.per:<16}" + "".join(f"{name.removeprefix('days_'):>14}" for name in _BUCKETS)
    return "\n".join([head, *(_aged(row) for row in rows)]) if rows else "Nothing is owed."


def _aged(row: Ageing) -> str:
    return f"{row.code:<16}" + "".join(f"{yuan(getattr(row, name).owed_fen):>14}" for name in _BUCKETS)


def _ending(wiring: Wiring, given: argparse.Namespace) -> str:
    until = business_date(wiring.clock.now()) + timedelta(days=given.days)
    with wiring.db.connect() as tx:
        rows = limitation.ending(tx, lane=wiring.lane, until=until)
    lines = [f"{x.charge_id}  {yuan(x.owed_fen):>10}  due {x.due_on}  ends {x.limitation_on}" for x in rows]
    return "\n".join(lines) or f"The limitation of no debt ends until {until}."


def _person(wiring: Wiring, given: argparse.Namespace) -> str:
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        if given.what == "add":
            people.enter(tx, person=Person(given.code or "", given.maker, given.checker, given.document), at=at)
        elif given.what == "end":
            people.end(tx, person_code=given.code or "", at=at)
        return "\n".join(_person_line(person) for person in people.listed(tx)) or "There is nobody."


def _person_line(person: Person) -> str:
    rights = " ".join(word for word, has in (("maker", person.may_propose), ("checker", person.may_approve)) if has)
    ended = "" if person.ended_at is None else f"  ended {_moment(person.ended_at)}"
    return f"{person.person_code:<32} {rights:<14} [{person.document}]{ended}"


# Decisions.


def _deciding(acts: Any) -> None:
    kinds: tuple[tuple[str, Kind, str], ...] = (
        ("waive", "waiver", "propose to let debts off, or a part of one"),
        ("write-off", "write_off", "propose to write debts off"),
        ("write-back", "write_back", "propose to write debts back that were written off"),
    )
    for name, kind, words in kinds:
        parser = _act(acts, name, _propose, words)
        parser.set_defaults(kind=kind)
        parser.add_argument("debts", nargs="*", type=UUID, help="the debts, as 'debts list' prints them")
        if kind == "waiver":
            parser.add_argument("--yuan", help="only so much of the one debt")
        if kind == "write_off":
            parser.add_argument(
                "--ended-before", type=date.fromisoformat, help="instead: all whose limitation ended before this day"
            )
            parser.add_argument("--operator", help="with --ended-before: only of this operator (code)")
        _document(parser)
    shown = _act(acts, "decisions", _decisions, "print proposals that wait, or one with its lines and digest")
    shown.add_argument("decision", nargs="?", type=UUID)
    approved = _act(acts, "approve", _approve, "approve a decision that another person proposed, and carry it out")
    approved.add_argument("decision", type=UUID)
    approved.add_argument("--digest", required=True, help=f"digest as shown, at least its first {DIGEST_LETTERS_MIN} letters")
    approved.add_argument("--note")
    _by(approved)
    rejected = _act(acts, "reject", _reject, "reject a decision that another person proposed")
    rejected.add_argument("decision", type=UUID)
    rejected.add_argument("--note", required=True)
    _by(rejected)


def _propose(wiring: Wiring, given: argparse.Namespace) -> str:
    paper, at = _paper(given), wiring.clock.now()
    with wiring.db.begin() as tx:
        if given.kind == "write_off" and given.ended_before is not None:
            operator_id = None if given.operator is None else lots.operator_by_code(tx, code=given.operator).operator_id
            made = debt_desk.propose_over_limitation(
                tx, lane=wiring.lane, limitation_before=given.ended_before, operator_id=operator_id, reason=given.reason,
                document=paper, by=given.by, at=at, ids=wiring.ids,
            )  # fmt: skip
            if made is None:
                return f"The limitation of no open debt ended before {given.ended_before}."
        else:
            asked = _asked(given)
            made = debt_desk.propose(
                tx, lane=wiring.lane, kind=given.kind, asked=asked, reason=given.reason, document=paper, by=given.by, at=at,
                ids=wiring.ids,
            )  # fmt: skip
    return f"Proposed; another person approves it:\n{_decision_line(made)}"


def _asked(given: argparse.Namespace) -> list[Ask]:
    amount = getattr(given, "yuan", None)
    if amount is None:
        return [Ask(charge_id) for charge_id in given.debts]
    if len(given.debts) != 1:
        raise Refused("an amount is of one debt", code="amount_invalid")
    try:
        return [Ask(given.debts[0], fen(amount))]
    except ValueError as wrong:
        raise Refused(str(wrong), code="amount_invalid") from None


def _paper(given: argparse.Namespace) -> Paper:
    return debt_desk.paper(given.document_name or given.document.name, _read(given.document))


def _decisions(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        if given.decision is None:
            waiting = debt_desk.listed(tx, lane=wiring.lane)
            return "\n".join(_decision_line(one) for one in waiting) or "No decision waits."
        made, lines = debt_desk.shown(tx, lane=wiring.lane, decision_id=given.decision)
    rows = [f"  {line.charge_id}  {yuan(line.amount_fen):>12} of {yuan(line.owed_fen)}" for line in lines]
    return "\n".join([_decision_line(made), *rows])


def _decision_line(made: Decision) -> str:
    decided = "" if made.decided_by is None else f" by {made.decided_by} {_moment(made.decided_at)}"
    return (
        f"{made.decision_id}  {made.kind:<10} {made.state}{decided}  {made.lines} debts, {yuan(made.amount_fen)} yuan, "
        f"proposed by {made.proposed_by}: {made.reason} [{made.document_name}]\n  digest {made.lines_digest.hex()}"
    )


def _approve(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        shown, _ = debt_desk.shown(tx, lane=wiring.lane, decision_id=given.decision)
        wanted = given.digest.strip().lower()
        if len(wanted) < DIGEST_LETTERS_MIN or not shown.lines_digest.hex().startswith(wanted):
            raise Conflict("this is not the digest of the decision; look at it again", code="decision_changed")
        made = debt_desk.approve(
            tx, lane=wiring.lane, decision_id=given.decision, lines_digest=shown.lines_digest, by=given.by, note=given.note,
            at=wiring.clock.now(), ids=wiring.ids,
        )  # fmt: skip
    return _decision_line(made)


def _reject(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        made = debt_desk.reject(
            tx, lane=wiring.lane, decision_id=given.decision, by=given.by, note=given.note, at=wiring.clock.now()
        )  # fmt: skip
    return _decision_line(made)


# Disputes and instalments.


def _disputing(acts: Any) -> None:
    listed = _act(
        acts, "disputes", _disputes, "print the disputes that are not decided, and those upheld whose money has not gone back"
    )
    listed.add_argument("dispute", nargs="?", type=UUID, help="only this one, with what was shown")
    opened = _act(acts, "dispute", _dispute, "open a dispute for a driver")
    opened.add_argument("debt", type=UUID)
    opened.add_argument(
        "reason", choices=["not_my_car", "not_there", "times_wrong", "already_paid", "tariff_wrong", "exempt", "other"]
    )
    opened.add_argument("statement", help="the driver's words")
    opened.add_argument("--show", type=Path, action="append", default=[], help="a photo or paper (jpg, png, pdf, txt)")
    _by(opened)
    ended = _act(acts, "dispute-reject", _dispute_reject, "decide that the debt stands")
    upheld = _act(
        acts,
        "dispute-uphold",
        _dispute_uphold,
        "decide that the driver is right: a second person approves the waiver; of a paid debt the money goes back",
    )
    for parser in (ended, upheld):
        parser.add_argument("dispute", type=UUID)
    ended.add_argument("--note", required=True, help="reasons as the driver may read them")
    _by(ended)
    upheld.add_argument("--yuan", help="only for so much")
    _document(upheld)
    agreed = _act(acts, "instalments", _instalments, "agree that a plate pays an operator's debts in equal parts")
    _plate(agreed)
    agreed.add_argument("operator", help="the operator's code")
    agreed.add_argument("days", nargs="+", type=date.fromisoformat, help="days until which the parts are paid, such as 2026-04-01")
    agreed.add_argument("--document", required=True, help="number of the agreement")
    _by(agreed)


def _disputes(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        if given.dispute is None:
            return "\n".join(_dispute_line(one) for one in disputes.waiting(tx, lane=wiring.lane)) or "No dispute waits."
        one = disputes.by_id(tx, lane=wiring.lane, dispute_id=given.dispute)
        shown = disputes.exhibits(tx, lane=wiring.lane, dispute_id=given.dispute)
    rows = [f"  {x.shown_by:<7} {x.name}  {x.media_type}  sha256 {x.digest.hex()}" for x in shown]
    answer = (
        f"  the lot {_moment(one.answered_at)}: {one.answer}" if one.answer else f"  the lot has until {_moment(one.answer_until)}"
    )
    return "\n".join([_dispute_line(one), answer, *rows])


def _dispute_line(one: Dispute) -> str:
    words = f"{one.standing:<10} debt {one.charge_id} {yuan(one.owed_fen)} yuan  {one.reason}: {one.statement}"
    return "\n".join([f"{one.dispute_id}  {words}", *_dispute_todo(one)])


def _dispute_todo(one: Dispute) -> list[str]:
    """Return what there is to be done about a dispute whose debt was paid."""
    match one.standing:
        case "paid" if one.state == "deciding":
            return [f"  paid, objection still to be decided; decision {one.waiver_id} lets nothing off any more: reject it first"]
        case "paid":
            return ["  paid, objection still to be decided"]
        case "refund_due" if one.state == "partly":
            return ["  partly upheld and paid: what was taken too much goes back", _how_to_give_back(one, "reduce")]
        case "refund_due":
            amount = yuan(one.to_give_back_fen)
            return [f"  upheld and paid: {amount} yuan go back to the payer", _how_to_give_back(one, "cancel")]
        case "waiver_due":
            return ["  upheld, but the payment was taken back: let the debt off with 'tongting debts waive'"]
        case _:
            return []


def _how_to_give_back(one: Dispute, kind: str) -> str:
    return (
        f"  the lot posts a correction of charge {one.lot_serial} ({kind}; docs/CORRECTIONS.md), or its operator refunds it in its "
        "console; it stands here until then"
    )


def _dispute(wiring: Wiring, given: argparse.Namespace) -> str:
    kinds = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".pdf": "application/pdf", ".txt": "text/plain"}
    shown = [Shown(path.name, kinds.get(path.suffix.lower(), "unknown"), _read(path)) for path in given.show]
    with wiring.db.begin() as tx:
        people.maker(tx, person_code=given.by, at=wiring.clock.now())
        opened = disputes.open_dispute(
            tx, lane=wiring.lane, charge_id=given.debt, reason=given.reason, statement=given.statement, opened_by="staff",
            opened_ref=given.by, shown=shown, at=wiring.clock.now(), ids=wiring.ids,
        )  # fmt: skip
    return _dispute_line(opened)


def _dispute_reject(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        ended = disputes.reject(
            tx, lane=wiring.lane, dispute_id=given.dispute, by=given.by, note=given.note, at=wiring.clock.now(), ids=wiring.ids
        )  # fmt: skip
    return _dispute_line(ended)


def _dispute_uphold(wiring: Wiring, given: argparse.Namespace) -> str:
    try:
        amount_fen = None if given.yuan is None else fen(given.yuan)
    except ValueError as wrong:
        raise Refused(str(wrong), code="amount_invalid") from None
    with wiring.db.begin() as tx:
        deciding = disputes.uphold(
            tx, lane=wiring.lane, dispute_id=given.dispute, by=given.by, note=given.reason, document=_paper(given),
            at=wiring.clock.now(), ids=wiring.ids, amount_fen=amount_fen,
        )  # fmt: skip
        if deciding.waiver_id is None:
            return f"Decided; the debt is paid, so nothing is let off:\n{_dispute_line(deciding)}"
        made, _ = debt_desk.shown(tx, lane=wiring.lane, decision_id=deciding.waiver_id)
    return f"Proposed; another person approves it:\n{_decision_line(made)}"


def _instalments(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        operator = lots.operator_by_code(tx, code=given.operator)
        plan = instalments.agree(
            tx, lane=wiring.lane, plate=given.plate, plate_color=given.color, operator_id=operator.operator_id, due_on=given.days,
            document=given.document, by=given.by, at=wiring.clock.now(), ids=wiring.ids,
        )  # fmt: skip
    return "\n".join(
        [f"plan {plan.plan_id}: {yuan(plan.owed_fen)} yuan", *(f"  {x.due_on}  {yuan(x.amount_fen)}" for x in plan.parts)]
    )


# Dunning.


def _dunning(acts: Any) -> None:
    _act(acts, "dun", _dun, "do the morning's dunning now: plan what is due and send what may be sent")
    proven = _act(acts, "prove", _prove, "enter the proof that a reminder has arrived")
    proven.add_argument("reminder", type=UUID)
    proven.add_argument("--at", type=instant, required=True, help="when it arrived, as 2026-03-01T10:00")
    proven.add_argument("--proof", required=True, help="such as the number of the postal receipt")
    _by(proven)
    back = _act(acts, "bounced", _bounced, "enter that a reminder came back")
    back.add_argument("reminder", type=UUID)
    back.add_argument("--reason", required=True)
    contact = _act(acts, "contact", _contact, "enter how a plate's holder may be reached")
    _plate(contact)
    contact.add_argument("medium", choices=["mobile", "email", "address", "wallet"])
    contact.add_argument("value")
    contact.add_argument("--purpose", choices=["reminder", "receipt", "all"], default="reminder")
    contact.add_argument("--document", required=True, help="proof of the consent, or the legal basis")
    contact.add_argument("--erase-on", type=date.fromisoformat, required=True, help="day on which it is erased")
    contact.add_argument("--language", choices=["zh", "en"], default="zh")
    contact.add_argument("--proven-holder", action="store_true", help="it is proven to be the holder's: letters may name lots")
    gone = _act(acts, "contact-withdraw", _withdraw, "end a contact, as its consent is withdrawn; its value is erased")
    gone.add_argument("contact", type=UUID)
    rule = _act(acts, "rule", _rule, "enter a dunning rule from a TOML file, or print those in force")
    rule.add_argument("file", nargs="?", type=Path, help="fields as docs/DUNNING.md explains them")
    rule.add_argument("--operator", help="for the debts of this operator alone (code)")
    words = _act(acts, "text", _text, "enter a version of a text from a TOML file")
    words.add_argument("file", type=Path)
    quiet = _act(acts, "quiet", _quiet, "enter days on which nothing is sent")
    quiet.add_argument("days", nargs="+", type=date.fromisoformat)
    quiet.add_argument("--document", required=True, help="document that names them")


def _dun(wiring: Wiring, _given: argparse.Namespace) -> str:
    run, sent = dunning.dun(wiring)
    return (
        f"{run.planned_on}: {run.plates} plates looked at, {run.reminders} reminders of {run.debts} debts planned; "
        f"{sent.sent} sent, {sent.bounced} bounced, {sent.failed} failed, {sent.again} to be tried again, {sent.dropped} dropped."
    )


def _prove(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        sending.prove(
            tx, lane=wiring.lane, reminder_id=given.reminder, proven_at=given.at, proof=given.proof, by=given.by,
            at=wiring.clock.now(),
        )  # fmt: skip
    return f"The demand of reminder {given.reminder} counts from {_moment(given.at)} on."


def _bounced(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        sending.bounce(tx, lane=wiring.lane, reminder_id=given.reminder, reason=given.reason, at=wiring.clock.now())
    return f"Reminder {given.reminder} came back; its contact is not used any more."


def _contact(wiring: Wiring, given: argparse.Namespace) -> str:
    new = NewContact(
        plate=given.plate, plate_color=given.color, medium=given.medium, value=given.value, purpose=given.purpose,
        document=given.document, erase_on=given.erase_on, language=given.language, is_proven_holder=given.proven_holder,
    )  # fmt: skip
    with wiring.db.begin() as tx:
        return f"contact {contacts.enter(tx, contact=new, at=wiring.clock.now(), ids=wiring.ids)}"


def _withdraw(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        contacts.withdraw(tx, contact_id=given.contact, at=wiring.clock.now())
    return f"Contact {given.contact} has ended and its value is erased."


def _rule(wiring: Wiring, given: argparse.Namespace) -> str:
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        if given.file is not None:
            operator_id = None if given.operator is None else lots.operator_by_code(tx, code=given.operator).operator_id
            new = _from_file(given.file, NewRule, {"operator_id": operator_id})
            number = rules.enter(tx, rule=new, channels=dunning.channels(wiring.settings).names(), at=at)
            return f"rule {number} counts from {_moment(new.valid_from)} on"
        found = rules.in_force(tx, at=at)
    return "\n".join(f"rule {rule.rule_id}: {msgspec.json.encode(rule).decode()}" for rule in found) or "There is no rule."


def _text(wiring: Wiring, given: argparse.Namespace) -> str:
    new = _from_file(given.file, NewText, {})
    with wiring.db.begin() as tx:
        rules.enter_text(tx, new=new, at=wiring.clock.now())
    return f"text {new.template_code} ({new.language}) counts from {_moment(new.valid_from)} on"


def _quiet(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        made = rules.enter_quiet_days(tx, days=given.days, document=given.document, at=wiring.clock.now())
    return f"{made} days entered"


def _file(wiring: Wiring, given: argparse.Namespace) -> str:
    made = files.make(
        wiring.db, lane=wiring.lane, plate=given.plate, plate_color=given.color, operator_code=given.operator, by=given.by,
        purpose=given.purpose, font=fonts.found(wiring.settings.debt_file_font), at=wiring.clock.now(), ids=wiring.ids,
    )  # fmt: skip
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        paths = [given.out / f"{made.number}{suffix}" for suffix in (".pdf", ".zip")]
        for path, body in zip(paths, (made.pdf, made.zip), strict=True):
            path.write_bytes(body)
    except OSError as broken:
        raise Refused(f"the file cannot be written to {given.out}: {broken.strerror}", code="file_invalid") from None
    return f"{len(made.case.debts)} debts, {yuan(made.case.owed_fen)} yuan owed: {paths[0]} and {paths[1]}"


def _from_file(path: Path, kind: type[T], more: dict[str, object]) -> T:
    try:
        return msgspec.convert(tomllib.loads(_read(path).decode()) | more, kind, strict=False)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as wrong:
        raise Refused(f"{path} cannot be read: {wrong}", code="file_invalid") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as broken:
        raise NotFound(f"{path} cannot be read: {broken.strerror}", code="file_invalid") from None


def _moment(at: datetime | None) -> str:
    return "-" if at is None else f"{at.astimezone(CHINA):%Y-%m-%d %H:%M}"
