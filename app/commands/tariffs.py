"""``tongting tariff``: tariffs, calendars, lots' entries and passes entered by a person, looked at, and tried on a stay.

Knows the words of the command and of its answers; must not know how anything is priced. Called by the command line.
"""

import argparse
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final

from app.commands.routes import instant
from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.errors import Refused
from ledger.money import yuan
from payments import lots
from payments.tariffs import files, listing, quotes, registry
from payments.tariffs.priced import Priced
from payments.tariffs.registry import Entered, NewPass

_TIME: Final = "as 2026-03-01T08:00; without an offset it is Chinese time"
_COLORS: Final = ("blue", "green", "yellow", "black", "white", "limegreen", "unknown")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting tariff``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    added = acts.add_parser("add", help="enter files: tariffs, calendars, rules; what is wrong with one is said in words")
    added.add_argument("files", type=Path, nargs="+", help="TOML files, such as config/tariffs/wuxi-road-2023.toml")
    checked = acts.add_parser("check", help="say in words what is wrong with files, and enter nothing")
    checked.add_argument("files", type=Path, nargs="+", help="TOML files")
    _assign(acts.add_parser("assign", help="let a lot charge by a tariff from a moment on"))
    listed = acts.add_parser("list", help="print tariffs, calendars and lots' entries, past and future")
    listed.add_argument("--lot", help="only the entries of this lot")
    quoted = acts.add_parser("quote", help="print what a stay costs, and why")
    quoted.add_argument("lot", help="the lot's code")
    quoted.add_argument("entered_at", type=instant, help=f"when the car came, {_TIME}")
    quoted.add_argument("left_at", type=instant, help="when it leaves")
    quoted.add_argument("--color", choices=_COLORS, default="unknown", help="colour of the plate (default: unknown)")
    quoted.add_argument("--plate", help="the plate, if it may have a pass")
    exempted = acts.add_parser("exempt", help="put lots on the list of a calendar of free days")
    exempted.add_argument("calendar", help="the calendar's code")
    exempted.add_argument("lots", nargs="+", help="codes of lots")
    exempted.add_argument("--document", required=True, help="the list that names them")
    _pass(acts.add_parser("pass", help="enter a pass of a plate: month, quarter, year, resident"))


def _assign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lot", help="the lot's code")
    parser.add_argument("tariff", help="the tariff's code; none: by none of ours from then on")
    parser.add_argument(
        "--is", dest="selectors", action="append", default=[], metavar="NAME=WORD", help="what the lot is: zone=core"
    )
    parser.add_argument("--from", dest="valid_from", type=instant, help=f"first moment, {_TIME} (default: now)")
    parser.add_argument("--document", required=True, help="the document that says so")
    parser.add_argument("--free-minutes", type=int, help="a longer free time that the lot had before")
    parser.add_argument("--missing-price", choices=["refuse", "base"], help="what becomes of a price that no source has")


def _pass(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("operator", help="the operator's code")
    parser.add_argument("number", help="the operator's number of the pass")
    parser.add_argument("kind", choices=["month", "quarter", "year", "resident"])
    parser.add_argument("plate", help="the plate")
    parser.add_argument("first_day", type=date.fromisoformat, help="first day, as 2026-03-01")
    parser.add_argument("last_day", type=date.fromisoformat, help="last day")
    parser.add_argument("--lot", help="the lot's code (default: all lots of the operator)")
    parser.add_argument("--color", choices=_COLORS, default="unknown", help="colour of the plate (default: unknown)")
    parser.add_argument("--document", required=True, help="agreement or approval")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for, in one transaction, and return what to print.

    Raises:
        Refused: what ``registry`` and ``quotes`` refuse, or a file that cannot be read (``tariff_invalid``).
    """
    return {
        "add": _add, "check": _check, "assign": _assigned, "list": _list, "quote": _quote, "exempt": _exempt, "pass": _passed,
    }[given.act](wiring, given)  # fmt: skip


def _add(wiring: Wiring, given: argparse.Namespace) -> str:
    read = [(path, files.read(_bytes(path))) for path in given.files]
    said: list[str] = []
    with wiring.db.begin() as tx:
        for path, file in read:
            try:
                entered = registry.add(tx, file=file, at=wiring.clock.now())
            except Refused as refused:
                raise Refused(f"{path}: {refused}; no file was entered", code=refused.code) from None
            said += [_entered(one) for one in entered]
    return "\n".join(said)


def _check(_wiring: Wiring, given: argparse.Namespace) -> str:
    wrong = []
    for path in given.files:
        try:
            files.read(_bytes(path))
        except Refused as refused:
            wrong.append(f"{path}: {refused}")
    if wrong:
        raise Refused("\n".join(wrong), code="tariff_invalid")
    return f"{len(given.files)} files can be entered."


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as missing:
        raise Refused(f"{path} cannot be read: {missing.strerror}", code="tariff_invalid") from None


def _entered(one: Entered) -> str:
    return "\n".join([f"{one.what}: {'entered' if one.is_new else 'was entered before'}", *(f"  {word}" for word in one.remarks)])


def _assigned(wiring: Wiring, given: argparse.Namespace) -> str:
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        lot = lots.lot_by_code(tx, code=given.lot)
        return _entered(
            registry.assign(
                tx, lot=lot, tariff_code=None if given.tariff == "none" else given.tariff, selectors=_selectors(given.selectors),
                valid_from=given.valid_from or at, document=given.document, at=at, free_minutes=given.free_minutes,
                missing_price=given.missing_price,
            )
        )  # fmt: skip


def _selectors(words: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if any(not separator for _, separator, _ in pairs):
        raise Refused("say what the lot is as NAME=WORD, such as zone=core", code="tariff_invalid")
    return {name: word for name, _, word in pairs}


def _list(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        lot_id = None if given.lot is None else lots.lot_by_code(tx, code=given.lot).lot_id
        found = listing.lines(tx, lot_id=lot_id)
    return "\n".join(found) or "There is no tariff."


def _quote(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        lot = lots.lot_by_code(tx, code=given.lot)
        found = quotes.quote(
            tx, lane=wiring.lane, lot=lot, plate_color=given.color, entered_at=given.entered_at, left_at=given.left_at,
            plate=given.plate,
        )  # fmt: skip
    return "\n".join([*_explained(found), found.words.zh, found.words.en])


def _explained(found: Priced) -> list[str]:
    lines = [
        f"{_moment(line.from_at)} to {_moment(line.to_at)}  "
        f"{line.units:>4} x {yuan(line.unit_fen):>8} = {yuan(line.amount_fen):>9}  {line.words.en}"
        for line in found.lines
    ]
    by = ", ".join(f"{basis.code} version {basis.version} ({basis.document})" for basis in found.tariffs)
    until = "no change within 40 days" if found.same_until is None else f"the same until {_moment(found.same_until)}"
    return [*lines, f"{yuan(found.amount_fen)} yuan for {found.minutes} minutes, {until}; by {by}"]


def _exempt(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        new = registry.exempt(
            tx, calendar_code=given.calendar, lot_codes=given.lots, document=given.document, at=wiring.clock.now()
        )  # fmt: skip
    return f"{new} lots put on the list of {given.calendar}; {len(set(given.lots)) - new} were on it"


def _passed(wiring: Wiring, given: argparse.Namespace) -> str:
    new = NewPass(
        number=given.number, kind=given.kind, plate=given.plate, plate_color=given.color, first_day=given.first_day,
        last_day=given.last_day, document=given.document,
    )  # fmt: skip
    with wiring.db.begin() as tx:
        operator = lots.operator_by_code(tx, code=given.operator)
        lot = None if given.lot is None else lots.lot_by_code(tx, code=given.lot)
        return _entered(registry.add_pass(tx, operator=operator, lot=lot, given=new, at=wiring.clock.now()))


def _moment(at: datetime) -> str:
    return f"{at.astimezone(CHINA):%Y-%m-%d %H:%M}"
