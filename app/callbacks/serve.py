"""The process that takes channels' notices: ``tongting callbacks``. Several may serve one port; each is one thread.

Knows signals and the event loop; must not know routes. Called by the command line.
"""

import asyncio
import logging
import os
import signal
from typing import Final

import uvloop

from app.callbacks.doors import Doors
from app.callbacks.gate import Gate, Limits
from app.collector import settle
from app.wiring import Wiring

PROCESSES_MAX: Final = 4
LISTENING: Final = "the callbacks' port is open"

log: Final = logging.getLogger("tongting.callbacks")


def processes(chosen: int) -> int:
    """Return how many processes serve: as chosen, else one per core up to ``PROCESSES_MAX``."""
    return chosen or min(PROCESSES_MAX, os.cpu_count() or 1)


def gate(wiring: Wiring) -> Gate:
    """Return a gate of this installation."""
    settings = wiring.settings
    limits = Limits(
        batch_max=settings.callback_batch_max,
        body_bytes_max=settings.callback_body_bytes_max,
        refused_per_minute=settings.callback_refused_per_minute,
    )
    return Gate(db=wiring.keyed_db, lane=wiring.lane, channels=wiring.channels, clock=wiring.clock, ids=wiring.ids, limits=limits)


def serve(wiring: Wiring) -> None:
    """Serve until told to stop; what has been read by then is committed and answered."""
    watches = wiring.key_watches()
    for watch in watches:
        watch.start()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(wiring))
    finally:
        for watch in watches:
            watch.stop()


async def _serve(wiring: Wiring) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    doors = Doors(gate(wiring))
    await doors.open(wiring.settings.callback_host, wiring.settings.callback_port)
    settle()
    log.info("%s: %s:%d", LISTENING, wiring.settings.callback_host, wiring.settings.callback_port)
    await stop.wait()
    await doors.close()
    log.info("closed after %s", doors.gate.counts)
