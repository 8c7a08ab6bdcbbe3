"""Chance that repeats: numbers that follow from a seed and names, the same on every run.

Knows hashing alone. Used by every stand-in.
"""

import hashlib


def digits(length: int, *parts: object) -> str:
    """Return ``length`` decimal digits that follow from ``parts``; the same parts give the same digits."""
    value = int.from_bytes(hashlib.sha256("\n".join(map(str, parts)).encode()).digest(), "big")
    return str(value % 10**length).zfill(length)


def hex_text(length: int, *parts: object) -> str:
    """Return ``length`` (at most 64) hex characters that follow from ``parts``."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:length]
