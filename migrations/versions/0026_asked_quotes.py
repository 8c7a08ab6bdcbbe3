"""Quotes that are asked of lots' systems while a payer waits."""

from alembic import op

from migrations.ddl import run

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    run(op.get_bind(), "0026_asked_quotes")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
