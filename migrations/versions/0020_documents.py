"""Documents other than entries are sealed in the tree."""

from alembic import op

from migrations.ddl import run

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    run(op.get_bind(), "0020_documents")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
