"""Of several workers one fetches and compares a bill."""

from alembic import op

from migrations.ddl import run

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run(op.get_bind(), "0015_bill_turns")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
