"""``tongting mandate``: the words that drivers agree to, entered from a file and listed; how many agreed, without plates or payers.

Knows the words of the command and of its answers; must not know channels. Called by the command line.
"""

import argparse
from pathlib import Path

import msgspec

from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.errors import Refused
from payments.mandates import agreement_texts, agreements
from payments.mandates.agreement_store import NewText, Text


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting mandate``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    acts.add_parser("texts", help="print the versions of the words that drivers agree to")
    acts.add_parser("count", help="print how many agreements stand where, by channel and version")
    added = acts.add_parser("text", help="let other words be shown from a date on")
    added.add_argument("file", type=Path, help="a version in TOML with its document, see docs/MANDATES.md")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        Refused: what ``agreement_texts.enter`` refuses; ``file_unreadable``, no file or one of another form.
    """
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


def read(file: Path) -> NewText:
    """Return the version of a file. Raises Refused (``file_unreadable``)."""
    try:
        return msgspec.toml.decode(file.read_bytes(), type=NewText)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as wrong:
        raise Refused(f"{file} is no version of these words: {wrong}", code="file_unreadable") from None


def _line(text: Text) -> str:
    since = f"{text.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M}"
    return f"from {since}  [{text.document}]  {text.digest.hex()[:16]}  {text.text_id}"
