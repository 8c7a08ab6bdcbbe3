"""Stacking: which of several offers count for one amount, and what each takes off. Pure functions.

Knows amounts and terms; must not know the database, who offers what, or why. Called by ``effects``. Source: docs/DISCOUNTS.md.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import Final
from uuid import UUID

from msgspec import Struct

OFFERS_MAX: Final = 8
"""So many offers are looked at for one stay; more are refused before."""
_WHOLE_BPS: Final = 10_000


class Terms(Struct, frozen=True, kw_only=True):
    """What one offer takes off: exactly one of ``minutes``, ``off_fen`` and ``off_bps``. ``key`` is the grant it comes from."""

    key: UUID
    off_fen: int | None = None
    off_bps: int | None = None
    """A share of what the offers before it leave, in hundredths of a percent, rounded down."""
    cap_fen: int | None = None
    """Most that a share takes off, or minutes."""
    minutes: int | None = None
    """So many minutes of the stay."""
    curve: str = ""
    """Of minutes: the name of the curve that says what minutes take off."""
    group: str | None = None
    """Of one group one offer counts."""
    is_alone: bool = False
    """It counts beside no other offer."""
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    """From then on it counts no more; None: it is in effect already, or has no end."""


class Line(Struct, frozen=True):
    """What an offer took off; at least 1 fen."""

    key: UUID
    fen: int


class Reckoned(Struct, frozen=True):
    """What is taken off an amount, in the order of reckoning, and what is left. Lines and rest sum to the amount."""

    lines: tuple[Line, ...]
    rest_fen: int


Curve = Callable[[int], int]
"""What minutes take off a stay, in fen: nothing for none, and more minutes never less."""


def apply(amount_fen: int, offers: Iterable[Terms], at: datetime, curves: Mapping[str, Curve] | None = None) -> Reckoned:
    """Return what offers take off an amount, best for the driver.

    Minutes go first, those of several offers together, then amounts in fen, then shares of what is left; among equals the earlier
    key. Of each group one offer counts, and one that
    stands alone counts by itself or not at all: of all choices the one that leaves least, then the one with fewest lines. An offer
    that takes nothing off is not used. The order in which offers are given does not matter, and one offer more never leaves more.

    Raises:
        ValueError: a negative amount, or more than ``OFFERS_MAX`` offers that count at ``at``.
    """
    if amount_fen < 0:
        raise ValueError(f"nothing can be taken off {amount_fen} fen")
    valid = sorted((one for one in offers if _is_valid(one, at)), key=_rank)
    if len(valid) > OFFERS_MAX:
        raise ValueError(f"{len(valid)} offers for one stay; at most {OFFERS_MAX}")
    reckoned = (_in_turn(amount_fen, chosen, curves or {}) for chosen in _choices(valid))
    return min(reckoned, key=lambda found: (found.rest_fen, len(found.lines)))


def share(fen: int, weights: Sequence[int]) -> list[int]:
    """Divide ``fen`` among charges by what is left of each: rounded down, the rest one by one to the largest remainders, between
    equal ones to the earlier. No charge gets more than its weight.

    Raises:
        ValueError: more than all the weights together.
    """
    whole = sum(weights)
    if not 0 <= fen <= whole:
        raise ValueError(f"{fen} fen cannot be taken off {whole}")
    if whole == 0:
        return [0] * len(weights)
    parts = [fen * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: (-(fen * weights[place] % whole), place))
    for place in by_remainder[: fen - sum(parts)]:
        parts[place] += 1
    return parts


def _is_valid(one: Terms, at: datetime) -> bool:
    return (one.valid_from is None or one.valid_from <= at) and (one.valid_until is None or at < one.valid_until)


def _rank(one: Terms) -> tuple[bool, bool, UUID]:
    return (one.minutes is None, one.off_fen is None, one.key)


def _choices(valid: Sequence[Terms]) -> Iterator[Sequence[Terms]]:
    """Return the sets of offers that may count together, each in the order of reckoning."""
    together = [one for one in valid if not one.is_alone]
    groups: dict[str | UUID, list[Terms]] = {}
    for one in together:
        groups.setdefault(one.key if one.group is None else one.group, []).append(one)
    for chosen in product(*groups.values()):
        yield sorted(chosen, key=_rank)
    for one in valid:
        if one.is_alone:
            yield [one]


def _in_turn(amount_fen: int, chosen: Sequence[Terms], curves: Mapping[str, Curve]) -> Reckoned:
    rest, lines = amount_fen, []
    minutes: Counter[str] = Counter()
    for one in chosen:
        if one.minutes is not None:
            minutes[one.curve] += one.minutes
            together = sum(curves[name](count) for name, count in minutes.items())
            taken = min(rest, _capped(together - (amount_fen - rest), one.cap_fen))
        else:
            taken = min(rest, _takes(one, rest))
        if taken:
            lines.append(Line(one.key, taken))
            rest -= taken
    return Reckoned(tuple(lines), rest)


def _takes(one: Terms, rest_fen: int) -> int:
    if one.off_fen is not None:
        return one.off_fen
    assert one.off_bps is not None
    return _capped(rest_fen * one.off_bps // _WHOLE_BPS, one.cap_fen)


def _capped(fen: int, cap_fen: int | None) -> int:
    return fen if cap_fen is None else min(fen, cap_fen)
