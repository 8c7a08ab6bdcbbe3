"""The web application: every route of the product in one Litestar, around one wiring.

Knows which routes exist and what they share; must not know what they do. Called by ``tongting web`` and the tests.
"""

from importlib.metadata import version

from litestar import Litestar, get
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from sqlalchemy import text

from app.wiring import Wired, Wiring

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Largest request body of any route; routes that the public reaches set a smaller one."""


@get("/health", sync_to_thread=True, include_in_schema=False)
def health(wiring: Wired) -> dict[str, str]:
    """Answer when the database answers: what a supervisor or a load balancer asks."""
    with wiring.db.connect() as tx:
        tx.execute(text("select 1"))
    return {"status": "ok"}


def create_app(wiring: Wiring) -> Litestar:
    """Build the application. The wiring stays the caller's to close."""
    return Litestar(
        route_handlers=[health],
        dependencies={"wiring": Provide(lambda: wiring, sync_to_thread=False)},
        openapi_config=OpenAPIConfig(
            title="Tongting 通停", version=version("tongting"), path="/schema", render_plugins=[SwaggerRenderPlugin()]
        ),
        request_max_body_size=BODY_BYTES_MAX,
    )
