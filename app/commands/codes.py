"""``tongting code``: pay codes on walls and screens, issued, printed, posted and taken out of use by a person.

Knows the words of the command and of its answers; must not know what makes an act legal, or how a sheet is laid out. Called by the
command line.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from app.pages.wallets import payable
from app.pages.words import ZH
from app.printing import sheets
from app.printing.labels import SIZES, Label
from app.printing.processes import cores
from app.printing.sheets import Order
from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.errors import Refused
from payments import fonts, lots, paycode, people, qr
from payments.codes import registry, shown, telling
from payments.codes.records import GOOD, WHOLE_LOT, Act, Code, Place, PlaceKind
from payments.lots import Lot
from payments.paycode import BasketCode, Content, LotCode, StayCode, WallCode

LISTED_MAX: Final = 20
_NO_NAMES: Final = re.compile(r'[/\\:*?"<>|%]')


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting code``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    _issue_arguments(acts.add_parser("issue", help="make codes for a lot, or for its lanes or berths"))
    listed = acts.add_parser("list", help="print a lot's codes and where they hang")
    listed.add_argument("lot", help="the lot's code")
    listed.add_argument("--state", choices=["issued", "posted", "moved", "retired", "replaced", "reported"])
    listed.add_argument("--batch", help="only those of this batch")
    acts.add_parser("history", help="print what became of a code").add_argument("number", type=int)
    _print_arguments(acts.add_parser("print", help="write print files of codes that are paid with"))
    posted = acts.add_parser("post", help="note that codes hang on their walls")
    posted.add_argument("--reason", default="posted", help="what there is to say")
    move = acts.add_parser("move", help="let a code stand for another place of its lot, or note that it hangs at another lot")
    move.add_argument("number", type=int)
    move.add_argument("--place", choices=["lot", "lane", "berth"], default="berth")
    move.add_argument("--name", default="", help="the lane's name or the berth's number")
    move.add_argument("--lot", help="code of the other lot at which it was found; it is refused from now on")
    move.add_argument("--reason", required=True)
    retired = acts.add_parser("retire", help="take codes out of use for ever")
    reported = acts.add_parser("report", help="note that codes were stolen, pasted over or hang where they do not belong")
    replaced = acts.add_parser("replace", help="issue new codes for the places of old ones, which are refused from now on")
    replaced.add_argument("--lot", required=True, help="the lot's code")
    replaced.add_argument("--batch", required=True, help="name of the new codes' batch")
    for act in (retired, reported, replaced):
        act.add_argument("--reason", required=True, help="why")
    for act in (posted, retired, reported, replaced):
        act.add_argument("numbers", type=int, nargs="+", metavar="number")
    stay = acts.add_parser("stay", help="print a code for a screen that opens one charge of a lot")
    basket = acts.add_parser("basket", help="print a code for a screen that opens several charges of a lot")
    for act, how_many in ((stay, 1), (basket, "+")):
        act.add_argument("lot", help="the lot's code")
        act.add_argument("serials", nargs=how_many, metavar="serial", help="the lot's own serial of the charge")
        act.add_argument("--minutes", type=int, default=shown.MINUTES, help=f"how long it is good (default: {shown.MINUTES})")
    acts.add_parser("keys", help="print with which keys codes were signed that are still paid with")
    for act in (posted, move, retired, reported, replaced, basket):
        act.add_argument("--by", required=True, help="staff code of the person who does it")


def _issue_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lot", help="the lot's code")
    parser.add_argument("--batch", required=True, help="name of the batch; issued again under it, the same codes come back")
    places = parser.add_mutually_exclusive_group()
    places.add_argument("--berths", type=Path, help="a file with one berth's number a line; without a file one code for the lot")
    places.add_argument("--lanes", type=Path, help="a file with one lane's name a line")
    parser.add_argument("--by", required=True, help="staff code of the person who does it")


def _print_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lot", help="the lot's code")
    parser.add_argument("--size", choices=list(SIZES), default="poster")
    parser.add_argument("--form", choices=["pdf", "svg"], default="pdf")
    parser.add_argument("--to", type=Path, required=True, help="folder of the files; a print that was broken off goes on there")
    parser.add_argument("--pages", type=int, default=sheets.PAGES, help=f"sheets of a PDF (default: {sheets.PAGES})")
    parser.add_argument("--processes", type=int, default=cores(), help="how many draw at a time (default: one for each processor)")
    parser.add_argument("--batch", help="only the codes of this batch")
    parser.add_argument("--own", action="store_true", help="the lot's own code, which is in no batch")
    parser.add_argument("--by", required=True, help="staff code of the person who does it")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        Refused: what ``payments.codes`` and ``payments.people`` refuses; ``file_unreadable``, no file of places;
            ``font_missing``; what ``sheets.write`` refuses.
    """
    return _ACTS[given.act](wiring, given)


def _issue(wiring: Wiring, given: argparse.Namespace) -> str:
    places = _places(given)
    with wiring.db.begin() as tx:
        _check_person(tx, wiring, given)
        lot = lots.lot_by_code(tx, code=given.lot)
        made = registry.issue(tx, lot=lot, batch=given.batch, places=places, by=given.by, at=wiring.clock.now())
    return f"{len(made)} codes of batch {given.batch}, numbers {made[0].code_no} to {made[-1].code_no}"


def _places(given: argparse.Namespace) -> list[Place]:
    named: tuple[tuple[PlaceKind, Path | None], ...] = (("berth", given.berths), ("lane", given.lanes))
    for kind, file in named:
        if file is not None:
            return [Place(kind, line.strip()) for line in _read(file).splitlines() if line.strip()]
    return [WHOLE_LOT]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as wrong:
        raise Refused(f"{file} is no list of places in UTF-8: {wrong}", code="file_unreadable") from None


def _list(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        lot = lots.lot_by_code(tx, code=given.lot)
        states = None if given.state is None else [given.state]
        lines = [_line(code) for code in registry.every(tx, lot=lot, states=states, batch=given.batch)]
    return "\n".join(lines) or "There is no such code."


def _history(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        return "\n".join(_act_line(act) for act in registry.history(tx, code_no=given.number))


def _print(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        _check_person(tx, wiring, given)
        lot = lots.lot_by_code(tx, code=given.lot)
    order = Order(
        size=given.size, form=given.form, folder=given.to, stem=_stem(lot, given), font=fonts.found(wiring.settings.debt_file_font),
        pages=given.pages, processes=given.processes,
    )  # fmt: skip
    done = sheets.write(
        _labels(wiring, lot, given), order, at=wiring.clock.now(), progress=_progress, drawing=partial(_note, wiring, lot, given)
    )
    if not done.files:
        raise Refused(f"lot {lot.code} has no such code that is paid with; issue one first", code="code_not_found")
    kept = f"; {done.kept} were whole before" if done.kept else ""
    return (
        f"{done.labels} codes in {len(done.files)} files, from {done.files[0]} to {done.files[-1]}{kept}; listed in {done.manifest}"
    )


def _stem(lot: Lot, given: argparse.Namespace) -> str:
    """Return how the files' names begin; signs that have a meaning in names of files are written as their numbers."""
    which = "own" if given.own else given.batch or "codes"
    return f"{lot.code}-{_NO_NAMES.sub(lambda sign: f'%{ord(sign[0]):02X}', which)}-{given.size}"


def _labels(wiring: Wiring, lot: Lot, given: argparse.Namespace) -> Iterator[Label]:
    """Yield what is printed; the registry is read page by page."""
    if given.own:
        yield _label(wiring, lot, WHOLE_LOT, LotCode(lot.lot_id))
        return
    after = 0
    while True:
        with wiring.db.connect() as tx:
            page = registry.listed(tx, lot=lot, after=after, states=sorted(GOOD), batch=given.batch)
        if not page:
            return
        after = page[-1].code_no
        for code in page:
            yield _label(wiring, lot, Place(code.place, code.place_name), WallCode(code.code_no))


def _note(wiring: Wiring, lot: Lot, given: argparse.Namespace, labels: Sequence[Label]) -> None:
    """Note that codes are printed, before any of them can reach a wall."""
    code_nos = [label.code_no for label in labels if label.code_no is not None]
    at, form = wiring.clock.now(), f"{given.size} {given.form}"
    printing_id = wiring.ids.new(at, f"code printing {lot.code} {form} {code_nos[:1]}")
    with wiring.db.begin() as tx:
        registry.note_printing(
            tx, printing_id=printing_id, lot=lot, key_id=wiring.pay_codes.signing_id, code_nos=code_nos, form=form, by=given.by,
            at=at,
        )  # fmt: skip


def _label(wiring: Wiring, lot: Lot, place: Place, content: LotCode | WallCode) -> Label:
    return sheets.label(
        lot, place, link=_link(wiring, content), code_no=content.code_no if isinstance(content, WallCode) else None, words=ZH,
        help_line=wiring.settings.help_line,
        wallets=ZH.apps(payable(one.channel for one in wiring.channels)),
    )  # fmt: skip


def _link(wiring: Wiring, content: Content) -> str:
    return paycode.address(wiring.settings.public_url, content, keys=wiring.pay_codes)


def _post(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        _check_person(tx, wiring, given)
        return _lines(registry.post(tx, code_nos=given.numbers, reason=given.reason, by=given.by, at=wiring.clock.now()))


def _retire(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        _check_person(tx, wiring, given)
        return _lines(registry.retire(tx, code_nos=given.numbers, reason=given.reason, by=given.by, at=wiring.clock.now()))


def _report(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        _check_person(tx, wiring, given)
        reported = telling.report(
            tx, lane=wiring.lane, code_nos=given.numbers, reason=given.reason, by=given.by, at=wiring.clock.now(), ids=wiring.ids
        )
        return _lines(reported)


def _move(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        _check_person(tx, wiring, given)
        other = None if given.lot is None else lots.lot_by_code(tx, code=given.lot)
        to = Place(given.place, given.name) if given.name else WHOLE_LOT if given.place == "lot" else _place_of(tx, given.number)
        moved = registry.move(
            tx, code_no=given.number, to=to, reason=given.reason, by=given.by, at=wiring.clock.now(), other_lot=other
        )
    return _line(moved)


def _place_of(tx: Connection, number: int) -> Place:
    code = registry.code(tx, code_no=number)
    return Place(code.place, code.place_name)


def _replace(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        _check_person(tx, wiring, given)
        lot = lots.lot_by_code(tx, code=given.lot)
        pairs = registry.replace(
            tx, lot=lot, code_nos=given.numbers, batch=given.batch, reason=given.reason, by=given.by, at=wiring.clock.now()
        )
    return "\n".join(f"{old.code_no} is replaced by {new.code_no}" for old, new in pairs)


def _stay(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        lot = lots.lot_by_code(tx, code=given.lot)
        made = shown.stay(
            tx, lane=wiring.lane, lot=lot, serial=given.serials[0], minutes=given.minutes, at=wiring.clock.now()
        )  # fmt: skip
    return _for_screen(wiring, made)


def _basket(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        _check_person(tx, wiring, given)
        lot = lots.lot_by_code(tx, code=given.lot)
        made = shown.basket(
            tx, lane=wiring.lane, lot=lot, serials=given.serials, minutes=given.minutes, by=given.by, at=wiring.clock.now(),
            ids=wiring.ids,
        )  # fmt: skip
    return _for_screen(wiring, made)


def _for_screen(wiring: Wiring, made: StayCode | BasketCode) -> str:
    link = _link(wiring, made)
    return f"{qr.terminal(link)}\n{link}\ngood until {made.good_until.astimezone(CHINA):%H:%M}"


def _keys(wiring: Wiring, _given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        found = registry.keys_in_use(tx)
    signing = wiring.pay_codes.signing_id
    return "\n".join([*(f"key {key_id}: {count} codes" for key_id, count in found), f"new codes are signed with key {signing}"])


_ACTS: Final[dict[str, Callable[[Wiring, argparse.Namespace], str]]] = {
    "issue": _issue, "list": _list, "history": _history, "print": _print, "post": _post, "move": _move, "retire": _retire,
    "report": _report, "replace": _replace, "stay": _stay, "basket": _basket, "keys": _keys,
}  # fmt: skip


def _check_person(tx: Connection, wiring: Wiring, given: argparse.Namespace) -> None:
    """See that whoever does it is of the staff and may act. Raises NotAllowed (``person_unknown``, ``person_may_not``)."""
    people.maker(tx, person_code=given.by, at=wiring.clock.now())


def _progress(said: str) -> None:
    print(said, file=sys.stderr, flush=True)


def _lines(codes: Sequence[Code]) -> str:
    more = [f"… and {len(codes) - LISTED_MAX} more"] if len(codes) > LISTED_MAX else []
    return "\n".join([*map(_line, codes[:LISTED_MAX]), *more])


def _line(code: Code) -> str:
    successor = f", see {code.successor_no}" if code.successor_no else ""
    where = f"{code.place} {code.place_name}".rstrip()
    mark = f", reported: {code.reports} open, see tongting rollout cases" if code.reports else ""
    return f"{code.code_no:>8}  {code.state:<9} {where:<28} batch {code.batch}{successor}{mark}"


def _act_line(act: Act) -> str:
    successor = f", see {act.successor_no}" if act.successor_no else ""
    where = f"{act.lot_code} {act.place} {act.place_name}".rstrip()
    return f"{act.done_at.astimezone(CHINA):%Y-%m-%d %H:%M}  {act.act:<9} {where}{successor}  {act.reason}  by {act.done_by}"
