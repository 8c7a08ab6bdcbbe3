"""Corrections: credit notes with new bills, misread plates, plates that change hands."""

from alembic import op

from migrations.ddl import run

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    run(op.get_bind(), "0025_corrections")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
