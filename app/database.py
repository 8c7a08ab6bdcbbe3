"""Prepare a database: roles, the database itself, migrations, partitions ahead.

Knows Alembic, roles and addresses; must not know domain code. Called by the command line and the tests.
"""

from datetime import date
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, make_url, text

from ledger.db import APP_ROLE, OWNER_ROLE
from migrations import env_location

MONTHS_AHEAD: Final = 14
PARTITIONED: Final = ("ledger.posting", "gateways.raw_message")


def prepare(url: str, *, today: date) -> None:
    """Bring the database at ``url`` to the present schema; creates it and the two roles when they are missing.

    May be called at every start. The user in ``url`` must be a superuser, or own the database and be a member of both roles.
    """
    _create_database(url)
    with _owner(make_url(url)).connect() as connection:
        _create_roles(connection)
        migrate(connection)
        ensure_months(connection, today=today)
        connection.commit()


def migrate(connection: Connection) -> None:
    """Apply the migrations that are missing, in the open transaction of ``connection``."""
    config = Config()
    config.set_main_option("script_location", env_location())
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def ensure_months(connection: Connection, *, today: date) -> int:
    """Create the monthly partitions from the month before ``today`` to ``MONTHS_AHEAD``. Returns how many were missing."""
    first = date(today.year - (today.month == 1), (today.month - 2) % 12 + 1, 1)
    query = text("select ledger.ensure_months_v1(cast(:parent as regclass), :first, :months)")
    made = 0
    for parent in PARTITIONED:
        made += connection.execute(query, {"parent": parent, "first": first, "months": MONTHS_AHEAD + 1}).scalar_one()
    return made


def _owner(address: URL) -> Engine:
    """Engine without a pool, in the role of the address's own user."""
    return create_engine(address, poolclass=NullPool)


def _create_database(url: str) -> None:
    address = make_url(url)
    try:
        _owner(address).connect().close()
        return
    except Exception as missing:
        if "does not exist" not in str(missing):
            raise
    with _owner(address.set(database="postgres")).execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f'create database "{address.database}"')


def _create_roles(connection: Connection) -> None:
    for role in (OWNER_ROLE, APP_ROLE):
        if connection.execute(text("select 1 from pg_roles where rolname = :role"), {"role": role}).first() is None:
            connection.exec_driver_sql(f"create role {role} nologin")
    connection.exec_driver_sql(f"grant create on database {_quoted(connection)} to {OWNER_ROLE}")
    connection.exec_driver_sql(f"grant create, usage on schema public to {OWNER_ROLE}")
    connection.exec_driver_sql("create extension if not exists btree_gist")


def _quoted(connection: Connection) -> str:
    name = connection.execute(text("select quote_ident(current_database())")).scalar_one()
    assert isinstance(name, str)
    return name
