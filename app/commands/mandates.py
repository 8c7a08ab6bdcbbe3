"""``tongting mandate``: the words that drivers agree to, how many agreed, without plates or payers; asking again.

Knows the words of the command and of its answers; must not know channels. Called by the command line.
"""

import argparse
from pathlib import Path
from typing import Final

import msgspec

from app.commands.routes import instant
from app.wiring import Wiring
from app.worker import renew_mandates
from ledger.clock import CHINA
from ledger.errors import Refused
from payments.mandates import agreement_texts, agreements, renewing
from payments.mandates.agreement_store import NewText, Text
from payments.mandates.renewal_store import Keeping


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting mandate``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    acts.add_parser("texts", help="print the versions of the words that drivers agree to")
    acts.add_parser("count", help="print how many agreements stand where, by channel and version")
    acts.add_parser(
        "renew", help="ask the channels now about mandates that nobody confirmed for long; the worker does it by itself"
    )
    acts.add_parser("keepings", help="print for how long it is kept who signed, after a mandate's end")
    kept = acts.add_parser("keep", help="enter for how long it is kept who signed, from a moment on")
    kept.add_argument("years", type=int, help="years after the mandate's end")
    kept.add_argument("--document", required=True, help="the law or document that says so")
    kept.add_argument("--from", dest="valid_from", type=instant, help="from then on, as 2027-01-01T00:00 (default: now)")
    added = acts.add_parser("text", help="let other words be shown from a date on")
    added.add_argument("file", type=Path, help="a version in TOML with its document, see docs/MANDATES.md")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        Refused: what ``agreement_texts.enter`` and ``renewing.keep_for`` refuse; ``file_unreadable``, no file or one of another
            form.
    """
    if given.act in _ACTS:
        return _ACTS[given.act](wiring, given)
    if given.act == "texts":
        with wiring.db.connect() as tx:
            found = agreement_texts.texts(tx, lane=wiring.lane)
        return "\n".join(_line(one) for one in found) or "There is no version yet; the product's own words are shown."
    if given.act == "count":
        with wiring.db.connect() as tx:
            counted = agreements.counts(tx, lane=wiring.lane)
        return "\n".join(f"{one.channel:<10} {one.state:<10} {one.agreements:>8}  {one.text_id}" for one in counted) or "None yet."
    new = read(given.file)
    with wiring.db.begin() as tx:
        return _line(agreement_texts.enter(tx, lane=wiring.lane, text=new, at=wiring.clock.now(), ids=wiring.ids))


def _renew(wiring: Wiring, given: argparse.Namespace) -> str:  # noqa: ARG001  # all acts have one shape
    ran = renew_mandates(wiring)
    return f"{ran.asked} asked about, {ran.unproven} answers proved nothing, {ran.ended} are open no more"


def _keepings(wiring: Wiring, given: argparse.Namespace) -> str:  # noqa: ARG001
    with wiring.db.connect() as tx:
        found = renewing.keepings(tx)
    return "\n".join(
        f"from {one.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M}  {one.years} years  [{one.document}]" for one in found
    )


def _keep(wiring: Wiring, given: argparse.Namespace) -> str:
    at = wiring.clock.now()
    keeping = Keeping(valid_from=given.valid_from or at, years=given.years, document=given.document)
    with wiring.db.begin() as tx:
        renewing.keep_for(tx, keeping=keeping, at=at)
    return f"from {keeping.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M} on it is kept for {keeping.years} years who signed"


_ACTS: Final = {"renew": _renew, "keepings": _keepings, "keep": _keep}


def read(file: Path) -> NewText:
    """Return the version of a file. Raises Refused (``file_unreadable``)."""
    try:
        return msgspec.toml.decode(file.read_bytes(), type=NewText)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as wrong:
        raise Refused(f"{file} is no version of these words: {wrong}", code="file_unreadable") from None


def _line(text: Text) -> str:
    since = f"{text.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M}"
    return f"from {since}  [{text.document}]  {text.digest.hex()[:16]}  {text.text_id}"
