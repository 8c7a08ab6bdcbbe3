"""The arithmetic of a split: what each leg of a rule gets of an amount. Pure.

Knows legs and fen; must not know rules' dates, charges or the database. Called by ``splits``. Source: docs/SPLITS.md.
"""

from collections.abc import Sequence

from ledger.errors import Refused
from ledger.money import split
from payments.splitting.split_store import Leg


def cut(amount_fen: int, legs: Sequence[Leg], *, energy_fen: int | None = None) -> list[int]:
    """Return what each leg gets of an amount, in fen; the parts sum to the amount.

    First comes the energy as the lot gave it, then the fixed amounts in their order as far as there is something left; what they
    leave is divided by the shares with largest remainder, the earlier leg first between equals.

    Raises:
        Refused: ``energy_missing``, the rule needs the amount for energy; ``energy_invalid``, it is more than the whole.
        ValueError: the legs have no shares to take what is left (a rule that ``rules.add_rule`` would have refused).
    """
    parts, left = [0] * len(legs), amount_fen
    for place, leg in enumerate(legs):
        if leg.basis == "energy":
            parts[place] = _energy(amount_fen, energy_fen)
            left -= parts[place]
    for place, leg in enumerate(legs):
        if leg.basis == "fixed":
            parts[place] = min(leg.fixed_fen or 0, left)
            left -= parts[place]
    for place, fen in enumerate(split(left, [leg.share_bps or 0 for leg in legs])):
        parts[place] += fen
    return parts


def _energy(amount_fen: int, energy_fen: int | None) -> int:
    if energy_fen is None:
        raise Refused("this lot's charges are shared with the seller of energy: send energy_fen, 0 if none", code="energy_missing")
    if not 0 <= energy_fen <= amount_fen:
        raise Refused(f"energy of {energy_fen} fen is no part of {amount_fen} fen", code="energy_invalid")
    return energy_fen
