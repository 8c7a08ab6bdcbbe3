"""Departures: who may leave first, corrections of charges, and when a mandate is tried again."""

from alembic import op

from migrations.ddl import run

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    run(op.get_bind(), "0024_departures")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
