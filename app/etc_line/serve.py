"""The line to the network centre as threads: one takes its messages, one sends our letters. In the worker, or by itself.

Knows settings and when things run; must not know messages. Called by the worker and by ``tongting etc-line``; any number of
processes may send, one holds the port.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from app.etc_line.server import LineServer
from app.etc_line.taking import Taker
from app.wiring import Wiring
from gateways.etc.jiangsu import messages
from gateways.etc.jiangsu.uplink import JiangsuUplink
from payments.cards import letters
from payments.cards.records import CHANNEL

LOG: Final = logging.getLogger("tongting.etc_line")
REST_SECONDS: Final = 5.0
"""Before a port that another program holds is tried again."""


@contextmanager
def running(wiring: Wiring) -> Iterator[None]:
    """Hold the line while the block runs: nothing happens where the dialect is another one, or in a simulation."""
    uplink = None if wiring.settings.simulated else wiring.uplink()
    if not isinstance(uplink, JiangsuUplink):
        yield
        return
    stop = Event()
    threads = [
        Thread(target=take_until, args=(wiring, uplink, stop), name="etc line"),
        Thread(target=send_until, args=(wiring, uplink, stop), name="etc letters"),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def take_until(wiring: Wiring, uplink: JiangsuUplink, stop: Event) -> None:
    """Take the centre's messages until ``stop`` is set; a port that is taken is an alarm, and tried again after a rest."""
    settings = wiring.settings
    taker = Taker(
        wiring.till(), wiring.line(CHANNEL), uplink.centre, refused_per_minute=settings.callback_refused_per_minute
    )  # fmt: skip
    while not stop.is_set():
        server = LineServer(taker, peers=frozenset(settings.etc_line_peers))
        try:
            server.bind(settings.etc_line_host, settings.etc_line_port)
        except OSError as taken:
            LOG.critical("%s:%d cannot be listened on: %s", settings.etc_line_host, settings.etc_line_port, taken.strerror)
            stop.wait(REST_SECONDS)
            continue
        LOG.info("the line is open: %s:%d", settings.etc_line_host, server.port)
        server.serve(stop)


def send_until(wiring: Wiring, uplink: JiangsuUplink, stop: Event) -> None:
    """Send what is due until ``stop`` is set; a failure is logged and tried again."""
    while not stop.wait(wiring.settings.jobs_seconds):
        try:
            send_once(wiring, uplink)
        except Exception:
            LOG.exception("sending letters failed; it goes on after a rest")


def send_once(wiring: Wiring, uplink: JiangsuUplink) -> letters.Posted:
    """Ask for booking results that are overdue, and send every letter that is due."""
    till, centre = wiring.till(), uplink.centre

    def write(number: str) -> bytes:
        return messages.write(messages.resend(messages.BOOKING, sender=centre.us, receiver=centre.party, message_no=number))

    letters.ask_for_bookings(till, write=write)
    return letters.run_due(till, uplink)
