"""The web application: every route of the product in one Litestar, around one wiring.

Knows which routes exist and what they share; must not know what they do. Called by ``tongting web`` and the tests.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from typing import Final

from litestar import Litestar, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import NotFoundException
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
    watches, doors = wiring.key_watches(), _simulated_doors(wiring)
    simulation = [SimulationRoutes] if wiring.settings.simulated else []
    return Litestar(
        route_handlers=[health, *api.routes, *pages.routes, *simulation],
        dependencies={"wiring": Provide(lambda: wiring, sync_to_thread=False)},
        state=State({"wiring": wiring}),
        exception_handlers={NotFoundException: missing, Exception: unexpected},
        on_startup=[*(watch.start for watch in watches), *(_opening(one, wiring) for one in doors)],
        on_shutdown=[*(one.close for one in doors), *(watch.stop for watch in watches)],
        openapi_config=OpenAPIConfig(
            title="Tongting 通停", version=version("tongting"), description=_ABOUT, path="/schema", render_plugins=[PlainDocs()]
        ),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,  # the framework's own would switch off loggers that exist already
    )


def _simulated_doors(wiring: Wiring) -> list[Doors]:
    return [Doors(gate(wiring))] if wiring.settings.simulated else []


def _opening(doors: Doors, wiring: Wiring) -> Callable[[], Awaitable[None]]:
    return partial(doors.open, wiring.settings.callback_host, wiring.settings.callback_port)
