"""Cash handed back."""

from alembic import op

from migrations.ddl import run

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    run(op.get_bind(), "0028_cash_back")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
