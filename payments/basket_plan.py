"""How a basket is cut into acts: as few as the wallet allows, each a legal order of its channel. Pure.

Knows amounts, operators and limits; must not know the database or any channel's wire. Called by the baskets.
"""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from msgspec import Struct


class Limits(Struct, frozen=True):
    """What one wallet can take in one act."""

    channel: str
    legs_max: int
    """1: it combines nothing."""
    act_fen_max: int


class Owed(Struct, frozen=True):
    """A charge that is still to be paid."""

    charge_id: UUID
    operator_id: int
    amount_fen: int


class Act(Struct, frozen=True):
    """Charges that are paid together, in the order of the basket. One charge alone is an ordinary order."""

    charge_ids: tuple[UUID, ...]
    amount_fen: int


class Cut(Struct, frozen=True):
    """A basket as one wallet can pay it. ``left`` are charges whose operators have no account at this wallet's channel."""

    acts: tuple[Act, ...]
    left: tuple[UUID, ...]


def cut(owed: Sequence[Owed], limits: Limits, *, routed: Mapping[int, bool]) -> Cut:
    """Cut what is owed into acts of one wallet.

    ``routed`` has the operators that have an account at the channel, with whether that account can be a leg of a combined order
    (one under the platform's number). Charges stay in their order; an act is closed when the next charge would break a limit of the
    channel. A charge above the limit of one order is left: no act of this wallet can pay it.
    """
    acts: list[Act] = []
    gathered: list[Owed] = []
    left: list[UUID] = []
    alone: list[Act] = []
    for one in owed:
        if one.operator_id not in routed or one.amount_fen > limits.act_fen_max:
            left.append(one.charge_id)
        elif limits.legs_max == 1 or not routed[one.operator_id]:
            alone.append(_act([one]))
        else:
            if gathered and (len(gathered) == limits.legs_max or _fen(gathered) + one.amount_fen > limits.act_fen_max):
                acts.append(_act(gathered))
                gathered = []
            gathered.append(one)
    if gathered:
        acts.append(_act(gathered))
    return Cut((*acts, *alone), tuple(left))


def best(cuts: Mapping[str, Cut], *, order: Collection[str]) -> str | None:
    """Return the channel whose wallet leaves least and needs the fewest acts; ``order`` decides between equals."""
    usable = [channel for channel in order if channel in cuts and cuts[channel].acts]
    return min(usable, key=lambda channel: (len(cuts[channel].left), len(cuts[channel].acts)), default=None)


def _act(legs: Sequence[Owed]) -> Act:
    return Act(tuple(leg.charge_id for leg in legs), _fen(legs))


def _fen(legs: Sequence[Owed]) -> int:
    return sum(leg.amount_fen for leg in legs)


def allocated(owed: Sequence[tuple[UUID, int]], amount_fen: int) -> dict[UUID, int]:
    """Return how much of each debt an amount pays: in the order given, each in full until the amount is used up."""
    parts: dict[UUID, int] = {}
    for charge_id, owed_fen in owed:
        part_fen = min(owed_fen, amount_fen - sum(parts.values()))
        if part_fen:
            parts[charge_id] = part_fen
    return parts
