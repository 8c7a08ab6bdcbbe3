"""Entrances and deductions by the plate's mandate."""

from alembic import op

from migrations.ddl import run

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run(op.get_bind(), "0010_deductions")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
