"""Invoices and refunds that drivers ask for on their receipt."""

from alembic import op

from migrations.ddl import run

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    run(op.get_bind(), "0034_invoices")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
