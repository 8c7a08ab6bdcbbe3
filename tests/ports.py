"""Ports for servers of tests. Each process of a run has a range of its own, below the ports that the system gives out by itself.

A port that the system gave and that was let go again may be given to somebody else before the server takes it.
"""

import itertools
import os
import socket
from collections.abc import Iterator
from typing import Final

_FIRST: Final = 20_000
_EACH: Final = 3_000
_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4


def _numbers() -> Iterator[int]:
    """Yield the ports of this process over and over, from a place that differs between runs."""
    begin = os.getpid() % _EACH
    return (_FIRST + _WORKER * _EACH + number % _EACH for number in itertools.count(begin))


_next: Final = _numbers()


def free_port() -> int:
    """Return a port that nobody listens on; another one each time."""
    for port in _next:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("the ports never end")
