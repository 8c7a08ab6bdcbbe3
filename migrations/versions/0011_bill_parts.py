"""Files of bills in parts."""

from alembic import op

from migrations.ddl import run

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run(op.get_bind(), "0011_bill_parts")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
