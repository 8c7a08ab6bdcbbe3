"""Tariffs as dated data with their approving documents."""

from alembic import op

from migrations.ddl import run

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run(op.get_bind(), "0017_tariffs")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
