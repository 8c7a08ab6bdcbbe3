"""Money: integer fen, yuan text only at the edge, splitting by largest remainder.

Knows nothing else.
"""

import re
from collections.abc import Sequence
from typing import Final

AMOUNT_FEN_MAX: Final = 100_000_000_000
"""Largest single amount: 1,000,000,000 yuan. A larger one is a mistake, not a payment."""

_YUAN: Final = re.compile(r"(?P<sign>-?)(?P<whole>\d{1,12})(?:\.(?P<part>\d{1,8}))?", re.ASCII)


def yuan(amount_fen: int) -> str:
    """Return fen as yuan with two decimals: 1234 → ``12.34``, -5 → ``-0.05``."""
    sign = "-" if amount_fen < 0 else ""
    whole, part = divmod(abs(amount_fen), 100)
    return f"{sign}{whole}.{part:02d}"


def fen(text: str) -> int:
    """Return yuan text as fen. Raises ValueError for anything that is not a whole number of fen; nothing is rounded."""
    found = _YUAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an amount in yuan")
    part = (found["part"] or "").ljust(2, "0")
    if part[2:].strip("0"):
        raise ValueError(f"{text!r} has a part of a fen")
    value = int(found["whole"]) * 100 + int(part[:2])
    return -value if found["sign"] else value


def split(amount_fen: int, weights: Sequence[int]) -> list[int]:
    """Divide fen in proportion to ``weights`` by largest remainder; the parts sum to the whole.

    Each part is rounded down and the fen left over go, one each, to the largest remainders, the earlier share first.
    """
    total = sum(weights)
    if amount_fen < 0 or total <= 0 or any(weight < 0 for weight in weights):
        raise ValueError("splitting needs a non-negative amount and non-negative weights with a positive sum")
    parts = [amount_fen * weight // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(amount_fen * weights[i] % total), i))
    for i in by_remainder[: amount_fen - sum(parts)]:
        parts[i] += 1
    return parts
