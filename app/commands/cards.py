"""``tongting cards``: packages of card charges, looked at and packed anew by a person.

Knows the words of the command and of its answers; must not know why a package was rejected. Called by the command line.
"""

import argparse
from typing import Final

from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.errors import NotFound
from ledger.money import yuan
from payments.cards import listing, packing
from payments.cards.listing import LISTED_MAX

_STATES: Final = ("packed", "sent", "acked", "booked", "rejected")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting cards``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    listed = acts.add_parser("list", help=f"print the newest packages, {LISTED_MAX} at most")
    listed.add_argument("--state", choices=_STATES, help="only those in this state")
    again = acts.add_parser("repack", help="pack the records of a rejected package anew, under another number")
    again.add_argument("number", help="the package's 20 digits")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        NotFound: ``package_not_rejected``, there is no rejected package of this number.
    """
    if given.act == "list":
        return _list(wiring, given.state)
    with wiring.db.begin() as tx:
        records = packing.repack(tx, lane=wiring.lane, number=given.number)
    if not records:
        raise NotFound(f"there is no rejected package {given.number}", code="package_not_rejected")
    return f"{records} records of package {given.number} wait for a new one"


def _list(wiring: Wiring, state: str | None) -> str:
    with wiring.db.connect() as tx:
        found = listing.latest(tx, lane=wiring.lane, state=state)
    lines = [
        f"{one.number}  {one.created_at.astimezone(CHINA):%Y-%m-%d %H:%M}  issuer {one.issuer_no}  {one.count:>5} records  "
        f"{yuan(one.amount_fen):>12} yuan  {one.state}" + (f", cleared {one.cleared_on}" if one.cleared_on else "")
        for one in found
    ]
    return "\n".join(lines) or "There is no package."
