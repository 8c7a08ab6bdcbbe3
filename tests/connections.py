"""Connections that engines opened, so that a test which leaves one open fails itself, and not whoever runs when it is found.

Called by the set-up of databases. Importing it begins the watch.
"""

import sys
import threading
import time
import weakref
from types import FrameType
from typing import Any, Final

import psycopg
from sqlalchemy import event
from sqlalchemy.pool import Pool

WAIT_SECONDS_MAX: Final = 1.0
"""How long a thread that still runs may take to give its connection back."""
_FRAMES_MAX: Final = 6
_opened: Final[dict[str, "weakref.WeakKeyDictionary[psycopg.Connection[Any], str]"]] = {}


@event.listens_for(Pool, "connect")
def _note(connection: Any, _record: object) -> None:
    if isinstance(connection, psycopg.Connection):
        _opened.setdefault(connection.info.dbname, weakref.WeakKeyDictionary())[connection] = _where()


def _where() -> str:
    """Return the thread and our own frames that asked for a connection."""
    frame: FrameType | None = sys._getframe(1)
    found: list[str] = []
    while frame is not None and len(found) < _FRAMES_MAX:
        if "site-packages" not in frame.f_code.co_filename and "/lib/python" not in frame.f_code.co_filename:
            found.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return f"thread {threading.current_thread().name}: " + " < ".join(found)


def left_open(database: str) -> list[str]:
    """Return where the connections to a database came from that stay open, and close them."""
    known = _opened.pop(database, None)
    if known is None:
        return []
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while (left := [one for one in known if not one.closed]) and time.monotonic() < deadline:
        time.sleep(0.01)
    said = [known[one] for one in left]
    for one in left:
        one.close()
    return said
