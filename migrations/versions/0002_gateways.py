"""Channels: stored messages, merchant accounts (routes)."""

from alembic import op

from migrations.ddl import run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run(op.get_bind(), "0002_gateways")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
