"""What the citizen pays: operators, lots, charges, orders, payments, facts, events."""

from alembic import op

from migrations.ddl import run

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run(op.get_bind(), "0003_payments")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
