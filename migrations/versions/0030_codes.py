"""Pay codes on walls: the registry, batches that were printed, what became of each."""

from alembic import op

from migrations.ddl import run

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    run(op.get_bind(), "0030_codes")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
