"""``tongting discount``: offers are entered from a file and listed, coupons are issued, merchants are entered.

Knows the words of the command and of its answers; must not know what makes an offer legal. Called by the command line.
"""

import argparse
from datetime import datetime
from pathlib import Path

import msgspec

from app.commands import merchants
from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.errors import Refused
from ledger.money import yuan
from payments.discounts import grants, offers
from payments.discounts.offers import NewOffer, Offer


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting discount``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    acts.add_parser("list", help="print offers, past and future")
    added = acts.add_parser("add", help="enter an offer")
    added.add_argument("file", type=Path, help="an offer in TOML with its document, see docs/DISCOUNTS.md")
    issued = acts.add_parser("issue", help="issue coupons of an offer; their codes are printed this once")
    issued.add_argument("offer", help="the offer's code")
    issued.add_argument("--count", type=int, required=True, help=f"how many, at most {grants.COUPONS_MAX}")
    issued.add_argument("--uses", type=int, default=1, help="for how many stays each counts (default: 1)")
    issued.add_argument("--until", type=datetime.fromisoformat, help="they expire then, with an offset; without it with the offer")
    merchants.arguments(acts.add_parser("merchant", help="enter and end merchants, give them tokens and clerks' links"))


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        Refused: what ``offers.add``, ``grants.issue`` and ``app.commands.merchants`` refuse; ``file_unreadable``, no file or one of
            another form.
    """
    if given.act == "merchant":
        return merchants.run(wiring, given)
    if given.act == "list":
        with wiring.db.connect() as tx:
            found = offers.listed(tx, lane=wiring.lane)
        return "\n".join(_line(one) for one in found) or "There is no offer."
    at = wiring.clock.now()
    if given.act == "issue":
        if given.until is not None and given.until.tzinfo is None:
            raise Refused("--until needs an offset, such as 2026-04-01T00:00:00+08:00", code="discount_invalid")
        with wiring.db.begin() as tx:
            made = grants.issue(
                tx, lane=wiring.lane, offer=given.offer, count=given.count, uses=given.uses, valid_until=given.until, at=at,
                ids=wiring.ids, tokens=wiring.link_tokens,
            )  # fmt: skip
        return "\n".join(one.code for one in made)
    offer = read(given.file)
    with wiring.db.begin() as tx:
        return _line(offers.add(tx, lane=wiring.lane, offer=offer, at=at, ids=wiring.ids))


def read(file: Path) -> NewOffer:
    """Return the offer of a file. Raises Refused (``file_unreadable``)."""
    try:
        return msgspec.toml.decode(file.read_bytes(), type=NewOffer)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as wrong:
        raise Refused(f"{file} is no offer: {wrong}", code="file_unreadable") from None


def _line(one: Offer) -> str:
    since, until = (f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M}" for moment in (one.valid_from, one.valid_until))
    beside = "alone" if one.is_alone else f"one of {one.stack_group}" if one.stack_group else "beside others"
    return (
        f"{one.code:<16} {one.kind:<10} {_says(one):<28} {beside:<14} borne by {one.bearer or 'the operator':<12} "
        f"{since} to {until}  [{one.document}]  {one.words} / {one.words_en}"
    )


def _says(one: Offer) -> str:
    if one.off_fen is not None:
        return f"{yuan(one.off_fen)} yuan off" + (f" for {one.minutes} minutes" if one.minutes else "")
    if one.free_minutes is not None:
        most = "" if one.cap_fen is None else f", at most {yuan(one.cap_fen)}"
        return f"{one.free_minutes} minutes off at {one.minutes_at}{most}, else {(one.minutes_else or '').replace('_', ' ')}"
    return f"{(one.off_bps or 0) / 100:.2f} % off, at most {yuan(one.cap_fen or 0)}"
