"""Connections: one engine per process, always in the application role and in UTC.

Knows PostgreSQL and SQLAlchemy Core; must not know tables. Called by the composition root and the tests.
A function of the product that writes takes ``tx``: an open connection inside a transaction that its caller commits.
"""

from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, create_engine

APP_ROLE: Final = "tongting_app"
OWNER_ROLE: Final = "tongting_owner"


LOCK_MS_MAX: Final = 1_000
_BY_KEY: Final = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin")


def engine(url: str, *, role: str | None = APP_ROLE, pool_size: int = 5, by_key: bool = False) -> Engine:
    """Return an engine whose connections act in ``role``, speak UTC and plan for disks without a moving head.

    ``by_key`` is for the appliers' connections, which find every row by its key: a plan that was prepared while a table was small
    would otherwise walk it for as long as the connection lives, however it grows. They give up on a lock after a second
    (``psycopg.errors.LockNotAvailable``), because everything behind them waits too.
    """
    options = "-c timezone=UTC -c random_page_cost=1.1" + (f" -c role={role}" if role else "")
    if by_key:
        options += f" -c lock_timeout={LOCK_MS_MAX}" + "".join(f" -c {name}=off" for name in _BY_KEY)
    arguments = {"options": options, "prepare_threshold": None}  # what is prepared, and for how long, ``ledger.volley`` decides
    return create_engine(url, pool_size=pool_size, max_overflow=pool_size, connect_args=arguments)


def raw(tx: Connection) -> psycopg.Connection[Any]:
    """Return the psycopg connection under ``tx``, for COPY and array parameters on the hot paths.

    Its first statement opens the transaction. Never use its ``transaction()`` block here: as the first statement that would be
    the outer transaction and commit; take ``tx.begin_nested()`` for a savepoint.
    """
    connection = tx.connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection
