"""What bearers of discounts owe."""

from alembic import op

from migrations.ddl import run

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    run(op.get_bind(), "0027_bearers")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
