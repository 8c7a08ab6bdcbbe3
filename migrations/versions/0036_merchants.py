"""Merchants who give discounts, and their clerks."""

from alembic import op

from migrations.ddl import run

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    run(op.get_bind(), "0036_merchants")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
