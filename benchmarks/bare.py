"""A Litestar application of one route that answers a short text: what a page's rate is compared with.

Knows granian and Litestar only. Run by ``benchmarks.pages``: ``python -m benchmarks.bare PORT``.
"""

import sys
from typing import Any

from granian import Granian
from granian.constants import Interfaces, RuntimeModes
from litestar import Litestar, get

from app.serve import BACKLOG


@get("/", sync_to_thread=False)
def nothing() -> str:
    """Answer a word."""
    return "ok"


def application() -> Litestar:
    """Build it inside the serving process."""
    return Litestar(route_handlers=[nothing], logging_config=None, openapi_config=None)


def serve(port: int) -> None:
    """Serve as the product's pages are served: a process per core."""
    server: Any = Granian(
        "benchmarks.bare:application", factory=True, interface=Interfaces.ASGI, address="127.0.0.1", port=port, workers=2,
        runtime_mode=RuntimeModes.mt, backlog=BACKLOG, log_access=False, process_name=None,
    )  # fmt: skip
    server.serve()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
