"""Stays, takings, openings and heartbeats of lots, and the dense numbers by which a gap shows."""

from alembic import op

from migrations.ddl import run

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run(op.get_bind(), "0019_lot_records")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
