"""Debts: what cars that left owe, with partial payments, waivers and write-offs."""

from alembic import op

from migrations.ddl import run

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run(op.get_bind(), "0016_debts")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
