"""``tongting lot``: how a channel numbers a lot, entered by a person.

Knows the words of the command and of its answers; must not know what a number means there. Called by the command line.
"""

import argparse

from app.wiring import Wiring
from payments import deductions, lots


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting lot``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    numbered = acts.add_parser("number", help="enter a lot's number at a channel; deductions and cards carry it from now on")
    numbered.add_argument("lot", help="the lot's code")
    numbered.add_argument("channel", help="etc (10 digits, parkId) or alipay (parking_id)")
    numbered.add_argument("number", help="the lot's number there")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Enter the number and return what to print.

    Raises:
        Refused: ``lot_number_invalid``; a lot or a channel that is not here.
    """
    wiring.line(given.channel)
    with wiring.db.begin() as tx:
        lot = lots.lot_by_code(tx, code=given.lot)
        deductions.number_lot(tx, lot_id=lot.lot_id, channel=given.channel, number=given.number, at=wiring.clock.now())
    return f"{lot.code} ({lot.name}) is {given.number} at {given.channel}"
