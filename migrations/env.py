"""Alembic environment: runs the migrations as the owner role in one transaction.

Knows the address of the database (config, or the attribute ``connection`` when called from code); must not know domain code.
Called by Alembic.
"""

from alembic import context
from sqlalchemy import Connection, create_engine

OWNER_ROLE = "tongting_owner"


def run(connection: Connection) -> None:
    """Apply what is missing on ``connection``; objects belong to the owner role."""
    connection.exec_driver_sql(f"set role {OWNER_ROLE}")
    context.configure(connection=connection, transactional_ddl=True, version_table_schema="public")
    with context.begin_transaction():
        context.run_migrations()
    connection.exec_driver_sql("reset role")


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    address = context.config.get_main_option("sqlalchemy.url")
    if address is None:
        raise SystemExit("no database address: use 'tongting migrate', or set sqlalchemy.url")
    with create_engine(address).connect() as opened:
        run(opened)
        opened.commit()
