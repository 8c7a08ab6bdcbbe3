"""The web application: every route of the product in one Litestar, around one wiring.

Knows which routes exist and what they share; must not know what they do. Called by ``tongting web`` and the tests.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from threading import Event, Thread
from typing import Final

from litestar import Litestar, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from sqlalchemy import text

from app import api, pages
from app.api_docs import PlainDocs
from app.callbacks.doors import Doors
from app.callbacks.serve import gate
from app.pages.sorry import missing
from app.problems import unexpected
from app.simulation import SimulationRoutes
from app.wiring import Wired, Wiring
from payments.rollout.visits import SCANS

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest request body of any route; routes that the public reaches set a smaller one."""

_ABOUT: Final = "Charges in, events and statements out. Times are RFC 3339 with an offset, amounts whole fen (分)."


@get("/health", sync_to_thread=True, include_in_schema=False)
def health(wiring: Wired) -> dict[str, str]:
    """Answer when the database answers: what a supervisor or a load balancer asks."""
    with wiring.db.connect() as tx:
        tx.execute(text("select 1"))
    return {"status": "ok"}


def create_app(wiring: Wiring) -> Litestar:
    """Build the application. The wiring stays the caller's to close, after the application has shut down.

    In a simulated city it also opens the callbacks' port, because the clock that the notices are judged by stands in this process.
    """
    simulation = [SimulationRoutes] if wiring.settings.simulated else []
    app = Litestar(
        route_handlers=[health, *api.routes, *pages.routes, *simulation],
        dependencies={"wiring": Provide(lambda: app.state.wiring, sync_to_thread=False)},
        state=State({"wiring": wiring}),
        exception_handlers={HTTPException: missing, Exception: unexpected},
        lifespan=[_watched],
        openapi_config=OpenAPIConfig(
            title="Tongting 通停", version=version("tongting"), description=_ABOUT, path="/schema", render_plugins=[PlainDocs()]
        ),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,  # the framework's own would switch off loggers that exist already
    )
    return app


@asynccontextmanager
async def _watched(app: Litestar) -> AsyncIterator[None]:
    """While the application lives, key files are watched, scans are counted and a simulated city's callbacks port is open."""
    wiring: Wiring = app.state.wiring
    async with AsyncExitStack() as ending:
        ending.callback(_counting(wiring))
        for watch in wiring.key_watches():
            watch.start()
            ending.callback(watch.stop)
        if wiring.settings.simulated:
            doors = Doors(gate(wiring))
            ending.push_async_callback(doors.close)
            await doors.open(wiring.settings.callback_host, wiring.settings.callback_port)
        yield


def _counting(wiring: Wiring) -> Callable[[], None]:
    """Write the scans of this process once a minute, and at the end; in a simulated city, whose clock stands, at the end alone."""
    stop = Event()
    writer = Thread(target=SCANS.flush_until, args=(wiring.db, stop), name="scans", daemon=True)
    if not wiring.settings.simulated:
        writer.start()

    def end() -> None:
        stop.set()
        if writer.is_alive():
            writer.join()
        else:
            SCANS.flush_until(wiring.db, stop)

    return end
