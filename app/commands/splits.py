"""``tongting split``: how a lot's charges are cut for several payees, entered from a file and listed by a person; and bearers.

Knows the words of the command and of its answers; must not know what makes a rule legal. Called by the command line.
"""

import argparse
from pathlib import Path

import msgspec

from app.commands import bearers
from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.errors import Refused
from ledger.money import yuan
from payments.splitting import rules
from payments.splitting.rules import NewRule
from payments.splitting.split_store import Leg, Rule


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting split``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    listed = acts.add_parser("list", help="print split rules, past and future")
    listed.add_argument("--lot", help="the lot's code; without it all lots'")
    added = acts.add_parser("add", help="let a lot's charges be cut for several payees from a date on")
    added.add_argument("file", type=Path, help="a rule in TOML with its document, see docs/SPLITS.md")
    bearers.add_acts(acts)


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        Refused: what ``rules.add_rule`` and the acts of bearers refuse; ``file_unreadable``, no file or one of another form.
    """
    if (act := bearers.ACTS.get(given.act)) is not None:
        return act(wiring, given)
    if given.act == "list":
        with wiring.db.connect() as tx:
            found = rules.rules(tx, lot=given.lot)
        return "\n".join(line for rule in found for line in _lines(rule)) or "There is no split rule."
    rule = read(given.file)
    with wiring.db.begin() as tx:
        kept = rules.add_rule(tx, lane=wiring.lane, rule=rule, at=wiring.clock.now(), ids=wiring.ids)
    return "\n".join(_lines(kept))


def read(file: Path) -> NewRule:
    """Return the rule of a file. Raises Refused (``file_unreadable``)."""
    try:
        return msgspec.toml.decode(file.read_bytes(), type=NewRule)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as wrong:
        raise Refused(f"{file} is no split rule: {wrong}", code="file_unreadable") from None


def _lines(rule: Rule) -> list[str]:
    scene = rule.scene or "all scenes"
    since = f"{rule.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M}"
    head = f"{rule.lot_code:<12} {scene:<10} from {since}  [{rule.document}]  {rule.rule_id}"
    return [
        head,
        *[f"    {leg.number}  {leg.operator_code:<12} {_share(leg):<22} {leg.words} / {leg.words_en}" for leg in rule.legs],
    ]


def _share(leg: Leg) -> str:
    said = "energy as given" if leg.basis == "energy" else f"{yuan(leg.fixed_fen or 0)} yuan"
    if leg.share_bps is not None:
        said = f"{leg.share_bps / 100:.2f} % of the rest"
    return said if leg.bearer is None else f"{said}, borne by {leg.bearer}"
