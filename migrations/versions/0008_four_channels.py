"""Routes with keys of their own, ways of ordering, bills of single merchants."""

from alembic import op

from migrations.ddl import run

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run(op.get_bind(), "0008_four_channels")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
