"""Read a SQL file and turn the remarks behind its columns into database comments.

Knows the form of our own SQL files only: a table's remark stands behind its opening bracket, a column's behind its line.
Called by the migrations.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy import Connection

SQL_FILES: Final = Path(__file__).parent / "sql"
_TABLE: Final = re.compile(r"^create table (?P<table>[\w.]+) \(\s*(?:-- (?P<remark>.+))?$")
_COLUMN: Final = re.compile(r"^    (?P<column>[a-z_]+)\s+\S.*?-- (?P<remark>.+)$")
_NOT_COLUMNS: Final = {"primary", "unique", "check", "exclude", "foreign"}


def _literal(text: str) -> str:
    return "'" + text.strip().replace("'", "''") + "'"


def comments(sql: str) -> Iterator[str]:
    """Yield a COMMENT statement for each table and column of ``sql`` that carries a remark."""
    table = ""
    for line in sql.splitlines():
        if head := _TABLE.match(line):
            table = head["table"]
            if head["remark"]:
                yield f"comment on table {table} is {_literal(head['remark'])}"
        elif table and line.startswith(")"):
            table = ""
        elif (
            table
            and (column := _COLUMN.match(line))
            and column["column"] not in {"primary", "unique", "check", "exclude", "foreign"}
        ):
            yield f"comment on column {table}.{column['column']} is {_literal(column['remark'])}"


def script(name: str) -> str:
    """Return the statements of ``sql/<name>.sql`` followed by the comments its remarks stand for."""
    sql = (SQL_FILES / f"{name}.sql").read_text(encoding="utf-8")
    return sql + ";\n" + ";\n".join(comments(sql)) + ";\n"


def run(connection: Connection, name: str) -> None:
    """Execute ``sql/<name>.sql`` on the open transaction of ``connection``, past SQLAlchemy's parameter syntax."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    driver.execute(script(name).encode())
