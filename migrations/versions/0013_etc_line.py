"""Our own messages to the network centre: answers to what it says, requests to send again."""

from alembic import op

from migrations.ddl import run

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run(op.get_bind(), "0013_etc_line")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
