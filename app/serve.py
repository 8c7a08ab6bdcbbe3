"""Serve the web application, pages and API, with granian: a process per core.

Knows the server's settings; must not know routes. Called by ``tongting web``.
"""

import os
import signal
from typing import Any, Final

from granian import Granian
from granian.constants import Interfaces, RuntimeModes
from granian.http import HTTP1Settings
from litestar import Litestar

from app.collector import settle
from app.embedded import signal_when_parent_dies
from app.main import create_app
from app.wiring import build
from config.settings import Settings, load

BACKLOG: Final = 2048
DRAIN_SECONDS: Final = 15
WORKERS_MAX: Final = 4


def serve(settings: Settings) -> None:
    """Serve until told to stop; requests that have begun are finished. The serving process reads the same settings again."""
    server: Any = Granian(
        "app.serve:application",
        factory=True,
        interface=Interfaces.ASGI,
        address=settings.web_host,
        port=settings.web_port,
        workers=workers(settings),
        runtime_mode=RuntimeModes.mt,  # sockets are read and written beside Python
        backlog=BACKLOG,
        log_access=False,
        workers_kill_timeout=DRAIN_SECONDS,
        http1_settings=HTTP1Settings(max_buffer_size=1024 * 1024),
        process_name=None,
    )
    server.serve()


def workers(settings: Settings) -> int:
    """Return how many processes serve: as set, else one per core up to ``WORKERS_MAX``. A simulated clock stands in one process."""
    if settings.simulated:
        return 1
    return settings.web_workers or min(WORKERS_MAX, os.cpu_count() or 1)


def application() -> Litestar:
    """Build the application inside the serving process, which ends when its supervisor does."""
    signal_when_parent_dies(os.getppid(), signal.SIGTERM)
    wiring = build(load())
    app = create_app(wiring)
    app.on_shutdown.append(wiring.close)
    settle()
    return app
