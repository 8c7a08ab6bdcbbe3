"""Baskets of charges, and payments that are legs of one act."""

from alembic import op

from migrations.ddl import run

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run(op.get_bind(), "0009_baskets")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
