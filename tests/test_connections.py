"""A connection that stays open is found at the test that left it."""

from sqlalchemy import make_url

from ledger.db import engine
from tests import connections


def test_an_engine_that_nobody_disposed_of_is_told_by_the_line_that_used_it(database: str) -> None:
    name = str(make_url(database).database)
    forgotten, tidy = engine(database), engine(database)
    for one in (forgotten, tidy):
        with one.begin() as tx:
            tx.exec_driver_sql("select 1")
    tidy.dispose()
    [where] = connections.left_open(name)
    assert where.startswith("thread MainThread: ")
    assert "test_connections.py" in where
    assert connections.left_open(name) == []
    forgotten.dispose()
