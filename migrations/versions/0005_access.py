"""Clients of the API."""

from alembic import op

from migrations.ddl import run

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run(op.get_bind(), "0005_access")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
