"""``tongting plate``: plates that change hands, are forgotten or were misread, and who looked plates up.

Knows the words of the command and of its answers; must not know what a change does. Called by the command line.
"""

import argparse
from datetime import datetime
from pathlib import Path
from typing import Final, get_args
from uuid import UUID

from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.errors import Refused
from payments.amends import plate_changes
from payments.amends.plate_change_store import Change, State
from payments.owed import debt_desk
from payments.owed.debt_desk import Paper
from payments.plates import PlateColor

_CLOCK: Final = "%Y-%m-%d %H:%M"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting plate``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    transferred = acts.add_parser("transfer", help="propose that a plate belongs to another owner from a moment on")
    _proposal(transferred)
    transferred.add_argument("--from", dest="since", required=True, help="the moment, such as 2026-03-01T00:00:00+08:00")
    _proposal(acts.add_parser("erase", help="propose that nothing leads from a plate to a person any more"))
    approved = acts.add_parser("approve", help="approve a change as the second person; it is carried out at once")
    _decision(approved)
    approved.add_argument("--note", help="the second person's words")
    rejected = acts.add_parser("reject", help="reject a change as the second person")
    _decision(rejected)
    rejected.add_argument("--note", required=True, help="the second person's words")
    listed = acts.add_parser("list", help="print the newest changes")
    listed.add_argument("--state", choices=get_args(State), help="only those in this state")
    listed.add_argument("--plate", help="only those of this number")
    looked = acts.add_parser("lookups", help="print who saw or exported everything about plates")
    looked.add_argument("--plate", help="only those of this number")
    likely = acts.add_parser("likely", help="print cars that were there at the time and whose number a camera takes for a charge's")
    likely.add_argument("charge", type=UUID, help="the charge's id")


def _proposal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", help="the plate's number")
    parser.add_argument("color", choices=get_args(PlateColor), help="its colour, as it is kept")
    parser.add_argument("--reason", required=True, help="why, without naming a person")
    parser.add_argument("--document", required=True, type=Path, help="file of the document that proves it; it is kept")
    parser.add_argument("--by", required=True, help="code of the person who proposes it")


def _decision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("change", type=UUID, help="the change's id")
    parser.add_argument("--by", required=True, help="code of the second person")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print. Raises Refused as ``payments.amends.plate_changes`` does."""
    if given.act == "list":
        return _list(wiring, given)
    if given.act == "lookups":
        return _lookups(wiring, given.plate)
    if given.act == "likely":
        return _likely(wiring, given.charge)
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        if given.act == "approve":
            return _told(plate_changes.approve(tx, lane=wiring.lane, change_id=given.change, by=given.by, note=given.note, at=at))
        if given.act == "reject":
            return _told(plate_changes.reject(tx, lane=wiring.lane, change_id=given.change, by=given.by, note=given.note, at=at))
        asked = {
            "lane": wiring.lane, "number": given.number, "color": given.color, "reason": given.reason,
            "document": _paper(given.document), "by": given.by, "at": at, "ids": wiring.ids,
        }  # fmt: skip
        if given.act == "transfer":
            return _told(plate_changes.transfer(tx, held_since=_moment(given.since), **asked))
        return _told(plate_changes.erase(tx, **asked))


def _paper(path: Path) -> Paper:
    try:
        return debt_desk.paper(path.name, path.read_bytes())
    except OSError as broken:
        raise Refused(f"the document {path} cannot be read: {broken.strerror}", code="document_invalid") from None


def _moment(words: str) -> datetime:
    """Return a moment; without an offset it is China's. Raises Refused (``plate_change_invalid``)."""
    try:
        said = datetime.fromisoformat(words)
    except ValueError:
        raise Refused(f"{words!r} is not a moment such as 2026-03-01T00:00:00+08:00", code="plate_change_invalid") from None
    return said if said.tzinfo is not None else said.replace(tzinfo=CHINA)


def _told(change: Change) -> str:
    """Return what became of a change in one line."""
    if change.state == "proposed":
        return f"{change.change_id} waits for a second person: tongting plate approve {change.change_id} --by ..."
    return f"{change.change_id} is {change.state}"


def _list(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        found = plate_changes.listed(tx, lane=wiring.lane, state=given.state, number=given.plate)
    lines = [
        f"{one.change.change_id}  {one.change.proposed_at.astimezone(CHINA):{_CLOCK}}  {one.number} {one.color:<9}  "
        f"{one.change.kind:<8}  {one.change.state:<8}  by {one.change.proposed_by}"
        + (f", {one.change.decided_by}" if one.change.decided_by else "")
        + (f"  from {one.change.held_since.astimezone(CHINA):{_CLOCK}}" if one.change.held_since else "")
        + f"  {one.change.document_name}"
        for one in found
    ]
    return "\n".join(lines) or "No plate has changed."


def _lookups(wiring: Wiring, plate: str | None) -> str:
    with wiring.db.connect() as tx:
        found = plate_changes.lookups(tx, number=plate)
    lines = [
        f"{one.looked_at.astimezone(CHINA):{_CLOCK}}  {one.number} {one.color:<9}  by {one.person_code}  {one.purpose}"
        for one in found
    ]
    return "\n".join(lines) or "Nobody has looked a plate up."


def _likely(wiring: Wiring, charge_id: UUID) -> str:
    with wiring.db.connect() as tx:
        found = plate_changes.likely_of_charge(tx, lane=wiring.lane, charge_id=charge_id)
    lines = [
        f"{one.nearby.number} {one.nearby.color:<9}  {one.nearby.source:<8}  {one.nearby.serial}  "
        f"came {one.nearby.entered_at.astimezone(CHINA):{_CLOCK}}"
        + (f", left {one.nearby.left_at.astimezone(CHINA):{_CLOCK}}" if one.nearby.left_at else "")
        + f"  {one.minutes_apart} minutes apart"
        for one in found
    ]
    return "\n".join(lines) or "No car was there at the time whose number a camera takes for this one."
