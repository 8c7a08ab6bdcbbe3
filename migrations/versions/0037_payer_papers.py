"""Receipts of deductions, and invoices that are tried again."""

from alembic import op

from migrations.ddl import run

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    run(op.get_bind(), "0037_payer_papers")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
