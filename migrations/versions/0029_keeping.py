"""How long delivery logs are kept; quotes that have ended; disputes of what is paid."""

from alembic import op

from migrations.ddl import run

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    run(op.get_bind(), "0029_keeping")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
