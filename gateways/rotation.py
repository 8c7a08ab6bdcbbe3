"""Keeps a channel's signing keys known: fetched at start, at intervals, and soon after a message named an unknown one.

Knows the line to the channel; must not know notices. Started by each process that verifies what the channel signs. A callback never
waits for it: the ring notes a miss, and this thread sees the note.
"""

import logging
from threading import Event, Thread
from typing import Final

from gateways.calls import Line, refresh_keys

LOG: Final = logging.getLogger("tongting.keys")
INTERVAL_SECONDS: Final = 10 * 3600.0
"""The channel wants to be asked at intervals under 12 hours."""
PAUSE_SECONDS: Final = 60.0
"""Pause between two fetches, however many messages name unknown keys (anybody can send such a message), or while they fail."""


class KeyWatch:
    """One thread that fetches the keys of one channel into its ring."""

    def __init__(self, line: Line, *, interval_seconds: float = INTERVAL_SECONDS, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._line = line
        self._name = line.connected.channel.name
        self._interval_seconds = interval_seconds
        self._pause_seconds = pause_seconds
        self._stopped = Event()
        self._thread = Thread(target=self._run, name=f"keys of {self._name}", daemon=True)

    def start(self) -> None:
        """Fetch at once and go on by itself. Call once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for a fetch that has begun."""
        self._stopped.set()
        self._line.connected.keys.missed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._line.connected.keys.missed.clear()
            fetched = self._fetched()
            if not self._stopped.wait(self._pause_seconds) and fetched:
                self._line.connected.keys.missed.wait(self._interval_seconds)

    def _fetched(self) -> bool:
        """Fetch once. Returns False when the answer proved nothing."""
        before = {key.serial for key in self._line.connected.keys.known()}
        try:
            listed = refresh_keys(self._line)
        except Exception:
            LOG.exception("fetching the keys of channel %s failed", self._name)
            return False
        if listed is None:
            LOG.warning("channel %s did not list its keys in a way that proves anything", self._name)
        if new := {key.serial for key in self._line.connected.keys.known()} - before:
            LOG.info("channel %s signs with new keys: %s", self._name, ", ".join(sorted(new)))
        return listed is not None
