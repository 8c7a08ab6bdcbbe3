"""What settlements of any kind are decided by: a second person with the digest that was shown, and a bank slip.

Knows the words of these acts; must not know whose settlements they are. Called by the desks of incentives and of bearers.
"""

import argparse
from collections.abc import Iterable
from datetime import date
from typing import Final, Protocol
from uuid import UUID

from ledger.errors import Refused
from ledger.money import fen

DIGEST_DIGITS_MIN: Final = 16


class Digested(Protocol):
    """A settlement and the digest over its exact lines."""

    @property
    def settlement_id(self) -> UUID: ...
    @property
    def digest(self) -> bytes: ...


def add_decisions(acts: "argparse._SubParsersAction[argparse.ArgumentParser]", settle: argparse.ArgumentParser, *, of: str) -> None:
    """Add the acts that list, approve, reject and pay settlements; they and ``settle`` name the person who does it."""
    settle.add_argument("--until", type=date.fromisoformat, required=True, help="of what was booked until this day")
    listed = acts.add_parser("settlements", help=f"print settlements {of}")
    listed.add_argument("--state", choices=["proposed", "approved", "rejected", "paid"])
    approve = acts.add_parser("approve", help="approve a settlement, as a second person")
    approve.add_argument("settlement", type=UUID)
    approve.add_argument(
        "--digest", required=True, help=f"at least the first {DIGEST_DIGITS_MIN} digits of the digest that was printed"
    )
    approve.add_argument("--note", help="what there is to say")
    reject = acts.add_parser("reject", help="reject a settlement, as a second person")
    reject.add_argument("settlement", type=UUID)
    reject.add_argument("--note", required=True, help="why")
    paid = acts.add_parser("paid", help="enter the bank slip of an approved settlement")
    paid.add_argument("settlement", type=UUID)
    paid.add_argument("--slip", required=True, help="its number")
    paid.add_argument("--on", type=date.fromisoformat, required=True, help="its date")
    paid.add_argument("--yuan", required=True, help="its amount, such as 12.34")
    for act in (settle, approve, reject, paid):
        act.add_argument("--by", required=True, help="code of the person who does it")


def digest_of(found: Iterable[Digested], given: argparse.Namespace) -> bytes:
    """Return the digest of the settlement that is approved when what was typed begins it; else what no settlement has.

    Raises Refused (``digest_too_short``).
    """
    shown = given.digest.lower()
    if len(shown) < DIGEST_DIGITS_MIN:
        raise Refused(f"give at least {DIGEST_DIGITS_MIN} digits of the digest that was shown", code="digest_too_short")
    one = next((one for one in found if one.settlement_id == given.settlement), None)
    return one.digest if one is not None and one.digest.hex().startswith(shown) else b""


def slip_fen(given: argparse.Namespace) -> int:
    """Return the amount of a bank slip. Raises Refused (``slip_invalid``)."""
    try:
        return fen(given.yuan)
    except ValueError as wrong:
        raise Refused(str(wrong), code="slip_invalid") from None
