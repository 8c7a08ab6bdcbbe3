"""Channels by name.

Knows that channels exist, not which: the composition root fills it. Asked by callbacks, checkout, jobs and reconciliation.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from gateways.contract import AnyChannel
from ledger.errors import NotFound


class Connected(Struct):
    """A channel with the keys it is used with. ``keys`` is replaced as a whole when key files change; read it anew for each use."""

    channel: AnyChannel
    keys: Any


class Registry:
    """The channels of this installation."""

    def __init__(self, connected: Iterable[Connected]) -> None:
        self._connected = {one.channel.name: one for one in connected}

    def find(self, name: str) -> Connected:
        """Return the channel named ``name``. Raises NotFound (``channel_not_found``)."""
        try:
            return self._connected[name]
        except KeyError:
            raise NotFound(f"there is no channel {name!r} here", code="channel_not_found") from None

    def names(self) -> tuple[str, ...]:
        """Return the channels' names, sorted."""
        return tuple(sorted(self._connected))

    def __iter__(self) -> Iterator[Connected]:
        return iter(self._connected.values())
