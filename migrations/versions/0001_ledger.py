"""The book: batches, postings, seals and balances."""

from alembic import op

from migrations.ddl import run

revision = "0001"
down_revision = None


def upgrade() -> None:
    run(op.get_bind(), "0001_ledger")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
