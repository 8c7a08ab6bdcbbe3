"""Keeps a channel's signing keys known: fetched at start, at intervals, and soon after a message named an unknown one.

Knows the line to the channel; must not know notices. Started by each process that verifies what the channel signs; a callback only
says that a key was unknown and never waits for the network.
"""

import logging
from threading import Event, Thread
from typing import Final

from gateways.calls import Line, refresh_keys

LOG: Final = logging.getLogger("tongting.keys")
INTERVAL_SECONDS: Final = 10 * 3600.0
"""The channel wants to be asked at intervals under 12 hours."""
PAUSE_SECONDS: Final = 60.0
"""Shortest pause between two fetches, however many messages name unknown keys: anybody can send such a message."""


class KeyWatch:
    """One thread that fetches the keys of one channel into its ring."""

    def __init__(self, line: Line, *, interval_seconds: float = INTERVAL_SECONDS, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._line = line
        self._interval_seconds = interval_seconds
        self._pause_seconds = pause_seconds
        self._asked, self._stopped = Event(), Event()
        self._thread = Thread(target=self._run, name=f"keys of {line.connected.channel.name}", daemon=True)

    def start(self) -> None:
        """Fetch at once and go on by itself. Call once."""
        self._thread.start()

    def ask(self) -> None:
        """Say that a message named an unknown key; returns at once."""
        self._asked.set()

    def stop(self) -> None:
        """Stop and wait for a fetch that has begun."""
        self._stopped.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._asked.clear()
            self._fetch()
            if self._stopped.wait(self._pause_seconds):
                return
            self._asked.wait(self._interval_seconds)

    def _fetch(self) -> None:
        name = self._line.connected.channel.name
        try:
            before = {key.serial for key in self._line.connected.keys.known()}
            if refresh_keys(self._line) is None:
                LOG.warning("channel %s did not list its keys in a way that proves anything", name)
            elif new := {key.serial for key in self._line.connected.keys.known()} - before:
                LOG.info("channel %s signs with new keys: %s", name, ", ".join(sorted(new)))
        except Exception:
            LOG.exception("fetching the keys of channel %s failed", name)
