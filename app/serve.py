"""Serve the web application with granian: one process, so that callbacks share one queue and one commit.

Knows the server's settings; must not know routes. Called by ``tongting web``.
"""

import os
import signal
import sys
from typing import Any, Final, cast

from granian import Granian
from granian.constants import Interfaces, RuntimeModes
from granian.http import HTTP1Settings

from app.callbacks import Application, in_front
from app.embedded import signal_when_parent_dies
from app.main import create_app
from app.wiring import build
from config.settings import Settings, load

BACKLOG: Final = 2048
DRAIN_SECONDS: Final = 15
SWITCH_SECONDS: Final = 0.0005
"""How long one thread may keep the others waiting: the committer talks to the database a dozen times per commit."""


def serve(settings: Settings) -> None:
    """Serve until told to stop; requests that have begun are finished. The serving process reads the same settings again."""
    server: Any = Granian(
        "app.serve:application",
        factory=True,
        interface=Interfaces.ASGI,
        address=settings.web_host,
        port=settings.web_port,
        workers=1,
        runtime_mode=RuntimeModes.mt,  # sockets are read and written beside Python, not in its one thread
        backlog=BACKLOG,
        log_access=False,
        workers_kill_timeout=DRAIN_SECONDS,
        http1_settings=HTTP1Settings(max_buffer_size=1024 * 1024),
        process_name=None,
    )
    server.serve()


def application() -> Application:
    """Build the application inside the serving process, which ends when its supervisor does."""
    signal_when_parent_dies(os.getppid(), signal.SIGTERM)
    wiring = build(load())
    app = create_app(wiring)
    app.on_shutdown.append(wiring.close)
    sys.setswitchinterval(SWITCH_SECONDS)
    return in_front(app.state.gate, cast(Application, app))
