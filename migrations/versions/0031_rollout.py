"""Codes that operators had before, where the one code counts from when on, and codes that look wrong."""

from alembic import op

from migrations.ddl import run

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    run(op.get_bind(), "0031_rollout")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
