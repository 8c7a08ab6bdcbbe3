"""What the pages read, in few statements."""

from alembic import op

from migrations.ddl import run

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    run(op.get_bind(), "0038_quick_pages")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
