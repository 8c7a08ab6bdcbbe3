"""Bills, their lines and matches."""

from alembic import op

from migrations.ddl import run

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run(op.get_bind(), "0004_reconciliation")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
