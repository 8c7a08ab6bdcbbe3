"""One stay, several payees: split rules and their parts."""

from alembic import op

from migrations.ddl import run

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    run(op.get_bind(), "0021_splits")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
