"""Dunning: steps, letters with proof of sending, disputes, instalments, approvals by two persons."""

from alembic import op

from migrations.ddl import run

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    run(op.get_bind(), "0023_dunning")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
