"""Network input and output towards channels that speak over bare TCP: one short connection, something sent, a short reply read.

Knows sockets; must not know what the bytes mean, nor repeat them. Called by adapters' uplinks, always outside a transaction.
"""

import contextlib
import socket
import time
from typing import Final, Literal

from msgspec import Struct

CONNECT_SECONDS_MAX: Final = 10.0
READ_BYTES: Final = 16 * 1024

Failed = Literal["connect", "timeout", "closed", "broken"]


class Came(Struct, frozen=True):
    """What came back. ``failed`` says why it is not complete: ``connect`` is the only one under which nothing was sent."""

    content: bytes
    failed: Failed | None = None


def exchange(host: str, port: int, content: bytes, *, reply_bytes: int, seconds_max: float) -> Came:
    """Connect, send ``content`` and read ``reply_bytes``. Takes ``seconds_max`` at most, however the other side drips.

    Never raises for what the outside does. Bytes beyond ``reply_bytes`` are not read. A reply that was written before the other
    side closed counts, even when it did not take all that was sent.
    """
    deadline = time.monotonic() + seconds_max
    try:
        connection = socket.create_connection((host, port), timeout=min(seconds_max, CONNECT_SECONDS_MAX))
    except (OSError, UnicodeError):
        return Came(b"", "connect")
    with connection:
        try:
            connection.settimeout(_left(deadline))
            with contextlib.suppress(ConnectionError):  # what they wrote before they closed can still be read
                connection.sendall(content)
        except TimeoutError:
            return Came(b"", "timeout")
        except OSError:
            return Came(b"", "broken")
        return _read(connection, reply_bytes, deadline)


def _read(connection: socket.socket, wanted: int, deadline: float) -> Came:
    came = bytearray()
    while len(came) < wanted:
        try:
            connection.settimeout(_left(deadline))
            part = connection.recv(min(READ_BYTES, wanted - len(came)))
        except TimeoutError:
            return Came(bytes(came), "timeout")
        except OSError:
            return Came(bytes(came), "broken")
        if not part:
            return Came(bytes(came), "closed")
        came += part
    return Came(bytes(came))


def _left(deadline: float) -> float:
    """Return the seconds left. Raises TimeoutError when there are none: a time-out of 0 would mean not to wait at all."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
