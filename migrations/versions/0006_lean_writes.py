"""Fewer index inserts per callback: a payment's next query in a table of its own, and no index over what a callback changes."""

from alembic import op

from migrations.ddl import run

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run(op.get_bind(), "0006_lean_writes")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
