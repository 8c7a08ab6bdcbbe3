"""Status lists of the clearing party: cards, units and plates that must not be charged."""

from alembic import op

from migrations.ddl import run

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run(op.get_bind(), "0014_status_lists")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
