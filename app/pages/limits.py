"""Slow down those who try number plates one after another.

Knows addresses and a clock of its own; must not know what is looked up. Called by the page views.
Only look-ups that find nothing at the scanned lot count:
a driver finds the own fee at the first or second try, whoever guesses mostly misses.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MISSES_PER_MINUTE: Final = 20
ADDRESSES_MAX: Final = 20_000
ADDRESS_LETTERS_MAX: Final = 45


def address_of(peer: str, forwarded: str) -> str:
    """Return the address a request comes from: the peer, or what a proxy on this machine says it was.

    ``forwarded`` is the header X-Forwarded-For; anybody can write it, so it counts only from this machine, and of it the last hop.
    """
    if peer not in ("127.0.0.1", "::1") or not forwarded:
        return peer
    return forwarded.rpartition(",")[2].strip()[:ADDRESS_LETTERS_MAX]


class Misses:
    """A bucket of misses per address that refills evenly; safe in many threads. Remembers ``ADDRESSES_MAX`` addresses."""

    def __init__(self, *, per_minute: int = MISSES_PER_MINUTE, clock: Callable[[], float] = time.monotonic) -> None:
        self._full = float(per_minute)
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def is_over(self, address: str) -> bool:
        """Say whether an address has missed too often to look up again now."""
        with self._lock:
            return self._refilled(address) < 1

    def count(self, address: str) -> None:
        """Take note of one miss."""
        with self._lock:
            self._left[address] = (max(0.0, self._refilled(address) - 1), self._clock())
            self._left.move_to_end(address)
            while len(self._left) > ADDRESSES_MAX:
                self._left.popitem(last=False)

    def _refilled(self, address: str) -> float:
        left, since = self._left.get(address, (self._full, self._clock()))
        return min(self._full, left + (self._clock() - since) * self._full / 60)
