"""Prepare a database: roles, the database itself, migrations, partitions ahead.

Knows Alembic, roles and addresses; must not know domain code. Called by the command line and the tests.
"""

from datetime import date
from typing import Final

import psycopg
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from ledger.db import APP_ROLE, OWNER_ROLE
from migrations import env_location

MONTHS_AHEAD: Final = 14
PARTITIONED: Final = ("ledger.posting", "gateways.raw_message")
MAJOR_MIN: Final = 15


class DatabaseError(Exception):
    """The database cannot be used as it is; the message says what to do."""


def prepare(url: str, *, today: date) -> None:
    """Bring the database at ``url`` to the present schema; creates it and the two roles when they are missing.

    May be called at every start, also by two processes at once: the second waits for the first. The user in ``url`` must be a
    superuser, or own the database and be allowed to create roles or be a member of both.

    Raises:
        DatabaseError: not reachable, older than PostgreSQL 15, or the user may not do what is needed.
    """
    _create_database(url)
    try:
        with _owner(make_url(url)).connect() as connection:
            check_version(connection.execute(text("show server_version_num")).scalar_one())
            connection.execute(text("select pg_advisory_xact_lock(hashtext('tongting prepare'))"))
            _create_roles(connection)
            migrate(connection)
            ensure_months(connection, today=today)
            connection.commit()
    except DBAPIError as broken:
        if isinstance(broken.orig, psycopg.errors.InsufficientPrivilege):
            raise DatabaseError(_not_allowed(url, broken.orig)) from None
        raise


def check_version(version_num: str) -> None:
    """Refuse a server older than PostgreSQL 15. ``version_num`` is its server_version_num, such as 150004.

    Raises:
        DatabaseError: it is older.
    """
    major = int(version_num) // 10000
    if major < MAJOR_MIN:
        raise DatabaseError(f"the database server is PostgreSQL {major}; {MAJOR_MIN} or newer is needed")


def _not_allowed(url: str, reason: Exception) -> str:
    address = make_url(url)
    user = address.username
    return (
        f"the database user {user!r} may not prepare the database ({str(reason).splitlines()[0]}). "
        f"Have an administrator run: create role {OWNER_ROLE} nologin; create role {APP_ROLE} nologin; "
        f"grant {OWNER_ROLE}, {APP_ROLE} to {user}; alter database {address.database} owner to {user};"
    )


def migrate(connection: Connection) -> None:
    """Apply the migrations that are missing, in the open transaction of ``connection``."""
    from alembic import command  # of all processes only the one that prepares the database loads it
    from alembic.config import Config

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
    """Create the database when the server says that it does not exist."""
    address = make_url(url)
    try:
        _owner(address).connect().close()
        return
    except OperationalError as missing:
        if f'database "{address.database}" does not exist' not in str(missing):
            raise DatabaseError(f"the database at {address!r} cannot be reached: {missing.orig}") from None
    with _owner(address.set(database="postgres")).execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        try:
            connection.exec_driver_sql(f'create database "{address.database}"')
        except DBAPIError as broken:
            if isinstance(broken.orig, psycopg.errors.InsufficientPrivilege):
                raise DatabaseError(_not_allowed(url, broken.orig)) from None
            if not isinstance(broken.orig, psycopg.errors.DuplicateDatabase | psycopg.errors.UniqueViolation):
                raise  # the other two mean: another process has just made it


def _create_roles(connection: Connection) -> None:
    superuser = connection.execute(text("select rolsuper from pg_roles where rolname = current_user")).scalar_one()
    for role in (OWNER_ROLE, APP_ROLE):
        if connection.execute(text("select 1 from pg_roles where rolname = :role"), {"role": role}).first() is None:
            connection.exec_driver_sql(f"create role {role} nologin")
            if not superuser:
                connection.exec_driver_sql(f"grant {role} to current_user")
    database = connection.execute(text("select quote_ident(current_database())")).scalar_one()
    connection.exec_driver_sql(f"grant create on database {database} to {OWNER_ROLE}")
    connection.exec_driver_sql(f"grant create, usage on schema public to {OWNER_ROLE}")
    connection.exec_driver_sql("create extension if not exists btree_gist")
