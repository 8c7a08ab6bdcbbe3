"""Connections from the network centre: one short conversation each, a thread each, everything about them bounded.

Knows sockets, addresses and limits; must not know what a frame says. Called by ``serve``.
"""

import logging
import socket
import threading
import time
from contextlib import suppress
from threading import BoundedSemaphore, Event, Thread
from typing import Final, Protocol

from msgspec import Struct

from gateways.etc.jiangsu.frame import READ_BYTES
from gateways.etc.jiangsu.session import Arrived, Inbound

LOG: Final = logging.getLogger("tongting.etc_line")
_LOOK_SECONDS: Final = 0.2
"""How often a thread that waits looks whether it shall end."""
_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 64 * 1024
_BACKLOG: Final = 64


class Limits(Struct, frozen=True, kw_only=True):
    """What connections may take. A frame is bounded by itself: its length has six digits."""

    connections_max: int = 16
    """At once, from the centre's addresses; more are closed at once and come again."""
    strangers_max: int = 2
    """At once, from all other addresses together: they never take a place from the centre."""
    frame_seconds_max: float = 60.0
    """For a whole frame, however it drips."""


class Takes(Protocol):
    """What is done with what came, see ``taking.Taker``."""

    def inbound(self) -> Inbound: ...

    def take(self, peer: str, arrived: Arrived) -> bytes: ...

    def refuse(self, peer: str, arrived: Arrived) -> None: ...


class LineServer:
    """A listening socket with its conversations. ``bind`` before ``serve``; ``serve`` returns once ``stop`` is set."""

    def __init__(self, taker: Takes, *, peers: frozenset[str], limits: Limits | None = None) -> None:
        self._taker, self._peers, self._limits = taker, peers, limits or Limits()
        self._places = BoundedSemaphore(self._limits.connections_max)
        self._strangers = BoundedSemaphore(self._limits.strangers_max)
        self._socket: socket.socket | None = None
        self._talking: set[Thread] = set()
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """The port that takes connections, once it is bound."""
        assert self._socket is not None, "bound"
        return int(self._socket.getsockname()[1])

    def bind(self, host: str, port: int) -> None:
        """Begin to listen; port 0 is any free one. Raises OSError when the address cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._socket.settimeout(_LOOK_SECONDS)

    def serve(self, stop: Event) -> None:
        """Take connections until ``stop`` is set; then wait for those that are being taken, and close."""
        assert self._socket is not None, "bound"
        with self._socket:
            while not stop.is_set():
                try:
                    connection, address = self._socket.accept()
                except TimeoutError:
                    continue
                except OSError as broken:
                    LOG.warning("a connection could not be accepted: %s", broken)
                    stop.wait(_LOOK_SECONDS)
                    continue
                self._begin(connection, str(address[0]), stop)
        for thread in list(self._talking):
            thread.join()

    def _begin(self, connection: socket.socket, peer: str, stop: Event) -> None:
        """Give a connection a thread, or close it when all places are taken."""
        known = peer in self._peers
        places = self._places if known else self._strangers
        if not places.acquire(blocking=False):
            LOG.warning("a connection from %s is closed: all places are taken", peer)
            connection.close()
            return
        thread = Thread(target=self._talk, args=(connection, peer, known, places, stop), name=f"etc line {peer}")
        with self._lock:
            self._talking.add(thread)
        thread.start()

    def _talk(self, connection: socket.socket, peer: str, known: bool, places: BoundedSemaphore, stop: Event) -> None:
        try:
            with connection:
                self._converse(connection, peer, known, stop)
        except OSError as broken:
            LOG.warning("the connection from %s broke: %s", peer, broken)
        except Exception:
            LOG.exception("the connection from %s failed", peer)
        finally:
            places.release()
            with self._lock:
                self._talking.discard(threading.current_thread())

    def _converse(self, connection: socket.socket, peer: str, known: bool, stop: Event) -> None:
        arrived = _read(connection, self._taker.inbound(), time.monotonic() + self._limits.frame_seconds_max, stop)
        if arrived is None:
            return
        if not known:
            self._taker.refuse(peer, arrived)
            return
        reply = self._taker.take(peer, arrived)
        if reply:
            connection.settimeout(_LINGER_SECONDS)
            connection.sendall(reply)
            _linger(connection)


def _read(connection: socket.socket, inbound: Inbound, deadline: float, stop: Event) -> Arrived | None:
    """Read one frame until it is whole, the other side ends, or its time is over; None when we ourselves end."""
    connection.settimeout(_LOOK_SECONDS)
    while not stop.is_set():
        if time.monotonic() > deadline:
            return inbound.end()
        try:
            part = connection.recv(READ_BYTES)
        except TimeoutError:
            continue
        arrived = inbound.feed(part) if part else inbound.end()
        if arrived is not None:
            return arrived
    return None


def _linger(connection: socket.socket) -> None:
    """Let the other side read the reply: closing while bytes of theirs are unread would take it back."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        came = 0
        until = time.monotonic() + _LINGER_SECONDS
        while came < _LINGER_BYTES and time.monotonic() < until and (part := connection.recv(READ_BYTES)):
            came += len(part)
